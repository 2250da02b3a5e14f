"""Lines of the night sky, where a survey took them away badly and does not say so."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float

from astrogf.base.air import air_to_vacuum

AIR = np.array([
    5577.34, 5889.953, 5895.923, 6257.961, 6287.434, 6300.304, 6329.840, 6363.776, 6498.729, 6533.044, 6553.617,
    6577.284, 6604.134, 6863.955, 6923.220, 6949.045, 6978.414, 7276.405, 7316.282, 7340.885, 7369.366, 7571.746,
    7750.640, 7794.112, 7821.503, 7913.708, 7964.650, 7993.332, 8344.602, 8399.170, 8430.174, 8827.096, 8885.850,
    8988.38,
])  # fmt: skip
"""Angstrom in air, of the stronger ones: [O I], Na I, and OH (Osterbrock et al. 1996, PASP 108, 277)."""
HALF_WIDTH = 6.0
"""Angstrom to either side of a line, 1.7 resolution elements of LAMOST's low resolution."""


def sky_ranges(kind: str, release: str) -> tuple[tuple[float, float], ...]:
    """Where a spectrum of this kind and release is left out for lines of the night sky, vacuum Angstrom.

    LAMOST's first releases, whose low-resolution files name a pipeline (v2.6.4) and no release, took the sky away at
    wavelengths that are some 60 km/s off in the red: 19 such spectra have in common a dip and a bump of 8% of the
    continuum beside 6365 A, and of 1-3% beside lines of OH; 102 of DR6 to DR8 have none. No other survey's are left
    out: they have flags of their own, or errors that grow with the sky.
    """
    if kind != "lamost_lrs" or release.startswith("LAMOST DR"):
        return ()
    return tuple((float(w - HALF_WIDTH), float(w + HALF_WIDTH)) for w in air_to_vacuum(AIR))


def pixels_in(
    wavelength: Float[np.ndarray, " pixel"], ranges: Iterable[tuple[float, float]]
) -> Bool[np.ndarray, " pixel"]:
    """Which pixels lie in one of the ranges, ends included."""
    found = np.zeros(len(wavelength), bool)
    for low, high in ranges:
        found |= (wavelength >= low) & (wavelength <= high)
    return found
