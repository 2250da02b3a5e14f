"""Damping of a list that has none, taken from the same lines of another list."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Int

from astrogf.synthesis.lines.linelist import QUALITY, LineList

SAME_WAVELENGTH = 0.03  # Angstrom
SAME_ENERGY = 0.02  # eV
UNKNOWN = QUALITY.index("unsoeld")


def same_lines(lines: LineList, other: LineList) -> Int[np.ndarray, " line"]:
    """Row in `other` of each line: same species, 0.02 eV and 0.03 A at most apart, nearest first; -1 for none.

    Both are sorted by wavelength.
    """
    found, distance = np.full(len(lines), -1), np.full(len(lines), np.inf)
    start = np.searchsorted(other.wavelength, lines.wavelength - SAME_WAVELENGTH)
    stop = np.searchsorted(other.wavelength, lines.wavelength + SAME_WAVELENGTH)
    for step in range(int((stop - start).max(initial=0))):
        row = np.minimum(start + step, len(other) - 1)
        apart = np.abs(other.wavelength[row] - lines.wavelength)
        same = (start + step < stop) & (other.z[row] == lines.z) & (other.ion[row] == lines.ion)
        same &= (np.abs(other.elow[row] - lines.elow) < SAME_ENERGY) & (apart < distance)
        found, distance = np.where(same, row, found), np.where(same, apart, distance)
    return found


def borrow_damping(lines: LineList, load: Callable[[float, float], LineList], cover=(4200.0, 9200.0)) -> LineList:
    """The lines with widths of the list that `load(start, stop)` gives, where their own are only approximated.

    log gf is never taken. Lines outside `cover` (vacuum Angstrom) keep what they have.
    """
    if not len(lines) or lines.wavelength[-1] < cover[0] or lines.wavelength[0] > cover[1]:
        return lines
    other = load(max(cover[0], lines.wavelength[0] - 1.0), min(cover[1], lines.wavelength[-1] + 1.0))
    found = same_lines(lines, other)
    take = (found >= 0) & (lines.quality == UNKNOWN)
    row = np.maximum(found, 0)
    columns = ("log_gamma_rad", "log_gamma6", "gamma6_exponent", "log_gamma4", "quality")
    return lines.replace(**{c: np.where(take, getattr(other, c)[row], getattr(lines, c)) for c in columns})
