"""One spectrum as a reader hands it over, the shared pixel grid, and the error every room raises."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

LOG_STEP = 1e-4
"""log10 step of the shared grid (dex a pixel, 69 km/s): the one of LAMOST LRS and of SDSS optical spectra."""

SPEED_OF_LIGHT = 299792.458  # km/s

REASONS = {
    "unreadable": "the file is damaged, cut short or no FITS file",
    "not_lamost_lrs": "a FITS file of something else",
    "unknown_release": "a LAMOST file whose release or layout is not known here",
    "bad_header": "a header value that cannot be right",
    "duplicate_file": "byte for byte the same as a file taken before",
    "class": "the survey's own class is not STAR",
    "spectral_type": "the survey's own spectral type lies outside the model's domain",
    "no_coverage": "the file does not cover the window",
    "no_good_pixels": "no usable pixel in the window",
    "few_good_pixels": "too few usable pixels in the window",
    "gap": "too wide a run of unusable pixels in the window",
    "low_snr": "signal-to-noise ratio below the cut, or not known",
}
"""The fixed codes of the table of set-aside files."""


class SurveyError(ValueError):
    """A file, directory or value that cannot be used. Its message is a sentence, `reason` one of REASONS."""

    def __init__(self, sentence: str, reason: str = "unreadable"):
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True)
class Spectrum:
    """One spectrum on the shared grid: pixel i lies at 10**((first + i) * LOG_STEP), vacuum Angstrom.

    `flux` and `ivar` are float64 as the file has them, except that an unusable pixel has flux 0 and ivar 0.
    `andmask` and `ormask` are the survey's own bits (0 good). `meta` holds the columns of a batch's table.
    """

    first: int
    flux: Float[np.ndarray, " pixel"]
    ivar: Float[np.ndarray, " pixel"]
    andmask: Int[np.ndarray, " pixel"]
    ormask: Int[np.ndarray, " pixel"]
    meta: dict = field(default_factory=dict)

    @property
    def wavelength(self) -> Float[np.ndarray, " pixel"]:
        return grid(self.first, len(self.flux))


def grid(first: int, n: int) -> Float[np.ndarray, " pixel"]:
    """Vacuum Angstrom of `n` pixels from index `first`; the same index gives the same float64 everywhere."""
    return 10.0 ** (np.arange(first, first + n) * LOG_STEP)


def window_pixels(window: tuple[float, float]) -> tuple[int, int]:
    """First index and number of the grid's pixels inside the window, ends included (vacuum Angstrom).

    Raises SurveyError where the window is not two increasing positive numbers with 10 pixels between them.
    """
    low, high = window
    if not (np.isfinite(low) and np.isfinite(high) and 0 < low < high):
        raise SurveyError(
            f"The window {low:g}-{high:g} A is not one: give two increasing wavelengths in vacuum Angstrom."
        )
    first = int(np.ceil(np.log10(low) / LOG_STEP - 1e-9))
    last = int(np.floor(np.log10(high) / LOG_STEP + 1e-9))
    if last - first + 1 < 10:
        raise SurveyError(
            f"The window {low:g}-{high:g} A holds {max(last - first + 1, 0)} pixels of 1e-4 dex; "
            "at least 10 are needed: widen it."
        )
    return first, last - first + 1
