"""The Voigt function against scipy's Faddeeva (an independent implementation: S. G. Johnson's MIT code)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import wofz

from astrogf.synthesis.lines.voigt import voigt, wing_coefficients


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(1)
    u = rng.uniform(-60, 60, 20_000) * rng.uniform(0, 1, 20_000) ** 2
    return u, 10 ** rng.uniform(-5, 1.5, 20_000)


def test_value(points):
    u, a = points
    truth = wofz(u + 1j * a).real
    got = np.asarray(voigt(jnp.asarray(u), jnp.asarray(a)))
    assert np.abs(got - truth).max() < 1e-12
    strong = a > 1e-3
    np.testing.assert_allclose(got[strong], truth[strong], rtol=1e-5)


def test_derivatives(points):
    u, a = points
    w = wofz(u + 1j * a)
    slope = -2 * (u + 1j * a) * w + 2j / np.sqrt(np.pi)
    by_u, by_a = jax.vmap(jax.grad(voigt, argnums=(0, 1)))(jnp.asarray(u), jnp.asarray(a))
    np.testing.assert_allclose(by_u, slope.real, atol=2e-8)
    np.testing.assert_allclose(by_a, -slope.imag, atol=2e-8)


def test_smooth_where_the_hunger_formula_jumps():
    """Korg's piecewise formula jumps by up to 15% near a = 1.4; ours must follow scipy through it."""
    a = np.linspace(1.39, 1.41, 201)
    got = np.asarray(voigt(jnp.full(201, 0.7), jnp.asarray(a)))
    assert np.abs(np.diff(got, 2)).max() < 1e-7


def test_what_float32_costs(points):
    """Single precision is good to 1e-6 of the line centre but loses the far wings of weakly damped lines."""
    u, a = points
    truth = wofz(u + 1j * a).real
    got = np.asarray(voigt(jnp.asarray(u, jnp.float32), jnp.asarray(a, jnp.float32)))
    assert np.abs(got - truth).max() < 2e-6
    assert np.abs(got / truth - 1).max() > 1e-3


@pytest.mark.parametrize(("least", "worst"), [(7.0, 2e-5), (5.0, 2e-4)])
def test_wings(least, worst):
    """Relative, from 5 and from 7 Doppler widths on; no nearer than four damping widths."""
    u, a = np.meshgrid(np.geomspace(least, 1e3, 200), np.geomspace(1e-4, 2.0, 100))
    u = np.maximum(u, 4.0 * a)
    got = sum(c * u ** (-2.0 * (m + 1)) for m, c in enumerate(wing_coefficients(jnp.asarray(a))))
    np.testing.assert_allclose(got, wofz(u + 1j * a).real, rtol=worst)
