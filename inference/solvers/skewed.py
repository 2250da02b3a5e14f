"""Variational inference by Adam on a skewed guide, on NumPyro's density: for small problems, where lines are one-sided.

A check of the Gaussians that all other solvers end with, beside NUTS.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from astrogf.inference.solvers.gaussian import ArrowGaussian
from astrogf.inference.solvers.nuts import Density, Solution


class Guide(NamedTuple):
    """A posterior in the white coordinates of an ArrowGaussian: z = a + T x, w = a_s + B_s z + T_s e_s, where x is a
    unit Gaussian e bent component by component, x = sinh((asinh e + skew) exp(log_tail)).

    What the spectra say of a weak line is one-sided, and a Gaussian that is nearest to such a posterior is too narrow.
    Triangular factors are kept as their strict lower part and the log of their diagonal.
    Source: the sinh-arcsinh distribution of Jones & Pewsey (2009, Biometrika 96, 761), eq. 2.
    """

    shift: Float[Array, " shared"]
    lower: Float[Array, "shared shared"]
    log_diagonal: Float[Array, " shared"]
    skew: Float[Array, " shared"]
    log_tail: Float[Array, " shared"]
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
            jnp.zeros(n), jnp.zeros((n, n)), jnp.full(n, log), jnp.zeros(n), jnp.zeros(n), jnp.zeros((s, o)),
            jnp.zeros((s, o, n)), jnp.zeros((s, o, o)), jnp.full((s, o), log),
        )  # fmt: skip

    def factors(self) -> tuple[Float[Array, "shared shared"], Float[Array, "star own own"]]:
        """T and T_s."""
        return (
            jnp.tril(self.lower, -1) + jnp.diag(jnp.exp(self.log_diagonal)),
            jnp.tril(self.own_lower, -1) + jax.vmap(jnp.diag)(jnp.exp(self.own_log_diagonal)),
        )

    def bend(self, e: Float[Array, "*any shared"]) -> Float[Array, "*any shared"]:
        """x of e."""
        return jnp.sinh((jnp.arcsinh(e) + self.skew) * jnp.exp(self.log_tail))

    def log_prob(self, x: Float[Array, " shared"]) -> Float[Array, ""]:
        """Log density of x, up to a constant."""
        straight = jnp.arcsinh(x) * jnp.exp(-self.log_tail) - self.skew
        e = jnp.sinh(straight)
        # log(de / dx), with cosh(straight) = sqrt(1 + e^2)
        slope = 0.5 * jnp.log1p(e**2) - self.log_tail - 0.5 * jnp.log1p(x**2)
        return jnp.sum(slope - 0.5 * e**2)

    def moments(self) -> tuple[Float[np.ndarray, " shared"], Float[np.ndarray, " shared"]]:
        """Mean and sd of x, by Gauss-Hermite quadrature."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(48)
        x, w = np.asarray(self.bend(jnp.asarray(nodes)[:, None])), (weights / weights.sum())[:, None]
        mean = np.sum(w * x, axis=0)
        return mean, np.sqrt(np.sum(w * (x - mean) ** 2, axis=0))

    def stars(self, index: Int[Array, " batch"]) -> "Guide":
        """The same with some of the stars."""
        return Guide(*self[:5], *(x[index] for x in self[5:]))


def guide_gaussian(guide: Guide, start: ArrowGaussian) -> ArrowGaussian:
    """The guide's mean and covariance, in the parameters' own coordinates."""
    t, own_t = guide.factors()
    x_mean, x_sd = guide.moments()
    z_mean = guide.shift + t @ x_mean
    own_at = jnp.einsum("sij,sj->si", start.own_factor, guide.own_shift + guide.coupling @ z_mean)
    back = jax.scipy.linalg.solve_triangular(start.factor, jnp.eye(len(start.mean)), lower=True)
    mean = start.mean + start.factor @ z_mean
    own_mean = start.own_mean - jnp.einsum("sij,j->si", start.slope, mean - start.mean) + own_at
    slope = start.slope - jnp.einsum("sij,sjk,kl->sil", start.own_factor, guide.coupling, back)
    factor = start.factor @ (t * x_sd)
    return ArrowGaussian(mean, factor, own_mean, slope, jnp.einsum("sij,sjk->sik", start.own_factor, own_t))


def skewed(
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
        z = mine.shift + t @ mine.bend(e)
        w = mine.own_shift + mine.coupling @ z + jnp.einsum("sij,sj->si", own_t, e_own)
        shared, own = here.place(z, w)
        once, each = density_of(index)(shared, own)
        held = jax.lax.stop_gradient(mine)
        ht, hown = held.factors()
        back = jax.scipy.linalg.solve_triangular(ht, z - held.shift, lower=True)
        miss = w - held.own_shift - held.coupling @ z
        own_back = jax.vmap(partial(jax.scipy.linalg.solve_triangular, lower=True))(hown, miss)
        log_q = held.log_prob(back) - jnp.sum(held.log_diagonal)
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
