"""Spectra of a store as a fit takes them: the same cuts as for a directory, a chunk at a time."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from astrogf.surveys.batch import SpectrumBatch
from astrogf.surveys.directory.load import UNTELLING, LoadedSpectra, as_batch, aside_table, check_kind, partly_table
from astrogf.surveys.directory.photons import Photons
from astrogf.surveys.directory.selection import Selection
from astrogf.surveys.formats.readers import kinds_named
from astrogf.surveys.rows import RowFile
from astrogf.surveys.spectrum import SurveyError, SurveySpectrum, grid, window_pixels
from astrogf.surveys.store import journal
from astrogf.surveys.store.store import Store
from astrogf.surveys.store.stream import stream

Window = tuple[float, float]


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
) -> LoadedSpectra:
    """As `directory.load.load_directory`: a batch a window of the spectra that pass the same cuts, and what does
    not, with the files that the store itself had set aside.

    kinds and file: as for `directory.load.load_directory`; kinds None takes what there is.
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
    taken: list[list] = [[] for _ in windows]
    refused: list[tuple] = []
    photons = Photons()
    done = 0
    for batch in stream(store, store.chunk, pad=False):
        for i in range(len(batch.flux)):
            spectrum = _spectrum(store, batch, i)
            name = str(batch.table["path"][i])
            for k, window in enumerate(windows):
                try:
                    check_kind(spectrum, wanted, Path(name))
                    selection.check_star(spectrum, Path(name))
                    photons.check(spectrum, Path(name), name)
                    taken[k].append(selection.take(spectrum, window, Path(name), name).put(file))
                    photons.take(spectrum, name)
                except SurveyError as err:
                    refused.append((name, spectrum.piece, *window, err.reason, str(err)))
        done += len(batch.flux)
        if progress is not None:
            progress(done, len(store))
    used = {str(piece.row["path"]) for pieces in taken for piece in pieces}
    partly = [row for row in refused if row[0] in used and row[4] not in UNTELLING]
    worst: dict[str, tuple[str, str, str]] = {}
    for row in sorted(refused, key=lambda row: row[4] in UNTELLING):
        worst.setdefault(row[0], (row[0], row[4], row[5]))
    aside += [row for name, row in worst.items() if name not in used]
    batches = []
    for window, pieces in zip(windows, taken, strict=True):
        if pieces:
            first, n_pixel = window_pixels(window, store.grid.log_step)
            batches.append(as_batch(grid(first, n_pixel, store.grid.log_step), pieces, file))
    return LoadedSpectra(batches, aside_table(aside), partly_table(partly))


def _spectrum(store: Store, batch: SpectrumBatch, i: int) -> SurveySpectrum:
    """A row of a store as its reader had it, its table's columns as meta."""
    nothing = np.zeros(batch.flux.shape[1], int)
    meta = {n: batch.table[n][i].item() if hasattr(batch.table[n][i], "item") else batch.table[n][i]
            for n in batch.table.colnames}  # fmt: skip
    meta |= json.loads(meta["meta"] or "{}")
    meta["snr_header"] = meta["snr"]  # what its reader took, whichever key it was under
    lsf = None if batch.lsf is None or not np.isfinite(batch.lsf[i]).all() else batch.lsf[i]
    return SurveySpectrum(
        store.grid.first, batch.flux[i], batch.ivar[i], nothing, nothing, meta, store.grid.log_step, None, lsf,
        str(meta["frame"]), store.kind or str(meta["kind"]), str(meta["piece"]),
    )  # fmt: skip
