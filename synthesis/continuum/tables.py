"""Tabulated continuous absorbers: metals bound-free, negative ions, free-free, CH and OH.

A table holds ln value on its own wavelengths and one temperature grid. In temperature it is a cubic Hermite
(the derivative is that of the value); in wavelength it is linear, in ln value against ln wavelength where
the function has no edges.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.interpolate import CubicSpline

from astrogf.base.constants import ATOMIC_MASS, BOLTZMANN
from astrogf.synthesis.gas.abundances import SYMBOLS
from astrogf.synthesis.gas.eos import molecule_densities
from astrogf.synthesis.gas.gas import Gas
from astrogf.synthesis.gas.partition import MOLECULES
from astrogf.synthesis.package_data import arrays

TABLES = arrays("continuum")

_NAMES = [str(name) for name in TABLES["names"]]
_LOG_T = TABLES["log_t"]
_STEP = _LOG_T[1] - _LOG_T[0]
_VALUE = TABLES["log_value"].astype(float)
_SLOPE = _STEP * CubicSpline(_LOG_T, _VALUE, axis=1)(_LOG_T, 1)
_RISE = np.diff(_VALUE, axis=1)
_COEFFICIENTS = np.stack(
    [
        _VALUE[:, :-1],
        _SLOPE[:, :-1],
        3 * _RISE - 2 * _SLOPE[:, :-1] - _SLOPE[:, 1:],
        -2 * _RISE + _SLOPE[:, :-1] + _SLOPE[:, 1:],
    ]
)
_ENDS = np.cumsum(TABLES["sizes"])
_STARTS = _ENDS - TABLES["sizes"]
_WAVELENGTH = np.split(TABLES["wavelength"], _ENDS[:-1])
_STAGES = {"I": 0, "II": 1}
_BOUND_FREE = [name for name in _NAMES if name.split()[-1] in _STAGES]
_LYMAN_LIMIT = 911.27

# Peach's neutral-atom free-free tables: which ions each serves (the last for all metals without their own).
_OWN = {"He ff": (2,), "C ff": (6,), "Mg ff": (12,), "Si ff": (14,)}
_OTHERS = [z for z in range(3, 93) if z not in (6, 12, 14)]


def _hermite(t: Float[Array, " depth"], rows: slice = slice(None)) -> Float[Array, "node depth"]:
    """ln value of the tables on their own wavelengths, at T held inside the grid (1500-60000 K)."""
    x = (jnp.clip(jnp.log(t), _LOG_T[0], _LOG_T[-1]) - _LOG_T[0]) / _STEP
    node = jnp.clip(jnp.floor(x).astype(int), 0, _LOG_T.size - 2)
    s = x - node
    c0, c1, c2, c3 = jnp.asarray(_COEFFICIENTS[:, rows])[:, :, node]
    return c0 + s * (c1 + s * (c2 + s * c3))


def smooth_table(name: str, wavelength: Float[Array, " wave"], t: Float[Array, " depth"]) -> Float[Array, "wave depth"]:
    """One table without edges at vacuum Angstrom and T (K)."""
    i = _NAMES.index(name)
    return jnp.exp(between(wavelength, _WAVELENGTH[i], _hermite(t, slice(_STARTS[i], _ENDS[i])), edges=False))


def between(wavelength: Array, nodes: np.ndarray, values: Array, edges: bool) -> Array:
    """Linear interpolation of `values` [node, depth]; zero outside where there are edges, else held."""
    x, grid = (wavelength, nodes) if edges else (jnp.log(wavelength), np.log(nodes))
    i = jnp.clip(jnp.searchsorted(jnp.asarray(grid), x) - 1, 0, grid.size - 2)
    share = jnp.clip((x - jnp.asarray(grid)[i]) / jnp.asarray(np.diff(grid))[i], 0.0, 1.0)[:, None]
    result = (1 - share) * values[i] + share * values[i + 1]
    if edges:
        inside = (x >= grid[0]) & (x <= grid[-1])
        result = jnp.where(inside[:, None], result, 0.0)
    return result


def tabulated_absorption(
    wavelength: Float[Array, " wave"], gas: Gas, emission: Float[Array, "wave depth"]
) -> Float[Array, "wave depth"]:
    """Absorption of all tabulated sources, cm^-1, with stimulated emission (`emission` = 1 - exp(-h nu/kT)).

    Vacuum Angstrom. Sources: Opacity Project with the energies of Allende Prieto et al. (2003) for metals;
    Bell & Berrington (1987) for H- free-free; John (1975, 1994) for H2-, He-, O-; Bell et al. (1988),
    Ramsbottom et al. (1992) for C-, N-; Mihalas (1965) for H2+; Peach (1970) for free-free of He, C, Mg, Si
    and others; Kurucz et al. (1987) for CH and OH photodissociation.
    """
    tables = dict(zip(_NAMES, zip(_WAVELENGTH, jnp.split(_hermite(gas.t), _ENDS[:-1]), strict=True), strict=True))

    def edged(name):
        nodes, values = tables[name]
        return between(wavelength, nodes, jnp.exp(values), edges=True)

    def smooth(name):
        return jnp.exp(between(wavelength, *tables[name], edges=False))

    pe = gas.xne * BOLTZMANN * gas.t
    stimulated = jnp.zeros((wavelength.shape[0], gas.t.shape[0]))
    for name in _BOUND_FREE:
        symbol, stage = name.split()
        stimulated += gas.n_over_u[SYMBOLS.index(symbol), _STAGES[stage]] * edged(name)
    stimulated += smooth("H2+") * (gas.n[0, 0] * 1e-20) * (gas.n[0, 1] * 1e-20)
    stimulated += smooth("H2- ff") * pe * gas.n_h2

    cube = (wavelength / _LYMAN_LIMIT)[:, None] ** 3
    for name, atoms in {**_OWN, "metal ff": _OTHERS}.items():
        ions = gas.n[np.array(atoms) - 1, 1].sum(axis=0)
        stimulated += cube * smooth(name) * (gas.xne * 1e-20) * (ions * 1e-20)

    # These tables hold stimulated emission already.
    net = 1e-26 * pe * (gas.n[0, 0] * smooth("H- ff") + gas.n[1, 0] * smooth("He- ff") + gas.n[7, 0] * smooth("O- ff"))
    net += 1e-27 * pe * (gas.n[5, 0] * smooth("C- ff") + gas.n[6, 0] * smooth("N- ff"))
    molecules = molecule_densities(gas)
    for name, weight in (("CH", 13.02), ("OH", 17.01)):
        net += molecules[MOLECULES.index(name)] * weight * ATOMIC_MASS * smooth(name)
    return stimulated * emission + net
