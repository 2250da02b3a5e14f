"""Spectra of a store as a fit takes them: the same cuts as for a directory, a chunk at a time."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from astrogf.surveys.directory.gather import Gatherer, LoadedSpectra, Window
from astrogf.surveys.directory.selection import Selection
from astrogf.surveys.formats.readers import kinds_named
from astrogf.surveys.rows import RowFile
from astrogf.surveys.spectrum import SurveyError, SurveySpectrum
from astrogf.surveys.store import journal
from astrogf.surveys.store.store import Store


def is_store(path: Path | str) -> bool:
    """Whether `path` is a store of spectra and not a directory of files."""
    return (Path(path) / journal.JOURNAL).is_file()


def load_store(
    path: Path | str,
    windows: Sequence[Window],
    *,
    kinds: Sequence[str] | None = None,
    snr_min: float = 20.0,
    snr_band: str = "g",
    spectral_types: str = "FGK",
    min_good_fraction: float = 0.9,
    max_gap: float = 30.0,
    leave_out: Sequence[Window] = (),
    night_sky: bool = False,
    progress: Callable[[int, int], None] | None = None,
    file: RowFile | None = None,
    directory: Path | None = None,
) -> LoadedSpectra:
    """As `directory.load.load_directory`: a batch for each kind and window of the spectra that pass the same cuts, and
    what does not, with the files that the store itself had set aside.

    kinds and file: as for `directory.load.load_directory`; kinds None takes what there is. Stars have the names that
    they have in the store, whatever the cuts. directory: the one that all spectra are from; stars and files are then
    called what `load_directory` calls them.
    Raises SurveyError for a damaged store or one of another kind, and where the arguments make no sense.
    """
    store = Store(path)
    wanted = None if kinds is None else [kind for name in kinds for kind in kinds_named(name)]
    if wanted is not None and store.kind and store.kind not in wanted:
        raise SurveyError(
            f"{store.path} is a store of {store.kind}; {', '.join(wanted)} was asked for: name another store, or ask "
            f"for {store.kind} (survey.kind).",
            "kind",
        )
    selection = Selection(snr_min, snr_band, spectral_types, min_good_fraction, max_gap, leave_out, night_sky)
    aside = [(str(p), str(r), str(d)) for p, r, d in store.set_aside["path", "reason", "detail"].iterrows()]
    gatherer = Gatherer(windows, wanted, selection, file, aside)
    for (_, name), rows in groupby(_spectra(store, progress), lambda s: (s.meta["source"], s.meta["path"])):
        pieces = list(rows)
        if directory is not None:
            for piece in pieces:
                del piece.meta["star"]
        gatherer.take(partial(list, pieces), Path(name) if directory is None else directory / name, name)
    return gatherer.loaded(named=directory is None)


def _spectra(store: Store, progress: Callable[[int, int], None] | None) -> Iterator[SurveySpectrum]:
    """All rows of a store, a chunk at a time."""
    done = 0
    for chunk in range(store.n_chunk):
        pixels = {name: store.read(name, chunk) for name in ("flux", "ivar", "reasons", "lsf") if store.has(name)}
        columns = {name: column.tolist() for name, column in store.chunk_table(chunk).columns.items()}
        n = len(columns["path"])
        for i in range(n):
            row = {name: values[i] for name, values in columns.items()}
            yield _spectrum(store, {name: values[i] for name, values in pixels.items()}, row)
        done += n
        if progress is not None:
            progress(done, len(store))


def _spectrum(store: Store, pixels: dict[str, np.ndarray], row: dict[str, Any]) -> SurveySpectrum:
    """A row of a store as its reader had it: only the pixels that its file has, its table's columns as meta."""
    flux, ivar = (np.asarray(pixels[name], float) for name in ("flux", "ivar"))
    reasons = pixels.get("reasons", np.zeros(len(flux), np.int32))
    # an unusable pixel has a reason, unless the file does not have it at all
    there = np.flatnonzero((ivar > 0) | (reasons != 0))
    own = slice(int(there[0]), int(there[-1]) + 1)
    nothing = np.zeros(own.stop - own.start, int)
    lsf = None if "lsf" not in pixels else np.asarray(pixels["lsf"][own], float)
    if lsf is not None and not np.isfinite(lsf).all():
        lsf = None
    meta = row | json.loads(row["meta"] or "{}")
    kind = store.kind or str(meta["kind"])
    if kind != "lamost_lrs":  # which has a S/N of each band; of the others what was taken is that of the file
        meta |= {"snr_header": row["snr"], "snr_header_key": row["snr_source"]}
    return SurveySpectrum(
        store.grid.first + own.start, flux[own], ivar[own], nothing, nothing, meta, store.grid.log_step, reasons[own],
        lsf, str(meta["frame"]), kind, str(meta["piece"]),
    )  # fmt: skip
