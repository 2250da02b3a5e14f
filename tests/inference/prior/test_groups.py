"""Groups of lines, and the widths that the fit learns on the way against a maximisation written down densely."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import norm

from astrogf.inference.prior import groups as hyper
from astrogf.inference.prior.conditional import System
from astrogf.inference.prior.means import LIST_MEAN_SD, MODEL_MEAN_SD, Means
from astrogf.inference.prior.widths import GROUP_SD, TOP, TOP_SD, Widths, most_probable


def test_groups_by_species_class_and_how_well_lines_are_seen():
    rng = np.random.default_rng(1)
    n = 640
    species, quality = np.where(rng.uniform(size=n) < 0.9, "Fe I", "Ti I"), np.full(n, "abo", dtype=object)
    quality[:20], information = "unlisted", rng.uniform(1, 1e4, n)
    groups = hyper.make_groups(species, quality, held={"unlisted": 0.8}, information=information)
    of = np.array(groups.names)[groups.member]
    assert set(of[:20]) == {"unlisted"}
    assert groups.held[groups.names.index("unlisted")] == 0.8
    best = np.char.endswith(of.astype(str), "band 1 of 4")
    assert best.sum() == pytest.approx(155, abs=1)
    assert information[20:][best[20:]].min() > information[20:][~best[20:]].max()
    for band, seen in enumerate((1.0, 1 / 3, -1 / 3, -1.0)):
        name = f"Fe I abo, band {band + 1} of 4"
        assert groups.seen[groups.names.index(name)] == pytest.approx(seen)
    alike = hyper.make_groups(species, quality, least=10_000, held={"unlisted": 0.8}, information=information)
    assert alike.names == (*(f"other, band {k} of 4" for k in range(1, 5)), "unlisted")
    few = hyper.make_groups(species[20:120], quality[20:120], information=information[20:120], least=2)
    assert set(few.names) == {"Fe I abo", "Ti I abo"}
    np.testing.assert_array_equal(few.seen, 0.0)


def test_a_class_known_well_is_a_group_with_its_own_tau():
    quality = np.array(["agreed"] * 12 + ["abo"] * 12)
    groups = hyper.make_groups(np.full(24, "Fe I"), quality, stated={"agreed": 0.03})
    belief = groups.belief(0.08)
    k = groups.names.index("agreed")
    assert np.exp(belief.centre[0, k]) == pytest.approx(0.03)
    assert not belief.tied[0, k]
    assert belief.tied[1:, k].all()


def test_means_are_of_species_but_for_lines_known_well_and_lines_of_no_list():
    species = np.array(["Fe I"] * 12 + ["Ti I"] * 12)
    quality = np.array(["agreed", "abo", "unlisted"] * 8)
    groups = hyper.make_groups(species, quality, held={"unlisted": 0.8}, stated={"agreed": 0.03})
    means = groups.means(0.08)
    agreed, abo, unlisted = (quality == name for name in ("agreed", "abo", "unlisted"))
    assert len(np.unique(means.of[agreed])) == 2
    assert len(np.unique(means.of[abo])) == 2
    assert len(np.unique(means.of[unlisted])) == 1
    assert np.all(means.list_sd[means.of[agreed]] == 0.0)
    assert np.all(means.list_sd[means.of[abo]] == LIST_MEAN_SD)
    assert np.all(means.model_sd[means.of[~unlisted]] == MODEL_MEAN_SD)
    assert np.all(means.model_sd[means.of[unlisted]] == 0.0)
    assert np.all(means.species[means.of[agreed]] == means.species[means.of[abo]])
    assert np.all(groups.means(0.0).model_sd == 0.0)


def test_widths_of_separate_lines_are_the_most_probable_ones():
    """Lines that do not overlap, with mu all but known: the cavities are the measurements, and the widths the maximum
    of the density written down with scipy's."""
    rng = np.random.default_rng(5)
    n = 60
    noise = rng.uniform(0.03, 0.1, n)
    truth = np.where(rng.uniform(size=n) < 0.2, 0.5, 0.1) * rng.normal(size=n)
    seen = truth + noise * rng.normal(size=n)
    a = np.zeros((n + 1, n + 1))
    a[:n, :n], member = np.diag(noise**-2.0), np.zeros(n, int)
    groups = hyper.Groups(member, ("Fe I",), member, np.array([np.nan]))
    system = System.of(a, np.append(seen / noise**2, 0.0), np.zeros(n + 1), member, groups.means(0.08), 0.1)
    system.precision[-1, -1] += 1e8
    belief = groups.belief(0.08)
    learned, step, covariance = hyper.learn(system, belief, hyper.Learned.start(belief, member), rounds=60)

    def negative(x):
        tau, gross, share, phi = np.exp(x[0]), np.exp(x[1]), expit(x[2]), np.exp(x[3])
        narrow = tau**2 + phi**2 + noise**2
        density = (1 - share) * norm.pdf(seen, 0, np.sqrt(narrow))
        density += share * norm.pdf(seen, 0, np.sqrt(narrow + gross**2))
        # the top value at its best, given the group's
        return -np.sum(np.log(density)) + 0.5 * np.sum((x - TOP) ** 2 / (GROUP_SD**2 + TOP_SD**2))

    best = minimize(negative, TOP, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9, "maxiter": 4000})
    np.testing.assert_allclose(learned.place[:, 0], best.x, atol=0.02)
    widths = Widths.at(learned.place)
    narrow, wide = widths.variance[:, 0]
    chance = (
        w * norm.pdf(seen, 0, np.sqrt(v + noise**2))
        for w, v in ((widths.share[0], wide), (1 - widths.share[0], narrow))
    )
    chance = next(chance) / (1e-300 + sum(chance) + widths.share[0] * norm.pdf(seen, 0, np.sqrt(wide + noise**2)))
    np.testing.assert_allclose(learned.weight, chance / wide + (1 - chance) / narrow, rtol=0.03)
    np.testing.assert_allclose(step[:n], seen / noise**2 / (noise**-2.0 + learned.weight), atol=1e-4)
    np.testing.assert_allclose(np.diag(covariance)[:n], 1 / (noise**-2.0 + learned.weight), rtol=1e-3)


def test_widths_known_from_elsewhere_are_held() -> None:
    """Groups have the mean of their known lines, those without any that of all; phi is learned as ever."""
    member = np.array([0, 0, 1, 2, 2])
    held = np.array([np.nan, np.nan, np.nan])
    groups = hyper.Groups(member, ("a", "b", "c"), member, held)
    place = np.log([[0.1, 0.2, 0.4], [0.3, 0.3, 0.5], [0.1, 0.2, 0.1]])
    told = groups.told_of(np.array([0, 1, 3]), place).told
    assert told is not None
    np.testing.assert_allclose(told[:, 0], place[:, :2].mean(axis=1))
    np.testing.assert_allclose(told[:, 1], place.mean(axis=1))
    np.testing.assert_allclose(told[:, 2], place[:, 2])
    place[:, 2] = np.nan  # of a line in a group of one Normal
    np.testing.assert_allclose(groups.told_of(np.array([0, 1, 3]), place).told[:, 2], place[:, :2].mean(axis=1))

    assert groups.told_of(np.array([0, 1, 3]), np.full((3, 3), np.nan)).told is None

    certain = groups._replace(held=np.array([np.nan, np.nan, 0.3])).told_of(np.array([0, 1, 3]), place)
    assert np.isnan(certain.told[:, 2]).all()
    belief = certain.belief(0.08)
    np.testing.assert_array_equal(belief.learned[:3], False)
    np.testing.assert_array_equal(belief.learned[3], [True, True, False])
    np.testing.assert_allclose(belief.centre[:3, :2], certain.told[:, :2])
    assert belief.centre[0, 2] == pytest.approx(np.log(0.3))
    begin = hyper.Learned.start(belief, member)
    off, more = 0.5 * np.ones(5), 1e-4 * np.ones(5)
    after, _ = most_probable(belief, begin.place, begin.top, off, more, member)
    np.testing.assert_array_equal(after[:3], belief.centre[:3])
    assert np.all(after[3, :2] > begin.place[3, :2])


def test_the_prior_of_the_lines_needs_no_matrix():
    rng = np.random.default_rng(4)
    means = Means.by_species(np.array([0, 0, 1, 2, 1, 0, 2]), np.array([0, 1, 0, 0, 0, 0, 1], bool))
    weight, off, half = rng.uniform(5.0, 200.0, 7), rng.normal(size=7), rng.normal(size=(7, 7))
    prior, matrix = hyper.LinesPrior(weight, means), np.asarray(hyper.prior_precision(weight, means))
    np.testing.assert_allclose(prior.pull(off), matrix @ off, rtol=1e-10)
    assert np.isclose(prior.left_of(half @ half.T), np.trace(matrix @ half @ half.T), rtol=1e-10)
