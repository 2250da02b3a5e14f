"""Simulated survey files: a model's fluxes made noisy and written in LAMOST's own layout.

The spectrum model is not of this room: it hands in fluxes on the pixel grid. What comes out is read back by
the same reader as real files, so that a simulated survey tests the whole way.
"""

import gzip
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from jaxtyping import Float

from surveys.spectrum import LOG_STEP, SPEED_OF_LIGHT, SurveyError, grid

LRS_FIRST, LRS_PIXELS = 35682, 3909
"""First pixel and commonest length of real LRS files: 3700.0-9099.1 A."""


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


def write_lamost_lrs(
    path: Path | str,
    first: int,
    flux: Float[np.ndarray, " pixel"],
    ivar: Float[np.ndarray, " pixel"],
    *,
    ra: float,
    dec: float,
    rv: float,
    object: str = "",
    snr: float | None = None,
    subclass: str = "Non",
    survey_class: str = "STAR",
    release: str = "LAMOST DR8",
    obsid: int = 0,
    fiber: int = 1,
) -> Path:
    """Write one spectrum as a LAMOST LRS image file (DR6-DR8: rows flux, ivar, wavelength, andmask, ormask).

    first: index of flux[0] on the shared grid (spectrum.grid); the file always has the real extent, 3909
    pixels from 3700 to 9099 A, and what the given pixels do not cover is dead as in a real file: flux 0,
    ivar 0, both masks 1. The same holds for given pixels with ivar <= 0 or a flux that is not finite, except
    that a finite flux is kept. ra, dec: degrees. rv: heliocentric, km/s. snr: for every band's header key;
    None measures the median of flux*sqrt(ivar). A path that ends in .gz is compressed. The same arguments
    give the same bytes. Raises SurveyError where pixels lie outside LAMOST's range or shapes differ.
    """
    path = Path(path)
    flux, ivar = np.asarray(flux, dtype=np.float64), np.asarray(ivar, dtype=np.float64)
    start = first - LRS_FIRST
    if flux.shape != ivar.shape or flux.ndim != 1:
        raise SurveyError(f"flux {flux.shape} and ivar {ivar.shape} must be vectors of one length.", "bad_header")
    if start < 0 or start + flux.size > LRS_PIXELS:
        raise SurveyError(
            f"Pixels {first}-{first + flux.size - 1} leave the range of LAMOST LRS, "
            f"{LRS_FIRST}-{LRS_FIRST + LRS_PIXELS - 1}.",
            "no_coverage",
        )
    good = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0)
    rows = np.zeros((5, LRS_PIXELS), dtype=np.float32)
    given = slice(start, start + flux.size)
    rows[0, given] = np.where(np.isfinite(flux), flux, 0.0)
    rows[1, given] = np.where(good, ivar, 0.0)
    rows[2] = grid(LRS_FIRST, LRS_PIXELS)
    rows[3:] = 1.0
    rows[3:, given] = ~good
    if snr is None:
        snr = float(np.median(flux[good] * np.sqrt(ivar[good]))) if good.any() else 0.0

    header = fits.Header()
    for key, value, comment in (
        ("FILENAME", path.name.removesuffix(".gz"), ""),
        ("OBSID", obsid, "Unique number ID of this spectrum"),
        ("AUTHOR", "simulation", "Who compiled the information"),
        ("DATA_V", release, "Data release version"),
        ("EXTEN0", "Flux, Inverse, Wavelength, Andmask, Ormask", ""),
        ("N_EXTEN", 1, "The extension number"),
        ("EXTNAME", "Flux", "The extension name"),
        ("ORIGIN", "NAOC-LAMOST", "Organization whose layout this is"),
        ("TELESCOP", "LAMOST", "Simulated: no telescope was involved"),
        ("SIMULATE", True, "Simulated spectrum"),
        ("LMJD", 58000, "Local Modified Julian Day"),
        ("MJD", 57999, "Modified Julian Day"),
        ("PLANID", "SIMULATED", "Plan ID in use"),
        ("RA", float(ra), "[deg] Right ascension of object"),
        ("DEC", float(dec), "[deg] Declination of object"),
        ("DESIG", object, "Designation of LAMOST target"),
        ("FIBERID", fiber, "Fiber ID of Object"),
        ("OBJNAME", object, "Name of object"),
        ("OBJTYPE", "Star", "Object type from input catalog"),
        ("SPID", 1, "Spectrograph ID"),
        ("HELIO", True, "Heliocentric correction"),
        ("HELIO_RV", 0.0, "[km/s] Heliocentric correction"),
        ("VACUUM", True, "Wavelengths are in vacuum"),
        ("NWORDER", 2, "Number of linear-log10 coefficients"),
        ("WFITTYPE", "LOG-LINEAR", "Linear-log10 dispersion"),
        ("COEFF0", LRS_FIRST / 10000, "Central wavelength (log10) of first pixel"),
        ("COEFF1", LOG_STEP, "Log10 dispersion per pixel"),
        ("CRVAL1", LRS_FIRST / 10000, "Central wavelength (log10) of first pixel"),
        ("CD1_1", LOG_STEP, "Log10 dispersion per pixel"),
        ("CRPIX1", 1, "Starting pixel (1-indexed)"),
        ("CTYPE1", "LINEAR", ""),
        ("DC-FLAG", 1, "Log-linear flag"),
        ("VERSPIPE", "simulated", "Version of Pipeline"),
        ("CLASS", survey_class, "Class of object"),
        ("SUBCLASS", subclass, "Subclass of object"),
        ("Z", rv / SPEED_OF_LIGHT, "Redshift of object"),
        ("Z_ERR", 5.0 / SPEED_OF_LIGHT, "Redshift error of object"),
        ("ZFLAG", "SIMULATED", "Which method computes the redshift"),
        *((f"SNR{band}", round(snr, 2), f"SNR of {band.lower()} filter") for band in "UGRIZ"),
    ):
        header[key] = (value, comment)
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    fits.PrimaryHDU(rows, header).writeto(buffer)
    # mtime 0: gzip would otherwise write the clock into the file
    path.write_bytes(gzip.compress(buffer.getvalue(), mtime=0) if path.suffix == ".gz" else buffer.getvalue())
    return path
