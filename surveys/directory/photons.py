"""One star's photons in two files: other releases of a spectrum, SDSS spec full beside lite, two coadds of one star."""

from pathlib import Path

from astrogf.surveys.spectrum import SurveyError, SurveySpectrum

BY_FIBRE = ("sdss_optical", "apogee_apvisit")
BY_STAR = ("apogee_apstar", "apogee_aspcapstar")


def observation(spectrum: SurveySpectrum) -> tuple[str, ...] | None:
    """What names a spectrum's photons whatever file they are in; None where nothing does.

    SDSS optical and apVisit: plate (or field), MJD and fibre. Coadds of APOGEE: the star. Else the survey's own number
    of the observation (LAMOST's OBSID, SDSS-V's spectrum_pk), or for SDSS-V's optical files that of the star with MJD.
    """
    meta, where = spectrum.meta, (spectrum.kind, spectrum.piece)
    if spectrum.kind in BY_STAR:
        return (*where, str(meta["object"])) if meta.get("object") else None
    if spectrum.kind in BY_FIBRE and meta.get("mjd"):
        own = meta.get("fiber") or meta.get("obsid")
        return (*where, str(meta.get("plan")), str(meta["mjd"]), str(own)) if own else None
    number = str(meta.get("obsid") or "")
    return (*where, number) if number.strip("0") else None


class Photons:
    """Whose photons have been taken, and from which file."""

    def __init__(self) -> None:
        self.taken: dict[tuple[str, ...], str] = {}

    def check(self, spectrum: SurveySpectrum, path: Path, name: str) -> None:
        """Raises SurveyError where another file's spectrum of the same observation has been taken."""
        other = self.taken.get(observation(spectrum) or (), name)
        if other != name:
            raise SurveyError(
                f"{path} holds the same observation as {other}, which is kept, for photons count once: remove one.",
                "same_photons",
            )

    def take(self, spectrum: SurveySpectrum, name: str) -> None:
        """The file `name` has given the photons of this spectrum."""
        key = observation(spectrum)
        if key:
            self.taken.setdefault(key, name)
