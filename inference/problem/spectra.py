"""The spectra of a fit: window by window, a row a spectrum, and which star a row belongs to."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from astrogf.inference.problem.noise import NoiseModel
from astrogf.inference.problem.parameters import StarPrior
from astrogf.inference.problem.problem import StarData, StarProblem


@dataclass(frozen=True)
class WindowSpectra:
    """All spectra of one window (and kind): one compiled program.

    `star` says whose each row is, `release` whose noise it has.

    `scatter` is the sd of a spectrum's own deviations of lines where it is known, nan where it is the run's.
    """

    problem: StarProblem
    data: StarData
    star: Int[np.ndarray, " row"]
    release: Int[np.ndarray, " row"]
    scatter: Float[np.ndarray, " row"] | None = None

    def select(self, rows: Bool[np.ndarray, " row"], number: Int[np.ndarray, " star"]) -> "WindowSpectra":
        """The rows where `rows` says so, their stars renumbered by `number`."""
        data = StarData(*(x[rows] for x in self.data))
        scatter = None if self.scatter is None else self.scatter[rows]
        return replace(self, data=data, star=number[self.star[rows]], release=self.release[rows], scatter=scatter)


@dataclass(frozen=True)
class Sample:
    """The stars of a fit and their spectra. A star may have one spectrum in each window."""

    windows: tuple[WindowSpectra, ...]
    prior: StarPrior

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
        return self.total([np.asarray((p.data.ivar > 0).sum(1)) for p in self.windows]).astype(int)

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
        return Sample(tuple(p.select(keep[p.star], number) for p in self.windows), prior)

    def with_problems(self, problems: list[StarProblem]) -> "Sample":
        """The same spectra under other problems (the same windows, other free lines)."""
        return Sample(tuple(replace(p, problem=q) for p, q in zip(self.windows, problems, strict=True)), self.prior)


Noise = tuple[NoiseModel, ...]
"""The noise of every window's rows."""


def quiet(sample: Sample, inflation: float = 0.0, scatter: float = 0.0) -> Noise:
    """The surveys' own errors, plus a share of the level; `scatter` (dex) of a spectrum's own lines."""

    def rows(window: WindowSpectra, value: float) -> Float[Array, " row"]:
        return jnp.full(len(window.star), value)

    return tuple(
        NoiseModel(
            rows(p, 1.0), rows(p, inflation), jnp.asarray(known_scatter(p, np.full(len(p.star), scatter))),
            jnp.ones_like(p.data.flux),
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
