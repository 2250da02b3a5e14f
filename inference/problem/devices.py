"""All local devices share one axis, `star`: the one place that knows how work is spread."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P


def star_mesh(most: int | None = None) -> Mesh:
    """All devices, or the first `most`, along one axis, `star`."""
    return Mesh(np.array(jax.devices()[:most]), ("star",))


def spread(function: Callable, shared: Any, per_star: Any, mesh: Mesh) -> Any:
    """function(shared, per_star) with the leading axis of `per_star` cut over the devices, of every output joined.

    `shared` may hold things that are not arrays. Traced once a shape: call it inside a compiled function.
    """
    arrays, static = eqx.partition(shared, eqx.is_array)

    # without check_vma, because inner scans start from constants
    @partial(jax.shard_map, mesh=mesh, in_specs=(P(), P("star")), out_specs=P("star"), check_vma=False)
    def run(arrays, per_star):
        return function(eqx.combine(arrays, static), per_star)

    return run(arrays, per_star)


def padded(first: int, chunk: int, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of one chunk of fixed size, its end filled with copies of the last, and 1 where they count."""
    index = np.arange(first, first + chunk)
    return np.minimum(index, total - 1), (index < total).astype(float)


def chunk_size(wanted: int, total: int, n_device: int) -> int:
    """A whole number of stars a device, at least one, not more than there are."""
    return max(n_device, -(-min(wanted, total) // n_device) * n_device)


def whole_chunks(stars: int, chunk: int, n_device: int) -> int:
    """So many stars, or more, that no chunk of them has to be filled up."""
    size = chunk_size(chunk, chunk, n_device)
    return -(-stars // size) * size


def in_chunks(rows: Any, chunk: int, mesh: Mesh, of: int | None = None) -> Iterator[tuple[Any, np.ndarray, int]]:
    """Chunks of about `chunk` rows of a tree of arrays, all of one shape: the rows, 1 where they count, how many do.

    Where the rows are some `of` so many, their chunks have the shape that the chunks of all have.
    """
    # as numpy arrays all calls look the same to the compiler, whatever computed them
    rows = jax.tree.map(np.asarray, rows)
    total = jax.tree.leaves(rows)[0].shape[0]
    size = chunk_size(chunk, total if of is None else of, mesh.devices.size)
    for first in range(0, total, size):
        index, used = padded(first, size, total)
        yield jax.tree.map(lambda x, index=index: x[index], rows), used, min(size, total - first)
