"""Spectra taken one file at a time, from a directory or a store: what is used in which window, and why not the rest."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.table import Table

from astrogf.surveys.batch import SpectrumBatch
from astrogf.surveys.directory.photons import Photons
from astrogf.surveys.directory.selection import Candidate, Selection, batch_table, name_stars
from astrogf.surveys.formats import readers
from astrogf.surveys.rows import Pixels, RowFile, Rows
from astrogf.surveys.spectrum import SurveyError, SurveySpectrum, grid, window_pixels

Window = tuple[float, float]
UNTELLING = ("no_coverage", "kind")
"""Reasons that say less than what else is wrong with a file."""


class LoadedSpectra(NamedTuple):
    """`batches`: one SpectrumBatch for each kind and window that holds something; `table["kind"]` is the same in
    all rows of a batch and `table["path"]` links the pieces of one file. `set_aside`: one row a file of which
    nothing is used: path, reason, detail. `partly`: of files that are used, the pieces and windows that are not:
    path, piece, start and stop of the window (A; nan: all of the piece), reason, detail."""

    batches: list[SpectrumBatch]
    set_aside: Table
    partly: Table


class _Key(NamedTuple):
    kind: str
    log_step: float
    window: int


class Gatherer:
    """What is taken so far, in the order of the files. `kinds`: those that are asked for, None for all; `file`: where
    pixels are put, in memory if None; `aside`: rows of files that were set aside before."""

    def __init__(
        self,
        windows: Sequence[Window],
        kinds: Sequence[str] | None,
        selection: Selection,
        file: RowFile | None,
        aside: Sequence[tuple[str, str, str]] = (),
    ) -> None:
        self.windows, self.kinds, self.selection, self.file = list(windows), kinds, selection, file
        self.photons = Photons()
        self.taken: dict[_Key, list[Candidate]] = defaultdict(list)
        self.aside, self.partly = list(aside), list[tuple]()

    def take(self, read: Callable[[], Sequence[SurveySpectrum]], path: Path, name: str) -> None:
        """Whatever `read` gives of one file that passes; `name` is what it is called in tables, `path` in sentences.

        One bad file never ends the run: it becomes a row.
        """
        refused: list[tuple[str, Window | None, SurveyError]] = []
        used: list[tuple[_Key, Candidate]] = []
        try:
            for spectrum in read():
                try:
                    check_kind(spectrum, self.kinds, path)
                    self.selection.check_star(spectrum, path)
                    self.photons.check(spectrum, path, name)
                except SurveyError as err:
                    refused.append((spectrum.piece, None, err))
                    continue
                for i, window in enumerate(self.windows):
                    try:
                        piece = self.selection.take(spectrum, window, path, name)
                    except SurveyError as err:
                        refused.append((spectrum.piece, window, err))
                    else:
                        used.append((_Key(spectrum.kind, spectrum.log_step, i), piece))
                        self.photons.take(spectrum, name)
        except SurveyError as err:
            refused.append(("", None, err))
        except Exception as err:  # a reader's own fault is this file's misfortune, not the run's
            broken = SurveyError(f"{path} broke the reader ({type(err).__name__}: {err}): report it.", "unreadable")
            refused.append(("", None, broken))
        for key, piece in used:
            self.taken[key].append(piece.put(self.file))
        if used:
            self.partly += [
                (name, piece, *(window or (np.nan, np.nan)), err.reason, str(err))
                for piece, window, err in refused
                if err.reason not in UNTELLING
            ]
        elif refused:
            # that a blue arm does not cover the red window says less than what is wrong with the red one
            telling = [err for _, _, err in refused if err.reason not in UNTELLING]
            worst = (telling or [err for _, _, err in refused])[0]
            self.aside.append((name, worst.reason, str(worst)))

    def loaded(self, *, named: bool = False) -> LoadedSpectra:
        """All of it; batches ordered by kind and then by window, tables by path. `named`: rows say already which star
        they are of; else that is found among those that were taken."""
        if not named:
            name_stars([piece.row for group in self.taken.values() for piece in group])
        order = {kind: i for i, kind in enumerate(readers.KINDS)}
        batches = []
        for key in sorted(self.taken, key=lambda key: (order.get(key.kind, len(order)), key.window)):
            first, n_pixel = window_pixels(self.windows[key.window], key.log_step)
            batches.append(as_batch(grid(first, n_pixel, key.log_step), self.taken[key], self.file))
        aside = sorted(self.aside, key=lambda row: row[0])
        return LoadedSpectra(batches, aside_table(aside), partly_table(self.partly))


def check_kind(spectrum: SurveySpectrum, kinds: Sequence[str] | None, path: Path) -> None:
    """Raises SurveyError for a spectrum of none of these kinds; None is all kinds."""
    if kinds is not None and spectrum.kind not in kinds:
        raise SurveyError(f"{path} holds a spectrum of kind {spectrum.kind}; {', '.join(kinds)} was asked for.", "kind")


def aside_table(rows: list[tuple[str, str, str]]) -> Table:
    """What `LoadedSpectra.set_aside` holds."""
    return Table(rows=rows or None, names=("path", "reason", "detail"), dtype=(str, str, str))


def partly_table(rows: list[tuple]) -> Table:
    """What `LoadedSpectra.partly` holds."""
    names = ("path", "piece", "start", "stop", "reason", "detail")
    table = Table(rows=rows or None, names=names, dtype=(str, str, float, float, str, str))
    table["start"].unit = table["stop"].unit = "Angstrom"
    return table


def as_batch(wavelength: np.ndarray, pieces: list[Candidate], file: RowFile | None = None) -> SpectrumBatch:
    """Candidates on the same pixels as one batch; `file`: the one that they were put into, if they were."""

    def together(rows: list) -> Pixels:
        return np.array(rows).reshape(-1, wavelength.size) if file is None else Rows.of(file, rows)

    flux, ivar = together([p.flux for p in pieces]), together([p.ivar for p in pieces])
    widths = [p.lsf for p in pieces]
    given = [w for w in widths if w is not None]
    lsf = together(given) if given and len(given) == len(widths) else None
    return SpectrumBatch(wavelength, flux, ivar, batch_table([p.row for p in pieces]), lsf)
