"""`astrogf export`: the whole list of a run with its corrections, in every format, read back."""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from typer.testing import CliRunner

from astrogf.base.air import vacuum_to_air
from astrogf.base.errors import AstrogfError
from astrogf.cli import app
from astrogf.exporting import run_list
from astrogf.exporting.export import export
from astrogf.synthesis.lineio.rewrite import corrected
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.lines.shipped import load_all_lines
from tests.builders.run_with_list import mixed_lines, read, run_with, with_spectra, written

TEXT = ("vald", "turbospectrum", "moog", "kurucz", "korg")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, LineList, Table]:
    """A run on a list of the user's: the folder, the list as it was read, loggf.ecsv."""
    folder = tmp_path_factory.mktemp("run")
    path = written(folder, "ecsv")
    lines = read(path, "ecsv")
    return folder / "run", lines, run_with(folder / "run", path, lines)


def moved_by(lines: LineList, table: Table, below: float) -> np.ndarray:
    """What every line is to be moved by, found here line by line."""
    delta = np.zeros(len(lines))
    for row in table[table["ratio"] < below]:
        same = (lines.species() == row["species"]) & (np.abs(lines.wavelength - row["wavelength"]) < 1e-6)
        same &= (np.abs(lines.elow - row["elow"]) < 1e-6) & (lines.loggf == row["loggf"])
        delta[lines.transition == lines.transition[np.flatnonzero(same)[0]]] = row["correction"]
    return delta


def order(lines: LineList) -> np.ndarray:
    return np.lexsort((np.round(lines.loggf, 2), np.round(lines.wavelength, 2), lines.isotope, lines.ion, lines.z))


def test_the_list_has_what_the_formats_are_tried_on():
    lines = mixed_lines()
    assert np.sum(lines.z > 92) > 20
    assert np.sum((lines.isotope > 0) & (lines.z <= 92)) > 10
    assert np.max(np.unique(lines.transition, return_counts=True)[1]) > 5
    assert np.any(lines.ion == 2)


@pytest.mark.parametrize("format", [*TEXT, "ecsv"])
@pytest.mark.parametrize("everything", [False, True])
def test_every_format_is_read_back_with_its_corrections(tmp_path, run, format, everything):
    """The whole list, corrected lines among it, to the digits that each format prints."""
    folder, lines, table = run
    out = tmp_path / f"out.{format}"
    told = export(folder, out, format, everything=everything)
    delta = moved_by(lines, table, 2.0 if everything else 0.5)
    assert 0 < np.count_nonzero(delta) == told["corrected_lines"]
    wanted = corrected(lines, delta)
    if format == "kurucz":
        assert told["molecular_lines_left_out"] == np.sum(lines.z > 92)
        wanted = wanted.take(wanted.z <= 92)
    again = read(out, format)
    assert len(again) == len(wanted) == told["lines"]
    a, b = wanted.take(order(wanted)), again.take(order(again))
    for column in ("z", "ion", "isotope"):
        np.testing.assert_array_equal(getattr(a, column), getattr(b, column))
    digits = 1e-9 if format == "ecsv" else 6e-4
    np.testing.assert_allclose(a.wavelength, b.wavelength, atol=digits, rtol=0)
    np.testing.assert_allclose(a.elow, b.elow, atol=1e-4, rtol=0)
    np.testing.assert_allclose(a.loggf, b.loggf, atol=digits, rtol=0)


@pytest.mark.parametrize(
    ("format", "cell", "scale", "medium"),
    [
        ("vald", lambda row: row.split(",")[1], 1.0, "air"),
        ("korg", lambda row: row.split(",")[1], 1.0, "vacuum"),
        ("turbospectrum", lambda row: row.split()[0], 1.0, "air"),
        ("moog", lambda row: row[:10], 1.0, "air"),
        ("kurucz", lambda row: row[:11], 10.0, "air"),
    ],
)
def test_wavelengths_are_those_that_the_code_expects(tmp_path, run, format, cell, scale, medium):
    """Air Angstrom, nm for Kurucz; vacuum for Korg, whose header says so."""
    folder, lines, _ = run
    out = tmp_path / "out"
    export(folder, out, format)
    text = out.read_text().splitlines()
    if format in ("vald", "korg"):
        assert f"WL_{medium[:3]}(A)" in text[1]
    magnesium = lines.take(lines.z == 12)
    expected = vacuum_to_air(magnesium.wavelength) if medium == "air" else magnesium.wavelength
    found = []
    for row in text:
        try:
            found.append(scale * float(cell(row)))
        except (ValueError, IndexError):
            continue
    for wavelength in expected:
        assert np.min(np.abs(np.array(found) - wavelength)) < 6e-4


def test_another_medium_may_be_asked_for(tmp_path, run):
    folder, lines, _ = run
    export(folder, tmp_path / "out", "vald", medium="vacuum")
    assert "WL_vac(A)" in (tmp_path / "out").read_text()
    np.testing.assert_allclose(np.sort(read(tmp_path / "out", "vald").wavelength), lines.wavelength, atol=2e-5, rtol=0)
    with pytest.raises(AstrogfError, match="always has vacuum wavelengths"):
        export(folder, tmp_path / "out2", "korg", medium="air")


def test_moog_is_told_the_shares_that_its_log_gf_do_not_hold(tmp_path, run):
    folder, _, _ = run
    told = export(folder, tmp_path / "out", "moog")
    assert told["isotopes"]["60.1142"] == pytest.approx(0.272)  # Nd: Berglund & Wieser (2011)
    assert told["molecular_lines_without_d0"] > 0


def test_the_overlay_names_every_component(tmp_path, run):
    """Identity, correction, sd, ratio and class of each line; the list by its sha256."""
    folder, lines, table = run
    told = export(folder, tmp_path / "corrections.ecsv", "overlay")
    overlay = Table.read(tmp_path / "corrections.ecsv")
    delta = moved_by(lines, table, 0.5)
    assert len(overlay) == np.count_nonzero(delta) == told["corrected_lines"]
    assert len(np.unique(overlay["transition"])) == np.sum(table["ratio"] < 0.5) == told["corrected_transitions"]
    np.testing.assert_allclose(overlay["correction"], delta[delta != 0], atol=1e-6)
    assert set(overlay["class"]) <= set(table["group"])
    source = run_list.read(folder).source
    assert overlay.meta["list"]["sha256"] == source.sha256 == run_list.sha256(folder.parent / "mine.ecsv")
    assert overlay.meta["list"]["file"] == "mine.ecsv"


def test_intervals_go_along_where_a_run_has_them(tmp_path, run):
    folder, lines, table = run
    more = table.copy()
    for name, value in (("low_95", -0.3), ("high_95", 0.3), ("badly_wrong", 0.01)):
        more[name] = np.full(len(table), value)
    other = tmp_path / "run"
    run_with(other, folder.parent / "mine.ecsv", lines)
    more.write(other / "loggf.ecsv", format="ascii.ecsv", overwrite=True)
    export(other, tmp_path / "c.ecsv", "overlay")
    overlay = Table.read(tmp_path / "c.ecsv")
    assert overlay["low_95"].unit == "dex"
    assert overlay["badly_wrong"][0] == 0.01


def test_the_shipped_list_of_a_run(tmp_path):
    """The lines that the fit had: in its windows and beside them, and those that reach in."""
    folder = tmp_path / "run"
    first, second = (10 ** (1e-4 * np.arange(k, k + 60)) for k in (37130, 37200))
    window = load_all_lines(5160.0, 5240.0)
    table = run_with(folder, None, window)
    with_spectra(folder, first, second)
    assert [len(w) for w in run_list.windows(np.concatenate([first, second]))] == [60, 60]
    told = export(folder, tmp_path / "out.ecsv", "ecsv")
    lines = read(tmp_path / "out.ecsv", "ecsv")
    assert lines.wavelength[0] < first[0]
    assert lines.wavelength[-1] > second[-1]
    assert told["corrected_transitions"] == np.sum(table["ratio"] < 0.5)
    row = table[np.argmax(table["ratio"] < 0.5)]
    here = np.argmin(np.abs(lines.wavelength - row["wavelength"]))
    assert lines.loggf[here] == pytest.approx(row["loggf"] + row["correction"], abs=1e-9)


@pytest.mark.parametrize("where", [0, 1, 5, 30])
def test_windows_of_a_run_are_found_wherever_they_end(where):
    """Adjacent windows of one survey, and two grids of different steps over the same wavelengths."""
    a = 10 ** (3.7 + 1e-4 * np.arange(40))
    b = 10 ** (3.7 + 1e-4 * np.arange(41 + where, 90))
    c = 10 ** (3.7 + 3e-6 * np.arange(50))
    for parts in ((a, b), (a, c), (c, a, b), (a,)):
        found = run_list.windows(np.concatenate(parts))
        assert [len(x) for x in found] == [len(x) for x in parts]


def test_a_list_that_is_not_the_one_of_the_run_is_refused(tmp_path):
    """Gone, changed in bytes that the record knows, or with other log gf."""
    path = written(tmp_path, "ecsv")
    lines = read(path, "ecsv")
    folder = tmp_path / "run"
    run_with(folder, path, lines)
    elsewhere = path.rename(tmp_path / "moved.ecsv")
    with pytest.raises(AstrogfError, match="is not there; say with --list"):
        export(folder, tmp_path / "out", "vald")
    assert export(folder, tmp_path / "out", "vald", lines_at=elsewhere)["lines"] == len(lines)
    other = written(tmp_path, "ecsv", lines.replace(loggf=lines.loggf + 0.1))
    with pytest.raises(AstrogfError, match=r"0 of the \d+ corrected lines .* has another log gf in the list"):
        export(folder, tmp_path / "out2", "vald", lines_at=other)
    record = json.loads((folder / "record.json").read_text())
    record["inputs"] = {"lines": {"path": str(elsewhere), "sha256": "0" * 64}}
    (folder / "record.json").write_text(json.dumps(record))
    with pytest.raises(AstrogfError, match="has changed since"):
        export(folder, tmp_path / "out2", "vald", lines_at=elsewhere)
    assert not (tmp_path / "out2").exists()


def test_a_run_of_another_version_is_exported(tmp_path):
    """Options that this version does not have, of the fit or of the lines, do not matter for the list."""
    path = written(tmp_path, "ecsv")
    lines = read(path, "ecsv")
    run_with(tmp_path / "run", path, lines)
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    record["config"]["lines"]["option_of_old"] = record["config"]["solver"]["another"] = 1.0
    (tmp_path / "run" / "record.json").write_text(json.dumps(record))
    assert export(tmp_path / "run", tmp_path / "out", "vald")["lines"] == len(lines)


def test_what_cannot_be_exported_is_refused_in_a_sentence(tmp_path, run):
    folder, _, _ = run
    for change, words in (
        ({"ratio": 0.1}, "No line of .* has a ratio below 0.1"),
        ({"ratio": 0.0}, "expected a number above 0"),
        ({"medium": "water"}, "expected air or vacuum"),
        ({"out": tmp_path}, "is a folder; name a file, such as .*corrected.list"),
    ):
        out = change.pop("out", tmp_path / "out")
        with pytest.raises(AstrogfError, match=words):
            export(folder, out, "vald", **change)
    with pytest.raises(AstrogfError, match="not a finished run"):
        export(tmp_path, tmp_path / "out", "vald")
    assert not (tmp_path / "out").exists()


def test_the_command(tmp_path, run):
    """JSON on stdout and nothing else there; a file that is there stays; quiet says nothing."""
    folder, lines, _ = run
    out = str(tmp_path / "out.list")
    said = CliRunner().invoke(app, ["export", str(folder), "--format", "moog", "--out", out, "--json", "-"])
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["lines"] == len(lines)
    assert "corrected" in said.stderr
    again = CliRunner().invoke(app, ["export", str(folder), "--format", "moog", "--out", out])
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr
    quiet = CliRunner().invoke(app, ["export", str(folder), "--format", "vald", "--out", out, "--force", "--quiet"])
    assert (quiet.exit_code, quiet.stdout) == (0, "")
    wrong = CliRunner().invoke(app, ["export", str(folder), "--format", "vlad", "--out", out])
    assert wrong.exit_code == 2
    assert "turbospectrum" in wrong.stderr
