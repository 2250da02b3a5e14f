"""A width that varies along a window, and velocities of windows, against exact broadening and finite differences."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from astrogf.inference.problem.instrument import VELOCITY_UNIT, Instrument, names, own_parameters
from astrogf.inference.problem.linearise import in_pixels
from astrogf.inference.problem.options import FitOptions, StarOptions
from astrogf.inference.problem.parameters import LN_SIGMA, RV, STAR, steps
from astrogf.inference.problem.problem import N_SPECTRUM, predict
from astrogf.inference.problem.setup import numbered, prepare, with_free
from astrogf.surveys.spectrum import grid, window_pixels
from astrogf.synthesis.gas.abundances import SYMBOLS
from astrogf.synthesis.observed.grid import Grid

VARIED = StarOptions(lsf_nodes=3, lsf_sd=0.1, window_rv_sd=40.0, abundances=("Mg", "Ti"))


def test_names_and_what_they_move() -> None:
    assert names(StarOptions(), 2) == STAR
    assert names(VARIED, 1)[len(STAR) :] == ("[Mg/Fe]", "[Ti/Fe]", "ln_sigma_1_1", "ln_sigma_1_3")
    both = names(VARIED, 2)[len(STAR) + 2 :]
    assert both == ("ln_sigma_1_1", "ln_sigma_1_3", "ln_sigma_2_1", "ln_sigma_2_2", "ln_sigma_2_3", "rv_2")
    assert [own.sd for own in own_parameters(VARIED, 2)] == [*[0.1] * 5, 40.0 / VELOCITY_UNIT]

    theta = np.zeros(len(names(VARIED, 2)))
    theta[[LN_SIGMA, RV]] = 4.0, 10.0
    theta[-6:] = 0.1, 0.2, 0.3, 0.4, 0.5, 0.6
    blue, red = (Instrument.build(VARIED, 50, w, 2).at(jnp.asarray(theta)) for w in (0, 1))
    np.testing.assert_allclose(blue, [10.0, 4.1, 4.0, 4.2], rtol=1e-12)
    np.testing.assert_allclose(red, [10.0 + 0.6 * VELOCITY_UNIT, 4.3, 4.4, 4.5], rtol=1e-12)


def test_width_between_nodes_is_that_of_every_pixel() -> None:
    pixels = grid(*window_pixels((5150.0, 5250.0)))
    fine = Grid.over(pixels, 12, reach=100.0, widest_sigma=120.0)
    rng = np.random.default_rng(0)
    flux = 1.0 - 0.6 * (rng.uniform(size=fine.size) < 0.05)
    one = Instrument.build(VARIED, len(pixels))
    # R from 1750 to 2150 along the window, what LAMOST spectra show
    ln_sigma = np.log(74.0) + np.array([0.1, 0.0, -0.1])
    seen = one.see(jnp.asarray(flux), jnp.array([30.0, *ln_sigma]), fine)

    sigma = np.exp(np.interp(np.linspace(0, 1, len(pixels)), [0.0, 0.5, 1.0], ln_sigma))
    velocity = fine.velocity_step * np.arange(fine.size)
    centre = fine.velocity_step * fine.oversampling * (fine.pad + np.arange(len(pixels)))
    at = velocity - centre[:, None] + np.log1p(30.0 / 299792.458) * 299792.458
    half = 0.5 * fine.oversampling * fine.velocity_step
    kernel = erf((at + half) / sigma[:, None] / 2**0.5) - erf((at - half) / sigma[:, None] / 2**0.5)
    exact = kernel @ flux / kernel.sum(1)
    alike = one.see(jnp.asarray(flux), jnp.array([30.0, *np.full(3, np.log(74.0))]), fine)
    assert np.abs(alike - exact).max() > 2e-3  # the variation is seen
    assert np.abs(seen - exact).max() < 3e-4


@pytest.mark.slow
@pytest.mark.parametrize("window", [0, 1])
def test_derivatives_are_those_of_the_prediction(window: int) -> None:
    options = FitOptions().changed(stars=VARIED.model_dump(), model={"single": False})
    first = prepare(grid(*window_pixels((5160.0, 5190.0))), options)
    setup = numbered([first, first])[window]
    strength = np.where(setup.lines.z <= len(SYMBOLS), setup.extent.strength, 0.0)
    free = np.full(len(setup.lines), -1)
    free[np.argsort(-strength)[:12]] = np.arange(12)
    problem = with_free(setup.problem(12), free)
    theta = np.zeros(len(names(VARIED, 2)))
    theta[: len(STAR)] = 5500.0, 4.2, -0.1, 0.1, 1.1, np.log(70.0), 15.0
    theta[len(STAR) :] = [0.05, -0.1, 0.08, -0.05, 0.1, 0.02, -0.06, 0.3]
    delta = jnp.asarray(np.linspace(-0.2, 0.2, 12))

    @eqx.filter_jit
    def derivatives(problem, theta):
        at = problem.spectrum.responding(theta[:N_SPECTRUM], problem.shift(theta, delta))
        return in_pixels(problem, theta, delta, at)

    see = eqx.filter_jit(lambda problem, theta, delta: predict(problem, theta, delta))
    found = derivatives(problem, jnp.asarray(theta))
    np.testing.assert_allclose(found.normalised, see(problem, jnp.asarray(theta), delta), atol=1e-12)
    for i, step in enumerate(1e-3 * steps(len(theta))):
        if i < N_SPECTRUM:
            continue
        up, down = (see(problem, jnp.asarray(theta).at[i].add(s), delta) for s in (step, -step))
        expected = (up - down) / 2e-3
        scale = np.abs(expected).max() + 1e-4
        assert np.abs(found.own[:, i] - expected).max() < 2e-4 * scale, names(VARIED, 2)[i]
    by_line = jax.jit(jax.jacfwd(lambda d: predict(problem, jnp.asarray(theta), d)))(delta)
    assert np.abs(found.lines.dense()[:, :12] - by_line).max() < 1e-4 * np.abs(by_line).max()
