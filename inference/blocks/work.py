"""How a fit is computed: where, with which shelf, and in blocks of how many stars."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from astrogf.inference.blocks.places import HERE, Place
from astrogf.inference.blocks.shelf import MEMORY, Shelf

SHARES = 1024
"""Most tasks of a pass: each comes back with a sum over its stars, a matrix of all corrections."""

ROOM, FEW = 20e9, 16
"""Bytes of the sums of all tasks, which lie on the shelf until they are added up; fewer tasks would keep few workers
busy."""


class Work(NamedTuple):
    """`block`: stars whose equations are in memory at once; None for all of them."""

    place: Place = HERE
    shelf: Shelf = MEMORY
    block: int | None = None


IN_MEMORY = Work()


def tasks_of(n_shared: int) -> int:
    """Most tasks of a pass with so many shared parameters, that their sums take no more than ROOM: at least FEW."""
    return int(np.clip(ROOM // (8 * n_shared**2), FEW, SHARES))


def shares(n_block: int, most: int = SHARES) -> list[slice]:
    """Blocks in tasks, as equal as can be. They depend on nothing but the number of blocks, and so do the numbers that
    are summed by task, wherever they are computed and by however many."""
    edges = np.linspace(0, n_block, min(n_block, most) + 1).round().astype(int)
    return [slice(int(a), int(b)) for a, b in pairwise(edges)]
