"""States as files: NamedTuples, dataclasses, tuples, lists, dicts, arrays, numbers and strings in an npz file, without
pickles. What lies on the run's shelf is referred to by its name."""

import dataclasses
import importlib
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
"""What reading raises for a file that is not whole; AttributeError and ImportError where it is another version's."""


class InFile(NamedTuple):
    """A value that lies in a file of its own: a handle (`inference.blocks.shelf.Kept`)."""

    folder: str
    name: str

    def get(self) -> Any:
        """The value."""
        return read(Path(self.folder) / self.name, self.folder)["state"]


def write(path: Path, state: Any, **more: Any) -> list[str]:
    """Write a state and what else is said of it (as JSON); the names of the files that it refers to. The file is on the
    disk when this returns. Raises OSError."""
    arrays, kept = list[np.ndarray](), list[str]()
    packed = _packed(state, arrays, kept)
    said = json.dumps({**more, "kept": kept, "state": packed})
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, state=np.array(said), **{str(i): x for i, x in enumerate(arrays)})
        file.flush()
        os.fsync(file.fileno())
    return kept


def read(path: Path, shelf: Path | str) -> dict[str, Any]:
    """What `write` was told, its state under 'state'; what that refers to lies in the folder `shelf`. Raises one of
    DAMAGED, AttributeError or ImportError."""
    # opened here, because np.load leaves what it cannot read open
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        said = json.loads(str(file["state"]))
        return said | {"state": _unpacked(said["state"], file, str(shelf))}


def said_of(path: Path) -> dict[str, Any]:
    """The same without the state. Raises one of DAMAGED."""
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        said = json.loads(str(file["state"]))
    return {name: value for name, value in said.items() if name != "state"}


def _packed(value: Any, arrays: list[np.ndarray], kept: list[str]) -> Any:
    """A state in JSON's types, its arrays apart. JAX's are told from numpy's: the same sum need not round alike."""
    if isinstance(value, InFile):
        kept.append(value.name)
        return {"kept": value.name}
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        arrays.append(np.asarray(value))
        kind = "jax" if isinstance(value, jax.Array) else "numpy" if isinstance(value, np.ndarray) else "scalar"
        return {kind: str(len(arrays) - 1)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [_packed(x, arrays, kept) for x in value]
    if isinstance(value, dict):
        return {"dict": {name: _packed(x, arrays, kept) for name, x in value.items()}}
    if dataclasses.is_dataclass(value) or hasattr(value, "_fields"):
        fields = [f.name for f in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else value._fields
        named = {name: _packed(getattr(value, name), arrays, kept) for name in fields}
        return {"class": f"{type(value).__module__}:{type(value).__qualname__}", "fields": named}
    if isinstance(value, tuple):
        return {"tuple": [_packed(x, arrays, kept) for x in value]}
    raise TypeError(f"no part of a state: {type(value).__name__}")


def _unpacked(said: Any, arrays: Mapping[str, np.ndarray], shelf: str) -> Any:
    if isinstance(said, list):
        return [_unpacked(x, arrays, shelf) for x in said]
    if not isinstance(said, dict):
        return said
    if "class" in said:
        return _class(said["class"])(**{name: _unpacked(x, arrays, shelf) for name, x in said["fields"].items()})
    ((kind, held),) = said.items()
    if kind == "kept":
        return InFile(shelf, held)
    if kind == "dict":
        return {name: _unpacked(x, arrays, shelf) for name, x in held.items()}
    if kind == "tuple":
        return tuple(_unpacked(x, arrays, shelf) for x in held)
    array = arrays[held]
    return {"jax": jnp.asarray, "numpy": lambda x: x, "scalar": lambda x: x[()]}[kind](array)


def _class(name: str) -> type:
    """A class of ours that only holds values: a file must not have anything else called."""
    module, _, within = name.partition(":")
    if not module.startswith("astrogf."):
        raise ValueError(f"{name} is no state of a fit")
    found = getattr(importlib.import_module(module), within)
    if not (isinstance(found, type) and (dataclasses.is_dataclass(found) or hasattr(found, "_fields"))):
        raise ValueError(f"{name} is no state of a fit")
    return found
