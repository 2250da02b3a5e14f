"""Scatters of groups brought to their maximum, against the rounds of an EM algorithm written down densely."""

import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.inference.newton import groups as hyper


def by_em(a, b, point, mean, ln_sigma_sd, tau, member, rounds):
    """The M-step solves tau^4 / SCATTER_SD^2 + (n - 1) tau^2 = Q, the expectation of the sum of (delta - mu)^2."""
    n, s2, m2 = len(member), hyper.SCATTER_SD**2, hyper.MEAN_SD**2
    one = np.eye(len(tau))[member]
    count = one.sum(axis=0)
    for _ in range(rounds):
        prior = np.zeros((n + 1, n + 1))
        prior[:n, :n] = np.linalg.inv(np.diag(tau[member] ** 2) + m2 * one @ one.T)
        prior[n, n] = ln_sigma_sd**-2
        covariance = np.linalg.inv(a + prior)
        delta = (point + covariance @ (b - prior @ (point - mean)))[:n]
        second = covariance[:n, :n] + np.outer(delta, delta)
        v = 1.0 / (count / tau**2 + 1.0 / m2)
        k, whole = v / tau**2, np.diag(one.T @ second @ one)
        q = one.T @ np.diag(second) - 2.0 * k * whole + count * k**2 * whole + count * v
        tau = np.sqrt(0.5 * s2 * (1.0 - count + np.sqrt((count - 1.0) ** 2 + 4.0 * q / s2)))
    return tau, covariance


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(2)
    member = np.repeat([0, 1], [50, 30])
    half = rng.normal(size=(81, 81))
    a = half @ half.T * 3.0 + np.diag(rng.uniform(5, 200, 81))
    truth = np.append(np.array([0.1, 0.3])[member] * rng.normal(size=80), 0.0)
    point = truth + 0.05 * rng.normal(size=81)
    b = a @ (truth - point) + np.linalg.cholesky(a) @ rng.normal(size=81)
    return a, b, point, np.zeros(81), 0.1, np.array([0.2, 0.2]), member


def test_scatters_and_posterior_are_those_of_em(problem):
    found = hyper.learn(*problem)
    tau, covariance = by_em(*problem, rounds=400)
    np.testing.assert_allclose(found.tau, tau, rtol=1e-3)
    np.testing.assert_allclose(np.diag(found.covariance), np.diag(covariance), rtol=2e-3)
    prior = np.asarray(hyper.shared_precision(found.tau, jnp.asarray(problem[-1]), problem[4]))
    exact = np.linalg.inv(problem[0] + prior)
    np.testing.assert_allclose(found.covariance, exact, atol=1e-12)
    np.testing.assert_allclose(found.mean, problem[2] + exact @ (problem[1] - prior @ problem[2]), atol=1e-11)


def test_held_scatters_stay_and_do_not_depend_on_the_start(problem):
    *rest, _, member = problem
    one, two = (
        hyper.learn(*rest, np.array(tau), member, held=np.array([np.nan, 0.5])) for tau in ([0.2, 0.5], [0.4, 0.9])
    )
    assert one.tau[1] == two.tau[1] == 0.5
    np.testing.assert_allclose(one.tau, two.tau, rtol=1e-3)


def test_groups_that_agree_exactly_keep_the_least_scatter(problem):
    a, _, _, mean, sd, tau, member = problem
    found = hyper.learn(1e6 * a, np.zeros(81), np.zeros(81), mean, sd, tau, member)
    np.testing.assert_allclose(found.tau, hyper.LEAST_SCATTER, rtol=1e-6)
