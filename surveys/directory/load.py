"""A directory of survey files in, batches of one grid each out, and a table of what was set aside and why."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from astropy.table import Table

from astrogf.base import files
from astrogf.base.errors import printable
from astrogf.surveys.directory.gather import Gatherer, LoadedSpectra, Window
from astrogf.surveys.directory.selection import SAME_STAR_ARCSEC, Selection, group_stars
from astrogf.surveys.formats import readers
from astrogf.surveys.formats.fitsfile import looks_like_fits, read_bytes
from astrogf.surveys.rows import RowFile
from astrogf.surveys.spectrum import REASONS, SurveyError, SurveySpectrum, window_pixels

__all__ = [
    "SAME_STAR_ARCSEC",
    "LoadedSpectra",
    "find_files",
    "group_stars",
    "load_directory",
    "reason_counts",
]

Progress = Callable[[int, int], None]


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
    gatherer = Gatherer(windows, wanted, selection, file)
    by_content: dict[str, str] = {}
    for done, path in enumerate(paths, start=1):
        name = printable(path.relative_to(root).as_posix(), keep="")
        gatherer.take(partial(_read, path, name, by_content, exposures), path, name)
        if progress is not None:
            progress(done, len(paths))
    aside = gatherer.aside
    if not gatherer.taken and all(row[1] in ("unreadable", "unknown_release", "stated", "kind") for row in aside):
        asked = f"is a readable spectrum of kind {', '.join(wanted)}" if wanted else "can be read"
        raise SurveyError(f"None of the {len(paths)} files in {source} {asked}. The first: {aside[0][2]}", aside[0][1])
    return gatherer.loaded()


def _read(path: Path, name: str, by_content: dict[str, str], exposures: bool) -> list[SurveySpectrum]:
    """The spectra of a file whose bytes have not been met. Raises SurveyError."""
    raw, sha256 = read_bytes(path)
    if sha256 in by_content:
        raise SurveyError(
            f"{path} has the same bytes as {by_content[sha256]}, which is kept: remove one of them.", "duplicate_file"
        )
    by_content[sha256] = name
    return readers.parse(raw, path, sha256, exposures=exposures)


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
