"""The statistical model, as NumPyro states it: the definition that the solvers are held against.

mu_g ~ Normal(0, 0.05)            tau_g ~ Rayleigh(0.2)              groups: species x quality class
delta_i ~ Normal(mu_g(i), tau_g(i))                                  corrections to log gf, shared by all stars
ln_sigma0 ~ Normal(R0)                                               the survey's resolution
theta_s ~ Normal(prior)           ln_sigma_s ~ Normal(ln_sigma0)     each star's labels and broadening
c_s ~ Normal(0, 3)                                                   continuum coefficients
y_sp ~ (1 - q) Normal(m_sp, sigma_sp) + q Normal(m_sp, 10 sigma_sp)  pixels, with a share q of outliers
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float, Int

from inference import hyper, noise
from inference.options import FitOptions
from inference.parameters import STAR, lsf_sigma, vmic_relation
from inference.star import StarData, StarProblem, predict


def joint_model(
    problem: StarProblem,
    data: StarData,
    group: Int[Array, " line"],
    n_group: int,
    options: FitOptions,
    noise_model: noise.NoiseModel,
    tau: Float[Array, " group"] | None = None,
    room: int = 0,
) -> None:
    """Stars and log gf corrections with all their priors. `tau` given holds the scatters of the groups fixed;
    `room` is how many corrections the spectrum model has room for beyond those of `group`.

    Shapes: data `star pixel`, flux scaled to a level near 1; units as in `inference.parameters.STAR`.
    """
    with numpyro.plate("groups", n_group):
        mu = numpyro.sample("mu", dist.Normal(0.0, hyper.MEAN_SD))
        if tau is None:
            tau = numpyro.sample("tau", dist.Weibull(np.sqrt(2.0) * hyper.SCATTER_SD, 2.0))
    with numpyro.plate("lines", group.shape[0]):
        delta = numpyro.sample("delta", dist.Normal(mu[group], tau[group]))
    ln_sigma0 = numpyro.sample(
        "ln_sigma0", dist.Normal(lsf_sigma(options.resolution), options.resolution_sd / options.resolution)
    )

    prior, n_star = problem.prior, data.flux.shape[0]
    with numpyro.plate("stars", n_star):
        sampled: dict[str, Array] = {}
        for i, name in enumerate(STAR):
            if name == "vmic":
                mean, sd = vmic_relation(sampled["teff"], sampled["logg"]), prior.sd[i]
            elif name == "ln_sigma":
                mean, sd = ln_sigma0, jnp.asarray(problem.ln_sigma_scatter)
            else:
                mean, sd = prior.mean[i], prior.sd[i]
            sampled[name] = numpyro.sample(name, dist.Normal(mean, sd))
        coefficients = numpyro.sample("continuum", dist.Normal(0.0, problem.coefficient_sd).to_event(1))
    theta = jnp.stack([sampled[name] for name in STAR], axis=1)
    outside = jnp.maximum(-jax.vmap(problem.margin)(theta[:, :4]), 0.0) / problem.wall
    numpyro.factor("domain", -0.5 * jnp.sum(outside**2))

    corrections = jnp.concatenate([delta, jnp.zeros(room)])
    normalised = jax.lax.map(lambda one: predict(problem, one, corrections), theta)
    model = (coefficients @ problem.basis.T) * normalised
    var = jax.vmap(noise.variance)(data.flux, data.ivar, noise_model)
    likelihood = jnp.where(data.ivar > 0, noise.log_likelihood(data.flux - model, var), 0.0)
    numpyro.factor("pixels", jnp.sum(likelihood))
