"""Plain tables of lines, and damping and structure borrowed for a list that has none."""

import numpy as np
import pytest
from astropy.table import Table

import astrogf
from astrogf.synthesis.lines.borrow import borrow_damping, borrow_structure
from astrogf.synthesis.lines.identity import OTHER_LIST, same_lines
from astrogf.synthesis.lines.linelist import QUALITY, LineList
from astrogf.synthesis.lines.shipped import load_atomic_lines
from tests.builders.one_line import as_one


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


ONE_ISOTOPE = ("V I", "Mn I", "Co I")


@pytest.fixture(scope="module")
def split() -> LineList:
    """Shipped transitions with hyperfine components (V, Mn, Co) and isotopes (Nd, Pr)."""
    lines = load_atomic_lines(4850.0, 5350.0)
    lines = lines.take(np.isin(lines.species(), [*ONE_ISOTOPE, "Nd II", "Pr II"]))
    return lines.take(np.bincount(lines.transition)[lines.transition] > 1)


def test_structure_is_that_of_the_shipped_line_and_gf_is_not(split):
    """A list without structure, its gf 0.3 dex off and its wavelengths by 0.01 A, comes back as the shipped one, so
    much off. Its name stays that of its line: all components have the number of its transition."""
    mine = as_one(split)
    mine = mine.replace(loggf=mine.loggf + 0.3, wavelength=mine.wavelength + 0.01)
    got = borrow_structure(mine, load_atomic_lines)
    kept = np.isin(split.transition, got.transition[np.bincount(got.transition)[got.transition] > 1])
    width = {t: np.ptp(split.wavelength[split.transition == t]) for t in split.transition.tolist()}
    np.testing.assert_array_equal(kept, np.array([width[t] for t in split.transition.tolist()]) > 0.005)  # 0.3 km/s
    got, there = (x.take(np.lexsort((x.isotope, x.wavelength, x.transition))) for x in (got, split.take(kept)))
    got = got.take(np.isin(got.transition, there.transition))
    np.testing.assert_array_equal(got.transition, there.transition)
    np.testing.assert_array_equal(got.isotope, there.isotope)
    np.testing.assert_allclose(got.wavelength, there.wavelength + 0.01, atol=1e-6)
    np.testing.assert_allclose(got.loggf, there.loggf + 0.3, atol=1e-9)
    np.testing.assert_allclose(got.log_fraction, there.log_fraction, atol=1e-9)
    assert {"V I", "Mn I", "Co I", "Nd II", "Pr II"} <= set(got.species())


def test_isotopes_have_the_shares_that_were_said(split):
    neodymium = as_one(split.take(split.species() == "Nd II"))
    only = {(60, mass): float(mass == 144) for mass in (142, 143, 144, 145, 146, 148, 150)}
    got = borrow_structure(neodymium, load_atomic_lines, ratios=only)
    several = np.bincount(got.transition)[got.transition] > 1
    assert np.all((got.log_fraction[several] == 0.0) == (got.isotope[several] == 144))


def test_lines_that_are_split_already_stay(split):
    """As components of one transition, and as lines of their own that lie where the pattern does."""
    for mine in (split, split.replace(transition=np.arange(len(split)), isotope=np.zeros(len(split), int))):
        assert len(borrow_structure(mine, load_atomic_lines)) == len(mine)


def test_neighbouring_levels_are_no_structure():
    """Lines of even elements that the shipped list ties are of levels close together: nothing is lent."""
    lines = load_atomic_lines(4850.0, 5350.0)
    lines = lines.take((lines.z % 2 == 0) & (lines.isotope == 0))
    tied = lines.take(np.bincount(lines.transition)[lines.transition] > 1)
    assert len(tied) > 10
    alone = tied.take(np.unique(tied.transition, return_index=True)[1])
    alone = alone.take(np.argsort(alone.wavelength, kind="stable"))
    assert len(borrow_structure(alone, load_atomic_lines)) == len(alone)
