"""The checkpoint of a run: the states of a fit on its way, in the folder `checkpoint` of the run, a file a stage.

A file is replaced as a whole, so that whatever ends the process leaves the last finished iteration. `follows.json` says
what the states follow from (`astrogf.runs.follows`): with anything else they must not be gone on from.
"""

import dataclasses
import importlib
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from astrogf.base.errors import AstrogfError
from astrogf.runs.outputs import complete, is_draft, why, write_text

NAME = "checkpoint"
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
_FOLLOWS, _LOCK = "follows.json", "lock"


class CheckpointFolder:
    """`astrogf.inference.checkpoint.Checkpoint` in a run folder. `clock`: seconds that the run has taken so far."""

    def __init__(self, run: Path, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.run, self.folder, self.clock = run, run / NAME, clock

    def follows(self) -> dict[str, Any] | None:
        """What the states here follow from; None where there are none."""
        try:
            return json.loads((self.folder / _FOLLOWS).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise AstrogfError(
                f"The file {self.folder / _FOLLOWS} cannot be read ({error}): the run cannot be gone on with; "
                "--overwrite begins it anew."
            ) from error

    def begin(self, follows: Mapping[str, Any]) -> None:
        """Say what the states will follow from. Raises AstrogfError where that cannot be written."""
        with self._writing(self.folder / _FOLLOWS):
            self.folder.mkdir(exist_ok=True)
            for path in self.folder.glob("*.npz"):
                path.unlink()
            write_text(self.folder / _FOLLOWS, json.dumps(follows, indent=1) + "\n")

    def load(self, stage: str) -> Any:
        """The state last saved of a stage, None where there is none. Raises AstrogfError for a damaged file."""
        path = self._path(stage)
        if not path.is_file():
            return None
        try:
            # opened here, because np.load leaves what it cannot read open
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                return _unpacked(json.loads(str(file["state"]))["state"], file)
        except (*_DAMAGED, AttributeError, ImportError) as error:
            raise AstrogfError(
                f"The checkpoint {path} is damaged ({error}): remove it, and this stage is computed again; or begin "
                "anew with --overwrite."
            ) from error

    def save(self, stage: str, state: Any) -> None:
        """Replace the state of a stage. Raises AstrogfError where it cannot be written; the last one then stays."""
        path, arrays = self._path(stage), list[np.ndarray]()
        said = json.dumps({"seconds": self.clock(), "state": _packed(state, arrays)})
        with self._writing(path), complete(path) as draft, draft.open("wb") as file:
            np.savez(file, allow_pickle=False, state=np.array(said), **{str(i): x for i, x in enumerate(arrays)})
            file.flush()
            os.fsync(file.fileno())

    @property
    def seconds(self) -> float:
        """What the run had taken when it last saved a state; 0 where it has none."""
        found = [0.0]
        for path in self.folder.glob("*.npz"):
            # of a damaged one `load` speaks
            with suppress(*_DAMAGED), path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                found.append(json.loads(str(file["state"]))["seconds"])
        return max(found)

    def remove(self) -> None:
        """Once the run is finished. What says what the states follow from goes first: without it there are none."""
        (self.folder / _FOLLOWS).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def tidy(self) -> None:
        """Remove what a killed process was writing."""
        for folder in (self.run, self.folder):
            for path in folder.glob(".*") if folder.is_dir() else ():
                if is_draft(path.name) and path.is_file():
                    path.unlink(missing_ok=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within, no other process may write this run. Raises AstrogfError where one does. The system lets go of it
        when a process ends, however it ends; where it cannot lock files, nothing is held."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / _LOCK).open("w") as file:
            _lock(file.fileno(), self.run)
            yield

    @contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise AstrogfError(
                f"The checkpoint {path} cannot be written: {why(error)}. What was finished before is kept; then the "
                "same command with --resume goes on from there."
            ) from error

    def _path(self, stage: str) -> Path:
        return self.folder / f"{stage.replace(' ', '_')}.npz"


def _lock(handle: int, run: Path) -> None:
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise AstrogfError(
            f"Another process is writing the run in {run}: wait for it, end it, or name another folder with --out."
        ) from error
    except OSError:
        return


def _packed(value: Any, arrays: list[np.ndarray]) -> Any:
    """A state in JSON's types, its arrays apart. JAX's are told from numpy's: the same sum need not round alike."""
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        arrays.append(np.asarray(value))
        kind = "jax" if isinstance(value, jax.Array) else "numpy" if isinstance(value, np.ndarray) else "scalar"
        return {kind: str(len(arrays) - 1)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [_packed(x, arrays) for x in value]
    if isinstance(value, dict):
        return {"dict": {name: _packed(x, arrays) for name, x in value.items()}}
    if dataclasses.is_dataclass(value) or hasattr(value, "_fields"):
        fields = [f.name for f in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else value._fields
        named = {name: _packed(getattr(value, name), arrays) for name in fields}
        return {"class": f"{type(value).__module__}:{type(value).__qualname__}", "fields": named}
    if isinstance(value, tuple):
        return {"tuple": [_packed(x, arrays) for x in value]}
    raise TypeError(f"no part of a state: {type(value).__name__}")


def _unpacked(said: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(said, list):
        return [_unpacked(x, arrays) for x in said]
    if not isinstance(said, dict):
        return said
    if "class" in said:
        return _class(said["class"])(**{name: _unpacked(x, arrays) for name, x in said["fields"].items()})
    ((kind, held),) = said.items()
    if kind == "dict":
        return {name: _unpacked(x, arrays) for name, x in held.items()}
    if kind == "tuple":
        return tuple(_unpacked(x, arrays) for x in held)
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
