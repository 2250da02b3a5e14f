"""Lines cut into pieces of a few fixed shapes, on the host, once a run: cores in short rows, wings in tiles.

A core is evaluated point by point. It is cut into rows of one width, so that one compiled loop serves lines of every
width and few points are evaluated for nothing. Far from the line a profile is a short sum of products of something of
the layer and something of the wavelength (`voigt.wing_coefficients`), so that the wings of all lines that reach a tile
of the grid are one product of matrices.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from astrogf.base.constants import ATOMIC_MASS, BOLTZMANN, C_KMS
from astrogf.synthesis.gas.species import species_mass, species_row
from astrogf.synthesis.lines.linelist import LineList

TILE = 128
"""Least points of a tile of wings."""
WIDE = 2.0
"""Wings begin where the core ends, in lines that reach farther than this many times their core."""
WEAK = 1000.0
"""Lines weaker than this (opacity at the centre over the continuum's) may be evaluated in single precision, whose
error is 1e-6 of the centre."""
WIDTHS = (5, 7, 9, 13, 19, 27, 39)
"""Points of a row of cores: that which costs least for the lines at hand."""
ROW_COST = 4
"""What a row costs beside its points, in points."""


class Extent(NamedTuple):
    """How far lines matter: greatest opacity at the centre over the continuum's, the distance (km/s) beyond which a
    line does not matter, and that beyond which its profile is its wing."""

    strength: Float[np.ndarray, " line"]
    reach: Float[np.ndarray, " line"]
    core: Float[np.ndarray, " line"]

    def take(self, keep: np.ndarray) -> "Extent":
        """Those of the lines where `keep` (boolean or indices) says so."""
        return Extent(*(x[keep] for x in self))


class Transitions(eqx.Module):
    """What profiles need of lines: `velocity` is c ln(wavelength) in km/s, `thermal` the square of the thermal speed
    per kelvin in (km/s)^2, `gamma_rad` and `gamma4` (per electron) in rad/s, the rest as in `LineList`.

    `line` is the row in the list (the list's length for padding), `free` the correction that moves it (the number of
    corrections where none does).
    """

    velocity: Float[Array, "*row"]
    wavelength: Float[Array, "*row"]
    species: Int[Array, "*row"]
    thermal: Float[Array, "*row"]
    elow: Float[Array, "*row"]
    loggf: Float[Array, "*row"]
    gamma_rad: Float[Array, "*row"]
    log_gamma6: Float[Array, "*row"]
    gamma6_exponent: Float[Array, "*row"]
    gamma4: Float[Array, "*row"]
    line: Int[Array, "*row"]
    free: Int[Array, "*row"]

    @classmethod
    def of(cls, lines: LineList, row: Int[np.ndarray, "*row"]) -> "Transitions":
        """The lines of these rows of the list, none of them free; row len(lines) is padding."""
        # padding counts nowhere: any line will do
        at = np.minimum(row, len(lines) - 1)
        columns = dict(
            velocity=velocity_of(lines.wavelength[at]),
            wavelength=lines.wavelength[at],
            species=species_row(lines.z, lines.ion)[at],
            thermal=(2.0 * BOLTZMANN / (species_mass(lines.z) * ATOMIC_MASS) * 1e-10)[at],
            elow=lines.elow[at],
            loggf=(lines.loggf + lines.log_fraction)[at],
            gamma_rad=10.0 ** lines.log_gamma_rad[at],
            log_gamma6=lines.log_gamma6[at],
            gamma6_exponent=lines.gamma6_exponent[at],
            gamma4=10.0 ** lines.log_gamma4[at],
            line=row,
            free=np.zeros(row.shape, int),
        )
        return cls(**{name: jnp.asarray(x) for name, x in columns.items()})

    def with_free(self, free: Int[np.ndarray, " line_plus_one"]) -> "Transitions":
        """The same lines, correction free[i] moving line i; the last entry is for padding."""
        return eqx.tree_at(lambda t: t.free, self, jnp.asarray(free[np.asarray(self.line)]))


class Cores(eqx.Module):
    """Rows of `width` points from `start` on, each a piece of one line's core, in chunks.

    Points at most `half` from `centre`, the grid point nearest to the line (it may lie outside), count: none of a row
    of padding, whose half is -1. `single`: the profiles are evaluated in float32.
    """

    lines: Transitions
    start: Int[Array, "chunk row"]
    centre: Int[Array, "chunk row"]
    half: Int[Array, "chunk row"]
    width: int = eqx.field(static=True)
    single: bool = eqx.field(static=True)

    def filled(self, n_chunk: int) -> "Cores":
        """The same rows and padding, `n_chunk` chunks of them."""
        keep = np.arange(n_chunk * self.start.shape[1]).reshape(n_chunk, -1) < self.start.size
        return _picked(self, np.where(keep, np.arange(keep.size).reshape(keep.shape), 0), ~keep)


class Wings(eqx.Module):
    """Lines with wings, and which of them reach each tile of the grid: those `near` it, and those at least a tile away.

    Points more than `hole` and at most `half` from `centre` count; `core` (km/s) is about where they begin. The last
    line is padding, counts nowhere, and fills up the members of tiles.
    """

    lines: Transitions
    centre: Int[Array, " wide"]
    hole: Int[Array, " wide"]
    half: Int[Array, " wide"]
    core: Float[Array, " wide"]
    near: Int[Array, "tile near"]
    far: Int[Array, "tile far"]
    tile: int = eqx.field(static=True)
    single: bool = eqx.field(static=True)


class Pieces(eqx.Module):
    """All lines of a window: the cores, once more those rows of them that belong to free lines, and the wings."""

    cores: list[Cores]
    free_cores: list[Cores]
    wings: Wings | None

    def with_free(self, free: Int[np.ndarray, " line_plus_one"], n_free: int) -> "Pieces":
        """The same lines, correction free[i] < n_free moving line i; n_free where none does."""
        cores = [eqx.tree_at(lambda c: c.lines, c, c.lines.with_free(free)) for c in self.cores]
        wings = self.wings
        if wings is not None:
            wings = eqx.tree_at(lambda w: w.lines, wings, wings.lines.with_free(free))
        return Pieces(cores, [_those(c, np.asarray(c.lines.free) < n_free) for c in cores], wings)

    def without_cores(self) -> "Pieces":
        """As much as derivatives by free lines take."""
        return Pieces([], self.free_cores, self.wings)


def velocity_of(wavelength: Float[np.ndarray, " wave"]) -> Float[np.ndarray, " wave"]:
    """c ln(wavelength), km/s: the coordinate in which line profiles are evaluated."""
    return C_KMS * np.log(wavelength)


def padded_velocity(wavelength: Float[np.ndarray, " wave"], tile: int = TILE) -> Float[np.ndarray, " padded"]:
    """`velocity_of` a grid, continued to a whole number of tiles, by a row of cores at least."""
    grid = velocity_of(np.asarray(wavelength, float))
    spare = max(WIDTHS) + (-(len(grid) + max(WIDTHS)) % tile)
    return np.append(grid, grid[-1] + (grid[-1] - grid[-2]) * np.arange(1, spare + 1))


def rounded(count: int) -> int:
    """The next of a few numbers, so that like problems have one shape and share a compilation."""
    return int(np.ceil(1.2 ** np.ceil(np.log(count) / np.log(1.2) - 1e-9))) if count else 0


def _those(cores: Cores, keep: Bool[np.ndarray, "chunk row"]) -> Cores:
    """The rows where `keep`, in as many chunks as they want."""
    row, per_chunk = np.flatnonzero(keep), cores.start.shape[1]
    n_chunk = rounded(-(-len(row) // per_chunk))
    padding = np.arange(n_chunk * per_chunk) >= len(row)
    at = np.append(row, np.zeros(padding.sum(), int))
    return _picked(cores, at.reshape(n_chunk, per_chunk), padding.reshape(n_chunk, per_chunk))


def _picked(cores: Cores, row: Int[np.ndarray, "chunk row"], padding: Bool[np.ndarray, "chunk row"]) -> Cores:
    """Rows of cores by their number, those that are padding counting nowhere."""
    if cores.start.size == 0:
        return jax.tree.map(lambda x: jnp.zeros(row.shape, x.dtype), cores)
    picked = jax.tree.map(lambda x: jnp.asarray(np.asarray(x).ravel()[row]), cores)
    return eqx.tree_at(lambda c: c.half, picked, jnp.where(padding, -1, picked.half))


def _place(grid: np.ndarray, velocity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest grid point of every line, and the grid's step there; the grid is thought to go on beyond its ends."""
    step = np.diff(grid)
    right = np.clip(np.searchsorted(grid, velocity), 1, len(grid) - 1)
    index = right - (velocity - grid[right - 1] < grid[right] - velocity)
    index = np.where(velocity < grid[0], np.rint((velocity - grid[0]) / step[0]), index)
    beyond = len(grid) - 1 + np.rint((velocity - grid[-1]) / step[-1])
    return np.where(velocity > grid[-1], beyond, index).astype(int), step[right - 1]


def cut_up(
    lines: LineList,
    extent: Extent,
    wavelength: Float[np.ndarray, " wave"],
    *,
    tile: int = TILE,
    chunk_points: int = 1024,
    spare: bool = False,
    single: bool = False,
    farther: int = 1,
) -> Pieces:
    """The pieces of all lines on a strictly increasing grid (vacuum Angstrom), none of them free.

    Every point of the grid that a line reaches, wherever the line stands, is in one of its pieces, and in one only;
    wings go on to the end of their last tile. `chunk_points` bounds the points of cores evaluated at once. `spare`
    rounds shapes up, so that like problems share a compilation. `single`: wings, and cores of lines weaker than WEAK,
    in single precision. Wings go on to `farther` times a line's reach: one alone does not matter there, but many add
    up.
    """
    grid = velocity_of(np.asarray(wavelength, float))
    size = len(grid)
    index, step = _place(grid, velocity_of(lines.wavelength))
    need, core = (np.ceil(x / step).astype(int) for x in (extent.reach, extent.core))
    wide = need > WIDE * core
    half = np.where(wide, core, need)
    first, last = np.maximum(index - half, 0), np.minimum(index + half, size - 1)
    cores = []
    for weak in (True, False) if single else (False,):
        mine = np.flatnonzero((first <= last) & ((extent.strength < WEAK) == weak) if single else first <= last)
        if len(mine):
            cores.append(_rows(lines, mine, first, last, index, half, chunk_points, spare, single=weak))
    reaching = np.flatnonzero(wide & (index + farther * need >= 0) & (index - farther * need < size))
    wings = None
    if len(reaching):
        wings = _wings(lines, extent, reaching, index, core, farther * need, size, tile, spare, single)
    return Pieces(cores, [], wings)


def _rows(lines: LineList, mine, first, last, index, half, chunk_points, spare, single) -> Cores:
    points = last[mine] - first[mine] + 1
    cost = [np.sum(-(-points // w)) * (w + ROW_COST) for w in WIDTHS]
    width = WIDTHS[int(np.argmin(cost))]
    count = -(-points // width)
    line = np.repeat(mine, count)
    within = np.arange(len(line)) - np.repeat(np.cumsum(count) - count, count)
    start = first[line] + width * within
    # an even number of rows: profiles are evaluated half a chunk at a time
    per_chunk = 2 * max(1, chunk_points // width // 2)
    n_chunk = -(-len(line) // per_chunk)
    if spare:
        n_chunk = rounded(n_chunk)
    else:
        per_chunk = 2 * -(-len(line) // n_chunk // 2)
    shape = n_chunk, per_chunk

    def column(values, padding):
        return np.append(values, np.full(n_chunk * per_chunk - len(line), padding)).reshape(shape)

    return Cores(
        Transitions.of(lines, column(line, len(lines))),
        start=jnp.asarray(column(start, 0)),
        centre=jnp.asarray(column(index[line], 0)),
        half=jnp.asarray(column(half[line], -1)),
        width=width,
        single=single,
    )


def _wings(lines: LineList, extent: Extent, reaching, index, core, need, size, tile, spare, single) -> Wings:
    middle, hole = index[reaching], core[reaching]
    half = np.minimum(need[reaching], size + np.abs(middle))
    n_tile = -(-(size + max(WIDTHS)) // tile)
    n_wide = (rounded(len(reaching)) if spare else len(reaching)) + 1
    begin = np.arange(n_tile)[:, None] * tile
    # to the end of the last tile, beyond what the line needs
    first, last = np.maximum(middle - half, 0) // tile, np.minimum(middle + half, size - 1) // tile
    half = np.maximum(middle - first * tile, (last + 1) * tile - 1 - middle)
    reached = (begin >= first * tile) & (begin <= last * tile)
    far = (begin - middle >= tile) | (middle - (begin + tile - 1) >= tile)

    def members(which: np.ndarray):
        most = int(which.sum(axis=1).max())
        most = rounded(most) if spare else most
        # members first, in the order of the list, then padding
        ordered = np.sort(np.where(which, np.arange(len(reaching)), n_wide - 1), axis=1)
        spare_columns = max(most - ordered.shape[1], 0)
        return jnp.asarray(np.pad(ordered, ((0, 0), (0, spare_columns)), constant_values=n_wide - 1)[:, :most])

    padding = n_wide - len(reaching)

    def column(values, pad):
        return jnp.asarray(np.append(values, np.full(padding, pad)))

    return Wings(
        Transitions.of(lines, np.append(reaching, np.full(padding, len(lines)))),
        centre=column(middle, 0),
        hole=column(hole, 0),
        half=column(half, -1),
        core=column(np.maximum(extent.core[reaching], 1e-3), 1.0),
        near=members(reached & ~far),
        far=members(reached & far),
        tile=tile,
        single=single,
    )
