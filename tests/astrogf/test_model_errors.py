"""What a run says of its model's errors: each kind that it has, by its name and with its own size."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table

from astrogf.fitting import report
from astrogf.runs import folder as runs
from astrogf.runs.model_errors import model_errors
from tests.builders.believable_run import make


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    run = make(tmp_path_factory.mktemp("errors") / "fit", known=False)
    return replace(run, hyper=None, misfit=None)


def test_each_kind_has_its_own_size(plain: runs.Run) -> None:
    lines = plain.lines.copy()
    lines["drift"] = np.where(np.arange(len(lines)) % 2, 0.3, -0.1)
    shared = {
        "resolution": {"value": 1800.0, "sd": 10.0},
        "inflation, DR5, window 1": {"value": 0.0075, "sd": None},
        "inflation, DR5, window 2": {"value": 0.005, "sd": None},
        "line scatter, DR5": {"value": 0.02, "sd": None},
        "depth of missing lines, DR5": {"value": 0.03, "sd": None},
    }
    config = plain.record["config"] | {"noise": plain.record["config"]["noise"] | {"line_drift": 0.12}}
    run = replace(
        plain,
        lines=lines,
        record=plain.record | {"shared": shared, "config": config},
        hyper=Table({"group": ["a", "b"], "phi": [0.04, 0.11]}),
        misfit=Table({"start": [5000.0, 5100.0], "stop": [5000.3, 5100.2], "factor": [12.0, 3.0]}),
    )
    sizes = {e.name: e.size for e in model_errors(run)}
    assert sizes["phi"] == "0.040 to 0.110 dex by group"
    rms = float(np.sqrt(np.mean(np.asarray(lines["drift"]) ** 2)))
    assert sizes["drift"] == f"{rms:.3f} dex per 1000 K (0.12 was expected)"
    assert sizes["line scatter"] == "0.020 dex"
    assert sizes["blends"] == "depths of 3.0% of the level"
    assert sizes["misfit"] == "2 stretches, variance there times 12 at most"
    assert sizes["inflation"] == "0.50 to 0.75% of the level"
    page = report.write_report(run, report.draw(run)).read_text(encoding="utf-8")
    assert all(size in page for size in sizes.values())


def test_a_run_without_them_says_nothing(plain: runs.Run) -> None:
    assert model_errors(plain) == []
    page = report.write_report(plain, report.draw(plain)).read_text(encoding="utf-8")
    assert 'id="model_errors"' not in page


def test_every_window_is_named(plain: runs.Run) -> None:
    survey = plain.record["config"]["survey"]
    assert report.windows(plain) == "{:g}–{:g}".format(*survey["window"])
    two = {"survey": survey | {"windows": [[4860.0, 5440.0], [6320.0, 6720.0]]}}
    run = replace(plain, record=plain.record | {"config": plain.record["config"] | two})
    assert report.windows(run) == "4860–5440 and 6320–6720"
