"""What a run found its model to get wrong, by name: of lines, of wavelengths, of single pixels."""

import re
from typing import NamedTuple

import numpy as np

from astrogf.runs.run import Run
from astrogf.runs.tables import floats


class ModelError(NamedTuple):
    """A kind of error, the name that the run's tables and configuration have for it, and how large it came out."""

    what: str
    name: str
    size: str


def model_errors(run: Run) -> list[ModelError]:
    """Those that the run has, the widest reaching first; none of them is in the corrections to log gf."""
    config, found = run.record["config"], list[ModelError]()
    if run.hyper is not None and "phi" in run.hyper.colnames:
        size = f"{_range(floats(run.hyper['phi']))} dex by group"
        found.append(ModelError("of a line, alike in all stars", "phi", size))
    if "drift" in run.lines.colnames:
        rms = float(np.sqrt(np.mean(floats(run.lines["drift"]) ** 2)))
        given = config["noise"].get("line_drift")
        before = "" if given is None else f" ({given:g} was expected)"
        found.append(ModelError("of a line, with the star's temperature", "drift", f"{rms:.3f} dex per 1000 K{before}"))
    scatter = _shared(run, "line scatter")
    if len(scatter):
        found.append(ModelError("of a line, in a single spectrum", "line scatter", f"{_range(scatter)} dex"))
    depth = _shared(run, "depth of missing lines")
    if len(depth):
        size = f"depths of {_range(100.0 * depth, 1)}% of the level"
        found.append(ModelError("of lines that have others beneath them, which the list lacks", "blends", size))
    if run.misfit is not None and len(run.misfit):
        worst = float(np.max(floats(run.misfit["factor"])))
        size = f"{len(run.misfit)} stretches, variance there times {worst:.0f} at most"
        found.append(ModelError("at some wavelengths, alike in all stars", "misfit", size))
    inflation = _shared(run, "inflation")
    if len(inflation):
        size = f"{_range(100.0 * inflation, 2)}% of the level"
        found.append(ModelError("of every pixel by itself", "inflation", size))
    return found


def _shared(run: Run, kind: str) -> np.ndarray:
    """Values above zero that all stars (of a release and window) share, of a kind such as 'inflation'."""
    shared = run.record.get("shared") or {}
    values = [v["value"] for key, v in shared.items() if re.fullmatch(rf"{kind}(, .*)?", key)]
    return np.array([v for v in values if v is not None and v > 0.0], float)


def _range(values: np.ndarray, digits: int = 3) -> str:
    low, high = (f"{x:.{digits}f}" for x in (np.nanmin(values), np.nanmax(values)))
    return low if low == high else f"{low} to {high}"
