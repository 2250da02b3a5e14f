"""Formal solution of the transfer equation, plane-parallel, and its response to opacity.

The emergent intensity is written I(mu) = S(0) + integral of exp(-tau / mu) dS, and the integral is taken over
x = ln tau_ross with a cubic spline through the layers: dS/dx and the quadrature weights come from one spline, the
monochromatic tau from the spline of d tau/dx. Layers enter through two small matrices, so a spectrum costs two matrix
products and one exponential a layer and angle. On equal steps of x the rule is the trapezoid rule on a smooth peak,
whose error falls faster than any power of the step.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import roots_jacobi

from astrogf.base.constants import HC_OVER_K_ANGSTROM, LIGHT, PLANCK

TWO_H_C2 = 2.0 * PLANCK * LIGHT**2  # erg cm^2 s^-1 sr^-1, first radiation constant for radiance


def planck(wavelength: Float[Array, " wave"], t: Float[Array, " depth"]) -> Float[Array, "wave depth"]:
    """B_lambda in erg s^-1 cm^-2 sr^-1 A^-1, on vacuum wavelengths in Angstrom."""
    lam = wavelength[:, None]
    return TWO_H_C2 * 1e32 / lam**5 / jnp.expm1(HC_OVER_K_ANGSTROM / (lam * t[None, :]))


def gauss_rule(angles: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes mu and weights of the Gauss rule for the integral of f(mu) mu dmu over (0, 1)."""
    x, w = roots_jacobi(angles, 0.0, 1.0)
    return (x + 1) / 2, w / 4


class DepthRule(NamedTuple):
    """Spline calculus on x = ln tau_ross as matrices: integral from the first layer, derivative, and whole weights."""

    integral: Float[Array, "depth depth"]
    derivative: Float[Array, "depth depth"]
    weight: Float[Array, " depth"]


def depth_rule(tau_ross: Float[Array, " depth"]) -> DepthRule:
    """Integral and derivative by ln tau_ross of the cubic spline (not-a-knot) through values on the layers.

    tau_ross: positive, increasing, four layers at least.
    Source: de Boor (1978, A Practical Guide to Splines), ch. IV, eqs. 7 and 13.
    """
    h = jnp.diff(jnp.log(tau_ross))
    n = h.shape[0] + 1
    eye = jnp.eye(n)
    chord = jnp.diff(eye, axis=0) / h[:, None]
    left = h[:, None]  # an inner row: h_k m_(k-1) + 2 (h_k + h_(k-1)) m_k + h_(k-1) m_(k+1) = 3 (h_k c_(k-1) + ...)
    inner = left[1:] * eye[:-2] + 2 * (left[1:] + left[:-1]) * eye[1:-1] + left[:-1] * eye[2:]
    right = 3 * (left[1:] * chord[:-1] + left[:-1] * chord[1:])

    def end(a, b, i, j, first, second):
        row = b * eye[i] + (a + b) * eye[j]
        return row, ((a + 2 * (a + b)) * b * chord[first] + a**2 * chord[second]) / (a + b)

    top, top_known = end(h[0], h[1], 0, 1, 0, 1)
    low, low_known = end(h[-1], h[-2], n - 1, n - 2, n - 2, n - 3)
    system = jnp.concatenate([top[None], inner, low[None]])
    derivative = jnp.linalg.solve(system, jnp.concatenate([top_known[None], right, low_known[None]]))
    step = left * (eye[:-1] + eye[1:]) / 2 + left**2 / 12 * (derivative[:-1] - derivative[1:])
    integral = jnp.concatenate([jnp.zeros((1, n)), jnp.cumsum(step, axis=0)])
    return DepthRule(integral, derivative, integral[-1])


def optical_depth(
    ratio: Float[Array, "wave depth"], tau_ross: Float[Array, " depth"], rule: DepthRule | None = None
) -> Float[Array, "wave depth"]:
    """Monochromatic optical depth from ratio = kappa / abross, since column mass is d tau_ross / abross.

    Above the first layer the ratio is constant. Never below the first layer's value, whatever the spline does between
    layers whose opacities differ by orders of magnitude.
    """
    rule = depth_rule(tau_ross) if rule is None else rule
    first = ratio[:, :1] * tau_ross[0]
    return first + jnp.maximum(ratio @ (rule.integral * tau_ross).T, 0.0)


def _columns(ratio, source, tau_ross):
    """Optical depth, and the part of the change of S that belongs to each layer."""
    rule = depth_rule(tau_ross)
    return optical_depth(ratio, tau_ross, rule), source @ (rule.derivative * rule.weight[:, None]).T


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def escape(tau: Float[Array, "*shape"], angles: int) -> Float[Array, "*shape"]:
    """2 E_3(tau), the share of a layer's emission gradient seen in the flux, on `angles` Gauss angles."""
    return functools.reduce(jnp.add, [2 * w * jnp.exp(-tau / mu) for mu, w in zip(*gauss_rule(angles), strict=True)])


@escape.defjvp
def _escape_jvp(angles, primals, tangents):
    # One array is kept for the reverse pass, not one an angle.
    slope = [-2 * w / mu * jnp.exp(-primals[0] / mu) for mu, w in zip(*gauss_rule(angles), strict=True)]
    return escape(primals[0], angles), functools.reduce(jnp.add, slope) * tangents[0]


def emergent_flux(
    ratio: Float[Array, "wave depth"],
    source: Float[Array, "wave depth"],
    tau_ross: Float[Array, " depth"],
    angles: int = 5,
) -> Float[Array, " wave"]:
    """Surface flux F_lambda (pi times the astrophysical flux), in the unit of `source` times steradian.

    `ratio` is the opacity per gram over the Rosseland opacity; `tau_ross` is positive and increasing. The atmosphere
    is isothermal above the first layer, and S is constant below the last; `angles` Gauss angles.
    Five angles leave 4e-5 of the continuum and 7e-5 of the normalised flux (three: 2e-4 and 4e-4), the depth rule
    2e-5, in the Sun and a 4500 K giant (tests/test_transfer.py).
    Source: Mihalas (1978, Stellar Atmospheres), eq. 2-55 after integration by parts.
    """
    tau, change = _columns(ratio, source, tau_ross)
    return jnp.pi * (source[:, 0] + jnp.sum(change * escape(tau, angles), axis=1))


def emergent_intensity(
    ratio: Float[Array, "wave depth"],
    source: Float[Array, "wave depth"],
    tau_ross: Float[Array, " depth"],
    mu: Float[Array, " mu"],
) -> Float[Array, "wave mu"]:
    """Specific intensity at the surface towards cosines `mu` (0 < mu <= 1), in the unit of `source`.

    Arguments otherwise and accuracy in depth as in `emergent_flux`.
    """
    tau, change = _columns(ratio, source, tau_ross)

    @jax.checkpoint
    def ray(m):
        return source[:, 0] + jnp.sum(change * jnp.exp(-tau / m), axis=1)

    return jax.lax.map(ray, jnp.asarray(mu)).T


def response(
    ratio: Float[Array, "wave depth"],
    source: Float[Array, "wave depth"],
    tau_ross: Float[Array, " depth"],
    angles: int = 5,
    block: int = 2048,
) -> tuple[Float[Array, " wave"], Float[Array, "wave depth"], Float[Array, "wave depth"]]:
    """Flux, and its derivatives by every `ratio` and every `source`.

    The flux at one wavelength sees only that wavelength's own column, so one reverse pass with a cotangent of ones
    gives R(lambda, depth) = dF(lambda) / d ratio(lambda, depth) for every column at once. `block` wavelengths at a
    time, so that beside the results little memory is used.
    """

    def part(r, s):
        flux, pull = jax.vjp(lambda r, s: emergent_flux(r, s, tau_ross, angles), r, s)
        return flux, *pull(jnp.ones_like(flux))

    return by_blocks(part, (ratio, source), block)


def by_blocks(part, columns, block: int):
    """`part(*columns)` on `block` rows at a time, results written in place; the last block overlaps its neighbour.

    For functions whose rows are independent. Not for reverse-mode differentiation (a loop with a carry).
    """
    n = columns[0].shape[0]
    if n <= block:
        return part(*columns)

    def body(i, done):
        start = jnp.minimum(i * block, n - block)
        new = part(*[jax.lax.dynamic_slice_in_dim(c, start, block) for c in columns])
        return jax.tree.map(lambda a, b: jax.lax.dynamic_update_slice_in_dim(a, b, start, 0), done, new)

    shapes = jax.eval_shape(part, *[c[:block] for c in columns])
    empty = jax.tree.map(lambda s: jnp.zeros((n, *s.shape[1:]), s.dtype), shapes)
    return jax.lax.fori_loop(0, -(-n // block), body, empty)
