"""A directory by way of a store that is made of it: the same spectra to the bit, read once, never out of date."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from astrogf.surveys.directory.gather import LoadedSpectra
from astrogf.surveys.directory.load import load_directory
from astrogf.surveys.formats import readers
from astrogf.surveys.simulate import LRS_FIRST, LRS_PIXELS, observe, write_lamost_lrs
from astrogf.surveys.spectrum import SurveyError
from astrogf.surveys.store import kept
from astrogf.surveys.store.store import Store
from tests.builders.corruption import templates

WINDOWS = [(6400.0, 6500.0), (5000.0, 5100.0), (16000.0, 16100.0)]
LRS = [(4900.0, 5400.0)]


def assert_same(one: LoadedSpectra, other: LoadedSpectra, but: str = "") -> None:
    """To the bit; of the file `but` only that it was set aside."""
    assert len(one.batches) == len(other.batches)
    for a, b in zip(one.batches, other.batches, strict=True):
        for name in ("wavelength", "flux", "ivar", "lsf"):
            np.testing.assert_array_equal(np.asarray(getattr(a, name)), np.asarray(getattr(b, name)), err_msg=name)
        assert a.table.colnames == b.table.colnames
        for name in a.table.colnames:
            np.testing.assert_array_equal(np.asarray(a.table[name]), np.asarray(b.table[name]), err_msg=name)
    assert list(one.set_aside["path"]) == list(other.set_aside["path"])
    a, b = ({row for row in found.set_aside.iterrows() if row[0] != but} for found in (one, other))
    assert a == b
    assert one.partly.pformat(-1, -1) == other.partly.pformat(-1, -1)


@pytest.fixture(scope="module")
def every_layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All are of one star; some are of the same photons, one is a copy and one was cut short."""
    folder = tmp_path_factory.mktemp("layouts")
    files = templates(folder)
    (folder / "below").mkdir()
    shutil.copy(files["lrs_dr1"], folder / "below" / "copy.fits")
    (folder / "below" / "cut.fits").write_bytes(files["apstar"].read_bytes()[:9000])
    return folder


@pytest.mark.parametrize("kind", [*readers.KINDS, *readers.ARMS])
def test_the_spectra_are_those_of_the_files(every_layout: Path, tmp_path: Path, kind: str) -> None:
    given = {"kinds": [kind], "snr_min": 10.0, "leave_out": [(5010.0, 5012.0)]}
    direct = load_directory(every_layout, WINDOWS, **given)
    assert direct.batches
    assert "unreadable" in list(direct.set_aside["reason"])
    # the copy of a file of another kind is of that kind, too
    copied = "" if kind == "lamost_lrs" else "lrs_dr1"
    assert_same(kept.load_kept(every_layout, WINDOWS, folder=tmp_path / "kept", **given), direct, copied)


@pytest.fixture
def stars(tmp_path: Path) -> Path:
    """Twelve spectra of ten stars; the first of one star's two is below the cut."""
    folder, rng = tmp_path / "stars", np.random.default_rng(2)
    for i in range(12):
        seen = observe(np.full(LRS_PIXELS, 500.0), 15.0 if i == 3 else 60.0, rng)
        ra = 10.0 + i % 10 + (0.0002 if i == 10 else 0.0)
        ra = 13.0002 if i == 11 else ra
        write_lamost_lrs(folder / f"{i:02d}.fits", LRS_FIRST, seen.flux, seen.ivar, ra=ra, dec=5.0, rv=1.0, obsid=i)
    return folder


class Reading:
    """What was read, and what was said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files, self.said, self.stop_at = list[str](), list[str](), -1
        monkeypatch.setattr(kept, "of_kind", self.of_kind)

    def of_kind(self, path: Path, kind: str):
        if len(self.files) == self.stop_at:
            raise KeyboardInterrupt
        self.files.append(path.name)
        return [one for one in readers.read(path) if one.kind == kind]

    def load(self, stars: Path, folder: Path) -> LoadedSpectra:
        self.files, self.said = [], []
        return kept.load_kept(stars, LRS, folder=folder, kinds=["lamost_lrs"], say=self.said.append)


def test_files_are_read_once_and_again_only_where_they_changed(
    stars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, folder = Reading(monkeypatch), tmp_path / "kept"
    direct = load_directory(stars, LRS, kinds=["lamost_lrs"])
    assert list(direct.set_aside["reason"]) == ["low_snr"]
    assert_same(read.load(stars, folder), direct)
    assert len(read.files) == 12
    assert "12 files are read once" in read.said[0]
    assert_same(read.load(stars, folder), direct)
    assert set(read.files) <= {"11.fits"}  # the last, of which a kill may have left out a piece
    assert "read from the store" in read.said[0]
    # the same length and another content, as a survey's re-reduction has
    other = observe(np.full(LRS_PIXELS, 500.0), 60.0, np.random.default_rng(9))
    write_lamost_lrs(stars / "05.fits", LRS_FIRST, other.flux, other.ivar, ra=15.0, dec=5.0, rv=1.0, obsid=5)
    changed = read.load(stars, folder)
    assert "changed" in read.said[0]
    assert len(read.files) == 12
    assert_same(changed, load_directory(stars, LRS, kinds=["lamost_lrs"]))
    assert not np.array_equal(changed.batches[0].flux, direct.batches[0].flux)
    os.remove(stars / "07.fits")
    assert len(read.load(stars, folder).batches[0].flux) == 10


def test_it_goes_on_after_an_interruption(stars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, folder = Reading(monkeypatch), tmp_path / "kept"
    monkeypatch.setattr(kept, "ingest", lambda *a, **more: real(*a, chunk=4, **more))
    read.stop_at = 10
    with pytest.raises(KeyboardInterrupt):
        read.load(stars, folder)
    assert len(Store(folder / "spectra.zarr")) == 8
    read.stop_at = -1
    found = read.load(stars, folder)
    assert read.files == ["07.fits", "08.fits", "09.fits", "10.fits", "11.fits"]
    assert_same(found, load_directory(stars, LRS, kinds=["lamost_lrs"]))


real = kept.ingest


def test_a_damaged_store_is_made_anew(stars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, folder = Reading(monkeypatch), tmp_path / "kept"
    direct = read.load(stars, folder)
    (folder / "spectra.zarr" / "flux" / "c" / "0" / "0").write_bytes(b"not what was written")
    assert_same(read.load(stars, folder), direct)
    assert len(read.files) >= 12


def test_a_full_disk_is_no_fault_of_a_spectrum(stars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("astrogf.surveys.store.writer._write_block", full)
    monkeypatch.setattr(kept, "ingest", lambda *a, **more: real(*a, chunk=4, **more))
    with pytest.raises(OSError, match="space"):
        kept.load_kept(stars, LRS, folder=tmp_path / "kept", kinds=["lamost_lrs"])


def test_which_directories(stars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not kept.wanted(stars, "lamost_lrs")
    monkeypatch.setattr(kept, "MANY", 12)
    assert kept.wanted(stars, "lamost_lrs")
    assert kept.wanted(stars, "lamost_mrs")
    assert not kept.wanted(stars / "00.fits", "lamost_lrs")
    grid = kept.grid_of("lamost_mrs")
    assert grid is not None
    assert grid.first == 369000
    assert grid.first + grid.n_pixel == 384000


def test_a_directory_without_spectra_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(SurveyError, match="holds no FITS file"):
        kept.load_kept(tmp_path / "none", LRS, folder=tmp_path / "kept", kinds=["lamost_lrs"])
