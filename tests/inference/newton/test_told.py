"""What other spectra have told, against the dense normal equations of all spectra together."""

import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.inference.newton.joint import SharedPrior
from astrogf.inference.newton.told import Told
from astrogf.inference.prior import groups as hyper
from astrogf.inference.problem.arrow import Reduced
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.parameters import lsf_sigma
from astrogf.inference.problem.prior_lines import LinePrior
from astrogf.inference.statistics import LineNames, Statistics, of_lines, with_told

N = 5
OPTIONS = FitOptions()
SIGMA = float(lsf_sigma(OPTIONS.stars.resolution))


def spectra(rng: np.random.Generator, truth: np.ndarray, seen: int) -> tuple[np.ndarray, np.ndarray]:
    """Linear data of N corrections, of which the first `seen` are seen, and a survey's own ln_sigma."""
    design = rng.normal(size=(40, N + 1))
    design[:, seen:N] = 0.0
    return design, design @ truth + rng.normal(size=40)


def of(design: np.ndarray, data: np.ndarray, point: np.ndarray) -> Reduced:
    """(A, b) about a point."""
    return Reduced(jnp.asarray(design.T @ design), jnp.asarray(design.T @ (data - design @ point)))


@pytest.fixture(scope="module")
def both():
    rng = np.random.default_rng(5)
    lines = 0.2 * rng.normal(size=N)
    other_sigma = 1.3
    first = spectra(rng, np.append(lines, other_sigma + 0.3), N)
    second = spectra(rng, np.append(lines, SIGMA - 0.1), 3)
    return rng, first, second, other_sigma


def test_with_the_word_of_others_a_fit_is_the_fit_of_all(both) -> None:
    """Two surveys, each with a ln_sigma of its own; the second sees three of the five lines. Against all parameters of
    both, the means of the species among them, in one dense system."""
    rng, (g1, y1), (g2, y2), other_sigma = both
    point1, point2 = rng.normal(size=N + 1), np.append(0.3 * rng.normal(size=N), SIGMA + 0.2)
    wave = 5000.0 + np.arange(N)
    names = LineNames(wave, np.full(N, "Fe I"), np.zeros(N), np.zeros(N))
    one = of(g1, y1, point1)
    stored = Statistics(np.asarray(one.precision), np.asarray(one.gradient), point1, names, ("ln_sigma",), 4)
    alone = of_lines(stored, np.array([other_sigma]), np.array([0.05]))
    told = LinePrior(alone).told(np.arange(N), N)

    member = np.array([0, 0, 1, 1, 1])
    groups = hyper.Groups(member, ("a", "b"), member, np.full(2, np.nan))
    prior = SharedPrior.of(groups, OPTIONS, told)
    weight = np.array([25.0, 4.0, 9.0, 30.0, 16.0])
    factor, step = prior.system(of(g2, y2, point2), jnp.asarray(point2)).factor(weight)
    found = point2 + step[: N + 1]
    covariance = np.linalg.inv(np.tril(factor) @ np.tril(factor).T)[: N + 1, : N + 1]

    size = N + 2  # the lines, the ln_sigma of the second survey, that of the first
    design = np.zeros((80, size))
    design[:40, [*range(N), N + 1]], design[40:, : N + 1] = g1, g2
    lines = np.asarray(hyper.prior_precision(jnp.asarray(weight), groups.means(OPTIONS.lines.model_error)))
    before = np.zeros((size, size))
    before[:N, :N] = lines
    before[N, N], before[N + 1, N + 1] = OPTIONS.stars.ln_resolution_sd**-2, 0.05**-2
    pull = before @ np.append(np.zeros(N), [SIGMA, other_sigma])
    whole = design.T @ design + before
    dense = np.linalg.solve(whole, design.T @ np.concatenate([y1, y2]) + pull)
    np.testing.assert_allclose(found, dense[: N + 1], rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(covariance, np.linalg.inv(whole)[: N + 1, : N + 1], rtol=1e-7, atol=1e-10)

    # what is kept of both says the same to a third
    own = of(g2, y2, point2)
    kept = Statistics(np.asarray(own.precision), np.asarray(own.gradient), point2, names, ("ln_sigma",), 3)
    kept = with_told(kept, told, alone.n_star)
    assert kept.n_star == 7
    third = SharedPrior.of(groups, OPTIONS).system(Reduced(kept.precision, kept.gradient), jnp.asarray(point2))
    np.testing.assert_allclose(third.factor(weight)[1], step, rtol=1e-8, atol=1e-9)


def test_the_likelihood_of_the_others_has_the_gradient_that_is_added() -> None:
    rng = np.random.default_rng(2)
    a = rng.normal(size=(4, 4))
    told = Told(a @ a.T, rng.normal(size=4), rng.normal(size=4))
    at = rng.normal(size=4)
    nothing = Reduced(jnp.zeros((4, 4)), jnp.zeros(4))
    slope = [(told.log_likelihood(at + h) - told.log_likelihood(at - h)) / 2e-4 for h in 1e-4 * np.eye(4)]
    np.testing.assert_allclose(told.with_these(nothing, at).gradient, slope, rtol=1e-6)
    options = OPTIONS.changed(lines={"model_error": 0.05})
    groups = hyper.Groups(np.zeros(3, int), ("a",), np.zeros(3, int), np.array([np.nan]))
    learned = hyper.Learned(np.zeros((4, 1)), np.zeros((2, 4)), np.full(3, 10.0))
    with_them, without = (SharedPrior.of(groups, options, t) for t in (told, None))
    gained = with_them.log_density(jnp.asarray(at), learned) - without.log_density(jnp.asarray(at), learned)
    assert gained == pytest.approx(told.log_likelihood(at))


def test_lines_that_nothing_is_told_of_are_as_without() -> None:
    """A prior about the first and third of three corrections."""
    names = LineNames(np.array([5000.0, 5001.0]), np.full(2, "Fe I"), np.zeros(2), np.zeros(2))
    statistics = Statistics(
        np.array([[4.0, 1.0], [1.0, 3.0]]), np.array([1.0, 2.0]), np.array([0.1, 0.2]), names, (), 1
    )
    told = LinePrior(statistics).told(np.array([2, 0]), 3)
    np.testing.assert_allclose(told.precision, [[3, 0, 1, 0], [0, 0, 0, 0], [1, 0, 4, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(told.gradient, [2, 0, 1, 0])
    np.testing.assert_allclose(told.point, [0.2, 0, 0.1, 0])
