"""Files of spectra that once failed: read with the right values, or refused by all with the same words."""

import gzip
import os

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from astrogf.base import files
from astrogf.base.errors import AstrogfError
from astrogf.base.tables import read_table
from astrogf.surveys.formats import readers, stated
from astrogf.surveys.formats.columns import angstroms
from astrogf.surveys.simulate import observe, write_lamost_lrs, write_mwmstar, write_sdss
from astrogf.surveys.spectrum import SurveyError
from astrogf.surveys.store.fill import ingest

WAVE = np.round(6100.0 + 0.04 * np.arange(300), 4)
FLUX = 2.0 + 0.02 * np.sin(np.arange(300.0))
ERROR = np.full(300, 0.025)  # S/N 80
PLACE = {"ra": 33.0, "dec": 4.0, "rv": 8.0}


@pytest.fixture
def star():
    """Flux and ivar of S/N 45 on 3000 pixels."""
    return observe(np.full(3000, 300.0), 45.0, np.random.default_rng(8), bad_fraction=0.0)[:2]


@pytest.fixture
def lrs(tmp_path, star):
    return write_lamost_lrs(tmp_path / "lrs.fits", 36100, *star, **PLACE, subclass="G5")


def rows(*columns, sep=" "):
    return "\n".join(sep.join(f"{x:.8g}" for x in row) for row in zip(*columns, strict=True)) + "\n"


def both(path, unit="Angstrom", medium="vacuum"):
    """The spectrum; what `inspect` says must be what the reader does, with the same words where it refuses."""
    with pytest.raises(SurveyError) as seen:
        readers.read(path)
    if seen.value.reason == "stated":
        assert "state the unit" in str(seen.value)
        return stated.read(path, medium=medium, unit=unit)
    with pytest.raises(SurveyError) as refused:
        stated.read(path, medium=medium, unit=unit)
    assert (str(refused.value), refused.value.reason) == (str(seen.value), seen.value.reason)
    raise refused.value


# members.fits.gz


@pytest.mark.parametrize("how", ["bgzip", "pigz", "padded"])
def test_members(lrs, tmp_path, how):
    """All members: many small ones with an extra field and an empty last one, a few large ones, and tape padding."""
    raw = lrs.read_bytes()
    size = {"bgzip": 4096, "pigz": 40_000, "padded": 20_000}[how]
    parts = [raw[i : i + size] for i in range(0, len(raw), size)] + ([b""] if how == "bgzip" else [])
    path = tmp_path / "members.fits.gz"
    path.write_bytes(b"".join(gzip.compress(part) for part in parts) + bytes(700) * (how == "padded"))
    (got,), (want,) = readers.read(path), readers.read(lrs)
    assert np.array_equal(got.flux, want.flux)
    assert np.count_nonzero(got.ivar) == 3000
    os.remove(lrs)
    assert len(ingest(tmp_path, tmp_path / "s.zarr")) == 1


def test_thousands_of_members_take_no_longer_than_their_bytes():
    """Each member copied all that lay behind it: 20,000 of them copied 6 GB."""
    member, copied = gzip.compress(bytes(range(256))), 0
    packing, opener = files.GZIP, files.GZIP.opener

    class Counting:
        def __init__(self):
            self.inner = opener()

        def decompress(self, data, limit):
            nonlocal copied
            copied += len(data)
            return self.inner.decompress(data, limit)

        def __getattr__(self, name):
            return getattr(self.inner, name)

    patched = packing._replace(opener=Counting)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "packing", lambda head: patched)
        out = files.unpacked(member * 2000, "x")
    assert out == bytes(range(256)) * 2000
    assert copied < 2000 * 70_000


# fpack.fits.fz


@pytest.mark.parametrize("method", ["RICE_1", "GZIP_2"])
def test_fpack(lrs, tmp_path, method):
    """A survey's image behind an empty first block is read; RICE rounds floats to a 16th of their noise."""
    want, (header, data) = readers.read(lrs)[0], (fits.getheader(lrs), fits.getdata(lrs))
    packed = fits.CompImageHDU(data, header, compression_type=method, quantize_level=16 if method == "RICE_1" else 0)
    path = tmp_path / "packed.fits.fz"
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(path, checksum=True)
    (got,) = readers.read(path)
    sigma = 300 / 45
    np.testing.assert_allclose(got.flux, want.flux, atol=sigma / 10 if method == "RICE_1" else 0)
    assert got.meta["subclass"] == "G5"
    raw = bytearray(path.read_bytes())
    raw[-3000] ^= 1
    path.write_bytes(raw)
    with pytest.raises(SurveyError, match="DATASUM"):
        readers.read(path)


def test_fpack_of_what_is_not_read(tmp_path):
    image = fits.CompImageHDU(np.random.default_rng(1).normal(size=(4, 300)).astype("f4"))
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(tmp_path / "image.fits.fz")
    table = fits.BinTableHDU.from_columns([fits.Column("flux", "D", array=FLUX)], name="COADD")
    table.header["ZTABLE"] = True
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "table.fits.fz")
    for name in ("image", "table"):
        with pytest.raises(SurveyError, match=r"tile compression \(fpack\).*funpack"):
            both(tmp_path / f"{name}.fits.fz")
    spectrum = fits.CompImageHDU(FLUX.astype("f4"), compression_type="GZIP_1", quantize_level=0)
    spectrum.header["CRVAL1"], spectrum.header["CDELT1"] = 6100.0, 0.04
    fits.HDUList([fits.PrimaryHDU(), spectrum]).writeto(tmp_path / "one.fits.fz")
    got = both(tmp_path / "one.fits.fz")
    np.testing.assert_allclose(got.flux, FLUX, rtol=1e-6)
    np.testing.assert_allclose(got.wavelength, WAVE, rtol=1e-9)


def test_fpack_and_pipes_as_tables(tmp_path):
    """What labels and lists are read with: refused where it read compressed bytes, or waited for a pipe."""
    table = fits.BinTableHDU.from_columns([fits.Column("teff", "D", array=FLUX)])
    table.header["ZTABLE"] = True
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "labels.fits.fz")
    os.mkfifo(tmp_path / "pipe.csv")
    os.symlink("/dev/zero", tmp_path / "zero.csv")
    (tmp_path / "folder.csv").mkdir()
    for name, said in (
        ("labels.fits.fz", r"under tile compression \(fpack\)"),
        ("pipe.csv", "is a pipe, not a file"),
        ("zero.csv", "is a device, not a file"),
        ("folder.csv", "is a folder, not a file"),
    ):
        with pytest.raises(AstrogfError, match=said):
            read_table(tmp_path / name)


def test_a_bomb_of_tiles_is_refused(tmp_path):
    image = fits.CompImageHDU(np.zeros((2, 200), dtype="f4"))
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(tmp_path / "b.fits.fz")
    raw, card = (tmp_path / "b.fits.fz").read_bytes(), b"ZNAXIS1 =                  200"
    assert raw.count(card) == 1
    (tmp_path / "b.fits.fz").write_bytes(raw.replace(card, b"ZNAXIS1 =          20000000000"))
    with pytest.raises(SurveyError, match=r"tile compression .* unpacks to over 268 MB"):
        readers.read(tmp_path / "b.fits.fz")


# mwmStar-emptysum.fits


def spoil(path, block, card, value):
    """Another value on a card of a block, its other sums left as they are."""
    raw = bytearray(path.read_bytes())
    with fits.open(path) as hdus:
        start, stop = hdus[block].fileinfo()["hdrLoc"], hdus[block].fileinfo()["datLoc"]
    at = raw.index(f"{card:8s}=".encode(), start, stop)
    raw[at : at + 30] = f"{card:8s}= {value!r:<20s}".encode()[:30].ljust(30)
    path.write_bytes(raw)


@pytest.mark.parametrize("card", ["DATASUM", "CHECKSUM"])
def test_emptysum(tmp_path, star, card):
    path = write_mwmstar(tmp_path / "mwmStar.fits", {"boss/apo": (35600, *star)}, **PLACE)
    want = readers.read(path)[0]
    value = "987654321" if card == "DATASUM" else "abcdefghijklmnop"
    for empty in (2, 3, 4):
        spoil(path, empty, card, value)
    assert np.array_equal(readers.read(path)[0].flux, want.flux)
    spoil(path, 1, card, value)
    with pytest.raises(SurveyError, match=f"block BOSS/APO .*{card}"):
        readers.read(path)


def test_a_bad_sum_of_an_unused_block(tmp_path, star):
    """A block that no reader opens may say what it likes; those that are used, coadd and catalogue row, may not."""
    path = write_sdss(tmp_path / "spec.fits", 36100, *star, **PLACE)
    want = readers.read(path)[0]
    with fits.open(path) as hdus:
        extra = fits.ImageHDU(np.arange(50.0), name="MORE")
        extra.add_checksum()
        hdus.append(extra)
        hdus.writeto(tmp_path / "more.fits")
    spoil(tmp_path / "more.fits", -1, "DATASUM", "12345")
    assert np.array_equal(readers.read(tmp_path / "more.fits")[0].flux, want.flux)
    spoil(tmp_path / "more.fits", 1, "DATASUM", "12345")
    with pytest.raises(SurveyError, match="block COADD differ from its DATASUM"):
        readers.read(tmp_path / "more.fits")


# upper_case_page.fits


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<HtMl><BODY>no</BODY>", "is a web page, not a spectrum"),
        (b"\r\n \t<!DocType HTML>", "is a web page, not a spectrum"),
        (b"\xef\xbb\xbf\n<html>", "is a web page, not a spectrum"),
        ("<HTML>".encode("utf-16"), "is a web page, not a spectrum"),
        (b"<?xml version='1.0'?>\n<!-- portal -->\n<!DOCTYPE html>", "is a web page, not a spectrum"),
        (gzip.compress(b"<HTML><FORM action=login>", mtime=0), "is a web page, not a spectrum"),
        (b' {"message": "token expired"}', r"is a JSON document \('{\"message\": \"token expired\"}'\), not a spec"),
        (b"<?xml version='1.0'?><Error>Denied</Error>", "is an XML document .* not a spectrum"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer, not a spectrum"),
        (b"Forbidden", "is text .'Forbidden'"),
        (b"", r"is empty \(0 bytes\)"),
        (gzip.compress(b"", mtime=0), r"is empty \(0 bytes, unpacked\)"),
    ],
)
def test_upper_case_page(tmp_path, content, said):
    (tmp_path / "page.fits").write_bytes(content)
    with pytest.raises(SurveyError, match=said):
        both(tmp_path / "page.fits")


# stated/four.txt, comma_head.csv


@pytest.mark.parametrize("sep", [" ", ",", "\t", ";", ", ", "   ", "|"])
@pytest.mark.parametrize("head", ["", "wavelength{}flux{}error\n", "# a file of mine\n#Wave{}FLUX{}Err\n"])
def test_comma_head(tmp_path, sep, head):
    path = tmp_path / "t.csv"
    path.write_text(head.format(sep, sep) + rows(WAVE, FLUX, ERROR, sep=sep))
    got = both(path)
    np.testing.assert_allclose(got.wavelength, WAVE)
    np.testing.assert_allclose(got.flux, FLUX, rtol=1e-7)
    np.testing.assert_allclose(got.ivar, 1600.0)


@pytest.mark.parametrize(
    ("name", "column"),
    [("ivar", ERROR**-2.0), ("variance", ERROR**2), ("flux_err", ERROR), ("snr", FLUX / ERROR), ("sigma", ERROR)],
)
def test_four_columns_by_name(tmp_path, name, column):
    """In any order; the mask is 0 where a sample is good."""
    mask = (np.arange(300) % 10 == 3).astype(float)
    (tmp_path / "t.txt").write_text(f"# mask wavelength[nm] {name} flux\n" + rows(mask, WAVE / 10, column, FLUX))
    got = both(tmp_path / "t.txt", unit="nm")
    np.testing.assert_allclose(got.wavelength, WAVE)
    np.testing.assert_allclose(got.ivar, np.where(mask > 0, 0.0, 1600.0), rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (rows(WAVE, FLUX, ERROR, 0 * WAVE), "has 4 columns and no line that names them"),
        ("wave flux err sky\n" + rows(WAVE, FLUX, ERROR, WAVE), "of 4 columns 'sky' cannot be understood"),
        ("wave flux\n" + rows(WAVE, FLUX, ERROR), "does not name 3 columns"),
        ("a\nb c\n" + rows(WAVE, FLUX), "2 lines before the numbers"),
        (rows(WAVE, FLUX) + "6200 much\n", "line 301: 'much' is not a number"),
        (rows(WAVE, FLUX) + "6200 1 1\n", "line 301: 3 columns where the lines before have 2"),
        (rows(WAVE[:9], FLUX[:9]), "has 9 rows of numbers"),
        (rows(np.full(300, 6100.0), FLUX), "hardly any of them differ"),
        (rows(-WAVE, FLUX), "check the unit"),
    ],
)
def test_four_refused_by_both(tmp_path, text, said):
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(SurveyError, match=said):
        both(tmp_path / "t.txt")


def test_numbers_as_others_write_them(tmp_path):
    """A comma for the point, Fortran's exponent, empty cells, carriage returns, a mark of UTF-8."""
    text = "Wellenlänge\n".join(["#", "wave;flux;error\r\n"]) + rows(WAVE, FLUX, ERROR, sep=";").replace(".", ",")
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    np.testing.assert_allclose(both(tmp_path / "t.csv").ivar, 1600.0)
    lines = rows(WAVE, FLUX, ERROR, sep=",").replace("0.025", "2.5D-02").splitlines()
    lines[7] = f"{WAVE[7]},,0.025"
    (tmp_path / "t.csv").write_text("\r\n".join(lines))
    got = both(tmp_path / "t.csv")
    assert np.flatnonzero(got.ivar == 0).tolist() == [7]
    np.testing.assert_allclose(got.ivar[got.ivar > 0], 1600.0)


def test_units_of_ecsv(tmp_path):
    table = Table({"wave": WAVE / 10, "flux": FLUX, "sigma": ERROR}, units={"wave": "nm"})
    table.write(tmp_path / "t.ecsv", format="ascii.ecsv")
    np.testing.assert_allclose(both(tmp_path / "t.ecsv", unit="nm").wavelength, WAVE)
    with pytest.raises(SurveyError, match="in nm, not in Angstrom as stated"):
        stated.read(tmp_path / "t.ecsv", medium="air")


# stated/err0.txt, var.txt


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (0 * ERROR, "taken for the error, is 0 in all 300 rows.*spectra.NAME.snr"),
        (-ERROR, "is negative in all 300 rows"),
        (np.nan * ERROR, "is not a number in all 300 rows"),
        (
            0.005**2 * ERROR / 0.025 * 2,
            r"means a S/N of (?:40,0|39,9).. a sample.*variances \(S/N 283\), name the column 'var",
        ),
        (ERROR**-2.0, r"means a S/N of 0.0013 .*inverse variances \(S/N 80\), name the column 'ivar'"),
    ],
)
def test_err0_and_var(tmp_path, error, said):
    (tmp_path / "t.txt").write_text(rows(WAVE, FLUX, error))
    with pytest.raises(SurveyError, match=said):
        both(tmp_path / "t.txt")
    columns = [fits.Column(n, "D", array=a) for n, a in (("wave", WAVE), ("flux", FLUX), ("err", error))]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(tmp_path / "t.fits")
    with pytest.raises(SurveyError, match=said.removeprefix("taken for the error, ")):
        both(tmp_path / "t.fits")


def test_no_good_sample(tmp_path):
    for text, said in (
        (rows(WAVE, FLUX * np.nan, ERROR), "no finite flux"),
        (rows(WAVE, 0 * FLUX, ERROR), "no sample with a flux"),
        ("wave flux err mask\n" + rows(WAVE, FLUX, ERROR, 1 + 0 * WAVE), "is not 0 in 100% of the rows"),
        ("wave flux ivar\n" + rows(WAVE, FLUX, 0 * ERROR), "column 'ivar' is 0 in all 300 rows"),
    ):
        (tmp_path / "t.txt").write_text(text)
        with pytest.raises(SurveyError, match=said):
            both(tmp_path / "t.txt")


# stated/nanom.fits

SPELLINGS = {
    1.0: ("Angstrom", "Angstroms", "ANGSTROMS", "AA", "angstrom", "A", "Å", "Ang", "0.1 nm"),
    10.0: ("nm", "NM", "nanometer", "nanometers", "Nanometres"),
    1e4: ("um", "micron", "microns", "micrometer", "µm"),
    1e10: ("m", "meter", "metres"),
}


@pytest.mark.parametrize(("scale", "unit"), [(k, unit) for k, units in SPELLINGS.items() for unit in units])
def test_nanom(tmp_path, scale, unit):
    """The right wavelengths in every spelling; refused where another unit is stated, or the numbers contradict it."""
    assert angstroms(unit) == (pytest.approx(scale), False)
    column = fits.Column("wavelength", "D", array=WAVE / scale)
    table = fits.BinTableHDU.from_columns([column, fits.Column("flux", "D", array=FLUX)])
    table.header["TUNIT1"] = unit if unit.isascii() else "Angstrom" if scale == 1 else "um"
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "t.fits")
    np.testing.assert_allclose(both(tmp_path / "t.fits", unit=unit).wavelength, WAVE)
    with pytest.raises(SurveyError, match="says of itself"):
        stated.read(tmp_path / "t.fits", medium="vacuum", unit="nm" if scale != 10 else "Angstrom")
    (tmp_path / "t.txt").write_text(f"wavelength[{unit}],flux\n" + rows(WAVE / scale * 1e3, FLUX, sep=","))
    with pytest.raises(SurveyError, match=r"not those of a stellar spectrum in .*, as it says: check the unit"):
        both(tmp_path / "t.txt", unit=unit)


@pytest.mark.parametrize("unit", ["Hz", "furlongs", "cm-1", "pixel", "km/s"])
def test_nanom_no_unit_of_wavelength(tmp_path, unit):
    image = fits.PrimaryHDU(FLUX)
    image.header["CRVAL1"], image.header["CDELT1"], image.header["CUNIT1"] = 6100.0, 0.04, unit
    image.writeto(tmp_path / "t.fits")
    with pytest.raises(SurveyError, match=f"in '{unit}', which is no unit of wavelength"):
        both(tmp_path / "t.fits")


def test_nanom_taken_for_angstrom(tmp_path):
    """510 to 2500 nm as Angstrom, and Angstrom as nm: neither is where stars are observed."""
    for wave, unit in ((WAVE / 10, "Angstrom"), (WAVE, "nm"), (WAVE / 10 + 900, "Angstrom")):
        (tmp_path / "t.txt").write_text(rows(wave, FLUX))
        with pytest.raises(SurveyError, match=f"A if they are in {unit}: check the unit"):
            stated.read(tmp_path / "t.txt", medium="vacuum", unit=unit)
