"""A star's own parameters: their order, natural steps and priors."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

STAR = ("teff", "logg", "feh", "alpha", "vmic", "ln_sigma", "rv")
"""K, dex, dex, dex, km/s, ln of the line-spread function's sigma in km/s, km/s."""
STEP = np.array([100.0, 0.1, 0.1, 0.1, 0.1, 0.05, 5.0])
"""Natural unit of each parameter: the solver works in parameter / STEP."""
MAX_STEP = np.array([300.0, 0.5, 0.4, 0.2, 0.4, 0.2, 60.0])
"""Largest move in one iteration."""


class StarPrior(NamedTuple):
    """Independent Gaussian priors of `STAR` (ln_sigma's mean is the survey's shared parameter).

    `mean` and `sd` in the order of `STAR`; vmic's mean follows the star's labels, see `vmic_relation`.
    """

    mean: Float[Array, " star_parameter"]
    sd: Float[Array, " star_parameter"]


def vmic_relation(teff: Float[Array, "..."] | float, logg: Float[Array, "..."] | float) -> Float[Array, "..."]:
    """Microturbulence in km/s expected of a star, kept within 0.5-3 km/s.

    Source: Dutra-Ferreira et al. (2016, A&A 585, A75), calibrated on 3D models; dwarfs to red giants.
    """
    t, g = teff - 5500.0, logg - 4.0
    value = 0.998 + 3.16e-4 * t - 0.253 * g - 2.86e-4 * t * g + 0.165 * g * g
    return jnp.clip(value, 0.5, 3.0)


def lsf_sigma(resolution: Float[Array, "..."] | float) -> Float[Array, "..."]:
    """ln of the Gaussian sigma (km/s) of a resolving power lambda / FWHM."""
    return jnp.log(299792.458 / (2.0 * np.sqrt(2.0 * np.log(2.0))) / resolution)
