"""A star's own parameters: their order, natural steps and priors."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from astrogf.base.constants import C_KMS, FWHM_PER_SIGMA

STAR = ("teff", "logg", "feh", "alpha", "vmic", "ln_sigma", "rv")
"""K, dex, dex, dex, km/s, ln of the line-spread function's sigma in km/s, km/s. Abundances [X/Fe] beyond alpha (dex)
follow them, as many as the run's options name, then what is of the instrument (`problem.instrument`)."""
STEP = np.array([100.0, 0.1, 0.1, 0.1, 0.1, 0.05, 5.0])
"""Natural unit of each parameter: the solver works in parameter / STEP."""
MAX_STEP = np.array([300.0, 0.5, 0.4, 0.2, 0.4, 0.2, 60.0])
"""Largest move in one iteration."""
LOWEST = np.array([3400.0, -0.5, -4.2, -0.3, 0.1, np.log(0.5), -1500.0])
HIGHEST = np.array([8200.0, 5.6, 0.9, 0.7, 4.0, np.log(200.0), 1500.0])
"""Hard limits that only guard the iteration; priors and the emulator's wall act long before."""
FURTHER_STEP, FURTHER_MAX_STEP, FURTHER_LIMIT = 0.1, 0.3, 2.0
LN_SIGMA, RV, VMIC = STAR.index("ln_sigma"), STAR.index("rv"), STAR.index("vmic")


def steps(n: int) -> Float[np.ndarray, " own"]:
    """`STEP` for `n` own parameters, those beyond `STAR` included."""
    return np.append(STEP, np.full(n - len(STAR), FURTHER_STEP))


def max_steps(n: int) -> Float[np.ndarray, " own"]:
    """`MAX_STEP` for `n` own parameters."""
    return np.append(MAX_STEP, np.full(n - len(STAR), FURTHER_MAX_STEP))


def limits(n: int) -> tuple[Float[np.ndarray, " own"], Float[np.ndarray, " own"]]:
    """Lowest and highest value of `n` own parameters."""
    spare = np.full(n - len(STAR), FURTHER_LIMIT)
    return np.append(LOWEST, -spare), np.append(HIGHEST, spare)


class StarPrior(NamedTuple):
    """Independent Gaussian priors of a star's own parameters (a leading `star` axis where there are many).

    Where `follows_vmic` is 1, vmic's mean is `vmic_relation` of the star's labels; where `follows_survey` is 1,
    ln_sigma's mean is the survey's shared parameter; where they are 0, the mean given counts.
    """

    mean: Float[Array, "*star own"]
    sd: Float[Array, "*star own"]
    follows_vmic: Float[Array, "*star"]
    follows_survey: Float[Array, "*star"]


def vmic_relation(
    teff: Float[Array, "..."] | Float[np.ndarray, "..."] | float,
    logg: Float[Array, "..."] | Float[np.ndarray, "..."] | float,
) -> Float[Array, "..."]:
    """Microturbulence in km/s expected of a star, kept within 0.5-3 km/s.

    Source: Dutra-Ferreira et al. (2016, A&A 585, A75), calibrated on 3D models; dwarfs to red giants.
    """
    t, g = teff - 5500.0, logg - 4.0
    value = 0.998 + 3.16e-4 * t - 0.253 * g - 2.86e-4 * t * g + 0.165 * g * g
    return jnp.clip(value, 0.5, 3.0)


def lsf_sigma(resolution: Float[Array, "..."] | float) -> Float[Array, "..."]:
    """ln of the Gaussian sigma (km/s) of a resolving power lambda / FWHM."""
    return jnp.log(C_KMS / FWHM_PER_SIGMA / resolution)
