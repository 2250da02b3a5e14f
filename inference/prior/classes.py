"""The sampler of the prior's widths and classes: what (A, b) say of the corrections with all that is uncertain of their
prior integrated over.

A sweep of Gibbs' method has three blocks, each exact:

1. every line is measured apart from the others (`apart`), by a draw of the noise that this takes;
2. widths and top values given these measurements, u and the classes summed over: Hamiltonian steps (`leaps`), shifts
   of all groups with their straight line, and exchanges between tau and phi, of which the lines see only the sum of
   squares; then the classes;
3. u, mu and the resolution given the classes: one Cholesky factor (`conditional`).

Where spectra say little of the lines, the first block has the second sum over nearly all that is not known of them:
widths given u alone would move as slowly as the lines' number allows.

The posterior is the mixture of the sweeps' Gaussians (Rao & Blackwell): its covariance is the mean of the covariances
and the covariance of the means. The log gf themselves, delta, follow from u in every sweep (`widths.States.shrunk`).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from astrogf.inference.prior.apart import Apart
from astrogf.inference.prior.conditional import System, drawn
from astrogf.inference.prior.leaps import Leaps, Lines
from astrogf.inference.prior.widths import PHI, SHARE, TAU, Belief, States, Widths, probabilities, total

ROUNDS, SHIFTS, EXCHANGES = 2, 2, 4
"""Rounds of block 2 a sweep; in each, shifts of every row, and exchanges."""
LENGTHS = (0.02, 1.0)
"""Their lengths are drawn between these, uniformly in the logarithm: no length is right for groups of 8 and of 2000."""


class Chain(NamedTuple):
    """Where a sampler is: coordinates of the widths, top values, the state of every line (`widths.States`), and the
    step of all parameters."""

    place: Float[np.ndarray, "4 group"]
    top: Float[np.ndarray, "2 4"]
    state: Int[np.ndarray, " line"]
    step: Float[np.ndarray, " all"]

    def states(self, system: System) -> States:
        """The states that the lines are in."""
        return system.states(Widths.at(self.place)).of(self.state)


class Moves(NamedTuple):
    """How a chain moves: what both are scaled by is held, or it would not be the posterior that they sample."""

    apart: Apart
    leaps: Leaps

    @classmethod
    def of(
        cls, system: System, belief: Belief, place: Float[np.ndarray, "4 group"], weight: Float[np.ndarray, " line"]
    ) -> "Moves":
        """Scaled at a typical place, where the lines have such precisions beforehand."""
        return cls(Apart.of(system, weight**-0.5), Leaps.of(belief, place, system.member, system.blends))


def _lengths(rng: np.random.Generator, n: int) -> Float[np.ndarray, " n"]:
    low, high = np.log(LENGTHS)
    return np.exp(rng.uniform(low, high, n)) * rng.normal(size=n)


def _all_groups(rng: np.random.Generator, belief: Belief) -> Float[np.ndarray, " group"]:
    """A straight line through all groups: its value, its slope, or both."""
    value, slope = _lengths(rng, 2) * (rng.uniform(size=2) < 0.6)
    return value + slope * belief.seen


def given_lines(
    rng: np.random.Generator,
    leaps: Leaps,
    place: Float[np.ndarray, "4 group"],
    top: Float[np.ndarray, "2 4"],
    lines: Lines,
) -> tuple[Float[np.ndarray, "4 group"], Float[np.ndarray, "2 4"]]:
    """Block 2: widths and top values given how the lines lie."""
    belief = leaps.belief
    if not belief.learned.any():
        return place, top
    for _ in range(ROUNDS):
        place, top = leaps.step(rng, place, top, lines)
        place, top = shifted(rng, belief, place, top, lines)
        place, top = exchanged(rng, belief, place, top)
    return place, top


def shifted(
    rng: np.random.Generator,
    belief: Belief,
    place: Float[np.ndarray, "4 group"],
    top: Float[np.ndarray, "2 4"],
    lines: Lines,
) -> tuple[Float[np.ndarray, "4 group"], Float[np.ndarray, "2 4"]]:
    """Steps of a coordinate of all tied groups along a straight line, top values summed over and then drawn: what each
    group says little of would else hold the line in place."""

    def density(at):
        return total(Widths.at(at).states(lines.member, lines.blends).log_density(lines.off, lines.more)).sum()

    here = density(place)
    for row in (r for _ in range(SHIFTS) for r in (TAU, SHARE, PHI) if belief.tied[r].any()):
        tried = place.copy()
        tried[row] += np.where(belief.tied[row], _all_groups(rng, belief), 0.0)
        there = density(tried)
        if np.log(rng.uniform()) < there - here + (belief.by_row(tried) - belief.by_row(place))[row]:
            place, here = tried, there
    return place, belief.draw_top(rng, place)


def exchanged(
    rng: np.random.Generator, belief: Belief, place: Float[np.ndarray, "4 group"], top: Float[np.ndarray, "2 4"]
) -> tuple[Float[np.ndarray, "4 group"], Float[np.ndarray, "2 4"]]:
    """Steps of ln phi that leave tau^2 + phi^2 as it is, and with it the density of all lines: by group, and of all
    groups along a straight line with the top values summed over.

    (ln tau, ln phi) to (ln tau', ln phi + step) has the Jacobian tau^2 / tau'^2.
    """
    both, n = belief.learned[TAU] & belief.learned[PHI], place.shape[1]
    if not both.any():
        return place, top
    for _ in range(EXCHANGES):
        tried, gain = _exchange(place, both, _lengths(rng, n))
        gain += (belief.by_group(tried, top) - belief.by_group(place, top))[[TAU, PHI]].sum(axis=0)
        place = np.where(np.log(rng.uniform(size=n)) < gain, tried, place)
        tried, gain = _exchange(place, both, _all_groups(rng, belief))
        if np.all(gain > -np.inf):
            gain = gain.sum() + (belief.by_row(tried) - belief.by_row(place))[[TAU, PHI]].sum()
            place = tried if np.log(rng.uniform()) < gain else place
        top = belief.draw_top(rng, place)
    return place, top


def _exchange(
    place: Float[np.ndarray, "4 group"], both: Bool[np.ndarray, " group"], step: Float[np.ndarray, " group"]
) -> tuple[Float[np.ndarray, "4 group"], Float[np.ndarray, " group"]]:
    """The place after steps of ln phi, and the log of the Jacobian: -inf where a group has not so much to give, and
    stays where it is."""
    left = np.exp(2.0 * place[TAU]) + np.exp(2.0 * place[PHI]) - np.exp(2.0 * (place[PHI] + np.where(both, step, 0.0)))
    can = both & (left > 0.0)
    tried = place.copy()
    tried[TAU, can], tried[PHI, can] = 0.5 * np.log(left[can]), place[PHI, can] + step[can]
    return tried, np.where(can, 2.0 * (place[TAU] - tried[TAU]), np.where(both, -np.inf, 0.0))


def sweep(
    rng: np.random.Generator, moves: Moves, system: System, chain: Chain
) -> tuple[Chain, Float[np.ndarray, "all all"], Float[np.ndarray, " all"], Float[np.ndarray, "state line"]]:
    """The next state of the chain; factor of the precision and step to the mean of the Gaussian that it was drawn from;
    and the probability of every line's states given what it was measured as."""
    off, more = moves.apart.measured(rng, system, chain.step)
    lines = Lines(off, more, system.member, system.blends)
    place, top = given_lines(rng, moves.leaps, chain.place, chain.top, lines)
    probability = probabilities(system.states(Widths.at(place)).log_density(off, more))
    state = np.sum(np.cumsum(probability[:-1], axis=0) < rng.uniform(size=len(off)), axis=0)
    chain = Chain(place, top, state, chain.step)
    states = chain.states(system)
    factor, step = system.factor(1.0 / states.variance, states.centre)
    return chain._replace(step=drawn(rng, factor, step)), factor, step, probability
