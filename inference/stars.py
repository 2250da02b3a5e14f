"""Every star on its own: damped Gauss-Newton with the line list as it is, and the survey's shared resolution."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from inference.arrow import substitute
from inference.noise import NoiseModel, learn_noise
from inference.options import FitOptions
from inference.parameters import MAX_STEP, STAR, STEP, lsf_sigma
from inference.star import StarData, StarProblem
from inference.sweep import SUMS, Pass, sweep

Progress = Callable[[str, int, int], None]


def bounded_step(own_step: Float[Array, "star own"]) -> Float[Array, "star star_parameter"]:
    """A step of the stars' parameters in physical units, each within MAX_STEP."""
    step = own_step[:, : len(STAR)] * STEP
    return jnp.clip(jnp.nan_to_num(step), -MAX_STEP, MAX_STEP)


def keep_physical(theta: Float[Array, "star star_parameter"]) -> Float[Array, "star star_parameter"]:
    """Hard limits that only guard the iteration; priors and the emulator's wall act long before."""
    low = jnp.array([3400.0, -0.5, -4.2, -0.3, 0.1, jnp.log(10.0), -1500.0])
    high = jnp.array([8200.0, 5.6, 0.9, 0.7, 4.0, jnp.log(200.0), 1500.0])
    return jnp.clip(theta, low, high)


@dataclass
class Run:
    """State of the iteration, and its trace. `release` numbers the survey release of every star, for its noise."""

    theta: Float[Array, "star star_parameter"]
    shared: Float[Array, " shared"]
    noise: NoiseModel
    release: Int[np.ndarray, " star"]
    trace: list[dict] = field(default_factory=list)


def own_freedom(problem: StarProblem) -> float:
    """Parameters that the pixels of one star determine: labels, broadening, velocity, continuum."""
    return len(STAR) + problem.basis.shape[1]


def noise_summary(model: NoiseModel) -> dict[str, float]:
    """For the trace: medians over the stars."""
    return {"noise_scale": float(jnp.median(model.scale)), "inflation": float(jnp.median(model.inflation))}


def _keep_better(better: Bool[Array, " star"], new: Pass, old: Pass) -> Pass:
    """Each star's block from the pass in which it fitted best; sums from the new one."""

    def pick(a, b):
        return jnp.where(better.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return Pass(new.reduced, new.information, *jax.tree.map(pick, new[SUMS:], old[SUMS:]))


def fit_stars(
    problem: StarProblem,
    data: StarData,
    run: Run,
    options: FitOptions,
    *,
    learn: bool = True,
    iterations: int | None = None,
    stage: str = "stars",
    progress: Progress = lambda *_: None,
) -> tuple[Run, Pass]:
    """Every star on its own with the list as it is; only the survey's ln_sigma is shared.

    Each star accepts or rejects its own steps; a rejected one is tried again, shorter. Stops when steps are small.
    """  # fmt: skip
    theta, best_theta = run.theta, run.theta
    damping, shrink = jnp.full(theta.shape[0], 1e-2), jnp.ones(theta.shape[0])
    best = jnp.full(theta.shape[0], -jnp.inf)
    prior_mean, prior_sd = float(lsf_sigma(options.resolution)), options.resolution_sd / options.resolution
    shared, noise_model = run.shared, run.noise
    best_pass: Pass | None = None
    iterations = options.star_iterations if iterations is None else iterations
    for it in range(iterations):
        began = time.perf_counter()
        passed = sweep(
            problem, data, theta, shared, noise_model, damping=damping, chunk=options.chunk,
            progress=partial(progress, f"{stage}: pass {it + 1}"),
        )  # fmt: skip
        better = passed.log_posterior >= best - 1e-6
        best_theta = jnp.where(better[:, None], theta, best_theta)
        best = jnp.where(better, passed.log_posterior, best)
        best_pass = passed if best_pass is None else _keep_better(better, passed, best_pass)
        damping, shrink = jnp.maximum(damping / 5.0, 1e-6), jnp.where(better, 1.0, 0.3 * shrink)
        precision = passed.reduced.precision[-1, -1] + prior_sd**-2
        move = (passed.reduced.gradient[-1] - (shared[-1] - prior_mean) / prior_sd**2) / precision
        shared_step = jnp.zeros_like(shared).at[-1].set(jnp.clip(move, -0.1, 0.1) if learn else 0.0)
        own = jax.vmap(substitute, in_axes=(0, None))(best_pass.star, shared_step)
        step = bounded_step(own) * shrink[:, None]
        size = jnp.max(
            jnp.abs(step) / STEP / jnp.sqrt(jnp.abs(jnp.diagonal(best_pass.star.covariance, 0, 1, 2)[:, :7])),
            1,
        )
        run.trace.append(
            {"stage": stage, "iteration": it + 1, "log_posterior": float(jnp.sum(best)), "accepted": int(better.sum()),
             "largest_step_sd": float(jnp.median(size)), **noise_summary(noise_model), "ln_sigma": float(shared[-1]),
             "seconds": time.perf_counter() - began}
        )  # fmt: skip
        if it + 1 == iterations or (it > 1 and float(jnp.percentile(size, 90)) < options.tolerance):
            break
        theta = keep_physical(best_theta + step)
        if learn:
            shared = shared + shared_step
            if options.inflation is None and it >= 1:
                noise_model = learn_noise(data.flux, data.ivar, best_pass.model, run.release, own_freedom(problem))
                best = jnp.full_like(best, -jnp.inf)
    assert best_pass is not None  # there is at least one iteration
    return Run(best_theta, shared, noise_model, run.release, run.trace), best_pass
