"""Air and vacuum against other people's numbers, and each the inverse of the other."""

import numpy as np
import pytest

from astrogf.base.air import air_to_vacuum, vacuum_to_air


@pytest.mark.parametrize(
    ("air", "vacuum"), [(4861.325, 4862.683), (5889.951, 5891.583), (6562.79, 6564.603), (8542.09, 8544.438)]
)
def test_lines_of_the_handbooks(air, vacuum):
    """H beta, Na D2, H alpha and a Ca II line in NIST's Atomic Spectra Database."""
    assert float(air_to_vacuum(np.array(air))) == pytest.approx(vacuum, abs=2e-3)


def test_against_the_iau_standard_as_vald_inverts_it():
    """N. Piskunov's fit of the inverse, from VALD's documentation: 2000 A to 10 um within 0.3 mA."""
    air = np.linspace(2000.0, 100_000.0, 5000)
    s2 = (1e4 / air) ** 2
    index = 8.336624212083e-5 + 2.408926869968e-2 / (130.1065924522 - s2) + 1.599740894897e-4 / (38.92568793293 - s2)
    np.testing.assert_allclose(air_to_vacuum(air), air * (1.0 + index), rtol=3e-9)


def test_each_is_the_inverse_of_the_other():
    vacuum = np.concatenate([np.linspace(500.0, 1999.3, 50), np.linspace(2000.001, 1e6, 5000)])
    np.testing.assert_allclose(air_to_vacuum(vacuum_to_air(vacuum)), vacuum, rtol=1e-12)


def test_below_2000_angstrom_air_is_vacuum():
    np.testing.assert_array_equal(vacuum_to_air(np.array([912.0, 2000.0])), [912.0, 2000.0])
    np.testing.assert_array_equal(air_to_vacuum(np.array([912.0, 1999.3])), [912.0, 1999.3])
    assert vacuum_to_air(np.array(2000.1)) < 1999.5
