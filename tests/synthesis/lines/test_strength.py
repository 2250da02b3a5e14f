"""Which lines matter: what is weighed on the host is the opacity that is computed."""

import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.synthesis.continuum.opacity import continuum_opacity
from astrogf.synthesis.lines.strength import line_extent, may_reach
from astrogf.synthesis.spectrum import Physics, star_state
from astrogf.synthesis.synthesize import emulated, shipped_lines
from astrogf.synthesis.window import Window

CUT = 1e-4


@pytest.fixture(scope="module")
def star():
    labels = tuple(jnp.asarray(x) for x in (5200.0, 3.5, -0.2, 0.1))
    return star_state(emulated(), Physics(), labels, vmic=jnp.asarray(1.3))


@pytest.fixture(scope="module")
def lines():
    return shipped_lines(5200.0, 5204.0)


def test_strength_is_the_opacity_at_the_centre(star, lines):
    """Of a line alone on its own grid, over the continuous absorption, in the layer where it is largest."""
    structure, gas, vmic = star
    strength, reach, _ = extent = line_extent(lines, [(gas, vmic, jnp.ones(structure.t.shape, bool))], CUT)
    edges = lines.wavelength.min(), lines.wavelength.max()
    nodes = jnp.linspace(*edges, max(2, int((edges[1] - edges[0]) / 100.0) + 2))
    absorption = np.asarray(continuum_opacity(nodes, gas)[0])
    strong = np.argsort(strength)[-3:]
    assert (reach[strength <= CUT] == 0.0).all()
    for k in strong:
        centre = lines.wavelength[k]
        grid = centre * (1.0 + 1e-7 * np.arange(-300, 301))
        window = Window.build(grid, lines.take(np.array([k])), extent.take(np.array([k])), hydrogen=False)
        layers = window.layered(star)
        line = np.asarray(window.opacity(layers, jnp.zeros(0)) - window.linear(layers.kappa))[300]
        node = round(float((centre - nodes[0]) / (nodes[1] - nodes[0])))
        np.testing.assert_allclose((line / absorption[node]).max(), strength[k], rtol=1e-9)


def test_layers_that_do_not_count_are_left_out(star, lines):
    structure, gas, vmic = star
    half = np.arange(structure.t.size) < structure.t.size // 2
    some, rest, every = (
        line_extent(lines, [(gas, vmic, jnp.asarray(c))], CUT) for c in (half, ~half, np.ones_like(half))
    )
    for a, b, c in zip(some, rest, every, strict=True):
        np.testing.assert_allclose(np.maximum(a, b), c, rtol=1e-12)


def test_bound_lets_every_reaching_line_through(star):
    structure, gas, vmic = star
    lines = shipped_lines(5150.0, 5250.0)
    weighed = [(gas, vmic, jnp.ones(structure.t.shape, bool))]
    low, high = 5200.0, 5201.0
    reach = line_extent(lines, weighed, CUT).reach
    away = 299792.458 * np.maximum(np.log(low / lines.wavelength), np.log(lines.wavelength / high)).clip(0.0)
    assert may_reach(lines, low, high, weighed, CUT)[(away > 0) & (reach >= away)].all()
