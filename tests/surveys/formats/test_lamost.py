"""The LAMOST LRS reader against the index of real files and against files damaged on purpose."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from astrogf.base.constants import C_KMS
from astrogf.surveys.formats import readers
from astrogf.surveys.simulate import LRS_FIRST, write_lamost_lrs
from astrogf.surveys.spectrum import REASONS, SurveyError, grid


def read(path):
    """The one spectrum of a file."""
    (spectrum,) = readers.read(path)
    return spectrum


@pytest.fixture(scope="module")
def index(shared):
    return Table.read(shared / "spectra" / "index.csv", format="ascii.csv")


def test_every_real_lrs_file_agrees_with_the_index(shared, index):
    lrs = index[[form.startswith("LRS") for form in index["fmt"]]]
    assert len(lrs) == 350
    for row in lrs:
        spectrum = read(shared / "spectra" / row["path"])
        wavelength, meta, good = spectrum.wavelength, spectrum.meta, spectrum.ivar > 0
        assert len(wavelength) == row["npix"]
        assert wavelength[[0, -1]] == pytest.approx([row["wmin"], row["wmax"]], abs=0.006)  # rounded to 0.01
        assert meta["snr_g"] == pytest.approx(row["sn"], abs=0.006)
        # the index takes it of the absolute flux, and padded pixels count there
        snr_median = np.median(np.abs(spectrum.flux[good]) * np.sqrt(spectrum.ivar[good]))
        assert snr_median == pytest.approx(row["sn_med"], rel=0.02, abs=0.06)
        assert (meta["release"], meta["object"]) == (row["release"], row["obj"])
        assert (meta["class"], meta["subclass"]) == (row["cls"], row["sub"])
        assert (meta["ra"], meta["dec"]) == pytest.approx((row["ra"], row["dec"]), abs=1e-5)
        if abs(row["z"]) < 10:
            assert meta["rv_header"] == pytest.approx(row["z"] * C_KMS, abs=0.01)
        else:
            assert np.isnan(meta["rv_header"])
        assert np.all(spectrum.flux[~good] == 0)
        assert np.isfinite(spectrum.flux).all()
        assert np.isfinite(spectrum.ivar).all()


def test_hbeta_lies_where_the_header_velocity_puts_it(shared, index):
    """The core of Hbeta in A and F stars is at 4862.683 A (NIST, vacuum): an outside check of grid and frame.

    Were the wavelengths air, the median would be off by 83 km/s; by 69, were the grid off by one pixel. Only
    the core: the wings of F stars are blended with Fe I lines that pull a centroid red by 30 km/s.
    """
    bright = index[(index["fmt"] == "LRS_image") & (index["sn"] > 40)]
    bright = bright[[str(s)[0] in "AF" for s in bright["sub"]]]
    offsets = []
    for row in bright:
        spectrum = read(shared / "spectra" / row["path"])
        velocity = C_KMS * np.log(spectrum.wavelength / (1 + row["z"]) / 4862.683)
        core = (np.abs(velocity) < 250) & (spectrum.ivar > 0)
        if core.sum() < 6:
            continue  # masked there
        curve, slope, _ = np.polyfit(velocity[core], spectrum.flux[core], 2)
        offsets.append(-slope / (2 * curve))
    assert len(offsets) > 60
    assert abs(np.median(offsets)) < 7


def test_first_row_of_dr1_is_the_flux_and_row_two_is_not_taken_for_wavelength(shared):
    path = shared / "spectra" / "lamost_lrs" / "LearningLAMOST_DR1" / "spec-55862-B6212_sp06-003.fits"
    spectrum = read(path)
    rows = fits.getdata(path)
    good = spectrum.ivar > 0
    assert spectrum.meta["release"] == "v2.6.4"
    assert np.array_equal(spectrum.flux[good], rows[0][good].astype(float))
    assert abs(np.median(rows[2])) < 100  # continuum-subtracted: no wavelength could look like this


@pytest.fixture
def star(tmp_path):
    """A simulated file that reads well, to be damaged."""
    flux = 500.0 + 50.0 * np.sin(np.arange(1000) / 7.0)
    return write_lamost_lrs(
        tmp_path / "star.fits", LRS_FIRST + 900, flux, np.full(1000, 0.04), ra=150.0, dec=20.0, rv=-33.0
    )


def rewrite(path, *, data=None, name="damaged.fits", **cards):
    """The file again with other cards (None deletes one) or data."""
    with fits.open(path) as hdus:
        header, rows = hdus[0].header.copy(), hdus[0].data.copy()
    for key, value in cards.items():
        if value is None:
            del header[key.replace("_", "-") if key == "DC_FLAG" else key]
        else:
            header[key] = value
    out = path.with_name(name)
    header.remove("CHECKSUM"), header.remove("DATASUM")  # of the bytes as they were
    fits.PrimaryHDU(rows if data is None else data, header).writeto(out)
    return out


@pytest.mark.parametrize(
    ("cards", "reason", "said"),
    [
        ({"COEFF1": 0.0}, "bad_header", "COEFF1 = 0.0"),
        ({"COEFF1": 2e-4, "CD1_1": 2e-4}, "bad_header", "0.0001 dex apart"),
        ({"COEFF1": "much"}, "bad_header", "COEFF1"),
        ({"COEFF0": 3.6}, "bad_header", "CRVAL1"),
        ({"COEFF0": 35682.0, "CRVAL1": 35682.0}, "bad_header", "COEFF0 = 35682"),
        ({"COEFF0": 3.56825, "CRVAL1": 3.56825}, "bad_header", "not resampled"),
        ({"COEFF0": 3.5683, "CRVAL1": 3.5683}, "bad_header", "disagree by 69"),
        ({"COEFF0": None, "CRVAL1": None}, "bad_header", "COEFF0 = nan"),
        ({"VACUUM": False}, "bad_header", "VACUUM"),
        ({"HELIO": False}, "bad_header", "HELIO"),
        ({"DATA_V": "LAMOST DR99"}, "unknown_release", "LAMOST DR99"),
        ({"DATA_V": None, "EXTEN0": None}, "unknown_release", "neither DATA_V nor EXTEN0"),
        ({"TELESCOP": "Keck", "ORIGIN": "home", "DATA_V": None}, "unknown_release", "Keck"),
    ],
)
def test_absurd_headers_get_a_sentence(star, cards, reason, said):
    with pytest.raises(SurveyError, match=said) as caught:
        read(rewrite(star, **cards))
    assert caught.value.reason == reason
    assert "damaged.fits" in str(caught.value)


def test_four_rows_are_refused(star):
    with pytest.raises(SurveyError, match="NAXIS2 = 4"):
        read(rewrite(star, data=fits.getdata(star)[:4]))


def test_old_habits_are_understood(star):
    """No DATA_V, a string FIBERID, SN_G for SNRG, float64: all seen in files of before DR4."""
    rows = fits.getdata(star).astype(np.float64)
    old = rewrite(star, data=rows, DATA_V=None, FIBERID="126", SNRG=None, SN_G=17.5, VERSPIPE="2.7.5", OBSID=None)
    meta = read(old).meta
    assert (meta["release"], meta["fiber"], meta["snr_g"], meta["snr_g_key"]) == ("2.7.5", 126, 17.5, "SN_G")


def test_table_form_reads_as_the_image_form(star):
    rows = fits.getdata(star)
    header = fits.getheader(star)
    primary, dropped = fits.PrimaryHDU(), ("NAXIS1", "NAXIS2", "EXTNAME", "CHECKSUM", "DATASUM")
    for card in header.cards:
        if card.keyword not in primary.header and card.keyword not in dropped:
            primary.header.append(card)
    primary.header["DATA_V"] = "LAMOST DR10"
    names = ("FLUX", "IVAR", "WAVELENGTH", "ANDMASK", "ORMASK")
    columns = [fits.Column(name, f"{rows.shape[1]}E", array=rows[i][None]) for i, name in enumerate(names)]
    path = star.with_name("table.fits")
    fits.HDUList([primary, fits.BinTableHDU.from_columns(columns, name="COADD")]).writeto(path)
    image, table = read(star), read(path)
    assert table.meta["release"] == "LAMOST DR10"
    assert np.array_equal(image.flux, table.flux)
    assert np.array_equal(image.ivar, table.ivar)
    assert image.first == table.first


def test_bad_pixels_are_dead_and_quiet(star):
    rows = fits.getdata(star).copy()
    spoiled = np.arange(1000, 1080, 10)
    for pixel, (row, value) in zip(
        spoiled,
        [(0, np.nan), (0, np.inf), (0, 0.0), (1, np.nan), (1, -1.0), (1, 0.0), (3, 1.0), (1, 1e30)],
        strict=True,
    ):
        rows[row, pixel] = value
    rows[4, 1100] = 1.0  # or-mask alone: still good
    rows[0, 1110] *= 2.0**20  # one bit of the exponent
    spectrum = read(rewrite(star, data=rows))
    dead = np.append(spoiled, 1110)
    assert np.all(spectrum.ivar[dead] == 0)
    assert np.all(spectrum.flux[dead] == 0)
    before = read(star)
    assert np.count_nonzero(before.ivar) - np.count_nonzero(spectrum.ivar) == dead.size
    assert spectrum.ivar[1100] > 0
    assert spectrum.ormask[1100] == 1


def test_every_reason_has_a_meaning_and_the_grid_is_one():
    with pytest.raises(SurveyError) as caught:
        read("no/such/file.fits")
    assert caught.value.reason in REASONS
    assert np.array_equal(grid(36900, 50)[10:], grid(36910, 40))
    assert grid(40000, 1)[0] == pytest.approx(1e4, rel=1e-14)
