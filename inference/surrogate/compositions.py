"""Derivatives of exact spectra by the shift of each composition: what lines of the same atoms are moved by alike."""

from dataclasses import replace

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from astrogf.inference.problem.devices import one_by_one, spread
from astrogf.inference.problem.problem import StarProblem
from astrogf.inference.surrogate.coarse import Coarse
from astrogf.synthesis.lines.slopes import on_grid
from astrogf.synthesis.window import Responding


def by_composition(problem: StarProblem) -> tuple[StarProblem, Float[np.ndarray, "composition element"]]:
    """The same problem with a shift of every composition, dex, in the place of abundances, and the atoms of each."""
    membership = np.asarray(problem.membership)
    atoms, of_slot = np.unique(membership, axis=0, return_inverse=True)
    kinds = np.flatnonzero(atoms.any(1))
    alone = (of_slot.ravel()[:, None] == kinds).astype(float)
    return replace(problem, membership=jnp.asarray(alone)), atoms[kinds]


@eqx.filter_jit
def coarse_slopes(
    problem: StarProblem, coarse: Coarse, rows: tuple[np.ndarray, np.ndarray, Responding], mesh: Mesh
) -> Float[Array, "row point composition"]:
    """Derivatives of spectra on the points of `coarse`; a problem of `by_composition`. `rows`: own parameters,
    corrections and the exact model there (`responses`)."""

    def mine(problem: StarProblem, rows) -> Float[Array, "row point composition"]:
        def one(row) -> Float[Array, "point composition"]:
            return coarse.coarsen(_on_grid(problem, *row))

        return one_by_one(one, rows, problem.spectrum.working_bytes)

    return spread(mine, problem, rows, mesh)


def _on_grid(problem: StarProblem, theta: Array, delta: Array, at: Responding) -> Float[Array, "wave composition"]:
    parts = problem.spectrum.window.by_line(at, problem.pieces, problem.by_slot(theta, delta))
    n = problem.membership.shape[1]
    # pieces that nothing moves, and slots that no star's abundance does, add to none
    number = jnp.where(problem.membership.any(1), jnp.argmax(problem.membership, 1), n)
    number = jnp.append(number, n)
    return on_grid(parts, lambda free: number[free], n, at.flux.shape[0]).T
