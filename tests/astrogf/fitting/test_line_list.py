"""Corrections belong to the line list of their run: a run says which it had, and is refused with another."""

import json
from pathlib import Path

import numpy as np
import pytest

from astrogf.base.errors import AstrogfError
from astrogf.checking import held_out
from astrogf.config import Config
from astrogf.fitting import engine
from astrogf.labelling import labelling
from astrogf.runs import folder as runs
from astrogf.synthesis.lines.shipped import load_all_lines, load_atomic_lines
from tests.builders.believable_run import make

CONFIG = Config.model_validate({"survey": {"windows": [[5000.0, 5010.0], [5100.0, 5105.0]]}})
LINES = load_atomic_lines(4990.0, 5120.0)


def moved(at: float, **by: float):
    """The list with columns of the line nearest to `at` changed."""
    k = int(np.argmin(np.abs(LINES.wavelength - at)))
    return LINES.replace(**{name: column_with(name, k, value) for name, value in by.items()})


def column_with(name: str, k: int, by: float) -> np.ndarray:
    column = np.array(getattr(LINES, name))
    column[k] += by
    return column


def test_the_name_is_that_of_the_lines_in_the_windows() -> None:
    name = engine.list_name(CONFIG, LINES)
    assert name == engine.list_name(CONFIG, LINES.replace(transition=LINES.transition + 7))
    assert name == engine.list_name(CONFIG, moved(5050.0, loggf=0.3))
    assert name != engine.list_name(CONFIG, moved(5005.0, loggf=1e-3))
    assert name != engine.list_name(CONFIG, moved(5102.0, log_gamma6=0.1))
    inside = np.flatnonzero((LINES.wavelength > 5000.0) & (LINES.wavelength < 5010.0))
    tied = np.array(LINES.transition)
    tied[inside[0]] = tied[inside[5]]
    assert name != engine.list_name(CONFIG, LINES.replace(transition=tied))
    assert name != engine.list_name(CONFIG, LINES.take(np.delete(np.arange(len(LINES)), inside[3])))


def test_the_shipped_list_has_a_name_too() -> None:
    assert engine.list_name(CONFIG, None) == engine.list_name(CONFIG, load_all_lines(4990.0, 5120.0))
    assert engine.list_name(CONFIG, None) != engine.list_name(CONFIG, LINES)  # which has no molecules


@pytest.mark.parametrize(("lines", "said"), [({}, "(0.0.7) shipped another"), ({"list": "my.ecsv"}, "my.ecsv has")])
def test_a_run_of_another_list_is_refused_in_a_sentence(lines: dict, said: str) -> None:
    config = CONFIG.changed(lines=lines)
    record = {"inputs": {"line_list": "another"}, "versions": {"astrogf": "0.0.7"}}
    with pytest.raises(AstrogfError, match="Fit it again") as refused:
        engine.check_list(record, config, LINES, Path("runs/old"))
    assert said in str(refused.value)
    assert "runs/old" in str(refused.value)
    engine.check_list({"inputs": {"line_list": engine.list_name(config, LINES)}}, config, LINES, Path("runs/old"))
    engine.check_list({"inputs": {}}, config, LINES, Path("runs/old"))
    engine.check_list({}, config, LINES, Path("runs/old"))


@pytest.mark.parametrize("command", [held_out.held_out_check, labelling.label_spectra])
def test_check_and_label_ask_before_any_work(command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*_) -> None:
        raise AssertionError("spectra were read")

    monkeypatch.setattr(engine, "load", work)
    (tmp_path / "spectra").mkdir()
    (tmp_path / "spectra" / "a.fits").write_bytes(b"")
    run = make(tmp_path / "run", known=True)
    record = json.loads((run.folder / "record.json").read_text())
    record["inputs"] = {"line_list": "another"}
    runs.write_record(run.folder, record)
    with pytest.raises(AstrogfError, match="belong to the line list"):
        command(run.folder, tmp_path / "spectra")
