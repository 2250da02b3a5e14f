"""Plane-parallel transfer against exact solutions, finely interpolated integration and finite differences.

Layer opacities: shared/data/reference/turbospectrum/opacity (Turbospectrum v20.1, Plez 2012).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.special import expn

from astrogf.emulator.decks import own_log_tau
from astrogf.synthesis.transfer.plane import depth_rule, emergent_flux, emergent_intensity, escape, planck, response

TAU = jnp.geomspace(1e-7, 200.0, 76)


def columns(shared, star, every=10):
    """Wavelength, opacity ratio of the continuum and in all, source, tau_ross: the reference's own layers."""
    folder = shared / "reference" / "turbospectrum"
    table, deck = np.load(folder / "opacity" / f"{star}_6150_6176.npz"), np.load(folder / "stars" / f"{star}.npz")
    wave = table["wl_line"][::every]
    continuum = np.stack([np.interp(wave, table["wl_cont"], k) for k in table["kappa_cont"].T], 1)
    tau = 10.0 ** own_log_tau(deck["cons_RHOX"], deck["cons_ABROSS"])
    source = np.asarray(planck(jnp.asarray(wave), jnp.asarray(deck["cons_T"])))
    total = continuum + table["kappa_line"][::every]
    return wave, continuum / deck["cons_ABROSS"], total / deck["cons_ABROSS"], source, tau


def fine(ratio, source, tau, interpolate, n=4000):
    """Flux on n interpolated points, trapezoid rule, 20 Gauss-Legendre angles."""
    x = np.log(tau)
    grid = np.linspace(x[0], x[-1], n)
    slope = np.exp(interpolate(x, np.log(ratio * tau), axis=1)(grid))
    s = np.exp(interpolate(x, np.log(source), axis=1)(grid))
    depth = np.cumsum((slope[:, 1:] + slope[:, :-1]) / 2, axis=1) * (grid[1] - grid[0])
    depth = ratio[:, :1] * tau[0] + np.concatenate([np.zeros((len(ratio), 1)), depth], 1)
    node, weight = np.polynomial.legendre.leggauss(20)
    flux = 0.0
    for mu, w in zip((node + 1) / 2, weight / 2, strict=True):
        e = np.exp(-depth / mu)
        flux = flux + w * mu * (s[:, 0] + np.sum(np.diff(s, axis=1) * (e[:, 1:] + e[:, :-1]) / 2, axis=1))
    return 2 * np.pi * flux


@pytest.mark.parametrize("star", ["sun", "t4500g15m05"])
@pytest.mark.parametrize("interpolate", [PchipInterpolator, CubicSpline])
def test_depth_against_fine_interpolation(shared, star, interpolate):
    """The reference's own discretisation error here is 5.5e-4 of the continuum and 8e-4 in normalised flux."""
    _, continuum, total, source, tau = columns(shared, star)
    level, exact = fine(continuum, source, tau, interpolate), fine(total, source, tau, interpolate)
    ours = np.asarray(emergent_flux(continuum, source, tau, 12))
    line = np.asarray(emergent_flux(total, source, tau, 12))

    np.testing.assert_allclose(ours, level, rtol=4e-5)
    np.testing.assert_allclose(line / ours, exact / level, atol=4e-5)
    # what the default number of angles adds
    ours, line = emergent_flux(continuum, source, tau), emergent_flux(total, source, tau)
    np.testing.assert_allclose(ours, level, rtol=1e-4)
    np.testing.assert_allclose(line / ours, exact / level, atol=1.2e-4)


def test_linear_source_is_eddington_barbier():
    """S = a + b tau: I(mu) = a + b mu, but for the spline of exp(x), h^4 / 180 (Mihalas 1978, eq. 2-60)."""
    scale = np.array([[0.3], [1.0], [7.0]])
    tau = scale * np.asarray(TAU)
    source = jnp.asarray(2.0 + 5.0 * tau)
    ratio = jnp.asarray(scale * np.ones_like(tau))
    mu = jnp.array([0.1, 0.5, 1.0])

    np.testing.assert_allclose(emergent_flux(ratio, source, TAU), np.pi * (2.0 + 10.0 / 3.0), rtol=3e-5)
    intensity = emergent_intensity(ratio, source, TAU, mu)
    np.testing.assert_allclose(intensity, np.tile(2.0 + 5.0 * np.asarray(mu), (3, 1)), rtol=4e-5)


def test_intensity_adds_up_to_the_flux(shared):
    _, _, total, source, tau = columns(shared, "sun", every=100)
    node, weight = np.polynomial.legendre.leggauss(24)
    mu = (node + 1) / 2
    intensity = emergent_intensity(total, source, tau, mu)
    np.testing.assert_allclose(
        2 * np.pi * intensity @ (weight / 2 * mu), emergent_flux(total, source, tau, 16), rtol=1e-6
    )


def test_escape_is_the_exponential_integral():
    tau = np.geomspace(1e-6, 50, 60)  # the Gauss rule misses most at tau of 0.01
    np.testing.assert_allclose(escape(tau, 16), 2 * expn(3, tau), atol=1e-5)
    slope = jax.vmap(jax.grad(lambda t: escape(t, 16)))(tau[tau > 1e-2])
    np.testing.assert_allclose(slope, -2 * expn(2, tau[tau > 1e-2]), atol=1e-3)


def test_depth_rule_is_scipy_spline():
    tau = np.geomspace(1e-6, 100, 40) * np.exp(0.05 * np.sin(np.arange(40.0)))
    rule, spline = depth_rule(jnp.asarray(tau)), CubicSpline(np.log(tau), np.eye(40))
    np.testing.assert_allclose(rule.integral, spline.antiderivative()(np.log(tau)), atol=1e-12)
    np.testing.assert_allclose(rule.derivative, spline(np.log(tau), 1), atol=1e-12)


def test_derivatives_against_differences():
    rng = np.random.default_rng(1)
    tau = np.asarray(TAU)[::4]
    ratio = np.exp(rng.normal(size=(3, 1)) + 0.3 * np.sin(np.log(tau)))
    source = (1 + tau) ** 0.25 * rng.uniform(1, 2, (3, 1))
    for block in (2, 100):
        flux, by_ratio, by_source = response(ratio, source, tau, block=block)
        np.testing.assert_allclose(flux, emergent_flux(ratio, source, tau), rtol=1e-14)
        for k in (0, 5, 11, 15, 18):
            step = 1e-5 * np.eye(len(tau))[k]
            up, down = emergent_flux(ratio * (1 + step), source, tau), emergent_flux(ratio * (1 - step), source, tau)
            np.testing.assert_allclose(by_ratio[:, k] * ratio[:, k], (up - down) / 2e-5, rtol=1e-6, atol=1e-10)
            up, down = emergent_flux(ratio, source + step, tau), emergent_flux(ratio, source - step, tau)
            np.testing.assert_allclose(by_source[:, k], (up - down) / 2e-5, rtol=1e-6, atol=1e-9)
    by_tau = jax.jacfwd(lambda t: emergent_flux(ratio, source, t))(tau)
    back = jax.jacrev(lambda t: emergent_flux(ratio, source, t))(tau)
    np.testing.assert_allclose(back, by_tau, rtol=1e-6)
    step = 1e-6 * tau * (np.arange(len(tau)) == 12)
    difference = (emergent_flux(ratio, source, tau + step) - emergent_flux(ratio, source, tau - step)) / (2 * step[12])
    np.testing.assert_allclose(by_tau[:, 12], difference, rtol=1e-5)


def test_finite_on_opacities_that_jump():
    rng = np.random.default_rng(2)
    ratio = 10.0 ** rng.uniform(-6, 6, (200, len(TAU)))
    source = jnp.asarray(rng.uniform(0.5, 1.5, (200, len(TAU))))
    for value in response(ratio, source, TAU):
        assert np.isfinite(value).all()
