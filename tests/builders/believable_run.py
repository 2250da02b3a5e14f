"""The fit that looks like one, written as a run folder."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from astrogf.config import Config
from astrogf.fitting import truth
from astrogf.runs import folder as runs
from astrogf.runs import summary, tables
from tests.builders.believable import believable, reference, set_aside


def make(folder: Path, known: bool, label_correlation: float | None = None) -> runs.Run:
    """A demonstration whose truth is `known`, or a fit with lines that the list lacks and nothing to compare with."""
    result, injected = believable()
    if label_correlation is not None:
        each = np.full((7, 7), label_correlation) + (1.0 - label_correlation) * np.eye(7)
        covariance = result.labels_sd[:, :, None] * each * result.labels_sd[:, None]
        result = replace(result, labels_covariance=covariance)
    if not known:
        result.lines["group"][:30] = "unlisted"
        result.lines["correction"][:30] = 0.1 * result.lines["prior_sd"][:30] * np.arange(30)
    stars = tables.star_table(result, set_aside(), reference(result) if known else None)
    lines = tables.line_table(result)
    if known:
        lines = truth.attach_injected(lines, injected)
    record = {
        "command": "demo" if known else "fit",
        "reference": "truth" if known else None,
        "started": "2026-11-22T10:00:00+00:00",
        "finished": "2026-11-22T10:10:00+00:00",
        "config": Config().model_dump(),
        "versions": {"astrogf": "0.1.0"},
        "machine": {"cpus": 2},
        "git_commit": None,
        "inputs": {"files": {"a.fits": "0"}},
        "timings": {"fit": 3.0},
        "label_names": list(result.label_names),
        "shared": {"resolution": {"value": 1790.0, "sd": None}},
        "solver": {"status": result.status, "trace": result.trace},
    }
    runs.prepare(folder, overwrite=False)
    runs.write_record(folder, record)
    runs.write_results(folder, result, stars, lines, set_aside())
    runs.write_summary(folder, summary.summarise(result, lines, stars, seconds=600.0, peak_memory_gb=3.2))
    return runs.read(folder)
