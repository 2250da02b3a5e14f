"""Molecules of one atom of a trace element with H, C, N, O or S: ZrO, LaO+, CaOH, HF.

They deplete the trace element (in a giant of 4000 K all but a tenth of La is in LaO+), and take so little of the
partners that the element can be eliminated from the equilibrium in closed form: no unknown of its own.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from astrogf.base.constants import BOLTZMANN
from astrogf.synthesis.package_data import arrays

_TABLES = arrays("trace_molecules")
TRACE_MOLECULES: tuple[str, ...] = tuple(str(name) for name in _TABLES["molecules"])
TRACE_Z = _TABLES["z"].astype(int)
"""The trace element of every molecule."""
TRACE_PARTNERS = _TABLES["partners"].astype(float)
"""Atoms of other elements, [molecule, 92]."""
_CHARGE = _TABLES["charge"].astype(float)
_LOG_KP = _TABLES["log_kp"]

ELEMENTS = np.unique(TRACE_Z)
_MEMBER = (TRACE_Z[:, None] == ELEMENTS).astype(float)
_ELEMENT = np.searchsorted(ELEMENTS, TRACE_Z)


class Taken(NamedTuple):
    """Per nucleus of hydrogen: the nuclei of the partners in all molecules, and free neutral atoms of `ELEMENTS`.

    `curvature` is the derivative of `partners` by the logarithms of the partners' free atoms: symmetric.
    """

    partners: Float[Array, "depth bound"]
    free: Float[Array, "depth element"]
    curvature: Float[Array, "depth bound bound"]


def log_trace_constant(t: Float[Array, " depth"], xne: Float[Array, " depth"]) -> Float[Array, "molecule depth"]:
    """Natural logarithm of n(molecule) / product of n(free neutral atoms), cm^-3, at T (K) and n_e.

    For an ion the electrons on the other side of its reaction are divided out. 5040/T is held inside 0.4-5.04.
    Sources: fits of the constants of Barklem & Collet (2016), others after Tsuji (1973), as `partition` has them;
    ZrO+ and LaO+ after Irwin and Sauval as in Turbospectrum.
    """
    theta = jnp.clip(5040.0 / t, 0.4, 5.04)
    log_kp = jnp.zeros((len(TRACE_MOLECULES), t.shape[0]))
    for power in range(_LOG_KP.shape[1] - 1, -1, -1):
        log_kp = log_kp * theta + _LOG_KP[:, power, None]
    bonds = (TRACE_PARTNERS.sum(axis=1) - _CHARGE)[:, None]
    return bonds * jnp.log(BOLTZMANN * t) - np.log(10.0) * log_kp - _CHARGE[:, None] * jnp.log(xne)


def taken(
    log_k: Float[Array, "depth molecule"],
    log_free: Float[Array, "depth bound"],
    per_neutral: Float[Array, "depth element"],
    fractions: Float[Array, "92"],
    bound: np.ndarray,
) -> Taken:
    """What trace molecules hold, from the free neutral atoms of the `bound` elements (z - 1).

    `per_neutral` is n(atoms and ions) / n(neutral) of `ELEMENTS`, `fractions` n(Z)/n(H).
    """
    partners = TRACE_PARTNERS[:, bound]
    pairs = (partners[:, :, None] * partners[:, None, :]).reshape(len(partners), -1)
    by_element = (_MEMBER[:, :, None] * partners[:, None, :]).reshape(len(partners), -1)
    each = jnp.exp(jnp.minimum(log_k + log_free @ partners.T, 500.0))
    whole = per_neutral + each @ _MEMBER
    free = fractions[ELEMENTS - 1] / whole
    molecules = each * free[:, _ELEMENT]
    held = (each @ by_element).reshape(-1, len(ELEMENTS), len(bound))
    # more of a partner binds more of the element, of which less is left
    curvature = (molecules @ pairs).reshape(-1, len(bound), len(bound))
    curvature = curvature - jnp.einsum("de,dei,dej->dij", free / whole, held, held)
    return Taken(molecules @ partners, free, curvature)
