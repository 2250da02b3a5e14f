"""How rows are spread: alone on a CPU, some at once on an accelerator, with the same numbers."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.inference.problem import devices
from astrogf.inference.problem.devices import TOGETHER, at_once, chunk_size, one_by_one, summed


@dataclass
class Accelerator:
    """A device that says what it is and how much memory it has."""

    memory: float
    platform: str = "gpu"

    def memory_stats(self) -> dict[str, float]:
        return {"bytes_limit": self.memory}


def test_a_cpu_computes_row_after_row() -> None:
    if devices.accelerators():
        pytest.skip("there is an accelerator here")
    assert at_once(64, 1.0) == 1
    assert chunk_size(16, 5, 2) == 6


def test_an_accelerator_computes_as_many_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "local_devices", lambda: [Accelerator(80e9)])
    assert at_once(2 * TOGETHER, 1e6) == TOGETHER
    assert at_once(24, 1e6) == 24
    assert at_once(24, 4e9) == 8  # ten would fit
    assert at_once(24, 1e12) == 1
    # few stars too are cut into equal parts
    assert chunk_size(16, 5, 1) == 8
    assert chunk_size(16, 1000, 1) == TOGETHER
    assert chunk_size(16, 1000, 4) == 4 * TOGETHER


@pytest.mark.parametrize("together", [1, 3, 6])
def test_sums_and_rows_do_not_depend_on_it(monkeypatch: pytest.MonkeyPatch, together: int) -> None:
    monkeypatch.setattr(devices, "at_once", lambda rows, each: together)
    rows = {"a": jnp.arange(6.0), "b": jnp.arange(12.0).reshape(6, 2)}

    def function(row):
        return {"square": row["a"] * row["b"]}, row["b"].sum() + row["a"]

    total, second = summed(function, {"square": jnp.array([1.0, 0.0])}, rows, 1.0)
    assert np.allclose(total["square"], np.array([1.0, 0.0]) + np.einsum("i,ij->j", rows["a"], rows["b"]))
    assert np.allclose(second, rows["b"].sum(1) + rows["a"])
    assert np.allclose(one_by_one(lambda row: function(row)[1], rows, 1.0), second)
