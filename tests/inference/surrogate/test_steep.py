"""Lines that change with temperature: derivatives, a surrogate and labels of `check`'s and `label`'s fits are alike."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from astropy.table import Table

from astrogf.inference.check import Corrections, SlopeErrors, label_covariance
from astrogf.inference.newton.drift import PER, SOLAR_TEFF, loading
from astrogf.inference.newton.stars import FitState, fit_stars
from astrogf.inference.problem.devices import star_mesh
from astrogf.inference.problem.parameters import lsf_sigma
from astrogf.inference.problem.problem import StarData, StarProblem
from astrogf.inference.problem.responses import responses
from astrogf.inference.problem.spectra import quiet
from astrogf.inference.rehearsal.small import OPTIONS, sample_of, spectra
from astrogf.inference.surrogate.build import built
from astrogf.inference.surrogate.coarse import Coarse
from astrogf.inference.surrogate.domain import Domain
from astrogf.inference.surrogate.label import as_stars
from astrogf.inference.surrogate.model import in_place_of
from astrogf.inference.surrogate.search import best_places, places
from astrogf.inference.surrogate.stars import fit_batches
from tests.builders.strong_lines import strong_lines

N_STAR, N_LINE, N_PIXEL, SNR = 8, 10, 60, 80.0
SMALL = OPTIONS.changed(stars={"teff_range": (4600.0, 6200.0)})


class Made(NamedTuple):
    """Lines with slopes of 0.3 dex for 1000 K, three times what is believed of them; spectra made with them."""

    plain: StarProblem
    problem: StarProblem
    slope: np.ndarray
    data: StarData
    theta: np.ndarray
    shared: np.ndarray
    domain: Domain


@pytest.fixture(scope="module")
def made() -> Made:
    rng = np.random.default_rng(5)
    plain = strong_lines(SMALL, N_PIXEL, N_LINE)
    slope = 0.3 * rng.normal(size=N_LINE)
    problem = plain.changing(slope / PER, SOLAR_TEFF)
    ln_sigma = float(lsf_sigma(SMALL.stars.resolution))
    shared = np.append(0.2 * rng.normal(size=N_LINE), ln_sigma)
    domain = Domain.of(SMALL.stars)
    drawn = domain.draw(N_STAR, problem.spectrum.atmosphere, seed=7)
    theta = np.column_stack([drawn, np.full(N_STAR, ln_sigma), 10.0 * rng.normal(size=N_STAR)])
    clean = np.asarray(spectra(problem, jnp.asarray(theta), jnp.asarray(shared[:-1])))
    data = StarData(jnp.asarray(clean + rng.normal(size=clean.shape) / SNR), jnp.full(clean.shape, SNR**2))
    return Made(plain, problem, slope, data, theta, shared, domain)


def test_a_line_is_its_correction_and_its_slope_times_the_loading(made: Made) -> None:
    """The definition of `newton.drift`, of every star by itself."""
    z = loading(made.theta[:, 0])
    assert np.ptp(z) > 0.5
    moved = made.shared[:-1] + z[:, None] * made.slope
    for k in range(2):
        one = np.asarray(spectra(made.plain, jnp.asarray(made.theta[k : k + 1]), jnp.asarray(moved[k])))
        mine = spectra(made.problem, jnp.asarray(made.theta[k : k + 1]), jnp.asarray(made.shared[:-1]))
        np.testing.assert_allclose(mine, one, atol=1e-6)
        assert np.abs(one - spectra(made.plain, made.theta[k : k + 1], made.shared[:-1])).max() > 1e-3


def test_derivatives_by_temperature_have_the_lines_in_them(made: Made) -> None:
    theta, delta = made.theta[:1], made.shared[None, :-1]
    at = responses(made.problem, theta, delta, star_mesh(1))
    step = np.eye(7)[0] * 4.0
    up, down = (responses(made.problem, theta + sign * step, delta, star_mesh(1)).flux for sign in (1, -1))
    numeric = np.asarray(up - down)[0] / 8.0
    mine = np.asarray(at.by_parameter)[0, :, 0]
    np.testing.assert_allclose(mine, numeric, atol=3e-3 * np.abs(numeric).max())
    without = np.asarray(responses(made.plain, theta, delta, star_mesh(1)).by_parameter)[0, :, 0]
    assert np.abs(mine - without).max() > 0.1 * np.abs(numeric).max()


def test_labels_of_the_surrogate_are_those_of_the_exact_fit(made: Made) -> None:
    ln_sigma = float(made.shared[-1])
    exact = sample_of(made.problem, made.data, SMALL)
    start = FitState(jnp.asarray(made.theta), jnp.asarray(made.shared), quiet(exact))
    run, passed = fit_stars(exact, start, SMALL, free=False, iterations=10, tolerance=0.02)
    coarse = Coarse.under(made.problem.spectrum.grid, ln_sigma)
    surrogate, trial = built(made.problem, made.shared[:-1], coarse, made.domain, chunk=16, points=112, tried_on=8)
    assert np.median(trial.slopes[:, 0]) < 0.1
    problem = in_place_of(made.problem, surrogate, coarse)
    sample = sample_of(problem, made.data, SMALL)
    theta = best_places(places(problem, made.domain, ln_sigma), made.data)
    found = fit_batches([problem], ln_sigma, as_stars(sample, quiet(sample), theta, np.arange(N_STAR)), batch=4)
    z = np.abs(found.theta - np.asarray(run.theta)) / found.sd
    assert np.median(z) < 0.1
    # and both are right
    sd = found.sd[:, 0]
    assert np.sqrt(np.mean(((np.asarray(run.theta)[:, 0] - made.theta[:, 0]) / sd) ** 2)) < 2.0

    errors = SlopeErrors.of(np.zeros((N_LINE, N_LINE)), 0.1**2 * np.eye(N_LINE), 0.02**2 * np.eye(N_LINE))
    of_run = Corrections(Table(), 0.02**2 * np.eye(N_LINE), ln_sigma, {}, slopes=errors)
    own, added = label_covariance(passed, of_run, np.asarray(run.theta))
    _, alone = label_covariance(passed, Corrections(Table(), 0.02**2 * np.eye(N_LINE), ln_sigma, {}), run.theta)
    # a line's error in a star is sqrt(0.02^2 + z^2 0.1^2)
    factor = 1.0 + 25.0 * loading(np.asarray(run.theta)[:, 0]) ** 2
    np.testing.assert_allclose(added, alone * factor[:, None, None], rtol=1e-6)
    assert (np.diagonal(own, 0, 1, 2) > 0).all()


def test_errors_of_slopes_that_follow_the_corrections() -> None:
    """Against draws: a slope goes against the corrections that it is coupled to, and has an error of its own."""
    rng, n = np.random.default_rng(4), 3
    root, follows = 0.1 * rng.normal(size=(n, n)), rng.normal(size=(n, n))
    corrections = root @ root.T
    step = rng.multivariate_normal(np.zeros(n), corrections, 200_000)
    slope = -step @ follows.T + 0.05 * rng.normal(size=step.shape)
    errors = SlopeErrors.of(follows, 0.05**2 * np.eye(n), corrections)
    drawn = np.cov(np.hstack([step, slope]).T)
    np.testing.assert_allclose(errors.cross, drawn[n:, :n], atol=0.02 * np.abs(drawn).max())
    np.testing.assert_allclose(errors.covariance, drawn[n:, n:], atol=0.02 * np.abs(drawn).max())
