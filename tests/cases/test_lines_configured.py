"""Line lists named in a configuration: whatever `read_lines` can be told, before a spectrum is read."""

from pathlib import Path

import numpy as np
import pytest

from astrogf.base.air import air_to_vacuum
from astrogf.base.errors import AstrogfError
from astrogf.config import load
from astrogf.fitting import engine, pipeline
from astrogf.synthesis.lineio import read_lines, write_lines
from tests.builders.line_lists import MOOG_ROWS, plain, vald


def configured(tmp_path: Path, text: str):
    """The lines of a configuration with a [lines] section, and nothing of the package's own added."""
    path = tmp_path / "c.toml"
    path.write_text(f"[model]\nmolecules = false\n[lines]\nborrow_damping = false\n{text}\n")
    return engine.lines_of(load(path))


def test_mine_moog(tmp_path):
    """Format, medium, scaling, isotopes and what is done with bad lines can be said in a configuration."""
    (tmp_path / "mine.moog").write_text("mine\n5432.1 3.006 1.75 -1.4\n5433.7 26.1 3.5 nix\n5435.0 26.1 3.5 -2.0\n")
    named = 'list = "mine.moog"\nformat = "moog"\nmedium = "air"\n'
    with pytest.raises(AstrogfError, match=r"lines\.list: .*line 3: log gf is 'nix'.* or set lines\.on_bad to 'skip'"):
        configured(tmp_path, named)
    skip = named + 'on_bad = "skip"\n'
    with pytest.warns(UserWarning, match="left out 1 unreadable line: 3"):
        lines = configured(tmp_path, skip)
    np.testing.assert_allclose(lines.wavelength, air_to_vacuum(np.array([5432.1, 5435.0])), rtol=1e-9)
    assert lines.log_fraction[0] == pytest.approx(np.log10(0.0759))  # 6Li, Berglund & Wieser (2011)
    with pytest.warns(UserWarning, match="left out"):
        assert configured(tmp_path, skip + "scaled = true").log_fraction[0] == 0.0
    with pytest.warns(UserWarning, match="left out"):
        lines = configured(tmp_path, skip + "isotopes = { 6Li = 0.5, Li7 = 0.5 }")
    assert lines.log_fraction[0] == pytest.approx(np.log10(0.5))
    vacuum = skip.replace("air", "vacuum").replace('format = "moog"\n', "")
    with pytest.warns(UserWarning, match="left out"):
        assert configured(tmp_path, vacuum).wavelength.tolist() == [5432.1, 5435.0]


@pytest.mark.parametrize("format", ["vald", "kurucz", "turbospectrum", "moog", "gaia-eso", "ecsv"])
def test_every_format_from_a_configuration(tmp_path, format):
    """What `write_lines` writes can be named in [lines]."""
    lines = read_lines(plain(tmp_path / "p.ecsv", log_gamma_rad=[8.1, 8.2], vdw=[-7.5, -7.6]))
    name = "list.ecsv" if format in ("gaia-eso", "ecsv") else "list.txt"
    write_lines(tmp_path / name, lines, format, None if format == "ecsv" else "air")
    medium = 'medium = "air"' if format in ("moog", "turbospectrum") else ""
    for said in (f'format = "{format}"', ""):
        again = configured(tmp_path, f'list = "{name}"\n{said}\n{medium}')
        np.testing.assert_allclose(again.wavelength, lines.wavelength, atol=1e-3)
        np.testing.assert_allclose(again.loggf, lines.loggf, atol=1e-3)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('list = "mine.moog"', r"lines\.list: .*air or vacuum; set lines\.medium to 'air' or 'vacuum'"),
        ('list = "mine.moog"\nmedium = "Air"', r"\[lines\] medium: expected 'air' or 'vacuum', got 'Air'"),
        ('list = "mine.moog"\nformat = "Moog"', r"\[lines\] format: expected 'vald', .*got 'Moog'"),
        ('list = "mine.moog"\nformat = "vald"', r"lines\.list: .*no VALD header"),
        ('list = "none.moog"', r"lines\.list: none\.moog: no such file"),
        ('list = "junk.txt"', r"not recognised as a line list; set lines\.format to 'vald' or "),
        ('list = "isotopes.vald"', r"set lines\.scaled to true or false"),
        ('list = "mine.moog"\nmedium = "air"\nisotopes = { 12Q = 1.0 }', r"lines\.isotopes: '12Q' is no isotope"),
        (
            'list = "mine.moog"\nmedium = "air"\nisotopes = { 12C = 2.0 }',
            r"\[lines\] isotopes: .*less than or equal to 1",
        ),
        ('medium = "air"', r"lines\.medium is of a list of your own: name it with lines\.list"),
    ],
)
def test_mine_moog_advice_names_keys_that_exist(tmp_path, text, sentence):
    """A list that is refused names the key to set, never an argument of `read_lines`."""
    (tmp_path / "mine.moog").write_text("mine\n" + MOOG_ROWS["free"])
    (tmp_path / "junk.txt").write_text("nothing of the kind\n")
    isotopes = vald("all", 6150.0, footer=" References:\n").replace("   Fe'", "  (56)Fe'")
    (tmp_path / "isotopes.vald").write_text(isotopes)
    with pytest.raises(AstrogfError, match=sentence) as caught:
        configured(tmp_path, text)
    assert "pass " not in str(caught.value)


def test_the_list_is_read_before_the_spectra(tmp_path, monkeypatch):
    """A refused list stops a fit before a spectrum is opened."""
    (tmp_path / "mine.moog").write_text("mine\n" + MOOG_ROWS["free"])
    (tmp_path / "c.toml").write_text('[lines]\nlist = "mine.moog"\n')
    (tmp_path / "spectra").mkdir()
    (tmp_path / "spectra" / "a.fits").write_bytes(b"x")
    monkeypatch.setattr(engine, "load", lambda *_: pytest.fail("spectra were read"))
    with pytest.raises(AstrogfError, match=r"set lines\.medium"):
        pipeline.fit_survey(load(tmp_path / "c.toml"), tmp_path / "spectra", tmp_path / "run")
