"""Spectra on few points: broadened in advance by less than any spectrograph does, which leaves the rest to be done.

Two Gaussians one after the other are one Gaussian, so a spectrum that has been broadened by `sigma0` and is then seen
with sqrt(sigma^2 - sigma0^2) is the spectrum seen with sigma. Broadened, it has no detail that a few points a pixel do
not hold: sampled at `Coarse.DETAIL` radians of sigma0 a step, what is lost is below 1e-5 of a line's depth.
"""

import functools
from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf
from jaxtyping import Array, Float

from astrogf.base.constants import C_KMS
from astrogf.inference.problem.instrument import Instrument
from astrogf.synthesis.observed.broadening import broaden
from astrogf.synthesis.observed.grid import Grid

SHARE = 0.6
"""sigma0 as a part of the survey's own sigma: a star's may be down to that."""
DETAIL = 5.0
"""pi sigma0 / step of the points, at least: exp(-DETAIL^2 / 2) = 4e-6 is what is left of a line's highest frequency."""


@dataclass(frozen=True)
class Coarse:
    """Where spectra are kept: `grid` has every `ratio`-th point of the fine one; `sigma0` in km/s."""

    fine: Grid
    grid: Grid
    sigma0: float

    @classmethod
    def under(cls, fine: Grid, ln_sigma: float) -> "Coarse":
        """For a survey whose line-spread function has this ln sigma (km/s)."""
        sigma0 = SHARE * float(np.exp(ln_sigma))
        pixel = fine.velocity_step * fine.oversampling
        divisors = [n for n in range(1, fine.oversampling + 1) if fine.oversampling % n == 0]
        enough = [n for n in divisors if np.pi * sigma0 * n / pixel >= DETAIL]
        return cls(fine, replace(fine, oversampling=(enough or divisors[-1:])[0]), sigma0)

    @property
    def ratio(self) -> int:
        """Points of the fine grid to a point of the coarse one."""
        return self.fine.oversampling // self.grid.oversampling

    def coarsen(self, columns: Float[Array, "wave column"]) -> Float[Array, "point column"]:
        """Spectra (or their derivatives) on the fine grid, broadened by sigma0, on the coarse one."""

        def one(column: Float[Array, " wave"]) -> Float[Array, " point"]:
            return broaden(column, self.fine.velocity_step, sigma=self.sigma0)[:: self.ratio]

        return jax.vmap(one, 1, 1)(columns)


def observe_coarse(
    flux: Float[Array, " point"], rv: Float[Array, ""], sigma: Float[Array, ""], grid: Grid
) -> Float[Array, " pixel"]:
    """As `synthesis.observed.instrument.observe`, quick where there are few points and many stars at once."""
    over, step = grid.oversampling, grid.velocity_step
    shift = jnp.log1p(rv / C_KMS) * C_KMS / step
    whole = jax.lax.stop_gradient(jnp.rint(shift)).astype(int)
    half = grid.taps * over
    edges = (np.arange(-half, half + 1 + over) - 0.5 * over + shift - whole) * step
    below = erf(edges / (np.sqrt(2.0) * sigma))
    taps = below[over:] - below[:-over]
    # by pixel and place in the pixel: every pixel then sees its neighbours through the same few numbers
    taps = jnp.pad(taps / jnp.sum(taps), (0, over - 1)).reshape(-1, over)
    length = (grid.n_pixel + 2 * grid.taps) * over
    first = jnp.clip(grid.pad * over - half - whole, 0, grid.size - length)
    strip = jax.lax.dynamic_slice_in_dim(flux, first, length).reshape(-1, over)
    seen = [strip[j : j + grid.n_pixel] @ taps[j] for j in range(2 * grid.taps + 1)]
    return functools.reduce(jnp.add, seen)


class CoarseInstrument(Instrument):
    """The instrument of a window for spectra that have been broadened by `sigma0` (km/s) before."""

    sigma0: float = eqx.field(static=True, default=0.0)

    @classmethod
    def of(cls, instrument: Instrument, sigma0: float) -> "CoarseInstrument":
        """The same place and nodes."""
        return cls(instrument.place, instrument.weight, sigma0)

    def see(self, flux: Float[Array, " point"], place: Float[Array, " place"], grid: Grid) -> Float[Array, " pixel"]:
        """The spectrum in the survey's pixels."""

        def rest(ln_sigma: Float[Array, ""]) -> Float[Array, ""]:
            # below sigma0 nothing is left to broaden; the root is kept away from its singular point
            square = jnp.exp(2.0 * ln_sigma) - self.sigma0**2
            return jnp.sqrt(jnp.maximum(square, (0.05 * self.sigma0) ** 2))

        seen = [observe_coarse(flux, place[0], rest(ln_sigma), grid) for ln_sigma in place[1:]]
        return seen[0] if len(seen) == 1 else sum(w * one for w, one in zip(self.weight.T, seen, strict=True))
