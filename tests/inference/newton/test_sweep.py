"""The pass over all spectra notices when the products of a runtime contradict each other."""

from types import SimpleNamespace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.inference.newton import sweep
from astrogf.inference.problem.linearise import mismatch


def blocks(lost: int = 0) -> tuple[np.ndarray, ...]:
    """Columns of 4 own parameters, 30 lines and 3 of a continuum, and their blocks without the first `lost` pixels."""
    rng = np.random.default_rng(3)
    mixed, smooth = rng.normal(size=(500, 34)), rng.normal(size=(500, 3)) + 5.0
    weights = rng.uniform(50.0, 4000.0, 500)
    smooth_block = smooth.T @ (weights[:, None] * smooth) + np.eye(3)
    kept, w = mixed[lost:], weights[lost:, None]
    to_smooth = smooth[lost:].T @ (w * kept)
    full = kept.T @ (w * kept) - to_smooth.T @ np.linalg.solve(smooth_block, to_smooth)
    return mixed, smooth, weights, smooth_block, full[:4, :4], full[:4, 4:], full[4:, 4:]


def test_blocks_agree_with_their_columns() -> None:
    """To rounding where they are right; far from it where a product lost a few pixels."""
    assert float(mismatch(*(jnp.asarray(x) for x in blocks()))) < 1e-12
    assert float(mismatch(*(jnp.asarray(x) for x in blocks(lost=20)))) > 1000 * sweep.TOLERANCE


class Part(NamedTuple):
    """What `_checked` looks at."""

    mismatch: np.ndarray


def on(monkeypatch: pytest.MonkeyPatch, wrong: dict[int, float]) -> list[int]:
    """Let a chunk be wrong by so much on so many devices; the numbers of devices that it is asked of."""
    asked: list[int] = []

    def chunk(_problem, _shared, _rows, mesh):
        asked.append(mesh.devices.size)
        return Part(np.array([np.nan, wrong[mesh.devices.size]]))  # a star without a model says nothing

    monkeypatch.setattr(sweep, "_chunk", chunk)
    monkeypatch.setattr(sweep, "star_mesh", lambda most: SimpleNamespace(devices=np.zeros(most)))
    return asked


def test_a_wrong_product_is_computed_again_on_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a warning; and without one where nothing is wrong."""
    both = SimpleNamespace(devices=np.zeros(2))
    asked = on(monkeypatch, {2: 1e-14})
    sweep._checked(None, None, None, both)
    assert asked == [2]
    asked = on(monkeypatch, {2: 0.009, 1: 1e-14})
    with pytest.warns(RuntimeWarning, match="wrong by 0.009 .* on 2 devices"):
        part = sweep._checked(None, None, None, both)
    assert asked == [2, 1]
    assert part.mismatch[1] == 1e-14


def test_a_product_that_stays_wrong_ends_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """No posterior is better than a wrong one; the sentence says what to do."""
    on(monkeypatch, {1: 0.01})
    with pytest.raises(sweep.MiscomputedError, match="force_host_platform_device_count=1"):
        sweep._checked(None, None, None, SimpleNamespace(devices=np.zeros(1)))
