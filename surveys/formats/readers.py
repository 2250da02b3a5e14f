"""Which reader a file needs, told by its content and never by its name, and all readers behind one function."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from astropy.io import fits

from astrogf.base.files import beginning_of
from astrogf.surveys.formats import apogee, apogee_visit, lamost, lamost_mrs, mwmstar, sdss
from astrogf.surveys.formats.content import content
from astrogf.surveys.formats.fitsfile import blocks, fenced, is_fits, looks_like_fits, read_bytes, unpacked
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


class TextLayout(NamedTuple):
    """A survey's spectra as text: `recognises` the unpacked beginning of a file, `read` its unpacked bytes."""

    name: str
    recognises: Callable[[bytes], bool]
    read: Callable[[bytes, Path, str, bool], list[SurveySpectrum]]


TEXT: tuple[TextLayout, ...] = ()
"""Layouts that are no FITS: read by `parse`, and listed in a directory by `promises`."""
HEAD = 8192
"""Bytes of a file that text is recognised by."""
REQUIRED = ("ra", "dec", "sha256")
"""What `meta` of every spectrum must have (ra and dec NaN where they are not known)."""


def promises(path: Path) -> bool:
    """Whether the name or the first bytes promise a survey's file: what a directory is searched for."""
    return looks_like_fits(path) or (bool(TEXT) and any(one.recognises(beginning_of(path, HEAD)) for one in TEXT))


def _complete(spectra: list[SurveySpectrum], path: Path) -> list[SurveySpectrum]:
    """The same. Raises SurveyError where a reader broke its contract, before its spectrum is among others."""
    for one in spectra:
        absent = [name for name in REQUIRED if name not in one.meta]
        if one.kind not in KINDS or absent:
            wrong = f"kind {one.kind!r}" if one.kind not in KINDS else f"no {', '.join(absent)} in its meta"
            raise SurveyError(f"{path} was read with {wrong}, which no reader may do: report it.", "unreadable")
    return spectra


def read(path: Path | str, *, exposures: bool = False) -> list[SurveySpectrum]:
    """The pieces of one file of any known kind.

    exposures: single exposures or visits instead of coadds where the file has both. Raises SurveyError, with
    reason "stated" for text, FITS images and tables that `stated.read` reads, as they do not say what they are.
    """
    path = Path(path)
    raw, sha256 = read_bytes(path)
    return parse(raw, path, sha256, exposures=exposures)


def parse(raw: bytes, path: Path, sha256: str, *, exposures: bool = False) -> list[SurveySpectrum]:
    """As `read`, of bytes already in memory; `path` is only for messages."""
    plain = unpacked(raw, path)
    for layout in TEXT:
        if layout.recognises(plain[:HEAD]):
            with fenced(path, layout.name):
                return _complete(layout.read(plain, path, sha256, exposures), path)
    if is_fits(plain):
        with blocks(plain, path) as hdus:
            with fenced(path, "FITS"):
                found = recognise(hdus)
            if found is not None:
                name, reader = found
                with fenced(path, name):
                    return _complete(reader(hdus, path, sha256, exposures), path)
    held = content(plain, path)
    raise SurveyError(
        f"{path} is {held.what}: if it is a spectrum, state the unit of its wavelengths and whether they are of air or "
        "vacuum in the configuration (spectra.NAME: file, unit, medium), and it is read.",
        "stated",
    )


def kinds_named(name: str) -> tuple[str, ...]:
    """The kinds that a name of KINDS or ARMS stands for. Raises SurveyError for another name."""
    if name not in KINDS and name not in ARMS:
        raise SurveyError(f"{name!r} is no kind of spectrum; there are: {', '.join((*KINDS, *ARMS))}.", "kind")
    return ARMS.get(name, (name,))


def recognise(hdus: fits.HDUList) -> tuple[str, _Read] | None:
    """The name of a file's kind and its reader; None for a file of no survey."""
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
    return None
