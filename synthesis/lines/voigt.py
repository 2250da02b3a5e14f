"""The Voigt function, smooth in both arguments, with exact derivatives for the price of the value."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

SQRT_PI = float(np.sqrt(np.pi))


def _weideman(n: int) -> tuple[float, np.ndarray]:
    """Scale L and polynomial coefficients (highest power first) of Weideman's expansion of order n."""
    m = 2 * n
    theta = np.arange(-m + 1, m) * np.pi / m
    scale = np.sqrt(n / np.sqrt(2.0))
    t = scale * np.tan(theta / 2)
    f = np.concatenate([[0.0], np.exp(-(t**2)) * (scale**2 + t**2)])
    a = np.real(np.fft.fft(np.fft.fftshift(f))) / (2 * m)
    return float(scale), a[1 : n + 1][::-1].copy()


_SCALE, _COEFFICIENTS = _weideman(32)
FAR = 200.0
"""|z|^2 beyond which single precision takes the asymptotic form, whose relative error is 3 / (4 |z|^4) = 2e-5."""


def faddeeva(u: Float[Array, "..."], a: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Real and imaginary part of w(u + i a) for a >= 0, in real arithmetic so that it vectorises.

    Absolute error below 1e-13 in float64; it is analytic in both arguments, with no regions to join. In float32 the
    absolute error is 1e-6, so far wings take the first asymptotic terms instead, which keep their relative accuracy.
    Source: Weideman (1994, SIAM J. Numer. Anal. 31, 1497), eq. 38 with N = 32; Humlicek (1982, JQSRT 27, 437).
    """
    # with d = L - i z and n = L + i z:  Z = n / d,  w = 2 p(Z) / d^2 + 1 / (sqrt(pi) d)
    d_re, d_im = _SCALE + a, -u
    inverse = 1.0 / (d_re * d_re + d_im * d_im)
    i_re, i_im = d_re * inverse, -d_im * inverse
    n_re, n_im = _SCALE - a, u
    z_re, z_im = n_re * i_re - n_im * i_im, n_re * i_im + n_im * i_re
    p_re, p_im = jnp.full_like(z_re, _COEFFICIENTS[0]), jnp.zeros_like(z_re)
    for c in _COEFFICIENTS[1:]:
        p_re, p_im = p_re * z_re - p_im * z_im + c, p_re * z_im + p_im * z_re
    q_re, q_im = i_re * i_re - i_im * i_im, 2.0 * i_re * i_im
    w_re = 2.0 * (p_re * q_re - p_im * q_im) + i_re / SQRT_PI
    w_im = 2.0 * (p_re * q_im + p_im * q_re) + i_im / SQRT_PI
    if u.dtype != jnp.float32:
        return w_re, w_im
    # i z / (sqrt(pi) (z^2 - 1/2)), its real part written without cancellation
    size = u * u + a * a
    far = size > FAR
    re, im = u * u - a * a - 0.5, 2.0 * u * a
    norm = 1.0 / (SQRT_PI * jnp.where(far, re * re + im * im, 1.0))
    return jnp.where(far, a * (size + 0.5) * norm, w_re), jnp.where(far, u * (size - 0.5) * norm, w_im)


def faddeeva_far(u: Float[Array, "..."], a: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Real and imaginary part of w(u + i a) far from the line: beyond |u + i a| = 7 to 2e-8 and 2e-9.

    The continued fraction of Laplace to its sixth term (Gauss-Hermite quadrature with six points); a third of the
    work of `faddeeva`, and the relative accuracy of the far wings is kept.
    Source: Abramowitz & Stegun (1964), eq. 7.1.15; Gautschi (1970, SIAM J. Numer. Anal. 7, 187).
    """
    # w = i / sqrt(pi) * z P(s) / Q(s) with s = z^2
    s_re, s_im = u * u - a * a, 2.0 * u * a
    p_re, p_im = s_re - 7.0, s_im
    p_re, p_im = p_re * s_re - p_im * s_im + 8.25, p_re * s_im + p_im * s_re
    q_re, q_im = s_re - 7.5, s_im
    q_re, q_im = q_re * s_re - q_im * s_im + 11.25, q_re * s_im + q_im * s_re
    q_re, q_im = q_re * s_re - q_im * s_im - 1.875, q_re * s_im + q_im * s_re
    n_re, n_im = u * p_re - a * p_im, u * p_im + a * p_re
    inverse = 1.0 / (SQRT_PI * (q_re * q_re + q_im * q_im))
    return (n_re * q_im - n_im * q_re) * inverse, (n_re * q_re + n_im * q_im) * inverse


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
