"""What another list knows of the same lines, for a list that does not say: how a line is split, and its damping.

A list that gives a line of vanadium as one has it too strong where it saturates: its hyperfine components share the
absorption out, and take more of it for the same gf. How they lie and what each has of the gf follows from constants of
the levels, whatever the line's gf. log gf itself is never taken.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Int

from astrogf.base.constants import C_KMS
from astrogf.synthesis.lines.identity import OTHER_LIST, same_lines
from astrogf.synthesis.lines.isotopes import Ratios, log_share
from astrogf.synthesis.lines.linelist import QUALITY, LineList

UNKNOWN = QUALITY.index("unsoeld")
NARROW = 0.3
"""km/s: a pattern no wider than this is one line to any star, whose atoms move at 1 km/s and more."""
Load = Callable[[float, float], LineList]
COVER = (4200.0, 9200.0)
"""Vacuum Angstrom for which optical lists lend."""


def borrow_damping(lines: LineList, load: Load, cover: tuple[float, float] = COVER) -> LineList:
    """The lines with widths of the list that `load(start, stop)` gives, where their own are only approximated.

    Lines outside `cover` (vacuum Angstrom) keep what they have.
    """
    other = _other(lines, load, cover)
    if other is None:
        return lines
    row = same_lines(lines, other, OTHER_LIST)
    take = (row >= 0) & (lines.quality == UNKNOWN)
    columns = ("log_gamma_rad", "log_gamma6", "gamma6_exponent", "log_gamma4", "quality")
    lent = other.take(np.maximum(row, 0))
    return lines.replace(**{c: np.where(take, getattr(lent, c), getattr(lines, c)) for c in columns})


def borrow_structure(
    lines: LineList, load: Load, cover: tuple[float, float] = COVER, ratios: Ratios | None = None
) -> LineList:
    """The lines that this list has as one and the list of `load(start, stop)` in components, in components.

    The pattern lies with its centre of gravity at the line's own wavelength and has the line's gf; isotopes have the
    shares of `ratios`, terrestrial without. Components keep the line's energy, damping and number of transition.
    Lent are isotopes that have names, and components of elements of odd number (those of others are of neighbouring
    levels that a list has tied). Lines that name an isotope stay as they are, and so do those of which the list has
    several where the pattern is: it may have them split in its own way.
    """
    other = _other(lines, load, cover)
    if other is None:
        return lines
    patterns = _Patterns(other)
    alone = np.bincount(lines.transition)[lines.transition] == 1
    row = np.where(alone & (lines.isotope == 0), same_lines(lines, patterns, OTHER_LIST), -1)
    row = np.where((row >= 0) & patterns.structured[row], row, -1)
    row = np.where(_rows_within(lines, patterns, row) > 1, -1, row)
    split = np.flatnonzero(row >= 0)
    if not len(split):
        return lines
    pattern = row[split]
    count = patterns.count[pattern]
    mine = np.repeat(split, count)
    theirs = np.concatenate([patterns.members(k) for k in pattern])
    share = log_share(other.z[theirs], other.isotope[theirs], ratios)
    parts = lines.take(mine).replace(
        wavelength=lines.wavelength[mine] + other.wavelength[theirs] - np.repeat(patterns.wavelength[pattern], count),
        isotope=other.isotope[theirs],
        loggf=lines.loggf[mine] + other.loggf[theirs] - np.repeat(patterns.loggf[pattern], count),
        log_fraction=share,
    )
    return lines.take(row < 0).merged(parts)


def _other(lines: LineList, load: Load, cover: tuple[float, float]) -> LineList | None:
    """What the other list has of these wavelengths; None where it has nothing to say."""
    if not len(lines) or lines.wavelength[-1] < cover[0] or lines.wavelength[0] > cover[1]:
        return None
    return load(max(cover[0], lines.wavelength[0] - 1.0), min(cover[1], lines.wavelength[-1] + 1.0))


class _Patterns:
    """The transitions of a list, each named by its centre of gravity (vacuum Angstrom), code and lower energy.

    `loggf` is that of the element, terrestrial isotopes by their shares; `first` and `last` are where the pattern ends.
    """

    def __init__(self, lines: LineList) -> None:
        _, number, self.count = np.unique(lines.transition, return_inverse=True, return_counts=True)
        self._order = np.argsort(number, kind="stable")
        self._start = np.append(0, np.cumsum(self.count))
        leader = self._order[self._start[:-1]]
        weight = 10.0 ** (lines.loggf + log_share(lines.z, lines.isotope))
        total = np.bincount(number, weight)
        self.wavelength = np.bincount(number, weight * lines.wavelength) / total
        self.code, self.elow = lines.code[leader], lines.elow[leader]
        self._named = np.bincount(number, lines.isotope != 0) > 0
        # what a list leaves out of an element's isotopes is taken to be like the others
        pairs, isotope = np.unique(np.stack([number, lines.isotope]), axis=1, return_inverse=True)
        _, once = np.unique(isotope.ravel(), return_index=True)
        listed = np.bincount(pairs[0], 10.0 ** log_share(lines.z, lines.isotope)[once])
        self.loggf = np.log10(total / np.minimum(listed, 1.0))
        sorted_waves = lines.wavelength[self._order]
        self.first = np.minimum.reduceat(sorted_waves, self._start[:-1])
        self.last = np.maximum.reduceat(sorted_waves, self._start[:-1])

    @property
    def structured(self) -> Bool[np.ndarray, " pattern"]:
        """Whether a pattern is that of one transition's hyperfine components or isotopes, and wide enough to matter."""
        wide = (self.last - self.first) > self.wavelength * NARROW / C_KMS
        return wide & (self._named | (self.code // 10 % 2 == 1))

    def members(self, pattern: int) -> Int[np.ndarray, " component"]:
        """Rows of the list that make up a pattern."""
        return self._order[self._start[pattern] : self._start[pattern + 1]]


def _rows_within(lines: LineList, patterns: _Patterns, row: Int[np.ndarray, " line"]) -> Int[np.ndarray, " line"]:
    """How many rows of a list lie where the pattern of each line does (1: itself), of its species and lower energy."""
    count = np.zeros(len(lines), int)
    for i in np.flatnonzero(row >= 0):
        ends = np.array([patterns.first[row[i]], patterns.last[row[i]]]) + [-1.0, 1.0] * np.array(OTHER_LIST.wavelength)
        low, high = np.searchsorted(lines.wavelength, ends)
        near = slice(low, high)
        same = (lines.code[near] == lines.code[i]) & (np.abs(lines.elow[near] - lines.elow[i]) < OTHER_LIST.elow)
        count[i] = np.sum(same)
    return count
