"""Lines of the night sky, and whatever else is to be left out: against real spectra, and where it has to arrive."""

import numpy as np
import pytest
from scipy.ndimage import median_filter

from astrogf.base.air import air_to_vacuum
from astrogf.surveys.directory.load import load_directory
from astrogf.surveys.load import load_spectra
from astrogf.surveys.night_sky import ATMOSPHERE, REGULAR, pixels_in, sky_ranges
from astrogf.surveys.options import SurveyOptions
from astrogf.surveys.simulate import LRS_FIRST, LRS_PIXELS, observe, write_lamost_lrs

RED = (6320.0, 6720.0)


@pytest.fixture
def stars(tmp_path):
    """Two simulated stars without a line."""
    rng = np.random.default_rng(2)
    for k in range(2):
        seen = observe(np.full(LRS_PIXELS, 500.0), 60.0, rng)
        write_lamost_lrs(
            tmp_path / f"{k}.fits", LRS_FIRST, seen.flux, seen.ivar,
            ra=10.0 + k, dec=5.0, rv=0.0, subclass="G2", obsid=k + 1, layout="dr1",
        )  # fmt: skip
    return tmp_path


def loaded(stars, **options):
    return load_spectra(stars, SurveyOptions(window=RED, **options), {}, 1850.0).batches[0]


@pytest.fixture(scope="module")
def seen(shared):
    """LAMOST spectra of B to G stars about H alpha, relative to a running median: wavelength, rows, their table."""
    cuts = {"snr_min": 25.0, "spectral_types": "BAFG", "night_sky": True}
    (batch, *_), _, _ = load_directory(
        shared / "spectra" / "lamost_lrs", [(6230.0, 6720.0)], kinds=["lamost_lrs"], **cuts
    )
    flux = np.where(batch.ivar > 0, batch.flux, np.nan)
    smooth = np.stack([median_filter(np.nan_to_num(f, nan=np.nanmedian(f)), 41) for f in flux])
    return batch.wavelength, flux / smooth - 1.0, batch.table


def test_spectra_of_the_pilot_survey_have_the_sky_in_common_in_every_release_and_later_ones_do_not(seen):
    """A stars, which have no lines of their own there: a dip and a bump beside [O I] 6364 and OH 6604. The last range
    has neither, and shows what noise makes of such a figure."""
    wavelength, relative, table = seen
    a_stars = np.char.startswith(np.array(table["subclass"], dtype=str), "A")
    named = np.char.startswith(np.array(table["release"], dtype=str), "LAMOST DR")
    early = np.array(table["mjd"]) < REGULAR
    groups = {"DR1": a_stars & ~named, "of 2011, in DR8": a_stars & named & early, "later": a_stars & ~early}
    assert all(np.sum(rows) > 5 for rows in groups.values())
    found = {}
    for name, rows in groups.items():
        common = np.nanmedian(relative[rows], axis=0)
        ranges = ((6358.0, 6373.0), (6599.0, 6613.0), (6670.0, 6684.0))
        found[name] = [np.ptp(common[pixels_in(wavelength, [r])]) for r in ranges]
    assert found["DR1"][0] > 0.15
    assert found["of 2011, in DR8"][0] > 0.035
    assert min(found["DR1"][1], found["of 2011, in DR8"][1]) > 0.035
    assert max(found["later"]) < 0.025
    assert max(f[2] for f in found.values()) < 0.02
    common = np.nanmedian(relative[groups["DR1"]], axis=0)
    oxygen = np.flatnonzero(pixels_in(wavelength, [(6358.0, 6373.0)]))
    extremes = wavelength[oxygen][[np.argmin(common[oxygen]), np.argmax(common[oxygen])]]
    for release in ("v2.6.4", "LAMOST DR8"):
        assert np.all(pixels_in(extremes, sky_ranges("lamost_lrs", release, 55859)))


def test_water_vapour_comes_and_goes_with_the_night(seen):
    """Depth at 6519 A of all stars of a night, and at two places where the atmosphere has no line."""
    wavelength, relative, table = seen
    nights, mjd = (57042, 57289, 57304, 58575), np.array(table["mjd"])
    depths = {}
    for low in (6516.0, 6636.0, 6650.0):
        there = pixels_in(wavelength, [(low, low + 5.0)])
        depths[low] = [np.nanmean(np.nanmedian(relative[mjd == night], axis=0)[there]) for night in nights]
    assert np.ptp(depths[6516.0]) > 0.025
    assert max(np.ptp(depths[6636.0]), np.ptp(depths[6650.0])) < 0.015
    assert np.all(pixels_in(np.array([6516.0, 6521.0]), sky_ranges("lamost_lrs", "LAMOST DR8", 57289)))


def test_oxygen_of_the_atmosphere_is_deep_in_hot_stars(seen):
    """The gamma band of O2, which F and G stars have under their own lines."""
    wavelength, relative, table = seen
    a_stars = np.char.startswith(np.array(table["subclass"], dtype=str), "A")
    there = pixels_in(wavelength, [(6281.0, 6285.0)])
    assert np.nanmean(np.nanmedian(relative[a_stars], axis=0)[there]) < -0.04
    assert np.all(pixels_in(wavelength[there], sky_ranges("lamost_lrs", "LAMOST DR8", 57289)))


def test_good_pixels_on_sky_lines_are_not_fitted_and_count_as_good(stars):
    batch, with_sky = loaded(stars), loaded(stars, night_sky=True)
    out = pixels_in(batch.wavelength, sky_ranges("lamost_lrs", "v2.6.4"))
    assert 0.1 < out.mean() < 0.5  # more than min_good_fraction = 0.9 would let pass
    assert np.all(np.asarray(batch.ivar)[:, out] == 0.0)
    assert np.all(np.asarray(batch.flux)[:, out] == 0.0)
    np.testing.assert_array_equal(np.asarray(batch.ivar)[:, ~out], np.asarray(with_sky.ivar)[:, ~out])
    assert np.all(np.asarray(with_sky.ivar)[:, out] > 0.0)
    assert list(batch.table["good_fraction"]) == list(with_sky.table["good_fraction"])


def test_ranges_of_ones_own_come_on_top(stars):
    batch, without = loaded(stars, leave_out=((6640.0, 6650.0),)), loaded(stars)
    out = pixels_in(batch.wavelength, [(6640.0, 6650.0)])
    assert np.sum(np.asarray(without.ivar)[:, out] > 0.0) > 0
    np.testing.assert_array_equal(np.asarray(batch.ivar), np.asarray(without.ivar) * ~out)


def test_a_window_of_which_nothing_is_left_is_set_aside_with_a_sentence(stars):
    _, aside, _ = load_directory(stars, [RED], kinds=["lamost_lrs"], leave_out=[(6000.0, 7000.0)])
    assert set(aside["reason"]) == {"no_good_pixels"}
    assert "no pixel in the window 6320-6720 A outside survey.leave_out" in aside["detail"][0]


def test_other_surveys_are_left_alone_and_later_nights_have_the_atmosphere_alone():
    assert sky_ranges("sdss_optical", "v5_7_0") == sky_ranges("apogee_apvisit", "r13", 55000) == ()
    assert sky_ranges("lamost_mrs", "LAMOST DR7", 58000) == ()
    assert sky_ranges("lamost_lrs", "LAMOST DR7", 58000) == sky_ranges("lamost_lrs", "LAMOST DR7") == ATMOSPHERE
    oxygen = float(air_to_vacuum(np.array(6363.776)))
    for release, mjd in (("v2.6.4", 0), ("v2.6.4", 55862), ("LAMOST DR8", 55859)):
        ranges = sky_ranges("lamost_lrs", release, mjd)
        assert pixels_in(np.array([oxygen, oxygen + 7.0]), ranges).tolist() == [True, False]
