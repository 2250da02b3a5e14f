"""Tabulated continuous absorbers: metals bound-free, negative ions, free-free, CH and OH.

A table holds ln value on its own wavelengths and one temperature grid. In temperature it is a cubic Hermite
(the derivative is that of the value); in wavelength it is linear, in ln value against ln wavelength where
the function has no edges. All tables are looked up together: one by one they would be a large program.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float, Int
from scipy.interpolate import CubicSpline

from astrogf.base.constants import ATOMIC_MASS, BOLTZMANN, ELECTRON_CHARGE, ELECTRON_MASS, LIGHT, PLANCK
from astrogf.synthesis.gas.abundances import SYMBOLS
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
_FIRST = dict(zip(_NAMES, np.cumsum(TABLES["sizes"]) - TABLES["sizes"], strict=True))
_SIZE = dict(zip(_NAMES, TABLES["sizes"], strict=True))
_STAGES = {"I": 0, "II": 1}
_LYMAN_LIMIT = 911.27

# Peach's neutral-atom free-free tables: which ions each serves (the last for all metals without their own).
_OWN = {"He ff": 2, "C ff": 6, "Mg ff": 12, "Si ff": 14}
_OTHERS = [z for z in range(3, 93) if z not in _OWN.values()]
_IONS = np.zeros((len(_OWN) + 1, 92))
_IONS[np.arange(len(_OWN)), np.array(list(_OWN.values())) - 1] = 1.0
_IONS[-1, np.array(_OTHERS) - 1] = 1.0

# Tables by how they are used; the order is that of the weights in `tabulated_absorption`.
_EDGED = [name for name in _NAMES if name.split()[-1] in _STAGES]
_ATOM, _STAGE = np.array([(SYMBOLS.index(name.split()[0]), _STAGES[name.split()[1]]) for name in _EDGED]).T
_STIMULATED, _CUBIC = ["H2+", "H2- ff"], ["H ff gaunt", *_OWN, "metal ff"]
_NET_ATOMS, _NET_MOLECULES = {"H- ff": 1, "He- ff": 2, "O- ff": 8, "C- ff": 6, "N- ff": 7}, {"CH": 13.02, "OH": 17.01}
_NET_FACTOR = np.array([1e-26, 1e-26, 1e-26, 1e-27, 1e-27])[:, None]
_MASS = ATOMIC_MASS * np.array(list(_NET_MOLECULES.values()))[:, None]
_SMOOTH = [*_STIMULATED, *_CUBIC, *_NET_ATOMS, *_NET_MOLECULES]
_LEADING = len(_EDGED) + len(_STIMULATED)

_EDGES = np.full((len(_EDGED), max(_SIZE[name] for name in _EDGED)), np.inf)
for _row, _name in zip(_EDGES, _EDGED, strict=True):
    _row[: _SIZE[_name]] = TABLES["wavelength"][_FIRST[_name] :][: _SIZE[_name]]
_EDGED_FIRST, _EDGED_SIZE = (np.array([of[name] for name in _EDGED]) for of in (_FIRST, _SIZE))
# the smooth tables share one grid of wavelengths
_SMOOTH_ROWS = np.stack([_FIRST[name] + np.arange(_SIZE[name]) for name in _SMOOTH], axis=1)
_SMOOTH_GRID = TABLES["wavelength"][_SMOOTH_ROWS[:, 0]]
_SMOOTH_COEFFICIENTS = _COEFFICIENTS[:, _SMOOTH_ROWS]
_FREE_FREE = (
    4 * ELECTRON_CHARGE**6 / (3 * PLANCK * LIGHT * ELECTRON_MASS) * np.sqrt(2 * np.pi / (3 * BOLTZMANN * ELECTRON_MASS))
) * (_LYMAN_LIMIT / (LIGHT * 1e8)) ** 3
"""Electrons on protons (Mihalas 1978, eq. 4-122) at the Lyman limit, times n_e n_p / sqrt(T), Gaunt factor left out."""


def _left(grid: np.ndarray, x: Float[Array, " wave"]) -> Int[Array, " wave"]:
    """The node to the left of every x, so that there is one to its right."""
    # compared with all nodes, which is quicker to compile than a search and as quick to do
    return jnp.clip(jnp.searchsorted(jnp.asarray(grid), x, method="compare_all") - 1, 0, grid.size - 2)


def between(wavelength: Array, nodes: np.ndarray, values: Array, edges: bool) -> Array:
    """Linear interpolation of `values` [node, depth]; zero outside where there are edges, else held."""
    x, grid = (wavelength, nodes) if edges else (jnp.log(wavelength), np.log(nodes))
    i = _left(grid, x)
    share = jnp.clip((x - jnp.asarray(grid)[i]) / jnp.asarray(np.diff(grid))[i], 0.0, 1.0)[:, None]
    result = (1 - share) * values[i] + share * values[i + 1]
    if edges:
        inside = (x >= grid[0]) & (x <= grid[-1])
        result = jnp.where(inside[:, None], result, 0.0)
    return result


def _looked_up(wavelength: Float[Array, " wave"], x: Float[Array, " depth"]) -> Float[Array, "wave table depth"]:
    """All tables, `_EDGED` then `_SMOOTH`, where x is ln T in steps of the grid from its beginning."""
    node = jnp.clip(jnp.floor(x).astype(int), 0, _LOG_T.size - 2)
    s = x - node

    def hermite(c):
        return c[0] + s * (c[1] + s * (c[2] + s * c[3]))

    w = wavelength[:, None]
    below = jnp.sum(jnp.asarray(_EDGES) < w[:, :, None], axis=-1)
    i = jnp.clip(below - 1, 0, _EDGED_SIZE - 2)
    row = jnp.stack([_EDGED_FIRST + i, _EDGED_FIRST + i + 1])
    left, right = jnp.asarray(TABLES["wavelength"])[row]
    share = jnp.clip((w - left) / (right - left), 0.0, 1.0)[:, :, None]
    ends = jnp.exp(hermite(jnp.asarray(_COEFFICIENTS)[:, row[..., None], node]))
    inside = (w >= _EDGES[:, 0]) & (w <= TABLES["wavelength"][_EDGED_FIRST + _EDGED_SIZE - 1])
    edged = jnp.where(inside[:, :, None], (1 - share) * ends[0] + share * ends[1], 0.0)

    x, grid = jnp.log(wavelength), np.log(_SMOOTH_GRID)
    i = _left(grid, x)
    share = jnp.clip((x - jnp.asarray(grid)[i]) / jnp.asarray(np.diff(grid))[i], 0.0, 1.0)[:, None, None]
    table = jnp.asarray(_SMOOTH_COEFFICIENTS)
    smooth = jnp.exp(hermite(((1 - share) * table[:, i] + share * table[:, i + 1])[..., node]))
    return jnp.concatenate([edged, smooth], axis=1)


_tables = jax.custom_jvp(_looked_up)


def _tables_jvp(primals, tangents):
    # a layer's values see its temperature alone: one derivative is a product away from all
    (wavelength, x), (of_wavelength, of_x) = primals, tangents
    value, slope = jax.jvp(lambda y: _looked_up(wavelength, y), (x,), (jnp.ones_like(x),))
    tangent = jnp.zeros_like(value) if isinstance(of_x, SymbolicZero) else slope * of_x
    if not isinstance(of_wavelength, SymbolicZero):
        tangent = tangent + jax.jvp(lambda y: _looked_up(y, x), (wavelength,), (of_wavelength,))[1]
    return value, tangent


_tables.defjvp(_tables_jvp, symbolic_zeros=True)


def tabulated_absorption(
    wavelength: Float[Array, " wave"], gas: Gas, emission: Float[Array, "wave depth"]
) -> Float[Array, "wave depth"]:
    """Absorption of all tabulated sources, cm^-1, with stimulated emission (`emission` = 1 - exp(-h nu/kT)).

    Vacuum Angstrom. Sources: Opacity Project with the energies of Allende Prieto et al. (2003) for metals;
    Bell & Berrington (1987) for H- free-free; John (1975, 1994) for H2-, He-, O-; Bell et al. (1988),
    Ramsbottom et al. (1992) for C-, N-; Mihalas (1965) for H2+; Peach (1970) for free-free of He, C, Mg, Si
    and others, of H with its Gaunt factors; Kurucz et al. (1987) for CH and OH photodissociation.
    """
    # T is held inside the grid, 1500-60000 K
    x = (jnp.clip(jnp.log(gas.t), _LOG_T[0], _LOG_T[-1]) - _LOG_T[0]) / _STEP
    value = _tables(wavelength, x)
    pe = gas.xne * BOLTZMANN * gas.t
    plain = jnp.concatenate(
        [gas.n_over_u[_ATOM, _STAGE], jnp.stack([(gas.n[0, 0] * 1e-20) * (gas.n[0, 1] * 1e-20), pe * gas.n_h2])]
    )
    protons = _FREE_FREE * gas.xne * gas.n[0, 1] / jnp.sqrt(gas.t)
    cubic = jnp.concatenate([protons[None], (gas.xne * 1e-20) * (_IONS @ gas.n[:, 1] * 1e-20)])
    atoms = gas.n[np.array(list(_NET_ATOMS.values())) - 1, 0]
    molecules = gas.n_molecule[np.array([MOLECULES.index(name) for name in _NET_MOLECULES])]
    # the tables of these hold stimulated emission already
    net = jnp.concatenate([_NET_FACTOR * pe * atoms, _MASS * molecules])

    cube = (wavelength / _LYMAN_LIMIT)[:, None] ** 3
    ends = np.cumsum([0, _LEADING, len(_CUBIC), len(net)])
    sums = [(value[:, a:b] * w).sum(1) for a, b, w in zip(ends, ends[1:], (plain, cubic, net), strict=False)]
    return (sums[0] + cube * sums[1]) * emission + sums[2]
