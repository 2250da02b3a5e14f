"""A surrogate of a small problem against that problem: spectra, derivatives, and labels in units of their errors."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.inference.newton.stars import FitState, fit_stars
from astrogf.inference.problem.parameters import steps
from astrogf.inference.problem.problem import StarData
from astrogf.inference.rehearsal.small import OPTIONS, Draw, Small, build, draw, sample_of
from astrogf.inference.surrogate.build import TRIED_ON, Trial, built
from astrogf.inference.surrogate.coarse import Coarse
from astrogf.inference.surrogate.domain import Domain
from astrogf.inference.surrogate.label import as_stars
from astrogf.inference.surrogate.model import Surrogate, as_arrays, from_arrays, in_place_of
from astrogf.inference.surrogate.search import best_places, places
from astrogf.inference.surrogate.stars import fit_batches

N_STAR = 8


class Made(NamedTuple):
    small: Small
    drawn: Draw
    coarse: Coarse
    domain: Domain
    surrogate: Surrogate
    trial: Trial


@pytest.fixture(scope="module")
def made() -> Made:
    small = build(N_STAR, 30, n_pixel=60, kept=60, options=OPTIONS.changed(stars={"teff_range": (4600.0, 6200.0)}))
    drawn = draw(small, np.random.default_rng(5), snr=80.0)
    domain = Domain.of(small.options.stars)
    coarse = Coarse.under(small.problem.spectrum.grid, float(drawn.shared[-1]))
    surrogate, trial = built(small.problem, drawn.shared[:-1], coarse, domain, chunk=16, points=128)
    return Made(small, drawn, coarse, domain, surrogate, trial)


def test_spectra_it_was_not_made_from(made: Made) -> None:
    assert len(made.trial.flux) == TRIED_ON
    assert np.median(made.trial.flux) < 3e-4
    assert np.median(made.trial.slopes, axis=0).max() < 0.1


def test_derivatives_are_those_of_its_spectra(made: Made) -> None:
    at = jnp.asarray(made.domain.draw(1, made.surrogate.atmosphere, seed=9)[0])
    slopes = made.surrogate.responding(at, jnp.zeros(0)).by_parameter
    for k, step in enumerate((1.0, 1e-3, 1e-3, 1e-3, 1e-3)):
        move = step * jnp.eye(5)[k]
        up, down = (made.surrogate.normalised(at + sign * move, jnp.zeros(0)) for sign in (1, -1))
        numeric = (up - down) / (2.0 * step)
        np.testing.assert_allclose(slopes[:, k], numeric, atol=1e-3 * float(jnp.abs(numeric).max()))


def test_beyond_its_range_spectra_go_on_along_straight_lines(made: Made) -> None:
    edge = made.surrogate.high
    beyond = edge + jnp.array([80.0, 0.0, 0.1, 0.0, 0.0])
    flux, slopes = made.surrogate.both(edge)
    np.testing.assert_allclose(made.surrogate.both(beyond)[0], flux + slopes @ (beyond - edge), atol=1e-9)


def test_kept_as_arrays_it_is_the_same(made: Made) -> None:
    again = from_arrays(as_arrays(made.surrogate), made.surrogate.atmosphere, made.surrogate.grid)
    at = made.surrogate.low * 0.4 + made.surrogate.high * 0.6
    np.testing.assert_array_equal(again.both(at)[1], made.surrogate.both(at)[1])


def test_labels_are_those_of_the_exact_fit(made: Made) -> None:
    """Begun by the search, against the exact model begun at the truth; spoilt spectra harm no other."""
    small, drawn = made.small, made.drawn
    exact = sample_of(small.problem, drawn.data, small.options)
    noise, ln_sigma = small.quiet(), float(drawn.shared[-1])
    start = FitState(jnp.asarray(drawn.theta), jnp.asarray(drawn.shared), noise)
    run, passed = fit_stars(exact, start, small.options, free=False, iterations=10, tolerance=0.02)

    problem = in_place_of(small.problem, made.surrogate, made.coarse)
    flux, ivar = (np.concatenate([np.asarray(x), np.asarray(x)[:2]]) for x in drawn.data)
    ivar[N_STAR] = 0.0
    flux[N_STAR + 1] = 1e200
    data = StarData(jnp.asarray(flux), jnp.asarray(ivar))
    theta = best_places(places(problem, made.domain, ln_sigma), data)
    sample = sample_of(problem, data, small.options)
    stars = as_stars(sample, small.quiet(N_STAR + 2), theta, np.arange(N_STAR + 2))
    found = fit_batches([problem], ln_sigma, stars, batch=4)

    good = slice(0, N_STAR)
    assert found.converged[good].all()
    z = np.abs(found.theta[good] - np.asarray(run.theta)) / found.sd[good]
    assert np.median(z) < 0.1
    assert np.percentile(z, 95) < 0.3
    np.testing.assert_allclose(found.sd[good], passed.own_sd * steps(7), rtol=0.05)
    np.testing.assert_allclose(found.chi2[good], passed.chi2, rtol=0.01)


def test_a_batch_is_done_as_each_star_alone(made: Made) -> None:
    problem, drawn = in_place_of(made.small.problem, made.surrogate, made.coarse), made.drawn
    sample = sample_of(problem, drawn.data, made.small.options)
    ln_sigma = float(drawn.shared[-1])
    stars = as_stars(sample, made.small.quiet(), np.asarray(drawn.theta), np.arange(N_STAR))
    together = fit_batches([problem], ln_sigma, stars, batch=4)
    last = jax.tree.map(lambda x: np.asarray(x)[-1:], stars)
    alone = fit_batches([problem], ln_sigma, last, batch=4)
    np.testing.assert_allclose(alone.theta[0], together.theta[-1], rtol=1e-7)
