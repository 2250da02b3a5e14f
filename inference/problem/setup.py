"""What a run prepares once: the lines of its windows, their reach, and the emulator on the run's depths."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache, partial
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from astrogf import base, emulator, synthesis
from astrogf.base.errors import AstrogfError
from astrogf.base.kept import Arrays, content_of, kept
from astrogf.emulator.layers import Layers
from astrogf.inference.problem.instrument import Instrument
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.parameters import vmic_relation
from astrogf.inference.problem.problem import StarProblem, chebyshev_basis
from astrogf.inference.problem.tiles import Tiles
from astrogf.inference.problem.unlisted import grown
from astrogf.synthesis.gas.abundances import SYMBOLS, number_fractions
from astrogf.synthesis.gas.eos import equation_of_state
from astrogf.synthesis.gas.gas import Gas
from astrogf.synthesis.gas.species import constituents
from astrogf.synthesis.linelists import Reaching, beside, is_hydrogen, windows_lines
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.lines.pieces import Extent
from astrogf.synthesis.lines.strength import distance, line_extent, may_reach
from astrogf.synthesis.model import WIDEST, SpectrumModel
from astrogf.synthesis.observed.grid import Grid

REFERENCE_STARS = (
    (4100.0, 1.0, 0.0),
    (4300.0, 4.5, 0.3),
    (4800.0, 2.5, 0.3),
    (5777.0, 4.44, 0.3),
    (6800.0, 4.0, 0.3),
)
"""(teff, logg, feh) of the atmospheres in which a line must matter to be kept at all."""
WALL = 0.1
"""Softness of the wall at the emulator's hull, in grid steps of its training set."""


@dataclass
class Setup:
    """One window of a run. `row` says where its lines are in the list of the whole run.

    `near` are the lines in the window or beside it; the others stand outside and only reach in, and their log gf is
    not for this window to correct. It is number `window` of the run's `n_window`.
    """

    options: FitOptions
    grid: Grid
    lines: LineList
    row: Int[np.ndarray, " line"]
    extent: Extent
    near: Bool[np.ndarray, " line"]
    atmosphere: Layers
    window: int = 0
    n_window: int = 1

    @cached_property
    def model(self) -> SpectrumModel:
        """The spectrum model of the window, the same whatever is free."""
        o = self.options.model
        return SpectrumModel.build(self.atmosphere, self.lines, self.extent, self.grid, o.angles, o.single, o.solar)

    @property
    def degree(self) -> int:
        """Of the continuum's polynomial."""
        o = self.options.continuum
        if o.scale is None:
            return o.degree
        wave = self.grid.pixel_wavelength
        return max(o.degree, round((wave[-1] - wave[0]) / o.scale))

    def problem(self, n_free: int) -> StarProblem:
        """The problem, with slots for `n_free` corrections, none of them used."""
        o = self.options
        atoms = composition(self.lines, o.stars.abundances)
        patterns, rest = rest_slots(atoms)
        basis = jnp.asarray(chebyshev_basis(self.grid.n_pixel, self.degree))
        sd = jnp.full(basis.shape[1], 3.0)
        empty = jnp.zeros((n_free + len(patterns), len(o.stars.abundances)))
        carriers = jnp.asarray(atoms), jnp.asarray(rest)
        none = jnp.zeros(len(self.lines), int)
        scattered, pieces = o.noise.line_scatter > 0, self.model.window.pieces
        tiles = Tiles.undivided(self.grid.n_pixel, n_free)
        instrument = Instrument.build(o.stars, self.grid.n_pixel, self.window, self.n_window)
        problem = StarProblem(
            self.model, pieces, none, basis, sd, empty, *carriers, n_free, tiles, WALL, instrument, scattered
        )  # fmt: skip
        return with_free(problem, np.full(len(self.lines), -1))


def numbered(setups: Sequence[Setup]) -> list[Setup]:
    """The windows of a run, each of which knows its number."""
    return [replace(setup, window=w, n_window=len(setups)) for w, setup in enumerate(setups)]


def composition(lines: LineList, elements: tuple[str, ...]) -> Float[np.ndarray, "line element"]:
    """Atoms of each element in the carrier of every line (2 of carbon in C2); H and Fe have no abundance here.

    An isotope, '13C', counts only in lines that the list gives to it; its abundance is on top of its element's.
    Raises ValueError for a name that is neither.
    """
    wanted = {}
    for i, name in enumerate(elements):
        symbol = name.lstrip("0123456789")
        if symbol not in SYMBOLS or name in ("H", "Fe"):
            raise AstrogfError(f"abundances: {name!r} is no element with an abundance beyond [Fe/H]")
        wanted[SYMBOLS.index(symbol) + 1, int(name.removesuffix(symbol) or 0)] = i
    kinds, inverse = np.unique(np.stack([lines.z, lines.isotope]), axis=1, return_inverse=True)
    table = np.zeros((kinds.shape[1], len(elements)))
    for k, (z, isotope) in enumerate(kinds.T):
        atoms = constituents(int(z))
        for at, atom in enumerate(atoms):
            mass = int(isotope) // 1000 ** (len(atoms) - 1 - at) % 1000
            for key in {(atom, 0), (atom, mass)} & wanted.keys():
                table[k, wanted[key]] += 1.0
    return table[inverse.ravel()]


def rest_slots(
    atoms: Float[np.ndarray, "line element"],
) -> tuple[Float[np.ndarray, "slot element"], Int[np.ndarray, " line"]]:
    """The different compositions, one slot each, and every line's slot (-1: none of the elements)."""
    patterns, rest = np.unique(atoms, axis=0, return_inverse=True)
    nothing = ~patterns.any(1) if len(patterns) and patterns.shape[1] else np.ones(len(patterns), bool)
    number = np.where(nothing, -1, np.cumsum(~nothing) - 1)
    return patterns[~nothing], number[rest.ravel()]


def with_free(problem: StarProblem, free: Int[np.ndarray, " line"]) -> StarProblem:
    """The same problem with correction free[i] moving line i; the others stay with their star's abundances."""
    free, rest, atoms = np.asarray(free), np.asarray(problem.rest), np.asarray(problem.atoms)
    membership = np.zeros(problem.membership.shape)
    if len(free) and free.max() >= problem.n_free:
        raise AstrogfError(f"{free.max() + 1} corrections, but the problem was built with room for {problem.n_free}")
    slot = np.where(free >= 0, free, np.where(rest >= 0, problem.n_free + rest, problem.n_slot))
    moved = slot < problem.n_slot
    membership[slot[moved]] = atoms[moved]
    pieces = problem.spectrum.window.pieces.with_free(np.append(slot, problem.n_slot), problem.n_slot).without_cores()
    # deviations of lines are eliminated from the whole matrix
    tiles = problem.tiles if problem.scattered else Tiles.of(pieces, problem.n_free, problem.spectrum.grid)
    moved_by = jnp.asarray(slot), jnp.asarray(membership)
    return eqx.tree_at(lambda p: (p.pieces, p.tiles, p.slot, p.membership), problem, (pieces, tiles, *moved_by))


@eqx.filter_jit
def _gas_of(atmosphere: Layers, labels: Float[Array, "4"], solar: str) -> tuple[Gas, Float[Array, " depth"]]:
    # one program, which the compilation cache keeps: step by step it would be hundreds of small ones
    structure = atmosphere(labels)
    fractions = number_fractions(labels[2], labels[3], solar=solar)
    return equation_of_state(structure.t, structure.p, structure.xne, fractions), structure.tau


def reference_gases(atmosphere: Layers, solar: str) -> list[tuple]:
    """Gas, vmic and the layers that count of the stars in which a line must matter."""
    reference = []
    for teff, logg, feh in REFERENCE_STARS:
        gas, tau = _gas_of(atmosphere, jnp.array([teff, logg, feh, 0.0]), solar)
        reference.append((gas, jnp.asarray(float(vmic_relation(teff, logg))), (tau < 3.0) & (tau > 1e-5)))
    return reference


@lru_cache(maxsize=4)
def _emulated(family: str, top: float, bottom: float, depths: int) -> Layers:
    return Layers(emulator.load(family), jnp.asarray(np.logspace(top, bottom, depths)))


@lru_cache(maxsize=4)
def _reference(family: str, solar: str, *depths: float) -> list[tuple]:
    return reference_gases(_emulated(family, *depths), solar)


def _depths(options: FitOptions) -> tuple[float, float, int]:
    model = options.model
    return model.tau_top, model.tau_bottom, model.depths


def reaching(options: FitOptions, farthest: float, family: str = "atlas9") -> Reaching:
    """Which lines reach a window from at most `farthest` km/s outside, in any of the reference stars."""

    def reach(lines: LineList, low: float, high: float) -> Bool[np.ndarray, " line"]:
        # the stars are made when they are needed: never, where everything has been kept
        reference = _reference(family, options.model.solar, *_depths(options))
        return may_reach(lines, low, high, reference, options.model.line_cut, farthest)

    return reach


@cache
def _made_with() -> str:
    """Name of all code and data that the choice of lines follows from."""
    here = Path(__file__).parent
    return content_of(here, *(Path(room.__file__ or "").parent for room in (base, emulator, synthesis)))


def shipped_lines(
    windows: Sequence[tuple[float, float]], options: FitOptions, farthest: float, family: str = "atlas9"
) -> LineList:
    """The shipped lines in and beside windows (vacuum Angstrom), and those that reach them from up to `farthest` km/s.

    Kept between runs.
    """
    model = options.model

    def choose() -> Arrays:
        return windows_lines(windows, model.molecules, reaching(options, farthest, family))._asdict()

    key = windows, model.molecules, model.line_cut, farthest, family, model.solar, _depths(options), _made_with()
    return LineList(**kept("lines", key, choose))


def prepare(
    wavelength: Float[np.ndarray, " pixel"],
    options: FitOptions,
    family: str = "atlas9",
    lines: LineList | None = None,
    *,
    keep_all: bool = False,
) -> Setup:
    """Choose the lines that matter in the window of these pixels and their widths, on the host.

    `lines` instead of the shipped list, hydrogen's left out with a warning; `keep_all` where they are a selection made
    before. Lines outside count as far as they reach in, but never from more than `WIDEST` points of the grid away.
    What is chosen is kept between runs, by the content of the list (`base.kept`).
    """
    grid = grid_under(wavelength, options)
    edge = float(grid.wavelength[0]), float(grid.wavelength[-1])
    farthest = np.inf if keep_all else WIDEST * grid.velocity_step
    if lines is None:
        lines = shipped_lines([edge], options, farthest, family)
    hydrogen = is_hydrogen(lines)
    model = options.model
    key = list(lines), grid, model.line_cut, family, model.solar, _depths(options), keep_all, _made_with()
    chosen = kept("windows", key, partial(_chosen, lines, hydrogen, grid, options, family, keep_all))
    row, near = chosen["row"], chosen["near"]
    extent = Extent(*(chosen[name] for name in Extent._fields))
    return Setup(options, grid, lines.take(row), row, extent, near, _emulated(family, *_depths(options)))


def _chosen(
    lines: LineList, hydrogen: Bool[np.ndarray, " line"], grid: Grid, options: FitOptions, family: str, keep_all: bool
) -> dict[str, np.ndarray]:
    """The arrays of a `Setup`, those of its extent one by one."""
    edge = float(grid.wavelength[0]), float(grid.wavelength[-1])
    farthest = WIDEST * grid.velocity_step
    reach_in = reaching(options, np.inf if keep_all else farthest, family)
    may_become = lines.replace(loggf=grown(lines))
    row = np.flatnonzero((beside(lines, *edge) | reach_in(may_become, *edge)) & ~hydrogen)
    lines, may_become = lines.take(row), may_become.take(row)
    extent = line_extent(may_become, _reference(family, options.model.solar, *_depths(options)), options.model.line_cut)
    extent = extent._replace(strength=extent.strength * 10.0 ** (lines.loggf - may_become.loggf))
    near = beside(lines, *edge)
    touches = near | (np.minimum(extent.reach, farthest) >= distance(lines.wavelength, *edge))
    keep = ((extent.strength > options.model.line_cut) & touches) | keep_all
    return {"row": row[keep], "near": near[keep], **extent.take(keep)._asdict()}


def grid_under(wavelength: Float[np.ndarray, " pixel"], options: FitOptions) -> Grid:
    """The synthesis grid under survey pixels (vacuum Angstrom)."""
    model = options.model
    return Grid.over(np.asarray(wavelength), model.oversampling, reach=model.rv_reach, widest_sigma=model.widest_sigma)


def padded_window(wavelength: Float[np.ndarray, " pixel"], options: FitOptions) -> tuple[float, float]:
    """First and last wavelength of the synthesis grid under survey pixels."""
    grid = grid_under(wavelength, options)
    return float(grid.wavelength[0]), float(grid.wavelength[-1])
