"""A fit with another fit's word as its prior: the fit of both sets of stars, and lines known beforehand are free."""

import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.inference.fit import fit_lines
from astrogf.inference.newton.joint import Joint, fit_joint
from astrogf.inference.newton.stars import FitState
from astrogf.inference.newton.sweep import sweep
from astrogf.inference.newton.told import Told
from astrogf.inference.prior.widths import Widths
from astrogf.inference.problem.parameters import lsf_sigma
from astrogf.inference.problem.prior_lines import LinePrior
from astrogf.inference.problem.setup import prepare
from astrogf.inference.problem.spectra import Sample, quiet
from astrogf.inference.rehearsal.small import OPTIONS, build, draw
from astrogf.inference.result import shared_statistics
from astrogf.inference.statistics import LineNames, Statistics, of_lines
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.lines.shipped import load_atomic_lines
from tests.builders import lacking as builder

# the resolution is known, so that it makes no difference whether two sets share it
SMALL = OPTIONS.changed(stars={"resolution_sd": 1.0}, solver={"joint_iterations": 20, "tolerance": 3e-3})


@pytest.fixture(scope="module")
def sets() -> dict[str, Joint]:
    """All stars, and the second half with and without what the first has told: at the end of its fit ('with prior'),
    and linearised where the fit of all stars ends ('linear'), which leaves no difference but rounding."""
    small = build(6, 16, n_pixel=40, kept=120, options=SMALL)
    n = len(small.groups.names)
    widths = Widths(*(np.full(n, x) for x in (0.06, 0.1, 0.05, 0.03)))
    truth = draw(small, np.random.default_rng(3), snr=400.0, widths=widths, outliers=False)
    everyone = small.sample(truth.data)
    begin = jnp.append(jnp.zeros(small.n_line), float(lsf_sigma(SMALL.stars.resolution)))

    def fitted(which: np.ndarray, told: Told | None = None) -> Joint:
        sample: Sample = everyone.select(which)
        run = FitState(jnp.asarray(truth.theta[which]), begin, quiet(sample))
        return fit_joint(sample, run, small.groups, small.options, told=told)

    first = np.arange(6) < 3
    one = fitted(first)
    leaders = small.lines.take(np.array([np.flatnonzero(small.free == k)[0] for k in range(small.n_line)]))

    def told_by(joint: Joint) -> Told:
        alone = of_lines(shared_statistics(leaders, joint, 3), begin[-1:], np.array([SMALL.stars.ln_resolution_sd]))
        return LinePrior(alone).told(np.arange(small.n_line), small.n_line)

    whole = fitted(first | True)
    half = everyone.select(first)
    there = FitState(whole.run.theta[first], whole.run.shared, quiet(half))
    passed = sweep(half, there.theta, there.shared, there.noise, chunk=SMALL.solver.chunk)
    return {
        "all": whole,
        "linear": fitted(~first, told_by(one._replace(run=there, passed=passed))),
        "with prior": fitted(~first, told_by(one)),
        "second": fitted(~first),
    }


def test_the_second_half_with_the_first_as_prior_is_the_fit_of_both(sets: dict[str, Joint]) -> None:
    """Corrections, their errors and the widths of their prior."""
    assert all(joint.status == "converged" for joint in sets.values())
    whole, alone = sets["all"].posterior, sets["second"].posterior
    sd = np.sqrt(np.diag(whole.covariance))
    for name, bar, share in (("linear", 0.02, 0.01), ("with prior", 0.3, 0.06)):
        mine = sets[name].posterior
        assert np.abs((mine.mean - whole.mean) / sd)[:-1].max() < bar, name
        np.testing.assert_allclose(np.sqrt(np.diag(mine.covariance)), sd, rtol=share, err_msg=name)
        for a, b in zip(mine.widths, whole.widths, strict=True):
            np.testing.assert_allclose(a, b, rtol=share, err_msg=name)
    # without it the answer is another one
    assert np.abs((alone.mean - whole.mean) / sd)[:-1].max() > 0.5
    assert np.median(np.sqrt(np.diag(alone.covariance)) / sd) > 1.1


def test_the_stars_of_the_second_half_are_those_of_the_fit_of_both(sets: dict[str, Joint]) -> None:
    whole, mine = sets["all"], sets["linear"]
    sd = np.sqrt(np.diagonal(np.asarray(whole.passed.star.covariance), 0, 1, 2))[3:, :4]
    apart = np.asarray(mine.run.theta - whole.run.theta[3:])[:, :4] / np.array([100.0, 0.1, 0.1, 0.1])
    assert np.abs(apart / sd).max() < 0.02


def test_lines_known_beforehand_are_free_and_start_where_they_were_left() -> None:
    """One that the spectra see well, one of which they say nothing, one outside the window: two more are free."""
    p = builder.lacking(2)
    beyond = load_atomic_lines(5300.0, 5301.0)
    beyond = beyond.take(np.array([0])).replace(transition=np.array([p.lines.transition.max() + 10]))
    lines: LineList = p.lines.merged(beyond)
    options = builder.OPTIONS.changed(
        lines={"max_lines": 2, "max_ratio": 0.5}, solver={"joint_iterations": 1}, noise={"inflation": 0.0}
    )
    setup = prepare(p.wavelength, options, lines=lines)
    assert len(lines) - 1 not in setup.row
    strength = np.zeros(len(lines))
    strength[setup.row] = setup.extent.strength
    order = np.argsort(-strength[:-1])
    rows = np.sort([order[0], order[-1], len(lines) - 1])
    names = LineNames(lines.wavelength[rows], lines.species()[rows], lines.elow[rows], lines.loggf[rows])
    sure = np.array([400.0, 100.0, 2500.0])
    said = np.array([0.1, -0.2, 0.3])
    widths = np.array([[np.log(0.2)], [np.log(0.5)], [np.log(0.2 / 0.8)]]) + np.zeros(3)
    prior = LinePrior(Statistics(np.diag(sure), np.zeros(3), said, names, (), 3), widths=widths)
    sample = p.sample.with_problems([setup.problem(0)])
    run = FitState(p.theta, jnp.array([p.sigma]), quiet(sample))
    stage = fit_lines([setup], lines, sample, run, options, lambda *_: None, False, prior=prior)
    assert len(stage.chosen.leader) in (4, 5)
    mine = stage.chosen.free[rows]
    assert (mine >= 0).all()
    np.testing.assert_array_equal(stage.chosen.leader[mine], rows)
    np.testing.assert_allclose(stage.joint.run.shared[mine], said)  # a single pass, about the point of the prior
    assert (stage.chosen.information[mine] >= sure).all()
    # how wrong the list is the prior knows; how wrong the model, the fit
    assert stage.joint.posterior.widths.tau == pytest.approx(0.2)
    assert stage.joint.posterior.widths.gross == pytest.approx(0.5)
    assert stage.joint.posterior.widths.share == pytest.approx(0.2)
    assert stage.joint.posterior.widths.phi != pytest.approx(0.08)
    # of the line outside nothing new is said: what is known of it stays, but for the prior of all lines
    last = mine[-1]
    precision = np.asarray(stage.joint.passed.reduced.precision)
    np.testing.assert_array_equal(precision[last], 0.0)
    sd = float(np.sqrt(stage.joint.posterior.covariance[last, last]))
    assert 0.8 / np.sqrt(sure[2]) < sd <= 1.0 / np.sqrt(sure[2])
