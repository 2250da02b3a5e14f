"""Line opacity: lines in buckets of fixed window width, summed onto the grid without a loop over lines."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from synthesis.constants import ATOMIC_MASS, BOLTZMANN, BOLTZMANN_EV, HC_OVER_K_ANGSTROM
from synthesis.gas import Gas
from synthesis.grid import C_KMS, Grid
from synthesis.linelist import LineList
from synthesis.molecules import molecule_n_over_u
from synthesis.species import species_mass, species_row
from synthesis.voigt import faddeeva, voigt

LN10 = float(np.log(10.0))
SQRT_PI = float(np.sqrt(np.pi))
STRENGTH = 0.02654008854  # pi e^2 / (m_e c), cm^2 Hz


LEVELS = (4, 9, 24, 64, 180, 512, 1500, 4000)
"""Half windows of the buckets, grid points: few, since each is compiled once, with at most a threefold excess."""


class Bucket(eqx.Module):
    """Lines whose window is 2 * half + 1 points wide, padded to a whole number of chunks.

    Shapes: `chunk line` of every column; a padding line has log strength -99 and adds nothing.
    `start` is the first grid point of the window, `offset` the velocity (km/s) from the line to that point.
    `line` is the line's row in the list (the list's length for padding), `free` the index of the correction that
    moves it (the number of corrections where none does).
    """

    start: Int[Array, "chunk line"]
    offset: Float[Array, "chunk line"]
    wavelength: Float[Array, "chunk line"]
    species: Int[Array, "chunk line"]
    mass: Float[Array, "chunk line"]
    elow: Float[Array, "chunk line"]
    loggf: Float[Array, "chunk line"]
    log_gamma_rad: Float[Array, "chunk line"]
    log_gamma6: Float[Array, "chunk line"]
    gamma6_exponent: Float[Array, "chunk line"]
    log_gamma4: Float[Array, "chunk line"]
    line: Int[Array, "chunk line"]
    free: Int[Array, "chunk line"]
    half: int = eqx.field(static=True)
    velocity_step: float = eqx.field(static=True)


class Profile(eqx.Module):
    """What the line profiles need of one atmosphere, layer by layer (see `profile_state`)."""

    n_over_u: Float[Array, "species depth"]
    inverse_t: Float[Array, " depth"]
    log_t4: Float[Array, " depth"]
    xne: Float[Array, " depth"]
    perturbers: Float[Array, " depth"]
    rho: Float[Array, " depth"]
    vmic: Float[Array, ""]
    t: Float[Array, " depth"]


def profile_state(gas: Gas, vmic: Float[Array, ""]) -> Profile:
    """Gather the layer quantities of the profiles; vmic in km/s.

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
        vmic,
        gas.t,
    )


def make_buckets(
    lines: LineList,
    half_width: Int[np.ndarray, " line"],
    grid: Grid,
    chunk_elements: int = 4096,
    single: bool = False,
) -> list[Bucket]:
    """Sort lines into buckets by half width (grid points, see LEVELS), on the host, once a run.

    `half_width` is where each line's opacity has fallen below what matters; windows are cut at the grid's edge by
    shifting them inside, which keeps shapes fixed. `chunk_elements` bounds the points evaluated at once; `single`
    evaluates the profiles (nothing else) in float32, for hardware that is slow in double.
    """
    index = np.rint(grid.position(lines.wavelength)).astype(int)
    allowed = np.array([half for half in LEVELS if 2 * half + 1 <= grid.size])
    level = allowed[np.minimum(np.searchsorted(allowed, half_width), len(allowed) - 1)]
    inside = (index + level >= 0) & (index - level < grid.size)
    buckets = []
    for half in allowed:
        pick = np.flatnonzero(inside & (level == half))
        if len(pick) == 0:
            continue
        half = int(half)
        width = 2 * half + 1
        per_chunk = max(1, chunk_elements // width)
        n_chunk = -(-len(pick) // per_chunk)
        per_chunk = -(-len(pick) // n_chunk)
        total = n_chunk * per_chunk
        take = np.concatenate([pick, np.full(total - len(pick), pick[-1])])
        start = np.clip(index[take] - half, 0, grid.size - width)
        log10_start = (grid.first_pixel - grid.pad + start / grid.oversampling) * grid.log_step
        offset = (log10_start - np.log10(lines.wavelength[take])) * LN10 * C_KMS
        padding = np.arange(total) >= len(pick)
        strength = np.where(padding, -99.0, lines.loggf[take] + lines.log_fraction[take])
        columns = {
            "start": start,
            "offset": offset.astype(np.float32 if single else np.float64),
            "wavelength": lines.wavelength[take],
            "species": species_row(lines.z[take], lines.ion[take]),
            "mass": species_mass(lines.z[take]),
            "elow": lines.elow[take],
            "loggf": strength,
            "log_gamma_rad": lines.log_gamma_rad[take],
            "log_gamma6": lines.log_gamma6[take],
            "gamma6_exponent": lines.gamma6_exponent[take],
            "log_gamma4": lines.log_gamma4[take],
            "line": np.where(padding, len(lines), take),
            "free": np.zeros(total, int),
        }
        arrays = {k: jnp.asarray(v.reshape(n_chunk, per_chunk)) for k, v in columns.items()}
        buckets.append(Bucket(half=half, velocity_step=grid.velocity_step, **arrays))
    return buckets


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


def _profiles(b: Bucket, state: Profile, delta) -> Float[Array, "line window depth"]:
    """Opacity of every line of one chunk in its own window, cm^2/g."""
    scale, doppler, a = line_constants(b, state, delta)
    dtype = b.offset.dtype
    velocity = b.offset[:, None] + b.velocity_step * jnp.arange(2 * b.half + 1, dtype=dtype)
    u = velocity[:, :, None] / doppler.astype(dtype)[:, None, :]
    return scale.astype(dtype)[:, None, :] * voigt(u, a.astype(dtype)[:, None, :])


_WINDOWS = lax.ScatterDimensionNumbers(
    update_window_dims=(1, 2), inserted_window_dims=(), scatter_dims_to_operand_dims=(0,)
)


def line_opacity(
    buckets: Sequence[Bucket], state: Profile, delta: Float[Array, " free"], size: int
) -> Float[Array, "wave depth"]:
    """Opacity of all lines on a grid of `size` points, cm^2/g; `delta` are the corrections to log gf, dex."""
    padded = jnp.concatenate([delta, jnp.zeros(1, delta.dtype)])
    kappa = jnp.zeros((size, state.t.shape[0]), state.t.dtype)

    for bucket in buckets:

        def add(kappa, chunk):
            slab = _profiles(chunk, state, padded).astype(kappa.dtype)
            return lax.scatter_add(kappa, chunk.start[:, None], slab, _WINDOWS, mode="promise_in_bounds"), None

        kappa, _ = lax.scan(add, kappa, bucket)
    return kappa


class LineResponse(NamedTuple):
    """dF(lambda) by log gf of every line within its window, and the lines' share of dF(lambda) by parameters."""

    by_line: list[Float[Array, "chunk line window"]]
    by_parameter: Float[Array, "wave parameter"]


def line_response(
    buckets: Sequence[Bucket],
    state: Profile,
    tangents: Profile,
    delta: Float[Array, " free"],
    response: Float[Array, "wave depth"],
) -> LineResponse:
    """Derivatives of the flux through all lines at once, given R(lambda, depth) = dF / d kappa.

    For log gf of a line within its window it is ln10 * sum over depth of R * kappa_line (exact, as a line's opacity
    is proportional to its gf); for parameters (`tangents` has a leading axis) the same sum over R * d kappa_line,
    with the chain through opacity scale, Doppler width and damping. One more pass over the windows: no loop over
    lines, and nothing of size parameter x wave x depth.
    """
    padded = jnp.concatenate([delta, jnp.zeros(1, delta.dtype)])
    n_parameter, n = tangents.t.shape

    def sum_depth(x, y):
        return jnp.einsum("lwd,ldp->lwp", x, y)

    by_parameter = jnp.zeros((response.shape[0], n_parameter))
    by_line = []
    for bucket in buckets:
        width = 2 * bucket.half + 1

        def one_chunk(total, chunk, width=width):
            constants, moved = jax.vmap(
                lambda t: jax.jvp(lambda s: line_constants(chunk, s, padded), (state,), (t,)), out_axes=(None, -1)
            )(tangents)
            (scale, doppler, a), (d_scale, d_doppler, d_a) = jax.tree.map(
                lambda x: x.astype(chunk.offset.dtype), (constants, moved)
            )
            steps = jnp.arange(width, dtype=chunk.offset.dtype)
            velocity = (chunk.offset[:, None] + chunk.velocity_step * steps)[:, :, None]
            k, m = faddeeva(velocity / doppler[:, None, :], jnp.broadcast_to(a[:, None, :], (*velocity.shape[:2], n)))
            rows = jax.vmap(lambda s: lax.dynamic_slice_in_dim(response, s, width))(chunk.start)
            rows = rows.astype(chunk.offset.dtype)
            # d(scale H)/dp with H_u = 2 (a L - u K), H_a = 2 (a K + u L) - 2/sqrt(pi) and du = -u d(doppler)/doppler,
            # sorted by powers of velocity so that only R K and R L are summed over depth, as matrix products
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
