"""Noise: the survey's own errors, an inflation for what the model lacks, and a small share of outliers."""

import jax.numpy as jnp
from jaxtyping import Array, Float

OUTLIER_SHARE = 0.01
OUTLIER_WIDTH = 10.0
"""A pixel is an outlier with this prior probability; its sd is then this many times larger."""


def variance(
    ivar: Float[Array, " pixel"], level: Float[Array, " pixel"], inflation: Float[Array, ""]
) -> Float[Array, " pixel"]:
    """1 / ivar + (inflation * level)^2; 1 where the pixel is unusable (its weight is set to zero elsewhere)."""
    good = ivar > 0.0
    return jnp.where(good, 1.0 / jnp.where(good, ivar, 1.0) + (inflation * level) ** 2, 1.0)


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
