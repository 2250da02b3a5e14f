"""Laplace, NUTS and SVI behind one interface: each takes an `ArrowGaussian` to start from and returns a `Solution`.

NUTS and SVI see the model only as NumPyro's log density, split into what is said once and what is said of each star.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import optax
from jaxtyping import Array, Float, Int
from numpyro.diagnostics import effective_sample_size, split_gelman_rubin
from numpyro.infer import MCMC, NUTS

from inference.gaussian import ArrowGaussian

Density = Callable[[Float[Array, " shared"], Float[Array, "star own"]], tuple[Array, Array]]
"""(shared, own) to (log density of what is shared, sum over the stars of theirs)."""


class Solution(NamedTuple):
    """A posterior, whichever solver it comes from. `own_*` in units of `STEP`, as in `ArrowGaussian`.

    `status`: 'converged', or what was wrong. `diagnostics`: rhat, ess, divergences (NUTS), elbo trace (SVI), seconds.
    `draws`: (shared, own) with a leading axis, for NUTS; `gaussian`: the fitted Gaussian, for Laplace and SVI.
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
    """The Laplace posterior as a solution (`inference.gaussian.laplace_gaussian` makes it from the arrow)."""
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
    found = [weigh(*pair) for pair in zip(z, w, strict=True)]
    shared = np.array([np.asarray(f[0][0]) for f in found])
    own = np.array([np.asarray(f[0][1]) for f in found])
    log_weight = np.array([float(f[1]) for f in found])
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
    found = sampler.get_samples(group_by_chain=True)
    extra = sampler.get_extra_fields()
    shared, own = jax.vmap(split)(found.reshape(-1, size))
    flat = np.asarray(found)
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


class Guide(NamedTuple):
    """An ArrowGaussian in the white coordinates of another: z = a + T e, w = a_s + B_s z + T_s e_s.

    Triangular factors are kept as their strict lower part and the log of their diagonal.
    """

    shift: Float[Array, " shared"]
    lower: Float[Array, "shared shared"]
    log_diagonal: Float[Array, " shared"]
    own_shift: Float[Array, "star own"]
    coupling: Float[Array, "star own shared"]
    own_lower: Float[Array, "star own own"]
    own_log_diagonal: Float[Array, "star own"]

    @classmethod
    def like(cls, start: ArrowGaussian, scale: float) -> "Guide":
        """The start itself, its standard deviations times `scale`."""
        n, (s, o) = len(start.mean), start.own_mean.shape
        log = np.log(scale)
        return cls(
            jnp.zeros(n), jnp.zeros((n, n)), jnp.full(n, log), jnp.zeros((s, o)), jnp.zeros((s, o, n)),
            jnp.zeros((s, o, o)), jnp.full((s, o), log),
        )  # fmt: skip

    def factors(self) -> tuple[Float[Array, "shared shared"], Float[Array, "star own own"]]:
        """T and T_s."""
        return (
            jnp.tril(self.lower, -1) + jnp.diag(jnp.exp(self.log_diagonal)),
            jnp.tril(self.own_lower, -1) + jax.vmap(jnp.diag)(jnp.exp(self.own_log_diagonal)),
        )

    def stars(self, index: Int[Array, " batch"]) -> "Guide":
        """The same with some of the stars."""
        return Guide(*self[:3], *(x[index] for x in self[3:]))


def guide_gaussian(guide: Guide, start: ArrowGaussian) -> ArrowGaussian:
    """The guide in the parameters' own coordinates."""
    t, own_t = guide.factors()
    own_at = jnp.einsum("sij,sj->si", start.own_factor, guide.own_shift + guide.coupling @ guide.shift)
    back = jax.scipy.linalg.solve_triangular(start.factor, jnp.eye(len(start.mean)), lower=True)
    mean = start.mean + start.factor @ guide.shift
    own_mean = start.own_mean - jnp.einsum("sij,j->si", start.slope, mean - start.mean) + own_at
    slope = start.slope - jnp.einsum("sij,sjk,kl->sil", start.own_factor, guide.coupling, back)
    return ArrowGaussian(mean, start.factor @ t, own_mean, slope, jnp.einsum("sij,sjk->sik", start.own_factor, own_t))


def svi(
    density_of: Callable[[Int[Array, " batch"]], Density],
    start: ArrowGaussian,
    key: Array,
    *,
    batch: int,
    steps: int = 1500,
    particles: int = 1,
    rate: float = 0.02,
    scale: float = 0.7,
) -> Solution:
    """Stochastic variational inference: stars subsampled, Adam with a decaying rate, gradients by reparametrisation.

    `density_of(stars)` is the density of a batch of stars (indices). The family keeps the correlation of every star
    with the lines: see `Guide`. It begins at `start` with sds times `scale`, so that one sees it move. Gradients are
    taken with log q's own parameters held ("sticking the landing", Roeder et al. 2017, arXiv 1703.09194), which
    makes their noise vanish where q is the posterior. Status says when the ELBO still rose over the last quarter.
    """
    n_star = len(start.own_mean)
    grown = n_star / batch
    schedule = optax.cosine_decay_schedule(rate, steps, alpha=0.01)
    optimiser = optax.chain(optax.clip_by_global_norm(50.0), optax.adam(schedule))

    def bound(guide: Guide, key, index):
        mine, here = guide.stars(index), start.stars(index)
        one, two = jax.random.split(key)
        e = jax.random.normal(one, start.mean.shape)
        e_own = jax.random.normal(two, here.own_mean.shape)
        t, own_t = mine.factors()
        z = mine.shift + t @ e
        w = mine.own_shift + mine.coupling @ z + jnp.einsum("sij,sj->si", own_t, e_own)
        shared, own = here.place(z, w)
        once, each = density_of(index)(shared, own)
        held = jax.lax.stop_gradient(mine)
        ht, hown = held.factors()
        back = jax.scipy.linalg.solve_triangular(ht, z - held.shift, lower=True)
        miss = w - held.own_shift - held.coupling @ z
        own_back = jax.vmap(partial(jax.scipy.linalg.solve_triangular, lower=True))(hown, miss)
        log_q = -0.5 * back @ back - jnp.sum(held.log_diagonal)
        log_q_own = -0.5 * jnp.sum(own_back**2) - jnp.sum(held.own_log_diagonal)
        return once - log_q + grown * (each - log_q_own)

    def step(carry, key):
        guide, state = carry
        one, two = jax.random.split(key)
        index = jax.random.choice(one, n_star, (batch,), replace=False)
        keys = jax.random.split(two, particles)

        def loss(guide):
            return -jnp.mean(jax.lax.map(lambda k: bound(guide, k, index), keys))

        value, slope = jax.value_and_grad(loss)(guide)
        sane = jnp.isfinite(value) & jnp.all(jnp.array([jnp.all(jnp.isfinite(x)) for x in slope]))
        slope = jax.tree.map(lambda x: jnp.where(sane, x, 0.0), slope)
        update, state = optimiser.update(slope, state, guide)
        return (optax.apply_updates(guide, update), state), -value

    began = time.perf_counter()
    guide = Guide.like(start, scale)
    (guide, _), elbo = jax.jit(partial(jax.lax.scan, step))(
        (guide, optimiser.init(guide)), jax.random.split(key, steps)
    )
    trace = np.asarray(elbo)
    parts = [float(np.nanmean(x)) for x in np.array_split(trace, 20)]
    late = np.asarray(parts[-5:])
    noise = float(np.nanstd(trace[-steps // 4 :]) / np.sqrt(steps / 4))
    rise = late[-1] - late[0]
    status = "converged" if rise < max(3.0 * noise, 0.1) else f"the ELBO still rose by {rise:.2f}"
    end = guide_gaussian(guide, start)
    sd, own_sd = end.sd()
    mean, own_mean = np.asarray(end.mean), np.asarray(end.own_mean)
    diagnostics = {"elbo": parts, "elbo_noise": noise, "not_finite": int(np.sum(~np.isfinite(trace))),
                   "steps": steps, "batch": batch, "seconds": time.perf_counter() - began}  # fmt: skip
    return Solution(mean, np.asarray(sd), own_mean, np.asarray(own_sd), status, diagnostics, None, end)
