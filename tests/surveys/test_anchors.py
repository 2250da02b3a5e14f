"""A table of anchors stands for sections [spectra.NAME]; what it lacks is said before anything is read."""

from pathlib import Path

import pytest

from astrogf.config import load
from astrogf.surveys.anchors import sections
from astrogf.surveys.spectrum import SurveyError

HEAD = "file,star,medium,teff,e_teff,logg,logg_sd,feh,feh_sd,vmic,vmic_sd,resolution,snr\n"
SUN = "sun.txt,Sun,air,5772,1,4.438,0.001,0.0,0.001,1.0,0.1,60000,300\n"
TAU = "tau.fits.gz,alf Tau,vacuum,3927,40,1.11,0.15,-0.37,0.17,,,,\n"


def table(folder: Path, *rows: str, head: str = HEAD) -> Path:
    path = folder / "benchmarks.csv"
    path.write_text(head + "".join(rows))
    return path


def test_a_row_is_a_section(tmp_path: Path) -> None:
    (tmp_path / "sun.txt").write_text("5000 1\n")
    found = sections(table(tmp_path, SUN, TAU, SUN.replace("sun.txt", "harps.txt")))
    assert list(found) == ["sun", "alf_tau", "sun_2"]
    assert found["sun"]["file"] == str(tmp_path / "sun.txt")  # beside the table
    assert found["sun"] == {
        "file": str(tmp_path / "sun.txt"), "medium": "air", "star": "Sun", "snr": 300.0, "teff": [5772.0, 1.0],
        "logg": [4.438, 0.001], "feh": [0.0, 0.001], "vmic": [1.0, 0.1], "resolution": [60000.0, 6000.0],
    }  # fmt: skip
    assert "vmic" not in found["alf_tau"]
    assert "resolution" not in found["alf_tau"]
    assert found["alf_tau"]["file"] == "tau.fits.gz"


def test_in_a_configuration(tmp_path: Path) -> None:
    table(tmp_path, SUN, TAU)
    config = tmp_path / "my.toml"
    config.write_text(
        '[survey]\nanchors = "benchmarks.csv"\n'
        '[spectra.sun]\nteff = [5771.0, 0.5]\n'
        '[spectra.mine]\nfile = "mine.txt"\nmedium = "air"\n'
    )  # fmt: skip
    read = load(config)
    assert set(read.spectra) == {"sun", "alf_tau", "mine"}
    assert read.spectra["sun"].teff == (5771.0, 0.5)  # what is said in the configuration counts
    assert read.spectra["sun"].logg == (4.438, 0.001)


@pytest.mark.parametrize(
    ("rows", "head", "sentence"),
    [
        ([SUN.replace("4.438,0.001", "4.438,")], HEAD, r"row 1: logg of sun.txt has no error"),
        ([], HEAD, "has no row"),
        ([SUN], HEAD.replace("medium", "where"), "has no column medium"),
        ([SUN], HEAD.replace("teff", "temperature", 1).replace("e_teff", "x"), "has no column teff"),
        ([SUN.replace("5772", "hot")], HEAD, "teff"),
    ],
)
def test_what_a_table_lacks_is_said(tmp_path: Path, rows: list[str], head: str, sentence: str) -> None:
    path = table(tmp_path, *rows, head=head)
    with pytest.raises(SurveyError, match=sentence) as error:
        sections(path)
    assert str(path) in str(error.value)


def test_a_configuration_names_the_key(tmp_path: Path) -> None:
    config = tmp_path / "my.toml"
    config.write_text('[survey]\nanchors = "nowhere.csv"\n')
    with pytest.raises(ValueError, match=r"my.toml: \[survey\] anchors: .*nowhere.csv"):
        load(config)
    table(tmp_path, SUN.replace("air", "water"))
    config.write_text('[survey]\nanchors = "benchmarks.csv"\n')
    with pytest.raises(ValueError, match=r"\[spectra.sun\] medium"):
        load(config)
