"""APOGEE combined spectra: apStar (r5 to DR17) and the pseudo-normalised aspcapStar.

8575 pixels at 10**(4.179 + 6e-6 i) A, vacuum, rest frame: the visits were shifted by their own velocities before
they were added, and the header's VHELIO is their mean. apStar: HDU1 flux (1e-17 erg/s/cm2/A), 2 error, 3 mask,
8 line-spread function. Row 0 is the coadd weighted pixel by pixel, row 1 that weighted as a whole, then the visits;
with a single visit there is one row (two in DR17). aspcapStar: HDU1 flux, 2 error, 3 best fit, 4 a table.
"""

import re
from pathlib import Path

import numpy as np
from astropy.io import fits

from astrogf.base.constants import C_KMS
from astrogf.surveys.formats.apogee_lsf import equivalent_sigma, mean_sigma
from astrogf.surveys.formats.fitsfile import cell_number, cell_text, image, number, signal, text, within
from astrogf.surveys.pixels import bits, judge, silenced, usable
from astrogf.surveys.spectrum import APOGEE_STEP, Reason, SurveyError, SurveySpectrum

FIRST, PIXELS = 696500, 8575
_GAP = 100  # pixels: an unusable stretch inside the spectrum longer than this lies between two detectors
_HUGE = 1e4  # times the median error: APOGEE's word for "no information" (1e10 in old files, 4e13 in DR17)

# APOGEE_PIXMASK: BADPIX, CRPIX, SATPIX, UNFIXABLE, BADDARK, BADFLAT, BADERR, NOSKY, NOT_ENOUGH_PSF
UNUSABLE_BITS = sum(1 << bit for bit in (0, 1, 2, 3, 4, 5, 6, 7, 14))
# a coadd's mask is the OR of its visits': these leave the pixel to the other visits, and the error says how good
_LEFT_TO_OTHERS = sum(1 << bit for bit in (1, 2, 3, 4, 5, 7, 14))
# APOGEE_STARFLAG: RVs from a synthetic template differ from those at which the visits were added by > 2, > 10 km/s
_FRAME_DOUBTS = {1 << 16: "SUSPECT_RV_COMBINATION", 1 << 18: "BAD_RV_COMBINATION"}
_PERSISTENCE, _SKY_LINE, _TELLURIC = 0b111 << 9, 1 << 12, 1 << 13


def recognise(hdus: fits.HDUList) -> str:
    """apStar, aspcapStar or "" for blocks of something else."""
    if len(hdus) < 4 or not all(hdu.is_image and hdu.shape and hdu.shape[-1] == PIXELS for hdu in hdus[1:4]):
        return ""
    if len(hdus) > 4 and isinstance(hdus[4], fits.BinTableHDU):
        return "aspcapStar"
    return "apStar" if len(hdus) > 4 else ""


def pieces(hdus: fits.HDUList, path: Path, sha256: str, *, exposures: bool = False) -> list[SurveySpectrum]:
    """The coadd, or with `exposures` the visits of an apStar file that has them. Raises SurveyError."""
    form = recognise(hdus)
    check_grid(hdus, path)
    check_units(hdus, path)
    flux, error = image(hdus, 1, path, "flux"), image(hdus, 2, path, "error")
    mask = bits(image(hdus, 3, path, "mask")) if form == "apStar" else np.zeros(flux.shape, dtype=np.int64)
    if not flux.shape == error.shape == mask.shape:
        raise SurveyError(
            f"{path} has flux {flux.shape}, error {error.shape} and mask {mask.shape}, which must be alike.",
            "bad_header",
        )
    if form == "aspcapStar":
        _check_normalised(flux, error, path)
    visits = int(within(number(hdus[0].header, "NVISITS"), 1, 1000, 1))
    lsf = _lsf(hdus) if form == "apStar" else None
    common = _meta(hdus, form) | {"sha256": sha256, "file_pixels": PIXELS}
    common["file_range"] = tuple(10.0 ** (4.179 + 6e-6 * np.array([0, PIXELS - 1])))
    rows = [0]
    if exposures and form == "apStar" and visits > 1 and len(flux) == visits + 2:
        rows = list(range(2, len(flux)))
    out = []
    for row in rows:
        many = visits > 1 and row == 0
        ivar, reasons = weigh(flux[row], error[row], mask[row], coadd=many)
        reasons |= _gaps(reasons)
        values = silenced(flux[row], ivar, reasons)
        meta = common
        if row > 0:
            meta = common | {"snr_header": signal(number(hdus[0].header, f"SNRVIS{row - 1}"))}
        sigma = mean_sigma(PIXELS) if lsf is None else lsf
        out.append(
            SurveySpectrum(
                *(FIRST, *values, mask[row], mask[row], meta, APOGEE_STEP, reasons, sigma, "rest"),
                kind=f"apogee_{form.lower()}",
                piece=f"visit {row - 1}" if row > 0 else "",
            )
        )
    return out


def check_grid(hdus: fits.HDUList, path: Path) -> None:
    """Raises SurveyError where a header's grid is not that of APOGEE, or none says which it is."""
    seen = 0
    for hdu in hdus[:2]:
        for key, value in (("CRVAL1", FIRST * APOGEE_STEP), ("CDELT1", APOGEE_STEP), ("CRPIX1", 1.0)):
            stated = number(hdu.header, key)
            if np.isfinite(stated):
                seen += 1
                if not np.isclose(stated, value, rtol=1e-9, atol=0):
                    raise SurveyError(
                        f"{path} has {key} = {stated:g} in block {hdu.name or 'PRIMARY'}; combined APOGEE spectra have "
                        f"{value:g}. The header is damaged.",
                        "bad_header",
                    )
    if not seen:
        raise SurveyError(f"{path} does not say its wavelengths: CRVAL1 and CDELT1 are absent.", "bad_header")


def _check_normalised(flux: np.ndarray, error: np.ndarray, path: Path) -> None:
    """Raises SurveyError where flux and error cannot be of a normalised spectrum: these blocks do not say it."""
    level, width = (float(np.median(v[v > 0])) if np.any(v > 0) else 1.0 for v in (flux, error))
    if not (0.3 < level < 3.0 and width < 0.5):
        raise SurveyError(
            f"{path}: medians of {level:g} of the normalised flux and {width:g} of its error, where about 1 and much "
            "less than 1 were expected: its blocks are mixed up.",
            "bad_header",
        )


def check_units(hdus: fits.HDUList, path: Path) -> None:
    """Raises SurveyError where BUNIT says that a block is not what stands in its place (blocks have no names)."""
    places = {1: ("flux", ("err", "mask", "sky", "tellur", "wave")), 2: ("error", ("mask", "sky", "tellur", "wave"))}
    places[3] = ("mask", ("flux", "err", "sky", "tellur", "wave"))
    for i, (wanted, others) in places.items():
        unit = text(hdus[i].header, "BUNIT").lower()
        if any(other in unit for other in others) or (i == 2 and "flux" in unit and "err" not in unit):
            raise SurveyError(
                f"{path}: block {i} should hold the {wanted}, but says {unit!r}: its blocks are mixed up.", "bad_header"
            )


def weigh(flux: np.ndarray, error: np.ndarray, mask: np.ndarray, *, coadd: bool) -> tuple[np.ndarray, np.ndarray]:
    """ivar and reasons of one row or detector; `coadd`: a mask that is the OR of several visits'."""
    flux, error = flux.astype(np.float64), error.astype(np.float64)
    told = np.isfinite(error) & (error > 0)
    with np.errstate(all="ignore"):
        ivar = np.where(told, error**-2.0, np.where(np.isfinite(error), 0.0, np.nan))
    usual = np.median(error[told & np.isfinite(flux) & (flux != 0)]) if np.any(told & (flux != 0)) else np.inf
    ivar = np.where(told & (error > _HUGE * usual), 0.0, ivar)
    unusable = UNUSABLE_BITS & ~_LEFT_TO_OTHERS if coadd else UNUSABLE_BITS
    reasons = judge(flux, ivar, bad=(mask & unusable) != 0, suspect=(mask & UNUSABLE_BITS) != 0)
    for bit, reason in ((_PERSISTENCE, Reason.PERSISTENCE), (_SKY_LINE, Reason.SKY_LINE), (_TELLURIC, Reason.TELLURIC)):
        reasons[(mask & bit) != 0] |= reason
    return ivar, reasons


def _gaps(reasons: np.ndarray) -> np.ndarray:
    """CHIP_GAP in the long unusable stretches between usable pixels."""
    bad = ~usable(reasons)
    edges = np.diff(np.concatenate(([0], bad, [0])).astype(int))
    out = np.zeros_like(reasons)
    for start, stop in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        if stop - start > _GAP and start > 0 and stop < bad.size:
            out[start:stop] |= Reason.CHIP_GAP
    return out


def _lsf(hdus: fits.HDUList) -> np.ndarray | None:
    data = hdus[8].data if len(hdus) > 8 and hdus[8].is_image else None
    if data is None:
        return None
    pixel = APOGEE_STEP * np.log(10.0) * C_KMS
    return equivalent_sigma(np.atleast_2d(data)[0], np.full(PIXELS, pixel))


_FILE = re.compile(r"(?:ap|as)(?:Visit|Star)-([A-Za-z0-9.]+)-")


def release_in(*names: str) -> str:
    """r6 or dr17 from the names of files that a header or table holds."""
    for name in names:
        if match := _FILE.search(name + "-"):
            return match[1]
    return ""


def _meta(hdus: fits.HDUList, form: str) -> dict:
    header = hdus[0].header
    table = hdus[4].data if form == "aspcapStar" else None

    def value(key: str) -> float:
        held = number(header, key)
        return held if np.isfinite(held) or table is None else cell_number(table, key)

    names = [text(header, "SFILE1")] if table is None else [cell_text(table, "FILE")]
    starflag = int(within(value("STARFLAG"), -(2**62), 2**62, 0))
    release = release_in(*names) or (cell_text(table, "RED_VERS") if table is not None else "") or "unknown"
    rv = value("VHELIO")
    return {
        "survey": "APOGEE",
        "release": release,
        "object": text(header, "OBJID")
        or text(header, "OBJ")
        or (cell_text(table, "APOGEE_ID") if table is not None else ""),
        "obsid": "",
        "ra": within(value("RA"), 0, 360),
        "dec": within(value("DEC"), -90, 90),
        "rv_header": within(rv, -2000, 2000),
        "rv_header_err": within(value("VERR"), 0, 1000),
        "class": "",
        # of aspcapStar the class of its grid, whose first letters are a spectral type: GKg_b, Md_a
        "subclass": cell_text(table, "ASPCAP_CLASS") or cell_text(table, "CLASS") if table is not None else "",
        "plan": text(header, "FIELD"),
        "mjd": 0,
        "spectrograph": 0,
        "fiber": round(within(value("MEANFIB"), 0, 300, 0)),
        "snr_header": signal(value("SNR")),
        "snr_header_key": "SNR",
        "visits": int(within(value("NVISITS"), 0, 1000, 0)),
        "starflag": starflag,
        "frame_doubt": ", ".join(name for bit, name in _FRAME_DOUBTS.items() if starflag & bit),
    }
