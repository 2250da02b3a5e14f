"""Writing a store: whole chunks of spectra, each finished by one line of the journal.

The order is what makes a kill harmless: arrays are lengthened, the files of a chunk are written (each complete or
absent), and only then the journal names them. What it does not name is written again, to the same bytes.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from astrogf.surveys.spectrum import SurveyError
from astrogf.surveys.store import journal
from astrogf.surveys.store.journal import Step
from astrogf.surveys.store.store import COLUMNS, FILLS, PIXELS, Store, array_name, chunk_file

_AHEAD = 16  # chunks
_LARGEST = float(np.finfo(np.float32).max)


class Writer:
    """Appends spectra to a store; use `open_writer`.

    What is added counts when its chunk is full or `finish` is called.
    """

    def __init__(self, store: Store, source: str) -> None:
        self.grid, self.chunk, self.path, self.source = store.grid, store.chunk, store.path, source
        sources = store.sources
        self._source_number = sources.index(source) if source in sources else len(sources)
        root: Any = zarr.open_group(store.path, mode="r+", zarr_format=3)
        self._arrays = {name: root[array_name(name)] for name in (*PIXELS, *COLUMNS)}
        _clean(store)
        self._pixels = {
            name: np.full((self.chunk, self.grid.n_pixel), fill, kind) for name, (kind, fill) in PIXELS.items()
        }
        self._rows: list[dict[str, Any]] = []
        self._aside: list[tuple[str, int, str, str, str]] = []
        self._full, self._tail = divmod(len(store), self.chunk)
        if self._tail:
            self._take_tail(store)
        self._ended = not store.steps or store.complete

    def _take_tail(self, store: Store) -> None:
        """Hold the last, unfinished chunk in memory again."""
        for name in PIXELS:
            self._pixels[name][: self._tail] = store.read(name, self._full)
        columns = {name: store.read(name, self._full) for name in COLUMNS}
        self._rows = [{name: values[i] for name, values in columns.items()} for i in range(self._tail)]

    def __len__(self) -> int:
        """Spectra in the store and in memory."""
        return self._full * self.chunk + len(self._rows)

    def add(
        self,
        first: int,
        flux: np.ndarray,
        ivar: np.ndarray,
        row: dict[str, Any],
        *,
        reasons: np.ndarray | None = None,
        lsf: np.ndarray | None = None,
        only_check: bool = False,
    ) -> None:
        """One spectrum from pixel `first` of the grid's numbering on; what lies outside of the grid is cut off.

        row: columns by name; what is no column goes into `meta`. Columns good_fraction, n_outside and source are
        filled in here. only_check: add nothing. Raises SurveyError where nothing usable lies on the grid, or a
        number is beyond float32.
        """
        flux, ivar = np.asarray(flux, dtype=np.float64), np.asarray(ivar, dtype=np.float64)
        low, high = max(first, self.grid.first), min(first + flux.size, self.grid.first + self.grid.n_pixel)
        name = row.get("path", "The spectrum")
        if low >= high:
            raise SurveyError(f"{name} has no pixel on the grid of the store.", "no_coverage")
        here, there = slice(low - self.grid.first, high - self.grid.first), slice(low - first, high - first)
        good = ivar > 0
        if not good[there].any():
            raise SurveyError(f"{name} has no usable pixel on the grid of the store.", "no_good_pixels")
        for what, values in (("flux", flux), ("ivar", ivar)):
            if not np.all(np.abs(values[there]) <= _LARGEST):
                raise SurveyError(
                    f"{name} has {what} that is not finite or beyond 3.4e38, which the store's float32 cannot hold: "
                    "give the flux in larger units.",
                    "bad_header",
                )
        if np.any(ivar[there].astype(np.float32)[good[there]] == 0):
            raise SurveyError(
                f"{name} has an ivar below 1e-45, which the store's float32 cannot hold: give the flux in other units.",
                "bad_header",
            )
        if only_check:
            return
        given: dict[str, np.ndarray | None] = {
            "flux": flux,
            "ivar": ivar,
            "reasons": _reasons(reasons, good),
            "lsf": lsf,
        }
        at = len(self._rows)
        for pixel_name, pixels in given.items():
            line = self._pixels[pixel_name][at]
            line[:] = PIXELS[pixel_name][1]
            if pixels is not None:
                line[here] = pixels[there]
        filled = {column: FILLS[kind] for column, kind in COLUMNS.items()}
        rest = {key: value for key, value in row.items() if key not in COLUMNS}
        self._rows.append(
            filled
            | {key: value for key, value in row.items() if key in COLUMNS}
            | {
                "meta": json.dumps(rest, sort_keys=True, default=_plain) if rest else row.get("meta", ""),
                "good_fraction": float(good[there].sum() / self.grid.n_pixel),
                "n_outside": int(good.sum() - good[there].sum()),
                "source": self._source_number,
            }
        )
        if len(self._rows) == self.chunk:
            self._write(end=False)

    def set_aside(self, path: str, reason: str, detail: str, size: int = -1, sha256: str = "") -> None:
        """Remember a file that was left out, and why."""
        self._aside.append((path, int(size), sha256, reason, detail))

    def finish(self) -> None:
        """Write what is left and set the arrays to their true length."""
        new = len(self) > self._full * self.chunk + self._tail
        if new or self._aside or not self._ended:
            self._write(end=True)
        for array in self._arrays.values():
            _resize(array, len(self))

    def _write(self, *, end: bool) -> None:
        rows = len(self._rows)
        step = Step(rows=len(self), source=self.source, aside=self._aside, end=end)
        if rows > self._tail:
            step.chunk, step.files = self._full, self._write_chunk(rows)
        journal.append(self.path, step)
        self._aside, self._ended = [], end
        if rows >= self.chunk:
            self._full, self._tail, self._rows = self._full + 1, 0, []
        else:
            self._tail = rows

    def _write_chunk(self, rows: int) -> dict[str, str]:
        values: dict[str, np.ndarray] = dict(self._pixels)
        for name, (_, fill) in PIXELS.items():
            values[name][rows:] = fill
        for name, kind in COLUMNS.items():
            held = [row[name] for row in self._rows] + [FILLS[kind]] * (self.chunk - rows)
            values[name] = np.array(held, dtype=object if kind == "string" else kind)
        written: dict[str, str] = {}
        for name, array in self._arrays.items():
            written |= _write_block(self.path, name, array, self._full, values[name])
        _to_disk([self.path / file for file in written])
        return written


def _write_block(path: Path, name: str, array: Any, chunk: int, values: np.ndarray) -> dict[str, str]:
    """Write a whole chunk, fill values included, so that its bytes depend on nothing that was there before."""
    n = len(values)
    if array.shape[0] < (chunk + 1) * n:  # several chunks at once: each time costs a file
        _resize(array, (chunk // _AHEAD + 1) * _AHEAD * n)
    array[chunk * n : (chunk + 1) * n] = values
    file = path / chunk_file(name, chunk)
    if not file.exists():  # all fill values: Zarr writes no file
        return {}
    return {chunk_file(name, chunk): hashlib.sha256(file.read_bytes()).hexdigest()}


def _to_disk(files: list[Path]) -> None:
    """Wait until files are on the disk, all at once: a busy disk takes a tenth of a second for each in turn."""

    def one(file: Path) -> None:
        with open(file, "rb") as opened:
            os.fsync(opened.fileno())

    with ThreadPoolExecutor(max_workers=max(1, len(files))) as pool:
        list(pool.map(one, files))


def _resize(array: Any, n: int) -> None:
    if array.shape[0] != n:
        array.resize((n, *array.shape[1:]))


def _reasons(reasons: np.ndarray | None, good: np.ndarray) -> np.ndarray:
    """Bits of the reasons; a reader that gives none leaves 4 (no weight) at every unusable pixel."""
    return np.where(good, 0, 4) if reasons is None else np.asarray(reasons)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)


def _clean(store: Store) -> None:
    """Undo what a kill left unfinished: half-written files, a cut line, chunks that the journal does not name."""
    for left in store.path.rglob("*.partial"):
        left.unlink()
    journal.cut(store.path, store.journal_bytes)
    for name in (*PIXELS, *COLUMNS):
        for entry in (store.path / array_name(name)).glob("c/*"):
            if entry.name.isdigit() and int(entry.name) >= store.n_chunk:
                for file in [*entry.glob("*"), entry] if entry.is_dir() else [entry]:
                    file.rmdir() if file.is_dir() else file.unlink()
    if store.n % store.chunk:
        _restore_tail(store)


def _restore_tail(store: Store) -> None:
    """If a kill came while the last chunk was written anew with more spectra, bring back what the journal names.

    The rows that it names are in the newer file too, unchanged, and the same rows give the same bytes.
    """
    chunk = store.n_chunk - 1
    root: Any = zarr.open_group(store.path, mode="r+", zarr_format=3)
    for name in (*PIXELS, *COLUMNS):
        try:
            store.check(name, chunk)
        except SurveyError as damage:
            array = root[array_name(name)]
            fill = PIXELS[name][1] if name in PIXELS else FILLS[COLUMNS[name]]
            try:
                kept = array[chunk * store.chunk : store.n]
            except Exception:  # a codec's own classes
                raise damage from None
            values = np.full((store.chunk, *kept.shape[1:]), fill, dtype=kept.dtype)
            values[: len(kept)] = kept
            _to_disk([store.path / file for file in _write_block(store.path, name, array, chunk, values)])
            store.check(name, chunk)  # raises, naming the chunk, if it is damaged rather than newer


@contextlib.contextmanager
def open_writer(path: Path | str, source: str) -> Iterator[Writer]:
    """A Writer on an existing store (store.create makes one), alone on it; `source` names where spectra are from.

    Finishes at the end of the block; an exception leaves what was finished before. Raises SurveyError where
    another process writes to the store, or its last chunk is damaged.
    """
    path = Path(path)
    with _locked(path):
        writer = Writer(Store(path), source)
        yield writer
        writer.finish()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time; the lock goes with the process, so that a kill leaves none behind."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    if not path.is_dir():
        raise SurveyError(f"{path} does not exist: create the store first.")
    with open(path / "lock", "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            raise SurveyError(f"{path} is being written by another process: wait until it has ended.") from err
        yield
