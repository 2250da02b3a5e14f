"""Another solver after the Gauss-Newton fit, on the NumPyro model: Laplace about the mean, SVI or NUTS from there."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from astrogf.inference.newton import groups as hyper
from astrogf.inference.newton.joint import Joint
from astrogf.inference.problem.noise import NoiseModel
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.parameters import steps
from astrogf.inference.problem.problem import StarData
from astrogf.inference.problem.spectra import Sample, WindowSpectra
from astrogf.inference.solvers.gaussian import joint_sites, laplace_gaussian, with_group_means
from astrogf.inference.solvers.laplace import recentred
from astrogf.inference.solvers.model import joint_model
from astrogf.inference.solvers.nuts import Density, Solution, nuts, split_density
from astrogf.inference.solvers.svi import svi


def refined(sample: Sample, joint: Joint, groups: hyper.Groups, options: FitOptions) -> Joint:
    """The joint fit with means and covariance of the corrections, and the stars' labels, of `options.solver.method`.

    The scatters of the groups and the noise stay as Gauss-Newton has learned them. For samples of one window without
    deviations of lines, which only Gauss-Newton marginalises.
    """
    window = sample.windows[0]
    order = np.argsort(window.star)
    window = replace(window, data=StarData(*(x[order] for x in window.data)), star=window.star[order])
    noise = NoiseModel(*(jnp.asarray(x)[order] for x in joint.run.noise[0]))
    density_of = density_of_stars(Sample((window,), sample.prior), noise, joint, groups, options)
    n, p = len(groups.member) + 1, joint.posterior
    by_star = joint.passed._replace(rows=(jax.tree.map(lambda x: np.asarray(x)[order], joint.passed.rows[0]),))
    start = laplace_gaussian(by_star, joint.run.theta, joint.run.shared, p.mean, p.covariance)
    start = with_group_means(start, p.tau, groups.member)
    key = jax.random.key(options.solver.seed)
    if options.solver.method == "laplace":
        solution = recentred(density_of(jnp.arange(sample.n_star)), start, key, pairs=options.solver.draws)
    elif options.solver.method == "svi":
        solution = svi(
            density_of, start, key, batch=min(options.solver.chunk, sample.n_star), steps=options.solver.draws
        )
    else:
        solution = nuts(density_of(jnp.arange(sample.n_star)), start, key, draws=options.solver.draws)
    joint.run.trace.append({"stage": options.solver.method, "status": solution.status, **_plain(solution)})
    theta = jnp.asarray(solution.own_mean[:, : sample.n_own] * steps(sample.n_own))
    posterior = hyper.Posterior(jnp.asarray(solution.mean[:n]), jnp.asarray(shared_covariance(solution)[:n, :n]), p.tau)
    return joint._replace(run=replace(joint.run, theta=theta), posterior=posterior, status=solution.status)


def density_of_stars(
    sample: Sample, noise: NoiseModel, joint: Joint, groups: hyper.Groups, options: FitOptions
) -> Callable[[Int[Array, " batch"]], Density]:
    """NumPyro's density of some of the stars of a sample of one window, a row a star in their order."""

    def of(index: Int[Array, " batch"]) -> Density:
        window: WindowSpectra = sample.windows[0]
        data = StarData(*(jnp.asarray(x)[index] for x in window.data))
        part = replace(window, data=data, star=np.arange(len(index)), release=np.zeros(len(index), int))
        some = Sample((part,), jax.tree.map(lambda x: jnp.asarray(x)[index], sample.prior))
        mine = NoiseModel(*(x[index] for x in noise))
        member = jnp.asarray(groups.member)
        args = (some, member, len(groups.names), options, (mine,), joint.posterior.tau)
        return split_density(joint_model, args, {}, joint_sites(len(groups.member), options.stars.abundances))

    return of


def shared_covariance(solution: Solution) -> np.ndarray:
    """Covariance of the shared parameters of a solution."""
    if solution.draws is not None:
        return np.cov(np.asarray(solution.draws[0]).reshape(-1, len(solution.mean)).T)
    assert solution.gaussian is not None
    factor = np.asarray(solution.gaussian.factor)
    return factor @ factor.T


def _plain(solution: Solution) -> dict[str, float]:
    return {k: float(v) for k, v in solution.diagnostics.items() if np.ndim(v) == 0 and not isinstance(v, str)}
