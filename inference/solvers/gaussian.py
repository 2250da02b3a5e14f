"""A Gaussian over shared and stars' own parameters with the arrow's correlations, as a map from white noise.

shared = m + L z,   own_s = m_s - S_s (shared - m) + L_s z_s

which is the Laplace posterior when m, L, S, L_s come from the eliminated normal equations, the coordinates in which
NUTS is quick, and the family that `skewed` improves.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from astrogf.inference.prior.means import Means
from astrogf.inference.problem.arrow import Eliminated
from astrogf.inference.problem.contribution import RowTerms
from astrogf.inference.problem.parameters import STAR, steps


class ArrowGaussian(NamedTuple):
    """Own parameters are in units of `parameters.steps` (labels, abundances), then the continuum coefficients."""

    mean: Float[Array, " shared"]
    factor: Float[Array, "shared shared"]
    own_mean: Float[Array, "star own"]
    slope: Float[Array, "star own shared"]
    own_factor: Float[Array, "star own own"]

    def place(self, z: Float[Array, " shared"], w: Float[Array, "star own"]):
        """Shared and own parameters at white coordinates (z, w)."""
        off = self.factor @ z
        own = self.own_mean - jnp.einsum("sij,j->si", self.slope, off)
        return self.mean + off, own + jnp.einsum("sij,sj->si", self.own_factor, w)

    def draw(self, key: Array, n: int) -> tuple[Float[Array, "draw shared"], Float[Array, "draw star own"]]:
        """Independent draws."""
        one, two = jax.random.split(key)
        z = jax.random.normal(one, (n, len(self.mean)))
        w = jax.random.normal(two, (n, *self.own_mean.shape))
        return jax.vmap(self.place)(z, w)

    def sd(self) -> tuple[Float[Array, " shared"], Float[Array, "star own"]]:
        """Marginal standard deviations."""
        through = jnp.einsum("sij,jk->sik", self.slope, self.factor)
        own = jnp.sqrt(jnp.sum(through**2, -1) + jnp.sum(self.own_factor**2, -1))
        return jnp.sqrt(jnp.sum(self.factor**2, -1)), own

    def stars(self, index: Int[Array, " batch"]) -> "ArrowGaussian":
        """The same with some of the stars."""
        return ArrowGaussian(self.mean, self.factor, *(x[index] for x in self[2:]))


def laplace_gaussian(
    star: Eliminated,
    row: RowTerms,
    theta: Float[Array, "star star_parameter"],
    shared: Float[Array, " shared"],
    mean: Float[Array, " shared"],
    covariance: Float[Array, "shared shared"],
) -> ArrowGaussian:
    """The Laplace posterior of a pass linearised at (theta, shared), with the shared parameters' (mean, covariance):
    of what the pass has of every star, and of every spectrum, the continuum included.

    For samples of one window, one row a star in their order. The pass has eliminated the continuum; it is put back.
    """
    continuum, n_own = row.continuum, theta.shape[1]
    assert continuum is not None
    by_own, by_line = continuum.slope[:, :, :n_own], continuum.slope[:, :, n_own:]
    by_shared = jnp.pad(by_line, ((0, 0), (0, 0), (0, len(shared) - by_line.shape[2])))
    constant = continuum.constant - jnp.einsum("sij,sj->si", by_own, star.constant)
    constant = jnp.concatenate([star.constant, constant], axis=1)
    slope = jnp.concatenate([star.slope, by_shared - jnp.einsum("sij,sjk->sik", by_own, star.slope)], axis=1)
    labels = jnp.linalg.cholesky(star.covariance)
    smooth = jnp.linalg.cholesky(continuum.covariance)
    left = jnp.concatenate([labels, -jnp.einsum("sij,sjk->sik", by_own, labels)], axis=1)
    right = jnp.pad(smooth, ((0, 0), (n_own, 0), (0, 0)))
    start = jnp.concatenate([theta / steps(n_own), row.coefficients], axis=1)
    own = start + constant - jnp.einsum("sij,j->si", slope, mean - shared)
    return ArrowGaussian(mean, jnp.linalg.cholesky(covariance), own, slope, jnp.concatenate([left, right], axis=2))


def with_means(gaussian: ArrowGaussian, weight: Float[np.ndarray, " line"], means: Means) -> ArrowGaussian:
    """Append the species' means m, that the arrow has marginalised, to the shared parameters (corrections first).

    Given the corrections and their precision `weight` about the means, m ~ Normal(V sum of weight x correction, V)
    with V the inverse of (prior precision + sum of weight).
    """
    member, g, size = means.of, len(means), len(gaussian.mean)
    n = len(member)
    v = jnp.linalg.inv(jnp.asarray(means.precision + np.diag(np.bincount(member, weight, minlength=g))))
    weights = jnp.zeros((g, size)).at[:, :n].set(v[:, member] * weight)
    factor = jnp.block(
        [
            [gaussian.factor, jnp.zeros((size, g))],
            [weights @ gaussian.factor, jnp.linalg.cholesky(v)],
        ]
    )
    mean = jnp.concatenate([gaussian.mean, weights @ gaussian.mean])
    slope = jnp.pad(gaussian.slope, ((0, 0), (0, 0), (0, g)))
    return ArrowGaussian(mean, factor, gaussian.own_mean, slope, gaussian.own_factor)


def joint_sites(n_line: int, labels: tuple[str, ...] = STAR):
    """How `inference.solvers.model.joint_model` names what (shared, own) hold; shared is u, ln_sigma0, m; `labels` are
    names of the own parameters."""

    def sites(shared: Float[Array, " shared"], own: Float[Array, "star own"]) -> dict[str, Array]:
        n = len(labels)
        theta = own[:, :n] * steps(n)
        named = {"u": shared[:n_line], "ln_sigma0": shared[n_line], "m": shared[n_line + 1 :]}
        return named | {name: theta[:, i] for i, name in enumerate(labels)} | {"continuum": own[:, n:]}

    return sites
