"""Derivatives by lines in tiles of pixels are those of the whole matrix, and so is all that follows from them."""

from dataclasses import replace
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.inference.newton.drift import Drift, SlopePrior
from astrogf.inference.newton.passed import Pass
from astrogf.inference.newton.sweep import sweep
from astrogf.inference.problem.linearise import in_pixels
from astrogf.inference.problem.parameters import LN_SIGMA, RV, lsf_sigma
from astrogf.inference.problem.problem import N_SPECTRUM, StarProblem
from astrogf.inference.problem.spectra import Sample, quiet
from astrogf.inference.problem.tiles import LineColumns, Tiles
from astrogf.inference.rehearsal.small import OPTIONS, Small, build, draw
from astrogf.synthesis.observed.instrument import rv_limit

N_STAR, N_LINE, SIZE = 3, 60, 16


class Two(NamedTuple):
    """Spectra of some stars in two windows, the second of which has Mg b, in tiles and undivided."""

    tiled: Sample
    whole: Sample
    theta: np.ndarray
    shared: jnp.ndarray


def undivided(problem: StarProblem) -> StarProblem:
    whole = Tiles.undivided(problem.spectrum.grid.n_pixel, problem.n_free)
    return eqx.tree_at(lambda p: p.tiles, problem, whole)


def in_tiles(problem: StarProblem) -> StarProblem:
    tiles = Tiles.of_size(problem.pieces, problem.n_free, problem.spectrum.grid, SIZE)
    return eqx.tree_at(lambda p: p.tiles, problem, tiles)


@pytest.fixture(scope="module")
def two() -> Two:
    options = OPTIONS.changed(
        model={"single": False, "oversampling": 8, "line_cut": 1e-2, "rv_reach": 200.0}, solver={"chunk": 2}
    )
    smalls: list[Small] = [
        build(N_STAR, N_LINE, first_pixel=first, n_pixel=150, kept=200, max_ratio=0.999, options=options)
        for first in (37400, 37120)
    ]
    rng = np.random.default_rng(3)
    drawn = [draw(small, rng, snr=80.0) for small in smalls]
    (one,), (other,) = (small.sample(d.data).windows for small, d in zip(smalls, drawn, strict=True))
    sample = Sample((one, other), smalls[0].sample(drawn[0].data).prior)
    problems = [w.problem for w in sample.windows]
    tiled, whole = (sample.with_problems([cut(p) for p in problems]) for cut in (in_tiles, undivided))
    shared = jnp.append(jnp.linspace(-0.1, 0.1, N_LINE), lsf_sigma(options.stars.resolution))
    return Two(tiled, whole, np.asarray(drawn[0].theta), shared)


def passes(two: Two, drift: Drift | None = None) -> tuple[Pass, Pass]:
    """In tiles, and undivided."""
    theta, noise = jnp.asarray(two.theta), quiet(two.tiled)
    tiled, whole = (
        sweep(s, theta, two.shared, noise, chunk=2, keep=("sight", "continuum"), drift=drift)
        for s in (two.tiled, two.whole)
    )
    return tiled, whole


def test_a_strong_line_is_in_more_tiles_than_others(two: Two) -> None:
    tiles = two.tiled.windows[1].problem.tiles
    many = np.bincount(np.asarray(tiles.line).ravel(), minlength=N_LINE + 1)[:N_LINE]
    assert tiles.n_tile == 10
    assert tiles.n_member < N_LINE
    assert many.max() > 7
    assert np.median(many) < 7
    for t, i in np.argwhere(np.asarray(tiles.place) < tiles.n_member):
        assert tiles.line[t, tiles.place[t, i]] == i


def test_a_pass_in_tiles_is_that_of_the_whole_matrix(two: Two) -> None:
    tiled, whole = passes(two)
    for a, b in (
        (tiled.reduced.precision, whole.reduced.precision),
        (tiled.reduced.gradient, whole.reduced.gradient),
        (tiled.log_posterior, whole.log_posterior),
        (tiled.chi2, whole.chi2),
        (tiled.star.constant, whole.star.constant),
        (tiled.star.covariance, whole.star.covariance),
    ):
        a, b = np.asarray(a), np.asarray(b)
        np.testing.assert_allclose(a, b, rtol=0.0, atol=1e-10 * np.abs(b).max())
    # kept in single precision
    np.testing.assert_allclose(tiled.star.slope, whole.star.slope, rtol=0.0, atol=1e-6 * np.abs(whole.star.slope).max())
    for ours, theirs in zip(tiled.rows, whole.rows, strict=True):
        mine, others = ((x.sight, x.continuum) for x in (ours, theirs))
        for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(others), strict=True):
            np.testing.assert_allclose(a, b, rtol=0.0, atol=1e-9 * np.abs(b).max())
        assert max(ours.mismatch.max(), theirs.mismatch.max()) < 1e-10
    prior = np.diag(np.append(np.full(N_LINE, 0.2), 0.1) ** -2.0)
    sds = [np.sqrt(np.diag(np.linalg.inv(np.asarray(p.reduced.precision) + prior))) for p in (tiled, whole)]
    assert sds[1][:N_LINE].min() < 0.1 < sds[1][:N_LINE].max()
    np.testing.assert_allclose(sds[0], sds[1], rtol=1e-8)


def test_so_is_one_with_slopes(two: Two) -> None:
    drift = Drift(
        np.array([-1.2, 0.1, 0.7]), np.linspace(0.08, -0.06, N_LINE), SlopePrior(0.1, 0.05, np.arange(N_LINE) % 3)
    )
    tiled, whole = passes(two, drift)
    for a, b in zip((*tiled.reduced, *tiled.drift), (*whole.reduced, *whole.drift), strict=True):  # type: ignore[misc]
        np.testing.assert_allclose(a, b, rtol=0.0, atol=1e-10 * np.abs(np.asarray(b)).max())


@pytest.mark.parametrize("window", [0, 1])
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_no_velocity_takes_a_line_out_of_its_tiles(two: Two, window: int, side: float) -> None:
    """At the ends of the grid and with the widest broadening there is room for."""
    problem = two.tiled.windows[window].problem
    grid = problem.spectrum.grid
    theta = jnp.asarray(two.theta[0]).at[RV].set(side * rv_limit(grid)).at[LN_SIGMA].set(np.log(80.0))
    at = problem.spectrum.responding(theta[:N_SPECTRUM], problem.shift(theta, two.shared[:-1]))
    seen, whole = (in_pixels(p, theta, two.shared[:-1], at) for p in (problem, undivided(problem)))
    assert np.abs(np.asarray(whole.lines.dense())).max() > 0.01
    np.testing.assert_array_equal(seen.lines.dense(), whole.lines.dense())
    np.testing.assert_allclose(seen.own, whole.own, atol=1e-12)


def test_products_are_those_of_the_whole_matrix(two: Two) -> None:
    tiles = two.tiled.windows[1].problem.tiles
    rng = np.random.default_rng(0)
    member = np.asarray(tiles.line)[:, None, :] < N_LINE
    columns = LineColumns(jnp.asarray(rng.normal(size=(tiles.n_tile, tiles.size, tiles.n_member)) * member), tiles)
    j, weights, x = np.asarray(columns.dense()), rng.uniform(size=150), rng.normal(size=(150, 3))
    # the last tile goes beyond the window
    assert tiles.n_tile * tiles.size > len(j)
    np.testing.assert_allclose(columns.against(jnp.asarray(x)), j.T @ x, atol=1e-11)
    np.testing.assert_allclose(columns.along(jnp.asarray(j.T @ x)), j @ (j.T @ x), atol=1e-9)
    np.testing.assert_allclose(columns.squares(jnp.asarray(weights)), weights @ j**2, atol=1e-11)
    np.testing.assert_allclose(columns.largest(), np.abs(j).max(axis=0), atol=1e-14)


def test_like_choices_of_lines_share_shapes(two: Two) -> None:
    """A program is compiled anew only where shapes differ."""
    problem = two.tiled.windows[0].problem
    grid, free = problem.spectrum.grid, np.asarray(problem.slot)
    other = np.where(free < N_LINE, N_LINE - 1 - free, free)
    pieces = problem.spectrum.window.pieces.with_free(np.append(other, problem.n_slot), problem.n_slot)
    again = Tiles.of_size(pieces.without_cores(), N_LINE, grid, SIZE)
    assert (again.line.shape, again.place.shape) == (problem.tiles.line.shape, problem.tiles.place.shape)
    assert not np.array_equal(again.place, problem.tiles.place)


def test_few_lines_are_one_tile(two: Two) -> None:
    problem = two.tiled.windows[0].problem
    few = replace(problem, n_free=0)
    assert Tiles.of(few.pieces, 0, few.spectrum.grid).n_tile == 1
    assert Tiles.of(problem.pieces, N_LINE, problem.spectrum.grid).cost <= problem.tiles.cost
