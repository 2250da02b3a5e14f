"""Spectra that do not say what they are: text, FITS images and tables, with unit and medium stated by the user."""

import io
from pathlib import Path
from typing import Literal, NamedTuple

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.table import Table
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from astrogf.base import files
from astrogf.base.air import air_to_vacuum
from astrogf.base.constants import FWHM_PER_SIGMA
from astrogf.surveys.batch import SpectrumBatch
from astrogf.surveys.formats.fitsfile import LARGEST, WHAT, open_fits, read_bytes, text
from astrogf.surveys.resample import edges_of, overlap
from astrogf.surveys.spectrum import SurveyError, window_pixels

Medium = Literal["air", "vacuum"]
UNITS = {"Angstrom": 1.0, "nm": 10.0, "um": 1e4}
WAVE_NAMES = ("wavelength", "wave", "lambda", "lam", "waveobs", "loglam", "log_wave")
FLUX_NAMES = ("flux", "flux_norm", "norm_flux", "intensity")
ERROR_NAMES = ("error", "err", "sigma", "flux_err", "uncertainty")


class HighRes(NamedTuple):
    """A spectrum as it came, in vacuum Angstrom (increasing); ivar 0 where unusable. `sha256` is of the file."""

    wavelength: Float[np.ndarray, " sample"]
    flux: Float[np.ndarray, " sample"]
    ivar: Float[np.ndarray, " sample"]
    sha256: str


def read(path: Path | str, *, medium: Medium, unit: str = "Angstrom", snr: float = 100.0) -> HighRes:
    """A spectrum of stated medium and wavelength unit (Angstrom, nm or um).

    Text has two or three columns: wavelength, flux, error; it may be compressed (gzip, xz, bzip2). A FITS image has
    one axis with CRVAL1 and CDELT1 (or CD1_1); DC-FLAG 1 means log10. A FITS table has columns such as wavelength,
    flux, error or ivar. Where there are no errors, `snr` (each sample's, at the median flux) makes them. Raises
    SurveyError.
    """
    path = Path(path)
    if unit not in UNITS:
        raise SurveyError(f"{path}: wavelength unit {unit!r} is not known; it is one of {', '.join(UNITS)}.")
    raw, sha256 = read_bytes(path)
    plain = files.unpacked(raw, path, largest=LARGEST, what=WHAT, error=SurveyError)
    if plain.startswith(b"SIMPLE"):
        wave, flux, ivar, said, unit_said = _from_fits(plain, path)
    else:
        wave, flux, ivar, said, unit_said = *_from_text(plain, path), None, ""
    if said is not None and said != medium:
        raise SurveyError(f"{path} says of itself that its wavelengths are in {said}, not in {medium} as stated.")
    meant = u.Unit(unit_said, parse_strict="silent")
    if meant.is_equivalent(u.m) and not np.isclose(meant.to(u.Angstrom), UNITS[unit]):
        raise SurveyError(f"{path} says of itself that its wavelengths are in {unit_said}, not in {unit} as stated.")
    wave = wave * UNITS[unit]
    if not (np.isfinite(wave).all() and wave.min() > 500.0 and wave.max() < 1e6):
        raise SurveyError(
            f"{path} has wavelengths {np.nanmin(wave):g}-{np.nanmax(wave):g} A if they are in {unit}: check the unit."
        )
    order = np.argsort(wave, kind="stable")
    wave, flux, ivar = wave[order], flux[order], None if ivar is None else ivar[order]
    good = np.isfinite(flux)
    if not good.any():
        raise SurveyError(f"{path} has no finite flux.")
    if ivar is None:
        level = np.median(flux[good & (flux > 0)]) if np.any(flux[good] > 0) else 0.0
        if not level > 0:
            raise SurveyError(f"{path} has no positive flux.")
        ivar = np.full(len(flux), (snr / level) ** 2)
    good &= np.isfinite(ivar) & (ivar > 0) & (flux != 0.0)
    if medium == "air":
        wave = air_to_vacuum(wave)
    return HighRes(wave, np.where(good, flux, 0.0), np.where(good, ivar, 0.0), sha256)


def _from_text(plain: bytes, path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    if len(plain.splitlines()) < 10:
        raise SurveyError(f"{path} has {len(plain.splitlines())} lines; expected at least 10 rows of numbers.")
    try:
        columns = np.loadtxt(io.StringIO(plain.decode("ascii")), ndmin=2, comments=("#", "!", ";"))
    except (UnicodeDecodeError, ValueError) as err:
        raise SurveyError(f"{path} is no text of two or three numbers a row ({str(err)[:100]}).") from err
    if columns.shape[1] not in (2, 3) or len(columns) < 10:
        raise SurveyError(
            f"{path} has {columns.shape[1]} columns and {len(columns)} rows; expected wavelength, flux and perhaps "
            "error in at least 10 rows."
        )
    error = columns[:, 2] if columns.shape[1] == 3 else None
    ivar = None if error is None else np.where(error > 0, 1.0 / np.where(error > 0, error, 1.0) ** 2, 0.0)
    return columns[:, 0], columns[:, 1], ivar


def _from_fits(raw: bytes, path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, Medium | None, str]:
    """Wavelength, flux, ivar (None: no errors), and what the file says of medium and unit (None and "": nothing)."""
    with open_fits(raw, path, sums=False) as hdus:
        head = hdus[0].header
        if head.get("NAXIS") == 1:
            flux = np.asarray(hdus[0].data, dtype=np.float64)
            try:
                step = float(head["CDELT1"] if "CDELT1" in head else head["CD1_1"])
                wave = float(head["CRVAL1"]) + (np.arange(len(flux)) + 1.0 - float(head.get("CRPIX1", 1.0))) * step
            except (KeyError, TypeError, ValueError) as err:
                raise SurveyError(f"{path} is a FITS image without a wavelength axis (CRVAL1, CDELT1).") from err
            if head.get("DC-FLAG") == 1 or "LOG" in str(head.get("CTYPE1", "")).upper():
                wave = 10.0**wave
            kind = str(head.get("CTYPE1", "")).strip().upper()
            said: Medium | None = {"AWAV": "air", "WAVE": "vacuum"}.get(kind)  # type: ignore[assignment]
            return wave, flux, None, said, text(head, "CUNIT1")
        for hdu in hdus[1:]:
            names = {n.lower(): n for n in getattr(hdu, "columns", fits.ColDefs([])).names}
            columns = [next((names[n] for n in choices if n in names), "") for choices in (WAVE_NAMES, FLUX_NAMES)]
            if all(columns):
                values, flux = (np.asarray(hdu.data[n], dtype=np.float64).ravel() for n in columns)
                values = 10.0**values if columns[0].lower().startswith("log") else values
                error = next((names[n] for n in ERROR_NAMES if n in names), None)
                ivar = np.asarray(hdu.data[names["ivar"]], dtype=np.float64).ravel() if "ivar" in names else None
                if ivar is None and error:
                    sd = np.asarray(hdu.data[error], dtype=np.float64).ravel()
                    ivar = np.where(sd > 0, 1.0 / np.where(sd > 0, sd, 1.0) ** 2, 0.0)
                return values, flux, ivar, None, str(hdu.columns[columns[0]].unit or "")
    raise SurveyError(
        f"{path} is FITS but neither an image with one axis nor a table with a wavelength ({', '.join(WAVE_NAMES)}) "
        f"and a flux column ({', '.join(FLUX_NAMES)})."
    )


def rebin(
    spectrum: HighRes, first: int, n_pixel: int, log_step: float, resolution: float | None = None
) -> tuple[Float[np.ndarray, " pixel"], Float[np.ndarray, " pixel"]]:
    """Mean flux and ivar in log-uniform pixels (centres 10^((first + i) log_step)); 0 where samples are missing.

    `resolution` (lambda / FWHM) broadens by a Gaussian first, the spectrum's own being taken as infinite. A pixel
    counts if no sample in it is unusable and it lies within the spectrum.

    Flux is averaged as `resample.to_grid` averages a detector's, pixels there being all of one step and marked. Here
    they are samples, of which some may be absent without a mark: one bad sample spoils a pixel, and ivar is the mean
    of the samples' in it times as many as the pixel holds at the spacing of its middle. The noise of pixels whose edges
    are the samples' own is not correlated.
    """
    edges = 10.0 ** ((first - 0.5 + np.arange(n_pixel + 1)) * log_step)
    wave, good = spectrum.wavelength, spectrum.ivar > 0
    flux, ivar = spectrum.flux, spectrum.ivar
    if resolution is not None:
        fine = min(log_step / 8.0, float(np.median(np.diff(np.log10(wave)))))
        grid = 10.0 ** np.arange(np.log10(wave[0]), np.log10(wave[-1]), fine)
        sigma = 1.0 / (resolution * FWHM_PER_SIGMA * np.log(10.0) * fine)
        filled = np.interp(grid, wave[good], flux[good])
        flux = np.interp(wave, grid, gaussian_filter1d(filled, sigma, mode="nearest"))
        # what a gap's neighbours receive from it is invented
        bad = gaussian_filter1d((np.interp(grid, wave, ~good * 1.0) > 0).astype(float), sigma, mode="constant")
        good &= np.interp(wave, grid, bad) < 1e-3
    at = np.searchsorted(wave, edges)
    total_bad = np.append(0, np.cumsum(~good))
    # neighbours outside take part in the interpolation at the edges
    low, high = np.maximum(at[:-1] - 1, 0), np.minimum(at[1:] + 1, len(wave))
    usable = (total_bad[high] == total_bad[low]) & (edges[:-1] >= wave[0]) & (edges[1:] <= wave[-1])
    usable &= np.diff(np.interp(edges, wave, np.arange(len(wave)))) > 0.3 * np.minimum(
        np.diff(edges) / np.median(np.diff(wave)), 1.0
    )
    total_ivar = np.append(0.0, np.cumsum(np.where(good, ivar, 0.0)))
    weight = (total_ivar[at[1:]] - total_ivar[at[:-1]]) / np.maximum(at[1:] - at[:-1], 1)
    centre = 0.5 * (edges[1:] + edges[:-1])
    samples = np.diff(edges) / np.interp(centre, wave[:-1], np.diff(wave))
    each = np.where(at[1:] > at[:-1], weight, np.interp(centre, wave, ivar))
    mean = overlap(edges_of(wave), edges).integral(flux) / np.diff(edges)
    return np.where(usable, mean, 0.0), np.where(usable, each * np.maximum(samples, 1e-3), 0.0)


def batch(
    spectra: list[tuple[str, HighRes, dict]],
    window: tuple[float, float],
    log_step: float,
    like: SpectrumBatch | None = None,
    resolution: float | None = None,
) -> SpectrumBatch:
    """Spectra (path, spectrum, columns of the table) on the pixels of one window, or on those of `like`.

    A spectrum with less than a tenth of the window's pixels usable is left out of it.
    """
    if like is None:
        first, n_pixel = window_pixels(window, log_step)
    else:
        first, n_pixel = round(np.log10(like.wavelength[0]) / log_step), len(like.wavelength)
    rows, fluxes, ivars = [], [], []
    for path, spectrum, columns in spectra:
        flux, ivar = rebin(spectrum, first, n_pixel, log_step, resolution)
        if np.mean(ivar > 0) > 0.1:
            rows.append({"path": path, "sha256": spectrum.sha256, "survey": "stated"} | columns)
            fluxes.append(flux)
            ivars.append(ivar)
    names = like.table.colnames if like is not None else COLUMNS
    table = Table({n: np.array([_value(r, n, like) for r in rows]) for n in names})
    wavelength = 10.0 ** ((first + np.arange(n_pixel)) * log_step)
    return SpectrumBatch(wavelength, np.array(fluxes).reshape(-1, n_pixel), np.array(ivars).reshape(-1, n_pixel), table)


def check_used(spectra: list[tuple[str, HighRes]], batches: list[SpectrumBatch]) -> None:
    """Raises SurveyError for a spectrum (name, spectrum) of which no batch holds anything: it was asked for by name."""
    used = {str(path) for batch in batches for path in batch.table["path"]}
    for name, spectrum in spectra:
        if name not in used:
            low, high = spectrum.wavelength[[0, -1]]
            raise SurveyError(
                f"spectra.{name} has {low:.1f}-{high:.1f} A (vacuum), less than a tenth of every window: check its "
                "unit and survey.window, or leave it out.",
                "no_coverage",
            )


COLUMNS = (
    *("path", "sha256", "survey", "release", "object", "ra", "dec", "snr", "rv_header"),
    *("class", "subclass", "star"),
)
_NUMBERS = ("ra", "dec", "snr", "rv_header")


def _value(row: dict, name: str, like: SpectrumBatch | None):
    if name in row:
        return row[name]
    kind = like.table[name].dtype.kind if like is not None else ("f" if name in _NUMBERS else "U")
    return {"f": np.nan, "i": -1}.get(kind, "")


def joined(first: SpectrumBatch, second: SpectrumBatch) -> SpectrumBatch:
    """Two batches on the same pixels and with the same columns as one."""
    if not len(second.flux):
        return first
    columns = {
        n: np.concatenate([np.asarray(first.table[n]), np.asarray(second.table[n]).astype(_wider(first, second, n))])
        for n in first.table.colnames
    }
    return first._replace(
        flux=np.concatenate([first.flux, second.flux]),
        ivar=np.concatenate([first.ivar, second.ivar]),
        table=Table(columns),
    )


def _wider(first: SpectrumBatch, second: SpectrumBatch, name: str):
    return np.result_type(first.table[name].dtype, second.table[name].dtype)
