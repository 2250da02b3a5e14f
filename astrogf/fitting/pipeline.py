"""From files to a run folder: the order of things, and what is recorded of each."""

import hashlib
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from astropy.table import Table
from rich.console import Console

from astrogf import runtime
from astrogf.base.errors import AstrogfError
from astrogf.config import Config
from astrogf.console import Bars, show
from astrogf.fitting import engine, prior_run
from astrogf.fitting.truth import attach_injected, reference_labels
from astrogf.runs import folder as runs
from astrogf.runs.checkpoint import CheckpointFolder
from astrogf.runs.outputs import FULL, cause, check_output, why
from astrogf.runs.summary import KEYS, summarise
from astrogf.runs.tables import combine_set_aside, line_table, reasons, star_table

if TYPE_CHECKING:
    from astrogf.inference.result import FitResult
    from astrogf.surveys.batch import SpectrumBatch
    from astrogf.synthesis.lines.linelist import LineList


def fit_survey(
    config: Config,
    spectra: Path,
    out: Path,
    *,
    labels: Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    console: Console | None = None,
) -> runs.Run:
    """Fit every usable spectrum below `spectra` and write the run folder `out`.

    `labels` is a table to compare with; without it, an index that lies with the spectra is used if it names LASP's
    labels. `resume` goes on with the unfinished run in `out`, from its last finished iteration. Raises AstrogfError
    for whatever the user can put right, before anything is computed where possible.
    """
    console = console or Console()
    check_spectra(spectra)
    check_output(out, "folder")
    before = _before(out, "fit", overwrite, resume, console)
    if before.get("status") == "finished":
        return runs.read(out)
    known = _read_labels(labels, config, spectra, console)
    lines = engine.lines_of(config)
    prior = prior_run.read(config, lines)
    if prior is not None and out.exists() and out.resolve() == prior.folder.resolve():
        raise AstrogfError(f"--out: {out} is the run that [lines] prior names; name another folder.")
    if not resume:
        runs.prepare(out, overwrite=overwrite)
    kept = CheckpointFolder(out)
    with kept.held():
        job = _Job("fit", config, out, console, lines, kept, before, prior)
        with job:
            with job.bars:
                job.fit(spectra, known)
            run = job.report()
        kept.remove()
        return run


def run_demo(
    config: Config, out: Path, *, overwrite: bool = False, resume: bool = False, console: Console | None = None
) -> runs.Run:
    """Simulate a survey below `out`, fit it, and hold what was recovered against what was put in.

    `resume` goes on with the unfinished run in `out`: the survey is simulated again, which gives the same files, and
    the fit goes on from its last finished iteration. Raises AstrogfError.
    """
    console = console or Console()
    check_output(out, "folder")
    before = _before(out, "demo", overwrite, resume, console)
    if before.get("status") == "finished":
        return runs.read(out)
    if config.lines.prior is not None:
        raise AstrogfError("[lines] prior: the demonstration puts errors into the list that no other run has met.")
    lines = engine.lines_of(config)
    if not resume:
        runs.prepare(out, overwrite=overwrite)
    kept = CheckpointFolder(out)
    with kept.held():
        job = _Job("demo", config, out, console, lines, kept, before)
        with job:
            with job.bars:
                with job.clock.stage("simulate"):
                    truth = engine.simulate(config, out / "survey", job.bars)
                job.fit(out / "survey", None, truth)
            run = job.report()
        kept.remove()
        return run


def _before(
    out: Path, command: Literal["fit", "demo"], overwrite: bool, resume: bool, console: Console
) -> dict[str, Any]:
    """The record of the run that is to be gone on with, {} where there is none or a new one is asked for; the user is
    told of one that is finished. Raises AstrogfError."""
    if resume and overwrite:
        raise AstrogfError("--resume goes on with a run and --overwrite replaces it: give one of them.")
    before = runs.reopen(out, command) if resume else {}
    if before.get("status") == "finished":
        console.print(
            f"The run in {out} is finished (since {before.get('finished')}): nothing is left to do.",
            markup=False, soft_wrap=True,
        )  # fmt: skip
    return before


def redraw(folder: Path, console: Console | None = None) -> runs.Run:
    """Draw pictures and report again from the run folder alone."""
    from astrogf.fitting.report import write_report

    run = runs.read(folder)
    check_output(folder, "folder", "RUN")
    show(console or Console(), run, write_report(run))
    return run


def check_spectra(spectra: Path) -> None:
    """Raises AstrogfError unless `spectra` is a directory with a file that may be a spectrum in it or below it."""
    if not spectra.exists():
        raise AstrogfError(f"There is no directory {spectra}; --spectra names the directory with the spectra.")
    if not spectra.is_dir():
        raise AstrogfError(f"{spectra} is a file; --spectra names the directory with the spectra.")
    if not any(p.is_file() for p in spectra.rglob("*")):
        raise AstrogfError(f"{spectra} is empty; --spectra names the directory with the spectra (*.fits, *.fits.gz).")


class Known(NamedTuple):
    """A table of labels and where it was read."""

    path: Path
    table: Table


def _read_labels(labels: Path | None, config: Config, spectra: Path, console: Console) -> Known | None:
    """The table to compare with or to take priors from, looked at in every respect before anything is computed.

    One that only lies with the spectra and is of no use is named on the screen and left out; raises AstrogfError for
    one that was asked for.
    """
    from astrogf.surveys.catalogues.labels import labels_beside, read_usable

    if labels is not None:
        if not labels.is_file():
            raise AstrogfError(f"There is no label table {labels}.")
        return Known(labels, read_usable(labels, config.survey.labels))
    beside = labels_beside(spectra)
    if beside is None:
        return None
    try:
        return Known(beside, read_usable(beside, config.survey.labels))
    except AstrogfError as error:
        console.print(f"Labels beside the spectra are left out: {error.sentence}", markup=False, soft_wrap=True)
        return None


class _Job:
    """One run under way: its clock, its record, and the order in which files appear.

    record.json is there from the start with status 'running'. It says 'failed' and why if the run is cut short,
    'stopped' and by which signal if somebody ended it, and 'incomplete' where the results are there but something made
    from them (comparison, figures, pictures, report) is not.
    """

    def __init__(
        self,
        command: str,
        config: Config,
        out: Path,
        console: Console,
        lines: "LineList | None" = None,
        kept: CheckpointFolder | None = None,
        before: Mapping[str, Any] | None = None,
        prior: prior_run.PriorRun | None = None,
    ) -> None:
        """`kept`: where the fit's states are kept; `before`: the record of the run that is gone on with; `prior`: the
        run that knows of the lines."""
        self.out, self.config, self.console, self.lines, self.kept = out, config, console, lines, kept
        self.prior = prior
        self.follows: dict[str, Any] = {}
        if kept is not None:
            self.follows = self._goes_on(kept, before or {})
        self.clock = runtime.Stopwatch(kept.seconds if kept else 0.0)
        if kept is not None:
            kept.clock = lambda: self.clock.seconds
        self.bars = Bars(console)
        self.summary: dict[str, Any] = dict.fromkeys(KEYS)
        self.failed: dict[str, dict[str, str]] = {}
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
        if before:
            self.record |= {"started": before.get("started"), "resumed": [*before.get("resumed", []), _now()]}

    def _goes_on(self, kept: CheckpointFolder, before: Mapping[str, Any]) -> dict[str, Any]:
        """What the run follows from, as far as it is known before the spectra are read. Raises AstrogfError where that
        is not what it began with."""
        from astrogf.runs import follows

        kept.tidy()
        request = follows.of_request(self.config, self.lines, self.prior and self.prior.known.statistics)
        begun = kept.follows()
        if begun is None and "config" in before:
            begun = {"config": {name: said for name, said in before["config"].items() if name not in follows.FREE}}
        follows.check_same(begun or {}, request, self.out)
        return request

    def _begin(self, kept: CheckpointFolder, spectra: Mapping[str, str]) -> None:
        """The same once the spectra are read; from here on states are kept."""
        from astrogf.runs import follows

        labels = self.record["inputs"]["labels"]
        believed = labels["sha256"] if labels and self.config.survey.labels == "prior" else None
        now = self.follows | follows.of_inputs(spectra, believed)
        begun = kept.follows()
        if begun is None:
            kept.begin(now)
        else:
            follows.check_same(begun, now, self.out)

    def __enter__(self) -> None:
        runs.write_record(self.out, self.record)

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, KeyboardInterrupt):
            signal = error.signal if isinstance(error, runtime.Stopped) else "SIGINT"
            self.record |= {"status": "stopped", "finished": _now(), "signal": signal}
        elif error is None or self.failed:
            return
        else:
            self.record |= {"status": "failed", "finished": _now(), "error": f"{type(error).__name__}: {error}"}
        self.record["timings"] = self.clock.stages
        # a full disk that ended the run also refuses the record, and the first error is the one to be told
        with suppress(OSError):
            runs.write_record(self.out, self.record)
        if isinstance(error, OSError) and error.errno in FULL and self.kept is not None:
            file = f"The file {error.filename}" if error.filename else f"A file of {self.out}"
            raise AstrogfError(
                f"{file} cannot be written: {why(error)}. What was computed is kept; the same command with "
                "--resume goes on from there."
            ) from error

    def fit(self, spectra: Path, labels: Known | None, truth: engine.Truth | None = None) -> None:
        """Read, fit, and write every table and array; then what compares them with something."""
        from astrogf.surveys.load import without_held_out

        with self.clock.stage("read"):
            folder = self.kept.folder if self.kept else None
            loaded = engine.load(self.config, spectra, self.bars, folder, self._say)
            loaded, split = without_held_out(loaded, self.config.survey, self.config.spectra)
            unread = loaded.set_aside
        own = self.config.lines.list
        self.record["inputs"] = _inputs(
            spectra, loaded.inputs, unread, labels.path if labels else None, Path(own) if own else None
        ) | {"line_list": engine.list_name(self.config, self.lines)}
        if self.kept is not None and loaded.inputs:
            self._begin(self.kept, loaded.inputs)
        if split is not None:
            runs.write_split(self.out, split)
        runs.write_set_aside(self.out, combine_set_aside(unread))
        if len(loaded.partly):
            runs.write_partly(self.out, loaded.partly)
        if not loaded.inputs:
            counts = ", ".join(f"{n} {reason}" for reason, n in reasons(combine_set_aside(unread)))
            raise AstrogfError(
                f"None of the {len(unread)} files in {spectra} can be used ({counts}); the table "
                f"{self.out / 'set_aside.ecsv'} says why for each. Change [survey] or the directory."
            )
        if self.prior is not None:
            prior_run.check_photons(self.prior, loaded.batches)
            unseen = prior_run.unseen_in_words(self.prior)
            if unseen is not None:
                self._say(unseen)
        with self.clock.stage("fit"):
            self._plan(loaded.batches)
            try:
                known = labels.table if labels else None
                told = self.prior.known if self.prior else None
                result, refused = engine.fit(
                    loaded.batches, self.config, self.bars, known, lines=self.lines, checkpoint=self.kept, prior=told
                )
            except AstrogfError as error:
                if error.set_aside is not None:
                    runs.write_set_aside(self.out, combine_set_aside(unread, error.set_aside))
                raise
        with self.clock.stage("write"):
            set_aside = combine_set_aside(unread, refused)
            lines, stars = line_table(result), star_table(result, set_aside)
            if self.prior is not None:
                lines = prior_run.with_moved(lines, self.prior)
                self.record["prior"] = prior_run.in_words(self.prior, lines)
            runs.write_results(self.out, result, stars, lines, set_aside, truth.lines if truth else None)
            self.record |= {
                "reference": None,
                "label_names": result.label_names,
                "shared": {name: {"value": v, "sd": sd} for name, (v, sd) in result.shared.items()},
                "solver": {"status": result.status, "trace": result.trace},
            }
            self._close()
            with self._may_fail("comparison"):
                lines, stars = self._compare(result, lines, set_aside, labels, truth)
            with self._may_fail("summary"):
                self.summary = summarise(result, lines, stars)
        self._close()

    def _say(self, sentence: str) -> None:
        self.console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def _plan(self, batches: "list[SpectrumBatch]") -> None:
        """What the fit will need: on the screen and in the record. That it cannot be told must not cost the fit; where
        there is no room for it, it ends here, with AstrogfError."""
        from astrogf.planning import plan

        told = self.prior.known if self.prior else None
        try:
            made = plan.make(engine.count(batches, self.config, lines=self.lines, prior=told), self.config)
        except Exception as error:
            self.console.print(f"What the run will need is not known: {cause(error)}.", markup=False, soft_wrap=True)
            return
        plan.show(self.console, made)
        self.record["plan"] = made.as_json()
        runs.write_record(self.out, self.record)
        plan.check_fits(made, self.config)

    def _compare(
        self, result: "FitResult", lines: Table, set_aside: Table, labels: Known | None, truth: engine.Truth | None
    ) -> tuple[Table, Table]:
        """Lines and stars beside what is known of them from elsewhere; their files again."""
        from astrogf.surveys.catalogues.labels import comparison_labels

        reference = None
        if truth is not None:
            lines = attach_injected(lines, truth.lines)
            reference = reference_labels([str(p) for p in result.table["path"]], truth.stars)
            runs.write_lines(self.out, lines)
        elif labels is not None:
            reference = comparison_labels(labels.table, result.table)
        stars = star_table(result, set_aside, reference)
        if reference is not None:
            runs.write_stars(self.out, stars)
            self.record["reference"] = {"demo": "truth", "fit": "LASP"}[self.record["command"]]
        return lines, stars

    def report(self) -> runs.Run:
        """Pictures and report; then the figures on the screen. Raises AstrogfError where anything of it failed."""
        from astrogf.fitting.report import draw, write_report

        run, path = None, None
        with self._may_fail("report"):
            with self.clock.stage("report"):
                pictures = draw(runs.read(self.out))
            self._close()
            run = runs.read(self.out)
            path = write_report(run, pictures)
        with self._may_fail("screen"):
            show(self.console, run or runs.read(self.out), path)
        if self.failed or run is None:
            self._close()
            raise AstrogfError(
                f"The fit is finished and its results are in {self.out}, but these failed: "
                + "; ".join(f"{what} ({said['error']})" for what, said in self.failed.items())
                + f". The details are in record.json; `astrogf report {self.out}` draws pictures and report again."
            )
        return run

    @contextmanager
    def _may_fail(self, what: str) -> Iterator[None]:
        """Within, an error is kept for the record and the end: it must not cost what was computed."""
        try:
            yield
        except Exception as error:
            self.failed[what] = {"error": cause(error), "traceback": traceback.format_exc()}

    def _close(self) -> None:
        """Write what is known now; called before whatever may fail, and again after it."""
        self.summary |= {"seconds": self.clock.seconds, "peak_memory_gb": runtime.peak_memory_gb()}
        self.record |= {"status": "incomplete" if self.failed else "finished", "finished": _now()}
        self.record["timings"] = self.clock.stages
        if self.failed:
            self.record["failed"] = self.failed
        runs.write_record(self.out, self.record)
        runs.write_summary(self.out, self.summary)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _inputs(
    spectra: Path, used: dict[str, str], unread: Table, labels: Path | None, lines: Path | None
) -> dict[str, Any]:
    """What went in: every file with its sha256 (null where it cannot be read)."""
    files: dict[str, str | None] = dict(used)
    files |= {str(path): _sha256(spectra / str(path)) for path in np.asarray(unread["path"])}
    return {
        "spectra": str(spectra.resolve()),
        "labels": {"path": str(labels.resolve()), "sha256": _sha256(labels)} if labels else None,
        "lines": {"path": str(lines.resolve()), "sha256": _sha256(lines)} if lines else None,
        "files": dict(sorted(files.items())),
    }
