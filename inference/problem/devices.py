"""All local devices share one axis, `star`, and on each rows are computed alone or some at once: the one place that
knows how work is spread."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
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


TOGETHER = 64
"""Rows that an accelerator computes at once, where its memory allows: one alone does not keep it busy."""
GRAIN = 8
"""Of an accelerator's chunk, so that its rows can be cut into equal parts."""
UNKNOWN = 16e9
SHARE = 0.5
"""Of an accelerator's memory, for what rows take."""


def accelerators() -> int:
    """Devices here that are no CPU cores."""
    return sum(device.platform != "cpu" for device in jax.local_devices())


def at_once(rows: int, each: float) -> int:
    """How many of a device's `rows`, which take `each` bytes while they are computed, are computed together.

    One on a CPU, whose cores are devices; a divisor of `rows` on an accelerator, which is taken to have UNKNOWN bytes
    where it does not say.
    """
    if not accelerators():
        return 1
    memory = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", UNKNOWN)
    most = int(np.clip(SHARE * memory // max(each, 1.0), 1, TOGETHER))
    return max(k for k in range(1, most + 1) if rows % k == 0)


def one_by_one(function: Callable, rows: Any, each: float) -> Any:
    """function(row) of every row of a tree of arrays, `at_once` of them together; `each` are bytes."""
    k = at_once(_count(rows), each)
    return jax.lax.map(function, rows, batch_size=None if k == 1 else k)


def summed(function: Callable, start: Any, rows: Any, each: float) -> tuple[Any, Any]:
    """As `one_by_one`, of a function that gives a pair: the sum, from `start` on, of what comes first, and every row's
    second.

    What is summed never takes the memory of more rows than are computed together.
    """
    count = _count(rows)
    k = at_once(count, each)

    def add(total, some):
        first, second = function(some) if k == 1 else jax.vmap(function)(some)
        return jax.tree.map(lambda t, x: t + (x if k == 1 else jnp.sum(x, axis=0)), total, first), second

    if k > 1:
        rows = jax.tree.map(lambda x: x.reshape(count // k, k, *x.shape[1:]), rows)
    total, second = jax.lax.scan(add, start, rows)
    return total, second if k == 1 else jax.tree.map(lambda x: x.reshape(count, *x.shape[2:]), second)


def _count(rows: Any) -> int:
    return jax.tree.leaves(rows)[0].shape[0]


def padded(first: int, chunk: int, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of one chunk of fixed size, its end filled with copies of the last, and 1 where they count."""
    index = np.arange(first, first + chunk)
    return np.minimum(index, total - 1), (index < total).astype(float)


def chunk_size(wanted: int, total: int, n_device: int) -> int:
    """A whole number of stars a device, at least one, not more than there are; on accelerators of `GRAIN` times so
    many, and enough to compute `TOGETHER` at once."""
    unit = n_device
    if accelerators():
        unit, wanted = GRAIN * n_device, max(wanted, TOGETHER * n_device)
    return max(unit, -(-min(wanted, total) // unit) * unit)


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
