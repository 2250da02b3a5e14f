"""One pass over all stars: linearise each, eliminate it, keep only sums and small blocks; sharded over devices."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float

from inference.arrow import Eliminated, Reduced, eliminate, reduce
from inference.noise import NoiseModel
from inference.star import StarData, StarProblem, linearise


class Pass(NamedTuple):
    """What a pass leaves: the reduced shared system and, for each star, its eliminated block and quality of fit."""

    reduced: Reduced
    star: Eliminated
    log_posterior: Float[Array, " star"]
    chi2: Float[Array, " star"]
    model: Float[Array, "star pixel"]
    coefficients: Float[Array, "star basis"]


def _scan_stars(problem, data, theta, damping, used, noise_model, shared) -> Pass:
    """All stars of one device, one after the other (memory of one star), sums accumulated on the way."""

    def one(total, star):
        star_data, star_theta, star_damping, star_used, star_noise = star
        blocks = linearise(problem, star_data, star_theta, shared, star_noise)
        eliminated = eliminate(blocks.own, blocks.own_gradient, blocks.cross, star_damping)
        taken = reduce(eliminated, blocks.cross, blocks.own_gradient)
        finite = jnp.isfinite(blocks.log_posterior) & (star_used > 0.0)

        def add(sum_, *terms):
            return sum_ + jnp.where(finite, sum(terms), 0.0)

        total = Reduced(
            add(total.precision, taken.precision, blocks.shared),
            add(total.gradient, taken.gradient, blocks.shared_gradient),
        )
        return total, (eliminated, blocks.log_posterior, blocks.chi2, blocks.model, blocks.coefficients)

    n = shared.shape[0]
    # derived from the data so that the carry is as device-varying as what is added to it
    zero = 0.0 * jnp.sum(theta)
    start = Reduced(jnp.zeros((n, n)) + zero, jnp.zeros(n) + zero)
    total, out = jax.lax.scan(one, start, (data, theta, damping, used, noise_model))
    return Pass(jax.tree.map(lambda x: x[None], total), *out)


@eqx.filter_jit
def _chunk(problem, data, theta, damping, used, noise_model, shared, mesh) -> Pass:
    arrays, static = eqx.partition(problem, eqx.is_array)

    @partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=(P(), P("star"), P("star"), P("star"), P("star"), P("star"), P()),
        out_specs=P("star"),
    )
    def run(arrays, data, theta, damping, used, noise_model, shared):
        return _scan_stars(eqx.combine(arrays, static), data, theta, damping, used, noise_model, shared)

    out = run(arrays, data, theta, damping, used, noise_model, shared)
    return out._replace(reduced=jax.tree.map(lambda x: jnp.sum(x, axis=0), out.reduced))


def star_mesh() -> Mesh:
    """All local devices along one axis, `star`."""
    return Mesh(np.array(jax.devices()), ("star",))


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
    grow with the number of stars; the last chunk is padded with copies that do not count. A star whose model is
    not finite contributes nothing and comes back with a log posterior that is not finite.
    """
    mesh = star_mesh()
    n_star, n_device = theta.shape[0], mesh.devices.size
    chunk = max(n_device, -(-min(chunk, n_star) // n_device) * n_device)
    damping = jnp.zeros(n_star) if damping is None else damping
    total: Reduced | None = None
    parts = []
    for first in range(0, n_star, chunk):
        index = np.minimum(np.arange(first, first + chunk), n_star - 1)
        used = jnp.asarray((np.arange(first, first + chunk) < n_star).astype(float))
        part = _chunk(
            problem,
            jax.tree.map(lambda x, index=index: x[index], data),
            theta[index],
            damping[index],
            used,
            jax.tree.map(lambda x, index=index: x[index], noise_model),
            shared,
            mesh,
        )
        total = part.reduced if total is None else total + part.reduced
        keep = min(chunk, n_star - first)
        parts.append(jax.tree.map(lambda x, keep=keep: np.asarray(x[:keep]), part._replace(reduced=None)))
        progress(first + keep, n_star)
    joined = jax.tree.map(lambda *x: jnp.asarray(np.concatenate(x)), *parts)
    return joined._replace(reduced=total)
