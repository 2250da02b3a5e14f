"""Very many stars on their own: the Gauss-Newton of `newton.stars`, all stars of a batch in one compiled loop.

A star's terms are those of `problem.linearise`, whatever makes its spectrum. Batches have one size, so that there is
one program; stars that need many iterations are done again among themselves, and do not hold up the others.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float

from astrogf.inference.newton.stars import keep_physical, uphill
from astrogf.inference.problem.arrow import eliminate
from astrogf.inference.problem.contribution import StarTerms, counted
from astrogf.inference.problem.devices import in_chunks, spread, star_mesh
from astrogf.inference.problem.linearise import linearise
from astrogf.inference.problem.miscomputed import TOLERANCE, MiscomputedError
from astrogf.inference.problem.noise import NoiseModel
from astrogf.inference.problem.parameters import StarPrior, steps
from astrogf.inference.problem.problem import StarData, StarProblem

BATCH = 128
"""Stars of a batch, all devices together."""
FIRST = 7
"""Iterations that all stars get; those that have not converged get more, together."""


class Stars(NamedTuple):
    """Stars and their spectra, window by window; a star has a row in each, of `used` 0 where it has no spectrum."""

    data: tuple[StarData, ...]
    used: tuple[Float[Array, " star"], ...]
    noise: tuple[NoiseModel, ...]
    theta: Float[Array, "star own"]
    prior: StarPrior
    share: Float[Array, " star"]


class Terms(NamedTuple):
    """What a pass knows of a star."""

    step: Float[Array, "*star own"]
    covariance: Float[Array, "*star own own"]
    log_posterior: Float[Array, "*star"]
    chi2: Float[Array, "*star"]
    mismatch: Float[Array, "*star"]


class Fitted(NamedTuple):
    """Stars at their maximum: own parameters, their covariance in units of `parameters.steps` (what stars share held),
    chi2 with the outlier weights, whether the last step was short enough, and how many there were. `log_posterior` is
    not finite where the model is not."""

    theta: Float[np.ndarray, "star own"]
    covariance: Float[np.ndarray, "star own own"]
    log_posterior: Float[np.ndarray, " star"]
    chi2: Float[np.ndarray, " star"]
    converged: Bool[np.ndarray, " star"]
    iterations: np.ndarray

    @property
    def sd(self) -> Float[np.ndarray, "star own"]:
        """Posterior sd of own parameters."""
        return np.sqrt(np.diagonal(self.covariance, 0, 1, 2)) * steps(self.theta.shape[1])


class _State(NamedTuple):
    """Of one batch between two iterations, as `newton.stars` has it."""

    iteration: Array
    theta: Array
    best_theta: Array
    best: Array
    kept: Terms
    damping: Array
    shrink: Array
    size: Array


def star_terms(
    problems: Sequence[StarProblem], ln_sigma: Float[Array, ""], star: Stars, damping: Float[Array, ""]
) -> Terms:
    """One star (no leading axes) linearised in all its windows, and its step."""
    n_own = star.theta.shape[0]
    total = StarTerms(jnp.zeros((n_own, n_own)), jnp.zeros(n_own), jnp.zeros((n_own, 1)))
    log_posterior = chi2 = mismatch = jnp.zeros(())
    for problem, data, used, noise in zip(problems, star.data, star.used, star.noise, strict=True):
        at = problem.spectrum.responding(problem.told(star.theta), jnp.zeros(0))
        where, nowhere = ln_sigma[None], jnp.zeros(0)
        added = linearise(problem, data, star.theta, star.prior, star.share, where, noise, nowhere, at)
        fine = jnp.isfinite(added.row.log_posterior)
        added = counted(added, fine & (used > 0.0))
        total = jax.tree.map(jnp.add, total, added.star)
        log_posterior = log_posterior + jnp.where(used > 0.0, added.row.log_posterior, 0.0)
        chi2 = chi2 + jnp.where(used > 0.0, added.row.chi2, 0.0)
        mismatch = jnp.maximum(mismatch, jnp.where(fine & (used > 0.0), added.row.mismatch, 0.0))
    empty = jnp.trace(total.precision) <= 0.0
    solved = eliminate(total.precision + empty * jnp.eye(n_own), total.gradient, total.cross, damping)
    step, covariance = jnp.asarray(solved.constant), jnp.asarray(solved.covariance)
    return Terms(step, covariance, log_posterior, chi2, mismatch)


class _Common(NamedTuple):
    """What all batches share."""

    problems: tuple[StarProblem, ...]
    ln_sigma: Array
    iterations: Array
    tolerance: Array


def _iterate(common: _Common, stars: Stars) -> _State:
    """All iterations of one device's stars."""
    problems, ln_sigma, iterations, tolerance = common
    n, n_own = stars.theta.shape

    def body(state: _State) -> _State:
        one = partial(star_terms, problems, ln_sigma)
        found = jax.vmap(one)(stars._replace(theta=state.theta), state.damping)
        better = found.log_posterior >= state.best - 1e-6
        kept = jax.tree.map(lambda new, old: _where(better, new, old), found, state.kept)
        best_theta = _where(better, state.theta, state.best_theta)
        # lengthened again by and by: where a whole step leads too far once, it often does so the next time
        shrink = jnp.where(better, jnp.minimum(2.0 * state.shrink, 1.0), 0.3 * state.shrink)
        step = uphill(kept.step)
        sd = jnp.sqrt(jnp.abs(jnp.diagonal(kept.covariance, 0, 1, 2))) * steps(n_own)
        # of the whole step: a short one says nothing of how near the maximum is
        size = jnp.max(jnp.abs(step) / jnp.where(sd > 0.0, sd, 1.0), 1)
        after = _State(
            iteration=state.iteration + 1,
            theta=keep_physical(best_theta + step * shrink[:, None]),
            best_theta=best_theta,
            best=jnp.where(better, found.log_posterior, state.best),
            kept=kept._replace(mismatch=jnp.maximum(state.kept.mismatch, found.mismatch)),
            damping=jnp.maximum(state.damping / 5.0, 1e-6),
            shrink=shrink,
            size=jnp.where(state.iteration > 0, size, jnp.inf),
        )
        # a star that is done stays as it is, so that it does not matter who else is in its batch
        return jax.tree.map(partial(_where, state.size > tolerance), after, state)

    def going_on(state: _State) -> Array:
        return jnp.any((state.iteration < iterations) & (state.size > tolerance))

    zero, never = jnp.zeros(n), jnp.full(n, jnp.inf)
    nothing = Terms(jnp.zeros((n, n_own)), jnp.zeros((n, n_own, n_own)), -never, zero, zero)
    start = _State(
        jnp.zeros(n, int), stars.theta, stars.theta, -never, nothing, jnp.full(n, 1e-2), jnp.ones(n), never
    )  # fmt: skip
    return jax.lax.while_loop(going_on, body, start)


def _where(better: Bool[Array, " star"], new: Array, old: Array) -> Array:
    return jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)


@eqx.filter_jit
def _fit(common: _Common, stars: Stars, mesh: Mesh) -> _State:
    return spread(_iterate, common, stars, mesh)


def _batch(common: _Common, stars: Stars) -> _State:
    """One batch; on one device where the products of all together contradict themselves (`problem.miscomputed`)."""
    found = _fit(common, stars, star_mesh())
    if _wrong(found):
        found = _fit(common, stars, star_mesh(1))
    if _wrong(found):
        raise MiscomputedError(
            "products are wrong on this machine, so that no label would mean anything: see docs/how-to/problems.md, "
            "'When the runtime is wrong'"
        )
    return found


def _wrong(found: _State) -> bool:
    return float(np.max(np.nan_to_num(np.asarray(found.kept.mismatch), posinf=0.0))) > TOLERANCE


def fit_batches(
    problems: Sequence[StarProblem],
    ln_sigma: float,
    stars: Stars,
    *,
    iterations: int = 25,
    tolerance: float = 0.02,
    batch: int = BATCH,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Fitted:
    """Every star on its own, with the survey's `ln_sigma` and the noise held: as `newton.stars.fit_stars`, but that a
    star is done when its own step is below `tolerance` posterior sds, or after so many `iterations`.

    A star whose model is not finite comes back with a log posterior that is not finite; it harms no other.
    """
    n = len(stars.theta)
    within = jnp.asarray(ln_sigma), jnp.asarray(min(FIRST, iterations)), jnp.asarray(tolerance)
    common = _Common(tuple(problems), *within)
    found = _in_batches(common, stars, batch, progress)
    again = np.flatnonzero(~found.converged)
    if len(again) and iterations > FIRST:
        # from where they are, with the damping that the first iterations had
        rest = jax.tree.map(lambda x: np.asarray(x)[again], stars)._replace(theta=found.theta[again])
        more = _in_batches(common._replace(iterations=jnp.asarray(iterations)), rest, batch)
        for old, new in zip(found, more, strict=True):
            old[again] = new
        found.iterations[again] += FIRST
    progress(n, n)
    return found


def _in_batches(common: _Common, stars: Stars, batch: int, progress=lambda done, total: None) -> Fitted:
    parts, done, n = list[Fitted](), 0, len(stars.theta)
    tolerance = float(common.tolerance)
    for mine, _, keep in in_chunks(stars, batch, star_mesh(), max(n, batch)):
        end = _batch(common, mine)
        size = np.asarray(end.size)
        values = (end.best_theta, end.kept.covariance, end.best, end.kept.chi2, size <= tolerance, end.iteration)
        parts.append(Fitted(*(np.array(x)[:keep] for x in values)))
        done += keep
        progress(done, n)
    return Fitted(*(np.concatenate(x) for x in zip(*parts, strict=True)))
