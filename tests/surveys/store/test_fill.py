"""Directories of survey files into a store: once, on after a kill, and out again into a fit."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from astropy.io import fits
from typer.testing import CliRunner

from astrogf.cli import app
from astrogf.surveys.catalogues.catalogue import read_labels
from astrogf.surveys.directory.load import load_directory
from astrogf.surveys.formats import readers
from astrogf.surveys.simulate import LRS_FIRST, LRS_PIXELS, observe, write_lamost_lrs
from astrogf.surveys.spectrum import SurveyError, SurveySpectrum
from astrogf.surveys.store import writer as storewriter
from astrogf.surveys.store.criteria import Criteria
from astrogf.surveys.store.fill import ingest
from astrogf.surveys.store.load import is_store, load_store
from astrogf.surveys.store.store import Store, create, summary
from astrogf.surveys.store.stream import stream
from tests.builders.filled_store import SMALL, Killed, hashes, small_spectrum
from tests.places import ROOT


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
        (own,) = readers.read(path)
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
        "import sys, time\nfrom astrogf.surveys.store.fill import ingest\n"
        "from astrogf.surveys.formats.readers import read\n"
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
        nothing = SurveySpectrum(SMALL.first, flux, 0 * ivar, none, none, {})
        away = SurveySpectrum(SMALL.first + 1000, flux, ivar, none, none, {})
        good = [SurveySpectrum(SMALL.first, k * flux, ivar / k, none, none, {"obsid": str(k)}) for k in (1, 2, 4)]
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


def test_a_store_of_another_grid_or_of_no_kind_is_refused(survey, tmp_path):
    create(tmp_path / "s", SMALL)
    with pytest.raises(SurveyError, match="are asked for"):
        ingest(survey, tmp_path / "s")
    with pytest.raises(SurveyError, match="no kind of spectrum"):
        ingest(survey, tmp_path / "t", "gaia")


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
    (direct,), _, _ = load_directory(files, [(4900.0, 5400.0)])
    [batch], set_aside, _ = load_store(tmp_path / "store", [(4900.0, 5400.0)])
    np.testing.assert_allclose(batch.wavelength, direct.wavelength)
    np.testing.assert_allclose(batch.flux, direct.flux, rtol=1e-6)
    np.testing.assert_allclose(batch.ivar, direct.ivar, rtol=1e-6)
    assert list(batch.table["path"]) == list(direct.table["path"])
    assert list(batch.table["star"]) == list(direct.table["star"])
    assert list(set_aside["reason"]) == ["low_snr"]
