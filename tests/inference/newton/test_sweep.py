"""What a pass gathers is what the spectra contribute one by one, however they are cut into chunks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.inference.newton.passed import Pass
from astrogf.inference.newton.sweep import Rows, Swept, sweep, sweep_window
from astrogf.inference.problem.parameters import lsf_sigma
from astrogf.inference.rehearsal.small import Draw, Small
from tests.builders.few_stars import N_STAR, drawn_of, few_stars


@pytest.fixture(scope="module")
def small() -> Small:
    return few_stars()


@pytest.fixture(scope="module")
def drawn(small: Small) -> Draw:
    return drawn_of(small)


def resolution_only(small: Small) -> jnp.ndarray:
    return jnp.zeros(small.n_line + 1).at[-1].set(lsf_sigma(small.options.stars.resolution))


def passed(small: Small, drawn: Draw, theta: np.ndarray | None = None) -> Pass:
    theta = np.asarray(drawn.theta) if theta is None else theta
    return sweep(small.sample(drawn.data), jnp.asarray(theta), resolution_only(small), small.quiet(), chunk=2)


def one_by_one(small: Small, drawn: Draw) -> list[Swept]:
    """Every spectrum in a pass of its own."""
    sample, parts = small.sample(drawn.data), []
    for s in range(N_STAR):
        window = sample.windows[0].select(np.arange(N_STAR) == s, np.zeros(N_STAR, int))
        prior, noise = (
            jax.tree.map(lambda x, s=s: jnp.asarray(x)[s : s + 1], x) for x in (sample.prior, small.quiet()[0])
        )
        theta, nothing = np.asarray(drawn.theta)[s : s + 1], np.zeros((1, small.problem.n_deviating))
        rows = Rows(window.data, theta, prior, np.ones(1), noise, nothing)
        parts.append(sweep_window(small.problem, rows, resolution_only(small), chunk=2))
    return parts


def test_a_pass_is_the_sum_of_its_spectra(small: Small, drawn: Draw) -> None:
    """The reduced system is Schur's complement of the dense one, assembled here by hand."""
    whole, parts = passed(small, drawn), one_by_one(small, drawn)
    precision = sum(np.asarray(p.shared.precision) for p in parts)
    gradient = sum(np.asarray(p.shared.gradient) for p in parts)
    for p in parts:
        own, cross = np.asarray(p.star.precision)[0], np.asarray(p.star.cross)[0]
        precision = precision - cross.T @ np.linalg.solve(own, cross)
        gradient = gradient - cross.T @ np.linalg.solve(own, np.asarray(p.star.gradient)[0])
    scale = np.abs(precision).max()
    np.testing.assert_allclose(whole.reduced.precision, precision, atol=1e-8 * scale)
    np.testing.assert_allclose(whole.reduced.gradient, gradient, atol=1e-8 * np.abs(gradient).max())
    for s, p in enumerate(parts):
        for name, value in p.row._asdict().items():
            if name not in ("continuum", "mismatch", "sight"):
                ours = getattr(whole.rows[0], name)[s]
                np.testing.assert_allclose(ours, value[0], rtol=1e-7, atol=1e-9, err_msg=name)


def test_a_spectrum_without_a_model_adds_nothing(small: Small, drawn: Draw) -> None:
    theta = np.array(drawn.theta)
    theta[1, 0] = np.nan
    hurt = passed(small, drawn, theta)
    assert np.isfinite(hurt.log_posterior).tolist() == [True, False, True]
    assert np.isfinite(np.asarray(hurt.reduced.precision)).all()


def test_each_star_keeps_the_better_pass(small: Small, drawn: Draw) -> None:
    """Everything of a star and of its spectra comes from the same pass."""
    moved = np.array(drawn.theta)
    moved[:, 0] += 200.0
    sample, first, second = small.sample(drawn.data), passed(small, drawn), passed(small, drawn, moved)
    both = second.keeping(sample, np.array([True, False, True]), first)
    for s, source in enumerate((second, first, second)):
        taken = jax.tree.map(lambda x, s=s: np.asarray(x)[s], (both.star, both.log_posterior, both.chi2, both.rows[0]))
        there = (source.star, source.log_posterior, source.chi2, source.rows[0])
        for a, b in zip(jax.tree.leaves(taken), jax.tree.leaves(there), strict=True):
            np.testing.assert_array_equal(a, np.asarray(b)[s])
    np.testing.assert_array_equal(both.reduced.precision, second.reduced.precision)
