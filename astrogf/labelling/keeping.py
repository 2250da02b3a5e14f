"""Surrogates in the run folder, RUN/surrogate/window_1.npz and so on, each with the name of what it was made from."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from astrogf.base.kept import read_arrays
from astrogf.runs.outputs import complete

if TYPE_CHECKING:
    from astrogf.inference.problem.problem import StarProblem
    from astrogf.inference.surrogate.build import Trial
    from astrogf.inference.surrogate.coarse import Coarse
    from astrogf.inference.surrogate.model import Surrogate

FOLDER = "surrogate"


class SurrogateFolder:
    """Of one run; `made` says which windows had none that could be used. Where the folder cannot be written nothing is
    kept."""

    def __init__(self, run: Path) -> None:
        self.folder = run / FOLDER
        self.made: list[int] = []

    def _path(self, window: int) -> Path:
        return self.folder / f"window_{window + 1}.npz"

    def load(
        self, window: int, name: str, coarse: "Coarse", problem: "StarProblem"
    ) -> "tuple[Surrogate, Trial] | None":
        """The surrogate of a window if it is there, whole, and made of just what `name` names."""
        from astrogf.inference.surrogate.build import Trial
        from astrogf.inference.surrogate.model import from_arrays

        arrays = read_arrays(self._path(window))
        if arrays is None or str(arrays.get("name")) != name:
            return None
        trial = Trial(*(arrays[f"tried_{key}"] for key in Trial._fields))
        return from_arrays(arrays, problem.spectrum.atmosphere, coarse.grid), trial

    def save(self, window: int, name: str, surrogate: "Surrogate", trial: "Trial") -> None:
        """Keep it, complete or not at all."""
        from astrogf.inference.surrogate.model import as_arrays

        self.made.append(window)
        tried = {f"tried_{key}": value for key, value in trial._asdict().items()}
        with suppress(OSError), complete(self._path(window)) as draft, draft.open("wb") as raw:
            np.savez(raw, allow_pickle=False, name=np.array(name), **as_arrays(surrogate), **tried)
