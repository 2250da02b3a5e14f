"""Line lists of other codes: formats, units, media, isotopes, refusals, and the way back into the user's file."""

import gzip
import re

import numpy as np
import pytest
from astropy.table import Table

from astrogf.base.air import vacuum_to_air
from astrogf.synthesis.lineio import corrected, read_lines, rewrite_lines, transitions, write_lines
from astrogf.synthesis.lineio.moog import parse_code
from astrogf.synthesis.lines.damping import abo_width
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.lines.shipped import load_atomic_lines
from tests.places import DATA

LISTS = DATA / "lines"
OUTSIDE = pytest.mark.filterwarnings("ignore:.*species outside the model")
FILES = [
    ("vald_short_all_air.vald", "vald", None),
    ("vald_short_stellar_vac.vald", "vald", None),
    ("vald_long_all_cm.vald", "vald", None),
    ("vald_long_stellar_nm.vald", "vald", None),
    ("gfall_air.dat", "kurucz", None),
    ("turbospectrum.list", "turbospectrum", "air"),
    ("moog_fixed.list", "moog", "air"),
    ("moog_free.list", "moog", "air"),
    ("geslines.ecsv", "gaia-eso", None),
]


def line(lines: LineList, z: int, wavelength: float) -> dict[str, float]:
    """The one line of an element within 0.02 A of a vacuum wavelength, as a dictionary."""
    found = np.flatnonzero((lines.z == z) & (np.abs(lines.wavelength - wavelength) < 0.02))
    assert len(found) == 1, (z, wavelength, found)
    return {name: float(column[found[0]]) for name, column in lines._asdict().items()}


@OUTSIDE
@pytest.mark.parametrize(("name", "format", "medium"), FILES)
def test_content_tells_the_format(name, format, medium):
    """Recognised or named, a file gives the same lines, sorted and complete."""
    given, found = (read_lines(LISTS / name, f, medium) for f in (format, None))
    for a, b in zip(given, found, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.all(np.diff(given.wavelength) >= 0)
    for column, values in given._asdict().items():
        assert column == "gup" or np.all(np.isfinite(values)), column


@OUTSIDE
@pytest.mark.parametrize(
    ("name", "medium", "elow"),
    [
        ("vald_short_all_air.vald", None, 2.2227),
        ("vald_short_stellar_vac.vald", None, 2.2227),
        ("gfall_air.dat", None, 2.22271),
        ("moog_fixed.list", "air", 2.223),
        ("geslines.ecsv", None, 2.223),
    ],
)
def test_one_iron_line_in_every_format(name, medium, elow):
    """Fe I 6173.334 (air) is 6175.042 A in vacuum: NIST ASD, levels 17927.382 and 34121.603 cm^-1."""
    iron = line(read_lines(LISTS / name, medium=medium), 26, 1e8 / (34121.603 - 17927.382))
    assert iron["ion"] == 1
    assert iron["loggf"] == -2.88
    assert iron["elow"] == pytest.approx(elow, abs=1e-5)
    if name != "gfall_air.dat":  # Barklem et al. (2000): 281.266
        assert iron["quality"] == 0
        assert iron["gamma6_exponent"] == pytest.approx((1 - 0.266) / 2)
        assert iron["log_gamma6"] == pytest.approx(float(abo_width(281.0, 0.266, 55.845)), abs=1e-4)
    if "moog" not in name:
        assert iron["log_gamma_rad"] == 8.31
        assert iron["log_gamma4"] == -6.16


def test_vald_units_and_levels():
    """cm^-1 and nm become eV and Angstrom; J up gives the weight; the isotope is read from the reference field."""
    wavenumber = read_lines(LISTS / "vald_long_all_cm.vald")
    nanometre = read_lines(LISTS / "vald_long_stellar_nm.vald")
    for lines in (wavenumber, nanometre):
        magnesium = line(lines, 12, 5185.0479)  # NIST ASD, vacuum
        assert magnesium["elow"] == pytest.approx(2.71664, abs=1e-4)
        assert magnesium["gup"] == 3.0
    europium = wavenumber.take(wavenumber.z == 63)
    assert sorted(europium.isotope.tolist()) == [151, 153]
    assert len(np.unique(europium.transition)) == 1


def test_isotopic_fractions_are_applied_once(tmp_path):
    """VALD's footer says if its gf hold them: barium shares of IUPAC (Berglund & Wieser 2011), 137Ba 0.11232."""
    unscaled = read_lines(LISTS / "geslines.ecsv")
    barium = {int(a): f for z, a, f in zip(unscaled.z, unscaled.isotope, unscaled.log_fraction, strict=True) if z == 56}
    assert barium[137] == pytest.approx(np.log10(0.11232), abs=1e-5)
    assert barium[138] == pytest.approx(np.log10(0.71698), abs=1e-5)
    scaled = read_lines(LISTS / "vald_short_stellar_vac.vald")
    assert np.all(scaled.log_fraction == 0.0)
    odd = {(56, 137): 0.5, (56, 138): 0.5}
    star = read_lines(LISTS / "vald_short_stellar_vac.vald", isotopes=odd)
    assert star.log_fraction[star.z == 56][0] == pytest.approx(np.log10(0.5 / 0.71698), abs=1e-5)
    text = (LISTS / "vald_short_stellar_vac.vald").read_text()
    with pytest.raises(ValueError, match=r"says that its log gf are scaled.*scaled=False"):
        read_lines(LISTS / "vald_short_stellar_vac.vald", scaled=False)
    silent = tmp_path / "silent.vald"
    silent.write_text("\n".join(row for row in text.splitlines() if not row.startswith("*")))
    with pytest.raises(ValueError, match="pass scaled=True or False"):
        read_lines(silent)
    assert len(read_lines(silent, scaled=True)) == 3


@OUTSIDE
def test_molecules_and_their_isotopes():
    """12C14N and 12C13C, as VALD, MOOG and Turbospectrum write them."""
    vald = read_lines(LISTS / "vald_short_all_air.vald")
    assert vald.isotope[vald.z == 607].tolist() == [12014]
    assert vald.isotope[vald.z == 606].tolist() == [12013]
    # 12C13C can be made in two ways: 2 * 0.9893 * 0.0107
    assert vald.log_fraction[vald.z == 606][0] == pytest.approx(np.log10(2 * 0.9893 * 0.0107), abs=1e-4)
    turbo = read_lines(LISTS / "turbospectrum.list", medium="air")
    cyanogen = turbo.take(turbo.z == 607)
    assert cyanogen.isotope.tolist() == [12014, 12014]
    assert len(np.unique(cyanogen.transition)) == 2
    assert cyanogen.gup.tolist() == [42.0, 44.0]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("26.0", (26, 1, 0)),
        ("26.10000", (26, 2, 0)),
        ("56.1137", (56, 2, 137)),
        ("3.006", (3, 1, 6)),
        ("3.00700", (3, 1, 7)),
        ("29.0063", (29, 1, 63)),
        ("63.15100", (63, 2, 151)),
        ("607.01214", (607, 1, 12014)),
        ("112.00124", (112, 1, 1024)),
        ("822.01648", (822, 1, 16048)),
        ("10108.0", (10108, 1, 0)),
        ("840.0", (0, 0, 0)),
        ("26.3", (0, 0, 0)),
    ],
)
def test_moog_codes(code, expected):
    """Species codes of MOOG's manual, and of the lists that go round."""
    assert parse_code(code) == expected


def test_kurucz_example_of_the_format_page(tmp_path):
    """The line that Kurucz's own description of the format shows (Co I, hyperfine component, levels reversed)."""
    text = (
        "   800.7110  0.116 27.00   45924.947  3.5 (3F)5s e2F   33439.661  4.5 (3F)4p y2G  8.19 -5.38 -7.59K88  0 0"
        " 59-2.584 59 0.000  104  -77F6 -5 0    1140 1165     0\n"
    )
    path = tmp_path / "gf0801.100"
    path.write_text(text)
    # the component lies 0.181 cm^-1 off the centre of gravity: the shifts of the two levels are 0.104 and -0.077
    cobalt = line(read_lines(path), 27, 1e8 / (45924.947 - 33439.661 + 0.181))
    assert cobalt["loggf"] == pytest.approx(0.116 - 2.584)
    assert cobalt["elow"] == pytest.approx(33439.661 / 8065.544, abs=1e-6)
    assert cobalt["gup"] == 8.0
    assert cobalt["isotope"] == 59
    assert (cobalt["log_gamma_rad"], cobalt["log_gamma4"], cobalt["log_gamma6"]) == (8.19, -5.38, -7.59)


@OUTSIDE
def test_kurucz_levels_decide_between_air_and_vacuum(tmp_path):
    """Air above 2000 A and vacuum below, unless the levels say vacuum everywhere, as in the gfallvac lists."""
    lines = read_lines(LISTS / "gfall_air.dat")
    assert line(lines, 26, 1e8 / 50999.625)["ion"] == 2
    assert line(lines, 26, 1e8 / (49477.127 - 33095.942))["elow"] == pytest.approx(4.10337, abs=1e-5)
    with pytest.raises(ValueError, match="has air wavelengths but medium='vacuum'"):
        read_lines(LISTS / "gfall_air.dat", medium="vacuum")
    rows = (LISTS / "gfall_air.dat").read_text().splitlines()
    vacuum = tmp_path / "gfallvac.dat"
    vacuum.write_text(
        "\n".join(
            f"{1e7 / abs(abs(float(r[24:36])) - abs(float(r[52:64]))):11.4f}{r[11:]}" for r in rows if " 56.01" not in r
        )
    )
    assert line(read_lines(vacuum), 26, 1e8 / (34121.603 - 17927.382))["loggf"] == -2.88
    with pytest.raises(ValueError, match="has vacuum wavelengths but medium='air'"):
        read_lines(vacuum, medium="air")


@OUTSIDE
def test_hyperfine_and_isotopic_components_share_a_transition():
    """The three barium components of the Kurucz file and the two of the Turbospectrum file are one transition each."""
    kurucz = read_lines(LISTS / "gfall_air.dat")
    assert len(np.unique(kurucz.transition[kurucz.z == 56])) == 1
    assert len(np.unique(kurucz.transition)) == len(kurucz) - 2
    moog = read_lines(LISTS / "moog_free.list", medium="air")
    assert len(np.unique(moog.transition[moog.z == 3])) == 1
    assert len(np.unique(moog.transition)) == 3


def test_transitions_without_labels():
    """Ties of nuclei with spin and of isotopes, without labels, against those of the shipped list with them."""
    lines = load_atomic_lines(5000.0, 5200.0)
    blank = np.full(len(lines), "")
    found = transitions(lines.z, lines.ion, lines.isotope, lines.elow, lines.wavelength, blank)

    def tied(number: np.ndarray) -> set[tuple[int, int]]:
        groups: dict[int, list[int]] = {}
        for i, n in enumerate(number.tolist()):
            groups.setdefault(n, []).append(i)
        return {(g[0], i) for g in groups.values() for i in g[1:]}

    split = (lines.z % 2 == 1) | (lines.isotope != 0)
    with_labels = {(i, k) for i, k in tied(lines.transition) if split[i]}
    without = tied(found)
    assert len(with_labels) > 100
    assert len(with_labels & without) > 0.95 * len(with_labels)
    assert len(without - with_labels) < 0.15 * len(without)


@pytest.mark.parametrize(("name", "format", "medium"), [f for f in FILES if f[2] == "air"])
def test_air_or_vacuum_is_never_silent(name, format, medium):
    """A format that does not say needs to be told, and only by one of two words."""
    with pytest.raises(ValueError, match=rf"{name}: .*pass medium='air' or 'vacuum'"):
        read_lines(LISTS / name)
    with pytest.raises(ValueError, match="expected 'air' or 'vacuum'"):
        read_lines(LISTS / name, medium="Air")


def test_a_file_and_its_reader_may_not_disagree():
    """VALD's header and the published Gaia-ESO table say what they hold."""
    for name, wrong in (("vald_short_stellar_vac.vald", "air"), ("geslines.ecsv", "vacuum")):
        with pytest.raises(ValueError, match="drop medium"):
            read_lines(LISTS / name, medium=wrong)


def test_species_outside_the_model_are_counted():
    """ZrO is in no equation of state here, Fe VI in no table of populations."""
    with pytest.warns(UserWarning, match=r"left out 1 lines of species outside the model: 840.0 \(1\)"):
        moog = read_lines(LISTS / "moog_fixed.list", medium="air")
    assert len(moog) == 7
    with pytest.warns(UserWarning, match=r"Fe 6 \(1\)"):
        read_lines(LISTS / "vald_short_all_air.vald")


@pytest.mark.parametrize(
    ("name", "medium", "old", "new", "row", "field"),
    [
        ("vald_short_stellar_vac.vald", None, "-2.880", "-2.8x0", 5, "loggf"),
        ("vald_short_stellar_vac.vald", None, "'Ni 1',", "'Qq 1',", 6, "species"),
        ("vald_short_stellar_vac.vald", None, "'Ni 1',", "Ni 1,", 6, "line"),
        ("vald_long_all_cm.vald", None, "  JJ     ", "#\n#", 7, "record"),
        ("gfall_air.dat", None, "-2.880", "-2.*80", 2, "log gf"),
        ("gfall_air.dat", None, "17927.382", "17 27.382", 2, "first level"),
        ("turbospectrum.list", "air", "-0.503", "******", 7, "log gf"),
        ("turbospectrum.list", "air", "  2         2\n'Ba", "  2         3\n'Ba", 5, "number of lines"),
        ("turbospectrum.list", "air", "5889.951", "588.9951e9", 3, "wavelength"),
        ("moog_fixed.list", "air", "     2.223", "     2,223", 5, "lower level"),
        ("moog_fixed.list", "air", "      28.0", "      Ni I", 6, "species"),
        ("moog_free.list", "air", "5889.951 11.0 0.000 0.108", "5889.951 11.0 0.000 none", 2, "log gf"),
        ("geslines.ecsv", None, "6141.712 -1.090", "6141.712 nan", 3, "loggf"),
    ],
)
@OUTSIDE
def test_a_bad_row_is_named_or_skipped_aloud(tmp_path, name, medium, old, new, row, field):
    """File, line, field, and what was found; on_bad='skip' leaves out that row only, with a warning."""
    text = (LISTS / name).read_text()
    assert old in text
    path = tmp_path / name
    path.write_text(text.replace(old, new, 1))
    format = next(f for n, f, _ in FILES if n == name)
    with pytest.raises(ValueError, match=rf"{re.escape(name)}: line {row}: {field} is .*expected .*on_bad='skip'"):
        read_lines(path, format, medium)
    whole = read_lines(LISTS / name, format, medium)
    with pytest.warns(UserWarning, match=rf"left out 1 unreadable line: {row}; line {row}: {field}"):
        rest = read_lines(path, format, medium, on_bad="skip")
    assert len(rest) == len(whole) - (field != "number of lines")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "the file is empty"),
        ("wavelength of my favourite lines\nnone yet\n", "not recognised as a line list; pass format="),
    ],
)
def test_what_is_no_line_list(tmp_path, content, sentence):
    """A sentence, not a guess."""
    path = tmp_path / "lines.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=sentence):
        read_lines(path, medium="air")
    with pytest.raises(ValueError, match="no such file"):
        read_lines(tmp_path / "absent.txt")


@OUTSIDE
@pytest.mark.parametrize("format", ["vald", "kurucz", "turbospectrum", "moog", "gaia-eso", "ecsv"])
@pytest.mark.parametrize("name", ["vald_short_all_air.vald", "gfall_air.dat", "turbospectrum.list", "geslines.ecsv"])
def test_round_trip(tmp_path, name, format):
    """What is written and read again agrees to the digits that the format prints."""
    lines = read_lines(LISTS / name, medium="air" if name == "turbospectrum.list" else None)
    if format in ("kurucz", "gaia-eso"):
        lines = lines.take(lines.z <= 92)
    path = tmp_path / ("lines.ecsv" if format in ("gaia-eso", "ecsv") else "lines.gz")
    medium = None if format == "ecsv" else "air"
    write_lines(path, lines, format, medium)
    again = read_lines(path, medium=medium if format in ("turbospectrum", "moog") else None)
    assert len(again) == len(lines)
    a, b = (x.take(np.lexsort((x.loggf, np.round(x.elow, 2), x.isotope, x.z))) for x in (lines, again))
    for column in ("z", "ion", "isotope"):
        np.testing.assert_array_equal(getattr(a, column), getattr(b, column))
    width = 0.006 if format == "kurucz" else 6e-4
    tolerance = {
        "wavelength": 6e-4 if format in ("moog", "kurucz") else 6e-5,
        "elow": 6e-5,
        "loggf": 6e-4,
        "log_fraction": 1e-9,
        "log_gamma6": width,
    }
    if format != "moog":
        tolerance |= {"log_gamma_rad": width, "log_gamma4": width}
    if format in ("vald", "turbospectrum", "gaia-eso"):
        tolerance["gamma6_exponent"] = 6e-4
    if format == "ecsv":
        tolerance = dict.fromkeys(LineList._fields, 0.0)
    for column, limit in tolerance.items():
        np.testing.assert_allclose(getattr(b, column), getattr(a, column), rtol=0, atol=limit + 1e-12, err_msg=column)
    if format not in ("moog", "kurucz"):
        # a generic ABO cross-section, once written as sigma.alpha, reads as an individual one
        generic = (a.quality == 2) & (a.z <= 92) & (np.abs(a.gamma6_exponent - 0.3) > 1e-3)
        np.testing.assert_array_equal(np.where(generic & (format != "ecsv"), 0, a.quality), b.quality)


def test_scaled_lists_lose_their_fractions_on_the_way_out(tmp_path):
    """A VALD list with scaled gf, written for MOOG, keeps its strength under MOOG's own fractions."""
    lines = read_lines(LISTS / "vald_short_stellar_vac.vald")
    path = tmp_path / "moog.list"
    write_lines(path, lines, "moog", "air")
    again = read_lines(path, medium="air")
    np.testing.assert_allclose(again.loggf + again.log_fraction, lines.loggf + lines.log_fraction, atol=6e-4)
    assert again.loggf[again.z == 56][0] > lines.loggf[lines.z == 56][0]


@pytest.mark.parametrize("delimiter", [" ", ","])
def test_cells_of_a_table_are_found(tmp_path, delimiter):
    """Quotes, blanks within them, empty cells, a byte-order mark and either separator: only log gf changes."""
    table = Table(
        {
            "note": ['a, "b" c', "", "d#e", "last one"],
            "species": ["Fe I", "Fe II", "Ca I", "Mg I"],
            "wavelength_vac": [5432.1, 5433.7, 5001.0, 5002.0],
            "E_low": [1.75, 3.5, 2.0, 1.0],
            "log_gf": [-1.4, -2.0, 0.5, -0.25],
            "after": ["x y", "'", ",", "\u00e5"],
        }
    )
    source, target = tmp_path / "source.ecsv", tmp_path / "target.ecsv"
    table.write(source, format="ascii.ecsv", delimiter=delimiter)
    source.write_bytes(b"\xef\xbb\xbf" + source.read_bytes())
    lines = read_lines(source)
    delta = np.array([0.1234567, 0.0, -0.3, 0.0])
    assert rewrite_lines(source, target, delta) == 2
    np.testing.assert_allclose(read_lines(target).loggf, lines.loggf + delta, atol=1e-9)
    old, new = source.read_bytes().split(b"\n"), target.read_bytes().split(b"\n")
    assert sum(a != b for a, b in zip(old, new, strict=True)) == 2
    before, after = (Table.read(p.read_text(encoding="utf-8-sig"), format="ascii.ecsv") for p in (source, target))
    for name in ("note", "species", "wavelength_vac", "E_low", "after"):
        assert before[name].tolist() == after[name].tolist()


def test_a_table_of_gf_is_not_rewritten(tmp_path):
    """A correction of log gf cannot be added to a gf."""
    source = tmp_path / "gf.ecsv"
    Table({"species": ["Fe I"], "wavelength_vac": [5432.1], "E_low": [1.75], "gf": [0.04]}).write(source)
    with pytest.raises(ValueError, match="column gf holds gf"):
        rewrite_lines(source, tmp_path / "out", np.array([0.1]))
    assert not (tmp_path / "out").exists()


def test_gaia_eso_as_fits_and_votable(tmp_path):
    """VizieR gives the table as FITS or VOTable: the same lines; a missing column is named."""
    lines = read_lines(LISTS / "geslines.ecsv")
    for name in ("geslines.fits", "geslines.vot"):
        write_lines(tmp_path / name, lines, "gaia-eso", "air")
        again = read_lines(tmp_path / name)
        np.testing.assert_allclose(again.wavelength, lines.wavelength, rtol=1e-12)
        np.testing.assert_array_equal(again.loggf, lines.loggf)
    table = Table.read(LISTS / "geslines.ecsv")
    table.remove_column("Elow")
    table.write(tmp_path / "short.ecsv")
    with pytest.raises(ValueError, match="columns Elow are missing; it has Element"):
        read_lines(tmp_path / "short.ecsv")


@OUTSIDE
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize(("name", "format", "medium"), FILES)
def test_rewriting_touches_log_gf_only(tmp_path, name, format, medium, ending):
    """Corrections come back on reading, and every byte that differs lies in a log gf field."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes((LISTS / name).read_bytes().replace(b"\n", ending.encode()))
    lines = read_lines(source, format, medium)
    delta = np.round(np.linspace(-0.4, 0.3, len(lines)), 2)
    delta[0] = 0.0 if len(lines) > 1 else 0.25
    assert rewrite_lines(source, target, delta, medium=medium) == np.count_nonzero(delta)
    again = read_lines(target, format, medium)
    order = [np.lexsort((x.elow, np.round(x.wavelength, 3), x.z)) for x in (lines, again)]
    np.testing.assert_allclose(again.loggf[order[1]], (lines.loggf + delta)[order[0]], atol=1e-9)
    before, after = source.read_bytes(), target.read_bytes()
    assert len(before) == len(after) or name in ("moog_free.list", "geslines.ecsv")
    old, new = before.decode().split("\n"), after.decode().split("\n")
    assert len(old) == len(new)
    number = re.compile(r"-?\d+\.\d+")
    for a, b in zip(old, new, strict=True):
        if a != b:
            assert sum(x != y for x, y in zip(number.findall(a), number.findall(b), strict=True)) == 1
    if format == "kurucz":
        assert all(a[:11] == b[:11] and a[18:] == b[18:] for a, b in zip(old, new, strict=True))


def test_rewriting_refuses_what_does_not_fit(tmp_path):
    """A field too narrow, a wrong number of corrections, a correction that is none, a format without fields."""
    source = tmp_path / "narrow.list"
    source.write_text("title\n5889.951 11.0 0.000 0.108 2.2 0 0\n")
    with pytest.raises(ValueError, match=r"line 2: log gf -1\.892 does not fit the 5 columns"):
        rewrite_lines(source, tmp_path / "out", np.array([-2.0]), medium="air")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="give one a line, 0 for none"):
        rewrite_lines(source, tmp_path / "out", np.zeros(2), medium="air")
    with pytest.raises(ValueError, match="correction 0 is not a number"):
        rewrite_lines(source, tmp_path / "out", np.array([np.nan]), medium="air")
    Table.read(LISTS / "geslines.ecsv").write(tmp_path / "geslines.fits")
    with pytest.raises(ValueError, match="only as ECSV text"):
        rewrite_lines(tmp_path / "geslines.fits", tmp_path / "out", np.zeros(4))
    lines = read_lines(source, medium="air")
    np.testing.assert_allclose(corrected(lines, np.array([0.1])).loggf, lines.loggf + 0.1)


def test_writers_refuse_what_a_format_lacks(tmp_path):
    """Molecules in Kurucz's atomic columns, a medium unsaid, an unknown format."""
    lines = read_lines(LISTS / "turbospectrum.list", medium="air")
    for format, medium, sentence in (
        ("kurucz", "air", "holds atoms"),
        ("moog", None, "pass medium="),
        ("synspec", "air", "expected one of vald"),
        ("gaia-eso", "vacuum", "air wavelengths, as published"),
        ("ecsv", "air", "vacuum wavelengths"),
    ):
        with pytest.raises(ValueError, match=sentence):
            write_lines(tmp_path / "lines", lines, format, medium)


def test_against_what_turbospectrum_did(shared):
    """Same lines as its own dump, and ABO (own or generic) where its log says so, with its velocity exponent.

    2% differ: lines for which its tables have a cross-section that the list does not carry, and Ta I.
    """
    lines = read_lines(shared / "reference/turbospectrum/inputs_ts/ges_6098_6202.tslist.gz", medium="air")
    with gzip.open(shared / "reference/turbospectrum/lines/lines_6100_6200.tsv.gz", "rt") as file:
        dump = Table.read(file.read().splitlines(), format="ascii.tab")
    air = np.round(vacuum_to_air(lines.wavelength), 3)
    key = np.rec.fromarrays([air, lines.z, lines.ion, lines.isotope, np.round(lines.loggf, 3)])
    found = {tuple(k): i for i, k in enumerate(key.tolist())}
    index = np.array([found.get((round(r[0], 3), r[1], r[3], r[2], round(r[5], 3)), -1) for r in dump])
    assert np.all(index >= 0)
    mine, recipe = lines.take(index), np.asarray(dump["recipe"])
    assert len(dump) > 2500
    np.testing.assert_allclose(mine.elow, dump["E_low_eV"], atol=6e-4)
    np.testing.assert_allclose(mine.log_gamma_rad, np.log10(dump["gamma_rad_used"]), atol=6e-3)
    abo = np.isin(recipe, ["S", "A", "B", "C"])
    assert np.mean(np.abs(mine.gamma6_exponent[abo] - (1 - dump["abo_alpha"][abo]) / 2) < 2e-3) > 0.97
    np.testing.assert_array_equal(mine.log_gamma6[recipe == "W"], dump["vdw_list"][recipe == "W"])
    share = np.log10(dump["isotope_fraction"])
    assert np.max(np.abs(mine.log_fraction - share)) < 0.02
