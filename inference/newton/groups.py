"""The prior of the corrections: groups, their learned scatter, and the posterior it gives with (A, b).

    delta_i ~ Normal(mu_g, tau_g),  mu_g ~ Normal(0, MEAN_SD),  tau_g ~ Rayleigh(SCATTER_SD)

The Rayleigh prior vanishes at zero, so that a group of few lines is not declared exact (Chung et al. 2013,
Psychometrika 78, 685). mu_g is marginalised: within a group the prior covariance is tau_g^2 I + MEAN_SD^2 11'.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, ArrayLike, Float, Int

from astrogf.inference.newton.evidence import MEAN_SD, Evidence
from astrogf.inference.newton.evidence import SCATTER_SD as SCATTER_SD
from astrogf.inference.newton.lapack import threads_for
from astrogf.inference.problem.arrow import Reduced

MIN_GROUP = 8
LEAST_SCATTER = 0.01
"""dex; a learned scatter is not below this."""


class Groups(NamedTuple):
    """Group of every free line, the groups' names, their scatter where it is held (nan: learned), and the prior mean of
    their corrections where it is not 0."""

    member: Int[np.ndarray, " line"]
    names: tuple[str, ...]
    held: Float[np.ndarray, " group"]
    mean: Float[np.ndarray, " group"] | None = None

    def about(self, mean: Mapping[str, float]) -> "Groups":
        """The groups of these names with these prior means."""
        return self._replace(mean=np.array([mean.get(name, 0.0) for name in self.names]))

    @property
    def line_mean(self) -> Float[np.ndarray, " line"]:
        """Prior mean of every correction."""
        return np.zeros(len(self.member)) if self.mean is None else self.mean[self.member]


def make_groups(
    species: np.ndarray, quality: np.ndarray, least: int = MIN_GROUP, held: Mapping[str, float] | None = None
) -> Groups:
    """Groups by species and quality class; those with fewer than `least` lines are pooled by class, then in one.

    A class in `held` is a group by itself, with the scatter given there.
    """
    held = held or {}
    apart = np.isin(quality, list(held))
    full = np.array([f"{s} {q}" for s, q in zip(species, quality, strict=True)], dtype=object)
    full[apart] = quality[apart]
    for pooled in (
        np.array([f"other {q}" for q in quality], dtype=object),
        np.full(len(full), "other", dtype=object),
    ):
        names, counts = np.unique(full.astype(str), return_counts=True)
        small = np.isin(full.astype(str), names[counts < least]) & ~apart
        full[small] = pooled[small]
    names, index = np.unique(full.astype(str), return_inverse=True)
    return Groups(index, tuple(str(n) for n in names), np.array([held.get(str(n), np.nan) for n in names]))


def prior_precision(tau: Float[Array, " group"], index: Int[Array, " line"]) -> Float[Array, "line line"]:
    """Inverse of the prior covariance with mu marginalised (Sherman-Morrison, group by group)."""
    member = jax.nn.one_hot(index, tau.shape[0])
    count = member.sum(0)
    shrink = MEAN_SD**2 / tau**4 / (1.0 + count * MEAN_SD**2 / tau**2)
    return jnp.diag(tau[index] ** -2.0) - (member * shrink) @ member.T


class Posterior(NamedTuple):
    """Gaussian posterior of the shared parameters; `tau_sd` is nan where the scatters are taken as known."""

    mean: Float[Array, " shared"]
    covariance: Float[Array, "shared shared"]
    tau: Float[Array, " group"]
    tau_sd: Float[Array, "*group"] = np.full((), np.nan)  # type: ignore[assignment]


def shared_precision(tau, index, ln_sigma_sd) -> Float[Array, "shared shared"]:
    """Prior precision of (corrections, survey ln_sigma)."""
    n = index.shape[0]
    full = jnp.zeros((n + 1, n + 1)).at[:n, :n].set(prior_precision(tau, index))
    return full.at[n, n].set(ln_sigma_sd**-2)


def learn(
    precision: Float[Array, "shared shared"],
    gradient: Float[Array, " shared"],
    current: Float[Array, " shared"],
    prior_mean: Float[Array, " shared"],
    ln_sigma_sd: Float[Array, ""] | float,
    tau: Float[Array, " group"],
    index: Int[Array, " line"],
    rounds: int = 40,
    held: Float[ArrayLike, " group"] | float = np.nan,
) -> Posterior:
    """Posterior of the shared parameters, the scatters brought from `tau` to their marginal maximum (a density of tau).

    Where `held` is a number, that is tau. (precision, gradient) are the reduced data's A and b at `current`, prior
    excluded; at most so many `rounds` of Newton's method (an inverse each). Raises IndefiniteError where A with the
    prior is not positive definite at the given tau.
    """
    scatter = np.array(np.broadcast_to(np.asarray(held, float), np.shape(tau)))
    off = np.asarray(current) - np.asarray(prior_mean)
    with threads_for(len(off)):
        evidence = Evidence.of(precision, gradient, off, index, ln_sigma_sd, scatter)
        learned = evidence.learned
        ln_tau, found = evidence.maximum(
            np.log(np.asarray(tau)[learned]), power=1.0, least=LEAST_SCATTER, rounds=rounds
        )
        step, covariance = evidence.held.together(found.step, found.covariance)
    scatter[learned] = np.exp(ln_tau)
    return Posterior(jnp.asarray(current) + step, jnp.asarray(covariance), jnp.asarray(scatter))


def prior_sd(tau: Float[Array, " group"], index: Int[Array, " line"]) -> Float[Array, " line"]:
    """Prior standard deviation of every correction, mu's included."""
    return jnp.sqrt(tau[index] ** 2 + MEAN_SD**2)


def log_prior(delta, tau, index) -> Float[Array, ""]:
    """log prior density of the corrections given tau, up to a constant in delta."""
    return -0.5 * delta @ prior_precision(tau, index) @ delta


def log_evidence(
    reduced: Reduced, off: Float[Array, " shared"], prior: Float[Array, "shared shared"], half_log_det: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, " shared"], Float[Array, "shared shared"]]:
    """log p(spectra) with the shared parameters integrated out (up to a constant), their step to its mean from the
    point of the linearisation, and the lower Cholesky factor of their precision.

    `off`: the point less the prior mean; `half_log_det` that of the prior precision.
    """
    factor = jnp.linalg.cholesky(reduced.precision + prior)
    pull = reduced.gradient - prior @ off
    step = cho_solve((factor, True), pull)
    value = 0.5 * pull @ step - jnp.sum(jnp.log(jnp.diag(factor))) + half_log_det - 0.5 * off @ prior @ off
    return value, step, factor
