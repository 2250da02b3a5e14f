"""Readers on real files: every row of the index, the outside checks of frame and resolution, what is refused.

Where our definition differs from the index's: `release` of APOGEE files is the one inside the file (the index has it
from the file's name: r13 for what says r12, r6-l30e.2 for r6); apVisit is resampled, so its own pixels and range are
in meta (file_pixels, file_range); `sn` of MRS is the blue arm's and `sn2` the red's; `npix` and range of MRS span
both arms; `sn_med` counts padded pixels and absolute fluxes, and so is compared with a tolerance.
"""

import lzma

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from scipy.ndimage import median_filter

from astrogf.base.constants import C_KMS, FWHM_PER_SIGMA
from astrogf.surveys.directory.load import load_directory
from astrogf.surveys.formats.readers import KINDS, read
from astrogf.surveys.spectrum import APOGEE_STEP, UNUSABLE, Reason, SurveyError

FORMATS = {
    "LRS_image": {"lamost_lrs"},
    "LRS_table": {"lamost_lrs"},
    "MRS": {"lamost_mrs_blue", "lamost_mrs_red"},
    "SDSS_spec_full": {"sdss_optical"},
    "SDSS_spec_lite": {"sdss_optical"},
    "apStar": {"apogee_apstar"},
    "apVisit": {"apogee_apvisit"},
    "aspcapStar": {"apogee_aspcapstar"},
}


@pytest.fixture(scope="module")
def index(shared):
    return Table.read(shared / "spectra" / "index.csv", format="ascii.csv")


@pytest.fixture(scope="module")
def everything(shared, index):
    """Path -> pieces of every file of the index; a refusal would raise here."""
    return {row["path"]: read(shared / "spectra" / row["path"]) for row in index}


def test_all_rows_of_the_index(index, everything):
    assert len(index) == 394
    for row in index:
        pieces = everything[row["path"]]
        assert {p.kind for p in pieces} == FORMATS[row["fmt"]], row["path"]
        low = min(p.meta.get("file_range", p.wavelength[[0, -1]])[0] for p in pieces)
        high = max(p.meta.get("file_range", p.wavelength[[0, -1]])[1] for p in pieces)
        # rounded to 0.01 A; and float32 loglam (SDSS: 0.006 A, MRS: 0.004) where the index does not rebuild the grid
        assert (low, high) == pytest.approx((row["wmin"], row["wmax"]), abs=0.02), row["path"]
        assert sum(p.meta.get("file_pixels", len(p.flux)) for p in pieces) == row["npix"], row["path"]
        signal = [p.meta.get("snr_header", p.meta.get("snr_g")) for p in pieces]
        assert signal[0] == pytest.approx(row["sn"], rel=1e-6, abs=0.006), row["path"]
        if row["fmt"] == "MRS":
            assert signal[1] == pytest.approx(row["sn2"], abs=0.006)
        assert pieces[0].meta["ra"] == pytest.approx(row["ra"], abs=1e-5)
        assert pieces[0].meta["dec"] == pytest.approx(row["dec"], abs=1e-5)
        if row["fmt"].startswith("SDSS"):
            assert pieces[0].meta["rv_header"] == pytest.approx(row["z"] * C_KMS, abs=0.01)
            assert (pieces[0].meta["class"], pieces[0].meta["subclass"]) == (row["cls"], row["sub"])
            assert pieces[0].meta["release"] == str(row["release"])
        elif row["fmt"].startswith("ap") or row["fmt"] == "aspcapStar":
            assert pieces[0].meta["rv_header"] == pytest.approx(row["z"], abs=0.01)
            assert pieces[0].meta["object"] == row["obj"]


def test_measured_signal_agrees_with_the_index(index, everything):
    """The index's sn_med against the median of |flux| sqrt(ivar) of our good pixels (and of MRS, of both arms)."""
    for row in index:
        signal = np.concatenate([np.abs(p.flux * np.sqrt(p.ivar))[p.ivar > 0] for p in everything[row["path"]]])
        # apVisit: 1.5 of its pixels go into one of ours
        factor = np.sqrt(12288 / 7700) if row["fmt"] == "apVisit" else 1.0
        assert np.median(signal) / factor == pytest.approx(row["sn_med"], rel=0.08, abs=0.11), row["path"]


def test_pixels_are_clean_and_have_reasons(everything):
    for pieces in everything.values():
        for p in pieces:
            bad = p.ivar == 0
            assert p.flux.dtype == p.ivar.dtype == np.float64
            assert np.isfinite(p.flux).all()
            assert np.isfinite(p.ivar).all()
            assert (p.flux[bad] == 0).all()
            assert np.array_equal(bad, (p.reasons & int(UNUSABLE)) != 0)
            assert p.lsf is None or ((p.lsf > 1).all() and (p.lsf < 150).all())
            assert p.kind in KINDS
            assert len(p.flux) == len(p.ivar) == len(p.andmask) == len(p.ormask) == len(p.reasons)


def test_good_pixels_against_the_files_own_arrays(index, everything, shared):
    """Good pixels counted with astropy alone, from ivar, error and masks as the formats' pages define them."""
    for row in index[[f.startswith(("SDSS", "apStar")) for f in index["fmt"]]]:
        p = everything[row["path"]][0]
        with fits.open(shared / "spectra" / row["path"]) as hdus:
            if row["fmt"].startswith("SDSS"):
                table = hdus[1].data
                good = (table["ivar"] > 0) & (table["flux"] != 0)
                assert np.array_equal(p.flux[p.ivar > 0], table["flux"][p.ivar > 0].astype(float))
                ok = table["wdisp"] > 0
                assert p.lsf[ok] == pytest.approx(table["wdisp"][ok] * 69.0311, rel=1e-4)
            else:
                flux, error = (np.atleast_2d(hdus[i].data)[0] for i in (1, 2))
                good = np.isfinite(flux) & (flux != 0) & (error < 1e5) & (np.atleast_2d(hdus[3].data)[0] & 65 == 0)
        # the outlier rule takes a few more; and 20 pixels of one file have errors of 10,000 to 50,000 times the median
        assert np.count_nonzero(good & (p.ivar == 0)) <= 30, row["path"]
        assert not np.any(~good & (p.ivar > 0)), row["path"]


def test_mrs_grid_is_rebuilt_in_float64(everything, shared):
    path = "lamost_mrs/laspec/med-58270-HIP95119KP01_sp12-076.fits.gz"
    for p in everything[path]:
        loglam = fits.getdata(shared / "spectra" / path, f"COADD_{p.piece[0].upper()}")["LOGLAM"]
        assert p.log_step == 1e-5
        assert np.diff(np.log10(p.wavelength)) == pytest.approx(1e-5, rel=1e-9)
        assert np.abs(np.log10(p.wavelength) - loglam).max() < 3e-7  # float32's own rounding at 3.8


def test_mrs_exposures_are_pieces_too(shared):
    path = shared / "spectra" / "lamost_mrs" / "laspec" / "med-58270-HIP95119KP01_sp12-076.fits.gz"
    coadds, singles = read(path), read(path, exposures=True)
    blue = [p for p in singles if p.kind == "lamost_mrs_blue"]
    assert len(blue) == 4  # NEXP_B
    # their mean against the survey's own coadd, which interpolates and rejects outliers in its own way
    first = max(p.first for p in (*blue, coadds[0]))
    n = min(p.first + len(p.flux) for p in (*blue, coadds[0])) - first
    cut = [(p.flux[first - p.first :][:n], p.ivar[first - p.first :][:n]) for p in (*blue, coadds[0])]
    good = np.all([ivar > 0 for _, ivar in cut], axis=0)
    mean = sum(flux for flux, _ in cut[:4])[good] / 4
    ratio = cut[4][0][good] / mean
    ratio /= median_filter(ratio, 201)  # the survey's coadd has another slope
    assert 1.4826 * np.median(np.abs(ratio - 1)) < 0.01  # the coadd has S/N 65


def lag(a, b, good, reach=30):
    """Shift in pixels by which b lies redwards of a, to a fraction of a pixel (parabola through the peak)."""
    flat = []
    for flux in (a, b):
        whole = np.interp(np.arange(flux.size), np.flatnonzero(good), flux[good])
        whole = median_filter(whole, 3) / median_filter(whole, 151) - 1.0
        flat.append(np.clip(whole, -0.4, 0.2))
    a, b = flat
    score = [np.sum(a[reach:-reach] * b[reach + k : len(b) - reach + k]) for k in range(-reach, reach + 1)]
    top = int(np.argmax(score))
    left, mid, right = score[top - 1 : top + 2]
    return top - reach + 0.5 * (left - right) / (left - 2 * mid + right)


def test_visit_lies_where_the_coadd_moved_by_its_velocity_lies(everything):
    """apVisit (ours: heliocentric, resampled) against apStar (the survey's: rest) of the same M dwarf.

    The lag has to be the coadd's VHELIO, 6.7 and -18.4 km/s, not the visits' own wrong VHELIO of 598 and -243.
    """
    for star, visit in (
        ("2M00452143+1634446", "apVisit-2M00452143+1634446-1"),
        ("2M06154934-0100415", "apVisit-2M06154934-0100415-1"),
    ):
        coadd = next(v[0] for k, v in everything.items() if "/apStar" in k and star in k)
        single = next(v[0] for k, v in everything.items() if visit in k)
        lags = []
        for low, high in ((400, 3100), (3800, 6000), (6500, 8200)):
            suspect = int(Reason.SKY_LINE)
            good = ((coadd.ivar > 0) & (single.ivar > 0) & (single.reasons & suspect == 0))[low:high]
            pixels = lag(coadd.flux[low:high], single.flux[low:high], good)
            lags.append(pixels * APOGEE_STEP * np.log(10) * C_KMS)
        # a tenth of a pixel is 0.4 km/s
        assert np.median(lags) == pytest.approx(coadd.meta["rv_header"], abs=1.0), (star, lags)
        assert single.frame == "heliocentric"
        assert coadd.frame == "rest"


def test_apogee_resolution_is_the_documented_one(everything):
    """R = 22,500 in the mean and 10-15% about it (Wilson et al. 2019), where the coefficients were usable."""
    seen = []
    for path, pieces in everything.items():
        if "/apStar" in path and np.ptp(pieces[0].lsf) > 0:
            seen.append(C_KMS / (np.median(pieces[0].lsf) * FWHM_PER_SIGMA))
    assert len(seen) == 6  # of 8 one has none (DR17), one fitted to noise
    assert all(20_000 < r < 25_000 for r in seen)


def test_pieces_of_a_mixed_directory(shared, index):
    windows = [(4950.0, 5350.0), (6400.0, 6800.0), (15200.0, 15700.0)]
    got = load_directory(shared / "spectra", windows, snr_min=20.0, spectral_types="")
    assert [(b.table["kind"][0], round(b.wavelength[0], -1)) for b in got.batches][:4] == [
        ("lamost_lrs", 4950), ("lamost_lrs", 6400), ("lamost_mrs_blue", 4950), ("lamost_mrs_red", 6400),
    ]  # fmt: skip
    for batch in got.batches:
        assert len(set(batch.table["kind"])) == len(set(batch.table["frame"])) == 1
        assert batch.flux.shape == batch.ivar.shape == (len(batch.table), len(batch.wavelength))
        known = batch.table["kind"][0].startswith(("sdss", "apogee"))
        assert (batch.lsf is not None) == known
        assert not known or (batch.lsf > 0).all()
    blue, red = got.batches[2].table, got.batches[3].table
    assert list(blue["path"]) == list(red["path"])  # the arms of one star share the file
    assert len(blue) == 5  # two of the seven have S/N of 0
    assert list(blue["star"]) == list(red["star"])
    used = {path for batch in got.batches for path in batch.table["path"]}
    assert used | set(got.set_aside["path"]) == set(index["path"])
    assert not used & set(got.set_aside["path"])
    assert set(got.partly["path"]) <= used
    some = got.batches[0].select(np.arange(3))
    assert some.lsf is None
    assert got.batches[-1].select(np.arange(2)).lsf.shape == (2, len(got.batches[-1].wavelength))


def test_files_that_do_not_say_what_they_are(tmp_path):
    text = "# wavelength flux\n" + "".join(f"{5000 + 0.01 * i:.2f} 0.9{i % 10}\n" for i in range(500))
    (tmp_path / "sun.txt").write_text(text)
    (tmp_path / "sun.txt.xz").write_bytes(lzma.compress(text.encode()))
    image = fits.PrimaryHDU(np.ones(1000, dtype=np.float32))
    image.header["CRVAL1"], image.header["CDELT1"] = 5000.0, 0.1
    image.writeto(tmp_path / "image.fits")
    columns = [fits.Column(n, "D", array=a) for n, a in (("WAVE", np.arange(5000.0, 5100.0)), ("FLUX", np.ones(100)))]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(tmp_path / "table.fits")
    for name in ("sun.txt", "sun.txt.xz", "image.fits", "table.fits"):
        with pytest.raises(SurveyError, match="state the unit") as caught:
            read(tmp_path / name)
        assert caught.value.reason == "stated"
    (tmp_path / "letter.txt").write_text("Dear reader,\nthis is no spectrum.\n")
    with pytest.raises(SurveyError, match="not a FITS file"):
        read(tmp_path / "letter.txt")
    fits.PrimaryHDU(np.ones((7, 9, 11))).writeto(tmp_path / "cube.fits")
    with pytest.raises(SurveyError, match="no layout known here") as caught:
        read(tmp_path / "cube.fits")
    assert caught.value.reason == "unknown_release"


def test_reasons_split_into_unusable_and_told():
    assert {r.name for r in Reason if r & UNUSABLE} == {
        "NO_DATA", "NOT_FINITE", "NO_WEIGHT", "SURVEY_MASK", "ABSURD", "CHIP_GAP",
    }  # fmt: skip
