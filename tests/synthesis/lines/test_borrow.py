"""Plain tables of lines, and damping borrowed for a list that has none."""

import numpy as np
import pytest
from astropy.table import Table

import astrogf
from astrogf.synthesis.lines.borrow import borrow_damping
from astrogf.synthesis.lines.identity import OTHER_LIST, same_lines
from astrogf.synthesis.lines.linelist import QUALITY
from astrogf.synthesis.lines.shipped import load_atomic_lines


@pytest.fixture
def plain(tmp_path):
    """Twenty lines of the shipped list as somebody else would write them: wavelength, code, energy, log gf."""
    lines = load_atomic_lines(5200.0, 5230.0)
    lines = lines.take((lines.z == 26) & (lines.quality == QUALITY.index("abo")))
    lines = lines.take(np.arange(20))
    path = tmp_path / "mine.ecsv"
    Table(
        {"wavelength_vac": lines.wavelength, "species": 26.0 + 0.1 * (lines.ion - 1), "E_low": lines.elow,
         "loggf": lines.loggf + 0.3}
    ).write(path)  # fmt: skip
    return path, lines


def test_a_plain_table_is_a_line_list(plain):
    path, lines = plain
    read = astrogf.read_lines(path)
    np.testing.assert_allclose(read.wavelength, lines.wavelength, atol=1e-9)
    np.testing.assert_array_equal(read.ion, lines.ion)
    np.testing.assert_allclose(read.loggf, lines.loggf + 0.3)
    assert np.all(read.quality == QUALITY.index("unsoeld"))


def test_damping_is_borrowed_and_loggf_is_not(plain):
    path, lines = plain
    mine = borrow_damping(astrogf.read_lines(path), load_atomic_lines)
    np.testing.assert_allclose(mine.log_gamma6, lines.log_gamma6)
    np.testing.assert_allclose(mine.loggf, lines.loggf + 0.3)
    assert np.all(mine.quality == QUALITY.index("abo"))


def test_only_the_same_transition_lends(plain):
    lines = plain[1]
    other = lines.replace(elow=lines.elow + 0.1)
    assert np.all(same_lines(lines, other, OTHER_LIST) == -1)
    np.testing.assert_array_equal(same_lines(lines, lines, OTHER_LIST), np.arange(20))


def test_a_table_without_energies_says_what_is_missing(tmp_path):
    path = tmp_path / "short.ecsv"
    Table({"wavelength": [5000.0], "species": [26.0], "loggf": [-1.0]}).write(path)
    with pytest.raises(ValueError, match="missing"):
        astrogf.read_lines(path)


def test_an_unreadable_row_is_named(tmp_path):
    path = tmp_path / "bad.ecsv"
    table = Table({"wavelength_air": [5000.0, 5001.0], "species": ["Fe I", "Qq I"], "E_low": [1, 2], "loggf": [-1, -2]})
    table.write(path)
    with pytest.raises(ValueError, match=r"2.*Qq I"):
        astrogf.read_lines(path)
