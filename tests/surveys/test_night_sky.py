"""Lines of the night sky, and whatever else is to be left out: against real spectra, and where it has to arrive."""

import numpy as np
import pytest

from astrogf.base.air import air_to_vacuum
from astrogf.surveys.directory.load import load_directory
from astrogf.surveys.load import load_spectra
from astrogf.surveys.night_sky import pixels_in, sky_ranges
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


def test_the_first_release_has_the_sky_in_common_at_these_lines_and_later_ones_do_not(shared):
    """What F and G stars of S/N above 40 have in common beside a running mean: 8% to either side of [O I] 6364 in those
    of pipeline v2.6.4, where they are left out; 1-2%, the stars' own lines, in those of DR6 to DR8."""
    folder, cuts = shared / "spectra" / "lamost_lrs", {"snr_min": 40.0, "spectral_types": "FG", "night_sky": True}
    (batch, *_), _, _ = load_directory(folder, [RED], kinds=["lamost_lrs"], **cuts)
    flux = np.where(batch.ivar > 0, batch.flux, np.nan)
    smooth = np.stack([np.convolve(np.nan_to_num(f, nan=np.nanmedian(f)), np.ones(41) / 41, "same") for f in flux])
    oxygen = (batch.wavelength > 6357.0) & (batch.wavelength < 6374.0)
    first = np.array(batch.table["release"]) == "v2.6.4"
    assert 10 < first.sum() < len(first) - 50
    early, late = (np.nanmedian((flux / smooth - 1.0)[rows], axis=0)[oxygen] for rows in (first, ~first))
    assert np.ptp(early) > 0.12
    assert np.ptp(late) < 0.04
    extremes = batch.wavelength[oxygen][[np.argmin(early), np.argmax(early)]]
    assert np.all(pixels_in(extremes, sky_ranges("lamost_lrs", "v2.6.4")))


def test_good_pixels_on_sky_lines_are_not_fitted_and_count_as_good(stars):
    batch, with_sky = loaded(stars), loaded(stars, night_sky=True)
    out = pixels_in(batch.wavelength, sky_ranges("lamost_lrs", "v2.6.4"))
    assert 0.1 < out.mean() < 0.25  # more than min_good_fraction = 0.9 would let pass
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


def test_other_releases_and_surveys_are_left_alone():
    assert sky_ranges("sdss_optical", "v5_7_0") == sky_ranges("apogee_apvisit", "r13") == ()
    assert sky_ranges("lamost_mrs", "LAMOST DR7") == sky_ranges("lamost_lrs", "LAMOST DR7") == ()
    oxygen = float(air_to_vacuum(np.array(6300.304)))
    assert pixels_in(np.array([oxygen, oxygen + 7.0]), sky_ranges("lamost_lrs", "v2.6.4")).tolist() == [True, False]
