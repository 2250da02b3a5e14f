"""The Voigt function, smooth in both arguments, with exact derivatives for the price of the value."""

import functools
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

SQRT_PI = float(np.sqrt(np.pi))


def _weideman(n: int) -> tuple[float, list[float]]:
    """Scale L and polynomial coefficients (highest power first) of Weideman's expansion of order n."""
    m = 2 * n
    theta = np.arange(-m + 1, m) * np.pi / m
    scale = np.sqrt(n / np.sqrt(2.0))
    t = scale * np.tan(theta / 2)
    f = np.concatenate([[0.0], np.exp(-(t**2)) * (scale**2 + t**2)])
    a = np.real(np.fft.fft(np.fft.fftshift(f))) / (2 * m)
    return float(scale), a[1 : n + 1][::-1].tolist()


_EXPANSIONS = {jnp.dtype(jnp.float64): _weideman(32), jnp.dtype(jnp.float32): _weideman(16)}
_WING = (1.0, 0.5, 0.75, 1.875)  # (2k - 1)!! / 2^k, of w(z) = i / sqrt(pi) sum_k c_k z^-(2k + 1)
WING_TERMS = len(_WING)


def faddeeva(u: Float[Array, "..."], a: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Real and imaginary part of w(u + i a) for a >= 0, in real arithmetic so that it vectorises.

    Absolute error below 1e-13 in float64 and 1e-6 in float32 (with half the terms: rounding is as large as what they
    leave); it is analytic in both arguments, with no regions to join. The relative accuracy of far wings is not kept
    in float32: `wing_coefficients` are for those.
    Source: Weideman (1994, SIAM J. Numer. Anal. 31, 1497), eq. 38 with N = 32 (16).
    """
    # with d = L - i z and n = L + i z:  Z = n / d,  w = 2 p(Z) / d^2 + 1 / (sqrt(pi) d)
    scale, coefficients = _EXPANSIONS[jnp.result_type(u, a)]
    d_re, d_im = scale + a, -u
    inverse = 1.0 / (d_re * d_re + d_im * d_im)
    i_re, i_im = d_re * inverse, -d_im * inverse
    n_re, n_im = scale - a, u
    z_re, z_im = n_re * i_re - n_im * i_im, n_re * i_im + n_im * i_re
    p_re, p_im = jnp.full_like(z_re, coefficients[0]), jnp.zeros_like(z_re)
    for c in coefficients[1:]:
        p_re, p_im = p_re * z_re - p_im * z_im + c, p_re * z_im + p_im * z_re
    q_re, q_im = i_re * i_re - i_im * i_im, 2.0 * i_re * i_im
    w_re = 2.0 * (p_re * q_re - p_im * q_im) + i_re / SQRT_PI
    return w_re, 2.0 * (p_re * q_im + p_im * q_re) + i_im / SQRT_PI


def wing_coefficients(a: Float[Array, "*shape"]) -> list[Float[Array, "*shape"]]:
    """Of u^-2, u^-4, ... in H(a, u) far from the line: relative error 59 / u^8 at small a, and (a / u)^8.

    A wing is so a sum of a few products of something of the layer and something of the wavelength.
    Source: Abramowitz & Stegun (1964), eq. 7.1.23, with z^-(2k + 1) expanded in a / u.
    """
    terms = []
    for m in range(1, WING_TERMS + 1):
        powers = [
            (-1) ** q * _WING[m - 1 - q] * comb(2 * m - 1, 2 * q + 1) / SQRT_PI * a ** (2 * q + 1) for q in range(m)
        ]
        terms.append(functools.reduce(jnp.add, powers))
    return terms


def voigt_with_slopes(
    u: Float[Array, "..."], a: Float[Array, "..."]
) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
    """H(a, u) and its derivatives by u and by a, from w' = -2 z w + 2i / sqrt(pi): no further evaluation."""
    h, k = faddeeva(u, a)
    return h, 2.0 * (a * k - u * h), 2.0 * (a * h + u * k) - 2.0 / SQRT_PI


@jax.custom_jvp
def voigt(u: Float[Array, "..."], a: Float[Array, "..."]) -> Float[Array, "..."]:
    """H(a, u) = Re w(u + i a), normalised so that its integral over u is sqrt(pi).

    Shapes: broadcast. `u` is the distance from the line in Doppler widths, `a` >= 0 the damping in the same unit.
    """
    return faddeeva(u, a)[0]


@voigt.defjvp
def _voigt_jvp(primals, tangents):
    h, h_u, h_a = voigt_with_slopes(*primals)
    return h, h_u * tangents[0] + h_a * tangents[1]
