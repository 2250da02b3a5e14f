"""Draws from the posterior that a run folder holds: corrections of the lines together, labels of each star together.

The folder has, of the corrections, mean, covariance and the ends of the 68% and 95% intervals, since their posterior
has longer tails than a Gaussian. A draw is a Gaussian one with their correlations, z, of which each line's own part is
taken through a monotone curve x(z), straight between nodes: at the ends of the intervals it has these values exactly,
and at z = 0 and beyond the 95% interval those that give the mean and the sd (a Gaussian copula; Nelsen 2006, An
Introduction to Copulas, section 2.3). Where these four and two cannot all be had, the intervals are kept.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

LEVELS = (0.025, 0.15866, 0.84134, 0.975)
"""Probability below each end of the intervals (inference.prior.intervals.LEVELS)."""
FAR = 4.0
"""z of the outermost nodes; beyond, the curve goes on straight."""
INSIDE, FLATTEST, STEEPEST = 0.02, 0.05, 6.0
"""The median lies so far (as a part of its width) within the 68% interval; slope of the tails relative to the stretch
before them, at least and at most."""
ROUNDS = 20
RIDGE = 1e-6
"""Added to correlation matrices, which were kept in single precision."""


class Curves(NamedTuple):
    """x(z) of every line: values at the nodes."""

    nodes: Float[np.ndarray, " node"]
    values: Float[np.ndarray, "node line"]

    def __call__(self, z: Float[np.ndarray, "draw line"]) -> Float[np.ndarray, "draw line"]:
        """The values at z, straight on beyond the outermost nodes."""
        k = np.clip(np.searchsorted(self.nodes, z) - 1, 0, len(self.nodes) - 2)
        line = np.arange(z.shape[1])
        part = (z - self.nodes[k]) / (self.nodes[k + 1] - self.nodes[k])
        return (1.0 - part) * self.values[k, line] + part * self.values[k + 1, line]


def curves(
    mean: Float[np.ndarray, " line"], sd: Float[np.ndarray, " line"], ends: Float[np.ndarray, "4 line"]
) -> Curves:
    """The curves of lines with these means, sds and ends of their 95, 68, 68, 95% intervals."""
    z = ndtri(np.array(LEVELS))
    nodes = np.array([-FAR, z[0], z[1], 0.0, z[2], z[3], FAR])
    first, second = _moments(nodes)
    reach = np.array([-(FAR + z[0]) * (ends[1] - ends[0]) / (z[1] - z[0]),
                      (FAR - z[3]) * (ends[3] - ends[2]) / (z[3] - z[2])])  # fmt: skip
    width = ends[2] - ends[1]
    tails = np.zeros((len(nodes), len(mean)))
    tails[0], tails[-1] = reach
    slope, middle = np.ones(len(mean)), 0.5 * (ends[1] + ends[2])
    for _ in range(ROUNDS):
        values = np.stack([ends[0], ends[0], ends[1], middle, ends[2], ends[3], ends[3]]) + slope * tails
        middle = middle + (mean - first @ values) / first[3]
        middle = np.clip(middle, ends[1] + INSIDE * width, ends[2] - INSIDE * width)
        values[3] = middle
        rest = values - slope * tails - mean
        a, b, c = (_product(x, second, y) for x, y in ((tails, tails), (rest, tails), (rest, rest)))
        root = np.sqrt(np.maximum(b**2 - a * (c - sd**2), 0.0))
        slope = np.clip((root - b) / np.maximum(a, 1e-300), FLATTEST, STEEPEST)
    values = np.stack([ends[0], ends[0], ends[1], middle, ends[2], ends[3], ends[3]]) + slope * tails
    return Curves(nodes, values)


def _moments(nodes: Float[np.ndarray, " node"]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and mean product under a unit Gaussian of the functions that are 1 at one node and 0 at the others."""
    z = np.linspace(-8.0, 8.0, 3201)
    weight = np.exp(-0.5 * z**2)
    weight /= weight.sum()
    unit = np.stack([Curves(nodes, np.eye(len(nodes)))(np.tile(x, (1, len(nodes))))[0] for x in z])
    return weight @ unit, (unit * weight[:, None]).T @ unit


def _product(x: np.ndarray, matrix: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.einsum("in,ij,jn->n", x, matrix, y)


def correlated(
    covariance: Float[np.ndarray, "line line"], n: int, rng: np.random.Generator
) -> Float[np.ndarray, "draw line"]:
    """`n` draws of unit Gaussians with the correlations of a covariance."""
    sd = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    correlation, ridge = covariance / np.outer(sd, sd), RIDGE
    while True:
        try:
            root = np.linalg.cholesky(correlation + ridge * np.eye(len(sd)))
            break
        except np.linalg.LinAlgError:
            ridge *= 10.0
            if ridge > 1e-2:
                raise
    root /= np.sqrt(np.sum(root**2, axis=1, keepdims=True))
    return rng.standard_normal((n, len(sd))) @ root.T


def corrections(
    mean: Float[np.ndarray, " line"],
    covariance: Float[np.ndarray, "line line"],
    ends: Float[np.ndarray, "4 line"] | None,
    n: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "draw line"]:
    """`n` draws of all corrections; Gaussian where there are no intervals (`ends`)."""
    z, sd = correlated(covariance, n, rng), np.sqrt(np.diag(covariance))
    return mean + sd * z if ends is None else curves(mean, sd, ends)(z)


def labels(
    mean: Float[np.ndarray, "star label"],
    sd: Float[np.ndarray, "star label"],
    covariance: Float[np.ndarray, "star label label"] | None,
    n: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "draw star label"]:
    """`n` draws of every star's labels, Gaussian; each label by itself where there is no covariance. Those of a star
    that the fit left out (its errors are not finite) are nan."""
    if covariance is None:
        return mean + np.where(np.isfinite(sd), sd, np.nan) * rng.standard_normal((n, *mean.shape))
    out = np.full((n, *mean.shape), np.nan)
    for star, one in enumerate(covariance):
        if np.isfinite(one).all():
            out[:, star] = mean[star] + sd[star] * correlated(one, n, rng)
    return out
