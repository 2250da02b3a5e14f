"""Which pixels of a spectrum may be used, and why not the others."""

import numpy as np
from jaxtyping import Float, Int
from scipy.ndimage import median_filter

from astrogf.surveys.spectrum import UNUSABLE, Reason

_SURROUNDINGS, _ABSURD = 51, 100.0  # pixels; ratio


def judge(
    flux: Float[np.ndarray, " pixel"],
    ivar: Float[np.ndarray, " pixel"],
    *,
    bad: np.ndarray | None = None,
    suspect: np.ndarray | None = None,
) -> Int[np.ndarray, " pixel"]:
    """Bits of spectrum.Reason for every pixel.

    Unusable are: NaN or infinity, ivar <= 0, `bad` (the survey's and-mask: bad in every exposure), flux exactly
    0, which is padding (in real LAMOST files it stands past 9000 A with a positive ivar), and a pixel whose flux
    or ivar is 100 times that of its surroundings (in 350 real LRS files never above 22 and 47 times): a flipped
    bit in a float's exponent, which no checksum of those files would tell. `suspect` (the or-mask: bad in some
    exposure) is no reason to drop a pixel: the ivar is that of the good exposures which remain.
    """
    reasons = np.zeros(flux.shape, dtype=np.int32)
    finite = np.isfinite(flux) & np.isfinite(ivar)
    reasons[~finite] |= Reason.NOT_FINITE
    size = np.where(finite, np.abs(flux), 0.0)
    weight = np.where(finite, np.maximum(ivar, 0.0), 0.0)
    reasons[finite & ~(weight > 0)] |= Reason.NO_WEIGHT
    reasons[finite & (size == 0)] |= Reason.NO_DATA
    if bad is not None:
        reasons[bad] |= Reason.SURVEY_MASK
    if suspect is not None:
        reasons[suspect] |= Reason.SOME_EXPOSURE
    good = usable(reasons)
    for values in (size, weight):
        local = median_filter(values, _SURROUNDINGS)
        floor = 0.05 * np.median(values[good]) if good.any() else 0.0
        reasons[good & (values > _ABSURD * np.maximum(local, floor))] |= Reason.ABSURD
        good = usable(reasons)
    return reasons


def usable(reasons: Int[np.ndarray, " pixel"]) -> np.ndarray:
    """True where no bit of UNUSABLE is set."""
    return (reasons & int(UNUSABLE)) == 0


def silenced(
    flux: Float[np.ndarray, " pixel"], ivar: Float[np.ndarray, " pixel"], reasons: Int[np.ndarray, " pixel"]
) -> tuple[Float[np.ndarray, " pixel"], Float[np.ndarray, " pixel"]]:
    """Flux and ivar in float64, both 0 where the pixel is unusable."""
    good = usable(reasons)
    return np.where(good, flux, 0.0).astype(np.float64), np.where(good, ivar, 0.0).astype(np.float64)


def single(values: Float[np.ndarray, " pixel"]) -> Float[np.ndarray, " pixel"]:
    """Rounded to single precision (6e-8 of a value), but for numbers beyond its range, which stay as they are."""
    with np.errstate(over="ignore", under="ignore"):
        rounded = values.astype(np.float32).astype(np.float64)
    return np.where(np.isfinite(rounded) & ((rounded != 0) | (values == 0)), rounded, values)


def bits(mask: np.ndarray) -> Int[np.ndarray, " pixel"]:
    """A survey's mask as int64; what is no bit mask (a NaN, a number beyond 2**53) counts as bit 0 set."""
    mask = np.asarray(mask)
    if mask.dtype.kind in "iu":
        return mask.astype(np.int64)
    return np.where(np.isfinite(mask) & (np.abs(mask) < 2**53), mask, 1).astype(np.int64)


def filled(
    values: Float[np.ndarray, " pixel"], known: np.ndarray, otherwise: float | None = None
) -> Float[np.ndarray, " pixel"] | None:
    """`values` where known, between them by linear interpolation; None (or `otherwise`) if none is known."""
    if not known.any():
        return None if otherwise is None else np.full(values.shape, otherwise)
    at = np.arange(values.size)
    return np.interp(at, at[known], np.asarray(values, dtype=np.float64)[known])
