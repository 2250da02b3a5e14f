"""The joint fit of a small simulated problem: the solver against the NumPyro model that defines it, and the truth."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer.util import log_density

from astrogf.inference.fit import known_lines, select_lines
from astrogf.inference.newton.choice import choose, group_transitions
from astrogf.inference.newton.joint import fit_joint
from astrogf.inference.newton.stars import FitState, fit_stars
from astrogf.inference.prior import groups as hyper
from astrogf.inference.prior.widths import Widths
from astrogf.inference.problem.instrument import names
from astrogf.inference.problem.noise import NoiseModel, learn_noise, variance
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.parameters import lsf_sigma, steps, vmic_relation
from astrogf.inference.problem.priors import Belief, star_prior
from astrogf.inference.problem.problem import StarData, predict
from astrogf.inference.problem.setup import prepare, with_free
from astrogf.inference.problem.spectra import Sample, WindowSpectra, quiet
from astrogf.inference.solvers.model import joint_model
from astrogf.synthesis.lines.linelist import QUALITY
from astrogf.synthesis.observed.grid import Grid

OPTIONS = FitOptions().changed(
    model={"oversampling": 24, "depths": 24, "line_cut": 1e-2, "molecules": False},
    lines={"max_lines": 12},
    continuum={"degree": 2},
    noise={"inflation": 0.0},
    solver={"chunk": 4, "star_iterations": 8, "joint_iterations": 15, "tolerance": 1e-3},
    stars={"abundances": ("Mg", "Ti")},
)
GRID = Grid(37180, 50)
LABELS = np.array(
    [[5800.0, 4.4, -0.1, 0.05], [5100.0, 3.0, -0.4, 0.15], [6200.0, 4.2, -0.3, 0.1], [4900.0, 4.6, 0.0, 0.05]]
)


GRIDS = (GRID, Grid(37320, 50))
"""Two windows; the second star has a spectrum in both, the last one only in the second."""


@pytest.fixture(scope="module")
def simulated():
    rng = np.random.default_rng(4)
    everything = prepare(Grid(37180, 190).pixel_wavelength, OPTIONS)
    lines = everything.lines
    setups = [prepare(g.pixel_wavelength, OPTIONS, lines=lines) for g in GRIDS]
    n = len(LABELS)
    sigma = float(lsf_sigma(1800.0)) + 0.03 * rng.normal(size=n)
    vmic = np.asarray(vmic_relation(LABELS[:, 0], LABELS[:, 1]))
    abundances = 0.1 * rng.normal(size=(n, 2))
    theta = jnp.asarray(np.column_stack([LABELS, vmic, sigma, 30.0 * rng.normal(size=n), abundances]))
    start = jnp.array([float(lsf_sigma(1800.0))])
    # the first star is an anchor
    sun = Belief({"teff": (5800.0, 5.0), "logg": (4.4, 0.01), "vmic": (float(vmic[0]), 0.05)}, abundance_sd=0.12)
    prior = star_prior([sun, *[Belief()] * (n - 1)], OPTIONS)
    whose = (np.array([0, 1, 2]), np.array([1, 3]))

    def sample_of(problems, data):
        parts = (WindowSpectra(*x, np.zeros(len(x[2]), int)) for x in zip(problems, data, whose, strict=True))
        return Sample(tuple(parts), prior)

    alone = [setup.problem(OPTIONS.lines.max_lines) for setup in setups]
    flat = [StarData(jnp.ones((len(w), 50)), jnp.full((len(w), 50), 1e4)) for w in whose]
    sample = sample_of(alone, flat)
    known = known_lines(setups, lines, sample, FitState(theta, start, quiet(sample)), OPTIONS)
    chosen = select_lines(known, OPTIONS)
    truth = 0.2 * rng.normal(size=len(chosen.leader))
    delta = jnp.zeros(OPTIONS.lines.max_lines).at[: len(truth)].set(truth)
    problems, data = [with_free(p, chosen.free[s.row]) for p, s in zip(alone, setups, strict=True)], []
    for problem, mine in zip(problems, whose, strict=True):
        clean = np.array([eqx.filter_jit(predict)(problem, theta[s], delta) for s in mine])
        sd = clean / 150.0
        data.append(StarData(jnp.asarray(clean + sd * rng.normal(size=sd.shape)), jnp.asarray(sd**-2.0)))
    sample = sample_of(alone, data)
    run, _ = fit_stars(sample, FitState(theta, start, quiet(sample)), OPTIONS)
    leaders = lines.take(chosen.leader)
    groups = hyper.make_groups(leaders.species(), np.array(QUALITY)[leaders.quality])
    begin = FitState(run.theta, jnp.concatenate([jnp.zeros(len(truth)), run.shared]), run.noise)
    free = sample_of(problems, data)
    return free, fit_joint(free, begin, groups, OPTIONS), groups, truth, theta


def test_converged(simulated):
    assert simulated[1].status == "converged"
    assert all(step["accepted"] for step in simulated[1].run.trace)


def test_maximum_of_the_numpyro_model(simulated):
    """The gradient of NumPyro's own log density vanishes where the arrow solver stopped, in units of 1/sd."""
    sample, joint, groups, _, _ = simulated
    weight, n_line = joint.posterior.weight, len(groups.member)
    u, theta = joint.run.shared[:-1], joint.run.theta
    # given the corrections, the species' means that the solver has marginalised sit at their conditional mode
    means = groups.means(OPTIONS.lines.model_error)
    mean = np.linalg.solve(
        means.precision + np.diag(np.bincount(means.of, weight)), np.bincount(means.of, weight * np.asarray(u))
    )
    # within the fit the prior is one Normal a line, as wide as the solver left it: each line a group
    widths = Widths(weight**-0.5, np.zeros(n_line), np.zeros(n_line), np.zeros(n_line))
    values = {"m": jnp.asarray(mean), "u": u, "ln_sigma0": joint.run.shared[-1]}
    values |= {"continuum": joint.passed.rows[0].coefficients, "continuum_1": joint.passed.rows[1].coefficients}
    labels = names(OPTIONS.stars, 1)
    values |= {name: theta[:, i] for i, name in enumerate(labels)}

    def density(values):
        arguments = (sample, jnp.arange(n_line), n_line, means, OPTIONS, joint.run.noise, widths)
        return log_density(joint_model, arguments, {}, values)[0]

    slope = eqx.filter_jit(jax.grad(density))(values)
    sd = jnp.sqrt(jnp.diag(joint.posterior.covariance))
    assert float(jnp.abs(slope["u"] * sd[:-1]).max()) < 0.02
    assert float(jnp.abs(slope["ln_sigma0"] * sd[-1])) < 0.02
    star_sd = jnp.sqrt(jnp.diagonal(joint.passed.star.covariance, 0, 1, 2)) * steps(len(labels))
    for i, name in enumerate(labels):
        assert float(jnp.abs(slope[name] * star_sd[:, i]).max()) < 0.05, name
    # a coefficient is known to about 1 / sqrt(50 pixels at S/N 150)
    assert float(jnp.abs(slope["continuum"]).max()) * 1e-3 < 0.05


def test_truth_within_errors(simulated):
    _, joint, _, truth, theta = simulated
    n = len(truth)
    z = (np.asarray(joint.posterior.mean)[:n] - truth) / np.sqrt(np.diag(np.asarray(joint.posterior.covariance)))[:n]
    assert np.sqrt(np.mean(z**2)) < 1.7
    assert np.abs(joint.run.theta[:, 0] - theta[:, 0]).max() < 400.0
    assert abs(float(joint.run.theta[0, 0]) - 5800.0) < 15.0  # the anchor stays where it is known to be


def test_noise_scale_and_inflation_are_found():
    """Residuals drawn with known scale and floor, against what learn_noise says of them."""
    rng = np.random.default_rng(0)
    flux, ivar = jnp.ones((60, 400)), jnp.asarray(rng.uniform(30, 200, (60, 1)) ** 2 * np.ones((1, 400)))
    sd = jnp.sqrt(0.5625 / ivar + 0.01**2)
    noisy = flux + sd * rng.normal(size=sd.shape)
    found = learn_noise(noisy, ivar, flux, np.zeros(60, int), np.zeros(60))
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
    limits = {"prior_sd": 0.2, "max_ratio": 0.8, "max_lines": 5}
    known, never = np.array([100.0, 400.0, 1e-3, 9e9]), np.zeros(len(candidates.leader), bool)
    kept = choose(candidates, known, **limits, always=never)
    assert kept.free.tolist() == [0, 0, -1, -1]
    np.testing.assert_allclose(kept.information, (10 + 20) ** 2)
    assert choose(candidates, known, **limits, always=~never).free.tolist() == [1, 1, 0, -1]
