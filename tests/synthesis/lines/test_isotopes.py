"""Isotopic shares: against IUPAC's atomic weights, published ratios, and counting."""

import numpy as np
import pytest

from astrogf.synthesis.gas.abundances import ATOMIC_WEIGHTS, SYMBOLS
from astrogf.synthesis.lines.isotopes import element_loggf, log_share, mass_numbers, terrestrial
from astrogf.synthesis.lines.shipped import load_atomic_lines


def test_fractions_make_the_atomic_weights():
    """Mean mass number against the IUPAC (2021) atomic weight: isotopes lie within 0.1 u of their mass number."""
    elements = {z for z, _ in terrestrial()}
    assert {1, 6, 7, 8, 12, 14, 22, 26, 56, 92} <= elements
    for element in elements:
        mine = [(mass, share) for (z, mass), share in terrestrial().items() if z == element]
        np.testing.assert_allclose(sum(share for _, share in mine), 1.0, atol=2e-4)
        weight = sum(mass * share for mass, share in mine)
        np.testing.assert_allclose(weight, ATOMIC_WEIGHTS[element - 1], atol=0.11, err_msg=SYMBOLS[element - 1])


def test_known_shares():
    """12C/13C = 89.4 (Coplen et al. 2002), 63Cu 0.6915, 138Ba 0.717 (Berglund & Wieser 2011)."""
    share = 10.0 ** log_share(np.array([6, 6, 29, 56, 26]), np.array([12, 13, 63, 138, 0]))
    np.testing.assert_allclose(share[0] / share[1], 89.4, rtol=0.04)
    np.testing.assert_allclose(share[2:], [0.6915, 0.717, 1.0], rtol=1e-3)


def test_isotopologues_multiply_and_add_up():
    ratios = {(6, 12): 0.875, (6, 13): 0.125}
    two_carbons = 10.0 ** log_share(np.full(3, 606), np.array([12012, 12013, 13013]), ratios)
    np.testing.assert_allclose(two_carbons, [0.875**2, 2 * 0.875 * 0.125, 0.125**2], rtol=1e-12)
    np.testing.assert_allclose(two_carbons.sum(), 1.0, rtol=1e-12)
    cn = log_share(np.array([607, 607]), np.array([12014, 13014]), ratios)
    np.testing.assert_allclose(10.0 ** (cn[0] - cn[1]), 7.0, rtol=1e-12)
    water = log_share(np.array([10108]), np.array([1001016]))
    np.testing.assert_allclose(10.0**water, 0.999885**2 * 0.99757, rtol=1e-6)
    np.testing.assert_allclose(log_share(np.array([6]), np.array([13]), {(6, 12): 1.0}), -99.0)


def test_mass_numbers():
    assert mass_numbers(607, 12014) == (12, 14)
    assert mass_numbers(106, 1012) == (1, 12)
    assert mass_numbers(26, 0) == (0,)


@pytest.mark.parametrize(
    ("z", "isotope", "ratios", "match"),
    [(26, 60, None, "no terrestrial share"), (607, 12014016, None, "three digits"),
     (6, 12, {(6, 12): 0.5, (6, 13): 0.1}, "add up to 0.6")],
)  # fmt: skip
def test_what_cannot_be_is_said(z, isotope, ratios, match):
    with pytest.raises(ValueError, match=match):
        log_share(np.array([z]), np.array([isotope]), ratios)


def test_a_transition_of_seven_isotopes_has_the_laboratorys_log_gf():
    """Nd II 5212.36 A (air): -0.96 (Den Hartog et al. 2003), which the shipped list splits into nine components."""
    lines = load_atomic_lines(5212.0, 5215.0)
    mine = (lines.species() == "Nd II") & (np.abs(lines.wavelength - 5213.80) < 0.02)
    assert mine.sum() == 9
    columns = lines.isotope[mine], lines.loggf[mine], lines.log_fraction[mine]
    assert element_loggf(*columns) == pytest.approx(-0.96, abs=0.005)
    # without one of its isotopes; and with the shares in log gf
    some = columns[0] != 142
    assert element_loggf(*(x[some] for x in columns)) == pytest.approx(-0.96, abs=0.005)
    isotope, loggf, log_fraction = columns
    assert element_loggf(isotope, loggf + log_fraction, np.zeros(9)) == pytest.approx(-0.96, abs=0.005)
