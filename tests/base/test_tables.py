"""Tables of every kind are opened alike, and what is none is refused with one sentence."""

import gzip

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from astrogf.base import tables
from astrogf.base.errors import AstrogfError

KINDS = {"a.ecsv": "ascii.ecsv", "a.csv": "ascii.csv", "a.fits": "fits", "a.vot": "votable", "a.tbl": "ascii.ipac"}


class MyError(AstrogfError):
    """Somebody's own."""


@pytest.fixture
def table():
    made = Table({"Name": ["Sun", "Arcturus "], "wave": [500.0, np.nan], "n": [1, 2]})
    made["wave"].unit = "nm"
    return made


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_gives_the_same_table(tmp_path, table, name, packed):
    """Told by its content, so that only CSV needs its name."""
    table.write(tmp_path / name, format=KINDS[name])
    path = tmp_path / (name if name == "a.csv" else "table")
    (tmp_path / name).rename(path)
    if packed:
        content, path = path.read_bytes(), path.with_name(path.name + ".gz")
        path.write_bytes(gzip.compress(content))
    read = tables.read_table(path)
    assert read.colnames == ["Name", "wave", "n"]
    assert [str(x).strip() for x in read["Name"]] == ["Sun", "Arcturus"]
    assert read["Name"].dtype.kind == "U"
    np.testing.assert_array_equal(tables.numbers(read, "wave"), [500.0, np.nan])
    if name != "a.csv":
        np.testing.assert_allclose(tables.quantity(read, "wave", u.AA), [5000.0, np.nan])


def test_fits_columns_of_arrays_are_read_if_asked_for(tmp_path):
    values = np.arange(6.0).reshape(3, 2)
    columns = [fits.Column("a", "2D", array=values), fits.Column("b", "J", array=[1, -9, 3], null=-9)]
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.zeros(3)), fits.BinTableHDU.from_columns(columns)]
    fits.HDUList(hdus).writeto(tmp_path / "t.fits")
    slim, full = (tables.read_table(tmp_path / "t.fits", arrays=arrays) for arrays in (False, True))
    assert slim.colnames == ["b"]
    np.testing.assert_array_equal(full["a"], values)
    np.testing.assert_array_equal(tables.numbers(slim, "b"), [1.0, np.nan, 3.0])


def test_a_plain_number_is_taken_to_be_in_the_unit_and_wavenumbers_are_energies(table):
    table["n"].unit = u.dimensionless_unscaled
    np.testing.assert_array_equal(tables.quantity(table, "n", u.eV), [1.0, 2.0])
    table["n"].unit = 1 / u.cm
    np.testing.assert_allclose(tables.quantity(table, "n", u.eV) * 8065.544, [1.0, 2.0], rtol=1e-7)
    table["n"].unit = u.kg
    with pytest.raises(MyError, match="my list: column n is in kg, not convertible to eV: correct its unit"):
        tables.quantity(table, "n", u.eV, where="my list", error=MyError)
    with pytest.raises(MyError, match="the table: column Name does not hold numbers"):
        tables.numbers(table, "Name", error=MyError)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("gone.ecsv", None, "gone.ecsv cannot be read: there is no such file"),
        ("a.txt", b"a b\n1 2\n1 2 3\n", "a.txt, line 3: 3 columns, where 2 have names .separated by blanks."),
        ("a.jpg", b"\xff\xd8\xff\0\0", "a.jpg is not recognised as a table; expected an ECSV, FITS"),
        ("a.html", b"<html>not found</html>", "a.html is not recognised as a table"),
        ("a.fits", b"SIMPLE  =  rubbish", "a.fits cannot be read as a table .fits."),
        ("a.ecsv", b"# %ECSV 1.0\n# ---\nrubbish\n", "a.ecsv cannot be read as a table .ecsv."),
        ("a.xml", b"<?xml version='1.0'?><VOTABLE><RES", "a.xml cannot be read as a table .votable."),
        ("a.csv", gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:-9], "a.csv is a gzip file that is cut short"),
        ("a.csv", b"\xff\xfe\x00", "a.csv is not recognised as a table"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, name, content, sentence):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(MyError, match=sentence):
        tables.read_table(tmp_path / name, error=MyError)


@pytest.mark.parametrize("packed", [False, True])
def test_a_fits_table_that_is_cut_short_is_refused(tmp_path, packed):
    Table({"a": np.arange(5000.0)}).write(tmp_path / "whole.fits")
    whole = (tmp_path / "whole.fits").read_bytes()
    cut = gzip.compress(whole)[:-2000] if packed else whole[:-30_000]
    (tmp_path / "cut").write_bytes(cut)
    with pytest.raises(MyError, match=r"cannot be read as a table|cut short"):
        tables.read_table(tmp_path / "cut", error=MyError)
    hdus = fits.HDUList([fits.PrimaryHDU(np.zeros(3))])
    hdus.writeto(tmp_path / "image.fits")
    with pytest.raises(MyError, match=r"image\.fits holds no table"):
        tables.read_table(tmp_path / "image.fits", error=MyError)


def test_a_csv_of_one_column_is_a_table(tmp_path):
    (tmp_path / "ids.csv").write_text("ObsID\n7\n8\n")
    assert list(tables.read_table(tmp_path / "ids.csv")["ObsID"]) == [7, 8]
