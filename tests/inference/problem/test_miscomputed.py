"""A pass notices when the products of a runtime contradict each other."""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from astrogf.inference.problem import miscomputed
from astrogf.inference.problem.miscomputed import MiscomputedError, checked, mismatch
from astrogf.inference.problem.tiles import LineColumns, Tiles


class Blocks(NamedTuple):
    """Those that `mismatch` looks at."""

    own: Array
    cross: Array
    lines: Array
    taken: Array


def blocks(lost: int = 0) -> tuple[Array, LineColumns, Array, Array, Array, Blocks]:
    """Columns of 4 own parameters, 30 lines and 3 of a continuum, and their blocks without the first `lost` pixels."""
    rng = np.random.default_rng(3)
    mixed, smooth = rng.normal(size=(500, 34)), rng.normal(size=(500, 3)) + 5.0
    weights = rng.uniform(50.0, 4000.0, 500)
    smooth_block = smooth.T @ (weights[:, None] * smooth) + np.eye(3)
    kept, w = mixed[lost:], weights[lost:, None]
    to_smooth = smooth[lost:].T @ (w * kept)
    whole = kept.T @ (w * kept)
    full = whole - to_smooth.T @ np.linalg.solve(smooth_block, to_smooth)
    taken = np.linalg.solve(np.linalg.cholesky(smooth_block), to_smooth[:, 4:])
    found = Blocks(*(jnp.asarray(x) for x in (full[:4, :4], full[:4, 4:], whole[None, 4:, 4:], taken)))
    own, smooth, weights, smooth_block = (jnp.asarray(x) for x in (mixed[:, :4], smooth, weights, smooth_block))
    lines = LineColumns(jnp.asarray(mixed[None, :, 4:]), Tiles.undivided(500, 30))
    return own, lines, smooth, weights, smooth_block, found


def test_blocks_agree_with_their_columns() -> None:
    """To rounding where they are right; far from it where a product lost a few pixels."""
    assert float(mismatch(*blocks())) < 1e-12
    assert float(mismatch(*blocks(lost=20))) > 1000 * miscomputed.TOLERANCE


class Row(NamedTuple):
    """What `checked` looks at of a contribution's rows."""

    mismatch: np.ndarray


class Part(NamedTuple):
    """What `checked` looks at of a contribution."""

    row: Row


@dataclass
class Mesh:
    """A number of devices."""

    devices: np.ndarray


class Computer:
    """Wrong by so much on so many devices; remembers of how many it was asked."""

    def __init__(self, wrong: dict[int, float]) -> None:
        self.wrong, self.asked = wrong, list[int]()

    def __call__(self, mesh: Mesh) -> Part:
        n = len(mesh.devices)
        self.asked.append(n)
        return Part(Row(np.array([np.nan, self.wrong[n]])))  # a star without a model says nothing


@pytest.fixture(autouse=True)
def one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(miscomputed, "star_mesh", lambda most: Mesh(np.zeros(most)))


def test_a_right_product_is_computed_once() -> None:
    compute = Computer({2: 1e-14})
    checked(compute, Mesh(np.zeros(2)))
    assert compute.asked == [2]


def test_a_wrong_product_is_computed_again_on_one_device() -> None:
    compute = Computer({2: 0.009, 1: 1e-14})
    with pytest.warns(RuntimeWarning, match="wrong by 0.009 .* on 2 devices"):
        part = checked(compute, Mesh(np.zeros(2)))
    assert compute.asked == [2, 1]
    assert part.row.mismatch[1] == 1e-14


def test_a_product_that_stays_wrong_ends_the_fit() -> None:
    """No posterior is better than a wrong one; the sentence says what to do."""
    with pytest.raises(MiscomputedError, match="force_host_platform_device_count=1"):
        checked(Computer({1: 0.01}), Mesh(np.zeros(1)))
