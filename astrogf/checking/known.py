"""`astrogf check --known`: stars that are known well, degraded to the survey, must come back at their labels."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from astropy.table import MaskedColumn, Table
from rich.console import Console
from rich.table import Table as Grid

from astrogf.base.errors import AstrogfError
from astrogf.config import Config
from astrogf.fitting import engine
from astrogf.inference.check import Checked, Corrections
from astrogf.runs.folder import Run
from astrogf.runs.tables import UNITS

if TYPE_CHECKING:
    from astrogf.surveys.known import KnownStar
    from astrogf.synthesis.lines.linelist import LineList

LABELS = ("teff", "logg", "feh", "alpha", "vmic")
SHOWN = {"teff": ("Teff (K)", 0), "logg": ("log g", 2), "feh": ("[Fe/H]", 2)}


class Noise(NamedTuple):
    """The noise that known stars are given: signal-to-noise ratio a pixel, draws of it, and their seed."""

    snr: float = 100.0
    draws: int = 1
    seed: int = 0

    def check(self) -> None:
        """Raises AstrogfError for what is no noise."""
        if not (np.isfinite(self.snr) and self.snr > 0):
            raise AstrogfError(f"--snr is {self.snr:g}; expected a signal-to-noise ratio above 0.")
        if self.draws < 0 or self.seed < 0:
            raise AstrogfError("--draws and --seed are whole numbers of 0 or more.")


USUAL = Noise()


def check_continuum(scale: float | None) -> None:
    """Raises AstrogfError for what is no width of a continuum's wiggles."""
    if scale is not None and not (np.isfinite(scale) and scale > 0):
        raise AstrogfError(f"--continuum is {scale:g}; expected Angstrom a degree of a polynomial, above 0.")


def read(table: Path, spectra: Path | None) -> "list[KnownStar]":
    """The known stars of a table, with their spectra. Raises AstrogfError."""
    from astrogf.surveys.known import read_known

    return read_known(table, spectra)


def refit(
    stars: "list[KnownStar]",
    run: Run,
    config: Config,
    corrections: Corrections,
    progress: engine.Progress,
    noise: Noise,
    continuum: float | None = None,
    *,
    lines: "LineList | None",
) -> Table:
    """known.ecsv: labels that the check's own fit finds of known stars, beside those known. Raises AstrogfError.

    They are given as the survey's stars are: nothing is believed of them beforehand but what is of every star. Their
    own spectrographs' continua have a degree for every `continuum` Angstrom, where that is given and makes more.
    """
    from astrogf.inference.problem.parameters import lsf_sigma
    from astrogf.surveys.known import as_survey, pixels_of
    from astrogf.surveys.night_sky import pixels_in, sky_ranges

    resolution = float(np.exp(lsf_sigma(1.0) - corrections.ln_sigma))
    pixels = pixels_of(config.survey, any(said.degrade for said in config.spectra.values()))
    batches = as_survey(stars, pixels, resolution, **noise._asdict())
    of_survey = {}
    sky = set() if config.survey.night_sky else {
        r for night in nights(run.used) for r in sky_ranges(config.survey.kind, *night)
    }  # fmt: skip
    left_out = (*config.survey.leave_out, *sky)
    for k, batch in enumerate(batches):
        kept = ~pixels_in(batch.wavelength, left_out)
        batches[k] = batch._replace(flux=kept * np.asarray(batch.flux), ivar=kept * np.asarray(batch.ivar))
        batch.table["release"] = np.full(len(batch.table), f"known {k + 1}")
        of_survey[f"known {k + 1}"] = survey_noise(corrections.noise, list(config.spectra), k + 1)
    nobody = config.model_copy(update={"spectra": {}})
    if continuum is not None:
        nobody = nobody.changed(continuum={"scale": continuum})
    checked = engine.check(batches, nobody, replace(corrections, noise=of_survey), progress, lines=lines)
    return known_table(stars, checked, run, noise, resolution, nobody.continuum.scale)


def nights(used: Table) -> set[tuple[str, int]]:
    """Releases and nights (modified Julian date, 0 where a spectrum says none) of the spectra of a run."""
    mjd = np.ma.filled(used["mjd"], 0) if "mjd" in used.colnames else np.zeros(len(used))
    return {(str(release), int(night)) for release, night in zip(used["release"], mjd, strict=True)}


def survey_noise(
    learned: Mapping[str, tuple[float, float, float]], anchors: list[str], window: int
) -> tuple[float, float, float]:
    """Scale, inflation and line scatter of a spectrum whose errors are right: the medians of what the run learned of
    its survey's releases in that window (of all its spectra, where it has no survey)."""

    def of_anchor(name: str) -> bool:
        return any(name == a or name.startswith(f"{a}, window ") for a in anchors)

    mine = {name: value for name, value in learned.items() if not of_anchor(name)} or learned
    here = {name: v for name, v in mine.items() if name.endswith(f", window {window}")} or mine
    if not here:
        return 1.0, 0.0, 0.0
    _, inflation, scatter = np.median(np.array(list(here.values()), dtype=float), axis=0)
    return 1.0, float(inflation), float(scatter)


def known_table(
    stars: "list[KnownStar]", checked: Checked, run: Run, noise: Noise, resolution: float, continuum: float | None
) -> Table:
    """One row a star and draw of noise; of each label what was found, its sd, what is known, the error of that, the
    difference, the difference in units of both errors, and what the list as it came leaves. Masked where a label is
    not known."""
    by_name = {s.name: s for s in stars}
    paths = [str(path) for path in checked.table["path"]]
    known = [by_name[path.rpartition(", ")[0]] for path in paths]
    used = {str(s).casefold() for s in run.used["star"]} if "star" in run.stars.colnames else set()
    table = Table(
        {
            "star": [s.name for s in known],
            "noise": [path.rpartition(", ")[2] for path in paths],
            "file": [s.file for s in known],
            "in_run": [s.star.casefold() in used for s in known],
            "snr": np.full(len(paths), noise.snr),
            "resolution": np.full(len(paths), resolution),
            "continuum": np.ma.masked_invalid(np.full(len(paths), np.nan if continuum is None else continuum)),
            "n_pixel": checked.n_pixel,
            "chi2_per_pixel_original": checked.chi2_original / np.maximum(checked.n_pixel, 1),
            "chi2_per_pixel_corrected": checked.chi2_corrected / np.maximum(checked.n_pixel, 1),
        }
    )
    for name in LABELS:
        k = checked.label_names.index(name)
        value, error = np.array([s.labels.get(name, (np.nan, np.nan)) for s in known]).T
        found, sd = checked.labels[:, k], checked.labels_sd[:, k]
        columns = {
            name: found,
            f"{name}_sd": sd,
            f"{name}_known": value,
            f"{name}_known_sd": error,
            f"{name}_difference": found - value,
            f"{name}_z": (found - value) / np.hypot(sd, error),
            f"{name}_difference_original": checked.labels_original[:, k] - value,
        }
        for column, values in columns.items():
            one = MaskedColumn(np.ma.masked_invalid(values), format=".1f" if name == "teff" else ".4f")
            one.unit, one.format = (None, ".2f") if column.endswith("_z") else (UNITS[name], one.format)
            table[column] = one
    for name in table.colnames:
        if name.startswith("chi2"):
            table[name].format = ".4f"
    table["resolution"].format = ".0f"
    return table[np.argsort([list(by_name).index(s.name) for s in known], kind="stable")]


def as_rows(table: Table) -> list[dict[str, Any]]:
    """The table for JSON."""
    return [{name: None if row[name] is np.ma.masked else row[name] for name in table.colnames} for row in table]


def differences(row: Any) -> list[str]:
    """Teff, log g and [Fe/H] minus what is known, with the difference in units of the errors, in words."""
    return [f"{row[f'{name}_difference']:+.{digits}f} ({row[f'{name}_z']:+.1f})" for name, (_, digits) in SHOWN.items()]


def show(console: Console, table: Table) -> None:
    """Label minus truth on the screen."""
    grid = Grid(title="Known stars: label minus truth (in units of the error)")
    for column in ("star", "", *(text for text, _ in SHOWN.values())):
        grid.add_column(column)
    for row in table:
        seen = " *" if row["in_run"] else ""
        grid.add_row(f"{row['star']}{seen}", str(row["noise"]), *differences(row))
    console.print(grid)
    if np.any(table["in_run"]):
        console.print("* a star of the run itself: it says less", highlight=False)
