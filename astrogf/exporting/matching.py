"""Which lines of another list the corrections belong to, and what each of them is to be changed by."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from astrogf.exporting.overlay import Overlay, pure_loggf
from astrogf.synthesis.lines.identity import SAME_LIST, Tolerance, pairs
from astrogf.synthesis.lines.isotopes import natural_share
from astrogf.synthesis.lines.linelist import LineList

WRITTEN = 0.0051
"""dex: one value written in two lists, one of them with two decimals."""


class Matched(NamedTuple):
    """`row[k]` is the line of the list that is row k of the overlay, -1 for none; `in_range` says whether that lies
    within the list's wavelengths and is of a species that it has; `apart` is log gf of the list minus the overlay's
    (nan where there is none)."""

    row: Int[np.ndarray, " line"]
    in_range: Bool[np.ndarray, " line"]
    apart: Float[np.ndarray, " line"]


def match(overlay: Overlay, lines: LineList, tolerance: Tolerance, *, same_values: bool) -> Matched:
    """Pair every row of the overlay with one line of a list: same species, wavelength and lower energy within
    `tolerance` (molecules: within `SAME_LIST`), isotopes that do not contradict each other.

    One to one, the nearest in wavelength first, then in energy, then in log gf; where the list is to have the
    `same_values`, lines of the same log gf before all others.
    """
    k, i = pairs(overlay, lines, tolerance).T
    mine, theirs = overlay.isotope[k], lines.isotope[i]
    fits = (mine == theirs) | (mine == 0) | (theirs == 0)
    # as `identity.pairs` takes them
    distance = np.round(np.abs(overlay.wavelength[k] - lines.wavelength[i]), 4)
    energy = np.round(np.abs(overlay.elow[k] - lines.elow[i]), 4)
    # of a molecule another line lies within what two lists of atoms may differ by
    fits &= (lines.z[i] <= 92) | ((distance <= SAME_LIST.wavelength) & (energy <= SAME_LIST.elow))
    k, i, distance, energy = k[fits], i[fits], distance[fits], energy[fits]
    value = pure_loggf(lines)
    apart = np.abs(value[i] - overlay.loggf[k])
    order = np.lexsort((np.round(apart, 4), energy, distance, (apart > WRITTEN) & same_values))
    row, taken = np.full(len(overlay.code), -1), np.zeros(len(lines), bool)
    for a, b in zip(k[order].tolist(), i[order].tolist(), strict=True):
        if row[a] < 0 and not taken[b]:
            row[a], taken[b] = b, True
    found = row >= 0
    difference = np.where(found, value[row] - overlay.loggf, np.nan)
    reach = tolerance.wavelength
    first, last = lines.wavelength[0] - reach, lines.wavelength[-1] + reach
    inside = (overlay.wavelength >= first) & (overlay.wavelength <= last)
    return Matched(row, inside & np.isin(overlay.code, lines.code), difference)


def shifts(overlay: Overlay, lines: LineList, matched: Matched) -> Float[np.ndarray, " line"]:
    """What is added to log gf of each line where the list is the one the corrections were inferred with: they are."""
    delta = np.zeros(len(lines))
    found = matched.row >= 0
    delta[matched.row[found]] = overlay.correction[found]
    return delta


def to_values(overlay: Overlay, lines: LineList, matched: Matched) -> Float[np.ndarray, " line"]:
    """What is added to log gf of each line of any list so that the transition has the inferred value.

    Transitions are compared by the sum of the gf of their components, isotopes by their natural shares: a list may
    split what the other has as one line. All components of a transition in the list move alike.
    """
    delta = np.zeros(len(lines))
    mine = overlay.loggf + natural_share(overlay.code // 10, overlay.isotope)
    theirs = pure_loggf(lines) + natural_share(lines.z, lines.isotope)
    owned = np.zeros(len(lines), bool)
    owned[matched.row[matched.row >= 0]] = True
    members = _members(lines.transition)
    for number in np.unique(overlay.transition[matched.row >= 0]):
        parts = np.flatnonzero(overlay.transition == number)
        found = parts[matched.row[parts] >= 0]
        rows = matched.row[found]
        # components of the list's own that no row of the overlay is: they belong to the same transition
        others = [j for t in np.unique(lines.transition[rows]) for j in members[int(t)] if not owned[j]]
        whole = len(found) == len(parts) or len(rows) == 1
        if whole:
            rows = np.append(rows, np.array(others, int))
        else:
            parts = found
        inferred = _total(mine[parts]) + overlay.correction[found[0]]
        delta[rows] = inferred - _total(theirs[rows])
    return delta


def _members(transition: Int[np.ndarray, " line"]) -> dict[int, list[int]]:
    members: dict[int, list[int]] = {}
    for i, number in enumerate(transition.tolist()):
        members.setdefault(number, []).append(i)
    return members


def _total(loggf: Float[np.ndarray, " component"]) -> float:
    return float(np.log10(np.sum(10.0**loggf)))
