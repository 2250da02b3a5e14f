"""`astrogf plan`: figures against runs that were measured, chunks within a budget, the lines that head a run."""

import errno
import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from astrogf.base.errors import AstrogfError
from astrogf.cli import app
from astrogf.config import Config
from astrogf.fitting import engine, report
from astrogf.inference.problem.counts import Counts, WindowCounts
from astrogf.planning import costs, plan
from astrogf.planning.costs import Budget, estimate
from astrogf.surveys.batch import SpectrumBatch
from astrogf.surveys.directory.gather import partly_table
from astrogf.surveys.load import Loaded
from tests.builders.believable import believable, counts, set_aside
from tests.places import ROOT

CONFIG = ROOT / "configs" / "lamost_lrs.toml"
HERE = Budget(2, 16e9, 1.0)
HIGH = (
    WindowCounts(4851.42, 5351.49, 14203, 43137, 4, 26651, 1383975),
    WindowCounts(6301.7, 6721.87, 9345, 28563, 4, 17064, 834544),
)
LAMOST = Config().changed(model={"oversampling": 48})
ANCHORS = Config().changed(
    model={"oversampling": 3, "depths": 40}, noise={"line_scatter": 0.02}, solver={"chunk": 2, "star_iterations": 2}
)


@pytest.mark.parametrize(
    ("made_of", "config", "seconds", "memory", "disk"),
    [
        # 64 stars: 367 s of fitting and 6 s of writing, 2.25 GB, at commit d448250; four anchors: 2613c83, 6b0e620.
        # Disk with the reports of these runs drawn again as they are now.
        (counts(), LAMOST, 373.0, 2.25e9, 33.2e6),
        (Counts(HIGH, 4, 0, 30, 26, 59269, 11319, 2400), ANCHORS, 631.0, 5.24e9, 101.4e6),
        (counts(6, 589), LAMOST, 174.0, 1.59e9, None),
    ],
    ids=["64 stars of LAMOST", "4 anchors", "6 stars of LAMOST"],
)
def test_what_was_measured(made_of: Counts, config: Config, seconds: float, memory: float, disk: float | None) -> None:
    """Runs on two cores of the reference machine. Memory within 25%, time within 50%."""
    found = estimate(made_of, config, HERE)
    assert found.total == pytest.approx(seconds, rel=0.5)
    assert found.memory == pytest.approx(memory, rel=0.25)
    if disk is not None:
        assert found.disk == pytest.approx(disk, rel=0.1)
    assert found.most_disk > found.disk
    assert found.chunk == config.solver.chunk


def test_slopes_with_temperature_are_in_the_statistics() -> None:
    """The anchors as configured, four stars with 2,400 lines (`3b9489a`): 191 MB, 482 s in nine of twelve iterations
    with all programs compiled, 5.4 GB. Other jobs shared the cores."""
    config = ANCHORS.changed(noise={"line_drift": 0.12}, solver={"joint_iterations": 12})
    found = estimate(Counts(HIGH, 4, 0, 30, 26, 59269, 11293, 2400), config, HERE)
    assert found.disk == pytest.approx(191e6, rel=0.1)
    assert found.memory == pytest.approx(5.42e9, rel=0.25)
    assert found.total - found.compile == pytest.approx(482.0, rel=0.5)


def test_many_stars_of_a_narrow_window() -> None:
    """2,000 stars of benchmarks/many_stars.py (docs/scaling.md): 1.88 GB, and 0.0181 core-seconds a star and iteration
    of the joint fit, on busy cores that were as quick as the reference machine's."""
    window = WindowCounts(5201.16, 5239.62, 33, 306, 2000, 908, 4562)
    config = Config().changed(model={"oversampling": 6, "depths": 16}, solver={"joint_iterations": 4})
    found = estimate(Counts((window,), 2000, 2000, 7, 3, 2133, 824, 40), config, HERE)
    assert found.memory == pytest.approx(1.88e9, rel=0.25)
    assert found.seconds["joint"] * HERE.cores == pytest.approx(4 * 2000 * 0.0181, rel=0.5)


def test_more_of_anything_costs_more() -> None:
    first = estimate(counts(), LAMOST, HERE)
    twice = estimate(counts(128), LAMOST, HERE)
    assert twice.seconds["joint"] == pytest.approx(2 * first.seconds["joint"], rel=0.1)
    assert twice.memory > first.memory
    many = estimate(counts(free=4800), LAMOST, HERE)
    assert many.seconds["joint"] > 2 * first.seconds["joint"]
    assert many.memory > first.memory + 9 * 8 * (4800**2 - 1200**2)
    fast = estimate(counts(), LAMOST, HERE._replace(speed=2.0))
    assert fast.total == pytest.approx(first.total / 2)
    cores = estimate(counts(), LAMOST, HERE._replace(cores=16))
    assert cores.seconds["stars"] == pytest.approx(first.seconds["stars"] / 8)


@pytest.mark.parametrize("budget", [1.0e9, 1.7e9, 1.9e9, 3e9, 1e11])
@pytest.mark.parametrize("chunk", [1, 16, 500])
def test_the_chunk_keeps_within_the_budget(budget: float, chunk: int) -> None:
    config = LAMOST.changed(solver={"chunk": chunk})
    found = estimate(counts(1000), config, HERE._replace(memory=budget))
    assert found.memory <= budget or (found.chunk == 2 and found.memory == found.least_memory)
    assert found.chunk <= max(chunk, 2)
    if found.chunk < chunk:
        # the next larger one would not
        more = estimate(counts(1000), config.changed(solver={"chunk": found.chunk + 2}), HERE._replace(memory=1e12))
        assert more.memory > budget


def test_a_fit_that_has_no_room_ends_before_it_begins() -> None:
    """The sentence names a number of lines that has room; with a little too little memory it is tried."""
    config = LAMOST.changed(lines={"max_lines": 40_000})
    made = plan.Plan(counts(free=40_000), estimate(counts(free=40_000), config, HERE), HERE, 16, "gauss-newton")
    with pytest.raises(AstrogfError, match=r"about 40,000 free lines needs .* GB .*max_lines = \d+") as refused:
        plan.check_fits(made, config)
    most = int(str(refused.value).split("max_lines = ")[1].split()[0])
    assert 3000 < most < 30_000
    assert estimate(counts(free=most), config, HERE).least_memory <= HERE.memory
    assert estimate(counts(free=int(1.1 * most)), config, HERE).least_memory > HERE.memory
    plan.check_fits(made._replace(budget=HERE._replace(memory=made.costs.least_memory / 1.2)), config)
    scattered = config.changed(noise={"line_scatter": 0.02})
    tiled, whole = (estimate(counts(free=1200), c, HERE).least_memory for c in (config, scattered))
    assert whole > tiled
    more = estimate(counts(free=40_000), scattered, HERE)
    with pytest.raises(AstrogfError, match="line_scatter = 0"):
        plan.check_fits(made._replace(costs=more), scattered)


def test_this_machine() -> None:
    assert costs.cores() >= 1
    assert 1e6 < costs.free_memory() < 1e15
    assert 0.1 < costs.REFERENCE / costs.kernel_seconds() < 10


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted, _ = believable()
    batch = SpectrumBatch(fitted.wavelength, fitted.flux, fitted.ivar, fitted.table)
    monkeypatch.setattr(engine, "load", lambda *_: Loaded([batch], set_aside(), partly_table([])))
    monkeypatch.setattr(engine, "count", lambda *_, **__: counts())
    monkeypatch.setattr(engine, "fit", lambda *_, **__: (fitted, set_aside()[:0]))
    blank = [report.Picture(name, caption, b"") for name, (_, caption) in report.CAPTIONS.items() if name != "injected"]
    monkeypatch.setattr(report, "draw", lambda run: blank)


def astrogf(*arguments: str | Path):
    return CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1"}).invoke(app, [str(a) for a in arguments])


def test_a_full_disk_is_a_sentence(loaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_) -> Loaded:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(engine, "load", full)
    result = astrogf("plan", CONFIG, "--spectra", ROOT / "configs")
    assert result.exit_code == 2
    for said in ("no space is left on the disk", "TMPDIR"):
        assert said in " ".join(result.output.split())


def test_plan_says_and_writes(tmp_path: Path, loaded: None) -> None:
    out = tmp_path / "new" / "plan.json"
    result = astrogf("plan", CONFIG, "--spectra", ROOT / "configs", "--memory", "64", "--json", out)
    assert result.exit_code == 0, result.output
    for said in ("4900–5399 Å", "422", "36,971", "about 1,200 of 7,952", "GB of 64.0 GB"):
        assert said in result.stdout
    found = json.loads(out.read_text())
    assert (found["stars"], found["free_lines"], found["chunk"]) == (64, 1200, 16)
    assert found["seconds"] == pytest.approx(found["compile_seconds"] + sum(found["stage_seconds"].values()))
    assert found["memory_budget_bytes"] == 64e9
    result = astrogf("plan", CONFIG, "--spectra", ROOT / "configs", "--memory", "1.9")
    assert "instead of 16, to keep within it" in result.stdout
    result = astrogf("plan", CONFIG, "--spectra", ROOT / "configs", "--memory", "0.5")
    assert "are needed: lower max_lines" in result.stdout


def test_the_same_lines_head_a_run(tmp_path: Path, loaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["fit", CONFIG, "--spectra", ROOT / "configs", "--out"]
    result = astrogf(*given, tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert result.stdout.index("about 1,200 of 7,952") < result.stdout.index("stars used")
    assert json.loads((tmp_path / "run" / "record.json").read_text())["plan"]["candidates"] == 7952

    def unknown(*_, **__):
        raise AstrogfError("no spectrum passed")

    monkeypatch.setattr(engine, "count", unknown)
    result = astrogf(*given, tmp_path / "other")
    assert result.exit_code == 0, result.output
    assert "is not known: no spectrum passed." in result.stdout


def test_bad_input_is_a_sentence(tmp_path: Path, loaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    result = astrogf("plan", CONFIG, "--spectra", tmp_path / "none")
    assert result.exit_code == 2
    assert "There is no directory" in result.stderr
    monkeypatch.setattr(engine, "load", lambda *_: Loaded([], set_aside(), partly_table([])))
    result = astrogf("plan", CONFIG, "--spectra", ROOT / "configs")
    assert result.exit_code == 2
    assert "None of the 5 files" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(("seconds", "said"), [(41.2, "41 s"), (400, "7 min"), (9000, "2.5 h"), (900_000, "10.4 days")])
def test_times_are_readable(seconds: float, said: str) -> None:
    assert plan._time(seconds) == said
