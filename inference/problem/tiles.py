"""Lines share pixels only with their neighbours: derivatives by corrections in tiles of pixels, and their products.

A line's core reaches a few pixels, once the instrument has seen it, and only the wings of strong ones reach far. Pixels
are cut into tiles of one size, and of each tile only the corrections that reach it are kept, in any order: a strong
line is simply in many tiles. What is 0 for every star, whatever its velocity and broadening, is left out, and nothing
else, so that sums are those of the whole matrix. Few lines in few pixels are one tile, which is the whole matrix.
"""

from collections.abc import Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from astrogf.synthesis.lines.pieces import Cores, Pieces, rounded
from astrogf.synthesis.observed.grid import Grid

LEAST = 16
"""Pixels of the smallest tiles."""
PASSED_OVER = 100
"""What a number of a tile's block costs beside the pixels that it sums over, in pixels: it is written and added up."""


class Tiles(eqx.Module):
    """Which corrections reach which pixels.

    Tile t has the `size` pixels from t * size on; the last may go beyond the window. `line[t, k]` is its k-th
    correction, their number where it has fewer; `place[t, i]` is the k of correction i, the number of members where it
    does not reach the tile.
    """

    line: Int[Array, "tile member"]
    place: Int[Array, "tile free"]
    size: int = eqx.field(static=True)
    n_pixel: int = eqx.field(static=True)

    @property
    def n_tile(self) -> int:
        """Number of tiles."""
        return self.line.shape[0]

    @property
    def n_member(self) -> int:
        """Most corrections of a tile."""
        return self.line.shape[1]

    @property
    def n_free(self) -> int:
        """Corrections."""
        return self.place.shape[1]

    @classmethod
    def undivided(cls, n_pixel: int, n_free: int) -> "Tiles":
        """One tile, of all."""
        all_of_them = np.arange(n_free)[None]
        return cls(jnp.asarray(all_of_them), jnp.asarray(all_of_them), n_pixel, n_pixel)

    @classmethod
    def of(cls, pieces: Pieces, n_free: int, grid: Grid) -> "Tiles":
        """Those that cost least for the free lines of these pieces, on the host: see `PASSED_OVER`."""
        most = max(int(np.log2(max(grid.n_pixel, LEAST) / LEAST)), 0)
        divided = [cls.of_size(pieces, n_free, grid, LEAST * 2**k) for k in range(most + 1)] if n_free else []
        return min([cls.undivided(grid.n_pixel, n_free), *divided], key=lambda tiles: tiles.cost)

    @classmethod
    def of_size(cls, pieces: Pieces, n_free: int, grid: Grid, size: int) -> "Tiles":
        """Tiles of so many pixels, for the free lines of these pieces, on the host."""
        slot, first, last = _reached(pieces, n_free, grid)
        n_tile = -(-grid.n_pixel // size)
        ends = np.zeros((n_tile + 1, n_free), np.int32)
        np.add.at(ends, (first // size, slot), 1)
        np.add.at(ends, (last // size + 1, slot), -1)
        reach = np.cumsum(ends, axis=0)[:-1] > 0
        # one of a few numbers, so that like problems have one shape and share a compilation
        n_member = min(rounded(int(reach.sum(axis=1).max(initial=0))), n_free)
        rank = np.cumsum(reach, axis=1) - 1
        line = np.full((n_tile, n_member), n_free)
        tile, free = np.nonzero(reach)
        line[tile, rank[tile, free]] = free
        place = np.where(reach, rank, n_member).astype(np.int32)
        return cls(jnp.asarray(line), jnp.asarray(place), size, grid.n_pixel)

    @property
    def cost(self) -> float:
        """Of a spectrum's block of all tiles, in products of two numbers."""
        return float(self.n_tile * self.n_member**2 * (self.size + PASSED_OVER))

    def cut(self, pixels: Float[Array, "pixel *k"]) -> Float[Array, "tile member_pixel *k"]:
        """Values of pixels, tile by tile; 0 beyond the window."""
        spare = self.n_tile * self.size - self.n_pixel
        padded = jnp.pad(pixels, ((0, spare), *[(0, 0)] * (pixels.ndim - 1)))
        return padded.reshape(self.n_tile, self.size, *pixels.shape[1:])

    def joined(self, tiles: Float[Array, "tile member_pixel *k"]) -> Float[Array, "pixel *k"]:
        """The inverse of `cut`."""
        return tiles.reshape(self.n_tile * self.size, *tiles.shape[2:])[: self.n_pixel]

    def gathered(self, values: Float[Array, "free *k"]) -> Float[Array, "tile member *k"]:
        """Values of corrections, tile by tile; 0 where a tile has fewer."""
        if self.n_tile == 1:
            return values[None]
        return jnp.pad(values, ((0, 1), *[(0, 0)] * (values.ndim - 1)))[self.line]

    def summed(self, tiles: Float[Array, "tile member *k"]) -> Float[Array, "free *k"]:
        """Sum over the tiles of what they say of each correction."""
        if self.n_tile == 1:
            return tiles[0]
        return jnp.zeros((self.n_free + 1, *tiles.shape[2:])).at[self.line].add(tiles)[:-1]


class LineColumns(eqx.Module):
    """Derivatives of pixels by corrections, J, in `tiles`: `values` [tile, pixel of it, member]."""

    values: Float[Array, "tile pixel member"]
    tiles: Tiles

    def scaled(self, factor: Float[Array, " pixel"]) -> "LineColumns":
        """Every pixel's times a factor."""
        return LineColumns(self.values * self.tiles.cut(factor)[:, :, None], self.tiles)

    def along(self, step: Float[Array, "free *k"]) -> Float[Array, "pixel *k"]:
        """J s."""
        return self.tiles.joined(jnp.einsum("tpm,tm...->tp...", self.values, self.tiles.gathered(step)))

    def against(self, pixels: Float[Array, "pixel k"]) -> Float[Array, "free k"]:
        """J' x."""
        return self.tiles.summed(jnp.einsum("tpm,tpk->tmk", self.values, self.tiles.cut(pixels)))

    def block(self, weights: Float[Array, " pixel"]) -> Float[Array, "tile member member"]:
        """J' W J, tile by tile: `dense_block` is their sum."""
        weighted = self.values * self.tiles.cut(weights)[:, :, None]
        if self.tiles.n_tile == 1:
            return (weighted[0].T @ self.values[0])[None]
        return jax.lax.map(lambda two: two[0].T @ two[1], (weighted, self.values))

    def squares(self, weights: Float[Array, " pixel"]) -> Float[Array, " free"]:
        """The diagonal of J' W J."""
        return self.tiles.summed(jnp.einsum("tpm,tp->tm", self.values**2, self.tiles.cut(weights)))

    def largest(self) -> Float[Array, " free"]:
        """Of the absolute values of every correction."""
        most = jnp.max(jnp.abs(self.values), axis=1, initial=0.0)
        return jnp.zeros(self.tiles.n_free + 1).at[self.tiles.line].max(most)[:-1]

    def dense(self) -> Float[Array, "pixel free"]:
        """J itself."""
        if self.tiles.n_tile == 1:
            return self.values[0]
        tile = jnp.arange(self.tiles.n_tile)[:, None, None]
        pixel = jnp.arange(self.tiles.size)[:, None]
        spread = jnp.zeros((self.tiles.n_tile, self.tiles.size, self.tiles.n_free + 1))
        return self.tiles.joined(spread.at[tile, pixel, self.tiles.line[:, None]].add(self.values))[:, :-1]


def dense_block(tiles: Tiles, block: Float[Array, "tile member member"]) -> Float[Array, "free free"]:
    """The matrix of which the tiles have the parts."""
    if tiles.n_tile == 1:
        return block[0]
    n = tiles.n_free
    return jnp.zeros((n + 1, n + 1)).at[tiles.line[:, :, None], tiles.line[:, None]].add(block)[:n, :n]


def _reached(pieces: Pieces, n_free: int, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every piece of a free line: its correction, and the first and last pixel that it may reach in any star."""
    slot, first, last = np.zeros((3, 0), int)
    over, half = grid.oversampling, grid.taps * grid.oversampling
    # at the largest velocity the kernel of the last pixel ends where the grid does; a point more for rounding
    moved = (grid.pad - grid.taps) * over + 1
    for free, start, width in _pieces(pieces, n_free):
        low = -(-(start - half - moved) // over) - grid.pad
        high = (start + width - 1 + half + moved) // over - grid.pad
        seen = (low < grid.n_pixel) & (high >= 0)
        slot, first, last = (np.append(a, b[seen]) for a, b in ((slot, free), (first, low), (last, high)))
    return slot, np.clip(first, 0, grid.n_pixel - 1), np.clip(last, 0, grid.n_pixel - 1)


def _pieces(pieces: Pieces, n_free: int) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Corrections and starts of the pieces of one shape, and their width."""

    def of_cores(cores: Cores) -> tuple[np.ndarray, np.ndarray, int]:
        free, start, half = (np.asarray(x).ravel() for x in (cores.lines.free, cores.start, cores.half))
        mine = (half >= 0) & (free < n_free)
        return free[mine], start[mine], cores.width

    yield from (of_cores(cores) for cores in pieces.free_cores)
    if pieces.wings is not None:
        wings = pieces.wings
        member = np.concatenate([np.asarray(wings.near), np.asarray(wings.far)], axis=1)
        free, counts = np.asarray(wings.lines.free)[member], np.asarray(wings.half)[member] >= 0
        start = np.broadcast_to(np.arange(len(member))[:, None] * wings.tile, member.shape)
        mine = counts & (free < n_free)
        yield free[mine], start[mine], wings.tile
