"""`astrogf apply`: corrections put into a list, which has to be the right one, and of which only log gf changes."""

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from typer.testing import CliRunner

from astrogf.base.errors import AstrogfError
from astrogf.cli import app
from astrogf.exporting.apply import apply
from astrogf.exporting.export import export
from astrogf.synthesis.lineio import read_lines
from astrogf.synthesis.linelists import user_lines
from astrogf.synthesis.lines.isotopes import natural_share
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.lines.shipped import load_atomic_lines
from tests.builders.one_line import as_one
from tests.builders.run_with_list import known_as, read, run_with, written

FORMATS = ("vald", "turbospectrum", "moog", "kurucz", "ecsv")
NUMBER = re.compile(r"-?\d+\.\d+(?:[eE][-+]?\d+)?")


class Made:
    """A run on a list in our own format, its corrections, and what moves every line."""

    def __init__(self, folder: Path) -> None:
        self.path = written(folder, "ecsv")
        self.lines = read(self.path, "ecsv")
        self.run = folder / "run"
        run_with(self.run, self.path, self.lines)
        self.overlay = folder / "corrections.ecsv"
        export(self.run, self.overlay, "overlay")
        self.table = Table.read(self.overlay)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    return Made(tmp_path_factory.mktemp("made"))


def without_title(path: Path, format: str) -> bytes:
    return path.read_bytes().split(b"\n", 1)[1] if format == "moog" else path.read_bytes()


@pytest.mark.parametrize("format", FORMATS)
def test_applied_to_the_list_it_is_what_export_writes(tmp_path, made, format):
    """Byte for byte, in every format; what differs from the list itself are numbers in the log gf column alone."""
    source, target, exported = written(tmp_path, format), tmp_path / "target", tmp_path / "exported"
    told = apply(made.overlay, source, target, **known_as(format))
    export(made.run, exported, format)
    assert told["by"] == "shifts"
    assert told["same_file"] == (format == "ecsv")
    assert told["largest_rounding_dex"] < 5.1e-4
    old, new = source.read_text().split("\n"), target.read_text().split("\n")
    changed = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    assert len(changed) == told["lines_changed"] > 10
    if format == "ecsv":  # numbers in full, so that the last digit is the sum's
        np.testing.assert_allclose(read(target, format).loggf, read(exported, format).loggf, atol=1e-6, rtol=0)
        return
    assert without_title(target, format) == without_title(exported, format)
    for a, b in changed:
        assert len(a) == len(b)
        assert sum(x != y for x, y in zip(NUMBER.findall(a), NUMBER.findall(b), strict=True)) == 1


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_ends_of_lines_and_packing_stay(tmp_path, made, format, ending):
    source, target = written(tmp_path, format), tmp_path / "target.gz"
    source.write_bytes(source.read_bytes().replace(b"\n", ending))
    apply(made.overlay, source, target, **known_as(format))
    content = gzip.decompress(target.read_bytes())
    assert content.count(ending) == source.read_bytes().count(ending)
    assert content.count(b"\n") == source.read_bytes().count(b"\n")


def values_of(lines: LineList) -> np.ndarray:
    """log gf without the isotope's share."""
    return lines.loggf - np.where(lines.log_fraction == 0, natural_share(lines.z, lines.isotope), 0.0)


@pytest.mark.parametrize("format", FORMATS)
def test_a_list_with_another_value_is_refused(tmp_path, made, format):
    """One corrected line's log gf differs by 0.05 dex: how many match, which one does not, and what to do."""
    row = made.table[3]
    lines = made.lines
    at = np.flatnonzero((np.abs(lines.wavelength - row["wavelength"]) < 1e-4) & (lines.species() == row["species"]))[0]
    loggf = lines.loggf.copy()
    loggf[at] += 0.05
    source = written(tmp_path, format, lines.replace(loggf=loggf))
    with pytest.raises(AstrogfError) as caught:
        apply(made.overlay, source, tmp_path / "target", **known_as(format))
    n = len(np.unique(made.table["transition"])) if format != "kurucz" else None
    words = [str(source), "mine.ecsv", "1 of them with another log gf", row["species"], "--values"]
    for word in [*words, *([f"{n} of the {n}"] if n else [])]:
        assert word in str(caught.value)
    assert not (tmp_path / "target").exists()


def test_a_list_that_lacks_a_line_is_refused(tmp_path, made):
    gone = made.table[-1]
    keep = np.abs(made.lines.wavelength - gone["wavelength"]) > 1e-4
    source = written(tmp_path, "vald", made.lines.take(keep))
    n = len(np.unique(made.table["transition"]))
    with pytest.raises(AstrogfError, match=rf"{n - 1} of the {n} corrected transitions"):
        apply(made.overlay, source, tmp_path / "target")
    told = apply(made.overlay, source, tmp_path / "target", values=True)
    assert told["not_in_list"] == [f"{gone['species']} {gone['wavelength']:.3f}"]


def test_a_part_of_the_list_gets_the_corrections_of_its_wavelengths(tmp_path, made):
    part = made.lines.take(made.lines.wavelength > 5183.0)
    told = apply(made.overlay, written(tmp_path, "vald", part), tmp_path / "target")
    assert 0 < told["transitions_matched"] == told["in_range"] < told["transitions"]


def rng_of_transitions(lines: LineList, sd: float) -> np.ndarray:
    """A random number of each transition, the same for its components."""
    numbers, which = np.unique(lines.transition, return_inverse=True)
    return np.round(np.random.default_rng(1).normal(0.0, sd, len(numbers)), 3)[which.ravel()]


def test_another_list_and_the_values(tmp_path, made):
    """Atoms with other log gf, wavelengths and energies a little off: lines that match get the inferred value, others
    stay. (Doublets of MgH lie at one wavelength and energy, so that nothing but log gf tells them apart.)"""
    lines = made.lines
    atoms = lines.z <= 92
    off = rng_of_transitions(lines, 0.3) * atoms
    other = lines.replace(
        wavelength=lines.wavelength + 0.003 * atoms, elow=lines.elow + 0.002 * atoms, loggf=lines.loggf + off
    )
    source, target = written(tmp_path, "ecsv", other), tmp_path / "target.ecsv"
    with pytest.raises(AstrogfError, match="--values"):
        apply(made.overlay, source, target)
    told = apply(made.overlay, source, target, values=True)
    assert told["transitions_matched"] == told["transitions"]
    exported = tmp_path / "exported.ecsv"
    export(made.run, exported, "ecsv")
    inferred, order = read(exported, "ecsv"), np.argsort(other.wavelength, kind="stable")
    again = np.empty(len(lines))
    again[order] = read(target, "ecsv").loggf  # in the order of the list of the run
    moved = np.abs(inferred.loggf - lines.loggf) > 1e-9
    assert np.sum(moved) == told["lines_changed"]
    np.testing.assert_allclose(again[moved], inferred.loggf[moved], atol=1e-5, rtol=0)
    np.testing.assert_array_equal(again[~moved], other.loggf[~moved])


def test_a_list_that_does_not_split_a_line_gets_the_whole_value(tmp_path, made):
    """Hyperfine components in the list of the run, one line in the other: their sum is compared."""
    numbers, counts = np.unique(made.table["transition"], return_counts=True)
    split = made.table[made.table["transition"] == numbers[np.argmax(counts)]]
    assert len(split) > 5
    code = int(next(z for z, s in zip(made.lines.z, made.lines.species(), strict=True) if s == split["species"][0]))
    share = natural_share(np.full(len(split), code), np.asarray(split["isotope"]))
    total = float(np.log10(np.sum(10.0 ** (np.asarray(split["loggf"]) + share))))
    strongest = split[int(np.argmax(split["loggf"] + share))]
    name = strongest["species"].replace(" II", " 2").replace(" I", " 1")
    source, target = tmp_path / "one.ecsv", tmp_path / "target.ecsv"
    row = {"species": [name, "Fe I"], "wavelength_vac": [strongest["wavelength"], 5183.9], "E_low": [0.0, 1.0]}
    Table(row | {"loggf": [total - 0.2, -1.0]}).write(source)
    table = Table.read(source)
    table["E_low"][0] = strongest["elow"]
    table.write(source, overwrite=True)
    told = apply(made.overlay, source, target, values=True)
    assert told["lines_changed"] == told["transitions_matched"] == 1
    after = Table.read(target)
    assert after["loggf"][0] == pytest.approx(total + strongest["correction"], abs=1e-5)
    assert after["loggf"][1] == -1.0


def test_what_cannot_be_applied_is_refused_in_a_sentence(tmp_path, made):
    source = written(tmp_path, "vald")
    old = Table.read(made.overlay)
    old.meta["version"] = 99
    old.write(tmp_path / "old.ecsv")
    short = Table.read(made.overlay)
    short.remove_column("correction")
    short.write(tmp_path / "short.ecsv")
    holes = Table.read(made.overlay)
    holes["correction"][2] = np.nan
    holes.write(tmp_path / "holes.ecsv")
    iron = tmp_path / "iron.ecsv"
    Table({"species": ["Fe I"], "wavelength_vac": [5183.2], "E_low": [6.0], "loggf": [-1.0]}).write(iron)
    for overlay, lines, words in (
        (source, source, "holds no corrections of astrogf"),
        (made.run / "loggf.ecsv", source, "holds no corrections of astrogf"),
        (tmp_path / "none.ecsv", source, "There is no file"),
        (tmp_path / "old.ecsv", source, "is of version 99"),
        (tmp_path / "short.ecsv", source, "has no column correction"),
        (tmp_path / "holes.ecsv", source, "row 3 has no number in column correction"),
        (made.overlay, tmp_path / "none.vald", "There is no line list"),
        (made.overlay, iron, "none of the .* corrected transitions is in it"),
    ):
        with pytest.raises(AstrogfError, match=words):
            apply(overlay, lines, tmp_path / "target")
    with pytest.raises(AstrogfError, match="is read from; name another file"):
        apply(made.overlay, source, source, overwrite=True)
    assert not (tmp_path / "target").exists()


def test_the_same_file_is_read_as_the_run_read_it(tmp_path):
    """A MOOG list does not say air or vacuum: the overlay remembers what the run was told."""
    path = written(tmp_path, "moog")
    lines = read(path, "moog")
    run_with(tmp_path / "run", path, lines, medium="air")
    export(tmp_path / "run", tmp_path / "c.ecsv", "overlay")
    told = apply(tmp_path / "c.ecsv", path, tmp_path / "target")
    assert told["same_file"]
    assert told["transitions_matched"] == told["transitions"]
    copy = tmp_path / "copy.list"
    copy.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(AstrogfError, match=r"does not say if wavelengths .* add --medium air or --medium vacuum"):
        apply(tmp_path / "c.ecsv", copy, tmp_path / "other")


def test_messages_name_the_options_of_the_command(tmp_path, made):
    """What a list does not say, or says otherwise, and rows that cannot be read."""
    vald, moog = written(tmp_path / "v", "vald"), written(tmp_path / "m", "moog")
    silent = tmp_path / "silent.vald"
    silent.write_text("\n".join(r for r in vald.read_text().splitlines() if not r.startswith("*")))
    broken = tmp_path / "broken.list"
    broken.write_text(moog.read_text().replace(" 26.0 ", " 2x.0 ", 1))
    assert broken.read_text() != moog.read_text()
    for lines, said, words in (
        (vald, {"medium": "vacuum"}, "but --medium vacuum was said; drop --medium"),
        (silent, {}, "add --scaled or --no-scaled"),
        (broken, {"medium": "air"}, "add --on-bad skip"),
    ):
        with pytest.raises(AstrogfError, match=words):
            apply(made.overlay, lines, tmp_path / "target", **said)
    told = apply(made.overlay, silent, tmp_path / "target", scaled=False)
    assert told["transitions_matched"] == told["transitions"]


def test_a_user_s_own_file_keeps_what_is_not_read(tmp_path, made):
    """Comments, species outside the model and trailing text of a MOOG list."""
    source, target = written(tmp_path, "moog"), tmp_path / "target"
    rows = source.read_text().split("\n")
    rows.insert(5, "# a remark")
    rows.insert(9, "  5183.000     840.0     1.000    -1.000     0.000     6.400   a ZrO line")
    rows[20] += "                     from my notes"
    source.write_text("\n".join(rows))
    with pytest.warns(UserWarning, match="outside the model"):
        told = apply(made.overlay, source, target, medium="air")
    kept = target.read_text().split("\n")
    assert told["transitions_matched"] == told["transitions"]
    assert [kept[5], kept[9]] == [rows[5], rows[9]]
    assert kept[20].endswith("from my notes")


def test_the_command(tmp_path, made):
    source, target = written(tmp_path, "vald"), tmp_path / "target"
    call = ["apply", str(made.overlay), str(source), "--out", str(target)]
    said = CliRunner().invoke(app, [*call, "--json", "-"])
    assert said.exit_code == 0, said.output
    told = json.loads(said.stdout)
    assert f"{told['transitions_matched']} of {told['in_range']}" in said.stderr
    assert len(read_lines(target)) == len(made.lines)
    again = CliRunner().invoke(app, call)
    assert again.exit_code == 2
    assert "Traceback" not in again.output
    assert "--overwrite" in again.stderr
    quiet = CliRunner().invoke(app, [*call, "--overwrite", "-q"])
    assert (quiet.exit_code, quiet.output) == (0, "")


def test_a_line_that_the_run_split_is_one_in_its_file(tmp_path):
    """A list with V I lines as one each, which the run splits: the whole list has their components, with what they are
    moved by; corrections name the lines of the file, and go back into it."""
    lines = load_atomic_lines(4860.0, 4910.0)
    lines = lines.take((lines.species() == "V I") & (np.bincount(lines.transition)[lines.transition] > 3))
    lines = as_one(lines)
    path = tmp_path / "vanadium.ecsv"
    columns = {"wavelength_vac": lines.wavelength, "E_low": lines.elow, "loggf": lines.loggf}
    Table(columns | {"species": lines.species()}).write(path)
    filed = read(path, "ecsv")
    split = user_lines(path, damping=False, structure=True, molecules=False)
    assert len(split) > len(filed) + 10
    table = run_with(tmp_path / "run", path, split, borrow_structure=True)
    assert np.max(table["components"]) > 1
    export(tmp_path / "run", tmp_path / "whole.ecsv", "ecsv", everything=True)
    assert len(read(tmp_path / "whole.ecsv", "ecsv")) == len(split)
    overlay = tmp_path / "corrections.ecsv"
    export(tmp_path / "run", overlay, "overlay", everything=True)
    assert len(Table.read(overlay)) == len(table)
    told = apply(overlay, path, tmp_path / "target.ecsv")
    assert told["same_file"]
    assert told["lines_changed"] == len(table)
    moved = read(tmp_path / "target.ecsv", "ecsv").loggf - filed.loggf
    np.testing.assert_allclose(np.sort(moved[moved != 0.0]), np.sort(table["correction"]), atol=1e-6, rtol=0)
