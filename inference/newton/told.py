"""What other spectra have said of the shared parameters: a quadratic that a joint fit takes along.

Another fit's stars are eliminated already; what they say of the corrections that both have is b'(x - p) - (x - p)'A(x -
p) / 2 about that fit's end p, its priors excluded. It adds to what the spectra at hand say, and one prior of the lines,
whose widths are learned from both, goes on the sum. A correction is what the spectra see of a line (u of `widths`), and
that is the same at every resolution.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from astrogf.inference.prior.blends import Blends
from astrogf.inference.problem.arrow import Reduced


class Told(NamedTuple):
    """(A, b) about `point`; zero in what the other spectra know nothing of. `blends` of the lines, if they have any.
    `slopes`: the same of the shared parameters followed by the lines' slopes with temperature (`drift`), if these were
    free; else, and in (A, b) itself, they are marginalised."""

    precision: Float[np.ndarray, "shared shared"]
    gradient: Float[np.ndarray, " shared"]
    point: Float[np.ndarray, " shared"]
    blends: Blends | None = None
    slopes: "Told | None" = None

    def with_these(self, reduced: Reduced, shared: Float[np.ndarray, " shared"]) -> Reduced:
        """The spectra at hand, linearised at `shared`, and the others."""
        off = np.asarray(shared) - self.point
        return Reduced(reduced.precision + self.precision, reduced.gradient + (self.gradient - self.precision @ off))

    def log_likelihood(self, shared: Float[np.ndarray, " shared"]) -> float:
        """Of the other spectra, up to a constant."""
        off = np.asarray(shared) - self.point
        return float(self.gradient @ off - 0.5 * off @ self.precision @ off)
