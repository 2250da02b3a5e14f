"""Rotation, macroturbulence and Gaussian broadening of a spectrum on a log-uniform grid, smooth at zero width.

All three are convolutions in velocity with kernels that are even in their width, so they are products in Fourier
space, where each kernel is a power series in (width x frequency)^2: the value at zero width is the spectrum itself,
the first derivative by the width is zero there, and no kernel has to be resolved by the grid. Rotation and
macroturbulence are taken as separate convolutions, as in Gray (2005), chapters 17 and 18; a sum over the disc of
`synthesis.transfer.plane.emergent_intensity` would be exact.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from astrogf.base.constants import C_KMS, FWHM_PER_SIGMA

_SERIES_END = 144.0  # z^2 below which J1 is summed as a series; both forms are good to 1e-10 there


def resolution_sigma(resolving_power: float) -> float:
    """Standard deviation, km/s, of a Gaussian line-spread function with resolving power R = lambda / FWHM.

    A resolving power that is constant with wavelength is a constant width in velocity, hence on a log-uniform grid.
    """
    return C_KMS / (FWHM_PER_SIGMA * resolving_power)


def bessel_ratio(square: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """2 J1(z) / z at square = z^2, absolute error below 1e-10, smooth in z^2 at zero.

    Source: Olver et al. (NIST Handbook of Mathematical Functions), eqs. 10.2.2 and 10.17.3.
    """
    small = square < _SERIES_END
    quarter = jnp.where(small, square, 0.0) / 4
    series = jnp.zeros_like(square)
    for k in range(34, 0, -1):
        series = (1.0 + series) * -quarter / (k * (k + 1))
    z = jnp.sqrt(jnp.where(small, _SERIES_END, square))
    term, even, odd = 1.0, 0.0, 0.0
    for k in range(18):
        sign = (-1) ** (k // 2)
        if k % 2:
            odd = odd + sign * term / z**k
        else:
            even = even + sign * term / z**k
        term *= (4 - (2 * k + 1) ** 2) / (8 * (k + 1))
    phase = z - 0.75 * np.pi
    far = 2 / z * jnp.sqrt(2 / (np.pi * z)) * (jnp.cos(phase) * even - jnp.sin(phase) * odd)
    return jnp.where(small, 1.0 + series, far)


def spherical_ratio(square: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """3 (sin z - z cos z) / z^3 at square = z^2, smooth in z^2 at zero."""
    small = square < 1.0
    near = jnp.where(small, square, 0.0)
    series = jnp.zeros_like(square)
    for k in range(9, 0, -1):
        series = (1.0 + series) * -near / (2 * k * (2 * k + 3))
    z = jnp.sqrt(jnp.where(small, 1.0, square))
    return jnp.where(small, 1.0 + series, 3 * (jnp.sin(z) - z * jnp.cos(z)) / z**3)


def rotation_transform(
    square: Float[Array, "*shape"], epsilon: Float[Array, ""] | float = 0.6
) -> Float[Array, "*shape"]:
    """Transform of the rotation profile with linear limb darkening `epsilon`, at square = (k v sin i)^2.

    Source: Gray (2005, The Observation and Analysis of Stellar Photospheres), eq. 18.14, whose two terms
    sqrt(1 - x^2) and 1 - x^2 have the transforms above.
    """
    disc, dark = bessel_ratio(square), 2.0 / 3.0 * spherical_ratio(square)
    return ((1 - epsilon) * disc + epsilon * dark) / (1 - epsilon / 3)


def macroturbulence_transform(square: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Transform of radial-tangential macroturbulence, equal parts, at square = (k zeta)^2: (1 - exp(-q)) / q.

    At angle theta from the centre of the disc the radial streams make a Gaussian exp(-(v / (zeta cos theta))^2), with
    transform exp(-q cos^2 theta), q = (k zeta / 2)^2; its mean over a uniform disc, 2 cos theta sin theta d theta, is
    the expression above, and the tangential one (sin theta) has the same. Source of the profile: Gray (2005), eq. 17.6.
    """
    q = square / 4
    small = q < 1e-3
    near, far = jnp.where(small, q, 0.0), jnp.where(small, 1.0, q)
    series = 1 - near / 2 * (1 - near / 3 * (1 - near / 4 * (1 - near / 5)))
    return jnp.where(small, series, -jnp.expm1(-far) / far)


def broaden(
    flux: Float[Array, " wave"],
    velocity_step: Float[Array, ""] | float,
    *,
    vsini: Float[Array, ""] | float = 0.0,
    vmacro: Float[Array, ""] | float = 0.0,
    sigma: Float[Array, ""] | float = 0.0,
    epsilon: Float[Array, ""] | float = 0.6,
) -> Float[Array, " wave"]:
    """The spectrum broadened by rotation, radial-tangential macroturbulence and a Gaussian.

    `flux` lies on a grid uniform in ln wavelength with steps of `velocity_step` km/s; `vsini`, `vmacro` (Gray's zeta)
    and `sigma` (standard deviation; see `resolution_sigma`) are in km/s, `epsilon` is the linear limb darkening.
    Differentiable in all of them, at zero too. Beyond its ends the spectrum is taken as its mirror image, so that
    nothing wraps round; within a kernel's width of an end the result depends on that.
    """
    n = flux.shape[0]
    k = 2 * np.pi * np.fft.rfftfreq(2 * n) / velocity_step  # radians per km/s
    square = jnp.square(k)
    transfer = rotation_transform(square * jnp.square(vsini), epsilon)
    transfer = transfer * macroturbulence_transform(square * jnp.square(vmacro))
    transfer = transfer * jnp.exp(-square * jnp.square(sigma) / 2)
    mirrored = jnp.concatenate([flux, flux[::-1]])
    return jnp.fft.irfft(jnp.fft.rfft(mirrored) * transfer, 2 * n)[:n]
