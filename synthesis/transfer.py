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


def optical_depth(
    kappa: Float[Array, "wave depth"], tau_ross: Float[Array, " depth"], abross: Float[Array, " depth"]
) -> Float[Array, "wave depth"]:
    """Monochromatic optical depth from opacity per gram, with column mass as d tau_ross / abross.

    kappa / abross varies slowly, so the trapezoid rule in tau_ross is accurate; above the first layer the
    ratio is taken as constant.
    """
    ratio = kappa / abross
    first = ratio[:, :1] * tau_ross[0]
    steps = 0.5 * (ratio[:, 1:] + ratio[:, :-1]) * jnp.diff(tau_ross)
    return jnp.concatenate([first, first + jnp.cumsum(steps, axis=1)], axis=1)


def _mean_attenuation(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """(1 - exp(-x)) / x, with its limit and derivative at zero."""
    small = x < 1e-3
    safe = jnp.where(small, 1.0, x)
    return jnp.where(small, 1.0 - x / 2 + x * x / 6, -jnp.expm1(-safe) / safe)


def emergent_flux(
    kappa: Float[Array, "wave depth"],
    source: Float[Array, "wave depth"],
    tau_ross: Float[Array, " depth"],
    abross: Float[Array, " depth"],
    order: int = 4,
) -> Float[Array, " wave"]:
    """Surface flux F_lambda (pi times the astrophysical flux), in the unit of `source` times steradian.

    Source function piecewise linear in tau (second order in depth), isothermal above the first layer, linear
    beyond the last; `order` Gauss angles (4: 2e-5 in the normalised flux of the Sun against 16).
    Source: Olson & Kunasz (1987, JQSRT 38, 325), eq. 7, emergent ray.
    """
    tau = optical_depth(kappa, tau_ross, abross)
    step = jnp.diff(tau, axis=1)
    flux = jnp.zeros(kappa.shape[0])
    for mu, weight in zip(*angles(order), strict=True):
        attenuation = jnp.exp(-tau / mu)
        x = step / mu
        mean = _mean_attenuation(x)
        inner = source[:, :-1] * (1.0 - mean) + source[:, 1:] * (mean - jnp.exp(-x))
        surface = source[:, 0] * (1.0 - attenuation[:, 0])
        bottom = attenuation[:, -1] * source[:, -1]
        flux = flux + weight * (surface + bottom + jnp.sum(attenuation[:, :-1] * inner, axis=1))
    return 2.0 * jnp.pi * flux


def response(
    kappa: Float[Array, "wave depth"],
    source: Float[Array, "wave depth"],
    tau_ross: Float[Array, " depth"],
    abross: Float[Array, " depth"],
    order: int = 4,
) -> tuple[Float[Array, " wave"], Float[Array, "wave depth"]]:
    """Flux and its derivative with respect to every opacity, R(lambda, depth) = dF(lambda) / d kappa(lambda, depth).

    The flux at one wavelength sees only that wavelength's own column, so one reverse pass with a cotangent of
    ones gives every column at once.
    """
    flux, pull = jax.vjp(lambda k: emergent_flux(k, source, tau_ross, abross, order), kappa)
    return flux, pull(jnp.ones_like(flux))[0]
