"""`astrogf inspect`: its numbers against the index of real files, its sentences, its picture."""

import json

import numpy as np
import pytest
from astropy.table import Table
from matplotlib.image import imread
from typer.testing import CliRunner

from astrogf.cli import app
from astrogf.surveys.simulate import observe, write_lamost_lrs, write_lamost_mrs, write_sdss

PLACE = {"ra": 150.25, "dec": -12.5}


def run(*args):
    return CliRunner().invoke(app, ["inspect", *map(str, args)], env={"COLUMNS": "200", "TERM": "dumb"})


@pytest.fixture
def mixed(tmp_path):
    """A directory of four good files, a bad one and a copy."""
    rng = np.random.default_rng(1)
    folder = tmp_path / "spectra"
    seen = observe(np.full(3000, 500.0), 60.0, rng, bad_fraction=0.02)
    write_lamost_lrs(folder / "good.fits", 36000, *seen[:2], **PLACE, rv=12.0, subclass="G2", object="SIM 1")
    write_lamost_lrs(folder / "faint.fits", 36000, *seen[:2], **PLACE, rv=12.0, subclass="G2", snr=4.0)
    write_lamost_mrs(folder / "mrs.fits", {"blue": (369100, *seen[:2]), "red": (380100, *seen[:2])}, **PLACE)
    write_sdss(folder / "sub" / "sdss.fits", 36000, *seen[:2], **PLACE, rv=-5.0, subclass="M3")
    (folder / "z_copy.fits").write_bytes((folder / "good.fits").read_bytes())
    (folder / "broken.fits").write_bytes((folder / "good.fits").read_bytes()[:9000])
    return folder, seen


def test_a_directory_in_json_on_screen_and_as_a_picture(mixed, tmp_path):
    folder, seen = mixed
    result = run(
        folder, "--json", tmp_path / "o" / "i.json", "--figure", tmp_path / "o" / "i.png", "--window", "4910-5240"
    )
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "o" / "i.json").read_text())
    files = {f["path"]: f for f in record["files"]}
    assert record["summary"] == {
        "files": 6, "readable": 5, "used": 2,
        "by_kind": {"lamost_lrs": 3, "lamost_mrs_blue": 1, "lamost_mrs_red": 1, "sdss_optical": 1},
        "by_reason": {"unreadable": 1, "low_snr": 1, "spectral_type": 1, "duplicate_file": 1},
    }  # fmt: skip
    good = files["good.fits"]
    assert (good["object"], good["used"], good["reason"]) == ("SIM 1", True, "")
    assert good["good_pixels"] == np.count_nonzero(~seen.bad)
    assert good["file_pixels"] == 3909
    assert good["rv_header"] == pytest.approx(12.0, abs=1e-3)
    assert [p["used"] for p in files["mrs.fits"]["pieces"]] == [True, False]
    assert files["mrs.fits"]["pieces"][1]["reason"] == "no_coverage"
    assert files["sub/sdss.fits"]["pieces"][0]["resolution"] == pytest.approx(1844, rel=0.02)
    for said in ("SIM 1", "low_snr", "cut short", "6 files, 5 readable, 2 would be used"):
        assert said in result.output
    picture = imread(tmp_path / "o" / "i.png")
    assert min(picture.shape[:2]) > 400
    assert np.std(picture[..., :3]) > 0.05  # something is drawn


def test_one_file_and_user_errors(mixed, tmp_path):
    folder, _ = mixed
    assert "1 file, 1 readable, 1 would be used" in run(folder / "mrs.fits").output
    broken = run(folder / "broken.fits")
    assert broken.exit_code == 0
    assert "0 readable" in broken.output
    for args, said in (
        ((tmp_path / "gone",), "does not exist"),
        ((folder, "--window", "blue"), "such as 4900-5400"),
        ((folder, "--window", "5400-4900"), "not one"),
        ((folder, "--snr-band", "V"), "none of the bands"),
    ):
        result = run(*args)
        assert result.exit_code == 2
        assert said in result.output


def test_table_of_all_real_files_agrees_with_the_index(shared, tmp_path):
    """Every row: format, pixels, wavelength range, S/N (tests/test_readers.py names the definitions that differ)."""
    out = tmp_path / "i.json"
    assert run(shared / "spectra", "--json", out).exit_code == 0
    files = {f["path"]: f for f in json.loads(out.read_text())["files"]}
    index = Table.read(shared / "spectra" / "index.csv", format="ascii.csv")
    assert set(files) == set(index["path"])
    kinds = {"LRS": "lamost_lrs", "MRS": "lamost_mrs_blue", "SDSS": "sdss_optical", "apStar": "apogee_apstar"}
    kinds |= {"apVisit": "apogee_apvisit", "aspcapStar": "apogee_aspcapstar"}
    for row in index:
        f = files[row["path"]]
        assert f["readable"]
        assert f["kinds"][0] == kinds[row["fmt"].split("_")[0]]
        assert f["file_pixels"] == row["npix"]
        assert f["good_pixels"] <= row["npix"]
        assert f["wavelength"] == pytest.approx([row["wmin"], row["wmax"]], abs=0.02)
        assert f["snr"] == pytest.approx(row["sn"], rel=1e-6, abs=0.006)
