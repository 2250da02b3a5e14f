"""`astrogf fit --resume`: what goes on, what is refused and with which words, a full disk; fits are made up here
(tests/inference/test_checkpoint.py has the real ones)."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from typer.testing import CliRunner

from astrogf.cli import app
from astrogf.config import Config
from astrogf.fitting import engine, report
from astrogf.inference.checkpoint import NOWHERE, once
from astrogf.inference.statistics import LineNames, Statistics
from astrogf.runs import folder as runs
from astrogf.runs import follows, states
from astrogf.runs.checkpoint import CheckpointFolder
from astrogf.surveys.batch import SpectrumBatch
from astrogf.surveys.directory.gather import partly_table
from astrogf.surveys.load import Loaded
from tests.builders.believable import believable, counts, reference, set_aside
from tests.places import ROOT


class Power(Exception):
    """Goes off."""


class Made:
    """A fit of three stages, which ends before one of them, and the spectra of it."""

    def __init__(self) -> None:
        self.fitted, _ = believable()
        self.ends_before, self.done = -1, list[int]()
        batch = SpectrumBatch(self.fitted.wavelength, self.fitted.flux, self.fitted.ivar, self.fitted.table.copy())
        self.loaded = Loaded([batch], set_aside(), partly_table([]))

    def load(self, *_):
        return self.loaded

    def fit(self, batches, config, progress, labels=None, *, lines=None, checkpoint=None, prior=None):
        def stage(k: int) -> np.ndarray:
            if k == self.ends_before:
                raise Power
            self.done.append(k)
            return np.arange(1000.0) + k

        for k in range(3):
            assert once(checkpoint or NOWHERE, f"stage {k}", lambda k=k: stage(k))[0] == k
        return self.fitted, set_aside()[:0]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    made = Made()
    monkeypatch.setattr(engine, "load", made.load)
    monkeypatch.setattr(engine, "fit", made.fit)
    monkeypatch.setattr(engine, "count", lambda *_, **__: counts())
    blank = [report.Picture(name, caption, b"") for name, (_, caption) in report.CAPTIONS.items() if name != "injected"]
    monkeypatch.setattr(report, "draw", lambda run: blank)
    return made


def fit_run(out: Path, *more: str | Path, configuration: Path = ROOT / "configs" / "lamost_lrs.toml"):
    given = ["fit", configuration, "--spectra", ROOT / "configs", "--out", out, *more]
    return CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"}).invoke(app, [str(x) for x in given])


def cut_short(out: Path, made: Made, before: int = 2, **given) -> None:
    made.ends_before = before
    assert isinstance(fit_run(out, **given).exception, Power)
    made.ends_before, made.done = -1, []


def refused(result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr, result.stderr


def record(out: Path) -> dict:
    return json.loads((out / "record.json").read_text())


def test_it_goes_on_where_it_was(tmp_path: Path, made: Made) -> None:
    out = tmp_path / "run"
    cut_short(out, made)
    assert record(out)["status"] == "failed"
    refused(fit_run(out), "not empty", "--resume", "--overwrite")
    (out / ".stars.4711.ecsv").write_text("half a table")  # as a killed process leaves it
    (out / "checkpoint" / ".stage_2.4711.npz").write_text("half a state")
    started = record(out)["started"]
    result = fit_run(out, "--resume")
    assert result.exit_code == 0, result.output
    assert made.done == [2]
    said = record(out)
    assert said["status"] == "finished"
    assert said["started"] == started
    assert len(said["resumed"]) == 1
    assert not (out / "checkpoint").exists()
    assert not list(out.glob(".*"))
    assert len(runs.read(out).lines) == 300


def test_a_finished_run_says_so(tmp_path: Path, made: Made) -> None:
    out = tmp_path / "run"
    assert fit_run(out).exit_code == 0
    before = {p: p.stat().st_mtime_ns for p in out.iterdir()}
    made.done = []
    result = fit_run(out, "--resume")
    assert result.exit_code == 0
    assert "is finished" in result.stdout
    assert "nothing is left to do" in result.stdout
    assert made.done == []
    assert {p: p.stat().st_mtime_ns for p in out.iterdir()} == before
    assert "--resume" not in fit_run(out).stderr


def test_there_may_be_nothing_to_go_on_with(tmp_path: Path, made: Made) -> None:
    """A script that always says --resume begins, too; and a run may be killed before anything is there."""
    assert fit_run(tmp_path / "new", "--resume").exit_code == 0
    (tmp_path / "early" / "checkpoint").mkdir(parents=True)
    assert fit_run(tmp_path / "early", "--resume").exit_code == 0
    (tmp_path / "early 2" / "checkpoint").mkdir(parents=True)
    assert fit_run(tmp_path / "early 2", "--overwrite").exit_code == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("dear")
    refused(fit_run(tmp_path / "mine", "--resume"), "no run of astrogf", "nothing to go on with")
    assert os.listdir(tmp_path / "mine") == ["thesis.tex"]
    runs.write_record(tmp_path / "mine", {"command": "demo", "status": "stopped"})
    refused(fit_run(tmp_path / "mine", "--resume"), "is of `astrogf demo`, which goes on with it")
    refused(fit_run(tmp_path / "new", "--resume", "--overwrite"), "give one of them")


def test_a_demonstration_goes_on(tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its survey is simulated again, as it was; the stages of its fit that were finished are not done again."""
    simulated, out = list[Path](), tmp_path / "demo"
    lines = Table(made.fitted.lines["wavelength", "species", "elow", "loggf"], copy=True)
    lines["injected"] = 0.1
    stars = reference(made.fitted)
    stars["path"] = made.fitted.table["path"]

    def simulate(config, folder, progress) -> engine.Truth:
        simulated.append(folder)
        return engine.Truth(stars, lines)

    def demo(*more: str):
        given = ["demo", "--out", out, *more]
        return CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"}).invoke(app, [str(x) for x in given])

    monkeypatch.setattr(engine, "simulate", simulate)
    made.ends_before = 2
    assert isinstance(demo().exception, Power)
    made.ends_before, made.done = -1, []
    refused(demo(), "not empty", "--resume", "--overwrite")
    refused(fit_run(out, "--resume"), "is of `astrogf demo`")
    result = demo("--resume")
    assert result.exit_code == 0, result.output
    assert made.done == [2]
    assert simulated == [out / "survey"] * 2
    assert record(out)["status"] == "finished"
    assert not (out / "checkpoint").exists()
    assert (out / "truth_lines.ecsv").is_file()
    assert "is finished" in demo("--resume").stdout
    assert len(simulated) == 2


def test_what_fails_after_the_fit_is_made_up_for(tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(report, "write_report", lambda *_: 1 / 0)
        assert fit_run(tmp_path / "run").exit_code == 2
    assert record(tmp_path / "run")["status"] == "incomplete"
    made.done = []
    assert fit_run(tmp_path / "run", "--resume").exit_code == 0
    assert made.done == []
    assert (tmp_path / "run" / "report.html").is_file()


def test_killed_while_pictures_are_drawn(tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record says 'finished' by then."""

    def off(_):
        raise SystemExit(9)

    with monkeypatch.context() as patch:
        patch.setattr(report, "draw", off)
        fit_run(tmp_path / "run")
    said = record(tmp_path / "run")
    runs.write_record(tmp_path / "run", said | {"status": "finished"})
    assert fit_run(tmp_path / "run", "--resume").exit_code == 0
    assert (tmp_path / "run" / "report.html").is_file()


# --- what changed ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [0, 2])
def test_a_changed_configuration_is_refused(tmp_path: Path, made: Made, before: int) -> None:
    mine, out = tmp_path / "my.toml", tmp_path / "run"
    mine.write_text("[solver]\ntolerance = 0.1\n[demo]\nstars = 3\n")
    cut_short(out, made, before, configuration=mine)
    mine.write_text("[solver]\ntolerance = 0.2\njoint_iterations = 9\n[demo]\nstars = 4\n")
    refused(
        fit_run(out, "--resume", configuration=mine),
        "the configuration changed", "solver.tolerance is 0.2 and was 0.1", "solver.joint_iterations is 9 and was 7",
        "--overwrite",
    )  # fmt: skip
    assert made.done == []
    mine.write_text("[solver]\ntolerance = 0.1\n")
    assert fit_run(out, "--resume", configuration=mine).exit_code == 0


def test_configuration_killed_before_spectra_were_read(tmp_path: Path, made: Made) -> None:
    out = tmp_path / "run"
    cut_short(out, made)
    (out / "checkpoint" / "follows.json").unlink()
    mine = tmp_path / "my.toml"
    mine.write_text("[lines]\nmax_lines = 7\n")
    refused(fit_run(out, "--resume", configuration=mine), "lines.max_lines is 7 and was 1200")
    assert fit_run(out, "--resume").exit_code == 0
    assert made.done == [0, 1, 2]  # of states nobody knows what they follow from


def test_changed_spectra_are_refused(tmp_path: Path, made: Made) -> None:
    out = tmp_path / "run"
    cut_short(out, made)
    table, paths = made.loaded.batches[0].table, made.fitted.table["path"]
    table["sha256"][1] = "f" * 64
    table["path"][2] = "new.fits"
    refused(
        fit_run(out, "--resume"),
        "the spectra changed", f"changed: {paths[1]}", f"no longer used: {paths[2]}", "new: new.fits",
    )  # fmt: skip
    assert made.done == []
    table["path"], table["sha256"] = made.fitted.table["path"], made.fitted.table["sha256"]
    assert fit_run(out, "--resume").exit_code == 0
    assert made.done == [2]


def test_a_changed_line_list_is_refused(tmp_path: Path, made: Made) -> None:
    lines = tmp_path / "my.csv"
    mine = tmp_path / "my.toml"
    mine.write_text(f'[lines]\nlist = "{lines}"\nmedium = "air"\nformat = "ecsv"\n')
    write_list(lines, -1.0)
    cut_short(tmp_path / "run", made, configuration=mine)
    write_list(lines, -1.1)
    refused(fit_run(tmp_path / "run", "--resume", configuration=mine), "the line list changed")
    write_list(lines, -1.0)
    assert fit_run(tmp_path / "run", "--resume", configuration=mine).exit_code == 0


def write_list(path: Path, loggf: float) -> None:
    rows = {"wavelength_air": [5000.0, 5010.0], "species": ["Fe I", "Ti I"], "elow": [1.0, 2.0], "loggf": [loggf, -2.0]}
    Table(rows).write(path, format="ascii.ecsv", overwrite=True)


def test_other_labels_are_refused_where_they_are_priors(tmp_path: Path, made: Made) -> None:
    table = reference(made.fitted)
    table["path"] = made.fitted.table["path"]
    mine = tmp_path / "my.toml"
    for labels, code in (("comparison", 0), ("prior", 2)):
        out = tmp_path / labels
        mine.write_text(f'[survey]\nlabels = "{labels}"\n')
        given = ["--labels", tmp_path / "labels.ecsv"]
        table.write(tmp_path / "labels.ecsv", overwrite=True)
        made.ends_before = 1
        assert isinstance(fit_run(out, *given, configuration=mine).exception, Power)
        made.ends_before = -1
        table["teff"] += 1.0
        table.write(tmp_path / "labels.ecsv", overwrite=True)
        result = fit_run(out, "--resume", *given, configuration=mine)
        assert result.exit_code == code, result.output
        assert ("the table of labels changed" in result.stderr) == (code == 2)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"code": {"astrogf": "0.0.1", "source": "x"}}, ["the code of astrogf changed", "from 0.0.1 to"]),
        ({"libraries": {"jaxlib": "0.1"}}, ["libraries changed", "jaxlib", "was 0.1"]),
    ],
)
def test_other_code_is_refused(tmp_path: Path, made: Made, changed: dict, words: list[str]) -> None:
    out = tmp_path / "run"
    cut_short(out, made)
    place = out / "checkpoint" / "follows.json"
    said = json.loads(place.read_text())
    place.write_text(json.dumps(said | {name: said[name] | value for name, value in changed.items()}))
    refused(fit_run(out, "--resume"), *words)
    place.write_text(json.dumps(said))
    assert fit_run(out, "--resume").exit_code == 0


def test_many_changes_are_counted() -> None:
    was = follows.of_inputs({f"{k}.fits": "a" for k in range(9)}, None)
    with pytest.raises(ValueError, match=r"changed: 0.fits, 1.fits, 2.fits and 6 more\)"):
        follows.check_same(was, follows.of_inputs(dict.fromkeys(was["spectra"], "b"), None), Path("run"))
    follows.check_same(was, was, Path("run"))
    request = follows.of_request(Config(), None)
    assert json.loads(json.dumps(request)) == request


def test_what_another_run_knows_is_of_what_a_run_follows_from() -> None:
    lines = LineNames(np.array([5000.0, 5010.0]), np.array(["Fe I", "Ti I"]), np.ones(2), np.zeros(2))
    told = Statistics(np.eye(2), np.ones(2), np.zeros(2), lines, (), 3)
    was = follows.of_request(Config(), None, told)
    follows.check_same(was, follows.of_request(Config(), None, told._replace(gradient=np.ones(2))), Path("run"))
    with pytest.raises(ValueError, match=r"what the run of lines\.prior knows changed"):
        follows.check_same(was, follows.of_request(Config(), None, told._replace(gradient=np.zeros(2))), Path("run"))


# --- the disk, and other processes -----------------------------------------------------------------------------------


def test_a_full_disk_at_a_checkpoint_is_a_sentence(tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"
    write = np.savez

    def full(file, **given):
        if "stage_1" not in str(file.name):
            return write(file, **given)
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(states.np, "savez", full)
        refused(fit_run(out), "stage_1.npz cannot be written", "no space is left", "--resume")
    assert sorted(p.name for p in (out / "checkpoint").iterdir()) == ["follows.json", "lock", "stage_0.npz"]
    made.done = []
    assert fit_run(out, "--resume").exit_code == 0
    assert made.done == [1, 2]


def test_a_full_disk_at_the_results_is_a_sentence(tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "run/spectra.fits")

    with monkeypatch.context() as patch:
        patch.setattr(runs, "write_images", full)
        refused(
            fit_run(tmp_path / "run"), "The file run/spectra.fits cannot be written", "no space is left", "--resume"
        )
    made.done = []
    assert fit_run(tmp_path / "run", "--resume").exit_code == 0
    assert made.done == []


def test_two_processes_do_not_write_one_run(tmp_path: Path, made: Made) -> None:
    out = tmp_path / "run"
    cut_short(out, made)
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys, time, pathlib; from astrogf.runs.checkpoint import CheckpointFolder\n"
         "with CheckpointFolder(pathlib.Path(sys.argv[1])).held():\n print('held', flush=True); time.sleep(600)", out],
        cwd=ROOT, text=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        refused(fit_run(out, "--resume"), "Another process is writing")
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    assert fit_run(out, "--resume").exit_code == 0


def test_states_come_back_as_they_were(tmp_path: Path) -> None:
    import jax.numpy as jnp

    from astrogf.inference.newton.stars import FitState
    from astrogf.inference.problem.noise import NoiseModel

    kept = CheckpointFolder(tmp_path, lambda: 12.5)
    kept.begin({})
    noise = NoiseModel(jnp.array([0.1]), np.array([0.2]), np.float64(0.3), np.zeros((2, 0)))
    trace = [{"stage": "a", "x": 0.1 + 0.2, "y": float("-inf"), "z": [1, None, True]}]
    state = ({"run": FitState(jnp.arange(3), jnp.array([np.nan]), (noise,), trace)}, -0.0, "é")
    kept.save("two words", state)
    back = kept.load("two words")
    assert repr(back) == repr(state)
    for name in NoiseModel._fields:
        assert type(getattr(back[0]["run"].noise[0], name)) is type(getattr(noise, name))
    assert kept.seconds == 12.5
    assert kept.load("another") is None
    with pytest.raises(TypeError, match="no part of a state: set"):
        kept.save("a set", {1})
    assert kept.load("a set") is None
    path = tmp_path / "checkpoint" / "two_words.npz"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"two_words\.npz is damaged"):
        kept.load("two words")


@pytest.mark.parametrize("name", ["os:system", "astrogf.runs.outputs:write_text", "astrogf.base.errors:AstrogfError"])
def test_a_file_calls_nothing(tmp_path: Path, name: str) -> None:
    kept = CheckpointFolder(tmp_path)
    kept.begin({})
    said = json.dumps({"seconds": 0, "state": {"class": name, "fields": {}}})
    np.savez(tmp_path / "checkpoint" / "x.npz", state=np.array(said))
    with pytest.raises(ValueError, match=r"damaged .*is no state of a fit"):
        kept.load("x")
