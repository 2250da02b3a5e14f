"""Lines measured apart: the noise that is added leaves the posterior of blended lines what it was."""

import numpy as np
import pytest

from astrogf.inference.prior.apart import Apart
from astrogf.inference.prior.conditional import System
from astrogf.inference.prior.means import Means

N, OTHER_SD, SD = 6, 0.08, 0.3


@pytest.fixture
def system() -> System:
    """Six blended lines of two species, and the resolution."""
    rng = np.random.default_rng(2)
    half = rng.normal(size=(N + 1, 3))
    precision = 60.0 * half @ half.T + np.diag(rng.uniform(0.5, 40.0, N + 1))
    member = np.array([0, 0, 0, 1, 1, 1])
    gradient, off = 30.0 * rng.normal(size=N + 1), 0.1 * rng.normal(size=N + 1)
    return System.of(precision, gradient, off, member, Means.by_species(member), OTHER_SD)


def test_lines_drawn_one_by_one_given_measurements_keep_the_posterior(system) -> None:
    """Draws of the exact posterior, measured apart, every line drawn again by its own measurement: means and
    covariances stay, though no two lines were looked at together."""
    rng, draws = np.random.default_rng(6), 20000
    weight = np.full(N, SD**-2.0)
    apart = Apart.of(system, np.full(N, SD))
    factor, mean = system.factor(weight)
    covariance = np.linalg.inv(np.tril(factor) @ np.tril(factor).T)
    half = np.linalg.cholesky(covariance)
    after = np.empty((draws, len(mean)))
    for k in range(draws):
        step = mean + half @ rng.normal(size=len(mean))
        off, more = apart.measured(rng, system, step)
        share = SD**2 / (SD**2 + more)
        again = share * off + np.sqrt(share * more) * rng.normal(size=N)
        step[:N] = again - system.off + step[system.mean_of]
        after[k] = step
    scale = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose((after.mean(axis=0) - mean) / scale, 0.0, atol=0.03)
    np.testing.assert_allclose((np.cov(after.T) - covariance) / np.outer(scale, scale), 0.0, atol=0.04)


def test_a_line_by_itself_is_measured_as_the_spectra_do(system) -> None:
    """Of lines that are not blended next to nothing is lost."""
    alone = system._replace(precision=np.diag(np.full(len(system.gradient), 9.0)))
    np.testing.assert_allclose(Apart.of(alone, np.full(N, SD)).precision, 9.0, rtol=0.05)


def test_without_spectra_lines_are_as_good_as_not_measured() -> None:
    member = np.zeros(150, int)
    none = System.of(np.zeros((151, 151)), np.zeros(151), np.zeros(151), member, Means.by_species(member), OTHER_SD)
    _, more = Apart.of(none, np.full(150, SD)).measured(np.random.default_rng(0), none, np.zeros(152))
    assert np.all(np.sqrt(more) > 3.0)
