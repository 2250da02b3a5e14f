"""Rebinning keeps flux and information, against the integral by cumulative sums."""

import numpy as np
import pytest

from astrogf.surveys.resample import edges_of, overlap, to_grid
from astrogf.surveys.spectrum import Reason


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def test_overlap_is_the_difference_of_the_cumulative_integral(rng):
    """What lies between two edges is the difference of the running integral there, whichever pixels are the finer."""
    centres = np.cumsum(rng.uniform(0.5, 2.0, 300))
    flux, edges = rng.normal(size=300), edges_of(centres)
    running = np.append(0.0, np.cumsum(flux * np.diff(edges)))
    for n in (20, 300, 2000):
        onto = np.linspace(edges[0] - 3.0, edges[-1] + 3.0, n + 1)
        part = overlap(edges, onto)
        np.testing.assert_allclose(part.integral(flux), np.diff(np.interp(onto, edges, running)), atol=1e-10)
        assert part.information(np.ones(300)).sum() == pytest.approx(300.0)


def test_pixels_that_do_not_meet_have_no_overlap():
    part = overlap(np.arange(5.0), np.arange(7.0, 12.0))
    assert len(part.source) == 0
    np.testing.assert_array_equal(part.integral(np.ones(4)), np.zeros(4))


def test_a_detector_on_its_own_grid_is_left_as_it_is(rng):
    wavelength = 10.0 ** (np.arange(696600, 696700) * 6e-6)
    flux, ivar, none = rng.normal(1.0, 0.1, 100), rng.uniform(1.0, 2.0, 100), np.zeros(100, int)
    for way in (slice(None), slice(None, None, -1)):
        on = to_grid(wavelength[way], flux[way], ivar[way], none, none, 6e-6)
        inner = slice(696600 - on.first, 696700 - on.first) if on.first < 696600 else slice(0, None)
        got = on.flux[inner], on.ivar[inner]
        start = max(on.first - 696600, 0)
        np.testing.assert_allclose(got[0], flux[start : start + len(got[0])], rtol=1e-7)
        np.testing.assert_allclose(got[1], ivar[start : start + len(got[1])], rtol=1e-7)


def test_a_value_that_is_not_finite_spoils_no_usable_pixel():
    """A reader judges it unusable; what is left of the pixels that it lay in is the others' alone."""
    wavelength = np.arange(5000.0, 5040.0, 0.05)
    flux, ivar = np.full(len(wavelength), 7.0), np.full(len(wavelength), 4.0)
    reasons, mask = np.zeros(len(wavelength), int), np.zeros(len(wavelength), int)
    flux[300], ivar[500] = np.nan, np.inf
    reasons[[300, 500]] = int(Reason.NOT_FINITE)
    out = to_grid(wavelength, flux, ivar, reasons, mask, 4e-5)
    used = out.ivar > 0
    assert used.sum() > 0.9 * len(out.ivar)
    assert np.isfinite(out.ivar).all()
    np.testing.assert_allclose(out.flux[used], 7.0, rtol=1e-9)
