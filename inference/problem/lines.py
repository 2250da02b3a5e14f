"""Derivatives by log gf in the survey's pixels, and what a spectrum knows of every line by itself."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from astrogf.inference.problem.problem import StarProblem
from astrogf.inference.problem.tiles import LineColumns, Tiles
from astrogf.synthesis.lines.slopes import LinePieces
from astrogf.synthesis.observed.instrument import observe_tiles, observe_windows

AT_ONCE = 2_000_000
"""Numbers of the instrument's matrices held at once, for one spectrum."""


def line_columns(
    problem: StarProblem, theta: Float[Array, " own"], parts: list[LinePieces], tiles: Tiles, n_rest: int = 0
) -> tuple[LineColumns, Float[Array, "pixel rest"]]:
    """d(pixel) / d(log gf) by slot: the derivatives of pieces of lines, through the instrument; the corrections' in
    tiles, and those of the `n_rest` slots after them, which may reach all pixels.

    Source: the instrument is linear in the spectrum, `synthesis.observed.instrument`.
    """
    grid, place = problem.spectrum.grid, problem.instrument.at(theta)
    n_member = tiles.n_member
    after = jnp.broadcast_to(n_member + np.arange(n_rest + 1), (tiles.n_tile, n_rest + 1))
    # the last column is cut off: that of corrections that do not reach a tile, and of pieces that nothing moves
    reached = jnp.where(tiles.place < n_member, tiles.place, n_member + n_rest)
    column = jnp.concatenate([reached, after], axis=1)
    columns = jnp.zeros((tiles.n_tile, tiles.size, n_member + n_rest + 1))
    for part in parts:
        if part.start.shape[0] == 0:
            continue
        if part.aligned:
            seen = [observe_tiles(part.slope, part.start, place[0], jnp.exp(s), grid) for s in place[1:]]
        else:
            width = part.slope.shape[1]
            reach = width // grid.oversampling + 2 * grid.taps + 2
            batch = max(1, AT_ONCE // (reach * width))
            seen = [_in_batches(problem, place[0], jnp.exp(s), part, batch) for s in place[1:]]
        first = seen[0][0]
        pixel = first[:, None] + np.arange(seen[0][1].shape[1])
        inside = (pixel >= 0) & (pixel < grid.n_pixel)
        pixel = jnp.where(inside, pixel, 0)
        values = problem.instrument.mixed([one for _, one in seen], pixel)
        tile = pixel // tiles.size
        where = tile, pixel % tiles.size, column[tile, part.free[:, None]]
        columns = columns.at[where].add(jnp.where(inside, values, 0.0))
    return LineColumns(columns[:, :, :n_member], tiles), tiles.joined(columns[:, :, n_member:-1])


def _in_batches(problem: StarProblem, rv, sigma, part: LinePieces, batch: int):
    """`observe_windows`, so many pieces at a time."""
    grid = problem.spectrum.grid
    n, size = part.start.shape[0], min(batch, part.start.shape[0])
    count = -(-n // size)
    padding = count * size - n
    start = jnp.pad(part.start, (0, padding)).reshape(count, size)
    slope = jnp.pad(part.slope, ((0, padding), (0, 0))).reshape(count, size, part.slope.shape[1])
    first, values = jax.lax.map(lambda row: observe_windows(row[0], row[1], rv, sigma, grid), (slope, start))
    return first.reshape(-1)[:n], values.reshape(count * size, -1)[:n]


def information(
    columns: Float[Array, "pixel line"],
    own_covariance: Float[Array, "other other"],
    weighted_own: Float[Array, "pixel other"],
    weights: Float[Array, " pixel"],
) -> Float[Array, " line"]:
    """Squared signal-to-noise per dex of log gf of every line alone, the other parameters marginalised."""
    own = columns.T @ weighted_own
    return weights @ columns**2 - jnp.sum((own @ own_covariance) * own, axis=1)
