"""Molecules that absorb: their partition functions, and number densities over them for the lines."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from astrogf.synthesis.gas.gas import Gas
from astrogf.synthesis.gas.partition import MOLECULES
from astrogf.synthesis.package_data import arrays

_TABLES = arrays("molecules")
_LOG_U = dict(zip((str(name) for name in _TABLES["names"]), _TABLES["log_u"], strict=True))
_COOLEST, _HOTTEST = _TABLES["range"]

ABSORBERS: tuple[str, ...] = tuple(name for name in MOLECULES if name in _LOG_U)
"""Molecules whose lines can be computed: those with a partition function."""
_HAS = np.array([name in _LOG_U for name in MOLECULES])[:, None]
_COEFFICIENTS = np.array([_LOG_U.get(name, np.zeros_like(next(iter(_LOG_U.values())))) for name in MOLECULES])


def log_molecule_partition(t: Float[Array, " depth"]) -> Float[Array, "molecule depth"]:
    """Natural logarithm of the partition functions of molecules at T in K; rows follow `partition.MOLECULES`.

    Zero of energy is the lowest level of the ground state; nuclear spin is left out (1 for H2-16O's para and ortho
    alike: line lists that count it, as ExoMol's do, have gf four times larger). A row without a partition function
    is zero. A polynomial in ln T, held constant outside 1000-16000 K.
    Source: Barklem & Collet (2016, A&A 588, A96), diatomics; FeH after Plez; H2O Irwin (1988, A&AS 74, 145).
    """
    x = jnp.log(jnp.clip(t, _COOLEST, _HOTTEST))
    value = jnp.zeros((len(MOLECULES), t.shape[0]))
    for power in range(_COEFFICIENTS.shape[1] - 1, -1, -1):
        value = value * x + _COEFFICIENTS[:, power, None]
    return value


def molecule_n_over_u(gas: Gas) -> Float[Array, "molecule depth"]:
    """Number density over partition function of every molecule of `partition.MOLECULES`, cm^-3.

    Zero where there is no partition function (see `ABSORBERS`). Constants of equilibrium and partition functions
    come from one source, so that of n / U only the dissociation energy and the atoms' partition functions matter.
    """
    return jnp.where(_HAS, gas.n_molecule * jnp.exp(-log_molecule_partition(gas.t)), 0.0)
