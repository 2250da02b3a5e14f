"""Lines taken apart: what the spectra say of them, as measurements of one line each.

Blended lines, and lines that lean on the same labels, are measured together: A is no diagonal, and to sum over what is
not known of one line the others have to be held. Noise that is added to what the spectra say undoes that (Marnissi et
al. 2018, "An auxiliary variable method for Markov chain Monte Carlo algorithms in high dimension", Entropy 20, 110).
With a diagonal D, nowhere less than A, and

    y | x ~ Normal((D - A) x, D - A)

the lines x have, given y, the likelihood exp((b + y)'x - x'D x / 2): each is measured apart from the others, as
(b + y) / D with variance 1 / D. Drawing y, then something else given y with x summed over, then x by (A, b) alone,
samples the posterior itself. The price is that D is more than A: the noise does not make up for all that a line was
measured with.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigvalsh
from scipy.sparse.linalg import eigsh

from astrogf.inference.prior.conditional import System
from astrogf.inference.prior.lapack import cleared, factored

LEAST = 0.1
"""dex^-2: what every line is measured with beyond what the spectra say; the list knows a line far better."""
BEYOND = 1.02
"""D beyond the least that is possible, so that D - A has a factor."""
FEW = 100
"""Rows of a matrix whose eigenvalues may as well all be computed."""


class Apart(NamedTuple):
    """The diagonal of D, and the lower factor of D - A."""

    precision: Float[np.ndarray, " line"]
    factor: Float[np.ndarray, "line line"]

    @classmethod
    def of(cls, system: System, sd: Float[np.ndarray, " line"]) -> "Apart":
        """Of the lines of a system, where `sd` is what is believed of a line (dex).

        Lines that the spectra know well beside that may as well be held, so that D is far above A there, for the sake
        of the others.
        """
        n = len(system.member)
        a = system.precision[:n, :n]
        known = np.maximum(np.diagonal(a), 0.0)
        shape = known * (1.0 + known * sd**2) + LEAST
        # the same place serves for both matrices
        left = np.array(a, order="F")
        left[np.arange(n), np.arange(n)] += LEAST
        left /= np.sqrt(shape)
        left /= np.sqrt(shape)[:, None]
        precision = BEYOND * _largest(left) * shape
        np.negative(a, out=left)
        left[np.arange(n), np.arange(n)] += precision
        return cls(precision, cleared(factored(left)))

    def measured(
        self, rng: np.random.Generator, system: System, step: Float[np.ndarray, " all"]
    ) -> tuple[Float[np.ndarray, " line"], Float[np.ndarray, " line"]]:
        """u - m of every line as it is measured apart, and the variance of that, from a draw of y given all lines,
        the other shared parameters and the means."""
        n = len(self.precision)
        noise = self.factor @ rng.normal(size=n)
        # (b - A x + noise) / D is how far the measurement lies from x
        pull = system.gradient[:n] - system.precision[:n] @ step + noise
        return system.from_mean(step) + pull / self.precision, 1.0 / self.precision


def _largest(matrix: Float[np.ndarray, "n n"]) -> float:
    """Eigenvalue of a symmetric matrix, to a thousandth."""
    n = len(matrix)
    if n < FEW:
        return float(eigvalsh(matrix)[-1])
    return float(eigsh(matrix, k=1, which="LA", v0=np.ones(n), tol=1e-3, return_eigenvectors=False)[0])
