"""The posterior with widths and classes integrated over: against dense sums; the sampler against its prior."""

from itertools import product
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from astrogf.inference.newton.joint import Joint, SharedPrior
from astrogf.inference.newton.over_scatters import over_scatters
from astrogf.inference.newton.stars import FitState
from astrogf.inference.prior import groups as hyper
from astrogf.inference.prior.blends import Blends
from astrogf.inference.prior.classes import Chain, Moves, sweep
from astrogf.inference.prior.conditional import System
from astrogf.inference.prior.intervals import LEVELS, Parts
from astrogf.inference.prior.means import LIST_MEAN_SD, MODEL_MEAN_SD, Means
from astrogf.inference.prior.scatters import integrate
from astrogf.inference.prior.widths import GROUP_SD, SLOPE_SD, TOP, TOP_SD, Belief, Widths
from astrogf.inference.problem.arrow import Reduced

LN_SIGMA_SD = 0.08
MEMBER = np.array([0, 0, 0, 0, 1, 1])
N = len(MEMBER)
KNOWN = np.array([False, False, True, True, False, False])
MEANS = Means.by_species(MEMBER, KNOWN)
HELD = Widths(np.array([0.07, 0.1]), np.array([0.4, 0.5]), np.array([0.15, 0.4]), np.array([0.08, 0.06]))

BLENDS = Blends(
    clear=np.array([0.0, 0.02, 0.05, 0.3, 0.02, 0.1]) ** 2,
    share=np.array([0.0, 0.2, 0.15, 0.3, 0.2, 0.1]),
    shift=np.array([0.0, 0.1, 0.3, 0.4, 0.2, 0.5]),
    spread=np.array([0.0, 0.1, 0.2, 0.2, 0.15, 0.3]) ** 2,
)


@pytest.fixture(scope="module")
def problem():
    """(A, b) of six blended lines and the resolution: A, what it would measure, the point, the prior mean."""
    rng = np.random.default_rng(11)
    half = rng.normal(size=(N + 1, N + 1))
    precision = half @ half.T * 20.0 + np.diag(rng.uniform(2, 100, N + 1))
    measured = np.append(np.array([0.05, 0.5, -0.1, 0.25, 0.3, -0.7]), 0.03)
    point = measured + 0.1 * rng.normal(size=N + 1)
    mean = np.append(np.where(MEMBER == 1, 0.02, 0.0), 0.01)
    return precision, measured, point, mean


def system_of(problem, **changes) -> System:
    precision, measured, point, mean = problem
    args = {"precision": precision, "gradient": precision @ (measured - point), "off": point - mean} | changes
    return System.of(**args, member=MEMBER, means=MEANS, other_sd=LN_SIGMA_SD)


def dense(problem, widths: Widths, blends: Blends | None = None):
    """By scipy's densities, every class of every line: probability of the widths, the joint posterior of u, ln_sigma,
    delta, each line's probability of the wide class and to be blended, and delta as a mixture."""
    precision, measured, _, mean = problem
    noise, same = np.linalg.inv(precision), 1.0 * (MEMBER[:, None] == MEMBER)
    log, means, covariances, classes = [], [], [], []
    known = Blends(*np.zeros((4, N))) if blends is None else blends
    for state in product(range(2 if blends is None else 4), repeat=N):
        wide, blended = np.array(state) % 2 == 1, np.array(state) > 1
        if np.any(known.share[blended] == 0.0):
            continue
        listed = np.where(wide, widths.listed[1][MEMBER], widths.listed[0][MEMBER])
        delta = np.diag(listed) + LIST_MEAN_SD**2 * same * np.outer(~KNOWN, ~KNOWN)
        prior = np.zeros((2 * N + 1, 2 * N + 1))
        own = widths.phi[MEMBER] ** 2 + known.clear + blended * known.spread
        prior[:N, :N] = delta + np.diag(own) + MODEL_MEAN_SD**2 * same
        prior[N, N] = LN_SIGMA_SD**2
        prior[N + 1 :, N + 1 :] = prior[:N, N + 1 :] = prior[N + 1 :, :N] = delta
        seen = prior[: N + 1, : N + 1] + noise
        gain = np.linalg.solve(seen, prior[: N + 1]).T
        seen_mean = mean + np.append(blended * known.shift, 0.0)
        means.append(np.append(seen_mean, mean[:N]) + gain @ (measured - seen_mean))
        covariances.append(prior - gain @ prior[: N + 1])
        share = np.where(wide, widths.share[MEMBER], 1.0 - widths.share[MEMBER])
        share = share * np.where(blended, known.share, 1.0 - known.share)
        log.append(multivariate_normal.logpdf(measured, seen_mean, seen) + np.log(share).sum())
        classes.append(np.concatenate([wide, blended]))
    log, means, covariances, classes = map(np.array, (log, means, covariances, classes))
    p = np.exp(log - log.max())
    whole, p = float(log.max() + np.log(p.sum())), p / p.sum()
    centre = p @ means
    covariance = np.einsum("c,cij->ij", p, covariances) + np.einsum("c,ci,cj->ij", p, means - centre, means - centre)
    sd = np.sqrt(np.array([np.diag(c)[N + 1 :] for c in covariances]))
    return whole, centre, covariance, p @ classes, Parts(np.tile(p[:, None], N), means[:, N + 1 :], sd)


@pytest.mark.parametrize("blends", [None, BLENDS], ids=["no blends", "blends"])
def test_classes_are_summed_over_as_by_enumeration(problem, blends) -> None:
    """Widths known, all 64 classes, or 4096 states: corrections, log gf, their covariances, the probability to be badly
    wrong and to be blended."""
    _, centre, covariance, classes, parts = dense(problem, HELD, blends)
    wide, blended = classes[:N], classes[N:]
    belief = Belief.known(HELD)
    begin = hyper.Learned(belief.centre, belief.top, np.full(N, 30.0))
    system = system_of(problem)._replace(blends=blends)
    found, _ = integrate(system, belief, begin, jnp.asarray(problem[2]), sweeps=6000 if blends is None else 15000)
    sd = np.sqrt(np.diag(covariance))
    assert wide.min() < 0.1
    assert wide.max() > 0.9
    np.testing.assert_allclose(found.mean, centre[: N + 1], atol=0.06 * sd.max())
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance)), sd[: N + 1], rtol=0.06)
    np.testing.assert_allclose(found.loggf.mean, centre[N + 1 :], atol=0.06 * sd.max())
    np.testing.assert_allclose(np.sqrt(np.diag(found.loggf.covariance)), sd[N + 1 :], rtol=0.06)
    scale = np.outer(sd[N + 1 :], sd[N + 1 :])
    np.testing.assert_allclose(found.loggf.covariance / scale, covariance[N + 1 :, N + 1 :] / scale, atol=0.07)
    np.testing.assert_allclose(found.loggf.wide, wide, atol=0.03)
    if blends is not None:
        assert np.ptp(blended) > 0.2
        np.testing.assert_allclose(found.loggf.blended, blended, atol=0.03)
    # by what lies below, for between two classes an end may lie anywhere; with two lines in a mean, as here, the mean
    # depends on a line's class, which the intervals leave out
    below = np.sum(parts.weight * norm.cdf(found.loggf.ends[:, None], parts.mean, parts.sd), axis=1)
    np.testing.assert_allclose(below, np.tile(np.array(LEVELS)[:, None], N), atol=0.03)


def test_the_lists_share_is_how_far_the_log_gf_follow_the_list(problem) -> None:
    """One class: the posterior mean of a line's log gf against the same with the list's value of that line moved."""
    alone = HELD._replace(share=np.zeros(2))
    belief, step = Belief.known(alone), 0.01
    begin = hyper.Learned(belief.centre, belief.top, np.full(N, 30.0))
    _, _, point, mean = problem
    here, _ = integrate(system_of(problem), belief, begin, jnp.asarray(point))
    for line in range(N):
        moved = point - mean
        moved[line] -= step
        there, _ = integrate(system_of(problem, off=moved), belief, begin, jnp.asarray(point))
        follows = (there.loggf.mean[line] - here.loggf.mean[line]) / step
        assert here.loggf.list_share[line] == pytest.approx(follows, abs=1e-6)
    assert np.ptp(here.loggf.list_share) > 0.15


@pytest.mark.slow
def test_widths_are_integrated_over_as_by_weighted_draws(problem) -> None:
    """All widths, top values and slopes from their prior, each draw weighted by its probability with the classes
    enumerated: posterior of corrections, log gf and widths."""
    rng, draws = np.random.default_rng(5), 3000
    seen = np.array([1.0, -1.0])
    belief = Belief.of(np.full(2, np.nan), model_error=0.08, seen=seen)
    log, means, second, places = np.empty(draws), [], [], []
    for i in range(draws):
        top = np.stack([TOP, np.zeros(4)]) + np.stack([TOP_SD, SLOPE_SD]) * rng.normal(size=(2, 4))
        place = belief.middle(top) + GROUP_SD[:, None] * rng.normal(size=(4, 2))
        log[i], mean, covariance, *_ = dense(problem, Widths.at(place))
        means.append(mean)
        second.append(np.diag(covariance) + mean**2)
        places.append(place)
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    assert 1.0 / np.sum(weight**2) > 250
    centre = weight @ np.array(means)
    sd = np.sqrt(weight @ np.array(second) - centre**2)
    place = np.tensordot(weight, np.array(places), 1)
    place_sd = np.sqrt(np.tensordot(weight, (np.array(places) - place) ** 2, 1))

    rng, system = np.random.default_rng(2), system_of(problem)
    begin = hyper.Learned.start(belief, MEMBER)
    moves = Moves.of(system, belief, begin.place, begin.weight)
    chain, chains = Chain(begin.place, begin.top, np.zeros(N, int), np.zeros(N + 1 + len(MEANS))), []
    for _ in range(4000):
        chain, *_ = sweep(rng, moves, system, chain)
        chains.append(chain.place)
    found, _ = integrate(system, belief, begin, jnp.asarray(problem[2]), sweeps=4000, seed=3)
    np.testing.assert_allclose(np.mean(chains, axis=0), place, atol=0.2 * place_sd.max())
    np.testing.assert_allclose(np.std(chains, axis=0), place_sd, rtol=0.15)
    np.testing.assert_allclose(np.abs(found.mean - centre[: N + 1]) / sd[: N + 1], 0.0, atol=0.15)
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance)), sd[: N + 1], rtol=0.12)
    np.testing.assert_allclose(np.abs(found.loggf.mean - centre[N + 1 :]) / sd[N + 1 :], 0.0, atol=0.15)
    np.testing.assert_allclose(np.sqrt(np.diag(found.loggf.covariance)), sd[N + 1 :], rtol=0.12)


@pytest.mark.slow
@pytest.mark.parametrize("blends", [None, BLENDS], ids=["no blends", "blends"])
def test_without_spectra_the_sampler_returns_the_prior(blends) -> None:
    """Coordinates of the widths then have their prior's mean and sd, whatever the two ways they are moved in."""
    belief = Belief.of(np.full(2, np.nan), model_error=0.08, seen=np.array([0.5, -1.0]))
    system = System.of(np.zeros((N + 1, N + 1)), np.zeros(N + 1), np.zeros(N + 1), MEMBER, MEANS, LN_SIGMA_SD, blends)
    rng, begin = np.random.default_rng(7), hyper.Learned.start(belief, MEMBER)
    moves = Moves.of(system, belief, begin.place, begin.weight)
    chain, places = Chain(begin.place, begin.top, np.zeros(N, int), np.zeros(N + 1 + len(MEANS))), []
    for _ in range(6000):
        chain, *_ = sweep(rng, moves, system, chain)
        places.append(chain.place)
    sd = np.sqrt(TOP_SD[:, None] ** 2 + (SLOPE_SD[:, None] * belief.seen) ** 2 + GROUP_SD[:, None] ** 2)
    np.testing.assert_allclose(np.mean(places, axis=0), TOP[:, None] + np.zeros(2), atol=0.12 * sd.max())
    np.testing.assert_allclose(np.std(places, axis=0), sd, rtol=0.1)


def test_a_posterior_that_is_none_leaves_the_fit_as_it_was(problem) -> None:
    groups = hyper.Groups(MEMBER, ("a", "b"), MEMBER, np.full(2, np.nan))
    belief = groups.belief(0.08)
    prior = SharedPrior(jnp.asarray(problem[3]), jnp.asarray(LN_SIGMA_SD), MEMBER, MEANS, belief)

    class Passed(NamedTuple):
        reduced: Reduced

    begin = hyper.Learned.start(belief, MEMBER)
    _, good = prior.learned(Reduced(jnp.asarray(problem[0]), jnp.zeros(N + 1)), jnp.asarray(problem[2]), begin)
    hopeless = Passed(Reduced(-1e6 * jnp.eye(N + 1), jnp.zeros(N + 1)))
    run = FitState(jnp.zeros((1, 7)), jnp.asarray(problem[2]), (), [])
    after = over_scatters(Joint(run, hopeless, good, begin, "converged"), prior)
    assert after.posterior is good
    assert after.status.startswith("converged; widths of the prior not integrated over")
    assert "not positive definite" in after.run.trace[-1]["status"]


@pytest.mark.slow
@pytest.mark.parametrize("blended", [False, True], ids=["no blends", "blends"])
def test_ranks_of_the_truth_are_uniform(blended) -> None:
    """Simulation-based calibration without spectra (Talts et al. 2018, arXiv 1804.06788): widths, classes, lines from
    the prior, (A, b) with its noise, ranks of the truth among draws. Problems are independent, lines of one are not:
    sums over the lines of a problem are compared with their scatter from problem to problem."""
    rng, n, problems, draws = np.random.default_rng(9), 24, 100, 60
    member, seen = np.repeat([0, 1], [16, 8]), np.array([1.0, -1.0])
    belief = Belief.of(np.full(2, np.nan), model_error=0.08, seen=seen)
    means = Means.by_species(np.tile([0, 1, 2], 8), np.tile([True, False, False, False], 6))
    blends = Blends(*(np.tile(x, n // N) for x in BLENDS)) if blended else None
    ranks: dict[str, list] = {"u": [], "delta": [], "width": []}
    for _ in range(problems):
        top = np.stack([TOP, np.zeros(4)]) + np.stack([TOP_SD, SLOPE_SD]) * rng.normal(size=(2, 4))
        place = belief.middle(top) + GROUP_SD[:, None] * rng.normal(size=(4, 2))
        widths = Widths.at(place)
        mu, nu = means.draw(rng)
        wide = rng.uniform(size=n) < widths.share[member]
        listed = np.where(wide, widths.listed[1][member], widths.listed[0][member])
        delta = mu + np.sqrt(listed) * rng.normal(size=n)
        u = delta + nu + widths.phi[member] * rng.normal(size=n)
        if blends is not None:
            on = (rng.uniform(size=n) < blends.share).astype(int)
            u += blends.centre[on, np.arange(n)] + np.sqrt(blends.own[on, np.arange(n)]) * rng.normal(size=n)
        half = np.exp(rng.normal(1.5, 1.0, n))[:, None] * (np.eye(n) + 0.3 * rng.normal(size=(n, n)) / np.sqrt(n))
        a = np.zeros((n + 1, n + 1))
        a[:n, :n], a[n, n] = half @ half.T, 1.0
        b = a @ np.append(u, 0.0) + np.append(half @ rng.normal(size=n), 0.0)
        system = System.of(a, b, np.zeros(n + 1), member, means, LN_SIGMA_SD, blends)
        begin = hyper.Learned.start(belief, member)
        moves = Moves.of(system, belief, begin.place, begin.weight)
        chain, found = Chain(begin.place, begin.top, np.zeros(n, int), np.zeros(n + 1 + len(means))), []
        for k in range(-50, 6 * draws):
            chain, *_ = sweep(rng, moves, system, chain)
            if k >= 0 and k % 6 == 0:
                states = chain.states(system)
                share, left = states.shrunk()
                inside = share * (system.from_mean(chain.step) - states.centre) + means.draw_of_list(
                    rng, chain.step[n + 1 :]
                )
                found.append((chain.step[:n], inside + np.sqrt(left) * rng.normal(size=n), chain.place.ravel()))
        for name, true, values in zip(ranks, (u, delta, place.ravel()), zip(*found, strict=True), strict=True):
            ranks[name].append(np.mean(np.array(values) < true, axis=0))
    for name, rank in ranks.items():
        each = np.array(rank)
        for what, expected in ((each, 0.5), (np.abs(each - 0.5), 0.25), ((each - 0.5) ** 2, 1 / 12)):
            by_problem = what.mean(axis=1)
            error = by_problem.std(ddof=1) / np.sqrt(problems)
            # a rank among 60 draws is a step of 1 / 60 wide
            assert abs(by_problem.mean() - expected) < 3.0 * error + 0.005, (name, expected, by_problem.mean(), error)
