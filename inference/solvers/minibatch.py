"""Some of the stars at a time, and what they say of the shared parameters: a quadratic about one point of the run.

Blocks of stars (`problem.spectra.Part`) are dealt into minibatches once, at random, so that each can be asked again and
what it said before be taken off; the order in which they are visited is another one in every epoch.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from astrogf.inference.blocks.shelf import Kept
from astrogf.inference.newton.drift import Drift, unfolded
from astrogf.inference.newton.passed import Pass
from astrogf.inference.newton.told import Told
from astrogf.inference.problem.arrow import Eliminated, Reduced, substitute
from astrogf.inference.problem.noise import NoiseModel, as_numpy
from astrogf.inference.problem.spectra import Noise, Sample


def dealt(n_block: int, n_batch: int, seed: int) -> list[Int[np.ndarray, " block"]]:
    """The blocks of every minibatch, in rising order. They are as equal as can be, and none is empty."""
    shuffled = np.random.default_rng(seed).permutation(n_block)
    return [np.sort(x) for x in np.array_split(shuffled, min(n_batch, n_block))]


def visited_at(step: int, n_batch: int, seed: int) -> int:
    """Which minibatch a step visits: every one once in an epoch, in an order that follows from (seed, epoch)."""
    epoch, k = divmod(step, n_batch)
    return int(np.random.default_rng((seed, epoch)).permutation(n_batch)[k])


class Minibatch(NamedTuple):
    """Some blocks of a sample: their numbers, which stars and, window by window, which rows there are theirs, and a
    sample of these alone."""

    blocks: Int[np.ndarray, " block"]
    stars: Bool[np.ndarray, " star"]
    rows: tuple[Int[np.ndarray, " row"], ...]
    sample: Sample

    @classmethod
    def of(cls, sample: Sample, blocks: Int[np.ndarray, " block"]) -> "Minibatch":
        """Blocks, in rising order, of a sample that was cut. Their spectra stay where they are."""
        stars = np.zeros(sample.n_star, bool)
        for i in blocks:
            stars[sample.parts[i].stars] = True
        rows = tuple(np.flatnonzero(stars[w.star]) for w in sample.windows)
        return cls(blocks, stars, rows, sample.select(stars))

    def noise(self, noise: Noise) -> Noise:
        """Of its rows, from that of all."""
        every = (as_numpy(n) for n in noise)
        return tuple(NoiseModel(*(x[rows] for x in n)) for n, rows in zip(every, self.rows, strict=True))

    def drift(self, drift: Drift | None) -> Drift | None:
        """Of its stars; what other spectra have told is no word of theirs."""
        return None if drift is None else drift._replace(loading=drift.loading[self.stars], told=None)


class Quadratic(NamedTuple):
    """log L(x) = value + gradient'y - y' precision y / 2 with y = x - origin, stars' own parameters marginalised.

    x is what all stars share: the corrections, the survey's ln_sigma, and the slopes of the lines with temperature
    where they have some. Its natural parameters, gradient and precision, are what variational steps average.
    """

    value: float
    gradient: Float[np.ndarray, " whole"]
    precision: Float[np.ndarray, "whole whole"]

    @classmethod
    def nothing(cls, n: int) -> "Quadratic":
        """Of no star."""
        return cls(0.0, np.zeros(n), np.zeros((n, n)))

    @classmethod
    def about(cls, value: float, reduced: Reduced, y: Float[np.ndarray, " whole"]) -> "Quadratic":
        """From value, gradient and precision at the point y."""
        a, b = (np.asarray(x) for x in reduced)
        return cls(float(value - b @ y - 0.5 * y @ a @ y), b + a @ y, a)

    def plus(self, other: "Quadratic", part: float = 1.0) -> "Quadratic":
        """With so much of another about the same origin."""
        return jax.tree.map(lambda mine, theirs: mine + part * theirs, self, other)

    def at(self, y: Float[np.ndarray, " whole"]) -> Reduced:
        """Precision and gradient at a point."""
        return Reduced(self.precision, self.gradient - self.precision @ y)  # type: ignore[arg-type]

    def expected(self, y: Float[np.ndarray, " whole"], covariance: Float[np.ndarray, "whole whole"]) -> float:
        """Mean over a Gaussian at y."""
        square = y @ self.precision @ y + np.sum(self.precision * covariance)
        return float(self.value + self.gradient @ y - 0.5 * square)


def said_by(
    passed: Pass, drift: Drift | None, shared: Float[np.ndarray, " shared"], y: Float[np.ndarray, " whole"]
) -> Quadratic:
    """What a pass that linearised at `shared` (and the slopes of `drift`), the point y, says of the shared parameters:
    the Laplace approximation of the marginal likelihood, of all stars that have a finite model."""
    reduced = passed.reduced
    if drift is not None and drift.prior is not None and passed.drift is not None:
        here = Told(np.asarray(reduced.precision), np.asarray(reduced.gradient), np.asarray(shared))
        both = unfolded(here, passed.drift, drift.slope, drift.prior)
        reduced = Reduced(both.precision, both.gradient)  # type: ignore[arg-type]
    found = passed.log_posterior + np.concatenate([marginal_gain(t.star) for t in passed.terms()])
    return Quadratic.about(float(np.sum(found[np.isfinite(found)])), reduced, y)


def marginal_gain(star: Eliminated) -> Float[np.ndarray, " star"]:
    """What log of the integral over a star's own parameters exceeds the log posterior where it was linearised, up to a
    constant: g' C g / 2 + log det C / 2 with gradient g and inverse block C."""
    constant, covariance = np.asarray(star.constant), np.asarray(star.covariance)
    gradient = np.linalg.solve(covariance, constant[..., None])[..., 0]
    return 0.5 * np.sum(constant * gradient, axis=-1) + 0.5 * np.linalg.slogdet(covariance)[1]


def own_steps(blocks: list[Kept], step: Float[np.ndarray, " whole"]) -> Float[np.ndarray, "star own"]:
    """Steps (in `parameters.steps`) of the stars of blocks from where these were linearised to their most probable
    values, the shared parameters having moved by `step` since."""
    return np.concatenate([np.asarray(substitute(block.get().star, step)) for block in blocks])
