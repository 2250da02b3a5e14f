"""What an emulator's card says: its hull and its errors on nodes that it never saw."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from astrogf.emulator import hydrostatic
from astrogf.emulator.model import Emulator
from astrogf.emulator.network import QUANTITIES
from astrogf.emulator.structure import Structure

Card = dict[str, Any]
"""JSON: family, hull, errors (T in per cent, the others in dex), residual, config with seeds, hashes."""

RANGE = (-5.0, 1.5)
"""log tau over which errors are counted."""


def evaluate(
    emulator: Emulator,
    labels: Float[np.ndarray, "node 4"],
    log_tau: Float[np.ndarray, " depth"],
    ln_values: Float[np.ndarray, "node 6 depth"],
    extra: Card,
) -> Card:
    """The card: absolute errors by quantity over all nodes and depths in RANGE, and the hydrostatic residual.

    The residual is `hydrostatic.residual` without the first 2 and the last 20 layers, as measured on real
    decks.
    """
    one = eqx.filter_jit(jax.vmap(lambda x: emulator(x, 10.0 ** jnp.asarray(log_tau))))
    structures = one(jnp.asarray(labels))
    ln = np.log(np.stack([np.asarray(getattr(structures, q)) for q in QUANTITIES], axis=1))
    keep = (log_tau >= RANGE[0]) & (log_tau <= RANGE[1])
    errors = {}
    for i, q in enumerate(QUANTITIES):
        miss = np.abs(ln[:, i] - ln_values[:, i])[:, keep]
        unit = 100.0 if q == "t" else 1 / np.log(10.0)
        miss = unit * (np.expm1(miss) if q == "t" else miss)
        errors[q] = {n: round(float(np.percentile(miss, p)), 5) for n, p in (("median", 50), ("p95", 95), ("p99", 99))}
    rest = [hydrostatic.residual(_row(structures, i), float(x[1]))[2:-20] for i, x in enumerate(labels)]
    falling = sum(bool(np.any(np.diff(row) <= 0)) for row in np.asarray(structures.rhox))
    values = np.abs(np.concatenate(rest))
    values = values[np.isfinite(values)]
    return {
        "family": emulator.family,
        "hull": emulator.hull.card(),
        "log_tau": list(RANGE),
        "units": "T in per cent, the others in dex, absolute, on held-out nodes",
        "errors": errors,
        "hydrostatic_residual_dex": {
            n: round(float(np.percentile(values, p)), 6) if len(values) else None
            for n, p in (("median", 50), ("p95", 95), ("p99", 99))
        },
        "nodes_with_rhox_not_increasing": falling,
        **extra,
    }


def _row(structure: Structure, i: int) -> Structure:
    return jax.tree.map(lambda a: np.asarray(a)[i], structure)
