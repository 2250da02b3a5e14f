"""From a run and spectra to a table of labels: what `astrogf label` does."""

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as Grid

from astrogf.base.errors import AstrogfError
from astrogf.checking.held_out import corrections
from astrogf.config import Config, as_recorded, parse
from astrogf.console import Bars
from astrogf.fitting import engine
from astrogf.fitting.pipeline import check_spectra
from astrogf.inference.problem.options import FitOptions
from astrogf.runs import folder as runs
from astrogf.runs.outputs import check_output, why, write_text

FEWEST_POINTS = 100


class Timed:
    """Bars that also say how long each stage took, in seconds: `seconds` by its name."""

    def __init__(self, bars: Bars) -> None:
        self._bars, self._last = bars, time.perf_counter()
        self.seconds: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now
        self._bars(stage, done, total)


def check_served(config: Config, run: Path) -> None:
    """Raises AstrogfError, before any work, for a run whose stars have what no surrogate is made for."""
    options: FitOptions = config
    if config.survey.kind == "stated":
        raise AstrogfError(
            f"{run} has no survey, only stated spectra (anchors), each with labels, broadening and pixels of its own: "
            "`astrogf label` serves the spectra of a survey."
        )
    if options.noise.line_scatter > 0:
        raise AstrogfError(
            f"{run} lets every spectrum have deviations of its own lines (noise.line_scatter = "
            f"{options.noise.line_scatter:g}), whose derivatives the surrogate does not have: use "
            "`astrogf check --all`, or a run without."
        )


def label_spectra(
    run: Path,
    spectra: Path,
    *,
    out: Path | None = None,
    json: Path | None = None,
    share: float = 0.01,
    points: int | None = None,
    seed: int = 0,
    console: Console | None = None,
) -> dict[str, Any]:
    """Labels of all spectra in a directory or store that pass the run's cuts, at the run's corrected list.

    They go into `out` (RUN/labels.fits), the figures into label.json beside it; a `share` of the stars is fitted
    exactly, at least 24 and at most 200. `points`: spectra that the surrogate is made from. Returns what is in
    label.json. Raises AstrogfError.
    """
    console = console or Console()
    out = run / "labels.fits" if out is None else out
    check_output(json, "json")
    if not 0.0 <= share <= 1.0:
        raise AstrogfError(f"--share is {share:g}; expected a part of the stars, 0 to 1.")
    if points is not None and points < FEWEST_POINTS:
        raise AstrogfError(f"--points is {points}; a surrogate is made from {FEWEST_POINTS} spectra or more.")
    if seed < 0:
        raise AstrogfError("--seed is a whole number of 0 or more.")
    check_spectra(spectra)
    record = runs.read(run)
    config = parse(as_recorded(record.record["config"]), f"the configuration of {run}")
    check_served(config, run)
    from astrogf.labelling import tables

    tables.check_ending(out)
    check_output(out, "list")
    corrections_of_run = corrections(run, record)
    lines = engine.lines_of(config)
    engine.check_list(record.record, config, lines, run)
    bars = Bars(console)
    with bars:
        timed = Timed(bars)
        loaded = engine.load(config.model_copy(update={"spectra": {}}), spectra, timed)
        if not any(len(b.flux) for b in loaded.batches):
            raise AstrogfError(f"No spectrum in {spectra} passes the cuts of {run}; `astrogf inspect` says why.")
        labelled, made = engine.label(
            loaded.batches, config, corrections_of_run, run, timed, lines=lines, share=share, points=points, seed=seed
        )
    table = tables.label_table(labelled, loaded.set_aside)
    tables.write_labels(out, table)
    where = {"run": str(run), "from": str(spectra), "table": str(out)}
    summary = where | tables.summarise(labelled, loaded.set_aside, made, timed.seconds)
    show(console, summary)
    beside = out.parent / "label.json"
    try:
        write_text(beside, runs.as_json(summary))
    except OSError as error:
        raise AstrogfError(f"The labels are in {out}, but {beside} cannot be written: {why(error)}.") from error
    if json is not None:
        write_text(json, runs.as_json(summary))
    console.print(f"in {out} and {beside}", soft_wrap=True, highlight=False, markup=False)
    return summary


def show(console: Console, summary: dict[str, Any]) -> None:
    """The figures as a table on the screen."""
    grid = Grid(title="Labels", show_header=False)
    rows = {"spectra, with labels": f"{summary['spectra']}, {summary['labelled']}"}
    for what in ("flags", "set_aside"):
        if summary[what]:
            rows[what.replace("_", " ")] = ", ".join(f"{name} {count}" for name, count in summary[what].items())
    exact = summary["exact"]
    rows["stars fitted exactly"] = str(exact["stars"])
    if exact["stars"]:
        for name, z in {"all labels": exact["all_labels"], **exact["by_label"]}.items():
            rows[f"|surrogate - exact| / sd, {name}"] = (
                f"{z['median']:.3f} (median), {z['95%']:.3f} (95%), {z['largest']:.2f} (largest)"
            )
    if summary["spectra_per_second"] is not None:
        rows["spectra a second"] = f"{summary['spectra_per_second']:.0f} (compilation included)"
    for row in rows.items():
        grid.add_row(*row)
    console.print(grid)
