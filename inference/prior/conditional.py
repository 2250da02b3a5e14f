"""The posterior of the shared parameters given the width of every line's prior: a Gaussian, from (A, b).

The means of the species (`means`) stay in the matrix, for then the prior of the lines is diagonal. With x the lines,
what else is shared (the survey's resolution) and the means m, as steps from the point of (A, b),

    M = A + (priors of resolution and means) + Z'T Z,   p = b - (pull of the priors),   Z x = u - m,

T the precision of every line about its species' mean: covariance M^-1, step M^-1 p. All of it is numpy and LAPACK on
the host.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from astrogf.inference.prior.blends import Blends
from astrogf.inference.prior.lapack import (
    diagonal_of_inverse,
    factored,
    from_inverse_factor,
    inverse_factor,
    lower_inverse,
    mirrored,
    solved,
    turned,
)
from astrogf.inference.prior.means import Means
from astrogf.inference.prior.widths import States, Widths

LEAST_KNOWN = 1e-3
"""The least part of a line's knowledge about its mean that is the spectra's: of a line of which they say nothing,
rounding leaves less than nothing."""


class System(NamedTuple):
    """M and p without the lines' prior: for the lines, what else is shared, and the means, in this order.

    `off`: the lines at the point, less their prior mean; `member`: group of every line, whose width it has; `blends`:
    what missing lines make of them, where that is known.
    """

    precision: Float[np.ndarray, "all all"]
    gradient: Float[np.ndarray, " all"]
    off: Float[np.ndarray, " line"]
    member: Int[np.ndarray, " line"]
    means: Means
    shared: int
    blends: Blends | None = None

    @classmethod
    def of(cls, precision, gradient, off, member, means: Means, other_sd, blends: Blends | None = None) -> "System":
        """From A and b of the shared parameters (prior excluded), `off` their point less the prior mean, `other_sd` the
        prior sd of those that are no lines."""
        a, b, off, member = (np.asarray(x) for x in (precision, gradient, off, member))
        n, shared, n_mean = len(member), len(b), len(means)
        full, pull = np.zeros((shared + n_mean,) * 2, order="F"), np.zeros(shared + n_mean)
        full[:shared, :shared], pull[:shared] = a, b
        other, last = np.arange(n, shared), shared + np.arange(n_mean)
        weight = np.broadcast_to(np.asarray(other_sd, float), len(other)) ** -2.0
        full[other, other] += weight
        pull[other] -= weight * off[n:]
        full[np.ix_(last, last)] += means.precision
        return cls(full, pull, off[:n], member, means, shared, blends)

    @property
    def mean_of(self) -> Int[np.ndarray, " line"]:
        """Row of every line's mean."""
        return self.shared + self.means.of

    def states(self, widths: Widths) -> States:
        """What may be the case with every line."""
        return widths.states(self.member, self.blends)

    def factor(
        self, weight: Float[np.ndarray, " line"], centre: Float[np.ndarray, " line"] | float = 0.0
    ) -> tuple[Float[np.ndarray, "all all"], Float[np.ndarray, " all"]]:
        """Lower factor of M and the step to the posterior's mean, given the lines' precision about `centre` beyond
        their means. Raises IndefiniteError where there is no factor."""
        full, pull = self.precision.copy(order="F"), self.gradient.copy()
        lines, means = np.arange(len(self.member)), self.mean_of
        full[lines, lines] += weight
        np.add.at(full, (means, means), weight)
        full[means, lines] -= weight
        off = self.off - centre
        pull[lines] -= weight * off
        np.add.at(pull, means, weight * off)
        factor = factored(full)
        return factor, solved(factor, pull)

    def from_mean(self, step: Float[np.ndarray, " all"]) -> Float[np.ndarray, " line"]:
        """u - m of every line after a step."""
        return self.off + step[: len(self.member)] - step[self.mean_of]

    def spread(self, covariance: Float[np.ndarray, "all all"]) -> Float[np.ndarray, " line"]:
        """Variance of u - m of every line."""
        lines, means = np.arange(len(self.member)), self.mean_of
        diagonal = np.diagonal(covariance)
        return diagonal[lines] + diagonal[means] - 2.0 * covariance[lines, means]

    def spread_by(
        self, factor: Float[np.ndarray, "all all"]
    ) -> tuple[Float[np.ndarray, " line"], Float[np.ndarray, "all all"]]:
        """As `spread`, from the precision's factor; in whose place the inverse factor comes back."""
        lines, n_mean = np.arange(len(self.member)), len(factor) - self.shared
        unit = np.zeros((len(factor), n_mean), order="F")
        unit[self.shared + np.arange(n_mean), np.arange(n_mean)] = 1.0
        with_means, half = solved(factor, unit), inverse_factor(factor)
        diagonal = diagonal_of_inverse(half)
        return diagonal[lines] + diagonal[self.mean_of] - 2.0 * with_means[lines, self.means.of], half

    def cavity(
        self,
        weight: Float[np.ndarray, " line"],
        spread: Float[np.ndarray, " line"],
        step: Float[np.ndarray, " all"],
        centre: Float[np.ndarray, " line"] | float = 0.0,
    ) -> tuple[Float[np.ndarray, " line"], Float[np.ndarray, " line"]]:
        """u - m of every line as all that is known but its own prior, of this `weight` about `centre`, measures it, and
        the variance of that; `spread` is the variance of u - m."""
        told = np.maximum(1.0 / spread - weight, LEAST_KNOWN / spread)
        return centre + (self.from_mean(step) - centre) / spread / told, 1.0 / told


def inverse_by(half: Float[np.ndarray, "all all"]) -> Float[np.ndarray, "all all"]:
    """The covariance, in place of the inverse of its precision's factor."""
    return mirrored(from_inverse_factor(half))


def inverse_of(factor: Float[np.ndarray, "all all"]) -> Float[np.ndarray, "all all"]:
    """The covariance, in place of its precision's factor."""
    return mirrored(lower_inverse(factor))


def drawn(rng: np.random.Generator, factor, step: Float[np.ndarray, " all"]) -> Float[np.ndarray, " all"]:
    """A draw of the Gaussian with this mean and this factor of its precision."""
    return step + turned(factor, rng.normal(size=len(step)))
