"""The prior of the corrections as the joint fit uses it: groups, their learned widths, the posterior with (A, b).

Within the joint fit the two classes of a line's error (`widths`) are one Normal about its group's mean, whose precision
is the mean of the classes' by their probabilities given all that is known of the line but its own prior: its cavity, of
which the probability is exact where lines are independent. Where lines may be blended (`blends`) it is the mean over
the four states, and the Normal is about the mean of theirs, by precision. The widths are the most probable ones given
the cavities. What this leaves out, the classes' and widths' own uncertainty, is integrated over at the end
(`scatters`).
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from astrogf.inference.prior.conditional import System, inverse_by, inverse_of
from astrogf.inference.prior.lapack import threads_for
from astrogf.inference.prior.means import MODEL_MEAN_SD, Means
from astrogf.inference.prior.widths import Belief, Widths, most_probable, probabilities

MIN_GROUP = 8
BAND_LINES, MOST_BANDS = 150, 8
"""Lines that make a band of strength; bands at most."""
DAMPING = 0.5
"""Part of a round's change of the lines' log precision that is made. Wider priors of blended lines leave each of them
less known, which asks for narrower ones: whole steps go to and fro, and shrink by a tenth a round."""
SETTLED = 0.01
"""Rounds end when no line's precision changes by more than this part."""


class Groups(NamedTuple):
    """Group of every free line, the groups' names, their scatter where it is held (nan: learned), the prior mean of
    their corrections where it is not 0, tau where it is stated (nan: learned as in the other groups), and how well the
    spectra see their lines, -1 to 1; the species of every line (-1 for lines of a held group); and coordinates of tau,
    gross and the share that are known from other spectra, of the same list (nan: not)."""

    member: Int[np.ndarray, " line"]
    names: tuple[str, ...]
    species: Int[np.ndarray, " line"]
    held: Float[np.ndarray, " group"]
    mean: Float[np.ndarray, " group"] | None = None
    stated: Float[np.ndarray, " group"] | None = None
    seen: Float[np.ndarray, " group"] | None = None
    told: Float[np.ndarray, "3 group"] | None = None

    def told_of(self, line: Int[np.ndarray, " known"], place: Float[np.ndarray, "3 known"]) -> "Groups":
        """With the widths that are known of some lines, wherever these are: how wrong a list is does not depend on who
        looks. Groups have the mean of their lines; those that have none have that of all."""
        known, group = ~np.isnan(place).any(axis=0), self.member[line]
        if not known.any():
            return self
        count = np.bincount(group[known], minlength=len(self.names))
        total = np.stack([np.bincount(group[known], x[known], minlength=len(self.names)) for x in place])
        everywhere = np.mean(place[:, known], axis=1, keepdims=True)
        told = np.where(count > 0, total / np.maximum(count, 1), everywhere)
        return self._replace(told=np.where(np.isnan(self.held), told, np.nan))

    def about(self, mean: Mapping[str, float]) -> "Groups":
        """The groups of these names with these prior means."""
        return self._replace(mean=np.array([mean.get(name, 0.0) for name in self.names]))

    def belief(self, model_error: float) -> Belief:
        """The prior of the groups' widths."""
        return Belief.of(self.held, self.stated, model_error, self.seen, self.told)

    def means(self, model_error: float) -> Means:
        """The means of the species, and those of held groups, in which the model makes no error: nor does it where
        `model_error` is 0. Groups that state their tau are of lines whose values are known well."""
        named = self.species >= 0
        species = np.where(named, self.species, self.species.max(initial=-1) + 1 + self.member)
        known = np.zeros(len(species), bool) if self.stated is None else ~np.isnan(self.stated[self.member])
        return Means.by_species(species, known & named, np.where(named & (model_error > 0.0), MODEL_MEAN_SD, 0.0))

    @property
    def line_mean(self) -> Float[np.ndarray, " line"]:
        """Prior mean of every correction."""
        return np.zeros(len(self.member)) if self.mean is None else self.mean[self.member]


def bands(information: Float[np.ndarray, " line"], asked: Bool[np.ndarray, " line"]) -> Int[np.ndarray, " line"]:
    """Bands of about as many lines each by what the spectra know of a line with the list as it is, from 0, the best
    seen; -1 for lines not `asked` for. Fewer than BAND_LINES are one band."""
    band, n = np.full(len(information), -1), int(np.sum(asked))
    rank = np.argsort(np.argsort(-information[asked], kind="stable"), kind="stable")
    band[asked] = rank * int(np.clip(n // BAND_LINES, 1, MOST_BANDS)) // max(n, 1)
    return band


def make_groups(
    species: np.ndarray,
    quality: np.ndarray,
    least: int = MIN_GROUP,
    held: Mapping[str, float] | None = None,
    stated: Mapping[str, float] | None = None,
    information: Float[np.ndarray, " line"] | None = None,
) -> Groups:
    """Groups by species, quality class and band of `information`; those with fewer than `least` lines are pooled by
    class and band, then by band.

    A class in `held` is a group by itself, with the scatter given there. A class in `stated` is pooled with no other;
    its tau is believed to be about that.
    """
    held, stated, n = held or {}, stated or {}, len(species)
    apart = np.isin(quality, [*held, *stated])
    band = np.zeros(n, int) if information is None else bands(information, ~np.isin(quality, list(held)))
    many = band.max(initial=0) + 1
    mark = np.array([f", band {b + 1} of {many}" if many > 1 else "" for b in band], dtype=object)
    full = np.array([f"{s} {q}{m}" for s, q, m in zip(species, quality, mark, strict=True)], dtype=object)
    full[apart] = quality[apart]
    for pooled in (
        np.array([f"other {q}{m}" for q, m in zip(quality, mark, strict=True)], dtype=object),
        np.array([f"other{m}" for m in mark], dtype=object),
    ):
        names, counts = np.unique(full.astype(str), return_counts=True)
        small = np.isin(full.astype(str), names[counts < least]) & ~apart
        full[small] = pooled[small]
    names, index = np.unique(full.astype(str), return_inverse=True)
    place = 1.0 - 2.0 * np.bincount(index, np.maximum(band, 0), minlength=len(names)) / np.bincount(index) / max(
        many - 1, 1
    )
    known = [np.array([which.get(str(x), np.nan) for x in names]) for which in (held, stated)]
    seen = place if many > 1 else np.zeros(len(names))
    of_species = np.unique(np.asarray(species).astype(str), return_inverse=True)[1]
    of_species[np.isin(quality, list(held))] = -1
    return Groups(index, tuple(str(x) for x in names), of_species, known[0], None, known[1], seen)


def prior_precision(weight: Float[Array, " line"], means: Means) -> Float[Array, "line line"]:
    """Inverse of the prior covariance of the lines, their means marginalised, from the precision about these
    (Woodbury's identity)."""
    member = jax.nn.one_hot(means.of, len(means)) * jnp.asarray(weight)[:, None]
    inner = jnp.asarray(means.precision) + jnp.diag(member.sum(0))
    return jnp.diag(jnp.asarray(weight)) - member @ jnp.linalg.solve(inner, member.T)


class LinesPrior(NamedTuple):
    """`prior_precision` P without its matrix: P = W - W Z inner^-1 Z'W, W the lines' weights and Z whose mean each
    has."""

    weight: Float[np.ndarray, " line"]
    means: Means

    def pull(self, off: Float[np.ndarray, " line"]) -> Float[np.ndarray, " line"]:
        """P times how far the lines are off."""
        of, pulled = self.means.of, self.weight * off
        return pulled - self.weight * np.linalg.solve(self._inner, self._by_mean(pulled))[of]

    def left_of(self, covariance: Float[np.ndarray, "line line"]) -> float:
        """trace(P covariance): how many of the lines a posterior leaves to the prior."""
        weighted = np.zeros((len(self.weight), len(self.means)))
        weighted[np.arange(len(self.weight)), self.means.of] = self.weight
        between = weighted.T @ (covariance @ weighted)
        return float(self.weight @ np.diagonal(covariance) - np.trace(np.linalg.solve(self._inner, between)))

    @property
    def _inner(self) -> Float[np.ndarray, "mean mean"]:
        return self.means.precision + np.diag(self._by_mean(self.weight))

    def _by_mean(self, values: Float[np.ndarray, " line"]) -> Float[np.ndarray, " mean"]:
        return np.bincount(self.means.of, values, minlength=len(self.means))


class LogGf(NamedTuple):
    """What is known of the lines' true log gf: correction of the list and its covariance; the part of it that is the
    list's word (how far it would follow the list's value, the class held); the probability that the list is badly
    wrong; the ends of the credible intervals (`intervals.NAMES`); and where blends are known (`blends`) the probability
    that a missing line is on the line."""

    mean: Float[np.ndarray, " line"]
    covariance: Float[np.ndarray, "line line"]
    list_share: Float[np.ndarray, " line"]
    wide: Float[np.ndarray, " line"]
    ends: Float[np.ndarray, "end line"]
    blended: Float[np.ndarray, " line"] | None = None


class Posterior(NamedTuple):
    """Gaussian posterior of the shared parameters, the corrections u that the spectra want first; the prior it has, as
    every line's precision about its group's mean; the widths, with their sds where they are integrated over; and
    what follows for the log gf."""

    mean: Float[Array, " shared"]
    covariance: Float[Array, "shared shared"]
    weight: Float[np.ndarray, " line"]
    widths: Widths
    widths_sd: Widths | None = None
    loggf: LogGf | None = None


class Learned(NamedTuple):
    """Where the search for the widths is: coordinates, top values, precision of every line and the value that it is
    about, less its mean."""

    place: Float[np.ndarray, "4 group"]
    top: Float[np.ndarray, "2 4"]
    weight: Float[np.ndarray, " line"]
    centre: Float[np.ndarray, " line"] | float = 0.0

    @classmethod
    def start(cls, belief: Belief, member: Int[np.ndarray, " line"]) -> "Learned":
        """At the prior medians."""
        place, top = belief.start()
        widths = Widths.at(place)
        return cls(place, top, 1.0 / (widths.sd**2 + widths.phi**2)[member])


def shared_precision(weight, means: Means, ln_sigma_sd) -> Float[Array, "shared shared"]:
    """Prior precision of (corrections, survey ln_sigma)."""
    n = len(weight)
    full = jnp.zeros((n + 1, n + 1)).at[:n, :n].set(prior_precision(weight, means))
    return full.at[n, n].set(ln_sigma_sd**-2)


def learn(system: System, belief: Belief, begin: Learned, rounds: int = 12) -> tuple[Learned, np.ndarray, np.ndarray]:
    """Widths and classes from where they are, in at most so many `rounds` of a factor and its inverse each; with them
    the step and covariance of all parameters. Raises IndefiniteError where A with the prior is not positive
    definite."""
    learned, member = begin, system.member
    with threads_for(len(system.gradient)):
        for k in range(rounds):
            factor, step = system.factor(learned.weight, learned.centre)
            if k + 1 == rounds or belief.certain:
                covariance = inverse_of(factor)
                break
            # rounds need variances alone: the rest of the inverse is made where they end
            spread, half = system.spread_by(factor)
            off, variance = system.cavity(learned.weight, spread, step, learned.centre)
            place, top = most_probable(belief, learned.place, learned.top, off, variance, member, system.blends)
            states = system.states(Widths.at(place))
            precision = probabilities(states.log_density(off, variance)) / states.variance
            weight = precision.sum(axis=0)
            change = np.log(weight / learned.weight)
            moved = np.sum(precision * states.centre, axis=0) / weight - learned.centre
            settled = max(np.max(np.abs(change)), np.max(moved**2 * weight)) < SETTLED
            part = 0.0 if settled else DAMPING
            learned = Learned(place, top, learned.weight * np.exp(part * change), learned.centre + part * moved)
            if settled:
                covariance = inverse_by(half)
                break
    return learned, step, covariance
