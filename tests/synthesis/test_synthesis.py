"""Derivatives of the spectrum against finite differences, and what depth and sampling choices cost."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.setup import prepare, with_free
from astrogf.synthesis.observed.grid import Grid
from astrogf.synthesis.observed.instrument import observe
from astrogf.synthesis.window import Linearised

N_FREE = 40
OPTIONS = FitOptions().changed(model={"single": False, "molecules": False})
GRID = Grid(37110, 24)  # 5140-5169 A: Mg b and iron
STAR = jnp.array([5400.0, 4.1, -0.3, 0.15, 1.2])


@pytest.fixture(scope="module")
def model():
    """Corrections of every other of the strongest lines."""
    setup = prepare(GRID.pixel_wavelength, OPTIONS)
    strongest = np.argsort(-setup.extent.strength)[: 2 * N_FREE : 2]
    free = np.full(len(setup.lines), -1)
    free[np.sort(strongest)] = np.arange(N_FREE)
    return with_free(setup.problem(N_FREE), free)


@eqx.filter_jit
def by_slot(problem, star, delta):
    """The spectrum with its derivatives by parameters and by corrections, and no abundances."""
    at = problem.spectrum.responding(star, problem.shift(star, delta))
    return Linearised(at.flux, at.by_parameter, problem.spectrum.window.by_line(at, problem.pieces, delta))


@pytest.fixture(scope="module")
def flux():
    return eqx.filter_jit(lambda m, p, d: m.spectrum.normalised(p, m.shift(p, d)))


@pytest.fixture(scope="module")
def linearised(model):
    return by_slot(model, STAR, jnp.zeros(N_FREE))


def test_value_is_the_same(model, flux, linearised):
    np.testing.assert_allclose(linearised.flux, flux(model, STAR, jnp.zeros(N_FREE)), rtol=1e-12)


def test_a_list_of_one_line():
    """Its strength is what it is in the company of others."""
    setup = prepare(GRID.pixel_wavelength, OPTIONS)
    strongest = np.argmax(setup.extent.strength)
    alone = prepare(GRID.pixel_wavelength, OPTIONS, lines=setup.lines.take(np.array([strongest])))
    assert len(alone.lines) == 1
    np.testing.assert_allclose(alone.extent.strength, setup.extent.strength[strongest], rtol=1e-3)


@pytest.mark.parametrize(("i", "step"), [(0, 2.0), (1, 2e-3), (2, 2e-3), (3, 2e-3), (4, 2e-3)])
def test_labels_against_differences(model, flux, linearised, i, step):
    zero = jnp.zeros(N_FREE)
    move = jnp.zeros(5).at[i].set(step)
    difference = (flux(model, STAR + move, zero) - flux(model, STAR - move, zero)) / (2 * step)
    got = linearised.by_parameter[:, i]
    assert float(jnp.abs(difference).max()) > 1e-6
    np.testing.assert_allclose(got, difference, atol=2e-4 * float(jnp.abs(difference).max()))


def whole(parts, n_slot: int, size: int) -> np.ndarray:
    """Derivatives by slot on the whole grid, from those of pieces of lines."""
    dense = np.zeros((n_slot + 1, size + 512))
    for part in parts:
        for start, slot, values in zip(*(np.asarray(x) for x in (part.start, part.free, part.slope)), strict=True):
            dense[slot, start : start + len(values)] += values
    return dense[:-1, :size]


def test_twenty_lines_against_differences(model, flux, linearised):
    dense = whole(linearised.by_line, N_FREE, model.spectrum.grid.size)
    for k in range(0, N_FREE, 2):
        move = jnp.zeros(N_FREE).at[k].set(1e-3)
        difference = np.asarray(flux(model, STAR, move) - flux(model, STAR, -move)) / 2e-3
        np.testing.assert_allclose(dense[k], difference, atol=1e-4 * np.abs(difference).max())


def test_sampling_of_the_fit_is_fine_enough(flux):
    """Survey pixels at the fit's own sampling against one five times denser in wavelength and 80 layers."""
    pixels = []
    for options in (
        FitOptions(),
        FitOptions().changed(
            model={
                "oversampling": 120,
                "depths": 80,
                "tau_top": -5.0,
                "tau_bottom": 1.5,
                "angles": 6,
                "single": False,
                "line_cut": 2e-4,
            }
        ),
    ):
        setup = prepare(GRID.pixel_wavelength, options)
        m = setup.problem(0)
        pixels.append(np.asarray(observe(flux(m, STAR, jnp.zeros(0)), 0.0, 70.0, m.spectrum.grid)))
    assert np.abs(pixels[0] - pixels[1]).max() < 2e-3


def test_what_single_precision_costs():
    """Weak lines and wings in float32: less than 1e-5 of the flux and 1e-4 of the greatest derivative."""
    made = []
    for single in (False, True):
        m = prepare(GRID.pixel_wavelength, OPTIONS.changed(model={"single": single})).model
        assert any(cores.single for cores in m.window.pieces.cores) == single
        made.append(eqx.filter_jit(lambda m: m.responding(STAR, jnp.zeros(m.n_line)))(m))
    exact, cheap = made
    assert 1e-10 < np.abs(cheap.flux - exact.flux).max() < 1e-5
    worst = np.abs(cheap.by_parameter - exact.by_parameter).max(axis=0)
    assert np.all(worst < 1e-4 * np.abs(exact.by_parameter).max(axis=0))


def test_gradients_are_finite_in_the_corners(model):
    corners = [(4000.0, 0.5, -2.4, 0.0, 0.1), (7900.0, 4.9, 0.5, 0.4, 3.0), (3600.0, 4.9, 0.5, 0.0, 0.1)]
    for corner in corners:
        for shift in (-3.0, 0.0, 3.0):
            out = by_slot(model, jnp.array(corner), jnp.full(N_FREE, shift))
            assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(eqx.filter(out, eqx.is_array)))
