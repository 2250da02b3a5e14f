"""Continuous absorption of hydrogen: bound-free with dissolving levels, and H- bound-free."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from astrogf.base.constants import (
    BOHR_RADIUS,
    BOLTZMANN,
    BOLTZMANN_EV,
    ELECTRON_MASS,
    HC_OVER_K_ANGSTROM,
    PLANCK,
    RYDBERG_HYDROGEN,
)
from astrogf.synthesis.continuum.tables import TABLES, between
from astrogf.synthesis.gas.eos import debye_lowering
from astrogf.synthesis.gas.gas import Gas

LEVELS = 40
DISSOLVING = 10
ELECTRON_AFFINITY = 0.754195
"""eV, of hydrogen (Lykke, Murray & Lineberger 1991)."""
AFFINITY_LOWERING = 2.0
"""Lowering of the affinity of H- in a plasma, in units of that of a neutral atom's ionisation energy.

2 is the convention of MARCS and Turbospectrum (after Tarafdar & Vardya), followed because the latter is the yardstick.
Debye theory proper gives 0, as H- and the free electron are shifted alike; that would add 1% of H- at tau = 1 in the
Sun, take 0.35% (dwarfs) or 0.1% (giants) from the continuum flux, and move the median of normalised flux by up to
0.0014 (4500 K dwarf at 5150 A)."""
_RYDBERG_K = RYDBERG_HYDROGEN * HC_OVER_K_ANGSTROM * 1e-8
_KRAMERS = 1.0449e-26
"""Kramers bound-free cross-section: this times wavelength^3 (Angstrom) / n^5, cm^2."""


def occupation(n: Array, gas: Gas) -> Array:
    """Probability that a level of (real) principal quantum number n survives its neighbours.

    Charged neighbours: Hubeny, Hummer & Lanz (1994, A&A 282, 151, appendix A); neutral: Hummer & Mihalas
    (1988, ApJ 331, 794, eq. 4.71) with root-mean-square radii. `n` broadcasts against [depth].
    """
    radius = jnp.sqrt(2.5 * n**4 + 0.5 * n**2)
    volume = gas.n[0, 0] * (radius + 1.73) ** 3 + gas.n[1, 0] * (radius + 1.02) ** 3
    neutral = jnp.exp(-4 * jnp.pi / 3 * BOHR_RADIUS**3 * volume)
    k = jnp.where(n > 3, 16 / 3 * (n / (n + 1)) ** 2 * (n + 7 / 6) / (n**2 + n + 0.5), 1.0)
    log_ne = jnp.log(gas.xne)
    correlation = jnp.exp(3.15 * jnp.log1p(0.09 * jnp.exp(log_ne / 6) / jnp.sqrt(gas.t)))
    # beta^(3/2), of the level times of the layer
    beta = (k / n**4) * jnp.sqrt(k / n**4) * (8.3e14**1.5 / gas.xne)
    strong, weak = 0.1402 * correlation * beta**2, 0.1285 * correlation * beta
    return neutral * strong / (1 + weak + strong)


def hydrogen_absorption(
    wavelength: Float[Array, " wave"], gas: Gas, emission: Float[Array, "wave depth"]
) -> Float[Array, "wave depth"]:
    """Bound-free of H I, cm^-1, with stimulated emission.

    Levels up to 40 with occupation probabilities; redward of its edge a level n <= 10 goes on absorbing
    into the dissolved part of the levels above (Daeppen, Anderson & Mihalas 1987, ApJ 319, 195), tapered
    beyond its alpha line where the extrapolation has no meaning.
    Gaunt factors: Karzas & Latter (1961, ApJS 6, 167).
    """
    n = np.arange(1, LEVELS + 1)
    levels = np.asarray(n, float)[:, None]
    gaunt = jnp.exp(between(wavelength, TABLES["gaunt_wavelength"], jnp.asarray(TABLES["log_gaunt"]).T, edges=False))
    gaunt = jnp.concatenate([gaunt, jnp.repeat(gaunt[:, -1:], LEVELS - 15, axis=1)], axis=1)
    sigma = _KRAMERS * wavelength[:, None] ** 3 * gaunt / n**5

    energy = 1e8 / (RYDBERG_HYDROGEN * wavelength)[:, None]
    left = 1 / n**2 - energy
    ionising = left <= 0
    upper = 1 / jnp.sqrt(jnp.where(ionising, 1.0, jnp.maximum(left, 1e-6)))[:, :DISSOLVING]
    alpha = 1e8 / (RYDBERG_HYDROGEN * (1 / n**2 - 1 / (n + 1.0) ** 2))
    taper = jnp.exp(-jnp.maximum(wavelength[:, None] - alpha, 0.0) / 100.0)[:, :DISSOLVING]

    # the levels and those reached from them, in one go
    alive = occupation(jnp.concatenate([jnp.asarray(levels), upper.reshape(-1, 1)]), gas)
    survival, above = alive[:LEVELS], alive[LEVELS:].reshape(*upper.shape, -1)
    population = gas.n_over_u[0, 0] * 2 * levels**2 * survival * jnp.exp(-_RYDBERG_K * (1 - 1 / levels**2) / gas.t)
    dissolved = jnp.maximum(1 - above / survival[:DISSOLVING], 0.0)
    share = jnp.where(ionising[:, :DISSOLVING, None], 1.0, taper[..., None] * dissolved)
    bound_free = jnp.sum(sigma[:, :DISSOLVING, None] * share * population[:DISSOLVING], axis=1)
    bound_free += jnp.where(ionising, sigma, 0.0)[:, DISSOLVING:] @ population[DISSOLVING:]
    return bound_free * emission


def hminus_density(gas: Gas) -> Float[Array, " depth"]:
    """Number density of H-, cm^-3: Saha, one bound state, affinity lowered as `AFFINITY_LOWERING` says."""
    wave = PLANCK**2 / (2 * jnp.pi * ELECTRON_MASS * BOLTZMANN * gas.t)
    affinity = ELECTRON_AFFINITY - AFFINITY_LOWERING * debye_lowering(gas.t, gas.xne)
    return gas.n_over_u[0, 0] * gas.xne * 0.5 * wave**1.5 * jnp.exp(affinity / (BOLTZMANN_EV * gas.t))


def hminus_bound_free(
    wavelength: Float[Array, " wave"], gas: Gas, emission: Float[Array, "wave depth"]
) -> Float[Array, "wave depth"]:
    """Photodetachment of H-, cm^-1, with stimulated emission.

    Source: McLaughlin et al. (2017, J. Phys. B 50, 114001).
    """
    sigma = between(wavelength, TABLES["hminus_wavelength"], jnp.asarray(TABLES["hminus_sigma"])[:, None], edges=True)
    return sigma * hminus_density(gas) * emission
