"""What a pass leaves: sums, a few numbers a star, and on the shelf what is kept of every block of stars."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from astrogf.inference.blocks.shelf import InMemory, Kept
from astrogf.inference.newton.drift import covariance_with_slopes, with_slopes
from astrogf.inference.problem.arrow import Eliminated, Reduced, own_covariance, substitute
from astrogf.inference.problem.contribution import RowTerms
from astrogf.inference.problem.spectra import Sample


class Terms(NamedTuple):
    """What is kept of a block of stars, as numpy arrays: their eliminated blocks, and window by window what is kept of
    each spectrum (None for a window in which they have none), with its row in the window.

    The slopes of the stars are in single precision: they take a step of the shared parameters to one of the stars, or
    an error to an error.
    """

    star: Eliminated
    rows: tuple[RowTerms | None, ...]
    of: tuple[Int[np.ndarray, " row"], ...]

    @classmethod
    def kept_of(cls, star: Eliminated, rows: Sequence[RowTerms | None], of: Sequence[np.ndarray]) -> "Terms":
        """From what a pass computes."""
        constant, slope, covariance = (np.asarray(x) for x in star)
        return cls(Eliminated(constant, slope.astype(np.float32), covariance), tuple(rows), tuple(of))

    @property
    def own_sd(self) -> Float[np.ndarray, "star own"]:
        """As in `Pass`."""
        return np.sqrt(np.abs(np.diagonal(self.star.covariance, 0, 1, 2)))

    @property
    def scatter(self) -> Float[np.ndarray, " row"]:
        """As in `Pass`."""
        return np.concatenate([np.asarray(row.scatter) for row in self.rows if row is not None])


class Pass(NamedTuple):
    """What a pass leaves: the reduced shared system; of each star its quality of fit (summed over its spectra) and the
    sd of its parameters in units of `parameters.steps` (shared held fixed); of each spectrum, in no order, the scatter
    that its deviations suggest; the `Terms` of every block of the sample; and the slopes of the lines with temperature
    (`drift`), where they are free, given the shared parameters. The stars' terms then are of both.

    `star` and `rows` put all blocks together, which only small problems have the memory for.
    """

    reduced: Reduced
    log_posterior: Float[np.ndarray, " star"]
    chi2: Float[np.ndarray, " star"]
    own_sd: Float[np.ndarray, "star own"]
    scatter: Float[np.ndarray, " row"]
    blocks: tuple[Kept, ...]
    drift: Eliminated | None = None

    @classmethod
    def of_one(cls, reduced: Reduced, terms: Terms, log_posterior: np.ndarray, chi2: np.ndarray) -> "Pass":
        """Of stars that are one block, in memory."""
        return cls(reduced, log_posterior, chi2, terms.own_sd, terms.scatter, (InMemory(terms),))

    def terms(self) -> Iterator[Terms]:
        """Block by block."""
        return (block.get() for block in self.blocks)

    def own_step(self, shared_step: Float[Array | np.ndarray, " shared"]) -> Float[np.ndarray, "star own"]:
        """The step of every star, in `parameters.steps`, once that of the shared parameters is known."""
        step = np.asarray(shared_step)
        step = step if self.drift is None else with_slopes(self.drift, step)
        return np.concatenate([np.asarray(substitute(t.star, step)) for t in self.terms()])

    def slope_step(self, shared_step: Float[Array | np.ndarray, " shared"]) -> Float[np.ndarray, " line"]:
        """The step of the free slopes, once that of the shared parameters is known."""
        assert self.drift is not None
        return np.asarray(substitute(self.drift, np.asarray(shared_step)))

    def whole_covariance(
        self, shared_covariance: Float[Array | np.ndarray, "shared shared"]
    ) -> Float[np.ndarray, "whole whole"]:
        """Of the shared parameters, and of the free slopes after them."""
        shared = np.asarray(shared_covariance)
        return shared if self.drift is None else covariance_with_slopes(self.drift, shared)

    def own_covariance(
        self, shared_covariance: Float[Array | np.ndarray, "shared shared"]
    ) -> Float[np.ndarray, "star own own"]:
        """Marginal covariance of every star's parameters, the shared ones' uncertainty included."""
        shared = self.whole_covariance(shared_covariance)
        return np.concatenate([np.asarray(own_covariance(t.star, shared)) for t in self.terms()])

    def keeping(self, sample: Sample, better: Bool[np.ndarray, " star"], before: "Pass") -> "Pass":
        """Stars where `better`, and their spectra, from this pass, the others from the one `before`; sums from this."""
        blocks = []
        for part, new, old in zip(sample.parts, self.blocks, before.blocks, strict=True):
            mine = better[part.stars]
            if mine.all() or not mine.any():
                blocks.append(new if mine.all() else old)
                continue
            ours, theirs = new.get(), old.get()
            star = jax.tree.map(partial(_picked, mine), ours.star, theirs.star)
            of_rows = [mine[w.star[i] - part.stars.start] for w, i in zip(sample.windows, part.rows, strict=True)]
            rows = [
                x if x is None else jax.tree.map(partial(_picked, of), x, y)
                for of, x, y in zip(of_rows, ours.rows, theirs.rows, strict=True)
            ]
            blocks.append(sample.work.shelf.put(Terms(star, tuple(rows), ours.of)))
        return self._replace(
            log_posterior=_picked(better, self.log_posterior, before.log_posterior),
            chi2=_picked(better, self.chi2, before.chi2),
            own_sd=_picked(better, self.own_sd, before.own_sd),
            blocks=tuple(blocks),
        )

    @property
    def star(self) -> Eliminated:
        """The blocks of all stars at once."""
        return jax.tree.map(lambda *x: jnp.asarray(np.concatenate(x)), *(t.star for t in self.terms()))

    @property
    def rows(self) -> tuple[RowTerms, ...]:
        """What is kept of all spectra at once, window by window, in the order of their rows."""
        whole = list(self.terms())
        return tuple(self._window(whole, k) for k in range(len(whole[0].rows)))

    @staticmethod
    def _window(whole: list[Terms], k: int) -> RowTerms:
        order = np.argsort(np.concatenate([t.of[k] for t in whole]), kind="stable")
        return jax.tree.map(lambda *x: np.concatenate(x)[order], *(t.rows[k] for t in whole if t.rows[k] is not None))


def _picked(mine: np.ndarray, new: np.ndarray, old: np.ndarray) -> np.ndarray:
    return np.where(mine.reshape(-1, *[1] * (np.ndim(new) - 1)), new, old)
