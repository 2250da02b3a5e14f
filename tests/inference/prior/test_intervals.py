"""Credible intervals of mixtures, against scipy and against draws."""

import numpy as np
import pytest
from scipy.stats import norm

from astrogf.inference.prior.intervals import LEVELS, MeanOf, Parts, by_state, quantiles
from astrogf.inference.prior.widths import Widths

WIDTHS = Widths(np.array([0.08, 0.12]), np.array([0.4, 0.5]), np.array([0.1, 0.3]), np.array([0.07, 0.05]))
MEMBER = np.array([0, 0, 0, 1, 1])
OFF = np.array([0.0, 0.3, -0.9, 0.5, 0.05])
VARIANCE = np.array([0.02, 0.1, 0.05, 0.15, 3.0]) ** 2


def test_one_gaussian_has_the_quantiles_of_a_gaussian() -> None:
    mean, sd = np.array([0.3, -2.0]), np.array([0.01, 0.5])
    found = quantiles(Parts(np.ones((1, 2)), mean[None], sd[None]))
    np.testing.assert_allclose(found, norm.ppf(np.array(LEVELS)[:, None], mean, sd), atol=1e-9)


def test_a_part_without_width_is_a_step() -> None:
    parts = Parts(np.full((2, 1), 0.5), np.array([[0.0], [1.0]]), np.zeros((2, 1)))
    assert quantiles(parts, (0.2, 0.9))[:, 0] == pytest.approx([0.0, 1.0], abs=1e-6)


def of_mean(value: np.ndarray, sd: float) -> MeanOf:
    """mu is m, and u known rather than u - m."""
    variance = np.full(len(value), sd**2)
    return MeanOf(value, variance, -variance)


def test_delta_of_a_line_alone_against_draws() -> None:
    """Prior draws of mu, delta and u, weighted by what was measured of u."""
    rng = np.random.default_rng(3)
    n, mean_sd = 400_000, 0.02
    mean = np.array([0.02, 0.0, -0.03, 0.01, 0.0])
    # the cavity's variance is that of u and of mu together
    seen = VARIANCE + mean_sd**2
    found = quantiles(by_state(WIDTHS.states(MEMBER), OFF, seen, of_mean(mean, mean_sd)))
    for line, g in enumerate(MEMBER):
        wide = rng.uniform(size=n) < WIDTHS.share[g]
        delta = rng.normal(size=n) * np.sqrt(WIDTHS.listed[np.where(wide, 1, 0), g])
        off = delta + WIDTHS.phi[g] * rng.normal(size=n)
        shift = mean_sd * rng.normal(size=n)
        # mu is known as it is, to `mean_sd`, whatever this one line says
        weight = np.exp(-0.5 * (off + shift - OFF[line]) ** 2 / VARIANCE[line])
        delta = mean[line] + delta + shift
        order = np.argsort(delta)
        expected = np.interp(LEVELS, np.cumsum(weight[order]) / weight.sum(), delta[order])
        np.testing.assert_allclose(found[:, line], expected, atol=0.03 * np.ptp(expected))


def test_badly_wrong_values_make_long_tails() -> None:
    nothing = np.array([3.0**2])
    low_95, low_68, high_68, high_95 = quantiles(
        by_state(WIDTHS.states(np.array([0])), np.zeros(1), nothing, of_mean(np.zeros(1), 0.0))
    )[:, 0]
    assert high_95 - low_95 > 3.0 * (high_68 - low_68)
    assert high_95 == pytest.approx(-low_95)
