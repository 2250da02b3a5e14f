"""Arrow elimination against the dense normal equations; the EM of the prior scatters against direct maximisation."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.inference.prior import groups as hyper
from astrogf.inference.prior.means import Means
from astrogf.inference.problem.arrow import (
    Reduced,
    absorb,
    eliminate,
    eliminate_and_halve,
    own_covariance,
    reduce,
    solve_shared,
    substitute,
)

N_STAR, N_OWN, N_SHARED, N_PIXEL = 5, 6, 9, 60
LAPACK = re.compile(r"= (?:cholesky|triangular_solve|lu)\b")


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(3)
    j, g = rng.normal(size=(N_STAR, N_PIXEL, N_OWN)), rng.normal(size=(N_STAR, N_PIXEL, N_SHARED))
    r, w = rng.normal(size=(N_STAR, N_PIXEL)), rng.uniform(0.5, 2, (N_STAR, N_PIXEL))
    return j, g, r, w


def test_elimination_equals_dense(problem):
    j, g, r, w = problem
    prior = np.eye(N_SHARED) * 4.0
    n = N_STAR * N_OWN + N_SHARED
    dense, right = np.zeros((n, n)), np.zeros(n)
    dense[-N_SHARED:, -N_SHARED:] = prior
    total, stars = Reduced(jnp.zeros((N_SHARED, N_SHARED)), jnp.zeros(N_SHARED)), []
    for s in range(N_STAR):
        own = slice(s * N_OWN, (s + 1) * N_OWN)
        wj, wg = j[s] * w[s][:, None], g[s] * w[s][:, None]
        h = j[s].T @ wj + np.eye(N_OWN)
        dense[own, own], dense[own, -N_SHARED:], dense[-N_SHARED:, own] = h, wj.T @ g[s], g[s].T @ wj
        dense[-N_SHARED:, -N_SHARED:] += g[s].T @ wg
        right[own], right[-N_SHARED:] = wj.T @ r[s], right[-N_SHARED:] + wg.T @ r[s]
        star = eliminate(jnp.asarray(h), jnp.asarray(wj.T @ r[s]), jnp.asarray(wj.T @ g[s]))
        taken = reduce(star, wj.T @ g[s], wj.T @ r[s])
        total = Reduced(*(a + b + c for a, b, c in zip(total, taken, (g[s].T @ wg, wg.T @ r[s]), strict=True)))
        stars.append(star)
    step, covariance = solve_shared(total, jnp.asarray(prior), jnp.zeros(N_SHARED))
    solution, inverse = np.linalg.solve(dense, right), np.linalg.inv(dense)
    np.testing.assert_allclose(step, solution[-N_SHARED:], atol=1e-10)
    np.testing.assert_allclose(covariance, inverse[-N_SHARED:, -N_SHARED:], atol=1e-10)
    for s, star in enumerate(stars):
        own = slice(s * N_OWN, (s + 1) * N_OWN)
        np.testing.assert_allclose(substitute(star, step), solution[own], atol=1e-10)
        np.testing.assert_allclose(own_covariance(star, covariance), inverse[own, own], atol=1e-10)


def test_prior_precision_is_the_inverse_of_the_covariance():
    index, tau = np.array([0, 0, 1, 1, 1]), np.array([0.2, 0.4])
    means = Means.by_species(index, np.array([False, True, False, False, False]))
    listed, member = np.array([0.05, 0.0, 0.05, 0.05, 0.05]), np.eye(2)[index]
    covariance = np.diag(tau[index] ** 2) + member @ member.T * (0.07**2 + np.outer(listed, listed))
    np.testing.assert_allclose(hyper.prior_precision(tau[index] ** -2.0, means), np.linalg.inv(covariance), rtol=1e-10)


@pytest.mark.parametrize("scatter", [0.0, 0.03, 0.4])
def test_deviations_absorbed_are_those_marginalised_by_brute_force(scatter):
    """The quadratic log likelihood with an own deviation of every line, integrated out through its dense covariance."""
    rng = np.random.default_rng(8)
    jacobian = rng.normal(size=(60, 4)), rng.normal(size=(60, 7))
    residual = rng.normal(size=60)
    own, lines = jacobian
    found = absorb(
        own.T @ own, own.T @ residual, own.T @ lines, lines.T @ lines, lines.T @ residual, jnp.asarray(scatter)
    )
    covariance = np.eye(60) + scatter**2 * lines @ lines.T
    weight = np.linalg.inv(covariance)
    np.testing.assert_allclose(found.own, own.T @ weight @ own, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.own_gradient, own.T @ weight @ residual, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.cross, own.T @ weight @ lines, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.lines, lines.T @ weight @ lines, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.line_gradient, lines.T @ weight @ residual, rtol=1e-9, atol=1e-9)
    marginal = -0.5 * residual @ weight @ residual - 0.5 * np.linalg.slogdet(covariance)[1]
    np.testing.assert_allclose(found.gain, marginal + 0.5 * residual @ residual, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.deviation, scatter**2 * lines.T @ weight @ residual, rtol=1e-9, atol=1e-9)


def test_no_batch_of_small_matrices_goes_to_lapack():
    """Two at a time may wait for each other for ever (docs/how-to/problems.md). What comes out is what the block's
    inverse gives; large matrices, of lines, go to LAPACK one after the other."""
    rng = np.random.default_rng(11)
    root, cross, gradient = rng.normal(size=(5, 5)), rng.normal(size=(5, 9)), rng.normal(size=5)
    block = root @ root.T + np.eye(5)
    star, half = eliminate_and_halve(block, gradient, cross, 0.1)
    inverse = np.linalg.inv(block + 0.1 * np.diag(np.diag(block)))
    np.testing.assert_allclose(star.covariance, inverse, rtol=1e-11)
    np.testing.assert_allclose(star.constant, inverse @ gradient, rtol=1e-11)
    np.testing.assert_allclose(star.slope, inverse @ cross, rtol=1e-11)
    np.testing.assert_allclose(half.T @ half, cross.T @ inverse @ cross, rtol=1e-11)
    many = tuple(np.stack([x, x]) for x in (block, gradient, cross))
    assert not LAPACK.search(str(jax.make_jaxpr(jax.vmap(eliminate_and_halve))(*many)))
    lines = rng.normal(size=(9, 9))
    args = (*many, np.stack([lines @ lines.T] * 2), rng.normal(size=(2, 9)), np.full(2, 0.1))
    said = str(jax.make_jaxpr(jax.vmap(absorb, in_axes=(0, 0, 0, 0, 0, 0)))(*args))
    assert len(LAPACK.findall(said)) == 3
    assert "f64[2,9,9] = cholesky" not in said
