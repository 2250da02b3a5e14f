"""Molecules: partition functions against equilibrium and ExoMol, lists against their sources and observed spectra."""

import lzma

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.base.air import air_to_vacuum, vacuum_to_air
from astrogf.base.constants import ATOMIC_MASS, BOLTZMANN, BOLTZMANN_EV, C_KMS, FWHM_PER_SIGMA, PLANCK
from astrogf.synthesis.gas.abundances import ATOMIC_WEIGHTS, number_fractions
from astrogf.synthesis.gas.eos import equation_of_state
from astrogf.synthesis.gas.molecules import ABSORBERS, log_molecule_partition, molecule_n_over_u
from astrogf.synthesis.gas.partition import MOLECULE_ATOMS, MOLECULES, log_molecule_constant, log_partition
from astrogf.synthesis.gas.species import N_ATOMIC
from astrogf.synthesis.lines.isotopes import log_share
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.lines.profile import profile_state
from astrogf.synthesis.lines.shipped import load_all_lines, load_hband_lines, load_molecular_lines
from astrogf.synthesis.synthesize import synthesize
from benchmarks.hband import STARS, compare, synthesise

T = jnp.array([3000.0, 4000.0, 5000.0, 6000.0])
# Dissociation energies of the ground level, eV. H2, CO, OH, CH: Huber & Herzberg (1979) and Ruscic's Active
# Thermochemical Tables; CN 7.72 +- 0.04 (Costes et al. 1990); NH 3.42 (Tarroni et al. 1997); MgH 1.27 (Shayesteh et
# al. 2007: 1.285); SiH 3.06 (Huber & Herzberg); TiO 6.87 (Naulin et al. 1997).
DISSOCIATION = {
    "H2": 4.478, "CH": 3.47, "NH": 3.42, "OH": 4.41, "CN": 7.72, "CO": 11.09, "MgH": 1.27, "SiH": 3.06, "TiO": 6.87,
}  # fmt: skip


def statistical_constant(name: str, energy: float) -> np.ndarray:
    """ln of n(AB) / (n(A) n(B)) from partition functions and the dissociation energy (statistical mechanics)."""
    row = MOLECULES.index(name)
    z = np.repeat(np.arange(92), MOLECULE_ATOMS[row].astype(int))
    mass = ATOMIC_WEIGHTS[z].prod() / ATOMIC_WEIGHTS[z].sum() * ATOMIC_MASS
    atoms = np.asarray(log_partition(T))[z, 0].sum(axis=0)
    own = np.asarray(log_molecule_partition(T))[row]
    t = np.asarray(T)
    return own - atoms - 1.5 * np.log(2 * np.pi * mass * BOLTZMANN * t / PLANCK**2) + energy / (BOLTZMANN_EV * t)


@pytest.mark.parametrize("name", DISSOCIATION)
def test_partition_functions_and_equilibrium_agree(name):
    """0.06 dex: an error of 0.03 eV in the dissociation energy at 3000 K, the spread of the published ones."""
    ours = np.asarray(log_molecule_constant(T))[MOLECULES.index(name)]
    np.testing.assert_allclose(
        ours / np.log(10), statistical_constant(name, DISSOCIATION[name]) / np.log(10), atol=0.06
    )


def test_carbon_dimer_has_the_energy_of_its_source():
    """Barklem & Collet (2016) took D0(C2) = 6.371 eV; Active Thermochemical Tables say 6.24: 0.13 dex at 5000 K."""
    ours = np.asarray(log_molecule_constant(T))[MOLECULES.index("C2")]
    np.testing.assert_allclose(ours / np.log(10), statistical_constant("C2", 6.371) / np.log(10), atol=0.01)


def test_water_against_exomol():
    """ExoMol's POKAZATEL (Polyansky et al. 2018) counts nuclear spin: four times ours. Values at 3000 and 4000 K."""
    ours = np.exp(np.asarray(log_molecule_partition(T)))[MOLECULES.index("H2O")]
    np.testing.assert_allclose(4 * ours[:2], [15961.2, 39758.1], rtol=0.01)


def test_derivative_by_temperature():
    t = jnp.array([2500.0, 4321.0, 7000.0])
    slope = jax.jvp(log_molecule_partition, (t,), (jnp.ones(3),))[1]
    finite = (log_molecule_partition(t + 1.0) - log_molecule_partition(t - 1.0)) / 2.0
    np.testing.assert_allclose(slope, finite, rtol=1e-5, atol=1e-12)
    far = jax.jacfwd(log_molecule_partition)(jnp.array([100.0, 50000.0]))
    assert np.isfinite(far).all()


def test_rows_of_the_profiles():
    gas = equation_of_state(T, jnp.full(4, 1e5), jnp.full(4, 1e12), number_fractions(0.0, 0.0))
    rows = molecule_n_over_u(gas)
    has = np.array([name in ABSORBERS for name in MOLECULES])
    assert (np.asarray(rows)[has] > 0).all()
    np.testing.assert_array_equal(np.asarray(rows)[~has], 0.0)
    state = profile_state(gas, jnp.asarray(1.0))
    np.testing.assert_array_equal(state.n_over_u[N_ATOMIC:], rows)


@pytest.mark.parametrize(
    ("load", "cover", "species"),
    [(load_molecular_lines, (4200.0, 9200.0), {"C2", "CN", "CH", "MgH", "SiH", "OH", "TiO"}),
     (load_hband_lines, (15000.0, 17005.0), {"CO", "CN", "OH", "C2", "Fe I", "Mg I", "Si I", "Al I"})],
)  # fmt: skip
def test_lists_are_whole(load, cover, species):
    lines = load(*cover)
    for name, column in zip(LineList._fields, lines, strict=True):
        if name != "gup":
            assert np.isfinite(column).all(), name
    assert (np.diff(lines.wavelength) >= 0).all()
    assert species <= set(lines.species())
    assert lines.elow.min() >= 0
    assert lines.elow[lines.z > 92].max() < 11.1
    assert lines.loggf.max() < 2
    assert (lines.transition >= 1_000_000).all()
    part = load(cover[0] + 100.0, cover[0] + 110.0)
    assert 0 < len(part) < len(lines)
    with pytest.raises(ValueError, match="covers"):
        load(cover[0] - 50.0, cover[0] + 50.0)


def test_known_lines():
    """CN R2(0-2) at air 15162.653 with log gf -1.370 (Sneden et al. 2014); CO's isotopologues have gf of one size."""
    lines = load_hband_lines(15000.0, 17005.0)
    cn = lines.take((lines.z == 607) & (np.abs(vacuum_to_air(lines.wavelength) - 15162.653) < 0.02))
    assert np.abs(cn.loggf - -1.370).min() < 0.02
    co = lines.take(lines.z == 608)
    low = co.elow < 2.0
    medians = [np.median(co.loggf[low & (co.isotope == isotope)]) for isotope in (12016, 13016, 12018)]
    assert np.ptp(medians) < 0.5
    np.testing.assert_allclose(co.log_fraction, log_share(co.z, co.isotope))
    giant = load_hband_lines(15000.0, 17005.0, {(6, 12): 0.875, (6, 13): 0.125})
    np.testing.assert_allclose(10 ** giant.log_fraction[(giant.z == 608) & (giant.isotope == 13016)], 0.125, rtol=0.01)


def test_hyperfine_components_share_a_transition():
    """Mn I 15222 (air 15217.8) is sixteen components of one line; Mg I's triplet of one level is three lines."""
    lines = load_hband_lines(15000.0, 17005.0)
    near = (np.abs(lines.wavelength - 15221.9) < 0.4) & (np.abs(lines.elow - 4.889) < 2e-3)
    manganese = lines.take((lines.z == 25) & near)
    assert len(manganese) > 10
    assert len(np.unique(manganese.transition)) == 1
    magnesium = lines.take((lines.z == 12) & (np.abs(lines.wavelength - 15770.05) < 0.2))
    assert len(np.unique(magnesium.transition)) == len(magnesium) == 3


@pytest.mark.slow
def test_carbon_dimer_in_the_observed_sun(shared):
    """The Swan head at 5165 A: the UVES Sun needs the molecules, in the strength they have (to a fifth)."""
    with lzma.open(shared / "highres" / "uves_sun" / "UVES_Sun-1_cleaned_norm.txt.xz", "rt") as file:
        observed = np.array([row.split()[:2] for row in file], float).T
    start, stop = air_to_vacuum(np.array([5161.0, 5166.5]))
    pick = (observed[0] > 5161.5) & (observed[0] < 5166.0)
    wavelength = air_to_vacuum(observed[0][pick])

    def solar(lines):  # 2.6 km/s stand for macroturbulence, rotation and slit
        made = synthesize(
            (5772.0, 4.438, 0.0, 0.0), lines, start, stop, step=0.02, resolution=C_KMS / 2.6 / FWHM_PER_SIGMA
        )
        return np.interp(wavelength, np.asarray(made.wavelength), np.asarray(made.normalised))

    both = load_all_lines(start - 2.0, stop + 2.0)
    bare, full = solar(both.take(both.z <= 92)), solar(both)
    seen, absorbed = observed[1][pick], bare - full
    assert np.sqrt(np.mean((seen - full) ** 2)) < 0.6 * np.sqrt(np.mean((seen - bare) ** 2))
    scale = np.sum(absorbed * (bare - seen)) / np.sum(absorbed**2)
    assert 0.75 < scale < 1.25


@pytest.mark.slow
def test_h_band_of_arcturus(shared):
    """CO 3-0 head at 15578 A, 12C/13C = 7: within 2.5 times the rms of APOGEE's tuned synthesis; worse without
    molecules."""
    folder = shared / "highres" / "apogee_tuning"
    star = STARS["arcturus"]
    score, _ = compare(star, folder, *synthesise(star, 15568.0, 15612.0))
    bare, _ = compare(star, folder, *synthesise(star, 15568.0, 15612.0, molecules=False))
    assert score.rms < 2.5 * score.tuned
    assert bare.rms > 2.0 * score.rms
    assert abs(score.velocity - 14.2) < 0.5
