"""Partition functions, ionisation energies and molecular equilibrium constants, smooth in temperature."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from astrogf.base.constants import BOLTZMANN
from astrogf.synthesis.package_data import arrays

_TABLES = arrays("partition")
_LOG_T, _LOG_U, _DLOG_U = (_TABLES[name] for name in ("log_t", "log_u", "dlog_u"))
IONISATION_ENERGY = _TABLES["chi"]
"""eV, [92, 3]: neutral, singly and doubly ionised; nan where the ion does not exist (NIST ASD, 2022)."""
MOLECULES: tuple[str, ...] = tuple(str(name) for name in _TABLES["molecules"])
"""Molecules of the equilibrium; the first is H2."""
MOLECULE_ATOMS = _TABLES["atoms"].astype(float)
"""Atoms of element z in each molecule, [molecule, 92]."""
_LOG_KP = _TABLES["log_kp"]

_STEP = _LOG_T[1] - _LOG_T[0]
_COEFFICIENTS = np.stack(
    [
        _LOG_U[..., :-1],
        _STEP * _DLOG_U[..., :-1],
        3 * np.diff(_LOG_U) - _STEP * (2 * _DLOG_U[..., :-1] + _DLOG_U[..., 1:]),
        -2 * np.diff(_LOG_U) + _STEP * (_DLOG_U[..., :-1] + _DLOG_U[..., 1:]),
    ]
).reshape(4, 276, -1)
_END_SLOPE = _DLOG_U[..., -1].reshape(276, 1)


def log_partition(t: Float[Array, " depth"]) -> Float[Array, "92 3 depth"]:
    """Natural logarithm of the partition function of atoms, first and second ions, at T in K.

    Cubic Hermite in ln T on a uniform grid, continuous with its first derivative. The source ends at 10000 K:
    above, ln U goes on along its last slope in ln T; below 1000 K it stays constant.
    Source: Barklem & Collet (2016, A&A 588, A96, table 8).
    """
    x = jnp.log(t)
    inside = jnp.clip(x, _LOG_T[0], _LOG_T[-1])
    node = jnp.clip(jnp.floor((inside - _LOG_T[0]) / _STEP).astype(int), 0, _LOG_T.size - 2)
    s = (inside - _LOG_T[0]) / _STEP - node
    c0, c1, c2, c3 = jnp.asarray(_COEFFICIENTS)[:, :, node]
    value = c0 + s * (c1 + s * (c2 + s * c3)) + _END_SLOPE * jnp.maximum(x - _LOG_T[-1], 0.0)
    return value.reshape(92, 3, -1)


def log_molecule_constant(t: Float[Array, " depth"]) -> Float[Array, "molecule depth"]:
    """Natural logarithm of n(molecule) / product of n(free neutral atoms), number densities in cm^-3.

    Rows follow `MOLECULES`. The fit is a polynomial in 5040/T of log10 K_p (dyn cm^-2); 5040/T is held inside
    0.4-5.04 (1000-12600 K), outside of which the fit has no meaning and molecules have no weight.
    Source: fits of the constants of Barklem & Collet (2016), others after Tsuji (1973, A&A 23, 411).
    """
    theta = jnp.clip(5040.0 / t, 0.4, 5.04)
    log_kp = jnp.zeros((len(MOLECULES), t.shape[0]))
    for power in range(_LOG_KP.shape[1] - 1, -1, -1):
        log_kp = log_kp * theta + _LOG_KP[:, power, None]
    bonds = MOLECULE_ATOMS.sum(axis=1)[:, None] - 1.0
    return bonds * jnp.log(BOLTZMANN * t) - np.log(10.0) * log_kp
