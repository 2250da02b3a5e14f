"""Spectra that do not say what they are: text, FITS images and tables, with unit and medium stated by the user."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.table import Table
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from astrogf.base.air import air_to_vacuum
from astrogf.base.constants import FWHM_PER_SIGMA
from astrogf.surveys.batch import SpectrumBatch
from astrogf.surveys.formats.columns import Medium, angstroms, plausible
from astrogf.surveys.formats.content import TRIED, content
from astrogf.surveys.formats.fitsfile import read_bytes, unpacked
from astrogf.surveys.resample import edges_of, overlap
from astrogf.surveys.spectrum import SurveyError, window_pixels


class HighRes(NamedTuple):
    """A spectrum as it came, in vacuum Angstrom (increasing); ivar 0 where unusable. `sha256` is of the file."""

    wavelength: Float[np.ndarray, " sample"]
    flux: Float[np.ndarray, " sample"]
    ivar: Float[np.ndarray, " sample"]
    sha256: str


def read(path: Path | str, *, medium: Medium, unit: str = "Angstrom", snr: float = 100.0) -> HighRes:
    """A spectrum of stated medium and wavelength unit (Angstrom, nm, um, m, in any usual spelling).

    Text has columns of wavelength, flux and perhaps error, between commas, semicolons, tabs or blanks; a line before
    the numbers, commented or not, may name them (columns.NAMES: also ivar, variance, snr, mask), and has to where they
    are more. A FITS image has one axis with CRVAL1 and CDELT1 (or CD1_1); DC-FLAG 1 means log10. A FITS table has
    columns by such names. All may be compressed (gzip, xz, bzip2). Where there are no errors, `snr` (each sample's, at
    the median flux) makes them. What `astrogf inspect` calls readable is read here. Raises SurveyError, also where
    unit, medium or errors cannot be right.
    """
    path = Path(path)
    stated = angstroms(unit)
    if stated is None:
        raise SurveyError(f"{path}: wavelength unit {unit!r} is not known; it is one of {', '.join(TRIED)}.")
    raw, sha256 = read_bytes(path)
    held = content(unpacked(raw, path), path)
    if held.medium is not None and held.medium != medium:
        raise SurveyError(f"{path} says of itself that its wavelengths are in {held.medium}, not {medium} as stated.")
    said = angstroms(held.unit) if held.unit else None
    if said is not None and not np.isclose(said[0], stated[0]):
        raise SurveyError(f"{path} says of itself that its wavelengths are in {held.unit}, not in {unit} as stated.")
    wave = held.wavelength * stated[0]
    if not plausible(wave):
        raise SurveyError(
            f"{path} has wavelengths {np.min(wave):g}-{np.max(wave):g} A if they are in {unit}: check the unit."
        )
    order = np.argsort(wave, kind="stable")
    wave, flux = wave[order], held.flux[order]
    good = np.isfinite(flux) & (flux != 0.0)
    ivar = np.full(len(flux), np.nan) if held.ivar is None else held.ivar[order]
    if np.isnan(ivar).any():
        level = np.median(flux[good & (flux > 0)])
        ivar = np.where(np.isnan(ivar), (snr / level) ** 2, ivar)
    good &= ivar > 0
    if medium == "air":
        wave = air_to_vacuum(wave)
    return HighRes(wave, np.where(good, flux, 0.0), np.where(good, ivar, 0.0), sha256)


def rebin(
    spectrum: HighRes,
    first: int,
    n_pixel: int,
    log_step: float,
    resolution: float | None = None,
    own: float = np.inf,
) -> tuple[Float[np.ndarray, " pixel"], Float[np.ndarray, " pixel"]]:
    """Mean flux and ivar in log-uniform pixels (centres 10^((first + i) log_step)); 0 where samples are missing.

    `resolution` (lambda / FWHM) is what the spectrum is brought to first, from its `own`, by the Gaussian whose width
    squared is the difference of theirs; the mean over a pixel comes on top, as it does in the spectrum model. A pixel
    counts if no sample in it is unusable and it lies within the spectrum, far enough from its ends. Raises SurveyError
    where the own resolution is no better than that.

    Flux is averaged as `resample.to_grid` averages a detector's, pixels there being all of one step and marked. Here
    they are samples, of which some may be absent without a mark: one bad sample spoils a pixel, and ivar is the mean
    of the samples' in it times as many as the pixel holds at the spacing of its middle. The noise of pixels whose edges
    are the samples' own is not correlated.
    """
    edges = 10.0 ** ((first - 0.5 + np.arange(n_pixel + 1)) * log_step)
    wave, good = spectrum.wavelength, spectrum.ivar > 0
    flux, ivar = spectrum.flux, spectrum.ivar
    if resolution is not None:
        if own <= resolution:
            raise SurveyError(
                f"a spectrum of resolution {own:g} cannot be brought to {resolution:g}: give one of a better resolution"
            )
        fine = min(log_step / 8.0, float(np.median(np.diff(np.log10(wave)))))
        grid = 10.0 ** np.arange(np.log10(wave[0]), np.log10(wave[-1]), fine)
        sigma = np.sqrt(resolution**-2.0 - own**-2.0) / (FWHM_PER_SIGMA * np.log(10.0) * fine)
        filled = np.interp(grid, wave[good], flux[good])
        flux = np.interp(wave, grid, gaussian_filter1d(filled, sigma, mode="nearest"))
        # what a gap's neighbours receive from it is invented, and what comes from beyond the ends
        bad = (np.interp(grid, wave, ~good * 1.0) > 0).astype(float)
        bad = gaussian_filter1d(bad, sigma, mode="constant", cval=1.0)
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
    own: float = np.inf,
) -> SpectrumBatch:
    """Spectra (path, spectrum, columns of the table) on the pixels of one window, or on those of `like`; `resolution`
    and `own` as in `rebin`.

    A spectrum with less than a tenth of the window's pixels usable is left out of it.
    """
    if like is None:
        first, n_pixel = window_pixels(window, log_step)
    else:
        first, n_pixel = round(np.log10(like.wavelength[0]) / log_step), len(like.wavelength)
    rows, fluxes, ivars = [], [], []
    for path, spectrum, columns in spectra:
        flux, ivar = rebin(spectrum, first, n_pixel, log_step, resolution, own)
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
