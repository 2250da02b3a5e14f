"""Line opacity: cores point by point, wings as products of matrices, summed onto the grid without a loop over lines."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from astrogf.synthesis.lines.pieces import Cores, Pieces, Transitions, Wings
from astrogf.synthesis.lines.profile import Constants, Profile, line_constants, row_by_row
from astrogf.synthesis.lines.voigt import faddeeva, wing_coefficients

SQRT_PI = float(np.sqrt(np.pi))
STEEPEST = 0.5
"""Greatest a / u that the wings are expanded in: where it is exceeded, deep below what is seen, it is held."""
FEW = 8
TILES_AT_ONCE = 16

WINDOWS = lax.ScatterDimensionNumbers(
    update_window_dims=(1, 2), inserted_window_dims=(), scatter_dims_to_operand_dims=(0,)
)
"""Rows of points added to a grid, each from its start on."""


def precision(single: bool):
    """The floating-point type of profiles."""
    return jnp.float32 if single else jnp.float64


def offsets(cores: Cores, grid: Float[Array, " padded"]) -> tuple[Float[Array, "row point"], Bool[Array, "row point"]]:
    """Velocity of every point of a chunk's rows from its line, km/s, and which points count."""
    velocity = jax.vmap(lambda s: lax.dynamic_slice_in_dim(grid, s, cores.width))(cores.start)
    distance = jnp.abs(cores.start[:, None] + np.arange(cores.width) - cores.centre[:, None])
    return (velocity - cores.lines.velocity[:, None]).astype(precision(cores.single)), distance <= cores.half[:, None]


@jax.custom_jvp
def _slab(scale, doppler, a, velocity) -> Float[Array, "row point depth"]:
    """scale * H(a, velocity / doppler); scale, doppler and a per line and layer."""
    u = velocity[:, :, None] / doppler[:, None, :]
    return scale[:, None, :] * faddeeva(u, jnp.broadcast_to(a[:, None, :], u.shape))[0]


@_slab.defjvp
def _slab_jvp(primals, tangents):
    """The tangent sorted by powers of velocity, so that its transpose sums K and L over the row as matrix products.

    d(scale H) with H_u = 2 (a L - u K), H_a = 2 (a K + u L) - 2/sqrt(pi) and du = -u d(doppler)/doppler; K and L are
    the real and imaginary part of w. The velocities are constants.
    """
    scale, doppler, a, velocity = primals
    u = velocity[:, :, None] / doppler[:, None, :]
    k, m = faddeeva(u, jnp.broadcast_to(a[:, None, :], u.shape))
    d_scale, d_doppler, d_a, _ = tangents
    stretch, damp = scale * d_doppler / doppler, scale * d_a
    even = jnp.stack([d_scale + 2.0 * a * damp, 2.0 * stretch / doppler**2], axis=1)
    powers = jnp.stack([jnp.ones_like(velocity), velocity**2], axis=1)
    change = k * jnp.einsum("lpw,lpd->lwd", powers, even)
    change = change + m * jnp.einsum("lpw,lpd->lwd", velocity[:, None], (2.0 * (damp - a * stretch) / doppler)[:, None])
    return scale[:, None, :] * k, change - 2.0 / SQRT_PI * damp[:, None, :]


@jax.checkpoint
def _chunk_opacity(cores: Cores, constants: Constants, grid) -> Float[Array, "row point depth"]:
    """Opacity of every row of one chunk, cm^2/g; reverse mode evaluates it anew, chunk by chunk."""
    velocity, counts = offsets(cores, grid)
    return jnp.where(counts[:, :, None], _slab(*constants, velocity), 0.0)


def line_opacity(
    pieces: Pieces, state: Profile, delta: Float[Array, " free"], grid: Float[Array, " padded"]
) -> Float[Array, "padded depth"]:
    """Opacity of all lines on the points of `grid` (`pieces.padded_velocity`), cm^2/g; `delta` corrects log gf, dex.

    Both derivative modes work; the reverse one evaluates the profiles once more and keeps nothing of their size.
    """
    padded = jnp.concatenate([delta, jnp.zeros(1, delta.dtype)])
    kappa = jnp.zeros((grid.shape[0], state.t.shape[0]), state.t.dtype)
    for cores in pieces.cores:
        kappa = kappa + _core_opacity(cores, state, padded, grid)
    return kappa if pieces.wings is None else kappa + _wing_opacity(pieces.wings, state, padded, grid)


@eqx.filter_jit
def _core_opacity(cores: Cores, state: Profile, delta, grid) -> Float[Array, "padded depth"]:
    """Compiled by itself, so that windows whose pieces partly agree in shape share what they can."""

    def add(kappa, chunk):
        slab = _chunk_opacity(*chunk, grid)
        return lax.scatter_add(kappa, chunk[0].start[:, None], slab, WINDOWS, mode="promise_in_bounds"), None

    dtype = precision(cores.single)
    constants = row_by_row(line_constants, cores.lines, state, delta, dtype)
    return lax.scan(add, jnp.zeros((grid.shape[0], state.t.shape[0]), dtype), (cores, constants))[0]


def wing_strengths(
    lines: Transitions, core: Float[Array, " wide"], state: Profile, delta, dtype
) -> Float[Array, "term wide depth"]:
    """Factors of (core / velocity)^2, ^4, ... in the opacity of wings, cm^2/g; `core` in km/s."""
    scale, doppler, a = line_constants(lines, state, delta, dtype)
    ratio = (doppler / core[:, None].astype(dtype)) ** 2
    held = jnp.minimum(a, STEEPEST / jnp.sqrt(ratio))
    terms = [t * ratio ** (m + 1) for m, t in enumerate(wing_coefficients(held))]
    terms[0] = a / SQRT_PI * ratio  # a Lorentzian's far wing, which holds for any a
    return scale * jnp.stack(terms)


def _closeness(wings: Wings, member, velocity, point) -> Float[Array, "point member"]:
    """(core / velocity)^2 of the members of a tile at some of its points, 0 where a point does not count."""
    v0, core, centre, hole, half = (
        x[member] for x in (wings.lines.velocity, wings.core, wings.centre, wings.hole, wings.half)
    )
    distance = jnp.abs(point[:, None] - centre)
    counts = (distance > hole) & (distance <= half)
    away = (velocity[:, None] - v0).astype(precision(wings.single))
    return jnp.where(counts, (core.astype(away.dtype) / jnp.where(counts, away, 1.0)) ** 2, 0.0)


def _places(tile: int) -> np.ndarray:
    """Places in a tile, in points: what comes from at least its width away is a polynomial through them to 1e-6."""
    return (np.polynomial.chebyshev.chebpts1(FEW) + 1.0) / 2.0 * (tile - 1)


def between(tile: int) -> Float[np.ndarray, "point place"]:
    """How the values at those places make up those at all points of a tile."""
    places, points = _places(tile), np.arange(tile)[:, None]
    weights = (-1.0) ** np.arange(FEW) * np.sin((2 * np.arange(FEW) + 1) * np.pi / (2 * FEW))
    terms = weights / np.where(points == places, 1e-300, points - places)
    return terms / terms.sum(axis=1, keepdims=True)


def over_tiles(function, wings: Wings, grid: Float[Array, " padded"], *more: Float[Array, "padded depth"]):
    """function(near, far, *rows) of every tile, some at once: `near` and `far` are pairs of members and of how close
    the points of the tile are to them (those of far members at a few places, see `between`), `rows` are `more`, cut
    into tiles."""
    place = _places(wings.tile)
    point = np.arange(grid.shape[0]).reshape(-1, wings.tile)
    whole = np.floor(place).astype(int)

    def one(tile):
        velocity, point, near, far, *rows = tile
        there = velocity[whole] + (place - whole) * (velocity[whole + 1] - velocity[whole])
        near = near, _closeness(wings, near, velocity, point)
        far = far, _closeness(wings, far, there, point[0] + place)
        return function(near, far, *rows)

    rows = tuple(x.reshape(*point.shape, -1) for x in more)
    tiles = (grid.reshape(point.shape), jnp.asarray(point), wings.near, wings.far, *rows)
    # on a CPU one product after the other is faster than a batch of them
    return lax.map(one, tiles, batch_size=1 if jax.default_backend() == "cpu" else TILES_AT_ONCE)


def wing_sum(near, far, strengths: Float[Array, "term wide some"]) -> Float[Array, "point some"]:
    """The sum over the members of a tile of all terms of their wings, at every point."""

    def terms(member, x):
        return sum(x ** (m + 1) @ strength[member] for m, strength in enumerate(strengths))

    here = terms(*near)
    return here + jnp.asarray(between(here.shape[0]), here.dtype) @ terms(*far)


@eqx.filter_jit
def _wing_opacity(wings: Wings, state: Profile, delta, grid) -> Float[Array, "padded depth"]:
    strengths = wing_strengths(wings.lines, wings.core, state, delta, precision(wings.single))
    kappa = over_tiles(lambda near, far: wing_sum(near, far, strengths), wings, grid)
    return kappa.reshape(grid.shape[0], -1)
