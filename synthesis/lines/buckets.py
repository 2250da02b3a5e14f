"""Lines sorted into windows of a few fixed widths, once a run, so that everything after has fixed shapes."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from astrogf.base.constants import C_KMS
from astrogf.synthesis.gas.species import species_mass, species_row
from astrogf.synthesis.lines.linelist import LineList

CORE_KMS = 50.0
"""Beyond this distance every line is more than seven Doppler widths away (carbon at 12,000 K and 3 km/s: 5.1 km/s),
and the asymptotic form of the profile holds to 2e-8."""
TILE = 256
"""Points of a piece of a wide line's wings."""


class Bucket(eqx.Module):
    """Line windows of `width` points, padded to a whole number of chunks.

    Shapes: `chunk line` of every column; a padding row has log strength -99 and adds nothing.
    `start` is the first grid point of the window, `velocity` c ln(wavelength) in km/s. `line` is the line's row in the
    list (the list's length for padding), `free` the index of the correction that moves it (the number of corrections
    where none does).

    Points at most `half` and more than `hole` points from `centre` count. That is the middle of the points that a line
    reaches: the point nearest to the line, but where the grid's end cuts them off. A bucket of wings (hole >= 0) holds
    wide lines in tiles, one row each; their cores are in another bucket, and `centre` is the point nearest to the line
    (may lie outside) in both.
    """

    start: Int[Array, "chunk line"]
    centre: Int[Array, "chunk line"]
    velocity: Float[Array, "chunk line"]
    wavelength: Float[Array, "chunk line"]
    species: Int[Array, "chunk line"]
    mass: Float[Array, "chunk line"]
    elow: Float[Array, "chunk line"]
    loggf: Float[Array, "chunk line"]
    log_gamma_rad: Float[Array, "chunk line"]
    log_gamma6: Float[Array, "chunk line"]
    gamma6_exponent: Float[Array, "chunk line"]
    log_gamma4: Float[Array, "chunk line"]
    line: Int[Array, "chunk line"]
    free: Int[Array, "chunk line"]
    width: int = eqx.field(static=True)
    half: int = eqx.field(static=True)
    hole: int = eqx.field(static=True)
    single: bool = eqx.field(static=True)


def velocity_of(wavelength: Float[np.ndarray, " wave"]) -> Float[np.ndarray, " wave"]:
    """c ln(wavelength), km/s: the coordinate in which line profiles are evaluated."""
    return C_KMS * np.log(wavelength)


def padded_velocity(wavelength: Float[np.ndarray, " wave"]) -> Float[np.ndarray, " padded"]:
    """`velocity_of` a grid, continued to a whole number of tiles."""
    grid = velocity_of(np.asarray(wavelength, float))
    spare = -len(grid) % TILE
    return np.append(grid, grid[-1] + (grid[-1] - grid[-2]) * np.arange(1, spare + 1))


def _columns(lines: LineList, row, start, index, shape) -> dict:
    """Columns of rows `row` of the list, padded to `shape`."""
    total = shape[0] * shape[1]
    spare = total - len(row)
    take = np.concatenate([row, np.full(spare, row[-1])])
    padding = np.arange(total) >= len(row)
    columns = {
        "start": np.concatenate([start, np.full(spare, start[-1])]),
        "centre": index[take],
        "velocity": velocity_of(lines.wavelength[take]),
        "wavelength": lines.wavelength[take],
        "species": species_row(lines.z[take], lines.ion[take]),
        "mass": species_mass(lines.z[take]),
        "elow": lines.elow[take],
        "loggf": np.where(padding, -99.0, lines.loggf[take] + lines.log_fraction[take]),
        "log_gamma_rad": lines.log_gamma_rad[take],
        "log_gamma6": lines.log_gamma6[take],
        "gamma6_exponent": lines.gamma6_exponent[take],
        "log_gamma4": lines.log_gamma4[take],
        "line": np.where(padding, len(lines), take),
        "free": np.zeros(total, int),
    }
    return {k: jnp.asarray(v.reshape(shape)) for k, v in columns.items()}


def _shape(n_row: int, width: int, chunk_points: int, spare: bool) -> tuple[int, int]:
    """Chunks and rows in each; with `spare` few different shapes occur, so that like lists share a compilation."""
    per_chunk = max(1, chunk_points // width)
    if spare:
        n_chunk = -(-n_row // per_chunk)
        return int(np.ceil(1.2 ** np.ceil(np.log(n_chunk) / np.log(1.2) - 1e-9))), per_chunk
    n_chunk = -(-n_row // per_chunk)
    return n_chunk, -(-n_row // n_chunk)


def _place(grid: np.ndarray, velocity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest grid point of every line, and the grid's step there; the grid is thought to go on beyond its ends."""
    step = np.diff(grid)
    right = np.clip(np.searchsorted(grid, velocity), 1, len(grid) - 1)
    index = right - (velocity - grid[right - 1] < grid[right] - velocity)
    index = np.where(velocity < grid[0], np.rint((velocity - grid[0]) / step[0]), index)
    beyond = len(grid) - 1 + np.rint((velocity - grid[-1]) / step[-1])
    return np.where(velocity > grid[-1], beyond, index).astype(int), step[right - 1]


def make_buckets(
    lines: LineList,
    reach: Float[np.ndarray, " line"],
    wavelength: Float[np.ndarray, " wave"],
    *,
    smallest: int = 4,
    growth: float = 2.0,
    chunk_points: int = 4096,
    split: bool = False,
    spare: bool = False,
    single: bool = False,
) -> list[Bucket]:
    """Sort lines by the width of their windows, on the host, once a run.

    `reach` (km/s) is where a line's opacity has fallen below what matters: every point of the grid that a line reaches
    is in its window, wherever the line stands, and the window is no wider than those points want. Windows that stick
    out of the grid are shifted inside, which keeps shapes fixed; lines that do not reach the grid are left out.
    Widths start at `smallest` points to a side and grow by `growth` from bucket to bucket: a compilation each, against
    points evaluated for nothing. `chunk_points` bounds the points evaluated at once. `split` gives wide lines a core
    and wings in tiles, so that the wings take the cheap asymptotic profile. `spare` rounds shapes up, so that like
    problems share a compilation; `single` evaluates the profiles (nothing else) in float32, for hardware that is slow
    in double.
    """
    grid = velocity_of(np.asarray(wavelength, float))
    size = len(grid)
    index, step = _place(grid, velocity_of(lines.wavelength))
    need = np.ceil(np.asarray(reach, float) / step).astype(int)
    touches = (index + need >= 0) & (index - need < size)
    # the points reached, and their middle: of a line far outside, a short stretch at the grid's end
    first, last = np.clip(index - need, 0, size - 1), np.clip(index + need, 0, size - 1)
    middle = np.where((first == index - need) & (last == index + need), index, (first + last) // 2)
    inside = np.where(touches, np.maximum(last - middle, middle - first), 0)
    n_level = int(np.ceil(np.log(max(size / smallest, 1.0)) / np.log(growth))) + 1
    halves = np.unique(np.minimum(np.rint(smallest * growth ** np.arange(n_level)).astype(int), size))
    level = np.minimum(np.searchsorted(halves, inside), len(halves) - 1)
    core = int(np.ceil(CORE_KMS / np.diff(grid).min()))
    hole = int(halves[np.minimum(np.searchsorted(halves, core), len(halves) - 1)])
    wide = split & (halves[level] >= 4 * hole)
    middle = np.where(wide, index, middle)
    buckets = []
    for k, half in enumerate(halves):
        row = np.flatnonzero(touches & np.where(wide, half == hole, level == k))
        row = row[(middle[row] + half >= 0) & (middle[row] - half < size)]
        if len(row):
            width = min(2 * int(half) + 1, size)
            shape = _shape(len(row), width, chunk_points, spare)
            columns = _columns(lines, row, np.clip(middle[row] - half, 0, size - width), middle, shape)
            buckets.append(Bucket(width=width, half=int(half), hole=-1, single=single, **columns))
    row = np.flatnonzero(touches & wide)
    if len(row):
        tile = first[row] // TILE
        count = last[row] // TILE - tile + 1
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        start = (np.repeat(tile, count) + within) * TILE
        columns = _columns(lines, np.repeat(row, count), start, index, _shape(len(start), TILE, chunk_points, spare))
        # the farthest point of the last tile, beyond what any line needs
        buckets.append(Bucket(width=TILE, half=size + 10**9, hole=hole, single=single, **columns))
    return buckets
