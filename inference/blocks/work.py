"""How a fit is computed: where, with which shelf, and in blocks of how many stars."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from astrogf.inference.blocks.places import HERE, Place
from astrogf.inference.blocks.shelf import MEMORY, Shelf

SHARES = 1024
"""Most tasks of a pass: each comes back with a sum over its stars, a matrix of all corrections."""


class Work(NamedTuple):
    """`block`: stars whose equations are in memory at once; None for all of them."""

    place: Place = HERE
    shelf: Shelf = MEMORY
    block: int | None = None


IN_MEMORY = Work()


def shares(n_block: int, most: int = SHARES) -> list[slice]:
    """Blocks in tasks, as equal as can be. They depend on nothing but the number of blocks, and so do the numbers that
    are summed by task, wherever they are computed and by however many."""
    edges = np.linspace(0, n_block, min(n_block, most) + 1).round().astype(int)
    return [slice(int(a), int(b)) for a, b in pairwise(edges)]
