"""Damping of a list that has none, taken from the same lines of another list."""

from collections.abc import Callable

import numpy as np

from astrogf.synthesis.lines.identity import OTHER_LIST, same_lines
from astrogf.synthesis.lines.linelist import QUALITY, LineList

UNKNOWN = QUALITY.index("unsoeld")


def borrow_damping(lines: LineList, load: Callable[[float, float], LineList], cover=(4200.0, 9200.0)) -> LineList:
    """The lines with widths of the list that `load(start, stop)` gives, where their own are only approximated.

    log gf is never taken. Lines outside `cover` (vacuum Angstrom) keep what they have.
    """
    if not len(lines) or lines.wavelength[-1] < cover[0] or lines.wavelength[0] > cover[1]:
        return lines
    other = load(max(cover[0], lines.wavelength[0] - 1.0), min(cover[1], lines.wavelength[-1] + 1.0))
    row = same_lines(lines, other, OTHER_LIST)
    take = (row >= 0) & (lines.quality == UNKNOWN)
    columns = ("log_gamma_rad", "log_gamma6", "gamma6_exponent", "log_gamma4", "quality")
    lent = other.take(np.maximum(row, 0))
    return lines.replace(**{c: np.where(take, getattr(lent, c), getattr(lines, c)) for c in columns})
