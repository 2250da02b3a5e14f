"""Broadening against direct convolution with the profiles of Gray (2005), chapters 17 and 18, and scipy's Bessel."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import j1, spherical_jn

from astrogf.base.constants import C_KMS
from astrogf.synthesis.observed import broadening
from astrogf.synthesis.observed.broadening import resolution_sigma

broaden = jax.jit(broadening.broaden)
bessel_ratio, spherical_ratio = jax.jit(broadening.bessel_ratio), jax.jit(broadening.spherical_ratio)
STEP = 0.5
VELOCITY = (np.arange(1201) - 600) * STEP


def line(v):
    """Two Gaussian lines on a sloping continuum: known everywhere, so a kernel can be integrated finely."""
    return 1 + 2e-4 * v - 0.7 * np.exp(-0.5 * (v / 2.5) ** 2) - 0.3 * np.exp(-0.5 * ((v - 21.0) / 4.0) ** 2)


def convolved(kernel, reach, v, breaks=()):
    """Integral of kernel(u) line(v - u) over |u| < reach, kernel normalised by its own integral."""
    edges = [-reach, *breaks, reach]
    whole = sum(quad(kernel, a, b, epsabs=1e-10)[0] for a, b in itertools.pairwise(edges))
    return [
        sum(
            quad(lambda u, x=x: kernel(u) * line(x - u), a, b, epsabs=1e-10, limit=200)[0]
            for a, b in itertools.pairwise(edges)
        )
        / whole
        for x in v
    ]


def rotation(vsini, epsilon):
    """Gray (2005), eq. 18.14."""

    def kernel(u):
        y = max(1 - (u / vsini) ** 2, 0.0)
        return 2 * (1 - epsilon) * np.sqrt(y) + np.pi * epsilon / 2 * y

    return kernel


def macroturbulence(zeta):
    """Gray (2005), eq. 17.6, A_R = A_T: u / zeta times the integral of exp(-1 / w^2) up to zeta / u."""

    def kernel(u):
        x = abs(u) / zeta
        # by parts; at small u the integral diverges as 1 / x and the product stays finite
        return 1.0 if x == 0 else x * quad(lambda w: np.exp(-1 / w**2), 0, 1 / x, epsabs=1e-11, limit=200)[0]

    return kernel


PICK = np.array([500, 590, 600, 607, 630, 645, 700])


@pytest.mark.parametrize(("vsini", "epsilon"), [(2.0, 0.6), (15.0, 0.0), (15.0, 1.0), (60.0, 0.6)])
def test_rotation(vsini, epsilon):
    got = broaden(jnp.asarray(line(VELOCITY)), STEP, vsini=vsini, epsilon=epsilon)[PICK]
    np.testing.assert_allclose(got, convolved(rotation(vsini, epsilon), vsini, VELOCITY[PICK], (0.0,)), atol=2e-6)


@pytest.mark.parametrize("zeta", [1.5, 6.0])
def test_macroturbulence(zeta):
    got = broaden(jnp.asarray(line(VELOCITY)), STEP, vmacro=zeta)[PICK[1:5]]
    want = convolved(macroturbulence(zeta), 6 * zeta, VELOCITY[PICK[1:5]], (0.0,))
    np.testing.assert_allclose(got, want, atol=2e-6)


@pytest.mark.parametrize("sigma", [0.3, 7.0])
def test_gaussian_is_closed_form(sigma):
    got = broaden(jnp.asarray(line(VELOCITY)), STEP, sigma=sigma)
    want = 1 + 2e-4 * VELOCITY
    for depth, centre, width in ((0.7, 0.0, 2.5), (0.3, 21.0, 4.0)):
        total = np.hypot(width, sigma)
        want = want - depth * width / total * np.exp(-0.5 * ((VELOCITY - centre) / total) ** 2)
    np.testing.assert_allclose(got[200:1000], want[200:1000], atol=2e-6)


def test_zero_width_is_the_spectrum_itself():
    flux = jnp.asarray(np.random.default_rng(0).uniform(0, 1, 501))
    np.testing.assert_allclose(broaden(flux, STEP), flux, atol=1e-14)
    flux = jnp.asarray(line(VELOCITY))
    for name in ("vsini", "vmacro", "sigma"):
        first = jax.jit(jax.jacfwd(lambda v, name=name: broaden(flux, STEP, **{name: v})))
        np.testing.assert_array_equal(first(0.0), 0.0)
        # variance of a unit-width kernel times the curvature of the spectrum: rotation (epsilon = 0.6)
        # 1/4 (1 - 7 eps / 15) / (1 - eps / 3), macroturbulence 1/4, Gaussian 1
        variance = {"vsini": 0.25 * (1 - 0.28) / 0.8, "vmacro": 0.25, "sigma": 1.0}[name]
        curvature = (line(VELOCITY + 1e-3) - 2 * line(VELOCITY) + line(VELOCITY - 1e-3)) / 1e-6
        second = np.asarray(jax.jit(jax.jacfwd(first))(0.0))
        np.testing.assert_allclose(second[200:1000], variance * curvature[200:1000], atol=1e-6)


def test_derivatives_against_differences():
    flux = jnp.asarray(line(VELOCITY))
    at = {"vsini": 9.0, "vmacro": 4.0, "sigma": 2.0, "epsilon": 0.5}
    for name, value in at.items():
        by = jax.jit(jax.jacfwd(lambda v, name=name: broaden(flux, STEP, **{**at, name: v})))(value)
        up, down = (broaden(flux, STEP, **{**at, name: value + h}) for h in (1e-4, -1e-4))
        np.testing.assert_allclose(by, (up - down) / 2e-4, rtol=1e-4, atol=1e-8)


def test_many_stars_at_once():
    flux, vsini = jnp.asarray(np.stack([line(VELOCITY)] * 3)), jnp.array([0.0, 0.1, 300.0])
    together = jax.jit(jax.vmap(lambda f, v: broaden(f, STEP, vsini=v)))(flux, vsini)
    for i in range(3):
        np.testing.assert_allclose(together[i], broaden(flux[i], STEP, vsini=vsini[i]), atol=1e-13)
    slope = jax.jit(jax.grad(lambda v: jnp.sum(broaden(flux[0], STEP, vsini=v) ** 2)))
    assert all(np.isfinite(slope(v)) for v in (0.0, 1e-8, 0.1, 300.0))


def test_special_functions_against_scipy():
    z = np.concatenate([np.geomspace(1e-4, 3000, 4000), [0.99999, 1.00001, 11.9999, 12.0001]])
    np.testing.assert_allclose(bessel_ratio(z**2), 2 * j1(z) / z, atol=2e-10)
    np.testing.assert_allclose(spherical_ratio(z**2), 3 * spherical_jn(1, z) / z, atol=1e-12)
    assert bessel_ratio(jnp.array(0.0)) == 1.0
    assert spherical_ratio(jnp.array(0.0)) == 1.0


def test_resolution():
    """R = 20,000 is a FWHM of 15 km/s."""
    assert resolution_sigma(20000.0) == pytest.approx(C_KMS / 20000.0 / 2.354820045)
