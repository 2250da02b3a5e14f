"""Spectra out of a store, in batches of one shape, a chunk at a time."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from astropy.table import Table, vstack

from astrogf.surveys.batch import SpectrumBatch
from astrogf.surveys.spectrum import SurveyError
from astrogf.surveys.store.store import PixelGrid, Store

Select = np.ndarray | Callable[[Table], np.ndarray] | None


def stream(
    store: Store | Path | str,
    batch_size: int,
    select: Select = None,
    *,
    window: tuple[float, float] | None = None,
    pad: bool = True,
) -> Iterator[SpectrumBatch]:
    """The spectra in the order of the store, in batches of one shape; one chunk and one batch in memory.

    select: rows to take (boolean for every spectrum, or indices, taken in the order of the store), or a function
    of a chunk's table that gives a boolean for every row (such as criteria.Criteria). window: vacuum Angstrom;
    only pixels inside are given. pad: the last batch too has batch_size rows; those after the last spectrum have
    flux and ivar 0, repeat the last row of the table, and are True in its column `padding`. Flux and ivar are
    float64. The line-spread function is given where any file of the store has one, NaN for those that have none.
    Every file is compared with its sha256 as it is read. Raises SurveyError for a damaged chunk, naming it, and
    at once for arguments that make no sense.
    """
    store = store if isinstance(store, Store) else Store(store)
    if batch_size < 1:
        raise SurveyError(f"batch_size = {batch_size}: at least one spectrum a batch is needed.")
    return _batches(store, batch_size, select if callable(select) else _wanted(select, store), window, pad)


def _batches(
    store: Store,
    batch_size: int,
    select: np.ndarray | Callable[[Table], np.ndarray],
    window: tuple[float, float] | None,
    pad: bool,
) -> Iterator[SpectrumBatch]:
    pixels = window_slice(store.grid, window)
    wavelength = store.wavelength[pixels]
    names = ["flux", "ivar", "lsf"] if store.has("lsf") else ["flux", "ivar"]
    held = {name: np.zeros((batch_size, wavelength.size)) for name in names}
    tables: list[Table] = []
    n_held = 0

    def batch() -> SpectrumBatch:
        table = vstack(tables, metadata_conflicts="silent") if len(tables) > 1 else tables[0]
        rows = batch_size if pad else n_held
        table = table[np.minimum(np.arange(rows), n_held - 1)]
        table["padding"] = np.arange(rows) >= n_held
        # a copy: the held arrays are filled again while the caller works
        arrays = {name: held[name][:rows].copy() for name in names}
        for name, values in arrays.items():
            values[n_held:] = values[n_held - 1] if name == "lsf" else 0
        return SpectrumBatch(wavelength=wavelength, table=table, **arrays)

    for chunk in range(store.n_chunk):
        start = chunk * store.chunk
        if not callable(select):
            keep = np.flatnonzero(select[start : start + store.chunk])
            if not keep.size:
                continue
            table = store.chunk_table(chunk)
        else:
            table = store.chunk_table(chunk)
            keep = np.flatnonzero(select(table))
        if not keep.size:
            continue
        arrays = {name: store.read(name, chunk) for name in names}
        at = 0
        while at < keep.size:
            rows = keep[at : at + batch_size - n_held]
            for name in names:
                held[name][n_held : n_held + rows.size] = arrays[name][rows, pixels]
            tables.append(table[rows])
            at += rows.size
            n_held += rows.size
            if n_held == batch_size:
                yield batch()
                tables, n_held = [], 0
    if n_held:
        yield batch()


def _wanted(select: np.ndarray | None, store: Store) -> np.ndarray:
    """One boolean a spectrum."""
    if select is None:
        return np.ones(len(store), dtype=bool)
    rows = np.asarray(select)
    if rows.dtype == bool:
        if rows.shape != (len(store),):
            raise SurveyError(f"`select` has shape {rows.shape}; the store {store.path} has {len(store)} spectra.")
        return rows
    wanted = np.zeros(len(store), dtype=bool)
    if rows.size and (rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= len(store)):
        raise SurveyError(f"`select` must be whole numbers from 0 to {len(store) - 1}, rows of {store.path}.")
    wanted[rows.astype(int)] = True
    return wanted


def window_slice(grid: PixelGrid, window: tuple[float, float] | None) -> slice:
    """The pixels of a grid with their centres inside the window (vacuum Angstrom). Raises SurveyError for none."""
    if window is None:
        return slice(0, grid.n_pixel)
    inside = np.flatnonzero((grid.wavelength >= window[0]) & (grid.wavelength <= window[1]))
    if not inside.size:
        low, high = grid.wavelength[[0, -1]]
        raise SurveyError(
            f"The window {window[0]:g}-{window[1]:g} A holds no pixel of the store, which has {low:.0f}-{high:.0f} A.",
            "no_coverage",
        )
    return slice(int(inside[0]), int(inside[-1]) + 1)
