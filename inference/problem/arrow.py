"""The block-arrow system: eliminate every star exactly, solve for the shared parameters, substitute back.

    A = Lambda + sum_s [ G'WG - G'WJ (J'WJ + Lambda_theta)^-1 J'WG ],   b likewise   (DESIGN section 4)

A is the marginal posterior precision of the shared parameters (Laplace), and (A, b) of two sets of stars add up.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float

Held = Array | np.ndarray
"""JAX arrays where they are made, numpy arrays once they are gathered."""


class Eliminated(NamedTuple):
    """A star without its own parameters: their solution as an affine function of the shared step.

    own step = `constant` - `slope` @ shared step; `covariance` is the own block's inverse (shared held fixed).
    """

    constant: Float[Held, "*star own"]
    slope: Float[Held, "*star own shared"]
    covariance: Float[Held, "*star own own"]


class Reduced(NamedTuple):
    """Sum over stars of the reduced shared system, without the prior of the shared parameters."""

    precision: Float[Array, "shared shared"]
    gradient: Float[Array, " shared"]


def inverse_root(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """Lower triangular R with R' R the inverse of a positive definite matrix; nan where it is none.

    Gauss's elimination of (matrix, 1), for matrices of a star's or a continuum's size. LAPACK's batches of small
    matrices wait for threads of the pool that they may themselves run in: two at a time, in one program or on two
    devices, can wait for ever (docs/how-to/problems.md, 'When the runtime is wrong'). What R multiplies is products,
    several times as fast as triangular solves.
    """
    n = matrix.shape[0]

    def eliminated(k, both):
        root = jnp.sqrt(both[k, k])
        row = both[k] / root
        below = jnp.where(jnp.arange(n) > k, both[:, k] / root, 0.0)
        return (both - below[:, None] * row).at[k].set(row)

    return jax.lax.fori_loop(0, n, eliminated, jnp.concatenate([matrix, jnp.eye(n)], axis=1))[:, n:]


@jax.custom_batching.sequential_vmap
def _inverse(matrix: Float[Array, "n n"]) -> tuple[Float[Array, "n n"], Float[Array, ""]]:
    """Inverse and log determinant of a positive definite matrix as large as there are lines, one after the other: see
    `inverse_root`."""
    factor = cho_factor(matrix)
    return cho_solve(factor, jnp.eye(matrix.shape[0])), 2.0 * jnp.sum(jnp.log(jnp.diagonal(factor[0])))


def eliminate(own, own_gradient, cross, damping: Float[Array, ""] | float = 0.0) -> Eliminated:
    """Solve one star's block; `damping` adds that share of the diagonal (Levenberg-Marquardt)."""
    return eliminate_and_halve(own, own_gradient, cross, damping)[0]


def eliminate_and_halve(
    own, own_gradient, cross, damping: Float[Array, ""] | float = 0.0
) -> tuple[Eliminated, Float[Array, "own shared"]]:
    """The same, with what the elimination takes from the shared block, half' half."""
    root = inverse_root(own + damping * jnp.diag(jnp.diag(own)))
    half = root @ cross
    return Eliminated(root.T @ (root @ own_gradient), root.T @ half, root.T @ root), half


def reduce(star: Eliminated, cross, own_gradient) -> Reduced:
    """What the star's elimination takes away from the shared system (to be added to G'WG and its gradient)."""
    return Reduced(-cross.T @ star.slope, -star.slope.T @ own_gradient)


def solve_shared(
    reduced: Reduced, prior_precision: Float[Array, "shared shared"], prior_gradient: Float[Array, " shared"]
) -> tuple[Float[Array, " shared"], Float[Array, "shared shared"]]:
    """Shared step and its posterior covariance."""
    factor = cho_factor(reduced.precision + prior_precision)
    step = cho_solve(factor, reduced.gradient + prior_gradient)
    return step, cho_solve(factor, jnp.eye(step.shape[0]))


def substitute(star: Eliminated, shared_step: Float[Held, " shared"]) -> Float[Held, "*star own"]:
    """The star's own step (or of many stars) once the shared step is known."""
    return star.constant - star.slope @ shared_step


def own_covariance(star: Eliminated, shared_covariance: Float[Held, "shared shared"]) -> Float[Held, "*star own own"]:
    """Marginal covariance of a star's own parameters (or of many stars'), the shared ones' uncertainty included."""
    return star.covariance + star.slope @ shared_covariance @ star.slope.mT


class Absorbed(NamedTuple):
    """A spectrum's blocks with its own deviation of every line marginalised; `deviation` is its most probable value,
    `variance` that of each line's deviation, `gain` what it adds to the log likelihood."""

    own: Float[Array, "own own"]
    own_gradient: Float[Array, " own"]
    cross: Float[Array, "own line"]
    lines: Float[Array, "line line"]
    line_gradient: Float[Array, " line"]
    deviation: Float[Array, " line"]
    variance: Float[Array, " line"]
    gain: Float[Array, ""]


def absorb(own, own_gradient, cross, lines, line_gradient, scatter: Float[Array, ""]) -> Absorbed:
    """Marginalise deviations e_i ~ Normal(0, scatter) of this spectrum's lines from the corrections all share.

    What a line says of its correction then has an error of at least `scatter`, and labels that many lines decide have
    one that falls with the number of lines, not of pixels. Exact for a quadratic log likelihood; scatter 0 changes
    nothing.
    """
    variance = scatter**2
    inverse, determinant = _inverse(jnp.eye(lines.shape[0]) + variance * lines)
    deviation = variance * inverse @ line_gradient
    reduced = cross @ inverse  # = cross - cross (lines + scatter^-2)^-1 lines; so for the lines themselves
    return Absorbed(
        own - variance * reduced @ cross.T,
        own_gradient - cross @ deviation,
        reduced,
        lines @ inverse,
        line_gradient - lines @ deviation,
        deviation,
        variance * jnp.diagonal(inverse),
        0.5 * line_gradient @ deviation - 0.5 * determinant,
    )
