"""Wavelengths at which the model is wrong for all stars at once: a missing line, a blend, the wings of a strong line.

A spectrum's own noise tells nothing of it, and its inflation is the mean over a window; but the residuals of all stars
stacked at rest show it. Where they exceed their noise the variance of every star is multiplied by the factor that the
stack asks for: an error that stars share is then not averaged away over them, nor over the pixels of a resolution
element. What one spectrum alone has (a cosmic ray, a line of the Earth's atmosphere) is an outlier of its own and no
word about the others: of the row that stands out most at a wavelength so much counts as its distance from the others'
mean leaves of it in the mixture of `problem.noise`. What free lines have taken up of the model's error leaves no
residual: beside the wrong place errors stay too small (docs/explanation/statistics.md), but the harm no longer spreads
to labels and to other lines.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from astropy.table import Table
from jaxtyping import Array, Float, Int

from astrogf.base.constants import C_KMS, FWHM_PER_SIGMA
from astrogf.inference.newton.passed import Pass
from astrogf.inference.problem.noise import RAISED, AtRest, NoiseModel, as_numpy, variances
from astrogf.inference.problem.noise import weight as outlier_weight
from astrogf.inference.problem.parameters import LN_SIGMA, RV
from astrogf.inference.problem.problem import StarData
from astrogf.inference.problem.spectra import Noise, Sample, WindowSpectra

SHARE = 0.05
"""A resolution element is one where the model is wrong with this prior probability."""
FACTORS = np.geomspace(1.3, 1e4, 60)
"""By how much the variance of the stack then exceeds its noise, each as probable as the next."""


AT_ONCE = 256
"""Spectra whose factors are written out at once."""


class Stack(NamedTuple):
    """Sums over rows on rest pixels: inverse variances, and residuals weighted with them; and of the row that stands
    out most there its inverse variance and its residual."""

    weight: Float[np.ndarray, " rest"]
    total: Float[np.ndarray, " rest"]
    one_weight: Float[np.ndarray, " rest"]
    one: Float[np.ndarray, " rest"]

    @classmethod
    def empty(cls, n_rest: int) -> "Stack":
        """No rows."""
        return cls(*(np.zeros(n_rest) for _ in range(4)))

    def add(
        self,
        residual: Float[np.ndarray, "row pixel"],
        inverse: Float[np.ndarray, "row pixel"],
        first: Int[np.ndarray, " row"],
    ) -> None:
        """Rows, whose pixel 0 is the rest pixel `first`."""
        for r, begin in enumerate(first):
            mine = slice(begin, begin + residual.shape[1])
            self.weight[mine] += inverse[r]
            self.total[mine] += inverse[r] * residual[r]
            more = inverse[r] * residual[r] ** 2 > self.one_weight[mine] * self.one[mine] ** 2
            self.one_weight[mine] = np.where(more, inverse[r], self.one_weight[mine])
            self.one[mine] = np.where(more, residual[r], self.one[mine])

    @property
    def z(self) -> Float[np.ndarray, " rest"]:
        """Weighted mean in units of its error; nan where no row has a pixel."""
        others = self.weight - self.one_weight
        # a row by itself has nothing to be compared with
        compared = (self.one_weight > 0.0) & (others > 1e-9 * self.weight)
        there, one_weight = (np.where(compared, x, 1.0) for x in (others, self.one_weight))
        apart = self.one - (self.total - self.one_weight * self.one) / there
        var = 1.0 / one_weight + 1.0 / there
        left = 1.0 - np.where(compared, np.asarray(outlier_weight(jnp.asarray(apart), jnp.asarray(var))) * var, 1.0)
        weight, total = self.weight - left * self.one_weight, self.total - left * self.one_weight * self.one
        return total / np.sqrt(np.where(weight > 0.0, weight, np.nan))


def stack(
    residual: Float[np.ndarray, "row pixel"], inverse: Float[np.ndarray, "row pixel"], shift: Int[np.ndarray, " row"]
) -> Float[np.ndarray, " rest"]:
    """`Stack.z` of residuals, on rest pixels; pixel i of a row is rest pixel i - `shift`.

    `inverse` variance, 0 where a pixel does not count. The first rest pixel is pixel 0 of the largest shift; nan where
    no row has a pixel.
    """
    first = shift.max() - shift
    sums = Stack.empty(residual.shape[1] + first.max())
    sums.add(residual, inverse, first)
    return sums.z


def factor(z: Float[np.ndarray, " rest"], width: int) -> Float[np.ndarray, " rest"]:
    """1 / E(1 / factor) of the variance, given the stack's z within `width` pixels about each; 1 where all is well.

    Prior: no excess, or with probability SHARE one of FACTORS.
    """
    usable = np.isfinite(z)
    box = np.ones(min(width, len(z)))
    n = np.convolve(usable.astype(float), box, "same")
    squares = np.convolve(np.where(usable, z, 0.0) ** 2, box, "same")
    all_factors = np.append(1.0, FACTORS)
    prior = np.append(1.0 - SHARE, np.full(len(FACTORS), SHARE / len(FACTORS)))
    log_p = np.log(prior)[:, None] - 0.5 * (squares / all_factors[:, None] + n * np.log(all_factors)[:, None])
    p = np.exp(log_p - log_p.max(axis=0))
    return p.sum(axis=0) / np.sum(p / all_factors[:, None], axis=0)


def by_wavelength(
    window: WindowSpectra,
    theta: Float[Array, "star own"],
    noise: NoiseModel,
    blocks: Iterable[tuple[Int[np.ndarray, " row"], StarData, Float[np.ndarray, "row pixel"]]],
) -> AtRest:
    """Factor of the variance of every pixel of a window, from the residuals of all its rows at rest.

    `blocks`: rows, their data and their models, a block of stars after the other. The excess counts as often as a
    resolution element has pixels, for they err together. A single row tells nothing: its factors are 1.
    """
    grid = window.problem.spectrum.grid
    n_row, n_pixel = len(window.star), grid.n_pixel
    if n_row < 2:
        return AtRest(np.ones(n_pixel), np.zeros(n_row, int), n_pixel)
    own = np.asarray(theta)[window.star]
    pixel = float(grid.oversampling * grid.velocity_step)
    shift = _shift(window, theta)
    fwhm = FWHM_PER_SIGMA * float(np.median(np.exp(own[:, LN_SIGMA]))) / pixel
    first = shift.max() - shift
    sums = Stack.empty(n_pixel + first.max())
    plain = as_numpy(noise._replace(local=jnp.ones((n_row, 1))))
    for rows, data, model in blocks:
        flux, ivar = (np.asarray(x) for x in data)
        var = variances(*data, NoiseModel(*(x[rows] for x in plain)))
        good = (ivar > 0.0) & np.isfinite(model)
        sums.add(np.where(good, flux - model, 0.0), good / var, first[rows])
    width = 2 * round(fwhm / 2.0) + 1
    factors = 1.0 + width * (factor(sums.z, width) - 1.0)
    return AtRest(factors, first, n_pixel)


def with_misfit(sample: Sample, passed: Pass, theta: Float[Array, "star own"], noise: Noise) -> Noise:
    """The noise of every window, with the factors that the residuals of a pass ask for."""

    def blocks(k: int) -> Iterator[tuple[np.ndarray, StarData, np.ndarray]]:
        for part, terms in zip(sample.parts, passed.terms(), strict=True):
            row = terms.rows[k]
            if row is not None:
                yield part.rows[k], part.data.get()[k], np.asarray(row.adjusted)

    return tuple(
        n._replace(local=by_wavelength(w, theta, n, blocks(k)))
        for k, (w, n) in enumerate(zip(sample.windows, noise, strict=True))
    )


CURVE = 1.01
"""Factors from here on are told to others."""


def curve(sample: Sample, theta: Float[np.ndarray, "star own"], noise: Noise, wavelength: list) -> Table:
    """The factors on the pixels of every window at rest (vacuum Angstrom) where they are above CURVE: what a check of
    other stars needs."""
    found = [np.empty((0, 2))]
    for window, noise_model, pixels in zip(sample.windows, noise, wavelength, strict=True):
        local = noise_model.local
        if not isinstance(local, AtRest):
            continue
        # the rest pixel of pixel 0 of a spectrum at rest, as `by_wavelength` counts them
        zero = round(float(np.median(_shift(window, theta) + local.first)))
        at = np.arange(len(local.factors)) - zero
        step = np.log(pixels[-1] / pixels[0]) / (len(pixels) - 1)
        rest = np.column_stack([pixels[0] * np.exp(step * at), local.factors])
        found.append(rest[local.factors > CURVE])
    return Table(dict(zip(("wavelength", "factor"), np.concatenate(found).T, strict=True)))


def told_factors(
    curve: Table, wavelength: Float[np.ndarray, " pixel"], rv: Float[np.ndarray, " row"]
) -> Float[np.ndarray, "row pixel"]:
    """Those of a `curve` at the pixels of spectra with these velocities (km/s); 1 where the curve has no pixel."""
    rest = np.asarray(wavelength) / (1.0 + np.asarray(rv)[:, None] / C_KMS)
    if len(curve) == 0:
        return np.ones(rest.shape)
    known, factor = (np.asarray(curve[name], float) for name in ("wavelength", "factor"))
    half = 0.5 * float(np.median(np.diff(wavelength)))
    right = np.clip(np.searchsorted(known, rest), 1, max(len(known) - 1, 1))
    nearest = np.where(rest - known[right - 1] < known[np.minimum(right, len(known) - 1)] - rest, right - 1, right)
    nearest = np.minimum(nearest, len(known) - 1)
    return np.where(np.abs(known[nearest] - rest) <= 1.01 * half, factor[nearest], 1.0)


def _shift(window: WindowSpectra, theta: Array | np.ndarray) -> Int[np.ndarray, " row"]:
    """Pixels by which the velocity of each row moves it."""
    grid = window.problem.spectrum.grid
    rv = np.asarray(theta)[window.star, RV]
    return np.rint(np.log1p(rv / C_KMS) * C_KMS / float(grid.oversampling * grid.velocity_step)).astype(int)


def misfit_table(sample: Sample, theta: Float[np.ndarray, "star own"], noise: Noise, wavelength: list) -> Table:
    """Rest wavelengths (vacuum Angstrom, pixels of every window in `wavelength`) whose variance was more than doubled.

    One row a stretch: first and last pixel, and the greatest factor.
    """
    found = [np.empty((0, 3))]
    for window, noise_model, pixels in zip(sample.windows, noise, wavelength, strict=True):
        gap = 1.5 * float(np.median(np.diff(pixels)))
        stretches = np.empty((0, 3))
        for first in range(0, len(window.star), AT_ONCE):
            some = np.arange(first, min(first + AT_ONCE, len(window.star)))
            rest = np.asarray(pixels) / (1.0 + np.asarray(theta)[window.star[some], RV, None] / C_KMS)
            local = np.broadcast_to(np.asarray(noise_model.local[some]), rest.shape)
            at, value = rest[local > RAISED], local[local > RAISED]
            stretches = joined(np.concatenate([stretches, np.column_stack([at, at, value])]), gap)
        found.append(stretches)
    return Table(dict(zip(("start", "stop", "factor"), np.concatenate(found).T, strict=True)))


def joined(stretches: Float[np.ndarray, "stretch 3"], gap: float) -> Float[np.ndarray, "joined 3"]:
    """Start, stop and factor of stretches that lie no farther than `gap` from each other, made one."""
    if len(stretches) == 0:
        return stretches
    start, stop, factor = stretches[np.argsort(stretches[:, 0])].T
    begins = np.append(0, 1 + np.flatnonzero(start[1:] - np.maximum.accumulate(stop)[:-1] > gap))
    return np.column_stack([start[begins], np.maximum.reduceat(stop, begins), np.maximum.reduceat(factor, begins)])
