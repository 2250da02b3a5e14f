"""One pass over all stars: linearise each, eliminate it, keep only sums and small blocks; sharded over devices."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from inference.arrow import Eliminated, Reduced, eliminate, reduce
from inference.devices import chunk_size, padded, spread, star_mesh
from inference.noise import NoiseModel
from inference.star import StarData, StarProblem, linearise


class Pass(NamedTuple):
    """What a pass leaves: the reduced shared system, each star's eliminated block and quality of fit, and what all
    stars together know of every line alone (squared signal-to-noise per dex)."""

    reduced: Reduced
    information: Float[Array, " line"]
    star: Eliminated
    log_posterior: Float[Array, " star"]
    chi2: Float[Array, " star"]
    model: Float[Array, "star pixel"]
    coefficients: Float[Array, "star basis"]


SUMS = 2
"""The first fields of a Pass are sums over stars; the others have a leading `star` axis."""


def _scan_stars(problem, shared, data, theta, damping, used, noise_model) -> Pass:
    """All stars of one device, one after the other (memory of one star), sums accumulated on the way."""

    def one(total, star):
        star_data, star_theta, star_damping, star_used, star_noise = star
        blocks = linearise(problem, star_data, star_theta, shared, star_noise)
        eliminated = eliminate(blocks.own, blocks.own_gradient, blocks.cross, star_damping)
        taken = reduce(eliminated, blocks.cross, blocks.own_gradient)
        finite = jnp.isfinite(blocks.log_posterior) & (star_used > 0.0)

        def add(sum_, *terms):
            return sum_ + jnp.where(finite, sum(terms), 0.0)

        reduced = Reduced(
            add(total[0].precision, taken.precision, blocks.shared),
            add(total[0].gradient, taken.gradient, blocks.shared_gradient),
        )
        total = (reduced, add(total[1], blocks.information))
        return total, (eliminated, blocks.log_posterior, blocks.chi2, blocks.model, blocks.coefficients)

    n = shared.shape[0]
    # derived from the data so that the carry is as device-varying as what is added to it
    zero = 0.0 * jnp.sum(theta)
    start = (Reduced(jnp.zeros((n, n)) + zero, jnp.zeros(n) + zero), jnp.zeros(problem.spectrum.n_line) + zero)
    total, out = jax.lax.scan(one, start, (data, theta, damping, used, noise_model))
    reduced, information = jax.tree.map(lambda x: x[None], total)
    return Pass(reduced, information, *out)


@eqx.filter_jit
def _chunk(problem, shared, stars, mesh) -> Pass:
    out = spread(lambda common, mine: _scan_stars(*common, *mine), (problem, shared), stars, mesh)
    summed = jax.tree.map(lambda x: jnp.sum(x, axis=0), (out.reduced, out.information))
    return out._replace(reduced=summed[0], information=summed[1])


def sweep(
    problem: StarProblem,
    data: StarData,
    theta: Float[Array, "star star_parameter"],
    shared: Float[Array, " shared"],
    noise_model: NoiseModel,
    *,
    damping: Float[Array, " star"] | None = None,
    chunk: int = 16,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Pass:
    """One linearisation of every star at (theta, shared).

    Stars go through in chunks of fixed size spread over the devices, so that it compiles once and memory does not
    grow with the number of stars; `shared` may hold fewer corrections than the model has room for, and the result
    then speaks of those only. The last chunk is padded with copies that do not count. A star whose model is
    not finite contributes nothing and comes back with a log posterior that is not finite.
    """
    room, used_corrections = problem.spectrum.n_free, shared.shape[0] - 1
    columns = np.append(np.arange(used_corrections), room)
    shared = jnp.concatenate([shared[:-1], jnp.zeros(room - used_corrections), shared[-1:]])
    mesh = star_mesh()
    n_star, n_device = theta.shape[0], mesh.devices.size
    chunk = chunk_size(chunk, n_star, n_device)
    damping = jnp.zeros(n_star) if damping is None else damping
    # as numpy arrays all calls look the same to the compiler, whatever computed them
    shared, stars = jax.tree.map(np.asarray, (shared, (data, theta, damping, noise_model)))
    total: tuple[Reduced, Array] | None = None
    parts = []
    for first in range(0, n_star, chunk):
        index, used = padded(first, chunk, n_star)
        mine = jax.tree.map(lambda x, index=index: x[index], stars)
        part = _chunk(problem, shared, (*mine[:3], used, mine[3]), mesh)
        sums = (part.reduced, part.information)
        total = sums if total is None else jax.tree.map(jnp.add, total, sums)
        keep = min(chunk, n_star - first)
        parts.append(jax.tree.map(lambda x, keep=keep: np.asarray(x[:keep]), part[SUMS:]))
        progress(first + keep, n_star)
    joined = jax.tree.map(lambda *x: jnp.asarray(np.concatenate(x)), *parts)
    assert total is not None
    reduced = Reduced(total[0].precision[np.ix_(columns, columns)], total[0].gradient[columns])
    star = joined[0]._replace(slope=joined[0].slope[:, :, columns])
    return Pass(reduced, total[1], star, *joined[1:])
