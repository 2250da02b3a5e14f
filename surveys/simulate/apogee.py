"""Simulated files in APOGEE's layouts: apStar of two generations, aspcapStar, apVisit."""

from pathlib import Path
from typing import Literal

import numpy as np
from astropy.io import fits
from jaxtyping import Float
from scipy.interpolate import CubicHermiteSpline

from astrogf.surveys.formats.apogee import FIRST, PIXELS
from astrogf.surveys.simulate.base import checked, good_pixels, placed, save, signal_to_noise
from astrogf.surveys.spectrum import APOGEE_STEP, SurveyError

CHIPS = ((15142.3, 15809.8, 0.1727, 0.1532), (15856.9, 16435.0, 0.1516, 0.1305), (16472.4, 16954.5, 0.1290, 0.1063))
"""Of the blue, green and red detector: first and last wavelength (A) and the steps there, as in a real visit."""
LSF = (1.0, 4287.0, 5.0, 1, 1, 1, 1, 1, 0, 1.75, -2e-5, 0.0, 0.0, -0.03, 0.0, 0.0, 0.0, 0.1, 0.0, 0.0)
"""Coefficients of a line-spread function of about R = 22,000 on the apStar grid."""
BADPIX, SKY_LINE, TELLURIC = 1, 1 << 12, 1 << 13


UNITS = (
    "Flux (10^-17 erg/s/cm^2/Ang)",
    "Flux Error (10^-17 erg/s/cm^2/Ang)",
    "Flag Mask (bitwise)",
    "Sky (10^-17 erg/s/cm^2/Ang)",
    "Sky Error (10^-17 erg/s/cm^2/Ang)",
    "Telluric",
    "Telluric Error",
)


GRID_CARDS = {"CRVAL1": FIRST * APOGEE_STEP, "CDELT1": APOGEE_STEP, "CRPIX1": 1, "CTYPE1": "LOG-LINEAR"}


def between_chips() -> np.ndarray:
    """True for the pixels of the combined grid that no detector sees."""
    wavelength = 10.0 ** ((FIRST + np.arange(PIXELS)) * APOGEE_STEP)
    return ~np.any([(wavelength > low) & (wavelength < high) for low, high, _, _ in CHIPS], axis=0)


def _header(ra: float, dec: float, rv: float, object: str, snr: float, visits: int) -> fits.Header:
    cards = (
        ("OBJID", object, "Object ID"),
        ("RA", ra, "right ascension, deg, J2000"),
        ("DEC", dec, "declination, deg, J2000"),
        ("SIMULATE", True, "Simulated spectrum"),
        ("TELESCOP", "apo25m", "Simulated: no telescope was involved"),
        ("NVISITS", visits, "number of visit spectra combined"),
        ("VRAD", 0.0, "Doppler shift (km/s) of this spectrum"),
        ("VHELIO", rv, "mean heliocentric velocity (km/s)"),
        ("VSCATTER", 0.1, "STDEV of VHELIO (km/s)"),
        ("VERR", 0.05, "weighted error in VHELIO (km/s)"),
        ("SNR", round(snr, 4), "final median Signal/Noise ratio"),
        ("STARFLAG", 0, "bitwise OR of individual visit starflags"),
    )
    return fits.Header([*cards, *GRID_CARDS.items()])


def _combined(first: int, flux: np.ndarray, ivar: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Flux, ivar and error (0 where there is none) on the combined grid, and which pixels are good: no detector, no
    data."""
    flux, ivar, good = checked(flux, ivar)
    full = placed(np.where(good, flux, 0.0), first, FIRST, PIXELS)
    weight = placed(np.where(good, ivar, 0.0), first, FIRST, PIXELS)
    observed = (weight > 0) & ~between_chips()
    error = np.where(observed, 1.0 / np.sqrt(np.where(observed, weight, 1.0)), 0.0)
    return np.where(observed, full, 0.0), np.where(observed, weight, 0.0), error, observed


def write_apogee_star(
    path: Path | str,
    first: int,
    flux: Float[np.ndarray, " pixel"],
    ivar: Float[np.ndarray, " pixel"],
    *,
    ra: float,
    dec: float,
    rv: float,
    object: str = "2M00000000+0000000",
    era: Literal["r6", "dr17"] = "r6",
    visits: int = 1,
    starflag: int = 0,
    seed: int = 0,
) -> Path:
    """Write one rest-frame spectrum as an apStar file.

    first: index of flux[0] on the combined grid (apogee.FIRST is its first pixel). era: "r6" (float32; unseen pixels
    have flux 0 and error 1e10; one row for one visit) or "dr17" (float64; NaN and error 4e13; two rows always; no
    line-spread function). starflag: bits of APOGEE_STARFLAG. visits > 1 adds the second coadd and the visits, whose
    noise is drawn with `seed`. Between the detectors there is nothing, whatever is given. The same arguments give the
    same bytes. Raises SurveyError where pixels leave the grid or shapes differ.
    """
    full, weight, error, observed = _combined(first, flux, ivar)
    rng = np.random.default_rng(seed)
    copies = 1 if era == "dr17" and visits == 1 else 0
    rows = [full] * (1 + copies)
    errors = [error] * (1 + copies)
    if visits > 1:
        many = [full + error * np.sqrt(visits) * rng.standard_normal(PIXELS) for _ in range(visits)]
        rows, errors = [full, full, *many], [error, error, *[error * np.sqrt(visits)] * visits]
    blank, huge, kind = (np.nan, 4e13, np.float64) if era == "dr17" else (0.0, 1e10, np.float32)
    arrays = [
        np.array([np.where(observed, row, blank) for row in rows], dtype=kind),
        np.array([np.where(observed, row, huge) for row in errors], dtype=kind),
    ]
    mask = np.where(observed, 0, BADPIX)
    mask[600:640] |= SKY_LINE
    mask[2000:2030] |= TELLURIC
    arrays.append(np.array([mask] * len(rows), dtype=np.int64 if era == "dr17" else np.int16))
    arrays += [np.ones((len(rows), PIXELS), dtype=np.float32)] * 4
    if len(rows) == 1:
        arrays = [a[0] for a in arrays]
    header = _header(ra, dec, rv, object, signal_to_noise(full, weight), visits)
    header["STARFLAG"] = starflag
    for visit in range(1, visits + 1):
        header[f"SFILE{visit}"] = f"apVisit-{era}-5000-56000-{visit:03d}.fits"
        header[f"SNRVIS{visit}"] = round(signal_to_noise(full, weight) / np.sqrt(visits), 4)
    hdus: list = [fits.PrimaryHDU(header=header), *(fits.ImageHDU(a) for a in arrays)]
    for hdu, unit in zip(hdus[1:], UNITS, strict=True):
        hdu.header.update(GRID_CARDS, BUNIT=unit)
    hdus.append(fits.ImageHDU() if era == "dr17" else fits.ImageHDU(np.array(LSF)))
    table = [fits.Column("VHELIO", "D", array=np.full(visits, rv))]
    hdus.append(fits.BinTableHDU.from_columns(table))
    return save(path, hdus)


def write_apogee_aspcapstar(
    path: Path | str,
    first: int,
    flux: Float[np.ndarray, " pixel"],
    ivar: Float[np.ndarray, " pixel"],
    *,
    ra: float,
    dec: float,
    rv: float,
    object: str = "2M00000000+0000000",
    grid_class: str = "GKd_a",
) -> Path:
    """Write one normalised rest-frame spectrum as an aspcapStar file of r6. As write_apogee_star."""
    full, weight, error, observed = _combined(first, flux, ivar)
    header = _header(ra, dec, rv, object, signal_to_noise(full, weight), 2)
    header["OBJ"] = object
    del header["OBJID"]
    hdus: list = [fits.PrimaryHDU(header=header)]
    for values in (full, error, np.where(observed, 1.0, 0.0)):
        hdus.append(fits.ImageHDU(values.astype(np.float32)))
        hdus[-1].header.update(GRID_CARDS)
    columns = [
        fits.Column("FILE", "28A", array=np.array([f"apStar-r6-{object}"])),
        fits.Column("APOGEE_ID", "18A", array=np.array([object])),
        fits.Column("CLASS", "8A", array=np.array([grid_class])),
        fits.Column("FPARAM", "9E", array=np.zeros((1, 9))),
        fits.Column("ASPCAPFLAG", "J", array=np.zeros(1)),
    ]
    hdus.append(fits.BinTableHDU.from_columns(columns))
    return save(path, hdus)


def visit_wavelengths() -> Float[np.ndarray, "3 4096"]:
    """Wavelengths (vacuum A, observed frame) of a visit's pixels: red, green, blue detector, descending."""
    at = np.array([0.0, 4095.0])
    rows = []
    for low, high, step_low, step_high in reversed(CHIPS):
        rows.append(CubicHermiteSpline(at, [high, low], [-step_high, -step_low])(np.arange(4096)))
    return np.array(rows)


def write_apogee_visit(
    path: Path | str,
    flux: Float[np.ndarray, "3 4096"],
    ivar: Float[np.ndarray, "3 4096"],
    *,
    ra: float,
    dec: float,
    bc: float,
    rv: float,
    object: str = "2M00000000+0000000",
    release: str = "r6",
) -> Path:
    """Write one visit as an apVisit file: observed flux at visit_wavelengths().

    bc: barycentric correction, km/s: a star of heliocentric velocity rv is seen at rv - bc. Pixels with ivar <= 0 or a
    flux that is not finite get an error of 1e7 times the median and BADPIX. The same arguments give the same bytes.
    Raises SurveyError for another shape.
    """
    flux, ivar = np.asarray(flux, dtype=np.float64), np.asarray(ivar, dtype=np.float64)
    if flux.shape != (3, 4096) or ivar.shape != (3, 4096):
        raise SurveyError(f"flux {flux.shape} and ivar {ivar.shape} of a visit are (3, 4096).", "bad_header")
    good = good_pixels(flux.ravel(), ivar.ravel()).reshape(3, 4096)
    error = 1.0 / np.sqrt(np.where(good, ivar, 1.0))
    error = np.where(good, error, 1e7 * np.median(error[good]))
    header = _header(ra, dec, rv, object, signal_to_noise(flux.ravel(), ivar.ravel()), 1)
    for key in (*GRID_CARDS, "NVISITS", "VSCATTER", "VERR"):
        del header[key]
    for key, value in (("BC", bc), ("VRAD", rv - bc), ("PLATE", "5000"), ("MJD5", 56000), ("FIBERID", 1)):
        header[key] = value
    mask = np.where(good, 0, BADPIX).astype(np.int16)
    lsf = np.array([(2.0, 2048.0, 5.0, 0, 0, 0, 0, 0, 0, 2.2, 0, -0.03, 0, 0.1, 0)] * 3)
    arrays = [np.where(np.isfinite(flux), flux, 0.0).astype(np.float32), error.astype(np.float32), mask]
    arrays += [visit_wavelengths(), *[np.ones((3, 4096), dtype=np.float32)] * 4, np.zeros((3, 14)), lsf]
    hdus: list = [fits.PrimaryHDU(header=header), *(fits.ImageHDU(a) for a in arrays)]
    units = (*UNITS[:3], "Wavelength (Ang)", *UNITS[3:])
    for hdu, unit in zip(hdus[1:9], units, strict=True):
        hdu.header["BUNIT"] = unit
    table = [fits.Column("FILE", "40A", array=np.array([f"apVisit-{release}-5000-56000-001.fits"]))]
    hdus.append(fits.BinTableHDU.from_columns(table))
    return save(path, hdus)
