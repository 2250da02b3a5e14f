"""Corrected log gf against a table of reference values: which line is which, and how far the two agree."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from astropy.stats import mad_std
from jaxtyping import Bool, Float, Int

from astrogf.synthesis.lines.identity import OTHER_LIST, Tolerance
from astrogf.synthesis.lines.identity import pairs as same_pairs

OUTLIER = 0.3
"""dex; a line further than this from its reference is an outlier."""
RATIO_BINS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.8, np.inf)
"""Edges of the bins in posterior / prior sd."""


class Lines(NamedTuple):
    """What identifies lines: vacuum Angstrom, 10 z + ion (synthesis.gas.species), eV; and log10 of their gf."""

    wavelength: Float[np.ndarray, " line"]
    code: Int[np.ndarray, " line"]
    elow: Float[np.ndarray, " line"]
    loggf: Float[np.ndarray, " line"]

    def take(self, index: np.ndarray) -> "Lines":
        """Some of the lines."""
        return Lines(*(column[index] for column in self))


class Match(NamedTuple):
    """Pairs (row of the run, row of the reference), each row in one pair at most.

    `rivals` counts, for each pair, the other candidates that either row had within the tolerances: a pair with any
    is ambiguous. `group` has for each row of the reference the pair whose transition it belongs to, or -1.
    """

    run: Int[np.ndarray, " pair"]
    reference: Int[np.ndarray, " pair"]
    rivals: Int[np.ndarray, " pair"]
    group: Int[np.ndarray, " reference"]


def match(
    run: Lines,
    reference: Lines,
    tolerance: Tolerance = OTHER_LIST,
    *,
    components: list[Float[np.ndarray, " component"]] | None = None,
) -> Match:
    """Pair lines that are the same within `tolerance`, nearest in wavelength first, then the stronger line of the run.

    One to one: of several candidates the nearest is taken, and the pair is counted as ambiguous. `components`, if
    given, has for every line of the run the vacuum wavelengths of all its tied components: then a reference value
    next to any component belongs to the line.
    """
    if components is None:
        components = [np.array([w]) for w in run.wavelength]
    by_strength = np.argsort(-run.loggf, kind="stable")
    owner = np.repeat(by_strength, [len(components[i]) for i in by_strength])
    spread = run.take(owner)._replace(wavelength=np.concatenate([*(components[i] for i in by_strength), np.zeros(0)]))
    same = same_pairs(spread, reference, tolerance)
    pairs = np.column_stack([owner[same[:, 0]], same[:, 1]])
    _, first = np.unique(pairs, axis=0, return_index=True)
    pairs = pairs[np.sort(first)]
    group, taken = np.full(len(reference.wavelength), -1), np.zeros(len(run.wavelength), bool)
    chosen: list[tuple[int, int]] = []
    for i, j in pairs:
        if not taken[i] and group[j] < 0:
            taken[i], group[j] = True, len(chosen)
            chosen.append((i, j))
    kept = np.array(chosen, int).reshape(-1, 2)
    pair_of = {int(i): k for k, i in enumerate(kept[:, 0])}
    many = np.array([len(c) > 1 for c in components], bool)
    for i, j in pairs:
        if group[j] < 0 and many[i] and int(i) in pair_of:
            group[j] = pair_of[int(i)]
    # rows of the reference that are components of the transition itself are no rivals
    rivals = np.array(
        [
            sum((a == i and group[b] != k) or (b == j and a != i) for a, b in pairs[np.any(pairs == [i, j], axis=1)])
            for k, (i, j) in enumerate(kept)
        ],
        int,
    )
    return Match(kept[:, 0], kept[:, 1], rivals, group)


def total_loggf(loggf: Float[np.ndarray, " line"], group: Int[np.ndarray, " line"], n: int) -> np.ndarray:
    """log10 of the summed gf of each of `n` groups; group -1 belongs to none."""
    mine = group >= 0
    with np.errstate(divide="ignore"):
        return np.log10(np.bincount(group[mine], 10.0 ** loggf[mine], minlength=n))


def systematic_floor(difference: Float[np.ndarray, " line"], sd: Float[np.ndarray, " line"]) -> float | None:
    """The sd (dex) that, added in quadrature to `sd`, brings the robust sd of the z-scores to 1; 0 if it is below 1.

    None for fewer than 5 lines. Found by bisection; the median of the difference is taken off first.
    """
    if len(difference) < 5:
        return None
    centred = difference - np.median(difference)

    def width(floor):
        return mad_std(centred / np.sqrt(sd**2 + floor**2))

    if width(0.0) <= 1.0:
        return 0.0
    low, high = 0.0, 10.0 * float(np.max(np.abs(centred)))
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if width(middle) > 1.0 else (low, middle)
    return 0.5 * (low + high)


def statistics(difference: Float[np.ndarray, " line"], sd: Float[np.ndarray, " line"]) -> dict[str, Any]:
    """How values differ from their reference (dex), and whether as much as their sd says; None where n is too small.

    Keys: n, median, robust_sigma (1.4826 MAD), rms, outliers (share beyond 0.3 dex), z (median, robust_sd, within_1,
    within_2) and systematic_floor.
    """
    n = len(difference)
    if n == 0:
        empty = dict.fromkeys(("median", "robust_sigma", "rms", "outliers", "systematic_floor"))
        return {"n": 0, **empty, "z": dict.fromkeys(("median", "robust_sd", "within_1", "within_2"))}
    z = difference / sd
    return {
        "n": n,
        "median": float(np.median(difference)),
        "robust_sigma": float(mad_std(difference)) if n > 1 else None,
        "rms": float(np.sqrt(np.mean(difference**2))),
        "outliers": float(np.mean(np.abs(difference) > OUTLIER)),
        "z": {
            "median": float(np.median(z)),
            "robust_sd": float(mad_std(z)) if n > 1 else None,
            "within_1": float(np.mean(np.abs(z) < 1.0)),
            "within_2": float(np.mean(np.abs(z) < 2.0)),
        },
        "systematic_floor": systematic_floor(difference, sd),
    }


class Compared(NamedTuple):
    """One entry a pair: differences from the reference (dex) before and after, with the sd each claims."""

    before: Float[np.ndarray, " pair"]
    after: Float[np.ndarray, " pair"]
    before_sd: Float[np.ndarray, " pair"]
    after_sd: Float[np.ndarray, " pair"]
    ratio: Float[np.ndarray, " pair"]
    species: np.ndarray  # names

    def over(self, rows: Bool[np.ndarray, " pair"]) -> dict[str, Any]:
        """`statistics` after and before, over some of the pairs."""
        return {
            "inferred": statistics(self.after[rows], self.after_sd[rows]),
            "baseline": statistics(self.before[rows], self.before_sd[rows]),
        }


def compare(
    difference: Float[np.ndarray, " pair"],
    correction: Float[np.ndarray, " pair"],
    posterior_sd: Float[np.ndarray, " pair"],
    prior_sd: Float[np.ndarray, " pair"],
    reference_sd: Float[np.ndarray, " pair"],
    ratio: Float[np.ndarray, " pair"],
    species: np.ndarray,
) -> Compared:
    """`difference`: list minus reference. Errors of the reference (0 where unknown) are added in quadrature."""
    return Compared(
        difference,
        difference + correction,
        np.hypot(prior_sd, reference_sd),
        np.hypot(posterior_sd, reference_sd),
        ratio,
        np.asarray(species),
    )


def tables(pairs: Compared, ratio: float) -> dict[str, Any]:
    """All lines, those with posterior / prior below `ratio`, by species (both selections) and by bins of the ratio."""
    everything = np.ones(len(pairs.ratio), bool)
    sharp = pairs.ratio < ratio
    names, counts = np.unique(pairs.species, return_counts=True)
    ordered = [str(names[k]) for k in np.argsort(-counts, kind="stable")]
    return {
        "all": pairs.over(everything),
        "informed": pairs.over(sharp),
        "by_species": {
            n: {"all": pairs.over(pairs.species == n), "informed": pairs.over((pairs.species == n) & sharp)}
            for n in ordered
        },
        "by_ratio": [
            {"from": low, "to": high if np.isfinite(high) else None, **pairs.over(mine)}
            for low, high in pairwise(RATIO_BINS)
            if np.any(mine := (pairs.ratio >= low) & (pairs.ratio < high))
        ],
    }
