"""One observation in two files counts once: the other is set aside with a sentence, from a directory and a store."""

import numpy as np
import pytest

from astrogf.surveys.directory.load import load_directory
from astrogf.surveys.simulate import write_apogee_star, write_lamost_lrs, write_sdss
from astrogf.surveys.store.fill import ingest
from astrogf.surveys.store.load import load_store

PLACE = {"ra": 120.0, "dec": 20.0}
WINDOW = (5000.0, 5300.0)


def sdss(path, **more):
    write_sdss(path, 35800, np.full(3800, 10.0), np.full(3800, 25.0), **PLACE, rv=0.0, **more)


def test_sdss_full_beside_lite(tmp_path):
    sdss(tmp_path / "spec-lite.fits", mjd=55400)
    sdss(tmp_path / "spec.fits", mjd=55400, full=True)
    sdss(tmp_path / "again.fits", mjd=55401)  # the star once more: other photons
    batches, aside, _ = load_directory(tmp_path, [WINDOW], kinds=["sdss_optical"])
    assert list(batches[0].table["path"]) == ["again.fits", "spec-lite.fits"]
    assert list(aside["path"]) == ["spec.fits"]
    assert list(aside["reason"]) == ["same_photons"]
    assert "spec-lite.fits" in aside["detail"][0]


@pytest.mark.parametrize("from_store", [False, True])
def test_two_releases_of_a_lamost_spectrum(tmp_path, from_store):
    files = tmp_path / "files"
    files.mkdir()
    flux, ivar = np.full(3700, 100.0), np.full(3700, 1.0)
    written = {"dr5": (7, 1.0), "dr8": (7, 1.1), "other": (8, 1.0), "none_1": (0, 1.2), "none_2": (0, 1.3)}
    for name, (obsid, level) in written.items():
        write_lamost_lrs(files / f"{name}.fits", 35800, level * flux, ivar, **PLACE, rv=0.0, snr=100.0, obsid=obsid)
    if from_store:
        ingest(files, tmp_path / "store", "lamost_lrs")
        batches, aside, _ = load_store(tmp_path / "store", [WINDOW])
    else:
        batches, aside, _ = load_directory(files, [WINDOW], kinds=["lamost_lrs"])
    assert list(aside["path"]) == ["dr8.fits"]
    assert list(aside["reason"]) == ["same_photons"]
    assert sorted(batches[0].table["path"]) == ["dr5.fits", "none_1.fits", "none_2.fits", "other.fits"]


def test_two_coadds_of_a_star(tmp_path):
    flux, ivar = np.full(8575, 1000.0), np.full(8575, 0.01)
    for name, level in (("a", 1.0), ("b", 1.1)):
        write_apogee_star(tmp_path / f"{name}.fits", 696500, level * flux, ivar, **PLACE, rv=0.0)
    batches, aside, _ = load_directory(tmp_path, [(16000.0, 16300.0), (15200.0, 15500.0)], kinds=["apogee_apstar"])
    assert [list(b.table["path"]) for b in batches] == [["a.fits"], ["a.fits"]]
    assert list(aside["reason"]) == ["same_photons"]
