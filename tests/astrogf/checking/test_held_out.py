"""What a held-out check leaves in the run folder, and in its report; the refit is made up."""

import json
from pathlib import Path

import numpy as np
import pytest

import astrogf
from astrogf.checking import held_out
from astrogf.fitting import engine
from astrogf.runs import folder as runs
from tests.builders.believable_run import make
from tests.builders.made_up_check import made_up_check


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> astrogf.Run:
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "a.fits").write_bytes(b"")
    monkeypatch.setattr(held_out, "_asked_for", lambda *_: [])
    monkeypatch.setattr(engine, "check", lambda *_, **__: made_up_check())
    return make(tmp_path / "run", known=True)


def test_the_report_has_the_check_of_stars_not_seen(run: astrogf.Run) -> None:
    assert run.held_out is None
    found = run.check(run.folder.parent / "others")
    kept = astrogf.open_run(run.folder).held_out
    assert kept is not None
    assert kept["stars"] == found["stars"] == 8
    assert kept["spectra"] == str(run.folder.parent / "others")
    assert [star["path"] for star in kept["per_star"]] == [f"a{k}" for k in range(8)]
    page = (run.folder / "report.html").read_text()
    assert f"{found['chi2_per_pixel_original']:.3f} → {found['chi2_per_pixel_corrected']:.3f}" in page
    assert f"{100 * found['pixel_coverage_68']:.1f}, {100 * found['pixel_coverage_95']:.1f}%" in page


def test_a_run_that_cannot_be_written_is_checked_all_the_same(run, monkeypatch, capsys) -> None:
    def refuse(*_) -> None:
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(runs, "write_held_out", refuse)
    told = held_out.held_out_check(run.folder, run.folder.parent / "others")
    assert told["stars"] == 8
    assert "stays as it is: permission denied" in " ".join(capsys.readouterr().out.split())
    assert not (run.folder / "held_out.json").exists()


def test_a_new_run_in_the_folder_removes_it(run: astrogf.Run) -> None:
    runs.write_held_out(run.folder, {"stars": np.int64(3)})
    assert json.loads((run.folder / "held_out.json").read_text()) == {"stars": 3}
    runs.prepare(run.folder, overwrite=True)
    assert not (run.folder / "held_out.json").exists()
