"""Derivatives by log gf in the survey's pixels, and what a spectrum knows of every line by itself."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from astrogf.inference.problem.parameters import LN_SIGMA, RV
from astrogf.inference.problem.problem import StarProblem
from astrogf.synthesis.observed.instrument import observe_windows

AT_ONCE = 2_000_000
"""Numbers of the instrument's matrices (or of gathered derivatives) held at once, for one spectrum."""


class LineColumns(NamedTuple):
    """d(pixel) / d(log gf): by slot, dense; and for every line by itself in its own few pixels.

    `line`, `first pixel` and values of each bucket are in `local`, for `information`.
    """

    dense: Float[Array, "pixel slot"]
    local: list[tuple[Int[Array, "chunk line"], Int[Array, "chunk line local"], Float[Array, "chunk line local"]]]


def line_columns(problem: StarProblem, theta: Float[Array, " own"], windows: list[Array]) -> LineColumns:
    """Take the responses within the line windows through the instrument."""
    grid, n_slot = problem.spectrum.grid, problem.spectrum.n_slot
    columns, local = jnp.zeros((grid.n_pixel, n_slot + 1)), []
    sigma = jnp.exp(theta[LN_SIGMA])
    for bucket, window in zip(problem.spectrum.buckets, windows, strict=True):
        start = jnp.reshape(bucket.start, (-1, bucket.start.shape[-1]))
        window = window.reshape(*start.shape, -1)
        reach = window.shape[-1] // grid.oversampling + 2 * grid.taps + 2
        batch = max(1, AT_ONCE // (start.shape[1] * reach * min(window.shape[-1], 2 * grid.taps * grid.oversampling)))
        first, values = jax.lax.map(
            lambda row: observe_windows(row[0], row[1], theta[RV], sigma, grid), (window, start), batch_size=batch
        )
        pixel = first[..., None] + np.arange(values.shape[-1])
        inside = (pixel >= 0) & (pixel < grid.n_pixel)
        pixel, values = jnp.where(inside, pixel, 0), jnp.where(inside, values, 0.0)
        columns = columns.at[pixel, jnp.reshape(bucket.free, (*start.shape, 1))].add(values)
        local.append((jnp.reshape(bucket.line, start.shape), pixel, values))
    return LineColumns(columns[:, :n_slot], local)


def information(
    columns: LineColumns,
    own_covariance: Float[Array, "other other"],
    weighted_own: Float[Array, "pixel other"],
    weights: Float[Array, " pixel"],
    n_line: int,
) -> Float[Array, " line"]:
    """Squared signal-to-noise per dex of log gf of every line alone, the other parameters marginalised."""

    def chunk(row):
        pixel, values = row
        own = jnp.einsum("lp,lpo->lo", values, weighted_own[pixel])
        return jnp.sum(weights[pixel] * values**2, axis=1) - jnp.sum((own @ own_covariance) * own, axis=1)

    total = jnp.zeros(n_line + 1)
    for line, pixel, values in columns.local:
        batch = max(1, AT_ONCE // (pixel[0].size * weighted_own.shape[1]))
        total = total.at[line].add(jax.lax.map(chunk, (pixel, values), batch_size=batch))
    return total[:n_line]
