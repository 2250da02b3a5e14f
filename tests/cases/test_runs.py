"""Inputs that users of other codes stumbled over: configurations, places to write to, signals.

Each test is named after the kind of fault; the inputs are made here.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from astropy.table import Table
from typer.testing import CliRunner

from astrogf import config, runtime
from astrogf.base.errors import AstrogfError, printable
from astrogf.cli import app
from astrogf.emulator.options import TrainOptions
from astrogf.fitting import engine, report
from astrogf.inference.problem.options import ModelOptions
from astrogf.inference.problem.priors import Belief
from astrogf.runs import folder as runs
from astrogf.runs import outputs
from astrogf.surveys.batch import SpectrumBatch
from astrogf.surveys.catalogues import labels as catalogues
from astrogf.surveys.directory.gather import partly_table
from astrogf.surveys.load import Loaded
from astrogf.surveys.options import SurveyOptions
from astrogf.synthesis.gas.abundances import ASPLUND2009, SOLAR, SYMBOLS
from astrogf.synthesis.gas.elements import WITHOUT_SOLAR
from astrogf.synthesis.lines.shipped import H_BAND, OPTICAL
from tests.astrogf.test_runs import write
from tests.builders.believable import believable, counts, reference, set_aside
from tests.places import ROOT

CONFIG = str(ROOT / "configs" / "lamost_lrs.toml")


def astrogf(*arguments: str | Path):
    return CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"}).invoke(app, [str(a) for a in arguments])


def refused(result, *words: str) -> None:
    """One sentence on stderr, exit code 2, no traceback."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr


# --- a run: everything is read first, results are written first ------------------------------------------------------


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Reading and fitting replaced; the order of what was called."""
    called: list[str] = []
    fitted, _ = believable()
    batch = SpectrumBatch(fitted.wavelength, fitted.flux, fitted.ivar, fitted.table)
    loaded = Loaded([batch], set_aside(), partly_table([]))

    def load(*_):
        called.append("load")
        return loaded

    def fit(batches, config, progress, labels=None, *, lines=None, checkpoint=None, prior=None):
        called.append("fit")
        return fitted, set_aside()[:0]

    monkeypatch.setattr(engine, "load", load)
    monkeypatch.setattr(engine, "count", lambda *_, **__: counts())
    monkeypatch.setattr(engine, "fit", fit)
    blank = [report.Picture(name, caption, b"") for name, (_, caption) in report.CAPTIONS.items()]
    blank = [picture for picture in blank if picture.name != "injected"]  # of a demonstration only
    monkeypatch.setattr(report, "draw", lambda run: blank)
    return called


def good_labels(folder: Path) -> Path:
    fitted, _ = believable()
    table = reference(fitted)
    table["path"] = fitted.table["path"]
    table.write(folder / "labels.ecsv")
    return folder / "labels.ecsv"


def fit_run(out: Path, *more: str | Path, configuration: str | Path = CONFIG):
    return astrogf("fit", configuration, "--spectra", ROOT / "configs", "--out", out, *more)


def test_labels_are_read_before_the_spectra(tmp_path: Path, simulated: list[str]) -> None:
    (tmp_path / "l.csv").write_text("obsid,teff,logg,feh\n7001,hot,4,0\n")
    refused(fit_run(tmp_path / "run", "--labels", tmp_path / "l.csv"), "l.csv", "column teff", "'hot'")
    assert simulated == []
    assert not (tmp_path / "run").exists()


def test_the_line_list_is_read_before_the_spectra(tmp_path: Path, simulated: list[str]) -> None:
    (tmp_path / "my.toml").write_text('[lines]\nlist = "none.vald"\n')
    refused(fit_run(tmp_path / "run", configuration=tmp_path / "my.toml"), "ines.list", "none.vald")
    assert simulated == []
    assert not (tmp_path / "run").exists()


RESULTS = ("stars.ecsv", "loggf.ecsv", "spectra.fits", "posterior.fits", "summary.json", "record.json")


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ((catalogues, "comparison_labels"), "comparison"),
        (("astrogf.fitting.pipeline", "summarise"), "summary"),
        ((report, "draw"), "report"),
        ((report, "write_report"), "report"),
        (("astrogf.fitting.pipeline", "show"), "screen"),
    ],
)
def test_what_fails_after_a_fit_costs_no_result(
    tmp_path: Path, simulated: list[str], monkeypatch: pytest.MonkeyPatch, where: tuple, what: str
) -> None:
    def fails(*_, **__):
        raise RuntimeError("a fault of ours")

    module = sys.modules[where[0]] if isinstance(where[0], str) else where[0]
    with monkeypatch.context() as patch:
        patch.setattr(module, where[1], fails)
        result = fit_run(tmp_path / "run", "--labels", good_labels(tmp_path))
    refused(result, "results are in", f"{what} (RuntimeError: a fault of ours)", "astrogf report")
    for name in RESULTS:
        assert (tmp_path / "run" / name).is_file(), name
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["status"] == "incomplete"
    assert "a fault of ours" in record["failed"][what]["traceback"]
    assert len(Table.read(tmp_path / "run" / "stars.ecsv")) == 65
    assert len(runs.read(tmp_path / "run").lines) == 300
    assert astrogf("report", tmp_path / "run").exit_code == 0
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_bad_index_beside_the_spectra_is_left_out(tmp_path: Path, simulated: list[str]) -> None:
    """Nobody asked for it: the run goes on without a comparison, and says so."""
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "x.fits").write_bytes(b"")
    (tmp_path / "s" / "index.csv").write_text("path,lasp_teff\nx.fits,5000\n")
    result = astrogf("fit", CONFIG, "--spectra", tmp_path / "s", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "left out" in result.output
    assert "logg" in result.output
    assert json.loads((tmp_path / "run" / "record.json").read_text())["reference"] is None


# --- places to write to ----------------------------------------------------------------------------------------------


def commands(tmp_path: Path) -> dict[str, list]:
    """Every command that writes, its inputs in order, without the option of the place."""
    run = tmp_path / "finished"
    if not run.exists():
        write(run)
        runs.write_record(run, {"config": config.Config().model_dump(mode="json"), "shared": {}})
        lab = run / "lab.csv"
        lab.write_text("wavelength_air,species,elow,loggf\n5000,Fe I,1.0,-1.0\n")
    return {
        "inspect": ["inspect", ROOT / "configs"],
        "check": ["check", run, "--spectra", ROOT / "configs"],
        "compare": ["compare", run, run / "lab.csv"],
        "ingest": ["ingest", ROOT / "configs", "--store", tmp_path / "store.zarr"],
        "store": ["store", tmp_path / "none.zarr"],
        "fit": ["fit", CONFIG, "--spectra", ROOT / "configs"],
        "demo": ["demo"],
        "train": ["train", ROOT / "configs" / "train_atlas9.toml"],
        "validate-emulator": ["validate-emulator", "--decks", tmp_path],
        "fetch": ["fetch", "sdss-lite", "266-51602-1"],
    }


@pytest.mark.parametrize(
    ("command", "option"),
    [(c, "--json") for c in ("inspect", "check", "compare", "ingest", "store")]
    + [(c, "--figure") for c in ("inspect", "check", "compare")]
    + [(c, "--out") for c in ("fit", "demo", "train", "validate-emulator", "fetch")]
    + [("ingest", "--store")],
)
@pytest.mark.parametrize("fault", ["long name", "long folder", "below a file", "wrong kind"])
def test_places_that_cannot_be_written_are_refused_first(
    tmp_path: Path, simulated: list[str], command: str, option: str, fault: str
) -> None:
    given = commands(tmp_path)[command]
    if option == "--store":
        given = given[:2]
    (tmp_path / "file.png").write_text("")
    (tmp_path / "folder.png").mkdir()
    folder = option in ("--out", "--store")
    place = {
        "long name": tmp_path / ("n" * 300 + ".png"),
        "long folder": tmp_path / ("n" * 300) / "x.png",
        "below a file": tmp_path / "file.png" / "x.png",
        "wrong kind": tmp_path / ("file.png" if folder else "folder.png"),
    }[fault]
    if command == "compare" and option == "--figure":
        given = [*given, "--json", tmp_path / "c.json"]
    before = sorted(tmp_path.rglob("*"))
    said = {"below a file": "is a file", "wrong kind": "is a file" if folder else "is a folder"}
    refused(astrogf(*given, option, place), option, said.get(fault, "too long"))
    assert sorted(tmp_path.rglob("*")) == before
    assert simulated == []


@pytest.mark.parametrize("name", ["x.xyz", "x", "x.png.", ".png", "x.txt"])
def test_endings_of_pictures_are_looked_at_first(tmp_path: Path, name: str) -> None:
    for command in ("inspect", "check", "compare"):
        given = [*commands(tmp_path)[command], "--figure", tmp_path / name]
        given += ["--json", tmp_path / "c.json"] if command == "compare" else []
        refused(astrogf(*given), "--figure", name, ".png, .pdf")
    assert not (tmp_path / "c.json").exists()


@pytest.mark.parametrize("ending", outputs.PICTURES)
def test_every_ending_can_be_drawn(tmp_path: Path, ending: str) -> None:
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(1, 1))
    path = tmp_path / "new" / f"x.{ending.upper()}"
    outputs.check_output(path, "picture")
    assert not path.parent.exists()
    outputs.write_picture(path, figure)
    plt.close(figure)
    assert path.stat().st_size > 50


def test_missing_folders_are_made(tmp_path: Path) -> None:
    """Of --json and --figure alike, by every command."""
    lines = write(tmp_path / "run").lines
    lab = Table({"wavelength_vac": lines["wavelength"], "species": lines["species"], "elow": lines["elow"],
                 "loggf": np.asarray(lines["loggf"]) + 0.1})  # fmt: skip
    lab.write(tmp_path / "lab.ecsv")
    place = tmp_path / "a" / "b"
    out, figure = place / "c.json", place / "d" / "c.pdf"
    result = astrogf("compare", tmp_path / "run", tmp_path / "lab.ecsv", "--json", out, "--figure", figure)
    assert result.exit_code == 0, result.output
    assert json.loads(out.read_text())["matching"]["pairs"] == 300
    assert figure.read_bytes().startswith(b"%PDF")
    refused(
        astrogf("compare", tmp_path / "run", tmp_path / "lab.ecsv", "--json", tmp_path / "lab.ecsv"), "compared with"
    )


def test_a_full_disk_is_refused_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulated: list[str]) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 500_000))
    refused(fit_run(tmp_path / "run"), "--out", "0.5 MB left", "make room")
    refused(astrogf("inspect", ROOT / "configs", "--json", tmp_path / "x.json"), "--json", "0.5 MB left")
    assert simulated == []
    assert list(tmp_path.iterdir()) == []


def test_devices_are_not_written_to(tmp_path: Path) -> None:
    refused(astrogf("inspect", ROOT / "configs", "--json", "/dev/full"), "--json", "no ordinary file")
    os.mkfifo(tmp_path / "fifo")
    refused(astrogf("inspect", ROOT / "configs", "--json", tmp_path / "fifo"), "no ordinary file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused_first(tmp_path: Path, simulated: list[str]) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    refused(fit_run(tmp_path / "locked" / "run"), "--out", "permission denied")
    refused(astrogf("inspect", ROOT / "configs", "--json", tmp_path / "locked" / "x.json"), "permission denied")
    assert simulated == []


@pytest.mark.parametrize(
    ("code", "said"),
    [("EROFS", "read-only"), ("EACCES", "permission denied"), ("ENOSPC", "no space"), ("EDQUOT", "quota")],
)
def test_what_the_system_refuses_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulated: list[str], code: str, said: str
) -> None:
    import errno

    def fails(self: Path, content: bytes) -> None:
        raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)), str(self))

    monkeypatch.setattr(Path, "write_bytes", fails)
    refused(fit_run(tmp_path / "run"), "--out", said)
    refused(astrogf("report", commands_run(tmp_path, monkeypatch)), said)
    assert simulated == []


def commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_bytes = Path.write_bytes
    monkeypatch.undo()
    write(tmp_path / "old")
    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    return tmp_path / "old"


def test_names_with_markup_or_not_utf8_survive(tmp_path: Path, simulated: list[str]) -> None:
    for name in ("[red]x[/red]", os.fsdecode(b"caf\xe9")):
        result = fit_run(tmp_path / name)
        assert result.exit_code == 0, result.output
        assert printable(name) in result.output.replace("\n", "")
        assert (tmp_path / name / "summary.json").is_file()
        refused(fit_run(tmp_path / name), printable(name), "not empty")


# --- configurations --------------------------------------------------------------------------------------------------

SUN = '[spectra.sun]\nfile = "sun.txt"\nmedium = "air"\n'


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ('[stars]\nabundances = ["Zz"]', ["[stars] abundances", "'Zz' is no element"]),
        ('[stars]\nabundances = ["MG"]', ["[stars] abundances", "did you mean 'Mg'"]),
        ('[stars]\nabundances = ["Fe"]', ["[stars] abundances", "'Fe' has no [X/Fe]"]),
        ('[stars]\nabundances = ["H"]', ["'H' has no [X/Fe]"]),
        ('[stars]\nabundances = ["Tc"]', ["'Tc' has no solar abundance"]),
        ('[stars]\nabundances = ["15C"]', ["'15C' is no isotope of C"]),
        ('[stars]\nabundances = ["Mg", "C", "Mg"]', ["each element once", "'Mg'"]),
        ("[model]\ntau_top = 1.0\ntau_bottom = -3.0", ["[model] tau_bottom", "above tau_top, which is 1"]),
        ("[model]\ntau_top = -6.5", ["[model] tau_top", "-5 to 1.5"]),
        ("[model]\ntau_bottom = 2.0", ["[model] tau_bottom", "-5 to 1.5"]),
        ("[survey]\nwindows = [[5000, 5100], [5000, 5100]]", ["[survey] windows", "5000-5100", "count twice"]),
        ("[survey]\nwindows = [[6400, 6500], [5000, 5100], [5050, 5200]]", ["5000-5100 and 5050-5200"]),
        ("[survey]\nwindow = [3900, 4100]", ["[survey] window: 3900-4100", "4200-9200", "[lines] list"]),
        ("[survey]\nwindow = [4200, 4300]", ["[survey] window: 4200-4300", "rv_reach"]),
        ("[survey]\nwindows = [[5000, 5100], [9500, 9600]]", ["[survey] windows: 9500-9600"]),
        ("[survey]\nwindow = [-5, 4100]", ["[survey] window", "above 0"]),
        ("[stars]\nteff_prior = [30000, 100]", ["[stars] teff_prior", "3500 to 8000"]),
        ("[stars]\nlogg_prior = [7.5, 0.1]", ["[stars] logg_prior", "0 to 5"]),
        ("[stars]\nfeh_prior = [-5, 0.1]", ["[stars] feh_prior", "-4 to 0.5"]),
        ("[stars]\nalpha_prior = [0.9, 0.1]", ["[stars] alpha_prior", "0 to 0.4"]),
        ("[stars]\nteff_range = [9000, 12000]", ["[stars] teff_range", "3500 to 8000"]),
        (SUN + "teff = [2500, 10]", ["[spectra.sun] teff", "3500 to 8000"]),
        (SUN + "resolution = [-60000, 10]", ["[spectra.sun] resolution", "above 0"]),
        (SUN + "line_scatter = 0.03", ["[spectra.sun] line_scatter", "[noise] line_scatter above 0"]),
        (SUN + "xfe = { C = [0.1, 0.05] }", ["[spectra.sun] xfe: C", "[stars] abundances"]),
        (SUN + "xfe = { Xx = [0.1, 0.05] }", ["[spectra.sun] xfe", "'Xx' is no element"]),
        (SUN + "rv = [2000, 1]", ["[spectra.sun] rv: 2000", "rv_reach"]),
        (SUN + SUN.replace("[spectra.sun]", "[spectra.b]").replace("sun.txt", "./sun.txt"),
         ["[spectra.b] file", "[spectra.sun] is the same file"]),
        ("[solver]\nmethod = 'nuts'\n[survey]\nwindows = [[5000, 5100], [6400, 6500]]",
         ["[solver] method: 'nuts'", "several [survey] windows"]),
        ("[solver]\nbatch = 64", ["[solver] batch", "svi alone"]),
        ("[solver]\nmethod = 'svi'\nbatch = 0", ["[solver] batch"]),
        ("[solver]\nmethod = 'nuts'\n[noise]\nline_scatter = 0.02", ["'nuts'", "[noise] line_scatter = 0.02"]),
        ("[solver]\nmethod = 'laplace'\n[lines]\nunlisted = 0.5", ["'laplace'", "[lines] unlisted = 0.5"]),
    ],
)  # fmt: skip
def test_configurations_are_refused_at_once(
    tmp_path: Path, simulated: list[str], written: str, words: list[str]
) -> None:
    (tmp_path / "my.toml").write_text(written)
    refused(fit_run(tmp_path / "run", configuration=tmp_path / "my.toml"), "my.toml", *words)
    assert simulated == []
    assert not (tmp_path / "run").exists()


def test_configurations_that_are_right_are_read(tmp_path: Path) -> None:
    """At the edge of what is refused."""
    (tmp_path / "my.toml").write_text(
        '[stars]\nabundances = ["Mg", "13C", "C", "He"]\nteff_prior = [8000, 10]\n'
        "[model]\ntau_top = -4.5\ntau_bottom = 1.5\n"
        "[survey]\nwindows = [[6400, 6500], [5000, 5100], [5100, 5200], [15100, 16900]]\n"
    )
    loaded = config.load(tmp_path / "my.toml")
    assert loaded.stars.abundances == ("Mg", "13C", "C", "He")
    assert config.parse({"survey": {"window": [3000, 3100]}, "lines": {"list": "my.vald"}}, "x").lines.list == "my.vald"


def test_a_byte_order_mark_is_no_statement(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_bytes(b"\xef\xbb\xbf[survey]\nsnr_min = 7.5\n")
    assert config.load(tmp_path / "my.toml").survey.snr_min == 7.5
    (tmp_path / "t.toml").write_bytes(b"\xef\xbb\xbfwidth = 17\n")
    assert TrainOptions.read(tmp_path / "t.toml").width == 17
    (tmp_path / "my.toml").write_bytes("[survey]\nsnr_min = 7.5\n".encode("utf-16"))
    with pytest.raises(AstrogfError, match=r"my\.toml is no text in UTF-8; save it as that"):
        config.load(tmp_path / "my.toml")


def test_what_options_know_without_jax_is_what_the_rooms_have() -> None:
    assert (OPTICAL, H_BAND) == config.LISTED
    assert tuple(s for s, a in zip(SYMBOLS, ASPLUND2009, strict=True) if not np.isfinite(a)) == WITHOUT_SOLAR
    assert set(get_args(ModelOptions.model_fields["solar"].annotation)) == set(SOLAR)
    with pytest.raises(ValueError, match="windows that do not overlap"):
        SurveyOptions(windows=((5000.0, 5100.0), (5099.0, 5200.0)))


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"labels": {"teff": (np.nan, 10.0)}}, "teff has mean nan"),
        ({"labels": {"teff": (5000.0, np.inf)}}, "teff has sd inf"),
        ({"labels": {"resolution": (-1.0, 10.0)}}, "resolution has mean -1"),
        ({"xfe": {"C": (0.1, 0.0)}}, r"\[C/Fe\] has sd 0"),
        ({"line_scatter": -0.1}, "line_scatter is -0.1"),
    ],
)
def test_beliefs_are_checked(said: dict, sentence: str) -> None:
    with pytest.raises(AstrogfError, match=sentence):
        Belief(**said)


# --- signals ---------------------------------------------------------------------------------------------------------

SLOW = """
import signal
# a background job of a shell ignores SIGINT, and so would what it starts
signal.signal(signal.SIGINT, signal.default_int_handler)
import sys, time
from astrogf.fitting import engine
from astrogf.surveys.store import fill
import astrogf.inference.rehearsal.survey
def slow(*_, **__):
    print("under way", flush=True)
    while True:
        time.sleep(0.05)
engine.load = engine.simulate = engine.count = engine.fit = fill.ingest = slow
from astrogf.emulator import training
training.main = slow
from astrogf.cli import main
main()
"""


def begun(*arguments: str | Path) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *map(str, arguments)], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert "under way" in process.stdout.readline()
    return process


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [("fit", signal.SIGTERM, 143), ("fit", signal.SIGINT, 130), ("demo", signal.SIGTERM, 143),
     ("check", signal.SIGTERM, 143), ("ingest", signal.SIGINT, 130), ("train", signal.SIGTERM, 143)],
)  # fmt: skip
def test_a_signal_is_recorded(tmp_path: Path, simulated: list[str], command: str, number: int, code: int) -> None:
    out = tmp_path / "run"
    given = commands(tmp_path)[command]
    process = begun(*given, *(["--out", out] if command in ("fit", "demo", "train") else []))
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert f"Stopped by {signal.Signals(number).name}." in said
    assert "Traceback" not in said
    if command in ("fit", "demo"):
        record = json.loads((out / "record.json").read_text())
        assert (record["status"], record["signal"]) == ("stopped", signal.Signals(number).name)
        assert record["finished"] >= record["started"]
        assert sorted(p.name for p in out.iterdir()) == ["checkpoint", "record.json"]
        assert "--resume" in said
        if command == "fit":
            assert fit_run(out).exit_code == 2
            assert fit_run(out, "--overwrite").exit_code == 0
            assert json.loads((out / "record.json").read_text())["status"] == "finished"


def test_handlers_are_restored_and_a_lost_signal_is_raised_again() -> None:
    before = {n: signal.getsignal(n) for n in runtime.STOPPING}
    with runtime.stoppable():
        # Python drops what is raised while it collects garbage
        with contextlib.suppress(runtime.Stopped):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        with pytest.raises(runtime.Stopped) as caught:
            runtime.raise_if_stopped()
    assert (caught.value.signal, caught.value.exit_code) == ("SIGTERM", 143)
    assert {n: signal.getsignal(n) for n in runtime.STOPPING} == before
    runtime.raise_if_stopped()


def test_a_signal_after_the_results_keeps_them(
    tmp_path: Path, simulated: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr(report, "draw", slow)
    result = fit_run(tmp_path / "run")
    assert result.exit_code == 143
    assert json.loads((tmp_path / "run" / "record.json").read_text())["status"] == "stopped"
    assert len(runs.read(tmp_path / "run").lines) == 300
