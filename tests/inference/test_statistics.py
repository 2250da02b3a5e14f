"""Sufficient statistics: halves against the whole by dense normal equations, and hyperparameters against a grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from astrogf.inference.newton import groups as hyper
from astrogf.inference.problem.arrow import eliminate, reduce
from astrogf.inference.statistics import LineNames, Statistics, combine, load, marginal, sample_hyper, save

N_LINE, N_OWN, N_PIXEL, N_STAR = 6, 3, 20, 8


def names(order=slice(None)) -> LineNames:
    wave = 5000.0 + 3.3 * np.arange(N_LINE)
    return LineNames(
        wave[order], np.array(["Fe I", "Ti I"] * 3)[order], 0.5 * np.arange(N_LINE)[order], -wave[order] / 5e3
    )


@pytest.fixture(scope="module")
def stars():
    """Linear stars: G, J, y; shared are six corrections and ln_sigma."""
    rng = np.random.default_rng(8)
    g, j = rng.normal(size=(N_STAR, N_PIXEL, N_LINE + 1)), rng.normal(size=(N_STAR, N_PIXEL, N_OWN))
    y = g @ (0.3 * rng.normal(size=N_LINE + 1)) + np.einsum("spo,so->sp", j, rng.normal(size=(N_STAR, N_OWN)))
    return g, j, y + rng.normal(size=y.shape)


def statistics(stars, which, point, order=None) -> Statistics:
    """By the package's own elimination of each star, linearised at `point`."""
    g, j, y = (x[which] for x in stars)
    order = np.arange(N_LINE + 1) if order is None else np.append(order, N_LINE)
    g = g[:, :, order]
    precision, gradient = np.zeros((N_LINE + 1,) * 2), np.zeros(N_LINE + 1)
    for gs, js, ys in zip(g, j, y, strict=True):
        residual = ys - gs @ point
        cross, own_gradient = js.T @ gs, js.T @ residual
        taken = reduce(eliminate(jnp.asarray(js.T @ js + np.eye(N_OWN)), own_gradient, cross), cross, own_gradient)
        precision += gs.T @ gs + np.asarray(taken.precision)
        gradient += gs.T @ residual + np.asarray(taken.gradient)
    return Statistics(precision, gradient, point, names(order[:-1]), ("ln_sigma",), len(g))


def test_two_halves_are_the_joint_fit(stars, tmp_path):
    """Whatever the points of expansion and the order of the lines; against the dense normal equations of all stars."""
    rng = np.random.default_rng(1)
    zero, other = np.zeros(N_LINE + 1), rng.normal(size=N_LINE + 1)
    order = rng.permutation(N_LINE)
    one = statistics(stars, slice(0, 5), zero)
    two = statistics(stars, slice(5, None), other[np.append(order, N_LINE)], order)
    save(tmp_path / "two.npz", two)
    both, whole = combine(one, load(tmp_path / "two.npz")), statistics(stars, slice(None), zero)
    assert both.n_star == N_STAR
    np.testing.assert_allclose(both.precision, whole.precision, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(both.gradient, whole.gradient, rtol=1e-8, atol=1e-8)

    g, j, y = stars
    size = N_LINE + 1 + N_STAR * N_OWN
    design = np.zeros((N_STAR, N_PIXEL, size))
    design[:, :, : N_LINE + 1] = g
    for s in range(N_STAR):
        design[s, :, N_LINE + 1 + s * N_OWN : N_LINE + 1 + (s + 1) * N_OWN] = j[s]
    flat = design.reshape(-1, size)
    prior = np.diag(np.concatenate([np.full(N_LINE, 0.2**-2.0), [4.0], np.ones(N_STAR * N_OWN)]))
    dense = np.linalg.solve(flat.T @ flat + prior, flat.T @ y.ravel())[: N_LINE + 1]
    mine = np.linalg.solve(both.precision + prior[: N_LINE + 1, : N_LINE + 1], both.gradient)
    np.testing.assert_allclose(mine, dense, rtol=1e-8, atol=1e-10)
    again = marginal(both, np.zeros(N_LINE, int), jnp.zeros(1), jnp.full(1, 0.2), jnp.zeros(1), jnp.full(1, 0.5))
    np.testing.assert_allclose(again[1], dense, rtol=1e-8, atol=1e-10)


def test_another_survey_brings_its_own_resolution(stars):
    zero = np.zeros(N_LINE + 1)
    one, two = statistics(stars, slice(0, 4), zero), statistics(stars, slice(4, None), zero)._replace(others=("sdss",))
    both = combine(one, two)
    assert both.others == ("ln_sigma", "sdss")
    assert both.precision.shape == (N_LINE + 2,) * 2
    assert both.precision[-1, -2] == 0.0
    np.testing.assert_allclose(both.precision[:N_LINE, -1], two.precision[:N_LINE, -1])


def test_other_lines_are_refused(stars):
    zero = np.zeros(N_LINE + 1)
    one = statistics(stars, slice(0, 4), zero)
    two = one._replace(lines=one.lines._replace(elow=one.lines.elow + 0.1))
    with pytest.raises(ValueError, match="do not correct the same lines"):
        combine(one, two)


def test_a_file_of_something_else_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match="no sufficient statistics"):
        load(tmp_path / "x.npz")


@pytest.mark.filterwarnings("ignore:There are not enough devices")
def test_hyperparameters_from_the_statistics_against_a_grid():
    """One group: p(mu, tau) on a grid, the corrections' measured values with their covariance from scipy."""
    rng = np.random.default_rng(3)
    n = 12
    a = rng.normal(size=(n, n))
    precision = a @ a.T / n * 60.0 + np.diag(rng.uniform(20, 300, n))
    covariance = np.linalg.inv(precision)
    measured = 0.04 + 0.25 * rng.normal(size=n) + np.linalg.cholesky(covariance) @ rng.normal(size=n)
    names = LineNames(np.arange(n) + 5000.0, np.full(n, "Fe I"), np.zeros(n), np.zeros(n))
    point = 0.1 * rng.normal(size=n)
    s = Statistics(precision, precision @ (measured - point), point, names, (), 5)
    mu, tau = np.linspace(-0.25, 0.25, 41), np.linspace(0.02, 0.8, 79)
    log = np.array(
        [[multivariate_normal.logpdf(measured, np.full(n, m), covariance + t**2 * np.eye(n)) for t in tau] for m in mu]
    )
    ours = np.array([[marginal(s, np.zeros(n, int), jnp.array([m]), jnp.array([t]), jnp.zeros(0), jnp.zeros(0))[0]
                      for t in tau[::20]] for m in mu[::20]])  # fmt: skip
    np.testing.assert_allclose(ours - ours[0, 0], (log - log[0, 0])[::20, ::20], rtol=1e-9, atol=1e-8)
    log = log + norm.logpdf(mu, 0, hyper.MEAN_SD)[:, None] + np.log(tau) - 0.5 * (tau / hyper.SCATTER_SD) ** 2
    p = np.exp(log - log.max())
    p /= p.sum()
    found = sample_hyper(
        s, np.zeros(n, int), 1, jax.random.key(0), other_mean=np.zeros(0), other_sd=np.zeros(0), draws=1500
    )
    assert found.diagnostics["rhat_max"] < 1.02
    for draws, grid, axis in ((found.mu, mu, 1), (found.tau, tau, 0)):
        weights = p.sum(axis)
        mean = weights @ grid
        sd = np.sqrt(weights @ (grid - mean) ** 2)
        assert abs(draws.mean() - mean) < 0.12 * sd
        assert draws.std() == pytest.approx(sd, rel=0.1)
    fixed = np.linalg.inv(precision + np.eye(n) / found.tau.mean() ** 2)
    assert np.all(np.abs(found.sd / np.sqrt(np.diag(fixed)) - 1) < 0.25)
