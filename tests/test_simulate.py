"""Simulated survey files: what is written comes back, and the noise is what it says it is."""

import numpy as np
import pytest
from astropy.io import fits

from surveys.lamost import read
from surveys.simulate import LRS_FIRST, LRS_PIXELS, observe, write_lamost_lrs
from surveys.spectrum import LOG_STEP, SurveyError


def model(n):
    return 800.0 - 300.0 * np.exp(-0.5 * ((np.arange(n) - n / 2) / 6.0) ** 2)


@pytest.mark.parametrize("name", ["spec.fits", "spec.fits.gz"])
def test_round_trip_to_float32(tmp_path, name):
    rng = np.random.default_rng(1)
    seen = observe(model(600), 50.0, rng, tilt=(0.2, -0.05), bad_fraction=0.03)
    first = 36800
    path = write_lamost_lrs(
        tmp_path / name, first, seen.flux, seen.ivar, ra=10.5, dec=-3.25, rv=42.0, object="SIM 1",
        subclass="G5", snr=48.3, obsid=17,
    )  # fmt: skip
    spectrum = read(path)
    assert (spectrum.first, len(spectrum.flux)) == (LRS_FIRST, LRS_PIXELS)
    given = slice(first - LRS_FIRST, first - LRS_FIRST + 600)
    good = ~seen.bad
    assert np.array_equal(spectrum.flux[given][good], seen.flux[good].astype(np.float32).astype(float))
    assert np.array_equal(spectrum.ivar[given], seen.ivar.astype(np.float32).astype(float))
    assert np.count_nonzero(spectrum.ivar) == good.sum()
    meta = spectrum.meta
    assert meta["rv_header"] == pytest.approx(42.0, abs=1e-6)
    assert (meta["ra"], meta["dec"], meta["snr_g"]) == pytest.approx((10.5, -3.25, 48.3))
    assert (meta["object"], meta["subclass"], meta["obsid"]) == ("SIM 1", "G5", "17")


def test_same_arguments_give_the_same_bytes(tmp_path):
    def write(name):
        seen = observe(model(300), 80.0, np.random.default_rng(5))
        return write_lamost_lrs(tmp_path / name / "s.fits.gz", 36900, *seen[:2], ra=1.0, dec=2.0, rv=0.0)

    assert write("a").read_bytes() == write("b").read_bytes()


def test_header_holds_what_a_real_one_holds(tmp_path, shared):
    """Every card by which the reader judges a DR8 file stands in the simulated one with the same type."""
    real = fits.getheader(
        shared / "spectra" / "lamost_lrs" / "JunHuiLiu_CCF" / "spec-57289-EG030712S014809B01_sp14-064.fits.gz"
    )
    path = write_lamost_lrs(tmp_path / "s.fits", 36900, model(300), np.ones(300), ra=1.0, dec=2.0, rv=3.0)
    simulated = fits.getheader(path)
    for key in (
        *(
            "BITPIX",
            "NAXIS",
            "NAXIS1",
            "NAXIS2",
            "DATA_V",
            "EXTEN0",
            "EXTNAME",
            "TELESCOP",
            "ORIGIN",
            "HELIO",
        ),
        *("VACUUM", "COEFF0", "COEFF1", "CRVAL1", "CD1_1", "CRPIX1", "CTYPE1", "DC-FLAG", "WFITTYPE"),
    ):
        assert simulated[key] == real[key], key
    for key in ("RA", "DEC", "Z", "Z_ERR", "SNRG", "OBSID", "FIBERID", "CLASS", "SUBCLASS", "DESIG", "LMJD"):
        assert type(simulated[key]) is type(real[key]), key


def test_noise_is_gaussian_with_the_stated_ivar():
    rng = np.random.default_rng(2)
    truth = model(20000)
    seen = observe(truth, 60.0, rng, snr_slope=0.4, bad_fraction=0.04)
    good = ~seen.bad
    pull = (seen.flux - truth)[good] * np.sqrt(seen.ivar[good])
    n = good.sum()
    assert abs(pull.mean()) < 4 / np.sqrt(n)
    assert abs(pull.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs(np.mean(pull[1:] * pull[:-1])) < 4 / np.sqrt(n)
    assert np.mean(np.abs(pull) < 1) == pytest.approx(0.6827, abs=0.015)
    snr = truth[good] * np.sqrt(seen.ivar[good])
    assert np.median(snr) == pytest.approx(60.0, rel=0.01)
    assert snr[-1000:].mean() / snr[:1000].mean() == pytest.approx(1.2 / 0.8, rel=0.03)
    assert seen.bad.mean() == pytest.approx(0.04, abs=0.01)


def test_tilt_and_ivar_scale_and_outliers():
    truth = np.full(5000, 300.0)
    tilted = observe(truth, 1e6, np.random.default_rng(3), tilt=(0.1,), bad_fraction=0)
    assert tilted.flux[-1] / tilted.flux[0] == pytest.approx(np.exp(0.2), rel=1e-4)
    plain = observe(truth, 50.0, np.random.default_rng(3), bad_fraction=0)
    scaled = observe(truth, 50.0, np.random.default_rng(3), bad_fraction=0, ivar_scale=0.55)
    assert np.array_equal(plain.flux, scaled.flux)
    assert scaled.ivar == pytest.approx(0.55 * plain.ivar)
    hit = observe(truth, 50.0, np.random.default_rng(3), bad_fraction=0, outlier_fraction=0.02)
    pull = (hit.flux - truth) * np.sqrt(hit.ivar)
    assert np.mean(pull > 4.5) == pytest.approx(0.02, abs=0.006)


def test_bad_arguments_get_a_sentence(tmp_path):
    with pytest.raises(SurveyError, match="finite with a positive median"):
        observe(np.full(50, np.nan), 10.0, np.random.default_rng(0))
    with pytest.raises(SurveyError, match="above 0"):
        observe(model(50), 0.0, np.random.default_rng(0))
    with pytest.raises(SurveyError, match="leave the range"):
        write_lamost_lrs(tmp_path / "s.fits", 35600, model(50), np.ones(50), ra=0.0, dec=0.0, rv=0.0)
    with pytest.raises(SurveyError, match="one length"):
        write_lamost_lrs(tmp_path / "s.fits", 36900, model(50), np.ones(40), ra=0.0, dec=0.0, rv=0.0)
    assert LOG_STEP == 1e-4
