"""From pixels of one kind to pixels of another: what lies where, and detectors brought to a log-uniform grid."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from astrogf.surveys.pixels import silenced, usable
from astrogf.surveys.spectrum import UNUSABLE, Reason

_COVERED = 0.9  # of a pixel of the grid has to be covered by good pixels


class Overlap(NamedTuple):
    """Where two sets of pixels overlap: stretches that lie in one input and one output pixel each.

    `source` and `target` number those pixels, `width` is the stretch's, in the units of the edges, and `share` its part
    of the input pixel. `n` output pixels.
    """

    source: Int[np.ndarray, " stretch"]
    target: Int[np.ndarray, " stretch"]
    width: Float[np.ndarray, " stretch"]
    share: Float[np.ndarray, " stretch"]
    n: int

    def total(self, values: np.ndarray) -> Float[np.ndarray, " out"]:
        """Sum of one value a stretch over each output pixel."""
        return np.bincount(self.target, weights=values, minlength=self.n)

    def integral(self, density: Float[np.ndarray, " in"]) -> Float[np.ndarray, " out"]:
        """A density integrated over each output pixel, so that flux is kept; nothing where no input is."""
        return self.total(self.width * density[self.source])

    def information(self, ivar: Float[np.ndarray, " in"]) -> Float[np.ndarray, " out"]:
        """Inverse variance of the mean over each output pixel; its sum is that of the input where all is covered.

        The noise of neighbours that share an input pixel is correlated, and that of one pixel somewhat smaller than
        its ivar says: chi2 per pixel of pure noise is between 0.67 and 1, depending on the ratio of the steps.
        """
        return self.total(self.share * ivar[self.source])


def edges_of(centres: Float[np.ndarray, " pixel"]) -> Float[np.ndarray, " edge"]:
    """Edges of increasing pixels: half-way between neighbours, and as far out at the ends."""
    middle = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate(([2.0 * centres[0] - middle[0]], middle, [2.0 * centres[-1] - middle[-1]]))


def overlap(edges: Float[np.ndarray, " in1"], onto: Float[np.ndarray, " out1"]) -> Overlap:
    """Overlap of the pixels between increasing `edges` with those between `onto`, in one coordinate."""
    # every stretch between neighbouring edges of either set belongs to one pixel of each
    cuts = np.union1d(edges, onto)
    middle, width = 0.5 * (cuts[1:] + cuts[:-1]), np.diff(cuts)
    source, target = (np.searchsorted(e, middle) - 1 for e in (edges, onto))
    n = len(onto) - 1
    both = (source >= 0) & (source < len(edges) - 1) & (target >= 0) & (target < n)
    source, target, width = source[both], target[both], width[both]
    return Overlap(source, target, width, width / np.diff(edges)[source], n)


class OnGrid(NamedTuple):
    """Pixels on the grid: index of the first one, arrays over the others as in spectrum.SurveySpectrum."""

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
    lies in it, its ivar their `Overlap.information`. A pixel of which less than 0.9 is covered by good input is
    unusable, with the reasons of all input it touches; its mask is the OR of their masks.
    """
    if wavelength[0] > wavelength[-1]:
        wavelength, flux, ivar, reasons, mask = (a[::-1] for a in (wavelength, flux, ivar, reasons, mask))
    at = np.log10(wavelength) / log_step
    edges = edges_of(at)
    first, last = int(np.ceil(edges[0] + 0.5)), int(np.floor(edges[-1] - 0.5))
    n = max(last - first + 1, 0)
    part = overlap(edges, first - 0.5 + np.arange(n + 1))
    source, target, good = part.source, part.target, usable(reasons)
    # a value that is not finite is judged unusable, and 0 times it would not be 0
    flux, ivar = (np.where(good & np.isfinite(x), x, 0.0) for x in (flux, ivar))
    covered = part.integral(good)
    out_flux = part.integral(flux) / np.maximum(covered, 1e-12)
    out_ivar = part.information(ivar)
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
