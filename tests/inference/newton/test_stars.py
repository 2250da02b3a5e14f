"""Stars on their own: from far away each comes to its maximum, and steps that are cut still lead uphill."""

import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.inference.newton.stars import FitState, fit_stars, uphill
from astrogf.inference.problem.parameters import RV, lsf_sigma, max_steps, steps
from astrogf.inference.rehearsal.small import OPTIONS, Draw, Small, build, draw

N_STAR = 24


@pytest.fixture(scope="module")
def small() -> Small:
    options = OPTIONS.changed(model={"oversampling": 12, "depths": 16}, solver={"chunk": 12})
    return build(N_STAR, 4, n_pixel=96, kept=150, options=options)


@pytest.fixture(scope="module")
def drawn(small: Small) -> Draw:
    return draw(small, np.random.default_rng(1), snr=100.0, outliers=False)


def ended(small: Small, drawn: Draw, theta: np.ndarray, share: float) -> tuple[np.ndarray, int]:
    """log posterior of every star, and how many passes there were."""
    shared = jnp.append(jnp.asarray(drawn.shared[:-1]), lsf_sigma(small.options.stars.resolution))
    run = FitState(jnp.asarray(theta), shared, small.quiet())
    run, passed = fit_stars(
        small.sample(drawn.data), run, small.options, free=False, iterations=24, tolerance=0.01, share=share
    )
    return np.asarray(passed.log_posterior), len(run.trace)


def test_from_far_away_every_star_comes_to_its_maximum(small: Small, drawn: Draw) -> None:
    """400 K, 0.8 and 0.4 dex away. A fit that does not wait for the last of them leaves one on its way."""
    rng, far = np.random.default_rng(2), drawn.theta.copy()
    for k, away in enumerate((400.0, 0.8, 0.4)):
        far[:, k] += away * np.sign(rng.normal(size=N_STAR))
    far[:, RV] += 15.0 * rng.normal(size=N_STAR)
    far[:, :2] = np.clip(far[:, :2], [4000.0, 0.8], [7200.0, 4.9])
    near, _ = ended(small, drawn, drawn.theta, 1.0)
    all_of_them, passes = ended(small, drawn, far, 1.0)
    np.testing.assert_allclose(all_of_them, near, atol=0.01)
    assert passes < 12
    most, fewer = ended(small, drawn, far, 0.9)
    assert fewer < passes
    assert np.max(near - most) > 0.05


def test_a_step_that_is_cut_keeps_its_direction() -> None:
    whole = np.random.default_rng(0).normal(size=(50, 9)) * 10.0 ** np.random.default_rng(1).uniform(-2, 2, (50, 1))
    whole[7, 3] = np.nan
    cut, physical = np.asarray(uphill(whole)), np.nan_to_num(whole * steps(9))
    ratio = cut / np.where(physical == 0.0, 1.0, physical)
    np.testing.assert_allclose(ratio[physical != 0.0], np.broadcast_to(ratio[:, :1], ratio.shape)[physical != 0.0])
    farthest = np.max(np.abs(cut) / max_steps(9), axis=1)
    assert np.all(farthest < 1.0 + 1e-12)
    assert np.all((farthest > 1.0 - 1e-12) | (ratio[:, 0] == 1.0))
