"""Line opacity: lines in buckets of fixed window width, summed onto the grid without a loop over lines."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from astrogf.base.constants import ATOMIC_MASS, BOLTZMANN, BOLTZMANN_EV, HC_OVER_K_ANGSTROM
from astrogf.synthesis.gas.gas import Gas
from astrogf.synthesis.gas.molecules import molecule_n_over_u
from astrogf.synthesis.lines.buckets import Bucket
from astrogf.synthesis.lines.voigt import faddeeva, faddeeva_far

LN10 = float(np.log(10.0))
SQRT_PI = float(np.sqrt(np.pi))
STRENGTH = 0.02654008854  # pi e^2 / (m_e c), cm^2 Hz


class Profile(eqx.Module):
    """What the line profiles need of one atmosphere, layer by layer (see `profile_state`)."""

    n_over_u: Float[Array, "species depth"]
    inverse_t: Float[Array, " depth"]
    log_t4: Float[Array, " depth"]
    xne: Float[Array, " depth"]
    perturbers: Float[Array, " depth"]
    rho: Float[Array, " depth"]
    vmic: Float[Array, " depth"]
    t: Float[Array, " depth"]


def profile_state(gas: Gas, vmic: Float[Array, "*depth"]) -> Profile:
    """Gather the layer quantities of the profiles; vmic in km/s, one number or one a layer.

    Perturbers of van der Waals broadening: H I plus He I and H2 weighted by their polarisability and velocity
    relative to hydrogen (0.41336, 0.85), as Turbospectrum does.
    """
    perturbers = gas.n[0, 0] + 0.41336 * gas.n[1, 0] + 0.85 * gas.n_h2
    return Profile(
        jnp.concatenate([gas.n_over_u.reshape(-1, gas.t.shape[0]), molecule_n_over_u(gas)]),
        1.0 / gas.t,
        jnp.log10(gas.t * 1e-4),
        gas.xne,
        perturbers,
        gas.rho,
        jnp.broadcast_to(vmic, gas.t.shape),
        gas.t,
    )


def line_constants(
    b: Bucket, state: Profile, delta: Float[Array, " free_plus_one"]
) -> tuple[Float[Array, "line depth"], Float[Array, "line depth"], Float[Array, "line depth"]]:
    """Per line and layer: opacity scale (cm^2/g, times H gives opacity), Doppler width (km/s), damping a.

    One chunk of a bucket. Source: Gray (2005), eqs. 11.10-11.14, 11.44; stimulated emission included.
    """
    thermal = 2.0 * BOLTZMANN * state.t / (b.mass[:, None] * ATOMIC_MASS) * 1e-10
    doppler = jnp.sqrt(thermal + state.vmic**2)
    frequency_width = doppler * 1e13 / b.wavelength[:, None]  # Doppler width in Hz
    boltzmann = jnp.exp(LN10 * (b.loggf + delta[b.free])[:, None] - (b.elow / BOLTZMANN_EV)[:, None] * state.inverse_t)
    stimulated = -jnp.expm1(-(HC_OVER_K_ANGSTROM / b.wavelength)[:, None] * state.inverse_t)
    population = state.n_over_u[b.species] / state.rho
    scale = STRENGTH / np.sqrt(np.pi) * population * boltzmann * stimulated / frequency_width
    gamma = (
        10.0 ** b.log_gamma_rad[:, None]
        + 10.0 ** (b.log_gamma6[:, None] + b.gamma6_exponent[:, None] * state.log_t4) * state.perturbers
        + 10.0 ** b.log_gamma4[:, None] * state.xne
    )
    return scale, doppler, gamma / (4.0 * np.pi * frequency_width)


def _offsets(b: Bucket, grid: Float[Array, " padded"]) -> tuple[Float[Array, "line window"], Array]:
    """Velocity of every window point from its line, km/s, and which points count."""
    velocity = jax.vmap(lambda s: lax.dynamic_slice_in_dim(grid, s, b.width))(b.start) - b.velocity[:, None]
    distance = jnp.abs(b.start[:, None] + np.arange(b.width) - b.centre[:, None])
    return velocity, (distance <= b.half) & (distance > b.hole)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _slab(wings: bool, scale, doppler, a, velocity) -> Float[Array, "line window depth"]:
    """scale * H(a, velocity / doppler); scale, doppler and a per line and layer."""
    u = velocity[:, :, None] / doppler[:, None, :]
    return scale[:, None, :] * _w(wings, u, a)[0]


def _w(wings: bool, u, a):
    return (faddeeva_far if wings else faddeeva)(u, jnp.broadcast_to(a[:, None, :], u.shape))


@_slab.defjvp
def _slab_jvp(wings, primals, tangents):
    """The tangent sorted by powers of velocity, so that its transpose sums K and L over the window as matrix products.

    d(scale H) with H_u = 2 (a L - u K), H_a = 2 (a K + u L) - 2/sqrt(pi) and du = -u d(doppler)/doppler; K and L are
    the real and imaginary part of w. The velocities are constants.
    """
    scale, doppler, a, velocity = primals
    k, m = _w(wings, velocity[:, :, None] / doppler[:, None, :], a)
    d_scale, d_doppler, d_a, _ = tangents
    stretch, damp = scale * d_doppler / doppler, scale * d_a
    even = jnp.stack([d_scale + 2.0 * a * damp, 2.0 * stretch / doppler**2], axis=1)
    powers = jnp.stack([jnp.ones_like(velocity), velocity**2], axis=1)
    change = k * jnp.einsum("lpw,lpd->lwd", powers, even)
    change = change + m * jnp.einsum("lpw,lpd->lwd", velocity[:, None], (2.0 * (damp - a * stretch) / doppler)[:, None])
    return scale[:, None, :] * k, change - 2.0 / SQRT_PI * damp[:, None, :]


@jax.checkpoint
def _chunk_opacity(b: Bucket, state: Profile, delta, grid) -> Float[Array, "line window depth"]:
    """Opacity of every line of one chunk in its own window, cm^2/g; reverse mode evaluates it anew, chunk by chunk."""
    velocity, counts = _offsets(b, grid)
    dtype = jnp.float32 if b.single else state.t.dtype
    constants = (x.astype(dtype) for x in line_constants(b, state, delta))
    return jnp.where(counts[:, :, None], _slab(b.hole >= 0, *constants, velocity.astype(dtype)), 0.0)


_WINDOWS = lax.ScatterDimensionNumbers(
    update_window_dims=(1, 2), inserted_window_dims=(), scatter_dims_to_operand_dims=(0,)
)


def line_opacity(
    buckets: Sequence[Bucket], state: Profile, delta: Float[Array, " free"], grid: Float[Array, " padded"]
) -> Float[Array, "padded depth"]:
    """Opacity of all lines on the points of `grid` (`buckets.padded_velocity`), cm^2/g; `delta` corrects log gf, dex.

    Both derivative modes work; the reverse one evaluates the profiles once more and keeps nothing of their size.
    """
    padded = jnp.concatenate([delta, jnp.zeros(1, delta.dtype)])
    kappa = jnp.zeros((grid.shape[0], state.t.shape[0]), state.t.dtype)

    for bucket in buckets:
        kappa = _add_bucket(kappa, bucket, state, padded, grid)
    return kappa


@eqx.filter_jit
def _add_bucket(kappa, bucket: Bucket, state: Profile, delta, grid) -> Float[Array, "padded depth"]:
    """Compiled by itself, so that windows whose buckets partly agree in shape share what they can."""

    def add(kappa, chunk):
        slab = _chunk_opacity(chunk, state, delta, grid).astype(kappa.dtype)
        return lax.scatter_add(kappa, chunk.start[:, None], slab, _WINDOWS, mode="promise_in_bounds"), None

    return lax.scan(add, kappa, bucket)[0]


class LineResponse(NamedTuple):
    """dF(lambda) by log gf of every line within its window, and the lines' share of dF(lambda) by parameters."""

    by_line: list[Float[Array, "chunk line window"]]
    by_parameter: Float[Array, "padded parameter"]


def line_response(
    buckets: Sequence[Bucket],
    state: Profile,
    tangents: Profile,
    delta: Float[Array, " free"],
    response: Float[Array, "padded depth"],
    grid: Float[Array, " padded"],
) -> LineResponse:
    """Derivatives of the flux through all lines at once, given R(lambda, depth) = dF / d kappa.

    For log gf of a line within its window it is ln10 * sum over depth of R * kappa_line (exact, as a line's opacity
    is proportional to its gf); for parameters (`tangents` has a leading axis) the same sum over R * d kappa_line,
    with the chain through opacity scale, Doppler width and damping as in `_slab`. One more pass over the windows: no
    loop over lines, and nothing of size parameter x wave x depth.
    """
    padded = jnp.concatenate([delta, jnp.zeros(1, delta.dtype)])
    n_parameter = tangents.t.shape[0]

    def sum_depth(x, y):
        return jnp.einsum("lwd,ldp->lwp", x, y)

    by_parameter = jnp.zeros((response.shape[0], n_parameter))
    by_line = []
    for bucket in buckets:

        def one_chunk(total, chunk):
            constants, moved = jax.vmap(
                lambda t: jax.jvp(lambda s: line_constants(chunk, s, padded), (state,), (t,)), out_axes=(None, -1)
            )(tangents)
            dtype = jnp.float32 if chunk.single else state.t.dtype
            (scale, doppler, a), (d_scale, d_doppler, d_a) = jax.tree.map(lambda x: x.astype(dtype), (constants, moved))
            velocity, counts = _offsets(chunk, grid)
            velocity = velocity.astype(dtype)[:, :, None]
            k, m = _w(chunk.hole >= 0, velocity / doppler[:, None, :], a)
            rows = jax.vmap(lambda s: lax.dynamic_slice_in_dim(response, s, chunk.width))(chunk.start)
            rows = jnp.where(counts[:, :, None], rows.astype(dtype), 0.0)
            a, doppler = a[..., None], doppler[..., None]
            stretch, damp = scale[..., None] * d_doppler / doppler, scale[..., None] * d_a
            weights = [d_scale + 2.0 * a * damp, 2.0 * stretch / doppler**2]
            with_k = sum_depth(rows * k, jnp.concatenate([*weights, LN10 * scale[..., None]], axis=-1))
            with_l = sum_depth(rows * m, 2.0 * (damp - a * stretch) / doppler)
            with_one = sum_depth(rows, -2.0 / SQRT_PI * damp)
            first, second = with_k[..., :n_parameter], with_k[..., n_parameter:-1]
            change = (first + velocity**2 * second + velocity * with_l + with_one).astype(total.dtype)
            total = lax.scatter_add(total, chunk.start[:, None], change, _WINDOWS, mode="promise_in_bounds")
            return total, with_k[..., -1].astype(total.dtype)

        by_parameter, own = lax.scan(one_chunk, by_parameter, bucket)
        by_line.append(own)
    return LineResponse(by_line, by_parameter)
