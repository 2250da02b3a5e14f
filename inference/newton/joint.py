"""Stars and log gf together: block-arrow Gauss-Newton, with the scatter of every group of lines learned on the way."""

import time
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from astrogf.inference.newton import groups as hyper
from astrogf.inference.newton.learned_noise import learn, noise_summary
from astrogf.inference.newton.misfit import with_misfit
from astrogf.inference.newton.stars import FitState, Progress, bounded_step, keep_physical
from astrogf.inference.newton.sweep import Pass, sweep
from astrogf.inference.problem.arrow import substitute
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.parameters import lsf_sigma, steps
from astrogf.inference.problem.spectra import Sample

NOISE_ROUNDS = 3
"""The noise is learned in this many iterations and then held, so that the objective is one function."""
MISFIT = range(2, 5)
"""Iterations in which the errors by wavelength are learned: only near the end do stacked residuals mean something."""


class SharedPrior(NamedTuple):
    """Prior of the shared parameters: corrections (mean and scatter by group), then the survey's ln_sigma."""

    mean: Float[Array, " shared"]
    ln_sigma_sd: Float[Array, ""]
    group: Float[Array, " line"]

    @classmethod
    def of(cls, groups: hyper.Groups, options: FitOptions) -> "SharedPrior":
        """What the options say."""
        mean = jnp.append(jnp.asarray(groups.line_mean), lsf_sigma(options.stars.resolution))
        return cls(mean, jnp.asarray(options.stars.ln_resolution_sd), jnp.asarray(groups.member))

    def log_density(self, shared: Float[Array, " shared"], tau: Float[Array, " group"]) -> float:
        """Up to a constant in `shared`."""
        lines = hyper.log_prior(shared[:-1] - self.mean[:-1], tau, self.group)
        return float(lines - 0.5 * ((shared[-1] - self.mean[-1]) / self.ln_sigma_sd) ** 2)


def determined(posterior: hyper.Posterior, prior: SharedPrior) -> float:
    """How many of the shared parameters the data determine rather than the prior: n - trace(prior precision x cov)."""
    precision = hyper.shared_precision(posterior.tau, prior.group, prior.ln_sigma_sd)
    return len(posterior.mean) - float(jnp.sum(precision * posterior.covariance))


class Joint(NamedTuple):
    """End of a joint fit; `passed` was linearised at (`run.theta`, `run.shared`), undamped."""

    run: FitState
    passed: Pass
    posterior: hyper.Posterior
    status: str


def fit_joint(
    sample: Sample,
    run: FitState,
    groups: hyper.Groups,
    options: FitOptions,
    progress: Progress = lambda *_: None,
    name: str = "joint",
) -> Joint:
    """Iterate to the joint maximum from `run`; a step that does not improve is halved and taken from the last point.

    The noise is learned in the first NOISE_ROUNDS, with `options.noise.misfit` until the end of MISFIT.
    """
    prior = SharedPrior.of(groups, options)
    tau = jnp.where(jnp.isnan(groups.held), options.lines.prior_sd, groups.held)
    theta, shared, noise_model = run.theta, run.shared, run.noise
    kept: tuple[Pass, Array, Array, float] | None = None
    deviation: tuple[Float[np.ndarray, "row deviating"], ...] | None = None
    shrink, status = 1.0, "max_iterations"
    for it in range(options.solver.joint_iterations):
        began = time.perf_counter()
        label = f"{name} fit, iteration {it + 1}"
        passed = sweep(
            sample, theta, shared, noise_model, deviation=deviation, chunk=options.solver.chunk,
            progress=partial(progress, label),
        )  # fmt: skip
        value = float(np.sum(passed.log_posterior[np.isfinite(passed.log_posterior)]))
        total = value + prior.log_density(shared, tau)
        accepted = kept is None or total >= kept[3] + prior.log_density(kept[2], tau) - 1e-7 * abs(total)
        if accepted:
            kept, shrink = (passed, theta, shared, value), 1.0
        else:
            shrink *= 0.4
            passed, theta, shared, value = kept  # type: ignore[misc]
        deviation = passed.deviation
        posterior = hyper.learn(
            passed.reduced.precision,
            passed.reduced.gradient,
            shared,
            prior.mean,
            prior.ln_sigma_sd,
            tau,
            prior.group,
            held=groups.held,
        )
        tau = posterior.tau
        shared_step = shrink * jnp.clip(posterior.mean - shared, -0.5, 0.5)
        step = shrink * bounded_step(jax.vmap(substitute, in_axes=(0, None))(passed.star, shared_step / shrink))
        shared_size = float(jnp.sqrt(jnp.mean(shared_step**2 / jnp.diag(posterior.covariance))))
        star_sd = jnp.sqrt(jnp.diagonal(passed.star.covariance, 0, 1, 2))
        star_size = float(jnp.percentile(jnp.max(jnp.abs(step) / steps(step.shape[1]) / star_sd, axis=1), 90))
        run.trace.append(
            {"stage": name, "iteration": it + 1, "objective": total, "accepted": bool(accepted),
             "shared_step_sd": shared_size, "star_step_sd": star_size, **noise_summary(noise_model),
             "ln_sigma": float(shared[-1]), "tau": [round(float(x), 4) for x in tau],
             "line_scatter_suggested": float(np.median(np.concatenate([rows.scatter for rows in passed.rows]))),
             "seconds": time.perf_counter() - began}
        )  # fmt: skip
        if accepted and shared_size < options.solver.tolerance and star_size < 3 * options.solver.tolerance:
            status = "converged"
            break
        if it + 1 == options.solver.joint_iterations:
            break
        theta, shared = keep_physical(theta + step), shared + shared_step
        if options.noise.inflation is None and it < (MISFIT.stop if options.noise.misfit else NOISE_ROUNDS):
            n_row = sum(len(p.star) for p in sample.windows)
            local = tuple(jnp.asarray(n.local) for n in noise_model)
            noise_model, kept = learn(sample, passed, options, determined(posterior, prior) / n_row, local), None
        if options.noise.misfit and it in MISFIT:
            noise_model, kept = with_misfit(sample, passed, theta, noise_model), None
    assert kept is not None
    passed, theta, shared, _ = kept
    return Joint(FitState(theta, shared, noise_model, run.trace), passed, posterior, status)
