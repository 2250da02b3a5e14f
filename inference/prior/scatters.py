"""The widths of the prior and the lines' classes are known only so well: the posterior with them integrated over.

At their most probable values the corrections of a group of which the spectra say little get errors as short (or as
long) as that one guess, and a line that may or may not be badly wrong gets neither error. The sampler of `classes` goes
through both; what it leaves is the mixture of its sweeps' Gaussians, for the corrections u that the spectra want and
for the log gf, delta.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from astrogf.inference.prior import groups as hyper
from astrogf.inference.prior.classes import Chain, Moves, sweep
from astrogf.inference.prior.conditional import System, inverse_of
from astrogf.inference.prior.intervals import MeanOf, Parts, by_state, quantiles
from astrogf.inference.prior.lapack import STRIP, threads_for
from astrogf.inference.prior.widths import Belief, Widths, wide_probability

BURN, FEWEST, MOST = 30, 120, 2000
"""Sweeps that are forgotten; fewest and most that count."""
SWEEP_LINES = 1000 * 1200
"""Between the two, at most so many lines times sweeps."""
ENOUGH, ASKED = 25, 20
"""Independent sweeps of the slowest width that are enough, which is asked every so many sweeps."""
EVERY = 6
"""Every so many sweeps carry the posterior (an inverse each, and neighbouring sweeps say nearly the same)."""


class _Sums(NamedTuple):
    """Of what the sweeps say, for u and what is shared beside it, and for delta."""

    steps: list[np.ndarray]
    deltas: list[np.ndarray]
    covariance: np.ndarray
    delta_covariance: np.ndarray
    list_share: np.ndarray
    parts: list[Parts]

    def add(self, system: System, chain: Chain, factor: np.ndarray, step: np.ndarray) -> None:
        """One sweep's Gaussian. delta = mu + k (u - m - centre) + Normal(0, sqrt(k own)), and mu is a part of the means
        that they leave uncertain."""
        n, means = len(system.member), system.mean_of
        # symmetric, so that its rows may be read as its columns lie
        covariance = inverse_of(factor).T
        states = chain.states(system)
        k, left = states.shrunk()
        every, of = slice(system.shared, None), system.means.of
        part, apart = (x[of] for x in system.means.of_list)
        with_means = covariance[:, every]
        # of the means with delta of all lines
        means_with_all = k * (with_means[:n].T - with_means[means].T) + with_means[every] @ part.T
        own = np.empty(n)
        for first in range(0, n, STRIP):
            mine = slice(first, min(first + STRIP, n))
            rows = k * (covariance[mine, :n] - with_means[mine][:, of]) + with_means[mine] @ part.T
            rows -= means_with_all[of[mine]]
            rows *= k[mine, None]
            own[mine] = rows[np.arange(len(rows)), np.arange(n)[mine]]
            rows += part[mine] @ means_with_all
            rows += apart[mine, None] * (of[mine, None] == of)
            self.delta_covariance[mine] += rows
        own += left
        self.delta_covariance[np.arange(n), np.arange(n)] += left
        shared = system.shared
        self.covariance[:] += covariance[:shared, :shared]
        self.list_share[:] += own / states.listed
        self.steps.append(step[:shared])
        at_mean = part @ step[every]
        self.deltas.append(at_mean + k * (system.from_mean(step) - states.centre))
        spread = system.spread(covariance)
        off, variance = system.cavity(1.0 / states.variance, spread, step, states.centre)
        of_mean = np.sum(part * (part @ with_means[every]), axis=1) + apart
        mean = MeanOf(at_mean, of_mean, np.sum(part * (with_means[:n] - with_means[means]), axis=1))
        self.parts.append(by_state(system.states(Widths.at(chain.place)), off, variance, mean))


def _moments(values: list[np.ndarray], covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of a mixture of as many Gaussians, from their means and the sum of their covariances, whose
    place it takes."""
    each = np.array(values)
    mean = each.mean(axis=0)
    off = (each - mean) / np.sqrt(len(each))
    covariance /= len(each)
    for first in range(0, len(mean), STRIP):
        covariance[first : first + STRIP] += off[:, first : first + STRIP].T @ off
    return mean, covariance


def integrate(
    system: System,
    belief: Belief,
    begin: hyper.Learned,
    current: Float[Array, " shared"],
    *,
    seed: int = 0,
    sweeps: int | None = None,
) -> tuple[hyper.Posterior, dict[str, float]]:
    """Posterior of the shared parameters and of the log gf, and how well the sampler went through the widths.

    `current`: the point of (A, b); `begin`: where the sampler begins; `sweeps`: else until the slowest width has been
    gone through ENOUGH. Raises IndefiniteError where the posterior is none.
    """
    rng, n, shared = np.random.default_rng(seed), len(system.member), system.shared
    most = int(np.clip(SWEEP_LINES / (n + 1), FEWEST, MOST)) if sweeps is None else sweeps
    if belief.certain:
        most = 1
    sums = _Sums([], [], np.zeros((shared, shared)), np.zeros((n, n)), np.zeros(n), [])
    places, wide, blended = [], np.zeros(n), np.zeros(n)
    with threads_for(len(system.gradient)):
        _, step = system.factor(begin.weight, begin.centre)
        chain = Chain(begin.place, begin.top, np.zeros(n, int), step)
        moves = Moves.of(system, belief, begin.place, begin.weight)
        for k in range(-BURN, most):
            chain, factor, step, probability = sweep(rng, moves, system, chain)
            if k < 0:
                continue
            wide += wide_probability(probability)
            blended += probability[2:].sum(axis=0)
            places.append(chain.place)
            if k % EVERY == 0:
                sums.add(system, chain, factor, step)
            asked = sweeps is None and k >= FEWEST and k % ASKED == 0
            if asked and _slowest(places, belief) >= ENOUGH:
                break
    count = len(places)
    step, covariance = _moments(sums.steps, sums.covariance)
    delta, delta_covariance = _moments(sums.deltas, sums.delta_covariance)
    mean_of_list = np.asarray(current)[:n] - system.off
    loggf = hyper.LogGf(
        mean_of_list + delta, delta_covariance, np.clip(sums.list_share / len(sums.steps), 0.0, 1.0), wide / count,
        mean_of_list + quantiles(Parts.of(sums.parts)), None if system.blends is None else blended / count,
    )  # fmt: skip
    each = Widths(*np.moveaxis(np.array([Widths.at(place) for place in places]), 1, 0))
    widths, widths_sd = Widths(*(x.mean(axis=0) for x in each)), Widths(*(x.std(axis=0) for x in each))
    posterior = hyper.Posterior(
        jnp.asarray(current) + step, jnp.asarray(covariance), begin.weight, widths, widths_sd, loggf
    )
    return posterior, {"sweeps": float(count), "effective_sweeps": _slowest(places, belief)}


def effective(chains: Float[np.ndarray, "sweep width"]) -> Float[np.ndarray, " width"]:
    """Independent sweeps of every width: Geyer's initial positive sequence of the autocorrelations."""
    centred = chains - chains.mean(axis=0)
    size = len(centred)
    power = np.abs(np.fft.rfft(centred, 2 * size, axis=0)) ** 2
    correlation = np.fft.irfft(power, axis=0)[:size]
    correlation /= np.maximum(correlation[0], 1e-300)
    pairs = correlation[: size // 2 * 2].reshape(-1, 2, correlation.shape[1]).sum(axis=1)
    positive = np.cumprod(pairs > 0.0, axis=0)
    return size / np.maximum(2.0 * np.sum(pairs * positive, axis=0) - 1.0, 1.0)


def _slowest(places: list[np.ndarray], belief: Belief) -> float:
    """Independent sweeps of the width that has fewest; all, where none is learned."""
    if not belief.learned.any():
        return float(len(places))
    return float(np.min(effective(np.array(places)[:, belief.learned])))
