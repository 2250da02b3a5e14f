"""Where the face meets the rooms that compute: spectra read, fitted, checked, simulated; every import is late."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from astropy.table import Table

from astrogf.base.errors import AstrogfError
from astrogf.base.kept import digest
from astrogf.config import Config
from astrogf.runtime import ready_to_compute, return_memory

if TYPE_CHECKING:
    from astrogf.inference.check import Checked, Corrections
    from astrogf.inference.problem.counts import Counts
    from astrogf.inference.problem.prior_lines import LinePrior
    from astrogf.inference.result import FitResult
    from astrogf.inference.surrogate.label import Labelled
    from astrogf.runs.checkpoint import CheckpointFolder
    from astrogf.surveys.batch import SpectrumBatch
    from astrogf.surveys.load import Loaded
    from astrogf.synthesis.lines.linelist import LineList

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, how much of it is done and how much there is."""


class Truth(NamedTuple):
    """What a simulated survey knows: `stars` with path and labels, `lines` with the injected errors."""

    stars: Table
    lines: Table


FILES = "files"
"""What a store that a run makes of its files is called, in the run's folder for what it keeps on its way."""


def load(
    config: Config,
    spectra: Path,
    progress: Progress,
    folder: Path | None = None,
    say: Callable[[str], None] = lambda sentence: None,
) -> "Loaded":
    """The spectra that a configuration asks for, stated ones among them: see `surveys.load.load_spectra`. Their pixels
    lie in a file of the `folder` if one is named, which goes with the last that may ask for them; else in memory. A
    directory of very many files is put into a store there first, as `say` tells the user."""
    from astrogf.surveys.load import Kept, load_spectra
    from astrogf.surveys.rows import RowFile

    def reading(done: int, total: int) -> None:
        progress("reading spectra", done, total)

    file, kept = None, None
    if folder is not None:
        file = RowFile(folder)
        kept = Kept(folder / FILES, lambda done, total: progress("reading files", done, total), say)
    return load_spectra(spectra, config.survey, config.spectra, config.stars.resolution, reading, file, kept)


def lines_of(config: Config) -> "LineList | None":
    """The user's list, or None for the shipped one. Raises AstrogfError that names the key.

    It needs no spectra, and is to be called before any are read: a list may be refused.
    """
    said: dict[str, Any] = {
        name: getattr(config.lines, name) for name in ("format", "medium", "isotopes", "scaled", "on_bad")
    }
    if config.lines.list is None:
        for name, value in said.items():
            if value != type(config.lines).model_fields[name].default:
                raise AstrogfError(f"lines.{name} is of a list of your own: name it with lines.list, or drop this key")
        return None
    ready_to_compute()
    from astrogf.synthesis.linelists import user_lines

    said |= {"damping": config.lines.borrow_damping, "structure": config.lines.borrow_structure}
    try:
        return user_lines(config.lines.list, molecules=config.model.molecules, section="lines", **said)
    except AstrogfError as error:
        raise AstrogfError(f"lines.list: {error}", error.reason) from error


def list_name(config: Config, lines: "LineList | None") -> str:
    """Name of the content of the lines in the windows of a run, of `lines` or of the shipped list: wavelengths, gf and
    widths, and which lines are tied."""
    from astrogf.synthesis.lines.shipped import load_all_lines

    parts = []
    for low, high in config.survey.all_windows:
        if lines is None:
            here = load_all_lines(low, high)
        else:
            here = lines.take((lines.wavelength >= low) & (lines.wavelength <= high))
        _, tied = np.unique(here.transition, return_inverse=True)
        parts.append(here.replace(transition=tied.ravel(), quality=np.zeros(len(here), int)))
    return digest(*parts)


def check_list(record: Mapping[str, Any], config: Config, lines: "LineList | None", run: Path) -> None:
    """Raises AstrogfError where the lines are not those that the run had; runs of versions that did not say which they
    had are believed."""
    had = (record.get("inputs") or {}).get("line_list")
    if had is None or had == list_name(config, lines):
        return
    version = record.get("versions", {}).get("astrogf", "of no known version")
    own = config.lines.list
    which = (
        f"{own} has changed since" if own else f"the astrogf that fitted it ({version}) shipped another than this one"
    )
    raise AstrogfError(
        f"The corrections of {run} belong to the line list that it was fitted with, and {which}: with the lines of "
        "today they would be wrong. Fit it again."
    )


def fit(
    batches: "list[SpectrumBatch]",
    config: Config,
    progress: Progress,
    labels: Table | None = None,
    *,
    lines: "LineList | None",
    checkpoint: "CheckpointFolder | None" = None,
    prior: "LinePrior | None" = None,
) -> "tuple[FitResult, Table]":
    """The joint fit, and the stars it set aside; `labels` are priors where the configuration says so. It goes on from
    what `checkpoint` has.

    `labels`: what `surveys.catalogues.labels.read_usable` read; `lines`: what `lines_of` read; `prior`: what another
    run knows of the lines. It is computed where the configuration says. Raises AstrogfError when nothing is left to
    fit.
    """
    ready_to_compute()
    return_memory()
    from astrogf.computing.place import place_of
    from astrogf.inference.blocks.shelf import MEMORY
    from astrogf.inference.blocks.work import Work
    from astrogf.inference.checkpoint import NOWHERE
    from astrogf.inference.fit import fit as joint_fit
    from astrogf.inference.problem.priors import catalogue_beliefs, stated_beliefs

    beliefs = stated_beliefs(config.spectra, config.stars)
    if labels is not None and config.survey.labels == "prior":
        beliefs = catalogue_beliefs(labels, batches) | beliefs
    keeper = checkpoint or NOWHERE
    with ExitStack() as stack:
        shared = checkpoint.folder / "shared" if checkpoint else Path(stack.enter_context(TemporaryDirectory()))
        place = stack.enter_context(place_of(config.compute, shared))
        work = Work(place, checkpoint.shelf if checkpoint else MEMORY, config.solver.block)
        return joint_fit(
            batches, config, progress, lines=lines, beliefs=beliefs, checkpoint=keeper, prior=prior, work=work
        )


def count(
    batches: "list[SpectrumBatch]", config: Config, *, lines: "LineList | None", prior: "LinePrior | None" = None
) -> "Counts":
    """What the fit of these spectra is made of; `lines`: what `lines_of` read. Raises AstrogfError."""
    ready_to_compute()
    from functools import partial

    from astrogf.inference.fit import completed
    from astrogf.inference.problem.counts import count as counted
    from astrogf.inference.problem.priors import stated_beliefs

    beliefs = stated_beliefs(config.spectra, config.stars)
    complete = partial(completed, options=config, shipped=lines is None, prior=prior)
    return counted(batches, config, lines, beliefs, complete, prior)


def check(
    batches: "list[SpectrumBatch]",
    config: Config,
    corrections: "Corrections",
    progress: Progress,
    *,
    lines: "LineList | None",
) -> "Checked":
    """Labels of spectra refitted with both lists, of which nothing is known but what `config` says of spectra by name;
    `lines`: what `lines_of` read. Raises AstrogfError."""
    ready_to_compute()
    from astrogf.inference.check import check as refit
    from astrogf.inference.problem.priors import stated_beliefs

    beliefs = stated_beliefs(config.spectra, config.stars)
    return refit(batches, config, corrections, progress, lines=lines, beliefs=beliefs)


def label(
    batches: "list[SpectrumBatch]",
    config: Config,
    corrections: "Corrections",
    run: Path,
    progress: Progress,
    *,
    lines: "LineList | None",
    share: float,
    points: int | None,
    seed: int,
) -> "tuple[Labelled, list[int]]":
    """Labels of very many spectra by a surrogate, which is kept in the folder of the `run`, and the windows for which
    one had to be made; arguments as of `inference.surrogate.label.label`. Raises AstrogfError."""
    ready_to_compute()
    from astrogf.inference.surrogate.build import POINTS
    from astrogf.inference.surrogate.label import label as by_surrogate
    from astrogf.labelling.keeping import SurrogateFolder

    keeper = SurrogateFolder(run)
    points = POINTS if points is None else points
    found = by_surrogate(
        batches, config, corrections, keeper, lines=lines, share=share, points=points, seed=seed, progress=progress
    )
    return found, keeper.made


def simulate(config: Config, out: Path, progress: Progress) -> Truth:
    """Write a small survey of simulated files into `out`; what is true of them. Raises AstrogfError."""
    ready_to_compute()
    from astrogf.inference.problem.priors import stated_beliefs
    from astrogf.inference.rehearsal.survey import simulate_survey

    files = {name: said.file for name, said in config.spectra.items()}
    beliefs = stated_beliefs(config.spectra, config.stars)
    truth = simulate_survey(config.demo, config.survey, config, out, progress, beliefs, files)
    return Truth(truth.stars, truth.lines)
