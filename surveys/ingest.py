"""A directory of survey files in, one batch on one grid out, and a table of what was set aside and why."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord, search_around_sky
from astropy.table import Table
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from surveys import lamost
from surveys.batch import SpectrumBatch
from surveys.fitsfile import looks_like_fits, read_bytes
from surveys.spectrum import REASONS, Spectrum, SurveyError, grid, window_pixels

SAME_STAR_ARCSEC = 3.0
"""Spectra nearer to each other than this are of one star (the LAMOST fibre is 3.3 arcsec wide)."""

_LUMINOSITY = "dgeusx"  # lower-case prefixes: dM0 dwarf, gM0 giant (no G star), sdM1, esdM2, usdM3

SNR_FALLBACK = (4000.0, 5500.0)  # A: about the g band, where the header has no S/N

_TEXT = ("path", "sha256", "survey", "release", "object")
_COLUMNS: dict[str, type] = (
    dict.fromkeys(_TEXT, str)
    | dict.fromkeys(("ra", "dec", "snr", "rv_header"), float)
    | {"class": str, "subclass": str, "star": str, "obsid": str, "plan": str}
    | {"mjd": int, "spectrograph": int, "fiber": int, "rv_header_err": float, "snr_source": str}
    | {f"snr_{band}": float for band in lamost.BANDS}
    | {"good_fraction": float}
)
_UNITS = {"ra": "deg", "dec": "deg", "rv_header": "km/s", "rv_header_err": "km/s"}


class Ingested(NamedTuple):
    """`batch`: the spectra to fit. `set_aside`: one row a file left out: path, reason (a key of
    spectrum.REASONS), detail (a sentence)."""

    batch: SpectrumBatch
    set_aside: Table


def load_directory(
    directory: Path | str,
    window: tuple[float, float],
    *,
    snr_min: float = 20.0,
    snr_band: str = "g",
    spectral_types: str = "FGK",
    min_good_fraction: float = 0.9,
    max_gap: float = 30.0,
    progress: Callable[[int, int], None] | None = None,
) -> Ingested:
    """Every FITS file under `directory`, by content: the usable spectra in `window`, and why not the others.

    window: vacuum Angstrom as observed (heliocentric, not rest frame); pixels with their centre inside are
    taken. snr_min: against the header's S/N of `snr_band` (one of ugriz), or, where the header has none, the
    median of flux*sqrt(ivar) in 4000-5500 A. spectral_types: first letters of the header's subclass that are
    kept ("" keeps all); a star without a subclass is kept, for the fit to judge. min_good_fraction: of the
    window's pixels. max_gap: Angstrom of the widest run of unusable pixels. progress(done, total) is called
    after every file.

    One bad file never ends the run: it becomes a row. Raises SurveyError at once where the arguments make no
    sense, the directory does not exist or holds no FITS file, and at the end if none of them could be read.
    """
    directory = Path(directory)
    first, n_pixel = window_pixels(window)
    if snr_band not in lamost.BANDS:
        raise SurveyError(f"snr_band = {snr_band!r} is none of the bands LAMOST gives a S/N for: {lamost.BANDS}.")
    paths = find_files(directory)

    seen: dict[str, str] = {}
    rows, fluxes, ivars, aside = [], [], [], []
    for done, path in enumerate(paths, start=1):
        name = path.relative_to(directory).as_posix()
        try:
            raw, sha256 = read_bytes(path)
            if sha256 in seen:
                raise SurveyError(
                    f"{path} has the same bytes as {seen[sha256]}, which is kept: remove one of them.",
                    "duplicate_file",
                )
            seen[sha256] = name
            spectrum = lamost.parse(raw, path, sha256)
            _check_type(spectrum, path, spectral_types)
            flux, ivar = _cut(spectrum, first, n_pixel, path, window)
            good_fraction = _check_pixels(flux, ivar, first, path, min_good_fraction, max_gap)
            snr, source = _signal_to_noise(spectrum, snr_band, path)
            if snr < snr_min:
                raise SurveyError(
                    f"{path} has S/N({snr_band}) = {snr:.1f} ({source}), below snr_min = {snr_min:g}.",
                    "low_snr",
                )
        except SurveyError as err:
            aside.append((name, err.reason, str(err)))
        except Exception as err:  # a reader's own fault is this file's misfortune, not the run's
            aside.append((name, "unreadable", f"{path} broke the reader ({type(err).__name__}: {err}): report it."))
        else:
            rows.append(
                spectrum.meta | {"path": name, "snr": snr, "snr_source": source, "good_fraction": good_fraction}
            )
            fluxes.append(flux)
            ivars.append(ivar)
        if progress is not None:
            progress(done, len(paths))

    set_aside = Table(rows=aside, names=("path", "reason", "detail"), dtype=(str, str, str))
    if not rows and all(reason in ("unreadable", "not_lamost_lrs") for reason in set_aside["reason"]):
        raise SurveyError(
            f"None of the {len(paths)} FITS files in {directory} is a readable LAMOST LRS spectrum. "
            f"The first: {aside[0][2]}",
            aside[0][1],
        )
    batch = SpectrumBatch(
        grid(first, n_pixel),
        np.array(fluxes).reshape(-1, n_pixel),
        np.array(ivars).reshape(-1, n_pixel),
        _batch_table(rows),
    )
    return Ingested(batch, set_aside)


def find_files(directory: Path | str) -> list[Path]:
    """The FITS files under `directory`, sorted, without hidden ones. Raises SurveyError if there are none."""
    directory = Path(directory)
    if not directory.is_dir():
        what = "is a file" if directory.exists() else "does not exist"
        raise SurveyError(f"{directory} {what}: give the directory in which the spectra lie.")
    paths = []
    visited = set()
    # linked folders are followed, each real folder once: a link to a parent would go round for ever
    for folder, subfolders, names in os.walk(directory, followlinks=True):
        visited.add(os.path.realpath(folder))
        subfolders[:] = sorted(
            s for s in subfolders if not s.startswith(".") and os.path.realpath(os.path.join(folder, s)) not in visited
        )
        for name in sorted(names):
            path = Path(folder, name)
            # a dangling link is listed, to be reported; a pipe or a device would hang the run
            if not name.startswith(".") and (path.is_file() or path.is_symlink()) and looks_like_fits(path):
                paths.append(path)
    if not paths:
        raise SurveyError(
            f"{directory} holds no FITS file (looked through it and its subdirectories): "
            "give the directory of the spectra, *.fits or *.fits.gz."
        )
    return sorted(paths)


def _check_type(spectrum: Spectrum, path: Path, spectral_types: str) -> None:
    survey_class, subclass = spectrum.meta["class"], spectrum.meta["subclass"]
    if survey_class and survey_class.upper() != "STAR":
        raise SurveyError(f"{path} is of class {survey_class} by its header; only STAR is fitted.", "class")
    known = subclass.upper() not in ("", "NON", "NONE", "UNKNOWN", "NULL", "-9999")
    letter = subclass.lstrip(_LUMINOSITY)[:1] or subclass[:1]
    if known and spectral_types and letter.upper() not in spectral_types.upper():
        raise SurveyError(
            f"{path} is of spectral type {subclass} by its header; {', '.join(spectral_types)} are kept.",
            "spectral_type",
        )


def _cut(
    spectrum: Spectrum, first: int, n_pixel: int, path: Path, window: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Flux and ivar in the window, 0 where the file has no pixel."""
    flux, ivar = np.zeros(n_pixel), np.zeros(n_pixel)
    start, stop = max(first, spectrum.first), min(first + n_pixel, spectrum.first + len(spectrum.flux))
    if start >= stop:
        low, high = spectrum.wavelength[[0, -1]]
        raise SurveyError(
            f"{path} covers {low:.0f}-{high:.0f} A, nothing of the window {window[0]:g}-{window[1]:g} A.",
            "no_coverage",
        )
    here, there = slice(start - first, stop - first), slice(start - spectrum.first, stop - spectrum.first)
    flux[here], ivar[here] = spectrum.flux[there], spectrum.ivar[there]
    return flux, ivar


def _check_pixels(
    flux: np.ndarray, ivar: np.ndarray, first: int, path: Path, min_good_fraction: float, max_gap: float
) -> float:
    """The fraction of usable pixels, if it is enough."""
    good = ivar > 0
    if not good.any() or not np.any(flux > 0):
        why = "ivar 0, NaN, masked or flux 0" if not good.any() else "no positive flux"
        raise SurveyError(f"{path} has no usable pixel in the window ({why} everywhere).", "no_good_pixels")
    edges = np.diff(np.concatenate(([0], ~good, [0])).astype(int))
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    if starts.size:
        widest = np.argmax(stops - starts)
        low, high = grid(first + starts[widest], 1)[0], grid(first + stops[widest], 1)[0]
        if high - low > max_gap:
            raise SurveyError(
                f"{path} has no usable pixel over {low:.1f}-{high:.1f} A, a gap of {high - low:.0f} A where "
                f"max_gap = {max_gap:g} A is allowed: narrow the window or raise max_gap.",
                "gap",
            )
    if good.mean() < min_good_fraction:
        raise SurveyError(
            f"{path} has {good.mean():.0%} usable pixels in the window; at least {min_good_fraction:.0%} "
            "(min_good_fraction) are asked for.",
            "few_good_pixels",
        )
    return float(good.mean())


def _signal_to_noise(spectrum: Spectrum, band: str, path: Path) -> tuple[float, str]:
    """The S/N per pixel and where it is from: the header's key, or "measured"."""
    header = spectrum.meta[f"snr_{band}"]
    if np.isfinite(header):
        return float(header), spectrum.meta[f"snr_{band}_key"]
    wavelength = spectrum.wavelength
    use = (wavelength > SNR_FALLBACK[0]) & (wavelength < SNR_FALLBACK[1]) & (spectrum.ivar > 0)
    if not use.any():
        raise SurveyError(f"{path} has no S/N({band}) in its header and no usable pixel to measure one.", "low_snr")
    return float(np.median(spectrum.flux[use] * np.sqrt(spectrum.ivar[use]))), "measured"


def _batch_table(rows: list[dict]) -> Table:
    stars = group_stars(*([row[name] for row in rows] for name in ("ra", "dec", "path")))
    for row, star in zip(rows, stars, strict=True):
        row["star"] = star
    table = Table({name: np.array([row[name] for row in rows], dtype=kind) for name, kind in _COLUMNS.items()})
    for name, unit in _UNITS.items():
        table[name].unit = unit
    return table


def group_stars(ra: Sequence[float], dec: Sequence[float], path: Sequence[str]) -> np.ndarray:
    """One name a star: spectra within SAME_STAR_ARCSEC of each other share it (chains count as one star).

    The name is J and the position of the star's first spectrum in degrees; a spectrum without a position is a
    star of its own, named after its path.
    """
    lon, lat = np.asarray(ra, dtype=float), np.asarray(dec, dtype=float)
    names = np.array([f"path:{p}" for p in path], dtype=object)
    placed = np.flatnonzero(np.isfinite(lon) & np.isfinite(lat))
    if placed.size:
        sky = SkyCoord(lon[placed] * u.deg, lat[placed] * u.deg)
        i, j, _, _ = search_around_sky(sky, sky, SAME_STAR_ARCSEC * u.arcsec)
        pairs = coo_array((np.ones(len(i)), (i, j)), shape=(placed.size, placed.size))
        _, group = connected_components(pairs, directed=False)
        _, leader = np.unique(group, return_index=True)
        for member, at in zip(placed, placed[leader][group], strict=True):
            names[member] = f"J{lon[at]:08.4f}{lat[at]:+08.4f}"
    return names.astype(str)


def reason_counts(set_aside: Table) -> dict[str, int]:
    """How many files were set aside for each reason, in the order of spectrum.REASONS."""
    found = list(set_aside["reason"])
    return {reason: found.count(reason) for reason in REASONS if reason in found}
