"""One spectrum under the model: what is predicted for it, and what is believed of its star."""

from dataclasses import replace
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from astrogf.inference.problem.instrument import Instrument
from astrogf.inference.problem.parameters import LN_SIGMA, STAR, VMIC, StarPrior, vmic_relation
from astrogf.inference.problem.tiles import Tiles
from astrogf.synthesis.lines.pieces import Pieces
from astrogf.synthesis.model import PARAMETERS, SpectrumModel

N_SPECTRUM = len(PARAMETERS)
"""Own parameters that every synthesis takes; broadening and velocity follow, then abundances."""


class StarData(NamedTuple):
    """Pixels of one spectrum (a leading `row` axis under vmap), flux scaled to a level near 1."""

    flux: Float[Array, "*row pixel"]
    ivar: Float[Array, "*row pixel"]


class StarProblem(eqx.Module):
    """Everything that is the same for all spectra of one window.

    There are `n_free` corrections. What moves lines has a slot each: first the corrections, then what lines without one
    share. `slot` says which one moves each line, the number of slots for none, and `pieces` holds those that are moved.
    `membership[slot, element]` is the number of atoms of each abundance that is free in the lines of a slot. `atoms`
    and `rest` are what it is made of: the atoms in the carrier of every line, and the slot (after `n_free`) of the
    lines like it, -1 for none. `scattered`: each spectrum has its own deviation of every corrected line, with the sd
    that its noise model gives. `tiles`: which corrections reach which pixels. `instrument`: how the window's
    spectrograph sees it. `steepness`: what every slot changes by with the star's temperature, dex a K away from
    `steady_at` (K), where lines do so. `n_told`: abundances that the spectrum is told as it is told the labels; the
    exact model is told none, for it sees them in what they move lines by.
    """

    spectrum: SpectrumModel
    pieces: Pieces
    slot: Int[Array, " line"]
    basis: Float[Array, "pixel basis"]
    coefficient_sd: Float[Array, " basis"]
    membership: Float[Array, "slot element"]
    atoms: Float[Array, "line element"]
    rest: Int[Array, " line"]
    n_free: int = eqx.field(static=True)
    tiles: Tiles
    wall: float
    instrument: Instrument
    scattered: bool = eqx.field(static=True, default=False)
    steepness: Float[Array, " slot"] | None = None
    steady_at: float = eqx.field(static=True, default=0.0)
    n_told: int = eqx.field(static=True, default=0)

    def told(self, theta: Float[Array, "*row own"]) -> Float[Array, "*row told"]:
        """Those of a star's own parameters that the spectrum is made of."""
        labels, first = theta[..., :N_SPECTRUM], len(STAR)
        if not self.n_told:
            return labels
        return jnp.concatenate([labels, theta[..., first : first + self.n_told]], -1)

    @property
    def n_deviating(self) -> int:
        """Number of lines that deviate in each spectrum."""
        return self.n_free if self.scattered else 0

    def margin(self, labels: Float[Array, "4"]) -> Float[Array, ""]:
        """Signed distance to the emulator's domain, positive inside."""
        return self.spectrum.atmosphere.margin(labels)

    @property
    def n_slot(self) -> int:
        """Number of slots."""
        return self.membership.shape[0]

    def by_slot(self, theta: Float[Array, " own"], delta: Float[Array | np.ndarray, " free"]) -> Float[Array, " slot"]:
        """Change of log (gf x abundance) of every slot, dex, of a star with abundances and a temperature."""
        abundances = theta[len(STAR) :][: self.membership.shape[1]]
        change = jnp.append(delta, jnp.zeros(self.n_slot - self.n_free)) + self.membership @ abundances
        return change if self.steepness is None else change + (theta[0] - self.steady_at) * self.steepness

    def shift(self, theta: Float[Array, " own"], delta: Float[Array, " free"]) -> Float[Array, " line"]:
        """The same of every line."""
        return jnp.append(self.by_slot(theta, delta), 0.0)[self.slot]

    def changing(self, steepness: Float[np.ndarray, " few"], steady_at: float) -> "StarProblem":
        """The same with corrections that change with temperature: by so much, dex/K, away from `steady_at` (K); of the
        first corrections, the others do not."""
        by_slot = jnp.append(jnp.asarray(steepness), jnp.zeros(self.n_slot - len(steepness)))
        by_line = jnp.append(by_slot, 0.0)[self.slot]
        spectrum = replace(self.spectrum, by_teff=by_line)
        return replace(self, spectrum=spectrum, steepness=by_slot, steady_at=steady_at)


def chebyshev_basis(n_pixel: int, degree: int) -> Float[np.ndarray, "pixel basis"]:
    """Chebyshev polynomials 0..degree over the window."""
    return np.polynomial.chebyshev.chebvander(np.linspace(-1.0, 1.0, n_pixel), degree)


def predict(problem: StarProblem, theta: Float[Array, " own"], delta: Float[Array, " free"]) -> Float[Array, " pixel"]:
    """Normalised spectrum in the survey's pixels."""
    flux = problem.spectrum.normalised(problem.told(theta), problem.shift(theta, delta))
    return problem.instrument.see(flux, problem.instrument.at(theta), problem.spectrum.grid)


def prior_residuals(
    problem: StarProblem, prior: StarPrior, theta: Float[Array, " own"], ln_sigma0: Float[Array, ""]
) -> Float[Array, " belief"]:
    """Residuals (value / sd) of a star's priors and wall, whose squares sum to -2 log prior.

    vmic is tied to the relation of its labels, ln_sigma to the survey's shared value, except where the prior says
    otherwise.
    """
    vmic = jnp.where(prior.follows_vmic > 0, vmic_relation(theta[0], theta[1]), prior.mean[VMIC])
    ln_sigma = jnp.where(prior.follows_survey > 0, ln_sigma0, prior.mean[LN_SIGMA])
    mean = prior.mean.at[VMIC].set(vmic).at[LN_SIGMA].set(ln_sigma)
    outside = jnp.maximum(-problem.margin(theta[:4]), 0.0) / problem.wall
    return jnp.concatenate([(theta - mean) / prior.sd, outside[None]])
