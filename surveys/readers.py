"""Which reader a file needs, told by its content and never by its name, and all readers behind one function."""

from collections.abc import Callable
from pathlib import Path

from astropy.io import fits

from surveys import lamost
from surveys.fitsfile import fenced, open_fits, read_bytes, text
from surveys.spectrum import Spectrum, SurveyError

KINDS = {
    "lamost_lrs": "LAMOST low resolution (DR1 and later), heliocentric",
    "lamost_mrs_blue": "LAMOST medium resolution, blue arm, heliocentric",
    "lamost_mrs_red": "LAMOST medium resolution, red arm, heliocentric",
    "sdss_optical": "SDSS, SEGUE, BOSS, eBOSS and SDSS-V optical spectra, heliocentric",
    "apogee_apstar": "APOGEE combined spectrum (apStar), rest frame",
    "apogee_aspcapstar": "APOGEE combined pseudo-normalised spectrum (aspcapStar), rest frame",
    "apogee_apvisit": "APOGEE single visit (apVisit), observed frame",
    "mwmstar_boss": "SDSS-V combined BOSS spectrum (mwmStar), rest frame",
    "mwmstar_apogee": "SDSS-V combined APOGEE spectrum (mwmStar), rest frame",
}
"""Every kind of spectrum that is read."""

_Read = Callable[[fits.HDUList, Path, str, bool], list[Spectrum]]


def read(path: Path | str, *, exposures: bool = False) -> list[Spectrum]:
    """The pieces of one file of any known kind.

    exposures: single exposures or visits instead of coadds where the file has both. Raises SurveyError, with
    reason "stated" for text, FITS images and tables that do not say themselves what they are.
    """
    path = Path(path)
    raw, sha256 = read_bytes(path)
    return parse(raw, path, sha256, exposures=exposures)


def parse(raw: bytes, path: Path, sha256: str, *, exposures: bool = False) -> list[Spectrum]:
    """As `read`, of bytes already in memory; `path` is only for messages."""
    with open_fits(raw, path) as hdus:
        with fenced(path, "FITS"):
            name, reader = recognise(hdus)
        with fenced(path, name):
            return reader(hdus, path, sha256, exposures)


def recognise(hdus: fits.HDUList) -> tuple[str, _Read]:
    """The name of a file's kind and its reader."""
    if lamost.is_lamost(hdus):
        return "LAMOST LRS", lambda h, p, s, e: [lamost.spectrum(h, p, s)]
    return "unknown", _unknown


def _unknown(hdus: fits.HDUList, path: Path, sha256: str, exposures: bool) -> list[Spectrum]:
    blocks = ", ".join(f"{hdu.name or i} {getattr(hdu, 'shape', '')}" for i, hdu in enumerate(hdus))
    telescope = text(hdus[0].header, "TELESCOP") or "an unnamed telescope"
    raise SurveyError(
        f"{path} is a FITS file of {telescope} in no layout known here (blocks: {blocks[:200]}).", "unknown_release"
    )
