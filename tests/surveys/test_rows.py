"""Spectra whose pixels lie in a file are those that would be in memory."""

import os
from pathlib import Path

import numpy as np
import pytest

from astrogf.surveys.batch import SpectrumBatch
from astrogf.surveys.directory.load import load_directory
from astrogf.surveys.rows import RowFile, Rows
from astrogf.surveys.simulate import observe, write_apogee_star
from astrogf.surveys.store.fill import ingest
from astrogf.surveys.store.load import load_store

WINDOWS = [(16000.0, 16100.0), (16200.0, 16250.0)]
VALUES = np.random.default_rng(3).normal(size=(5, 7))


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    file = RowFile(tmp_path / "there" / "is none")
    start = [file.put(row) for row in VALUES]
    file.put(np.zeros(3))
    return Rows.of(file, start)


def test_some_rows_are_read(rows: Rows) -> None:
    assert rows.shape == (len(rows), 7) == (5, 7)
    for some in (2, slice(1, 4), np.array([4, 0, 0]), np.array([True, False, True, True, False]), np.array([], int)):
        np.testing.assert_array_equal(rows[some], VALUES[some])
    np.testing.assert_array_equal(np.asarray(rows), VALUES)
    some = rows.select(np.array([3, 1, 2])).select(np.array([True, False, True]))
    np.testing.assert_array_equal(some[:], VALUES[[3, 2]])


def test_rows_of_one_array_have_one_size(tmp_path: Path) -> None:
    file = RowFile(tmp_path)
    with pytest.raises(ValueError, match="too many values"):
        Rows.of(file, [file.put(np.zeros(3)), file.put(np.zeros(4))])


def test_a_file_that_was_cut_short_is_an_error(tmp_path: Path) -> None:
    file = RowFile(tmp_path)
    rows = Rows.of(file, [file.put(np.full(5000, i)) for i in range(3)])
    os.truncate(file._file.fileno(), 5000 * 8 * 2)
    np.testing.assert_array_equal(rows[1], 1.0)
    with pytest.raises(OSError, match="shorter"):
        rows[2]


def test_no_file_is_left_behind(rows: Rows, tmp_path: Path) -> None:
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.fixture(scope="module")
def spectra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("spectra"), np.random.default_rng(1)
    for i in range(4):
        seen = observe(np.full(8575, 1.0 + i), 100.0, rng, bad_fraction=0.01)
        write_apogee_star(
            folder / f"{i}.fits", 696500, seen.flux, seen.ivar, ra=10.0 + i, dec=20.0, rv=5.0, object=f"s{i}"
        )
    (folder / "no.fits").write_bytes(b"SIMPLE  =                    T")
    return folder


def assert_same(one: SpectrumBatch, other: SpectrumBatch) -> None:
    assert isinstance(one.flux, Rows)
    assert isinstance(other.flux, np.ndarray)
    for name in ("flux", "ivar", "wavelength"):
        np.testing.assert_array_equal(np.asarray(getattr(one, name)), getattr(other, name), err_msg=name)
    assert (one.lsf is None) == (other.lsf is None)
    if other.lsf is not None:
        np.testing.assert_array_equal(np.asarray(one.lsf), other.lsf)
    assert one.table.pformat(-1, -1) == other.table.pformat(-1, -1)
    assert [str(c.unit) for c in one.table.columns.values()] == [str(c.unit) for c in other.table.columns.values()]


@pytest.mark.parametrize("stored", [False, True])
def test_a_batch_in_a_file_is_the_batch(spectra: Path, tmp_path: Path, stored: bool) -> None:
    where, read = spectra, load_directory
    if stored:
        where, read = tmp_path / "store", load_store
        ingest(spectra, where, "apogee_apstar")
    there = read(where, WINDOWS, kinds=["apogee_apstar"], file=RowFile(tmp_path))
    here = read(where, WINDOWS, kinds=["apogee_apstar"])
    assert len(there.batches) == 2
    for one, other in zip(there.batches, here.batches, strict=True):
        assert len(one.flux) == 4
        assert_same(one, other)
        keep = np.array([False, True, True, False])
        assert_same(one.select(keep), other.select(keep))
    assert there.set_aside.pformat(-1, -1) == here.set_aside.pformat(-1, -1)


def test_a_full_disk_is_no_fault_of_a_spectrum(spectra: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = RowFile(tmp_path)

    def full(values: np.ndarray) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(file, "put", full)
    with pytest.raises(OSError, match="space"):
        load_directory(spectra, WINDOWS, kinds=["apogee_apstar"], file=file)
