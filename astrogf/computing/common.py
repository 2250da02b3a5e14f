"""What all tasks of a map share: a file, written once, that every worker reads once."""

import hashlib
import os
import pickle
from functools import lru_cache
from pathlib import Path
from typing import Any

_SUFFIX = ".pickle"


class Commons:
    """Files in a folder that all workers see: pickles, which have their sha256 as names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)

    def name_of(self, common: Any) -> str:
        """The file with a value, which has the name of its content."""
        content = pickle.dumps(common)
        path = self.folder / f"{hashlib.sha256(content).hexdigest()}{_SUFFIX}"
        if not path.is_file():
            draft = path.with_suffix(f".{os.getpid()}")
            draft.write_bytes(content)
            os.replace(draft, path)
        return str(path)

    def remove(self) -> None:
        """All of them."""
        for path in self.folder.glob(f"*{_SUFFIX}"):
            path.unlink(missing_ok=True)


@lru_cache(maxsize=2)
def loaded(name: str) -> Any:
    """The value in a file; the last two are remembered, and with them the programs that were compiled for them. Raises
    ValueError where the content is not what the name says: a pickle of somebody else."""
    path = Path(name)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != path.stem:
        raise ValueError(f"{path} was changed")
    return pickle.loads(content)
