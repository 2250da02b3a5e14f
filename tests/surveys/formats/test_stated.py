"""Stated spectra: the formats they come in, and what rebinning does to flux, noise and gaps."""

import lzma

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from astrogf import config
from astrogf.base.air import air_to_vacuum
from astrogf.base.constants import FWHM_PER_SIGMA
from astrogf.base.errors import AstrogfError
from astrogf.fitting import engine
from astrogf.surveys.formats import stated as highres
from astrogf.surveys.spectrum import SurveyError

AIR = np.arange(5000.0, 5040.0, 0.01)
FLUX = 1.0 - 0.6 * np.exp(-0.5 * ((AIR - 5020.0) / 0.06) ** 2)


@pytest.mark.parametrize("form", ["text", "xz", "image", "log image", "table"])
def test_every_form_gives_the_same_spectrum(tmp_path, form):
    path = tmp_path / "spectrum.dat"
    text = "\n".join(f"{w:.5f} {f:.8f}" for w, f in zip(AIR, FLUX, strict=True)).encode()
    if form == "text":
        path.write_bytes(b"# wavelength flux\n" + text)
    elif form == "xz":
        path.write_bytes(lzma.compress(text))
    elif form == "table":
        Table({"WAVE": AIR / 10, "FLUX": FLUX, "ERR": np.full(len(AIR), 0.01)}).write(path, format="fits")
    else:
        axis = np.log10(AIR[0]), 1e-6
        hdu = fits.PrimaryHDU(FLUX)
        hdu.header["CRVAL1"], hdu.header["CDELT1"] = axis if form == "log image" else (AIR[0], 0.01)
        hdu.header["CTYPE1"] = "AWAV" if form == "image" else "LAMBDA"
        if form == "log image":
            hdu.header["DC-FLAG"] = 1
        hdu.writeto(path)
    read = highres.read(path, medium="air", unit="nm" if form == "table" else "Angstrom", snr=100.0)
    wave = 10 ** (np.log10(AIR[0]) + 1e-6 * np.arange(len(AIR))) if form == "log image" else AIR
    np.testing.assert_allclose(read.wavelength, air_to_vacuum(wave), atol=1e-4)
    np.testing.assert_allclose(read.flux, FLUX, atol=1e-7)
    np.testing.assert_allclose(read.ivar, 1e4, rtol=0.01)


def test_rebinning_keeps_the_equivalent_width_and_the_noise():
    rng = np.random.default_rng(1)
    seen = highres.HighRes(AIR, FLUX + rng.normal(0, 0.01, len(AIR)), np.full(len(AIR), 1e4), "")
    first, n = int(np.log10(5002.0) / 3e-6), 1000
    flux, ivar = highres.rebin(seen, first, n, 3e-6)
    wave = 10 ** ((first + np.arange(n)) * 3e-6)
    width = np.sum((1 - flux) * wave * 3e-6 * np.log(10))
    assert width == pytest.approx(0.6 * 0.06 * np.sqrt(2 * np.pi), rel=0.03)
    quiet = np.abs(wave - 5020) > 1
    assert np.std(flux[quiet]) == pytest.approx(np.median(ivar) ** -0.5, rel=0.15)


@pytest.mark.parametrize("finer", [4, 5])
def test_noise_of_pixels_whose_edges_are_the_samples_own_is_not_correlated(finer):
    """Where two pixels share a sample it is, and they scatter less than ivar says: ivar is right for their mean."""
    rng = np.random.default_rng(2)
    step, n = 3e-6, 40_000
    first = int(3.7 / step)
    wave = np.round(10.0 ** (np.arange((first - 9) * finer, (first + n + 9) * finer) * step / finer), 6)
    noisy = highres.HighRes(wave, 1.0 + 0.01 * rng.normal(size=len(wave)), np.full(len(wave), 1e4), "")
    flux, ivar = highres.rebin(noisy, first, n, step)
    z = (flux - 1.0) * np.sqrt(ivar)
    neighbours = np.mean(z[1:] * z[:-1])
    assert np.var(z) + 2.0 * neighbours == pytest.approx(1.0, abs=0.03)
    if finer == 5:
        assert np.var(z) == pytest.approx(1.0, abs=0.03)
    else:
        assert np.var(z) == pytest.approx(0.875, abs=0.02)


def test_degraded_to_a_resolution_it_is_the_gaussian_of_that_resolution():
    first, n = int(np.log10(5006.0) / 1e-4), 22
    seen = highres.HighRes(AIR, FLUX, np.full(len(AIR), 1e4), "")
    flux, _ = highres.rebin(seen, first, n, 1e-4, resolution=1800.0)
    wave = 10 ** ((first + np.arange(n)) * 1e-4)
    sigma = np.hypot(5020.0 / 1800.0 / FWHM_PER_SIGMA, 0.06)
    expected = 0.6 * 0.06 / sigma * np.exp(-0.5 * ((wave - 5020.0) / sigma) ** 2)
    np.testing.assert_allclose(1 - flux, expected, atol=1.5e-3)  # the pixel's own width is not in `expected`


def test_pixels_with_a_bad_sample_or_outside_do_not_count():
    ivar = np.full(len(AIR), 1e4)
    ivar[2000:2003] = 0.0
    _, got = highres.rebin(highres.HighRes(AIR, FLUX, ivar, ""), int(np.log10(4999.0) / 3e-6), 3000, 3e-6)
    wave = 10 ** ((int(np.log10(4999.0) / 3e-6) + np.arange(3000)) * 3e-6)
    assert np.all(got[(wave < 4999.99) | (wave > 5040.02)] == 0)
    assert np.all(got[np.abs(wave - 5020.01) < 0.02] == 0)
    assert np.all(got[(wave > 5001) & (wave < 5019)] > 0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"1 2 3 4\n" * 20, "4 columns"),
        (b"hello\n" * 20, "not a table of numbers"),
        (b"", "is empty"),
        (b"5000 1\n5001 1\n" * 4, "10 rows"),
        (b"\xfd7zXZ rubbish", "damaged"),
        (b"\n".join(b"%d 0" % w for w in range(5000, 5020)), "no positive flux"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_sentence(tmp_path, content, words):
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(SurveyError, match=words):
        highres.read(path, medium="air")


def test_a_wrong_unit_or_medium_is_noticed(tmp_path):
    path = tmp_path / "s.txt"
    path.write_text("\n".join(f"{w} 1.0" for w in range(5000, 5040)))
    with pytest.raises(SurveyError, match="check the unit"):
        highres.read(path, medium="air", unit="um")
    hdu = fits.PrimaryHDU(np.ones(100))
    hdu.header["CRVAL1"], hdu.header["CDELT1"], hdu.header["CTYPE1"] = 5000.0, 0.1, "AWAV"
    hdu.writeto(tmp_path / "s.fits")
    with pytest.raises(SurveyError, match="in air, not vacuum"):
        highres.read(tmp_path / "s.fits", medium="vacuum")
    hdu.header["CUNIT1"] = "Angstrom"
    hdu.writeto(tmp_path / "unit.fits")
    assert highres.read(tmp_path / "unit.fits", medium="air").wavelength[0] == pytest.approx(5001.4, abs=0.1)
    wave = fits.Column("wave", "D", array=np.linspace(500, 600, 100), unit="nm")
    table = fits.BinTableHDU.from_columns([wave, fits.Column("flux", "D", array=np.ones(100))])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "t.fits")
    for name, unit, said in (("unit", "nm", "in Angstrom, not in nm"), ("t", "Angstrom", "in nm, not in Angstrom")):
        with pytest.raises(SurveyError, match=said):
            highres.read(tmp_path / f"{name}.fits", medium="air", unit=unit)


def test_a_stated_spectrum_of_which_nothing_is_used_is_refused(tmp_path):
    """The run must not go on without it; given in Angstrom and stated in nm it would lie in the far infrared."""
    (tmp_path / "s.txt").write_text("\n".join(f"{w:.2f} 1.0" for w in np.arange(5000.0, 5400.0, 0.02)))

    def load(unit, window=(5100.0, 5200.0)):
        survey = {"kind": "stated", "window": list(window)}
        said = {"file": "s.txt", "medium": "air", "unit": unit}
        asked = config.parse({"survey": survey, "spectra": {"sun": said}}, "my.toml")
        return engine.load(asked, tmp_path, lambda *_: None).batches

    assert list(load("Angstrom")[0].table["path"]) == ["sun"]
    with pytest.raises(AstrogfError, match=r"spectra.sun has 5001.* A .* check its unit"):
        load("Angstrom", (6100.0, 6200.0))
    with pytest.raises(AstrogfError, match=r"has wavelengths 50000-53999.8 A if they are in nm: check the unit"):
        load("nm")
