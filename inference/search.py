"""First labels from a coarse grid of the engine's own spectra: no pipeline's labels are needed."""

import time
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float

from inference.devices import chunk_size, padded, spread, star_mesh
from inference.parameters import vmic_relation
from inference.star import N_SPECTRUM, StarData, StarProblem
from synthesis.instrument import observe, rv_limit


class Search(NamedTuple):
    """Best node of every star: its parameters (order of `STAR`) and the chi2 per pixel there.

    `seconds` is what one synthesis took, all devices working (median over chunks, compilation left out).
    """

    theta: Float[np.ndarray, "star star_parameter"]
    chi2: Float[np.ndarray, " star"]
    seconds: float


def label_nodes(problem: StarProblem) -> Float[np.ndarray, "node 5"]:
    """Nodes over the emulator's domain and the part of the HR diagram where FGK stars live.

    Teff every 350 K, log g every 0.8 dex, [Fe/H] every 0.5; [alpha/Fe] and vmic follow their usual relations.
    """
    teff, logg, feh = np.meshgrid(np.arange(3900.0, 7650.0, 350.0), np.arange(0.8, 5.0, 0.8), np.arange(-2.0, 0.6, 0.5))
    teff, logg, feh = (x.ravel() for x in (teff, logg, feh))
    # no star is both hotter and brighter than the supergiants, nor cooler and fainter than the main sequence
    physical = (logg > 1.6e-3 * (teff - 5300.0) + 0.5) & (logg < 5.2)
    teff, logg, feh = teff[physical], logg[physical], feh[physical]
    alpha = np.clip(-0.3 * feh, 0.0, 0.3)
    labels = np.column_stack([teff, logg, feh, alpha])
    inside = np.asarray(jax.vmap(problem.margin)(jnp.asarray(labels))) > 0.0
    return np.column_stack([labels, np.asarray(vmic_relation(teff, logg))])[inside]


@jax.jit
def _chi2(spectra: Float[Array, "node pixel"], flux, ivar, basis):
    """Weighted chi2 of every node with its own best continuum."""
    k = basis.shape[1]
    pairs = (basis[:, :, None] * basis[:, None, :]).reshape(basis.shape[0], k * k)
    normal = ((spectra**2 * ivar) @ pairs).reshape(-1, k, k) + 1e-9 * jnp.eye(k)
    projected = (spectra * (ivar * flux)) @ basis

    def gain(matrix, vector):
        return vector @ cho_solve(cho_factor(matrix), vector)

    return jnp.sum(ivar * flux**2) - jax.vmap(gain)(normal, projected)


def coarse_search(
    problem: StarProblem,
    data: StarData,
    ln_sigma: float,
    *,
    noise_floor: float = 0.02,
    rv_step: float = 20.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Search:
    """Best (labels, rv) of every star among nodes and velocities within the padded grid's reach.

    `noise_floor` (share of the flux) keeps bright stars from being decided by what a coarse node lacks.
    """
    nodes = label_nodes(problem)
    grid = problem.spectrum.grid
    reach = min(rv_limit(grid) - 20.0, 500.0)
    velocity = jnp.arange(-reach, reach + 1.0, rv_step)

    mesh = star_mesh()
    broadening = jnp.asarray(float(ln_sigma))

    @eqx.filter_jit
    def see(common, nodes):
        def one(common, node):
            problem, velocity, ln_sigma = common
            flux = problem.spectrum.normalised(node[:N_SPECTRUM], jnp.zeros(problem.spectrum.n_free))
            return jax.vmap(lambda rv: observe(flux, rv, jnp.exp(ln_sigma), grid))(velocity)

        return spread(lambda c, n: jax.lax.map(lambda x: one(c, x), n), common, nodes, mesh)

    spectra = np.empty((len(nodes), len(velocity), grid.n_pixel))
    chunk = chunk_size(10, len(nodes), mesh.devices.size)
    took = []
    for first in range(0, len(nodes), chunk):
        began = time.perf_counter()
        index, _ = padded(first, chunk, len(nodes))
        spectra[index] = see((problem, velocity, broadening), jnp.asarray(nodes[index]))
        took.append((time.perf_counter() - began) / chunk)
        progress(min(first + chunk, len(nodes)), len(nodes))
    stacked = jnp.asarray(spectra.reshape(-1, grid.n_pixel))
    theta, chi2 = [], []
    for flux, ivar in zip(data.flux, data.ivar, strict=True):
        good = ivar > 0
        softened = jnp.where(good, 1.0 / (1.0 / jnp.where(good, ivar, 1.0) + noise_floor**2 * jnp.mean(flux) ** 2), 0.0)
        values = np.asarray(_chi2(stacked, flux, softened, problem.basis))
        best = int(np.argmin(values))
        i, j = divmod(best, len(velocity))
        n_good = max(int(np.sum(good)), 1)
        theta.append([*nodes[i], float(ln_sigma), float(velocity[j])])
        chi2.append(values[best] / n_good)
    return Search(np.array(theta), np.array(chi2), float(np.median(took[1:] or took)))
