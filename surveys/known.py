"""Stars that are known well, made into spectra of a survey: what a fit makes of them has an answer.

A table names spectra of a higher resolution and the labels of their stars. Each is brought to rest, to the survey's
resolution and to its pixels, once as it is and with noise drawn.
"""

from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.table import Table
from pydantic import ValidationError

from astrogf.base.constants import C_KMS
from astrogf.base.options import complaint
from astrogf.surveys.anchors import NEEDED, read
from astrogf.surveys.batch import SpectrumBatch
from astrogf.surveys.formats import readers, stated
from astrogf.surveys.options import StatedOptions, SurveyOptions
from astrogf.surveys.spectrum import LOG_STEP, SurveyError
from astrogf.surveys.store.store import GRIDS

NO_NOISE = ", no noise"
SAID = ("file", "medium", "unit", "star", "snr")
"""Columns that are keys of a section [spectra.NAME]."""


class KnownStar(NamedTuple):
    """A spectrum of a higher resolution and what is known of its star: labels (value, error; error 0 where none is
    given), lambda / FWHM of all broadening (infinite where it is not said)."""

    name: str
    file: str
    star: str
    spectrum: stated.HighRes
    labels: dict[str, tuple[float, float]]
    resolution: float


def read_known(path: Path, spectra: Path | None = None) -> list[KnownStar]:
    """The stars of a table, with their spectra: below `spectra`, beside the table, or as their names say.

    Columns: file and medium, perhaps unit, star and snr, as in [spectra.NAME]; teff, logg, feh, perhaps alpha and vmic,
    with their errors (teff_sd, e_teff ...); resolution of the spectrum; rv, the velocity (km/s) of its lines, which is
    taken out. Raises SurveyError that names the table, the row and the column.
    """
    table, labels, numbers = read(path, "known stars", ("resolution",))
    resolution = numbers["resolution"]
    out: list[KnownStar] = []
    for i in range(len(table)):
        where = f"{path}, row {i + 1}"
        said = _said(table, i, where)
        mine = {name: (float(value[i]), float(np.nan_to_num(sd[i]))) for name, (value, sd) in labels.items()}
        mine = {name: pair for name, pair in mine.items() if np.isfinite(pair[0])}
        unknown = [name for name in NEEDED if name not in mine]
        if unknown:
            raise SurveyError(
                f"{where}: {', '.join(unknown)} of {said.file} is missing; give it, or leave the row out."
            )
        if np.isfinite(resolution[i]) and resolution[i] <= 0:
            raise SurveyError(f"{where}: resolution is {resolution[i]:g}; expected lambda / FWHM of the spectrum.")
        spectrum = stated.read(
            _found(said.file, path, spectra, where), medium=said.medium, unit=said.unit, snr=said.snr
        )
        rv = mine.pop("rv", (0.0, 0.0))[0]
        spectrum = spectrum._replace(wavelength=spectrum.wavelength / (1.0 + rv / C_KMS))
        star = said.star or Path(said.file).name
        own = float(resolution[i]) if np.isfinite(resolution[i]) else np.inf
        out.append(KnownStar(star, said.file, star, spectrum, mine, own))
    return _named_apart(out, path)


def _said(table: Table, row: int, where: str) -> StatedOptions:
    """What a row says of its spectrum. Raises SurveyError."""
    given: dict[str, Any] = {}
    for name in (n for n in SAID if n in table.colnames):
        value = table[name][row]
        if value is not np.ma.masked and str(value).strip():
            given[name] = float(value) if name == "snr" and np.isreal(value) else str(value).strip()
    try:
        return StatedOptions.model_validate(given)
    except ValidationError as error:
        first: Any = error.errors()[0]
        raise SurveyError(f"{where}: column {complaint(first, StatedOptions)}") from error


def _found(file: str, table: Path, spectra: Path | None, where: str) -> Path:
    """Where a spectrum lies. Raises SurveyError."""
    for folder in (spectra, table.parent, Path()):
        if folder is not None and (folder / file).is_file():
            return folder / file
    places = f"in {spectra} nor beside the table" if spectra is not None else "beside the table nor here"
    raise SurveyError(f"{where}: there is no file {file}, neither {places}.", "no_file")


def _named_apart(stars: list[KnownStar], path: Path) -> list[KnownStar]:
    """Stars of several spectra by their files too. Raises SurveyError for rows that are the same."""
    names = [s.star for s in stars]
    stars = [s._replace(name=f"{s.star} ({Path(s.file).name})") if names.count(s.star) > 1 else s for s in stars]
    names = [s.name for s in stars]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise SurveyError(f"{path}: {twice} is there twice; a row a spectrum.")
    return stars


def pixels_of(options: SurveyOptions, degraded: bool) -> list[tuple[tuple[float, float], float]]:
    """Windows of a run and the log10 step of its survey's pixels there, in the order of its batches.

    `degraded`: whether a run without a survey's files has its stated spectra on a survey's pixels.
    """
    if options.kind == "stated":
        return [(window, LOG_STEP if degraded else options.log_step) for window in options.all_windows]
    out = []
    for kind in readers.kinds_named(options.kind):
        grid = GRIDS[kind]
        first, last = grid.wavelength[[0, -1]]
        for low, high in options.all_windows:
            if min(high, last) - max(low, first) > 0.1 * (high - low):
                out.append(((low, high), grid.log_step))
    return out


def as_survey(
    stars: Sequence[KnownStar],
    pixels: Sequence[tuple[tuple[float, float], float]],
    resolution: float,
    *,
    snr: float = 100.0,
    draws: int = 1,
    seed: int = 0,
) -> list[SpectrumBatch]:
    """Known stars as spectra of a survey of this `resolution` (lambda / FWHM): a batch a window, in the order of
    `pixels`; those of which a window holds nothing are not in it.

    Every star is there without noise ('NAME, no noise') and `draws` times with Gaussian noise of `snr` a pixel at the
    median flux ('NAME, noise 1' ...); the errors are those of that noise in both cases. Raises SurveyError for a star
    that is in no window, or whose resolution is no better than the survey's.
    """
    batches = []
    for k, (window, log_step) in enumerate(pixels):
        parts = []
        for number, star in enumerate(stars):
            columns = {"release": "known", "object": star.star, "star": star.star, "snr": snr}
            try:
                one = stated.batch(
                    [(star.name, star.spectrum, columns)], window, log_step, resolution=resolution, own=star.resolution
                )
            except SurveyError as error:
                raise SurveyError(f"{star.file}: {error}") from error
            if len(one.flux):
                parts.append(_drawn(one, snr, draws, np.random.default_rng([seed, k, number])))
        batches.append(reduce(stated.joined, parts) if parts else stated.batch([], window, log_step))
    seen = {str(path) for batch in batches for path in batch.table["path"]}
    for star in stars:
        if f"{star.name}{NO_NOISE}" not in seen:
            low, high = star.spectrum.wavelength[[0, -1]]
            raise SurveyError(
                f"{star.file} has {low:.1f}-{high:.1f} A (vacuum), less than a tenth of every window of the run: check "
                "its unit and medium, or leave it out.",
                "no_coverage",
            )
    return batches


def _drawn(one: SpectrumBatch, snr: float, draws: int, rng: np.random.Generator) -> SpectrumBatch:
    """One spectrum without noise and with it."""
    good = one.ivar[0] > 0
    sd = float(np.median(one.flux[0][good])) / snr
    noise = np.concatenate([np.zeros((1, len(good))), rng.normal(0.0, sd, (draws, len(good)))])
    flux = np.where(good, one.flux + noise, 0.0)
    ivar = np.tile(np.where(good, sd**-2.0, 0.0), (1 + draws, 1))
    table = one.table[np.zeros(1 + draws, int)]
    name = str(one.table["path"][0])
    table["path"] = [f"{name}{NO_NOISE}", *(f"{name}, noise {d + 1}" for d in range(draws))]
    return SpectrumBatch(one.wavelength, flux, ivar, table)
