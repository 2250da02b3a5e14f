"""Simulated survey files: what is written comes back, and the noise is what it says it is."""

import numpy as np
import pytest
from astropy.io import fits

from astrogf.base.constants import C_KMS, FWHM_PER_SIGMA
from astrogf.surveys.formats import readers
from astrogf.surveys.simulate import (
    LRS_FIRST,
    LRS_PIXELS,
    observe,
    visit_wavelengths,
    write_apogee_aspcapstar,
    write_apogee_star,
    write_apogee_visit,
    write_lamost_lrs,
    write_lamost_mrs,
    write_mwmstar,
    write_sdss,
)
from astrogf.surveys.simulate.apogee import between_chips
from astrogf.surveys.spectrum import LOG_STEP, UNUSABLE, Reason, SurveyError


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
    (spectrum,) = readers.read(path)
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


def drawn(n, seed, snr=60.0, bad_fraction=0.02):
    return observe(model(n), snr, np.random.default_rng(seed), bad_fraction=bad_fraction)


def assert_same_pixels(spectrum, first, seen, *, rtol=3e-7):
    """The given pixels come back as float32 keeps them, the spoiled ones dead, and nothing outside them is alive."""
    given = slice(first - spectrum.first, first - spectrum.first + len(seen.flux))
    good = ~seen.bad
    assert spectrum.flux[given][good] == pytest.approx(seen.flux[good], rel=rtol)
    assert spectrum.ivar[given][good] == pytest.approx(seen.ivar[good], rel=rtol)
    assert np.array_equal(spectrum.ivar[given] > 0, good)
    assert np.count_nonzero(spectrum.ivar) == good.sum()
    assert np.array_equal(spectrum.ivar == 0, (spectrum.reasons & int(UNUSABLE)) != 0)
    assert np.all(spectrum.flux[spectrum.ivar == 0] == 0)


def assert_about(spectrum, *, rv, kind, release, frame="heliocentric"):
    meta = spectrum.meta
    assert (meta["ra"], meta["dec"]) == pytest.approx((150.25, -12.5))
    if rv is not None:
        assert meta["rv_header"] == pytest.approx(rv, abs=1e-3)
    assert (spectrum.kind, meta["release"], spectrum.frame) == (kind, release, frame)


PLACE = {"ra": 150.25, "dec": -12.5}


@pytest.mark.parametrize(
    ("layout", "release"),
    [
        ("dr1", "v2.6.4"),
        ("dr2", "2.7.5"),
        ("dr8", "LAMOST DR8"),
        ("table", "LAMOST DR10"),
        ("table", "LAMOST DR11 v2.0"),
    ],
)
def test_lamost_lrs_layouts(tmp_path, layout, release):
    seen = drawn(2000, 1)
    given = {"release": release} if release.startswith("LAMOST") else {}
    path = write_lamost_lrs(tmp_path / "x", 36500, *seen[:2], **PLACE, rv=31.0, layout=layout, subclass="F5", **given)
    (spectrum,) = readers.read(path)
    assert_same_pixels(spectrum, 36500, seen)
    assert_about(spectrum, rv=31.0, kind="lamost_lrs", release=release)
    assert spectrum.lsf is None
    assert spectrum.meta["snr_g"] == pytest.approx(60, rel=0.05)


@pytest.mark.parametrize("vectors", [False, True])
def test_lamost_mrs(tmp_path, vectors):
    blue, red = drawn(3900, 2), drawn(3500, 3)
    wavelength = np.geomspace(5330.0, 4930.0, 4096)
    single = drawn(4096, 4, snr=30)
    path = write_lamost_mrs(
        tmp_path / "m.fits.gz",
        {"blue": (369100, *blue[:2]), "red": (380100, *red[:2])},
        **PLACE,
        exposures={"blue": [(wavelength, *single[:2])]},
        vectors=vectors,
    )
    first, second = readers.read(path)
    assert_same_pixels(first, 369100, blue)
    assert_same_pixels(second, 380100, red)
    assert_about(first, rv=None, kind="lamost_mrs_blue", release="LAMOST DR8")
    assert (first.piece, second.piece, second.kind, second.log_step) == ("blue", "red", "lamost_mrs_red", 1e-5)
    one, coadd = readers.read(path, exposures=True)
    assert (one.kind, one.piece, coadd.piece) == ("lamost_mrs_blue", "B-83900000", "red")
    # what was taken from a detector holds the information that was in it (edges and holes cost a little)
    assert one.ivar.sum() == pytest.approx(single.ivar.sum(), rel=0.02)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("era", "release"), [("legacy", "26"), ("boss", "v5_10_0"), ("sdss5", "v6_1_3")])
def test_sdss(tmp_path, era, full, release):
    seen = drawn(3900, 5)
    wdisp = 0.8 + 0.4 * np.linspace(0, 1, 3900) ** 2
    path = write_sdss(tmp_path / "s.fits", 35800, *seen[:2], **PLACE, rv=-77.0, era=era, full=full, wdisp=wdisp)
    (spectrum,) = readers.read(path)
    assert_same_pixels(spectrum, 35800, seen)
    assert_about(spectrum, rv=-77.0, kind="sdss_optical", release=release)
    assert spectrum.lsf == pytest.approx(wdisp * 1e-4 * np.log(10) * C_KMS, rel=1e-6)
    on_sky = np.abs(spectrum.wavelength - 5578.9) < 3.5
    assert np.all(spectrum.reasons[on_sky] & int(Reason.SKY_LINE))
    assert np.all(spectrum.ivar[on_sky & ~seen.bad] > 0)


@pytest.mark.parametrize("era", ["r6", "dr17"])
@pytest.mark.parametrize("visits", [1, 3])
def test_apstar(tmp_path, era, visits):
    seen = drawn(8575, 6)
    path = write_apogee_star(tmp_path / "a.fits", 696500, *seen[:2], **PLACE, rv=14.5, era=era, visits=visits)
    (spectrum,) = readers.read(path)
    gaps = between_chips()
    seen = seen._replace(bad=seen.bad | gaps)
    assert_same_pixels(spectrum, 696500, seen, rtol=3e-7)
    assert_about(spectrum, rv=14.5, kind="apogee_apstar", release=era, frame="rest")
    assert spectrum.wavelength[0] == pytest.approx(10**4.179, rel=1e-12)
    resolution = C_KMS / FWHM_PER_SIGMA / np.median(spectrum.lsf)
    assert resolution == pytest.approx(22500, rel=1e-3 if era == "dr17" else 0.1)
    assert np.all(spectrum.reasons[gaps][200:-200] & int(Reason.CHIP_GAP | Reason.NO_DATA | Reason.NOT_FINITE))
    assert np.all(spectrum.reasons[600:640] & int(Reason.SKY_LINE))
    assert len(readers.read(path, exposures=True)) == (3 if visits == 3 else 1)


def test_aspcapstar(tmp_path):
    seen = drawn(8575, 7)
    flux, ivar = seen.flux / 800, seen.ivar * 800**2
    path = write_apogee_aspcapstar(tmp_path / "a.fits.gz", 696500, flux, ivar, **PLACE, rv=2.5)
    (spectrum,) = readers.read(path)
    assert_same_pixels(spectrum, 696500, seen._replace(flux=flux, ivar=ivar, bad=seen.bad | between_chips()))
    assert_about(spectrum, rv=2.5, kind="apogee_aspcapstar", release="r6", frame="rest")
    assert spectrum.meta["subclass"] == "GKd_a"


def test_apvisit_comes_back_heliocentric_with_its_lines_information_and_noise(tmp_path):
    """Lines of a star at 50 km/s seen at rv - bc; what is read has them at rv, and a chi2 as to_grid promises."""
    bc, rv = -18.0, 50.0
    wavelength = visit_wavelengths()
    lines = np.array([15250.0, 15400.0, 15700.0, 15950.0, 16100.0, 16300.0, 16550.0, 16800.0])
    centres = lines * (1 + (rv - bc) / C_KMS)

    def truth(at, centres):
        depth = np.exp(-0.5 * ((at[..., None] - centres) / 0.45) ** 2).sum(axis=-1)
        return 1000.0 * (1 - 0.4 * depth)

    clean = truth(wavelength, centres)
    rng = np.random.default_rng(8)
    sigma = 10.0 * np.ones_like(clean)
    noisy, ivar = clean + sigma * rng.standard_normal(clean.shape), sigma**-2.0
    ivar[1, 1000:1010] = 0
    noisy[1, 1000:1010] = 1e6
    path = write_apogee_visit(tmp_path / "v.fits", noisy, ivar, **PLACE, bc=bc, rv=rv)
    (spectrum,) = readers.read(path)
    assert_about(spectrum, rv=rv, kind="apogee_apvisit", release="r6")
    good = spectrum.ivar > 0
    assert spectrum.ivar.sum() == pytest.approx(ivar.sum(), rel=0.002)
    expected = truth(spectrum.wavelength, lines * (1 + rv / C_KMS))
    pull = ((spectrum.flux - expected) * np.sqrt(spectrum.ivar))[good]
    assert 0.67 < np.var(pull) < 1.0
    assert abs(np.mean(pull)) < 4 / np.sqrt(pull.size)
    # the mean of a line's position, by the depth-weighted centroid of the eight together: 0.1 pixel is 0.4 km/s
    shifts = []
    for line in lines:
        velocity = C_KMS * (spectrum.wavelength / line - 1)
        near = np.abs(velocity - rv) < 30
        depth = 1 - spectrum.flux[near] / 1000
        shifts.append(np.sum(depth * velocity[near]) / np.sum(depth))
    assert np.mean(shifts) == pytest.approx(rv, abs=0.4)
    hole = 10.0 ** (np.log10(wavelength[1, 1005] * (1 + bc / C_KMS)))
    assert spectrum.ivar[np.argmin(np.abs(spectrum.wavelength - hole))] == 0
    assert spectrum.flux.max() < 1100


def test_mwmstar(tmp_path):
    boss, apogee = drawn(4000, 9), drawn(8575, 10)
    spectra = {"boss/apo": (35800, *boss[:2]), "apogee/lco": (696500, *apogee[:2])}
    path = write_mwmstar(tmp_path / "m.fits", spectra, **PLACE, rv=-3.25)
    one, two = readers.read(path)
    assert_same_pixels(one, 35800, boss)
    assert_same_pixels(two, 696500, apogee)
    assert_about(one, rv=-3.25, kind="mwmstar_boss", release="sdss5", frame="rest")
    assert_about(two, rv=-3.25, kind="mwmstar_apogee", release="sdss5", frame="rest")
    assert (one.piece, two.piece, one.log_step, two.log_step) == ("boss/apo", "apogee/lco", 1e-4, 6e-6)
    assert one.lsf is None
    assert two.meta["object"] == "54392544"
    with fits.open(path) as hdus:
        kept = [column for column in hdus[1].columns if column.name != "wavelength"]
        fits.HDUList([hdus[0], fits.BinTableHDU.from_columns(kept)]).writeto(tmp_path / "visit.fits")
    with pytest.raises(SurveyError, match="mwmVisit"):
        readers.read(tmp_path / "visit.fits")
    with pytest.raises(SurveyError, match="without a spectrum"):
        readers.read(write_mwmstar(tmp_path / "e.fits", {}, **PLACE, rv=0.0))


def test_checksums_hold_by_astropy_too_and_a_changed_byte_is_seen(tmp_path):
    seen = drawn(8575, 11)
    path = write_apogee_star(tmp_path / "a.fits", 696500, *seen[:2], **PLACE, rv=0.0)
    with fits.open(path, checksum=True) as hdus:  # a warning here would be an error
        assert all(hdu.verify_checksum() == hdu.verify_datasum() == 1 for hdu in hdus)
        data, block = hdus[1].fileinfo()["datLoc"], hdus[1].fileinfo()["hdrLoc"]
    raw = bytearray(path.read_bytes())
    for at, said in ((data + 5000, "DATASUM"), (raw.find(b"CRVAL1", block) + 40, "CHECKSUM")):
        changed = raw.copy()
        changed[at] ^= 1
        (tmp_path / "b.fits").write_bytes(changed)
        with pytest.raises(SurveyError, match=said):
            readers.read(tmp_path / "b.fits")


def test_every_writer_gives_the_same_bytes_twice(tmp_path):
    seen = drawn(3000, 12)
    pair = seen[:2]
    chips = np.full((3, 4096), 100.0), np.ones((3, 4096))
    for name, write in {
        "table": lambda p: write_lamost_lrs(p, 36000, *pair, **PLACE, rv=0.0, layout="table"),
        "mrs": lambda p: write_lamost_mrs(p, {"blue": (369100, *pair)}, **PLACE),
        "sdss": lambda p: write_sdss(p, 36000, *pair, **PLACE, rv=0.0, full=True),
        "mwm": lambda p: write_mwmstar(p, {"boss/lco": (36000, *pair)}, **PLACE, rv=0.0),
        "star": lambda p: write_apogee_star(p, 697000, *pair, **PLACE, rv=0.0, visits=2),
        "aspcap": lambda p: write_apogee_aspcapstar(p, 697000, *pair, **PLACE, rv=0.0),
        "visit": lambda p: write_apogee_visit(p, *chips, **PLACE, bc=0.0, rv=0.0),
    }.items():
        one, two = (write(tmp_path / folder / f"{name}.fits.gz") for folder in "ab")
        assert one.read_bytes() == two.read_bytes(), name
