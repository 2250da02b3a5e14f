"""The one place where the face meets the rooms that compute: every call downwards is here, and imports late.

Configuration keys are turned into the options of those rooms here and nowhere else, so a room that changes what it
takes is followed by changing this file and the schema in `astrogf.config`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from astropy.table import Table

from astrogf.config import Config
from astrogf.errors import UserError
from astrogf.runtime import use_all_cores, use_compilation_cache

if TYPE_CHECKING:
    from inference.demo import DemoOptions
    from inference.options import FitOptions
    from inference.result import FitResult
    from surveys.batch import SpectrumBatch

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, how much of it is done and how much there is."""


class Truth(NamedTuple):
    """What a simulated survey knows: `stars` with path and labels, `lines` with the injected errors."""

    stars: Table
    lines: Table


def fit_options(config: Config) -> "FitOptions":
    """The configuration as `inference.fit` takes it; an empty configuration gives its own defaults."""
    from inference.options import FitOptions

    given: dict[str, Any] = {}
    for section in (config.model, config.lines, config.stars, config.noise, config.solver):
        given |= dict(section)
    return FitOptions(**given, continuum_degree=config.continuum.degree)


def demo_options(config: Config) -> "DemoOptions":
    """The configuration as `inference.demo` takes it."""
    from inference.demo import DemoOptions

    return DemoOptions(window=config.survey.window, **dict(config.demo))


def load(config: Config, spectra: Path, progress: Progress) -> "tuple[SpectrumBatch, Table]":
    """Read a directory of survey files: what can be fitted, and what was set aside.

    Raises UserError when the directory is of no use at all.
    """
    from surveys.ingest import load_directory
    from surveys.spectrum import SurveyError

    o = config.survey
    try:
        return load_directory(
            spectra,
            o.window,
            snr_min=o.snr_min,
            snr_band=o.snr_band,
            spectral_types=o.spectral_types,
            min_good_fraction=o.min_good_fraction,
            max_gap=o.max_gap,
            progress=lambda done, total: progress("reading spectra", done, total),
        )
    except SurveyError as error:
        raise UserError(str(error)) from error


def survey_labels(table: Path, stars: Table) -> Table:
    """Labels of the survey's own pipeline for these stars, columns teff, logg, feh; NaN where it has none.

    Raises UserError when the table cannot be read or has none of the columns.
    """
    from astrogf.tables import floats
    from surveys.catalogue import read_labels
    from surveys.labels import take_labels
    from surveys.spectrum import SurveyError

    try:
        labels = read_labels(table)
        values = take_labels(stars, labels, "comparison").values
    except SurveyError as error:
        raise UserError(str(error)) from error
    missing = [name for name in ("teff", "logg", "feh") if name not in values.colnames]
    if missing:
        raise UserError(
            f"{table} has no column {', '.join(missing)} to compare with; it has: {', '.join(labels.colnames)}."
        )
    return Table({name: floats(values[name]) for name in ("teff", "logg", "feh")})


def find_labels(spectra: Path) -> Path | None:
    """The label table that lies with the spectra, if there is one that names LASP's labels."""
    from surveys.catalogue import find_index, read_labels
    from surveys.spectrum import SurveyError

    index = find_index(spectra)
    if index is None:
        return None
    try:
        return index if "lasp_teff" in read_labels(index).colnames else None
    except SurveyError:
        return None


def fit(batch: "SpectrumBatch", config: Config, progress: Progress) -> "tuple[FitResult, Table]":
    """The joint fit, and the stars the engine set aside. Raises UserError when nothing is left to fit."""
    use_compilation_cache()
    use_all_cores()
    from inference.fit import NoStarsError
    from inference.fit import fit as joint_fit

    try:
        return joint_fit(batch, fit_options(config), progress)
    except NoStarsError as error:
        raise UserError(f"{str(error)[0].upper()}{str(error)[1:]}.", error.set_aside) from error


def simulate(config: Config, out: Path, progress: Progress) -> Truth:
    """Write a small survey of simulated files into `out`; what is true of them."""
    use_compilation_cache()
    use_all_cores()
    from inference.demo import simulate_survey

    truth = simulate_survey(demo_options(config), fit_options(config), out, progress)
    return Truth(truth.stars, truth.lines)


def train(config: Path, out: Path) -> None:
    """Train an emulator as a TOML file says. Raises UserError for a bad file or an absent training set."""
    use_compilation_cache()
    use_all_cores()
    from emulator.training import TrainConfig, main

    try:
        family = TrainConfig.read(config).family
    except (ValueError, OSError) as error:
        raise UserError(f"{error}.") from error
    try:
        main(config, out)
    except FileNotFoundError as error:
        raise UserError(f"{error}. Build the training set with `python tools/build_{family}.py`.") from error
