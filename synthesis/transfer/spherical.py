"""Emergent flux of spherical shells: rays past the core and into it, the option for log g below 2.

The shells are those of a plane-parallel structure, spread over radius by its own density; nothing is done about the
structure itself. Along a ray the emergent intensity is S(end nearest us) plus the integral of exp(-tau) dS, as in
`plane`; for rays that reach the core the same spline rule in ln tau_ross serves every ray, so the flux
tends to the plane-parallel one as the radius grows. Past the core, S is piecewise linear in tau along the ray.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from scipy.special import roots_legendre

from astrogf.synthesis.transfer.plane import depth_rule

GM_SUN = 1.3271244e26
"""Heliocentric gravitational constant, cm^3 s^-2: IAU 2015 resolution B3 (Prsa et al. 2016, AJ 152, 41)."""


def reference_radius(logg: Float[Array, ""] | float, mass: Float[Array, ""] | float = 1.0) -> Float[Array, ""]:
    """Radius in cm of a star of `mass` solar masses and surface gravity log10(g / cm s^-2)."""
    return jnp.sqrt(GM_SUN * mass / 10.0 ** jnp.asarray(logg))


def shell_radius(
    tau_ross: Float[Array, " depth"],
    rhox: Float[Array, " depth"],
    rho: Float[Array, " depth"],
    radius: Float[Array, ""] | float,
) -> Float[Array, " depth"]:
    """Radius of every layer, cm, from dr = -d rhox / rho, equal to `radius` at tau_ross = 2/3.

    `rhox` in g cm^-2 and `rho` in g cm^-3, positive; the integral is the spline's in ln tau_ross.
    """
    rule = depth_rule(tau_ross)
    below = rule.integral @ (rule.derivative @ jnp.log(rhox) * rhox / rho)
    # a radius falls inwards whatever the spline does
    step = jnp.maximum(jnp.diff(below), 0.05 * jnp.diff(rhox) * (1 / rho[1:] + 1 / rho[:-1]))
    below = jnp.concatenate([jnp.zeros(1), jnp.cumsum(step)])
    return radius + jnp.interp(jnp.log(2.0 / 3.0), jnp.log(tau_ross), below) - below


def _slant(radius, p):
    """Path along a ray at impact parameter p over radial path, between layers; 0 where the ray does not come."""
    square = radius**2 - p**2
    path = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
    return (path[:-1] - path[1:]) / (radius[:-1] - radius[1:])


def _past_core(step, first, source, radius, p, turn):
    """Intensity along the ray that touches layer `turn`, in front of it and behind it."""
    met = jnp.arange(radius.shape[0] - 1) < turn
    slant = jnp.where(met, _slant(radius, p), 0.0)
    top = first * radius[0] / jnp.sqrt(radius[0] ** 2 - p**2)
    n = radius.shape[0]
    tau = top[:, None] + step @ (slant[:, None] * jnp.triu(jnp.ones((n - 1, n)), 1))
    whole = 2 * tau[:, -1:]
    x = step * slant
    small = x < 1e-4
    safe = jnp.where(small, 1.0, x)
    mean = jnp.where(small, 1 - x / 2 + x * x / 6, -jnp.expm1(-safe) / safe)
    escaping = jnp.exp(-tau[:, :-1]) - jnp.exp(tau[:, 1:] - whole)
    change = jnp.where(met, jnp.diff(source, axis=1), 0.0)
    return source[:, 0] * -jnp.expm1(-whole[:, 0]) + jnp.sum(change * mean * escaping, axis=1)


def spherical_flux(
    ratio: Float[Array, "wave depth"],
    source: Float[Array, "wave depth"],
    tau_ross: Float[Array, " depth"],
    radius: Float[Array, " depth"],
    reference: Float[Array, ""] | float,
    angles: int = 6,
    block: int = 1024,
) -> Float[Array, " wave"]:
    """Luminosity over 4 pi reference^2, in the unit of `source` times steradian.

    `ratio`, `source` and `tau_ross` as in `synthesis.transfer.plane.emergent_flux`; `radius` (cm, decreasing, see
    `shell_radius`) and `reference` (cm, see `reference_radius`). `angles` Gauss rays meet the core, the last layer,
    which must be opaque; one ray touches every other layer. Line and continuum go through the same function.
    Source: Mihalas (1978, Stellar Atmospheres), section 7-6, whose rays these are.
    """
    rule = depth_rule(tau_ross)
    change_matrix = (rule.derivative * rule.weight[:, None]).T
    x, w = roots_legendre(angles)
    cosine, weight = (x + 1) / 2, w / 2
    n_depth = tau_ross.shape[0]
    turns = jnp.arange(1.0, n_depth - 1.0)
    # ring areas: trapezoid rule in p^2 from the core outwards; nothing comes from beyond the first layer
    square = radius**2
    area = (square[:-2] - square[2:]) / 4

    def part(columns):
        r, s = columns
        step = r @ (jnp.diff(rule.integral, axis=0) * tau_ross).T
        step = jnp.maximum(step, 0.05 * (r[:, 1:] + r[:, :-1]) * jnp.diff(tau_ross))
        first = r[:, 0] * tau_ross[0]
        change = s @ change_matrix
        total = jnp.zeros(r.shape[0])
        for m, wm in zip(cosine, weight, strict=True):
            p2 = square[-1] * (1 - m**2)
            slant = _slant(radius, jnp.sqrt(p2))
            sums = slant[:, None] * jnp.triu(jnp.ones((n_depth - 1, n_depth)), 1)
            tau = (first * radius[0] / jnp.sqrt(square[0] - p2))[:, None] + step @ sums
            core = s[:, 0] + jnp.sum(change * jnp.exp(-tau), axis=1)
            total = total + square[-1] * wm * m * core

        @jax.checkpoint
        def ring(total, each):
            turn, p, da = each
            return total + da * _past_core(step, first, s, radius, p, turn), None

        total, _ = jax.lax.scan(ring, total, (turns, radius[1:-1], area))
        edge = _past_core(step, first, s, radius, radius[-1], n_depth - 1)  # the ray that grazes the core
        total = total + (square[-2] - square[-1]) / 4 * edge
        return 2 * jnp.pi * total / reference**2

    n = ratio.shape[0]
    count = -(-n // block)
    if count == 1:
        return part((ratio, source))
    pad = ((0, count * block - n), (0, 0))
    columns = tuple(jnp.pad(c, pad, mode="edge").reshape(count, block, -1) for c in (ratio, source))
    return jax.lax.map(jax.checkpoint(part), columns).reshape(-1)[:n]
