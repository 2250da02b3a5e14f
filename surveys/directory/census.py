"""What files hold and what a fit would use of them, without fitting anything."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from astrogf.base.constants import C_KMS, FWHM_PER_SIGMA
from astrogf.base.errors import printable
from astrogf.surveys.directory.load import find_files
from astrogf.surveys.directory.selection import Selection
from astrogf.surveys.formats import readers
from astrogf.surveys.formats.fitsfile import read_bytes
from astrogf.surveys.pixels import usable
from astrogf.surveys.spectrum import Reason, SurveyError, SurveySpectrum


def census(
    source: Path | str,
    selection: Selection,
    windows: Sequence[tuple[float, float]] = (),
    *,
    progress: Callable[[int, int], None] | None = None,
    each: Callable[[str, list[SurveySpectrum]], None] | None = None,
) -> list[dict[str, Any]]:
    """One entry a file of a directory (or of the one file `source`), of plain numbers and text as JSON has them.

    Keys: path; readable; kinds, survey, release, object, ra, dec, class, subclass, rv_header (None if absent);
    file_pixels and good_pixels (sums over the pieces), wavelength (of all), snr (of the first); pieces (below);
    used (whether any piece passes); reason (a key of spectrum.REASONS or "") and why (a sentence or "").
    A piece: kind, piece, frame, log_step, pixels (on our grid), file_pixels, good_pixels, wavelength (pair, A,
    as in the file), snr, snr_source, resolution (median R by FWHM, None if not given), pixels_by_reason, used, reason,
    why. Without windows a piece passes by class, spectral type and S/N alone. progress(done, total) and
    each(path, pieces) are called after every file. Raises SurveyError where the directory holds no FITS file.
    """
    source = Path(source)
    if not os.path.lexists(source):
        raise SurveyError(f"{source} does not exist: give a spectrum or the directory in which the spectra lie.")
    single = not os.path.isdir(source)
    paths = [source] if single else find_files(source)
    entries = []
    by_content: dict[str, str] = {}
    for done, path in enumerate(paths, start=1):
        name = printable(path.name if single else path.relative_to(source).as_posix(), keep="")
        entry, pieces = _file(path, name, selection, windows, by_content)
        entries.append(entry)
        if each is not None and pieces:
            each(name, pieces)
        if progress is not None:
            progress(done, len(paths))
    return entries


def _file(
    path: Path, name: str, selection: Selection, windows: Sequence[tuple[float, float]], by_content: dict[str, str]
) -> tuple[dict[str, Any], list[SurveySpectrum]]:
    entry: dict[str, Any] = {"path": name, "readable": False, "kinds": [], "pieces": [], "used": False}
    try:
        raw, sha256 = read_bytes(path)
        pieces = readers.parse(raw, path, sha256)
    except SurveyError as err:
        return entry | {"reason": err.reason, "why": str(err)}, []
    except Exception as err:  # a reader's own fault must not end the census
        why = f"{path} broke the reader ({type(err).__name__}: {err}): report it."
        return entry | {"reason": "unreadable", "why": printable(why)}, []
    meta = pieces[0].meta
    entry |= {"readable": True, "kinds": sorted({p.kind for p in pieces}), "sha256": sha256}
    entry |= {key: meta.get(key, "") for key in ("survey", "release", "object", "class", "subclass")}
    entry |= {key: _number(meta.get(key)) for key in ("ra", "dec", "rv_header")}
    entry["pieces"] = [_piece(p, path, name, selection, windows) for p in pieces]
    entry |= {key: sum(p[key] for p in entry["pieces"]) for key in ("file_pixels", "good_pixels")}
    ends = [end for p in entry["pieces"] for end in p["wavelength"]]
    entry |= {"wavelength": [min(ends), max(ends)], "snr": entry["pieces"][0]["snr"]}
    entry["used"] = any(p["used"] for p in entry["pieces"])
    telling = [p for p in entry["pieces"] if p["reason"] not in ("", "no_coverage")] or entry["pieces"]
    entry["reason"], entry["why"] = ("", "") if entry["used"] else (telling[0]["reason"], telling[0]["why"])
    if sha256 in by_content:
        why = f"{path} has the same bytes as {by_content[sha256]}, which is kept: remove one of them."
        entry |= {"used": False, "reason": "duplicate_file", "why": why}
    by_content.setdefault(sha256, name)
    return entry, pieces


def _piece(
    spectrum: SurveySpectrum, path: Path, name: str, selection: Selection, windows: Sequence[tuple[float, float]]
) -> dict[str, Any]:
    meta = spectrum.meta
    low, high = meta.get("file_range", spectrum.wavelength[[0, -1]])
    reasons = np.zeros(len(spectrum.flux), dtype=int) if spectrum.reasons is None else spectrum.reasons
    row: dict[str, Any] = {
        "kind": spectrum.kind,
        "piece": spectrum.piece,
        "frame": spectrum.frame,
        "log_step": spectrum.log_step,
        "pixels": len(spectrum.flux),
        "file_pixels": int(meta.get("file_pixels", len(spectrum.flux))),
        "good_pixels": int(usable(reasons).sum()),
        "wavelength": [round(float(low), 4), round(float(high), 4)],
        "resolution": None if spectrum.lsf is None else round(float(C_KMS / FWHM_PER_SIGMA / np.median(spectrum.lsf))),
        "pixels_by_reason": {
            str(reason.name): int(count) for reason in Reason if (count := np.count_nonzero(reasons & int(reason)))
        },
    }
    try:
        snr, source = selection.signal_to_noise(spectrum, path)
        row |= {"snr": _number(snr), "snr_source": source}
    except SurveyError:
        row |= {"snr": None, "snr_source": ""}
    refusals = []
    used = 0
    try:
        selection.check_star(spectrum, path)
        if not windows:
            selection.check_signal(spectrum, path)
            used = 1
        for window in windows:
            try:
                selection.take(spectrum, window, path, name)
                used += 1
            except SurveyError as err:
                refusals.append(err)
    except SurveyError as err:
        refusals.append(err)
    telling = [err for err in refusals if err.reason != "no_coverage"] or refusals
    row["used"] = used > 0
    row["reason"], row["why"] = ("", "") if used else (telling[0].reason, str(telling[0]))
    return row


def _number(value: Any) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
