"""Arrays that are the same for the same input, kept between runs in the cache folder, found by content alone."""

import hashlib
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

MOST = 64
"""Files of a kind that are kept: the last ones used."""
Arrays = Mapping[str, np.ndarray]


def cache_folder() -> Path:
    """Where astrogf keeps what it can make again: astrogf below XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "astrogf"


def digest(*parts: Any) -> str:
    """Name of a content: of arrays by their bytes, of anything else by its `repr`; of sequences part by part."""
    state = hashlib.blake2b(digest_size=20)
    for part in parts:
        if isinstance(part, np.ndarray):
            state.update(f"{part.dtype.str}{part.shape}".encode())
            state.update(np.ascontiguousarray(part).data)
        elif isinstance(part, tuple | list):
            state.update(digest(*part).encode())
        else:
            state.update(repr(part).encode())
        state.update(b"\0")
    return state.hexdigest()


@cache
def content_of(*folders: Path) -> str:
    """Name of what source and data files of these folders hold: another version of either has another."""
    state = hashlib.blake2b(digest_size=20)
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".pyc"):
            raw = path.read_bytes()
            state.update(f"{path.relative_to(folder)}\0{len(raw)}\0".encode())
            state.update(raw)
    return state.hexdigest()


def kept(kind: str, key: Iterable[Any], make: Callable[[], Arrays]) -> Arrays:
    """What `make` gives, read from the cache folder where it has been made of the same `key` before.

    `key` has to name everything that the arrays follow from (see `digest`). A file that is damaged is made anew; where
    nothing can be written, nothing is kept.
    """
    path = cache_folder() / kind / f"{digest(*key)}.npz"
    found = read_arrays(path)
    if found is None:
        found = make()
        with suppress(OSError):
            _write(path, found)
    else:
        with suppress(OSError):
            os.utime(path)
    return found


def read_arrays(path: Path) -> Arrays | None:
    """What np.savez has written; None where the file is not there, or damaged."""
    try:
        # opened here, because np.load leaves what it cannot read open
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        return None


def _write(path: Path, arrays: Arrays) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        Path(name).replace(path)  # whole or not at all, whoever else writes the same
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    files = sorted(path.parent.glob("*.npz"), key=lambda p: p.stat().st_mtime)
    for old in files[:-MOST]:
        old.unlink(missing_ok=True)
