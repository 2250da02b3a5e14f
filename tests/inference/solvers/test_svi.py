"""Variational inference in batches: it ends where Gauss-Newton does, its steps are unbiased, it goes on when cut."""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.computing.options import ComputeOptions
from astrogf.computing.place import place_of
from astrogf.inference.blocks.places import HERE, Place
from astrogf.inference.blocks.shelf import MEMORY, Shelf
from astrogf.inference.blocks.work import Work
from astrogf.inference.checkpoint import NOWHERE, Checkpoint
from astrogf.inference.newton.joint import Joint, SharedPrior, begun_drift, fit_joint
from astrogf.inference.newton.stars import FitState
from astrogf.inference.newton.sweep import sweep
from astrogf.inference.newton.told import Told
from astrogf.inference.prior import groups as hyper
from astrogf.inference.prior.blends import Gaps, under
from astrogf.inference.prior.widths import Belief as WidthBelief
from astrogf.inference.prior.widths import Widths
from astrogf.inference.problem.arrow import Reduced
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.parameters import lsf_sigma, steps
from astrogf.inference.problem.priors import Belief, star_prior
from astrogf.inference.problem.problem import StarData
from astrogf.inference.problem.spectra import Sample, WindowSpectra, in_blocks, quiet, taken
from astrogf.inference.rehearsal.small import OPTIONS, Small, build, draw, spectra
from astrogf.inference.solvers.elbo import Variational, elbo
from astrogf.inference.solvers.minibatch import Minibatch, Quadratic, dealt, visited_at
from astrogf.inference.solvers.svi import Setting, State, fit_svi, inferred, started, stepped, visit
from astrogf.runs.checkpoint import CheckpointFolder

N_STAR, N_LINE, SCATTER = 18, 8, 0.02


class Survey(NamedTuple):
    """Stars with two spectra each but for some, and where a fit of them begins."""

    small: Small
    windows: list[WindowSpectra]
    theta: np.ndarray

    def sample(self, shelf: Shelf = MEMORY, place: Place = HERE) -> Sample:
        """In blocks of two stars."""

        def data(k: int, rows: np.ndarray) -> StarData:
            return StarData(*(np.asarray(x) for x in taken(self.windows[k].data, rows)))

        prior = star_prior([Belief()] * N_STAR, self.small.options)
        return in_blocks(self.windows, prior, Work(place, shelf, block=2), data)

    def begin(self) -> FitState:
        """The list as it is."""
        ln_sigma = lsf_sigma(self.small.options.stars.resolution)
        shared = jnp.zeros(self.small.n_line + 1).at[-1].set(ln_sigma)
        return FitState(jnp.asarray(self.theta), shared, quiet(self.sample(), 0.0, SCATTER))

    def setting(self, options: FitOptions) -> tuple[Setting, State]:
        """What steps are made with, and before the first of them."""
        sample, run = self.sample(), self.begin()
        drift, prior = begun_drift(run, self.small.groups, options, None), SharedPrior.of(self.small.groups, options)
        shared = np.asarray(run.shared)
        origin = shared if drift is None else np.append(shared, drift.slope)
        batches = dealt(len(sample.parts), 3, 0)
        setting = Setting(sample, options, None, batches, origin, lambda step: 1.0 / len(batches), (), 2)
        return setting, started(run, setting, prior, drift)


@pytest.fixture(scope="module")
def survey() -> Survey:
    """S/N 100; in the second window every fifth star is missing."""
    options = OPTIONS.changed(
        model={"oversampling": 12, "depths": 16},
        noise={"line_scatter": SCATTER},
        solver={"chunk": 2, "batch": 6, "joint_iterations": 10, "tolerance": 0.03},
    )
    small, rng = build(N_STAR, N_LINE, n_pixel=48, kept=50, options=options), np.random.default_rng(3)
    drawn = draw(small, rng, snr=100.0)
    clean = np.asarray(spectra(small.problem, jnp.asarray(drawn.theta), jnp.asarray(drawn.shared[:-1])))
    again = StarData(jnp.asarray(clean + rng.normal(size=clean.shape) / 100.0), drawn.data.ivar)
    stars = np.flatnonzero(np.arange(N_STAR) % 5 != 1)
    every = np.arange(N_STAR)
    windows = [
        WindowSpectra(small.problem, drawn.data, every, np.zeros(N_STAR, int)),
        WindowSpectra(small.problem, taken(again, stars), stars, np.zeros(len(stars), int)),
    ]
    return Survey(small, windows, drawn.theta)


def by_svi(survey: Survey, options: FitOptions, checkpoint: Checkpoint = NOWHERE, shelf: Shelf = MEMORY) -> Joint:
    return fit_svi(survey.sample(shelf), survey.begin(), survey.small.groups, options, checkpoint=checkpoint)


@pytest.fixture(scope="module", params=[0.0, 0.05], ids=["plain", "slopes"])
def both(survey: Survey, request) -> tuple[Joint, Joint]:
    """Gauss-Newton and SVI, without and with slopes of the lines with temperature."""
    options = survey.small.options.changed(noise={"line_drift": request.param})
    newton = fit_joint(survey.sample(), survey.begin(), survey.small.groups, options)
    return newton, by_svi(survey, options)


def test_it_is_where_gauss_newton_is(both: tuple[Joint, Joint]) -> None:
    newton, found = both
    assert newton.status == found.status == "converged"
    sd = np.sqrt(np.diag(np.asarray(newton.posterior.covariance)))
    assert np.abs(newton.run.shared[:-1]).max() > 3.0 * sd[:-1].max()  # there was something to find
    np.testing.assert_allclose(found.posterior.mean, newton.posterior.mean, atol=0.05 * sd.min())
    np.testing.assert_allclose(np.sqrt(np.diag(np.asarray(found.posterior.covariance))), sd, rtol=0.03)
    apart = (found.run.theta - newton.run.theta) / steps(newton.run.theta.shape[1]) / newton.passed.own_sd
    assert np.abs(apart).max() < 0.1
    if newton.run.drift is not None and found.run.drift is not None:
        np.testing.assert_allclose(found.run.drift.slope, newton.run.drift.slope, atol=2e-3)


def test_it_takes_what_gauss_newton_takes(survey: Survey, tmp_path) -> None:
    """Noise and errors by wavelength that are learned, blends, slopes that lines of an ion share, the word of other
    spectra, and other processes: the same end as Gauss-Newton, and the same numbers wherever it is computed. Both begin
    near the end, for the noise is learned in their first rounds, and these are not alike."""
    n = survey.small.n_line
    options = survey.small.options.changed(
        noise={"inflation": None, "misfit": True, "line_drift": 0.05, "species_drift": 0.03},
        lines={"blends": True},
        solver={"joint_iterations": 16},
    )
    known = np.append(np.where(np.arange(n) % 2, 0.0, 400.0), 0.0)
    blended = under(np.full(n, 0.2), Gaps(0.01, 0.1, 0.5))
    told = Told(np.diag(known), np.zeros(n + 1), np.append(np.full(n, 0.1), 0.0), blended)
    near = fit_joint(survey.sample(), survey.begin(), survey.small.groups, options, told=told).run

    def begin() -> FitState:
        return replace(survey.begin(), theta=near.theta, shared=near.shared)

    newton = fit_joint(survey.sample(), begin(), survey.small.groups, options, told=told)
    here = fit_svi(survey.sample(), begin(), survey.small.groups, options, told=told)
    sd = np.sqrt(np.diag(np.asarray(newton.posterior.covariance)))
    assert newton.status == here.status == "converged"
    assert here.blends is not None
    assert here.blends.share[0] > 0.4
    assert np.asarray(here.run.noise[0].local).max() > 1.01
    assert np.max(np.abs(here.posterior.mean - newton.posterior.mean) / sd) < 0.1
    np.testing.assert_allclose(np.sqrt(np.diag(np.asarray(here.posterior.covariance))), sd, rtol=0.02)
    others = told._replace(precision=np.zeros_like(told.precision))
    without = fit_svi(survey.sample(), begin(), survey.small.groups, options, told=others)
    assert np.abs(without.posterior.mean - here.posterior.mean)[:-1].max() > 0.3 * sd[:-1].min()
    with place_of(ComputeOptions(where="processes", workers=2), tmp_path) as place:
        there = fit_svi(survey.sample(place=place), begin(), survey.small.groups, options, told=told)
    # what is in single precision rounds otherwise on another number of cores
    np.testing.assert_allclose(there.posterior.mean, here.posterior.mean, rtol=0.0, atol=1e-3 * sd.min())


def test_the_bound_rises_and_ends_level(both: tuple[Joint, Joint]) -> None:
    """From one epoch to the next. The first one's is an estimate from few stars, until its end."""
    _, found = both
    visits = [one for one in found.run.trace if one["stage"] == "svi"]
    ends = np.array([one["elbo"] for one, then in zip(visits, [*visits[1:], {"epoch": 0}], strict=True)
                     if one["epoch"] != then["epoch"]])  # fmt: skip
    assert ends[1] > ends[0] + 10.0
    assert np.all(np.diff(ends) > -0.05)
    assert abs(ends[-1] - ends[-2]) < 0.01


class Cut(Exception):
    """The end of the process, as far as a fit can tell."""


class Cutting(CheckpointFolder):
    """Lets a fit come to its next state and no farther."""

    def save(self, stage, state):
        super().save(stage, state)
        if not isinstance(state, Joint):
            raise Cut


def test_cut_after_every_step_it_ends_with_the_same_bits(survey: Survey, tmp_path) -> None:
    """With noise learned and slopes, which a state must have."""
    options = survey.small.options.changed(
        noise={"inflation": None, "line_drift": 0.05}, solver={"joint_iterations": 2}
    )
    whole = by_svi(survey, options)
    CheckpointFolder(tmp_path).begin({})
    for _ in range(2 * 3):  # two epochs of three steps
        kept = Cutting(tmp_path)
        kept.tidy()
        with pytest.raises(Cut):
            by_svi(survey, options, kept, kept.shelf)
    kept = Cutting(tmp_path)
    pieces = by_svi(survey, options, kept, kept.shelf)
    for name in ("posterior", "learned"):
        for a, b in zip(jax.tree.leaves(getattr(pieces, name)), jax.tree.leaves(getattr(whole, name)), strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)
    np.testing.assert_array_equal(pieces.run.theta, whole.run.theta)
    np.testing.assert_array_equal(pieces.passed.reduced.precision, whole.passed.reduced.precision)
    for a, b in zip(pieces.run.trace, whole.run.trace, strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0}
    other = by_svi(survey, options.changed(solver={"seed": 1}))
    assert np.abs(other.run.theta - whole.run.theta).max() > 1e-6


@pytest.mark.parametrize("drift", [0.0, 0.05])
def test_minibatches_of_an_epoch_are_the_pass_over_all(survey: Survey, drift: float) -> None:
    """(A, b) at one point; and the value, whose differences are those of the likelihood."""
    options = survey.small.options.changed(noise={"line_drift": drift})
    setting, state = survey.setting(options)
    n = len(setting.batches)
    estimates = []
    for k in range(n):
        seen = visit(state, setting, k, Minibatch.of(setting.sample, setting.batches[k]))
        estimates.append(Quadratic.nothing(len(setting.origin)).plus(seen.said, n))
    mean = jax.tree.map(lambda *x: sum(x) / n, *estimates)
    assert np.abs(estimates[0].precision - mean.precision).max() > 0.05 * np.abs(mean.precision).max()
    q, reduced = inferred(state._replace(natural=mean), setting, SharedPrior.of(survey.small.groups, options))
    run = survey.begin()
    whole = sweep(setting.sample, run.theta, run.shared, run.noise, chunk=2, drift=state.drift)
    np.testing.assert_allclose(reduced.precision, whole.reduced.precision, atol=1e-8 * np.abs(reduced.precision).max())
    np.testing.assert_allclose(reduced.gradient, whole.reduced.gradient, atol=1e-7 * np.abs(reduced.gradient).max())
    assert (q.slopes is None) == (drift == 0.0)


def test_a_step_is_unbiased_after_what_was_said_before(survey: Survey) -> None:
    """The mean over minibatches of the estimate (what natural is after a step of rho 1) is what all say now, although
    some spoke elsewhere and some not yet."""
    setting, state = survey.setting(survey.small.options)
    batches = [Minibatch.of(setting.sample, blocks) for blocks in setting.batches]
    for k in (2, 0):
        state = stepped(state, setting, k, batches[k], visit(state, setting, k, batches[k]))
    state = state._replace(shared=state.shared + np.append(np.full(survey.small.n_line, 0.03), 0.0))
    setting = setting._replace(rho=lambda step: 1.0)
    now = [visit(state, setting, k, mine) for k, mine in enumerate(batches)]
    after = [stepped(state, setting, k, batches[k], now[k]).natural for k in range(3)]
    mean = jax.tree.map(lambda *x: sum(x) / 3, *after)
    said = jax.tree.map(lambda *x: sum(x), *(seen.said for seen in now))
    assert np.abs(said.gradient - state.total.gradient).max() > 0.1 * np.abs(said.gradient).max()
    for a, b in zip(mean, said, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9 * np.abs(b).max())


def test_minibatches_are_dealt_once_and_all_visited_in_every_epoch() -> None:
    batches = dealt(11, 4, seed=5)
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(11))
    assert {len(x) for x in batches} == {2, 3}
    assert len(dealt(2, 4, seed=5)) == 2
    orders = [[visited_at(4 * epoch + k, 4, 5) for k in range(4)] for epoch in range(6)]
    assert all(sorted(x) == [0, 1, 2, 3] for x in orders)
    assert len({tuple(x) for x in orders}) > 2
    solver = OPTIONS.solver
    assert [solver.stars_a_step(n) for n in (0, 1, 16, 100)] == [1, 1, 1, 7]
    said = OPTIONS.changed(solver={"batch": 20}).solver
    assert [said.stars_a_step(n) for n in (100, 10)] == [20, 10]


def test_the_bound_of_the_posterior_is_the_evidence(survey: Survey) -> None:
    """Of a quadratic likelihood and one Normal for every line: log of the integral, up to a constant; and of any other
    Gaussian it is less, by the divergence."""
    n, rng = survey.small.n_line + 1, np.random.default_rng(0)
    groups = survey.small.groups
    prior = SharedPrior.of(groups, survey.small.options)
    widths = Widths.single(0.2, len(groups.names))
    prior = prior._replace(belief=WidthBelief.known(widths))
    learned = hyper.Learned(prior.belief.centre, prior.belief.top, 1.0 / widths.sd[groups.member] ** 2)
    precision = np.asarray(hyper.shared_precision(learned.weight, prior.means, prior.ln_sigma_sd))
    point = np.asarray(prior.mean)

    def of(seed: int) -> tuple[float, float, Variational, Quadratic]:
        g = np.random.default_rng(seed).normal(size=(2 * n, n)) * 10.0 * seed
        b = g.T @ np.random.default_rng(seed + 1).normal(size=2 * n)
        likelihood = Quadratic.about(3.0, Reduced(g.T @ g, b), np.zeros(n))  # type: ignore[arg-type]
        system = prior.system(likelihood.at(np.zeros(n)), jnp.asarray(point))
        _, step, covariance = hyper.learn(system, prior.belief, learned)
        full = g.T @ g + precision
        evidence = 3.0 + 0.5 * b @ np.linalg.solve(full, b) - 0.5 * np.linalg.slogdet(full)[1]
        q = Variational(system, step, covariance, learned)
        return evidence, elbo(q, likelihood, 1.0, point, point, prior, None), q, likelihood

    one, bound_one, _, _ = of(1)
    two, bound_two, q, likelihood = of(2)
    np.testing.assert_allclose(bound_two - bound_one, two - one, rtol=1e-9)
    away = 0.3 * np.linalg.cholesky(q.covariance) @ rng.normal(size=len(q.step))
    less = 0.5 * away @ np.linalg.solve(q.covariance, away)
    elsewhere = elbo(q._replace(step=q.step + away), likelihood, 1.0, point, point, prior, None)
    np.testing.assert_allclose(bound_two - elsewhere, less, rtol=1e-6)
