"""What a fit is given: a directory or store of survey files, and stated spectra beside or instead of them."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.table import Table, vstack

from astrogf.surveys.batch import SpectrumBatch
from astrogf.surveys.catalogues.split import held_out, split
from astrogf.surveys.directory.gather import aside_table, partly_table
from astrogf.surveys.directory.load import load_directory
from astrogf.surveys.formats import stated
from astrogf.surveys.options import StatedOptions, SurveyOptions
from astrogf.surveys.rows import RowFile
from astrogf.surveys.spectrum import LOG_STEP, SurveyError
from astrogf.surveys.store.kept import load_kept, wanted
from astrogf.surveys.store.load import is_store, load_store

Progress = Callable[[int, int], None]


class Kept(NamedTuple):
    """The folder of a store that a run makes of its files; `reading(done, total)` is told of every file that goes into
    it, `say` the user."""

    folder: Path
    reading: Progress
    say: Callable[[str], None]


class Loaded(NamedTuple):
    """Spectra to fit, a batch a window; `set_aside` and `partly` as in `directory.load.LoadedSpectra`."""

    batches: list[SpectrumBatch]
    set_aside: Table
    partly: Table

    @property
    def inputs(self) -> dict[str, str]:
        """Path and sha256 of every spectrum that is to be fitted."""
        return {str(r["path"]): str(r["sha256"]) for b in self.batches for r in b.table}


def load_spectra(
    spectra: Path,
    options: SurveyOptions,
    stated_spectra: Mapping[str, StatedOptions],
    resolution: float,
    progress: Progress | None = None,
    file: RowFile | None = None,
    kept: Kept | None = None,
) -> Loaded:
    """Read what lies at `spectra` with the cuts of `options`, and the stated spectra, by name.

    `resolution` (lambda / FWHM) is what stated spectra are broadened to where they say `degrade`. `file`: where the
    pixels of survey files are put, in memory if None; those beside which such stated spectra come are in memory.
    `kept`: where a directory of very many files is put into a store first, which changes no number.
    Raises SurveyError when the directory is of no use at all, or a stated spectrum cannot be read or is not used.
    """
    windows = list(options.all_windows)
    batches: list[SpectrumBatch] = []
    set_aside, partly = aside_table([]), partly_table([])
    if options.kind != "stated":
        read: Any = load_directory
        if is_store(spectra):
            read = load_store
        elif kept is not None and wanted(spectra, options.kind):
            read = partial(load_kept, folder=kept.folder, reading=kept.reading, say=kept.say)
        batches, set_aside, partly = read(
            spectra,
            windows,
            kinds=[options.kind],
            snr_min=options.snr_min,
            snr_band=options.snr_band,
            spectral_types=options.spectral_types,
            min_good_fraction=options.min_good_fraction,
            max_gap=options.max_gap,
            leave_out=options.leave_out,
            night_sky=options.night_sky,
            progress=progress,
            file=file,
        )
    return Loaded(_with_stated(batches, spectra, options, stated_spectra, resolution), set_aside, partly)


def _with_stated(
    batches: list[SpectrumBatch],
    spectra: Path,
    options: SurveyOptions,
    stated_spectra: Mapping[str, StatedOptions],
    resolution: float,
) -> list[SpectrumBatch]:
    """The batches with stated spectra: on the survey's pixels where they are degraded, else in batches of their own."""
    read = {
        name: stated.read(_file(name, said.file, spectra), medium=said.medium, unit=said.unit, snr=said.snr)
        for name, said in stated_spectra.items()
    }

    def rows(degrade: bool) -> list[tuple]:
        return [
            (name, read[name], {"release": name, "object": said.star or name, "star": said.star or name,
                                "snr": said.snr})
            for name, said in stated_spectra.items() if said.degrade == degrade
        ]  # fmt: skip

    as_survey, own, windows = rows(True), rows(False), options.all_windows
    if as_survey and batches:
        batches = [
            stated.joined(
                b, stated.batch(as_survey, options.window, _log_step(b), like=b, resolution=resolution)
            )
            for b in batches
        ]  # fmt: skip
    elif as_survey:
        batches = [stated.batch(as_survey, window, LOG_STEP, resolution=resolution) for window in windows]
    if own:
        batches = batches + [stated.batch(own, window, options.log_step) for window in windows]
    stated.check_used(list(read.items()), batches)
    return batches


def _log_step(batch: SpectrumBatch) -> float:
    log = np.log10(batch.wavelength)
    return float(f"{(log[-1] - log[0]) / (len(log) - 1):.6g}")


def _file(name: str, file: str, spectra: Path) -> Path:
    """Where a stated spectrum lies: below the directory of the spectra, or as its name says. Raises SurveyError."""
    for path in (spectra / file, Path(file)):
        if path.is_file():
            return path
    raise SurveyError(
        f"spectra.{name}.file: there is no {file}, neither in {spectra} nor beside the configuration.", "no_file"
    )


def without_held_out(
    loaded: Loaded, options: SurveyOptions, stated_names: Mapping[str, Any]
) -> tuple[Loaded, Table | None]:
    """The spectra without those of held-out stars (set aside with that reason), and the split; stated ones stay."""
    if not options.held_out:
        return loaded, None
    columns = [batch.table["path", "star", "ra", "dec"] for batch in loaded.batches]
    drawn = split(
        vstack([c for c in columns if len(c)], metadata_conflicts="silent"), options.held_out, options.held_out_seed
    )
    batches, gone = [], dict[str, str]()
    for batch in loaded.batches:
        by_name = np.isin(np.asarray(batch.table["path"]).astype(str), list(stated_names))
        out = held_out(batch.table, drawn) & ~by_name
        gone |= {str(path): str(star) for path, star in batch.table["path", "star"][out].iterrows()}
        batches.append(batch.select(~out))
    aside = aside_table([(path, "held_out", f"its star {star} is kept for a check") for path, star in gone.items()])
    aside = vstack([loaded.set_aside, aside], metadata_conflicts="silent")
    return Loaded(batches, aside, loaded.partly), drawn
