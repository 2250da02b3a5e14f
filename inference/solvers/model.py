"""The statistical model, as NumPyro states it: the definition that the solvers are held against.

mu_g ~ Normal(0, 0.05)            tau_g ~ Rayleigh(0.2)              groups: species x quality class
delta_i ~ Normal(mu_g(i), tau_g(i))                                  corrections to log gf, shared by all stars
                                                                     (of lines the list may lack, tau is held)
ln_sigma0 ~ Normal(R0)                                               the survey's resolution
theta_s ~ Normal(prior_s)         ln_sigma_s ~ Normal(ln_sigma0)     each star's labels, broadening, abundances
c_sw ~ Normal(0, 3)                                                  continuum coefficients, window by window
e_sw ~ Normal(0, scatter)         log gf in a spectrum: delta + e      deviations of its lines (where there is scatter)
y_sp ~ (1 - q) Normal(m_sp, sigma_sp) + q Normal(m_sp, 10 sigma_sp)  pixels, with a share q of outliers
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float, Int

from astrogf.inference.newton import groups as hyper
from astrogf.inference.problem import noise
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.parameters import LN_SIGMA, VMIC, lsf_sigma, names, vmic_relation
from astrogf.inference.problem.problem import predict
from astrogf.inference.problem.spectra import Noise, Sample


def joint_model(
    sample: Sample,
    group: Int[Array, " line"],
    n_group: int,
    options: FitOptions,
    noise_model: Noise,
    tau: Float[Array, " group"] | None = None,
) -> None:
    """Stars and log gf corrections with all their priors. `tau` given holds the scatters of the groups fixed.

    The corrections are those of `group`; the problems may have room for more. Fluxes are scaled to a level near 1,
    units of the stars' parameters as in `parameters.STAR`. The continuum of window k is 'continuum' for the
    first and 'continuum_k' for the others.
    """
    with numpyro.plate("groups", n_group):
        mu = numpyro.sample("mu", dist.Normal(0.0, hyper.MEAN_SD))
        if tau is None:
            tau = numpyro.sample("tau", dist.Weibull(np.sqrt(2.0) * hyper.SCATTER_SD, 2.0))
    with numpyro.plate("lines", group.shape[0]):
        delta = numpyro.sample("delta", dist.Normal(mu[group], tau[group]))
    ln_sigma0 = numpyro.sample(
        "ln_sigma0", dist.Normal(lsf_sigma(options.stars.resolution), options.stars.ln_resolution_sd)
    )

    prior = sample.prior
    with numpyro.plate("stars", sample.n_star):
        sampled: dict[str, Array] = {}
        for i, name in enumerate(names(options.stars.abundances)):
            mean, sd = prior.mean[:, i], prior.sd[:, i]
            if i == VMIC:
                mean = jnp.where(prior.follows_vmic > 0, vmic_relation(sampled["teff"], sampled["logg"]), mean)
            elif i == LN_SIGMA:
                mean = jnp.where(prior.follows_survey > 0, ln_sigma0, mean)
            sampled[name] = numpyro.sample(name, dist.Normal(mean, sd))
    theta = jnp.stack(list(sampled.values()), axis=1)
    first = sample.windows[0].problem
    outside = jnp.maximum(-jax.vmap(first.margin)(theta[:, :4]), 0.0) / first.wall
    numpyro.factor("domain", -0.5 * jnp.sum(outside**2))

    for k, (window, errors) in enumerate(zip(sample.windows, noise_model, strict=True)):
        problem, data = window.problem, window.data
        mark = f"_{k}" if k else ""
        with numpyro.plate(f"rows{mark}", len(window.star)):
            coefficients = numpyro.sample(f"continuum{mark}", dist.Normal(0.0, problem.coefficient_sd).to_event(1))
        corrections = jnp.concatenate([delta, jnp.zeros(problem.n_free - group.shape[0])])
        rows = jnp.tile(corrections, (len(window.star), 1))
        if problem.scattered:
            with numpyro.plate(f"deviations{mark}", len(window.star)):
                own = numpyro.sample(f"deviation{mark}", dist.Normal(0.0, 1.0).expand(group.shape).to_event(1))
            rows = rows.at[:, : group.shape[0]].add(own * jnp.reshape(errors.scatter, (-1, 1)))
        normalised = jax.lax.map(lambda one, q=problem: predict(q, *one), (theta[window.star], rows))
        model = (coefficients @ problem.basis.T) * normalised
        var = jax.vmap(noise.variance)(data.flux, data.ivar, errors)
        likelihood = jnp.where(data.ivar > 0, noise.log_likelihood(data.flux - model, var), 0.0)
        numpyro.factor(f"pixels{mark}", jnp.sum(likelihood))
