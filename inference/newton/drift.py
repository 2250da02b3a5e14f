"""What the model gets wrong of a line, as it changes with temperature: a slope of every line that all stars share.

The list is corrected where most is known, near the Sun; a cool star's model is wrong in other ways (1D, LTE, damping,
blends of molecules), alike in all cool stars. In a star of temperature Teff spectra see u + z e, with
z = (Teff - 5772 K) / 1000 K and e of every line: without it the cool stars' errors are written into the log gf, and
from there into every other star's labels. A part of e is common to the lines of an ion: where the ionization balance of
the model is wrong, neutral lines and those of ions drift apart, and a star's gravity would answer for it. The slopes
are eliminated as a star's own parameters are, so that (A, b) of the corrections has them marginalised.
"""

from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from astrogf.inference.newton.told import Told
from astrogf.inference.prior.conditional import inverse_of
from astrogf.inference.prior.lapack import factored, threads_for
from astrogf.inference.problem.arrow import Eliminated, Held, Reduced, own_covariance, reduce, substitute
from astrogf.inference.problem.contribution import Contribution

SOLAR_TEFF, PER = 5772.0, 1000.0
"""K: where a slope makes no difference, and what it is counted by."""


def loading(teff: Float[np.ndarray, " star"]) -> Float[np.ndarray, " star"]:
    """z of every star."""
    return (np.asarray(teff) - SOLAR_TEFF) / PER


class SlopePrior(NamedTuple):
    """e = E + e', E ~ Normal(0, common) of every ion and e' ~ Normal(0, own) of every line (dex); `ion`: whose each
    line is, -1 for lines that share nothing."""

    own: float
    common: float
    ion: Int[np.ndarray, " line"]

    def _ions(self) -> Iterator[tuple[np.ndarray, float]]:
        """The lines of every ion, and what their precisions, 1 / own^2 each, have in common (Sherman and Morrison)."""
        if self.common > 0.0:
            for ion in np.unique(self.ion[self.ion >= 0]):
                lines = np.flatnonzero(self.ion == ion)
                yield lines, (self.common / self.own) ** 2 / (self.own**2 + len(lines) * self.common**2)

    def add_precision(self, matrix: Float[np.ndarray, "line line"], times: float = 1.0) -> None:
        """The prior's precision, so many times, added in place."""
        matrix[np.diag_indices(len(matrix))] += times / self.own**2
        for lines, common in self._ions():
            matrix[np.ix_(lines, lines)] -= times * common

    def pull(self, slope: Float[np.ndarray, " line"]) -> Float[np.ndarray, " line"]:
        """The prior's precision times slopes."""
        out = np.asarray(slope) / self.own**2
        for lines, common in self._ions():
            out[lines] -= common * np.sum(np.asarray(slope)[lines])
        return out

    def left_of(self, covariance: Float[np.ndarray, "line line"]) -> float:
        """How many of the slopes a posterior leaves to the prior: trace(precision of the prior x covariance)."""
        total = float(np.trace(covariance)) / self.own**2
        return total - sum(common * float(np.sum(covariance[np.ix_(rows, rows)])) for rows, common in self._ions())


class Drift(NamedTuple):
    """z of every star, e of every line where the pass linearises (dex), and its prior: None where the slopes are held.
    `told`: what other spectra have said of the shared parameters followed by the slopes, which a pass takes along."""

    loading: Float[np.ndarray, " star"]
    slope: Float[np.ndarray, " line"]
    prior: SlopePrior | None
    told: Told | None = None

    def moved(self, step: Float[np.ndarray, " line"]) -> "Drift":
        """Elsewhere."""
        return self._replace(slope=self.slope + step)

    def log_density(self, shared: Float[Held, " shared"]) -> float:
        """Of the slopes, and of the other spectra, up to a constant."""
        value = 0.0 if self.prior is None else float(-0.5 * self.slope @ self.prior.pull(self.slope))
        return value if self.told is None else value + self.told.log_likelihood(np.append(shared, self.slope))


def widened(one: Contribution, z: Float[Array, ""]) -> Contribution:
    """A spectrum's contribution to the shared parameters followed by the slopes, from that to the former alone: a
    slope's derivative is z times that of its correction."""
    precision, gradient = one.shared
    n = gradient.shape[0] - 1
    mixed = z * precision[:, :n]
    shared = Reduced(jnp.block([[precision, mixed], [mixed.T, z * mixed[:n]]]), jnp.append(gradient, z * gradient[:n]))
    star = one.star._replace(cross=jnp.concatenate([one.star.cross, z * one.star.cross[:, :n]], axis=1))
    return Contribution(shared, star, one.row)


def folded(whole: Reduced, drift: Drift, shared: Float[Held, " shared"]) -> tuple[Reduced, Eliminated]:
    """(A, b) at a point with the slopes marginalised, and these given the rest; with what other spectra have told."""
    assert drift.prior is not None
    if drift.told is not None:
        whole = drift.told.with_these(whole, np.append(shared, drift.slope))
    a, b = np.asarray(whole.precision), np.asarray(whole.gradient)
    n = len(b) - len(drift.slope)
    own = a[n:, n:].copy()
    drift.prior.add_precision(own)
    cross, gradient = a[n:, :n], b[n:] - drift.prior.pull(drift.slope)
    with threads_for(len(own)):
        covariance = inverse_of(factored(np.asfortranarray(own)))
        slopes = Eliminated(covariance @ gradient, covariance @ cross, covariance)
        less = reduce(slopes, cross, gradient)
        reduced = Reduced(jnp.asarray(a[:n, :n] + less.precision), jnp.asarray(b[:n] + less.gradient))
    return reduced, slopes


def unfolded(folded: Told, slopes: Eliminated, at: Float[np.ndarray, " line"], prior: SlopePrior) -> Told:
    """The inverse of `folded`: what was told of the shared parameters and the slopes, these `at` their point, without
    the slopes' prior."""
    constant, slope, covariance = (np.asarray(x) for x in slopes)
    with threads_for(len(at)):
        own = inverse_of(factored(np.asfortranarray(covariance.copy())))
        cross, gradient = own @ slope, own @ constant
        shared = folded.precision + cross.T @ slope
    prior.add_precision(own, -1.0)
    return Told(
        np.block([[shared, cross.T], [cross, own]]),
        np.append(folded.gradient + slope.T @ gradient, gradient + prior.pull(at)),
        np.append(folded.point, at),
        folded.blends,
    )


def with_slopes(drift: Eliminated, step: Float[np.ndarray, " shared"]) -> Float[np.ndarray, " whole"]:
    """A step of the shared parameters, and that of the slopes which follows."""
    return np.append(step, substitute(drift, step))


def covariance_with_slopes(
    drift: Eliminated, shared: Float[np.ndarray, "shared shared"]
) -> Float[np.ndarray, "whole whole"]:
    """Covariance of the shared parameters and the slopes."""
    mixed = -np.asarray(drift.slope) @ shared
    return np.block([[shared, mixed.T], [mixed, np.asarray(own_covariance(drift, shared))]])
