"""One spectrum of one star linearised: model, residual, and the blocks of the normal equations it contributes."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from astrogf.inference.problem import noise
from astrogf.inference.problem.arrow import absorb
from astrogf.inference.problem.parameters import LN_SIGMA, RV, STAR, VMIC, StarPrior, steps, vmic_relation
from astrogf.synthesis.model import PARAMETERS, SpectrumModel
from astrogf.synthesis.observed.instrument import observe, observe_windows

N_SPECTRUM = len(PARAMETERS)
"""Own parameters that the synthesis takes; broadening and velocity follow, then abundances."""


class StarData(NamedTuple):
    """Pixels of one spectrum (a leading `row` axis under vmap), flux scaled to a level near 1."""

    flux: Float[Array, "*row pixel"]
    ivar: Float[Array, "*row pixel"]


class Continuum(NamedTuple):
    """A spectrum's continuum coefficients once the rest is known: their own step is `constant` - `slope` @ (step of the
    star's own parameters and of the corrections), with `covariance`."""

    constant: Float[Array, "*row basis"]
    slope: Float[Array, "*row basis rest"]
    covariance: Float[Array, "*row basis basis"]


class StarBlocks(NamedTuple):
    """What one spectrum adds to the arrow system, in units of `parameters.steps` for the star's own parameters.

    The continuum is eliminated. Shared parameters are the line corrections, then the survey's ln_sigma. `gradient`
    vectors point uphill in log posterior. `shared` and `shared_gradient` are to be summed over spectra. `adjusted` is
    the model with the spectrum's own deviation of every line, `scatter` the sd (dex) that these deviations suggest,
    `determined` how many of them the pixels decide. `mismatch` is that of `mismatch`.
    """

    own: Float[Array, "*row own own"]
    own_gradient: Float[Array, "*row own"]
    cross: Float[Array, "*row own shared"]
    shared: Float[Array, "shared shared"]
    shared_gradient: Float[Array, " shared"]
    log_posterior: Float[Array, "*row"]
    chi2: Float[Array, "*row"]  # with the outlier weights, so that one cosmic ray does not speak for a star
    model: Float[Array, "*row pixel"]
    coefficients: Float[Array, "*row basis"]
    information: Float[Array, " line"]
    adjusted: Float[Array, "*row pixel"]
    scatter: Float[Array, "*row"]
    continuum: Continuum
    deviation: Float[Array, "*row deviating"]
    determined: Float[Array, "*row"]
    mismatch: Float[Array, "*row"]


class StarProblem(eqx.Module):
    """Everything that is the same for all spectra of one window.

    `membership[slot, element]` is the number of atoms of each abundance that is free in the lines of a slot: the
    first `room` slots are the corrections, the others hold the lines without one. `atoms` and `rest` are what it is
    made of: the atoms in the carrier of every line, and the slot (after `room`) of the lines like it, -1 for none.
    `scattered`: each spectrum has its own deviation of every corrected line, with the sd that its noise model gives.
    """

    spectrum: SpectrumModel
    basis: Float[Array, "pixel basis"]
    coefficient_sd: Float[Array, " basis"]
    membership: Float[Array, "slot element"]
    atoms: Float[Array, "line element"]
    rest: Int[Array, " line"]
    room: int = eqx.field(static=True)
    wall: float
    scattered: bool = eqx.field(static=True, default=False)

    @property
    def deviating(self) -> int:
        """Number of lines that deviate in each spectrum."""
        return self.room if self.scattered else 0

    def margin(self, labels: Float[Array, "4"]) -> Float[Array, ""]:
        """Signed distance to the emulator's domain, positive inside."""
        return self.spectrum.atmosphere.margin(labels)

    def shift(self, theta: Float[Array, " own"], delta: Float[Array, " room"]) -> Float[Array, " slot"]:
        """Change of log (gf x abundance) of every slot, dex, of a star with abundances."""
        spare = jnp.zeros(self.membership.shape[0] - self.room)
        return jnp.concatenate([delta, spare]) + self.membership @ theta[len(STAR) :]


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


def prior_terms(problem: StarProblem, prior: StarPrior, theta, ln_sigma0):
    """Residuals (value / sd) of a star's priors and wall, whose squares sum to -2 log prior.

    vmic is tied to the relation of its labels, ln_sigma to the survey's shared value, except where the prior says
    otherwise.
    """
    vmic = jnp.where(prior.follows_vmic > 0, vmic_relation(theta[0], theta[1]), prior.mean[VMIC])
    ln_sigma = jnp.where(prior.follows_survey > 0, ln_sigma0, prior.mean[LN_SIGMA])
    mean = prior.mean.at[VMIC].set(vmic).at[LN_SIGMA].set(ln_sigma)
    outside = jnp.maximum(-problem.margin(theta[:4]), 0.0) / problem.wall
    return jnp.concatenate([(theta - mean) / prior.sd, outside[None]])


def predict(problem: StarProblem, theta: Float[Array, " own"], delta) -> Float[Array, " pixel"]:
    """Normalised spectrum in the survey's pixels; `delta` has an entry for each of the problem's `room`."""
    flux = problem.spectrum.normalised(theta[:N_SPECTRUM], problem.shift(theta, delta))
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
    local: list[tuple[Int[Array, "chunk line"], Int[Array, "chunk line local"], Float[Array, "chunk line local"]]]


AT_ONCE = 2_000_000
"""Numbers of the instrument's matrices (or of gathered derivatives) held at once, for one spectrum."""


def line_columns(problem: StarProblem, theta, windows) -> LineColumns:
    """Take the responses within the line windows through the instrument."""
    grid, n_slot = problem.spectrum.grid, problem.spectrum.n_free
    columns, local = jnp.zeros((grid.n_pixel, n_slot + 1)), []
    sigma = jnp.exp(theta[LN_SIGMA])
    for bucket, window in zip(problem.spectrum.buckets, windows, strict=True):
        start = jnp.reshape(bucket.start, (-1, bucket.start.shape[-1]))
        window = window.reshape(*start.shape, -1)
        reach = window.shape[-1] // grid.oversampling + 2 * grid.taps + 2
        batch = max(1, AT_ONCE // (start.shape[1] * reach * min(window.shape[-1], 2 * grid.taps * grid.oversampling)))
        first, values = jax.lax.map(
            lambda row: observe_windows(row[0], row[1], theta[RV], sigma, grid), (window, start), batch_size=batch
        )
        pixel = first[..., None] + np.arange(values.shape[-1])
        inside = (pixel >= 0) & (pixel < grid.n_pixel)
        pixel, values = jnp.where(inside, pixel, 0), jnp.where(inside, values, 0.0)
        columns = columns.at[pixel, jnp.reshape(bucket.free, (*start.shape, 1))].add(values)
        local.append((jnp.reshape(bucket.line, start.shape), pixel, values))
    return LineColumns(columns[:, :n_slot], local)


def information(columns: LineColumns, own_covariance, weighted_own, weights, n_line: int) -> Float[Array, " line"]:
    """Squared signal-to-noise per dex of log gf of every line alone, the star's own parameters marginalised."""

    def chunk(row):
        pixel, values = row
        own = jnp.einsum("lp,lpo->lo", values, weighted_own[pixel])
        return jnp.sum(weights[pixel] * values**2, axis=1) - jnp.sum((own @ own_covariance) * own, axis=1)

    total = jnp.zeros(n_line + 1)
    for line, pixel, values in columns.local:
        batch = max(1, AT_ONCE // (pixel[0].size * weighted_own.shape[1]))
        total = total.at[line].add(jax.lax.map(chunk, (pixel, values), batch_size=batch))
    return total[:n_line]


def mismatch(mixed, smooth, weights, smooth_block, own_block, cross, shared_block) -> Float[Array, ""]:
    """How far u'Bu is from what the columns give for it without their products, relative, for one vector u of signs.

    B: the blocks of the star's own parameters and of the corrections before anything but the continuum is eliminated.
    The products are most of the work of a fit, and a runtime that gets them wrong (docs/solvers.md knows of one) gives
    a posterior that looks like any other.
    """
    n_own = own_block.shape[0]
    signs = jnp.asarray(np.random.default_rng(0).choice([-1.0, 1.0], mixed.shape[1]))
    seen = mixed @ signs
    in_smooth = smooth.T @ (weights * seen)
    whole = jnp.sum(weights * seen**2)
    direct = whole - in_smooth @ jnp.linalg.solve(smooth_block, in_smooth)
    own, lines = signs[:n_own], signs[n_own:]
    product = own @ (own_block @ own) + 2.0 * own @ (cross @ lines) + lines @ (shared_block @ lines)
    return jnp.abs(product - direct) / jnp.where(whole > 0.0, whole, 1.0)


def linearise(
    problem: StarProblem,
    data: StarData,
    theta: Float[Array, " own"],
    prior: StarPrior,
    share: Float[Array, ""],
    shared: Float[Array, " shared"],
    noise_model: noise.NoiseModel,
    deviation: Float[Array, " deviating"],
) -> StarBlocks:
    """Blocks of one spectrum at (theta, shared); `shared` is the corrections followed by the survey's ln_sigma.

    `share` of the star's prior is counted here: 1 / (number of its spectra), so that their blocks add up.
    Gauss-Newton curvature with the mixture's EM weights; the continuum is first brought to its optimum, then
    eliminated exactly. The model is linearised where the lines have the `deviation` of the last pass, so that
    eliminating the deviations is exact where the iteration ends, whatever their size.
    """
    delta, ln_sigma0 = shared[:-1], shared[-1]
    if problem.deviating:
        delta = delta + deviation
    line = problem.spectrum.linearised(theta[:N_SPECTRUM], problem.shift(theta, delta))
    grid, step = problem.spectrum.grid, steps(theta.shape[0])

    def see(flux, rv, ln_sigma):
        return observe(flux, rv, jnp.exp(ln_sigma), grid)

    arguments = (line.flux, theta[RV], theta[LN_SIGMA])
    normalised = see(*arguments)
    by_rv, by_sigma = (jax.jacfwd(see, argnums=i)(*arguments) for i in (1, 2))
    by_spectrum = jax.vmap(lambda column: see(column, *arguments[1:]), 1, 1)(line.by_parameter)
    by_line = line_columns(problem, theta, line.by_line)
    own = jnp.column_stack([by_spectrum, by_sigma, by_rv, by_line.dense @ problem.membership]) * step

    coefficients, residual, weights, var, good = _robust_continuum(problem, data, normalised, noise_model)
    continuum = problem.basis @ coefficients
    own = own * continuum[:, None]
    smooth = problem.basis * normalised[:, None]
    dense = by_line.dense[:, : problem.room] * continuum[:, None]

    # the continuum's block and what couples to it; at its optimum the gradient is the prior's own remainder
    smooth_block = smooth.T @ (smooth * weights[:, None]) + jnp.diag(problem.coefficient_sd**-2)
    smooth_gradient = smooth.T @ (weights * residual) - coefficients / problem.coefficient_sd**2
    mixed = jnp.column_stack([own, dense])
    to_smooth = jnp.linalg.solve(smooth_block, smooth.T @ (weights[:, None] * mixed))
    coupling = smooth_block @ to_smooth
    n_own = theta.shape[0]
    gradient = mixed.T @ (weights * residual) - to_smooth.T @ smooth_gradient
    weighted = weights[:, None] * own
    own_block = weighted.T @ own - to_smooth[:, :n_own].T @ coupling[:, :n_own]
    cross = weighted.T @ dense - to_smooth[:, :n_own].T @ coupling[:, n_own:]
    shared_block = dense.T @ (weights[:, None] * dense) - to_smooth[:, n_own:].T @ coupling[:, n_own:]

    wrong = mismatch(mixed, smooth, weights, smooth_block, own_block, cross, shared_block)

    model = adjusted = continuum * normalised
    gain, suggested, determined = jnp.zeros(()), noise_model.scatter, jnp.zeros(())
    line_gradient, own_gradient = gradient[n_own:], gradient[:n_own]
    plain_own, plain_residual = own_block, residual
    if problem.deviating:
        # back to where no line deviates, along the quadratic that holds where they do
        bent = shared_block @ deviation
        gain = -line_gradient @ deviation - 0.5 * bent @ deviation
        line_gradient, own_gradient = line_gradient + bent, own_gradient + cross @ deviation
        in_pixels = dense - smooth @ to_smooth[:, n_own:]
        model, plain_residual = model - in_pixels @ deviation, residual + in_pixels @ deviation

        a = absorb(own_block, own_gradient, cross, shared_block, line_gradient, noise_model.scatter)
        own_block, own_gradient, cross = a.own, a.own_gradient, a.cross
        shared_block, line_gradient, gain = a.lines, a.line_gradient, gain + a.gain
        deviation, adjusted = a.deviation, model + in_pixels @ a.deviation
        # one step of EM over the lines, each with the weight of what its spectrum says of it
        known = jnp.clip(1.0 - a.variance / jnp.maximum(noise_model.scatter**2, 1e-12), 0.0, 1.0)
        determined = jnp.sum(known)
        squares = jnp.sum(known * (a.deviation**2 + a.variance)) + 1e-9
        suggested = jnp.sqrt(squares / (determined + 1e-9))

    terms = prior_terms(problem, prior, theta, ln_sigma0)
    by_own = jax.jacfwd(prior_terms, argnums=2)(problem, prior, theta, ln_sigma0) * step
    by_shared = jax.jacfwd(prior_terms, argnums=3)(problem, prior, theta, ln_sigma0)
    belief = by_own.T @ by_own

    both = jnp.zeros((n_own + smooth.shape[1],) * 2)
    corner = to_smooth[:, :n_own].T @ coupling[:, :n_own]
    both = both.at[:n_own, :n_own].set(plain_own + corner + belief).at[n_own:, n_own:].set(smooth_block)
    both = both.at[n_own:, :n_own].set(coupling[:, :n_own]).at[:n_own, n_own:].set(coupling[:, :n_own].T)
    columns = jnp.column_stack([weighted, smooth * weights[:, None]]) * continuum[:, None]
    informed = information(by_line, jnp.linalg.inv(both), columns, weights * continuum**2, problem.spectrum.n_line)

    n_shared = shared.shape[0]
    log_posterior = jnp.sum(good * noise.log_likelihood(residual, var)) - 0.5 * share * jnp.sum(terms**2)
    log_posterior = log_posterior - 0.5 * jnp.sum((coefficients / problem.coefficient_sd) ** 2)
    return StarBlocks(
        own=own_block + share * belief,
        own_gradient=own_gradient - share * by_own.T @ terms,
        cross=jnp.column_stack([cross, share * by_own.T @ by_shared]),
        shared=jnp.zeros((n_shared, n_shared))
        .at[:-1, :-1]
        .set(shared_block)
        .at[-1, -1]
        .set(share * by_shared @ by_shared),
        shared_gradient=jnp.append(line_gradient, -share * by_shared @ terms),
        log_posterior=log_posterior + gain,
        chi2=jnp.sum(weights * plain_residual**2),
        model=model,
        coefficients=coefficients,
        information=informed,
        adjusted=adjusted,
        scatter=suggested,
        continuum=Continuum(jnp.linalg.solve(smooth_block, smooth_gradient), to_smooth, jnp.linalg.inv(smooth_block)),
        deviation=deviation,
        determined=determined,
        mismatch=wrong,
    )
