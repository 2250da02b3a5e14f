"""Sufficient statistics: halves against the whole by dense normal equations, and the posterior against NUTS."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import MCMC, NUTS
from scipy.stats import norm

from astrogf.inference.prior import groups as hyper
from astrogf.inference.prior.means import LIST_MEAN_SD, MODEL_MEAN_SD
from astrogf.inference.problem.arrow import eliminate, reduce
from astrogf.inference.solvers.model import corrections_of, sampled_widths
from astrogf.inference.statistics import LineNames, Statistics, combine, load, posterior, save

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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:There are not enough devices")
def test_the_posterior_from_the_statistics_against_nuts():
    """One group with all widths learned: NUTS on NumPyro's own statement of the prior, classes summed over, with the
    statistics' quadratic as the spectra."""
    rng = np.random.default_rng(3)
    n = 14
    a = rng.normal(size=(n, n))
    precision = a @ a.T / n * 60.0 + np.diag(rng.uniform(20, 300, n))
    measured = 0.04 + 0.12 * rng.normal(size=n) + np.linalg.cholesky(np.linalg.inv(precision)) @ rng.normal(size=n)
    measured[3] += 0.7
    listed = LineNames(np.arange(n) + 5000.0, np.full(n, "Fe I"), np.zeros(n), np.zeros(n))
    point, member = 0.1 * rng.normal(size=n), np.zeros(n, int)
    s = Statistics(precision, precision @ (measured - point), point, listed, (), 5)
    groups = hyper.Groups(member, ("Fe I",), member, np.array([np.nan]))
    found, said = posterior(s, groups, other_mean=np.zeros(0), other_sd=np.zeros(0), model_error=0.08, sweeps=6000)
    assert said["effective_sweeps"] > 100

    def model():
        with numpyro.plate("species", 1):
            mu = numpyro.sample("mu", dist.Normal(0.0, LIST_MEAN_SD))
            nu = numpyro.sample("nu", dist.Normal(0.0, MODEL_MEAN_SD))
        widths = sampled_widths(1, 0.08)
        u = corrections_of(jnp.repeat(mu + nu, n), jnp.asarray(member), widths)
        numpyro.deterministic("widths", jnp.stack([*widths])[:, 0])
        numpyro.factor("spectra", -0.5 * (u - measured) @ precision @ (u - measured))

    sampler = MCMC(NUTS(model, target_accept_prob=0.95), num_warmup=1000, num_samples=6000, progress_bar=False)
    sampler.run(jax.random.key(0))
    draws = {name: np.asarray(x) for name, x in sampler.get_samples().items()}
    sd = draws["u"].std(axis=0)
    np.testing.assert_allclose((found.mean - draws["u"].mean(axis=0)) / sd, 0.0, atol=0.1)
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance)), sd, rtol=0.08)
    for k, (mine, mine_sd) in enumerate(zip(found.widths, found.widths_sd, strict=True)):
        theirs = draws["widths"][:, k]
        assert abs(mine[0] - theirs.mean()) < 0.15 * theirs.std(), k
        assert mine_sd[0] == pytest.approx(theirs.std(), rel=0.15), k
    # the log gf, by the conditional of each draw
    tau, gross, share, phi = draws["widths"].T[:, :, None]
    mu, m, u = draws["mu"], draws["mu"] + draws["nu"], draws["u"]
    narrow, wide = tau**2, tau**2 + gross**2
    logs = [np.log(w) + norm.logpdf(u, m, np.sqrt(v + phi**2)) for w, v in ((1 - share, narrow), (share, wide))]
    p = 1.0 / (1.0 + np.exp(logs[0] - logs[1]))
    inside = [mu + v / (v + phi**2) * (u - m) for v in (narrow, wide)]
    mean = (1 - p) * inside[0] + p * inside[1]
    np.testing.assert_allclose(found.loggf.wide, p.mean(axis=0), atol=0.03)
    np.testing.assert_allclose((found.loggf.mean - mean.mean(axis=0)) / sd, 0.0, atol=0.1)
    left = [v * phi**2 / (v + phi**2) for v in (narrow, wide)]
    second = (1 - p) * (inside[0] ** 2 + left[0]) + p * (inside[1] ** 2 + left[1])
    wanted = np.sqrt(second.mean(axis=0) - mean.mean(axis=0) ** 2)
    np.testing.assert_allclose(np.sqrt(np.diag(found.loggf.covariance)), wanted, rtol=0.08)
