"""From files to a run folder: the order of things, and what is recorded of each."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from rich.console import Console

from astrogf import runtime
from astrogf.base.errors import AstrogfError
from astrogf.config import Config
from astrogf.console import Bars, show
from astrogf.fitting import engine
from astrogf.fitting.truth import attach_injected, reference_labels
from astrogf.runs import folder as runs
from astrogf.runs.summary import summarise
from astrogf.runs.tables import combine_set_aside, line_table, reasons, star_table


def fit_survey(
    config: Config,
    spectra: Path,
    out: Path,
    *,
    labels: Path | None = None,
    overwrite: bool = False,
    console: Console | None = None,
) -> runs.Run:
    """Fit every usable spectrum below `spectra` and write the run folder `out`.

    `labels` is a table to compare with; without it, an index that lies with the spectra is used if it names LASP's
    labels. Raises AstrogfError for whatever the user can put right, before anything is computed where possible.
    """
    console = console or Console()
    check_spectra(spectra)
    if labels is not None and not labels.is_file():
        raise AstrogfError(f"There is no label table {labels}.")
    runs.prepare(out, overwrite=overwrite)
    job = _Job("fit", config, out, console)
    with job:
        with job.bars:
            source = labels or _labels_beside(spectra)
            job.fit(spectra, source)
        return job.report()


def run_demo(config: Config, out: Path, *, overwrite: bool = False, console: Console | None = None) -> runs.Run:
    """Simulate a survey below `out`, fit it, and hold what was recovered against what was put in."""
    console = console or Console()
    runs.prepare(out, overwrite=overwrite)
    job = _Job("demo", config, out, console)
    with job:
        with job.bars:
            with job.clock.stage("simulate"):
                truth = engine.simulate(config, out / "survey", job.bars)
            job.fit(out / "survey", None, truth)
        return job.report()


def redraw(folder: Path, console: Console | None = None) -> runs.Run:
    """Draw pictures and report again from the run folder alone."""
    from astrogf.fitting.report import write_report

    run = runs.read(folder)
    show(console or Console(), run, write_report(run))
    return run


def check_spectra(spectra: Path) -> None:
    """Raises AstrogfError unless `spectra` is a directory with a file that may be a spectrum in it or below it."""
    if not spectra.exists():
        raise AstrogfError(f"There is no directory {spectra}; --spectra names the directory with the spectra.")
    if not spectra.is_dir():
        raise AstrogfError(f"{spectra} is a file; --spectra names the directory with the spectra.")
    files = [p for p in spectra.rglob("*") if p.is_file()]
    if not files:
        raise AstrogfError(f"{spectra} is empty; --spectra names the directory with the spectra (*.fits, *.fits.gz).")


class _Job:
    """One run under way: its clock, its record, and the order in which files appear.

    record.json is there from the start with status 'running', and says 'failed' and why if the run is cut short.
    """

    def __init__(self, command: str, config: Config, out: Path, console: Console) -> None:
        self.clock, self.out, self.config, self.console = runtime.Stopwatch(), out, config, console
        self.bars = Bars(console)
        self.summary: dict[str, Any] = {}
        self.record: dict[str, Any] = {
            "format": 1,
            "command": command,
            "status": "running",
            "started": _now(),
            "finished": None,
            "config": config.model_dump(mode="json"),
            "versions": runtime.versions(),
            "git_commit": runtime.git_commit(),
            "machine": runtime.machine(),
        }

    def __enter__(self) -> None:
        runs.write_record(self.out, self.record)

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is not None:
            self.record |= {"status": "failed", "finished": _now(), "error": f"{type(error).__name__}: {error}"}
            self.record["timings"] = self.clock.stages
            runs.write_record(self.out, self.record)

    def fit(self, spectra: Path, labels: Path | None, truth: engine.Truth | None = None) -> None:
        """Read, fit, and write every table and array."""
        from astrogf.surveys.catalogues.labels import comparison_labels
        from astrogf.surveys.load import without_held_out

        line_list = engine.lines_of(self.config)
        with self.clock.stage("read"):
            loaded = engine.load(self.config, spectra, self.bars)
            loaded, split = without_held_out(loaded, self.config.survey, self.config.spectra)
            unread = loaded.set_aside
            if split is not None:
                runs.write_split(self.out, split)
        runs.write_set_aside(self.out, combine_set_aside(unread))
        if len(loaded.partly):
            runs.write_partly(self.out, loaded.partly)
        self.record["inputs"] = _inputs(spectra, loaded.inputs, unread, labels)
        if not loaded.inputs:
            counts = ", ".join(f"{n} {reason}" for reason, n in reasons(combine_set_aside(unread)))
            raise AstrogfError(
                f"None of the {len(unread)} files in {spectra} can be used ({counts}); the table "
                f"{self.out / 'set_aside.ecsv'} says why for each. Change [survey] or the directory."
            )
        with self.clock.stage("fit"):
            try:
                result, refused = engine.fit(loaded.batches, self.config, self.bars, labels, lines=line_list)
            except AstrogfError as error:
                if error.set_aside is not None:
                    runs.write_set_aside(self.out, combine_set_aside(unread, error.set_aside))
                raise
        with self.clock.stage("write"):
            set_aside = combine_set_aside(unread, refused)
            lines, reference = line_table(result), None
            if truth is not None:
                lines = attach_injected(lines, truth.lines)
                reference = reference_labels([str(p) for p in result.table["path"]], truth.stars)
            elif labels is not None:
                reference = comparison_labels(labels, result.table)
            stars = star_table(result, set_aside, reference)
            runs.write_results(self.out, result, stars, lines, set_aside, truth.lines if truth else None)
            self.summary = summarise(result, lines, stars)
        names = {"demo": "truth", "fit": "LASP"}
        self.record |= {
            "reference": names[self.record["command"]] if reference is not None else None,
            "label_names": result.label_names,
            "shared": {name: {"value": v, "sd": sd} for name, (v, sd) in result.shared.items()},
            "solver": {"status": result.status, "trace": result.trace},
        }

    def report(self) -> runs.Run:
        """Summary, record, pictures and report; then the figures on the screen."""
        from astrogf.fitting.report import draw, write_report

        self._close()
        with self.clock.stage("report"):
            run = runs.read(self.out)
            pictures = draw(run)
        self._close()
        run = runs.read(self.out)
        show(self.console, run, write_report(run, pictures))
        return run

    def _close(self) -> None:
        """Write what is known now; called before the pictures, which may fail, and again when they are drawn."""
        self.summary |= {"seconds": self.clock.seconds, "peak_memory_gb": runtime.peak_memory_gb()}
        self.record |= {"status": "finished", "finished": _now(), "timings": self.clock.stages}
        runs.write_record(self.out, self.record)
        runs.write_summary(self.out, self.summary)


def _labels_beside(spectra: Path) -> Path | None:
    from astrogf.surveys.catalogues.labels import labels_beside

    return labels_beside(spectra)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _inputs(spectra: Path, used: dict[str, str], unread: Table, labels: Path | None) -> dict[str, Any]:
    """What went in: every file with its sha256 (null where it cannot be read)."""
    files: dict[str, str | None] = dict(used)
    files |= {str(path): _sha256(spectra / str(path)) for path in np.asarray(unread["path"])}
    return {
        "spectra": str(spectra.resolve()),
        "labels": {"path": str(labels.resolve()), "sha256": _sha256(labels)} if labels else None,
        "files": dict(sorted(files.items())),
    }
