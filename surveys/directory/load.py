"""A directory of survey files in, batches of one grid each out, and a table of what was set aside and why."""

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.table import Table

from astrogf.base import files
from astrogf.base.errors import printable
from astrogf.surveys.batch import SpectrumBatch
from astrogf.surveys.directory.photons import Photons
from astrogf.surveys.directory.selection import (
    SAME_STAR_ARCSEC,
    Candidate,
    Selection,
    batch_table,
    group_stars,
    name_stars,
)
from astrogf.surveys.formats import readers
from astrogf.surveys.formats.fitsfile import looks_like_fits, read_bytes
from astrogf.surveys.rows import Pixels, RowFile, Rows
from astrogf.surveys.spectrum import REASONS, SurveyError, SurveySpectrum, grid, window_pixels

__all__ = [
    "SAME_STAR_ARCSEC",
    "LoadedSpectra",
    "find_files",
    "group_stars",
    "load_directory",
    "reason_counts",
]

Window = tuple[float, float]
Progress = Callable[[int, int], None]
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


def load_directory(
    source: Path | str,
    windows: Sequence[Window],
    *,
    kinds: Sequence[str] | None = None,
    snr_min: float = 20.0,
    snr_band: str = "g",
    spectral_types: str = "FGK",
    min_good_fraction: float = 0.9,
    max_gap: float = 30.0,
    leave_out: Sequence[Window] = (),
    night_sky: bool = False,
    exposures: bool = False,
    progress: Progress | None = None,
    file: RowFile | None = None,
) -> LoadedSpectra:
    """Every spectrum of any known kind in a directory or file, cut to the windows it covers.

    windows: vacuum Angstrom, in the frame of the spectra (rest frame for apStar, aspcapStar and mwmStar,
    heliocentric for LAMOST and SDSS; table column `frame`). kinds: names of readers.KINDS or readers.ARMS; a file
    that holds none of them is set aside. None takes all, which is for looking at them: a fit would take some photons
    twice. snr_min: against the piece's own S/N: the header's where the format has one (LRS: of `snr_band`; MRS: the
    arm's; SDSS: SN_MEDIAN_ALL; APOGEE: SNR), else the median of flux*sqrt(ivar) over the piece (LRS: in 4000-5500 A);
    the column snr_source says which. spectral_types: first letters of the header's subclass that are kept ("" keeps
    all); a star without a subclass is kept, for the fit to judge. min_good_fraction: of the window's pixels. max_gap:
    Angstrom of the widest run of unusable pixels. leave_out: ranges of wavelengths whose pixels, good or not, come back
    as unusable; so do those of `surveys.night_sky`, but with night_sky. exposures: single exposures or visits instead
    of coadds, where a file has both. progress(done, total) is called after every file. file: where pixels are put, in
    memory if None.

    The batches are ordered by kind and then by window. One bad file never ends the run: it becomes a row. Raises
    SurveyError at once where the arguments make no sense, or the directory does not exist or holds no FITS file, and at
    the end if no file is a readable spectrum of the kinds.
    """
    source = Path(source)
    windows = [(float(low), float(high)) for low, high in windows]
    if not windows:
        raise SurveyError("No window is given: name at least one, two wavelengths in vacuum Angstrom.")
    for window in windows:
        window_pixels(window)
    wanted = None if kinds is None else [kind for name in kinds for kind in readers.kinds_named(name)]
    selection = Selection(snr_min, snr_band, spectral_types, min_good_fraction, max_gap, leave_out, night_sky)
    single = os.path.lexists(source) and not os.path.isdir(source)
    paths = [source] if single else find_files(source)
    root = source.parent if single else source
    taken, aside, partly = _gather(paths, root, windows, wanted, selection, exposures, progress, file)
    if not taken and all(row[1] in ("unreadable", "unknown_release", "stated", "kind") for row in aside):
        asked = f"is a readable spectrum of kind {', '.join(wanted)}" if wanted else "can be read"
        raise SurveyError(f"None of the {len(paths)} files in {source} {asked}. The first: {aside[0][2]}", aside[0][1])
    name_stars([piece.row for group in taken.values() for piece in group])
    order = {kind: i for i, kind in enumerate(readers.KINDS)}
    batches = []
    for key in sorted(taken, key=lambda key: (order.get(key.kind, len(order)), key.window)):
        first, n_pixel = window_pixels(windows[key.window], key.log_step)
        batches.append(as_batch(grid(first, n_pixel, key.log_step), taken[key], file))
    return LoadedSpectra(batches, aside_table(aside), partly_table(partly))


class _Key(NamedTuple):
    kind: str
    log_step: float
    window: int


def _gather(
    paths: list[Path],
    root: Path,
    windows: list[Window],
    kinds: Sequence[str] | None,
    selection: Selection,
    exposures: bool,
    progress: Progress | None,
    file: RowFile | None,
) -> tuple[dict[_Key, list[Candidate]], list[tuple[str, str, str]], list[tuple]]:
    """Candidates by kind and window, files set aside, and refused parts of files that are used."""
    by_content: dict[str, str] = {}
    photons = Photons()
    taken: dict[_Key, list[Candidate]] = defaultdict(list)
    aside: list[tuple[str, str, str]] = []
    partly: list[tuple] = []
    for done, path in enumerate(paths, start=1):
        name = printable(path.relative_to(root).as_posix(), keep="")
        refused: list[tuple[str, Window | None, SurveyError]] = []
        used: list[tuple[_Key, Candidate]] = []
        try:
            raw, sha256 = read_bytes(path)
            if sha256 in by_content:
                raise SurveyError(
                    f"{path} has the same bytes as {by_content[sha256]}, which is kept: remove one of them.",
                    "duplicate_file",
                )
            by_content[sha256] = name
            for spectrum in readers.parse(raw, path, sha256, exposures=exposures):
                try:
                    check_kind(spectrum, kinds, path)
                    selection.check_star(spectrum, path)
                    photons.check(spectrum, path, name)
                except SurveyError as err:
                    refused.append((spectrum.piece, None, err))
                    continue
                for i, window in enumerate(windows):
                    try:
                        piece = selection.take(spectrum, window, path, name)
                    except SurveyError as err:
                        refused.append((spectrum.piece, window, err))
                    else:
                        used.append((_Key(spectrum.kind, spectrum.log_step, i), piece))
                        photons.take(spectrum, name)
        except SurveyError as err:
            refused.append(("", None, err))
        except Exception as err:  # a reader's own fault is this file's misfortune, not the run's
            broken = SurveyError(f"{path} broke the reader ({type(err).__name__}: {err}): report it.", "unreadable")
            refused.append(("", None, broken))
        for key, piece in used:
            taken[key].append(piece.put(file))
        if used:
            partly += [
                (name, piece, *(window or (np.nan, np.nan)), err.reason, str(err))
                for piece, window, err in refused
                if err.reason not in UNTELLING
            ]
        elif refused:
            # that a blue arm does not cover the red window says less than what is wrong with the red one
            telling = [err for _, _, err in refused if err.reason not in UNTELLING]
            worst = (telling or [err for _, _, err in refused])[0]
            aside.append((name, worst.reason, str(worst)))
        if progress is not None:
            progress(done, len(paths))
    return taken, aside, partly


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


def find_files(directory: Path | str) -> list[Path]:
    """The files of surveys under `directory`, sorted, without hidden ones; and what cannot be read, to be reported.

    That is: folders that cannot be searched, links that lead nowhere, files without permission, pipes and devices (none
    of these is opened). Raises SurveyError if there is nothing.
    """
    directory = Path(directory)
    if not os.path.isdir(directory):
        said = "does not exist"
        if os.path.lexists(directory):
            said = files.obstacle(directory) or "is a file"
        raise SurveyError(f"{directory} {said}: give the directory in which the spectra lie.")
    paths: list[Path] = []
    promising: list[Path] = []  # folders with the name of a file
    visited: set[str] = set()
    # linked folders are followed, each real folder once: a link to a parent would go round for ever
    for folder, subfolders, names in os.walk(
        directory, followlinks=True, onerror=lambda err: paths.append(Path(err.filename))
    ):
        if os.path.realpath(folder) in visited:
            subfolders[:] = []
            continue
        visited.add(os.path.realpath(folder))
        subfolders[:] = sorted(
            s for s in subfolders if not s.startswith(".") and os.path.realpath(os.path.join(folder, s)) not in visited
        )
        promising += [path for s in subfolders if looks_like_fits(path := Path(folder, s))]
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith(".") and (not files.readable(path) or readers.promises(path)):
                paths.append(path)
    if directory in paths:
        raise SurveyError(f"{directory} {files.obstacle(directory)}: check its permissions.")
    paths += [empty for empty in promising if not any(empty in path.parents for path in paths)]
    if not paths:
        raise SurveyError(
            f"{directory} holds no FITS file (looked through it and its subdirectories): "
            "give the directory of the spectra, *.fits or *.fits.gz."
        )
    return sorted(paths)


def reason_counts(set_aside: Table) -> dict[str, int]:
    """How many files were set aside for each reason, in the order of spectrum.REASONS."""
    reasons = list(set_aside["reason"])
    return {reason: reasons.count(reason) for reason in REASONS if reason in reasons}
