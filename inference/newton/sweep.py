"""One pass over all spectra: linearise each, keep only sums and small blocks, eliminate the stars; sharded."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float

from astrogf.inference.problem.arrow import Eliminated, Reduced, eliminate, reduce
from astrogf.inference.problem.contribution import Contribution, RowTerms, StarTerms, counted
from astrogf.inference.problem.devices import in_chunks, spread, star_mesh
from astrogf.inference.problem.linearise import linearise, moved
from astrogf.inference.problem.miscomputed import checked
from astrogf.inference.problem.noise import NoiseModel
from astrogf.inference.problem.parameters import StarPrior
from astrogf.inference.problem.problem import StarData, StarProblem
from astrogf.inference.problem.responses import responses
from astrogf.inference.problem.spectra import Noise, Sample, WindowSpectra
from astrogf.synthesis.window import Responding


class Pass(NamedTuple):
    """What a pass leaves: the reduced shared system, each star's eliminated block and quality of fit (summed over its
    spectra), and window by window what is kept of each spectrum."""

    reduced: Reduced
    star: Eliminated
    log_posterior: Float[np.ndarray, " star"]
    chi2: Float[np.ndarray, " star"]
    rows: tuple[RowTerms, ...]

    @property
    def deviation(self) -> tuple[Float[np.ndarray, "row deviating"], ...]:
        """Every spectrum's own deviations of its lines, where the next pass linearises."""
        return tuple(np.asarray(rows.deviation) for rows in self.rows)

    def keeping(self, sample: Sample, better: Bool[np.ndarray, " star"], before: "Pass") -> "Pass":
        """Stars where `better`, and their spectra, from this pass, the others from the one `before`; sums from this."""

        def pick(mine, new, old):
            return np.where(mine.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        by_star = partial(jax.tree.map, partial(pick, better))
        star = jax.tree.map(jnp.asarray, by_star(*(jax.tree.map(np.asarray, p.star) for p in (self, before))))
        rows = tuple(
            jax.tree.map(partial(pick, better[window.star]), new, old)
            for window, new, old in zip(sample.windows, self.rows, before.rows, strict=True)
        )
        return self._replace(
            star=star,
            log_posterior=by_star(self.log_posterior, before.log_posterior),
            chi2=by_star(self.chi2, before.chi2),
            rows=rows,
        )


class Rows(NamedTuple):
    """What is particular to every spectrum: arrays with a leading `row` axis."""

    data: StarData
    theta: Float[Array, "row own"]
    prior: StarPrior
    share: Float[Array, " row"]
    noise: NoiseModel
    deviation: Float[np.ndarray, "row deviating"]


def _scan_rows(problem, shared, rows: Rows, used, responses: Responding) -> Contribution:
    """All rows of one device, one after the other, sums accumulated on the way."""

    def one(total, inputs):
        row, row_used, at = inputs
        added = linearise(problem, row.data, row.theta, row.prior, row.share, shared, row.noise, row.deviation, at)
        added = counted(added, jnp.isfinite(added.row.log_posterior) & (row_used > 0.0))
        return jax.tree.map(jnp.add, total, added.shared), (added.star, added.row)

    n = shared.shape[0]
    start = Reduced(jnp.zeros((n, n)), jnp.zeros(n))
    total, (star, row) = jax.lax.scan(one, start, (rows, used, responses))
    return Contribution(jax.tree.map(lambda x: x[None], total), star, row)


@eqx.filter_jit
def _gathered(problem, shared, rows, mesh) -> Contribution:
    out = spread(lambda common, mine: _scan_rows(*common, *mine), (problem, shared), rows, mesh)
    return out._replace(shared=jax.tree.map(lambda x: jnp.sum(x, axis=0), out.shared))


def _chunk(problem: StarProblem, shared: Float[np.ndarray, " shared"], rows: Rows, used, mesh: Mesh) -> Contribution:
    everywhere = np.broadcast_to(shared, (len(used), len(shared)))
    at = responses(problem, rows.theta, moved(problem, everywhere, rows.deviation), mesh)
    return _gathered(problem, shared, (rows, used, at), mesh)


def _without_spare(gathered: Contribution, columns: np.ndarray) -> Contribution:
    """The shared parameters `columns` alone: the others are corrections that the problem has no use for."""
    block, n_own = gathered.shared, gathered.star.precision.shape[-1]
    continuum = gathered.row.continuum
    slope = continuum.slope[:, :, np.append(np.arange(n_own), n_own + columns[:-1])]
    return Contribution(
        Reduced(block.precision[np.ix_(columns, columns)], block.gradient[columns]),
        gathered.star._replace(cross=gathered.star.cross[:, :, columns]),
        gathered.row._replace(continuum=continuum._replace(slope=slope)),
    )


def sweep_window(
    window: WindowSpectra,
    theta: Float[Array, "row own"],
    prior: StarPrior,
    share: Float[Array, " row"],
    shared: Float[Array, " shared"],
    noise_model: NoiseModel,
    deviation: Float[np.ndarray, "row deviating"],
    chunk: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Contribution:
    """One linearisation of every spectrum of a window, in chunks of fixed size spread over the devices.

    `shared` may hold fewer corrections than the problem has slots for, and the result then speaks of those only. The
    last chunk is padded with copies that do not count. A row whose model is not finite contributes nothing and comes
    back with a log posterior that is not finite. The parts `star` and `row` come back with a leading `row` axis.
    """
    n_free, n_used = window.problem.n_free, shared.shape[0] - 1
    columns = np.append(np.arange(n_used), n_free)
    shared = jnp.concatenate([shared[:-1], jnp.zeros(n_free - n_used), shared[-1:]])
    mesh, where, done = star_mesh(), np.asarray(shared), 0
    rows = Rows(window.data, theta, prior, share, noise_model, deviation)
    total: Reduced | None = None
    parts: list[tuple[StarTerms, RowTerms]] = []
    for mine, used, keep in in_chunks(rows, chunk, mesh):
        part = checked(partial(_chunk, window.problem, where, mine, used), mesh)
        total = part.shared if total is None else jax.tree.map(jnp.add, total, part.shared)
        parts.append(jax.tree.map(lambda x, keep=keep: np.asarray(x[:keep]), (part.star, part.row)))
        done += keep
        progress(done)
    assert total is not None  # a window has at least one spectrum
    star, row = jax.tree.map(lambda *x: np.concatenate(x), *parts)
    return _without_spare(Contribution(total, star, row), columns)


def _report(progress: Callable[[int, int], None], before: int, total: int, done: int) -> None:
    progress(before + done, total)


@jax.jit
def _eliminate(own: StarTerms, damping: Float[Array, " star"]) -> tuple[Eliminated, Reduced]:
    # a star none of whose spectra counts has an empty block
    empty = jnp.diagonal(own.precision, 0, 1, 2).sum(1) <= 0.0
    precision = own.precision + empty[:, None, None] * jnp.eye(own.precision.shape[1])
    star = jax.vmap(eliminate)(precision, own.gradient, own.cross, damping)
    # all stars' own parameters as one long axis: the sum over stars is one product
    n_shared = own.cross.shape[2]
    flat = Eliminated(star.constant.ravel(), star.slope.reshape(-1, n_shared), star.covariance)
    return star, reduce(flat, own.cross.reshape(-1, n_shared), own.gradient.ravel())


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
    """One linearisation of every spectrum at (theta, shared), each star's contributions summed and eliminated.

    `deviation` is that of the last pass (0 if there was none): see `linearise`.

    Memory does not grow with the number of stars beyond what comes back. A star none of whose spectra has a finite
    model comes back with a log posterior that is not finite.
    """
    n_star, n_own, n_shared, share = sample.n_star, sample.n_own, shared.shape[0], sample.share
    damping = jnp.zeros(n_star) if damping is None else damping
    own = StarTerms(np.zeros((n_star, n_own, n_own)), np.zeros((n_star, n_own)), np.zeros((n_star, n_own, n_shared)))
    if deviation is None:
        deviation = tuple(np.zeros((len(w.star), w.problem.n_deviating)) for w in sample.windows)
    total, done = sum(len(w.star) for w in sample.windows), 0
    gathered: list[Contribution] = []
    for window, noise_model, deviates in zip(sample.windows, noise, deviation, strict=True):
        rows = window.star
        prior = StarPrior(*(np.asarray(x)[rows] for x in sample.prior))
        part = sweep_window(
            window, jnp.asarray(theta)[rows], prior, share[rows], shared, noise_model, deviates, chunk,
            partial(_report, progress, done, total),
        )  # fmt: skip
        done += len(rows)
        jax.tree.map(lambda into, values, rows=rows: np.add.at(into, rows, values), own, part.star)
        gathered.append(part)
    star, reduced = _eliminate(own, damping)
    for part in gathered:
        reduced = jax.tree.map(jnp.add, reduced, part.shared)
    kept = tuple(part.row for part in gathered)
    return Pass(
        reduced=reduced,
        star=star,
        log_posterior=sample.total([row.log_posterior for row in kept]),
        chi2=sample.total([row.chi2 for row in kept]),
        rows=kept,
    )
