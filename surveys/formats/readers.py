"""Which reader a file needs, told by its content and never by its name, and all readers behind one function."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.io import fits

from astrogf.base.files import beginning
from astrogf.surveys.formats import apogee, apogee_visit, lamost, lamost_mrs, mwmstar, sdss
from astrogf.surveys.formats.fitsfile import fenced, open_fits, read_bytes, text
from astrogf.surveys.spectrum import SurveyError, SurveySpectrum

KINDS = {
    "lamost_lrs": "LAMOST low resolution (DR1 and later), heliocentric",
    "lamost_mrs_blue": "LAMOST medium resolution, blue arm, heliocentric",
    "lamost_mrs_red": "LAMOST medium resolution, red arm, heliocentric",
    "sdss_optical": "SDSS, SEGUE, BOSS, eBOSS and SDSS-V optical spectra, heliocentric",
    "apogee_apstar": "APOGEE combined spectrum (apStar), rest frame",
    "apogee_aspcapstar": "APOGEE combined pseudo-normalised spectrum (aspcapStar), rest frame",
    "apogee_apvisit": "APOGEE single visit (apVisit), heliocentric (observed without BC)",
    "mwmstar_boss": "SDSS-V combined BOSS spectrum (mwmStar), rest frame",
    "mwmstar_apogee": "SDSS-V combined APOGEE spectrum (mwmStar), rest frame",
}
"""Every kind of spectrum that is read."""
ARMS = {"lamost_mrs": ("lamost_mrs_blue", "lamost_mrs_red")}
"""Names of several kinds that are different photons of a star in one frame: the only ones that are asked for together.
apStar, aspcapStar and apVisit of a star are the same photons, in two frames and two scales."""

_Read = Callable[[fits.HDUList, Path, str, bool], list[SurveySpectrum]]


def read(path: Path | str, *, exposures: bool = False) -> list[SurveySpectrum]:
    """The pieces of one file of any known kind.

    exposures: single exposures or visits instead of coadds where the file has both. Raises SurveyError, with
    reason "stated" for text, FITS images and tables that do not say themselves what they are.
    """
    path = Path(path)
    raw, sha256 = read_bytes(path)
    return parse(raw, path, sha256, exposures=exposures)


def parse(raw: bytes, path: Path, sha256: str, *, exposures: bool = False) -> list[SurveySpectrum]:
    """As `read`, of bytes already in memory; `path` is only for messages."""
    if is_number_table(raw):
        raise SurveyError(
            f"{path} is a text table of numbers: state the unit of its wavelengths and whether they are of air or "
            "vacuum in the configuration ([spectra.NAME]: file, unit, medium), and it is read.",
            "stated",
        )
    with open_fits(raw, path) as hdus:
        with fenced(path, "FITS"):
            name, reader = recognise(hdus)
        with fenced(path, name):
            return reader(hdus, path, sha256, exposures)


def kinds_named(name: str) -> tuple[str, ...]:
    """The kinds that a name of KINDS or ARMS stands for. Raises SurveyError for another name."""
    if name not in KINDS and name not in ARMS:
        raise SurveyError(f"{name!r} is no kind of spectrum; there are: {', '.join((*KINDS, *ARMS))}.", "kind")
    return ARMS.get(name, (name,))


def recognise(hdus: fits.HDUList) -> tuple[str, _Read]:
    """The name of a file's kind and its reader."""
    if lamost_mrs.recognises(hdus):
        return "LAMOST MRS", lambda h, p, s, e: lamost_mrs.pieces(h, p, s, exposures=e)
    if lamost.is_lamost(hdus):
        return "LAMOST LRS", lambda h, p, s, e: [lamost.spectrum(h, p, s)]
    if mwmstar.recognises(hdus):
        return "mwmStar", lambda h, p, s, e: mwmstar.pieces(h, p, s)
    if sdss.recognises(hdus):
        return "SDSS optical", lambda h, p, s, e: [sdss.spectrum(h, p, s)]
    if apogee_visit.recognises(hdus):
        return "apVisit", lambda h, p, s, e: [apogee_visit.spectrum(h, p, s)]
    if form := apogee.recognise(hdus):
        return form, lambda h, p, s, e: apogee.pieces(h, p, s, exposures=e)
    tables = [hdu for hdu in hdus[1:] if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
    if hdus[0].header.get("NAXIS") == 1 or (tables and hdus[0].header.get("NAXIS") == 0):
        return "FITS", _stated
    return "unknown", _unknown


def _stated(hdus: fits.HDUList, path: Path, sha256: str, exposures: bool) -> list[SurveySpectrum]:
    what = "one-dimensional FITS image" if hdus[0].header.get("NAXIS") == 1 else "FITS table"
    raise SurveyError(
        f"{path} is a {what} of no survey known here: if it is a spectrum, state the unit of its wavelengths and "
        "whether they are of air or vacuum in the configuration ([spectra.NAME]: file, unit, medium).",
        "stated",
    )


def is_number_table(raw: bytes) -> bool:
    """Whether bytes, plain or compressed, begin as lines of at least two numbers."""
    head = beginning(raw)
    if not head or b"\0" in head:
        return False
    lines = head.decode("latin-1").splitlines()[:-1] or [head.decode("latin-1")]
    rows = [line.split("#")[0].replace(",", " ").split() for line in lines if line.split("#")[0].strip()][:60]
    numeric = sum(len(words) >= 2 and _numbers(words[:2]) for words in rows)
    return numeric >= 2 and numeric >= 0.5 * len(rows)


def _numbers(words: list[str]) -> bool:
    try:
        return all(np.isfinite(float(word)) for word in words)
    except ValueError:
        return False


def _unknown(hdus: fits.HDUList, path: Path, sha256: str, exposures: bool) -> list[SurveySpectrum]:
    blocks = ", ".join(f"{hdu.name or i} {getattr(hdu, 'shape', '')}" for i, hdu in enumerate(hdus))
    telescope = text(hdus[0].header, "TELESCOP") or "an unnamed telescope"
    raise SurveyError(
        f"{path} is a FITS file of {telescope} in no layout known here (blocks: {blocks[:200]}).", "unknown_release"
    )
