"""Spectra of several windows put together by star, with the lines and the emulator of every window prepared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from astropy.table import Table, vstack
from jaxtyping import Bool, Float, Int

from astrogf.base.errors import AstrogfError
from astrogf.inference.blocks.work import Work
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.priors import NOTHING, Belief, star_prior
from astrogf.inference.problem.problem import StarData
from astrogf.inference.problem.setup import Setup, grid_under, numbered, padded_window, prepare, shipped_lines
from astrogf.inference.problem.spectra import ELSEWHERE, Sample, WindowSpectra, in_blocks
from astrogf.surveys.batch import SpectrumBatch
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.model import WIDEST


class NoStarsError(AstrogfError):
    """Nothing was left to fit; the sentence says why and what to do, `set_aside` which stars were refused."""

    reason = "no_stars"


@dataclass(frozen=True)
class Origin:
    """Where the spectra of a fit are from: batches, one row of `table` a star, the run's whole line list, the level
    that every row was divided by, and the names of the releases of every batch. Of the batches' own tables the paths
    are kept: the rest is in `table`, once."""

    batches: Sequence[SpectrumBatch]
    table: Table
    lines: LineList
    levels: list[Float[np.ndarray, " row"]]
    releases: list[np.ndarray]

    def select(self, keep: Bool[np.ndarray, " star"], rows: list[Bool[np.ndarray, " row"]]) -> "Origin":
        """The stars where `keep`, the spectra where `rows` say so."""
        batches = [b.select(k) for b, k in zip(self.batches, rows, strict=True)]
        levels = [level[k] for level, k in zip(self.levels, rows, strict=True)]
        return replace(self, batches=batches, table=self.table[keep], levels=levels)


class Collected(NamedTuple):
    """The stars of several batches: setups and sample by window, and where every star is from."""

    setups: list[Setup]
    sample: Sample
    beliefs: list[Belief]
    origin: Origin


def scaled_data(
    flux: Float[np.ndarray, "row pixel"], ivar: Float[np.ndarray, "row pixel"]
) -> tuple[StarData, Float[np.ndarray, " row"]]:
    """Fluxes divided by each spectrum's median level (the continuum prior expects a level near 1), and the levels."""
    good = ivar > 0
    level = np.array([np.median(f[g]) if g.any() else 1.0 for f, g in zip(flux, good, strict=True)])
    level = np.where(level > 0, level, 1.0)
    scaled = flux / level[:, None], ivar * level[:, None] ** 2
    return StarData(*(np.asarray(x, float) for x in scaled)), level  # type: ignore[arg-type]


def window_setups(
    batches: Sequence[SpectrumBatch],
    options: FitOptions,
    lines: LineList | None,
    family: str = "atlas9",
    *,
    keep_all: bool = False,
    complete: Callable[[LineList], LineList] = lambda lines: lines,
) -> tuple[LineList, list[Setup]]:
    """The run's line list and its windows; arguments as of `collect`. Raises NoStarsError for no batch."""
    if not batches:
        raise NoStarsError("no spectrum passed the selection: lower survey.snr_min or check the window")
    if lines is None:
        farthest = WIDEST * max(grid_under(b.wavelength, options).velocity_step for b in batches)
        padded = [padded_window(b.wavelength, options) for b in batches]
        lines = shipped_lines(padded, options, farthest, family)
    lines = complete(lines)
    return lines, numbered([prepare(b.wavelength, options, family, lines, keep_all=keep_all) for b in batches])


def collect(
    batches: Sequence[SpectrumBatch],
    options: FitOptions,
    lines: LineList | None,
    beliefs: Mapping[str, Belief],
    family: str = "atlas9",
    *,
    keep_all: bool = False,
    complete: Callable[[LineList], LineList] = lambda lines: lines,
    work: Work | None = None,
) -> Collected:
    """Windows prepared, and spectra put together by star: those of one path (a file, or what a file speaks of).

    `lines` instead of the shipped list, sorted by wavelength; `keep_all` where they are a selection made before;
    `complete` adds what a list may lack. With `work` the sample is cut into its blocks.
    """
    batches = [b for b in batches if len(b.flux)]
    lines, setups = window_setups(batches, options, lines, family, keep_all=keep_all, complete=complete)
    of_rows = [[str(path) for path in b.table["path"].tolist()] for b in batches]
    paths = list(dict.fromkeys(path for rows in of_rows for path in rows))
    number = {path: i for i, path in enumerate(paths)}
    of_stars = [beliefs.get(path, NOTHING) for path in paths]
    known_scatter = np.array([np.nan if b.line_scatter is None else b.line_scatter for b in of_stars])
    windows, levels, releases = list[WindowSpectra](), list[np.ndarray](), list[np.ndarray]()
    for batch, setup, rows in zip(batches, setups, of_rows, strict=True):
        names, release = np.unique(np.asarray(batch.table["release"]).astype(str), return_inverse=True)
        star = np.array([number[path] for path in rows])
        windows.append(WindowSpectra(setup.problem(0), ELSEWHERE, star, release, known_scatter[star]))
        levels.append(np.ones(len(star)))
        releases.append(names)
    prior = star_prior(of_stars, options, len(windows))

    def data(k: int, rows: np.ndarray) -> StarData:
        scaled, levels[k][rows] = scaled_data(batches[k].flux[rows], batches[k].ivar[rows])
        return scaled

    if work is None:
        whole = [replace(w, data=data(k, np.arange(len(w.star)))) for k, w in enumerate(windows)]
        sample = Sample(tuple(whole), prior)
    else:
        sample = in_blocks(windows, prior, work, data)
    table = table_of_stars([b.table for b in batches], [w.star for w in windows])
    batches = [b._replace(table=b.table[["path"]]) for b in batches]
    return Collected(setups, sample, of_stars, Origin(batches, table, lines, levels, releases))


def table_of_stars(tables: Sequence[Table], star: Sequence[Int[np.ndarray, " row"]]) -> Table:
    """Columns of the first table, one row a star: its first row in all of the tables, of which `star` says whose each
    row is. Where that is every row of one table, in its order, the columns are that table's own, not copies."""
    _, first = np.unique(np.concatenate(star), return_index=True)
    together = tables[0] if len(tables) == 1 else vstack(list(tables), metadata_conflicts="silent")
    whole = np.array_equal(first, np.arange(len(together)))
    columns = {name: together[name].data for name in tables[0].colnames}
    return Table({name: x if whole else x[first] for name, x in columns.items()}, copy=False)
