"""Pixels that do not count because the model is known to be wrong there, at rest."""

import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.base.constants import C_KMS
from astrogf.inference.blocks.work import Work
from astrogf.inference.newton.sweep import sweep
from astrogf.inference.problem.left_out import inside, leaving_out
from astrogf.inference.problem.parameters import RV, lsf_sigma
from astrogf.inference.problem.problem import StarData
from astrogf.inference.problem.spectra import Sample, in_blocks, taken
from astrogf.inference.rehearsal.small import Draw, Small
from tests.builders.few_stars import N_STAR, drawn_of, few_stars


@pytest.fixture(scope="module")
def small() -> Small:
    return few_stars()


@pytest.fixture(scope="module")
def drawn(small: Small) -> Draw:
    return drawn_of(small)


@pytest.fixture(scope="module")
def moving(drawn: Draw) -> np.ndarray:
    """Own parameters with velocities of a few pixels (69 km/s each)."""
    theta = np.array(drawn.theta)
    theta[:, RV] = [-210.0, 0.0, 140.0]
    return theta


def middle(small: Small) -> tuple[tuple[float, float]]:
    """A range of five pixels' width."""
    return ((float(small.wavelength[20]) - 0.1, float(small.wavelength[24]) + 0.1),)


def test_pixels_move_with_the_star(small: Small, drawn: Draw, moving: np.ndarray) -> None:
    window, [[low, high]] = small.sample(drawn.data).windows[0], middle(small)
    out = inside(window, moving, [(low, high)])
    for row, velocity in enumerate(moving[:, RV]):
        seen = low * (1.0 + velocity / C_KMS), high * (1.0 + velocity / C_KMS)
        assert np.array_equal(out[row], (small.wavelength > seen[0]) & (small.wavelength < seen[1]))
    assert np.flatnonzero(out[1]).tolist() == [20, 21, 22, 23, 24]
    assert np.flatnonzero(out[0])[0] == 17
    assert np.flatnonzero(out[2])[0] == 22


def test_what_is_there_makes_no_difference(small: Small, drawn: Draw, moving: np.ndarray) -> None:
    """Spectra that are off by a half there give the same pass as those that are not; without it they do not."""
    ranges, sample = middle(small), small.sample(drawn.data)
    out = inside(sample.windows[0], moving, ranges)
    wrong = small.sample(StarData(jnp.where(out, 0.5, drawn.data.flux), drawn.data.ivar))
    shared = jnp.zeros(small.n_line + 1).at[-1].set(lsf_sigma(small.options.stars.resolution))

    def gradient(of: Sample) -> np.ndarray:
        return np.asarray(sweep(of, jnp.asarray(moving), shared, small.quiet(), chunk=2).reduced.gradient)

    right, same = (gradient(leaving_out(s, moving, ranges)) for s in (sample, wrong))
    assert np.array_equal(right, same)
    assert not np.allclose(gradient(sample), gradient(wrong), rtol=0.1)
    left = leaving_out(sample, moving, ranges)
    assert np.array_equal(left.n_pixel, sample.n_pixel - out.sum(axis=1))
    assert leaving_out(sample, moving, ()) is sample


def test_a_sample_in_blocks_is_as_one_in_memory(small: Small, drawn: Draw, moving: np.ndarray) -> None:
    whole, ranges = small.sample(drawn.data), middle(small)

    def data(_: int, rows: np.ndarray) -> StarData:
        return taken(StarData(*(np.asarray(x) for x in drawn.data)), rows)

    cut = leaving_out(in_blocks(whole.windows, whole.prior, Work(block=2), data), moving, ranges)
    there = leaving_out(whole, moving, ranges)
    assert len(cut.parts) == 2
    assert np.array_equal(cut.n_pixel, there.n_pixel)
    ivar = np.concatenate([np.asarray(part.data.get()[0].ivar) for part in cut.parts])
    assert np.array_equal(ivar, np.asarray(there.windows[0].data.ivar))
    assert np.sum(ivar == 0.0) == np.sum(inside(whole.windows[0], moving, ranges)) > 5 * (N_STAR - 1)
