"""The command: help, exit codes, sentences instead of tracebacks, and a whole run with the engine replaced."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from typer.testing import CliRunner

from astrogf import __version__
from astrogf.base.errors import AstrogfWarning
from astrogf.cli import ORDER, app, warned
from astrogf.fitting import engine
from astrogf.surveys.batch import SpectrumBatch
from astrogf.surveys.directory.gather import partly_table
from astrogf.surveys.load import Loaded
from tests.builders.believable import believable, counts, reference, set_aside
from tests.places import ROOT

CONFIG = str(ROOT / "configs" / "lamost_lrs.toml")


def astrogf(*arguments: str | Path):
    return CliRunner(env={"COLUMNS": "120", "NO_COLOR": "1"}).invoke(app, [str(a) for a in arguments])


def test_help_names_every_command() -> None:
    result = astrogf("--help")
    assert result.exit_code == 0
    places = [result.stdout.index(f"│ {name} ") for name in ORDER]
    assert places == sorted(places)
    assert "--version" in result.stdout


def test_a_warning_is_a_sentence(capsys) -> None:
    warned(AstrogfWarning("3 lines are left out."), AstrogfWarning, "collect.py", 84)
    assert capsys.readouterr().err == "Warning: 3 lines are left out.\n"
    warned(UserWarning("not ours"), UserWarning, "other.py", 2)
    assert capsys.readouterr().err.startswith("other.py:2: UserWarning: not ours")


@pytest.mark.parametrize("command", ORDER)
def test_every_command_has_the_common_options(command: str) -> None:
    said = astrogf(command, "--help").stdout
    for option in ("--json", "--quiet", "-q", "--debug"):
        assert option in said


@pytest.mark.parametrize("command", ORDER)
def test_help_shows_an_example(command: str) -> None:
    result = astrogf(command, "--help")
    assert result.exit_code == 0
    assert f"astrogf {command} " in result.stdout.partition("Example:")[2]


def test_a_command_or_option_that_is_misspelt_names_the_nearest() -> None:
    assert "Did you mean 'export'?" in astrogf("exprot").stderr
    assert "--spectra" in astrogf("fit", CONFIG, "--spctra", "x").stderr


def test_completion_knows_commands_options_and_words() -> None:
    def completed(words: str, count: int) -> str:
        env = os.environ | {"_ASTROGF_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(count)}
        code = "import sys; sys.argv = ['astrogf']; from astrogf.cli import main; main()"
        return subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True).stdout

    assert completed("astrogf exp", 1).split() == ["export"]
    assert completed("astrogf init la", 2).split() == ["lamost_lrs", "lamost_mrs"]
    assert completed("astrogf export run --format m", 4).split() == ["moog"]
    assert "--overwrite" in completed("astrogf fit --o", 2)


def test_json_on_stdout_and_quiet(tmp_path: Path, fake_engine: SpectrumBatch) -> None:
    """With --json - nothing else is on stdout; --quiet says nothing; both together are JSON alone."""
    loud = astrogf("init", "--out", tmp_path / "a.toml", "--json", "-")
    assert json.loads(loud.stdout)["kind"] == "lamost_lrs"
    assert "written" in loud.stderr
    both = astrogf("demo", "--out", tmp_path / "b", "--json", "-", "--quiet")
    assert json.loads(both.stdout) == json.loads((tmp_path / "b" / "summary.json").read_text())
    assert both.stderr == ""
    quiet = astrogf("init", "--out", tmp_path / "c.toml", "-q", "--json", tmp_path / "c.json")
    assert (quiet.exit_code, quiet.output) == (0, "")
    assert json.loads((tmp_path / "c.json").read_text())["file"] == str(tmp_path / "c.toml")
    wrong = astrogf("report", tmp_path / "none", "--quiet")
    assert wrong.exit_code == 2
    assert "not a run" in wrong.stderr
    nowhere = astrogf("demo", "--out", tmp_path / "d", "--json", tmp_path)
    one_sentence(nowhere, "--json", "is a folder")
    assert not (tmp_path / "d").exists()


def test_version() -> None:
    assert astrogf("--version").stdout.strip() == f"astrogf {__version__}"


def test_help_and_wrong_keys_do_not_wait_for_jax(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[survey]\nsnr_mn = 3")
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom astrogf.cli import app\n"
        "r = CliRunner().invoke(app, ['--help']); assert r.exit_code == 0\n"
        f"r = CliRunner().invoke(app, ['fit', r'{tmp_path / 'c.toml'}', '--spectra', '.', '--out', 'x'])\n"
        "assert r.exit_code == 2 and 'snr_min' in r.stderr, r.output\n"
        "assert 'jax' not in sys.modules and 'matplotlib' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def one_sentence(result, *words: str) -> None:
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr


def test_a_missing_option_is_a_usage_error() -> None:
    assert astrogf("fit", CONFIG).exit_code == 2


def test_wrong_directory(tmp_path: Path) -> None:
    out = tmp_path / "run"
    one_sentence(astrogf("fit", CONFIG, "--spectra", tmp_path / "none", "--out", out), "no directory")
    one_sentence(astrogf("fit", CONFIG, "--spectra", CONFIG, "--out", out), "is a file")
    (tmp_path / "empty").mkdir()
    one_sentence(astrogf("fit", CONFIG, "--spectra", tmp_path / "empty", "--out", out), "is empty", "*.fits")
    assert not out.exists()


def test_directory_without_spectra(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "notes.txt").write_text("no spectrum")
    result = astrogf("fit", CONFIG, "--spectra", tmp_path / "d", "--out", tmp_path / "run")
    one_sentence(result, "no FITS file")
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["status"] == "failed"
    assert "no FITS file" in record["error"]


def test_missing_files(tmp_path: Path) -> None:
    one_sentence(astrogf("fit", tmp_path / "c.toml", "--spectra", ".", "--out", tmp_path), "no configuration file")
    one_sentence(astrogf("report", tmp_path), "not a run")
    one_sentence(astrogf("train", tmp_path / "c.toml", "--out", tmp_path), "no configuration file")
    spectra = ["--spectra", ROOT / "configs", "--out", tmp_path / "r"]
    one_sentence(astrogf("fit", CONFIG, *spectra, "--labels", tmp_path / "l.csv"), "no label table")


def test_train_names_an_unknown_key(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text("widht = 3")
    one_sentence(astrogf("train", tmp_path / "t.toml", "--out", tmp_path), "widht")


def test_debug_keeps_the_exception(tmp_path: Path) -> None:
    result = astrogf("report", tmp_path, "--debug")
    assert type(result.exception).__name__ == "AstrogfError"


@pytest.fixture
def fake_engine(monkeypatch: pytest.MonkeyPatch):
    """The rooms below replaced by a fit that never happened."""
    fitted, injected = believable()
    batch = SpectrumBatch(fitted.wavelength, fitted.flux, fitted.ivar, fitted.table)
    refused = set_aside()[:1]
    refused["path"] = ["hot.fits"]
    refused["reason"] = ["teff"]

    def simulate(config, out: Path, progress):
        out.mkdir()
        stars = reference(fitted)
        stars["path"] = fitted.table["path"]
        return engine.Truth(stars, injected)

    def fit(data, config, progress, labels=None, *, lines=None, checkpoint=None, prior=None):
        progress("joint fit", 3, 3)
        return fitted, refused

    partly = partly_table(
        [("red.fits", "red", 6300.0, 6700.0, "few_good_pixels", "its red arm has too few good pixels")]
    )
    loaded = Loaded([batch], set_aside(), partly)
    monkeypatch.setattr(engine, "load", lambda config, spectra, progress, folder=None, say=None: loaded)
    monkeypatch.setattr(engine, "fit", fit)
    monkeypatch.setattr(engine, "count", lambda *_, **__: counts())
    monkeypatch.setattr(engine, "simulate", simulate)
    return batch


def test_demo_from_end_to_end(tmp_path: Path, fake_engine: SpectrumBatch) -> None:
    out = tmp_path / "demo"
    result = astrogf("demo", "--out", out)
    assert result.exit_code == 0, result.output
    found = json.loads((out / "summary.json").read_text())
    assert found["stars_set_aside"] == 6
    assert f"{100 * found['coverage_68']:.1f}%" in result.stdout
    assert "snr_too_low" in result.stdout
    assert found["seconds"] > 0
    record = json.loads((out / "record.json").read_text())
    assert record["status"] == "finished"
    assert record["reference"] == "truth"
    assert set(record["timings"]) == {"simulate", "read", "fit", "write", "report"}
    assert record["config"]["survey"]["window"] == [4900.0, 5400.0]
    files = record["inputs"]["files"]
    assert len(files) == 65
    assert files["broken.fits"] is None
    assert files[fake_engine.table["path"][1]] == f"{1:064x}"
    one_sentence(astrogf("demo", "--out", out), "not empty", "--overwrite")
    assert astrogf("demo", "--out", out, "--overwrite").exit_code == 0

    (out / "report.html").unlink()
    again = astrogf("report", out)
    assert again.exit_code == 0
    assert (out / "report.html").is_file()
    assert json.loads((out / "summary.json").read_text())["stars_used"] == 60


def test_fit_with_a_label_table(tmp_path: Path, fake_engine: SpectrumBatch) -> None:
    labels = reference(believable()[0])
    labels.rename_columns(["teff", "logg", "feh"], ["lasp_teff", "lasp_logg", "lasp_feh"])
    labels["path"] = fake_engine.table["path"]
    labels.write(tmp_path / "labels.csv")
    spectra = ["--spectra", ROOT / "configs", "--out", tmp_path / "run", "--labels", tmp_path / "labels.csv"]
    result = astrogf("fit", CONFIG, *spectra)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert found["label_scatter"]["teff"]["n"] == 58
    assert found["coverage_68"] is None
    assert "LASP" in result.stdout
    assert Table.read(tmp_path / "run" / "partly.ecsv")["piece"].tolist() == ["red"]


def test_nothing_usable_stops_with_the_reasons(
    tmp_path: Path, fake_engine: SpectrumBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = fake_engine.select(np.zeros(60, bool))
    loaded = Loaded([empty], set_aside(), partly_table([]))
    monkeypatch.setattr(engine, "load", lambda config, spectra, progress, folder=None, say=None: loaded)
    result = astrogf("fit", CONFIG, "--spectra", ROOT / "configs", "--out", tmp_path / "run")
    one_sentence(result, "None of the 5 files", "3 snr_too_low", "set_aside.ecsv")
    assert (tmp_path / "run" / "set_aside.ecsv").is_file()
