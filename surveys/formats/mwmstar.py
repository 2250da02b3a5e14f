"""SDSS-V combined spectra (mwmStar, DR19 and DR20), by their data model: no real file was at hand.

HDU1 BOSS from Apache Point, 2 BOSS from Las Campanas, 3 APOGEE from Apache Point, 4 APOGEE from Las Campanas: tables
of one row, or of none where there is no such spectrum, with vector columns wavelength (vacuum A, rest frame), flux
(1e-17 erg/s/cm2/A), ivar, pixel_flags, and scalars v_rad (km/s, barycentric), snr, sdss_id, release. BOSS: 4648 pixels
at 10**(3.5523 + 1e-4 i) A; APOGEE: the grid of apStar. No line-spread function is given: APOGEE gets its mean.
Source: the data model of mwmStar (sdss/datamodel) and the documentation of Astra (sdss-astra.readthedocs.io).
"""

from pathlib import Path

import numpy as np
from astropy.io import fits

from astrogf.surveys.formats.apogee import weigh
from astrogf.surveys.formats.apogee_lsf import mean_sigma
from astrogf.surveys.formats.fitsfile import cell, cell_number, cell_text, number, signal, text, within
from astrogf.surveys.formats.sdss import UNUSABLE_BITS
from astrogf.surveys.pixels import bits, judge, silenced
from astrogf.surveys.spectrum import APOGEE_STEP, LOG_STEP, Reason, SurveyError, SurveySpectrum

_NEEDED = {"FLUX", "IVAR", "PIXEL_FLAGS"}
_INSTRUMENTS = {LOG_STEP: "boss", APOGEE_STEP: "apogee"}
_RANGES = {"boss": (3400.0, 11000.0), "apogee": (15000.0, 17100.0)}
_OFF_GRID = 0.02  # pixels
_SKY_LINE = 1 << 23


def recognises(hdus: fits.HDUList) -> bool:
    """Whether a block is a table with the columns of mwmStar (or mwmVisit, which `pieces` refuses by name)."""
    return any(_fits(hdu) for hdu in hdus[1:])


def _fits(hdu: fits.hdu.base._BaseHDU) -> bool:
    return isinstance(hdu, fits.BinTableHDU) and {name.upper() for name in hdu.columns.names} >= _NEEDED


def pieces(hdus: fits.HDUList, path: Path, sha256: str) -> list[SurveySpectrum]:
    """Every spectrum in the file. Raises SurveyError where there is none or a grid cannot be right."""
    out = []
    for hdu in hdus[1:]:
        if _fits(hdu):
            if "WAVELENGTH" not in {name.upper() for name in hdu.columns.names}:
                raise SurveyError(
                    f"{path} has no column wavelength in block {hdu.name or 'unnamed'}: it is an mwmVisit file or a "
                    "damaged mwmStar; single visits are not read, give the mwmStar file of the same star.",
                    "unknown_release",
                )
            out += [_piece(hdu, row, hdus[0].header, path, sha256) for row in range(len(hdu.data))]
    if not out:
        raise SurveyError(f"{path} is an mwmStar file without a spectrum: all its tables are empty.", "no_coverage")
    return out


def _piece(hdu: fits.BinTableHDU, row: int, header: fits.Header, path: Path, sha256: str) -> SurveySpectrum:
    name = hdu.name or "unnamed"
    wavelength, flux, ivar = (
        np.ravel(np.asarray(cell(hdu.data, n, row), dtype=np.float64)) for n in ("wavelength", "flux", "ivar")
    )
    flags = bits(np.ravel(cell(hdu.data, "pixel_flags", row)))
    if wavelength.size < 10 or not wavelength.size == flux.size == ivar.size == flags.size:
        raise SurveyError(
            f"{path}: the vectors of block {name} have different lengths or hardly any pixels.", "bad_header"
        )
    first, step = _grid(wavelength, name, path)
    instrument = _INSTRUMENTS[step]
    if instrument == "boss":
        reasons = judge(flux, ivar, bad=(flags & UNUSABLE_BITS) != 0, suspect=flags != 0)
        reasons[(flags & _SKY_LINE) != 0] |= Reason.SKY_LINE
        lsf = None
    else:
        with np.errstate(all="ignore"):
            error = np.where(ivar > 0, ivar**-0.5, np.where(np.isfinite(ivar), 0.0, np.nan))
        _, reasons = weigh(flux, error, flags, coadd=True)
        lsf = mean_sigma(flux.size)
    values = silenced(flux, ivar, reasons)
    table = hdu.data
    meta = {
        "survey": "SDSS-V",
        "release": cell_text(table, "release", row) or text(header, "V_ASTRA") or "unknown",
        "object": cell_text(table, "sdss_id", row) or text(header, "SDSS_ID"),
        "obsid": cell_text(table, "spectrum_pk", row),
        "ra": within(number(header, "RA"), 0, 360),
        "dec": within(number(header, "DEC"), -90, 90),
        "rv_header": within(cell_number(table, "v_rad", row), -2000, 2000),
        "rv_header_err": within(cell_number(table, "e_v_rad", row), 0, 1000),
        "class": "",
        "subclass": "",
        "plan": cell_text(table, "telescope", row),
        "snr_header": signal(cell_number(table, "snr", row)),
        "snr_header_key": "snr",
        "sha256": sha256,
        "file_pixels": flux.size,
        "file_range": (wavelength[0], wavelength[-1]),
    }
    return SurveySpectrum(
        *(first, *values, flags, flags, meta, step, reasons, lsf, "rest"),
        kind=f"mwmstar_{instrument}",
        piece=name.lower(),
    )


def _grid(wavelength: np.ndarray, name: str, path: Path) -> tuple[int, float]:
    """Index of the first pixel, and the step, of the grid on which all wavelengths lie."""
    if np.isfinite(wavelength).all() and (wavelength > 0).all():
        for step, instrument in _INSTRUMENTS.items():
            offsets = np.log10(wavelength) / step - np.arange(wavelength.size)
            first = round(float(np.median(offsets)))
            low, high = _RANGES[instrument]
            if np.abs(offsets - first).max() < _OFF_GRID and low < wavelength[0] < wavelength[-1] < high:
                return first, step
    raise SurveyError(
        f"{path}: the wavelengths of block {name} lie neither on BOSS's grid (1e-4 dex) nor on APOGEE's (6e-6 dex): "
        "the file is damaged.",
        "bad_header",
    )
