"""The probability of the scatters, its derivatives and the posterior at each, against dense matrices and autodiff."""

import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.inference.newton.evidence import Evidence
from astrogf.inference.newton.joint import SharedPrior
from astrogf.inference.problem.arrow import Reduced
from tests.builders.scatters import Given

HELD = 0.8


def blended(n_line: int, seed: int = 5) -> Given:
    """Blended lines in five groups, the third held, the last of no line, about a point off the maximum."""
    rng = np.random.default_rng(seed)
    member = rng.choice(4, n_line, p=[0.5, 0.2, 0.2, 0.1])
    held = np.array([np.nan, np.nan, HELD, np.nan, np.nan])
    place, strength = np.arange(n_line), np.exp(rng.normal(1.5, 1.0, n_line))
    a = np.zeros((n_line + 1, n_line + 1))
    a[:-1, :-1] = strength[:, None] * np.exp(-((place[:, None] - place) ** 2) / 3.0) * strength
    a[-1, -1] = 1e3
    labels = rng.normal(size=(n_line + 1, 6))
    a -= a @ labels @ np.linalg.solve(labels.T @ a @ labels + np.eye(6), labels.T @ a)
    truth = np.append(np.array([0.1, 0.3, HELD, 0.2])[member] * rng.normal(size=n_line), 0.03)
    point = truth + 0.1 * rng.normal(size=n_line + 1)
    mean = np.append(0.1 * (member == 2), 0.01)
    prior = SharedPrior(jnp.asarray(mean), jnp.asarray(0.08), jnp.asarray(member))
    noise = np.linalg.cholesky(a) @ rng.normal(size=n_line + 1)
    reduced = Reduced(jnp.asarray(a), jnp.asarray(a @ (truth - point) + noise))
    return Given(reduced, jnp.asarray(point - mean), prior, jnp.asarray(held))


@pytest.mark.parametrize("n_line", [60, 150])
def test_value_derivatives_and_posterior_against_dense_matrices(n_line):
    given = blended(n_line)
    evidence, here, there = given.evidence, np.log([0.1, 0.3, 0.2, 0.25]), np.log([0.04, 0.5, 0.1, 0.2])
    found = evidence.at(here)
    value, (step, precision) = given.dense(here)
    assert evidence.at(there).value - found.value == pytest.approx(float(given.dense(there)[0] - value), rel=1e-9)
    slope, hessian = given.slope_and_hessian(here)
    np.testing.assert_allclose(found.slope, slope, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found.hessian, hessian, rtol=1e-8, atol=1e-7)
    whole, covariance = evidence.held.together(found.step, found.covariance)
    np.testing.assert_allclose(whole, step, atol=1e-9)
    np.testing.assert_allclose(covariance, np.linalg.inv(precision), atol=1e-10)


def test_the_density_of_tau_is_that_of_ln_tau_less_the_jacobian():
    evidence, here = blended(60).evidence, np.log([0.1, 0.3, 0.2, 0.25])
    one, two = evidence.at(here, 1.0), evidence.at(here, 2.0)
    assert one.value == pytest.approx(two.value - here.sum())
    np.testing.assert_allclose(one.slope, two.slope - 1.0)
    np.testing.assert_allclose(one.hessian, two.hessian)


def test_derivatives_against_differences():
    evidence, here, h = blended(80).evidence, np.log([0.1, 0.3, 0.2, 0.25]), 1e-4
    found = evidence.at(here)
    ends = [[evidence.at(here + sign * h * e) for sign in (1.0, -1.0)] for e in np.eye(4)]
    np.testing.assert_allclose(found.slope, [(up.value - down.value) / (2 * h) for up, down in ends], rtol=1e-6)
    rows = [(up.slope - down.slope) / (2 * h) for up, down in ends]
    np.testing.assert_allclose(found.hessian, rows, rtol=1e-5, atol=1e-5)


def test_values_and_mixture_of_draws_are_those_of_each():
    evidence = blended(60).evidence
    draws = np.log([[0.1, 0.3, 0.2, 0.2], [0.2, 0.2, 0.1, 0.3], [0.1, 0.3, 0.2, 0.3]])
    weight = np.array([0.5, 0.2, 0.3])
    each = [evidence.at(x) for x in draws]
    np.testing.assert_allclose(evidence.values(draws), [one.value for one in each], rtol=1e-12)
    step, covariance = evidence.mixture(draws, weight)
    steps = np.array([one.step for one in each])
    np.testing.assert_allclose(step, weight @ steps, atol=1e-12)
    wanted = sum(w * one.covariance for w, one in zip(weight, each, strict=True))
    wanted += np.cov(steps.T, bias=True, aweights=weight)
    np.testing.assert_allclose(covariance, wanted, atol=1e-12)


@pytest.mark.parametrize("start", [0.02, 0.2, 1.5])
def test_the_search_ends_at_the_maximum_wherever_it_begins(start):
    evidence = blended(100).evidence
    place, found = evidence.maximum(np.full(4, np.log(start)))
    wanted, _ = evidence.maximum(np.log([0.1, 0.3, 0.2, 0.2]))
    np.testing.assert_allclose(place, wanted, atol=1e-3)
    assert found.value == pytest.approx(evidence.at(place).value)
    assert np.all(np.abs(found.slope) < 1e-2)
    assert np.all(np.linalg.eigvalsh(found.hessian) < 0.0)


def test_a_scatter_that_would_fall_below_the_least_stays_there():
    given = blended(60)
    same = given._replace(off=0.0 * given.off, reduced=given.reduced._replace(gradient=0.0 * given.reduced.gradient))
    place, found = same.evidence.maximum(np.log(np.full(4, 0.3)), power=1.0, least=0.1)
    tau = np.exp(place)
    assert tau[0] == pytest.approx(0.1)
    assert found.slope[0] < 0.0
    above = tau > 0.1 + 1e-9
    np.testing.assert_allclose(found.slope[above], 0.0, atol=1e-2)


def test_nothing_at_the_start_of_the_search_is_said():
    given = blended(60)
    a = np.array(given.reduced.precision)
    hopeless = given._replace(reduced=given.reduced._replace(precision=jnp.asarray(a - 1e7 * np.eye(len(a)))))
    with pytest.raises(FloatingPointError, match="not finite"):
        hopeless._replace(held=jnp.full(5, jnp.nan)).evidence.maximum(np.full(5, np.log(0.2)))
    with pytest.raises(FloatingPointError, match="not finite"):
        _ = hopeless.evidence


def test_all_scatters_held_leave_the_resolution():
    given = blended(60)
    evidence = given._replace(held=jnp.full(5, 0.3)).evidence
    assert isinstance(evidence, Evidence)
    assert evidence.precision.shape == (1, 1)
    place, found = evidence.maximum(np.zeros(0))
    assert place.shape == (0,)
    assert found.covariance.shape == (1, 1)


@pytest.mark.parametrize("group", range(4))
def test_the_density_along_one_groups_axis_is_exact(group):
    evidence, here = blended(80).evidence, np.log([0.1, 0.3, 0.2, 0.25])
    draws = np.tile(here, (4, 1))
    draws[:, group] = np.log([0.03, 0.1, 0.4, 0.9])
    found = evidence.along(group, here, evidence.at(here), draws[:, group])
    wanted = evidence.values(draws)
    np.testing.assert_allclose(found - found[0], wanted - wanted[0], rtol=1e-8, atol=1e-8)
