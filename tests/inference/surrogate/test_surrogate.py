"""A surrogate of a small problem against that problem: spectra, derivatives, and labels in units of their errors."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.table import Table

from astrogf.inference.check import Corrected, Corrections
from astrogf.inference.newton.stars import FitState, fit_stars
from astrogf.inference.problem.noise import NoiseModel, variance
from astrogf.inference.problem.parameters import steps
from astrogf.inference.problem.problem import StarData
from astrogf.inference.problem.spectra import quiet
from astrogf.inference.rehearsal.small import OPTIONS
from astrogf.inference.surrogate.label import as_stars, noise_of
from astrogf.inference.surrogate.model import as_arrays, from_arrays, in_place_of
from astrogf.inference.surrogate.search import best_places, places
from astrogf.inference.surrogate.stars import fit_batches
from tests.builders.made_surrogate import N_STAR, SNR, TRIED, Made, made_surrogate

SMALL = OPTIONS.changed(stars={"teff_range": (4600.0, 6200.0)})


@pytest.fixture(scope="module")
def made() -> Made:
    return made_surrogate(SMALL, 112)


def test_spectra_it_was_not_made_from(made: Made) -> None:
    assert len(made.trial.flux) == TRIED
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
    exact, ln_sigma = made.sample(made.problem), float(made.shared[-1])
    start = FitState(jnp.asarray(made.theta), jnp.asarray(made.shared), quiet(exact))
    run, passed = fit_stars(exact, start, SMALL, free=False, iterations=10, tolerance=0.02)

    problem = in_place_of(made.problem, made.surrogate, made.coarse)
    flux, ivar = (np.concatenate([np.asarray(x), np.asarray(x)[:2]]) for x in made.data)
    ivar[N_STAR] = 0.0
    flux[N_STAR + 1] = 1e200
    data = StarData(jnp.asarray(flux), jnp.asarray(ivar))
    theta = best_places(places(problem, made.domain, ln_sigma), data)
    sample = made.sample(problem, data)
    stars = as_stars(sample, quiet(sample), theta, np.arange(N_STAR + 2))
    found = fit_batches([problem], ln_sigma, stars, batch=4)

    good = slice(0, N_STAR)
    assert found.converged[good].all()
    z = np.abs(found.theta[good] - np.asarray(run.theta)) / found.sd[good]
    assert np.median(z) < 0.1
    assert np.percentile(z, 95) < 0.3
    np.testing.assert_allclose(found.sd[good], passed.own_sd * steps(7), rtol=0.05)
    np.testing.assert_allclose(found.chi2[good], passed.chi2, rtol=0.01)


def test_a_batch_is_done_as_each_star_alone(made: Made) -> None:
    problem, ln_sigma = in_place_of(made.problem, made.surrogate, made.coarse), float(made.shared[-1])
    sample = made.sample(problem)
    stars = as_stars(sample, quiet(sample), made.theta, np.arange(N_STAR))
    together = fit_batches([problem], ln_sigma, stars, batch=4)
    last = jax.tree.map(lambda x: np.asarray(x)[-1:], stars)
    alone = fit_batches([problem], ln_sigma, last, batch=4)
    np.testing.assert_allclose(alone.theta[0], together.theta[-1], rtol=1e-7)


def test_noise_of_a_release_that_the_run_has_not_met_is_learned(made: Made) -> None:
    """Errors that are understated by a half, in half of the spectra: those are of another release."""
    doubted = np.arange(N_STAR) % 2
    ivar = np.asarray(made.data.ivar) * np.where(doubted, 4.0, 1.0)[:, None]
    sample = made.sample(made.problem, StarData(made.data.flux, jnp.asarray(ivar)))
    sample = replace(sample, windows=(replace(sample.windows[0], release=doubted),))
    origin = SimpleNamespace(releases=[np.array(["met", "new"])])
    ready = Corrected(SimpleNamespace(sample=sample, origin=origin), sample, made.shared[:-1])  # type: ignore[arg-type]
    of_run = Corrections(Table(), np.zeros((0, 0)), float(made.shared[-1]), {"met": (1.0, 0.0, 0.0)})
    problem = in_place_of(made.problem, made.surrogate, made.coarse)
    options = SMALL.changed(noise={"inflation": None})
    (learned,) = noise_of(ready, [problem], made.theta, options, of_run, lambda *_: None, seed=0)
    learned = NoiseModel(*(jnp.asarray(x) for x in learned))
    sd = np.sqrt(jax.vmap(variance)(made.data.flux, jnp.asarray(ivar), learned).mean(1))
    np.testing.assert_allclose(np.log(sd * SNR), 0.0, atol=0.25)
    assert len(np.unique(np.asarray(learned.scale) + np.asarray(learned.inflation))) == 2


def test_the_runs_factors_by_wavelength_are_in_the_noise(made: Made) -> None:
    """Variances four times as large at every wavelength: labels whose errors are twice as long, but for the prior's
    part; and none of it where the run has no factors."""
    problem, ln_sigma = in_place_of(made.problem, made.surrogate, made.coarse), float(made.shared[-1])
    sample = made.sample(made.problem)
    origin = SimpleNamespace(releases=[np.array(["met"])])
    ready = Corrected(SimpleNamespace(sample=sample, origin=origin), sample, made.shared[:-1])  # type: ignore[arg-type]
    pixels = made.problem.spectrum.grid.pixel_wavelength
    reach = pixels[0] * 10.0 ** (1e-4 * np.arange(-20, len(pixels) + 20))
    factors = Table({"wavelength": reach, "factor": np.full(len(reach), 4.0)})
    sds = []
    for told in (None, factors):
        of_run = Corrections(Table(), np.zeros((0, 0)), ln_sigma, {"met": (1.0, 0.0, 0.0)}, told)
        noise = noise_of(ready, [problem], made.theta, SMALL, of_run, lambda *_: None, seed=0)
        assert np.all(np.asarray(noise[0].local) == (1.0 if told is None else 4.0))
        sds.append(fit_batches([problem], ln_sigma, as_stars(sample, noise, made.theta, np.arange(N_STAR)), batch=4).sd)
    assert np.all(np.median(sds[1][:, :3] / sds[0][:, :3], axis=0) > 1.15)
    np.testing.assert_allclose(np.median(sds[1][:, 6] / sds[0][:, 6]), 2.0, rtol=0.05)
