"""Arrays [star, pixel] of a result: they are made a block of stars at a time, whenever they are asked for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from astrogf.inference.problem.spectra import Part, Sample


@dataclass(frozen=True)
class ByBlocks:
    """An array of the stars of a sample, the windows after each other on the axis `pixel`.

    `rows`(number of a block, window): values of the spectra that the block has there, in the order of its `Part`; it
    may read them from a shelf, and is only asked where there are any. `empty` where a star has no spectrum. np.asarray
    makes all of it.
    """

    sample: Sample
    rows: Callable[[int, int], Float[np.ndarray, "row pixel"]]
    empty: float

    @property
    def shape(self) -> tuple[int, int]:
        """Stars and pixels."""
        return self.sample.n_star, sum(self._sizes)

    @property
    def _sizes(self) -> list[int]:
        return [window.problem.spectrum.grid.n_pixel for window in self.sample.windows]

    def __len__(self) -> int:
        return self.sample.n_star

    def blocks(self) -> Iterator[Float[np.ndarray, "star pixel"]]:
        """Stars one after the other, some at a time."""
        return (self._block(i, part) for i, part in enumerate(self.sample.parts))

    def _block(self, i: int, part: Part) -> Float[np.ndarray, "star pixel"]:
        n_star, side_by_side = part.stars.stop - part.stars.start, []
        for k, (window, mine, size) in enumerate(zip(self.sample.windows, part.rows, self._sizes, strict=True)):
            values = np.full((n_star, size), self.empty)
            if len(mine):
                values[window.star[mine] - part.stars.start] = self.rows(i, k)
            side_by_side.append(values)
        return np.concatenate(side_by_side, axis=1)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        whole = np.concatenate(list(self.blocks()))
        return whole if dtype is None else whole.astype(dtype)


def blocks_of(pixels: Float[np.ndarray, "star pixel"] | ByBlocks) -> Iterator[Float[np.ndarray, "star pixel"]]:
    """Stars one after the other, some at a time."""
    return pixels.blocks() if isinstance(pixels, ByBlocks) else iter([pixels])
