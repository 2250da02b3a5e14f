"""The posterior with the groups' scatters integrated over, against sums over a grid with scipy's densities."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from astrogf.inference.newton import groups as hyper
from astrogf.inference.newton.joint import Joint, SharedPrior
from astrogf.inference.newton.scatters import integrate, over_scatters
from astrogf.inference.newton.stars import FitState
from astrogf.inference.problem.arrow import Reduced
from tests.builders.scatters import Given

LN_SIGMA_SD = 0.08


@pytest.fixture(scope="module")
def problem():
    """Two groups with learned scatters (5 and 9 lines), one held, all corrections correlated, then the resolution."""
    rng = np.random.default_rng(11)
    member = np.repeat([0, 1, 2], [5, 9, 4])
    n = len(member) + 1
    half = rng.normal(size=(n, n))
    precision = half @ half.T / n * 30.0 + np.diag(rng.uniform(2, 60, n))
    true = np.append(np.array([0.1, 0.35, 0.8])[member] * rng.normal(size=n - 1), -0.02)
    measured = true + np.linalg.cholesky(np.linalg.inv(precision)) @ rng.normal(size=n)
    point = true + 0.05 * rng.normal(size=n)
    mean = np.append(np.zeros(n - 1), 0.01)
    held = np.array([np.nan, np.nan, 0.8])
    prior = SharedPrior(jnp.asarray(mean), jnp.asarray(LN_SIGMA_SD), jnp.asarray(member))
    reduced = Reduced(jnp.asarray(precision), jnp.asarray(precision @ (measured - point)))
    given = Given(reduced, jnp.asarray(point - mean), prior, jnp.asarray(held))
    return given, point, np.linalg.inv(precision), measured, member, mean


@pytest.fixture(scope="module")
def grid(problem):
    """ln tau of the two groups, log density of each, and mean and covariance of the shared parameters there."""
    _, _, covariance, measured, member, mean = problem
    ln_tau, log, means, covariances = [], [], [], []
    for one in np.linspace(-5.0, 0.5, 56):
        for two in np.linspace(-2.5, 0.5, 31):
            tau = np.exp([one, two, np.log(0.8)])
            prior = np.zeros((len(mean), len(mean)))
            prior[:-1, :-1] = np.diag(tau[member] ** 2) + hyper.MEAN_SD**2 * (member[:, None] == member)
            prior[-1, -1] = LN_SIGMA_SD**2
            said = np.sum(2 * np.log(tau[:2]) - 0.5 * (tau[:2] / hyper.SCATTER_SD) ** 2)
            log.append(multivariate_normal.logpdf(measured, mean, prior + covariance) + said)
            gain = prior @ np.linalg.inv(prior + covariance)
            ln_tau.append([one, two, np.log(0.8)])
            means.append(mean + gain @ (measured - mean))
            covariances.append(prior - gain @ prior)
    return tuple(np.array(x) for x in (ln_tau, log, means, covariances))


def test_evidence_against_scipy(problem, grid):
    given, point, *_ = problem
    ln_tau, log, means, covariances = (x[::97] for x in grid)
    evidence = given.evidence
    found = [evidence.at(x[:2]) for x in ln_tau]
    ours = np.array([f.value for f in found])
    np.testing.assert_allclose(ours - ours[0], log - log[0], rtol=1e-9, atol=1e-8)
    whole = [evidence.held.together(f.step, f.covariance) for f in found]
    np.testing.assert_allclose([point + step for step, _ in whole], means, atol=1e-9)
    np.testing.assert_allclose([covariance for _, covariance in whole], covariances, atol=1e-9)


@pytest.mark.parametrize(("draws", "kept", "tolerance"), [(8000, 4000, 0.04), (512, 64, 0.2)])
def test_integrated_posterior_against_a_grid(problem, grid, draws, kept, tolerance):
    """Means within `tolerance` of the sd, sds and scatters within as much of themselves."""
    given, point, *_ = problem
    ln_tau, log, means, covariances = grid
    p = np.exp(log - log.max())
    p /= p.sum()
    mean = p @ means
    sd = np.sqrt(p @ (np.diagonal(covariances, 0, 1, 2) + (means - mean) ** 2))
    posterior, effective = integrate(
        given.evidence, jnp.asarray(point), jnp.array([0.2, 0.2, 0.8]), draws=draws, kept=kept
    )
    found = np.sqrt(np.diag(posterior.covariance))
    assert np.max(np.abs(posterior.mean - mean) / sd) < tolerance
    np.testing.assert_allclose(found, sd, rtol=tolerance)
    tau = np.exp(ln_tau)
    np.testing.assert_allclose(posterior.tau, np.sqrt(p @ tau**2), rtol=tolerance)
    np.testing.assert_allclose(posterior.tau_sd, np.sqrt(p @ (tau - p @ tau) ** 2), rtol=1.5 * tolerance, atol=1e-12)
    assert 0.3 * draws < effective <= draws


def test_errors_at_one_value_of_the_scatters_are_too_short(problem, grid):
    """What integrating is for: where the spectra say little, the most probable scatter is no substitute."""
    given, point, *_ = problem
    integrated, _ = integrate(given.evidence, jnp.asarray(point), jnp.array([0.2, 0.2, 0.8]))
    p = given.prior
    fixed = hyper.learn(*given.reduced, jnp.asarray(point), p.mean,
                        p.ln_sigma_sd, jnp.array([0.2, 0.2, 0.8]), p.group, held=given.held)  # fmt: skip
    ratio = np.sqrt(np.diag(fixed.covariance) / np.diag(integrated.covariance))
    assert np.all(ratio[:5] < 0.9)  # the group of five lines with little said of them
    assert np.isnan(fixed.tau_sd).all()


def test_a_held_group_without_lines_changes_nothing(problem):
    given, point, *_ = problem
    some = np.append(np.flatnonzero(np.asarray(given.prior.group) < 2), len(point) - 1)
    p = given.prior
    prior = SharedPrior(p.mean[some], p.ln_sigma_sd, p.group[some[:-1]])
    reduced = Reduced(given.reduced.precision[np.ix_(some, some)], given.reduced.gradient[some])
    start, found = jnp.array([0.2, 0.2, 0.8]), []
    for held in (given.held, given.held[:2]):
        fewer = Given(reduced, given.off[some], prior, held).evidence
        found.append(integrate(fewer, jnp.asarray(point[some]), start[: len(held)])[0])
    np.testing.assert_allclose(found[0].mean, found[1].mean, atol=1e-9)
    np.testing.assert_allclose(found[0].covariance, found[1].covariance, atol=1e-9)
    np.testing.assert_allclose(found[0].tau[:2], found[1].tau, rtol=1e-9)


def test_all_scatters_held_is_the_conditional_posterior(problem):
    given, point, *_ = problem
    given = given._replace(held=jnp.array([0.1, 0.3, 0.8]))
    posterior, _ = integrate(given.evidence, jnp.asarray(point), given.held)
    _, (step, precision) = given.dense(jnp.zeros(0))
    np.testing.assert_allclose(posterior.mean, point + step, atol=1e-10)
    np.testing.assert_allclose(posterior.covariance, np.linalg.inv(precision), atol=1e-10)
    np.testing.assert_allclose(posterior.tau, [0.1, 0.3, 0.8])
    np.testing.assert_allclose(posterior.tau_sd, 0.0, atol=1e-12)


def test_a_matrix_that_rounding_has_spoiled_does_not_end_the_run(problem):
    """Indefinite where a scatter is wide: those draws do not count. Indefinite everywhere: the fit is what it was."""
    given, point, *_ = problem
    good, _ = integrate(given.evidence, jnp.asarray(point), jnp.array([0.2, 0.2, 0.8]))
    a = np.array(given.reduced.precision)
    spoiled = a.copy()
    spoiled[0, 0] -= 1.0 / np.linalg.inv(a)[0, 0] + 3.0
    evidence = given._replace(reduced=given.reduced._replace(precision=jnp.asarray(spoiled))).evidence
    wide, narrow = evidence.values(np.log([[0.7, 0.2], [0.2, 0.2]]))
    assert not np.isfinite(wide)
    assert np.isfinite(narrow)
    posterior, _ = integrate(evidence, jnp.asarray(point), jnp.array([0.2, 0.2, 0.8]))
    assert np.all(np.isfinite(posterior.mean))
    assert np.all(np.diag(posterior.covariance) > 0.0)
    assert posterior.tau[0] < 0.7

    class Passed(NamedTuple):
        reduced: Reduced

    hopeless = Passed(given.reduced._replace(precision=-1e6 * jnp.eye(len(a))))
    run = FitState(jnp.zeros((1, 7)), jnp.asarray(point), (), [])
    groups = hyper.Groups(np.asarray(given.prior.group), ("a", "b", "c"), np.asarray(given.held))
    joint = Joint(run, hopeless, good, "converged")
    after = over_scatters(joint, given.prior, groups)
    assert after.posterior is good
    assert after.status.startswith("converged; scatters not integrated over")
    assert "not finite" in after.run.trace[-1]["status"]
