"""A spectrum's own deviations of its lines: the passes end at their maximum, however far from a straight line."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from astrogf.inference.problem import noise
from astrogf.inference.problem.linearise import fit_continuum, linearise
from astrogf.inference.problem.parameters import lsf_sigma
from astrogf.inference.problem.priors import Belief, star_prior
from astrogf.inference.problem.problem import StarData, predict
from astrogf.inference.rehearsal.small import OPTIONS, build

SCATTER = 0.25  # dex: far beyond where flux is a straight function of log gf


def test_passes_end_at_the_most_probable_deviations() -> None:
    options = OPTIONS.changed(noise={"line_scatter": SCATTER})
    small = build(1, 6, n_pixel=40, kept=60, options=options)
    problem, n = small.problem, small.n_line
    assert problem.n_deviating == n
    rng = np.random.default_rng(2)
    sigma = float(lsf_sigma(options.stars.resolution))
    theta = jnp.array([5300.0, 4.0, -0.2, 0.1, 1.0, sigma, 0.0])
    true = SCATTER * rng.normal(size=n)
    see = eqx.filter_jit(predict)
    clean = np.asarray(see(problem, theta, jnp.asarray(true)))
    data = StarData(*(jnp.asarray(x) for x in (clean + rng.normal(size=clean.shape) / 200.0, 200.0**2 + 0 * clean)))
    model = noise.NoiseModel(jnp.array(1.0), jnp.array(0.0), jnp.array(SCATTER))
    prior = jax.tree.map(lambda x: x[0], star_prior([Belief()], options))
    shared, one = jnp.append(jnp.zeros(n), sigma), jnp.array(1.0)

    deviation, pass_ = jnp.zeros(n), eqx.filter_jit(linearise)
    respond = eqx.filter_jit(lambda deviation: problem.spectrum.responding(theta[:5], problem.shift(theta, deviation)))
    for _ in range(12):
        blocks = pass_(problem, data, theta, prior, one, shared, model, deviation, respond(deviation))
        deviation = blocks.row.deviation

    def cost(e):
        """-log posterior of deviations, the continuum at its optimum under outlier weights that agree with it."""
        flux = predict(problem, theta, e)
        var = noise.variance(data.flux, data.ivar, model)
        weights = 1.0 / var
        for _ in range(6):
            coefficients = fit_continuum(problem, data.flux, weights, flux)
            residual = data.flux - problem.basis @ coefficients * flux
            weights = noise.weight(residual, var)
        smooth = 0.5 * jnp.sum((coefficients / problem.coefficient_sd) ** 2)
        return -jnp.sum(noise.log_likelihood(residual, var)) + smooth + 0.5 * jnp.sum((e / SCATTER) ** 2)

    # at the maximum the cost's own slope, by finite differences, is nothing beside its curvature
    value, h = eqx.filter_jit(cost), 0.01
    centre = float(value(deviation))
    assert np.abs(np.asarray(deviation)).max() > 0.2
    for k in range(n):
        up, down = (float(value(deviation.at[k].add(step))) for step in (h, -h))
        slope, curvature = (up - down) / (2 * h), (up + down - 2 * centre) / h**2
        assert curvature > 0.9 / SCATTER**2
        assert abs(slope) / np.sqrt(curvature) < 0.05  # of its posterior sd
