"""Damping against Turbospectrum's own columns, published numbers and the classical formulae."""

import gzip

import numpy as np
import pytest

from astrogf.base.air import air_to_vacuum
from astrogf.base.constants import BOHR_RADIUS
from astrogf.synthesis.gas.partition import IONISATION_ENERGY
from astrogf.synthesis.lines.damping import NO_STARK, abo_width, complete_damping, generic_abo

WINDOWS = ("5150_5200", "5350_5400", "6100_6200", "6540_6590", "8480_8560")


@pytest.fixture(scope="module")
def reference(shared):
    """Columns of all lines of the reference windows: what was in the list, and what Turbospectrum made of it."""
    rows = []
    for window in WINDOWS:
        path = shared / "reference" / "turbospectrum" / "lines" / f"lines_{window}.tsv.gz"
        with gzip.open(path, "rt") as file:
            head, *lines = file.read().splitlines()
        rows += [line.split("\t") for line in lines]
    columns = dict(zip(head.split("\t"), np.array(rows).T, strict=True))
    text = {"recipe", "lev_lo", "lev_up"}
    return {k: v if k in text else v.astype(float) for k, v in columns.items()}


def nothing(n):
    return np.full(n, np.nan)


def complete(r, **changes):
    z, ion = r["Z"].astype(int), r["ion"].astype(int)
    known = {
        "gup": r["g_up"],
        "log_gamma_rad": np.log10(r["gamma_rad_used"]),
        "vdw": r["vdw_list"],
        "log_gamma4": nothing(len(z)),
        "orbitals": np.stack([r["lev_lo"], r["lev_up"]], axis=1),
    }
    wavelength = air_to_vacuum(r["wl_air_A"])
    return complete_damping(z, ion, wavelength, r["E_low_eV"], r["loggf"], **(known | changes))


def test_recipes_and_cross_sections_are_turbospectrums(reference):
    """Generic or not is decided alike for 8430 of 8431 lines; cross-sections within 0.7% where the ionisation energies
    are the same (its upper energy comes from the air wavelength; some of Irwin's energies are not NIST's of today)."""
    r = reference
    z, ion = r["Z"].astype(int), r["ion"].astype(int)
    chi = IONISATION_ENERGY[z - 1, ion - 1]
    below = chi[:, None] - np.stack([r["E_low_eV"], r["E_low_eV"] + 12398.42 / air_to_vacuum(r["wl_air_A"])], axis=1)
    letters = np.stack([r["lev_lo"], r["lev_up"]], axis=1)
    sigma, alpha = generic_abo(ion, below, letters)
    generic = np.isin(r["recipe"], ["A", "B", "C"]) | ((r["recipe"] == "S") & (r["vdw_list"] < 20))
    ours = np.isfinite(sigma) & (r["vdw_list"] < 20)
    assert np.sum(ours != generic) < 10  # it has five more in its table of single transitions
    single = (r["recipe"] == "S") & (r["lev_lo"] == "s")
    both = ours & generic & ~single & (np.abs(chi - r["chi_ion_eV"]) < 0.003)
    assert both.sum() > 1600
    np.testing.assert_allclose(sigma[both], r["abo_sigma_au"][both], rtol=0.007)
    np.testing.assert_allclose(alpha[both], r["abo_alpha"][both], atol=0.002)


def test_widths_follow_turbospectrums_formulae(reference):
    """gamma6 at 10^4 K rebuilt from its columns with the formulae of the reference's README."""
    r, ours = reference, complete(reference)
    ion = r["ion"]
    up = r["E_low_eV"] + 3.40 * 3647 / r["wl_air_A"]
    below_up, below_low = r["chi_ion_eV"] - up, r["chi_ion_eV"] - r["E_low_eV"]
    same = np.abs(IONISATION_ENERGY[r["Z"].astype(int) - 1, ion.astype(int) - 1] - r["chi_ion_eV"]) < 0.003
    u = (r["recipe"] == "U") & (below_up > 0.3) & same
    x = ion**2 * (1 / below_up**2 - 1 / below_low**2)
    log_c6 = np.log10(np.where(u, x, 1.0)) - 29.7278
    expected = 8.6735 + 8 + 0.7 * np.log10(0.504) + np.log10(1.38066e-12) + 0.4 * log_c6
    expected = expected + np.log10(np.where(u, r["vdw_list"], 1.0))
    near = np.abs(ours.log_gamma6 - expected)[u]
    assert u.sum() > 200
    assert np.percentile(near, 99) < 0.005
    assert near.max() < 0.05
    w = r["recipe"] == "W"
    np.testing.assert_array_equal(ours.log_gamma6[w], r["vdw_list"][w])
    assert np.all(ours.gamma6_exponent[w | u] == 0.3)
    stark = 13.598 * (ion / below_up) ** 2 * np.where(ion == 1, 2.26e-7, 5.42e-7 / (ion + 1) ** 2)
    good = same & (np.abs(below_up) > 0.3)
    np.testing.assert_allclose(10 ** ours.log_gamma4[good], stark[good], rtol=0.02)


def test_classical_radiation_where_the_list_has_none(reference):
    """The reference prints the width it used; where it is no number of the list it is 6.669e15 gf / (g_up lambda^2)."""
    ours = complete(reference, log_gamma_rad=nothing(len(reference["Z"])))
    classical = 6.669e15 * 10 ** reference["loggf"] / (reference["g_up"] * reference["wl_air_A"] ** 2)
    np.testing.assert_allclose(10**ours.log_gamma_rad, classical, rtol=1e-3)
    unknown = complete_damping(
        np.array([26]), np.array([1]), np.array([5000.0]), np.array([1.0]), np.array([-1.0]),
        gup=nothing(1), log_gamma_rad=nothing(1), vdw=nothing(1), log_gamma4=nothing(1),
    )  # fmt: skip
    # Gray (2005), eq. 11.13: classical damping constant 0.2223e16 / lambda^2 (Angstrom)
    assert 10 ** unknown.log_gamma_rad[0] == pytest.approx(0.2223e16 / 5000.0**2, rel=1e-3)


def test_individual_abo_is_barklems_width():
    """log gamma/N that Barklem prints beside sigma and alpha: Li I 6707.740 and 3232.657 (his lists of 1999, as carried
    by Turbospectrum); full widths."""
    width = abo_width(np.array([345.65, 996.0]), np.array([0.236, 0.260]), np.array([6.94, 6.94]))
    np.testing.assert_allclose(width, [-7.575, -7.121], atol=0.004)


def test_velocity_exponent_zero_is_a_constant_cross_section():
    """sigma <v> with both sides of the line: 2 v sigma Gamma(2) for alpha = 0."""
    v = np.sqrt(8 * 1.380649e-16 * 1e4 / (np.pi * 1.00782503 * 1.66053907e-24 * 55.845 / 56.853))
    width = 10 ** abo_width(np.array([300.0]), np.array([0.0]), np.array([55.845]))
    np.testing.assert_allclose(width, 2 * v * 300 * BOHR_RADIUS**2, rtol=1e-3)


def test_tables_and_precedence():
    """Node of the s-p table: sigma(n*s = 1.5, n*p = 2.0) = 344. An individual value wins, a list value does not."""
    nodes = 13.598434599702 / np.array([1.5, 2.0]) ** 2
    letters = np.array([["s", "p"], ["p", "s"], ["", "p"], ["p", "d"]])
    below = np.array([nodes, nodes[::-1], nodes, nodes[::-1]])
    sigma, _ = generic_abo(np.ones(4, int), below, letters)
    np.testing.assert_allclose(sigma[:2], 344.0, atol=0.01)
    assert np.isnan(sigma[2:]).all()
    assert np.isnan(generic_abo(np.full(4, 2), below, letters)[0]).all()
    chi = IONISATION_ENERGY[25, 0]
    elow = np.full(3, chi - nodes[0])
    wavelength = np.full(3, 12398.419843320026 / (nodes[0] - nodes[1]))
    made = complete_damping(
        np.full(3, 26), np.ones(3, int), wavelength, elow, np.zeros(3), gup=nothing(3), log_gamma_rad=nothing(3),
        vdw=np.array([700.2, -7.8, 2.5]), log_gamma4=np.array([-5.0, np.nan, np.nan]), orbitals=letters[[0, 0, 0]],
    )  # fmt: skip
    individual, generic = abo_width(np.array([700.0, 344.0]), np.array([0.2, 0.0]), np.full(2, 55.845))
    assert made.log_gamma6[0] == pytest.approx(individual)
    assert made.gamma6_exponent[0] == pytest.approx(0.4)
    assert made.log_gamma6[1] == made.log_gamma6[2]
    assert abs(made.log_gamma6[1] - generic) < 0.1  # the exponent of the table is not 0
    np.testing.assert_array_equal(made.quality, [0, 1, 2])
    assert made.log_gamma4[0] == -5.0


def test_molecules_and_bad_species():
    one = np.ones(1)
    made = complete_damping(
        np.array([606]), np.array([1]), 5165.0 * one, 0.1 * one, -1 * one,
        gup=nothing(1), log_gamma_rad=nothing(1), vdw=nothing(1), log_gamma4=nothing(1),
    )  # fmt: skip
    assert made.log_gamma4[0] == NO_STARK
    # 0.07 cm^-1 (HWHM) per bar at 296 K: 2.64e10 rad/s (FWHM) over 2.447e19 perturbers in a bar, times (1e4/296)^0.5
    assert 10 ** made.log_gamma6[0] == pytest.approx(2.637e10 / 2.447e19 * np.sqrt(1e4 / 296), rel=2e-3)
    with pytest.raises(ValueError, match="stages 1-3"):
        complete_damping(
            np.array([26]), np.array([4]), one, one, one,
            gup=one, log_gamma_rad=one, vdw=one, log_gamma4=one,
        )  # fmt: skip
