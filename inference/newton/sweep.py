"""One pass over all spectra: linearise each, keep only sums and small blocks, eliminate the stars; sharded.

It is a map over blocks of stars and a sum. Of a block all is in memory; what is kept of it for each star, which is as
long as there are corrections, goes onto the shelf of the sample.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from astrogf.inference.blocks.places import Advance
from astrogf.inference.blocks.shelf import Kept, Shelf
from astrogf.inference.blocks.work import shares, tasks_of
from astrogf.inference.newton.drift import Drift, folded, widened
from astrogf.inference.newton.passed import Pass, Terms
from astrogf.inference.newton.sums import Sums, accumulated, shared_columns, zero_terms
from astrogf.inference.problem.arrow import Eliminated, Held, Reduced, eliminate_and_halve
from astrogf.inference.problem.contribution import OPTIONAL, Contribution, RowTerms, SharedTerms, StarTerms, counted
from astrogf.inference.problem.devices import in_chunks, spread, star_mesh, summed
from astrogf.inference.problem.linearise import linearise, moved
from astrogf.inference.problem.miscomputed import checked
from astrogf.inference.problem.noise import NoiseModel, as_numpy
from astrogf.inference.problem.parameters import StarPrior
from astrogf.inference.problem.problem import StarData, StarProblem
from astrogf.inference.problem.responses import responses
from astrogf.inference.problem.spectra import Noise, Part, Sample
from astrogf.synthesis.window import Responding

Keep = tuple[str, ...]


class Rows(NamedTuple):
    """What is particular to every spectrum: arrays with a leading `row` axis."""

    data: StarData
    theta: Float[Held, "row own"]
    prior: StarPrior
    share: Float[Held, " row"]
    noise: NoiseModel
    deviation: Float[np.ndarray, "row deviating"]
    loading: Float[Held, " row"] | None = None


class Slopes(NamedTuple):
    """Of lines with the stars' temperature (`drift`): their values, and whether the pass differentiates by them."""

    value: Float[Held, " free"]
    free: bool


def n_summed(n_shared: int, slopes: Slopes | None) -> int:
    """Shared parameters of the sums of a pass: free slopes are some too, one of each but the last."""
    return 2 * n_shared - 1 if slopes is not None and slopes.free else n_shared


COPIES = 6
"""Arrays of pixels x corrections, and of corrections squared, in tiles, that a spectrum takes while it is made."""


def _scan_rows(
    problem, shared, slopes: Slopes | None, keep: Keep, rows: Rows, used, responses: Responding
) -> Contribution:
    """All rows of one device, sums accumulated on the way."""

    def one(inputs):
        row, row_used, at = inputs
        here = shared if slopes is None else shared.at[:-1].add(row.loading * slopes.value)
        added = linearise(problem, row.data, row.theta, row.prior, row.share, here, row.noise, row.deviation, at)
        added = widened(added, row.loading) if slopes is not None and slopes.free else added
        added = counted(added, jnp.isfinite(added.row.log_posterior) & (row_used > 0.0))
        left: dict[str, Any] = {name: None for name in OPTIONAL if name not in keep}
        return added.shared, (added.star, added.row._replace(**left), added.taken)

    tiles, start = problem.tiles, zero_terms(problem.tiles, slopes is not None and slopes.free)
    each = 8.0 * COPIES * (tiles.n_tile * tiles.size * tiles.n_member + start.lines.size)
    total, (star, row, taken) = summed(one, start, (rows, used, responses), each)
    return Contribution(jax.tree.map(lambda x: x[None], total), star, row, taken)


@eqx.filter_jit
def _gathered(problem, shared, slopes: Slopes | None, keep: Keep, rows, mesh) -> Contribution:
    def scan(common, mine) -> Contribution:
        problem, shared, slopes = common
        return _scan_rows(problem, shared, slopes, keep, *mine)

    out = spread(scan, (problem, shared, slopes), rows, mesh)
    return out._replace(shared=jax.tree.map(lambda x: jnp.sum(x, axis=0), out.shared))


def _chunk(
    problem: StarProblem,
    shared: Float[np.ndarray, " shared"],
    slopes: Slopes | None,
    keep: Keep,
    rows: Rows,
    used,
    mesh: Mesh,
) -> Contribution:
    everywhere = np.broadcast_to(shared, (len(used), len(shared)))
    if slopes is not None and rows.loading is not None:
        everywhere = everywhere + np.pad(np.outer(rows.loading, slopes.value), ((0, 0), (0, 1)))
    at = responses(problem, rows.theta, moved(problem, everywhere, rows.deviation), mesh)
    return _gathered(problem, shared, slopes, keep, (rows, used, at), mesh)


def _without_spare(
    parts: list[tuple[StarTerms, RowTerms]], columns: np.ndarray, n_used: int
) -> tuple[StarTerms, RowTerms]:
    """All chunks as one, of the shared parameters `columns` alone: the others are corrections that the problem has no
    use for."""
    star, row = jax.tree.map(lambda *x: np.concatenate(x), *parts)
    n_own = star.precision.shape[-1]
    if row.continuum is not None:
        slope = row.continuum.slope[:, :, np.append(np.arange(n_own), n_own + columns[:n_used])]
        row = row._replace(continuum=row.continuum._replace(slope=slope))
    if row.sight is not None:
        row = row._replace(sight=jax.tree.map(lambda x: x[:, :n_used], row.sight))
    return star._replace(cross=star.cross[:, :, columns]), row


class Swept(NamedTuple):
    """What spectra of a window add: their sum, and of every spectrum the parts of `Contribution`, with a leading `row`
    axis."""

    shared: Reduced
    star: StarTerms
    row: RowTerms


def sweep_window(
    problem: StarProblem,
    rows: Rows,
    shared: Float[Array | np.ndarray, " shared"],
    chunk: int,
    total: int | None = None,
    keep: Keep = (),
    advance: Advance = lambda done: None,
    slopes: Slopes | None = None,
    sums: Sums | None = None,
) -> Swept:
    """One linearisation of spectra of a window, in chunks of fixed size spread over the devices.

    `shared` may hold fewer corrections than the problem has slots for, and the result then speaks of those only. The
    last chunk is padded with copies that do not count, so that all chunks of a window of `total` rows have one shape. A
    row whose model is not finite contributes nothing and comes back with a log posterior that is not finite. The parts
    `star` and `row` come back with a leading `row` axis; `row` has what of OPTIONAL it is to `keep`. Where there are
    `sums`, `shared` is added to these, which come back, the upper triangle not defined.
    """
    n_free, n_used = problem.n_free, shared.shape[0] - 1
    sloped = slopes is not None and slopes.free
    columns = shared_columns(n_free, n_used, sloped)
    where = np.concatenate([shared[:-1], np.zeros(n_free - n_used), shared[-1:]])
    if slopes is not None:
        slopes = slopes._replace(value=np.append(slopes.value, np.zeros(n_free - n_used)))
    mesh = star_mesh()
    local: Any = np.broadcast_to(np.asarray(rows.noise.local), rows.data.flux.shape)
    rows = rows._replace(noise=rows.noise._replace(local=local))
    into = Sums.none(len(columns)) if sums is None else sums
    summed: SharedTerms | None = None
    parts: list[tuple[StarTerms, RowTerms]] = []
    for mine, used, count in in_chunks(rows, chunk, mesh, total):
        part = checked(partial(_chunk, problem, where, slopes, keep, mine, used), mesh)
        summed = part.shared if summed is None else jax.tree.map(jnp.add, summed, part.shared)
        parts.append(jax.tree.map(lambda x, count=count: np.asarray(x[:count]), (part.star, part.row)))
        into.take(np.asarray(part.taken).reshape(-1, part.taken.shape[-1])[:, columns])
        advance(count)
    assert summed is not None  # there is at least one row
    into.add(problem.tiles, summed, n_used)
    star, row = _without_spare(parts, columns, n_used)
    return Swept(into.reduced() if sums is None else into.unfinished(), star, row)


@jax.jit
def _eliminate(own: StarTerms, damping: Float[Array, " star"]) -> tuple[Eliminated, Array, Array]:
    """Every star eliminated, and what it takes from A, thin' thin, and from b."""
    # a star none of whose spectra counts has an empty block
    empty = jnp.diagonal(own.precision, 0, 1, 2).sum(1) <= 0.0
    precision = own.precision + empty[:, None, None] * jnp.eye(own.precision.shape[1])
    star, thin = jax.vmap(eliminate_and_halve)(precision, own.gradient, own.cross, damping)
    return star, thin.reshape(-1, thin.shape[2]), jnp.einsum("sok,so->k", star.slope, own.gradient)


class Visit(NamedTuple):
    """What a pass over one block of stars starts from: where its data are, and where the last pass left it, if that
    matters; its stars, their rows in the sample, and whose each row is (counted within the block)."""

    data: Kept
    last: Kept | None
    rows: tuple[np.ndarray, ...]
    star: tuple[np.ndarray, ...]
    theta: Float[Held, "star own"]
    prior: StarPrior
    share: Float[Held, " star"]
    damping: Float[Held, " star"]
    noise: Noise
    loading: Float[Held, " star"] | None = None


class Share(NamedTuple):
    """A task: some blocks one after the other, and what is the same for all; `largest`: stars of the largest block of
    the sample."""

    visits: list[Visit]
    shared: Float[np.ndarray, " shared"]
    chunk: int
    totals: tuple[int, ...]
    keep: Keep
    shelf: Shelf
    largest: int
    slopes: Slopes | None = None

    @property
    def n_shared(self) -> int:
        """Shared parameters of the sums."""
        return n_summed(len(self.shared), self.slopes)


class Visited(NamedTuple):
    """What comes back of a block, its sums apart: arrays as in `Pass`."""

    kept: Kept
    log_posterior: Float[np.ndarray, " star"]
    chi2: Float[np.ndarray, " star"]
    own_sd: Float[np.ndarray, "star own"]
    scatter: Float[np.ndarray, " row"]


def _visit(
    problems: Sequence[StarProblem], visit: Visit, share: Share, advance: Advance, sums: Sums
) -> tuple[Terms, np.ndarray, np.ndarray]:
    """A block added to the sums; what is kept of it, and every star's log posterior and chi2."""
    n_star, n_own = visit.theta.shape
    n_shared = share.n_shared
    # a program for every size of a block would take time and memory: all have that of the largest, without data
    n = share.largest
    own = StarTerms(np.zeros((n, n_own, n_own)), np.zeros((n, n_own)), np.zeros((n, n_own, n_shared)))
    log_posterior, chi2 = np.zeros(n_star), np.zeros(n_star)
    kept = list[RowTerms | None]()
    data, last = visit.data.get(), None if visit.last is None else visit.last.get()
    for k, (problem, star) in enumerate(zip(problems, visit.star, strict=True)):
        if len(star) == 0:
            kept.append(None)
            continue
        deviation = np.zeros((len(star), problem.n_deviating)) if last is None else last.rows[k].deviation
        prior = StarPrior(*(x[star] for x in visit.prior))
        loading = None if visit.loading is None else visit.loading[star]
        rows = Rows(data[k], visit.theta[star], prior, visit.share[star], visit.noise[k], deviation, loading)
        part = sweep_window(
            problem, rows, share.shared, share.chunk, share.totals[k], share.keep, advance, share.slopes, sums
        )
        jax.tree.map(lambda into, values, star=star: np.add.at(into, star, values), own, part.star)
        np.add.at(log_posterior, star, part.row.log_posterior)
        np.add.at(chi2, star, part.row.chi2)
        kept.append(part.row)
    eliminated, thin, less = _eliminate(own, np.append(visit.damping, np.zeros(n - n_star)))
    eliminated = jax.tree.map(lambda x: np.asarray(x)[:n_star], eliminated)
    sums.take(np.asarray(thin))
    sums.gradient[:] -= np.asarray(less)
    return Terms.kept_of(eliminated, kept, visit.rows), log_posterior, chi2


def _share(problems: Sequence[StarProblem], share: Share, advance: Advance) -> tuple[Kept, list[Visited]]:
    """A task of a pass: where the sum over its blocks lies, and what comes back of each."""
    sums, found = Sums.none(share.n_shared), []
    for visit in share.visits:
        terms, log_posterior, chi2 = _visit(problems, visit, share, advance, sums)
        kept = share.shelf.put(terms)
        found.append(Visited(kept, log_posterior, chi2, terms.own_sd, terms.scatter))
    return share.shelf.put(sums.reduced()), found


def sweep(
    sample: Sample,
    theta: Float[Array, "star own"],
    shared: Float[Array, " shared"],
    noise: Noise,
    *,
    damping: Float[Array, " star"] | None = None,
    last: tuple[Kept, ...] | None = None,
    chunk: int = 16,
    keep: Keep = (),
    drift: Drift | None = None,
    of: Sample | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Pass:
    """One linearisation of every spectrum at (theta, shared), each star's contributions summed and eliminated.

    `last`: the blocks of the last pass, whose spectra's own deviations of lines this one linearises at (none if there
    was none): see `linearise`. `keep`: what of OPTIONAL is kept of every spectrum. `drift`: slopes of the lines, which
    the reduced system then has marginalised, or held. `of`: the sample that this one is some blocks of, whose compiled
    programs it then shares.

    Memory does not grow with the number of stars beyond a few numbers a star and what the sample's shelf keeps there. A
    star none of whose spectra has a finite model comes back with a log posterior that is not finite.
    """
    share, at = sample.share, np.asarray(theta)
    damped = np.zeros(sample.n_star) if damping is None else np.asarray(damping)
    prior: StarPrior = jax.tree.map(np.asarray, sample.prior)
    noise = tuple(as_numpy(n) for n in noise)
    before: Sequence[Kept | None] = [None] * len(sample.parts)
    if last is not None and any(w.problem.n_deviating for w in sample.windows):
        before = last

    def visit(part: Part, last: Kept | None) -> Visit:
        mine = part.stars
        star = tuple(w.star[rows] - mine.start for w, rows in zip(sample.windows, part.rows, strict=True))
        noises = tuple(NoiseModel(*(x[rows] for x in n)) for n, rows in zip(noise, part.rows, strict=True))
        priors = StarPrior(*(x[mine] for x in prior))
        z = None if drift is None else drift.loading[mine]
        return Visit(part.data, last, part.rows, star, at[mine], priors, share[mine], damped[mine], noises, z)

    total, done = sum(len(w.star) for w in sample.windows), [0]

    def advance(more: int) -> None:
        done[0] += more
        progress(done[0], total)

    visits = [visit(part, b) for part, b in zip(sample.parts, before, strict=True)]
    whole = sample if of is None else of
    largest = max(part.stars.stop - part.stars.start for part in whole.parts)
    common = tuple(len(w.star) for w in whole.windows), keep, sample.work.shelf, largest
    slopes = None if drift is None else Slopes(np.asarray(drift.slope), drift.prior is not None)
    cut = shares(len(visits), tasks_of(n_summed(len(shared), slopes)))
    tasks = [Share(visits[mine], np.asarray(shared), chunk, *common, slopes) for mine in cut]
    problems = tuple(w.problem for w in sample.windows)
    reduced: Any = None
    visited: list[Visited] = []
    for partial_sum, found in sample.work.place.map(_share, problems, tasks, advance):
        reduced = accumulated(reduced, partial_sum.get())
        visited += found
    kept, *by_star = zip(*visited, strict=True)
    log_posterior, chi2, own_sd, scatter = (np.concatenate(x) for x in by_star)
    slopes_left = None
    if drift is not None and drift.prior is not None:
        reduced, slopes_left = folded(reduced, drift, np.asarray(shared))
    return Pass(jax.tree.map(jnp.asarray, reduced), log_posterior, chi2, own_sd, scatter, kept, slopes_left)
