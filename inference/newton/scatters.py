"""The scatters of the groups are known only so well: the posterior of the shared parameters with them integrated over.

At the scatters' most probable values the corrections of a group of which the spectra say little get errors as short
(or as long) as that one guess. Given (A, b) the corrections integrate out exactly,

    log p(spectra | tau) = d'(A + P)^-1 d / 2 - log det(A + P) / 2 + log det P / 2 - off'P off / 2 + const,
    d = b - P off,   off = point - prior mean,   P the prior precision given tau,

and what is left has as many dimensions as groups: a Gaussian in ln tau at its maximum, drawn from in antithetic pairs,
the draws weighted to the true density, the weights truncated (Ionides 2008, J. Comp. Graph. Stat. 17, 295). Some of
them, resampled by weight, carry the posterior, which is their mixture: its covariance is the mean of the covariances
and the covariance of the means. Corrections with a scatter that is held are integrated out first, once for all draws.
"""

import time
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Float, Int
from scipy.optimize import minimize

from astrogf.inference.newton import groups as hyper
from astrogf.inference.newton.joint import Joint, SharedPrior
from astrogf.inference.newton.stars import bounded_step, keep_physical
from astrogf.inference.problem.arrow import Reduced, substitute

DRAWS, MOST_DRAWS, KEPT = 32, 512, 64
"""Draws that are weighted (a Cholesky factor each), for every group, and at most; those that carry the posterior (an
inverse each)."""
MANY_LINES = 1500
"""Beyond this many the draws that are weighted become fewer, for each costs the cube of the number."""
STEP = 1e-3
"""In ln tau, of the differences that give the curvature."""
LEAST_CURVATURE, PRIOR_CURVATURE = 0.5, 4.0
"""Of ln p(tau) in ln tau: the least that is believed, and that of the Rayleigh prior alone at its maximum."""


class Evidence(NamedTuple):
    """The probability of ln tau given the spectra, and the posterior of the shared parameters at each."""

    reduced: Reduced
    off: Float[Array, " shared"]
    prior: SharedPrior
    held: Float[Array, " group"]

    def prior_at(self, ln_tau: Float[Array, " group"]):
        """Prior precision of the shared parameters, half the log of its determinant, and log density of ln tau."""
        learned = jnp.isnan(self.held)
        tau = jnp.where(learned, jnp.exp(ln_tau), self.held)
        count = jnp.bincount(self.prior.group, length=len(tau))
        half_log_det = -jnp.sum(count * jnp.log(tau)) - 0.5 * jnp.sum(jnp.log1p(count * (hyper.MEAN_SD / tau) ** 2))
        precision = hyper.shared_precision(tau, self.prior.group, self.prior.ln_sigma_sd)
        # a Rayleigh density of tau, times tau for the density of ln tau
        said = jnp.where(learned, 2.0 * jnp.log(tau) - 0.5 * (tau / hyper.SCATTER_SD) ** 2, 0.0)
        return precision, half_log_det, jnp.sum(said)

    def at(self, ln_tau: Float[Array, " group"]):
        """log density of ln tau (up to a constant) with what `groups.log_evidence` gives besides."""
        precision, half_log_det, said = self.prior_at(ln_tau)
        value, step, factor = hyper.log_evidence(self.reduced, self.off, precision, half_log_det)
        return value + said, step, factor

    def slope(self, ln_tau: Float[Array, " group"]):
        """The log density and its gradient, for which the posterior's second moments about the prior mean are enough.

        Fisher's identity: the gradient of the evidence is the posterior expectation of that of the prior.
        """
        value, step, factor = self.at(ln_tau)
        off = self.off + step
        second = cho_solve((factor, True), jnp.eye(len(off))) + jnp.outer(off, off)

        def expected(x):
            precision, half_log_det, said = self.prior_at(x)
            return half_log_det + said - 0.5 * jnp.sum(second * precision)

        return value, jax.grad(expected)(ln_tau)


class Held(NamedTuple):
    """The corrections of groups with a held scatter, given the others: their step is `constant` - `slope` @ (that of
    the others), with `covariance`. `rows` are theirs, `others` the rest of the shared parameters."""

    rows: Int[np.ndarray, " held"]
    others: Int[np.ndarray, " other"]
    constant: Float[Array, " held"]
    slope: Float[Array, "held other"]
    covariance: Float[Array, "held held"]

    def together(self, step: Float[Array, " other"], covariance: Float[Array, "other other"]):
        """Step and covariance of all shared parameters from those of the others."""
        n = len(self.rows) + len(self.others)
        cross = -self.slope @ covariance
        full = jnp.zeros((n, n)).at[np.ix_(self.others, self.others)].set(covariance)
        full = full.at[np.ix_(self.rows, self.others)].set(cross).at[np.ix_(self.others, self.rows)].set(cross.T)
        full = full.at[np.ix_(self.rows, self.rows)].set(self.covariance - cross @ self.slope.T)
        steps = jnp.zeros(n).at[self.others].set(step).at[self.rows].set(self.constant - self.slope @ step)
        return steps, full


def without_held(evidence: Evidence) -> tuple[Evidence, Held]:
    """The same probability of ln tau from fewer shared parameters, and what brings the others back."""
    group, held = np.asarray(evidence.prior.group), np.asarray(evidence.held)
    mine = np.append(~np.isnan(held[group]), False)
    rows, others = np.flatnonzero(mine), np.flatnonzero(~mine)
    member = group[mine[:-1]]
    prior = hyper.prior_precision(jnp.asarray(held)[np.unique(member)], jnp.asarray(_renumbered(member)))
    a, b = evidence.reduced
    factor = jnp.linalg.cholesky(a[np.ix_(rows, rows)] + prior)
    slope = cho_solve((factor, True), a[np.ix_(rows, others)])
    constant = cho_solve((factor, True), b[rows] - prior @ evidence.off[rows])
    reduced = Reduced(
        a[np.ix_(others, others)] - a[np.ix_(others, rows)] @ slope, b[others] - a[np.ix_(others, rows)] @ constant
    )
    left = SharedPrior(evidence.prior.mean[others], evidence.prior.ln_sigma_sd, jnp.asarray(group[others[:-1]]))
    covariance = cho_solve((factor, True), jnp.eye(len(rows)))
    held_ones = Held(rows, others, constant, slope, covariance)
    return Evidence(reduced, evidence.off[others], left, evidence.held), held_ones


def _renumbered(group: Int[np.ndarray, " line"]) -> Int[np.ndarray, " line"]:
    return np.unique(group, return_inverse=True)[1]


@jax.jit
def _value_and_slope(evidence: Evidence, ln_tau):
    return evidence.slope(ln_tau)


@jax.jit
def _curvature(evidence: Evidence, ln_tau):
    def along(e):
        return (evidence.slope(ln_tau - STEP * e)[1] - evidence.slope(ln_tau + STEP * e)[1]) / (2.0 * STEP)

    # one direction at a time: each holds several matrices of lines by lines
    return jax.lax.map(along, jnp.eye(len(ln_tau)))


@jax.jit
def _mixture(evidence: Evidence, ln_tau: Float[Array, "draw group"]):
    n = len(evidence.off)

    def add(total, one):
        first, second = total
        _, step, factor = evidence.at(one)
        covariance = cho_solve((factor, True), jnp.eye(n))
        return (first + step, second + covariance + jnp.outer(step, step)), None

    (first, second), _ = jax.lax.scan(add, (jnp.zeros(n), jnp.zeros((n, n))), ln_tau)
    mean = first / len(ln_tau)
    return mean, second / len(ln_tau) - jnp.outer(mean, mean)


@jax.jit
def _values(evidence: Evidence, ln_tau: Float[Array, "draw group"]) -> Float[Array, " draw"]:
    return jax.lax.map(lambda x: evidence.at(x)[0], ln_tau)


def integrate(
    evidence: Evidence,
    current: Float[Array, " shared"],
    tau: Float[Array, " group"],
    *,
    seed: int = 0,
    draws: int | None = None,
    kept: int = KEPT,
) -> tuple[hyper.Posterior, float]:
    """Posterior of the shared parameters with the scatters integrated over, and of how many draws it effectively is.

    `current`: the point of (A, b); `tau`: where the search for the scatters begins; `draws`: by the number of groups.
    The posterior's `tau` is their rms. Draws whose evidence is not finite (a matrix of very many lines that rounding
    has made indefinite) do not count; raises FloatingPointError where none is.
    """
    held = np.asarray(evidence.held)
    evidence, held_ones = without_held(evidence)
    learned = np.flatnonzero(np.isnan(held))
    if draws is None:
        fewer = min(1.0, (MANY_LINES / len(evidence.off)) ** 2)
        draws = max(int(fewer * min(DRAWS * len(learned), MOST_DRAWS)), KEPT)
    start = np.log(np.asarray(tau, float))

    def whole(x):
        return jnp.asarray(start).at[learned].set(x)

    def objective(x):
        value, slope = _value_and_slope(evidence, whole(x))
        if not (np.isfinite(value) and np.all(np.isfinite(slope))):
            return 1e30, np.zeros(len(x))
        return -float(value), -np.asarray(slope)[learned]

    mode, spread = start[learned], np.zeros((0, 0))
    if len(learned):
        mode = minimize(objective, mode, jac=True, method="BFGS", options={"maxiter": 60, "gtol": 1e-2}).x
        curvature = np.asarray(_curvature(evidence, whole(mode)))[np.ix_(learned, learned)]
        if not np.all(np.isfinite(curvature)):
            curvature = PRIOR_CURVATURE * np.eye(len(learned))
        size, axes = np.linalg.eigh(0.5 * (curvature + curvature.T))
        spread = axes / np.sqrt(np.maximum(size, LEAST_CURVATURE))
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(draws // 2 if len(learned) else 1, len(learned)))
    white = np.concatenate([half, -half])
    drawn = jax.vmap(whole)(jnp.asarray(mode + white @ spread.T))
    ln_weight = np.asarray(_values(evidence, drawn)) + 0.5 * np.sum(white**2, axis=1)
    finite = np.isfinite(ln_weight)
    if not finite.any():
        raise FloatingPointError("the probability of the scatters is not finite anywhere near its maximum")
    weight = np.where(finite, np.exp(ln_weight - ln_weight[finite].max()), 0.0)
    weight = np.minimum(weight, weight.mean() * np.sqrt(len(weight)))
    weight /= weight.sum()
    # systematic resampling: as many copies of a draw as its weight says, to within one
    kept = min(kept, len(weight))
    chosen = np.searchsorted(np.cumsum(weight), (np.arange(kept) + rng.uniform()) / kept)
    step, covariance = held_ones.together(*_mixture(evidence, drawn[np.minimum(chosen, len(weight) - 1)]))
    scatter = np.where(np.isnan(held), np.exp(np.asarray(drawn)), held)
    rms = np.sqrt(weight @ scatter**2)
    sd = np.sqrt(weight @ (scatter - weight @ scatter) ** 2)
    posterior = hyper.Posterior(current + step, covariance, jnp.asarray(rms), jnp.asarray(sd))
    return posterior, float(1.0 / np.sum(weight**2))


def over_scatters(joint: Joint, prior: SharedPrior, groups: hyper.Groups) -> Joint:
    """The joint fit with the posterior that the scatters' uncertainty leaves: corrections, and labels moved along.

    The models and (A, b) stay those of the joint maximum. Where the integral is not finite the fit comes back as it
    was, and its status says so.
    """
    began = time.perf_counter()
    run, passed = joint.run, joint.passed
    evidence = Evidence(Reduced(*passed.reduced), run.shared - prior.mean, prior, jnp.asarray(groups.held))
    try:
        posterior, effective = integrate(evidence, run.shared, joint.posterior.tau)
    except FloatingPointError as error:
        run.trace.append({"stage": "scatters", "status": str(error), "seconds": time.perf_counter() - began})
        return joint._replace(status=f"{joint.status}; scatters not integrated over: {error}")
    step = bounded_step(jax.vmap(substitute, in_axes=(0, None))(passed.star, posterior.mean - run.shared))
    run.trace.append({"stage": "scatters", "effective_draws": effective, "seconds": time.perf_counter() - began})
    return joint._replace(run=replace(run, theta=keep_physical(run.theta + step)), posterior=posterior)
