"""The tables that come with the package: where they lie, and how one is read. `tools/` rebuilds each of them."""

from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / "data"


def arrays(name: str) -> dict[str, np.ndarray]:
    """All arrays of one shipped .npz file, by their names in it."""
    with np.load(DATA / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}
