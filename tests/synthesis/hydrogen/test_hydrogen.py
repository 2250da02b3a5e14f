"""H I line opacity against Turbospectrum, published widths, exact integrals and finite differences."""

import lzma
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator
from scipy.special import expn, wofz

from astrogf.synthesis.continuum.hydrogen import occupation
from astrogf.synthesis.continuum.opacity import continuum_opacity
from astrogf.synthesis.gas.abundances import number_fractions
from astrogf.synthesis.gas.eos import equation_of_state
from astrogf.synthesis.gas.gas import Gas
from astrogf.synthesis.hydrogen import opacity as hydrogen
from astrogf.synthesis.hydrogen.atom import collision_widths, line_wavelength, oscillator_strength, radiative_width
from astrogf.synthesis.hydrogen.opacity import _stark_file, hydrogen_plan
from astrogf.synthesis.hydrogen.profile import (
    StarkTable,
    holtsmark_field,
    line_profile,
    ln_stark,
    stark_at,
    stark_curve,
)

K_BOLTZMANN, C_LIGHT = 1.380649e-16, 2.99792458e10
hydrogen_opacity = jax.jit(hydrogen.hydrogen_opacity)


def gas(t, xne, n_hi) -> Gas:
    t, xne, n_hi = (jnp.atleast_1d(jnp.asarray(x, dtype=float)) for x in (t, xne, n_hi))
    n = jnp.zeros((92, 3, t.size)).at[0, 0].set(n_hi).at[1, 0].set(0.085 * n_hi)
    u = jnp.zeros_like(n).at[0, 0].set(n_hi / 2)
    return Gas(t, xne, n_hi * 2.3e-24, n, u, jnp.zeros_like(t), jnp.zeros((21, t.size)))


def stark_table(n: int, m: int) -> StarkTable:
    f = _stark_file()
    i = int(np.flatnonzero((f["levels"] == (n, m)).all(axis=1))[0])
    return StarkTable(*(jnp.asarray(f[k]) for k in ("log_t", "log_ne", "log_alpha")), jnp.asarray(f["ln_profile"][i]))


def air_to_vacuum(air: np.ndarray) -> np.ndarray:
    """N. Piskunov's inverse of Birch & Downs (1994), as VALD gives it."""
    s2 = (1e4 / air) ** 2
    return air * (
        1 + 8.336624212083e-5 + 2.408926869968e-2 / (130.1065924522 - s2) + 1.599740894897e-4 / (38.92568793293 - s2)
    )


@pytest.mark.parametrize(
    ("n", "m", "f"),
    [
        (1, 2, 0.41641),
        (2, 3, 0.64108),
        (2, 4, 0.11938),
        (2, 5, 0.044694),
        (3, 9, 0.010231),
        (2, 10, 0.0038528),
    ],
)
def test_oscillator_strengths(n, m, f):
    """Wiese & Fuhr (2009, JPCRD 38, 565), level averages (they carry the reduced mass, 0.05 %)."""
    np.testing.assert_allclose(oscillator_strength(n, m), f, rtol=1e-3)


def test_atom():
    """H alpha, H beta in vacuum: NIST centroids. Decay rates: A(2-1) + A(3-1) + A(3-2) of Wiese & Fuhr."""
    np.testing.assert_allclose(line_wavelength(2, 3), 6564.61, atol=0.02)
    np.testing.assert_allclose(line_wavelength(2, 4), 4862.68, atol=0.02)
    np.testing.assert_allclose(radiative_width(2, 3), 4.6986e8 + 5.5751e7 + 4.4101e7, rtol=2e-3)


def test_resonance_width():
    """Ali & Griem (1966) as evaluated by Barklem's HLINPROF: full width 2.516e-27 lambda^2 N(H) Angstrom."""
    w = collision_widths(2, 6)[0] * 4102.9**2 * 1e-8 / (2 * np.pi * C_LIGHT)
    np.testing.assert_allclose(2 * w, 2.516e-27 * 4102.9**2, rtol=5e-3)


def test_occupation_probability():
    """Inglis & Teller (1939, ApJ 90, 439): the last visible line has log Ne = 23.26 - 7.5 log n."""
    for n in (10.0, 14.0, 18.0):
        xne = 10 ** (23.26 - 7.5 * np.log10(n))
        w = occupation(n, gas([9e3] * 3, [0.05 * xne, xne, 20 * xne], [1e-3] * 3))
        assert w[0] > 0.8
        assert 0.02 < w[1] < 0.7
        assert w[2] < 0.02


LINES = [(2, 3), (2, 4), (2, 7), (3, 4), (3, 12), (3, 20), (4, 7), (4, 13), (4, 25), (5, 20)]


@jax.jit
def ln_stark_at(table, t, xne, ln_a):
    return ln_stark(stark_curve(stark_at(table, t, xne), table.log_alpha), ln_a)


@jax.jit
def convolved(table, t, xne, x, doppler, lorentz):
    curve = stark_curve(stark_at(table, t, xne), table.log_alpha)
    return line_profile(curve, x, holtsmark_field(xne), doppler, lorentz)


@pytest.mark.parametrize("line", LINES)
def test_stark_area(line):
    """Integral over both sides is 1 at the table's points (also between them to 3 %, see the module)."""
    table = stark_table(*line)
    edges = np.linspace(-8.0, 7.0, 6001)
    mids = 0.5 * (edges[1:] + edges[:-1])
    t, log_ne = (jnp.asarray(x.ravel()) for x in np.meshgrid([5000.0, 10000.0, 19950.0], [11.0, 13.0, 15.0]))
    ln_a = jnp.broadcast_to(jnp.asarray(np.log(10) * mids), (t.size, mids.size))
    s = np.exp(ln_stark_at(table, t, 10**log_ne, ln_a))
    np.testing.assert_allclose(2 * s @ np.diff(10**edges), 1.0, atol=1e-3)


def test_h_beta_width():
    """Full width at half maximum: Gigosos, Gonzalez & Cardenoso (2003, Spectrochim Acta B 58, 1489),
    48.00 A (Ne/1e17)^0.68116; theories differ by several percent."""
    x, one = np.linspace(0, 30, 6001), jnp.ones(3)
    xne = np.array([1e15, 10**15.5, 1e16])
    y = convolved(stark_table(2, 4), 1e4 * one, jnp.asarray(xne), jnp.asarray(x), 0.02 * one, 1e-4 * one)
    half = np.array([x[np.flatnonzero(p > p.max() / 2)[-1]] for p in np.asarray(y)])
    np.testing.assert_allclose(2 * half, 48.0 * (xne / 1e17) ** 0.68116, rtol=0.10)


@pytest.mark.parametrize("line", [(2, 3), (2, 4), (3, 12), (4, 11)])
def test_convolution(line):
    """Core grid, wings and their joint against brute-force integration of Stark times Voigt."""
    table, wave = stark_table(*line), line_wavelength(*line)
    t, xne, n_hi = np.array([[5e3, 1e12, 1e16], [1e4, 1e14, 1e17], [1e4, 1e16, 1e17]]).T
    doppler = wave * np.sqrt(2 * K_BOLTZMANN * t / 1.6736e-24 + 1e10) / C_LIGHT
    lorentz = 6e-20 * n_hi + 1e-3
    f0 = 1.25e-9 * xne ** (2 / 3)
    x = np.concatenate([np.linspace(0, 20, 41), [25.0, 40.0, 70.0]]) * doppler.mean()
    t, xne = jnp.asarray(t), jnp.asarray(xne)
    ours = convolved(table, t, xne, jnp.asarray(x), jnp.asarray(doppler), jnp.asarray(lorentz))
    edges = np.concatenate([[0.0], np.geomspace(1e-5, 1e5, 20001)])
    mids = 0.5 * (edges[1:] + edges[:-1])
    ln_mids = jnp.broadcast_to(jnp.log(jnp.asarray(mids)), (3, mids.size))
    mass = np.exp(ln_stark_at(table, t, xne, ln_mids)) * np.diff(edges)
    for k in range(3):
        shift = np.concatenate([-mids, mids]) * f0[k]
        v = wofz((x[:, None] - shift + 1j * lorentz[k]) / doppler[k]).real / (doppler[k] * np.sqrt(np.pi))
        np.testing.assert_allclose(ours[k], v @ np.tile(mass[k], 2), rtol=0.012)


TABULATED = [
    ((2, 3), 5000.0, 1e12, [0.001, 0.1, 1.0, 10.0, 100.0], [0.3536, 0.3522, 0.2393, 5.904e-06, 2.227e-08]),
    ((2, 3), 1e4, 1e14, [0.01585, 0.0631, 0.2512, 1.0, 3.981], [4.649, 3.495, 0.1078, 0.001822, 6.474e-05]),
    ((4, 11), 1e4, 1e15, [0.2512, 1.585, 10.0, 63.1, 398.1], [0.1171, 0.1006, 0.005721, 4.381e-05, 4.267e-07]),
    ((4, 13), 5000.0, 1e13, [1.229, 12.29, 194.8, 3087.0], [0.02507, 0.01598, 2.899e-05, 2.722e-08]),
]


@pytest.mark.parametrize(("line", "t", "xne", "alpha", "published"), TABULATED)
def test_published_profiles(line, t, xne, alpha, published):
    """Thermal motion put back in gives the tables as published (Stehle & Hutcheon 1999, Lemke 1997), but for their
    areas, which are not 1."""
    f0, doppler = 1.25e-9 * xne ** (2 / 3), line_wavelength(*line) * np.sqrt(2 * K_BOLTZMANN * t / 1.67356e-24)
    x = jnp.asarray(alpha) * f0
    widths = (jnp.array([v]) for v in (doppler / C_LIGHT, 1e-12))
    ours = convolved(stark_table(*line), jnp.array([t]), jnp.array([xne]), x, *widths)[0] * f0
    np.testing.assert_allclose(ours, published, rtol=0.01)


def test_opacity_area():
    """Integral over frequency of one line is pi e^2/(m c) f N_l w (1 - exp(-h nu/kT)) / rho."""
    wave = np.linspace(6564.6 - 500, 6564.6 + 500, 40001)
    g = gas(7000.0, 1e12, 1e15)
    kappa = np.asarray(hydrogen_opacity(hydrogen_plan(wave), g, 2e5))[:, 0]
    nu = C_LIGHT * 1e8 / wave
    t = 7000.0
    lower = 0.5e15 * 8 * np.exp(-82259.1 * 1.438777 / t) * (1 - np.exp(-1.438777e8 / 6564.6 / t))
    np.testing.assert_allclose(-np.trapezoid(kappa, nu), 0.02654 * 0.6407 * lower / (2.3e-24 * 1e15), rtol=3e-3)


def test_grid_interpolation():
    """The opacity on a fine grid equals that on a grid so coarse in number that nodes and points differ."""
    fine = np.linspace(4800, 4930, 6501)
    g = gas([4500.0, 6000.0, 9000.0], [1e11, 1e13, 1e15], [1e15, 1e17, 1e16])
    a = np.asarray(hydrogen_opacity(hydrogen_plan(fine), g, 1e5))
    for lo in (0, 3100):
        part = fine[lo : lo + 1200 : 7]
        b = np.asarray(hydrogen_opacity(hydrogen_plan(part), g, 1e5))
        np.testing.assert_allclose(b, a[lo : lo + 1200 : 7], rtol=5e-3)


def test_extremes_and_gradients():
    """Finite and not negative over everything a model can hold, and so are the derivatives."""
    t, xne = np.meshgrid([2500.0, 4000.0, 8000.0, 2e4, 6e4], [1e6, 1e10, 1e14, 1e16, 1e18])
    g = gas(t.ravel(), xne.ravel(), 1e16 * np.ones(t.size))
    visible = np.array([3665.0, 3702.0, 3712.0, 3720.0, 4862.68, 5000.0, 7500.0, 8752.0, 9200.0])
    plan = hydrogen_plan(np.append(visible, [16113.7, 16700.0, 21661.0, 24000.0]))

    @jax.jit
    def value_and_grad(g, v):
        return jax.value_and_grad(lambda g, v: jnp.sum(jnp.log(hydrogen_opacity(plan, g, v) + 1e-30)), (0, 1))(g, v)

    for vmic in (0.0, 1e5, 2e6):
        value, grads = value_and_grad(g, jnp.asarray(vmic))
        assert np.isfinite(value)
        for leaf in jax.tree.leaves(grads):
            assert np.all(np.isfinite(leaf))


def test_finite_differences():
    """Forward and reverse derivatives of ln kappa in T, Ne, N(HI) and vmic, every layer its own, against central
    differences."""
    plan = hydrogen_plan(np.concatenate([[6540.0], np.linspace(6562, 6567, 5), [8752.0, 16113.7, 16150.0]]))
    t, xne = jnp.array([4600.0, 5700.0, 8300.0]), jnp.array([3e11, 2e13, 3e14])
    n_hi, vmic = jnp.array([2e15, 8e16, 1e17]), jnp.array([0.8e5, 1.3e5, 2e5])

    @jax.jit
    def f(factor):
        a, b, c, d = factor
        return jnp.log(hydrogen_opacity(plan, gas(t * a, xne * b, n_hi * c), vmic * d))

    one = jnp.ones((4, 3))
    forward = np.asarray(jax.jit(jax.jacfwd(f))(one))
    reverse = jax.jit(lambda x: jax.vjp(f, x)[1](jnp.ones((9, 3)))[0])(one)
    np.testing.assert_allclose(reverse, forward.sum(axis=(0, 1)), rtol=1e-9)
    for k in range(4):
        step = np.zeros((4, 3))
        step[k] = 1e-5
        numeric = (f(one + step) - f(one - step)) / 2e-5
        exact = np.einsum("wdd->wd", forward[:, :, k])
        np.testing.assert_allclose(exact, numeric, rtol=1e-4, atol=1e-5)


def test_vmic_of_depth():
    """A layer with its own vmic is what it is when all have that vmic."""
    plan = hydrogen_plan(np.linspace(6562, 6567, 40))
    g = gas([5000.0, 6000.0], [1e12, 1e13], [1e16, 1e17])
    both = hydrogen_opacity(plan, g, jnp.array([1e5, 4e5]))
    for k, vmic in enumerate((1e5, 4e5)):
        np.testing.assert_allclose(both[:, k], hydrogen_opacity(plan, g, jnp.full(2, vmic))[:, k], rtol=1e-12)


@pytest.mark.parametrize(("lo", "hi", "some"), [(5340.0, 5360.0, False), (21600.0, 21720.0, True)])
def test_only_where_lines_are(lo, hi, some):
    """No work without a line near; on a grid of linear steps."""
    plan = hydrogen_plan(np.linspace(lo, hi, 1000))
    assert (plan.full.upper.size + plan.wings.upper.size > 0) == some
    kappa = hydrogen_opacity(plan, gas([6000.0], [1e13], [1e17]), jnp.full(1, 1e5))
    assert kappa.shape == (1000, 1)
    assert (np.max(kappa) > 0) == some


def test_vmap_jit():
    """Stars side by side give what they give alone."""
    plan = hydrogen_plan(np.linspace(6540, 6590, 200))
    stars = [gas([t, 1.3 * t], [1e12, 1e14], [1e16, 1e17]) for t in (4500.0, 6000.0)]
    both = jax.tree.map(lambda *x: jnp.stack(x), *stars)
    batch = jax.jit(jax.vmap(hydrogen_opacity, (None, 0, 0)))(plan, both, jnp.array([1e5, 2e5]))
    np.testing.assert_allclose(batch[1], hydrogen_opacity(plan, stars[1], 2e5), rtol=1e-9)


def test_bad_grid():
    with pytest.raises(ValueError, match="strictly increasing"):
        hydrogen_plan(np.array([5000.0, 4999.0]))


def reference_gas(star) -> Gas:
    kt = 1.38066e-16 * star["tsB_T"]
    n = np.zeros((92, 3, kt.size))
    n[0, 0], n[0, 1], n[1, 0] = star["tsB_P_HI"] / kt, star["tsB_P_HII"] / kt, star["tsB_P_HeI"] / kt
    u = np.zeros_like(n)
    u[0, 0] = n[0, 0] / 2
    h2, molecules = star["tsB_P_H2"] / kt, np.zeros((21, kt.size))
    parts = (star["tsB_T"], star["tsB_Pe"] / kt, star["tsB_rho_babsma"], n, u, h2, molecules)
    return Gas(*(jnp.asarray(x) for x in parts))


def emergent_flux(star, chi: np.ndarray, wave: np.ndarray) -> np.ndarray:
    """2 int B E2(tau) dtau on a fine grid in ln tau5000, chi in cm^2/g as (wave, depth)."""
    depth = np.log(star["tsB_tau5000"])
    fine = np.linspace(depth[0], depth[-1], 1200)
    ratio = np.exp(PchipInterpolator(depth, np.log(chi / star["tsB_kappa5000"]), axis=1)(fine) + fine)
    step = fine[1] - fine[0]
    tau = np.cumsum(np.concatenate([ratio[:, :1], 0.5 * step * (ratio[:, 1:] + ratio[:, :-1])], axis=1), axis=1)
    planck = 1 / np.expm1(1.438777e8 / wave[:, None] / PchipInterpolator(depth, star["tsB_T"])(fine))
    e3 = expn(3, tau)
    inner = np.sum(0.5 * (planck[:, 1:] + planck[:, :-1]) * (e3[:, :-1] - e3[:, 1:]), axis=1)
    return inner + planck[:, 0] * (0.5 - e3[:, 0]) + planck[:, -1] * e3[:, -1]


def hydrogen_only(folder: Path, name: str, window: str, every: int) -> tuple[np.ndarray, ...]:
    """Air wavelength, our normalised flux, Turbospectrum's with hydrogen, and its own without (or None)."""
    star, spectrum = (np.load(folder / k / f"{name}.npz") for k in ("stars", "spectra"))
    air = spectrum[f"wl_{window}"][::every].astype(float)
    wave = air_to_vacuum(air)
    grid = star[f"tsB_cont_lam_{window}"]
    continuum = star[f"tsB_cont_kappa_{window}"] + star[f"tsB_cont_sigma_{window}"]
    continuum = np.stack([np.interp(air, grid, c) for c in continuum], axis=1)
    line = np.asarray(hydrogen_opacity(hydrogen_plan(wave), reference_gas(star), float(star["tsB_xi"][0])))
    ours = emergent_flux(star, continuum + line, wave) / emergent_flux(star, continuum, wave)
    without = f"BnoH_norm_{window}"
    bare = spectrum[without][::every] if without in spectrum.files else None
    return air, ours, spectrum[f"B_norm_{window}"][::every], bare


@pytest.mark.parametrize(("name", "limit"), [("sun", 0.0025), ("t4500g15m05", 0.002)])
def test_h_alpha_wings(shared, name, limit):
    """Turbospectrum 20.1 with over without hydrogen, where metals take less than 0.5 %; beyond 1.5 A from the
    centre. Inside, Turbospectrum interpolates between profiles for 2500, 5000 and 10000 K that contain their
    thermal core, and leaves vmic out: done that way, our own difference falls from 0.041 to 0.027 in the giant."""
    air, ours, full, bare = hydrogen_only(shared / "reference" / "turbospectrum", name, "6540", 10)
    distance = np.abs(air - 6562.8)
    clean = (bare > 0.995) & (distance > 1.5)
    difference = (ours - full / bare)[clean]
    assert clean.sum() > 200
    assert np.max(np.abs(difference)) < limit
    assert abs(np.mean(difference)) < 3e-4
    core = (bare > 0.995) & (distance < 1.5)
    assert np.max(np.abs((ours - full / bare)[core])) < 0.05


@pytest.mark.parametrize(("name", "limit"), [("sun", 0.001), ("t4500g15m05", 0.011)])
def test_paschen(shared, name, limit):
    """P15-P17. Turbospectrum takes approximate (not Stehle) profiles here, which differ in the core."""
    _, ours, full, bare = hydrogen_only(shared / "reference" / "turbospectrum", name, "8480", 40)
    difference = (ours - full / bare)[bare > 0.97]
    assert np.max(np.abs(difference)) < limit
    assert np.median(np.abs(difference)) < 1.5e-4


@pytest.mark.parametrize("name", ["t6500g40p00", "t5750g45m20a04", "t4000g15p00", "t4500g45p00"])
def test_h_alpha_other_stars(shared, name):
    """No hydrogen-free run exists: metals only deepen the reference, so its upper envelope is compared."""
    air, ours, full, _ = hydrogen_only(shared / "reference" / "turbospectrum", name, "6540", 5)
    wing = np.abs(air - 6562.8) > 2
    ratio = (full / ours)[wing]
    groups = np.array_split(ratio, 12)
    best = np.array([np.max(x) for x in groups])
    assert np.max(ratio) < 1.005
    assert np.median(np.abs(best - 1)) < 0.005


def test_brackett_in_the_sun(shared):
    """Observed centres of Br 11 and Br 12 (the atlas that APOGEE's line list was tuned on; 85th percentile within
    5 A, metals excluded by that) against the hydrogen lines of the solar model alone."""
    path = shared / "highres" / "apogee_tuning" / "solar.withH.conti_matt.28aug2018.txt.xz"
    with lzma.open(path) as f:
        wavelength, observed = np.loadtxt(f, usecols=(0, 1)).T
    star = np.load(shared / "reference" / "turbospectrum" / "stars" / "sun.npz")
    column = (jnp.asarray(star[f"cons_{k}"]) for k in ("T", "P", "XNE"))
    sun = jax.jit(equation_of_state)(*column, number_fractions(jnp.asarray(0.0), jnp.asarray(0.0)))
    for m in (11, 12):
        wave = line_wavelength(4, m) + np.linspace(-5, 5, 21)
        continuum = np.asarray(sum(jax.jit(continuum_opacity)(jnp.asarray(wave), sun)))
        line = np.asarray(hydrogen_opacity(hydrogen_plan(wave), sun, jnp.asarray(1e5)))
        ours = emergent_flux(star, continuum + line, wave) / emergent_flux(star, continuum, wave)
        near = np.abs(wavelength - line_wavelength(4, m)) < 5
        assert abs(np.median(ours) - np.percentile(observed[near], 85)) < 0.015
