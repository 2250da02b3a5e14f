"""Faults of line lists that users of other codes reported: each remade with numbers of its own, and the right value."""

import codecs
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from astrogf.base.air import air_to_vacuum
from astrogf.base.errors import AstrogfError
from astrogf.synthesis.lineio import read_lines, rewrite_lines, write_lines
from astrogf.synthesis.lines.damping import complete_damping
from tests.builders.line_lists import FOOTER, KINDS, MOOG_ROWS, WARNING, gfall, plain, vald

NAN = np.full(2, np.nan)


def unlisted_damping():
    """What the two lines of `plain` have where the list says nothing."""
    z, ion = np.array([26, 26]), np.array([1, 2])
    wavelength, elow, loggf = np.array([5432.1, 5433.7]), np.array([1.75, 3.5]), np.array([-1.4, -2.0])
    return complete_damping(z, ion, wavelength, elow, loggf, gup=NAN, log_gamma_rad=NAN, vdw=NAN, log_gamma4=NAN)


@pytest.mark.parametrize("nothing", [0.0, np.nan, -99.0, 99.99])
def test_zero_damping_is_unknown(tmp_path, nothing):
    """0, nothing, and the numbers that tables put in its place: the widths of a list that says none."""
    lines = read_lines(
        plain(tmp_path / "z.ecsv", log_gamma_rad=[nothing] * 2, vdw=[-abs(nothing)] * 2, gamma_stark=[nothing] * 2)
    )
    expected = unlisted_damping()
    np.testing.assert_array_equal(lines.log_gamma_rad, expected.log_gamma_rad)
    np.testing.assert_array_equal(lines.log_gamma6, expected.log_gamma6)
    np.testing.assert_array_equal(lines.log_gamma4, expected.log_gamma4)
    assert lines.quality.tolist() == [2, 2]
    assert type(lines.elow) is np.ndarray  # no column of a table


def test_zero_damping_in_our_own_format(tmp_path):
    """Somebody put zeros into a list that `write_lines` wrote."""
    lines = read_lines(plain(tmp_path / "z.ecsv", log_gamma_rad=[8.1, 8.2], vdw=[-7.5, -7.6]))
    write_lines(tmp_path / "ours.ecsv", lines, "ecsv")
    table = Table.read(tmp_path / "ours.ecsv")
    for name in ("log_gamma_rad", "log_gamma6", "log_gamma4"):
        table[name][0] = 0.0
    table.write(tmp_path / "ours.ecsv", overwrite=True)
    again, expected = read_lines(tmp_path / "ours.ecsv"), unlisted_damping()
    assert again.log_gamma_rad.tolist() == [pytest.approx(expected.log_gamma_rad[0]), 8.2]
    assert again.log_gamma6.tolist() == [pytest.approx(expected.log_gamma6[0]), -7.6]
    assert again.log_gamma4[0] == pytest.approx(expected.log_gamma4[0])
    assert again.quality.tolist() == [2, 1]


@pytest.mark.parametrize("suffix", [".ecsv", ".fits", ".vot"])
@pytest.mark.parametrize(
    ("name", "values", "unit"),
    [
        ("gamma_rad", [3.2e8, 5e7], None),
        ("GamRad", [3.2e8, 5e7], None),
        ("gamma_rad", [3.2e8, 5e7], "s-1"),
        ("rad_damp", [3.2e8, 5e7], "rad/s"),
        ("gamma_rad", [0.32, 0.05], "ns-1"),
        ("gamma_rad", [np.log10(3.2e8), np.log10(5e7)], None),
        ("log_gamma_rad", [np.log10(3.2e8), np.log10(5e7)], "s-1"),
        ("gamma_rad", [np.log10(3.2e8), np.log10(5e7)], "[s-1]"),
    ],
)
def test_gamma_rad_linear(tmp_path, suffix, name, values, unit):
    """A width becomes its log10, by name, unit or size; a log stays."""
    lines = read_lines(plain(tmp_path / f"g{suffix}", {name: unit} if unit else None, **{name: values}))
    np.testing.assert_allclose(lines.log_gamma_rad, [8.50515, 7.69897], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "values", "unit", "sentence"),
    [
        ("gamma_rad", [8.1, 2e8], None, "gamma_rad holds numbers from 8.1 to 2e.08, neither all widths .* nor all log"),
        ("gamma_rad", [8.1, 8.3], "s-1", "gamma_rad holds numbers from 8.1 to 8.3, neither all widths"),
        ("gamma_rad", [1e8, 2e8], "Hz", "is in Hz: give its widths in rad/s, 2 pi times"),
        ("gamma_rad", [1e8, 2e8], "erg", "gamma_rad is in erg, expected 1 / s"),
        ("log_gamma_rad", [8.1, 2e8], None, "line 2: radiative damping is '2e.08', expected log10 of a width in rad/s"),
        ("gamma_stark", [-6.1, 2e-6], None, "gamma_stark holds numbers from -6.1 to 2e-06, neither"),
        ("log_gamma_stark", [-6.1, 2e-6], None, "line 2: Stark damping is '2e-06', expected log10"),
        ("vdw", [-7.1, 2e-31], None, "line 2: vdw is '2e-31', expected log10 of a width per hydrogen atom"),
    ],
)
def test_gamma_rad_linear_is_never_taken_as_a_log(tmp_path, name, values, unit, sentence):
    """What is neither widths nor logs is refused, and so are units of something else."""
    path = plain(tmp_path / "g.ecsv", {name: unit} if unit else None, **{name: values})
    with pytest.raises(AstrogfError, match=sentence):
        read_lines(path)


def test_linear_collisional_widths(tmp_path):
    """Stark and van der Waals widths in cm^3 rad/s, with a unit or by their size."""
    path = plain(tmp_path / "c.ecsv", {"gamma_stark": "m3 / s"}, gamma_stark=[2e-12, 5e-13], vdw=[4e-8, 281.266])
    lines = read_lines(path)
    np.testing.assert_allclose(lines.log_gamma4, [-5.69897, -6.30103], atol=1e-5)
    assert lines.log_gamma6[0] == pytest.approx(-7.39794, abs=1e-5)
    assert lines.quality.tolist() == [1, 0]


def test_gamma_rad_as_logarithm_in_turbospectrum(tmp_path):
    """Turbospectrum's column is linear: a log there was read as a width of 8.3 rad/s."""
    path = tmp_path / "t.list"
    path.write_text("' 26.000 ' 1 1\n'Fe I LTE'\n 5432.1 1.75 -1.4 -7.5 4.0 8.30 'x' 'x' 0.0 1.0 'Fe I'\n")
    with pytest.raises(AstrogfError, match=r"line 3: gamma_rad is '8\.30', expected a width in rad/s"):
        read_lines(path, medium="air")


@pytest.mark.parametrize("suffix", [".ecsv", ".fits", ".vot"])
@pytest.mark.parametrize(
    ("unit", "of_angstrom"),
    [
        ("nm", lambda x: x / 10),
        ("um", lambda x: x / 1e4),
        ("Angstrom", lambda x: x),
        ("ANGSTROM", lambda x: x),
        ("A", lambda x: x),
        ("0.1nm", lambda x: x),
        ("cm-1", lambda x: 1e8 / x),
        ("eV", lambda x: 12398.419843320026 / x),
    ],
)
def test_nm(tmp_path, suffix, unit, of_angstrom):
    """Wavelengths, wavenumbers and energies of photons become vacuum Angstrom."""
    wave = of_angstrom(np.array([5432.1, 5433.7]))
    lines = read_lines(plain(tmp_path / f"u{suffix}", {"wavelength_vac": unit}, wavelength_vac=wave))
    np.testing.assert_allclose(lines.wavelength, [5432.1, 5433.7], rtol=1e-9)


@pytest.mark.parametrize("suffix", [".ecsv", ".fits", ".vot"])
@pytest.mark.parametrize(
    ("unit", "of_ev"),
    [
        ("cm-1", 8065.543937),
        ("cm^-1", 8065.543937),
        ("CM-1", 8065.543937),
        ("meV", 1e3),
        ("EV", 1.0),
        ("J", 1.602177e-19),
    ],
)
def test_cm2(tmp_path, suffix, unit, of_ev):
    """Lower energies become eV, whatever their unit is called."""
    lines = read_lines(plain(tmp_path / f"e{suffix}", {"E_low": unit}, E_low=np.array([1.75, 3.5]) * of_ev))
    np.testing.assert_allclose(lines.elow, [1.75, 3.5], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "unit", "sentence"),
    [
        ("E_low", "cm", "E_low is in cm, expected eV"),
        ("E_low", "K", "E_low is in K, expected eV"),
        ("E_low", "furlong", "E_low is in 'furlong', an unknown unit"),
        ("wavelength_vac", "kg", "wavelength_vac is in kg, expected Angstrom"),
        ("loggf", "eV", "loggf is in eV, expected none"),
    ],
)
def test_units_of_something_else(tmp_path, name, unit, sentence):
    """A length is no energy, although a wavenumber is."""
    with pytest.raises(AstrogfError, match=sentence):
        read_lines(plain(tmp_path / "e.ecsv", {name: unit}))


def test_wavenumbers_are_not_of_air(tmp_path):
    """1e8 over a wavenumber is a vacuum wavelength, whatever the column's name says."""
    path = plain(
        tmp_path / "a.ecsv", {"wavelength_air": "cm-1"}, wavelength_vac=None, wavelength_air=[18409.1, 18403.7]
    )
    with pytest.raises(AstrogfError, match="wavelength_air is in 1 / cm, which has no meaning in air"):
        read_lines(path)


def test_units_of_the_gaia_eso_table(tmp_path):
    """nm and cm^-1 in a table with the published names; logs of damping stay logs, whatever unit stands beside them."""
    table = Table(
        {
            "Element": ["Fe", "Fe"], "Ion": [1, 2], "lambda": [543.21, 543.37], "Elow": [14114.7019, 28229.4038],
            "loggf": [-1.4, -2.0], "Rad-damp": [8.2, 0.0], "Sta-damp": [-6.1, 0.0], "Vdw-damp": [-7.5, 0.0],
        }
    )  # fmt: skip
    for name, unit in (("lambda", "nm"), ("Elow", "cm-1"), ("Rad-damp", "rad/s")):
        table[name].unit = unit
    table.write(tmp_path / "ges.fits")
    lines = read_lines(tmp_path / "ges.fits")
    np.testing.assert_allclose(lines.wavelength, air_to_vacuum(np.array([5432.1, 5433.7])), rtol=1e-9)
    np.testing.assert_allclose(lines.elow, [1.75, 3.5], rtol=1e-6)
    assert lines.log_gamma_rad[0] == 8.2


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"element": ["Ti", "Ti"], "ion": [1, 2]}, ["Ti I", "Ti II"]),
        ({"Element": ["TI", "FE"], "Ion": ["II", "I"]}, ["Ti II", "Fe I"]),
        ({"element": ["Ti", "Ti"], "charge": [0, 1]}, ["Ti I", "Ti II"]),
        ({"element": ["Ti", "Ti"], "charge": ["", "+"]}, ["line 1: species is 'Ti, charge'"]),
        ({"element": ["Ti", "Ti"], "ion": [0, 1]}, ["column ion holds 0; if it counts charges .* name it charge"]),
        ({"z": [22, 26], "ion_stage": [2, 1]}, ["Ti II", "Fe I"]),
        ({"species": ["Ti", "Ti"], "ion": [1, 2]}, ["Ti I", "Ti II"]),
        ({"species": ["Ti I", "Ti I"], "ion": [1, 2]}, ["line 2: species is 'Ti I, stage 2'.* that agrees"]),
        ({"species": ["Ti 1", "Ti 2"]}, ["Ti I", "Ti II"]),
        ({"species": ["TiI", "TiII"]}, ["Ti I", "Ti II"]),
        ({"species": ["ti i", "TI II"]}, ["Ti I", "Ti II"]),
        ({"species": ["Ti", "Ti+"]}, ["Ti I", "Ti II"]),
        ({"species": [22.0, 22.1]}, ["Ti I", "Ti II"]),
        ({"species": ["22.00", "22.01"]}, ["Ti I", "Ti II"]),
        ({"species": ["CN", "C2 1"]}, ["CN", "C2"]),
        ({"element": ["CO", "NI"], "ion": [2, 1]}, ["Co II", "Ni I"]),
    ],
)
def test_element_ion(tmp_path, columns, expected):
    """A stage in a column of its own, and the spellings of a species; what contradicts itself is refused."""
    path = plain(tmp_path / "s.ecsv", **({"species": None} | columns))
    if len(expected) == 1:
        with pytest.raises(AstrogfError, match=expected[0]):
            read_lines(path)
    else:
        assert read_lines(path).species().tolist() == expected


def classical(wavelength: float, loggf: float, gup: float) -> float:
    """log10 of the classical damping constant times gf / g of the transition, rad/s (Gray 2005, eq. 11.14)."""
    return np.log10(6.669e15 / wavelength**2) + loggf - np.log10(gup)


def test_hfs_no_damping(tmp_path):
    """All components have the width of the transition, log gf 0.2, not of their share of it."""
    path = tmp_path / "hfs.gfall"
    path.write_text(
        gfall(*((648.1 + 1e-4 * k, 0.2, 56.01, 0.0, 137, share) for k, share in enumerate((-0.3, -0.5, -1.2))))
    )
    lines = read_lines(path)
    np.testing.assert_allclose(lines.loggf, [-0.1, -0.3, -1.0])
    np.testing.assert_allclose(lines.log_gamma_rad, classical(6481.0, 0.2, 4.0), atol=1e-3)


@pytest.mark.parametrize("scaled", [False, True])
def test_hfs_no_damping_in_other_formats(tmp_path, scaled):
    """Where the list has the components alone they are added, isotope by isotope, without the isotopes' shares."""
    share = {63: np.log10(0.6915), 65: np.log10(0.3085)}  # Berglund & Wieser (2011)
    parts = {63: np.log10([0.75, 0.25]) + 0.1, 65: np.log10([0.5, 0.5]) + 0.1}
    rows = ["' 29.063 ' 1 2", "'Cu I LTE'", "' 29.065 ' 1 2", "'Cu I LTE'"]
    at = 2
    for mass, loggf in parts.items():
        for k, value in enumerate(loggf + (share[mass] if scaled else 0.0)):
            rows.insert(at, f" 5105.5{k}{mass % 10} 1.389 {value:.5f} 0.0 4.0 0.0 'x' 'x' 0.0 1.0 'Cu'")
            at += 1
        at += 2
    path = tmp_path / "cu.list"
    path.write_text("\n".join(rows) + "\n")
    lines = read_lines(path, medium="vacuum", scaled=scaled)
    assert len(np.unique(lines.transition)) == 1
    np.testing.assert_allclose(lines.log_gamma_rad, classical(5105.5, 0.1, 4.0), atol=2e-3)


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda k: WARNING + vald(k, 6150.0, 6173.3), r"cut short: line 1 says 'WARNING: Output was truncated"),
        (lambda k: vald(k, 6150.0, 6173.3) + WARNING, "cut short: line .* says 'WARNING: Output was truncated"),
        (lambda k: vald(k, 6150.0, 6173.3, footer=WARNING + FOOTER), "cut short: line .* says 'WARNING"),
        (lambda k: vald(k, 6150.0, 6173.3, selected=7), "cut short: its header says that 7 lines were selected, 2 are"),
        (lambda k: vald(k, 6150.0, 6173.3, footer=""), "may be cut short: no footer"),
    ],
)
def test_truncated_first_line(tmp_path, kind, spoil, sentence):
    """First line, last line, before the footer, the header's count, no footer: said, and all that is there is read."""
    path = tmp_path / "cut.vald"
    path.write_text(spoil(kind))
    with pytest.warns(UserWarning, match=sentence):
        lines = read_lines(path)
    np.testing.assert_allclose(lines.wavelength, air_to_vacuum(np.array([6150.0, 6173.3])), rtol=1e-9)


@pytest.mark.parametrize("kind", list(KINDS))
def test_whole_extracts_are_silent(tmp_path, kind):
    """Tests turn warnings into errors: no false alarm."""
    path = tmp_path / "whole.vald"
    path.write_text(vald(kind, 6150.0, 6173.3, selected=2))
    assert len(read_lines(path)) == 2


@pytest.mark.parametrize("kind", list(KINDS))
def test_more_than_one_extract(tmp_path, kind):
    """The second was ignored: both are read, what both have counts once, and a cut in the second is told."""
    path = tmp_path / "two.vald"
    path.write_text(vald(kind, 6150.0, 6173.3, selected=2) + vald(kind, 6173.3, 6191.6, selected=2))
    with pytest.warns(UserWarning, match="1 records stand in more than one of its extracts and count once"):
        lines = read_lines(path)
    np.testing.assert_allclose(lines.wavelength, air_to_vacuum(np.array([6150.0, 6173.3, 6191.6])), rtol=1e-9)
    path.write_text(vald(kind, 6150.0, selected=1) + vald(kind, 6173.3, 6191.6, selected=5))
    with pytest.warns(UserWarning, match="cut short: its header says that 5 lines were selected, 2 are there"):
        assert len(read_lines(path)) == 3
    assert rewrite_silently(path, tmp_path / "out.vald", np.array([0.0, 0.0, 0.5])) == 1
    with pytest.warns(UserWarning, match="cut short"):
        assert read_lines(tmp_path / "out.vald").loggf.tolist() == [-2.88, -2.88, -2.38]


def rewrite_silently(source: Path, target: Path, delta: np.ndarray) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return rewrite_lines(source, target, delta)


def test_extracts_that_differ_are_refused(tmp_path):
    """Other units in the second header, or another scaling in its footer."""
    path = tmp_path / "two.vald"
    path.write_text(vald("all", 6150.0) + vald("all", 6173.3).replace("WL_air(A)", "WL_vac(A)"))
    with pytest.raises(AstrogfError, match=r"line 8: a second extract begins here, of other columns, units or medium"):
        read_lines(path)
    path.write_text(vald("all", 6150.0) + vald("all", 6173.3).replace("were NOT scaled", "were scaled"))
    with pytest.raises(AstrogfError, match="scaled by isotopic fractions in one of its extracts and not in another"):
        read_lines(path)


@pytest.mark.parametrize(("code", "mass", "symbol"), [(43.0, 98, "Tc"), (61.0, 147, "Pm"), (26.0, 59, "Fe")])
def test_technetium(tmp_path, code, mass, symbol):
    """An isotope without a share: its line is refused with its number, skipped where asked, read with a fraction."""
    path = tmp_path / "tc.gfall"
    path.write_text(gfall((541.0, -1, 26.0, 8, 0, 0), (542.0, -1, code, 8, mass, 0), (543.0, -1, 26.0, 8, 0, 0)))
    with pytest.raises(AstrogfError, match=rf"line 2: isotope is '{mass}', expected an isotope of {symbol} I .*on_bad"):
        read_lines(path)
    with pytest.warns(UserWarning, match="left out 1 unreadable line: 2; line 2: isotope"):
        rest = read_lines(path, on_bad="skip")
    np.testing.assert_allclose(rest.wavelength, [5410.0, 5430.0], rtol=1e-9)
    lines = read_lines(path, isotopes={(int(code), mass): 1.0})
    assert lines.log_fraction.tolist() == [0.0, 0.0, 0.0]
    write_lines(tmp_path / "again.gfall", lines, "kurucz", "vacuum")
    assert read_lines(tmp_path / "again.gfall", isotopes={(int(code), mass): 1.0}).isotope[1] == mass
    assert len(read_lines(path, scaled=True)) == 3


@pytest.mark.parametrize("format", [None, "moog"])
@pytest.mark.parametrize("head", ["my lines\n", "# mine\n\n", "# mine\nmy lines\n# wave\n", "\n", "5 lines of iron\n"])
@pytest.mark.parametrize("rows", MOOG_ROWS.values(), ids=MOOG_ROWS)
@pytest.mark.parametrize("change", [str.encode, lambda t: codecs.BOM_UTF8 + t.replace("\n", "\r\n").encode()])
def test_comments(tmp_path, format, head, rows, change):
    """Comments, blank lines, a title or none, marks and ends of lines of other systems: both lines are read."""
    path = tmp_path / "c.moog"
    path.write_bytes(change(head + rows))
    lines = read_lines(path, format, medium="vacuum")
    assert lines.wavelength.tolist() == [5432.1, 5433.7]
    assert lines.species().tolist() == ["Fe I", "Fe II"]
    assert lines.loggf.tolist() == [-1.4, -2.0]


@pytest.mark.parametrize("format", [None, "moog"])
def test_no_title(tmp_path, format):
    """Data in line 1 are read, with a warning that MOOG would take them for the title, and rewritten."""
    path = tmp_path / "c.moog"
    path.write_text(MOOG_ROWS["fixed"])
    with pytest.warns(UserWarning, match="line 1 holds data and was read; MOOG itself takes it for a title"):
        assert read_lines(path, format, "vacuum").loggf.tolist() == [-1.4, -2.0]
    with pytest.warns(UserWarning, match="line 1 holds data"):
        rewrite_lines(path, tmp_path / "new.moog", np.array([0.3, 0.0]), format, "vacuum")
    assert (tmp_path / "new.moog").read_text() == MOOG_ROWS["fixed"].replace("-1.400", "-1.100")


def test_hydrogen_can_be_told(tmp_path):
    """H I among other lines."""
    assert read_lines(plain(tmp_path / "h.ecsv", species=["H I", "Fe I"])).hydrogen.tolist() == [True, False]


@pytest.mark.parametrize(
    ("column", "value", "field"),
    [
        ("wavelength_vac", np.nan, "wavelength_vac is 'nan', expected a number"),
        ("wavelength_vac", np.inf, "wavelength_vac is 'inf', expected a number"),
        ("wavelength_vac", -5433.7, "wavelength is '-5433.7', expected Angstrom"),
        ("loggf", 99.0, "log gf is '99', expected a log gf between"),
        ("loggf", -99.0, "log gf is '-99', expected a log gf between"),
        ("loggf", -np.inf, "loggf is '-inf', expected a number"),
        ("E_low", -0.5, "lower level is '-0.5', expected an energy between"),
        ("E_low", 40.0, "lower level is '40 eV', expected an energy below the ionisation of Fe II"),
        ("log_gamma_rad", np.inf, "log_gamma_rad is 'inf', expected a number"),
    ],
)
@pytest.mark.parametrize("ours", [False, True])
def test_values_at_the_border(tmp_path, column, value, field, ours):
    """Refused with the number of the line, or left out aloud; in our own format as well."""
    path = plain(tmp_path / "v.ecsv", log_gamma_rad=[8.1, 8.2])
    name = column
    if ours:
        write_lines(path, read_lines(path), "ecsv")
        name = {"wavelength_vac": "wavelength", "E_low": "elow"}.get(column, column)
    table = Table.read(path)
    table[name][1] = value
    table.write(path, overwrite=True)
    sentence = "" if ours else field
    with pytest.raises(AstrogfError, match=f"line 2: {sentence}"):
        read_lines(path)
    with pytest.warns(UserWarning, match="left out 1 unreadable line: 2"):
        assert read_lines(path, on_bad="skip").loggf.tolist() == [-1.4]


def test_levels_above_the_limit_are_told(tmp_path):
    """Autoionising levels exist: read, with a warning that says where the first is."""
    path = plain(tmp_path / "auto.ecsv", E_low=[1.75, 17.0])
    with pytest.warns(UserWarning, match=r"1 lower level lies above the ionisation energy .*first in line 2"):
        assert len(read_lines(path)) == 2


def test_missing_columns_are_those_of_the_nearer_format(tmp_path):
    """A plain table without log gf is told its own columns, not those of the Gaia-ESO table; gf alone will do."""
    with pytest.raises(AstrogfError, match="columns loggf are missing; it has wavelength_vac, species, E_low"):
        read_lines(plain(tmp_path / "m.ecsv", loggf=None))
    lines = read_lines(plain(tmp_path / "m.ecsv", loggf=None, gf=[0.02, 1.5]))
    np.testing.assert_allclose(lines.loggf, [-1.69897, 0.176091], atol=1e-6)
    with pytest.raises(AstrogfError, match=r"line 1: gf is '-1\.4', expected a gf above 0"):
        read_lines(plain(tmp_path / "m.ecsv", loggf=None, gf=[-1.4, 1.5]))


@pytest.mark.parametrize("kind", list(KINDS))
def test_marks_and_ends_of_lines_of_vald(tmp_path, kind):
    """UTF-8's mark, CRLF, tabs after commas."""
    path = tmp_path / "v.vald"
    text = vald(kind, 6150.0, 6173.3, selected=2).replace("', ", "',\t").replace("\n", "\r\n")
    path.write_bytes(codecs.BOM_UTF8 + text.encode())
    np.testing.assert_allclose(read_lines(path).wavelength, air_to_vacuum(np.array([6150.0, 6173.3])), rtol=1e-9)


def test_order_and_twins(tmp_path):
    """Any order of wavelengths; twin columns are harmless where they agree and refused where they do not."""
    path = plain(tmp_path / "o.ecsv", wavelength_vac=[5433.7, 5432.1], log_gf=[-1.4, -2.0])
    assert read_lines(path).loggf.tolist() == [-2.0, -1.4]
    path = plain(tmp_path / "o.ecsv", log_gf=[-1.4, -2.1])
    with pytest.raises(AstrogfError, match="columns loggf and log_gf say the same thing differently; remove one"):
        read_lines(path)
    text = path.read_text().replace("log_gf", "loggf")
    path.write_text(text)
    with pytest.raises(AstrogfError, match="columns loggf and loggf_1 say the same thing differently; remove one"):
        read_lines(path)
    both = plain(tmp_path / "b.ecsv", wavelength_air=[5430.6, 5432.2])
    assert read_lines(both, medium="vacuum").wavelength.tolist() == [5432.1, 5433.7]


def test_marks_and_ends_of_lines_of_tables(tmp_path):
    """UTF-8's mark and CRLF are harmless in ECSV; UTF-16 is named; no rows and only comments are named."""
    raw = plain(tmp_path / "t.ecsv").read_bytes()
    path = tmp_path / "m.ecsv"
    path.write_bytes(codecs.BOM_UTF8 + raw.replace(b"\n", b"\r\n"))
    assert read_lines(path).loggf.tolist() == [-1.4, -2.0]
    for content, sentence in (
        (raw.decode().encode("utf-16"), "text in UTF-16; save it as UTF-8"),
        (raw[: raw.index(b"5432.1")], "the table has no rows"),
        (b"# nothing\n\n# here\n", "it holds no lines, only comments"),
        (codecs.BOM_UTF8 + b"\n", "the file is empty"),
    ):
        path.write_bytes(content)
        with pytest.raises(AstrogfError, match=sentence):
            read_lines(path)


def test_marks_survive_rewriting(tmp_path):
    """The mark of UTF-8 before a list of fixed columns shifts nothing, and stays."""
    path = tmp_path / "b.gfall"
    path.write_bytes(codecs.BOM_UTF8 + gfall((541.0, -1, 26.0, 8, 0, 0), (543.0, -2, 26.0, 8, 0, 0)).encode())
    rewrite_lines(path, tmp_path / "new.gfall", np.array([0.25, 0.0]))
    assert (tmp_path / "new.gfall").read_bytes() == path.read_bytes().replace(b" -1.000", b" -0.750", 1)
