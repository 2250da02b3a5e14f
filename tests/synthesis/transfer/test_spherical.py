"""Spherical transfer against the plane-parallel limit and brute-force integration along rays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.synthesis.transfer.plane import emergent_flux
from astrogf.synthesis.transfer.spherical import reference_radius, shell_radius, spherical_flux

TAU = np.geomspace(1e-6, 100.0, 72)
flux_of = jax.jit(spherical_flux, static_argnames=("angles", "block"))
SCALE = 1e11  # cm
HEIGHT = -SCALE * 0.4 * np.log(TAU / (2 / 3))


def test_tends_to_plane_parallel():
    ratio = jnp.asarray([[0.3], [1.0], [20.0]] * np.ones(72))
    source = jnp.asarray((1.0 + np.array([[0.3], [1.0], [20.0]]) * TAU) ** 0.25)
    plane = np.asarray(emergent_flux(ratio, source, TAU, 6))
    error = []
    for radius in (1e15, 1e17):
        shells = jnp.asarray(radius + HEIGHT)
        error.append(np.abs(flux_of(ratio, source, TAU, shells, radius, block=2) / plane - 1).max())
    assert error[1] < 1e-3
    assert error[1] < error[0]


def test_brute_force_for_an_extended_star():
    """Atmosphere a fifth of the radius: 8,000 steps a ray, 1,000 rays, S and log opacity linear in log tau_ross."""
    radius = 20 * SCALE * 0.4
    shells = radius + HEIGHT
    source = np.clip(1.0 + 0.15 * np.log10(TAU / 1e-6), 1.0, None)[None]
    ratio = np.ones((1, 72))
    ours = float(flux_of(jnp.asarray(ratio), jnp.asarray(source), TAU, jnp.asarray(shells), radius, angles=12)[0])

    def tau_of(r):
        return 2 / 3 * np.exp(-(r - radius) / (0.4 * SCALE))

    edges = np.linspace(0, shells[0], 1001)
    total = 0.0
    for p in (edges[1:] + edges[:-1]) / 2:
        reach = np.sqrt(shells[0] ** 2 - p**2)
        end = np.sqrt(shells[-1] ** 2 - p**2) if p < shells[-1] else -reach
        z = np.linspace(reach, end, 8001)
        r = np.sqrt(z**2 + p**2)
        slope = tau_of(r) / (0.4 * SCALE)
        step = (slope[1:] + slope[:-1]) / 2 * (z[0] - z[1])
        tau = np.concatenate([[0.0], np.cumsum(step)])
        s = 1.0 + 0.15 * np.log10(np.maximum(tau_of(r), 1e-6) / 1e-6)
        total += p * (
            np.sum((s[1:] + s[:-1]) / 2 * (np.exp(-tau[:-1]) - np.exp(-tau[1:])))
            + (p < shells[-1]) * s[-1] * np.exp(-tau[-1])
        )
    brute = 2 * np.pi * total * (edges[1] - edges[0]) / radius**2
    assert ours == pytest.approx(brute, rel=5e-3)


def test_radius_of_an_isothermal_atmosphere():
    """rho = rhox / H: r = R - H ln(rhox / rhox(2/3)); R = sqrt(G M / g), the Sun's at log g 4.438."""
    rhox = TAU**0.7
    got = shell_radius(TAU, rhox, rhox / SCALE, 1e13)
    np.testing.assert_allclose(got, 1e13 - SCALE * 0.7 * np.log(TAU / (2 / 3)), rtol=1e-6)
    assert float(reference_radius(4.438)) == pytest.approx(6.957e10, rel=1e-3)


def test_derivatives_against_differences():
    radius, tau = 20 * SCALE, TAU[::4]
    columns = [jnp.ones((2, 18)), jnp.asarray([(1 + tau) ** 0.25] * 2), jnp.asarray(radius + HEIGHT[::4])]
    total = jax.jit(lambda r, s, z: jnp.sum(spherical_flux(r, s, tau, z, radius, block=1)))
    by = jax.jit(jax.grad(total, argnums=(0, 1, 2)))(*columns)
    rng = np.random.default_rng(0)
    for i in range(3):
        assert np.isfinite(by[i]).all()
        way = rng.normal(size=columns[i].shape) * (1e-4 if i < 2 else 1e-4 * SCALE)
        up, down = ([c + s * way if j == i else c for j, c in enumerate(columns)] for s in (1, -1))
        assert float(jnp.sum(by[i] * way)) == pytest.approx(float(total(*up) - total(*down)) / 2, rel=1e-4)
