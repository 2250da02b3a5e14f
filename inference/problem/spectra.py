"""The spectra of a fit: window by window, a row a spectrum, and which star a row belongs to; in blocks of stars."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from astrogf.inference.blocks.shelf import InMemory, Kept
from astrogf.inference.blocks.work import IN_MEMORY, Work
from astrogf.inference.problem.noise import NoiseModel
from astrogf.inference.problem.parameters import StarPrior
from astrogf.inference.problem.problem import StarData, StarProblem


@dataclass(frozen=True)
class WindowSpectra:
    """All spectra of one window (and kind): one compiled program.

    `star` says whose each row is, `release` whose noise it has. In a sample that was cut the data lie on the shelf, and
    `pixels` says how many usable ones each row has.

    `scatter` is the sd of a spectrum's own deviations of lines where it is known, nan where it is the run's.
    """

    problem: StarProblem
    data: StarData
    star: Int[np.ndarray, " row"]
    release: Int[np.ndarray, " row"]
    scatter: Float[np.ndarray, " row"] | None = None
    pixels: Int[np.ndarray, " row"] | None = None

    @property
    def n_pixel(self) -> Int[np.ndarray, " row"]:
        """Usable pixels of every row."""
        return usable(self.data) if self.pixels is None else self.pixels

    def select(self, rows: np.ndarray, number: Int[np.ndarray, " star"]) -> "WindowSpectra":
        """The rows where `rows` (boolean or indices) says so, their stars renumbered by `number`."""
        scatter, pixels = (None if x is None else x[rows] for x in (self.scatter, self.pixels))
        data = self.data if self.pixels is not None else taken(self.data, rows)
        return replace(
            self, data=data, star=number[self.star[rows]], release=self.release[rows], scatter=scatter, pixels=pixels
        )


ELSEWHERE = StarData(np.zeros((0, 0)), np.zeros((0, 0)))  # type: ignore[arg-type]
"""The data of a window whose spectra lie on the shelf."""


def usable(data: StarData) -> Int[np.ndarray, " row"]:
    """Usable pixels of every row."""
    return np.asarray((data.ivar > 0).sum(1)).astype(int)


def taken(data: StarData, rows: np.ndarray) -> StarData:
    """Some of the rows."""
    return StarData(*(x[rows] for x in data))


class Part(NamedTuple):
    """A block of a sample: which stars it has, and the rows of every window that are theirs; its data, a `StarData` a
    window."""

    stars: slice
    rows: tuple[Int[np.ndarray, " row"], ...]
    data: Kept

    @property
    def n_row(self) -> int:
        """Spectra."""
        return sum(len(rows) for rows in self.rows)


class Cut(NamedTuple):
    """How a sample is cut: the stars of every block, and their data."""

    sizes: tuple[int, ...]
    data: tuple[Kept, ...]


@dataclass(frozen=True)
class Sample:
    """The stars of a fit and their spectra. A star may have one spectrum in each window.

    It is computed as `work` says. One that was `cut` is in memory only block by block.
    """

    windows: tuple[WindowSpectra, ...]
    prior: StarPrior
    work: Work = IN_MEMORY
    cut: Cut | None = None

    @property
    def n_star(self) -> int:
        """Number of stars."""
        return self.prior.mean.shape[0]

    @property
    def n_own(self) -> int:
        """Own parameters of a star."""
        return self.prior.mean.shape[1]

    @property
    def share(self) -> Float[np.ndarray, " star"]:
        """1 / (number of spectra) of every star: the part of its prior that each of them carries."""
        count = sum(np.bincount(p.star, minlength=self.n_star) for p in self.windows)
        return 1.0 / np.maximum(count, 1)

    @property
    def n_pixel(self) -> Int[np.ndarray, " star"]:
        """Usable pixels of every star."""
        return self.total([p.n_pixel for p in self.windows]).astype(int)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The blocks, one after the other; all stars as one block where the sample was not cut."""
        cut = self.cut or Cut((self.n_star,), (InMemory(tuple(w.data for w in self.windows)),))
        edges = np.cumsum((0, *cut.sizes))
        by_star = [rows_between(w.star, edges) for w in self.windows]
        return tuple(
            Part(slice(int(edges[i]), int(edges[i + 1])), tuple(rows[i] for rows in by_star), data)
            for i, data in enumerate(cut.data)
        )

    def part(self, part: Part) -> "Sample":
        """The stars of a block, in memory."""
        number = np.arange(self.n_star) - part.stars.start
        windows = tuple(
            replace(w.select(rows, number), data=data, pixels=None)
            for w, rows, data in zip(self.windows, part.rows, part.data.get(), strict=True)
        )
        return Sample(windows, StarPrior(*(x[part.stars] for x in self.prior)), self.work)

    def total(self, rows: list) -> Float[np.ndarray, " star"]:
        """Sum over its spectra of a quantity given for the rows of every window."""
        out = np.zeros(self.n_star)
        for window, values in zip(self.windows, rows, strict=True):
            np.add.at(out, window.star, np.asarray(values))
        return out

    def side_by_side(self, rows: list[np.ndarray], empty: float) -> Float[np.ndarray, "star pixel"]:
        """Arrays of every window's rows as one, windows after each other; `empty` where a star has no spectrum."""
        parts = []
        for window, values in zip(self.windows, rows, strict=True):
            part = np.full((self.n_star, values.shape[1]), empty)
            part[window.star] = values
            parts.append(part)
        return np.concatenate(parts, axis=1)

    def select(self, keep: Bool[np.ndarray, " star"]) -> "Sample":
        """The stars where `keep` says so, with all their spectra."""
        number = np.cumsum(keep) - 1
        prior = StarPrior(*(jnp.asarray(x)[keep] for x in self.prior))
        windows = tuple(p.select(keep[p.star], number) for p in self.windows)
        return Sample(windows, prior, self.work, self.cut and self._cut_to(keep))

    def _cut_to(self, keep: Bool[np.ndarray, " star"]) -> Cut:
        sizes, data = [], []
        for part in self.parts:
            mine = keep[part.stars]
            if not mine.any():
                continue
            sizes.append(int(mine.sum()))
            if mine.all():
                data.append(part.data)
                continue
            kept = [keep[w.star[rows]] for w, rows in zip(self.windows, part.rows, strict=True)]
            some = tuple(taken(d, k) for d, k in zip(part.data.get(), kept, strict=True))
            data.append(self.work.shelf.put(some, lasting=True))
        return Cut(tuple(sizes), tuple(data))

    def with_problems(self, problems: list[StarProblem]) -> "Sample":
        """The same spectra under other problems (the same windows, other free lines)."""
        return replace(self, windows=tuple(replace(p, problem=q) for p, q in zip(self.windows, problems, strict=True)))


def rows_between(star: Int[np.ndarray, " row"], edges: Int[np.ndarray, " edge"]) -> list[Int[np.ndarray, " mine"]]:
    """Rows whose stars lie between one edge and the next, in their order, for every pair of edges."""
    order = np.argsort(star, kind="stable")
    at = np.searchsorted(star[order], edges)
    return [np.sort(order[a:b]) for a, b in pairwise(at)]


def in_blocks(
    windows: Sequence[WindowSpectra],
    prior: StarPrior,
    work: Work,
    data: Callable[[int, Int[np.ndarray, " row"]], StarData],
) -> Sample:
    """A sample that is cut into the blocks of `work`: `data`(window, rows) gives the spectra, a block at a time, and
    those of the windows are not looked at."""
    n_star = len(prior.mean)
    size = n_star if work.block is None else work.block
    edges = np.append(np.arange(0, n_star, size), n_star)
    by_star = [rows_between(w.star, edges) for w in windows]
    pixels = [np.zeros(len(w.star), int) for w in windows]
    kept = []
    for i in range(len(edges) - 1):
        mine = tuple(data(k, rows[i]) for k, rows in enumerate(by_star))
        for count, rows, one in zip(pixels, by_star, mine, strict=True):
            count[rows[i]] = usable(one)
        kept.append(work.shelf.put(mine, lasting=True))
    there = tuple(replace(w, data=ELSEWHERE, pixels=n) for w, n in zip(windows, pixels, strict=True))
    return Sample(there, prior, work, Cut(tuple(int(n) for n in np.diff(edges)), tuple(kept)))


Noise = tuple[NoiseModel, ...]
"""The noise of every window's rows."""


def quiet(sample: Sample, inflation: float = 0.0, scatter: float = 0.0) -> Noise:
    """The surveys' own errors, plus a share of the level; `scatter` (dex) of a spectrum's own lines. `local` is one
    number a row, for all its pixels."""

    def rows(window: WindowSpectra, value: float) -> Float[Array, " row"]:
        return jnp.full(len(window.star), value)

    return tuple(
        NoiseModel(
            rows(p, 1.0), rows(p, inflation), jnp.asarray(known_scatter(p, np.full(len(p.star), scatter))),
            jnp.ones((len(p.star), 1)),
        )
        for p in sample.windows
    )  # fmt: skip


def known_scatter(window: WindowSpectra, otherwise: Float[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
    """The scatter of every row: what is known of it, else the run's (nothing where the problem has none)."""
    if window.scatter is None or not window.problem.scattered:
        return otherwise
    return np.where(np.isfinite(window.scatter), window.scatter, otherwise)


def margins(sample: Sample, theta: Float[Array, "star own"]) -> Float[np.ndarray, " star"]:
    """Signed distance of every star to the emulator's domain."""
    return np.asarray(jax.vmap(sample.windows[0].problem.margin)(theta[:, :4]))
