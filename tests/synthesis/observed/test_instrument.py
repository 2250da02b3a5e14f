"""Instrument operator against the closed form of a Gaussian line seen through a Gaussian and a pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from astrogf.base.constants import C_KMS
from astrogf.synthesis.observed.grid import Grid
from astrogf.synthesis.observed.instrument import observe, observe_windows

GRID = Grid(36902, 100, oversampling=24)


@pytest.mark.parametrize(("rv", "sigma"), [(0.0, 71.0), (23.7, 75.0), (-311.0, 60.0)])
def test_gaussian_line(rv, sigma):
    centre = GRID.wavelength[GRID.size // 2]
    velocity = np.log(GRID.wavelength / centre) * C_KMS
    flux = 1 - 0.8 * np.exp(-0.5 * (velocity / 12.0) ** 2)
    got = observe(jnp.asarray(flux), rv, sigma, GRID)
    x = (np.log(GRID.pixel_wavelength / centre) - np.log1p(rv / C_KMS)) * C_KMS
    width, half = np.hypot(12.0, sigma), GRID.oversampling * GRID.velocity_step / 2
    line = 0.8 * 12.0 * np.sqrt(2 * np.pi) * (norm.cdf((x + half) / width) - norm.cdf((x - half) / width)) / (2 * half)
    np.testing.assert_allclose(got, 1 - line, atol=1e-6)


def test_derivatives_against_differences():
    rng = np.random.default_rng(0)
    flux = jnp.asarray(rng.uniform(0.3, 1.0, GRID.size))
    for i, (value, step) in enumerate([(37.3, 1e-3), (70.0, 1e-3)]):
        arguments = [37.3, 70.0]
        by = jax.jacfwd(lambda x, i=i: observe(flux, *(x if j == i else a for j, a in enumerate([37.3, 70.0])), GRID))(
            value
        )
        high, low = arguments.copy(), arguments.copy()
        high[i] += step
        low[i] -= step
        difference = (observe(flux, *high, GRID) - observe(flux, *low, GRID)) / (2 * step)
        np.testing.assert_allclose(by, difference, rtol=1e-5, atol=1e-9)


def test_windows_equal_the_whole():
    rng = np.random.default_rng(0)
    start, windows = np.array([0, 700, 1500, GRID.size - 65]), rng.normal(size=(4, 65))
    first, values = observe_windows(jnp.asarray(windows), jnp.asarray(start), 41.0, 72.0, GRID)
    for i in range(4):
        full = np.zeros(GRID.size)
        full[start[i] : start[i] + 65] = windows[i]
        expected = np.asarray(observe(jnp.asarray(full), 41.0, 72.0, GRID))
        got = np.zeros(GRID.n_pixel)
        for k, value in enumerate(np.asarray(values[i])):
            if 0 <= first[i] + k < GRID.n_pixel:
                got[first[i] + k] += value
        np.testing.assert_allclose(got, expected, atol=1e-14)


def test_grid_refuses_uneven_pixels():
    with pytest.raises(ValueError, match="not whole steps"):
        Grid.over(np.linspace(4900.0, 5400.0, 400))


@pytest.mark.parametrize("width", [25, 401, 999])
def test_windows_are_seen_as_the_whole_spectrum_is(width):
    """Narrow and wide windows (two ways to compute the same) against `observe` of a spectrum that is zero outside."""
    rng = np.random.default_rng(0)
    grid = Grid.over(10 ** (np.arange(1228000, 1228400) * 3e-6), 3, reach=150.0, widest_sigma=6.0)
    start = rng.integers(0, grid.size - width, 5)
    windows = jnp.asarray(rng.normal(size=(5, width)))
    rv, sigma = jnp.asarray(13.7), jnp.asarray(3.7)
    first, values = observe_windows(windows, jnp.asarray(start), rv, sigma, grid)
    for k in range(5):
        whole = jnp.zeros(grid.size).at[start[k] : start[k] + width].set(windows[k])
        pixel = int(first[k]) + np.arange(values.shape[1])
        inside = (pixel >= 0) & (pixel < grid.n_pixel)
        mine = np.zeros(grid.n_pixel)
        mine[pixel[inside]] = np.asarray(values[k])[inside]
        np.testing.assert_allclose(mine, observe(whole, rv, sigma, grid), atol=1e-12)
