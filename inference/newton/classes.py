"""The sampler of the prior's widths and classes: what (A, b) say of the corrections with all that is uncertain of their
prior integrated over.

A sweep of Gibbs' method has three blocks, each exact:

1. widths and top values given u and mu, the classes summed over: Metropolis steps, all groups at once, and exchanges
   between tau and phi, of which the lines see only the sum of squares; then classes;
2. widths given the classes and (u - mu) / sd, which moves the lines along (interweaving, Yu & Meng 2011, J. Comp.
   Graph. Stat. 20, 531): where spectra say little of a group's lines, block 1 alone would move as slowly as the lines'
   number allows. Lines move along two directions a group, on which (A, b) are a quadratic in few dimensions;
3. u, mu and the resolution given the classes: one Cholesky factor (`conditional`).

The posterior is the mixture of the sweeps' Gaussians (Rao & Blackwell): its covariance is the mean of the covariances
and the covariance of the means. The log gf themselves, delta, follow from u in every sweep (`widths.States.shrunk`).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from astrogf.inference.newton.blends import Blends
from astrogf.inference.newton.conditional import System, drawn
from astrogf.inference.newton.widths import GROSS, GROUP_SD, PHI, TAU, Belief, States, Widths, probabilities, total

ROUNDS, MOVED_ROUNDS = 12, 2
"""Metropolis steps of each coordinate a sweep, in blocks 1 and 2."""
STEPS = (0.02, 1.0)
"""Their lengths are drawn between these, uniformly in the logarithm: no scale is right for groups of 8 and of 2000."""
UNMOVED = 0.1
"""dex: lines with more error of their own stay where they are in block 2."""


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


def _lengths(rng: np.random.Generator, n: int) -> Float[np.ndarray, " n"]:
    low, high = np.log(STEPS)
    return np.exp(rng.uniform(low, high, n)) * rng.normal(size=n)


def _together(rng: np.random.Generator, belief: Belief, place: np.ndarray, top: np.ndarray, row: int | np.integer):
    """A coordinate of all tied groups moved with its straight line, of which it keeps its distance."""
    line = _lengths(rng, 2) * (rng.uniform(size=2) < 0.5)
    tried, upper = place.copy(), top.copy()
    tried[row] += np.where(belief.tied[row], line[0] + line[1] * belief.seen, 0.0)
    upper[:, row] += line
    return tried, upper


def given_lines(
    rng: np.random.Generator,
    belief: Belief,
    place: Float[np.ndarray, "4 group"],
    top: Float[np.ndarray, "2 4"],
    off: Float[np.ndarray, " line"],
    member: Int[np.ndarray, " line"],
    blends: Blends | None = None,
) -> tuple[Float[np.ndarray, "4 group"], Float[np.ndarray, "2 4"]]:
    """Block 1: widths and top values given u - mu = `off`."""
    n = place.shape[1]

    def density(at):
        return np.bincount(member, total(Widths.at(at).states(member, blends).log_density(off)), minlength=n)

    if not belief.learned.any():
        return place, top
    here = density(place)
    for _ in range(ROUNDS):
        for row in np.flatnonzero(belief.learned.any(axis=1)):
            tried = place.copy()
            tried[row] += np.where(belief.learned[row], _lengths(rng, n), 0.0)
            there = density(tried)
            gain = there - here + belief.by_group(tried, top)[row] - belief.by_group(place, top)[row]
            taken = np.log(rng.uniform(size=n)) < gain
            place, here = np.where(taken, tried, place), np.where(taken, there, here)
            # all groups with their straight line: what each of them says little of would else hold the line in place
            tried, upper = _together(rng, belief, place, top, row)
            there = density(tried)
            gain = np.sum(there - here) + belief.of_top(upper) - belief.of_top(top)
            if belief.tied[row].any() and np.log(rng.uniform()) < gain:
                place, top, here = tried, upper, there
        place, top = exchanged(rng, belief, place, belief.draw_top(rng, place))
    return place, top


def exchanged(
    rng: np.random.Generator, belief: Belief, place: Float[np.ndarray, "4 group"], top: Float[np.ndarray, "2 4"]
) -> tuple[Float[np.ndarray, "4 group"], Float[np.ndarray, "2 4"]]:
    """Steps of ln phi that leave tau^2 + phi^2 as it is, and with it the density of all lines: first by group, then of
    all groups and their top value together.

    (ln tau, ln phi) to (ln tau', ln phi + step) has the Jacobian tau^2 / tau'^2.
    """
    both, n = belief.learned[TAU] & belief.learned[PHI], place.shape[1]
    for common in (False, True):
        lengths = _lengths(rng, 1 if common else n)
        step = np.where(both, lengths, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            left = np.exp(2.0 * place[TAU]) + np.exp(2.0 * place[PHI]) - np.exp(2.0 * (place[PHI] + step))
            tried, upper = place.copy(), top.copy()
            tried[TAU] = np.where(both, 0.5 * np.log(left), place[TAU])
            tried[PHI] = place[PHI] + step
            if common:
                upper[0, PHI] += lengths[0]
            gain = np.where(both, 2.0 * (place[TAU] - tried[TAU]), 0.0)
            gain += (belief.by_group(tried, upper) - belief.by_group(place, top))[[TAU, PHI]].sum(axis=0)
        gain = np.where(both & ~(left > 0.0), -np.inf, gain)
        if common:
            of_top = belief.of_top(upper) - belief.of_top(top)
            if both.any() and np.log(rng.uniform()) < gain.sum() + of_top:
                place, top = tried, upper
        else:
            place = np.where(np.log(rng.uniform(size=n)) < gain, tried, place)
    return place, top


def given_shapes(rng: np.random.Generator, belief: Belief, system: System, chain: Chain) -> Chain:
    """Block 2: tau, gross and phi given the states and (u - m - centre) / sd.

    A line with an error of its own that no width is part of (`blends`) would move too far: it moves as the others do,
    or stays where this error is more than UNMOVED, and what its density makes of that counts.
    """
    member, n = system.member, chain.place.shape[1]
    states, begun = chain.states(system), Widths.at(chain.place).variance
    off, kind = system.from_mean(chain.step) - states.centre, chain.state % 2 * n + member
    more = np.maximum(states.variance - begun.ravel()[kind], 0.0)
    moves = more <= UNMOVED**2
    directions = np.zeros((len(system.gradient), 2 * n))
    directions[np.arange(len(member)), kind] = off * moves
    # of (A, b) alone, the prior of resolution and means being the same wherever the lines are
    slope = directions.T @ (system.gradient - system.precision @ chain.step)
    curvature = directions.T @ (system.precision @ directions)
    place, moved, value = chain.place.copy(), np.zeros(2 * n), 0.0
    top = chain.top

    def gain(ratio):
        along = ratio @ slope - 0.5 * ratio @ curvature @ ratio
        if system.blends is None:
            return along
        shared = begun.ravel()[kind]
        factor, before = (1.0 + ratio[kind]) ** 2, shared + more
        after, made = shared * factor + more, np.where(moves, factor, 1.0)
        return along + 0.5 * np.sum(np.log(made * before / after) - off**2 * (made / after - 1.0 / before))

    for _ in range(MOVED_ROUNDS):
        for row in (row for row in (TAU, GROSS, PHI) if belief.learned[row].any()):
            tried, upper = _together(rng, belief, place, top, row)
            ratio = np.sqrt(Widths.at(tried).variance / begun).ravel() - 1.0
            there = gain(ratio)
            if np.log(rng.uniform()) < there - value + belief.of_top(upper) - belief.of_top(top):
                place, top, moved, value = tried, upper, ratio, there
            middle = belief.middle(top)
            lengths, bar = _lengths(rng, n), np.log(rng.uniform(size=n))
            for g in np.flatnonzero(belief.learned[row]):
                tried, ratio = place[:, [g]].copy(), moved.copy()
                tried[row] += lengths[g]
                ratio[[g, n + g]] = np.sqrt(Widths.at(tried).variance[:, 0] / begun[:, g]) - 1.0
                there = gain(ratio)
                apart = (np.array([place[row, g], tried[row, 0]]) - middle[row, g]) / GROUP_SD[row]
                if bar[g] < there - value + 0.5 * (apart[0] ** 2 - apart[1] ** 2):
                    place[row, g], moved, value = tried[row, 0], ratio, there
    return chain._replace(place=place, top=top, step=chain.step + directions @ moved)


def sweep(
    rng: np.random.Generator, belief: Belief, system: System, chain: Chain
) -> tuple[Chain, Float[np.ndarray, "all all"], Float[np.ndarray, " all"], Float[np.ndarray, "state line"]]:
    """The next state of the chain; factor of the precision and step to the mean of the Gaussian that it was drawn from;
    and the probability of every line's states given where it was."""
    off, member = system.from_mean(chain.step), system.member
    place, top = given_lines(rng, belief, chain.place, chain.top, off, member, system.blends)
    probability = probabilities(system.states(Widths.at(place)).log_density(off))
    state = np.sum(np.cumsum(probability[:-1], axis=0) < rng.uniform(size=len(off)), axis=0)
    chain = given_shapes(rng, belief, system, Chain(place, top, state, chain.step))
    states = chain.states(system)
    factor, step = system.factor(1.0 / states.variance, states.centre)
    return chain._replace(step=drawn(rng, factor, step)), factor, step, probability
