"""Stars and log gf together: block-arrow Gauss-Newton, with the widths of every group's prior learned on the way."""

import time
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from astrogf.inference.blocks.shelf import Kept
from astrogf.inference.checkpoint import NOWHERE, Checkpoint
from astrogf.inference.newton.drift import Drift, SlopePrior, loading
from astrogf.inference.newton.gaps import blends_of
from astrogf.inference.newton.learned_noise import learn, noise_summary
from astrogf.inference.newton.misfit import with_misfit
from astrogf.inference.newton.pace import paced
from astrogf.inference.newton.passed import Pass
from astrogf.inference.newton.stars import FitState, Progress, bounded_step, keep_physical
from astrogf.inference.newton.sweep import sweep
from astrogf.inference.newton.told import Told
from astrogf.inference.prior import groups as hyper
from astrogf.inference.prior.blends import Blends
from astrogf.inference.prior.conditional import System
from astrogf.inference.prior.means import Means
from astrogf.inference.prior.widths import Belief, Widths
from astrogf.inference.problem.arrow import Reduced
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.parameters import lsf_sigma, steps
from astrogf.inference.problem.spectra import Noise, Sample

NOISE_ROUNDS = 3
"""The noise is learned in this many iterations and then held, so that the objective is one function."""
MISFIT = range(2, 5)
"""Iterations in which the errors by wavelength are learned, and what missing lines make of listed ones: only near the
end do residuals mean something."""


class SharedPrior(NamedTuple):
    """Prior of the shared parameters: corrections (mean, group, means of the species, and what is believed of the
    groups' widths), then the survey's ln_sigma; what other spectra have `told` of them; the `blends` of the lines
    where these are known; and whether what was told is `within` (A, b) already."""

    mean: Float[Array, " shared"]
    ln_sigma_sd: Float[Array, ""]
    group: Int[np.ndarray, " line"]
    means: Means
    belief: Belief
    told: Told | None = None
    blends: Blends | None = None
    within: bool = False

    @classmethod
    def of(
        cls, groups: hyper.Groups, options: FitOptions, told: Told | None = None, blends: Blends | None = None
    ) -> "SharedPrior":
        """What the options say. Where others have told of slopes too, and lines have some, passes take that along."""
        within = told is not None and told.slopes is not None and options.noise.line_drift > 0.0
        mean = jnp.append(jnp.asarray(groups.line_mean), lsf_sigma(options.stars.resolution))
        sd, error = jnp.asarray(options.stars.ln_resolution_sd), options.lines.model_error
        return cls(mean, sd, groups.member, groups.means(error), groups.belief(error), told, blends, within)

    def system(self, reduced: Reduced, shared: Float[Array, " shared"]) -> System:
        """(A, b) at a point with all of the prior but the widths of the lines'."""
        both, off = self.with_told(reduced, shared), shared - self.mean
        return System.of(*both, off, self.group, self.means, self.ln_sigma_sd, self.blends)

    def with_told(self, reduced: Reduced, shared: Float[Array, " shared"]) -> Reduced:
        """(A, b) at a point of the spectra at hand and the others."""
        if self.told is None or self.within:
            return reduced
        return self.told.with_these(reduced, np.asarray(shared))

    def log_density(self, shared: Float[Array, " shared"], learned: hyper.Learned) -> float:
        """Of the same and of the other spectra, up to a constant in `shared`."""
        off = np.asarray(shared - self.mean)
        lines = off[:-1] - learned.centre
        pull = hyper.LinesPrior(learned.weight, self.means).pull(lines)
        told = 0.0 if self.told is None or self.within else self.told.log_likelihood(np.asarray(shared))
        return float(-0.5 * (lines @ pull + (off[-1] / float(self.ln_sigma_sd)) ** 2)) + told

    def learned(
        self, reduced: Reduced, shared: Float[Array, " shared"], begin: hyper.Learned
    ) -> tuple[hyper.Learned, hyper.Posterior]:
        """Widths and classes brought from where they are to what (A, b) at a point make most probable, and the
        posterior there."""
        learned, step, covariance = hyper.learn(self.system(reduced, shared), self.belief, begin)
        n = len(shared)
        posterior = hyper.Posterior(
            shared + step[:n], jnp.asarray(covariance[:n, :n]), learned.weight, Widths.at(learned.place)
        )
        return learned, posterior


def determined(passed: Pass, posterior: hyper.Posterior, prior: SharedPrior, drift: Drift | None) -> float:
    """How many of the shared parameters and the slopes the data at hand determine rather than the prior and what others
    have told: n - trace(precision of these x cov)."""
    covariance, n = passed.whole_covariance(posterior.covariance), len(posterior.mean)
    left = hyper.LinesPrior(posterior.weight, prior.means).left_of(covariance[: n - 1, : n - 1])
    left += covariance[n - 1, n - 1] / float(prior.ln_sigma_sd) ** 2
    if len(covariance) > n and drift is not None and drift.prior is not None:
        left += drift.prior.left_of(covariance[n:, n:])
    # of slopes, too, where others have told of them
    told = drift.told if prior.within and drift is not None else prior.told
    if told is not None:
        left += float(np.vdot(told.precision, covariance[: len(told.point), : len(told.point)]))
    return len(covariance) - left


class Joint(NamedTuple):
    """End of a joint fit; `passed` was linearised at (`run.theta`, `run.shared`), undamped; `learned` is where the
    widths of the prior were found, with these `blends`."""

    run: FitState
    passed: Pass
    posterior: hyper.Posterior
    learned: hyper.Learned
    status: str
    blends: Blends | None = None


class _Between(NamedTuple):
    """All that the next iteration starts from: how many there were, where it linearises, and the last point that was
    good: its pass, its place and its log posterior, the prior of the shared parameters left out; `last`: the blocks of
    the pass at whose deviations of lines it linearises; `whole`, `pace`: the shared parameters' last step, and the part
    of it that was made."""

    iteration: int
    theta: Float[Array, "star own"]
    shared: Float[Array, " shared"]
    noise: Noise
    kept: tuple[Pass, Array, Array, Drift | None, float] | None
    last: tuple[Kept, ...] | None
    shrink: float
    whole: np.ndarray
    pace: np.ndarray
    learned: hyper.Learned
    blends: Blends | None
    drift: Drift | None
    trace: list[dict]


def fit_joint(
    sample: Sample,
    run: FitState,
    groups: hyper.Groups,
    options: FitOptions,
    progress: Progress = lambda *_: None,
    name: str = "joint",
    checkpoint: Checkpoint = NOWHERE,
    told: Told | None = None,
) -> Joint:
    """Iterate to the joint maximum from `run`; a step that does not improve is halved and taken from the last point.

    `told`: what other spectra have said of the shared parameters. With `options.lines.blends` the blends are learned
    until the end of MISFIT. The noise is learned in the first NOISE_ROUNDS, with `options.noise.misfit` until the end
    of MISFIT. With `options.noise.line_drift` every line has a slope with the temperatures at which `run` begins. It
    goes on from what `checkpoint` has of the stage `name`.
    """
    blends = None if told is None else told.blends
    prior = SharedPrior.of(groups, options, told, blends)
    keep = ("continuum",) * (options.solver.method in ("laplace", "nuts")) + ("sight",) * options.lines.blends
    learned, n = hyper.Learned.start(prior.belief, prior.group), len(run.shared)
    now: _Between | Joint = checkpoint.load(name) or _Between(
        0,
        run.theta,
        run.shared,
        run.noise,
        None,
        None,
        1.0,
        np.zeros(n),
        np.ones(n),
        learned,
        blends,
        begun_drift(run, groups, options, told),
        run.trace,
    )
    if isinstance(now, Joint):
        run.trace[:] = now.run.trace
        return now._replace(run=replace(now.run, trace=run.trace))
    run.trace[:] = now.trace
    first, theta, shared, noise_model, kept, last, shrink, whole, pace, learned, blends, drift, _ = now
    prior = prior._replace(blends=blends)
    status = "max_iterations"
    for it in range(first, options.solver.joint_iterations):
        began = time.perf_counter()
        label = f"{name} fit, iteration {it + 1}"
        passed = sweep(
            sample, theta, shared, noise_model, last=last, chunk=options.solver.chunk,
            keep=keep, drift=drift, progress=partial(progress, label),
        )  # fmt: skip
        value = float(np.sum(passed.log_posterior[np.isfinite(passed.log_posterior)]))
        value += 0.0 if drift is None else drift.log_density(np.asarray(shared))
        total = value + prior.log_density(shared, learned)
        best = -np.inf if kept is None else kept[4] + prior.log_density(kept[2], learned)
        accepted = total >= best - 1e-7 * abs(total)
        if accepted:
            kept, shrink = (passed, theta, shared, drift, value), 1.0
        else:
            shrink *= 0.4
            passed, theta, shared, drift, value = kept  # type: ignore[misc]
        last = passed.blocks
        learned, posterior = prior.learned(passed.reduced, shared, learned)
        before, whole = whole, np.clip(posterior.mean - shared, -0.5, 0.5)
        pace = paced(pace, whole, before) if accepted else pace
        shared_step = shrink * pace * whole
        step = shrink * bounded_step(passed.own_step(shared_step / shrink))
        shared_size = shrink * float(jnp.sqrt(jnp.mean(whole**2 / jnp.diag(posterior.covariance))))
        steeper = np.zeros(0)
        if drift is not None:
            steeper = shrink * np.clip(passed.slope_step(shared_step / shrink), -0.5, 0.5)
        star_size = float(jnp.percentile(jnp.max(jnp.abs(step) / steps(step.shape[1]) / passed.own_sd, axis=1), 90))
        run.trace.append(
            {"stage": name, "iteration": it + 1, "objective": total, "accepted": bool(accepted),
             "shared_step_sd": shared_size, "star_step_sd": star_size, **noise_summary(noise_model),
             "ln_sigma": float(shared[-1]), **rounded(posterior.widths),
             "line_scatter_suggested": float(np.median(passed.scatter)),
             "seconds": time.perf_counter() - began}
        )  # fmt: skip
        if accepted and shared_size < options.solver.tolerance and star_size < 3 * options.solver.tolerance:
            status = "converged"
            break
        if it + 1 == options.solver.joint_iterations:
            break
        theta, shared = keep_physical(theta + step), shared + shared_step
        drift = None if drift is None else drift.moved(steeper)
        if options.noise.inflation is None and it < (MISFIT.stop if options.noise.misfit else NOISE_ROUNDS):
            n_row = sum(len(p.star) for p in sample.windows)
            local = tuple(n.local for n in noise_model)
            more = determined(passed, posterior, prior, drift)
            noise_model, kept = learn(sample, passed, options, more / n_row, local), None
        if options.noise.misfit and it in MISFIT:
            noise_model, kept = with_misfit(sample, passed, theta, noise_model), None
        if options.lines.blends and it in MISFIT:
            prior, kept = prior._replace(blends=blends_of(sample, passed, theta, noise_model, told)), None
        state = _Between(
            it + 1, theta, shared, noise_model, kept, last, shrink, whole, pace, learned, prior.blends, drift,
            run.trace,
        )  # fmt: skip
        checkpoint.save(name, state)
    assert kept is not None
    passed, theta, shared, drift, _ = kept
    joint = Joint(
        FitState(theta, shared, noise_model, run.trace, drift), passed, posterior, learned, status, prior.blends
    )
    checkpoint.save(name, joint)
    return joint


def begun_drift(run: FitState, groups: hyper.Groups, options: FitOptions, told: Told | None) -> Drift | None:
    """The slopes where others have left them, or none yet, in stars of the temperatures that they have; None where
    lines have none."""
    if options.noise.line_drift == 0.0:
        return None
    z, n = loading(np.asarray(run.theta)[:, 0]), len(run.shared) - 1
    both = None if told is None else told.slopes
    begin = np.zeros(n) if both is None else both.point[n + 1 :]
    prior = SlopePrior(options.noise.line_drift, options.noise.species_drift, groups.species)
    return Drift(z, begin, prior, both)


def rounded(widths: Widths) -> dict[str, list[float]]:
    """For the trace."""
    return {name: [round(float(x), 4) for x in values] for name, values in widths._asdict().items()}
