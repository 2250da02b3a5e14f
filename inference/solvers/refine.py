"""Another solver after the Gauss-Newton fit, on the NumPyro model: Laplace about the mean, or NUTS from there."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from astrogf.inference.newton.joint import Joint
from astrogf.inference.prior import groups as hyper
from astrogf.inference.prior.intervals import Parts, quantiles
from astrogf.inference.prior.means import Means
from astrogf.inference.prior.widths import Widths, probabilities
from astrogf.inference.problem.instrument import names
from astrogf.inference.problem.noise import NoiseModel
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.parameters import steps
from astrogf.inference.problem.problem import StarData
from astrogf.inference.problem.spectra import Sample, WindowSpectra
from astrogf.inference.solvers.gaussian import joint_sites, laplace_gaussian, with_means
from astrogf.inference.solvers.laplace import recentred
from astrogf.inference.solvers.model import joint_model
from astrogf.inference.solvers.nuts import Density, Solution, nuts, split_density

INTERVAL_DRAWS = 250
"""Draws that make the ends of the credible intervals, at least."""


def refined(sample: Sample, joint: Joint, groups: hyper.Groups, options: FitOptions) -> Joint:
    """The joint fit with means and covariance of the corrections, and the stars' labels, of `options.solver.method`.

    The widths of the groups and the noise stay as Gauss-Newton has learned them. For samples of one window without
    deviations of lines, which only Gauss-Newton marginalises.
    """
    window = sample.windows[0]
    order = np.argsort(window.star)
    window = replace(window, data=StarData(*(x[order] for x in window.data)), star=window.star[order])
    noise = NoiseModel(*(jnp.asarray(np.asarray(x))[order] for x in joint.run.noise[0]))
    density_of = density_of_stars(Sample((window,), sample.prior), noise, joint, groups, options)
    n, p = len(groups.member) + 1, joint.posterior
    row = jax.tree.map(lambda x: np.asarray(x)[order], joint.passed.rows[0])
    start = laplace_gaussian(joint.passed.star, row, joint.run.theta, joint.run.shared, p.mean, p.covariance)
    means = groups.means(options.lines.model_error)
    start = with_means(start, p.weight, means)
    key = jax.random.key(options.solver.seed)
    if options.solver.method == "laplace":
        solution = recentred(density_of(jnp.arange(sample.n_star)), start, key, pairs=options.solver.draws)
    else:
        solution = nuts(density_of(jnp.arange(sample.n_star)), start, key, draws=options.solver.draws)
    joint.run.trace.append({"stage": options.solver.method, "status": solution.status, **_plain(solution)})
    theta = jnp.asarray(solution.own_mean[:, : sample.n_own] * steps(sample.n_own))
    covariance = jnp.asarray(shared_covariance(solution)[:n, :n])
    draws = shared_draws(solution, jax.random.key(options.solver.seed + 1))
    loggf = loggf_of(draws, groups, means, p.widths)
    posterior = p._replace(mean=jnp.asarray(solution.mean[:n]), covariance=covariance, loggf=loggf)
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
        means = groups.means(options.lines.model_error)
        args = (some, member, len(groups.names), means, options, (mine,), joint.posterior.widths)
        sites = joint_sites(len(groups.member), names(options.stars, len(sample.windows)))
        return split_density(joint_model, args, {}, sites)

    return of


def shared_draws(solution: Solution, key: Array, n: int = 2000) -> np.ndarray:
    """Draws of the shared parameters: the solution's own, or of its Gaussian."""
    if solution.draws is not None:
        return np.asarray(solution.draws[0]).reshape(-1, len(solution.mean))
    assert solution.gaussian is not None
    return np.asarray(solution.gaussian.draw(key, n)[0])


def loggf_of(
    draws: Float[np.ndarray, "draw shared"], groups: hyper.Groups, species: Means, widths: Widths
) -> hyper.LogGf:
    """What draws of (u, ln_sigma0, m) say of the log gf, widths held, the classes summed over.

    The list's share is the covariance of delta and delta - mu, in units of the list's variance, class by class.
    """
    member, n = groups.member, len(groups.member)
    part, uncertain = (x[species.of] for x in species.of_list)
    means_of_species = draws[:, n + 1 :]
    m, mu = means_of_species[:, species.of], means_of_species @ part.T
    u = draws[:, :n] - groups.line_mean
    states = widths.states(member)
    each = np.stack([probabilities(states.log_density(off)) for off in u - m], axis=1)
    means, second, share, parts = np.zeros_like(u), np.zeros(n), np.zeros(n), []
    for probability, k, left, listed in zip(each, *states.shrunk(), states.listed, strict=True):
        inside = mu + k * (u - m)
        means += probability * inside
        thin = slice(None, None, max(len(u) // INTERVAL_DRAWS, 1))
        parts.append(
            Parts(probability[thin], inside[thin], np.broadcast_to(np.sqrt(left + uncertain), inside[thin].shape))
        )
        second += np.mean(probability * (inside**2 + left), axis=0)
        weight = probability / np.maximum(probability.sum(axis=0), 1e-300)
        apart = inside - np.sum(weight * inside, axis=0)
        follows = (np.sum(weight * apart * (inside - mu), axis=0) + left) / listed
        share += np.mean(probability, axis=0) * np.clip(follows, 0.0, 1.0)
    covariance = np.cov(means.T, bias=True).reshape(n, n)
    covariance[np.arange(n), np.arange(n)] = second - means.mean(axis=0) ** 2
    covariance += uncertain * (species.of[:, None] == species.of)
    ends = groups.line_mean + quantiles(Parts.of(parts))
    return hyper.LogGf(groups.line_mean + means.mean(axis=0), covariance, share, each[1].mean(axis=0), ends)


def shared_covariance(solution: Solution) -> np.ndarray:
    """Covariance of the shared parameters of a solution."""
    if solution.draws is not None:
        return np.cov(np.asarray(solution.draws[0]).reshape(-1, len(solution.mean)).T)
    assert solution.gaussian is not None
    factor = np.asarray(solution.gaussian.factor)
    return factor @ factor.T


def _plain(solution: Solution) -> dict[str, float]:
    return {k: float(v) for k, v in solution.diagnostics.items() if np.ndim(v) == 0 and not isinstance(v, str)}
