"""SDSS optical spectra: full and lite files of the legacy survey, SEGUE, BOSS, eBOSS and SDSS-V.

HDU1 COADD, one row a pixel: flux (1e-17 erg/s/cm2/A), loglam (vacuum, heliocentric), ivar, and_mask, or_mask,
wdisp, sky, model; column names in capitals in SDSS-V. HDU2 (SPECOBJ or SPALL) has one row about the object. The
coadd's first pixel is not the header's COEFF0 (1.8e-3 dex off in a legacy file); loglam is float32 with steps of
0.0024 pixel: the grid of whole multiples of 1e-4 dex is rebuilt in float64. Single exposures are not read.
"""

from pathlib import Path

import numpy as np
from astropy.io import fits

from astrogf.base.constants import C_KMS
from astrogf.surveys.formats.fitsfile import (
    LARGEST_SNR,
    cell,
    cell_number,
    cell_text,
    number,
    signal,
    text,
    velocity,
    within,
)
from astrogf.surveys.pixels import bits, filled, judge, silenced
from astrogf.surveys.spectrum import LOG_STEP, Reason, SurveyError, SurveySpectrum

RANGE = (3400.0, 11000.0)
BANDS = "ugriz"
_OFF_GRID = 0.02  # pixels, 1.4 km/s; loglam's own rounding is a tenth of it
_PIXEL = LOG_STEP * np.log(10.0) * C_KMS  # km/s
_BRIGHTSKY = 1 << 23
# SPPIXMASK: LOWFLAT, FULLREJECT, NOSKY, NODATA, COMBINEREJ, BADFLUXFACTOR, REDMONSTER
UNUSABLE_BITS = sum(1 << bit for bit in (17, 18, 22, 24, 25, 26, 28))


def recognises(hdus: fits.HDUList) -> bool:
    """Whether HDU1 is a table with the columns of an SDSS coadd."""
    if len(hdus) < 2 or not isinstance(hdus[1], fits.BinTableHDU):
        return False
    return {"FLUX", "LOGLAM", "IVAR", "AND_MASK"} <= {name.upper() for name in hdus[1].columns.names}


def spectrum(hdus: fits.HDUList, path: Path, sha256: str) -> SurveySpectrum:
    """The coadd. Raises SurveyError where a header or the grid cannot be right.

    Unusable is what judge says and an and_mask with one of LOWFLAT, FULLREJECT, NOSKY, NODATA, COMBINEREJ,
    BADFLUXFACTOR, REDMONSTER; other bits leave a pixel with its ivar and become SOME_EXPOSURE or SKY_LINE.
    """
    header, table = hdus[0].header, hdus[1].data
    if header.get("VACUUM") is False:
        raise SurveyError(f"{path} says VACUUM = F: wavelengths in air, where SDSS releases vacuum only.", "bad_header")
    names = {name.upper(): name for name in table.names}
    flux, ivar, loglam = (np.asarray(table[names[n]], dtype=np.float64) for n in ("FLUX", "IVAR", "LOGLAM"))
    if flux.ndim != 1 or flux.size < 10:
        raise SurveyError(f"{path} has {flux.size} pixels in COADD, where SDSS has about 4000.", "bad_header")
    first = _first(loglam, path)
    andmask = bits(table[names["AND_MASK"]])
    ormask = bits(table[names["OR_MASK"]]) if "OR_MASK" in names else andmask
    unusable = (andmask & UNUSABLE_BITS) != 0
    reasons = judge(flux, ivar, bad=unusable, suspect=(ormask != 0))
    reasons[(andmask & _BRIGHTSKY) != 0] |= Reason.SKY_LINE
    lsf = None
    if "WDISP" in names:
        wdisp = np.asarray(table[names["WDISP"]], dtype=np.float64)
        has_width = np.isfinite(wdisp) & (wdisp > 0.2) & (wdisp < 10)
        reasons[~has_width] |= Reason.NO_LSF
        pixels = filled(wdisp, has_width)
        lsf = None if pixels is None else pixels * _PIXEL
    flux, ivar = silenced(flux, ivar, reasons)
    meta = _meta(hdus, path) | {"sha256": sha256, "file_pixels": flux.size}
    meta["file_range"] = (10.0 ** loglam.min(), 10.0 ** loglam.max())
    return SurveySpectrum(first, flux, ivar, andmask, ormask, meta, LOG_STEP, reasons, lsf, kind="sdss_optical")


def _first(loglam: np.ndarray, path: Path) -> int:
    offsets = loglam / LOG_STEP - np.arange(loglam.size)
    first = round(float(np.median(offsets))) if np.isfinite(offsets).all() else 0
    worst = float(np.abs(offsets - first).max())
    if not worst < _OFF_GRID:
        raise SurveyError(
            f"{path}: loglam leaves the grid of whole multiples of {LOG_STEP:g} dex by {worst:.2f} pixels at worst, "
            f"where its own rounding allows {_OFF_GRID}: the file is damaged.",
            "bad_header",
        )
    low, high = 10 ** (first * LOG_STEP), 10 ** ((first + loglam.size - 1) * LOG_STEP)
    if low < RANGE[0] or high > RANGE[1]:
        raise SurveyError(
            f"{path} would run over {low:.0f}-{high:.0f} A; SDSS optical spectra lie in {RANGE[0]:.0f}-"
            f"{RANGE[1]:.0f} A. The file is damaged.",
            "bad_header",
        )
    return first


def _meta(hdus: fits.HDUList, path: Path) -> dict:
    header = hdus[0].header
    about = hdus[2].data if len(hdus) > 2 and isinstance(hdus[2], fits.BinTableHDU) else None

    def value(*names: str) -> float:
        """The first of these columns, or header keys, that holds a number."""
        values = [cell_number(about, n) for n in names] if about is not None else []
        values += [number(header, n) for n in names]
        return next((v for v in values if np.isfinite(v)), np.nan)

    def word(*names: str) -> str:
        words = [cell_text(about, n) for n in names] if about is not None else []
        words += [text(header, n) for n in names]
        return next((w for w in words if w), "")

    z, z_err = value("Z"), value("Z_ERR")
    # RA and DEC of the header are the telescope's; of the table the object's
    ra, dec = (
        next((v for v in (value(a), cell_number(about, b) if about is not None else np.nan) if np.isfinite(v)), np.nan)
        for a, b in (("PLUG_RA", "RA"), ("PLUG_DEC", "DEC"))
    )
    if not np.isfinite(ra + dec):
        ra, dec = (value(*n) for n in (("FIBER_RA", "RACAT"), ("FIBER_DEC", "DECCAT")))
    run = word("RUN2D")
    programme = word("PROGRAMNAME", "SURVEY")
    identifier = word("SPECOBJID", "SDSS_ID", "CATALOGID") or word("SPEC_ID")
    meta = {
        "survey": "SDSS optical",
        "release": run or "before RUN2D",
        "programme": programme,
        "object": word("CATALOGID")
        or f"{value('PLATE', 'PLATEID', 'FIELD'):.0f}-{value('MJD'):.0f}-{value('FIBERID'):.0f}",
        "obsid": identifier,
        "ra": within(ra, 0, 360),
        "dec": within(dec, -90, 90),
        "rv_header": velocity(z, word("CLASS")),
        "rv_header_err": z_err * C_KMS if 0 < z_err < 1 else np.nan,
        "class": word("CLASS"),
        "subclass": word("SUBCLASS"),
        "plan": f"{within(value('PLATE', 'PLATEID', 'FIELD'), 0, 1e9, 0):.0f}",
        "mjd": int(within(value("MJD"), 0, 1e6, 0)),
        "spectrograph": int(within(value("SPECTROGRAPHID"), 0, 99, 0)),
        "fiber": int(within(value("FIBERID"), 0, 9999, 0)),
        "snr_header": signal(value("SN_MEDIAN_ALL")),
        "snr_header_key": "SN_MEDIAN_ALL",
        "zwarning": int(within(value("ZWARNING"), 0, 2**31, 0)),
    }
    medians = None if about is None else cell(about, "SN_MEDIAN")
    bands = np.ravel(medians) if medians is not None else np.zeros(0)
    for i, band in enumerate(BANDS):
        meta[f"snr_{band}"] = within(float(bands[i]), -LARGEST_SNR, LARGEST_SNR) if len(bands) == len(BANDS) else np.nan
        meta[f"snr_{band}_key"] = f"SN_MEDIAN_{band.upper()}"
    return meta
