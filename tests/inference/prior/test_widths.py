"""The prior's widths: densities against scipy, derivatives against differences, conditional draws against sums."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from astrogf.inference.prior.widths import (
    GROUP_SD,
    PHI,
    SHARE,
    SLOPE_SD,
    TAU,
    TOP,
    TOP_SD,
    Belief,
    Widths,
    likelihood,
    most_probable,
    probabilities,
)

WIDTHS = Widths(np.array([0.06, 0.2]), np.array([0.4, 0.5]), np.array([0.1, 0.3]), np.array([0.08, 0.05]))
MEMBER = np.repeat([0, 1], [40, 25])


@pytest.fixture(scope="module")
def lines():
    rng = np.random.default_rng(4)
    return 0.3 * rng.normal(size=65), rng.uniform(0.001, 0.1, 65)


def test_density_of_what_spectra_see_is_the_integral_over_the_models_own_error() -> None:
    """u = delta + eta: the convolution, by quadrature, and the mean and variance of delta given u."""
    u, g = 0.17, 1
    wide = np.hypot(WIDTHS.tau[g], WIDTHS.gross[g])

    def density(delta):
        prior = (1 - WIDTHS.share[g]) * norm.pdf(delta, 0, WIDTHS.tau[g]) + WIDTHS.share[g] * norm.pdf(delta, 0, wide)
        return prior * norm.pdf(u - delta, 0, WIDTHS.phi[g])

    whole, first, second = (quad(lambda d, p=p: d**p * density(d), -1, 1, points=[u])[0] for p in range(3))
    states = WIDTHS.states(np.array([g]))
    logs = states.log_density(np.array([u]))
    assert np.exp(logs).sum() == pytest.approx(whole, rel=1e-8)
    p = probabilities(logs)[1, 0]
    k, left = (x[:, 0] for x in states.shrunk())
    weight = np.array([1 - p, p])
    assert weight @ (k * u) == pytest.approx(first / whole, rel=1e-7)
    assert weight @ (k**2 * u**2 + left) == pytest.approx(second / whole, rel=1e-7)


def test_derivatives_against_differences(lines) -> None:
    off, more = lines
    place = np.stack([np.log(WIDTHS.tau), np.log(WIDTHS.gross), np.log(WIDTHS.share / (1 - WIDTHS.share)),
                      np.log(WIDTHS.phi)])  # fmt: skip
    value, slope = likelihood(WIDTHS, off, more, MEMBER)
    direct = sum(
        np.log((1 - w) * norm.pdf(x, 0, np.sqrt(t**2 + p**2 + m)) + w * norm.pdf(x, 0, np.sqrt(t**2 + g**2 + p**2 + m)))
        for x, m, t, g, w, p in zip(off, more, *(row[MEMBER] for row in WIDTHS), strict=True)
    )
    assert value == pytest.approx(direct, rel=1e-10)
    for row in range(4):
        for group in range(2):
            ends = []
            for h in (1e-5, -1e-5):
                moved = place.copy()
                moved[row, group] += h
                ends.append(likelihood(Widths.at(moved), off, more, MEMBER)[0])
            assert slope[row, group] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-6)


def test_most_probable_is_a_maximum(lines) -> None:
    """No small step in any coordinate or top value goes higher; coordinates that are not learned stay."""
    off, more = lines
    belief = Belief.of(
        np.array([np.nan, np.nan, 0.8]), np.array([0.03, np.nan, np.nan]), 0.08, np.array([1.0, -1.0, 0])
    )
    place, top = most_probable(belief, *belief.start(), off, more, MEMBER)

    def density(place, top):
        above = (top - belief.top) / np.stack([TOP_SD, SLOPE_SD])
        return (
            likelihood(Widths.at(place), off, more, MEMBER)[0]
            + belief.by_group(place, top).sum()
            - 0.5 * np.sum(above**2)
        )

    here = density(place, top)
    assert here > density(*belief.start())
    for row, group in zip(*np.nonzero(belief.learned), strict=True):
        for h in (0.01, -0.01):
            moved = place.copy()
            moved[row, group] += h
            assert density(moved, top) < here
    for index in np.ndindex(2, 4):
        for h in (0.01, -0.01):
            moved = top.copy()
            moved[index] += h
            assert density(place, moved) < here
    np.testing.assert_array_equal(place[:, 2], belief.centre[:, 2])
    held = Widths.at(place)
    assert (held.tau[2], held.gross[2], held.share[2], held.phi[2]) == pytest.approx((0.8, 0.0, 0.0, 0.0))


def test_top_values_and_slopes_are_drawn_from_their_conditional() -> None:
    """Against the normal equations of a straight line with priors; stated tau is tied to no top."""
    seen = np.linspace(-1, 1, 6)
    belief = Belief.of(np.full(6, np.nan), np.append(np.full(5, np.nan), 0.03), 0.08, seen)
    rng = np.random.default_rng(3)
    place = belief.centre + 0.3 * rng.normal(size=(4, 6))
    drawn = np.array([belief.draw_top(rng, place) for _ in range(4000)])
    for row in (TAU, SHARE, PHI):
        mine = belief.tied[row]
        assert mine.sum() == (5 if row == TAU else 6)
        design = np.stack([np.ones(6), seen])[:, mine]
        precision = design @ design.T / GROUP_SD[row] ** 2 + np.diag([TOP_SD[row] ** -2, SLOPE_SD[row] ** -2])
        covariance = np.linalg.inv(precision)
        mean = np.array([TOP[row], 0]) + covariance @ design @ (place[row, mine] - TOP[row]) / GROUP_SD[row] ** 2
        np.testing.assert_allclose(drawn[:, :, row].mean(0), mean, atol=5 * np.sqrt(np.diag(covariance) / 4000).max())
        np.testing.assert_allclose(np.cov(drawn[:, :, row].T), covariance, atol=0.08 * covariance.max())


def test_no_model_error_leaves_the_list_alone() -> None:
    belief = Belief.of(np.full(2, np.nan), model_error=0.0)
    place, _ = most_probable(belief, *belief.start(), np.array([0.1, -0.2]), np.full(2, 0.01), np.array([0, 1]))
    widths = Widths.at(place)
    np.testing.assert_array_equal(widths.phi, 0.0)
    k, left = (x[0] for x in widths.states(np.array([0, 1])).shrunk())
    np.testing.assert_array_equal(k, 1.0)
    np.testing.assert_array_equal(left, 0.0)
