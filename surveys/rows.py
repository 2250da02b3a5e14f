"""Rows of pixels that lie in a file: only those that are asked for are in memory."""

import tempfile
import weakref
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

_NUMBER = np.dtype(np.float64)


class Row(NamedTuple):
    """Where a row begins in its file (bytes), and how many numbers it has."""

    start: int
    size: int


class RowFile:
    """A nameless file in a folder (made where it is not there; None: that of the system for such files), which is gone
    with its last reader, however the process ends. Numbers in it are double."""

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._end = 0

    def put(self, values: Float[np.ndarray, " pixel"]) -> Row:
        """Write a row. Raises OSError."""
        values = np.ascontiguousarray(values, _NUMBER)
        self._file.seek(self._end)
        self._file.write(values.data)
        row = Row(self._end, values.size)
        self._end += values.nbytes
        return row

    def read(self, start: int, into: Float[np.ndarray, " pixel"]) -> None:
        """Fill an array with the numbers that begin at a byte. Raises OSError."""
        self._file.seek(start)
        if self._file.readinto(into.data) != into.nbytes:  # type: ignore[attr-defined]
            raise OSError("a file of spectra is shorter than what was written to it")


class Rows:
    """An array [row, pixel] in a `RowFile`. `rows[...]` (a row, a slice, booleans or indices) reads; `select` reads
    nothing; np.asarray reads all of it."""

    def __init__(self, file: RowFile, start: Int[np.ndarray, " row"], n_pixel: int) -> None:
        self._file, self._start, self.n_pixel = file, np.asarray(start, np.int64), n_pixel

    @classmethod
    def of(cls, file: RowFile, rows: list[Row]) -> "Rows":
        """Rows of one size."""
        (n_pixel,) = {row.size for row in rows}
        return cls(file, np.array([row.start for row in rows]), n_pixel)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and pixels."""
        return len(self._start), self.n_pixel

    def __len__(self) -> int:
        return len(self._start)

    def select(self, keep: Shaped[np.ndarray, " row"]) -> "Rows":
        """The rows where `keep` (boolean or indices) says so."""
        return Rows(self._file, self._start[keep], self.n_pixel)

    def __getitem__(self, rows: int | slice | Shaped[np.ndarray, " some"]) -> Float[np.ndarray, "*some pixel"]:
        start = self._start[rows]
        out = np.empty((*np.shape(start), self.n_pixel), _NUMBER)
        for into, at in zip(out.reshape(-1, self.n_pixel), np.ravel(start), strict=True):
            self._file.read(int(at), into)
        return out

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)


Pixels = Float[np.ndarray, "star pixel"] | Rows
"""In memory, or in a file."""


def selected(pixels: Pixels, keep: Shaped[np.ndarray, " row"]) -> Pixels:
    """Some of the rows; those of a file stay there."""
    return pixels.select(keep) if isinstance(pixels, Rows) else pixels[keep]
