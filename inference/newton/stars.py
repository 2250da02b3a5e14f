"""Every star on its own: damped Gauss-Newton with the line list as it is, and the survey's shared resolution."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from astrogf.inference.checkpoint import NOWHERE, Checkpoint
from astrogf.inference.newton.drift import Drift
from astrogf.inference.newton.learned_noise import learn, noise_summary
from astrogf.inference.newton.passed import Pass
from astrogf.inference.newton.sweep import sweep
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.parameters import limits, lsf_sigma, max_steps, steps
from astrogf.inference.problem.spectra import Noise, Sample

Progress = Callable[[str, int, int], None]
MOST = 0.9
"""Of the stars: when so many have arrived, a survey's fit of each on its own goes on to the joint one."""


def bounded_step(own_step: Float[Array | np.ndarray, "star own"]) -> Float[Array, "star own"]:
    """A step of the stars' parameters in physical units, each within its largest move."""
    n = own_step.shape[1]
    return jnp.clip(jnp.nan_to_num(own_step * steps(n)), -max_steps(n), max_steps(n))


def uphill(own_step: Float[Array | np.ndarray, "star own"]) -> Float[Array, "star own"]:
    """A step in physical units, shortened as a whole so that no parameter makes more than its largest move: with each
    cut by itself (`bounded_step`) it may lead downhill however short it is made then, and a star stalls."""
    n = own_step.shape[1]
    step = jnp.nan_to_num(own_step * steps(n))
    farthest = jnp.max(jnp.abs(step) / max_steps(n), axis=1, keepdims=True)
    return step / jnp.maximum(farthest, 1.0)


def keep_physical(theta: Float[Array, "star own"]) -> Float[Array, "star own"]:
    """Parameters within the hard limits."""
    return jnp.clip(theta, *limits(theta.shape[1]))


@dataclass
class FitState:
    """State of the iteration, and its trace. `drift`: slopes of the lines with temperature, if they have some."""

    theta: Float[Array, "star own"]
    shared: Float[Array, " shared"]
    noise: Noise
    trace: list[dict] = field(default_factory=list)
    drift: Drift | None = None


class _Between(NamedTuple):
    """All that the next iteration starts from: how many there were, whether they were the last, where the stars are to
    be linearised, and the best so far of each."""

    iteration: int
    finished: bool
    theta: Float[Array, "star own"]
    best_theta: Float[Array, "star own"]
    damping: Float[Array, " star"]
    shrink: Float[Array, " star"]
    best: Float[Array, " star"]
    shared: Float[Array, " shared"]
    noise: Noise
    best_pass: Pass | None
    trace: list[dict]

    @classmethod
    def start(cls, run: FitState) -> "_Between":
        n = run.theta.shape[0]
        damping, shrink, best = jnp.full(n, 1e-2), jnp.ones(n), jnp.full(n, -jnp.inf)
        return cls(0, False, run.theta, run.theta, damping, shrink, best, run.shared, run.noise, None, run.trace)


def fit_stars(
    sample: Sample,
    run: FitState,
    options: FitOptions,
    *,
    free: bool = True,
    iterations: int | None = None,
    tolerance: float | None = None,
    stage: str = "stars",
    progress: Progress = lambda *_: None,
    share: float = MOST,
    checkpoint: Checkpoint = NOWHERE,
) -> tuple[FitState, Pass]:
    """Every star on its own with the list as it is (slopes of the lines held); only the survey's ln_sigma is shared.

    Each star accepts or rejects its own steps; a rejected one is tried again, shorter. Stops when the steps of a
    `share` of the stars are below `tolerance` posterior sd, or after so many `iterations`; both are the options' if not
    given. With a share below 1 the others may be left far from their maximum. It goes on from what `checkpoint` has of
    the `stage`.
    """
    now: _Between = checkpoint.load(stage) or _Between.start(run)
    run.trace[:] = now.trace
    _, finished, theta, best_theta, damping, shrink, best, shared, noise_model, best_pass, _ = now
    prior_mean, prior_sd = float(lsf_sigma(options.stars.resolution)), options.stars.ln_resolution_sd
    iterations = options.solver.star_iterations if iterations is None else iterations
    tolerance = options.solver.tolerance if tolerance is None else tolerance
    for it in range(now.iteration, iterations):
        if finished:
            break
        began = time.perf_counter()
        passed = sweep(
            sample, theta, shared, noise_model, damping=damping, chunk=options.solver.chunk,
            last=None if best_pass is None else best_pass.blocks, drift=run.drift,
            progress=partial(progress, f"{stage}: pass {it + 1}"),
        )  # fmt: skip
        better = passed.log_posterior >= best - 1e-6
        best_theta = jnp.where(better[:, None], theta, best_theta)
        best = jnp.where(better, passed.log_posterior, best)
        best_pass = passed if best_pass is None else passed.keeping(sample, np.asarray(better), best_pass)
        damping = jnp.maximum(damping / 5.0, 1e-6)
        # lengthened again by and by: where a whole step leads too far once, it often does so the next time
        shrink = jnp.where(better, jnp.minimum(2.0 * shrink, 1.0), 0.3 * shrink)
        precision = passed.reduced.precision[-1, -1] + prior_sd**-2
        move = (passed.reduced.gradient[-1] - (shared[-1] - prior_mean) / prior_sd**2) / precision
        shared_step = jnp.zeros_like(shared).at[-1].set(jnp.clip(move, -0.1, 0.1) if free else 0.0)
        step = uphill(best_pass.own_step(shared_step))
        # of the whole step: a short one says nothing of how near the maximum is
        size = jnp.max(jnp.abs(step) / steps(theta.shape[1]) / best_pass.own_sd, 1)
        largest = float(jnp.percentile(size, 100.0 * share))
        run.trace.append(
            {"stage": stage, "iteration": it + 1, "log_posterior": float(jnp.sum(best)), "accepted": int(better.sum()),
             "largest_step_sd": largest, **noise_summary(noise_model), "ln_sigma": float(shared[-1]),
             "seconds": time.perf_counter() - began}
        )  # fmt: skip
        finished = it + 1 == iterations or (it > 1 and largest < tolerance)
        if not finished:
            theta = keep_physical(best_theta + step * shrink[:, None])
        if free and not finished:
            shared = shared + shared_step
            if options.noise.inflation is None and it >= 1:
                noise_model = learn(sample, best_pass, options)
                best = jnp.full_like(best, -jnp.inf)
        checkpoint.save(
            stage,
            _Between(
                it + 1, finished, theta, best_theta, damping, shrink, best, shared, noise_model, best_pass, run.trace
            ),
        )
    assert best_pass is not None  # there is at least one iteration
    return FitState(best_theta, shared, noise_model, run.trace, run.drift), best_pass
