"""Which pieces of spectra are used in a window, and the row of the batch's table each becomes."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord, search_around_sky
from astropy.table import Table
from jaxtyping import Float
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from astrogf.surveys.formats.fitsfile import LARGEST_SNR
from astrogf.surveys.formats.lamost import BANDS
from astrogf.surveys.night_sky import pixels_in, sky_ranges
from astrogf.surveys.pixels import single
from astrogf.surveys.rows import Row, RowFile
from astrogf.surveys.spectrum import SurveyError, SurveySpectrum, grid, window_pixels

SAME_STAR_ARCSEC = 3.0
"""Spectra nearer to each other than this are of one star (the LAMOST fibre is 3.3 arcsec wide)."""

SNR_FALLBACK = (4000.0, 5500.0)  # A: about the g band, where an optical header has no S/N

_LUMINOSITY = "dgeusx"  # lower-case prefixes: dM0 dwarf, gM0 giant (no G star), sdM1, esdM2, usdM3

_TEXT = ("path", "sha256", "survey", "release", "object")
_COLUMNS: dict[str, type] = (
    dict.fromkeys(_TEXT, str)
    | dict.fromkeys(("ra", "dec", "snr", "rv_header"), float)
    | {"class": str, "subclass": str, "star": str, "obsid": str, "plan": str}
    | {"mjd": int, "spectrograph": int, "fiber": int, "rv_header_err": float, "snr_source": str}
    | {f"snr_{band}": float for band in BANDS}
    | {"good_fraction": float, "kind": str, "piece": str, "frame": str}
)
_UNITS = {"ra": "deg", "dec": "deg", "rv_header": "km/s", "rv_header_err": "km/s"}
_ABSENT = {str: "", float: np.nan, int: 0}


class Candidate(NamedTuple):
    """A spectrum cut to a window: arrays over the window's pixels, or where they lie, and its row."""

    flux: Float[np.ndarray, " pixel"] | Row
    ivar: Float[np.ndarray, " pixel"] | Row
    lsf: Float[np.ndarray, " pixel"] | Row | None
    row: dict

    def put(self, file: RowFile | None) -> "Candidate":
        """The same with its arrays in a file, if one is given, and of its row only what becomes a column."""
        if file is None:
            return self
        flux, ivar, lsf = (x if x is None or isinstance(x, Row) else file.put(x) for x in self[:3])
        return Candidate(flux, ivar, lsf, {n: value for n, value in self.row.items() if n in _COLUMNS})  # type: ignore[arg-type]


class Selection:
    """What is asked of a spectrum. Raises SurveyError for a band that does not exist."""

    def __init__(
        self,
        snr_min: float,
        snr_band: str,
        spectral_types: str,
        min_good_fraction: float,
        max_gap: float,
        leave_out: Sequence[tuple[float, float]] = (),
        night_sky: bool = False,
    ) -> None:
        if snr_band not in tuple(BANDS):
            raise SurveyError(f"snr_band = {snr_band!r} is none of the bands surveys give a S/N for: {BANDS}.")
        self.snr_min, self.snr_band, self.spectral_types = snr_min, snr_band, spectral_types
        self.min_good_fraction, self.max_gap = min_good_fraction, max_gap
        self.leave_out, self.night_sky = tuple(leave_out), night_sky

    def check_star(self, spectrum: SurveySpectrum, path: Path) -> None:
        """Raises SurveyError where the header's class is not STAR, its spectral type is not asked for, or the survey
        itself doubts the velocity by which it moved the spectrum to rest."""
        if doubt := spectrum.meta.get("frame_doubt"):
            raise SurveyError(
                f"{path}: APOGEE doubts the velocities at which it added up the star's visits ({doubt}), so that "
                "neither the frame nor the shape of the lines is known: fit the visits themselves (apogee_apvisit).",
                "frame",
            )
        survey_class, subclass = spectrum.meta.get("class", ""), spectrum.meta.get("subclass", "")
        if survey_class and survey_class.upper() != "STAR":
            raise SurveyError(f"{path} is of class {survey_class} by its header; only STAR is fitted.", "class")
        has_type = subclass.upper() not in ("", "NON", "NONE", "UNKNOWN", "NULL", "-9999")
        letter = subclass.lstrip(_LUMINOSITY)[:1] or subclass[:1]
        if has_type and self.spectral_types and letter.upper() not in self.spectral_types.upper():
            raise SurveyError(
                f"{path} is of spectral type {subclass} by its header; {', '.join(self.spectral_types)} are kept.",
                "spectral_type",
            )

    def take(self, spectrum: SurveySpectrum, window: tuple[float, float], path: Path, name: str) -> Candidate:
        """The spectrum in the window. Raises SurveyError with the reason where it is of no use there."""
        step = spectrum.log_step
        first, n_pixel = window_pixels(window, step)
        start, stop = max(first, spectrum.first), min(first + n_pixel, spectrum.first + len(spectrum.flux))
        if start >= stop:
            low, high = spectrum.wavelength[[0, -1]]
            what = f"{path} ({spectrum.piece})" if spectrum.piece else f"{path}"
            raise SurveyError(
                f"{what} covers {low:.0f}-{high:.0f} A, nothing of the window {window[0]:g}-{window[1]:g} A.",
                "no_coverage",
            )
        here, there = slice(start - first, stop - first), slice(start - spectrum.first, stop - spectrum.first)
        flux, ivar, lsf = np.zeros(n_pixel), np.zeros(n_pixel), None
        # as a store holds them, so that it gives the same fit as the files
        flux[here], ivar[here] = single(spectrum.flux[there]), single(spectrum.ivar[there])
        if spectrum.lsf is not None:
            lsf = np.interp(np.arange(n_pixel), np.arange(here.start, here.stop), single(spectrum.lsf[there]))
        good_fraction = self._check_pixels(flux, ivar, first, step, path)
        of_night = str(spectrum.meta.get("release", "")), int(spectrum.meta.get("mjd", 0))
        sky = () if self.night_sky else sky_ranges(spectrum.kind, *of_night)
        out = pixels_in(grid(first, n_pixel, step), self.leave_out + sky)
        flux[out], ivar[out] = 0.0, 0.0
        if not np.any(ivar > 0):
            raise SurveyError(
                f"{path} has no pixel in the window {window[0]:g}-{window[1]:g} A outside survey.leave_out and the "
                "lines of the night sky.",
                "no_good_pixels",
            )
        snr, source = self.check_signal(spectrum, path)
        row = spectrum.meta | {"path": name, "snr": snr, "snr_source": source, "good_fraction": good_fraction}
        return Candidate(flux, ivar, lsf, row | {k: getattr(spectrum, k) for k in ("kind", "piece", "frame")})

    def check_signal(self, spectrum: SurveySpectrum, path: Path) -> tuple[float, str]:
        """As signal_to_noise. Raises SurveyError where it is below the cut, no pixel is usable, or the errors cannot be
        right."""
        which = f" of {spectrum.piece}" if spectrum.piece else ""
        good = spectrum.ivar > 0
        if not good.any() or not np.any(spectrum.flux > 0):
            why = "ivar 0, NaN, masked or flux 0" if not good.any() else "no positive flux"
            raise SurveyError(f"{path} has no usable pixel{which} ({why} everywhere).", "no_good_pixels")
        measured = float(np.median(np.abs(spectrum.flux[good]) * np.sqrt(spectrum.ivar[good])))
        if measured > LARGEST_SNR:
            raise SurveyError(
                f"{path}: flux and ivar{which} mean a S/N of {measured:,.0f} a pixel, where no survey reaches "
                f"{LARGEST_SNR:,.0f}: one of them is in another unit, or damaged.",
                "bad_header",
            )
        snr, source = self.signal_to_noise(spectrum, path)
        if snr < self.snr_min:
            band = f"({self.snr_band})" if spectrum.kind == "lamost_lrs" else ""
            raise SurveyError(
                f"{path} has S/N{band}{which} = {snr:.1f} ({source}), below snr_min = {self.snr_min:g}.", "low_snr"
            )
        return snr, source

    def _check_pixels(self, flux: np.ndarray, ivar: np.ndarray, first: int, step: float, path: Path) -> float:
        """The fraction of usable pixels, if it is enough."""
        good = ivar > 0
        if not good.any() or not np.any(flux > 0):
            why = "ivar 0, NaN, masked or flux 0" if not good.any() else "no positive flux"
            raise SurveyError(f"{path} has no usable pixel in the window ({why} everywhere).", "no_good_pixels")
        edges = np.diff(np.concatenate(([0], ~good, [0])).astype(int))
        starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        if starts.size:
            widest = np.argmax(stops - starts)
            low, high = grid(first + starts[widest], 1, step)[0], grid(first + stops[widest], 1, step)[0]
            if high - low > self.max_gap:
                raise SurveyError(
                    f"{path} has no usable pixel over {low:.1f}-{high:.1f} A, a gap of {high - low:.0f} A where "
                    f"max_gap = {self.max_gap:g} A is allowed: narrow the window or raise max_gap.",
                    "gap",
                )
        if good.mean() < self.min_good_fraction:
            raise SurveyError(
                f"{path} has {good.mean():.0%} usable pixels in the window; at least {self.min_good_fraction:.0%} "
                "(min_good_fraction) are asked for.",
                "few_good_pixels",
            )
        return float(good.mean())

    def signal_to_noise(self, spectrum: SurveySpectrum, path: Path) -> tuple[float, str]:
        """The S/N per pixel and where it is from: the header's key, or "measured"."""
        # LAMOST LRS has one of each band only; SDSS one of all, and the bands' beside it for the table
        for name in (f"snr_{self.snr_band}",) if spectrum.kind == "lamost_lrs" else ("snr_header",):
            value = spectrum.meta.get(name, np.nan)
            if np.isfinite(value):
                return float(value), spectrum.meta.get(f"{name}_key", name)
        use = spectrum.ivar > 0
        if spectrum.kind == "lamost_lrs":
            wavelength = spectrum.wavelength
            use &= (wavelength > SNR_FALLBACK[0]) & (wavelength < SNR_FALLBACK[1])
        if not use.any():
            raise SurveyError(
                f"{path} has no S/N({self.snr_band}) in its header and no usable pixel to measure one.", "low_snr"
            )
        return float(np.median(spectrum.flux[use] * np.sqrt(spectrum.ivar[use]))), "measured"


def batch_table(rows: list[dict]) -> Table:
    """The table of a batch: one row a spectrum, columns as batch.SpectrumBatch says and more."""
    name_stars([row for row in rows if "star" not in row])
    table = Table(
        {name: np.array([row.get(name, _ABSENT[kind]) for row in rows], dtype=kind) for name, kind in _COLUMNS.items()}
    )
    for name, unit in _UNITS.items():
        table[name].unit = unit
    return table


def name_stars(rows: list[dict]) -> None:
    """Write into every row which star it is of: the same name in all of them, whatever batch they end in."""
    stars = group_stars(*([row[name] for row in rows] for name in ("ra", "dec", "path")))
    for row, star in zip(rows, stars, strict=True):
        row["star"] = star


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
