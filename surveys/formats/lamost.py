"""LAMOST low-resolution (LRS) spectra: the image form of DR1-DR8 and the table form since DR9.

Layouts as read from real files of DR1, DR2/3 and DR6-DR9; recognised by content, never by the file's name.
The data are heliocentric and in vacuum, flux on a relative scale, the resolving power (about 1800) not given.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.io import fits

from astrogf.base.constants import C_KMS
from astrogf.surveys.formats.fitsfile import number, signal, text, velocity, within
from astrogf.surveys.pixels import bits, judge, silenced
from astrogf.surveys.spectrum import LOG_STEP, SurveyError, SurveySpectrum, grid

KNOWN_RELEASES = tuple(f"LAMOST DR{n}" for n in range(1, 14))
LRS_RANGE = (3600.0, 9200.0)
"""Every LRS pixel seen lies in 3700-9100 A (vacuum); a grid that leaves this range has a damaged header."""
BANDS = "ugriz"

# 0.02 pixel is 1.4 km/s, well below any error of the LRS wavelength scale (about 5 km/s)
_ON_GRID = 0.02


def is_lamost(hdus: fits.HDUList) -> bool:
    """Whether the header says that this is a file of LAMOST."""
    header = hdus[0].header
    return "LAMOST" in text(header, "TELESCOP") + text(header, "ORIGIN") + text(header, "DATA_V")


def spectrum(hdus: fits.HDUList, path: Path, sha256: str) -> SurveySpectrum:
    """The spectrum of the opened blocks of a LAMOST file. Raises SurveyError."""
    layout = _LAYOUTS[_recognise(hdus, path)]
    return _spectrum(hdus[0].header, *layout(hdus, path), path=path, sha256=sha256)


def _recognise(hdus: fits.HDUList, path: Path) -> str:
    names = [hdu.name for hdu in hdus]
    if isinstance(hdus[0], fits.PrimaryHDU) and hdus[0].header.get("NAXIS") == 2:
        return "image"
    if "COADD" in names:
        columns = {name.upper() for name in hdus["COADD"].columns.names}
        if {"FLUX", "IVAR", "WAVELENGTH"} <= columns:
            return "table"
    blocks = ", ".join(f"{hdu.name or 'PRIMARY'} {hdu.shape}" for hdu in hdus)
    raise SurveyError(
        f"{path} is a LAMOST file in no layout known here (blocks: {blocks}); an LRS spectrum is an image of 5 rows "
        "or a table COADD with FLUX, IVAR, WAVELENGTH; one of MRS has tables COADD_B and COADD_R with LOGLAM.",
        "unknown_release",
    )


def _image(hdus: fits.HDUList, path: Path) -> tuple[np.ndarray, float]:
    """Rows flux, ivar, wavelength (NaN where the file has none), andmask, ormask; and COEFF0."""
    header = hdus[0].header
    if header.get("NAXIS2") != 5:
        raise SurveyError(
            f"{path} has an image of NAXIS2 = {header.get('NAXIS2')} rows; LAMOST LRS has 5 "
            "(flux, ivar, wavelength, andmask, ormask).",
            "bad_header",
        )
    coeff0, coeff1 = number(header, "COEFF0"), number(header, "COEFF1")
    if not np.isclose(coeff1, LOG_STEP, rtol=1e-6):  # over 4000 pixels 1e-6 drifts by 0.004 pixel
        raise SurveyError(
            f"{path} has COEFF1 = {header.get('COEFF1')}; LAMOST LRS pixels are {LOG_STEP:g} dex apart. "
            "The header is damaged or the file is no LRS spectrum.",
            "bad_header",
        )
    for twin, value in (("CRVAL1", coeff0), ("CD1_1", coeff1)):
        other = number(header, twin)
        if np.isfinite(other) and not np.isclose(other, value, rtol=0, atol=_ON_GRID * LOG_STEP):
            raise SurveyError(
                f"{path} says {twin} = {other} and {value} for the same thing: one of them is damaged.",
                "bad_header",
            )
    rows = np.array(hdus[0].data, dtype=np.float64)
    rows_named = re.split(r"[,\s]+", text(header, "EXTEN0").lower())
    # DR1 keeps a continuum-subtracted spectrum where later releases keep the wavelength, and says so.
    if "subcontinuum" in rows_named:
        rows[2] = np.nan
    elif "wavelength" not in rows_named and text(header, "DATA_V") not in KNOWN_RELEASES:
        raise SurveyError(
            f"{path} is a LAMOST image of an unknown release: neither DATA_V nor EXTEN0 says what its rows "
            f"are (DATA_V = {header.get('DATA_V')!r}, EXTEN0 = {header.get('EXTEN0')!r}). "
            f"Fetch a released file ({KNOWN_RELEASES[0]} to {KNOWN_RELEASES[-1]}).",
            "unknown_release",
        )
    return rows, coeff0


def _table(hdus: fits.HDUList, path: Path) -> tuple[np.ndarray, float]:
    table = hdus["COADD"].data
    if len(table) != 1:
        raise SurveyError(f"{path} has {len(table)} rows in COADD; LAMOST DR9 and later have one.", "bad_header")
    columns = {name.upper(): name for name in table.names}
    flux = np.ravel(table[columns["FLUX"]][0])
    rows = np.zeros((5, flux.size))
    for i, name in enumerate(("FLUX", "IVAR", "WAVELENGTH", "ANDMASK", "ORMASK")):
        if name in columns:
            rows[i] = np.ravel(table[columns[name]][0])
    coeff0 = number(hdus[0].header, "COEFF0")
    if not np.isfinite(coeff0):
        coeff0 = float(np.median(np.log10(rows[2]) - LOG_STEP * np.arange(flux.size)))
    return rows, coeff0


_LAYOUTS: dict[str, Callable[[fits.HDUList, Path], tuple[np.ndarray, float]]] = {
    "image": _image,
    "table": _table,
}


def _spectrum(header: fits.Header, rows: np.ndarray, coeff0: float, *, path: Path, sha256: str) -> SurveySpectrum:
    check_frame(header, path)
    release = release_of(header, path)
    first = _first_pixel(coeff0, rows, path)
    flux, ivar, _, andmask, ormask = rows
    masks = bits(andmask), bits(ormask)
    reasons = judge(flux, ivar, bad=masks[0] != 0, suspect=masks[1] != 0)
    flux, ivar = silenced(flux, ivar, reasons)
    meta = header_meta(header, "LAMOST LRS", release) | {"sha256": sha256}
    return SurveySpectrum(first, flux, ivar, *masks, meta, reasons=reasons)


def check_frame(header: fits.Header, path: Path) -> None:
    """Raises SurveyError where the header says that the wavelengths are not heliocentric, or not of vacuum."""
    if header.get("HELIO") is False:
        raise SurveyError(
            f"{path} says HELIO = F: wavelengths as observed, where LAMOST releases heliocentric ones only.",
            "bad_header",
        )
    if header.get("VACUUM") is False:
        raise SurveyError(
            f"{path} says VACUUM = F: wavelengths in air, where LAMOST releases vacuum only.", "bad_header"
        )


def release_of(header: fits.Header, path: Path) -> str:
    """DATA_V, or for the files of before it existed the pipeline version."""
    release = text(header, "DATA_V")
    if not release:
        return text(header, "VERSPIPE") or "before DATA_V"
    # "LAMOST DR10 v2.0" is DR10; DR1 is no beginning of DR10
    if " ".join(release.split()[:2]) not in KNOWN_RELEASES:
        raise SurveyError(
            f"{path} is of release {release!r}, unknown here ({KNOWN_RELEASES[0]} to {KNOWN_RELEASES[-1]} "
            "are known). If its layout is one of theirs, add it to surveys.formats.lamost.KNOWN_RELEASES.",
            "unknown_release",
        )
    return release


def _first_pixel(coeff0: float, rows: np.ndarray, path: Path) -> int:
    """Index of pixel 0 on the shared grid, the header held against the file's own wavelengths."""
    if not np.isfinite(coeff0) or not 3.0 < coeff0 < 5.0:
        raise SurveyError(
            f"{path} has COEFF0 = {coeff0}, not a log10 wavelength of the optical: the header is damaged.",
            "bad_header",
        )
    first = round(coeff0 / LOG_STEP)
    if abs(coeff0 / LOG_STEP - first) > _ON_GRID:
        raise SurveyError(
            f"{path} has COEFF0 = {coeff0:.8f}, off the grid of whole multiples of {LOG_STEP:g} dex on which "
            "all LAMOST LRS spectra lie; spectra are not resampled here.",
            "bad_header",
        )
    wavelength = grid(first, rows.shape[1])
    if wavelength.size < 10 or wavelength[0] < LRS_RANGE[0] or wavelength[-1] > LRS_RANGE[1]:
        raise SurveyError(
            f"{path} would run over {wavelength[0]:.0f}-{wavelength[-1]:.0f} A in {wavelength.size} pixels; "
            "LAMOST LRS lies in 3700-9100 A. The header is damaged.",
            "bad_header",
        )
    with np.errstate(invalid="ignore"):
        off = np.nanmedian(np.abs(rows[2] / wavelength - 1)) if np.isfinite(rows[2]).any() else 0.0
    if off > _ON_GRID * LOG_STEP * np.log(10):
        raise SurveyError(
            f"{path}: COEFF0 and the file's own wavelength row disagree by {off * C_KMS:.1f} km/s "
            "at the median; one of them is damaged.",
            "bad_header",
        )
    return first


def header_meta(header: fits.Header, survey: str, release: str) -> dict:
    """The columns of a batch's table from the primary header of a LAMOST file."""
    z = number(header, "Z")
    z_err = number(header, "Z_ERR")
    meta = {
        "survey": survey,
        "release": release,
        "object": text(header, "DESIG") or text(header, "OBJNAME") or text(header, "OBJECT"),
        "obsid": text(header, "OBSID").removeprefix("-9999"),
        "ra": within(number(header, "RA"), 0, 360),
        "dec": within(number(header, "DEC"), -90, 90),
        "rv_header": velocity(z, text(header, "CLASS")),
        "rv_header_err": z_err * C_KMS if 0 < z_err < 1 else np.nan,
        "class": text(header, "CLASS"),
        "subclass": text(header, "SUBCLASS"),
        "plan": text(header, "PLANID"),
        "mjd": int(within(number(header, "LMJD"), 0, 1e6, otherwise=0)),
        "spectrograph": int(within(number(header, "SPID"), 0, 99, otherwise=0)),
        "fiber": int(within(number(header, "FIBERID"), 0, 9999, otherwise=0)),
    }
    for band in BANDS:
        new, old = number(header, f"SNR{band.upper()}"), number(header, f"SN_{band.upper()}")
        meta[f"snr_{band}"] = signal(new if np.isfinite(new) else old)
        meta[f"snr_{band}_key"] = f"SNR{band.upper()}" if np.isfinite(new) else f"SN_{band.upper()}"
    return meta
