"""Lines of the night sky and of the Earth's atmosphere, where a survey took them away badly and does not say so."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float

from astrogf.base.air import air_to_vacuum

AIR = np.array([
    5577.34, 5889.953, 5895.923, 6257.961, 6287.434, 6300.304, 6329.840, 6363.776, 6463.801, 6465.847, 6470.974,
    6477.910, 6498.729, 6504.995, 6522.425, 6533.044, 6544.022, 6553.617, 6568.779, 6577.284, 6596.643, 6604.134,
    6863.955, 6923.220, 6949.045, 6978.414, 7276.405, 7316.282, 7340.885, 7369.366, 7571.746, 7750.640, 7794.112,
    7821.503, 7913.708, 7964.650, 7993.332, 8344.602, 8399.170, 8430.174, 8827.096, 8885.850, 8988.38,
])  # fmt: skip
"""Angstrom in air, of the stronger ones: [O I], Na I, and OH (Osterbrock et al. 1996, PASP 108, 277)."""
HALF_WIDTH = 6.0
"""Angstrom to either side of a line, 1.7 resolution elements of LAMOST's low resolution."""
REGULAR = 56198
"""Modified Julian Date of 28 September 2012, when LAMOST's regular survey began (Luo et al. 2015, RAA 15, 1095)."""
ATMOSPHERE = ((6276.0, 6310.0), (6470.0, 6501.0), (6514.0, 6526.0), (6545.5, 6559.5))
"""Vacuum Angstrom: the gamma band of O2 and the groups of H2O about H alpha, which LAMOST does not correct. A stars,
whose own spectra are smooth there, lack 7-9% at 6283 A; at 6519 A all stars of one night lack 4%, those of another
nothing. The bands beyond 6860 A, many times as deep, are corrected."""


def sky_ranges(kind: str, release: str, mjd: int = 0) -> tuple[tuple[float, float], ...]:
    """Where a spectrum of this kind, release and night (0: not known) is left out for lines of the night sky and of the
    atmosphere, vacuum Angstrom.

    LAMOST's pilot survey took the sky away at wavelengths that are some 60 km/s off in the red: spectra of 2011 have in
    common a dip and a bump, together 5% of the continuum (files of DR8) to 27% (files of DR1, which name a pipeline,
    v2.6.4, and no release) beside [O I] 6364 and 4% beside lines of OH; those of 2015 and later have none. No
    other survey's are left out: they have flags of their own, or errors that grow with the sky.
    """
    if kind != "lamost_lrs":
        return ()
    if release.startswith("LAMOST DR") and not 0 < mjd < REGULAR:
        return ATMOSPHERE
    return ATMOSPHERE + tuple((float(w - HALF_WIDTH), float(w + HALF_WIDTH)) for w in air_to_vacuum(AIR))


def pixels_in(
    wavelength: Float[np.ndarray, " pixel"], ranges: Iterable[tuple[float, float]]
) -> Bool[np.ndarray, " pixel"]:
    """Which pixels lie in one of the ranges, ends included."""
    found = np.zeros(len(wavelength), bool)
    for low, high in ranges:
        found |= (wavelength >= low) & (wavelength <= high)
    return found
