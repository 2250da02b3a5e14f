"""Scattering against exact solutions, Turbospectrum with and without it, and finite differences.

Reference: shared/data/reference/turbospectrum, `B` (scattering) beside `Blte` (S = B), Turbospectrum v20.1 (Plez 2012).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.emulator.decks import own_log_tau
from astrogf.synthesis.transfer import plane as transfer
from astrogf.synthesis.transfer import scattering

source_of = jax.jit(scattering.scattered_source, static_argnames=("angles", "block"))
flux_of = jax.jit(scattering.scattered_flux, static_argnames="angles")
response_of = jax.jit(scattering.scattered_response, static_argnames=("angles", "block"))
lte_of = jax.jit(transfer.emergent_flux, static_argnums=3)
TAU = jnp.geomspace(1e-7, 1e4, 90)


def reference(shared, star):
    folder = shared / "reference" / "turbospectrum"
    deck, spectra = np.load(folder / "stars" / f"{star}.npz"), np.load(folder / "spectra" / f"{star}.npz")
    tau = jnp.asarray(10.0 ** own_log_tau(deck["cons_RHOX"], deck["cons_ABROSS"]))
    return deck, spectra, tau


@pytest.mark.parametrize("epsilon", [0.5, 0.05, 0.01])
def test_isothermal_surface_is_root_epsilon(epsilon):
    """Semi-infinite isothermal atmosphere, constant destruction: S(0) = sqrt(eps) B, exactly (Mihalas 1978, p. 352)."""
    one = jnp.ones((2, len(TAU)))
    source = source_of(epsilon * one, (1 - epsilon) * one, 3.0 * one, TAU, angles=6)
    np.testing.assert_allclose(source[:, 0], 3.0 * np.sqrt(epsilon), rtol=5e-3)
    np.testing.assert_allclose(source[:, -1], 3.0, rtol=1e-6)


def test_grey_conservative_surface():
    """Milne's problem: J linear at depth, S(0) / H = sqrt(3) and q(inf) = 0.710446 (Mihalas 1978, table 3-2)."""
    thermal = jnp.asarray(np.asarray(TAU)[None] + 0.710446)
    tiny = jnp.full_like(thermal, 1e-13)
    source = np.asarray(source_of(tiny, 1.0 - tiny, thermal, TAU, angles=6))[0]
    # S = 3 H (tau + q): the slope at depth is 3 H = 1, and q(0) = 1 / sqrt(3)
    assert source[0] == pytest.approx(1 / np.sqrt(3), rel=5e-3)
    flux = lte_of(jnp.ones_like(thermal), jnp.asarray(source[None]), TAU, 5)[0]
    assert flux == pytest.approx(4 * np.pi / 3, rel=5e-3)


def test_equilibrium_and_no_scattering():
    rng = np.random.default_rng(0)
    absorption = jnp.asarray(np.exp(rng.normal(size=(5, len(TAU)))))
    thermal = jnp.asarray(rng.uniform(1, 2, (5, len(TAU))))
    np.testing.assert_allclose(source_of(absorption, 0 * absorption, thermal, TAU), thermal, rtol=1e-14)
    np.testing.assert_allclose(  # blocks that do not divide the wavelengths
        source_of(absorption, absorption, thermal, TAU, block=2),
        source_of(absorption, absorption, thermal, TAU),
        rtol=1e-12,
    )


@pytest.mark.parametrize(
    ("star", "window", "atol"),
    [
        ("sun", "5150", 3e-5),
        ("t4500g15m05", "5150", 6e-4),
        ("t4500g15m05", "6100", 2e-4),
        ("t4000g15p00", "6100", 2e-4),
    ],
)
def test_continuum_against_turbospectrum(shared, star, window, atol):
    """Ratio of the continua with and without scattering: 1.013 for the giant at 5150 A. The reference stops its
    iteration at 1e-4."""
    deck, spectra, tau = reference(shared, star)
    wave = deck[f"tsB_cont_lam_{window}"]
    inside = (wave > spectra[f"wl_{window}"][0]) & (wave < spectra[f"wl_{window}"][-1])
    ratio = [deck[f"tsB_cont_{x}_{window}"].T[inside] / deck["cons_ABROSS"] for x in ("kappa", "sigma")]
    thermal = transfer.planck(jnp.asarray(wave[inside]), jnp.asarray(deck["cons_T"]))
    ours = flux_of(*ratio, thermal, tau) / lte_of(sum(ratio), thermal, tau, 5)
    theirs = spectra[f"B_cont_{window}"] / spectra[f"Blte_cont_{window}"]
    np.testing.assert_allclose(ours, np.interp(wave[inside], spectra[f"wl_{window}"], theirs), atol=atol)


def test_lines_against_turbospectrum(shared):
    """What scattering does to the normalised flux of the giant, 6150-6176 A: up to 2e-3."""
    deck, spectra, tau = reference(shared, "t4500g15m05")
    table = np.load(shared / "reference" / "turbospectrum" / "opacity" / "t4500g15m05_6150_6176.npz")
    wave = table["wl_line"][::4]
    kappa, sigma = (
        np.stack([np.interp(wave, deck["tsB_cont_lam_6100"], x) for x in deck[f"tsB_cont_{name}_6100"]], 1)
        / deck["cons_ABROSS"]
        for name in ("kappa", "sigma")
    )
    lines = table["kappa_line"][::4] / deck["cons_ABROSS"]
    thermal = transfer.planck(jnp.asarray(wave), jnp.asarray(deck["cons_T"]))
    level, level_lte = flux_of(kappa, sigma, thermal, tau), lte_of(kappa + sigma, thermal, tau, 5)
    ours = flux_of(kappa + lines, sigma, thermal, tau) / level
    ours = np.asarray(ours - lte_of(kappa + lines + sigma, thermal, tau, 5) / level_lte)
    difference = spectra["B_norm_6100"] - spectra["Blte_norm_6100"]
    theirs = np.interp(wave, spectra["wl_6100"], difference)
    assert np.abs(theirs).max() > 1e-3
    np.testing.assert_allclose(ours, theirs, atol=3e-4)


def test_derivatives_against_differences():
    rng = np.random.default_rng(3)
    tau = TAU[::3]
    absorption = np.exp(0.5 * rng.normal(size=(3, 1)) + 0.3 * np.sin(np.log(tau)))
    columns = [absorption, np.asarray(absorption * 5 / (1 + 30 * tau)), (1 + tau) ** 0.25 * rng.uniform(1, 2, (3, 1))]
    flux, *by = response_of(*columns, tau, block=2)
    np.testing.assert_allclose(flux, flux_of(*columns, tau), rtol=1e-13)
    for i in range(3):
        for k in (0, 3, 12, 16, 18, 20):
            up, down = (
                [c * (1 + s * (j == i) * np.eye(len(tau))[k]) for j, c in enumerate(columns)] for s in (1e-3, -1e-3)
            )
            difference = (flux_of(*up, tau) - flux_of(*down, tau)) / 2e-3
            np.testing.assert_allclose(by[i][:, k] * columns[i][:, k], difference, rtol=1e-4, atol=1e-6)


def test_finite_on_opacities_that_jump():
    rng = np.random.default_rng(2)
    columns = [jnp.asarray(10.0 ** rng.uniform(-6, 6, (50, len(TAU)))) for _ in range(2)]
    thermal = jnp.asarray(rng.uniform(0.5, 1.5, (50, len(TAU))))
    for value in response_of(*columns, thermal, TAU):
        assert np.isfinite(value).all()
    source = source_of(*columns, thermal, TAU)
    assert float(source.min()) > 0
    assert float(source.max()) < 1.5  # J never exceeds the brightest layer
