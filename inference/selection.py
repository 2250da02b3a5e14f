"""Which transitions get a correction of their own: those about which the spectra say something."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from synthesis.linelist import LineList


class Selection(NamedTuple):
    """Transitions with a free correction.

    `free[i]` is the correction that moves line i of the list, or -1; `leader[k]` the strongest component of
    transition k, which names it in tables; `information[k]` the squared signal-to-noise per dex that the spectra
    carry about it (own parameters of the stars marginalised).
    """

    free: Int[np.ndarray, " line"]
    leader: Int[np.ndarray, " free"]
    information: Float[np.ndarray, " free"]


def group_transitions(lines: LineList, strength: Float[np.ndarray, " line"], candidate: np.ndarray) -> Selection:
    """All transitions with at least one candidate line, every component tied to one correction."""
    number = np.unique(lines.transition[candidate])
    lookup = np.full(lines.transition.max() + 1, -1)
    lookup[number] = np.arange(len(number))
    free = lookup[lines.transition]
    order = np.lexsort((-strength, free))
    first = np.searchsorted(free[order], np.arange(len(number)))
    leader = order[first]
    by_wavelength = np.argsort(lines.wavelength[leader])
    rank = np.empty(len(number), int)
    rank[by_wavelength] = np.arange(len(number))
    free = np.where(free >= 0, rank[free], -1)
    return Selection(free, leader[by_wavelength], np.zeros(len(number)))


def choose(
    candidates: Selection,
    information: Float[np.ndarray, " line"],
    *,
    prior_sd: float,
    max_ratio: float,
    max_lines: int,
) -> Selection:
    """Keep the transitions whose expected posterior sd is below `max_ratio` of the prior's, best first.

    The expectation takes each transition alone: 1 / sqrt(1 / prior_sd^2 + information). Components of one transition
    overlap, so their signals add before they are squared.
    """
    mine = candidates.free >= 0
    signal = np.sqrt(np.clip(np.nan_to_num(np.asarray(information)), 0.0, None))
    total = np.bincount(candidates.free[mine], signal[mine], minlength=len(candidates.leader)) ** 2
    ratio = 1.0 / np.sqrt(1.0 + total * prior_sd**2)
    best = np.argsort(ratio, kind="stable")[:max_lines]
    keep = np.sort(best[ratio[best] < max_ratio])
    lookup = np.full(len(candidates.leader) + 1, -1)
    lookup[keep] = np.arange(len(keep))
    return Selection(lookup[candidates.free], candidates.leader[keep], total[keep])
