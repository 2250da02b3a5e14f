"""What a pass says that spectra know of each line alone is what the joint system says of it."""

import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.inference.newton import knowledge as module
from astrogf.inference.newton.knowledge import knowledge
from astrogf.inference.newton.stars import FitState
from astrogf.inference.newton.sweep import sweep
from astrogf.inference.problem.parameters import lsf_sigma
from astrogf.inference.problem.setup import with_free
from astrogf.inference.rehearsal.small import OPTIONS, build, draw

N_STAR, N_LINE = 3, 40


@pytest.fixture(scope="module")
def problem():
    """Stars and spectra whose every line is a correction of its own, and where they are looked at."""
    small = build(
        N_STAR, N_LINE, n_pixel=48, kept=N_LINE, max_ratio=0.9999,
        options=OPTIONS.changed(model={"single": False}, solver={"chunk": 2}),
    )  # fmt: skip
    drawn = draw(small, np.random.default_rng(5), snr=80.0)
    sample, sigma = small.sample(drawn.data), jnp.array([lsf_sigma(small.options.stars.resolution)])
    return small, sample, FitState(drawn.theta, sigma, small.quiet())


def found(sample, run, asked):
    return knowledge(sample, run, [asked], chunk=2)[0]


def test_a_line_alone_is_the_diagonal_of_the_joint_system(problem):
    """The stars' own parameters and continua eliminated, other lines held: A's own diagonal."""
    small, sample, run = problem
    n, n_free = small.problem.spectrum.n_line, small.problem.n_free
    single = np.flatnonzero(np.bincount(small.free[small.free >= 0], minlength=n_free) == 1)
    line = np.array([np.flatnonzero(small.free == k)[0] for k in single])
    assert len(line) > 10
    passed = sweep(sample, run.theta, jnp.append(jnp.zeros(n_free), run.shared), run.noise, chunk=2)
    mine = found(sample, run, np.isin(np.arange(n), line))
    np.testing.assert_allclose(mine[line], np.diag(passed.reduced.precision)[single], rtol=1e-6)
    assert not mine[np.setdiff1d(np.arange(n), line)].any()


def test_blocks_and_other_free_lines_do_not_matter(problem, monkeypatch):
    small, sample, run = problem
    asked = np.ones(small.problem.spectrum.n_line, bool)
    whole = found(sample, run, asked)
    monkeypatch.setattr(module, "BLOCK", 16)
    assert len(module.in_blocks(sample.windows[0], asked)[1]) > 2
    bare = sample.with_problems([with_free(small.problem, np.full(len(asked), -1))])
    np.testing.assert_allclose(found(bare, run, asked), whole, rtol=1e-9)


def test_a_spectrum_without_a_model_tells_nothing(problem):
    small, sample, run = problem
    asked = np.ones(small.problem.spectrum.n_line, bool)
    hurt = np.array(run.theta)
    hurt[1, 0] = np.nan
    less = found(sample, FitState(jnp.asarray(hurt), run.shared, run.noise), asked)
    whole = found(sample, run, asked)
    assert np.isfinite(less).all()
    assert 0.0 < less.sum() < whole.sum()
