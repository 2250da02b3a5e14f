"""Simulated survey files: a model's fluxes made noisy and written in the surveys' own layouts.

The spectrum model is not of this room: it hands in fluxes on the pixel grid. What comes out is read back by
the same reader as real files, so that a simulated survey tests the whole way. The layouts are in
lamost, sdss and apogee; here is the noise, and what all of them need.
"""

import gzip
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from jaxtyping import Float

from astrogf.surveys.spectrum import SurveyError


class Observation(NamedTuple):
    """Noisy flux and inverse variance, and which pixels were spoiled (ivar 0; flux then means nothing)."""

    flux: Float[np.ndarray, " pixel"]
    ivar: Float[np.ndarray, " pixel"]
    bad: np.ndarray


def observe(
    flux: Float[np.ndarray, " pixel"],
    snr: float,
    rng: np.random.Generator,
    *,
    tilt: tuple[float, ...] = (),
    snr_slope: float = 0.3,
    bad_fraction: float = 0.01,
    outlier_fraction: float = 0.0,
    ivar_scale: float = 1.0,
) -> Observation:
    """One exposure of a noiseless spectrum on evenly spaced (in log) pixels.

    tilt: Legendre coefficients (from degree 1 on, over the pixels given) of the natural log of a smooth
    flux-calibration error, which multiplies flux and noise alike. snr: the median of flux/noise. The noise
    is Gaussian and independent from pixel to pixel, its square the sum of equal shares of photon noise (flux)
    and of a floor (sky, read-out), its S/N rising by the fraction snr_slope from blue to red. bad_fraction:
    pixels with ivar 0 and a wild flux, in runs of 3 to 8 (real LRS spectra of S/N > 20 lose 0.0004 of
    4900-5400 A, in runs of 5 to 8; the default is higher so that masks are exercised). outlier_fraction:
    single pixels pushed up by 5-30 sigma with nothing in the ivar to tell. ivar_scale: the ivar written over
    the true one (LAMOST's own is too small: repeats of DR8 scatter by 0.74 of what it says, scale 0.55).
    Raises SurveyError for snr <= 0 or a flux that is not finite with a positive median.
    """
    flux = np.asarray(flux, dtype=np.float64)
    if not (np.isfinite(flux).all() and np.median(flux) > 0):
        raise SurveyError("The flux to observe must be finite with a positive median.", "no_good_pixels")
    if not snr > 0:
        raise SurveyError(f"snr = {snr}: a signal-to-noise ratio above 0 is needed.", "low_snr")
    x = np.linspace(-1.0, 1.0, flux.size)
    calibration = np.exp(np.polynomial.legendre.legval(x, (0.0, *tilt)))
    relative = np.maximum(flux, 0.0) / np.median(flux)
    sigma = np.median(flux) * np.sqrt(0.5 * relative + 0.5) / (1.0 + 0.5 * snr_slope * x)
    sigma *= np.median(flux / sigma) / snr
    noisy = flux + sigma * rng.standard_normal(flux.size)

    hit = rng.random(flux.size) < outlier_fraction
    noisy += hit * sigma * rng.uniform(5.0, 30.0, flux.size)
    bad = _runs(flux.size, bad_fraction, rng)
    noisy[bad] += sigma[bad] * rng.uniform(-50.0, 200.0, bad.sum())
    ivar = np.where(bad, 0.0, ivar_scale / (sigma * calibration) ** 2)
    return Observation(noisy * calibration, ivar, bad)


def _runs(n: int, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Pixels in runs of 3 to 8 (mean 5.5) that make up about `fraction` of all."""
    bad = np.zeros(n, dtype=bool)
    for start in np.flatnonzero(rng.random(n) < fraction / 5.5):
        bad[start : start + rng.integers(3, 9)] = True
    return bad


def save(path: Path | str, hdus: list) -> Path:
    """Write blocks as one FITS file with CHECKSUM and DATASUM; the same blocks give the same bytes.

    A path that ends in .gz is compressed.
    """
    path = Path(path)
    blocks = fits.HDUList(hdus)
    blocks.update_extend()
    for hdu in blocks:
        hdu.add_checksum(when="simulated")  # astropy would otherwise write the clock into the comment
    buffer = io.BytesIO()
    blocks.writeto(buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    # mtime 0: gzip too would write the clock
    path.write_bytes(gzip.compress(buffer.getvalue(), mtime=0) if path.suffix == ".gz" else buffer.getvalue())
    return path


def placed(
    values: Float[np.ndarray, " given"], first: int, start: int, n: int, otherwise: float = 0.0
) -> Float[np.ndarray, " pixel"]:
    """`values`, whose first pixel has index `first`, on the n pixels from index `start`.

    Raises SurveyError where they leave them.
    """
    if first < start or first - start + len(values) > n:
        raise SurveyError(
            f"Pixels {first}-{first + len(values) - 1} leave the range of the format, {start}-{start + n - 1}.",
            "no_coverage",
        )
    out = np.full(n, otherwise)
    out[first - start : first - start + len(values)] = values
    return out


def checked(
    flux: Float[np.ndarray, " pixel"], ivar: Float[np.ndarray, " pixel"]
) -> tuple[Float[np.ndarray, " pixel"], Float[np.ndarray, " pixel"], np.ndarray]:
    """Both in float64, and `good_pixels` of them: what every writer does first with what it is given."""
    flux, ivar = np.asarray(flux, dtype=np.float64), np.asarray(ivar, dtype=np.float64)
    return flux, ivar, good_pixels(flux, ivar)


def good_pixels(flux: Float[np.ndarray, " pixel"], ivar: Float[np.ndarray, " pixel"]) -> np.ndarray:
    """Where both are finite and ivar > 0. Raises SurveyError for shapes that differ."""
    if flux.shape != ivar.shape or flux.ndim != 1:
        raise SurveyError(f"flux {flux.shape} and ivar {ivar.shape} must be vectors of one length.", "bad_header")
    return np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0)


def signal_to_noise(flux: Float[np.ndarray, " pixel"], ivar: Float[np.ndarray, " pixel"]) -> float:
    """The median of flux*sqrt(ivar) over the good pixels; 0 where there is none."""
    good = good_pixels(flux, ivar)
    return float(np.median(flux[good] * np.sqrt(ivar[good]))) if good.any() else 0.0
