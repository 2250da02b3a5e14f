"""The joint fit of a small simulated problem: the solver against the NumPyro model that defines it, and the truth."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer.util import log_density

from inference import hyper
from inference.fit import prepare, select_lines, with_free
from inference.joint import fit_joint
from inference.model import joint_model
from inference.noise import NoiseModel, learn_noise, variance
from inference.options import FitOptions
from inference.parameters import STAR, STEP, lsf_sigma, vmic_relation
from inference.selection import choose, group_transitions
from inference.star import StarData, predict
from inference.stars import Run, fit_stars
from inference.sweep import sweep
from synthesis.grid import Grid
from synthesis.linelist import QUALITY

OPTIONS = FitOptions(
    oversampling=24, depths=24, line_cut=1e-2, max_lines=12, continuum_degree=2, inflation=0.0, chunk=4,
    star_iterations=8, joint_iterations=15, tolerance=1e-3,
)  # fmt: skip
GRID = Grid(37180, 50)
LABELS = np.array(
    [[5800.0, 4.4, -0.1, 0.05], [5100.0, 3.0, -0.4, 0.15], [6200.0, 4.2, -0.3, 0.1], [4900.0, 4.6, 0.0, 0.05]]
)


@pytest.fixture(scope="module")
def simulated():
    rng = np.random.default_rng(4)
    setup = prepare(GRID.pixel_wavelength, OPTIONS)
    alone = setup.problem()
    n = len(LABELS)
    sigma = float(lsf_sigma(1800.0)) + 0.03 * rng.normal(size=n)
    vmic = np.asarray(vmic_relation(LABELS[:, 0], LABELS[:, 1]))
    theta = jnp.asarray(np.column_stack([LABELS, vmic, sigma, 30.0 * rng.normal(size=n)]))
    start = jnp.array([float(lsf_sigma(1800.0))])
    quiet = NoiseModel(jnp.ones(n), jnp.zeros(n))
    flat = StarData(jnp.ones((n, GRID.n_pixel)), jnp.full((n, GRID.n_pixel), 1e4))
    chosen = select_lines(setup, sweep(alone, flat, theta, start, quiet, chunk=4), OPTIONS)
    problem = with_free(alone, chosen.free)
    truth = 0.2 * rng.normal(size=len(chosen.leader))
    delta = jnp.zeros(OPTIONS.max_lines).at[: len(truth)].set(truth)
    clean = np.array([eqx.filter_jit(predict)(problem, t, delta) for t in theta])
    sd = clean / 150.0
    data = StarData(jnp.asarray(clean + sd * rng.normal(size=sd.shape)), jnp.asarray(sd**-2.0))
    run = Run(theta, start, quiet, np.zeros(n, int), [])
    run, _ = fit_stars(alone, data, run, OPTIONS)
    lines = setup.lines.take(chosen.leader)
    groups = hyper.make_groups(lines.species(), np.array(QUALITY)[lines.quality])
    begin = Run(run.theta, jnp.concatenate([jnp.zeros(len(truth)), run.shared]), quiet, run.release, [])
    return problem, data, fit_joint(problem, data, begin, groups, OPTIONS), groups, truth, theta


def test_converged(simulated):
    assert simulated[2].status == "converged"
    assert all(step["accepted"] for step in simulated[2].run.trace)


def test_maximum_of_the_numpyro_model(simulated):
    """The gradient of NumPyro's own log density vanishes where the arrow solver stopped, in units of 1/sd."""
    problem, data, joint, groups, _, _ = simulated
    tau, index = joint.posterior.tau, jnp.asarray(groups.member)
    delta, theta = joint.run.shared[:-1], joint.run.theta
    # given the corrections, the group means that the solver has marginalised sit at their conditional mode
    count = jnp.bincount(index, length=len(groups.names))
    mu = jnp.bincount(index, delta, length=len(groups.names)) / tau**2 / (count / tau**2 + hyper.MEAN_SD**-2)
    values = {"mu": mu, "delta": delta, "ln_sigma0": joint.run.shared[-1], "continuum": joint.passed.coefficients}
    values |= {name: theta[:, i] for i, name in enumerate(STAR)}
    room = problem.spectrum.n_free - len(delta)

    def density(values):
        padded = values | {"delta": values["delta"]}
        arguments = (problem, data, index, len(groups.names), OPTIONS, joint.run.noise, tau)
        return log_density(lambda *a: joint_model(*a, room=room), arguments, {}, padded)[0]

    slope = eqx.filter_jit(jax.grad(density))(values)
    sd = jnp.sqrt(jnp.diag(joint.posterior.covariance))
    assert float(jnp.abs(slope["delta"] * sd[:-1]).max()) < 0.02
    assert float(jnp.abs(slope["ln_sigma0"] * sd[-1])) < 0.02
    star_sd = jnp.sqrt(jnp.diagonal(joint.passed.star.covariance, 0, 1, 2))
    for i, name in enumerate(STAR):
        assert float(jnp.abs(slope[name] * star_sd[:, i] * STEP[i]).max()) < 0.05, name
    assert float(jnp.abs(slope["continuum"] * star_sd[:, len(STAR) :]).max()) < 0.05


def test_truth_within_errors(simulated):
    _, _, joint, _, truth, theta = simulated
    n = len(truth)
    z = (np.asarray(joint.posterior.mean)[:n] - truth) / np.sqrt(np.diag(np.asarray(joint.posterior.covariance)))[:n]
    assert np.sqrt(np.mean(z**2)) < 1.7
    assert np.abs(joint.run.theta[:, 0] - theta[:, 0]).max() < 400.0


def test_noise_scale_and_inflation_are_found():
    """Residuals drawn with known scale and floor, against what learn_noise says of them."""
    rng = np.random.default_rng(0)
    flux, ivar = jnp.ones((60, 400)), jnp.asarray(rng.uniform(30, 200, (60, 1)) ** 2 * np.ones((1, 400)))
    sd = jnp.sqrt(0.5625 / ivar + 0.01**2)
    noisy = flux + sd * rng.normal(size=sd.shape)
    found = learn_noise(noisy, ivar, flux, np.zeros(60, int), 0.0)
    assert abs(float(found.scale[0]) - 0.75) < 0.04
    assert abs(float(found.inflation[0]) - 0.01) < 0.001
    np.testing.assert_allclose(
        variance(flux[0], ivar[0], NoiseModel(found.scale[0], found.inflation[0])), sd[0] ** 2, rtol=0.1
    )


def test_selection_keeps_the_informative_and_ties_components():
    class Lines:
        transition = np.array([0, 0, 1, 2])
        wavelength = np.array([5001.0, 5001.1, 5000.0, 5003.0])

    candidates = group_transitions(Lines, np.array([1.0, 3.0, 2.0, 0.01]), np.array([True, True, True, False]))
    assert candidates.free.tolist() == [1, 1, 0, -1]
    assert candidates.leader.tolist() == [2, 1]
    kept = choose(candidates, np.array([100.0, 400.0, 1e-3, 9e9]), prior_sd=0.2, max_ratio=0.8, max_lines=5)
    assert kept.free.tolist() == [0, 0, -1, -1]
    np.testing.assert_allclose(kept.information, (10 + 20) ** 2)
