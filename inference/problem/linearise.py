"""One spectrum linearised, step by step: derivatives, continuum, its own deviations of lines, prior, information."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from astrogf.inference.problem import noise
from astrogf.inference.problem.arrow import absorb, inverse_root
from astrogf.inference.problem.contribution import Continuum, Contribution, RowTerms, SharedTerms, Sight, StarTerms
from astrogf.inference.problem.lines import information, line_columns
from astrogf.inference.problem.miscomputed import mismatch
from astrogf.inference.problem.parameters import STAR, StarPrior, steps
from astrogf.inference.problem.problem import N_SPECTRUM, StarData, StarProblem, prior_residuals
from astrogf.inference.problem.tiles import LineColumns, Tiles, dense_block
from astrogf.synthesis.lines.pieces import Pieces
from astrogf.synthesis.window import Responding


class Derivatives(NamedTuple):
    """The normalised spectrum in the survey's pixels; by the star's own parameters, in `steps`; by corrections."""

    normalised: Float[Array, " pixel"]
    own: Float[Array, "pixel own"]
    lines: LineColumns


class Level(NamedTuple):
    """The continuum at its optimum, the residual there, and the weights that outliers leave to the pixels."""

    coefficients: Float[Array, " basis"]
    continuum: Float[Array, " pixel"]
    residual: Float[Array, " pixel"]
    weights: Float[Array, " pixel"]
    log_likelihood: Float[Array, ""]


class Columns(NamedTuple):
    """Derivatives of the flux, continuum included: by own parameters, by corrections, by continuum coefficients."""

    own: Float[Array, "pixel own"]
    lines: LineColumns
    smooth: Float[Array, "pixel basis"]


class Blocks(NamedTuple):
    """Normal equations of the star's own parameters and of the corrections, the continuum eliminated: of the
    corrections' own block, tile by tile, that takes away taken' taken."""

    own: Float[Array, "own own"]
    own_gradient: Float[Array, " own"]
    cross: Float[Array, "own free"]
    lines: Float[Array, "tile member member"]
    taken: Float[Array, "basis free"]
    line_gradient: Float[Array, " free"]


class Smooth(NamedTuple):
    """The continuum's own block and gradient, and what couples it to own parameters and corrections (`rest`):
    `to_smooth` is the change of its optimum with them, `coupling` the block and `inverse` that of its own."""

    block: Float[Array, "basis basis"]
    inverse: Float[Array, "basis basis"]
    gradient: Float[Array, " basis"]
    to_smooth: Float[Array, "basis rest"]
    coupling: Float[Array, "basis rest"]


class Deviations(NamedTuple):
    """What a spectrum's own deviations of its lines leave: `moved` is the change of the model from where it was
    linearised to where no line deviates, `adjusted` the change from there to the most probable deviations."""

    deviation: Float[Array, " deviating"]
    moved: Float[Array, " pixel"]
    adjusted: Float[Array, " pixel"]
    gain: Float[Array, ""]
    scatter: Float[Array, ""]
    determined: Float[Array, ""]


def in_pixels(
    problem: StarProblem, theta: Float[Array, " own"], delta: Float[Array | np.ndarray, " free"], at: Responding
) -> Derivatives:
    """The spectrum of (theta, delta) and its derivatives by own parameters and corrections, through the instrument."""
    grid = problem.spectrum.grid

    def twice(place):
        return (problem.instrument.see(at.flux, place, grid),) * 2

    place = problem.instrument.at(theta)
    by_place, normalised = jax.jacfwd(twice, has_aux=True)(place)
    by_spectrum = jax.vmap(lambda column: problem.instrument.see(column, place, grid), 1, 1)(at.by_parameter)
    tiles, n_rest = problem.tiles, problem.n_slot - problem.n_free
    lines = LineColumns(jnp.zeros((tiles.n_tile, tiles.size, tiles.n_member)), tiles)
    by_rest = jnp.zeros((grid.n_pixel, n_rest))
    if problem.n_slot:
        parts = problem.spectrum.window.by_line(at, problem.pieces, problem.by_slot(theta, delta))
        lines, by_rest = line_columns(problem, theta, parts, tiles, n_rest)
    first, abundances = len(STAR), problem.membership.shape[1]
    own = by_place @ problem.instrument.place
    own = own.at[:, :N_SPECTRUM].set(by_spectrum[:, :N_SPECTRUM])
    atoms, of_rest = problem.membership[: problem.n_free], problem.membership[problem.n_free :]
    own = own.at[:, first : first + abundances].set(lines.along(atoms) + by_rest @ of_rest)
    if problem.n_told:
        own = own.at[:, first : first + problem.n_told].set(by_spectrum[:, N_SPECTRUM:])
    return Derivatives(normalised, own * steps(theta.shape[0]), lines)


def fit_continuum(problem: StarProblem, flux, weights, normalised) -> Float[Array, " basis"]:
    """Most probable continuum coefficients given the normalised spectrum (weighted linear least squares).

    Prior: Normal(0, coefficient_sd), wide; the continuum is marginalised with them in the arrow solver.
    """
    design = problem.basis * normalised[:, None]
    normal = design.T @ (weights[:, None] * design) + jnp.diag(problem.coefficient_sd**-2)
    root = inverse_root(normal)
    return root.T @ (root @ (design.T @ (weights * flux)))


def robust_level(
    problem: StarProblem, data: StarData, normalised: Float[Array, " pixel"], noise_model: noise.NoiseModel
) -> Level:
    """The continuum brought to its optimum, with two rounds of outlier weighting (EM)."""
    var = noise.variance(data.flux, data.ivar, noise_model)
    good = (data.ivar > 0).astype(data.flux.dtype)
    weights = good / var
    for _ in range(3):
        coefficients = fit_continuum(problem, data.flux, weights, normalised)
        residual = data.flux - problem.basis @ coefficients * normalised
        weights = good * noise.weight(residual, var)
    log_likelihood = jnp.sum(good * noise.log_likelihood(residual, var))
    return Level(coefficients, problem.basis @ coefficients, residual, weights, log_likelihood)


def eliminate_continuum(problem: StarProblem, columns: Columns, level: Level) -> tuple[Blocks, Smooth]:
    """Gauss-Newton normal equations with the continuum eliminated; at its optimum its gradient is the prior's own
    remainder."""
    own, lines, smooth = columns
    weights, residual, n_own = level.weights, level.residual, own.shape[1]
    block = smooth.T @ (smooth * weights[:, None]) + jnp.diag(problem.coefficient_sd**-2)
    smooth_gradient = smooth.T @ (weights * residual) - level.coefficients / problem.coefficient_sd**2
    thin = weights[:, None] * jnp.column_stack([own, smooth, residual])
    with_lines = lines.against(thin)
    coupling = jnp.column_stack([smooth.T @ thin[:, :n_own], with_lines[:, n_own:-1].T])
    root = inverse_root(block)
    taken = root @ coupling
    to_smooth = root.T @ taken
    gradient = jnp.append(own.T @ thin[:, -1], with_lines[:, -1]) - to_smooth.T @ smooth_gradient
    blocks = Blocks(
        own=own.T @ thin[:, :n_own] - taken[:, :n_own].T @ taken[:, :n_own],
        own_gradient=gradient[:n_own],
        cross=with_lines[:, :n_own].T - taken[:, :n_own].T @ taken[:, n_own:],
        lines=lines.block(weights),
        taken=taken[:, n_own:],
        line_gradient=gradient[n_own:],
    )
    return blocks, Smooth(block, root.T @ root, smooth_gradient, to_smooth, coupling)


def no_deviations(n_pixel: int, scatter: Float[Array, ""]) -> Deviations:
    """What `absorb_deviations` leaves where spectra have no deviations of their own."""
    nothing, zero = jnp.zeros(n_pixel), jnp.zeros(())
    return Deviations(jnp.zeros(0), nothing, nothing, zero, scatter, zero)


def absorb_deviations(
    blocks: Blocks,
    columns: Columns,
    smooth: Smooth,
    deviation: Float[Array, " deviating"],
    scatter: Float[Array, ""],
) -> tuple[Blocks, Deviations]:
    """Marginalise the spectrum's own deviations of its lines, Normal(0, scatter).

    The model was linearised where the lines have the `deviation` of the last pass, so that this is exact where the
    iteration ends, whatever their size: first back to where no line deviates, along the quadratic that holds where they
    do, then `arrow.absorb`. The scatter that they suggest is one step of EM over the lines, each with the weight of
    what its spectrum says of it.
    """
    whole = dense_block(columns.lines.tiles, blocks.lines) - blocks.taken.T @ blocks.taken
    bent = whole @ deviation
    gain = -blocks.line_gradient @ deviation - 0.5 * bent @ deviation
    line_gradient = blocks.line_gradient + bent
    own_gradient = blocks.own_gradient + blocks.cross @ deviation
    to_smooth = smooth.to_smooth[:, blocks.own.shape[0] :]
    a = absorb(blocks.own, own_gradient, blocks.cross, whole, line_gradient, scatter)
    both = jnp.column_stack([-deviation, a.deviation])
    in_pixels = columns.lines.along(both) - columns.smooth @ (to_smooth @ both)
    weight = jnp.clip(1.0 - a.variance / jnp.maximum(scatter**2, 1e-12), 0.0, 1.0)
    determined = jnp.sum(weight)
    squares = jnp.sum(weight * (a.deviation**2 + a.variance)) + 1e-9
    left = Deviations(
        deviation=a.deviation,
        moved=in_pixels[:, 0],
        adjusted=in_pixels[:, 1],
        gain=gain + a.gain,
        scatter=jnp.sqrt(squares / (determined + 1e-9)),
        determined=determined,
    )
    return Blocks(a.own, a.own_gradient, a.cross, a.lines[None], blocks.taken[:0], a.line_gradient), left


def with_prior(
    problem: StarProblem,
    blocks: Blocks,
    prior: StarPrior,
    share: Float[Array, ""],
    theta: Float[Array, " own"],
    ln_sigma0: Float[Array, ""],
) -> tuple[StarTerms, SharedTerms, Float[Array, "own own"], Float[Array, ""]]:
    """`share` of the star's prior added, and of the tie of its ln_sigma to the survey's, the last shared parameter.

    Also the prior's whole precision, and -2 log of the share.
    """
    step = steps(theta.shape[0])
    residuals = prior_residuals(problem, prior, theta, ln_sigma0)
    by_own = jax.jacfwd(prior_residuals, argnums=2)(problem, prior, theta, ln_sigma0) * step
    by_shared = jax.jacfwd(prior_residuals, argnums=3)(problem, prior, theta, ln_sigma0)
    belief = by_own.T @ by_own
    star = StarTerms(
        precision=blocks.own + share * belief,
        gradient=blocks.own_gradient - share * by_own.T @ residuals,
        cross=jnp.column_stack([blocks.cross, share * by_own.T @ by_shared]),
    )
    gradient = jnp.append(blocks.line_gradient, -share * by_shared @ residuals)
    shared = SharedTerms(blocks.lines, share * by_shared @ by_shared, gradient)
    return star, shared, belief, share * jnp.sum(residuals**2)


def moved(
    problem: StarProblem,
    shared: Float[Array | np.ndarray, "*row shared"],
    deviation: Float[Array | np.ndarray, "*row deviating"],
) -> Float[Array | np.ndarray, "*row free"]:
    """The corrections in one spectrum: what all share, and its own deviations."""
    return shared[..., :-1] + deviation if problem.n_deviating else shared[..., :-1]


def linearise(
    problem: StarProblem,
    data: StarData,
    theta: Float[Array, " own"],
    prior: StarPrior,
    share: Float[Array, ""],
    shared: Float[Array, " shared"],
    noise_model: noise.NoiseModel,
    deviation: Float[Array, " deviating"],
    at: Responding,
) -> Contribution:
    """What one spectrum adds at (theta, shared); `shared` is the corrections followed by the survey's ln_sigma.

    `share` of the star's prior is counted here: 1 / (number of its spectra), so that their contributions add up.
    `deviation` of its lines is that of the last pass, and `at` the model with both (`moved`). Gauss-Newton curvature
    with the mixture's EM weights.
    """
    seen = in_pixels(problem, theta, moved(problem, shared, deviation), at)
    level = robust_level(problem, data, seen.normalised, noise_model)
    columns = Columns(
        own=seen.own * level.continuum[:, None],
        lines=seen.lines.scaled(level.continuum),
        smooth=problem.basis * seen.normalised[:, None],
    )
    plain, smooth = eliminate_continuum(problem, columns, level)
    wrong = mismatch(columns.own, columns.lines, columns.smooth, level.weights, smooth.block, plain)
    blocks, own_lines = plain, no_deviations(level.residual.shape[0], noise_model.scatter)
    if problem.n_deviating:
        blocks, own_lines = absorb_deviations(plain, columns, smooth, deviation, noise_model.scatter)
    star, shared_block, _, beliefs = with_prior(problem, blocks, prior, share, theta, shared[-1])

    model = level.continuum * seen.normalised + own_lines.moved
    log_prior = -0.5 * (beliefs + jnp.sum((level.coefficients / problem.coefficient_sd) ** 2))
    row = RowTerms(
        log_posterior=level.log_likelihood + log_prior + own_lines.gain,
        chi2=jnp.sum(level.weights * (level.residual - own_lines.moved) ** 2),
        model=model,
        adjusted=model + own_lines.adjusted,
        coefficients=level.coefficients,
        continuum=Continuum(smooth.inverse @ smooth.gradient, smooth.to_smooth, smooth.inverse),
        deviation=own_lines.deviation,
        scatter=own_lines.scatter,
        determined=own_lines.determined,
        mismatch=wrong,
        sight=Sight(seen.lines.largest(), columns.lines.squares(level.weights)),
    )
    taken = jnp.pad(blocks.taken, ((0, 0), (0, 1)))
    return Contribution(shared_block, star, row, taken)


def _no_lines(n_pixel: int) -> LineColumns:
    return LineColumns(jnp.zeros((1, n_pixel, 0)), Tiles.undivided(n_pixel, 0))


def line_information(
    problem: StarProblem,
    data: StarData,
    theta: Float[Array, " own"],
    prior: StarPrior,
    ln_sigma0: Float[Array, ""],
    noise_model: noise.NoiseModel,
    at: Responding,
    candidates: Pieces,
    n_candidate: int,
) -> Float[Array, "block candidate"]:
    """What one spectrum knows of every candidate line alone (`lines.information`), its own parameters (their prior
    included) and its continuum marginalised, with the list as it is; `candidates` come in blocks of slots.
    """
    seen = in_pixels(problem, theta, jnp.zeros(problem.n_free), at)
    level = robust_level(problem, data, seen.normalised, noise_model)
    columns = Columns(
        own=seen.own * level.continuum[:, None],
        lines=_no_lines(level.residual.shape[0]),
        smooth=problem.basis * seen.normalised[:, None],
    )
    plain, smooth = eliminate_continuum(problem, columns, level)
    _, _, belief, _ = with_prior(problem, plain, prior, jnp.ones(()), theta, ln_sigma0)
    n_own, n_basis = plain.own.shape[0], smooth.block.shape[0]
    both = jnp.zeros((n_own + n_basis,) * 2)
    both = both.at[:n_own, :n_own].set(plain.own + belief + smooth.to_smooth.T @ smooth.coupling)
    both = both.at[n_own:, n_own:].set(smooth.block).at[n_own:, :n_own].set(smooth.coupling)
    both = both.at[:n_own, n_own:].set(smooth.coupling.T)
    weighted = jnp.column_stack([columns.own, columns.smooth]) * (level.weights * level.continuum)[:, None]
    root, weights = inverse_root(both), level.weights * level.continuum**2
    covariance = root.T @ root
    every = Tiles.undivided(level.residual.shape[0], n_candidate)

    def block(pieces):
        parts = problem.spectrum.window.by_line(at, pieces, jnp.zeros(n_candidate))
        mine, _ = line_columns(problem, theta, parts, every)
        return information(mine.dense(), covariance, weighted, weights)

    return jax.lax.map(block, candidates)
