"""The checkpoint of a run: the states of a fit on its way, in the folder `checkpoint` of the run, a file a stage.

A file is replaced as a whole, so that whatever ends the process leaves the last finished iteration. `follows.json` says
what the states follow from (`astrogf.runs.follows`): with anything else they must not be gone on from. What is as long
as there are pixels or corrections, of every star, lies in the folder `blocks` beside them, a file a block of stars.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from astrogf.base.errors import AstrogfError
from astrogf.runs import states
from astrogf.runs.outputs import complete, is_draft, write_text
from astrogf.runs.shelf import FolderShelf, writing

NAME = "checkpoint"
SHELF = "blocks"
_FOLLOWS, _LOCK = "follows.json", "lock"


class CheckpointFolder:
    """`astrogf.inference.checkpoint.Checkpoint` in a run folder. `clock`: seconds that the run has taken so far."""

    def __init__(self, run: Path, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.run, self.folder, self.clock = run, run / NAME, clock
        self.shelf = FolderShelf(self.folder / SHELF)

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
        with writing(self.folder / _FOLLOWS):
            self.folder.mkdir(exist_ok=True)
            for path in self.folder.glob("*.npz"):
                path.unlink()
            self.shelf.remove_all_but(set())
            write_text(self.folder / _FOLLOWS, json.dumps(follows, indent=1) + "\n")

    def load(self, stage: str) -> Any:
        """The state last saved of a stage, None where there is none. Raises AstrogfError for a damaged file."""
        path = self._path(stage)
        if not path.is_file():
            return None
        try:
            return states.read(path, self.shelf.folder)["state"]
        except (*states.DAMAGED, AttributeError, ImportError) as error:
            raise AstrogfError(
                f"The checkpoint {path} is damaged ({error}): remove it, and this stage is computed again; or begin "
                "anew with --overwrite."
            ) from error

    def save(self, stage: str, state: Any) -> None:
        """Replace the state of a stage. Raises AstrogfError where it cannot be written; the last one then stays.

        What lies on the shelf for no state any more is removed.
        """
        path = self._path(stage)
        with writing(path), complete(path) as draft:
            states.write(draft, state, seconds=self.clock())
        self.shelf.remove_all_but(self._referred(), lasting=True)

    @property
    def seconds(self) -> float:
        """What the run had taken when it last saved a state; 0 where it has none."""
        return max((said["seconds"] for said in self._said()), default=0.0)

    def _said(self) -> Iterator[dict[str, Any]]:
        for path in self.folder.glob("*.npz"):
            with suppress(*states.DAMAGED):  # of a damaged one `load` speaks
                yield states.said_of(path)

    def _referred(self) -> set[str]:
        """Files of the shelf that any state refers to."""
        return {name for said in self._said() for name in said["kept"]}

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
        self.shelf.remove_all_but(self._referred())

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within, no other process may write this run. Raises AstrogfError where one does. The system lets go of it
        when a process ends, however it ends; where it cannot lock files, nothing is held."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / _LOCK).open("w") as file:
            _lock(file.fileno(), self.run)
            yield

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
