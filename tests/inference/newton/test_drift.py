"""Slopes of the lines with temperature: a pass is that of twice as many lines, marginalised, and they are found."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.base.errors import AstrogfError
from astrogf.inference.newton.drift import Drift, SlopePrior, folded, loading, unfolded
from astrogf.inference.newton.joint import Joint, SharedPrior, determined, fit_joint
from astrogf.inference.newton.passed import Pass
from astrogf.inference.newton.stars import FitState
from astrogf.inference.newton.sweep import Rows, sweep, sweep_window
from astrogf.inference.newton.told import Told
from astrogf.inference.prior import groups as hyper
from astrogf.inference.problem.arrow import Reduced
from astrogf.inference.problem.parameters import lsf_sigma
from astrogf.inference.problem.prior_lines import LinePrior
from astrogf.inference.problem.problem import StarData, predict
from astrogf.inference.problem.spectra import quiet
from astrogf.inference.rehearsal.small import OPTIONS, Draw, Small, build, draw
from astrogf.inference.statistics import LineNames, Slopes, Statistics, combine, load, of_lines, save, slopes_of_lines
from tests.builders.few_stars import N_STAR, drawn_of, few_stars

SD, COMMON = 0.12, 0.07


def prior_of(n: int) -> SlopePrior:
    """Two ions, and a last line by itself."""
    return SlopePrior(SD, COMMON, np.append(np.arange(n - 1) % 2, -1))


def covariance_of(prior: SlopePrior) -> np.ndarray:
    """By its definition: a part of every line, and one of every ion."""
    ion = prior.ion
    together = (ion[:, None] == ion) & (ion >= 0)
    return prior.own**2 * np.eye(len(ion)) + prior.common**2 * together


@pytest.fixture(scope="module")
def small() -> Small:
    return few_stars()


@pytest.fixture(scope="module")
def drawn(small: Small) -> Draw:
    return drawn_of(small)


def test_the_sun_has_none() -> None:
    assert np.allclose(loading(np.array([5772.0, 6772.0, 4272.0])), [0.0, 1.0, -1.5])


def test_the_prior_is_that_of_two_parts() -> None:
    prior, rng = prior_of(8), np.random.default_rng(1)
    precision, slope = np.linalg.inv(covariance_of(prior)), rng.normal(size=8)
    added = np.ones((8, 8))
    prior.add_precision(added)
    assert np.allclose(added - 1.0, precision, rtol=0, atol=1e-9 * np.max(precision))
    assert np.allclose(prior.pull(slope), precision @ slope)
    prior.add_precision(added, -1.0)
    assert np.allclose(added, 1.0)
    root = rng.normal(size=(8, 8))
    assert np.isclose(prior.left_of(root @ root.T), np.trace(precision @ root @ root.T))
    density = Drift(np.zeros(1), slope, prior).log_density(np.zeros(9))
    assert np.isclose(density, -0.5 * slope @ precision @ slope)
    alone = SlopePrior(SD, 0.0, prior.ion)
    assert np.allclose(alone.pull(slope), slope / SD**2)


def test_a_line_that_no_star_sees_has_the_slope_of_its_ion() -> None:
    """Three lines of one ion are measured, one is not, and one of another ion is neither: means and variances are those
    of conditioning the joint Normal on what was measured."""
    prior, n, error = SlopePrior(SD, COMMON, np.array([0, 0, 0, 0, 1])), 5, 0.01
    seen, values = np.arange(3), np.array([0.1, 0.2, 0.15])
    a, b = np.zeros((2 * n, 2 * n)), np.zeros(2 * n)
    a[n + seen, n + seen] = error**-2
    b[n + seen] = values / error**2
    _, slopes = folded(Reduced(jnp.asarray(a), jnp.asarray(b)), Drift(np.zeros(1), np.zeros(n), prior), np.zeros(n))
    covariance = covariance_of(prior)
    gain = covariance[:, seen] @ np.linalg.inv(covariance[np.ix_(seen, seen)] + error**2 * np.eye(3))
    assert np.allclose(slopes.constant, gain @ values)
    assert np.allclose(slopes.covariance, covariance - gain @ covariance[seen])
    assert 0.03 < slopes.constant[3] < 0.15
    assert slopes.constant[4] == 0.0


def test_a_pass_is_that_of_twice_as_many_lines(small: Small, drawn: Draw) -> None:
    """Every star's own contribution, at its own corrections u + z e, put into one dense system by hand; the stars and
    the slopes eliminated from it."""
    n = small.n_line
    shared = jnp.append(jnp.linspace(-0.1, 0.1, n), lsf_sigma(small.options.stars.resolution))
    drift = Drift(np.array([-1.2, 0.1, 0.7]), np.linspace(0.08, -0.06, n), prior_of(n))
    sample, theta = small.sample(drawn.data), np.asarray(drawn.theta)
    passed = sweep(sample, jnp.asarray(theta), shared, small.quiet(), chunk=2, drift=drift)

    n_own, m = sample.n_own, 2 * n + 1
    full = np.zeros((m + N_STAR * n_own,) * 2)
    gradient = np.zeros(len(full))
    precision = np.linalg.inv(covariance_of(prior_of(n)))
    full[n + 1 : m, n + 1 : m] += precision
    gradient[n + 1 : m] -= precision @ drift.slope
    for s in range(N_STAR):
        window = sample.windows[0].select(np.arange(N_STAR) == s, np.zeros(N_STAR, int))
        prior, noise = (type(x)(*(np.asarray(y)[s : s + 1] for y in x)) for x in (sample.prior, small.quiet()[0]))
        rows = Rows(window.data, theta[s : s + 1], prior, np.ones(1), noise, np.zeros((1, 0)))
        here = shared.at[:-1].add(drift.loading[s] * drift.slope)
        part = sweep_window(small.problem, rows, here, chunk=2)
        # derivatives by (corrections, ln_sigma, slopes) are these combinations of those by (corrections, ln_sigma)
        by = np.hstack([np.eye(n + 1), drift.loading[s] * np.eye(n + 1)[:, :n]])
        own = m + s * n_own + np.arange(n_own)
        full[:m, :m] += by.T @ np.asarray(part.shared.precision) @ by
        gradient[:m] += by.T @ np.asarray(part.shared.gradient)
        full[np.ix_(own, own)] = part.star.precision[0]
        full[np.ix_(own, np.arange(m))] = part.star.cross[0] @ by
        full[np.ix_(np.arange(m), own)] = (part.star.cross[0] @ by).T
        gradient[own] = part.star.gradient[0]

    kept, rest = np.arange(n + 1), np.arange(n + 1, len(full))
    through = np.linalg.solve(full[np.ix_(rest, rest)], np.column_stack([full[np.ix_(rest, kept)], gradient[rest]]))
    scale = np.max(np.abs(full[: n + 1, : n + 1]))
    expected = full[np.ix_(kept, kept)] - full[np.ix_(kept, rest)] @ through[:, :-1]
    assert np.allclose(passed.reduced.precision, expected, rtol=0, atol=1e-9 * scale)
    pull = gradient[kept] - full[np.ix_(kept, rest)] @ through[:, -1]
    assert np.allclose(passed.reduced.gradient, pull, rtol=1e-6, atol=1e-6 * np.max(np.abs(pull)))

    step = np.append(np.linspace(0.02, -0.03, n), 0.01)
    follows = through[:, -1] - through[:, :-1] @ step
    assert np.allclose(passed.slope_step(step), follows[:n], atol=1e-7)
    assert np.allclose(passed.own_step(step).ravel(), follows[n:], atol=1e-4 * np.max(np.abs(follows[n:])))

    covariance = np.linalg.inv(expected + 10.0 * np.eye(n + 1))
    given = np.linalg.inv(full[np.ix_(rest, rest)])
    whole = given + through[:, :-1] @ covariance @ through[:, :-1].T
    of_star = whole[n : n + n_own, n : n + n_own]
    assert np.allclose(passed.own_covariance(covariance)[0], of_star, rtol=1e-4, atol=1e-5 * np.max(np.abs(of_star)))


def test_what_other_stars_say_of_slopes_is_taken_along(small: Small, drawn: Draw, tmp_path: Path) -> None:
    """Two stars told to the third are all three, linearised at one place; by way of a file, the resolution integrated
    out, what they say of corrections is the same with the slopes marginalised as without."""
    n, z = small.n_line, np.array([-1.2, 0.1, 0.7])
    shared = jnp.append(jnp.linspace(-0.1, 0.1, n), lsf_sigma(small.options.stars.resolution))
    slope, sample, theta = np.linspace(0.08, -0.06, n), small.sample(drawn.data), jnp.asarray(drawn.theta)

    def passed(which: np.ndarray, told: Told | None = None) -> Pass:
        some = sample.select(which)
        return sweep(some, theta[which], shared, quiet(some), chunk=2, drift=Drift(z[which], slope, prior_of(n), told))

    two = np.array([True, True, False])
    whole, first = passed(two | True), passed(two)
    assert first.drift is not None
    point = np.asarray(shared)
    alone = Told(np.asarray(first.reduced.precision), np.asarray(first.reduced.gradient), point)
    both = passed(~two, unfolded(alone, first.drift, slope, prior_of(n)))
    scale = np.max(np.abs(whole.reduced.precision))
    assert np.allclose(both.reduced.precision, whole.reduced.precision, rtol=0, atol=1e-9 * scale)
    assert np.allclose(both.reduced.gradient, whole.reduced.gradient, rtol=1e-6, atol=1e-9 * scale)
    step = np.linspace(-0.01, 0.02, n + 1)
    assert np.allclose(both.slope_step(step), whole.slope_step(step), atol=1e-8)

    names = LineNames(np.arange(n) + 5000.0, np.full(n, "Fe I"), np.ones(n), np.zeros(n))
    constant, by_shared, covariance = (np.asarray(x) for x in first.drift)
    kept = Slopes(constant, by_shared, covariance, slope, np.array(SD), np.array(COMMON), prior_of(n).ion)
    save(tmp_path / "s.npz", Statistics(*alone[:3], names, ("ln_sigma",), 2, None, kept))
    stored = load(tmp_path / "s.npz")
    of_others = point[-1:], np.array([0.05])
    told, marginal = slopes_of_lines(stored, *of_others), of_lines(stored, *of_others)
    assert told is not None
    again, _ = folded(
        Reduced(jnp.asarray(told.precision), jnp.asarray(told.gradient)), Drift(z, slope, prior_of(n)), point[:-1]
    )
    assert np.allclose(again.precision, marginal.precision, rtol=0, atol=1e-8 * scale)
    assert np.allclose(again.gradient, marginal.gradient, rtol=1e-5, atol=1e-8 * scale)
    with pytest.raises(AstrogfError, match=r"noise.line_drift cannot be added"):
        combine(stored, stored)

    line = np.array([2, 0, 3, 1])
    prior = LinePrior(marginal, slopes=told).told(line, n)
    assert prior.slopes is not None
    assert np.allclose(prior.slopes.precision[np.ix_(n + 1 + line, line)], told.precision[n:, :n])
    assert np.all(prior.slopes.precision[n] == 0.0)
    # within a joint fit it counts once
    of_joint = SharedPrior.of(small.groups, small.options.changed(noise={"line_drift": SD}), prior)
    assert of_joint.with_told(whole.reduced, shared) is whole.reduced
    assert SharedPrior.of(small.groups, small.options, prior).with_told(whole.reduced, shared) is not whole.reduced


def test_what_others_have_told_of_slopes_is_not_determined_here(small: Small, drawn: Draw) -> None:
    """A star to which two others have told of lines and slopes: what its own spectrum determines is trace(its own
    precision x cov), not what the others know. The noise would answer for the difference."""
    n, z = small.n_line, np.array([-1.2, 0.1, 0.7])
    shared = jnp.append(jnp.zeros(n), lsf_sigma(small.options.stars.resolution))
    slope, sample, theta = np.zeros(n), small.sample(drawn.data), jnp.asarray(drawn.theta)
    options = small.options.changed(noise={"line_drift": SD})

    def passed(which: np.ndarray, told: Told | None) -> tuple[Pass, Drift]:
        some, drift = sample.select(which), Drift(z[which], slope, prior_of(n), told)
        return sweep(some, theta[which], shared, quiet(some), chunk=2, drift=drift), drift

    def alone(which: np.ndarray) -> Told:
        one, _ = passed(which, None)
        assert one.drift is not None
        mine = Told(np.asarray(one.reduced.precision), np.asarray(one.reduced.gradient), np.asarray(shared))
        return unfolded(mine, one.drift, slope, prior_of(n))

    two = np.array([True, True, False])
    slopes = alone(two)
    marginal, _ = passed(two, None)
    told = Told(
        np.asarray(marginal.reduced.precision), np.asarray(marginal.reduced.gradient), np.asarray(shared), None, slopes
    )
    prior = SharedPrior.of(small.groups, options, told)
    here, drift = passed(~two, slopes)
    _, posterior = prior.learned(here.reduced, shared, hyper.Learned.start(prior.belief, prior.group))
    own = alone(~two).precision
    covariance = here.whole_covariance(posterior.covariance)
    expected = float(np.vdot(own, covariance))
    assert determined(here, posterior, prior, drift) == pytest.approx(expected, rel=1e-5)
    # the others know enough of slopes for the difference to matter
    assert np.vdot(slopes.precision[n + 1 :], covariance[n + 1 :]) > 0.1 * expected


def test_held_slopes_move_the_lines_of_a_star(small: Small, drawn: Draw) -> None:
    """A star sees u + z e, and nothing is differentiated by e."""
    n = small.n_line
    shared = jnp.append(jnp.zeros(n), lsf_sigma(small.options.stars.resolution))
    slope = np.linspace(0.1, -0.1, n)
    sample, theta = small.sample(drawn.data), jnp.asarray(drawn.theta)
    held = sweep(sample, theta, shared, small.quiet(), chunk=2, drift=Drift(np.full(N_STAR, -1.0), slope, None))
    moved = sweep(sample, theta, shared.at[:-1].add(-slope), small.quiet(), chunk=2)
    assert held.drift is None
    assert np.allclose(held.rows[0].model, moved.rows[0].model, rtol=0, atol=1e-12)
    assert np.allclose(held.log_posterior, moved.log_posterior)


def test_slopes_keep_cool_stars_from_the_corrections() -> None:
    """Lines that differ between cool and warm stars, fitted as if they did not, and with slopes: the corrections, which
    are those of the Sun, are nearer to the truth and within their errors, and the slopes are found."""
    options = OPTIONS.changed(
        model={"single": False}, solver={"chunk": 8, "joint_iterations": 5}, stars={"teff_prior": (5000.0, 700.0)}
    )
    small = build(24, 6, n_pixel=48, kept=40, options=options)
    rng = np.random.default_rng(3)
    drawn = draw(small, rng, snr=150.0)
    theta, slope = jnp.asarray(drawn.theta), 0.3 * rng.normal(size=small.n_line)
    z = loading(drawn.theta[:, 0])
    seen = jnp.asarray(drawn.shared[:-1] + np.outer(z, slope))
    flux = jax.lax.map(lambda star: predict(small.problem, *star), (theta, seen))
    data = StarData(flux + rng.normal(size=flux.shape) / 150.0, jnp.full(flux.shape, 150.0**2))
    sample = small.sample(data)

    def fitted(sd: float) -> Joint:
        mine = options.changed(noise={"line_drift": sd})
        begin = FitState(theta, jnp.zeros(small.n_line + 1).at[-1].set(drawn.shared[-1]), small.quiet(24))
        return fit_joint(sample, begin, small.groups, mine)

    def error(joint: Joint) -> tuple[float, float]:
        off = np.asarray(joint.posterior.mean - drawn.shared)[:-1]
        sd = np.sqrt(np.diag(joint.posterior.covariance))[:-1]
        return float(np.sqrt(np.mean(off**2))), float(np.sqrt(np.mean((off / sd) ** 2)))

    without, within = fitted(0.0), fitted(0.3)
    assert without.run.drift is None
    assert within.run.drift is not None
    assert error(within)[0] < 0.7 * error(without)[0]
    assert error(within)[1] < 2.0 < error(without)[1]
    found = within.run.drift.slope
    sd = np.sqrt(np.diag(within.passed.whole_covariance(within.posterior.covariance)))[small.n_line + 1 :]
    assert np.sqrt(np.mean(((found - slope) / sd) ** 2)) < 2.0
    assert np.all(sd < 0.3)
