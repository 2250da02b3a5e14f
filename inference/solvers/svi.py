"""Stochastic natural-gradient variational inference: q of what all stars share moves after every minibatch of stars.

q is the Gaussian whose natural parameters are those of the prior, given its widths, plus sums over minibatches
(`minibatch.Quadratic`). A step visits one minibatch k: its stars move to their most probable values given q's mean, one
pass over them linearises there and eliminates them, and with K minibatches

    estimate = sum of what all last said + K (what k says now - what k last said),
    natural += rho (estimate - natural)

(stochastic natural gradients: Hoffman et al. 2013, JMLR 14, 1303; with derivatives at the mean of q: Khan & Nielsen
2018, arXiv 1807.04489). What was said last is a control variate, as in SAGA (Defazio, Bach & Lacoste-Julien 2014, arXiv
1407.0202): the estimate is unbiased with it or without, but without it q would keep a noise of about sqrt(rho K / 2)
posterior sd, that of the stars' own scatter, and tens of epochs would go into averaging that away. With rho = 1 / K,
which is what is used, natural is the sum of what all last said: q is at every step the posterior of the stars visited
so far, so that in the first epoch it never takes few stars for all.

Widths of the prior and classes of the lines follow q as in the joint fit by Gauss-Newton (`prior.groups.learn`): given
(A, b) they cost no pass over stars, and so are brought to what is most probable at every step rather than be
variational themselves; at the end they are integrated over.
"""

import time
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int

from astrogf.inference.blocks.shelf import Kept
from astrogf.inference.checkpoint import NOWHERE, Checkpoint
from astrogf.inference.newton.drift import Drift, folded
from astrogf.inference.newton.gaps import blends_of
from astrogf.inference.newton.joint import (
    MISFIT,
    NOISE_ROUNDS,
    Joint,
    SharedPrior,
    begun_drift,
    determined,
    rounded,
)
from astrogf.inference.newton.learned_noise import learn, noise_summary
from astrogf.inference.newton.misfit import with_misfit
from astrogf.inference.newton.passed import Pass
from astrogf.inference.newton.stars import FitState, Progress, bounded_step, keep_physical
from astrogf.inference.newton.sweep import sweep
from astrogf.inference.newton.told import Told
from astrogf.inference.prior import groups as hyper
from astrogf.inference.prior.blends import Blends
from astrogf.inference.prior.widths import Widths
from astrogf.inference.problem.arrow import Reduced, substitute
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.parameters import steps
from astrogf.inference.problem.spectra import Noise, Sample
from astrogf.inference.solvers.elbo import Variational, elbo
from astrogf.inference.solvers.minibatch import (
    Minibatch,
    Quadratic,
    dealt,
    own_steps,
    said_by,
    visited_at,
)

FARTHEST = 0.5
"""Dex: the most that a step moves a correction, or a slope."""


class Setting(NamedTuple):
    """What is the same in all steps: `batches` are the blocks of every minibatch, `origin` is the point that quadratics
    are about, `rho` the schedule of steps."""

    sample: Sample
    options: FitOptions
    told: Told | None
    batches: list[Int[np.ndarray, " block"]]
    origin: Float[np.ndarray, " whole"]
    rho: optax.Schedule
    keep: tuple[str, ...]
    chunk: int


class State(NamedTuple):
    """All that the next step starts from. Stars, and of each minibatch the point of what is shared (`at`), are where
    they were last linearised, `blocks` and `said` what that left; None where it has not been visited. `natural`: of q,
    without its prior; `total`: the sum of `said`. `ends`: the ELBO at the end of every epoch since the noise changed.
    """

    step: int
    theta: Float[np.ndarray, "star own"]
    shared: Float[np.ndarray, " shared"]
    drift: Drift | None
    noise: Noise
    natural: Quadratic
    total: Quadratic
    said: tuple[Kept | None, ...]
    at: Float[np.ndarray, "batch whole"]
    blocks: tuple[Kept | None, ...]
    learned: hyper.Learned
    blends: Blends | None
    ends: tuple[float, ...]
    settled: bool
    trace: list[dict]

    @property
    def point(self) -> Float[np.ndarray, " whole"]:
        """Shared parameters, and slopes with temperature."""
        return self.shared if self.drift is None else np.append(self.shared, self.drift.slope)


def started(run: FitState, setting: Setting, prior: SharedPrior, drift: Drift | None) -> State:
    """No star visited."""
    nothing, n_batch = Quadratic.nothing(len(setting.origin)), len(setting.batches)
    at = np.tile(setting.origin, (n_batch, 1))
    return State(
        0, np.asarray(run.theta), np.asarray(run.shared), drift, run.noise, nothing, nothing, (None,) * n_batch, at,
        (None,) * len(setting.sample.parts), hyper.Learned.start(prior.belief, prior.group), prior.blends, (), False,
        run.trace,
    )  # fmt: skip


class Seen(NamedTuple):
    """What a visit of a minibatch leaves: its stars where it linearised them (those that had no model there are back
    where they were), what they say, and their blocks."""

    theta: Float[np.ndarray, "star own"]
    said: Quadratic
    blocks: tuple[Kept, ...]


def visit(state: State, setting: Setting, k: int, mine: Minibatch, progress: Progress = lambda *_: None) -> Seen:
    """The stars of minibatch k moved to where the shared parameters now want them, and a pass over them."""
    before = theta = state.theta[mine.stars]
    known = [block for i in mine.blocks if (block := state.blocks[i]) is not None]
    if known:
        step = bounded_step(own_steps(known, state.point - state.at[k]))
        theta = np.asarray(keep_physical(jnp.asarray(before + np.asarray(step))))
    drift = mine.drift(state.drift)
    passed = sweep(
        mine.sample, jnp.asarray(theta), jnp.asarray(state.shared), mine.noise(state.noise),
        last=tuple(known) or None, chunk=setting.chunk, keep=setting.keep, drift=drift, of=setting.sample,
        progress=partial(progress, f"svi, step {state.step + 1}"),
    )  # fmt: skip
    finite = np.isfinite(passed.log_posterior)
    said = said_by(passed, drift, state.shared, state.point - setting.origin)
    return Seen(np.where(finite[:, None], theta, before), said, passed.blocks)


def stepped(state: State, setting: Setting, k: int, mine: Minibatch, seen: Seen) -> State:
    """The natural parameters after a visit of minibatch k; the point stays."""
    kept = state.said[k]
    new = seen.said if kept is None else seen.said.plus(kept.get(), -1.0)
    estimate = state.total.plus(new, len(setting.batches))
    natural = state.natural.plus(estimate.plus(state.natural, -1.0), float(setting.rho(state.step)))
    theta, at, blocks, said = state.theta.copy(), state.at.copy(), list(state.blocks), list(state.said)
    theta[mine.stars], at[k] = seen.theta, state.point
    said[k] = setting.sample.work.shelf.put(seen.said)
    for i, block in zip(mine.blocks, seen.blocks, strict=True):
        blocks[i] = block
    return state._replace(
        step=state.step + 1, theta=theta, natural=natural, total=state.total.plus(new), said=tuple(said), at=at,
        blocks=tuple(blocks),
    )  # fmt: skip


def inferred(state: State, setting: Setting, prior: SharedPrior) -> tuple[Variational, Reduced]:
    """q from its natural parameters, the widths of its prior learned from where they were; and these at the point, the
    slopes marginalised."""
    reduced, slopes = state.natural.at(state.point - setting.origin), None
    if state.drift is not None:
        reduced, slopes = folded(reduced, state.drift, state.shared)
    system = prior.system(reduced, jnp.asarray(state.shared))
    learned, step, covariance = hyper.learn(system, prior.belief, state.learned)
    return Variational(system, step, covariance, learned, slopes), reduced


def moved(state: State, q: Variational) -> State:
    """The point at q's mean, or nearer where that is far."""
    step = np.clip(q.step[: len(state.shared)], -FARTHEST, FARTHEST)
    drift = state.drift
    if drift is not None and q.slopes is not None:
        drift = drift.moved(np.clip(np.asarray(substitute(q.slopes, step)), -FARTHEST, FARTHEST))
    return state._replace(shared=state.shared + step, drift=drift, learned=q.learned)


def with_noise(state: State, setting: Setting, q: Variational, reduced: Reduced, prior: SharedPrior) -> State:
    """After an epoch: what is learned from the residuals of all stars as they were last visited, as by the joint fit
    after as many iterations. What stars said under other noise is replaced in the epoch that follows."""
    sample, options, noise, blends = setting.sample, setting.options, state.noise, state.blends
    epoch, changed, none = state.step // len(setting.batches) - 1, False, np.zeros(0)
    blocks = tuple(block for block in state.blocks if block is not None)
    latest = Pass(reduced, none, none, none, none, blocks, q.slopes)
    if options.noise.inflation is None and epoch < (MISFIT.stop if options.noise.misfit else NOISE_ROUNDS):
        n, rows = len(state.shared), sum(len(w.star) for w in sample.windows)
        covariance = jnp.asarray(q.covariance[:n, :n])
        posterior = hyper.Posterior(state.shared, covariance, q.learned.weight, Widths.at(q.learned.place))  # type: ignore[arg-type]
        more = determined(latest, posterior, prior, state.drift)
        noise, changed = learn(sample, latest, options, more / rows, tuple(n.local for n in noise)), True
    if options.noise.misfit and epoch in MISFIT:
        noise, changed = with_misfit(sample, latest, jnp.asarray(state.theta), noise), True
    if options.lines.blends and epoch in MISFIT:
        blends, changed = blends_of(sample, latest, state.theta, noise, setting.told), True
    return state._replace(noise=noise, blends=blends, ends=() if changed else state.ends)


def settled(ends: tuple[float, ...], n: int, tolerance: float) -> bool:
    """Whether an epoch changed the ELBO by less than a displacement of all `n` shared parameters by `tolerance`
    posterior sd does."""
    return len(ends) > 1 and abs(ends[-1] - ends[-2]) < 0.5 * n * tolerance**2


def fit_svi(
    sample: Sample,
    run: FitState,
    groups: hyper.Groups,
    options: FitOptions,
    progress: Progress = lambda *_: None,
    name: str = "joint",
    checkpoint: Checkpoint = NOWHERE,
    told: Told | None = None,
    rho: optax.Schedule | None = None,
) -> Joint:
    """q of what all stars share, from `run`, and every star at its most probable values given q's mean.

    Arguments and result as of `newton.joint.fit_joint`. Minibatches are blocks of the sample: one that is a single
    block has one, and every step is an iteration of Gauss-Newton. `options.solver.joint_iterations` epochs at most;
    noise, misfit and blends are learned after as many epochs as the joint fit has iterations for them. `rho`: step
    size by step number, in (0, 1 / number of minibatches]; that largest one is the best where the stars do not change.
    In the end one pass over all stars makes (A, b) of one point; 'converged' is where q's mean is then within
    `tolerance` sd of it. The state is saved after every step, and the fit goes on from it.
    """
    drift, prior = begun_drift(run, groups, options, told), SharedPrior.of(groups, options, told, told and told.blends)
    shared = np.asarray(run.shared)
    origin = shared if drift is None else np.append(shared, drift.slope)
    n_batch = max(1, round(sample.n_star / options.solver.stars_a_step(sample.n_star)))
    batches = dealt(len(sample.parts), n_batch, options.solver.seed)
    largest = max(part.stars.stop - part.stars.start for part in sample.parts)
    keep = ("sight",) * options.lines.blends
    setting = Setting(
        sample, options, told, batches, origin, rho or optax.constant_schedule(1.0 / len(batches)), keep,
        min(options.solver.chunk, largest),
    )  # fmt: skip
    kept = checkpoint.load(name)
    if isinstance(kept, Joint):
        run.trace[:] = kept.run.trace
        return kept._replace(run=replace(kept.run, trace=run.trace))
    state: State = kept or started(run, setting, prior, drift)
    run.trace[:] = state.trace
    state = state._replace(trace=run.trace)
    while not state.settled and state.step < options.solver.joint_iterations * len(batches):
        state = one_step(state, setting, prior._replace(blends=state.blends), progress)
        checkpoint.save(name, state)
    joint = ended(state, setting, prior._replace(blends=state.blends), name, progress)
    checkpoint.save(name, joint)
    return joint


def one_step(state: State, setting: Setting, prior: SharedPrior, progress: Progress) -> State:
    """A visit of the next minibatch, q after it, and at the end of an epoch what follows from it."""
    began, n_batch = time.perf_counter(), len(setting.batches)
    k = visited_at(state.step, n_batch, setting.options.solver.seed)
    mine = Minibatch.of(setting.sample, setting.batches[k])
    state = stepped(state, setting, k, mine, visit(state, setting, k, mine, progress))
    q, reduced = inferred(state, setting, prior)
    grown = n_batch / min(state.step, n_batch)
    bound = elbo(q, state.total, grown, state.point, setting.origin, prior, state.drift)
    n = len(state.shared)
    size = float(np.sqrt(np.mean(q.step[:n] ** 2 / np.diagonal(q.covariance)[:n])))
    state = moved(state, q)
    if state.step % n_batch == 0:
        ends = (*state.ends, bound)
        done = settled(ends, n, setting.options.solver.tolerance)
        state = with_noise(state._replace(ends=ends), setting, q, reduced, prior)
        state = state._replace(settled=done and state.ends == ends)
    state.trace.append(
        {"stage": "svi", "iteration": state.step, "epoch": 1 + (state.step - 1) // n_batch, "elbo": bound,
         "shared_step_sd": size, "ln_sigma": float(state.shared[-1]), **noise_summary(state.noise),
         "seconds": time.perf_counter() - began}
    )  # fmt: skip
    return state


def ended(state: State, setting: Setting, prior: SharedPrior, name: str, progress: Progress) -> Joint:
    """All stars at their most probable values given q's mean, in one pass."""
    began, sample, options = time.perf_counter(), setting.sample, setting.options
    theta, point = state.theta.copy(), state.point
    for k, numbers in enumerate(setting.batches):
        mine = Minibatch.of(sample, numbers)
        known = [block for i in numbers if (block := state.blocks[i]) is not None]
        theta[mine.stars] += np.asarray(bounded_step(own_steps(known, point - state.at[k])))
    at, shared = keep_physical(jnp.asarray(theta)), jnp.asarray(state.shared)
    blocks = tuple(block for block in state.blocks if block is not None)
    passed = sweep(
        sample, at, shared, state.noise, last=blocks, chunk=setting.chunk, keep=setting.keep, drift=state.drift,
        progress=partial(progress, "svi, last pass"),
    )  # fmt: skip
    learned, posterior = prior.learned(passed.reduced, shared, state.learned)
    whole = np.clip(posterior.mean - shared, -FARTHEST, FARTHEST)
    size = float(jnp.sqrt(jnp.mean(whole**2 / jnp.diag(posterior.covariance))))
    step = bounded_step(passed.own_step(whole))
    star_size = float(jnp.percentile(jnp.max(jnp.abs(step) / steps(step.shape[1]) / passed.own_sd, axis=1), 90))
    converged = size < options.solver.tolerance and star_size < 3 * options.solver.tolerance
    state.trace.append(
        {"stage": name, "iteration": state.step + 1, "shared_step_sd": size, "star_step_sd": star_size,
         **noise_summary(state.noise), "ln_sigma": float(shared[-1]), **rounded(posterior.widths),
         "line_scatter_suggested": float(np.median(passed.scatter)), "seconds": time.perf_counter() - began}
    )  # fmt: skip
    run = FitState(at, shared, state.noise, state.trace, state.drift)
    return Joint(run, passed, posterior, learned, "converged" if converged else "max_iterations", prior.blends)
