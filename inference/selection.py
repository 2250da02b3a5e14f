"""Which transitions get a correction of their own: those about which the spectra say something."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from inference.sweep import Pass
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
    candidates: Selection, passed: Pass, scale: float, *, prior_sd: float, max_ratio: float, max_lines: int
) -> Selection:
    """Keep the transitions whose expected posterior sd is below `max_ratio` of the prior's, best first.

    The expectation takes each line alone, 1 / sqrt(1 / prior_sd^2 + information), from the reduced precision of a
    linearisation with all candidates free; `scale` extrapolates from the stars of that pass to all stars.
    """
    information = np.clip(np.diag(np.asarray(passed.reduced.precision))[:-1], 0.0, None) * scale
    ratio = 1.0 / np.sqrt(1.0 + information * prior_sd**2)
    order = np.argsort(ratio)
    keep = np.sort(order[:max_lines][ratio[order[:max_lines]] < max_ratio])
    lookup = np.full(len(candidates.leader) + 1, -1)
    lookup[keep] = np.arange(len(keep))
    return Selection(lookup[candidates.free], candidates.leader[keep], information[keep])
