"""APOGEE's line-spread function from the coefficients in its files, as an equivalent Gaussian.

The reduction describes it as Gauss-Hermite functions whose width and coefficients are polynomials of the pixel
(Nidever et al. 2015, AJ 150, 173, section 5.4). Coefficients: pixel size; offset added to the pixel number;
Hermite order N; N + 1 polynomial degrees; then the polynomials of sigma and of H1..HN (H0 = 1), lowest power
first; the rest describes faint wings, left out here. H_n is multiplied by He_n(x/sigma) / sqrt(n!), He the
probabilists' Hermite polynomials, and exp(-(x/sigma)^2 / 2).
"""

from math import factorial

import numpy as np
from jaxtyping import Float
from numpy.polynomial import polynomial
from numpy.polynomial.hermite_e import hermeval

from astrogf.base.constants import C_KMS, FWHM_PER_SIGMA

MEAN_RESOLUTION = 22_500.0
"""Mean resolving power (FWHM) of APOGEE where a file has no usable coefficients (Wilson et al. 2019)."""
BELIEVABLE = (12_000.0, 40_000.0)
"""Resolving powers outside were fitted to noise: one of eight real apStar files says 8000 at its red end."""

_KNOTS = 33  # along a detector; sigma varies by some 10% over it


def mean_sigma(n: int) -> Float[np.ndarray, " pixel"]:
    """km/s of the documented mean resolving power."""
    return np.full(n, C_KMS / MEAN_RESOLUTION / FWHM_PER_SIGMA)


def equivalent_sigma(
    coefficients: Float[np.ndarray, " coefficient"], velocity: Float[np.ndarray, " pixel"]
) -> Float[np.ndarray, " pixel"] | None:
    """Sigma (km/s) of the Gaussian with the FWHM of the profile, integration over the pixel included.

    velocity: width of every pixel of the detector (or of the apStar grid) in km/s. None where the coefficients
    cannot be read or give a resolving power outside BELIEVABLE.
    """
    c = np.ravel(np.asarray(coefficients, dtype=np.float64))
    if c.size < 5 or not np.isfinite(c).all() or not 0 < c[2] < 10 or c.size < 5 + int(c[2]):
        return None
    size, offset, order = c[0], c[1], int(c[2])
    degrees = c[3 : 4 + order].astype(int)
    start = 4 + order
    if (degrees < 0).any() or c.size < start + (degrees + 1).sum() or not 0 <= size < 10:
        return None
    polynomials = []
    for degree in degrees:
        polynomials.append(c[start : start + degree + 1])
        start += degree + 1
    knots = np.linspace(0.0, velocity.size - 1.0, _KNOTS)
    sigma, *hermite = (polynomial.polyval(knots + offset, p) for p in polynomials)
    if not (sigma > 0.1).all():
        return None
    weights = np.array([np.ones_like(sigma), *(h / np.sqrt(factorial(i)) for i, h in enumerate(hermite, start=1))])
    widths = np.array([_fwhm(s, w, size) for s, w in zip(sigma, weights.T, strict=True)])
    out = np.interp(np.arange(velocity.size), knots, widths / FWHM_PER_SIGMA) * velocity
    resolution = C_KMS / (out * FWHM_PER_SIGMA)
    if not ((resolution > BELIEVABLE[0]) & (resolution < BELIEVABLE[1])).all():
        return None
    return out


def _fwhm(sigma: float, weights: np.ndarray, size: float) -> float:
    """Full width at half maximum in pixels of a profile integrated over pixels of width `size`."""
    x = np.linspace(-6.0 * sigma, 6.0 * sigma, 2001)
    w = x / sigma
    cumulative = np.cumsum(hermeval(w, weights) * np.exp(-0.5 * w**2))
    half = 0.5 * size
    profile = (
        np.interp(x + half, x, cumulative) - np.interp(x - half, x, cumulative) if size > 0 else np.gradient(cumulative)
    )
    top = int(np.argmax(profile))
    level = 0.5 * profile[top]
    right = top + int(np.argmax(profile[top:] < level))
    left = top - int(np.argmax(profile[top::-1] < level))
    # to a fraction of the step by the straight line between the two samples about the level
    x_right = x[right] - (x[1] - x[0]) * (level - profile[right]) / (profile[right - 1] - profile[right])
    x_left = x[left] + (x[1] - x[0]) * (level - profile[left]) / (profile[left + 1] - profile[left])
    return float(x_right - x_left)
