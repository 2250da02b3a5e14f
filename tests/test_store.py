"""The store: what goes in comes out, a kill at any point changes nothing, damage is named."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zarr
from astropy.io import fits
from typer.testing import CliRunner

from astrogf.cli import app
from surveys import storewriter
from surveys.catalogue import read_labels
from surveys.criteria import Criteria
from surveys.intake import ingest
from surveys.lamost import read
from surveys.simulate import LRS_FIRST, LRS_PIXELS, observe, write_lamost_lrs
from surveys.spectrum import Spectrum, SurveyError
from surveys.store import COLUMNS, GRIDS, PIXELS, Grid, Store, create, summary
from surveys.storewriter import open_writer
from surveys.stream import stream

ROOT = Path(__file__).resolve().parents[1]
SMALL = Grid(36900, 1e-4, 40)


def hashes(folder):
    """sha256 of every file, by its path: what 'the same bytes' means."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def small_spectrum(i):
    rng = np.random.default_rng(i)
    flux, ivar = rng.normal(500, 5, SMALL.n_pixel), rng.uniform(0.01, 0.04, SMALL.n_pixel)
    dead = rng.random(SMALL.n_pixel) < 0.1
    flux[dead] = ivar[dead] = 0
    row = {"path": f"{i:03d}.fits", "sha256": f"{i:064x}", "ra": 10.0 + i // 2, "dec": 1.0, "snr": float(i)}
    row |= {"release": "DR5", "extra": i}
    return flux, ivar, row


def fill(path, numbers, chunk=8, source="memory"):
    if not path.exists():
        create(path, SMALL, chunk)
    with open_writer(path, source) as writer:
        for i in numbers:
            flux, ivar, row = small_spectrum(i)
            if i % 5 == 3:
                writer.set_aside(row["path"], "low_snr", f"{row['path']} is too faint for the test.", 10)
            else:
                writer.add(SMALL.first, flux, ivar, row)


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """30 files: 26 good, one truncated, one a copy, one of a galaxy, one without pixels on the grid."""
    folder = tmp_path_factory.mktemp("survey")
    for i in range(28):
        rng = np.random.default_rng(i)
        seen = observe(np.full(LRS_PIXELS, 500.0), 20.0 + i, rng)
        name = f"{'b' if i % 2 else 'a'}/spec{i:02d}.fits{'.gz' if i % 3 else ''}"
        cards = {"ra": 10.0 + i, "dec": 5.0, "rv": 10.0, "obsid": i, "object": f"star {i}"}
        cards["survey_class"] = "GALAXY" if i == 4 else "STAR"
        write_lamost_lrs(folder / name, LRS_FIRST, seen.flux, seen.ivar, **cards)
    first = folder / "a" / "spec00.fits"
    (folder / "a" / "zz_cut.fits").write_bytes(first.read_bytes()[:20000])
    shutil.copy(first, folder / "b" / "zz_copy.fits")
    return folder


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


class Killed(BaseException):
    """Not an Exception, so that nothing that catches exceptions can mend what a kill would have broken."""


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


def test_directory_into_a_store(survey, tmp_path):
    calls = []
    store = ingest(survey, tmp_path / "s", chunk=8, progress=lambda *a: calls.append(a))
    assert calls[-1] == (30, 30)
    aside = dict(store.set_aside.iterrows("path", "reason"))
    assert aside == {"a/zz_cut.fits": "unreadable", "b/zz_copy.fits": "duplicate_file"}
    assert len(store) == 28
    batch = next(stream(store, 28))
    for row in (0, 9, 27):
        path = survey / batch.table["path"][row]
        own = read(path)
        assert np.array_equal(batch.flux[row], own.flux.astype(np.float32))
        assert np.array_equal(batch.ivar[row] > 0, own.ivar > 0)
        assert batch.table["sha256"][row] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert batch.table["size"][row] == path.stat().st_size
        # the S/N of the header, read by astropy alone
        assert batch.table["snr"][row] == fits.getheader(path)["SNRG"]
    before = hashes(tmp_path / "s")
    ingest(survey, tmp_path / "s", chunk=8)
    assert hashes(tmp_path / "s") == before


def test_a_mended_file_is_taken_and_new_ones_are_appended(survey, tmp_path):
    folder = tmp_path / "spectra"
    shutil.copytree(survey, folder)
    ingest(folder, tmp_path / "s", chunk=8)
    seen = observe(np.full(LRS_PIXELS, 500.0), 77.0, np.random.default_rng(99))
    write_lamost_lrs(folder / "a" / "zz_cut.fits", LRS_FIRST, seen.flux, seen.ivar, ra=1, dec=2, rv=3)
    write_lamost_lrs(folder / "c" / "new.fits", LRS_FIRST, seen.flux * 2, seen.ivar / 4, ra=1, dec=2, rv=3)
    store = ingest(folder, tmp_path / "s")
    assert len(store) == 30
    assert store.column("path")[-2:].tolist() == ["a/zz_cut.fits", "c/new.fits"]
    assert store.set_aside["path"].tolist() == ["b/zz_copy.fits"]
    # the same spectra in another directory are told by their content
    shutil.copytree(folder, tmp_path / "moved")
    again = ingest(tmp_path / "moved", tmp_path / "s")
    assert len(again) == 30
    assert again.sources == [str(folder.resolve()), str((tmp_path / "moved").resolve())]
    assert set(again.set_aside["reason"]) == {"duplicate_file"}


def test_a_killed_process_resumes_to_the_same_bytes(survey, tmp_path):
    """SIGKILL in the middle of a real run, at whatever it is doing just then."""
    whole = ingest(survey, tmp_path / "whole", chunk=4)
    code = (
        "import sys, time\nfrom surveys.intake import ingest\nfrom surveys.readers import read\n"
        "def slow(path):\n    time.sleep(0.03)\n    return read(path)\n"
        "ingest(sys.argv[1], sys.argv[2], read=slow, chunk=4)\n"
    )
    path = tmp_path / "killed"
    child = subprocess.Popen([sys.executable, "-c", code, survey, path], cwd=ROOT)
    journal = path / "journal.jsonl"
    while child.poll() is None and not (journal.exists() and journal.stat().st_size):
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert 0 < len(Store(path)) < len(whole)
    assert not Store(path).complete
    ingest(survey, path, chunk=4)
    assert hashes(path) == hashes(tmp_path / "whole")


def test_a_file_of_many_spectra_is_never_taken_in_half(tmp_path, monkeypatch):
    """Three pieces on the grid and one that is not, a chunk that ends within a file, and a kill just there."""
    folder = tmp_path / "spectra"
    folder.mkdir()
    for i in range(4):
        header = fits.Header({"NUMBER": i})
        fits.PrimaryHDU(np.zeros(4), header).writeto(folder / f"{i}.fits")

    def pieces(path):
        flux, ivar, _ = small_spectrum(int(path.stem))
        none = np.zeros(SMALL.n_pixel, dtype=int)
        nothing = Spectrum(SMALL.first, flux, 0 * ivar, none, none, {})
        away = Spectrum(SMALL.first + 1000, flux, ivar, none, none, {})
        good = [Spectrum(SMALL.first, k * flux, ivar / k, none, none, {"obsid": str(k)}) for k in (1, 2, 4)]
        return [nothing, good[0], away, *good[1:]]

    ingest(folder, tmp_path / "whole", SMALL, read=pieces, chunk=4)
    store = Store(tmp_path / "whole")
    assert store.column("obsid").tolist() == ["1", "2", "4"] * 4
    assert len(store.set_aside) == 0
    append, calls = storewriter.journal.append, []

    def dying(*args):
        append(*args)
        calls.append(args)
        if len(calls) == 1:  # four spectra are in: the first file and a third of the second
            raise Killed

    monkeypatch.setattr(storewriter.journal, "append", dying)
    with pytest.raises(Killed):
        ingest(folder, tmp_path / "killed", SMALL, read=pieces, chunk=4)
    ingest(folder, tmp_path / "killed", SMALL, read=pieces, chunk=4)
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "whole")


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


def test_summary_counts(survey, tmp_path):
    ingest(survey, tmp_path / "s", chunk=8)
    told = summary(tmp_path / "s")
    json.dumps(told)  # nothing in it that JSON cannot hold
    assert told["spectra"] == 28
    assert told["stars"] == 28
    assert told["complete"]
    assert told["by_class"] == {"GALAXY": 1, "STAR": 27}
    assert sum(b["spectra"] for b in told["snr_histogram"]) + told["snr_unknown"] == 28
    # simulated with 20 + i
    assert [b["spectra"] for b in told["snr_histogram"] if b["from"] in (20, 30)] == pytest.approx([10, 18], abs=2)
    assert told["set_aside_by_reason"] == {"unreadable": 1, "duplicate_file": 1}
    assert told["bytes"] == sum(p.stat().st_size for p in (tmp_path / "s").rglob("*") if p.is_file())


def test_a_store_has_one_writer_and_one_grid(survey, tmp_path):
    fill(tmp_path / "s", range(5))
    with (
        open_writer(tmp_path / "s", "memory"),
        pytest.raises(SurveyError, match="another process"),
        open_writer(tmp_path / "s", "memory"),
    ):
        pass
    with pytest.raises(SurveyError, match="are asked for"):
        ingest(survey, tmp_path / "s")
    with pytest.raises(SurveyError, match="no kind of spectrum"):
        ingest(survey, tmp_path / "t", "gaia")
    with pytest.raises(SurveyError, match="exists already"):
        create(tmp_path / "s", SMALL)
    with pytest.raises(SurveyError, match="does not exist"):
        Store(tmp_path / "none")
    with pytest.raises(SurveyError, match="no store of spectra"):
        Store(survey)
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


def test_every_real_file_is_in_the_store_of_its_kind_or_has_a_reason(shared, tmp_path):
    """Against index.csv: what it says a file is decides in which store it lies."""
    index = read_labels(shared / "spectra" / "index.csv")
    forms = {
        "sdss_optical": ("sdss_optical", ("SDSS_spec_full", "SDSS_spec_lite")),
        "lamost_mrs_red": ("lamost_mrs", ("MRS",)),
        "apogee_apstar": ("apogee", ("apStar",)),
        "apogee_apvisit": ("apogee", ("apVisit",)),
    }
    for kind, (folder, names) in forms.items():
        store = ingest(shared / "spectra" / folder, tmp_path / kind, kind, chunk=16)
        here = [row for row in index if row["path"].startswith(f"{folder}/")]
        expected = sorted(row["path"].removeprefix(f"{folder}/") for row in here if row["fmt"] in names)
        assert sorted(store.column("path").tolist()) == expected
        assert len(store.set_aside) == len(here) - len(expected)
        assert set(store.set_aside["reason"]) <= {"kind"}
        assert store.column("n_outside").tolist() == [0] * len(expected)  # the grid is wide enough
        assert store.has("lsf") == (kind != "lamost_mrs_red")
        for batch in stream(store, 4, Criteria(classes=None)):
            assert np.isfinite(batch.flux).all()
            assert np.all((batch.ivar > 0) | (batch.flux == 0))
            assert (batch.lsf is None) == (kind == "lamost_mrs_red")


def astrogf(*arguments):
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, [str(a) for a in arguments])


def test_the_commands(survey, tmp_path):
    out = tmp_path / "s.zarr"
    result = astrogf("ingest", survey, "--store", out, "--json", tmp_path / "told.json")
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["spectra"] == 28
    assert "28 of 28 stars" in result.output
    assert "damaged, cut short" in result.output
    assert astrogf("store", out, "--verify").exit_code == 0
    file = out / "ivar" / "c" / "0" / "0"
    file.write_bytes(file.read_bytes()[:-1])
    result = astrogf("store", out, "--verify")
    assert result.exit_code == 2
    assert "chunk 0 of ivar (spectra 0-27" in result.stderr
    result = astrogf("ingest", tmp_path / "none", "--store", tmp_path / "t")
    assert result.exit_code == 2
    assert "does not exist" in result.stderr
    assert not (tmp_path / "t").exists()
    assert "no kind of spectrum" in astrogf("ingest", survey, "--store", tmp_path / "t", "--kind", "spam").stderr


def test_a_fit_takes_from_a_store_what_it_takes_from_the_files(tmp_path):
    """The same cuts through both doors, on simulated LAMOST files, one of them too faint."""
    from surveys.fromstore import is_store, load_store
    from surveys.ingest import load_directory

    rng = np.random.default_rng(5)
    files = tmp_path / "files"
    files.mkdir()
    for i, snr in enumerate((80.0, 5.0, 40.0)):
        flux = 1000.0 * (1.0 + rng.normal(0, 1 / snr, 3800))
        write_lamost_lrs(
            files / f"spec-{i}.fits", 35682, flux, np.full(3800, (snr / 1000.0) ** 2), ra=10.0 + i, dec=20.0, rv=0.0,
            object=f"s{i}", snr=snr, subclass="G2", obsid=i + 1, fiber=i + 1,
        )  # fmt: skip
    ingest(files, tmp_path / "store", grid="lamost_lrs")
    assert is_store(tmp_path / "store")
    assert not is_store(files)
    direct = load_directory(files, (4900.0, 5400.0))
    [batch], set_aside = load_store(tmp_path / "store", [(4900.0, 5400.0)])
    np.testing.assert_allclose(batch.wavelength, direct.batch.wavelength)
    np.testing.assert_allclose(batch.flux, direct.batch.flux, rtol=1e-6)
    np.testing.assert_allclose(batch.ivar, direct.batch.ivar, rtol=1e-6)
    assert list(batch.table["path"]) == list(direct.batch.table["path"])
    assert list(batch.table["star"]) == list(direct.batch.table["star"])
    assert list(set_aside["reason"]) == ["low_snr"]
