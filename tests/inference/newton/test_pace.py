"""Steps that turn back: a curve of growth on which whole steps go to and fro."""

import numpy as np

from astrogf.inference.newton.pace import LEAST, paced

FAR = 0.6


def step(x):
    """From where a line is to where its linearisation puts it: 2.4 times too far, or (the second) 0.7 times."""
    return -np.array([2.4, 0.7]) * np.tanh(x)


def iterate(n: int, slowed: bool) -> np.ndarray:
    x, pace, before = np.array([FAR, FAR]), np.ones(2), np.zeros(2)
    for _ in range(n):
        whole = step(x)
        pace, before = (paced(pace, whole, before) if slowed else pace), whole
        x = x + pace * whole
    return x


def test_a_line_that_goes_to_and_fro_comes_to_rest():
    assert abs(iterate(60, slowed=False)[0]) > 0.3
    assert abs(iterate(61, slowed=False)[0]) > 0.3
    np.testing.assert_allclose(iterate(12, slowed=True), 0.0, atol=1e-3)


def test_only_what_turns_back_is_slowed():
    before, whole = np.array([0.2, 0.2, 0.2, 0.0]), np.array([-0.19, -0.05, 0.1, 0.3])
    np.testing.assert_allclose(paced(np.ones(4), whole, before), [0.5, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(paced(np.full(4, 0.5), whole, before), [0.25, 0.75, 0.75, 0.75])
    assert paced(np.array([LEAST]), whole[:1], before[:1])[0] == LEAST
