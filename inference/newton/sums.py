"""The sums of a pass over stars, in one matrix in place: what spectra add in tiles, and what is taken away by products.

What stars and continua take away is thin, a few rows a star, however many corrections there are: those of a whole
block of stars are one symmetric product of LAPACK's library, which adds to the lower triangle where it lies.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.linalg.blas import dsyrk

from astrogf.inference.prior.lapack import mirrored, threads_for
from astrogf.inference.problem.arrow import Reduced
from astrogf.inference.problem.contribution import SharedTerms
from astrogf.inference.problem.tiles import Tiles


class Sums(NamedTuple):
    """(A, b) so far, without the prior of what they are of: of A the lower triangle, in Fortran's order. Shared
    parameters are corrections, the survey's ln_sigma, and slopes of the corrections, if they are free."""

    precision: Float[np.ndarray, "shared shared"]
    gradient: Float[np.ndarray, " shared"]

    @classmethod
    def none(cls, n_shared: int) -> "Sums":
        """Of no spectrum."""
        return cls(np.zeros((n_shared, n_shared), order="F"), np.zeros(n_shared))

    def add(self, tiles: Tiles, terms: SharedTerms, n_used: int) -> None:
        """What spectra of a window add together, of the first `n_used` of the corrections that its problem has."""
        n_free, block = tiles.n_free, np.asarray(terms.lines)
        sloped = len(terms.gradient) > n_free + 1
        columns = shared_columns(n_free, n_used, sloped)
        self.precision[n_used, n_used] += float(terms.ln_sigma)
        self.gradient[:] += np.asarray(terms.gradient)[columns]
        for members, one in zip(np.asarray(tiles.line), block, strict=True):
            mine = np.flatnonzero(members < n_used)
            where = members[mine]
            if sloped:
                mine, where = np.append(mine, len(members) + mine), np.append(where, n_used + 1 + where)
            if tiles.n_tile == 1 and not sloped:
                # members are the corrections in their order, and the whole matrix is added more quickly by slices
                self.precision[:n_used, :n_used] += one[:n_used, :n_used]
            else:
                self.precision[np.ix_(where, where)] += one[np.ix_(mine, mine)]

    def take(self, thin: Float[np.ndarray, "row shared"]) -> None:
        """A less thin' thin."""
        rows = np.ascontiguousarray(thin)
        if not rows.size:
            return
        with threads_for(len(self.gradient)):
            left = dsyrk(-1.0, rows.T, beta=1.0, c=self.precision, lower=1, overwrite_c=1)
        assert left is self.precision or np.shares_memory(left, self.precision)

    def reduced(self) -> Reduced:
        """Both as they are, A symmetric, in the place of the sums."""
        # a symmetric matrix in Fortran's order is its transpose in C's
        return Reduced(mirrored(self.precision).T, self.gradient)  # type: ignore[arg-type]

    def unfinished(self) -> Reduced:
        """The same before all is added: of A the upper triangle is not defined."""
        return Reduced(self.precision, self.gradient)  # type: ignore[arg-type]


def shared_columns(n_free: int, n_used: int, sloped: bool) -> np.ndarray:
    """Of all shared parameters those that a pass has a use for: the first corrections, ln_sigma, their slopes."""
    columns = np.append(np.arange(n_used), n_free)
    return np.append(columns, n_free + 1 + np.arange(n_used)) if sloped else columns


def accumulated(total: Reduced | None, more: Reduced) -> Reduced:
    """A sum, in the first one's place."""
    if total is None:
        # what comes from elsewhere may be written to or not
        precision, gradient = (np.require(x, requirements="W") for x in more)
        return Reduced(precision, gradient)  # type: ignore[arg-type]
    np.add(total.precision, more.precision, out=total.precision)  # type: ignore[call-overload]
    np.add(total.gradient, more.gradient, out=total.gradient)  # type: ignore[call-overload]
    return total


def zero_terms(tiles: Tiles, sloped: bool) -> SharedTerms:
    """What no spectrum adds."""
    times = 2 if sloped else 1
    lines = jnp.zeros((tiles.n_tile, *[times * tiles.n_member] * 2))
    return SharedTerms(lines, jnp.zeros(()), jnp.zeros(times * tiles.n_free + 1))
