"""Noise: the survey's own errors, an inflation for what the model lacks, and a small share of outliers."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

OUTLIER_SHARE = 0.01
OUTLIER_WIDTH = 10.0
"""A pixel is an outlier with this prior probability; its sd is then this many times larger."""


class NoiseModel(NamedTuple):
    """Noise of each star: `scale` multiplies the survey's own sd, `inflation` (share of the level) is added to it.

    Both are shared by the stars of one survey release. LAMOST's ivar needs a scale below 1: repeats of one star
    scatter by 0.7-0.8 of what it says. `scatter` (dex) is the sd of a spectrum's own deviations of its lines, see
    `arrow.absorb`. `local` [*star, pixel] multiplies the variance of every pixel, see
    `inference.newton.misfit`; of many spectra it may be `AtRest`.
    """

    scale: Float[Array, "*star"]
    inflation: Float[Array, "*star"]
    scatter: Float[Array, "*star"] = np.zeros(())  # type: ignore[assignment]
    local: Any = np.ones(1)


@dataclass(frozen=True)
class AtRest:
    """Factors [row, pixel] that are stretches of one array at rest, of which row i has those that begin at `first`[i]:
    as `NoiseModel.local` of many spectra. It is indexed by rows; np.asarray writes it out."""

    factors: Float[np.ndarray, " rest"]
    first: Int[np.ndarray, " row"]
    n_pixel: int

    def __getitem__(self, rows: np.ndarray) -> "AtRest":
        return AtRest(self.factors, self.first[rows], self.n_pixel)

    def __len__(self) -> int:
        return len(self.first)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self.factors[self.first[..., None] + np.arange(self.n_pixel)].astype(dtype or float)

    def raised(self) -> int:
        """How many of them are above RAISED."""
        before = np.append(0, np.cumsum(self.factors > RAISED))
        return int(np.sum(before[self.first + self.n_pixel] - before[self.first]))


def as_numpy(noise: "NoiseModel") -> "NoiseModel":
    """With numpy arrays, those at rest as they are."""
    arrays: list[Any] = [x if isinstance(x, AtRest) else np.asarray(x) for x in noise]
    return NoiseModel(*arrays)


def level(flux: Float[Array, " pixel"], ivar: Float[Array, " pixel"]) -> Float[Array, ""]:
    """Mean flux of the usable pixels."""
    good = ivar > 0.0
    return jnp.sum(jnp.where(good, flux, 0.0)) / jnp.maximum(jnp.sum(good), 1)


def variance(flux: Float[Array, " pixel"], ivar: Float[Array, " pixel"], model: NoiseModel) -> Float[Array, " pixel"]:
    """(scale^2 / ivar + (inflation * level)^2) * local; 1 where the pixel is unusable (and has no weight)."""
    good = ivar > 0.0
    own = model.scale**2 / jnp.where(good, ivar, 1.0)
    return jnp.where(good, (own + (model.inflation * level(flux, ivar)) ** 2) * model.local, 1.0)


def variances(
    flux: Float[Array | np.ndarray, "row pixel"], ivar: Float[Array | np.ndarray, "row pixel"], model: NoiseModel
) -> Float[np.ndarray, "row pixel"]:
    """`variance` of every row. Few shapes, few programs: they are filled up with copies of the first."""
    n = len(flux)
    index = np.append(np.arange(n), np.zeros((1 << (n - 1).bit_length()) - n, int))
    of_rows: list[Any] = [np.asarray(x)[index] for x in model]
    return np.asarray(jax.vmap(variance)(np.asarray(flux)[index], np.asarray(ivar)[index], NoiseModel(*of_rows)))[:n]


def log_likelihood(residual: Float[Array, " pixel"], var: Float[Array, " pixel"]) -> Float[Array, " pixel"]:
    """log of (1 - q) N(r; 0, var) + q N(r; 0, 100 var), pixel by pixel.

    Source: the mixture of Hogg, Bovy & Lang (2010, arXiv 1008.4686), eq. 17, with fixed share and width.
    """
    chi2 = residual**2 / var
    inlier = jnp.log1p(-OUTLIER_SHARE) - 0.5 * chi2
    outlier = jnp.log(OUTLIER_SHARE / OUTLIER_WIDTH) - 0.5 * chi2 / OUTLIER_WIDTH**2
    return jnp.logaddexp(inlier, outlier) - 0.5 * jnp.log(2.0 * jnp.pi * var)


def weight(residual: Float[Array, " pixel"], var: Float[Array, " pixel"]) -> Float[Array, " pixel"]:
    """-(d log L / d r) / r: the weight with which least squares has the mixture's gradient (EM, E-step).

    Close to 1 / var for ordinary pixels, so that errors stay calibrated when there are no outliers.
    """
    chi2 = residual**2 / var
    odds = jnp.log(OUTLIER_SHARE / OUTLIER_WIDTH / (1.0 - OUTLIER_SHARE)) + 0.5 * chi2 * (1.0 - 1.0 / OUTLIER_WIDTH**2)
    outlier = 1.0 / (1.0 + jnp.exp(-odds))
    return (1.0 - outlier + outlier / OUTLIER_WIDTH**2) / var


RAISED = 2.0
"""A `local` factor above this is reported."""
SCALE_SD = 0.3
INFLATION_SD = 0.05
"""ln scale ~ Normal(0, SCALE_SD), inflation ~ HalfNormal(INFLATION_SD)."""
SCALES = np.exp(np.arange(-0.7, 0.71, 0.025))
INFLATIONS = np.append(0.0, np.geomspace(3e-4, 0.1, 75))
"""Where they are looked for."""


def learn_noise(
    flux: Float[Array, "star pixel"],
    ivar: Float[Array, "star pixel"],
    model: Float[Array, "star pixel"],
    release: Int[np.ndarray, " star"],
    freedom: Float[np.ndarray, " star"],
    local: Float[Array, "star pixel"] | None = None,
) -> NoiseModel:
    """Most probable scale and inflation of every release, given the residuals of its stars.

    Searched on a grid (2.5% in scale, 8% in inflation). `freedom` is the number of parameters fitted to each: the
    residuals are smaller than the noise by sqrt(1 - freedom / pixels), which is put back first.
    `local` is held.
    """
    local = jnp.ones((len(flux), 1)) if local is None else local
    scores = noise_scores(flux, ivar, model, release, freedom, local)
    scale, inflation = most_probable(scores)[release].T
    return NoiseModel(jnp.asarray(scale), jnp.asarray(inflation), jnp.zeros(len(flux)), local)


def noise_scores(
    flux: Float[Array, "star pixel"],
    ivar: Float[Array, "star pixel"],
    model: Float[Array, "star pixel"],
    release: Int[np.ndarray, " star"],
    freedom: Float[np.ndarray, " star"],
    local: Float[Array | np.ndarray, "star pixel"],
    n_release: int | None = None,
) -> Float[np.ndarray, "release pair"]:
    """log likelihood of every pair of scale and inflation for each release, given the residuals of some of its stars;
    those of different stars add up. Arguments as of `learn_noise`."""
    n_release = int(release.max()) + 1 if n_release is None else n_release
    out = np.zeros((n_release, len(SCALES) * len(INFLATIONS)))
    factors = np.broadcast_to(np.asarray(local), np.shape(flux))
    for r in np.unique(release):
        rows = np.flatnonzero(release == r)
        # few shapes, few programs: filled up with stars that have no usable pixel
        size = 1 << (len(rows) - 1).bit_length()
        index = np.append(rows, np.full(size - len(rows), rows[0]))
        used = (np.arange(size) < len(rows))[:, None]
        flux_, ivar_, model_, freedom_, local_ = (np.asarray(x)[index] for x in (flux, ivar, model, freedom, factors))
        out[r] = np.asarray(_scores(flux_, np.where(used, ivar_, 0.0), model_, freedom_, local_))
    return out


def most_probable(scores: Float[np.ndarray, "release pair"]) -> Float[np.ndarray, "release 2"]:
    """Scale and inflation of every release, from the sum of `noise_scores` over all stars."""
    pairs = np.stack(np.meshgrid(SCALES, INFLATIONS, indexing="ij"), -1).reshape(-1, 2)
    prior = -0.5 * (np.log(pairs[:, 0]) / SCALE_SD) ** 2 - 0.5 * (pairs[:, 1] / INFLATION_SD) ** 2
    return pairs[np.argmax(scores + prior, axis=1)]


@jax.jit
def _scores(flux, ivar, model, freedom, local) -> Float[Array, " pair"]:
    n_pixel = jnp.sum(ivar > 0, axis=1, keepdims=True)
    residual = (flux - model) / jnp.sqrt(jnp.clip(1.0 - freedom[:, None] / jnp.maximum(n_pixel, 1), 0.1, 1.0))

    def score(pair):
        var = jax.vmap(lambda f, i, more: variance(f, i, NoiseModel(pair[0], pair[1], local=more)))(flux, ivar, local)
        return jnp.sum(jnp.where(ivar > 0, log_likelihood(residual, var), 0.0))

    grid = jnp.stack(jnp.meshgrid(SCALES, INFLATIONS, indexing="ij"), -1).reshape(-1, 2)
    return jax.lax.map(score, grid, batch_size=64)
