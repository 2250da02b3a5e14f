"""Profile of one hydrogen line: Stark broadening, Doppler motion and Lorentz damping, convolved.

In the core the convolution is done on a grid uniform in Doppler widths: the Stark profile enters as the
exact probability in every cell, so that it may be far narrower than a cell; the kernel is a Voigt function.
In the wings, where the convolution of heavy tails is their sum, Stark and Lorentz wings are added.
The table is made by tools/build_hydrogen.py. Between its points the area of S is off by up to 3 % where the
Stark core is far inside the Doppler core; the central cell takes that up.

Everything that can be is computed on grids fixed in alpha, where interpolation is a constant matrix; what
is left to look up per depth is one curve for the wing, one for the core.
"""

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from astrogf.synthesis.lines.voigt import voigt

LN10 = float(np.log(10.0))
STEP = 0.125  # of the core grid, in Doppler widths; adds STEP^2/12 to a variance of 1/2: 0.13 % in the width
HALF = 256  # cells on one side
BLEND = (13.0, 17.0)  # Doppler widths between which core and wing form are joined
SUB = 8  # points of a Curve per interval of the table


@jax.custom_jvp
def _exp(x: Array) -> Array:
    # The barrier keeps the compiler from computing it anew inside the loop of every tangent.
    return jax.lax.optimization_barrier(jnp.exp(x))


@_exp.defjvp
def _exp_jvp(primals, tangents):
    y = _exp(*primals)
    return y, y * tangents[0]


@jax.custom_jvp
def _log(x: Array) -> Array:
    return jax.lax.optimization_barrier(jnp.log(x))


@_log.defjvp
def _log_jvp(primals, tangents):
    return _log(*primals), jax.lax.optimization_barrier(1.0 / primals[0]) * tangents[0]


class StarkTable(NamedTuple):
    """Pure Stark profiles S(alpha) of some lines, area 1 over both sides; alpha = detuning[A] / F0."""

    log_t: Float[Array, " t"]
    log_ne: Float[Array, " ne"]
    log_alpha: Float[Array, " alpha"]
    ln_profile: Float[Array, "*line t ne alpha"]


class Curve(NamedTuple):
    """A Stark profile on a fine grid uniform in ln(alpha): ln S, its slope d ln S / d ln(alpha), and the
    probability of a shift beyond each point, on one side."""

    start: Float[Array, ""]
    step: Float[Array, ""]
    ln_s: Float[Array, "depth point"]
    slope: Float[Array, "depth point"]
    beyond: Float[Array, "depth point"]


def holtsmark_field(xne: Float[Array, " depth"]) -> Float[Array, " depth"]:
    """F0 = 1.25e-9 Ne^(2/3), esu."""
    return 1.25e-9 * _exp(2.0 / 3.0 * _log(xne))


def _cubic(f):
    """Catmull-Rom weights of the four nodes round a point a fraction f into the middle interval."""
    return (
        0.5 * f * (-1.0 + f * (2.0 - f)),
        0.5 * (2.0 + f * f * (-5.0 + 3.0 * f)),
        0.5 * f * (1.0 + f * (4.0 - 3.0 * f)),
        0.5 * f * f * (f - 1.0),
    )


def _weights(pos: Float[Array, " depth"], size: int) -> Float[Array, "depth size"]:
    """Weight of every one of `size` uniform nodes in the cubic at `pos`; ends repeat the edge node."""
    pos = jnp.clip(pos, 0.0, size - 1.0)[:, None]
    far = jnp.abs(pos - np.arange(-1.0, size + 1.0))
    near = 1.0 + far * far * (1.5 * far - 2.5)
    next_ = 2.0 + far * (-4.0 + far * (2.5 - 0.5 * far))
    all_ = jnp.where(far < 1.0, near, jnp.where(far < 2.0, next_, 0.0))
    first, last = all_[:, :1] + all_[:, 1:2], all_[:, -2:-1] + all_[:, -1:]
    return jnp.concatenate([first, all_[:, 2:-2], last], axis=1)


def _pick(table: Float[Array, "depth node k"], i: Int[Array, "depth point"]) -> Float[Array, "depth point k"]:
    """Rows of every depth's own table: one look-up for all columns, and one for each of their tangents."""
    return jax.vmap(lambda rows, at: rows[at])(table, i)


def _take(table: Float[Array, "depth node"], pos: Float[Array, "depth point"]) -> Float[Array, "depth point"]:
    """Cubic interpolation along the last axis, own table for every depth; ends repeat the edge node."""
    size = table.shape[-1]
    pos = jnp.clip(pos, 0.0, size - 1.0)
    i = jnp.clip(jnp.floor(pos).astype(jnp.int32), 0, size - 2)
    wide = jnp.concatenate([table[:, :1], table, table[:, -1:]], axis=1)
    four = _pick(jnp.stack([wide[:, k : size - 1 + k] for k in range(4)], axis=-1), i)
    return sum(four[..., k] * weight for k, weight in enumerate(_cubic(pos - i)))


@lru_cache(maxsize=4)
def _matrices(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From a table's nodes to the points of a `Curve`: values, slopes per node, values half-way between."""
    n = (size - 1) * SUB
    points = np.arange(n + 1) / SUB

    def values(pos):
        i = np.clip(np.floor(pos).astype(int), 0, size - 2)
        out = np.zeros((pos.size, size))
        for k, weight in enumerate(_cubic(pos - i)):
            np.add.at(out, (np.arange(pos.size), np.clip(i + k - 1, 0, size - 1)), weight)
        return out

    h = 1e-4  # the matrix is a cubic in pos: a difference inside its interval is exact to 1e-8
    inner = np.clip(points, h, size - 1 - h)
    slopes = (values(inner + h) - values(inner - h)) / (2 * h)
    return values(points), slopes, values(points[:-1] + 0.5 / SUB)


def stark_at(table: StarkTable, t: Float[Array, " depth"], xne: Float[Array, " depth"]) -> Float[Array, "depth alpha"]:
    """ln S at the alpha nodes, cubic in (log T, log Ne).

    Outside the table (2500-79400 K, 1e10-1e16 cm^-3) the nearest profile in alpha holds and only F0 scales.
    """
    log_t = jnp.clip(jnp.log10(t), table.log_t[0], table.log_t[-1])
    pos_t = jnp.interp(log_t, table.log_t, jnp.arange(table.log_t.size, dtype=log_t.dtype))
    pos_ne = (jnp.log10(xne) - table.log_ne[0]) / (table.log_ne[1] - table.log_ne[0])
    by_t, by_ne = _weights(pos_t, table.log_t.size), _weights(pos_ne, table.log_ne.size)
    both = (by_t[:, :, None] * by_ne[:, None, :]).reshape(pos_t.size, -1)
    return both @ table.ln_profile.reshape(both.shape[1], -1)


def stark_curve(nodes: Float[Array, "depth alpha"], log_alpha: Float[Array, " alpha"]) -> Curve:
    """The profiles of `stark_at` on a fine grid; beyond its end the Holtsmark slope -5/2 holds."""
    size = log_alpha.size
    value, slope, middle = _matrices(size)
    spacing = LN10 * (log_alpha[-1] - log_alpha[0]) / (size - 1)
    start, step = LN10 * log_alpha[0], spacing / SUB
    ln_s = nodes @ value.T
    edges = _exp(start + step * jnp.arange(value.shape[0]))
    mass = _exp(nodes @ middle.T) * jnp.diff(edges)
    tail = _exp(ln_s[:, -1:]) * edges[-1] / 1.5
    beyond = jnp.concatenate([tail + jnp.cumsum(mass[:, ::-1], axis=1)[:, ::-1], tail], axis=1)
    return Curve(start, step, ln_s, (nodes @ slope.T) / spacing, beyond)


def ln_stark(curve: Curve, ln_a: Float[Array, "depth point"]) -> Float[Array, "depth point"]:
    """ln S(alpha)."""
    end = curve.start + curve.step * (curve.ln_s.shape[1] - 1)
    return _take(curve.ln_s, (ln_a - curve.start) / curve.step) - 2.5 * jnp.maximum(ln_a - end, 0.0)


def beyond(curve: Curve, ln_a: Float[Array, "depth point"]) -> Float[Array, "depth point"]:
    """Probability of a Stark shift above alpha, on one side."""
    q, n = curve.beyond, curve.beyond.shape[1]
    end = curve.start + curve.step * (n - 1)
    slope = -curve.step * _exp(curve.ln_s + curve.start + curve.step * jnp.arange(n))
    pos = jnp.clip((ln_a - curve.start) / curve.step, 0.0, n - 1.0)
    i = jnp.clip(jnp.floor(pos).astype(jnp.int32), 0, n - 2)
    f = pos - i
    four = _pick(jnp.stack([q[:, :-1], q[:, 1:], slope[:, :-1], slope[:, 1:]], axis=-1), i)
    q0, q1, d0, d1 = (four[..., k] for k in range(4))
    g = 1.0 - f
    hermite = (q0 * (1.0 + 2.0 * f) + d0 * f) * g * g + (q1 * (3.0 - 2.0 * f) - d1 * g) * f * f
    tail = q[:, -1:] * _exp(-1.5 * jnp.maximum(ln_a - end, 0.0))
    below = _exp(curve.start) - _exp(jnp.minimum(ln_a, curve.start))
    inner = q[:, :1] + _exp(curve.ln_s[:, :1]) * below
    return jnp.where(ln_a > end, tail, jnp.where(ln_a < curve.start, inner, hermite))


def stark_mass(curve: Curve, cell: Float[Array, " depth"]) -> Float[Array, "depth half"]:
    """Probability in cells centred on 0, 1, 2 ... cell widths (`cell`, in alpha).

    The central one takes the rest, so that both sides make 1 less what lies beyond the last cell.
    """
    upper = beyond(curve, _log(cell)[:, None] + np.log(np.arange(HALF + 1) + 0.5))
    return jnp.concatenate([1.0 - 2.0 * upper[:, :1], upper[:, :-1] - upper[:, 1:]], axis=1)


def wing_profile(
    curve: Curve,
    x: Float[Array, " point"],
    f0: Float[Array, " depth"],
    doppler: Float[Array, " depth"],
    lorentz: Float[Array, " depth"],
) -> Float[Array, "depth point"]:
    """Stark plus Lorentz wing per Angstrom, valid beyond about 13 Doppler widths (bounded inside).

    The Gaussian acts on both wings through their second derivative, taken as that of the local power law.
    The Lorentz wing counts for the atoms whose Stark shift is smaller. The sum is looked up on the curve's
    points; beyond its end both are power laws.
    """
    n = curve.ln_s.shape[1]
    end = curve.start + curve.step * (n - 1)
    ln_f0, d, g = _log(f0)[:, None], doppler[:, None], lorentz[:, None]

    def lorentzian(x2):
        return g / (np.pi * (x2 + g * g)) * (1.0 + 1.5 * d * d / x2)

    at = jnp.maximum(_exp(2.0 * (curve.start + curve.step * jnp.arange(n) + ln_f0)), 25.0 * d * d)
    smear = 1.0 + 0.25 * d * d / at * curve.slope * (curve.slope - 1.0)
    inside = jnp.maximum(1.0 - 2.0 * curve.beyond, 0.0)
    table = _exp(curve.ln_s - ln_f0) * smear + inside * lorentzian(at)
    ln_a = _log(jnp.maximum(x[None], 5.0 * d)) - ln_f0
    within = _exp(_take(_log(table), (ln_a - curve.start) / curve.step))
    power = _exp(curve.ln_s[:, -1:] - ln_f0 - 2.5 * jnp.maximum(ln_a - end, 0.0))
    outside = power * smear[:, -1:] + inside[:, -1:] * lorentzian(_exp(2.0 * (ln_a + ln_f0)))
    return jnp.where(ln_a < end, within, outside)


def core_profile(
    curve: Curve,
    x: Float[Array, " point"],
    f0: Float[Array, " depth"],
    doppler: Float[Array, " depth"],
    lorentz: Float[Array, " depth"],
) -> Float[Array, "depth point"]:
    """Profile per Angstrom, valid within about 18 Doppler widths of the centre (bounded outside)."""
    mass = stark_mass(curve, STEP * doppler / f0)
    kernel = voigt(STEP * jnp.arange(HALF + 1.0)[None], (lorentz / doppler)[:, None]) / np.sqrt(np.pi)

    def even(y):  # both sides in the order of the discrete Fourier transform
        return jnp.concatenate([y, y[:, HALF - 1 : 0 : -1]], axis=1)

    spectrum = jnp.fft.rfft(even(mass), axis=1) * jnp.fft.rfft(even(kernel), axis=1)
    grid = jnp.fft.irfft(spectrum, n=2 * HALF, axis=1)[:, : int(20 / STEP)]
    # Mirror three points so that the cubic is symmetric about the centre.
    ln_grid = _log(jnp.maximum(jnp.concatenate([grid[:, 3:0:-1], grid], axis=1), 1e-40))
    u = jnp.minimum(x[None] / doppler[:, None], 19.0)
    return _exp(_take(ln_grid, u / STEP + 3.0)) / doppler[:, None]


def line_profile(
    curve: Curve,
    x: Float[Array, " point"],
    f0: Float[Array, " depth"],
    doppler: Float[Array, " depth"],
    lorentz: Float[Array, " depth"],
    inner: int | None = None,
) -> Float[Array, "depth point"]:
    """Full profile, per Angstrom, area 1 over both sides.

    `x`: |detuning|; `doppler`: 1/e half width; `lorentz`: half width at half maximum of all damping but Stark
    (all in A). Only the first `inner` points can lie within 17 Doppler widths (None: all).
    """
    inner = x.size if inner is None else inner
    wing = wing_profile(curve, x, f0, doppler, lorentz)
    if inner == 0:
        return wing
    core = core_profile(curve, x[:inner], f0, doppler, lorentz)
    s = jnp.clip((x[None, :inner] / doppler[:, None] - BLEND[0]) / (BLEND[1] - BLEND[0]), 0.0, 1.0)
    s = s * s * (3.0 - 2.0 * s)
    return jnp.concatenate([(1.0 - s) * core + s * wing[:, :inner], wing[:, inner:]], axis=1)
