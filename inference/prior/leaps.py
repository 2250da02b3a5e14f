"""Widths and top values given how the lines lie: Hamiltonian steps (Neal 2011, Handbook of MCMC, chapter 5).

The widths of many groups, the classes summed over, lie on ridges: a narrower tau with a larger share, a wider gross
with a smaller one, all groups together. Steps of one coordinate after the other go along these slowly; leaps along the
gradient do it at once. They are scaled by the curvature at a typical place: that of the prior, and what so many lines
say on average.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg import solve_triangular

from astrogf.inference.prior.blends import Blends
from astrogf.inference.prior.widths import GROUP_SD, SLOPE_SD, TOP_SD, Belief, Widths, likelihood, scores

LEAPS = 12
"""Gradients a step."""
LENGTHS = (0.1, 0.3)
"""Of a leap in units of the width of what it is in, drawn between these uniformly in the logarithm."""
SAMPLES = 20
"""Drawn of every line for what it says on average."""


class Lines(NamedTuple):
    """Where the lines lie: u - m of each as measured with variance `more`, its group, and its blends."""

    off: Float[np.ndarray, " line"]
    more: Float[np.ndarray, " line"] | float
    member: Int[np.ndarray, " line"]
    blends: Blends | None = None


class Leaps(NamedTuple):
    """`tops`: which top values and slopes move. `turn`: from coordinates of about unit width to those that move, the
    learned widths' and then the top values."""

    belief: Belief
    tops: Bool[np.ndarray, "2 4"]
    turn: Float[np.ndarray, "all all"]

    @classmethod
    def of(
        cls,
        belief: Belief,
        place: Float[np.ndarray, "4 group"],
        member: Int[np.ndarray, " line"],
        blends: Blends | None = None,
    ) -> "Leaps":
        """Scaled at this place, for lines in these groups."""
        tops = np.tile(belief.tied.any(axis=1), (2, 1))
        curvature = _of_prior(belief, tops)
        n = int(belief.learned.sum())
        curvature[:n, :n] += _of_lines(belief, place, member, blends)
        factor = np.linalg.cholesky(curvature)
        return cls(belief, tops, solve_triangular(factor, np.eye(len(factor)), lower=True, trans=1))

    def step(
        self, rng: np.random.Generator, place: Float[np.ndarray, "4 group"], top: Float[np.ndarray, "2 4"], lines: Lines
    ) -> tuple[Float[np.ndarray, "4 group"], Float[np.ndarray, "2 4"]]:
        """One step, taken or not."""
        low, high = np.log(LENGTHS)
        length, push = np.exp(rng.uniform(low, high)), rng.normal(size=len(self.turn))
        at, upper = place, top
        density, slope = self._density(at, upper, lines)
        before = density - 0.5 * push @ push
        with np.errstate(all="ignore"):
            for _ in range(LEAPS):
                push = push + 0.5 * length * slope
                at, upper = self._moved(at, upper, length * (self.turn @ push))
                density, slope = self._density(at, upper, lines)
                push = push + 0.5 * length * slope
        taken = np.log(rng.uniform()) < density - 0.5 * push @ push - before
        return (at, upper) if taken else (place, top)

    def _density(self, place, top, lines: Lines) -> tuple[float, Float[np.ndarray, " all"]]:
        """log density of lines and prior, and its derivatives by the coordinates of about unit width."""
        value, slope = likelihood(Widths.at(place), *lines)
        said, of_place, of_top = self.belief.log_density(place, top)
        return value + said, np.concatenate([(slope + of_place)[self.belief.learned], of_top[self.tops]]) @ self.turn

    def _moved(self, place, top, by: Float[np.ndarray, " all"]) -> tuple[np.ndarray, np.ndarray]:
        place, top, n = place.copy(), top.copy(), int(self.belief.learned.sum())
        place[self.belief.learned] += by[:n]
        top[self.tops] += by[n:]
        return place, top


def _of_prior(belief: Belief, tops: Bool[np.ndarray, "2 4"]) -> Float[np.ndarray, "all all"]:
    """Precision of the learned widths and the top values beforehand."""
    row, group = np.nonzero(belief.learned)
    which, of_row = np.nonzero(tops)
    tied = belief.tied[row, group][:, None] & (row[:, None] == of_row)
    follows = tied * np.where(which == 0, 1.0, belief.seen[group][:, None])
    tight = GROUP_SD[row] ** -2.0
    pulled = tight[:, None] * follows
    above = np.stack([TOP_SD, SLOPE_SD])[which, of_row] ** -2.0
    return np.block([[np.diag(tight), -pulled], [-pulled.T, follows.T @ pulled + np.diag(above)]])


def _of_lines(
    belief: Belief, place: Float[np.ndarray, "4 group"], member: Int[np.ndarray, " line"], blends: Blends | None
) -> Float[np.ndarray, "learned learned"]:
    """What lines say of the learned widths of their group on average, were these as at this place: the mean of the
    products of their scores."""
    n, widths, rng = place.shape[1], Widths.at(place), np.random.default_rng(0)
    states = widths.states(member, blends)
    below, said = np.cumsum(np.exp(states.log_share), axis=0)[:-1], np.zeros((4, 4, n))
    for _ in range(SAMPLES):
        one = states.of(np.sum(below < rng.uniform(size=len(member)), axis=0))
        off = one.centre + np.sqrt(one.variance) * rng.normal(size=len(member))
        each = scores(widths, off, 0.0, member, blends)[1]
        for a, b in np.ndindex(4, 4):
            said[a, b] += np.bincount(member, each[a] * each[b] / SAMPLES, minlength=n)
    row, group = np.nonzero(belief.learned)
    return np.where(group[:, None] == group, said[row[:, None], row, group[:, None]], 0.0)
