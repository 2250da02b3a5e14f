"""`astrogf check` on stars that are known well, and without the files of the run's own anchors."""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from typer.testing import CliRunner

from astrogf.checking.known import survey_noise
from astrogf.cli import app
from astrogf.surveys import load as loading
from tests.builders.known_star import LABELS, RESOLUTION, write_run, write_table


@pytest.fixture(scope="module")
def checked(tmp_path_factory) -> tuple[Path, Table, dict, str]:
    """The run folder, known.ecsv, the JSON file and what was said."""
    folder = tmp_path_factory.mktemp("known")
    write_run(folder / "run")
    write_table(folder / "known.ecsv", rv=35.0)
    given = ["check", folder / "run", "--known", folder / "known.ecsv", "--snr", 150, "--json", folder / "check.json"]
    result = CliRunner().invoke(app, [str(x) for x in given])
    assert result.exit_code == 0, result.output
    figures = json.loads((folder / "check.json").read_text())
    return folder / "run", Table.read(folder / "run" / "known.ecsv"), figures, result.output


def test_known_stars_come_back_at_their_labels_with_the_true_log_gf(checked) -> None:
    """The spectra are of the true log gf: the corrected list finds the labels, the list as it came does not."""
    _, table, _, _ = checked
    assert list(table["noise"]) == ["no noise", "noise 1"] * 2
    quiet = table["noise"] == "no noise"
    for name, bar in (("teff", 25.0), ("logg", 0.05), ("feh", 0.03)):
        assert np.abs(table[f"{name}_difference"][quiet]).max() < bar, name
    assert np.abs(table["feh_difference_original"]).min() > 0.1
    # air, its velocity taken out, or vacuum and a velocity that the fit finds: the same star
    for name, bar in (("teff", 6.0), ("logg", 0.012), ("feh", 0.008)):
        assert np.ptp(table[name][quiet]) < bar, name
    assert np.all(table["chi2_per_pixel_corrected"][~quiet] < 1.4)
    assert np.all(table["chi2_per_pixel_corrected"][quiet] < 0.05)


def test_the_differences_are_those_of_the_columns_and_their_errors(checked) -> None:
    _, table, figures, _ = checked
    for name, value in LABELS.items():
        np.testing.assert_allclose(table[f"{name}_known"], value)
        error = np.hypot(table[f"{name}_sd"], table[f"{name}_known_sd"])
        step = 0.06 if name == "teff" else 2e-4
        np.testing.assert_allclose(table[f"{name}_difference"], table[name] - value, atol=2 * step)
        np.testing.assert_allclose(
            table[f"{name}_z"] * error, table[f"{name}_difference"], atol=step + 0.006 * error.max()
        )
        shown = [row[f"{name}_difference"] for row in figures["known"]]
        np.testing.assert_allclose(shown, table[f"{name}_difference"], atol=step)
    assert np.ma.getmaskarray(table["vmic_difference"]).all()
    assert figures["known"][0]["vmic_z"] is None
    np.testing.assert_allclose(table["resolution"], RESOLUTION, rtol=1e-3)
    assert not np.any(table["in_run"])


def test_the_screen_and_the_report_tell_them(checked) -> None:
    run, table, _, said = checked
    shown = f"{table['teff_difference'][0]:+.0f}"
    assert "label minus truth" in said
    page = (run / "report.html").read_text()
    assert 'id="known"' in page
    assert shown in said
    assert shown in page
    assert "known.ecsv" in said


def test_held_out_stars_are_checked_without_the_files_of_the_anchors(checked, monkeypatch, tmp_path) -> None:
    """The run's anchor is a file that is nowhere; with --all, which is about the run's own spectra, it is asked for."""
    run = checked[0]
    asked = []

    def load_directory(*args, **kwargs):
        asked.append(kwargs["kinds"])
        return [], Table(names=("path", "reason", "detail"), dtype=(str, str, str)), Table()

    monkeypatch.setattr(loading, "load_directory", load_directory)
    (tmp_path / "x.fits").write_text("")
    given = ["check", str(run), "--spectra", str(tmp_path)]
    result = CliRunner().invoke(app, given)
    assert asked == [["lamost_mrs_blue"]]
    assert "No usable spectrum in" in result.output
    assert "not_here" not in result.output
    result = CliRunner().invoke(app, [*given, "--all"])
    assert result.exit_code == 2
    assert "pectra.anchor.file: there is no not_here.txt" in result.output


def test_a_continuum_of_another_spectrograph_is_followed(checked, tmp_path: Path) -> None:
    """Waves of 3% and 12 A, which the run's two degrees in 30 A cannot follow, move the labels; a degree for every 3 A
    takes them up."""
    folder = checked[0].parent
    wave, flux = np.loadtxt(folder / "star.txt").T
    wavy = flux * (1.0 + 0.03 * np.sin(2.0 * np.pi * wave / 12.0))
    (tmp_path / "star.txt").write_text("\n".join(f"{w:.5f} {f:.7f}" for w, f in zip(wave, wavy, strict=True)))
    table = Table.read(folder / "known.ecsv")[:1]
    table.write(tmp_path / "known.ecsv")
    found = {}
    for name, more in (("as the survey", []), ("its own", ["--continuum", "3"])):
        given = ["check", str(folder / "run"), "--known", str(tmp_path / "known.ecsv"), "--draws", "0", *more]
        result = CliRunner().invoke(app, given)
        assert result.exit_code == 0, result.output
        found[name] = Table.read(folder / "run" / "known.ecsv")[0]

    assert abs(found["as the survey"]["logg_difference"]) > 0.1
    assert abs(found["its own"]["teff_difference"]) < 25.0
    assert abs(found["its own"]["logg_difference"]) < 0.05
    assert found["its own"]["continuum"] == 3.0
    assert found["its own"]["chi2_per_pixel_corrected"] < 0.05 < found["as the survey"]["chi2_per_pixel_corrected"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--known", "t.ecsv", "--continuum", "0"], "--continuum is 0; expected Angstrom a degree"),
        (["--spectra", ".", "--continuum", "20"], "--continuum is of known stars"),
        ([], "Name spectra with --spectra, or known stars with --known"),
        (["--known", "t.ecsv", "--figure", "x.png"], "--figure and --all are of --spectra"),
        (["--known", "t.ecsv", "--snr", "0"], "--snr is 0; expected a signal-to-noise ratio above 0"),
        (["--known", "t.ecsv", "--draws", "-1"], "whole numbers of 0 or more"),
        (["--known", "t.ecsv"], "cannot be read: there is no such file"),
    ],
)
def test_what_cannot_be_done_is_said_first(checked, options, words) -> None:
    result = CliRunner().invoke(app, ["check", str(checked[0]), *options])
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


def test_the_noise_of_a_known_star_is_that_of_the_surveys_releases() -> None:
    learned = {
        "DR5, window 1": (0.7, 0.01, 0.0), "DR5, window 2": (0.7, 0.03, 0.1), "DR7, window 2": (0.9, 0.05, 0.1),
        "sun, window 2": (1.0, 0.5, 0.5),
    }  # fmt: skip
    assert survey_noise(learned, ["sun"], 1) == (1.0, 0.01, 0.0)
    assert survey_noise(learned, ["sun"], 2) == (1.0, 0.04, 0.1)
    assert survey_noise({"sun": (1.0, 0.5, 0.2)}, ["sun"], 1) == (1.0, 0.5, 0.2)
    assert survey_noise({}, [], 1) == (1.0, 0.0, 0.0)
