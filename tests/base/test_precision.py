"""Double precision: switched on in whatever order things are imported, and what single precision would cost."""

import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.synthesis.lines.voigt import voigt
from tests.places import ROOT

ORDERS = {
    "the profile alone": "from astrogf.synthesis.lines.voigt import voigt; import jax.numpy as jnp",
    "jax before": "import jax.numpy as jnp; jnp.ones(2).sum(); from astrogf.synthesis.lines.voigt import voigt",
}


@pytest.mark.parametrize("order", ORDERS)
def test_everything_is_float64_in_a_fresh_process(order):
    """Python floats go in without a type: what comes out shows the switch. The wing is good to ten digits."""
    code = f"{ORDERS[order]}; h = voigt(jnp.asarray(1e3), jnp.asarray(0.01)); print(h.dtype, repr(float(h)))"
    made = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    dtype, value = made.stdout.split()
    assert dtype == "float64"
    u, a = 1e3, 0.01
    wing = a / (np.sqrt(np.pi) * u**2) * (1.0 + 1.5 / u**2)
    assert float(value) == pytest.approx(wing, rel=1e-9)


def worst_correction(dtype) -> float:
    """Largest error (dex) of corrections solved for in `dtype`: 200 lines that overlap at a survey's resolution, with
    the weight of many stars and a prior of 0.3 dex."""
    rng = np.random.default_rng(0)
    at, pixel = np.sort(rng.uniform(0.0, 100.0, 200)), np.arange(0.0, 100.0, 0.7)
    g = np.exp(-0.5 * ((pixel[:, None] - at) / 1.2) ** 2) * rng.uniform(0.01, 1.0, 200)
    a, delta = 1e6 * g.T @ g + np.eye(200) / 0.3**2, rng.normal(0.0, 0.2, 200)
    solved = jnp.linalg.solve(jnp.asarray(a, dtype), jnp.asarray(a @ delta, dtype))
    return float(np.max(np.abs(np.asarray(solved, float) - delta)))


def test_corrections_need_float64():
    assert worst_correction(jnp.float64) < 1e-9
    assert 0.003 < worst_correction(jnp.float32) < 1.0


def test_a_line_profile_needs_float64_in_velocity_only():
    """c ln(wavelength) in float32 is known to 0.12 km/s only, a part of a line's width; H(u, a) itself to 3e-7."""
    u, a = np.linspace(-8.0, 8.0, 401), 0.01
    exact = np.asarray(voigt(jnp.asarray(u), jnp.full(401, a)))
    single = np.asarray(voigt(jnp.asarray(u, jnp.float32), jnp.full(401, a, jnp.float32)), float)
    assert 1e-8 < np.max(np.abs(single - exact)) < 3e-6
    velocity = 299792.458 * np.log(np.linspace(5000.0, 5001.0, 401))
    lost = np.abs(np.float32(velocity) - velocity).max()
    assert 0.05 < lost < 0.13
