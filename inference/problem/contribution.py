"""The contract of a pass: what one spectrum adds to a fit, by how it is put together with what others add.

`linearise` makes a `Contribution`; whoever gathers them treats each part as a whole (`jax.tree.map`): `shared` is
summed over all spectra, `star` over the spectra of a star, `row` is kept, a row a spectrum, and `taken` goes into one
product. A new quantity is a field of one of the first three and its value in `linearise`; nothing between the two has
to know of it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from astrogf.inference.problem.arrow import Held


class SharedTerms(NamedTuple):
    """Summed over all spectra: the block of the corrections in the tiles of the problem (`problem.tiles`), the
    continuum not yet taken away; the precision of the survey's ln_sigma, that no line is coupled to; and the gradient
    of both, uphill in log posterior."""

    lines: Float[Held, "tile member member"]
    ln_sigma: Float[Held, ""]
    gradient: Float[Held, " shared"]


class StarTerms(NamedTuple):
    """Summed over the spectra of one star: the block of its own parameters, in units of `parameters.steps`.

    `gradient` points uphill in log posterior; `cross` couples to the shared parameters.
    """

    precision: Float[Held, "*row own own"]
    gradient: Float[Held, "*row own"]
    cross: Float[Held, "*row own shared"]


class Continuum(NamedTuple):
    """A spectrum's continuum coefficients once the rest is known: their own step is `constant` - `slope` @ (step of the
    star's own parameters and of the corrections), with `covariance`."""

    constant: Float[Held, "*row basis"]
    slope: Float[Held, "*row basis rest"]
    covariance: Float[Held, "*row basis basis"]


class Sight(NamedTuple):
    """How well a spectrum sees every line: the change of its flux at the line's centre a dex of log gf, in parts of the
    continuum, and the squared signal-to-noise a dex, all else held."""

    slope: Float[Held, "*row free"]
    information: Float[Held, "*row free"]


OPTIONAL = ("continuum", "sight")
"""What is kept of a spectrum only where it is asked for: it is as long as there are corrections."""


class RowTerms(NamedTuple):
    """Kept of every spectrum.

    `chi2` has the outlier weights, so that one cosmic ray does not speak for a star. `adjusted` is the model with the
    spectrum's own `deviation` of every line, `scatter` the sd (dex) that these deviations suggest, `determined` how
    many of them the pixels decide. `mismatch` is that of `miscomputed.mismatch`. Those of OPTIONAL are None where they
    were not asked for.
    """

    log_posterior: Float[Held, "*row"]
    chi2: Float[Held, "*row"]
    model: Float[Held, "*row pixel"]
    adjusted: Float[Held, "*row pixel"]
    coefficients: Float[Held, "*row basis"]
    continuum: Continuum | None
    deviation: Float[Held, "*row deviating"]
    scatter: Float[Held, "*row"]
    determined: Float[Held, "*row"]
    mismatch: Float[Held, "*row"]
    sight: Sight | None


class Contribution(NamedTuple):
    """What one spectrum adds (or, once gathered, what many did). `shared`: the block of the shared parameters
    (corrections, then the survey's ln_sigma); from its precision the continuum of every spectrum takes taken' taken
    away, which has as many rows as coefficients: many spectra's are taken away in one product."""

    shared: SharedTerms
    star: StarTerms
    row: RowTerms
    taken: Float[Held, "*row basis shared"]


def counted(contribution: Contribution, counts: Bool[Array, ""]) -> Contribution:
    """The same where the spectrum counts; else nothing to any sum, and the row as it is."""

    def masked(part):
        return jax.tree.map(lambda x: jnp.where(counts, x, 0.0), part)

    shared, star, row, taken = contribution
    return Contribution(masked(shared), masked(star), row, masked(taken))
