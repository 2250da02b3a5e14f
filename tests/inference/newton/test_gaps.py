"""What the gaps of spectra say of every line: spectra of known missing lines, and how well a pass sees a line."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.base.constants import FWHM_PER_SIGMA
from astrogf.inference.newton.gaps import THERMAL, blends_of
from astrogf.inference.newton.passed import Pass, Terms
from astrogf.inference.newton.sweep import sweep
from astrogf.inference.newton.told import Told
from astrogf.inference.prior.blends import Blends, Gaps, under
from astrogf.inference.problem.contribution import Sight
from astrogf.inference.problem.parameters import lsf_sigma
from astrogf.inference.problem.problem import predict
from astrogf.inference.rehearsal.small import OPTIONS, build, draw
from tests.builders.residuals import FWHM_KMS, PIXEL, joint_of, sample_of

N_PIXEL, EVERY, MEAN = 20_000, 60, 0.05
SLOPE = np.array([[0.02, 0.2, 0.0], [0.04, 0.1, 0.0]])
INFORMATION = np.array([[300.0, 1e4, 0.0], [100.0, 1e4, 0.0]])


def lacking(seed: int, missing: bool) -> np.ndarray:
    """Residuals of a spectrum: noise of 0.4%, and lines of the star's own width at random places."""
    rng, width = np.random.default_rng(seed), float(np.hypot(FWHM_KMS / FWHM_PER_SIGMA, THERMAL)) / PIXEL
    residual = 0.004 * rng.normal(size=N_PIXEL)
    if missing:
        centre, depth = rng.uniform(0, N_PIXEL, N_PIXEL // EVERY), rng.exponential(MEAN, N_PIXEL // EVERY)
        for c, d in zip(centre, depth, strict=True):
            near = np.arange(max(int(c) - 12, 0), min(int(c) + 12, N_PIXEL))
            residual[near] -= d * np.exp(-0.5 * ((near - c) / width) ** 2)
    return residual


def seen(residual: np.ndarray, told: Told | None = None) -> Blends:
    """Of three lines, the last of which no spectrum sees."""
    sample = sample_of(residual)
    joint = joint_of(sample, np.zeros(len(residual)), np.zeros(3), np.ones(3), 0.1)
    (terms,) = joint.passed.terms()
    rows = terms.rows[0]._replace(sight=Sight(SLOPE[: len(residual)], INFORMATION[: len(residual)]))
    one = Terms(terms.star, (rows,), terms.of)
    passed = Pass.of_one(joint.passed.reduced, one, np.zeros(len(residual)), np.zeros(len(residual)))
    return blends_of(sample, passed, joint.run.theta, joint.run.noise, told)


def test_missing_lines_are_seen_in_the_gaps() -> None:
    """A line of which a place at random lies within half a width sees the depths that were put in."""
    rng, whole = np.random.default_rng(8), lacking(0, True)
    found, without = seen(whole[None]), seen(lacking(0, False)[None])
    # of a complete list little is left to be blended with
    assert np.all(without.share[:2] * without.shift[:2] < 0.2 * found.share[:2] * found.shift[:2])
    width = float(np.hypot(FWHM_KMS / FWHM_PER_SIGMA, THERMAL)) / PIXEL
    # what a listed line anywhere would take up: the missing lines' overlap with its profile
    profile = np.exp(-0.5 * (np.arange(-12, 13) / width) ** 2)
    taken = np.convolve(-whole, profile, "same") / np.sum(profile**2)
    mean = np.mean(np.log10(1.0 + np.maximum(rng.permutation(taken), 0.0) * np.log(10.0) / SLOPE[0, 1]))
    expected = mean - np.mean(np.log10(1.0 + np.maximum(0.003 * rng.normal(size=9999), 0.0) * np.log(10) / SLOPE[0, 1]))
    assert found.share[1] * found.shift[1] == pytest.approx(expected, rel=0.25)
    assert found.shift[0] > found.shift[1]
    np.testing.assert_array_equal([x[2] for x in found], 0.0)


def test_spectra_and_others_count_by_what_they_know() -> None:
    both = seen(np.stack([lacking(1, True), lacking(2, False)]))
    first, second = seen(lacking(1, True)[None]), seen(lacking(2, False)[None])
    second = Blends(*(x.copy() for x in second))
    share = INFORMATION[0, 1] / INFORMATION[:, 1].sum()
    gaps = both.share[1] - share * first.share[1]
    assert gaps == pytest.approx((1.0 - share) * second.share[1], abs=1e-9)
    known = under(np.full(3, 0.2), Gaps(0.01, 0.1, 0.5))
    told = Told(np.diag([0.0, 1e12, 1.0, 0.0]), np.zeros(4), np.zeros(4), known)
    with_others = seen(lacking(1, True)[None], told)
    np.testing.assert_allclose([x[0] for x in with_others], [x[0] for x in first])
    np.testing.assert_allclose([x[1] for x in with_others], [x[1] for x in known], rtol=1e-6)
    np.testing.assert_allclose([x[2] for x in with_others], [x[2] for x in known])


def test_a_pass_sees_lines_as_differences_of_spectra_do() -> None:
    small = build(2, 4, n_pixel=48, kept=40, options=OPTIONS.changed(model={"single": False}, solver={"chunk": 2}))
    drawn = draw(small, np.random.default_rng(5), snr=80.0)
    shared = jnp.zeros(small.n_line + 1).at[-1].set(lsf_sigma(small.options.stars.resolution))
    passed = sweep(small.sample(drawn.data), jnp.asarray(drawn.theta), shared, small.quiet(), chunk=2, keep=("sight",))
    (rows,) = passed.rows
    assert rows.continuum is None
    for s in range(2):
        flux = [
            jax.vmap(lambda d, s=s: predict(small.problem, jnp.asarray(drawn.theta[s]), d))(h * jnp.eye(small.n_line))
            for h in (-1e-4, 1e-4)
        ]
        slope = np.asarray(flux[1] - flux[0]) / 2e-4
        np.testing.assert_allclose(rows.sight.slope[s], np.abs(slope).max(axis=1), rtol=1e-5)
        level = np.asarray(small.problem.basis) @ np.asarray(rows.coefficients[s])
        # outliers weigh less than their ivar says
        most = np.sum((slope * level) ** 2 * np.asarray(drawn.data.ivar[s]), axis=1)
        assert np.all(rows.sight.information[s] <= most * (1.0 + 1e-6))
        assert np.all(rows.sight.information[s] > 0.5 * most)


def test_nothing_is_kept_that_was_not_asked_for() -> None:
    small = build(2, 4, n_pixel=48, kept=40, options=OPTIONS.changed(solver={"chunk": 2}))
    drawn = draw(small, np.random.default_rng(5), snr=80.0)
    shared = jnp.zeros(small.n_line + 1).at[-1].set(lsf_sigma(small.options.stars.resolution))
    passed = sweep(small.sample(drawn.data), jnp.asarray(drawn.theta), shared, small.quiet(), chunk=2)
    assert passed.rows[0].sight is None
