"""Which transitions get a correction of their own: those about which the spectra say something."""

from typing import NamedTuple

import numpy as np
from astropy.table import Table
from jaxtyping import Bool, Float, Int

from astrogf.synthesis.lines.linelist import LineList


class Choice(NamedTuple):
    """Transitions with a free correction.

    `free[i]` is the correction that moves line i of the list, or -1; `leader[k]` the strongest component of
    transition k, which names it in tables; `information[k]` the squared signal-to-noise per dex that the spectra
    carry about it (own parameters of the stars marginalised).
    """

    free: Int[np.ndarray, " line"]
    leader: Int[np.ndarray, " free"]
    information: Float[np.ndarray, " free"]


def group_transitions(lines: LineList, strength: Float[np.ndarray, " line"], candidate: np.ndarray) -> Choice:
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
    return Choice(free, leader[by_wavelength], np.zeros(len(number)))


def record(
    candidates: Choice,
    lines: LineList,
    strength: Float[np.ndarray, " line"],
    information: Float[np.ndarray, " line"],
    *,
    prior_sd: float,
    max_ratio: float,
    max_lines: int,
    always: Bool[np.ndarray, " transition"],
) -> Table:
    """What `choose` made of every transition: one row each, by wavelength, with the expected ratio and the reason.

    Those that are `always` free are no question and have no row.

    `reason`: 'free'; 'information' where its expected posterior/prior ratio exceeds `max_ratio`, so that it keeps the
    list's value; 'number' where `max_lines` more informative ones came first.
    """
    total = combined(candidates, information)
    ratio = np.where(always, np.inf, 1.0 / np.sqrt(1.0 + total * prior_sd**2))
    taken = np.isin(np.arange(len(total)), np.argsort(ratio, kind="stable")[:max_lines])
    informed = ratio < max_ratio
    leaders = lines.take(candidates.leader)
    table = Table(
        {
            "wavelength": leaders.wavelength,
            "species": leaders.species(),
            "elow": leaders.elow,
            "loggf": leaders.loggf,
            "components": np.bincount(candidates.free[candidates.free >= 0], minlength=len(total)),
            "strength": strength[candidates.leader],
            "information": total,
            "expected_ratio": ratio,
            "reason": np.where(~informed, "information", np.where(taken, "free", "number")),
        }
    )
    table["wavelength"].unit, table["elow"].unit = "Angstrom", "eV"
    for name, form in (("wavelength", ".4f"), ("elow", ".4f"), ("strength", ".4g"), ("information", ".5g")):
        table[name].format = form
    table["expected_ratio"].format = ".4f"
    return table[~always]


def combined(candidates: Choice, information: Float[np.ndarray, " line"]) -> Float[np.ndarray, " transition"]:
    """Information of every transition; components overlap, so their signals add before they are squared."""
    mine = candidates.free >= 0
    signal = np.sqrt(np.clip(np.nan_to_num(np.asarray(information)), 0.0, None))
    return np.bincount(candidates.free[mine], signal[mine], minlength=len(candidates.leader)) ** 2


def partners(
    covariance: Float[np.ndarray, "line line"],
) -> tuple[Int[np.ndarray, " line"], Float[np.ndarray, " line"]]:
    """The correction each correction is most correlated with, and their correlation (-1 and 0 for a single line).

    Two lines too close to tell apart come out with a correlation near -1: their combination is known, not each.
    """
    n = len(covariance)
    if n < 2:
        return np.full(n, -1), np.zeros(n)
    sd = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(sd, sd)
    np.fill_diagonal(correlation, 0.0)
    most = np.argmax(np.abs(correlation), axis=1)
    return most, correlation[np.arange(n), most]


def choose(
    candidates: Choice,
    information: Float[np.ndarray, " line"],
    *,
    prior_sd: float,
    max_ratio: float,
    max_lines: int,
    always: Bool[np.ndarray, " transition"],
) -> Choice:
    """Keep the transitions whose expected posterior sd is below `max_ratio` of the prior's, best first.

    Those that are `always` free come on top. The expectation takes each transition alone:
    1 / sqrt(1 / prior_sd^2 + information).
    """
    total = combined(candidates, information)
    ratio = np.where(always, np.inf, 1.0 / np.sqrt(1.0 + total * prior_sd**2))
    best = np.argsort(ratio, kind="stable")[:max_lines]
    keep = np.sort(np.append(best[ratio[best] < max_ratio], np.flatnonzero(always)))
    lookup = np.full(len(candidates.leader) + 1, -1)
    lookup[keep] = np.arange(len(keep))
    return Choice(lookup[candidates.free], candidates.leader[keep], total[keep])
