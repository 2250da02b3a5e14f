"""One star linearised: model, residual, and the blocks of the normal equations it contributes."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from inference import noise
from inference.parameters import STAR, STEP, StarPrior, vmic_relation
from synthesis.instrument import observe, observe_windows
from synthesis.model import PARAMETERS, SpectrumModel

N_SPECTRUM = len(PARAMETERS)
LN_SIGMA, RV, VMIC = STAR.index("ln_sigma"), STAR.index("rv"), STAR.index("vmic")


class StarData(NamedTuple):
    """Pixels of one star (a leading `star` axis under vmap), flux scaled to a level near 1."""

    flux: Float[Array, "*star pixel"]
    ivar: Float[Array, "*star pixel"]


class StarBlocks(NamedTuple):
    """What one star adds to the arrow system, in units of `STEP` for its own parameters.

    Own parameters are the seven of `STAR`, then the continuum coefficients; shared ones are the line corrections,
    then the survey's ln_sigma. `gradient` vectors point uphill in log posterior.
    """

    own: Float[Array, "*star own own"]
    own_gradient: Float[Array, "*star own"]
    cross: Float[Array, "*star own shared"]
    shared: Float[Array, "shared shared"]
    shared_gradient: Float[Array, " shared"]
    log_posterior: Float[Array, "*star"]
    chi2: Float[Array, "*star"]  # with the outlier weights, so that one cosmic ray does not speak for a star
    model: Float[Array, "*star pixel"]
    coefficients: Float[Array, "*star basis"]
    information: Float[Array, " line"]


class StarProblem(eqx.Module):
    """Everything that is the same for all stars of a run."""

    spectrum: SpectrumModel
    basis: Float[Array, "pixel basis"]
    prior: StarPrior
    coefficient_sd: Float[Array, " basis"]
    ln_sigma_scatter: float
    wall: float

    def margin(self, labels: Float[Array, "4"]) -> Float[Array, ""]:
        """Signed distance to the emulator's domain, positive inside."""
        return self.spectrum.atmosphere.margin(labels)


def chebyshev_basis(n_pixel: int, degree: int) -> Float[np.ndarray, "pixel basis"]:
    """Chebyshev polynomials 0..degree over the window."""
    return np.polynomial.chebyshev.chebvander(np.linspace(-1.0, 1.0, n_pixel), degree)


def fit_continuum(problem: StarProblem, flux, weights, normalised) -> Float[Array, " basis"]:
    """Most probable continuum coefficients given the normalised spectrum (weighted linear least squares).

    Prior: Normal(0, coefficient_sd), wide; the continuum is marginalised with them in the arrow solver.
    """
    design = problem.basis * normalised[:, None]
    normal = design.T @ (weights[:, None] * design) + jnp.diag(problem.coefficient_sd**-2)
    return jnp.linalg.solve(normal, design.T @ (weights * flux))


def prior_terms(problem: StarProblem, theta, ln_sigma0):
    """Residuals (value / sd) of a star's priors and wall, whose squares sum to -2 log prior.

    vmic is tied to the relation of its labels, ln_sigma to the survey's shared value.
    """
    mean = problem.prior.mean.at[VMIC].set(vmic_relation(theta[0], theta[1])).at[LN_SIGMA].set(ln_sigma0)
    sd = problem.prior.sd.at[LN_SIGMA].set(problem.ln_sigma_scatter)
    outside = jnp.maximum(-problem.margin(theta[:4]), 0.0) / problem.wall
    return jnp.concatenate([(theta - mean) / sd, outside[None]])


def predict(problem: StarProblem, theta: Float[Array, " star_parameter"], delta) -> Float[Array, " pixel"]:
    """Normalised spectrum in the survey's pixels."""
    flux = problem.spectrum.normalised(theta[:N_SPECTRUM], delta)
    return observe(flux, theta[RV], jnp.exp(theta[LN_SIGMA]), problem.spectrum.grid)


def _robust_continuum(problem, data, normalised, noise_model):
    """Continuum coefficients, model level and pixel weights, with two rounds of outlier weighting."""
    var = noise.variance(data.flux, data.ivar, noise_model)
    good = (data.ivar > 0).astype(data.flux.dtype)
    weights = good / var
    for _ in range(3):
        coefficients = fit_continuum(problem, data.flux, weights, normalised)
        residual = data.flux - problem.basis @ coefficients * normalised
        weights = good * noise.weight(residual, var)
    return coefficients, residual, weights, var, good


class LineColumns(NamedTuple):
    """d(pixel) / d(log gf): by correction, dense; and for every line by itself in its own few pixels.

    `line`, `first pixel` and values of each bucket are in `local`, for `information`.
    """

    dense: Float[Array, "pixel free"]
    local: list[tuple[Int[Array, " line"], Int[Array, "line local"], Float[Array, "line local"]]]


def line_columns(problem: StarProblem, theta, windows) -> LineColumns:
    """Take the responses within the line windows through the instrument."""
    grid, n_free = problem.spectrum.grid, problem.spectrum.n_free
    columns, local = jnp.zeros((grid.n_pixel, n_free + 1)), []
    for bucket, window in zip(problem.spectrum.buckets, windows, strict=True):
        start, free = bucket.start.reshape(-1), bucket.free.reshape(-1)
        flat = window.reshape(start.shape[0], -1)
        first, values = observe_windows(flat, start, theta[RV], jnp.exp(theta[LN_SIGMA]), grid)
        pixel = first[:, None] + np.arange(values.shape[1])
        inside = (pixel >= 0) & (pixel < grid.n_pixel)
        pixel, values = jnp.where(inside, pixel, 0), jnp.where(inside, values, 0.0)
        columns = columns.at[pixel, free[:, None]].add(values)
        local.append((bucket.line.reshape(-1), pixel, values))
    return LineColumns(columns[:, :n_free], local)


def information(columns: LineColumns, own_covariance, weighted_own, weights, n_line: int) -> Float[Array, " line"]:
    """Squared signal-to-noise per dex of log gf of every line alone, the star's own parameters marginalised."""
    total = jnp.zeros(n_line + 1)
    for line, pixel, values in columns.local:
        own = jnp.einsum("lp,lpo->lo", values, weighted_own[pixel])
        known = jnp.sum(weights[pixel] * values**2, axis=1) - jnp.sum((own @ own_covariance) * own, axis=1)
        total = total.at[line].add(known)
    return total[:n_line]


def linearise(
    problem: StarProblem,
    data: StarData,
    theta: Float[Array, " star_parameter"],
    shared: Float[Array, " shared"],
    noise_model: noise.NoiseModel,
) -> StarBlocks:
    """Blocks of one star at (theta, shared); `shared` is the corrections followed by the survey's ln_sigma.

    Gauss-Newton curvature with the mixture's EM weights; the continuum is first brought to its optimum.
    """
    delta, ln_sigma0 = shared[:-1], shared[-1]
    line = problem.spectrum.linearised(theta[:N_SPECTRUM], delta)
    grid = problem.spectrum.grid

    def see(flux, rv, ln_sigma):
        return observe(flux, rv, jnp.exp(ln_sigma), grid)

    arguments = (line.flux, theta[RV], theta[LN_SIGMA])
    normalised = see(*arguments)
    by_rv, by_sigma = (jax.jacfwd(see, argnums=i)(*arguments) for i in (1, 2))
    by_spectrum = jax.vmap(lambda column: see(column, *arguments[1:]), 1, 1)(line.by_parameter)
    own = jnp.column_stack([by_spectrum, by_sigma, by_rv]) * STEP

    coefficients, residual, weights, var, good = _robust_continuum(problem, data, normalised, noise_model)
    continuum = problem.basis @ coefficients
    columns = jnp.column_stack([own * continuum[:, None], problem.basis * normalised[:, None]])
    by_line = line_columns(problem, theta, line.by_line)
    shared_columns = jnp.column_stack([by_line.dense * continuum[:, None], jnp.zeros(grid.n_pixel)])

    weighted = columns * weights[:, None]
    by_own = jax.jacfwd(prior_terms, argnums=1)(problem, theta, ln_sigma0) * STEP
    by_shared = jax.jacfwd(prior_terms, argnums=2)(problem, theta, ln_sigma0)
    prior = prior_terms(problem, theta, ln_sigma0)
    n_theta = len(STAR)
    own_block = weighted.T @ columns
    own_block = own_block.at[:n_theta, :n_theta].add(by_own.T @ by_own)
    own_block = own_block + jnp.diag(jnp.concatenate([jnp.zeros(n_theta), problem.coefficient_sd**-2]))
    own_gradient = weighted.T @ residual
    own_gradient = own_gradient.at[:n_theta].add(-by_own.T @ prior)
    own_gradient = own_gradient.at[n_theta:].add(-coefficients / problem.coefficient_sd**2)
    cross = weighted.T @ shared_columns
    cross = cross.at[:n_theta, -1].add(by_own.T @ by_shared)
    shared_block = shared_columns.T @ (shared_columns * weights[:, None])
    shared_block = shared_block.at[-1, -1].add(by_shared @ by_shared)
    shared_gradient = shared_columns.T @ (weights * residual)
    shared_gradient = shared_gradient.at[-1].add(-by_shared @ prior)

    inverse = jnp.linalg.inv(own_block)
    known = information(
        by_line, inverse, weighted * continuum[:, None], weights * continuum**2, problem.spectrum.n_line
    )

    log_posterior = jnp.sum(good * noise.log_likelihood(residual, var)) - 0.5 * jnp.sum(prior**2)
    log_posterior = log_posterior - 0.5 * jnp.sum((coefficients / problem.coefficient_sd) ** 2)
    return StarBlocks(
        own_block, own_gradient, cross, shared_block, shared_gradient, log_posterior,
        jnp.sum(weights * residual**2), continuum * normalised, coefficients, known,
    )  # fmt: skip
