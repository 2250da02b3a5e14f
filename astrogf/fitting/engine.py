"""The one place where the face meets the rooms that compute: every call downwards is here, and imports late.

Configuration keys are turned into the options of those rooms here and nowhere else, so a room that changes what it
takes is followed by changing this file and the schema in `astrogf.config`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from astropy.table import Table

from astrogf.base.errors import AstrogfError
from astrogf.config import Config
from astrogf.runtime import use_all_cores, use_compilation_cache

if TYPE_CHECKING:
    from astrogf.inference.check import Checked, Corrections
    from astrogf.inference.problem.options import FitOptions
    from astrogf.inference.problem.priors import Belief
    from astrogf.inference.rehearsal.survey import DemoOptions
    from astrogf.inference.result import FitResult
    from astrogf.surveys.batch import SpectrumBatch
    from astrogf.surveys.download.addresses import Target
    from astrogf.synthesis.lines.linelist import LineList

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, how much of it is done and how much there is."""


class Truth(NamedTuple):
    """What a simulated survey knows: `stars` with path and labels, `lines` with the injected errors."""

    stars: Table
    lines: Table


def fit_options(config: Config) -> "FitOptions":
    """The configuration as `inference.fit` takes it; an empty configuration gives its own defaults."""
    from astrogf.inference.problem.options import FitOptions

    given: dict[str, Any] = {}
    for section in (config.model, config.lines, config.stars, config.noise, config.solver):
        given |= dict(section)
    for name in ("abundances", "unlisted_levels"):
        given[name] = tuple(given[name])
    for name in ("list", "borrow_damping"):  # what the engine itself looks after
        given.pop(name)
    return FitOptions(**given, continuum_degree=config.continuum.degree, continuum_scale=config.continuum.scale)


def demo_options(config: Config) -> "DemoOptions":
    """The configuration as `inference.rehearsal.survey` takes it."""
    from astrogf.inference.rehearsal.survey import KINDS, DemoOptions

    o = config.survey
    if o.kind not in KINDS:
        raise AstrogfError(f"[survey] kind: expected one of {', '.join(KINDS)} for a simulated survey, got {o.kind!r}.")
    if o.kind == "stated" and not config.spectra:
        raise AstrogfError("[survey] kind = 'stated' simulates the stars of sections [spectra.NAME]; there is none.")
    windows = tuple(o.windows) or (o.window,)
    if o.kind == "lamost_lrs" and len(windows) > 1:
        raise AstrogfError("[survey] windows: a simulated LRS survey has one window.")
    return DemoOptions(kind=o.kind, windows=windows, log_step=o.log_step, **dict(config.demo))


def load(config: Config, spectra: Path, progress: Progress) -> "Loaded":
    """Read a directory of survey files, and the stated spectra: what can be fitted, and what was set aside.

    Raises AstrogfError when the directory is of no use at all, or a stated spectrum cannot be read.
    """
    from astrogf.surveys.directory.load import aside_table, load_directory, partly_table
    from astrogf.surveys.formats import stated as highres
    from astrogf.surveys.spectrum import LOG_STEP, SurveyError
    from astrogf.surveys.store.load import is_store, load_store

    o = config.survey
    windows, resolution = list(o.windows) or [o.window], config.stars.resolution
    batches: list[SpectrumBatch] = []
    set_aside, partly = aside_table([]), partly_table([])
    try:
        if o.kind != "stated":
            cuts: dict[str, Any] = {
                "snr_min": o.snr_min,
                "snr_band": o.snr_band,
                "spectral_types": o.spectral_types,
                "min_good_fraction": o.min_good_fraction,
                "max_gap": o.max_gap,
                "progress": lambda done, total: progress("reading spectra", done, total),
            }
            read = load_store if is_store(spectra) else load_directory
            batches, set_aside, partly = read(spectra, windows, kinds=[o.kind], **cuts)
        stated = [
            (name, highres.read(_stated_file(said.file, spectra), medium=said.medium, unit=said.unit, snr=said.snr))
            for name, said in config.spectra.items()
        ]
        rows = [
            (name, spectrum, {"release": name, "object": said.star or name, "star": said.star or name, "snr": said.snr})
            for (name, spectrum), said in zip(stated, config.spectra.values(), strict=True)
        ]
        as_survey = [row for row, said in zip(rows, config.spectra.values(), strict=True) if said.degrade]
        own = [row for row, said in zip(rows, config.spectra.values(), strict=True) if not said.degrade]
        if as_survey:
            batches = [
                highres.joined(
                    batch,
                    highres.batch(as_survey, o.window, _log_step(batch), like=batch, resolution=resolution),
                )
                for batch in batches
            ] or [highres.batch(as_survey, window, LOG_STEP, resolution=resolution) for window in windows]
        if own:
            batches += [highres.batch(own, window, o.log_step) for window in windows]
        highres.check_used(stated, batches)
    except SurveyError as error:
        raise AstrogfError(str(error)) from error
    return Loaded(batches, set_aside, partly)


def without_held_out(loaded: "Loaded", config: Config) -> "tuple[Loaded, Table | None]":
    """The spectra without those of held-out stars (set aside with that reason), and the split; stated ones stay."""
    if not config.survey.held_out:
        return loaded, None
    import numpy as np
    from astropy.table import vstack

    from astrogf.surveys.catalogues.split import held_out, split
    from astrogf.surveys.directory.load import aside_table

    columns = [batch.table["path", "star", "ra", "dec"] for batch in loaded.batches]
    rows = vstack([c for c in columns if len(c)], metadata_conflicts="silent")
    drawn = split(rows, config.survey.held_out, config.survey.held_out_seed)
    batches, gone = [], dict[str, str]()
    for batch in loaded.batches:
        stated = np.isin(np.asarray(batch.table["path"]).astype(str), list(config.spectra))
        out = held_out(batch.table, drawn) & ~stated
        gone |= {str(path): str(star) for path, star in batch.table["path", "star"][out].iterrows()}
        batches.append(batch.select(~out))
    aside = aside_table([(path, "held_out", f"its star {star} is kept for a check") for path, star in gone.items()])
    aside = vstack([loaded.set_aside, aside], metadata_conflicts="silent")
    return Loaded(batches, aside, loaded.partly), drawn


class Loaded(NamedTuple):
    """Spectra to fit, a batch a window; `set_aside` and `partly` as in `surveys.directory.load.LoadedSpectra`."""

    batches: "list[SpectrumBatch]"
    set_aside: Table
    partly: Table

    @property
    def inputs(self) -> dict[str, str]:
        """Path and sha256 of every spectrum that is to be fitted."""
        return {str(r["path"]): str(r["sha256"]) for b in self.batches for r in b.table}


def _log_step(batch: "SpectrumBatch") -> float:
    import numpy as np

    log = np.log10(batch.wavelength)
    return float(f"{(log[-1] - log[0]) / (len(log) - 1):.6g}")


def _stated_file(name: str, spectra: Path) -> Path:
    """Where a stated spectrum lies: in --spectra, or as its name says. Raises AstrogfError."""
    for path in (spectra / name, Path(name)):
        if path.is_file():
            return path
    raise AstrogfError(f"[spectra.NAME] file: there is no {name}, neither in {spectra} nor beside the configuration.")


def beliefs(config: Config) -> "dict[str, Belief]":
    """What the configuration says of the labels of stated spectra, by path."""
    from astrogf.inference.problem.priors import KNOWN, Belief

    known = {}
    for name, said in config.spectra.items():
        labels = {k: getattr(said, k) for k in KNOWN if getattr(said, k) is not None}
        if said.degrade:
            # broadened to the survey's own resolution, which is then what it has
            labels.setdefault("resolution", (config.stars.resolution, 0.01 * config.stars.resolution))
        known[name] = Belief(labels, said.abundance_sd, said.xfe, said.line_scatter)
    return known


def label_priors(config: Config, table: Path | None, batches: "list[SpectrumBatch]") -> "dict[str, Belief]":
    """Priors of the stars' labels from a catalogue, by path, where the configuration asks for them."""
    if table is None or config.survey.labels != "prior":
        return {}
    import numpy as np

    from astrogf.inference.problem.priors import Belief
    from astrogf.surveys.catalogues.catalogue import read_labels
    from astrogf.surveys.catalogues.labels import take_labels
    from astrogf.surveys.spectrum import SurveyError

    known: dict[str, Belief] = {}
    try:
        for batch in batches:
            priors = take_labels(batch.table, read_labels(table), "prior").priors()
            wanted = {n: v for n, v in priors.items() if n in ("teff", "logg", "feh", "alpha", "vmic", "rv")}
            for i, path in enumerate(batch.table["path"]):
                labels = {n: (float(m[i]), float(sd[i])) for n, (m, sd) in wanted.items() if np.isfinite(sd[i])}
                if labels:
                    known[str(path)] = Belief(labels, anchor=False)
    except SurveyError as error:
        raise AstrogfError(str(error)) from error
    return known


def line_list(config: Config) -> "LineList | None":
    """The user's list with the shipped molecules (and damping), or None for the shipped list. Raises AstrogfError."""
    if config.lines.list is None:
        return None
    from astrogf.inference.problem.setup import with_molecules
    from astrogf.synthesis.lineio import read_lines
    from astrogf.synthesis.lines.borrow import borrow_damping
    from astrogf.synthesis.lines.shipped import load_all_lines

    try:
        lines = read_lines(config.lines.list)
        if config.lines.borrow_damping:
            lines = borrow_damping(lines, load_all_lines)
    except (ValueError, OSError) as error:
        raise AstrogfError(f"[lines] list: {error}") from error
    return with_molecules(lines) if config.model.molecules else lines


def census(
    path: Path,
    settings: dict[str, Any],
    progress: Callable[[int, int], None],
    each: Callable[[str, list[Any]], None] | None,
) -> list[dict[str, Any]]:
    """What every file at `path` holds and whether it would be used (surveys.directory.census). Raises AstrogfError.

    settings: windows, snr_min, snr_band, spectral_types.
    """
    from astrogf.surveys.directory.census import census as count
    from astrogf.surveys.directory.selection import Selection
    from astrogf.surveys.spectrum import SurveyError, window_pixels

    try:
        selection = Selection(settings["snr_min"], settings["snr_band"], settings["spectral_types"], 0.9, 30.0)
        for window in settings["windows"]:
            window_pixels(window)
        return count(path, selection, settings["windows"], progress=progress, each=each)
    except SurveyError as error:
        raise AstrogfError(str(error)) from error


def survey_labels(table: Path, stars: Table) -> Table:
    """Labels of the survey's own pipeline for these stars, columns teff, logg, feh; NaN where it has none.

    Raises AstrogfError when the table cannot be read or has none of the columns.
    """
    from astrogf.runs.tables import floats
    from astrogf.surveys.catalogues.catalogue import read_labels
    from astrogf.surveys.catalogues.labels import take_labels
    from astrogf.surveys.spectrum import SurveyError

    try:
        labels = read_labels(table)
        values = take_labels(stars, labels, "comparison").values
    except SurveyError as error:
        raise AstrogfError(str(error)) from error
    missing = [name for name in ("teff", "logg", "feh") if name not in values.colnames]
    if missing:
        raise AstrogfError(
            f"{table} has no column {', '.join(missing)} to compare with; it has: {', '.join(labels.colnames)}."
        )
    return Table({name: floats(values[name]) for name in ("teff", "logg", "feh")})


def find_labels(spectra: Path) -> Path | None:
    """The label table that lies with the spectra, if there is one that names LASP's labels."""
    from astrogf.surveys.catalogues.catalogue import find_index, read_labels
    from astrogf.surveys.spectrum import SurveyError

    index = find_index(spectra)
    if index is None:
        return None
    try:
        return index if "lasp_teff" in read_labels(index).colnames else None
    except SurveyError:
        return None


def fit(
    batches: "list[SpectrumBatch]", config: Config, progress: Progress, labels: Path | None = None
) -> "tuple[FitResult, Table]":
    """The joint fit, and the stars the engine set aside. Raises AstrogfError when nothing is left to fit."""
    use_compilation_cache()
    use_all_cores()
    from astrogf.inference.fit import fit as joint_fit
    from astrogf.inference.newton.sweep import MiscomputedError
    from astrogf.inference.problem.collect import NoStarsError

    try:
        known = label_priors(config, labels, batches) | beliefs(config)
        return joint_fit(batches, fit_options(config), progress, lines=line_list(config), beliefs=known)
    except NoStarsError as error:
        raise AstrogfError(f"{str(error)[0].upper()}{str(error)[1:]}.", error.set_aside) from error
    except MiscomputedError as error:
        raise AstrogfError(f"{str(error)[0].upper()}{str(error)[1:]}.") from error


def check(batches: "list[SpectrumBatch]", config: Config, found: "Corrections", progress: Progress) -> "Checked":
    """Labels of unseen spectra refitted with both lists. Raises AstrogfError."""
    use_compilation_cache()
    use_all_cores()
    from astrogf.inference.check import check as refit
    from astrogf.inference.newton.sweep import MiscomputedError
    from astrogf.inference.problem.collect import NoStarsError

    try:
        return refit(batches, fit_options(config), found, progress, lines=line_list(config), beliefs=beliefs(config))
    except (NoStarsError, MiscomputedError, ValueError) as error:
        raise AstrogfError(f"{str(error)[0].upper()}{str(error)[1:]}.") from error


def simulate(config: Config, out: Path, progress: Progress) -> Truth:
    """Write a small survey of simulated files into `out`; what is true of them."""
    use_compilation_cache()
    use_all_cores()
    from astrogf.inference.rehearsal.survey import simulate_survey

    files = {name: said.file for name, said in config.spectra.items()}
    truth = simulate_survey(demo_options(config), fit_options(config), out, progress, beliefs(config), files)
    return Truth(truth.stars, truth.lines)


def train(config: Path, out: Path) -> None:
    """Train an emulator as a TOML file says. Raises AstrogfError for a bad file or an absent training set."""
    use_compilation_cache()
    use_all_cores()
    from astrogf.emulator.training import TrainConfig, main

    try:
        family = TrainConfig.read(config).family
    except (ValueError, OSError) as error:
        raise AstrogfError(f"{error}.") from error
    try:
        main(config, out)
    except FileNotFoundError as error:
        raise AstrogfError(f"{error}. Build the training set with `python tools/build_{family}.py`.") from error


def ingest(spectra: Path, store: Path, kind: str, progress: Progress) -> None:
    """Put every spectrum of a kind below `spectra` into a store. Raises AstrogfError."""
    from astrogf.surveys.spectrum import SurveyError
    from astrogf.surveys.store.fill import ingest as take

    try:
        take(spectra, store, kind, progress=lambda done, total: progress("reading spectra", done, total))
    except SurveyError as error:
        raise AstrogfError(str(error)) from error


def store_summary(store: Path) -> dict[str, Any]:
    """What a store holds (surveys.store.store.summary). Raises AstrogfError."""
    from astrogf.surveys.spectrum import SurveyError
    from astrogf.surveys.store.store import summary

    try:
        return summary(store)
    except SurveyError as error:
        raise AstrogfError(str(error)) from error


def verify_store(store: Path) -> list[str]:
    """A sentence for every damaged chunk of a store. Raises AstrogfError."""
    from astrogf.surveys.spectrum import SurveyError
    from astrogf.surveys.store.store import Store

    try:
        return Store(store).verify()
    except SurveyError as error:
        raise AstrogfError(str(error)) from error


def reason_in_words(reason: str) -> str:
    """What a reason for setting a file aside means."""
    from astrogf.surveys.spectrum import REASONS

    return REASONS.get(reason, reason)


def fetch_targets(
    kind: str, identifiers: list[str], table: Path | None, release: str, version: str, base: str
) -> "list[Target]":
    """The public files that identifiers and the rows of a catalogue stand for. Raises AstrogfError."""
    from astrogf.surveys.catalogues.catalogue import read_table
    from astrogf.surveys.download.addresses import identifiers_of, targets
    from astrogf.surveys.spectrum import SurveyError

    try:
        listed = identifiers_of(kind, read_table(table)) if table is not None else []
        return targets(kind, [*identifiers, *listed], release=release, version=version, base=base)
    except SurveyError as error:
        raise AstrogfError(str(error)) from error


def fetch(
    wanted: "list[Target]",
    out: Path,
    checksums: Path | None,
    token: str,
    workers: int,
    tries: int,
    progress: Progress,
) -> tuple[Table, Table]:
    """Download files: tables of those that are there and of those that failed. Raises AstrogfError."""
    from astrogf.surveys.download.fetch import fetch as get
    from astrogf.surveys.download.fetch import read_checksums
    from astrogf.surveys.spectrum import SurveyError

    try:
        found = get(
            wanted,
            out,
            checksums=read_checksums(checksums) if checksums is not None else None,
            token=token,
            workers=workers,
            tries=tries,
            progress=lambda done, total: progress("fetching files", done, total),
        )
    except SurveyError as error:
        raise AstrogfError(str(error)) from error
    return found.files, found.failed
