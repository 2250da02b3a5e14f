"""Directories of files, good and bad, into one batch; labels joined to it."""

import gzip
import os
import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from astrogf.surveys.catalogues.catalogue import find_index, match_labels, read_labels
from astrogf.surveys.directory.load import find_files, group_stars, load_directory, reason_counts
from astrogf.surveys.formats import readers
from astrogf.surveys.simulate import LRS_FIRST, LRS_PIXELS, observe, write_lamost_lrs
from astrogf.surveys.spectrum import REASONS, SurveyError, grid, window_pixels

WINDOW = (4900.0, 5400.0)


def load(directory, window=WINDOW, **cuts):
    """The batch of LAMOST LRS spectra in one window (None: no spectrum), and what was set aside."""
    batches, set_aside, _ = load_directory(directory, [window], kinds=["lamost_lrs"], **cuts)
    assert len(batches) < 2
    return batches[0] if batches else None, set_aside


@pytest.fixture(scope="module")
def real(shared):
    return load(shared / "spectra")


@pytest.fixture(scope="module")
def index(shared):
    return read_labels(shared / "spectra" / "index.csv")


def write_star(path, seed, **cards):
    """A good simulated star over the whole LRS range."""
    rng = np.random.default_rng(seed)
    flux = 500.0 - 100.0 * (rng.random(LRS_PIXELS) < 0.05)
    seen = observe(flux, 60.0, rng)
    settings = {"ra": 10.0 + seed, "dec": 5.0, "rv": 10.0, "subclass": "G2", "obsid": seed + 1} | cards
    return write_lamost_lrs(path, LRS_FIRST, seen.flux, seen.ivar, **settings)


def test_real_directory_every_file_is_in_the_batch_or_has_a_reason(real, index, shared):
    batch, set_aside = real
    assert len(batch.table) + len(set_aside) == len(index) == 394
    assert sorted([*batch.table["path"], *set_aside["path"]]) == sorted(index["path"])
    assert set(set_aside["reason"]) <= set(REASONS)
    # What the index says a file is decides what must have become of it.
    rows = {row["path"]: row for row in index}
    became = dict.fromkeys(batch.table["path"], "used") | dict(set_aside.iterrows("path", "reason"))
    for path, row in rows.items():
        if not row["fmt"].startswith("LRS"):
            expected = {"kind"}
        elif row["cls"] != "STAR":
            expected = {"class"}
        elif row["sub"] != "Non" and row["sub"].lstrip("dg")[0] not in "FGK":
            expected = {"spectral_type"}
        elif row["sn"] < 20:
            expected = {"low_snr", "gap"}
        else:
            expected = {"used", "gap"}
        assert became[path] in expected, (path, became[path])
    assert len(batch.table) >= 200


def test_real_batch_is_clean(real, shared):
    batch, _ = real
    assert batch.flux.shape == batch.ivar.shape == (len(batch.table), batch.wavelength.size)
    assert WINDOW[0] <= batch.wavelength[0] < WINDOW[0] * 10**1e-4
    assert WINDOW[1] >= batch.wavelength[-1] > WINDOW[1] / 10**1e-4
    assert np.diff(np.log10(batch.wavelength)) == pytest.approx(1e-4, abs=1e-12)
    assert np.isfinite(batch.flux).all()
    assert np.isfinite(batch.ivar).all()
    assert np.all((batch.ivar > 0) | ((batch.ivar == 0) & (batch.flux == 0)))
    # one row against astropy's own reading of the file
    row = batch.table[0]
    rows = fits.getdata(shared / "spectra" / row["path"])
    inside = (rows[2] > WINDOW[0]) & (rows[2] < WINDOW[1])
    assert np.array_equal(batch.flux[0], np.where(rows[1][inside] > 0, rows[0][inside], 0).astype(float))


def test_repeats_group_as_in_the_index(real, index):
    stars = dict(zip(index["path"], index["star"], strict=True))
    ours, theirs = list(real[0].table["star"]), [stars[p] for p in real[0].table["path"]]
    assert len(set(zip(ours, theirs, strict=True))) == len(set(ours)) == len(set(theirs)) < len(ours)


def test_labels_join_by_path_obsid_and_position(shared, index, real):
    assert find_index(shared / "spectra" / "lamost_lrs") == (shared / "spectra" / "index.csv").resolve()
    table = real[0].table
    labels = match_labels(table, index)
    assert set(labels["matched_by"]) == {"path"}
    assert np.array_equal(labels["sn"], table["snr"])
    shorter = table.copy()
    shorter["path"] = [p.split("/", 1)[1] for p in table["path"]]  # the fit is run one folder below
    assert np.array_equal(match_labels(shorter, index)["path"], table["path"])
    by_position = match_labels(table["ra", "dec"], index)
    assert set(by_position["matched_by"]) == {"position"}
    assert np.array_equal(by_position["star"], labels["star"])
    by_obsid = match_labels(table[:3], Table({"obsid": [int(table["obsid"][1])], "teff": [5000.0]}))
    assert list(by_obsid["matched_by"]) == ["", "obsid", ""]
    assert list(by_obsid["teff"].mask) == [True, False, True]
    elsewhere = Table({"ra": table["ra"][:1], "dec": table["dec"][:1] + 4 / 3600, "teff": [1.0]})
    assert match_labels(table[:1], elsewhere)["teff"].mask.all()


def test_an_ambiguous_name_matches_nothing():
    stars = Table({"path": ["a.fits"]})
    labels = Table({"path": ["x/a.fits", "y/a.fits"], "teff": [1.0, 2.0]})
    assert match_labels(stars, labels)["teff"].mask.all()
    assert match_labels(Table({"path": ["d/x/a.fits.gz"]}), labels)["teff"][0] == 1.0
    assert match_labels(Table({"path": ["z/a.fits"]}), labels)["teff"].mask.all()


def test_label_tables_that_cannot_be_used(tmp_path):
    (tmp_path / "a.csv").write_text("colour,teff\n1.2,5000\n")
    with pytest.raises(SurveyError, match="none of the columns that name a spectrum"):
        read_labels(tmp_path / "a.csv")
    (tmp_path / "a.xlsx").write_bytes(b"PK\x03\x04")
    with pytest.raises(SurveyError, match="not recognised as a table; expected an ECSV"):
        read_labels(tmp_path / "a.xlsx")
    with pytest.raises(SurveyError, match="cannot be read"):
        read_labels(tmp_path / "gone.ecsv")
    assert find_index(tmp_path) is None


def damage(folder):
    """name -> the reason it must get, every file made from a good one."""
    good = write_star(folder / "template.fits", 99)
    raw, rows, header = good.read_bytes(), fits.getdata(good), fits.getheader(good)
    header.remove("CHECKSUM"), header.remove("DATASUM")  # of the bytes as they were
    packed = gzip.compress(raw)
    good.unlink()

    def fits_with(name, changed=None, **cards):
        changed_header = header.copy()
        changed_header.update(cards)
        fits.PrimaryHDU(rows if changed is None else changed, changed_header).writeto(folder / name)

    def changed(row, where, value):
        out = rows.copy()
        out[row, where] = value
        return out

    inside = (rows[2] > WINDOW[0]) & (rows[2] < WINDOW[1])
    hole = (rows[2] > 5000) & (rows[2] < 5150)
    scattered = inside & (np.arange(LRS_PIXELS) % 4 == 0)
    for name, content in {
        "truncated.fits": raw[: len(raw) // 2],
        "truncated_header.fits": raw[:1000],
        "truncated.fits.gz": packed[: len(packed) // 2],
        "empty.fits": b"",
        "empty.fits.gz": gzip.compress(b""),
        "flipped.fits.gz": packed[:5000] + bytes([packed[5000] ^ 8]) + packed[5001:],
        "picture.fits": b"\x89PNG\r\n\x1a\n" + bytes(3000),
        "page.fits": b"<html>404</html>",
    }.items():
        (folder / name).write_bytes(content)
    expected = dict.fromkeys((p.name for p in folder.iterdir()), "unreadable")
    os.symlink(folder / "nowhere", folder / "link.fits")
    expected["link.fits"] = "unreadable"
    fits_with("no_ivar.fits", changed(1, slice(None), 0.0))
    fits_with("nan_flux.fits", changed(0, slice(None), np.nan))
    fits_with("negative_flux.fits", changed(0, slice(None), -3.0))
    expected |= dict.fromkeys(("no_ivar.fits", "nan_flux.fits", "negative_flux.fits"), "no_good_pixels")
    fits_with("gap.fits", changed(1, hole, 0.0))
    fits_with("nan_gap.fits", changed(0, hole, np.nan))
    fits_with("masked_gap.fits", changed(3, hole, 1.0))
    expected |= dict.fromkeys(("gap.fits", "nan_gap.fits", "masked_gap.fits"), "gap")
    fits_with("scattered.fits", changed(1, scattered, 0.0))
    fits_with("blue.fits", rows[:, :1000])
    fits_with("release.fits", DATA_V="LAMOST DR42")
    fits_with("step.fits", COEFF1=0.0)
    fits_with("shape.fits", rows[:3])
    fits_with("flat.fits", rows[0])
    fits_with("low.fits", SNRG=3.0)
    fits_with("galaxy.fits", CLASS="GALAXY")
    fits_with("dwarf.fits", SUBCLASS="dM3")
    fits_with("giant.fits", SUBCLASS="gM0")  # no G star
    fits_with("white.fits", SUBCLASS="WD")
    return expected | {
        "scattered.fits": "few_good_pixels", "blue.fits": "no_coverage", "release.fits": "unknown_release",
        "step.fits": "bad_header", "shape.fits": "bad_header", "flat.fits": "unknown_release",
        "low.fits": "low_snr", "galaxy.fits": "class",
    } | dict.fromkeys(("dwarf.fits", "giant.fits", "white.fits"), "spectral_type")  # fmt: skip


def test_bad_files_become_rows_and_good_ones_survive(tmp_path):
    expected = damage(tmp_path)
    for seed in range(3):
        write_star(tmp_path / f"good{seed}.fits", seed)
    write_star(tmp_path / "sub" / "deep.fits.gz", 7)
    write_star(tmp_path / "unnamed", 8)  # recognised by content
    shutil.copy(tmp_path / "good1.fits", tmp_path / "z_copy.fits")
    (tmp_path / "notes.txt").write_text("not a spectrum and no row")
    (tmp_path / ".hidden.fits").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.fits")  # would block a reader for ever
    expected["pipe.fits"] = "unreadable"
    os.symlink(tmp_path, tmp_path / "sub" / "loop")
    expected["z_copy.fits"] = "duplicate_file"
    calls = []
    batch, set_aside = load(tmp_path, progress=lambda *args: calls.append(args))
    assert sorted(batch.table["path"]) == [
        *(f"good{i}.fits" for i in range(3)),
        "sub/deep.fits.gz",
        "unnamed",
    ]
    assert dict(set_aside.iterrows("path", "reason")) == expected
    for path, _, detail in set_aside.iterrows():
        assert path in detail
        assert detail.rstrip().endswith(".")
        assert len(detail.split()) >= 6
    assert sum(reason_counts(set_aside).values()) == len(set_aside)
    assert calls[-1] == (len(expected) + 5, len(expected) + 5)


@pytest.mark.parametrize("suffix", [".fits", ".fits.gz"])
def test_flipped_bits_never_end_the_run_nor_move_a_wavelength(tmp_path, suffix):
    """50 seeded files a form: refused with a sentence, or read with pixels that are right where they count.

    In a plain file nothing guards the bytes. What can be asked: the wavelength grid is right, no pixel
    outweighs its neighbours absurdly, and a flux that a flipped bit changed is one pixel only.
    """
    good = write_star(tmp_path / f"good{suffix}", 1)
    raw, truth = bytearray(good.read_bytes()), readers.read(good)[0]
    rng = np.random.default_rng(11)
    for i in range(50):
        flipped = raw.copy()
        # half of the flips in the header, which is a small part of the file but the more dangerous one
        end = 5760 if i % 2 and suffix == ".fits" else len(raw)
        for bit in rng.integers(0, 8 * end, size=1 + i % 3):
            flipped[bit // 8] ^= 1 << (bit % 8)
        (tmp_path / f"flip{i:02d}{suffix}").write_bytes(flipped)
    batch, set_aside = load(tmp_path)
    assert len(batch.table) + len(set_aside) == 51
    assert good.name in list(batch.table["path"])
    assert set(set_aside["reason"]) <= set(REASONS)
    if suffix == ".fits.gz":  # gzip's checksum covers every byte but a few of its own header
        assert len(set_aside) >= 45
    first, n = window_pixels(WINDOW)
    expected = truth.flux[first - LRS_FIRST :][:n]
    for row, flux, ivar in zip(batch.table, batch.flux, batch.ivar, strict=True):
        assert np.count_nonzero(flux != expected) <= 3, row["path"]
        assert ivar.max() < 150 * np.median(ivar)


def test_a_broken_reader_costs_one_row_and_an_interrupt_passes(tmp_path, monkeypatch):
    write_star(tmp_path / "a.fits", 1)
    write_star(tmp_path / "b.fits", 2)
    parse = readers.parse

    def broken(fault):
        def parse_or_break(raw, path, sha256, **more):
            if path.name == "a.fits":
                raise fault
            return parse(raw, path, sha256, **more)

        monkeypatch.setattr(readers, "parse", parse_or_break)

    broken(RuntimeError("oops"))
    batch, set_aside = load(tmp_path)
    assert list(batch.table["path"]) == ["b.fits"]
    assert "RuntimeError: oops" in set_aside["detail"][0]
    broken(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        load(tmp_path)


def test_directories_that_hold_nothing(tmp_path):
    with pytest.raises(SurveyError, match="does not exist"):
        load(tmp_path / "gone")
    with pytest.raises(SurveyError, match="no FITS file"):
        load(tmp_path)
    (tmp_path / "a.fits").write_bytes(b"nothing of the kind")
    with pytest.raises(SurveyError, match="None of the 1 files"):
        load(tmp_path)
    with pytest.raises(SurveyError, match="is a file"):
        find_files(tmp_path / "a.fits")


def test_arguments_that_make_no_sense(tmp_path):
    with pytest.raises(SurveyError, match="No window"):
        load_directory(tmp_path, [])
    with pytest.raises(SurveyError, match="no kind of spectrum; there are: lamost_lrs"):
        load_directory(tmp_path, [WINDOW], kinds=["hubble"])
    for window in ((5400.0, 4900.0), (np.nan, 5000.0), (-1.0, 5000.0), (5000.0, 5000.5)):
        with pytest.raises(SurveyError, match="window"):
            load(tmp_path, window)
    with pytest.raises(SurveyError, match="none of the bands"):
        load(tmp_path, snr_band="V")


def test_signal_to_noise_is_measured_where_the_header_has_none(tmp_path):
    path = write_star(tmp_path / "a.fits", 1)
    with fits.open(path) as hdus:
        for key in ("SNRG", "CHECKSUM", "DATASUM"):
            del hdus[0].header[key]
        hdus.writeto(tmp_path / "b.fits")
    write_star(path, 2, subclass="Non")
    table = load(tmp_path)[0].table
    assert list(table["snr_source"]) == ["SNRG", "measured"]
    # simulated at 60 over the whole range with a slope: about 57 at 4000-5500 A
    assert table["snr"][1] == pytest.approx(57, abs=4)
    assert np.isnan(table["snr_g"][1])


def test_all_set_aside_is_no_batch(tmp_path):
    write_star(tmp_path / "a.fits", 1, snr=5.0)
    batch, set_aside = load(tmp_path)
    assert batch is None
    assert list(set_aside["reason"]) == ["low_snr"]


def test_stars_are_grouped_across_the_meridian_and_without_a_position():
    arcsec = 1 / 3600
    ra = [359.9999, 0.0001 * 0.0, 10.0, 10.0 + 2 * arcsec, 10.0 + 4 * arcsec, np.nan, np.nan]
    dec = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    stars = group_stars(ra, dec, [f"p{i}" for i in range(7)])
    assert stars[0] == stars[1] == "J359.9999+00.0000"
    assert stars[2] == stars[3] == stars[4]
    assert len(set(stars)) == 4


def test_window_pixels_takes_the_ends():
    first, n = window_pixels((grid(36900, 1)[0], grid(36950, 1)[0]))
    assert (first, n) == (36900, 51)
