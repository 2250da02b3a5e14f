"""Species codes: names, MOOG numbers and table rows agree."""

import numpy as np
import pytest

from astrogf.synthesis.gas.partition import MOLECULES
from astrogf.synthesis.gas.species import N_ATOMIC, constituents, parse_species, species_mass, species_name, species_row


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Fe I", (26, 1)), ("Fe 2", (26, 2)), ("FeII", (26, 2)), ("26.0", (26, 1)), ("26.1", (26, 2)), ("26.00", (26, 1)),
     ("'CN'", (607, 1)), ("607.0", (607, 1)), ("C2", (606, 1)), ("H2O", (10108, 1)), ("822", (822, 1)), ("O", (8, 1))],
)  # fmt: skip
def test_parse(text, expected):
    assert parse_species(text) == expected


@pytest.mark.parametrize("text", ["Xx I", "Fe IV", "0.0", "95.0", "hello", ""])
def test_what_is_not_a_species_is_said(text):
    with pytest.raises(ValueError, match="species"):
        parse_species(text)


def test_names_come_back():
    for name in (*MOLECULES, "Fe I", "Ti II", "U III"):
        assert species_name(*parse_species(name)) == name


def test_rows_and_masses():
    z, ion = np.array([26, 1, 607, 10108]), np.array([2, 1, 1, 1])
    rows = species_row(z, ion)
    np.testing.assert_array_equal(rows[:2], [76, 0])
    assert [MOLECULES[r - N_ATOMIC] for r in rows[2:]] == ["CN", "H2O"]
    np.testing.assert_allclose(species_mass(z), [55.845, 1.008, 12.011 + 14.007, 2 * 1.008 + 15.999], rtol=1e-6)
    assert constituents(10108) == (1, 1, 8)
    with pytest.raises(ValueError, match="no such molecule"):
        species_row(np.array([9901]), np.array([1]))
