"""APOGEE single visits (apVisit), resampled to the grid of the combined spectra.

(3, 4096) pixels of the red, green and blue detector, wavelength descending, vacuum, as observed: HDU1 flux, 2 error,
3 mask, 4 wavelength, 10 line-spread function. Every detector is rebinned (resample.to_grid) to 10**(4.179 + 6e-6 i) A
after the header's barycentric correction BC has been applied, so that what comes out is heliocentric; between the
detectors nothing is known. Without BC the spectrum stays in the observed frame. The header's velocities of single
visits are not reliable (598 km/s for a star of 6.7 km/s): rv_header is VHELIO as it stands.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
from astropy.io import fits

from astrogf.base.constants import C_KMS
from astrogf.surveys.formats.apogee import FIRST, PIXELS, check_units, release_in, weigh
from astrogf.surveys.formats.apogee_lsf import equivalent_sigma, mean_sigma
from astrogf.surveys.formats.fitsfile import cell_number, cell_text, image, number, signal, text, within
from astrogf.surveys.pixels import bits
from astrogf.surveys.resample import to_grid
from astrogf.surveys.spectrum import APOGEE_STEP, Reason, SurveyError, SurveySpectrum

RANGE = (15000.0, 17100.0)
LARGEST_BC = 35.0  # km/s: the Earth's orbit and rotation


def recognises(hdus: fits.HDUList) -> bool:
    """Whether blocks 1 to 4 are images of three detectors."""
    return len(hdus) > 4 and all(
        hdu.is_image and len(hdu.shape) == 2 and hdu.shape[0] == 3 and hdu.shape[1] in (2048, 4096) for hdu in hdus[1:5]
    )


def spectrum(hdus: fits.HDUList, path: Path, sha256: str) -> SurveySpectrum:
    """The visit on the combined grid. Raises SurveyError where the wavelengths cannot be right."""
    header = hdus[0].header
    flux, error, mask, wavelength = (
        image(hdus, i, path, what) for i, what in enumerate(("flux", "error", "mask", "wavelength"), start=1)
    )
    check_units(hdus, path)
    wavelength, mask = wavelength.astype(np.float64), bits(mask)
    _check_wavelength(wavelength, path)
    bc = _correction(header, path)
    has_bc = np.isfinite(bc)
    shifted = wavelength * (1.0 + (bc if has_bc else 0.0) / C_KMS)

    out_flux, out_ivar = np.zeros(PIXELS), np.zeros(PIXELS)
    out_mask, reasons = np.zeros(PIXELS, dtype=np.int64), np.full(PIXELS, int(Reason.NO_DATA), dtype=np.int32)
    lsf = np.full(PIXELS, np.nan)
    ends = []
    for chip in range(3):
        ivar, why = weigh(flux[chip], error[chip], mask[chip], coadd=False)
        good_flux, good_ivar = np.nan_to_num(flux[chip].astype(np.float64)), np.nan_to_num(ivar)
        on = to_grid(shifted[chip], good_flux, good_ivar, why, mask[chip], APOGEE_STEP)
        start, stop = max(on.first - FIRST, 0), min(on.first - FIRST + on.flux.size, PIXELS)
        here, there = slice(start, stop), slice(start + FIRST - on.first, stop + FIRST - on.first)
        out_flux[here], out_ivar[here] = on.flux[there], on.ivar[there]
        out_mask[here], reasons[here] = on.mask[there], on.reasons[there]
        ends.append((start, stop))
        sigma = _chip_lsf(hdus, chip, wavelength[chip])
        if sigma is not None:
            order = np.argsort(shifted[chip])
            at = 10.0 ** ((FIRST + np.arange(start, stop)) * APOGEE_STEP)
            lsf[here] = np.interp(at, shifted[chip][order], sigma[order])
    ends.sort()
    for (_, stop), (start, _) in pairwise(ends):
        reasons[stop:start] |= Reason.CHIP_GAP
    have = np.isfinite(lsf)
    reasons[~have & (reasons & int(Reason.NO_DATA) == 0)] |= Reason.NO_LSF
    lsf = np.interp(np.arange(PIXELS), np.flatnonzero(have), lsf[have]) if have.any() else mean_sigma(PIXELS)
    meta = _meta(hdus, bc if has_bc else np.nan) | {"sha256": sha256, "file_pixels": flux.size}
    meta["file_range"] = (wavelength.min(), wavelength.max())
    frame = "heliocentric" if has_bc else "observed"
    return SurveySpectrum(
        *(FIRST, out_flux, out_ivar, out_mask, out_mask, meta, APOGEE_STEP, reasons, lsf, frame), kind="apogee_apvisit"
    )


def _correction(header: fits.Header, path: Path) -> float:
    """The barycentric correction in km/s: BC, or VHELIO - VRAD, which is the same; NaN where neither is there."""
    stated = number(header, "BC")
    implied = number(header, "VHELIO") - number(header, "VRAD")
    if np.isfinite(stated) and np.isfinite(implied) and abs(stated - implied) > 0.1:
        raise SurveyError(
            f"{path} says BC = {stated:g} km/s, and VHELIO - VRAD = {implied:g}, which should be the same: its header "
            "is damaged.",
            "bad_header",
        )
    bc = stated if np.isfinite(stated) else implied
    if np.isfinite(bc) and abs(bc) > LARGEST_BC:
        raise SurveyError(
            f"{path} says BC = {bc:g} km/s; the Earth's motion is no more than {LARGEST_BC:g}: its header is damaged.",
            "bad_header",
        )
    return bc


def _check_wavelength(wavelength: np.ndarray, path: Path) -> None:
    ok = np.isfinite(wavelength).all() and wavelength.min() > RANGE[0] and wavelength.max() < RANGE[1]
    steps = np.diff(wavelength, axis=1)
    # a detector's dispersion is smooth: neighbouring steps differ by some 1e-5 of themselves
    smooth = ok and (steps < 0).all() and (np.abs(np.diff(steps, axis=1)) < 0.02 * np.abs(steps[:, 1:])).all()
    if not smooth:
        raise SurveyError(
            f"{path}: the wavelengths in block 4 do not run smoothly down from red to blue within {RANGE[0]:.0f}-"
            f"{RANGE[1]:.0f} A on each of the three detectors, as APOGEE's do: the file is damaged.",
            "bad_header",
        )


def _chip_lsf(hdus: fits.HDUList, chip: int, wavelength: np.ndarray) -> np.ndarray | None:
    """Sigma in km/s along a detector, widened by the output pixel it is averaged over."""
    data = hdus[10].data if len(hdus) > 10 and hdus[10].is_image else None
    if data is None or np.ndim(data) != 2 or len(data) != 3:
        return None
    velocity = np.abs(np.gradient(wavelength)) / wavelength * C_KMS
    sigma = equivalent_sigma(data[chip], velocity)
    pixel = APOGEE_STEP * np.log(10.0) * C_KMS
    return None if sigma is None else np.sqrt(sigma**2 + pixel**2 / 12.0)


def _meta(hdus: fits.HDUList, bc: float) -> dict:
    header = hdus[0].header
    table = hdus[11].data if len(hdus) > 11 and isinstance(hdus[11], fits.BinTableHDU) else None
    held = cell_text(table, "FILE") if table is not None else ""

    def value(key: str) -> float:
        stated = number(header, key)
        return stated if np.isfinite(stated) or table is None else cell_number(table, key)

    return {
        "survey": "APOGEE",
        "release": release_in(held, text(header, "FILENAME")) or text(header, "V_APRED") or "unknown",
        "object": text(header, "OBJID") or (cell_text(table, "APOGEE_ID") if table is not None else ""),
        "obsid": "",
        "ra": within(value("RA"), 0, 360),
        "dec": within(value("DEC"), -90, 90),
        "rv_header": within(value("VHELIO"), -2000, 2000),
        "rv_header_err": within(value("VRADERR"), 0, 1000),
        "class": "",
        "subclass": "",
        "plan": text(header, "PLATE"),
        "mjd": int(within(value("MJD5"), 0, 1e6, 0)),
        "spectrograph": 0,
        "fiber": int(within(value("FIBERID"), 0, 300, 0)),
        "snr_header": signal(value("SNR")),
        "snr_header_key": "SNR",
        "bc": bc,
        "starflag": int(within(value("STARFLAG"), -(2**62), 2**62, 0)),
    }
