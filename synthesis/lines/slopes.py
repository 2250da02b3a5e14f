"""Derivatives of a spectrum through its lines, given how the flux responds to opacity: by parameters and by log gf.

The flux at one wavelength depends on its own opacities only, so with R(lambda, depth) = dF / d kappa every derivative
is a sum over depth of R times the derivative of a line's opacity: one more pass over the pieces, whatever the number
of lines and parameters, and nothing of size parameter x wave x depth.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from astrogf.synthesis.lines.opacity import (
    SQRT_PI,
    WINDOWS,
    between,
    offsets,
    over_tiles,
    precision,
    wing_strengths,
    wing_sum,
)
from astrogf.synthesis.lines.pieces import Cores, Pieces, Wings
from astrogf.synthesis.lines.profile import (
    LN10,
    Drift,
    Profile,
    constants_drift,
    drift,
    line_constants,
    row_by_row,
    sensitivity,
)
from astrogf.synthesis.lines.voigt import faddeeva


class LinePieces(eqx.Module):
    """d F / d log gf of pieces of lines: of each, values on the points from `start` on.

    `free` is the correction (their number for none). `aligned`: every start is a whole number of tiles.
    """

    free: Int[Array, " piece"]
    start: Int[Array, " piece"]
    slope: Float[Array, "piece point"]
    aligned: bool = eqx.field(static=True)


def on_grid(
    parts: list[LinePieces], row: Callable[[Int[Array, " piece"]], Int[Array, " piece"]], n: int, size: int
) -> Float[Array, "n wave"]:
    """Sums of pieces on a grid of so many points: `row` says of each correction to which of `n` sums it adds, `n` for
    none."""
    # what reaches beyond the grid's end, and the sum of pieces that add to none, are cut off
    whole = jnp.zeros((n + 1, size + max((part.slope.shape[1] for part in parts), default=0)))
    for part in parts:
        point = part.start[:, None] + jnp.arange(part.slope.shape[1])
        whole = whole.at[row(part.free)[:, None], point].add(part.slope)
    return whole[:n, :size]


def by_parameter(
    pieces: Pieces,
    state: Profile,
    tangents: Profile,
    delta: Float[Array, " free"],
    response: Float[Array, "padded depth"],
    grid: Float[Array, " padded"],
) -> Float[Array, "padded parameter"]:
    """The lines' share of dF(lambda) / d parameters; `tangents` are the state's derivatives, parameters leading.

    `response` is R(lambda, depth) on the padded grid, 0 beyond its end.
    """
    padded = jnp.concatenate([delta, jnp.zeros(1, delta.dtype)])
    total = jnp.zeros((grid.shape[0], tangents.t.shape[0]))
    for cores in pieces.cores:
        total = total + _cores_by_parameter(cores, state, tangents, padded, response, grid)
    if pieces.wings is not None:
        total = total + _wings_by_parameter(pieces.wings, state, tangents, padded, response, grid)
    return total


def by_line(
    pieces: Pieces, state: Profile, delta: Float[Array, " free"], response: Float[Array, "padded depth"],
    grid: Float[Array, " padded"],
) -> list[LinePieces]:  # fmt: skip
    """dF(lambda) / d log gf of the free lines: ln10 * sum over depth of R * kappa, as opacity is proportional to gf.

    Wings come back for all lines that have some; those of lines that are not free say so in `free`.
    """
    padded = jnp.concatenate([delta, jnp.zeros(1, delta.dtype)])
    parts = []
    for cores in pieces.free_cores:
        slope = _cores_by_line(cores, state, padded, response, grid)
        free, start = cores.lines.free.ravel(), cores.start.ravel()
        parts.append(LinePieces(free, start, slope.reshape(-1, cores.width), False))
    if pieces.wings is not None:
        parts.append(_wings_by_line(pieces.wings, state, padded, response, grid))
    return parts


def _kept(function: Callable, *arrays: Array):
    """function(*arrays) by two halves of their rows.

    What a loop leaves is kept in memory; else XLA would evaluate w anew for every one of its readers.
    """
    halves = [x.reshape(2, x.shape[0] // 2, *x.shape[1:]) for x in arrays]
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), lax.map(lambda x: function(*x), tuple(halves)))


def _rows(cores: Cores, response, counts) -> Float[Array, "row point depth"]:
    """R at the points of a chunk's rows, 0 where they do not count."""
    rows = jax.vmap(lambda s: lax.dynamic_slice_in_dim(response, s, cores.width))(cores.start)
    return jnp.where(counts[:, :, None], rows, 0.0)


@eqx.filter_jit
def _cores_by_parameter(cores: Cores, state, tangents, delta, response, grid) -> Float[Array, "padded parameter"]:
    """With s the opacity scale, D the Doppler width, K + iL = w(u + ia), and x = u L - 1/sqrt(pi):

    d (s K) = s K (d ln s + 2 a^2 d ln a) + 2 s u (u K - a L) d ln D + 2 s a x d ln a.
    """
    dtype = precision(cores.single)
    change: Drift = drift(state, tangents, dtype)
    response = response.astype(dtype)

    def one_chunk(total, inputs):
        chunk, constants, sensitive = inputs
        d_scale, d_doppler, d_a = constants_drift(chunk.lines, sensitive, change)
        velocity, counts = offsets(chunk, grid)

        def w(velocity, doppler, a):
            u = velocity[:, :, None] / doppler[:, None, :]
            return faddeeva(u, jnp.broadcast_to(a[:, None, :], u.shape))

        k, m = _kept(w, velocity, constants.doppler, constants.a)
        scale, doppler, a = (x[:, None] for x in constants)
        u, rows = velocity[:, :, None] / doppler, _rows(chunk, response, counts)
        terms = (
            (k, scale * (d_scale + 2.0 * a**2 * d_a)),
            (u * (u * k - a * m), 2.0 * scale * d_doppler),
            (u * m - 1.0 / SQRT_PI, 2.0 * scale * a * d_a),
        )
        slopes = sum(jnp.einsum("lwd,lpd->lwp", rows * field, weight) for field, weight in terms)
        return lax.scatter_add(total, chunk.start[:, None], slopes, WINDOWS, mode="promise_in_bounds"), None

    start = jnp.zeros((grid.shape[0], change.t.shape[0]), dtype)
    constants = row_by_row(line_constants, cores.lines, state, delta, dtype)
    sensitive = row_by_row(sensitivity, cores.lines, state, dtype)
    return lax.scan(one_chunk, start, (cores, constants, sensitive))[0]


@eqx.filter_jit
def _cores_by_line(cores: Cores, state, delta, response, grid) -> Float[Array, "chunk row point"]:
    dtype = precision(cores.single)
    response = response.astype(dtype)

    def one_chunk(inputs):
        chunk, (scale, doppler, a) = inputs
        velocity, counts = offsets(chunk, grid)
        u = velocity[:, :, None] / doppler[:, None, :]
        k, _ = faddeeva(u, jnp.broadcast_to(a[:, None, :], u.shape))
        return jnp.einsum("lwd,ld->lw", _rows(chunk, response, counts) * k, LN10 * scale)

    return lax.map(one_chunk, (cores, row_by_row(line_constants, cores.lines, state, delta, dtype))).astype(jnp.float64)


@eqx.filter_jit
def _wings_by_parameter(wings: Wings, state, tangents, delta, response, grid) -> Float[Array, "padded parameter"]:
    dtype = precision(wings.single)

    def strengths(state):
        return wing_strengths(wings.lines, wings.core, state, delta, dtype)

    moved = jax.vmap(lambda t: jax.jvp(strengths, (state,), (t,))[1], out_axes=2)(tangents)
    shape = moved.shape[2:]
    moved = moved.reshape(*moved.shape[:2], -1)

    def one(near, far, rows):
        change = wing_sum(near, far, moved).reshape(-1, *shape)
        return jnp.einsum("wpd,wd->wp", change, rows.astype(dtype))

    return over_tiles(one, wings, grid, response).reshape(grid.shape[0], -1)


@eqx.filter_jit
def _wings_by_line(wings: Wings, state, delta, response, grid) -> LinePieces:
    dtype = precision(wings.single)
    strengths = LN10 * wing_strengths(wings.lines, wings.core, state, delta, dtype)

    def one(near, far, rows):
        rows = rows.astype(dtype)
        everywhere = jnp.asarray(between(wings.tile), dtype)

        def seen(member, power):
            return sum(power(m) * (rows @ strength[member].T) for m, strength in enumerate(strengths))

        close = seen(near[0], lambda m: near[1] ** (m + 1))
        afar = seen(far[0], lambda m: everywhere @ far[1] ** (m + 1))
        return jnp.concatenate([close, afar], axis=1).T

    slope = over_tiles(one, wings, grid, response)
    free = wings.lines.free[jnp.concatenate([wings.near, wings.far], axis=1)].ravel()
    start = jnp.broadcast_to(jnp.arange(slope.shape[0])[:, None] * wings.tile, slope.shape[:2]).ravel()
    return LinePieces(free, start, slope.reshape(-1, wings.tile).astype(jnp.float64), True)
