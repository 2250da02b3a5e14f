"""Credible intervals of log gf. Their posterior is no Gaussian: most values of a list are good, some are badly wrong.
What is known of a line is a mixture of both answers, of which a standard deviation says too little."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

from astrogf.inference.prior.widths import States, probabilities

NAMES = ("low_95", "low_68", "high_68", "high_95")
LEVELS = (0.025, 0.15866, 0.84134, 0.975)
"""Ends of the central intervals, and the probability below each."""
HALVINGS = 45


class Parts(NamedTuple):
    """Of every line a mixture of Gaussians: weights, which need not add up to one, means and sds."""

    weight: Float[np.ndarray, "part line"]
    mean: Float[np.ndarray, "part line"]
    sd: Float[np.ndarray, "part line"]

    @classmethod
    def of(cls, parts: list["Parts"]) -> "Parts":
        """All of several mixtures, equally probable."""
        return cls(*(np.concatenate(x) for x in zip(*parts, strict=True)))


class MeanOf(NamedTuple):
    """What is known of the list's mean mu for every line: value, variance, and covariance with u - m."""

    value: Float[np.ndarray, " line"]
    variance: Float[np.ndarray, " line"]
    with_off: Float[np.ndarray, " line"]


def by_state(
    states: States, off: Float[np.ndarray, " line"], variance: Float[np.ndarray, " line"], mean: MeanOf
) -> Parts:
    """delta as one of the states, where all but the line's own prior measure u - m as `off` with this `variance`."""
    probability = probabilities(states.log_density(off, variance))
    k, _ = states.shrunk()
    k_seen = states.listed / (states.variance + variance)
    # of delta - mu, of mu, and of the two together
    spread = k_seen * (states.own + variance) + mean.variance + 2.0 * k * mean.with_off
    return Parts(probability, mean.value + k_seen * (off - states.centre), np.sqrt(np.maximum(spread, 0.0)))


def quantiles(parts: Parts, levels: tuple[float, ...] = LEVELS) -> Float[np.ndarray, "level line"]:
    """Where each line's mixture has so much below, by bisection."""
    weight, sd = parts.weight / parts.weight.sum(axis=0), np.maximum(parts.sd, 1e-12)
    out = []
    for level in levels:
        low, high = np.min(parts.mean - 10.0 * sd, axis=0), np.max(parts.mean + 10.0 * sd, axis=0)
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            below = np.sum(weight * ndtr((middle - parts.mean) / sd), axis=0) < level
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        out.append(0.5 * (low + high))
    return np.array(out)
