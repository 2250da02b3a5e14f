"""Formal solution of the transfer equation in LTE, plane-parallel, and its response to opacity."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import roots_jacobi

from synthesis.constants import HC_OVER_K_ANGSTROM, LIGHT, PLANCK

TWO_H_C2 = 2.0 * PLANCK * LIGHT**2  # erg cm^2 s^-1 sr^-1, first radiation constant for radiance


def planck(wavelength: Float[Array, " wave"], t: Float[Array, " depth"]) -> Float[Array, "wave depth"]:
    """B_lambda in erg s^-1 cm^-2 sr^-1 A^-1, on vacuum wavelengths in Angstrom."""
    lam = wavelength[:, None]
    return TWO_H_C2 * 1e32 / lam**5 / jnp.expm1(HC_OVER_K_ANGSTROM / (lam * t[None, :]))


def angles(order: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes mu and weights of the Gauss rule for the integral of f(mu) mu dmu over (0, 1)."""
    x, w = roots_jacobi(order, 0.0, 1.0)
    return (x + 1) / 2, w / 4


def optical_depth(ratio: Float[Array, "wave depth"], tau_ross: Float[Array, " depth"]) -> Float[Array, "wave depth"]:
    """Monochromatic optical depth from ratio = kappa / abross, since column mass is d tau_ross / abross.

    The ratio varies slowly, so the trapezoid rule in tau_ross is accurate; above the first layer it is constant.
    """
    first = ratio[:, :1] * tau_ross[0]
    steps = 0.5 * (ratio[:, 1:] + ratio[:, :-1]) * jnp.diff(tau_ross)
    return jnp.concatenate([first, first + jnp.cumsum(steps, axis=1)], axis=1)


def emergent_flux(
    ratio: Float[Array, "wave depth"],
    source: Float[Array, "wave depth"],
    tau_ross: Float[Array, " depth"],
    order: int = 4,
) -> Float[Array, " wave"]:
    """Surface flux F_lambda (pi times the astrophysical flux), in the unit of `source` times steradian.

    `ratio` is the opacity per gram over the Rosseland opacity. Source function piecewise linear in tau (second
    order in depth), isothermal above the first layer, constant below the last; `order` Gauss angles.
    Source: Olson & Kunasz (1987, JQSRT 38, 325), eq. 7, emergent ray.
    """
    tau = optical_depth(ratio, tau_ross)
    step = jnp.diff(tau, axis=1)
    flux = jnp.zeros(ratio.shape[0])
    for mu, weight in zip(*angles(order), strict=True):
        attenuation = jnp.exp(-tau / mu)
        x = step / mu
        # (1 - exp(-x)) / x with its limit and derivative at zero
        small = x < 1e-3
        safe = jnp.where(small, 1.0, x)
        passed = jnp.exp(-safe)
        mean = jnp.where(small, 1.0 - x / 2 + x * x / 6, (1.0 - passed) / safe)
        far = jnp.where(small, 1.0 - x + x * x / 2, passed)
        inner = source[:, :-1] * (1.0 - mean) + source[:, 1:] * (mean - far)
        surface = source[:, 0] * (1.0 - attenuation[:, 0])
        bottom = attenuation[:, -1] * source[:, -1]
        flux = flux + weight * (surface + bottom + jnp.sum(attenuation[:, :-1] * inner, axis=1))
    return 2.0 * jnp.pi * flux


def response(
    ratio: Float[Array, "wave depth"],
    source: Float[Array, "wave depth"],
    tau_ross: Float[Array, " depth"],
    order: int = 4,
) -> tuple[Float[Array, " wave"], Float[Array, "wave depth"], Float[Array, "wave depth"]]:
    """Flux, and its derivatives by every `ratio` and every `source`.

    The flux at one wavelength sees only that wavelength's own column, so one reverse pass with a cotangent of ones
    gives R(lambda, depth) = dF(lambda) / d ratio(lambda, depth) for every column at once.
    """
    flux, pull = jax.vjp(lambda r, s: emergent_flux(r, s, tau_ross, order), ratio, source)
    return flux, *pull(jnp.ones_like(flux))
