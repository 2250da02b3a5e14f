"""From a detector's own pixels to a log-uniform grid."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from astrogf.surveys.pixels import silenced, usable
from astrogf.surveys.spectrum import UNUSABLE, Reason

_COVERED = 0.9  # of a pixel of the grid has to be covered by good pixels


class OnGrid(NamedTuple):
    """Pixels on the grid: index of the first one, arrays over the others as in spectrum.Spectrum."""

    first: int
    flux: Float[np.ndarray, " pixel"]
    ivar: Float[np.ndarray, " pixel"]
    mask: Int[np.ndarray, " pixel"]
    reasons: Int[np.ndarray, " pixel"]


def to_grid(
    wavelength: Float[np.ndarray, " in"],
    flux: Float[np.ndarray, " in"],
    ivar: Float[np.ndarray, " in"],
    reasons: Int[np.ndarray, " in"],
    mask: Int[np.ndarray, " in"],
    log_step: float,
) -> OnGrid:
    """Rebin one detector's pixels (wavelength monotonic, either way) to the grid of step `log_step`.

    An output pixel's flux density is the mean of the good input pixels weighted by the share of their width that
    lies in it; its ivar is the sum of these shares times the ivar of the inputs. So the sum of all ivar, the
    information, is what it was. The noise of neighbours is correlated, and that of one pixel somewhat smaller
    than its ivar says: chi2 per pixel of pure noise is between 0.67 and 1, depending on the ratio of the steps.
    A pixel of which less than 0.9 is covered by good input is unusable, with the reasons of all input it touches;
    its mask is the OR of their masks.
    """
    if wavelength[0] > wavelength[-1]:
        wavelength, flux, ivar, reasons, mask = (a[::-1] for a in (wavelength, flux, ivar, reasons, mask))
    at = np.log10(wavelength) / log_step
    edges = np.concatenate(([1.5 * at[0] - 0.5 * at[1]], 0.5 * (at[1:] + at[:-1]), [1.5 * at[-1] - 0.5 * at[-2]]))
    first, last = int(np.ceil(edges[0] + 0.5)), int(np.floor(edges[-1] - 0.5))
    n = max(last - first + 1, 0)
    # every stretch between neighbouring edges of either grid belongs to one input and one output pixel
    cuts = np.union1d(edges, np.arange(first, last + 2) - 0.5)
    middle, width = 0.5 * (cuts[1:] + cuts[:-1]), np.diff(cuts)
    source = np.clip(np.searchsorted(edges, middle) - 1, 0, wavelength.size - 1)
    target = np.floor(middle + 0.5).astype(int) - first
    inside = (target >= 0) & (target < n)
    source, target, width = source[inside], target[inside], width[inside]
    share = width / np.diff(edges)[source]
    good = usable(reasons)[source]

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(target, weights=values, minlength=n)

    covered = total(width * good)
    out_flux = total(width * good * flux[source]) / np.maximum(covered, 1e-12)
    out_ivar = total(share * good * ivar[source])
    out_mask, out_reasons = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int32)
    np.bitwise_or.at(out_mask, target, mask[source])
    suspect = ~int(UNUSABLE)
    np.bitwise_or.at(out_reasons, target, reasons[source] & suspect)
    bad = np.zeros(n, dtype=np.int32)
    np.bitwise_or.at(bad, target, reasons[source])
    full = covered >= _COVERED
    out_reasons = np.where(full, out_reasons, bad)
    # a pixel that lost its cover at the detector's edge has no other reason
    out_reasons[~full & usable(out_reasons)] |= Reason.NO_DATA
    return OnGrid(first, *silenced(out_flux, out_ivar, out_reasons), out_mask, out_reasons)
