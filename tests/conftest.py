"""Shared fixtures. Real and reference data lie beside the project and are never part of it."""

from pathlib import Path

import pytest

from astrogf.runtime import use_all_cores, use_compilation_cache
from tests.places import SHARED

use_all_cores()
use_compilation_cache()

import jax  # noqa: E402


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real and reference data, or a skip that says where it was looked for."""
    if not SHARED.is_dir():
        pytest.skip(f"no reference data at {SHARED}")
    return SHARED


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Drop compiled programs after every file: kept, they exhaust memory and the maps that a process may have."""
    yield
    jax.clear_caches()
