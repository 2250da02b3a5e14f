"""What missing lines make of listed ones: the gaps' distribution, a line's, and the four states of a line."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from astrogf.inference.newton.gaps import gaps_in, matched
from astrogf.inference.prior.blends import Blends, Gaps, Sums, gaps_of, under
from astrogf.inference.prior.widths import Widths, likelihood, probabilities

GAPS = Gaps(sd=0.006, mean=0.04, share=0.15)


def drawn(rng: np.random.Generator, n: int, gaps: Gaps = GAPS) -> np.ndarray:
    """Missing absorption at n places."""
    there = rng.uniform(size=n) < gaps.share
    return gaps.sd * rng.normal(size=n) + np.where(there, rng.exponential(gaps.mean, n), 0.0)


@pytest.mark.parametrize("gaps", [GAPS, Gaps(0.02, 0.06, 0.4), Gaps(0.003, 0.02, 0.05)])
def test_gaps_are_found_as_they_were_drawn(gaps) -> None:
    found = gaps_of(drawn(np.random.default_rng(1), 20_000, gaps), 1.0)
    np.testing.assert_allclose(found, gaps, rtol=0.12)


def test_few_gaps_say_nothing() -> None:
    absorbed = drawn(np.random.default_rng(1), 200)
    assert gaps_of(absorbed, 1.0) is not None
    assert gaps_of(absorbed, 4.0) is None


def test_a_missing_line_under_a_listed_one_against_draws() -> None:
    """A weak line of depth d with absorption m under it is as deep as one whose log gf is log10(1 + m / d) higher."""
    rng = np.random.default_rng(2)
    depth = np.array([0.01, 0.05, 0.3])
    found = under(depth * np.log(10.0), GAPS)
    added = np.log10(1.0 + rng.exponential(GAPS.mean, 200_000)[:, None] / depth)
    np.testing.assert_allclose(found.shift, added.mean(axis=0), rtol=0.01)
    np.testing.assert_allclose(found.spread, added.var(axis=0), rtol=0.03)
    np.testing.assert_allclose(np.sqrt(found.clear), GAPS.sd / (depth * np.log(10.0)))
    np.testing.assert_allclose(found.share, GAPS.share)


def test_the_depth_of_a_line_is_found_through_bad_pixels() -> None:
    at = np.arange(200.0)
    line = 0.3 * np.exp(-0.5 * ((at - 90.0) / 2.5) ** 2)
    good, sd = np.ones(200, bool), 0.02
    assert matched(line, np.full(200, sd**2), good, 2.5).depth[90] == pytest.approx(0.3)
    good[88:91] = False
    found = matched(np.where(good, line, 7.0), np.full(200, sd**2), good, 2.5)
    assert found.depth[90] == pytest.approx(0.3)
    noise = sd * np.random.default_rng(1).normal(size=(4000, 200))
    drawn = [matched(x, np.full(200, sd**2), good, 2.5).depth[[60, 90]] for x in noise]
    np.testing.assert_allclose(np.var(drawn, axis=0), found.variance[[60, 90]], rtol=0.1)


def test_the_noise_of_the_pixels_is_not_what_gaps_scatter_by() -> None:
    """Noise alone leaves nothing; what the continuum is wrong by in addition is left."""
    rng, n, sd = np.random.default_rng(5), 20_000, 0.01
    noise = sd * rng.normal(size=n)
    alone = gaps_in(noise, np.full(n, sd**2), np.ones(n), 2.0)
    wavy = gaps_in(noise + 0.004 * np.sin(np.arange(n) / 40.0), np.full(n, sd**2), np.ones(n), 2.0)
    assert alone.sd < 0.001
    # a wave of which a narrow line takes up its value times the ratio of the profile's sum to that of its squares
    assert wavy.sd == pytest.approx(0.004 / np.sqrt(2.0) * np.sqrt(2.0), rel=0.15)
    assert gaps_in(np.full(n, np.nan), np.ones(n), np.ones(n), 2.0) is None


def test_spectra_count_by_what_they_know() -> None:
    one, two = (Blends(*np.full((4, 2), x)) for x in (0.04, 0.16))
    sums = Sums.none(2)
    sums.add(one, np.array([3.0, 0.0]))
    sums.add(two, np.array([1.0, 0.0]))
    both = sums.together()
    # sds and not variances, for spectra show the same missing lines
    np.testing.assert_allclose(np.sqrt(both.clear), [0.75 * 0.2 + 0.25 * 0.4, 0.0])
    np.testing.assert_allclose(both.shift, [0.75 * 0.04 + 0.25 * 0.16, 0.0])


def test_states_of_a_line_by_quadrature() -> None:
    """u = delta + eta, both of two classes: density of u, and mean and variance of delta given u."""
    widths = Widths(np.array([0.08]), np.array([0.4]), np.array([0.2]), np.array([0.07]))
    blends = Blends(*(np.array([x]) for x in (0.05**2, 0.3, 0.25, 0.15**2)))
    u = 0.35

    def of_eta(eta):
        clear, blended = np.sqrt(0.07**2 + blends.own[:, 0])
        return 0.7 * norm.pdf(eta, 0.0, clear) + 0.3 * norm.pdf(eta, 0.25, blended)

    def density(delta):
        prior = 0.8 * norm.pdf(delta, 0.0, 0.08) + 0.2 * norm.pdf(delta, 0.0, np.hypot(0.08, 0.4))
        return prior * of_eta(u - delta)

    whole, first, second = (quad(lambda d, p=p: d**p * density(d), -2, 2, points=[0.0, u])[0] for p in range(3))
    states = widths.states(np.array([0]), blends)
    logs = states.log_density(np.array([u]))
    assert np.exp(logs).sum() == pytest.approx(whole, rel=1e-7)
    probability = probabilities(logs)[:, 0]
    k, left = (x[:, 0] for x in states.shrunk())
    mean = k * (u - states.centre[:, 0])
    assert probability @ mean == pytest.approx(first / whole, rel=1e-6)
    assert probability @ (mean**2 + left) == pytest.approx(second / whole, rel=1e-6)


def test_derivatives_by_the_widths_against_differences() -> None:
    rng, n = np.random.default_rng(4), 30
    member = np.arange(n) % 2
    blends = Blends(0.05**2 * rng.uniform(size=n), rng.uniform(0.05, 0.4, n), rng.uniform(0, 0.5, n), np.full(n, 0.02))
    off, more = 0.3 * rng.normal(size=n), 0.02 * rng.uniform(size=n)
    place = rng.normal([[-2.5], [-1.0], [-1.5], [-2.7]], 0.2, (4, 2))
    _, slope = likelihood(Widths.at(place), off, more, member, blends)
    for at in np.ndindex(place.shape):
        ends = []
        for h in (-1e-5, 1e-5):
            moved = place.copy()
            moved[at] += h
            ends.append(likelihood(Widths.at(moved), off, more, member, blends)[0])
        assert slope[at] == pytest.approx((ends[1] - ends[0]) / 2e-5, rel=1e-5, abs=1e-6)
