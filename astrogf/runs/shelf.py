"""The shelf of a run: a folder with a file a value, which every process that computes for the run can read and write.

A file is written once, under a name that nobody else gives, so that work that was cut short and is done again disturbs
nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from astrogf.base.errors import AstrogfError
from astrogf.runs import states
from astrogf.runs.outputs import why

_LASTING = "data-"


class FolderShelf:
    """`astrogf.inference.blocks.shelf.Shelf` in a folder, which is made when it is needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def put(self, value: Any, *, lasting: bool = False) -> states.InFile:
        """Write a file. Raises AstrogfError where that cannot be done."""
        name = f"{_LASTING if lasting else ''}{uuid4().hex}.npz"
        with writing(self.folder / name):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                states.write(self.folder / name, value)
            except OSError:
                (self.folder / name).unlink(missing_ok=True)
                raise
        return states.InFile(str(self.folder), name)

    def remove_all_but(self, names: set[str], *, lasting: bool = False) -> None:
        """Remove the files that are none of these, but, if `lasting`, not those that were to last."""
        for path in self.folder.glob("*.npz"):
            if path.name not in names and not (lasting and path.name.startswith(_LASTING)):
                path.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within, an OSError is an AstrogfError that says what to do."""
    try:
        yield
    except OSError as error:
        raise AstrogfError(
            f"The checkpoint {path} cannot be written: {why(error)}. What was finished before is kept; then the "
            "same command with --resume goes on from there."
        ) from error
