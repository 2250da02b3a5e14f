"""Where very many stars begin: the best of a coarse grid of labels and velocities, all compared at once.

As `newton.search`, but that all pixels count alike, so that the continuum is taken out of every node's spectrum once
for all stars, and comparing is one product of matrices. It is the start of a fit only.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from astrogf.inference.newton.search import SEARCH_SIGMA, label_nodes, velocities
from astrogf.inference.problem.parameters import STAR
from astrogf.inference.problem.problem import N_SPECTRUM, StarData, StarProblem
from astrogf.inference.surrogate.domain import Domain

APART = 0.6
"""Distance of the velocities in units of the line-spread function's sigma: an iteration finds the way from there."""
MOST_BASIS = 8
"""Terms of the continuum that the search allows for."""
FEWEST = 32
"""Nodes: where fewer of the usual ones lie in the domain, so many are drawn from it."""
FARTHEST = 3.0
"""Of the level: what a cosmic ray may leave."""
BLOCK = 64


class Places(NamedTuple):
    """Nodes at all velocities: their parameters (order of `STAR`), and of each an orthonormal basis of all that its
    spectrum with a continuum may look like, in single precision."""

    theta: Float[np.ndarray, "place star_parameter"]
    basis: Float[np.ndarray, "place basis pixel"]


@eqx.filter_jit
def _bases(problem: StarProblem, theta: Array, velocity: Array) -> Array:
    """[node, velocity, basis, pixel]"""

    def one(node: Array) -> Array:
        flux = problem.spectrum.normalised(problem.told(node), jnp.zeros(0))
        place = problem.instrument.at(node)
        spectra = jax.vmap(lambda rv: problem.instrument.see(flux, place.at[0].set(rv), problem.spectrum.grid))(
            velocity
        )
        design = spectra[:, :, None] * problem.basis[:, :MOST_BASIS]
        return jnp.linalg.qr(design)[0].mT.astype(jnp.float32)

    return jax.lax.map(one, theta)


def places(problem: StarProblem, domain: Domain, ln_sigma: float) -> Places:
    """Of a window whose spectra a surrogate makes."""
    ln_sigma = float(max(ln_sigma, np.log(SEARCH_SIGMA)))
    velocity = velocities(problem, APART * float(np.exp(ln_sigma)))
    atmosphere = problem.spectrum.atmosphere
    nodes = label_nodes(problem)
    nodes = nodes[domain.inside(nodes, atmosphere)]
    if len(nodes) < FEWEST:
        nodes = domain.draw(FEWEST, atmosphere, seed=0)
    theta = np.zeros((len(nodes), problem.instrument.place.shape[1]))
    theta[:, :N_SPECTRUM], theta[:, N_SPECTRUM] = nodes, ln_sigma
    bases = np.asarray(_bases(problem, jnp.asarray(theta), jnp.asarray(velocity)))
    at = np.repeat(theta[:, : len(STAR)], len(velocity), axis=0)
    at[:, -1] = np.tile(velocity, len(nodes))
    return Places(at, bases.reshape(len(at), *bases.shape[2:]))


def filled(data: StarData) -> Float[np.ndarray, "star pixel"]:
    """Fluxes (of a level near 1), where a pixel is of no use the line between its neighbours; none far off."""
    # before it is single precision, which a spoilt pixel may be too large for
    flux, good = np.clip(np.asarray(data.flux), 0.0, FARTHEST).astype(np.float32), np.asarray(data.ivar) > 0
    pixel = np.arange(flux.shape[1])
    for row in np.flatnonzero(~good.all(1) & good.any(1)):
        flux[row] = np.interp(pixel, pixel[good[row]], flux[row, good[row]])
    return flux


@jax.jit
def _best(basis: Float[Array, "place basis pixel"], flux: Float[Array, "star pixel"]) -> Array:
    n_place, n_basis, n_pixel = basis.shape
    along = (basis.reshape(-1, n_pixel) @ flux.T).reshape(n_place, n_basis, -1)
    return jnp.argmax(jnp.sum(along**2, 1), 0)


def best_places(at: Places, data: StarData) -> Float[np.ndarray, "star star_parameter"]:
    """Parameters of the place whose spectrum, with a continuum of its own, leaves least of the star's."""
    flux, found = filled(data), list[np.ndarray]()
    basis = jnp.asarray(at.basis)
    for first in range(0, len(flux), BLOCK):
        mine = flux[first : first + BLOCK]
        padded = np.concatenate([mine, np.zeros((BLOCK - len(mine), flux.shape[1]), np.float32)])
        found.append(at.theta[np.asarray(_best(basis, padded))[: len(mine)]])
    return np.concatenate(found)
