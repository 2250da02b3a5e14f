"""A directory of survey files into a store: once, in order, and on from where it stopped."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from astrogf.base.errors import printable
from astrogf.base.files import FULL
from astrogf.surveys.directory.load import find_files
from astrogf.surveys.directory.selection import Selection
from astrogf.surveys.formats import readers
from astrogf.surveys.formats.fitsfile import read_bytes
from astrogf.surveys.spectrum import SurveyError, SurveySpectrum
from astrogf.surveys.store.store import CHUNK, GRIDS, PixelGrid, Store, create
from astrogf.surveys.store.writer import Writer, open_writer

Read = Callable[[Path], Sequence[SurveySpectrum]]
"""Every spectrum of a file; raises SurveyError for a file that cannot be used."""


def ingest(
    directory: Path | str,
    store: Path | str,
    grid: PixelGrid | str = "lamost_lrs",
    *,
    read: Read = readers.read,
    chunk: int = CHUNK,
    progress: Callable[[int, int], None] | None = None,
) -> Store:
    """Every spectrum of one kind under `directory` into the store, which is made if it does not exist.

    grid: a kind (a key of store.GRIDS), or a grid of one's own on which any kind is taken that has its step.

    Run again it goes on: files that the store knows are not opened (but for one that was set aside and has
    another size now, and the last one taken, of which a kill may have left out some spectra). The finished store
    has the same bytes as if it had never been stopped. A file with the bytes of one in the store is set aside.
    Every readable spectrum is taken, whatever its S/N or class: selection is for later. Paths in the table are
    relative to `directory`. progress(done, total) is called after every file.

    One bad file never ends the run: it becomes a row of Store.set_aside. Raises SurveyError where the directory
    or the store cannot be used, or the store has another grid.
    """
    directory, store = Path(directory), Path(store)
    kind, wanted = ("", grid) if isinstance(grid, PixelGrid) else (grid, _grid(grid))
    paths = find_files(directory)
    if not store.exists():
        create(store, wanted, chunk, kind)
    source = printable(directory.resolve(), keep="")
    with open_writer(store, source) as writer:
        before = Store(store)
        if (before.grid, before.kind) != (wanted, kind):
            raise SurveyError(
                f"{store} holds {before.kind or 'spectra'} on {before.grid.describe()}; {kind or 'spectra'} on "
                f"{wanted.describe()} are asked for: give another store."
            )
        earlier = _Known(before, source)
        for done, path in enumerate(paths, start=1):
            name = printable(path.relative_to(directory).as_posix(), keep="")
            if earlier.wants(name, path):
                _take(writer, path, name, read, earlier, kind)
            if progress is not None:
                progress(done, len(paths))
    return Store(store)


def _grid(kind: str) -> PixelGrid:
    if kind not in GRIDS:
        raise SurveyError(f"{kind!r} is no kind of spectrum known here; there are: {', '.join(GRIDS)}.")
    return GRIDS[kind]


class _Known:
    """What a store holds already, by path and by content."""

    def __init__(self, store: Store, source: str) -> None:
        sources, paths = store.column("source"), store.column("path")
        self.number = store.sources.index(source) if source in store.sources else len(store.sources)
        mine = paths[sources == self.number].tolist()
        self.taken = Counter(mine)
        self.last = mine[-1] if mine else None
        files = zip(sources.tolist(), paths.tolist(), strict=True)
        self.by_content = dict(zip(store.column("sha256").tolist(), files, strict=True))
        self.aside: dict[str, int] = {}
        for step in store.steps:
            for path, size, *_ in step.aside:
                if step.source == source:
                    self.aside[path] = size

    def wants(self, name: str, path: Path) -> bool:
        if name in self.taken:
            return name == self.last
        return name not in self.aside or self.aside[name] != _size(path)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _take(writer: Writer, path: Path, name: str, read: Read, earlier: _Known, kind: str) -> None:
    size, sha256 = _size(path), ""
    taken = earlier.taken[name]
    try:
        sha256 = read_bytes(path)[1]
        twin = earlier.by_content.get(sha256)
        if twin is not None and twin != (earlier.number, name):
            raise SurveyError(
                f"{path} has the same bytes as {twin[1]}, which is kept: remove one of them.", "duplicate_file"
            )
        kept, fault = 0, SurveyError(f"{path} holds no spectrum.", "no_coverage")
        for spectrum in read(path):
            try:
                _check_kind(spectrum, kind, writer.grid, path)
                writer.add(
                    spectrum.first,
                    spectrum.flux,
                    spectrum.ivar,
                    _row(spectrum, path, name, size, sha256),
                    reasons=spectrum.reasons,
                    lsf=spectrum.lsf,
                    only_check=kept < taken,
                )
                kept += 1
            except SurveyError as err:
                fault = err
        if not kept:
            raise fault
        earlier.by_content.setdefault(sha256, (earlier.number, name))
    except SurveyError as err:
        writer.set_aside(name, err.reason, str(err), size, sha256)
    except OSError as err:
        if err.errno in FULL:  # of the store's disk, which is no fault of a spectrum
            raise
        writer.set_aside(name, "unreadable", printable(f"{path} cannot be read: {err.strerror or err}."), size, sha256)
    except Exception as err:  # a reader's own fault is this file's misfortune, not the run's
        sentence = f"{path} broke the reader ({type(err).__name__}: {err}): report it."
        writer.set_aside(name, "unreadable", printable(sentence), size, sha256)


def _check_kind(spectrum: SurveySpectrum, kind: str, grid: PixelGrid, path: Path) -> None:
    if kind and spectrum.kind != kind:
        raise SurveyError(
            f"{path} is of the kind {spectrum.kind}, and the store is of {kind}: give {spectrum.kind} a store.", "kind"
        )
    if not np.isclose(spectrum.log_step, grid.log_step, rtol=1e-9):
        raise SurveyError(
            f"{path} has pixels of {spectrum.log_step:g} dex, the store has {grid.log_step:g}; spectra are not "
            "resampled here: give a store of its own grid.",
            "no_coverage",
        )


def _row(spectrum: SurveySpectrum, path: Path, name: str, size: int, sha256: str) -> dict[str, Any]:
    snr, source = _ANY.signal_to_noise(spectrum, path)
    own = {"path": name, "sha256": sha256, "size": size, "snr": snr, "snr_source": source}
    return {**spectrum.meta, **own, "kind": spectrum.kind, "piece": spectrum.piece, "frame": spectrum.frame}


_ANY = Selection(0.0, "g", "", 0.0, np.inf)  # for its measure of S/N, the one by which fits select
