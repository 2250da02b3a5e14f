"""Coherent isotropic scattering in the source function: S = (kappa B + sigma J) / (kappa + sigma), solved directly.

Feautrier's second-order equation for the mean of the two streams u(mu) on a few angles couples the angles only
through J, so each layer's matrix is a diagonal less an outer product: block elimination over depth gives J without
iteration, however much is scattered. Derivatives come from the transposed system.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from scipy.special import roots_legendre

from astrogf.synthesis.transfer.plane import by_blocks, depth_rule, emergent_flux


def _gauss_rule(angles):
    x, w = roots_legendre(angles)
    return (x + 1) / 2, w / 2


def _eliminate(matrix, right):
    """X of matrix @ X = right, lists of rows of arrays; no pivots, as the matrices are diagonally dominant."""
    matrix, right = [list(row) for row in matrix], [list(row) for row in right]
    n = len(matrix)
    for i in range(n):
        pivot = 1.0 / matrix[i][i]
        matrix[i] = [x * pivot for x in matrix[i]]
        right[i] = [x * pivot for x in right[i]]
        for j in range(n):
            if j != i:
                factor = matrix[j][i]
                matrix[j] = [a - factor * b for a, b in zip(matrix[j], matrix[i], strict=True)]
                right[j] = [a - factor * b for a, b in zip(right[j], right[i], strict=True)]
    return right


def _multiply(system, u):
    """(diagonal - column row^T) u_k - lower u_(k-1) - upper u_(k+1), all of shape (depth, angle, wave)."""
    diagonal, lower, upper, column, row = system
    above, below = jnp.pad(u[:-1], ((1, 0), (0, 0), (0, 0))), jnp.pad(u[1:], ((0, 1), (0, 0), (0, 0)))
    coupled = column * jnp.sum(row * u, axis=1, keepdims=True)
    return diagonal * u - coupled - lower * above - upper * below


def _solve(system, b):
    """u of `_multiply(system, u) = b` by block elimination from the top."""
    n = b.shape[1]

    def down(carry, layer):
        d, v = carry
        diagonal, lower, upper, column, row, rhs = layer
        matrix = [
            [(diagonal[i] if i == j else 0.0) - column[i] * row[j] - lower[i] * d[i, j] for j in range(n)]
            for i in range(n)
        ]
        zero = jnp.zeros_like(rhs[0])
        right = [[*[upper[i] if i == j else zero for j in range(n)], rhs[i] + lower[i] * v[i]] for i in range(n)]
        x = _eliminate(matrix, right)
        d, v = jnp.stack([jnp.stack(r[:n]) for r in x]), jnp.stack([r[n] for r in x])
        return (d, v), (d, v)

    def up(u, layer):
        d, v = layer
        u = v + jnp.sum(d * u, axis=1)
        return u, u

    start = jnp.zeros((n, n, b.shape[2])), jnp.zeros(b.shape[1:])
    _, factors = jax.lax.scan(down, start, (*system, b))
    return jax.lax.scan(up, jnp.zeros(b.shape[1:]), factors, reverse=True)[1]


def _transposed(system):
    diagonal, lower, upper, column, row = system
    return (
        diagonal,
        jnp.pad(upper[:-1], ((1, 0), (0, 0), (0, 0))),
        jnp.pad(lower[1:], ((0, 1), (0, 0), (0, 0))),
        row,
        column,
    )


def _mean_intensity(step, first, rho, emitted, bottom, angles):
    """J of shape (depth, wave) from steps in optical depth, tau of the first layer, sigma / chi and (1 - rho) B."""
    mu, weight = (jnp.asarray(x)[:, None] for x in _gauss_rule(angles))
    a = step[:, None] / mu  # (depth - 1, angle, wave)
    span = 0.5 * (a[1:] + a[:-1])
    lower, upper = 1 / (a[:-1] * span), 1 / (a[1:] * span)
    # Top: du/dtau = (u - I_in) / mu to second order, I_in from isothermal matter above.
    shine = 1.0 + 2.0 * -jnp.expm1(-first / mu) / a[0]
    fall = 2.0 / a[0] ** 2
    zero, one = jnp.zeros_like(fall)[None], jnp.ones_like(fall)[None]
    diagonal = jnp.concatenate([(1 + 2 / a[0] + fall)[None], 1 + lower + upper, one])
    lower = jnp.concatenate([zero, lower, zero])
    upper = jnp.concatenate([fall[None], upper, zero])
    share = jnp.concatenate([shine[None], jnp.ones_like(a[1:]), zero])  # of S that enters each row
    column = share * rho[:, None]
    row = jnp.broadcast_to(weight, column.shape)
    right = share * emitted[:, None] + jnp.concatenate([jnp.zeros_like(a), bottom * one])
    system = (diagonal, lower, upper, column, row)
    u = jax.lax.custom_linear_solve(
        functools.partial(_multiply, system),
        right,
        solve=lambda _, b: _solve(system, b),
        transpose_solve=lambda _, b: _solve(_transposed(system), b),
    )
    return jnp.sum(weight * u, axis=1)


def _source(absorption, scattering, thermal, tau_ross, angles):
    rule = depth_rule(tau_ross)
    chi = absorption + scattering
    step = chi @ (jnp.diff(rule.integral, axis=0) * tau_ross).T
    # Where opacity jumps between layers the spline may undershoot: a tenth of the trapezoid is the least.
    step = jnp.maximum(step, 0.05 * (chi[:, 1:] + chi[:, :-1]) * jnp.diff(tau_ross))
    rho = scattering / chi
    emitted = absorption / chi * thermal
    first = chi[:, 0] * tau_ross[0]
    j = _mean_intensity(step.T, first, rho.T, emitted.T, thermal[:, -1], angles).T
    return emitted + rho * j


def scattered_source(
    absorption: Float[Array, "wave depth"],
    scattering: Float[Array, "wave depth"],
    thermal: Float[Array, "wave depth"],
    tau_ross: Float[Array, " depth"],
    angles: int = 3,
    block: int = 1024,
) -> Float[Array, "wave depth"]:
    """Source function with coherent isotropic scattering, in the unit of `thermal` (the Planck function).

    `absorption` (lines in LTE belong here) and `scattering` are opacities per gram over the Rosseland opacity; their
    sum is positive in every layer. J is thermal at the last layer. `angles` Gauss-Legendre angles on 0 < mu < 1.
    `block` wavelengths at a time, computed again in a reverse pass. The result goes to `emergent_flux` as it is.
    Source: Feautrier (1964, C. R. Acad. Sci. 258, 3189); Mihalas (1978, Stellar Atmospheres), section 6-3.
    """
    n = absorption.shape[0]
    part = functools.partial(_source, tau_ross=tau_ross, angles=angles)
    if n <= block:
        return part(absorption, scattering, thermal)
    count = -(-n // block)
    columns = [
        jnp.pad(x, ((0, count * block - n), (0, 0)), mode="edge").reshape(count, block, -1)
        for x in (absorption, scattering, thermal)
    ]
    source = jax.lax.map(jax.checkpoint(lambda c: part(*c)), tuple(columns))
    return source.reshape(count * block, -1)[:n]


def scattered_flux(
    absorption: Float[Array, "wave depth"],
    scattering: Float[Array, "wave depth"],
    thermal: Float[Array, "wave depth"],
    tau_ross: Float[Array, " depth"],
    angles: int = 5,
) -> Float[Array, " wave"]:
    """Surface flux with scattering: `scattered_source` seen through `emergent_flux` on `angles` Gauss angles."""
    source = scattered_source(absorption, scattering, thermal, tau_ross)
    return emergent_flux(absorption + scattering, source, tau_ross, angles)


def scattered_response(
    absorption: Float[Array, "wave depth"],
    scattering: Float[Array, "wave depth"],
    thermal: Float[Array, "wave depth"],
    tau_ross: Float[Array, " depth"],
    angles: int = 5,
    block: int = 1024,
) -> tuple[Float[Array, " wave"], Float[Array, "wave depth"], Float[Array, "wave depth"], Float[Array, "wave depth"]]:
    """Flux, and its derivatives by every `absorption`, `scattering` and `thermal`.

    As `synthesis.transfer.plane.response`: wavelengths are independent, so one reverse pass gives all columns.
    """

    def part(*columns):
        flux, pull = jax.vjp(lambda k, s, b: scattered_flux(k, s, b, tau_ross, angles), *columns)
        return flux, *pull(jnp.ones_like(flux))

    return by_blocks(part, (absorption, scattering, thermal), block)
