"""The statistical model, as NumPyro states it: the definition that the solvers are held against.

mu ~ Normal(0, 0.05)   nu ~ Normal(0, 0.07)                          errors common to a species: the list's, the model's
top_k ~ Normal(TOP_k, TOP_SD_k)   x_kg ~ Normal(top_k, GROUP_SD_k)   widths x = ln tau, ln gross, logit w, ln phi
delta_i ~ (1 - w) Normal(mu, tau) + w Normal(mu, sqrt(tau^2 + gross^2))  errors of the list's log gf, for all stars
eta_i ~ Normal(nu, phi)                                              the model's own error of a line, for all stars
u_i = delta_i + eta_i                                                what the spectra see (of lines the list may lack
                                                                     delta, of one held width)
ln_sigma0 ~ Normal(R0)                                               the survey's resolution
theta_s ~ Normal(prior_s)         ln_sigma_s ~ Normal(ln_sigma0)     each star's labels, broadening, abundances
c_sw ~ Normal(0, 3)                                                  continuum coefficients, window by window
e_sw ~ Normal(0, scatter)         log gf in a spectrum: u + e          deviations of its lines (where there is scatter)
y_sp ~ (1 - q) Normal(m_sp, sigma_sp) + q Normal(m_sp, 10 sigma_sp)  pixels, with a share q of outliers

Only u meets the spectra, so eta and the class of every line are summed over, and m = mu + nu is one site: u has two
Normals about m whose variances are wider by phi^2. Given u, m and the class, delta ~ Normal(mu + k (u - m), sqrt(k)
phi) with k = 1 / (1 + phi^2 / variance of delta in the class): `inference.prior.widths.shrunk`; mu given m is
`inference.prior.means.Means.of_list`. Groups by how well lines are
seen have slopes beside the tops, as `widths` says.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float, Int

from astrogf.inference.prior.means import Means
from astrogf.inference.prior.widths import GROUP_SD, TOP_SD, Belief, Widths
from astrogf.inference.problem import noise
from astrogf.inference.problem.instrument import names
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.parameters import LN_SIGMA, VMIC, lsf_sigma, vmic_relation
from astrogf.inference.problem.problem import predict
from astrogf.inference.problem.spectra import Noise, Sample


def sampled_widths(n_group: int, model_error: float) -> Widths:
    """Widths of groups of which none is held or stated and whose lines are all seen as well, from their prior."""
    middle = Belief.of(np.full(n_group, np.nan), None, model_error).top[0]
    known = np.flatnonzero(np.isfinite(middle))
    with numpyro.plate("coordinates", len(known)):
        top = numpyro.sample("top", dist.Normal(middle[known], TOP_SD[known]))
        with numpyro.plate("of groups", n_group):
            place = numpyro.sample("place", dist.Normal(top, GROUP_SD[known]))
    full = jnp.full((4, n_group), -jnp.inf).at[known].set(place.T)
    parts: list[Any] = [jnp.exp(full[0]), jnp.exp(full[1]), jax.nn.sigmoid(full[2]), jnp.exp(full[3])]
    return Widths(*parts)


def corrections_of(mean: Float[Array, " line"], group: Int[Array, " line"], widths: Widths) -> Float[Array, " line"]:
    """What the spectra want of every line about its mean: eta and the classes summed over."""
    narrow, wide = jnp.sqrt(widths.tau**2 + widths.phi**2), jnp.sqrt(widths.tau**2 + widths.gross**2 + widths.phi**2)
    share = jnp.asarray(widths.share)
    with numpyro.plate("lines", group.shape[0]):
        return numpyro.sample(
            "u",
            dist.MixtureSameFamily(
                dist.Categorical(probs=jnp.stack([1.0 - share, share], axis=-1)[group]),
                dist.Normal(mean[:, None], jnp.stack([narrow, wide], axis=-1)[group]),
            ),
        )


def joint_model(
    sample: Sample,
    group: Int[Array, " line"],
    n_group: int,
    means: Means,
    options: FitOptions,
    noise_model: Noise,
    widths: Widths | None = None,
) -> None:
    """Stars and log gf corrections with all their priors. `widths` given holds the widths of the groups fixed.

    The corrections are those of `group`; the problems may have room for more. Fluxes are scaled to a level near 1,
    units of the stars' parameters as in `parameters.STAR`. The continuum of window k is 'continuum' for the
    first and 'continuum_k' for the others.
    """
    m = numpyro.sample("m", dist.MultivariateNormal(jnp.zeros(len(means)), jnp.asarray(means.covariance)))
    if widths is None:
        widths = sampled_widths(n_group, options.lines.model_error)
    u = corrections_of(m[jnp.asarray(means.of)], group, widths)
    ln_sigma0 = numpyro.sample(
        "ln_sigma0", dist.Normal(lsf_sigma(options.stars.resolution), options.stars.ln_resolution_sd)
    )

    prior = sample.prior
    with numpyro.plate("stars", sample.n_star):
        sampled: dict[str, Array] = {}
        for i, name in enumerate(names(options.stars, len(sample.windows))):
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
        corrections = jnp.concatenate([u, jnp.zeros(problem.n_free - group.shape[0])])
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
