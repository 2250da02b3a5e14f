"""Profile of one hydrogen line: Stark broadening, Doppler motion and Lorentz damping, convolved.

In the core the convolution is done on a grid uniform in Doppler widths: the Stark profile enters as the
exact probability in every cell, so that it may be far narrower than a cell; the kernel is a Voigt function.
In the wings, where the convolution of heavy tails is their sum, Stark and Lorentz wings are added.
The table is made by tools/build_hydrogen.py. Between its points the area of S is off by up to 3 % where the
Stark core is far inside the Doppler core; the central cell takes that up.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

LN10 = float(np.log(10.0))
STEP = 0.125  # of the core grid, in Doppler widths; adds STEP^2/12 to a variance of 1/2: 0.13 % in the width
HALF = 256  # cells on one side
BLEND = (13.0, 17.0)  # Doppler widths between which core and wing form are joined
SUB = 8


class StarkTable(NamedTuple):
    """Pure Stark profiles S(alpha) of some lines, area 1 over both sides; alpha = detuning[A] / F0."""

    log_t: Float[Array, " t"]
    log_ne: Float[Array, " ne"]
    log_alpha: Float[Array, " alpha"]
    ln_profile: Float[Array, "*line t ne alpha"]


def holtsmark_field(xne: Float[Array, " depth"]) -> Float[Array, " depth"]:
    """F0 = 1.25e-9 Ne^(2/3), esu."""
    return 1.25e-9 * jnp.exp(2.0 / 3.0 * jnp.log(xne))


def _catmull_rom(pos: Array, size: int) -> tuple[Array, Array]:
    """Indices [..., 4] and weights [..., 4] for a cubic through uniform nodes; ends repeat the edge node."""
    pos = jnp.clip(pos, 0.0, size - 1.0)
    i = jnp.clip(jnp.floor(pos).astype(jnp.int32), 0, size - 2)
    f = pos - i
    weights = jnp.stack(
        [
            0.5 * f * (-1.0 + f * (2.0 - f)),
            0.5 * (2.0 + f * f * (-5.0 + 3.0 * f)),
            0.5 * f * (1.0 + f * (4.0 - 3.0 * f)),
            0.5 * f * f * (f - 1.0),
        ],
        axis=-1,
    )
    return jnp.clip(i[..., None] + jnp.arange(-1, 3), 0, size - 1), weights


def _take(table: Float[Array, "depth node"], pos: Float[Array, "depth point"]) -> Float[Array, "depth point"]:
    """Cubic interpolation along the last axis, own table for every depth."""
    index, weight = _catmull_rom(pos, table.shape[-1])
    flat = jnp.take_along_axis(table, index.reshape(index.shape[0], -1), axis=-1)
    return jnp.sum(flat.reshape(index.shape) * weight, axis=-1)


def stark_at(
    table: StarkTable, t: Float[Array, " depth"], xne: Float[Array, " depth"]
) -> Float[Array, "depth alpha"]:
    """ln S at the alpha nodes, cubic in (log T, log Ne).

    Outside the table (2500-79400 K, 1e10-1e16 cm^-3) the nearest profile in alpha holds and only F0 scales.
    """
    log_t = jnp.clip(jnp.log10(t), table.log_t[0], table.log_t[-1])
    pos_t = jnp.interp(log_t, table.log_t, jnp.arange(table.log_t.size, dtype=log_t.dtype))
    pos_ne = (jnp.log10(xne) - table.log_ne[0]) / (table.log_ne[1] - table.log_ne[0])
    i_t, w_t = _catmull_rom(pos_t, table.log_t.size)
    i_ne, w_ne = _catmull_rom(pos_ne, table.log_ne.size)
    block = table.ln_profile[i_t[:, :, None], i_ne[:, None, :]]
    return jnp.einsum("da,db,dabk->dk", w_t, w_ne, block)


def ln_stark(
    nodes: Float[Array, "depth alpha"], log_alpha: Float[Array, " alpha"], ln_a: Float[Array, "depth point"]
) -> Float[Array, "depth point"]:
    """ln S(alpha); beyond the last node the Holtsmark slope -5/2."""
    pos = (ln_a / LN10 - log_alpha[0]) / (log_alpha[1] - log_alpha[0])
    return _take(nodes, pos) - 2.5 * jnp.maximum(ln_a - log_alpha[-1] * LN10, 0.0)


def _survival(
    nodes: Float[Array, "depth alpha"], log_alpha: Float[Array, " alpha"]
) -> tuple[Array, Array, Array]:
    """ln of the cell edges; integral of S from each edge to infinity; -dQ/d(ln alpha) at the edges."""
    n = (log_alpha.size - 1) * SUB
    step = (log_alpha[-1] - log_alpha[0]) / n
    edges = log_alpha[0] + step * jnp.arange(n + 1)
    depth = nodes.shape[0]

    def profile(x):
        return jnp.exp(ln_stark(nodes, log_alpha, jnp.broadcast_to(LN10 * x, (depth, x.size))))

    mass = profile(edges[:-1] + 0.5 * step) * jnp.diff(10.0**edges)
    at_edges = profile(edges) * 10.0**edges
    tail = at_edges[:, -1:] / 1.5
    q = jnp.concatenate([tail + jnp.cumsum(mass[:, ::-1], axis=1)[:, ::-1], tail], axis=1)
    return LN10 * edges, q, at_edges


def beyond(
    nodes: Float[Array, "depth alpha"], log_alpha: Float[Array, " alpha"], ln_a: Float[Array, "depth point"]
) -> Float[Array, "depth point"]:
    """Probability of a Stark shift above alpha, on one side."""
    ln_edges, q, minus_dq = _survival(nodes, log_alpha)
    step = ln_edges[1] - ln_edges[0]
    pos = jnp.clip((ln_a - ln_edges[0]) / step, 0.0, ln_edges.size - 1.0)
    i = jnp.clip(jnp.floor(pos).astype(jnp.int32), 0, ln_edges.size - 2)
    f = pos - i
    q0, q1 = jnp.take_along_axis(q, i, 1), jnp.take_along_axis(q, i + 1, 1)
    d0, d1 = -step * jnp.take_along_axis(minus_dq, i, 1), -step * jnp.take_along_axis(minus_dq, i + 1, 1)
    hermite = (
        q0 * (1 + 2 * f) * (1 - f) ** 2
        + d0 * f * (1 - f) ** 2
        + q1 * f**2 * (3 - 2 * f)
        + d1 * f**2 * (f - 1)
    )
    tail = q[:, -1:] * jnp.exp(-1.5 * jnp.maximum(ln_a - ln_edges[-1], 0.0))
    below = jnp.exp(ln_edges[0]) - jnp.exp(jnp.minimum(ln_a, ln_edges[0]))
    inner = q[:, :1] + jnp.exp(nodes[:, :1]) * below
    return jnp.where(ln_a > ln_edges[-1], tail, jnp.where(ln_a < ln_edges[0], inner, hermite))


def stark_mass(
    nodes: Float[Array, "depth alpha"], log_alpha: Float[Array, " alpha"], cell: Float[Array, " depth"]
) -> Float[Array, "depth half"]:
    """Probability in cells centred on 0, 1, 2 ... cell widths (`cell`, in alpha).

    The central one takes the rest, so that both sides make 1 less what lies beyond the last cell.
    """
    upper = beyond(nodes, log_alpha, jnp.log(cell)[:, None] + jnp.log(jnp.arange(HALF + 1) + 0.5))
    return jnp.concatenate([1.0 - 2.0 * upper[:, :1], upper[:, :-1] - upper[:, 1:]], axis=1)


def _weideman(terms: int = 32) -> tuple[float, np.ndarray]:
    """Coefficients of the rational series for w(z): Weideman (1994, SIAM J Numer Anal 31, 1497)."""
    m = 2 * terms
    theta = np.arange(-m + 1, m) * np.pi / m
    scale = float(np.sqrt(terms / np.sqrt(2.0)))
    t = scale * np.tan(theta / 2)
    f = np.concatenate([[0.0], np.exp(-(t**2)) * (scale**2 + t**2)])
    a = np.real(np.fft.fft(np.fft.fftshift(f))) / (2 * m)
    return scale, a[1 : terms + 1][::-1]


_SCALE, _COEFFICIENTS = _weideman()


def voigt(u: Float[Array, "*point"], a: Float[Array, "*#point"]) -> Float[Array, "*point"]:
    """Voigt function in Doppler widths, area sqrt(pi); smooth for all a >= 0."""
    # Real arithmetic throughout: w(z) with z = u + i a, Z = (L + iz)/(L - iz).
    nr, ni = _SCALE - a, u
    dr, di = _SCALE + a, -u
    d2 = dr * dr + di * di
    zr, zi = (nr * dr + ni * di) / d2, (ni * dr - nr * di) / d2
    pr, pi_ = jnp.zeros_like(zr), jnp.zeros_like(zr)
    for c in _COEFFICIENTS:
        pr, pi_ = pr * zr - pi_ * zi + float(c), pr * zi + pi_ * zr
    ir, ii = dr / d2, -di / d2  # 1/(L - iz)
    sr, si = ir * ir - ii * ii, 2 * ir * ii
    return 2.0 * (pr * sr - pi_ * si) + ir / np.sqrt(np.pi)


def wing_profile(
    nodes: Float[Array, "depth alpha"],
    log_alpha: Float[Array, " alpha"],
    x: Float[Array, " point"],
    f0: Float[Array, " depth"],
    doppler: Float[Array, " depth"],
    lorentz: Float[Array, " depth"],
) -> Float[Array, "depth point"]:
    """Stark plus Lorentz wing per Angstrom, valid beyond about 13 Doppler widths (bounded inside).

    The Gaussian acts on the Stark wing through its three-point Gauss-Hermite rule, exact to the fourth
    moment. The Lorentz wing counts for the atoms whose Stark shift is smaller.
    """
    reach = np.sqrt(1.5) * doppler[:, None]
    ln_f0 = jnp.log(f0)[:, None]

    def stark(d):
        return jnp.exp(ln_stark(nodes, log_alpha, jnp.log(jnp.maximum(d, reach)) - ln_f0) - ln_f0)

    s = (4.0 * stark(x[None]) + stark(x[None] - reach) + stark(x[None] + reach)) / 6.0
    x2 = jnp.maximum(x[None], reach) ** 2
    lor = lorentz[:, None] / (np.pi * (x2 + lorentz[:, None] ** 2))
    inside = 1.0 - 2.0 * beyond(nodes, log_alpha, 0.5 * jnp.log(x2) - ln_f0)
    return s + jnp.maximum(inside, 0.0) * lor * (1.0 + 1.5 * doppler[:, None] ** 2 / x2)


def core_profile(
    nodes: Float[Array, "depth alpha"],
    log_alpha: Float[Array, " alpha"],
    u: Float[Array, "depth point"],
    f0: Float[Array, " depth"],
    doppler: Float[Array, " depth"],
    lorentz: Float[Array, " depth"],
) -> Float[Array, "depth point"]:
    """Profile per Angstrom at u Doppler widths from the centre, u below about 18."""
    mass = stark_mass(nodes, log_alpha, STEP * doppler / f0)
    kernel = voigt(STEP * jnp.arange(HALF + 1.0)[None], (lorentz / doppler)[:, None]) / np.sqrt(np.pi)

    def even(x):  # both sides in the order of the discrete Fourier transform
        return jnp.concatenate([x, x[:, HALF - 1 : 0 : -1]], axis=1)

    spectrum = jnp.fft.rfft(even(mass), axis=1) * jnp.fft.rfft(even(kernel), axis=1)
    grid = jnp.fft.irfft(spectrum, n=2 * HALF, axis=1)[:, : int(20 / STEP)]
    # Mirror three points so that the cubic is symmetric about the centre.
    ln_grid = jnp.log(jnp.maximum(jnp.concatenate([grid[:, 3:0:-1], grid], axis=1), 1e-40))
    return jnp.exp(_take(ln_grid, u / STEP + 3.0)) / doppler[:, None]


def line_profile(
    nodes: Float[Array, "depth alpha"],
    log_alpha: Float[Array, " alpha"],
    x: Float[Array, " point"],
    f0: Float[Array, " depth"],
    doppler: Float[Array, " depth"],
    lorentz: Float[Array, " depth"],
) -> Float[Array, "depth point"]:
    """Full profile, per Angstrom, area 1 over both sides.

    `x`: |detuning|; `doppler`: 1/e half width; `lorentz`: half width at half maximum of all damping but Stark
    (all in A).
    """
    u = x[None] / doppler[:, None]
    core = core_profile(nodes, log_alpha, jnp.minimum(u, 19.0), f0, doppler, lorentz)
    wing = wing_profile(nodes, log_alpha, x, f0, doppler, lorentz)
    s = jnp.clip((u - BLEND[0]) / (BLEND[1] - BLEND[0]), 0.0, 1.0)
    s = s * s * (3.0 - 2.0 * s)
    return (1.0 - s) * core + s * wing
