"""One pass over all spectra: linearise each, keep only sums and small blocks, eliminate the stars; sharded."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxlib import __version__ as jaxlib_version
from jaxtyping import Array, Float

from astrogf.base.errors import AstrogfError
from astrogf.inference.problem.arrow import Eliminated, Reduced, eliminate, reduce
from astrogf.inference.problem.devices import chunk_size, padded, spread, star_mesh
from astrogf.inference.problem.linearise import Continuum, linearise
from astrogf.inference.problem.noise import NoiseModel
from astrogf.inference.problem.parameters import StarPrior
from astrogf.inference.problem.spectra import Noise, Piece, Sample


class Rows(NamedTuple):
    """What the rows of one piece leave: two sums over them, then blocks with a leading `row` axis."""

    reduced: Reduced
    information: Float[Array, " line"]
    own: Float[Array, "row own own"]
    own_gradient: Float[Array, "row own"]
    cross: Float[Array, "row own shared"]
    log_posterior: Float[Array, " row"]
    chi2: Float[Array, " row"]
    model: Float[Array, "row pixel"]
    coefficients: Float[Array, "row basis"]
    adjusted: Float[Array, "row pixel"]
    scatter: Float[Array, " row"]
    continuum: Continuum
    deviation: Float[Array, "row deviating"]
    determined: Float[Array, " row"]
    mismatch: Float[Array, " row"]


SUMS = 2
"""The first fields of Rows are sums."""


class Pass(NamedTuple):
    """What a pass leaves: the reduced shared system, each star's eliminated block and quality of fit, what all spectra
    of a piece together know of every line alone (squared signal-to-noise per dex), and the models of all rows."""

    reduced: Reduced
    star: Eliminated
    log_posterior: Float[np.ndarray, " star"]
    chi2: Float[np.ndarray, " star"]
    information: tuple[Float[Array, " line"], ...]
    model: tuple[Float[np.ndarray, "row pixel"], ...]
    coefficients: tuple[Float[np.ndarray, "row basis"], ...]
    adjusted: tuple[Float[np.ndarray, "row pixel"], ...]
    scatter: tuple[Float[np.ndarray, " row"], ...]
    continuum: tuple[Continuum, ...]
    deviation: tuple[Float[np.ndarray, "row deviating"], ...]
    determined: tuple[Float[np.ndarray, " row"], ...]


def _scan_rows(problem, shared, data, theta, prior, share, used, noise_model, deviation) -> Rows:
    """All rows of one device, one after the other (memory of one spectrum), sums accumulated on the way."""

    def one(total, row):
        row_data, row_theta, row_prior, row_share, row_used, row_noise, row_deviation = row
        blocks = linearise(problem, row_data, row_theta, row_prior, row_share, shared, row_noise, row_deviation)
        finite = jnp.isfinite(blocks.log_posterior) & (row_used > 0.0)

        def counted(value):
            return jnp.where(finite, value, 0.0)

        reduced, known = total
        reduced = Reduced(
            reduced.precision + counted(blocks.shared), reduced.gradient + counted(blocks.shared_gradient)
        )
        own = (counted(blocks.own), counted(blocks.own_gradient), counted(blocks.cross))
        seen = (blocks.log_posterior, blocks.chi2, blocks.model, blocks.coefficients)
        more = (blocks.adjusted, blocks.scatter, blocks.continuum, blocks.deviation, blocks.determined,
                blocks.mismatch)  # fmt: skip
        return (reduced, known + counted(blocks.information)), own + seen + more

    n = shared.shape[0]
    # derived from the data so that the carry is as device-varying as what is added to it
    zero = 0.0 * jnp.sum(theta)
    start = (Reduced(jnp.zeros((n, n)) + zero, jnp.zeros(n) + zero), jnp.zeros(problem.spectrum.n_line) + zero)
    total, out = jax.lax.scan(one, start, (data, theta, prior, share, used, noise_model, deviation))
    reduced, information = jax.tree.map(lambda x: x[None], total)
    return Rows(reduced, information, *out)


@eqx.filter_jit
def _chunk(problem, shared, rows, mesh) -> Rows:
    out = spread(lambda common, mine: _scan_rows(*common, *mine), (problem, shared), rows, mesh)
    summed = jax.tree.map(lambda x: jnp.sum(x, axis=0), (out.reduced, out.information))
    return out._replace(reduced=summed[0], information=summed[1])


class MiscomputedError(AstrogfError, ArithmeticError):
    """The linear algebra of this machine contradicts itself."""

    reason = "miscomputed"


TOLERANCE = 1e-6
"""A larger `linearise.mismatch` is no rounding: that is 1e-13."""


def _checked(problem, shared, rows, mesh) -> Rows:
    """A chunk whose products agree with what they are of: once more on one device where they do not on all together."""
    part = _chunk(problem, shared, rows, mesh)
    wrong = float(np.max(np.nan_to_num(part.mismatch, posinf=0.0)))
    if wrong > TOLERANCE and mesh.devices.size > 1:
        warnings.warn(
            f"products of the line derivatives were wrong by {wrong:.1g} (relative) on {mesh.devices.size} devices at "
            "once: computed again on one, more slowly (docs/solvers.md, 'When the runtime is wrong')",
            RuntimeWarning,
            stacklevel=2,
        )
        part = _chunk(problem, shared, rows, star_mesh(1))
        wrong = float(np.max(np.nan_to_num(part.mismatch, posinf=0.0)))
    if wrong > TOLERANCE:
        raise MiscomputedError(
            f"products of the line derivatives are wrong by {wrong:.1g} (relative) on this machine, so that no result "
            "would mean anything: run again with XLA_FLAGS=--xla_force_host_platform_device_count=1, or with another "
            f"jaxlib than {jaxlib_version}"
        )
    return part


def sweep_piece(
    piece: Piece,
    theta: Float[Array, "row own"],
    prior: StarPrior,
    share: Float[Array, " row"],
    shared: Float[Array, " shared"],
    noise_model: NoiseModel,
    deviation: Float[np.ndarray, "row deviating"],
    chunk: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Rows:
    """One linearisation of every row of a piece, in chunks of fixed size spread over the devices.

    `shared` may hold fewer corrections than the problem has room for, and the result then speaks of those only. The
    last chunk is padded with copies that do not count. A row whose model is not finite contributes nothing and comes
    back with a log posterior that is not finite.
    """
    room, used_corrections = piece.problem.room, shared.shape[0] - 1
    columns = np.append(np.arange(used_corrections), room)
    shared = jnp.concatenate([shared[:-1], jnp.zeros(room - used_corrections), shared[-1:]])
    mesh = star_mesh()
    n_row, n_device = theta.shape[0], mesh.devices.size
    chunk = chunk_size(chunk, n_row, n_device)
    # as numpy arrays all calls look the same to the compiler, whatever computed them
    shared, rows = jax.tree.map(np.asarray, (shared, (piece.data, theta, prior, share, noise_model, deviation)))
    total: tuple[Reduced, Array] | None = None
    parts = []
    for first in range(0, n_row, chunk):
        index, used = padded(first, chunk, n_row)
        mine = jax.tree.map(lambda x, index=index: x[index], rows)
        part = _checked(piece.problem, shared, (*mine[:4], used, *mine[4:]), mesh)
        sums = (part.reduced, part.information)
        total = sums if total is None else jax.tree.map(jnp.add, total, sums)
        keep = min(chunk, n_row - first)
        parts.append(jax.tree.map(lambda x, keep=keep: np.asarray(x[:keep]), part[SUMS:]))
        progress(first + keep)
    joined = Rows(*(total or ()), *jax.tree.map(lambda *x: np.concatenate(x), *parts))
    reduced = Reduced(joined.reduced.precision[np.ix_(columns, columns)], joined.reduced.gradient[columns])
    n_own = joined.own.shape[1]
    slope = joined.continuum.slope[:, :, np.append(np.arange(n_own), n_own + columns[:-1])]
    continuum = joined.continuum._replace(slope=slope)
    return joined._replace(reduced=reduced, cross=joined.cross[:, :, columns], continuum=continuum)


def _report(progress: Callable[[int, int], None], before: int, total: int, done: int) -> None:
    progress(before + done, total)


@jax.jit
def _eliminate(own, own_gradient, cross, damping) -> tuple[Eliminated, Reduced]:
    # a star none of whose spectra counts has an empty block
    empty = jnp.diagonal(own, 0, 1, 2).sum(1) <= 0.0
    own = own + empty[:, None, None] * jnp.eye(own.shape[1])
    star = jax.vmap(eliminate)(own, own_gradient, cross, damping)
    # all stars' own parameters as one long axis: the sum over stars is one product
    flat = Eliminated(star.constant.ravel(), star.slope.reshape(-1, cross.shape[2]), star.covariance)
    return star, reduce(flat, cross.reshape(-1, cross.shape[2]), own_gradient.ravel())


def sweep(
    sample: Sample,
    theta: Float[Array, "star own"],
    shared: Float[Array, " shared"],
    noise: Noise,
    *,
    damping: Float[Array, " star"] | None = None,
    deviation: tuple[Float[np.ndarray, "row deviating"], ...] | None = None,
    chunk: int = 16,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Pass:
    """One linearisation of every spectrum at (theta, shared), each star's blocks summed and eliminated.

    `deviation` is that of the last pass (0 if there was none): see `linearise`.

    Memory does not grow with the number of stars beyond what comes back. A star none of whose spectra has a finite
    model comes back with a log posterior that is not finite.
    """
    n_star, n_own, share = sample.n_star, sample.n_own, sample.share
    damping = jnp.zeros(n_star) if damping is None else damping
    own = np.zeros((n_star, n_own, n_own))
    own_gradient, cross = np.zeros((n_star, n_own)), np.zeros((n_star, n_own, shared.shape[0]))
    log_posterior, chi2 = np.zeros(n_star), np.zeros(n_star)
    total = sum(len(p.star) for p in sample.pieces)
    done, reduced, seen = 0, None, []
    if deviation is None:
        deviation = tuple(np.zeros((len(p.star), p.problem.deviating)) for p in sample.pieces)
    for piece, noise_model, deviates in zip(sample.pieces, noise, deviation, strict=True):
        rows = piece.star
        prior = StarPrior(*(np.asarray(x)[rows] for x in sample.prior))
        found = sweep_piece(
            piece, jnp.asarray(theta)[rows], prior, share[rows], shared, noise_model, deviates, chunk,
            partial(_report, progress, done, total),
        )  # fmt: skip
        done += len(rows)
        for into, values in ((own, found.own), (own_gradient, found.own_gradient), (cross, found.cross)):
            np.add.at(into, rows, values)
        np.add.at(log_posterior, rows, found.log_posterior)
        np.add.at(chi2, rows, found.chi2)
        reduced = found.reduced if reduced is None else jax.tree.map(jnp.add, reduced, found.reduced)
        seen.append((found.information, *found[SUMS + 5 : -1]))
    star, taken = _eliminate(own, own_gradient, cross, damping)
    reduced = jax.tree.map(jnp.add, reduced, taken)
    return Pass(reduced, star, log_posterior, chi2, *zip(*seen, strict=True))
