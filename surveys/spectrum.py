"""One spectrum as a reader hands it over, the shared pixel grid, and the error every room raises."""

from dataclasses import dataclass, field
from enum import IntFlag

import numpy as np
from jaxtyping import Float, Int

from astrogf.base.errors import AstrogfError

LOG_STEP = 1e-4
"""log10 step of the shared grid (dex a pixel, 69 km/s): the one of LAMOST LRS and of SDSS optical spectra."""
MRS_STEP = 1e-5
"""log10 step of LAMOST MRS coadds (6.9 km/s)."""
APOGEE_STEP = 6e-6
"""log10 step of apStar, aspcapStar and mwmStar (4.1 km/s); their first pixel, 10**4.179 A, has index 696500."""

REASONS = {
    "unreadable": "the file is damaged, cut short or no FITS file",
    "unknown_release": "a file whose release or layout is not known here",
    "stated": "a file that does not say what it is: unit and medium have to be stated in the configuration",
    "kind": "a kind of spectrum that was not asked for",
    "bad_header": "a header value that cannot be right",
    "duplicate_file": "byte for byte the same as a file taken before",
    "same_photons": "an observation that another file has given: another release, full beside lite",
    "class": "the survey's own class is not STAR",
    "spectral_type": "the survey's own spectral type lies outside the model's domain",
    "frame": "the survey itself doubts the velocity of its rest frame",
    "no_coverage": "the file does not cover the window",
    "no_good_pixels": "no usable pixel in the window",
    "few_good_pixels": "too few usable pixels in the window",
    "gap": "too wide a run of unusable pixels in the window",
    "low_snr": "signal-to-noise ratio below the cut, or not known",
    "held_out": "the star is held out of the fit, for a later check",
}
"""The fixed codes of the table of set-aside files."""


class SurveyError(AstrogfError):
    """A file, directory or value that cannot be used; `reason` is one of REASONS."""

    reason = "unreadable"


class Reason(IntFlag):
    """Why a pixel is unusable or suspect; a pixel may have several reasons, 0 is a good pixel.

    The first six make it unusable (UNUSABLE: flux 0, ivar 0), the others are told and the pixel is kept.
    """

    NO_DATA = 1
    """Not covered, or padding: flux exactly 0, or marked as not observed."""
    NOT_FINITE = 2
    """NaN or infinity in flux, ivar or error."""
    NO_WEIGHT = 4
    """ivar <= 0, or an error <= 0 or so large that it is the survey's word for none."""
    SURVEY_MASK = 8
    """The survey's mask: bad in every exposure (andmask), or one of APOGEE's bits of unusable pixels."""
    ABSURD = 16
    """Flux or weight 100 times that of the surroundings: a damaged byte or a cosmic ray left in."""
    CHIP_GAP = 32
    """Between two detectors."""
    SOME_EXPOSURE = 256
    """Bad in some exposure (ormask); the ivar is that of the others."""
    SKY_LINE = 512
    """On a bright sky line."""
    TELLURIC = 1024
    """In strong telluric absorption."""
    PERSISTENCE = 2048
    """APOGEE: charge left over from an earlier exposure."""
    NO_LSF = 4096
    """The file has no line-spread function for this pixel: that of its neighbours is taken."""


UNUSABLE = Reason(63)
"""The reasons that make a pixel unusable."""

FRAMES = ("heliocentric", "rest", "observed")
"""heliocentric: a star's lines lie at its radial velocity. rest: the survey moved them to the laboratory's
wavelengths with the velocity in rv_header. observed: as seen from the telescope; heliocentric velocity =
velocity in the file + barycentric correction (meta "bc", km/s)."""


@dataclass(frozen=True)
class SurveySpectrum:
    """One spectrum on a log-uniform grid: pixel i lies at 10**((first + i) * log_step), vacuum Angstrom.

    `flux` and `ivar` are float64 as the file has them, except that an unusable pixel has flux 0 and ivar 0.
    `andmask` and `ormask` are the survey's own bits (0 good; for a survey with one mask both are it). `meta`
    holds the columns of a batch's table. `reasons`: bits of Reason. `lsf`: Gaussian sigma of the line-spread
    function in km/s, None where the file does not tell (LAMOST). `frame`: one of FRAMES. `kind`: what sort of
    spectrum this is (readers.KINDS); `piece`: its name among those of the same file, "" if it is alone.
    """

    first: int
    flux: Float[np.ndarray, " pixel"]
    ivar: Float[np.ndarray, " pixel"]
    andmask: Int[np.ndarray, " pixel"]
    ormask: Int[np.ndarray, " pixel"]
    meta: dict = field(default_factory=dict)
    log_step: float = LOG_STEP
    reasons: Int[np.ndarray, " pixel"] | None = None
    lsf: Float[np.ndarray, " pixel"] | None = None
    frame: str = "heliocentric"
    kind: str = "lamost_lrs"
    piece: str = ""

    @property
    def wavelength(self) -> Float[np.ndarray, " pixel"]:
        return grid(self.first, len(self.flux), self.log_step)


def grid(first: int, n: int, log_step: float = LOG_STEP) -> Float[np.ndarray, " pixel"]:
    """Vacuum Angstrom of `n` pixels from index `first`; the same index gives the same float64 everywhere."""
    return 10.0 ** (np.arange(first, first + n) * log_step)


def window_pixels(window: tuple[float, float], log_step: float = LOG_STEP) -> tuple[int, int]:
    """First index and number of the grid's pixels inside the window, ends included (vacuum Angstrom).

    Raises SurveyError where the window is not two increasing positive numbers with 10 pixels between them.
    """
    low, high = window
    if not (np.isfinite(low) and np.isfinite(high) and 0 < low < high):
        raise SurveyError(
            f"The window {low:g}-{high:g} A is not one: give two increasing wavelengths in vacuum Angstrom."
        )
    first = int(np.ceil(np.log10(low) / log_step - 1e-9))
    last = int(np.floor(np.log10(high) / log_step + 1e-9))
    if last - first + 1 < 10:
        raise SurveyError(
            f"The window {low:g}-{high:g} A holds {max(last - first + 1, 0)} pixels of {log_step:.0e} dex; "
            "at least 10 are needed: widen it."
        )
    return first, last - first + 1
