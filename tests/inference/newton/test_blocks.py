"""A pass over blocks of stars, on any shelf, is the pass over all of them at once."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.table import Table

from astrogf.inference.blocks.shelf import MEMORY, Shelf
from astrogf.inference.blocks.work import IN_MEMORY, Work, shares
from astrogf.inference.newton.knowledge import knowledge
from astrogf.inference.newton.learned_noise import learn
from astrogf.inference.newton.misfit import with_misfit
from astrogf.inference.newton.passed import Pass
from astrogf.inference.newton.stars import FitState
from astrogf.inference.newton.sweep import _eliminate, sweep
from astrogf.inference.pixels import ByBlocks
from astrogf.inference.problem.collect import Origin
from astrogf.inference.problem.devices import whole_chunks
from astrogf.inference.problem.noise import AtRest
from astrogf.inference.problem.parameters import lsf_sigma
from astrogf.inference.problem.problem import StarData
from astrogf.inference.problem.spectra import Noise, Sample, WindowSpectra, in_blocks, quiet, taken
from astrogf.inference.rehearsal.small import OPTIONS, Draw, Small, build, draw
from astrogf.inference.result import observed, observed_models, outliers, pixel_sd
from astrogf.runs.shelf import FolderShelf
from astrogf.surveys.batch import SpectrumBatch
from astrogf.surveys.rows import RowFile, Rows

N_STAR, N_LINE = 5, 4
DROPPED = 1
"""A star that has no spectrum in the second window."""


@pytest.fixture(scope="module")
def small() -> Small:
    options = OPTIONS.changed(model={"single": False}, solver={"chunk": 2}, noise={"line_scatter": 0.02})
    return build(N_STAR, N_LINE, n_pixel=48, kept=40, options=options)


@pytest.fixture(scope="module")
def drawn(small: Small) -> Draw:
    return draw(small, np.random.default_rng(5), snr=80.0)


@pytest.fixture(params=["memory", "folder"])
def shelf(request, tmp_path) -> Shelf:
    return MEMORY if request.param == "memory" else FolderShelf(tmp_path / "shelf")


def windows_of(small: Small, drawn: Draw) -> list[WindowSpectra]:
    """Two windows of the same pixels; in the second the stars come in another order, one is missing, and there are two
    releases."""
    stars = np.array([3, 0, 4, 2])
    assert DROPPED not in stars
    first = WindowSpectra(small.problem, drawn.data, np.arange(N_STAR), np.zeros(N_STAR, int))
    return [first, WindowSpectra(small.problem, taken(drawn.data, stars), stars, np.array([0, 1, 1, 0]))]


def whole(small: Small, drawn: Draw) -> Sample:
    return Sample(tuple(windows_of(small, drawn)), small.sample(drawn.data).prior)


def cut(small: Small, drawn: Draw, shelf: Shelf, block: int) -> Sample:
    windows = windows_of(small, drawn)

    def data(k: int, rows: np.ndarray) -> StarData:
        return StarData(*(np.asarray(x) for x in taken(windows[k].data, rows)))

    return in_blocks(windows, whole(small, drawn).prior, Work(shelf=shelf, block=block), data)


def start(small: Small, drawn: Draw) -> FitState:
    shared = jnp.zeros(small.n_line + 1).at[-1].set(lsf_sigma(small.options.stars.resolution))
    return FitState(jnp.asarray(drawn.theta), shared, quiet(whole(small, drawn), 0.0, 0.02))


def passed(small: Small, drawn: Draw, sample: Sample, last: Pass | None = None) -> Pass:
    run = start(small, drawn)
    blocks = None if last is None else last.blocks
    return sweep(sample, run.theta, run.shared, run.noise, last=blocks, chunk=2)


def assert_same(one: Pass, other: Pass) -> None:
    """Slopes are kept in single precision."""
    for name in ("log_posterior", "chi2", "own_sd"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9, err_msg=name)
    for a, b in zip(one.reduced, other.reduced, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9 * np.abs(b).max())
    for a, b in zip(jax.tree.leaves(one.rows), jax.tree.leaves(other.rows), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-8)
    step = np.linspace(-0.1, 0.1, N_LINE + 1)
    np.testing.assert_allclose(one.own_step(step), other.own_step(step), rtol=1e-6, atol=1e-7)
    covariance = np.diag(step**2)
    np.testing.assert_allclose(one.own_covariance(covariance), other.own_covariance(covariance), rtol=1e-6, atol=1e-9)


def test_a_pass_by_blocks_is_the_pass(small: Small, drawn: Draw, shelf: Shelf) -> None:
    """And the next one, which linearises at the deviations of lines that the first one left on the shelf."""
    first, all_at_once = passed(small, drawn, cut(small, drawn, shelf, 2)), passed(small, drawn, whole(small, drawn))
    assert len(first.blocks) == 3
    assert_same(first, all_at_once)
    after = passed(small, drawn, cut(small, drawn, shelf, 2), first)
    assert_same(after, passed(small, drawn, whole(small, drawn), all_at_once))
    assert np.abs(after.rows[0].adjusted - first.rows[0].adjusted).max() > 1e-6


def test_stars_that_are_left_out_are_left_out_of_their_blocks(small: Small, drawn: Draw, shelf: Shelf) -> None:
    keep = np.array([True, True, False, False, True])
    some, run = cut(small, drawn, shelf, 2).select(keep), start(small, drawn)
    noise: Noise = tuple(
        type(n)(*(x[keep[w.star]] for x in n)) for n, w in zip(run.noise, windows_of(small, drawn), strict=True)
    )
    assert some.cut is not None
    assert some.cut.sizes == (2, 1)
    there = [sweep(s, run.theta[keep], run.shared, noise, chunk=2) for s in (some, whole(small, drawn).select(keep))]
    assert_same(*there)
    np.testing.assert_array_equal(some.n_pixel, whole(small, drawn).select(keep).n_pixel)


def test_each_star_keeps_the_better_pass_in_whichever_block(small: Small, drawn: Draw, shelf: Shelf) -> None:
    better = np.array([True, True, False, False, True])

    def both(sample: Sample) -> Pass:
        one, run = passed(small, drawn, sample), start(small, drawn)
        moved = sweep(sample, run.theta.at[:, 0].add(200.0), run.shared, run.noise, chunk=2)
        return moved.keeping(sample, better, one)

    by_blocks, all_at_once = both(cut(small, drawn, shelf, 3)), both(whole(small, drawn))
    assert_same(by_blocks, all_at_once)
    assert np.abs(by_blocks.chi2 - passed(small, drawn, whole(small, drawn)).chi2).max() > 1.0


def test_what_is_learned_of_all_stars_is_the_same(small: Small, drawn: Draw, shelf: Shelf) -> None:
    """Noise by release, errors by wavelength, what is known of lines."""
    run = start(small, drawn)
    found = []
    for sample in (cut(small, drawn, shelf, 2), whole(small, drawn)):
        after = passed(small, drawn, sample)
        noise = learn(sample, after, small.options)
        raised = with_misfit(sample, after, run.theta, noise)
        asked = [np.ones(small.problem.spectrum.n_line, bool)] * 2
        found.append((noise, raised, knowledge(sample, run, asked, chunk=2)))
    for a, b in zip(*(jax.tree.leaves(x) for x in found), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7)
    scales = np.asarray(found[0][0][1].scale)
    assert len(set(scales.tolist())) == 2  # a release each


def test_what_a_result_shows_of_every_pixel_is_the_same(small: Small, drawn: Draw, shelf: Shelf, tmp_path) -> None:
    """Spectra, their errors and models, made block by block, from a file too; nothing where a star has no spectrum."""
    run, levels = start(small, drawn), [np.linspace(1.0, 2.0, N_STAR), np.linspace(3.0, 4.0, 4)]
    file, batches = RowFile(tmp_path), []
    for window in windows_of(small, drawn):
        flux, ivar = (Rows.of(file, [file.put(row) for row in np.asarray(x)]) for x in window.data)
        batches.append(SpectrumBatch(np.arange(48.0), flux, ivar, Table()))
    noise: Noise = tuple(
        n._replace(local=AtRest(np.linspace(1.0, 3.0, 60), np.arange(len(n.scale)), 48)) for n in run.noise
    )
    found = []
    for sample in (cut(small, drawn, shelf, 2), whole(small, drawn)):
        origin = Origin(batches, Table(), small.lines, levels, [np.array(["a"])] * 2)
        after = sweep(sample, run.theta, run.shared, noise, chunk=2)
        models = observed_models(sample, origin, after)
        sd = ByBlocks(sample, partial(pixel_sd, sample, noise), np.inf)
        found.append((models, observed(sample, origin, "flux"), sd, *outliers(sample, noise, after)))
    for by_blocks, all_at_once in zip(*found, strict=True):
        np.testing.assert_allclose(by_blocks, all_at_once, rtol=1e-9)
    models, flux, sd = found[0][:3]
    assert [len(block) for block in models.blocks()] == [2, 2, 1]
    assert models.shape == np.asarray(models).shape == (N_STAR, 96)
    np.testing.assert_array_equal(np.asarray(flux)[3, 48:], np.asarray(windows_of(small, drawn)[1].data.flux)[0])
    for array, empty in ((models, np.nan), (flux, 0.0), (sd, np.inf)):
        np.testing.assert_array_equal(np.asarray(array)[DROPPED, 48:], empty)
        assert np.all(np.isfinite(np.delete(np.asarray(array), DROPPED, axis=0)))


def test_blocks_of_any_size_are_one_program(small: Small, drawn: Draw) -> None:
    """A program for every size would take time, memory, and of the maps that a process may have."""
    sample = cut(small, drawn, MEMORY, 3).select(np.array([True, True, True, False, True]))
    assert sample.cut is not None
    assert sample.cut.sizes == (3, 1)
    run = start(small, drawn)
    keep = np.array([0, 1, 2, 4])
    noise: Noise = tuple(
        type(n)(*(np.asarray(x)[np.isin(w.star, keep)] for x in n))
        for n, w in zip(run.noise, windows_of(small, drawn), strict=True)
    )
    jax.clear_caches()
    sweep(sample, run.theta[keep], run.shared, noise, chunk=2)
    assert _eliminate._cache_size() == 1


def test_shares_are_all_blocks_in_order_and_no_more_than_so_many() -> None:
    for n_block, most in ((1, 4), (4, 4), (11, 4), (4000, 1024)):
        cuts = shares(n_block, most)
        assert [i for mine in cuts for i in range(mine.start, mine.stop)] == list(range(n_block))
        assert len(cuts) == min(n_block, most)
        assert max(c.stop - c.start for c in cuts) <= -(-n_block // most)


def test_in_memory_there_is_one_block(small: Small, drawn: Draw) -> None:
    sample = whole(small, drawn)
    assert sample.work is IN_MEMORY
    assert len(sample.parts) == 1
    np.testing.assert_array_equal(sample.parts[0].rows[1], np.arange(4))


def test_blocks_are_of_full_chunks() -> None:
    assert whole_chunks(128, 16, 2) == 128
    assert whole_chunks(128, 16, 12) == 144  # chunks of 24
    assert whole_chunks(5, 16, 96) == 96
