"""Moves of the widths given how the lines lie: against the prior's own integrals, differences, and weighted draws."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from astrogf.inference.prior.classes import given_lines
from astrogf.inference.prior.leaps import Leaps, Lines
from astrogf.inference.prior.widths import GROUP_SD, SLOPE_SD, TOP, TOP_SD, Belief, Widths, total

MEMBER = np.repeat([0, 1, 2], [14, 9, 7])
HELD, STATED = np.array([np.nan, np.nan, np.nan, 0.8]), np.array([np.nan, np.nan, 0.03, np.nan])
BELIEF = Belief.of(HELD, STATED, seen=np.array([1.0, -0.5, 0.2, 0.0]))


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray, Lines]:
    """Widths and top values of the prior, and lines that lie as these say, measured with errors."""
    rng = np.random.default_rng(4)
    place, top = _of_prior(rng)
    states = Widths.at(place).states(MEMBER)
    wide = (rng.uniform(size=len(MEMBER)) < np.exp(states.log_share[1])).astype(int)
    more = rng.uniform(0.02, 0.2, len(MEMBER)) ** 2
    off = np.sqrt(states.of(wide).variance + more) * rng.normal(size=len(MEMBER))
    return place, top, Lines(off, more, MEMBER)


def _of_prior(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    top = np.stack([TOP, np.zeros(4)]) + np.stack([TOP_SD, SLOPE_SD]) * rng.normal(size=(2, 4))
    place = BELIEF.middle(top) + np.where(BELIEF.learned, GROUP_SD[:, None] * rng.normal(size=(4, 4)), 0.0)
    return place, top


def test_a_row_without_its_top_value_is_a_gaussian_of_all_groups(drawn) -> None:
    place, _, _ = drawn
    for row in range(4):
        mine = BELIEF.learned[row]
        line = BELIEF.tied[row, mine] * np.stack([np.full(mine.sum(), TOP_SD[row]), SLOPE_SD[row] * BELIEF.seen[mine]])
        whole = multivariate_normal(BELIEF.centre[row, mine], line.T @ line + GROUP_SD[row] ** 2 * np.eye(mine.sum()))
        moved = place.copy()
        moved[row, mine] += [0.3, -0.2, 0.5]
        found = (BELIEF.by_row(moved) - BELIEF.by_row(place))[row]
        assert found == pytest.approx(whole.logpdf(moved[row, mine]) - whole.logpdf(place[row, mine]), abs=1e-9)


def test_leaps_follow_the_gradient(drawn) -> None:
    """Against differences of the density, along all coordinates of about unit width."""
    place, top, lines = drawn
    leaps, rng = Leaps.of(BELIEF, place, MEMBER), np.random.default_rng(1)
    way, small = rng.normal(size=len(leaps.turn)), 1e-6

    def at(length: float) -> float:
        return leaps._density(*leaps._moved(place, top, leaps.turn @ way * length), lines)[0]

    assert leaps._density(place, top, lines)[1] @ way == pytest.approx((at(small) - at(-small)) / 2 / small, rel=1e-6)


def test_leaps_are_as_long_as_the_posterior_is_wide() -> None:
    """Without lines the coordinates that move have the prior's covariance."""
    leaps, rng = Leaps.of(BELIEF, BELIEF.centre, np.zeros(0, int)), np.random.default_rng(3)
    draws = [_of_prior(rng) for _ in range(20000)]
    each = np.array([np.concatenate([place[BELIEF.learned], top.ravel()]) for place, top in draws])
    covariance = np.cov(each.T)
    scale = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose((leaps.turn @ leaps.turn.T - covariance) / np.outer(scale, scale), 0.0, atol=0.04)


def test_widths_given_lines_are_as_by_weighted_draws(drawn) -> None:
    """All moves together: mean and sd of every width against draws of the prior weighted by the lines' density."""
    place, top, lines = drawn
    rng = np.random.default_rng(8)
    draws = np.array([_of_prior(rng)[0] for _ in range(40000)])
    log = np.array([total(Widths.at(x).states(MEMBER).log_density(lines.off, lines.more)).sum() for x in draws])
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    assert 1.0 / np.sum(weight**2) > 1000
    learned = BELIEF.learned
    mean = np.tensordot(weight, draws, 1)[learned]
    sd = np.sqrt(np.tensordot(weight, draws**2, 1)[learned] - mean**2)
    leaps, found = Leaps.of(BELIEF, place, MEMBER), []
    for _ in range(2500):
        place, top = given_lines(rng, leaps, place, top, lines)
        found.append(place[learned])
    np.testing.assert_allclose((np.mean(found, axis=0) - mean) / sd, 0.0, atol=0.15)
    np.testing.assert_allclose(np.std(found, axis=0), sd, rtol=0.12)
