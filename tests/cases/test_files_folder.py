"""Folders, headers and screens that once failed: what `inspect`, a fit and a store make of them."""

import io
import json
import os
import re

import numpy as np
import pytest
from astropy.io import fits
from rich.console import Console

from astrogf.base.errors import AstrogfError, printable
from astrogf.data.fetching import fetch
from astrogf.data.inspection import inspect
from astrogf.data.screen import Column, show_pairs, show_table
from astrogf.surveys.directory.load import load_directory
from astrogf.surveys.formats import readers, stated
from astrogf.surveys.simulate import observe, write_lamost_lrs, write_sdss
from astrogf.surveys.spectrum import SurveyError
from astrogf.surveys.store.fill import ingest

PLACE = {"ra": 33.0, "dec": 4.0, "rv": 8.0}


@pytest.fixture
def star():
    """Flux and ivar of S/N 45 on 3000 pixels."""
    return observe(np.full(3000, 300.0), 45.0, np.random.default_rng(8), bad_fraction=0.0)[:2]


@pytest.fixture
def lrs(tmp_path, star):
    return write_lamost_lrs(tmp_path / "lrs.fits", 36100, *star, **PLACE, subclass="G5")


def shown(path, width=80, **options):
    """What `inspect` prints on a screen of that width, and its record."""
    console = Console(file=io.StringIO(), width=width)
    record = inspect(path, console=console, **options)
    return console.file.getvalue(), record


# a folder with a link to /dev/zero, a pipe, names that are no UTF-8, no permission, markup


@pytest.fixture
def hostile(tmp_path, star):
    folder = tmp_path / "folder"
    names = ("[red]a[bold]b.fits", "$x^2$ {0} %s.fits", "new\nline.fits", os.fsdecode(b"caf\xe9.fits"))
    for k, name in enumerate(names):
        # the writer puts the name into the header, where such names cannot be
        write_lamost_lrs(folder / "new", 36100, star[0] + k, star[1], **PLACE, subclass="G5").rename(folder / name)
    os.symlink("/dev/zero", folder / "zero.fits")
    os.symlink("/dev/zero", folder / "zero")
    os.mkfifo(folder / "pipe.fits")
    os.symlink("nowhere", folder / "dangling.fits")
    os.symlink("loop.fits", folder / "loop.fits")
    os.symlink(".", folder / "again")
    (folder / "directory.fits").mkdir()
    (folder / "empty.fits").write_bytes(b"")
    (folder / "locked").mkdir()
    write_lamost_lrs(folder / "locked" / "star.fits", 36100, star[0] + 9, star[1], **PLACE)
    return folder


@pytest.fixture
def no_permission(monkeypatch):
    """As for somebody who is not root: a folder `locked` cannot be listed."""
    scandir = os.scandir

    def refuse(path="."):
        if os.fspath(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)


READ = {"[red]a[bold]b.fits", "$x^2$ {0} %s.fits", r"new\nline.fits", r"caf\xe9.fits"}
REFUSED = {
    "zero.fits": "is a device, not a file",
    "zero": "is a device, not a file",
    "pipe.fits": "is a pipe, not a file",
    "dangling.fits": "is a link to nowhere, which cannot be read (No such file or directory)",
    "loop.fits": "is a link to loop.fits, which cannot be read (Too many levels of symbolic links)",
    "directory.fits": "is a folder, not a file",
    "empty.fits": "is empty (0 bytes)",
    "locked": "is a folder that cannot be searched (Permission denied)",
}


@pytest.mark.usefixtures("no_permission")
def test_hostile_folder_inspected(hostile, tmp_path):
    out, record = shown(hostile, json_out=tmp_path / "o.json", figure_out=tmp_path / "o.png")
    entries = {f["path"]: f for f in record["files"]}
    assert set(entries) == READ | set(REFUSED)
    for name in READ:
        assert entries[name]["used"]
        assert name in out
    for name, said in REFUSED.items():
        assert said in entries[name]["why"]
        assert entries[name]["why"] in out
    out.encode()  # a screen takes it
    assert json.loads((tmp_path / "o.json").read_text())["summary"]["used"] == 4


@pytest.mark.usefixtures("no_permission")
def test_hostile_folder_loaded_and_stored(hostile, tmp_path):
    got = load_directory(hostile, [(4900.0, 5200.0)])
    assert set(got.batches[0].table["path"]) == READ
    aside = dict(got.set_aside.iterrows("path", "detail"))
    assert set(aside) == set(REFUSED)
    assert all(said in aside[name] for name, said in REFUSED.items())
    got.set_aside.write(tmp_path / "aside.ecsv", format="ascii.ecsv")
    store = ingest(hostile, tmp_path / "s.zarr")
    assert set(store.column("path").tolist()) == READ
    assert set(store.set_aside["path"]) == set(REFUSED)


def test_hostile_paths_given_by_name(hostile):
    for name, said in REFUSED.items():
        if name not in ("locked", "directory.fits"):
            assert said in shown(hostile / name)[1]["files"][0]["why"]
        if name != "locked":
            with pytest.raises(SurveyError) as caught:
                stated.read(hostile / name, medium="air")
            assert said in str(caught.value)
    for name in ("pipe.fits", "zero", "empty.fits"):
        with pytest.raises(AstrogfError):
            load_directory(hostile / name, [(4900.0, 5200.0)])


def test_hostile_markup_in_headers(tmp_path, star):
    write_lamost_lrs(tmp_path / "a.fits", 36100, *star, **PLACE, subclass="G5", object="[bold]x[/nothing]")
    assert "[bold]x[/nothing]" in shown(tmp_path, 160)[0]


def test_printable_changes_nothing_that_can_be_printed():
    assert printable("Σ [red] \\x é\n", keep="\n") == "Σ [red] \\x é\n"
    assert printable("a\x1b[31m\udce9\n", keep="") == r"a\x1b[31m\xe9\n"


# values at the border, in survey files


@pytest.mark.parametrize(
    ("change", "reason", "said"),
    [
        (lambda d: d[0].fill(np.nan), "no_good_pixels", "no usable pixel"),
        (lambda d: d[1].fill(-1.0), "no_good_pixels", "no usable pixel"),
        (lambda d: np.negative(d[0], out=d[0]), "no_good_pixels", "no positive flux"),
        (lambda d: np.multiply(d[0], 1e30, out=d[0]), "bad_header", "mean a S/N of .* a pixel"),
        (lambda d: np.multiply(d[1], 1e6, out=d[1]), "bad_header", "mean a S/N of 4.,... a pixel"),
    ],
)
@pytest.mark.parametrize("windows", [[], [(4900.0, 5200.0)]])
def test_border_of_pixels(lrs, tmp_path, change, reason, said, windows):
    """With a header that says S/N 45 all the same."""
    with fits.open(lrs) as hdus:
        header, data = hdus[0].header, hdus[0].data.copy()
    change(data)
    for card in ("CHECKSUM", "DATASUM"):
        del header[card]
    fits.PrimaryHDU(data, header).writeto(tmp_path / "b.fits")
    (entry,) = shown(tmp_path / "b.fits", windows=windows)[1]["files"]
    assert (entry["used"], entry["reason"]) == (False, reason)
    assert re.search(said, entry["why"])


@pytest.mark.parametrize(
    ("cards", "snr", "rv"),
    [
        ({"SNRG": 40_000.0}, "measured", 8.0),
        ({"SNRG": -9999.0}, "measured", 8.0),
        ({"SNRG": -999.0}, "measured", 8.0),
        ({"Z": -9999.0}, "SNRG", None),
        ({"Z": 3.0}, "SNRG", None),
        ({"Z": 3.0, "CLASS": "QSO"}, "SNRG", 3 * 299792.458),
        ({"Z": 0.001}, "SNRG", 299.792458),
    ],
)
def test_border_of_headers(lrs, tmp_path, cards, snr, rv):
    with fits.open(lrs) as hdus:
        header, data = hdus[0].header, hdus[0].data.copy()
    for card in ("CHECKSUM", "DATASUM"):
        del header[card]
    header.update(cards)
    fits.PrimaryHDU(data, header).writeto(tmp_path / "b.fits")
    (entry,) = shown(tmp_path / "b.fits")[1]["files"]
    assert entry["pieces"][0]["snr_source"] == snr
    assert entry["snr"] == pytest.approx(43, abs=3)
    assert entry["rv_header"] == (None if rv is None else pytest.approx(rv, abs=0.01))


@pytest.mark.parametrize("coeff0", [-3.57, 0.0, 357.0, np.inf])
def test_border_of_wavelengths(lrs, tmp_path, coeff0):
    with fits.open(lrs) as hdus:
        header, data = hdus[0].header, hdus[0].data.copy()
    for card in ("CHECKSUM", "DATASUM"):
        del header[card]
    header["COEFF0"] = header["CRVAL1"] = coeff0 if np.isfinite(coeff0) else "Infinity"
    fits.PrimaryHDU(data, header).writeto(tmp_path / "b.fits")
    with pytest.raises(SurveyError, match=r"COEFF0 = .*not a log10 wavelength of the optical"):
        readers.read(tmp_path / "b.fits")


# tables on a narrow screen


def test_narrow_screen_files(tmp_path, star):
    long = "spec-" + "56204-" * 12 + "B01.fits"
    for name in ("a.fits", long):
        write_lamost_lrs(tmp_path / name, 36100, star[0] + len(name), star[1], **PLACE, subclass="G5", object="OBJ")
    out, _ = shown(tmp_path)
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["file", "kind", "object"]
    assert lines[0].split()[-2:] == ["S/N", "used"]
    assert "…" not in out
    assert long in lines
    row = next(line for line in lines if line.startswith("a.fits"))
    assert row.split()[:4] == ["a.fits", "lamost_lrs", "OBJ", "G5"]
    assert row.split()[-4:] == ["3000", "3700–9099", "45.8", "yes"]
    assert all(len(line) <= 80 for line in lines[:3] if line != long)
    assert "not shown at this width: release, ra, dec, " in out
    wide, _ = shown(tmp_path, 200)
    assert "OBJ" in wide
    assert "not shown" not in wide


def test_narrow_screen_kinds(tmp_path, star, monkeypatch):
    monkeypatch.setattr("astrogf.data.inspection.MOST_ROWS", 1)
    write_lamost_lrs(tmp_path / "a.fits", 36100, *star, **PLACE, subclass="G5")
    write_sdss(tmp_path / "b.fits", 36100, *star, **PLACE, subclass="G5")
    out, _ = shown(tmp_path)
    first, lamost, sdss, *_ = out.splitlines()
    assert first.split()[:4] == ["kind", "release", "spectra", "used"]
    assert lamost.startswith("lamost_lrs")
    assert "LAMOST DR8" in lamost
    assert sdss.startswith("sdss_optical")
    assert max(len(line) for line in out.splitlines()[:3]) <= 80


def test_narrow_screen_leaves_out_by_rank():
    console = Console(file=io.StringIO(), width=16)
    columns = (Column("file", 0), Column("c", 3), Column("a", 1, True), Column("b", 2))
    left = show_table(console, columns, [["name", "ccccccccc", "1", "bbbb"], ["n" * 30, "c", "22", "b"]])
    assert left == ["c"]
    assert "n" * 30 in console.file.getvalue()
    assert "22" in console.file.getvalue()


def test_narrow_screen_store(tmp_path):
    console = Console(file=io.StringIO(), width=40)
    show_pairs(console, [("spectra", "7"), ("release", "LAMOST [DR8] 3, LAMOST DR9 4, LAMOST DR10 5")])
    lines = console.file.getvalue().splitlines()
    assert lines == ["spectra  7", "release  LAMOST [DR8] 3, LAMOST DR9 4,", "         LAMOST DR10 5"]


def test_narrow_screen_fetch(tmp_path):
    """An identifier of what cannot be fetched is whole, and so is the reason, whatever the width."""
    console = Console(file=io.StringIO(), width=30)
    base = (tmp_path / "nothing").as_uri()
    told = fetch("sdss-lite", ["266-51602-1"], tmp_path / "out", base=base, tries=1, console=console)
    assert len(told["failed"]) == 1
    assert "266-51602-1" in console.file.getvalue()
    assert "…" not in console.file.getvalue()
