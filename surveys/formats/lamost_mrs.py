"""LAMOST medium-resolution (MRS) spectra: blue and red arm of one star as two pieces.

HDU0 `Information`, then COADD_B and COADD_R (one row a pixel: FLUX, IVAR, LOGLAM, ANDMASK, ORMASK), then the
single exposures B-<LMJM> and R-<LMJM> (PIXMASK instead of two masks). In DR9 and later a block has ONE row of
vectors, and WAVELENGTH in Angstrom for LOGLAM (by programs that read them: no real file of these was at hand).
Vacuum, heliocentric; R about 7500, not given pixel by pixel. LOGLAM is float32, whose steps at 3.7 are 0.024 of a
pixel: the coadds lie on whole multiples of 1e-5 dex and their grid is rebuilt in float64. Exposures lie on the
detector's own grid, the red arm backwards, and are resampled.
"""

from pathlib import Path

import numpy as np
from astropy.io import fits

from astrogf.surveys.formats.fitsfile import number, signal
from astrogf.surveys.formats.lamost import check_frame, header_meta, is_lamost, release_of
from astrogf.surveys.pixels import bits, judge, silenced
from astrogf.surveys.resample import to_grid
from astrogf.surveys.spectrum import MRS_STEP, SurveyError, SurveySpectrum

ARMS = {"B": "blue", "R": "red"}
RANGES = {"blue": (4700.0, 5600.0), "red": (6000.0, 7200.0)}
"""Every coadd seen lies in 4898-5391 A and 6304-6874 A (vacuum)."""
_WAVES = {"LOGLAM", "WAVELENGTH"}
_OFF_GRID = 0.05  # pixels: twice the step of LOGLAM, 0.3 km/s


def recognises(hdus: fits.HDUList) -> bool:
    """Whether these are the blocks of a LAMOST MRS file."""
    return is_lamost(hdus) and any(_arm(hdu) for hdu in hdus[1:])


def _arm(hdu: fits.hdu.base._BaseHDU) -> str:
    """blue or red for a block that holds a spectrum, else ""."""
    if not isinstance(hdu, fits.BinTableHDU) or not _WAVES & {name.upper() for name in hdu.columns.names}:
        return ""
    name = hdu.name.upper()
    letter = name[-1:] if name.startswith("COADD_") else name[:1] if name[1:2] == "-" else ""
    return ARMS.get(letter, "")


def pieces(hdus: fits.HDUList, path: Path, sha256: str, *, exposures: bool = False) -> list[SurveySpectrum]:
    """The coadded arms, or with `exposures` the single ones; an arm without a coadd gives its exposures.

    Raises SurveyError where a header or a grid cannot be right.
    """
    header = hdus[0].header
    check_frame(header, path)
    meta = header_meta(header, "LAMOST MRS", release_of(header, path)) | {"sha256": sha256}
    spectra = []
    for arm in ("blue", "red"):
        blocks = [hdu for hdu in hdus[1:] if _arm(hdu) == arm]
        coadds = [hdu for hdu in blocks if hdu.name.upper().startswith("COADD_")]
        singles = [hdu for hdu in blocks if hdu not in coadds]
        wanted = singles if singles and (exposures or not coadds) else coadds
        spectra += [_piece(hdu, arm, meta, path) for hdu in wanted]
    return spectra


def _piece(hdu: fits.BinTableHDU, arm: str, meta: dict, path: Path) -> SurveySpectrum:
    coadd = hdu.name.upper().startswith("COADD_")
    columns = {name.upper(): name for name in hdu.columns.names}
    masks = ("ANDMASK", "ORMASK") if coadd else ("PIXMASK", "PIXMASK")
    missing = {"FLUX", "IVAR", *masks} - columns.keys()
    if missing or not len(hdu.data):
        raise SurveyError(
            f"{path}: block {hdu.name} has {len(hdu.data)} rows and no column {', '.join(sorted(missing)) or '-'}; "
            "LAMOST MRS has FLUX, IVAR, LOGLAM or WAVELENGTH, and masks.",
            "bad_header",
        )

    def values(name: str) -> np.ndarray:
        """One row a pixel, or one row of vectors."""
        held = np.asarray(hdu.data[columns[name]])
        return held[0] if held.ndim == 2 and len(held) == 1 else held

    flux, ivar = (np.asarray(values(n), dtype=np.float64) for n in ("FLUX", "IVAR"))
    wave = "LOGLAM" if "LOGLAM" in columns else "WAVELENGTH"
    loglam = np.asarray(values(wave), dtype=np.float64)
    loglam = loglam if wave == "LOGLAM" else np.log10(np.where(loglam > 0, loglam, np.nan))
    andmask, ormask = (bits(values(n)) for n in masks)
    if flux.ndim != 1 or flux.size < 10 or not flux.shape == ivar.shape == loglam.shape == andmask.shape:
        raise SurveyError(
            f"{path}: the columns of block {hdu.name} differ in length or have hardly any pixels.", "bad_header"
        )
    reasons = judge(flux, ivar, bad=andmask != 0, suspect=ormask != 0)
    low, high = RANGES[arm]
    if not np.isfinite(loglam).all() or loglam.min() < np.log10(low) or loglam.max() > np.log10(high):
        raise SurveyError(
            f"{path}: {wave} of block {hdu.name} leaves {low:.0f}-{high:.0f} A, where the {arm} arm of LAMOST MRS "
            "lies: the file is damaged; fetch it again.",
            "bad_header",
        )
    own = {"snr_header": signal(number(hdu.header, "SNR")), "snr_header_key": "SNR"}
    own |= {"file_pixels": flux.size, "file_range": (10 ** loglam.min(), 10 ** loglam.max())}
    kind = f"lamost_mrs_{arm}"
    if coadd:
        first = _first(loglam, hdu.name, path)
        flux, ivar = silenced(flux, ivar, reasons)
        return SurveySpectrum(first, flux, ivar, andmask, ormask, meta | own, MRS_STEP, reasons, kind=kind, piece=arm)
    on = to_grid(10**loglam, *silenced(flux, ivar, reasons), reasons, andmask, MRS_STEP)
    return SurveySpectrum(
        on.first, on.flux, on.ivar, on.mask, on.mask, meta | own, MRS_STEP, on.reasons, kind=kind, piece=hdu.name
    )


def _first(loglam: np.ndarray, name: str, path: Path) -> int:
    """Index of the first pixel on the grid of whole multiples of 1e-5 dex."""
    offsets = loglam / MRS_STEP - np.arange(loglam.size)
    first = round(float(np.median(offsets)))
    worst = float(np.abs(offsets - first).max())
    if worst > _OFF_GRID:
        raise SurveyError(
            f"{path}: the wavelength of block {name} leaves the grid of whole multiples of {MRS_STEP:g} dex by "
            f"{worst:.2f} pixels at worst, where its own rounding allows {_OFF_GRID}: the file is damaged.",
            "bad_header",
        )
    return first
