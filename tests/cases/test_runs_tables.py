"""Tables that come in, of labels, and tables that go out, on a terminal of 80 columns."""

import bz2
import gzip
import io
import lzma
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from rich.cells import cell_len
from rich.console import Console

from astrogf.base import text_tables
from astrogf.base.tables import numbers, read_table
from astrogf.checking import held_out
from astrogf.comparing import corrections
from astrogf.console import show
from astrogf.surveys.catalogues import labels as catalogues
from astrogf.surveys.spectrum import SurveyError
from tests.astrogf.test_runs import write

STARS = Table(
    {
        "path": ["p/a.fits", "p/b.fits", "p/c.fits"],
        "obsid": ["7001", "7002", "7003"],
        "ra": [80.0, 81.0, 82.0],
        "dec": [-5.0, -6.0, -7.0],
    }
)
"""Three stars as a batch has them; every table of labels below knows the first and has none of the second."""
FIRST = (5321.0, 3.75, -0.45)


# --- tables of labels ------------------------------------------------------------------------------------------------


def text(separator: str, none: str) -> str:
    """Three rows: labels, none, and a Teff that is none beside good others."""
    rows = [
        ("obsid", "teff", "teff_err", "logg", "feh"),
        ("7001", "5321.0", "40", "3.75", "-0.45"),
        ("7002", none, none, none, none),
        ("7003", none, "40", "4.25", "0.10"),
    ]
    return "\n".join(separator.join(row) for row in rows) + "\n"


def compared(path: Path) -> np.ndarray:
    found = catalogues.comparison_labels(catalogues.read_usable(path), STARS)
    return np.column_stack([found[name] for name in ("teff", "logg", "feh")])


@pytest.mark.parametrize("none", ["null", "NULL", "--", "nan", "NaN", "N/A", "-9999", "-9999.0"])
@pytest.mark.parametrize("separator", ["|", ";", "\t", ",", "  ", " | ", ", "])
def test_labels_of_any_separator_and_word_for_none(tmp_path: Path, separator: str, none: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(text(separator, none))
    found = compared(path)
    np.testing.assert_array_equal(found[0], FIRST)
    assert np.isnan(found[1]).all()
    np.testing.assert_array_equal(found[2], [np.nan, 4.25, 0.1])


@pytest.mark.parametrize("separator", ["|", ";", "\t", ","])
def test_labels_with_empty_cells(tmp_path: Path, separator: str) -> None:
    (tmp_path / "l.csv").write_text(text(separator, ""))
    found = compared(tmp_path / "l.csv")
    np.testing.assert_array_equal(found[0], FIRST)
    assert np.isnan(found[1]).all()


@pytest.mark.parametrize(
    "written",
    [
        "\ufeff" + text(",", "null"),
        text(",", "null").replace("\n", "\r\n"),
        "# made by hand\n#\n" + text(",", "null"),
        "# obsid teff teff_err logg feh\n7001 5321.0 40 3.75 -0.45\n7003 null 40 4.25 0.1\n",
        "|" + text("|", "null").replace("\n", "|\n|").removesuffix("|"),
        text(" | ", "null").replace("\n", "\n------+------+-----\n", 1) + "(3 rows)\n",
        '"obsid","teff","teff_err","logg","feh","note"\n"7001","5321.0","40","3.75","-0.45","a, b"\n',
        text(";", "null").replace(".", ","),
        text(",", "null").replace("7001", "7001.0"),
    ],
    ids=["bom", "crlf", "comments", "names in a comment", "pipes outside", "psql", "quotes", "decimal comma", "float"],
)
def test_labels_as_programs_write_them(tmp_path: Path, written: str) -> None:
    (tmp_path / "l.dat").write_bytes(written.encode("utf-8"))
    np.testing.assert_array_equal(compared(tmp_path / "l.dat")[0], FIRST)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("obsid|teff|logg|feh\n7001|5321|3.75\n", "line 2: 3 columns, where 4 have names .separated by pipes."),
        ("obsid,teff,teff,feh\n7001,1,2,3\n", "two columns teff"),
        ("7001 5321 3.75 -0.45\n7002 5300 3.7 0\n", "line 1: numbers, but no line of column names"),
        ("obsid,teff,logg,feh\n7001,hot,3.75,-0.45\n", "column teff does not hold numbers: 'hot' is no number"),
        (
            "obsid,teff,logg,feh\n7001,5.321,3.75,-0.45\n",
            "teff has no plausible value, the first is 5.321; .*K.: convert",
        ),
        ("obsid,teff,logg,feh\n7001,5321,27000,-0.45\n", "logg has no plausible value, .*log10 of cm/s2"),
        ("obsid,teff,feh\n7001,5321,-0.45\n", "no column logg to compare with"),
        ("ra,dec,teff,logg,feh\n05:20:00,-05:00:00,5321,3.75,-0.45\n", "column ra does not hold numbers"),
        ("colour,teff,logg,feh\n1,5321,3.75,-0.45\n", "none of the columns that name a spectrum"),
        ("<!DOCTYPE html><html>404</html>", "not recognised as a table"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(tmp_path: Path, written: str, said: str) -> None:
    (tmp_path / "l.csv").write_text(written)
    with pytest.raises(SurveyError, match=said) as caught:
        catalogues.read_usable(tmp_path / "l.csv")
    assert "l.csv" in str(caught.value)


def test_a_row_of_zeros_or_off_the_sky_has_no_labels(tmp_path: Path) -> None:
    """Pipelines write 0 for none: log g = 0 and [Fe/H] = 0 would be a giant. A declination of -9999 is no error."""
    (tmp_path / "l.csv").write_text("ra,dec,teff,logg,feh\n80,-5,5321,3.75,0\n81,-6,0,0,0\n-9999,-9999,5000,4,0\n")
    found = compared(tmp_path / "l.csv")
    np.testing.assert_array_equal(found[0], [5321.0, 3.75, 0.0])
    assert np.isnan(found[1:]).all()


@pytest.mark.parametrize(("teff", "scale"), [("kelvins", 1.0), ("Kelvin", 1.0), ("deg K", 1.0), ("kK", 1e3)])
@pytest.mark.parametrize(
    ("logg", "shift"), [("log(cm.s**-2)", 0.0), ("log(cm/s2)", 0.0), ("dex", 0.0), ("cm/s2", 0.0), ("log(m/s2)", 2.0)]
)
def test_labels_in_units_as_people_write_them(tmp_path: Path, teff: str, scale: float, logg: str, shift: float) -> None:
    columns = [
        fits.Column("obsid", "K", array=[7001]),
        fits.Column("teff", "D", array=[FIRST[0] / scale], unit=teff),
        fits.Column("logg", "D", array=[FIRST[1] - shift], unit=logg),
        fits.Column("feh", "D", array=[FIRST[2]], unit="dex"),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "l.fits")
    np.testing.assert_allclose(compared(tmp_path / "l.fits")[0], FIRST, rtol=1e-12)


@pytest.mark.parametrize(
    ("column", "unit", "said"),
    [
        ("teff", "furlong", "teff is in furlong, not convertible to K"),
        ("teff", "km/s", "not convertible to K"),
        ("logg", "m/s2", "logg is in m / s2; expected log10 of cm/s2"),
        ("feh", "K", "feh is in K; expected dex"),
        ("feh", "mag", "feh is in mag; expected dex"),
    ],
)
def test_labels_in_other_units_are_refused(tmp_path: Path, column: str, unit: str, said: str) -> None:
    units = {"teff": "K", "logg": "dex", "feh": "dex"} | {column: unit}
    columns = [fits.Column(n, "D", array=[v], unit=units[n]) for n, v in zip(units, FIRST, strict=True)]
    fits.BinTableHDU.from_columns([fits.Column("obsid", "K", array=[7001]), *columns]).writeto(tmp_path / "l.fits")
    with pytest.raises(SurveyError, match=said):
        catalogues.read_usable(tmp_path / "l.fits")


@pytest.mark.parametrize(("ending", "pack"), [("gz", gzip.compress), ("xz", lzma.compress), ("bz2", bz2.compress)])
@pytest.mark.parametrize("form", ["csv", "vot", "fits"])
def test_compressed_tables_of_labels(tmp_path: Path, form: str, ending: str, pack) -> None:
    plain, packed = tmp_path / f"l.{form}", tmp_path / f"l.{form}.{ending}"
    if form == "csv":
        plain.write_text(text("|", "null"))
    else:
        table = Table({"obsid": [7001], "teff": [FIRST[0]], "logg": [FIRST[1]], "feh": [FIRST[2]]})
        table.write(plain, format={"vot": "votable", "fits": "fits"}[form])
    packed.write_bytes(pack(plain.read_bytes()))
    np.testing.assert_array_equal(compared(packed)[0], FIRST)
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(SurveyError, match=r"cut short|damaged"):
        catalogues.read_usable(packed)


def test_labels_of_gaia_are_compared_with_but_are_no_priors(tmp_path: Path) -> None:
    gaia = Table({"source_id": [9, 8], "ra": [80.0, 81.0], "dec": [-5.0, -6.0]})
    for name, value in zip(("teff_gspphot", "logg_gspphot", "mh_gspphot"), FIRST, strict=True):
        gaia[name] = np.ma.masked_array([value, 1.0], mask=[False, True])
    gaia.write(tmp_path / "gaia.vot", format="votable")
    found = compared(tmp_path / "gaia.vot")
    np.testing.assert_array_equal(found[0], FIRST)
    assert np.isnan(found[1]).all()
    with pytest.raises(SurveyError, match="without standard deviations"):
        catalogues.read_usable(tmp_path / "gaia.vot", "prior")


def test_a_large_table_is_read_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "".join(f"{8000 + i}|{5000 + i % 999}|4.0|0.1\n" for i in range(9000))
    (tmp_path / "l.txt").write_text("obsid|teff|logg|feh\n7001|5321.0|3.75|-0.45\n7002|null|NULL|nan\n" + rows)
    slow = read_table(tmp_path / "l.txt")
    monkeypatch.setattr(text_tables, "LARGE", 1000)
    fast = read_table(tmp_path / "l.txt")
    assert fast.colnames == slow.colnames
    for name in fast.colnames:
        np.testing.assert_array_equal(numbers(fast, name), numbers(slow, name))


# --- terminals of 80 columns -----------------------------------------------------------------------------------------


def printed(action, width: int = 80) -> list[str]:
    console = Console(width=width, record=True, file=io.StringIO())
    action(console)
    return console.export_text().splitlines()


def test_figures_of_a_run_fit_80_columns(tmp_path: Path) -> None:
    run = write(tmp_path / "[bold]run")
    scatter = {"median": -1234.5, "robust_sigma": 1234.5, "within_1sd": 0.5, "within_2sd": 0.9, "n": 12345}
    summary = run.summary | {"label_scatter": dict.fromkeys(("teff", "logg", "feh"), scatter), "peak_memory_gb": 1.0}
    lines = printed(lambda console: show(console, replace(run, summary=summary), Path("[bold]r/report.html")))
    assert max(map(cell_len, lines)) <= 80
    found = [line for line in lines if line.startswith("Teff − truth")]
    assert found[0].split("  ")[-1].strip() == "median −1234, robust σ 1234 K (n = 12345)"
    assert any(line.startswith("lines with a free log gf") and line.endswith(" 300") for line in lines)
    assert "report: [bold]r/report.html" in lines


def test_figures_of_a_check_and_a_comparison_fit_80_columns(tmp_path: Path) -> None:
    quantiles = {f"{q}%": -12345.0 for q in (5, 25, 50, 75, 95)}
    figures = {"stars": 12345, "lines": 1200, "chi2_per_pixel_original": 1.5, "chi2_per_pixel_corrected": 1.2,
               "chi2_gain_quantiles": quantiles, "share_worse": 0.1, "pixel_coverage_68": 0.7, "pixel_coverage_95": 0.9,
               "repeats": {"teff": {"robust_sd": 1.1, "pairs": 300}}}  # fmt: skip
    lines = printed(lambda console: held_out.show(console, figures))
    assert max(map(cell_len, lines)) <= 80
    assert any("5% -12345" in line and "95% -12345" in line for line in lines)
    table = write(tmp_path / "run").lines
    lab = Table({"wavelength_vac": table["wavelength"], "species": table["species"], "elow": table["elow"],
                 "loggf": np.asarray(table["loggf"]) + 0.1})  # fmt: skip
    lab.write(tmp_path / "lab.ecsv")
    compared_with, _, _ = corrections.compare_run(tmp_path / "run", tmp_path / "lab.ecsv")
    lines = printed(lambda console: corrections.say(compared_with | {"table": "[red]lab"}, console))
    rows = [line for line in lines if line.startswith("  inferred")]
    assert len(rows) >= 3
    assert max(map(cell_len, [line for line in lines if line.startswith(("  ", "log", "minus"))])) <= 80
    assert "…" not in "".join(lines)
    assert "[red]lab" in lines[0]
