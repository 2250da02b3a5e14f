"""The store: what goes in comes out, a kill at any point changes nothing, damage is named."""

import json
import shutil

import numpy as np
import pytest
import zarr

from astrogf.surveys.spectrum import SurveyError
from astrogf.surveys.store import writer as storewriter
from astrogf.surveys.store.store import COLUMNS, GRIDS, PIXELS, Store, create, summary
from astrogf.surveys.store.stream import stream
from astrogf.surveys.store.writer import open_writer
from tests.builders.filled_store import SMALL, Killed, fill, hashes, small_spectrum


def test_what_goes_in_comes_out(tmp_path):
    fill(tmp_path / "s", range(30))
    store = Store(tmp_path / "s")
    numbers = [i for i in range(30) if i % 5 != 3]
    assert len(store) == len(numbers) == 24
    assert store.complete
    (batch,) = stream(store, 24)
    for row, i in enumerate(numbers):
        flux, ivar, meta = small_spectrum(i)
        assert np.array_equal(batch.flux[row], flux.astype(np.float32))
        assert np.array_equal(batch.ivar[row], ivar.astype(np.float32))
        assert batch.table["path"][row] == meta["path"]
        assert batch.table["ra"][row] == meta["ra"]
        assert json.loads(batch.table["meta"][row]) == {"extra": i}
        assert batch.table["good_fraction"][row] == pytest.approx((ivar > 0).mean())
    assert batch.table["ra"].unit == "deg"
    assert np.array_equal(batch.wavelength, SMALL.wavelength)
    assert store.set_aside["path"].tolist() == [f"{i:03d}.fits" for i in range(3, 30, 5)]
    assert store.verify() == []
    # two neighbours in number lie at one place and are one star
    assert len(set(store.stars)) == len({i // 2 for i in numbers})


def test_another_zarr_reader_sees_the_same(tmp_path):
    """The store is plain Zarr: opened without a line of ours."""
    fill(tmp_path / "s", range(12))
    root = zarr.open_group(tmp_path / "s", mode="r")
    assert root["flux"].shape == (10, SMALL.n_pixel)
    assert root["table/path"].shape == (10,)
    assert root["flux"].metadata.dimension_names == ("star", "pixel")
    assert np.array_equal(root["flux"][0], small_spectrum(0)[0].astype(np.float32))
    assert root["wavelength"].attrs["medium"] == "vacuum"
    assert root["table/ra"].attrs["unit"] == "deg"


@pytest.mark.parametrize("select", [None, "bool", "index", "function"])
@pytest.mark.parametrize("size", [3, 8, 100])
def test_stream_has_one_shape_and_every_selected_row_once(tmp_path, select, size):
    fill(tmp_path / "s", range(30))
    store = Store(tmp_path / "s")
    all_paths = store.column("path")
    keep = np.zeros(len(store), dtype=bool)
    keep[[0, 7, 8, 20, 23]] = True
    given = {"bool": keep, "index": np.flatnonzero(keep), "function": lambda t: np.isin(t["path"], all_paths[keep])}
    expected = all_paths if select is None else all_paths[keep]
    batches = list(stream(store, size, given.get(select), window=(4900.0, 4920.0)))
    inside = (SMALL.wavelength >= 4900) & (SMALL.wavelength <= 4920)
    assert {b.flux.shape for b in batches} == {(size, inside.sum())} == {b.ivar.shape for b in batches}
    assert {len(b.table) for b in batches} == {size}
    real = np.concatenate([b.table["path"][~b.table["padding"]] for b in batches])
    assert real.tolist() == expected.tolist()
    assert sum(b.table["padding"].sum() for b in batches) == -len(expected) % size
    assert all((b.ivar[b.table["padding"]] == 0).all() for b in batches)
    last = batches[-1]
    i = int(str(last.table["path"][~last.table["padding"]][-1])[:3])
    row = np.flatnonzero(~last.table["padding"])[-1]
    assert np.array_equal(last.flux[row], small_spectrum(i)[0][inside].astype(np.float32))
    unpadded = list(stream(store, size, given.get(select), pad=False))
    assert sum(len(b.table) for b in unpadded) == len(expected)


def test_batches_are_not_overwritten_by_later_ones(tmp_path):
    fill(tmp_path / "s", range(30))
    batches = list(stream(tmp_path / "s", 4))
    assert np.array_equal(batches[0].flux[0], small_spectrum(0)[0].astype(np.float32))


def test_a_kill_before_or_after_any_write_changes_nothing(tmp_path, monkeypatch):
    """Appending to a store whose last chunk is half full, killed at each of its writes in turn."""
    whole, start = tmp_path / "whole", tmp_path / "start"
    fill(start, range(12))
    shutil.copytree(start, whole)
    fill(whole, range(12, 43))
    truth = hashes(whole)
    write_block, append = storewriter._write_block, storewriter.journal.append
    n_writes = 0

    def counted(real, *args):
        nonlocal n_writes
        n_writes += 1
        if n_writes == stop_before:
            raise Killed
        result = real(*args)
        if n_writes == stop_after:
            raise Killed
        return result

    monkeypatch.setattr(storewriter, "_write_block", lambda *args: counted(write_block, *args))
    monkeypatch.setattr(storewriter.journal, "append", lambda *args: counted(append, *args))
    stop_before = stop_after = None
    shutil.copytree(start, tmp_path / "counted")
    fill(tmp_path / "counted", range(12, 43))
    total = n_writes
    steps = len(PIXELS) + len(COLUMNS) + 1
    assert total == 4 * steps  # three full chunks and a tail
    # most in the step that fills up the old tail, which is the dangerous one
    for stop in [2, steps - 1, steps, total]:
        for stop_before, stop_after in ((stop, None), (None, stop)):
            n_writes = 0
            path = tmp_path / f"killed{stop}{stop_before}"
            shutil.copytree(start, path)
            with pytest.raises(Killed):
                fill(path, range(12, 43))
            (path / "flux" / "c" / "9.abc.partial").touch()
            stop_before = stop_after = None
            done = len(Store(path)) + sum(len(step.aside) for step in Store(path).steps)
            fill(path, range(done, 43))
            assert hashes(path) == truth, stop


def test_a_line_that_was_cut_off_is_forgotten_and_a_damaged_one_is_named(tmp_path):
    fill(tmp_path / "s", range(32))
    truth = hashes(tmp_path / "s")
    file = tmp_path / "s" / "journal.jsonl"
    raw = file.read_bytes()
    last = raw[:-1].rfind(b"\n") + 1
    file.write_bytes(raw[: last + 100])
    assert not Store(tmp_path / "s").complete
    n = len(Store(tmp_path / "s"))
    done = n + sum(len(step.aside) for step in Store(tmp_path / "s").steps)
    assert 0 < done < 32
    fill(tmp_path / "s", range(done, 32))
    assert hashes(tmp_path / "s") == truth
    file.write_bytes(raw.replace(b"too faint", b"too bright", 1))
    with pytest.raises(SurveyError, match="damaged in line 1"):
        Store(tmp_path / "s")


@pytest.mark.parametrize("name", ["flux", "ivar", "table/path"])
@pytest.mark.parametrize("how", ["flipped", "missing", "short", "swapped"])
def test_a_damaged_chunk_is_named(tmp_path, name, how):
    fill(tmp_path / "s", range(30))
    store = tmp_path / "s"
    tail = "/0" if name in PIXELS else ""
    file, other = store / f"{name}/c/1{tail}", store / f"{name}/c/0{tail}"
    raw = file.read_bytes()
    if how == "flipped":
        file.write_bytes(raw[:50] + bytes([raw[50] ^ 1]) + raw[51:])
    elif how == "missing":
        file.unlink()
    elif how == "short":
        file.write_bytes(raw[:-3])
    else:  # a whole and valid chunk, but of other stars
        file.write_bytes(other.read_bytes())
    column = name.removeprefix("table/")
    with pytest.raises(SurveyError, match=rf"chunk 1 of {column} \(spectra 8-15, file {name}/c/1") as raised:
        list(stream(store, 8))
    assert raised.value.args[0].endswith(".")
    assert len(Store(store).verify()) == 1
    # pixels that are not wanted are not read; the paths are, since stars are named by them
    assert name not in PIXELS or len(list(stream(store, 8, np.arange(8)))) == 1


def test_a_damaged_tail_is_not_taken_for_an_unfinished_one(tmp_path):
    fill(tmp_path / "s", range(12))
    file = tmp_path / "s" / "flux" / "c" / "1" / "0"
    raw = bytearray(file.read_bytes())
    raw[-10] ^= 4
    file.write_bytes(raw)
    with pytest.raises(SurveyError, match="chunk 1 of flux"):
        fill(tmp_path / "s", range(12, 20))


def test_what_sticks_out_of_the_grid_is_cut_and_counted(tmp_path):
    create(tmp_path / "s", SMALL, 4)
    flux, ivar = np.arange(1.0, 61.0), np.ones(60)
    with open_writer(tmp_path / "s", "memory") as writer:
        writer.add(SMALL.first - 10, flux, ivar, {"path": "wide"}, lsf=np.full(60, 70.0))
        writer.add(SMALL.first + 30, flux, ivar, {"path": "red"}, reasons=np.full(60, 256))
        with pytest.raises(SurveyError, match="no pixel on the grid"):
            writer.add(SMALL.first + 40, flux, ivar, {"path": "far"})
        with pytest.raises(SurveyError, match="no usable pixel"):
            writer.add(SMALL.first + 30, flux, np.where(np.arange(60) < 10, 0.0, 1.0), {"path": "dead"})
        with pytest.raises(SurveyError, match="larger units"):
            writer.add(SMALL.first, flux * 1e-20, ivar * 1e40, {"path": "faint"})
        with pytest.raises(SurveyError, match="not finite"):
            writer.add(SMALL.first, flux * np.nan, ivar, {"path": "nan"})
    store = Store(tmp_path / "s")
    assert store.column("n_outside").tolist() == [20, 50]
    assert np.array_equal(store.read("flux", 0), [flux[10:50], np.concatenate((np.zeros(30), flux[:10]))])
    assert np.array_equal(store.read("reasons", 0)[1], np.repeat([0, 256], [30, 10]))
    assert np.isnan(store.read("lsf", 0)[1]).all()
    assert store.has("lsf")


def test_a_store_has_one_writer_and_says_what_it_cannot_do(tmp_path):
    fill(tmp_path / "s", range(5))
    with (
        open_writer(tmp_path / "s", "memory"),
        pytest.raises(SurveyError, match="another process"),
        open_writer(tmp_path / "s", "memory"),
    ):
        pass
    with pytest.raises(SurveyError, match="exists already"):
        create(tmp_path / "s", SMALL)
    with pytest.raises(SurveyError, match="does not exist"):
        Store(tmp_path / "none")
    with pytest.raises(SurveyError, match="no store of spectra"):
        Store(tmp_path)
    with pytest.raises(SurveyError, match="no column"):
        Store(tmp_path / "s").table(["teff"])
    with pytest.raises(SurveyError, match="at least one"):
        stream(tmp_path / "s", 0)
    with pytest.raises(SurveyError, match="shape"):
        stream(tmp_path / "s", 5, np.ones(3, dtype=bool))
    with pytest.raises(SurveyError, match="whole numbers"):
        stream(tmp_path / "s", 5, np.array([99]))
    with pytest.raises(SurveyError, match="holds no pixel"):
        list(stream(tmp_path / "s", 5, window=(100.0, 200.0)))


def test_an_empty_store_streams_nothing(tmp_path):
    create(tmp_path / "s", GRIDS["apogee_apstar"])
    assert list(stream(tmp_path / "s", 4)) == []
    assert summary(tmp_path / "s")["spectra"] == 0
    assert len(Store(tmp_path / "s").table()) == 0
