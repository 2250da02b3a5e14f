"""Wavelengths at which the model is wrong for all stars at once: a missing line, a blend, the wings of a strong line.

A spectrum's own noise tells nothing of it, and its inflation is the mean over a window; but the residuals of all stars
stacked at rest show it. Where they exceed their noise the variance of every star is multiplied by the factor that the
stack asks for: an error that stars share is then not averaged away over them, nor over the pixels of a resolution
element. What free lines have taken up of it leaves no residual: beside the wrong place errors stay too small
(docs/explanation/statistics.md), but the harm no longer spreads to labels and to other lines.
"""

import jax
import jax.numpy as jnp
import numpy as np
from astropy.table import Table
from jaxtyping import Array, Float, Int

from astrogf.base.constants import C_KMS, FWHM_PER_SIGMA
from astrogf.inference.newton.sweep import Pass
from astrogf.inference.problem.noise import RAISED, NoiseModel, variance
from astrogf.inference.problem.parameters import LN_SIGMA, RV
from astrogf.inference.problem.spectra import Noise, Sample, WindowSpectra

SHARE = 0.05
"""A resolution element is one where the model is wrong with this prior probability."""
FACTORS = np.geomspace(1.3, 1e4, 60)
"""By how much the variance of the stack then exceeds its noise, each as probable as the next."""


def stack(
    residual: Float[np.ndarray, "row pixel"], inverse: Float[np.ndarray, "row pixel"], shift: Int[np.ndarray, " row"]
) -> Float[np.ndarray, " rest"]:
    """Weighted mean of residuals in units of its error, on rest pixels; pixel i of a row is rest pixel i - `shift`.

    `inverse` variance, 0 where a pixel does not count. The first rest pixel is pixel 0 of the largest shift; nan where
    no row has a pixel.
    """
    n_row, n_pixel = residual.shape
    first = shift.max() - shift
    weight, total = np.zeros(n_pixel + first.max()), np.zeros(n_pixel + first.max())
    for r in range(n_row):
        mine = slice(first[r], first[r] + n_pixel)
        weight[mine] += inverse[r]
        total[mine] += inverse[r] * residual[r]
    return total / np.sqrt(np.where(weight > 0.0, weight, np.nan))


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
    window: WindowSpectra, model: Float[np.ndarray, "row pixel"], theta: Float[Array, "star own"], noise: NoiseModel
) -> Float[np.ndarray, "row pixel"]:
    """Factor of the variance of every pixel of a window, from the residuals of all its rows at rest.

    The excess counts as often as a resolution element has pixels, for they err together. A single row tells nothing:
    its factors are 1.
    """
    n_row, n_pixel = model.shape
    if n_row < 2:
        return np.ones_like(model)
    own = np.asarray(theta)[window.star]
    grid = window.problem.spectrum.grid
    pixel = float(grid.oversampling * grid.velocity_step)
    shift = np.rint(np.log1p(own[:, RV] / C_KMS) * C_KMS / pixel).astype(int)
    fwhm = FWHM_PER_SIGMA * float(np.median(np.exp(own[:, LN_SIGMA]))) / pixel
    var = np.asarray(jax.vmap(variance)(window.data.flux, window.data.ivar, noise._replace(local=jnp.ones((n_row, 1)))))
    good = (np.asarray(window.data.ivar) > 0.0) & np.isfinite(model)
    residual = np.where(good, np.asarray(window.data.flux) - model, 0.0)
    width = 2 * round(fwhm / 2.0) + 1
    factors = 1.0 + width * (factor(stack(residual, good / var, shift), width) - 1.0)
    return np.stack([factors[s : s + n_pixel] for s in shift.max() - shift])


def with_misfit(sample: Sample, passed: Pass, theta: Float[Array, "star own"], noise: Noise) -> Noise:
    """The noise of every window, with the factors that the residuals of a pass ask for."""
    windows = zip(sample.windows, passed.rows, noise, strict=True)
    return tuple(
        n._replace(local=jnp.asarray(by_wavelength(w, np.asarray(row.adjusted), theta, n))) for w, row, n in windows
    )


def misfit_table(sample: Sample, theta: Float[np.ndarray, "star own"], noise: Noise, wavelength: list) -> Table:
    """Rest wavelengths (vacuum Angstrom, pixels of every window in `wavelength`) whose variance was more than doubled.

    One row a stretch: first and last pixel, and the greatest factor.
    """
    rows = []
    for window, noise_model, pixels in zip(sample.windows, noise, wavelength, strict=True):
        rest = np.asarray(pixels) / (1.0 + np.asarray(theta)[window.star, RV, None] / C_KMS)
        raised = np.asarray(noise_model.local) > RAISED
        at, value = rest[raised], np.asarray(noise_model.local)[raised]
        order = np.argsort(at)
        gap = 1.5 * float(np.median(np.diff(pixels)))
        for part in np.split(order, 1 + np.flatnonzero(np.diff(at[order]) > gap)):
            if len(part):
                rows.append((at[part[0]], at[part[-1]], value[part].max()))
    columns = np.array(rows).reshape(-1, 3).T
    return Table(dict(zip(("start", "stop", "factor"), columns, strict=True)))
