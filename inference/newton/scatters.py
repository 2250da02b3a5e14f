"""The scatters of the groups are known only so well: the posterior of the shared parameters with them integrated over.

At the scatters' most probable values the corrections of a group of which the spectra say little get errors as short
(or as long) as that one guess. With the corrections integrated out (`evidence`), what is left has as many dimensions
as groups: it is drawn from (`proposal`), the draws weighted to the true density, the weights truncated (Ionides 2008,
J. Comp. Graph. Stat. 17, 295). Fewer draws, weighted likewise, carry the posterior, which is their mixture: its
covariance is the mean of the covariances and the covariance of the means.
"""

import time
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from astrogf.inference.newton import groups as hyper
from astrogf.inference.newton.evidence import Evidence
from astrogf.inference.newton.joint import Joint, SharedPrior
from astrogf.inference.newton.lapack import threads_for
from astrogf.inference.newton.proposal import Proposal
from astrogf.inference.newton.stars import bounded_step, keep_physical
from astrogf.inference.problem.arrow import substitute

DRAWS, MOST_DRAWS, MANY_LINES = 32, 512, 1700
"""Draws that give the scatters (a Cholesky factor each), for every group, and at most. Beyond so many lines they become
fewer, for each costs the cube of the number."""
CARRYING, MOST_CARRYING = 64, 512
"""Draws that carry the posterior (an inverse each): no fewer, and no more."""
CARRIED_LINES = 128 * 1200
"""Between the two, lines times draws that carry the posterior."""


def _weighted(evidence: Evidence, ln_tau: Float[np.ndarray, "draw group"], log_density: Float[np.ndarray, " draw"]):
    """Draws of a proposal with weights of sum 1, truncated; those whose evidence is not finite have none."""
    ln_weight = evidence.values(ln_tau) - log_density
    finite = np.isfinite(ln_weight)
    if not finite.any():
        raise FloatingPointError("the probability of the scatters is not finite anywhere near its maximum")
    weight = np.zeros(len(finite))
    weight[finite] = np.exp(ln_weight[finite] - ln_weight[finite].max())
    weight = np.minimum(weight, weight.mean() * np.sqrt(len(weight)))
    return ln_tau, weight / weight.sum()


def integrate(
    evidence: Evidence,
    current: Float[Array, " shared"],
    tau: Float[Array, " group"],
    *,
    seed: int = 0,
    draws: int | None = None,
    kept: int | None = None,
) -> tuple[hyper.Posterior, float]:
    """Posterior of the shared parameters with the scatters integrated over, and of how many draws it effectively is.

    `current`: the point of (A, b); `tau`: the scatters that are held, and where the search for the others begins;
    `draws`: by the number of groups; `kept`, how many carry the posterior: by the number of lines. The posterior's
    `tau` is their rms. Draws whose evidence is not finite (a matrix of very many lines that rounding has made
    indefinite) do not count; raises FloatingPointError where none is.
    """
    begin, learned = np.asarray(tau, float), evidence.learned
    if draws is None:
        fewer = min(1.0, (MANY_LINES / (len(evidence.member) + 1)) ** 2)
        draws = max(int(fewer * min(DRAWS * len(learned), MOST_DRAWS)), CARRYING)
    if kept is None:
        kept = int(np.clip(CARRIED_LINES / (len(evidence.member) + 1), CARRYING, MOST_CARRYING))
    pairs = (draws // 2, kept // 2) if len(learned) else (1, 1)
    rng = np.random.default_rng(seed)
    with threads_for(len(evidence.gradient)):
        mode, found = evidence.maximum(np.log(begin[learned]))
        proposal = Proposal.about(evidence, mode, found)
        (drawn, weight), carrying = (_weighted(evidence, *proposal.draw(rng, n)) for n in pairs)
        step, covariance = evidence.held.together(*evidence.mixture(*carrying))
    scatter = np.tile(begin, (len(drawn), 1))
    scatter[:, learned] = np.exp(drawn)
    rms = np.sqrt(weight @ scatter**2)
    sd = np.sqrt(weight @ (scatter - weight @ scatter) ** 2)
    posterior = hyper.Posterior(current + step, jnp.asarray(covariance), jnp.asarray(rms), jnp.asarray(sd))
    return posterior, float(1.0 / np.sum(weight**2))


def over_scatters(joint: Joint, prior: SharedPrior, groups: hyper.Groups) -> Joint:
    """The joint fit with the posterior that the scatters' uncertainty leaves: corrections, and labels moved along.

    The models and (A, b) stay those of the joint maximum. Where the integral is not finite the fit comes back as it
    was, and its status says so.
    """
    began = time.perf_counter()
    run, passed = joint.run, joint.passed
    try:
        evidence = Evidence.of(*passed.reduced, run.shared - prior.mean, prior.group, prior.ln_sigma_sd, groups.held)
        posterior, effective = integrate(evidence, run.shared, joint.posterior.tau)
    except FloatingPointError as error:
        run.trace.append({"stage": "scatters", "status": str(error), "seconds": time.perf_counter() - began})
        return joint._replace(status=f"{joint.status}; scatters not integrated over: {error}")
    step = bounded_step(jax.vmap(substitute, in_axes=(0, None))(passed.star, posterior.mean - run.shared))
    run.trace.append({"stage": "scatters", "effective_draws": effective, "seconds": time.perf_counter() - began})
    return joint._replace(run=replace(run, theta=keep_physical(run.theta + step)), posterior=posterior)
