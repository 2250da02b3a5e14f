"""Lines that the list may lack: where one is missing, a fictitious line takes much of its place from the neighbours."""

import jax.numpy as jnp
import numpy as np
import pytest
from astropy.table import Table

from astrogf.inference.check import find_again
from astrogf.inference.fit import fit, freed, known_lines, select_lines
from astrogf.inference.newton.joint import fit_joint
from astrogf.inference.newton.stars import FitState
from astrogf.inference.prior import groups as hyper
from astrogf.inference.prior.conditional import System
from astrogf.inference.prior.widths import Widths
from astrogf.inference.problem.collect import NoStarsError
from astrogf.inference.problem.parameters import lsf_sigma, vmic_relation
from astrogf.inference.problem.priors import Belief, star_prior
from astrogf.inference.problem.problem import StarData
from astrogf.inference.problem.setup import prepare
from astrogf.inference.problem.spectra import Sample, WindowSpectra, quiet
from astrogf.inference.problem.unlisted import CLASS, SCATTER, START, grown, is_unlisted, with_these, with_unlisted
from astrogf.inference.rehearsal.small import OPTIONS as SMALL
from astrogf.inference.rehearsal.small import spectra
from astrogf.synthesis.lines.linelist import QUALITY
from astrogf.synthesis.lines.shipped import load_atomic_lines
from astrogf.synthesis.observed.grid import Grid

OPTIONS = SMALL.changed(solver={"joint_iterations": 12}, lines={"max_lines": 60})
GRID = Grid(37180, 50)
LABELS = np.array(
    [[5800.0, 4.4, -0.1, 0.05], [5100.0, 3.0, -0.4, 0.15], [6200.0, 4.2, -0.3, 0.1], [4900.0, 4.6, 0.0, 0.05]] * 2
)


def test_they_stand_at_multiples_of_the_spacing_whatever_the_window() -> None:
    lines = load_atomic_lines(5170.0, 5200.0)
    both = with_unlisted(lines, 1.2)
    mine = is_unlisted(both)
    assert np.all(np.diff(both.wavelength) >= 0.0)
    assert len(both) - mine.sum() == len(lines)
    np.testing.assert_array_equal(both.take(~mine).transition, lines.transition)
    np.testing.assert_allclose(np.diff(both.wavelength[mine]), 1.2)
    assert len(np.unique(both.transition[mine])) == mine.sum()
    assert not np.isin(both.transition[mine], lines.transition).any()
    wider = with_unlisted(load_atomic_lines(5160.0, 5210.0), 1.2)
    assert np.isin(both.wavelength[mine], wider.wavelength[is_unlisted(wider)]).all()
    np.testing.assert_array_equal(grown(both)[~mine], lines.loggf)
    assert with_unlisted(lines, 0.0) is lines


@pytest.mark.parametrize("at", [None, np.array([5171.6, 5188.4])])
def test_a_check_finds_them_again_in_the_list_of_its_own_window(at) -> None:
    lines = with_unlisted(load_atomic_lines(5170.0, 5200.0), 0.4, (1.0, 5.5), at)
    mine = lines.take(is_unlisted(lines))
    # as a run folder says it: four digits
    table = Table({"wavelength": np.round(mine.wavelength, 4), "species": mine.species(), "elow": mine.elow})
    wider = with_these(load_atomic_lines(5160.0, 5210.0), np.asarray(table["wavelength"]), np.asarray(table["elow"]))
    free = find_again(wider, table)
    again = wider.take(free >= 0)
    assert np.all(is_unlisted(again))
    order = np.argsort(free[free >= 0])
    np.testing.assert_allclose(again.wavelength[order], mine.wavelength, atol=1e-4)
    np.testing.assert_array_equal(again.elow[order], mine.elow)
    np.testing.assert_allclose(again.loggf[order], mine.loggf, atol=1e-6)
    np.testing.assert_array_equal(np.sort(free[free >= 0]), np.arange(len(mine)))


def test_their_scatter_is_held_and_those_of_other_groups_are_learned() -> None:
    rng = np.random.default_rng(3)
    quality = np.array(["abo"] * 40 + [CLASS] * 40)
    groups = hyper.make_groups(np.full(80, "Fe I"), quality, held={CLASS: SCATTER})
    assert groups.names == ("Fe I abo", CLASS)
    assert np.isnan(groups.held[0])
    assert groups.held[1] == SCATTER
    truth = 0.3 * rng.normal(size=80)
    a, at = np.diag(np.append(np.full(80, 1e6), 1.0)), np.append(truth, 0.0)
    belief = groups.belief(0.08)
    system = System.of(a, np.zeros(81), at, groups.member, groups.means(0.08), 1.0)
    learned, _, _ = hyper.learn(system, belief, hyper.Learned.start(belief, groups.member))
    widths = Widths.at(learned.place)
    found = np.sqrt(widths.sd**2 + widths.phi**2)
    assert found[0] == pytest.approx(np.std(truth[:40]), rel=0.2)
    assert found[1] == SCATTER
    np.testing.assert_allclose(learned.weight[40:], SCATTER**-2.0)


def corrections(lines, data, theta, options) -> Table:
    """Joint fit from the true labels: wavelength, correction, its sd and group of every free line."""
    lines = with_unlisted(lines, options.lines.unlisted)
    setup = prepare(GRID.pixel_wavelength, options, lines=lines, keep_all=True)
    sample = Sample((WindowSpectra(setup.problem(0), data, np.arange(len(theta)), np.zeros(len(theta), int)),),
                    star_prior([Belief()] * len(theta), options))  # fmt: skip
    sigma = jnp.array([float(lsf_sigma(options.stars.resolution))])
    run = FitState(theta, sigma, quiet(sample))
    chosen = select_lines(known_lines([setup], lines, sample, run, options), options)
    leaders = lines.take(chosen.leader)
    groups = hyper.make_groups(leaders.species(), np.array(QUALITY)[leaders.quality], held={CLASS: SCATTER})
    start = jnp.append(jnp.asarray(START * is_unlisted(leaders)), sigma)
    joint = fit_joint(
        freed(sample, [setup], chosen.free, len(chosen.leader)), FitState(theta, start, quiet(sample)), groups, options
    )
    sd = np.sqrt(np.diag(np.asarray(joint.posterior.covariance)))[:-1]
    return Table({"wavelength": leaders.wavelength, "correction": np.asarray(joint.run.shared[:-1]), "sd": sd,
                  "unlisted": is_unlisted(leaders)})  # fmt: skip


@pytest.mark.slow
def test_a_line_that_the_list_lacks_is_found_and_its_neighbours_err_less() -> None:
    rng = np.random.default_rng(5)
    setup = prepare(GRID.pixel_wavelength, OPTIONS)
    middle = np.abs(setup.lines.wavelength - np.mean(GRID.pixel_wavelength)) < 20.0
    by_strength = np.argsort(-setup.extent.strength)
    strong = by_strength[middle[by_strength]][3]
    true = setup.lines.take(np.sort(by_strength[:100]))
    at, number = setup.lines.wavelength[strong], setup.lines.transition[strong]
    problem = prepare(GRID.pixel_wavelength, OPTIONS, lines=true, keep_all=True).problem(0)
    sigma, n = float(lsf_sigma(OPTIONS.stars.resolution)), len(LABELS)
    vmic = np.asarray(vmic_relation(LABELS[:, 0], LABELS[:, 1]))
    theta = jnp.asarray(np.column_stack([LABELS, vmic, np.full(n, sigma), 20.0 * rng.normal(size=n)]))
    clean = np.asarray(spectra(problem, theta, jnp.zeros(0)))
    data = StarData(*(jnp.asarray(x) for x in (clean + rng.normal(size=clean.shape) / 150, 150.0**2 + 0 * clean)))

    lacking = true.take(true.transition != number)
    without, allowed = (corrections(lacking, data, theta, OPTIONS.changed(lines={"unlisted": s})) for s in (0.0, 1.2))
    # every log gf is right: corrections are errors
    near = [t[~t["unlisted"] & (np.abs(t["wavelength"] - at) < 4.0)] for t in (without, allowed)]
    worst = [np.max(np.abs(t["correction"] / t["sd"])) for t in near]
    size = [np.sqrt(np.mean(t["correction"] ** 2)) for t in near]
    assert worst[0] > 4.0
    assert size[1] < 0.75 * size[0]
    found = allowed[allowed["unlisted"]]
    strongest = found[np.argmax(found["correction"] - found["sd"])]
    assert abs(strongest["wavelength"] - at) < 1.2


def test_other_solvers_refuse_them() -> None:
    with pytest.raises(NoStarsError, match="unlisted = 0"):
        fit([], OPTIONS.changed(lines={"unlisted": 1.2}, solver={"method": "nuts"}))


def test_class_is_last() -> None:
    assert QUALITY[-1] == CLASS  # what the shipped list's numbers say does not move
