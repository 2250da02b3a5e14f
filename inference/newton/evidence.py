"""What the spectra say of the groups' scatters: the probability of ln tau with the shared parameters integrated out.

Given (A, b) the corrections integrate out exactly. The groups' means mu stay in the matrix, for then the prior of the
lines is diagonal given tau. With x the lines, the resolution and the means, d their step from the point,

    log p(spectra | tau) = p'M^-1 p / 2 - log det M / 2 - sum_i ln tau_i - sum_i o_i^2 / 2 tau_i^2 + const,
    M = A + (priors of resolution and means) + Z'T Z,   p = b - (pull of the priors),   Z x = delta - mu,

T = diag(tau_i^-2), o = Z x at the point. From R = Z M^-1 Z', the posterior covariance of delta - mu, and r, its mean,
come gradient and curvature in ln tau with one inverse:

    dL/dl_g = -n_g + q_g / tau_g^2,   q_g = sum_(i in g) R_ii + r_i^2,
    d2L/dl_g dl_h = 2 tau_g^-2 tau_h^-2 sum_(i in g, j in h) (R_ij^2 + 2 r_i R_ij r_j) - (g = h) 2 q_g / tau_g^2.

All of it is numpy and LAPACK on the host: a few hundred factors, each too small to gain from anything else.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from astrogf.inference.newton.lapack import IndefiniteError, factored, half_solved, lower_inverse, mirrored, solved

MEAN_SD = 0.05
SCATTER_SD = 0.2
"""dex. A common shift of a species is its abundance, so mu_g is held close to zero; gf errors are a few 0.1 dex."""
LEAST_CURVATURE = 0.5
"""Of -ln p(tau) in ln tau: the least that is believed."""
LONGEST_STEP, NEAR = 1.5, 1e-3
"""Newton's steps in ln tau: the longest of any group; the search ends when the next is this many sd."""


class Held(NamedTuple):
    """The corrections of groups with a held scatter, given the others: their step is `constant` - `slope` @ (that of
    the others), with `covariance`. `rows` are theirs among the shared parameters, `others` the rest."""

    rows: Int[np.ndarray, " held"]
    others: Int[np.ndarray, " other"]
    constant: Float[np.ndarray, " held"]
    slope: Float[np.ndarray, "held other"]
    covariance: Float[np.ndarray, "held held"]

    def together(
        self, step: Float[np.ndarray, " other"], covariance: Float[np.ndarray, "other other"]
    ) -> tuple[Float[np.ndarray, " shared"], Float[np.ndarray, "shared shared"]]:
        """Step and covariance of all shared parameters from those of the others (with the means of their groups)."""
        n, kept = len(self.rows) + len(self.others), len(self.others)
        cross = -self.slope @ covariance
        full, steps = np.empty((n, n)), np.empty(n)
        full[np.ix_(self.others, self.others)] = covariance[:kept, :kept]
        full[np.ix_(self.rows, self.others)] = cross[:, :kept]
        full[np.ix_(self.others, self.rows)] = cross[:, :kept].T
        full[np.ix_(self.rows, self.rows)] = self.covariance - cross @ self.slope.T
        steps[self.others], steps[self.rows] = step[:kept], self.constant - self.slope @ step
        return steps, full


class Conditional(NamedTuple):
    """At one ln tau: its log density with gradient and Hessian, and the posterior of the parameters that are left."""

    value: float
    slope: Float[np.ndarray, " group"]
    hessian: Float[np.ndarray, "group group"]
    step: Float[np.ndarray, " other"]
    covariance: Float[np.ndarray, "other other"]


class Evidence(NamedTuple):
    """The probability of the learned ln tau given the spectra.

    `precision` and `gradient` (at the point) hold all but the scatters' part, for the lines of learned groups, the
    survey's resolution and the groups' means, in this order; the lines of groups with a held scatter are eliminated.
    """

    precision: Float[np.ndarray, "other other"]
    gradient: Float[np.ndarray, " other"]
    off: Float[np.ndarray, " line"]
    member: Int[np.ndarray, " line"]
    learned: Int[np.ndarray, " group"]
    held: Held

    @classmethod
    def of(cls, precision, gradient, off, member, ln_sigma_sd, held) -> "Evidence":
        """From A and b of the shared parameters (prior excluded), `off` their point less the prior mean.

        `member`: group of every line; `held`: scatter of every group, nan where it is learned.
        """
        a, b, off, member, held = (np.asarray(x) for x in (precision, gradient, off, member, held))
        n, g = len(member), len(held)
        learned = np.isnan(held)
        full, pull = np.zeros((n + 1 + g, n + 1 + g), order="F"), np.zeros(n + 1 + g)
        full[: n + 1, : n + 1], pull[: n + 1] = a, b
        full[n, n] += float(ln_sigma_sd) ** -2
        pull[n] -= off[n] * float(ln_sigma_sd) ** -2
        means = n + 1 + np.arange(g)
        full[means, means] += MEAN_SD**-2
        fixed = np.flatnonzero(~learned[member])
        _add_scatters(full, pull, fixed, n + 1 + member[fixed], held[member[fixed]] ** -2.0, off[fixed])
        # the means of held groups go with their lines
        rows = np.append(fixed, means[~learned])
        left = np.concatenate([np.flatnonzero(learned[member]), [n], means[learned]])
        slope, constant, covariance = np.zeros((len(rows), len(left))), np.zeros(len(rows)), np.zeros((0, 0))
        if len(rows):
            factor = factored(full[np.ix_(rows, rows)])
            slope, constant = solved(factor, full[np.ix_(rows, left)]), solved(factor, pull[rows])
            covariance = mirrored(lower_inverse(factor))[: len(fixed), : len(fixed)]
        cross = full[np.ix_(left, rows)]
        back = Held(fixed, left[: np.sum(left <= n)], constant[: len(fixed)], slope[: len(fixed)], covariance)
        lines = left[left < n]
        index = np.cumsum(learned) - 1
        return cls(
            np.asfortranarray(full[np.ix_(left, left)] - cross @ slope), pull[left] - cross @ constant,
            off[lines], index[member[lines]], np.flatnonzero(learned), back,
        )  # fmt: skip

    @property
    def lines(self) -> Int[np.ndarray, " group"]:
        """Lines of every learned group."""
        return np.bincount(self.member, minlength=len(self.learned))

    def _system(self, tau: Float[np.ndarray, " group"], buffer=None):
        """M, of which the lower triangle is meant, and its gradient at the point."""
        full = np.empty_like(self.precision) if buffer is None else buffer
        full[:], pull = self.precision, self.gradient.copy()
        n = len(self.member)
        _add_scatters(full, pull, np.arange(n), n + 1 + self.member, tau[self.member] ** -2.0, self.off)
        return full, pull

    def _value(self, ln_tau, factor, half: Float[np.ndarray, " other"], power: float) -> float:
        tau = np.exp(ln_tau)
        determinant = np.sum(np.log(np.diagonal(factor))) + self.lines @ ln_tau
        chi2 = half @ half - np.sum((self.off / tau[self.member]) ** 2)
        said = np.sum(power * ln_tau - 0.5 * (tau / SCATTER_SD) ** 2)
        return float(0.5 * chi2 - determinant + said)

    def values(self, draws: Float[np.ndarray, "draw group"]) -> Float[np.ndarray, " draw"]:
        """log density of ln tau at every draw (up to a constant); nan where rounding has made M indefinite."""
        out, buffer = np.full(len(draws), np.nan), np.empty_like(self.precision)
        for k, ln_tau in enumerate(draws):
            full, pull = self._system(np.exp(ln_tau), buffer)
            try:
                factor = factored(full)
            except FloatingPointError:
                continue
            out[k] = self._value(ln_tau, factor, half_solved(factor, pull), 2.0)
        return out

    def mixture(
        self, draws: Float[np.ndarray, "draw group"], weight: Float[np.ndarray, " draw"]
    ) -> tuple[Float[np.ndarray, " other"], Float[np.ndarray, "other other"]]:
        """Step and covariance of the parameters that are left, over draws of ln tau with weights of sum 1."""
        draws, weight = draws[weight > 0.0], weight[weight > 0.0]
        steps, buffer = np.empty((len(draws), len(self.gradient))), np.empty_like(self.precision)
        mean = np.zeros_like(self.precision)
        for k, ln_tau in enumerate(draws):
            full, pull = self._system(np.exp(ln_tau), buffer)
            factor = factored(full)
            steps[k] = solved(factor, pull)
            covariance = lower_inverse(factor)
            covariance *= weight[k]
            mean += covariance
        step = weight @ steps
        return step, mirrored(mean) + ((steps - step).T * weight) @ (steps - step)

    def at(self, ln_tau: Float[np.ndarray, " group"], power: float = 2.0) -> Conditional | None:
        """All that one inverse gives; None where M is not positive definite.

        The prior density is that of ln tau (a Rayleigh density of tau, times tau) with `power` 2, that of tau with 1.
        """
        tau, n = np.exp(ln_tau), len(self.member)
        full, pull = self._system(tau)
        try:
            factor = factored(full)
        except FloatingPointError:
            return None
        value = self._value(ln_tau, factor, half_solved(factor, pull), power)
        if not np.isfinite(value):
            return None
        step = solved(factor, pull)
        covariance = mirrored(lower_inverse(factor))
        mean = n + 1 + self.member
        scaled = covariance[:n, :n] + covariance[np.ix_(mean, mean)]
        scaled -= covariance[:n][:, mean]
        scaled -= covariance[mean][:, :n]
        residual = self.off + step[:n] - step[mean]
        group = (np.arange(len(tau)) == self.member[:, None]).astype(float)
        weight, pulled = tau**-2.0, residual[:, None] * group
        told = weight * (group.T @ (np.diagonal(scaled) + residual**2))
        both = 2.0 * pulled.T @ (scaled @ pulled)
        both += group.T @ (np.square(scaled, out=scaled) @ group)
        prior = (tau / SCATTER_SD) ** 2
        hessian = 2.0 * weight[:, None] * both * weight - np.diag(2.0 * told + 2.0 * prior)
        return Conditional(value, told - self.lines + power - prior, hessian, step, covariance)

    def along(
        self, group: int, ln_tau: Float[np.ndarray, " group"], found: Conditional, grid: Float[np.ndarray, " point"]
    ) -> Float[np.ndarray, " point"]:
        """log density of ln tau where that of one group is `grid`, the others as in `ln_tau`, where `found` was.

        With s the change of tau^-2 it falls by (log det(1 + s R) + s r'(1 + s R)^-1 r) / 2, R and r the group's: exact
        (nan where M is indefinite), up to a constant.
        """
        mine, mean = np.flatnonzero(self.member == group), len(self.member) + 1 + group
        by_mean = found.covariance[mine, mean]
        scaled = found.covariance[np.ix_(mine, mine)] + found.covariance[mean, mean] - by_mean - by_mean[:, None]
        size, axes = np.linalg.eigh(scaled)
        squared = (axes.T @ (self.off[mine] + found.step[mine] - found.step[mean])) ** 2
        change = (np.exp(-2.0 * grid) - np.exp(-2.0 * ln_tau[group]))[:, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            fall = np.sum(np.log1p(change * size) + change * squared / (1.0 + change * size), axis=1)
        return (2.0 - len(mine)) * grid - 0.5 * fall - 0.5 * (np.exp(grid) / SCATTER_SD) ** 2

    def maximum(
        self, start: Float[np.ndarray, " group"], *, power: float = 2.0, least: float = 0.0, rounds: int = 40
    ) -> tuple[Float[np.ndarray, " group"], Conditional]:
        """Most probable ln tau, none below ln `least`, by Newton's method from `start`, and what is there.

        Raises IndefiniteError where there is nothing at `start`.
        """
        with np.errstate(divide="ignore"):
            low = np.log(least)
        place = np.maximum(start, low)
        here = self.at(place, power)
        if here is None:
            raise IndefiniteError("the probability of the scatters is not finite at the start of the search")
        shrink = 1.0
        for _ in range(rounds):
            free = (place > low) | (here.slope > 0.0)
            size, axes = np.linalg.eigh(-here.hessian[np.ix_(free, free)])
            along = (axes.T @ here.slope[free]) / np.maximum(np.abs(size), LEAST_CURVATURE)
            if np.sqrt(np.sum(along**2 * np.maximum(np.abs(size), LEAST_CURVATURE))) < NEAR:
                break
            move = np.zeros(len(place))
            move[free] = axes @ along
            move *= shrink * min(1.0, LONGEST_STEP / np.max(np.abs(move)))
            there = self.at(np.maximum(place + move, low), power)
            if there is None or there.value < here.value - 1e-9 * abs(here.value):
                shrink *= 0.3
                continue
            place, here, shrink = np.maximum(place + move, low), there, 1.0
        return place, here


def _add_scatters(full, pull, lines, means, weight, off) -> None:
    """Add `weight` (delta - mu)^2 / 2 of these lines, rows of `full`, below the diagonal (and above it)."""
    full[lines, lines] += weight
    np.add.at(full, (means, means), weight)
    full[means, lines] -= weight
    full[lines, means] -= weight
    pull[lines] -= weight * off
    np.add.at(pull, means, weight * off)
