"""The solvers on a hierarchical linear model whose posterior is Gaussian and known exactly, and white coordinates."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy.special import polygamma, psi

from astrogf.inference.prior import groups as hyper
from astrogf.inference.prior.means import Means
from astrogf.inference.solvers.gaussian import ArrowGaussian, with_means
from astrogf.inference.solvers.laplace import recentred
from astrogf.inference.solvers.nuts import importance, laplace, nuts, split_density
from astrogf.inference.solvers.skewed import skewed

N_STAR, N_SHARED, N_OWN, N_PIXEL = 6, 5, 3, 12


@pytest.fixture(scope="module")
def linear():
    """Stars with pixels G_s delta + J_s own_s + noise: data, and the exact posterior by the dense normal equations."""
    rng = np.random.default_rng(2)
    g, j = rng.normal(size=(N_STAR, N_PIXEL, N_SHARED)), rng.normal(size=(N_STAR, N_PIXEL, N_OWN))
    y = g @ rng.normal(size=N_SHARED) + np.einsum("spo,so->sp", j, rng.normal(size=(N_STAR, N_OWN)))
    y = y + rng.normal(size=y.shape)
    size = N_SHARED + N_STAR * N_OWN
    design = np.zeros((N_STAR, N_PIXEL, size))
    design[:, :, :N_SHARED] = g
    for s in range(N_STAR):
        design[s, :, N_SHARED + s * N_OWN : N_SHARED + (s + 1) * N_OWN] = j[s]
    flat = design.reshape(-1, size)
    covariance = np.linalg.inv(flat.T @ flat + np.eye(size))
    mean = covariance @ flat.T @ y.ravel()
    return (jnp.asarray(g), jnp.asarray(j), jnp.asarray(y)), mean, covariance


def model(g, j, y):
    delta = numpyro.sample("delta", dist.Normal(0.0, 1.0).expand([N_SHARED]).to_event(1))
    with numpyro.plate("stars", len(y)):
        own = numpyro.sample("own", dist.Normal(0.0, 1.0).expand([N_OWN]).to_event(1))
    seen = g @ delta + jnp.einsum("spo,so->sp", j, own)
    numpyro.factor("pixels", jnp.sum(dist.Normal(seen, 1.0).log_prob(y)))


def density_of(data):
    def density(index):
        return split_density(
            model, tuple(x[index] for x in data), {}, lambda shared, own: {"delta": shared, "own": own}
        )

    return density


def exact(mean, covariance) -> ArrowGaussian:
    """The exact posterior, own parameters given the shared ones, as the arrow has it."""
    shared = covariance[:N_SHARED, :N_SHARED]
    slope, own = [], []
    for s in range(N_STAR):
        mine = slice(N_SHARED + s * N_OWN, N_SHARED + (s + 1) * N_OWN)
        cross = covariance[mine, :N_SHARED] @ np.linalg.inv(shared)
        slope.append(-cross)
        own.append(np.linalg.cholesky(covariance[mine, mine] - cross @ covariance[:N_SHARED, mine]))
    rest = mean[N_SHARED:].reshape(N_STAR, N_OWN)
    values = (mean[:N_SHARED], np.linalg.cholesky(shared), rest, np.array(slope), np.array(own))
    return ArrowGaussian(*(jnp.asarray(x) for x in values))


def spoiled(gaussian: ArrowGaussian) -> ArrowGaussian:
    """A start that is wrong in every way: off by a sd, too wide, and blind to the star-line correlation."""
    return ArrowGaussian(
        gaussian.mean + gaussian.sd()[0], jnp.diag(1.5 * gaussian.sd()[0]), gaussian.own_mean,
        jnp.zeros_like(gaussian.slope), jax.vmap(jnp.diag)(gaussian.sd()[1]),
    )  # fmt: skip


def check(solution, mean, covariance, mean_bar, sd_bar):
    sd = np.sqrt(np.diag(covariance))
    off = (np.append(solution.mean, solution.own_mean.ravel()) - mean) / sd
    ratio = np.append(solution.sd, solution.own_sd.ravel()) / sd
    assert np.abs(off).max() < mean_bar
    assert np.abs(ratio - 1).max() < sd_bar


def test_laplace_is_exact_on_a_linear_model(linear):
    _, mean, covariance = linear
    check(laplace(exact(mean, covariance)), mean, covariance, 1e-8, 1e-8)


def test_density_is_split_into_what_is_said_once_and_of_every_star(linear):
    data, mean, _ = linear
    shared, own = jnp.asarray(mean[:N_SHARED]), jnp.asarray(mean[N_SHARED:].reshape(N_STAR, N_OWN))
    once, each = density_of(data)(np.arange(N_STAR))(shared, own)
    np.testing.assert_allclose(once, dist.Normal(0, 1).log_prob(shared).sum())
    parts = [density_of(data)(np.array([s]))(shared, own[s : s + 1]) for s in range(N_STAR)]
    np.testing.assert_allclose(each, sum(p[1] for p in parts))
    assert all(float(p[0]) == pytest.approx(float(once)) for p in parts)


def test_importance_from_a_start_that_is_too_wide(linear):
    data, mean, covariance = linear
    good = exact(mean, covariance)
    wide = good._replace(factor=1.1 * good.factor, own_factor=1.1 * good.own_factor)
    found = importance(density_of(data)(np.arange(N_STAR)), wide, jax.random.key(3), draws=4000)
    assert found.status == "converged", found.diagnostics
    assert found.diagnostics["ess"] < 3900
    check(found, mean, covariance, 1e-6, 0.1)
    lost = importance(density_of(data)(np.arange(N_STAR)), spoiled(good), jax.random.key(3), draws=400)
    assert "too far" in lost.status


def test_nuts_from_a_bad_start(linear):
    data, mean, covariance = linear
    start = spoiled(exact(mean, covariance))
    found = nuts(density_of(data)(np.arange(N_STAR)), start, jax.random.key(1), warmup=200, draws=2500, max_rhat=1.01)
    assert found.status == "converged", found.diagnostics
    assert found.diagnostics["divergences"] == 0
    check(found, mean, covariance, 0.12, 0.08)


def test_skewed_from_a_bad_start_with_subsampled_stars(linear):
    data, mean, covariance = linear
    start = spoiled(exact(mean, covariance))
    found = skewed(density_of(data), start, jax.random.key(2), batch=3, steps=5000, rate=0.03, particles=2)
    assert found.status == "converged", found.diagnostics
    with pytest.raises(AssertionError):
        check(laplace(start), mean, covariance, 0.9, 0.4)
    check(found, mean, covariance, 0.1, 0.1)


def test_skewed_has_the_moments_of_a_skewed_posterior():
    """ln of a gamma variate with k = 2: mean psi(k) - ln k, sd psi'(k)^1/2. The nearest Gaussian has sd k^-1/2, 12%
    too narrow.
    """
    n, shape = 3, 2.0

    def of(index):
        def density(shared, own):
            once = jnp.sum(shape * (shared - jnp.exp(shared)))
            return once, -0.5 * jnp.sum((own - 0.5 * shared[:2]) ** 2)

        return density

    start = ArrowGaussian(
        jnp.zeros(n), shape**-0.5 * jnp.eye(n), jnp.zeros((2, 2)), jnp.zeros((2, 2, n)), jnp.tile(jnp.eye(2), (2, 1, 1))
    )
    found = skewed(of, start, jax.random.key(3), batch=2, steps=4000, particles=4)
    sd = np.sqrt(polygamma(1, shape))
    np.testing.assert_allclose(found.mean, psi(shape) - np.log(shape), atol=0.04 * sd)
    np.testing.assert_allclose(found.sd, sd, rtol=0.04)
    np.testing.assert_allclose(found.own_mean, 0.5 * (psi(shape) - np.log(shape)), atol=0.06)
    np.testing.assert_allclose(found.own_sd, np.sqrt(1.0 + 0.25 * sd**2), rtol=0.05)


def test_recentring_is_exact_on_a_linear_model(linear):
    """Pairs cancel every odd term, so that one pair of one round finds the mean from a sd away."""
    data, mean, covariance = linear
    off = exact(mean, covariance)
    off = off._replace(mean=off.mean + off.sd()[0], own_mean=off.own_mean - off.sd()[1])
    found = recentred(density_of(data)(np.arange(N_STAR)), off, jax.random.key(4), pairs=2, rounds=1)
    check(found, mean, covariance, 1e-8, 1e-8)
    assert found.status == "converged"
    assert found.diagnostics["error"] < 1e-8


@pytest.mark.parametrize("shape", [6.0, 30.0])
def test_recentring_finds_the_mean_of_a_skewed_posterior(shape):
    """ln of a gamma variate: mean psi(k) - ln k (-0.20 sd of the maximum for k = 6), sd psi'(k)^1/2.

    What is left is of the next order in 1 / k.
    """
    n, stars = 4, 3

    def log_gamma(x):
        return jnp.sum(shape * (x - jnp.exp(x)))

    def density(shared, own):
        return log_gamma(shared), log_gamma(own - 0.5 * shared[:2])

    sd = shape**-0.5
    slope, factor = (jnp.tile(x, (stars, 1, 1)) for x in (-0.5 * jnp.eye(2, n), sd * jnp.eye(2)))
    start = ArrowGaussian(jnp.zeros(n), sd * jnp.eye(n), jnp.zeros((stars, 2)), slope, factor)
    found = recentred(density, start, jax.random.key(5), pairs=2000)
    expected = psi(shape) - np.log(shape)
    error = 3.0 * found.diagnostics["error"] * sd + 0.15 * abs(expected)
    assert abs(expected) > 0.08 * np.sqrt(polygamma(1, shape))
    np.testing.assert_allclose(found.mean, expected, atol=error)
    np.testing.assert_allclose(found.own_mean, 1.5 * expected, atol=1.5 * error)
    lost = recentred(lambda shared, own: (jnp.sum(shared) * jnp.nan, jnp.sum(own)), start, jax.random.key(5), pairs=4)
    assert "finite" in lost.status
    np.testing.assert_array_equal(lost.mean, start.mean)
    if shape < 10:
        assert "more pairs" in recentred(density, start, jax.random.key(5), pairs=3).status


def test_means_join_the_shared_parameters(linear):
    """Covariance of (u, m) from the closed form of the hierarchical prior, without data."""
    weight = np.array([0.1, 0.2, 0.3, 0.25, 0.3]) ** -2.0
    means = Means.by_species(np.array([0, 0, 0, 1, 1]), np.array([True, True, False, False, False]))
    member = means.of
    assert len(means) == 3
    precision = np.asarray(hyper.prior_precision(weight, means))
    own = jnp.zeros((1, 2)), jnp.ones((1, 2, 5)), jnp.eye(2)[None]
    base = ArrowGaussian(jnp.zeros(5), jnp.linalg.cholesky(np.linalg.inv(precision)), *own)
    full = with_means(base, weight, means)
    covariance = np.asarray(full.factor @ full.factor.T)
    np.testing.assert_allclose(covariance[5:, 5:], means.covariance, atol=1e-14)
    wanted = means.covariance[member]
    np.testing.assert_allclose(covariance[:5, 5:], wanted, atol=1e-14)
    draws = full.draw(jax.random.key(0), 7)
    assert draws[0].shape == (7, 8)
    assert draws[1].shape == (7, 1, 2)
