"""Laplace, importance sampling and NUTS behind one interface: each takes an `ArrowGaussian` and returns a `Solution`.

They, and `skewed`, see the model only as NumPyro's log density, split into what is said once and what is
said of each star.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jaxtyping import Array, Float
from numpyro.diagnostics import effective_sample_size, split_gelman_rubin
from numpyro.infer import MCMC, NUTS

from astrogf.inference.solvers.gaussian import ArrowGaussian

Density = Callable[[Float[Array, " shared"], Float[Array, "star own"]], tuple[Array, Array]]
"""(shared, own) to (log density of what is shared, sum over the stars of theirs)."""


class Solution(NamedTuple):
    """A posterior, whichever solver it comes from. `own_*` in units of `STEP`, as in `ArrowGaussian`.

    `status`: 'converged', or what was wrong. `diagnostics`: rhat, ess, divergences (NUTS), elbo trace (`skewed`),
    seconds. `draws`: (shared, own) with a leading axis, for NUTS; `gaussian`: the fitted Gaussian, for Laplace
    and `skewed`.
    """

    mean: Float[np.ndarray, " shared"]
    sd: Float[np.ndarray, " shared"]
    own_mean: Float[np.ndarray, "star own"]
    own_sd: Float[np.ndarray, "star own"]
    status: str
    diagnostics: dict[str, Any]
    draws: tuple[np.ndarray, np.ndarray] | None = None
    gaussian: ArrowGaussian | None = None


def split_density(
    model: Callable,
    args: tuple,
    kwargs: dict,
    sites: Callable[..., dict[str, Array]],
    plates: tuple[str, ...] = ("stars", "rows"),
) -> Density:
    """The log density of a NumPyro model at `sites(shared, own)`, in two parts.

    Latent sites outside the plates of the stars and their spectra are shared; all others (inside them, observed, or
    factors) grow with the number of stars. Every latent site must be named by `sites`, on the real line.
    """

    def density(shared, own):
        substituted = numpyro.handlers.substitute(model, data=sites(shared, own))
        trace = numpyro.handlers.trace(substituted).get_trace(*args, **kwargs)
        once, each = jnp.zeros(()), jnp.zeros(())
        for site in trace.values():
            if site["type"] != "sample":
                continue
            term = jnp.sum(site["fn"].log_prob(site["value"]))
            inside = site["is_observed"] or any(frame.name in plates for frame in site["cond_indep_stack"])
            once, each = (once, each + term) if inside else (once + term, each)
        return once, each

    return density


def laplace(gaussian: ArrowGaussian, status: str = "converged") -> Solution:
    """The Laplace posterior as a solution (`inference.solvers.gaussian.laplace_gaussian` makes it from the arrow)."""
    sd, own_sd = gaussian.sd()
    mean, own_mean = np.asarray(gaussian.mean), np.asarray(gaussian.own_mean)
    return Solution(mean, np.asarray(sd), own_mean, np.asarray(own_sd), status, {}, None, gaussian)


def importance(density: Density, start: ArrowGaussian, key: Array, *, draws: int = 2000) -> Solution:
    """The posterior by importance sampling from `start`: no gradients, exact as far as the effective sample size goes.

    Draws come in antithetic pairs. A quick check of a Laplace posterior where NUTS takes too long; useless where the
    Gaussian is far off, which the status then says (effective sample size below 100, or below 5% of the draws).
    """
    shape = start.own_mean.shape
    one, two = jax.random.split(key)
    z = jax.random.normal(one, (draws // 2, len(start.mean)))
    w = jax.random.normal(two, (draws // 2, *shape))
    z, w = jnp.concatenate([z, -z]), jnp.concatenate([w, -w])

    @jax.jit
    def weigh(z, w):
        placed = start.place(z, w)
        return placed, sum(density(*placed)) + 0.5 * (jnp.sum(z**2) + jnp.sum(w**2))

    began = time.perf_counter()
    weighed = [weigh(*pair) for pair in zip(z, w, strict=True)]
    shared = np.array([np.asarray(f[0][0]) for f in weighed])
    own = np.array([np.asarray(f[0][1]) for f in weighed])
    log_weight = np.array([float(f[1]) for f in weighed])
    finite = np.isfinite(log_weight)
    weight = np.where(finite, np.exp(log_weight - np.max(log_weight[finite])), 0.0)
    weight /= weight.sum()
    size = 1.0 / np.sum(weight**2)

    def moments(x):
        mean = np.tensordot(weight, x, 1)
        return mean, np.sqrt(np.tensordot(weight, (x - mean) ** 2, 1) / (1.0 - 1.0 / size))

    (mean, sd), (own_mean, own_sd) = moments(shared), moments(own)
    enough = size > max(100.0, 0.05 * draws)
    diagnostics = {
        "ess": float(size), "draws": int(draws), "largest_weight": float(weight.max()),
        "log_weight_sd": float(np.std(log_weight[finite])), "seconds": time.perf_counter() - began,
    }  # fmt: skip
    status = (
        "converged" if enough else f"effective sample size {size:.0f} of {draws}: start is too far from the posterior"
    )
    return Solution(mean, sd, own_mean, own_sd, status, diagnostics, None, None)


def nuts(
    density: Density,
    start: ArrowGaussian,
    key: Array,
    *,
    warmup: int = 150,
    draws: int = 500,
    chains: int = 2,
    max_rhat: float = 1.02,
    max_tree_depth: int = 7,
) -> Solution:
    """Hamiltonian Monte Carlo in the white coordinates of `start`, where a Laplace posterior is a unit Gaussian.

    Chains start at independent draws of `start`. Status says when r-hat is above `max_rhat` or chains diverged.
    Source: Hoffman & Gelman (2014, JMLR 15, 1593), by NumPyro; white coordinates as in Parno & Marzouk (2018).
    """
    n, shape = len(start.mean), start.own_mean.shape
    size = n + shape[0] * shape[1]

    def split(white):
        return start.place(white[:n], white[n:].reshape(shape))

    def potential(white):
        return -sum(density(*split(white)))

    began = time.perf_counter()
    kernel = NUTS(potential_fn=potential, adapt_mass_matrix=False, dense_mass=False, max_tree_depth=max_tree_depth)
    sampler = MCMC(
        kernel, num_warmup=warmup, num_samples=draws, num_chains=chains, chain_method="sequential", progress_bar=False
    )
    first, second = jax.random.split(key)
    white = jax.random.normal(first, (chains, size) if chains > 1 else (size,))
    sampler.run(second, init_params=white, extra_fields=("diverging", "num_steps", "accept_prob"))
    samples = sampler.get_samples(group_by_chain=True)
    extra = sampler.get_extra_fields()
    shared, own = jax.vmap(split)(samples.reshape(-1, size))
    flat = np.asarray(samples)
    rhat = split_gelman_rubin(flat)
    divergences = int(np.sum(extra["diverging"]))
    status = "converged"
    if float(np.max(rhat)) > max_rhat or divergences:
        status = f"r-hat up to {float(np.max(rhat)):.3f}, {divergences} divergences"
    diagnostics = {
        "rhat_max": float(np.max(rhat)),
        "ess_min": float(np.min(effective_sample_size(flat))),
        "ess_median": float(np.median(effective_sample_size(flat))),
        "divergences": divergences,
        "steps_per_draw": float(np.mean(extra["num_steps"])),
        "accept_prob": float(np.mean(extra["accept_prob"])),
        "draws": int(flat.shape[0] * flat.shape[1]),
        "seconds": time.perf_counter() - began,
    }
    shared, own = np.asarray(shared), np.asarray(own)
    return Solution(
        shared.mean(0), shared.std(0, ddof=1), own.mean(0), own.std(0, ddof=1), status, diagnostics, (shared, own)
    )
