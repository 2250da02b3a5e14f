"""Known stars made into a survey's spectra: the line that comes out is the one that the survey would see."""

import numpy as np
import pytest
from astropy.table import Table
from scipy.special import erf

from astrogf.base.air import air_to_vacuum
from astrogf.base.constants import C_KMS, FWHM_PER_SIGMA
from astrogf.surveys.known import as_survey, pixels_of, read_known
from astrogf.surveys.options import SurveyOptions
from astrogf.surveys.spectrum import LOG_STEP, SurveyError

CENTRE, OWN, SURVEY = 5175.0, 20_000.0, 7500.0
DEPTH = 0.5
LABELS = {"teff": [5000.0], "teff_sd": [20.0], "logg": [4.0], "e_logg": [0.05], "feh": [-0.2], "feh_err": [0.03]}


def line(wave: np.ndarray, resolution: float, centre: float = CENTRE, strength: float = 1.0) -> np.ndarray:
    """A Gaussian line in velocity that a delta function becomes at this resolution, scaled to DEPTH at OWN."""
    sigma = 1.0 / (resolution * FWHM_PER_SIGMA)
    return 1.0 - strength * DEPTH * resolution / OWN * np.exp(-0.5 * (np.log(wave / centre) / sigma) ** 2)


def a_table(folder, **columns) -> str:
    path = folder / "known.ecsv"
    Table({"file": ["star.txt"], "medium": ["air"], **LABELS, **columns}).write(path, overwrite=True)
    return path


def a_spectrum(folder, resolution: float = OWN, rv: float = 0.0, name: str = "star.txt") -> None:
    air = np.arange(5140.0, 5210.0, 0.01)
    flux = 3.0 * line(air_to_vacuum(air) / (1.0 + rv / C_KMS), resolution)
    (folder / name).write_text("\n".join(f"{w:.5f} {f:.8f}" for w, f in zip(air, flux, strict=True)))


@pytest.mark.parametrize(("resolution", "rv"), [(OWN, 0.0), (OWN, 80.0), (None, 0.0)])
def test_a_line_comes_out_as_the_survey_sees_it(tmp_path, resolution, rv) -> None:
    """Against the Gaussian of the survey's resolution integrated over pixels, in closed form. A spectrum of which no
    resolution is said is broadened by the survey's whole width."""
    a_spectrum(tmp_path, rv=rv)
    said = {} if resolution is None else {"resolution": [resolution]}
    stars = read_known(a_table(tmp_path, rv=[rv], **said))
    pixels = pixels_of(SurveyOptions(kind="lamost_mrs", windows=((5160.0, 5190.0), (6300.0, 6320.0))), False)
    assert [step for _, step in pixels] == [1e-5, 1e-5]
    batch, empty = as_survey(stars, pixels, SURVEY, draws=0)
    assert len(empty.flux) == 0
    assert list(batch.table["path"]) == ["star.txt, no noise"]
    whole = SURVEY if resolution else (SURVEY**-2.0 + OWN**-2.0) ** -0.5
    sigma = 1.0 / (whole * FWHM_PER_SIGMA)
    edge = np.log(10.0 ** (np.log10(batch.wavelength)[:, None] + 1e-5 * np.array([-0.5, 0.5])) / CENTRE)
    area = DEPTH / OWN * whole * sigma * np.sqrt(np.pi / 2.0)
    mean = area * np.diff(erf(edge / sigma / np.sqrt(2.0)))[:, 0] / (1e-5 * np.log(10.0))
    np.testing.assert_allclose(batch.flux[0] / 3.0, 1.0 - mean, atol=3e-4 * mean.max())
    assert np.all(batch.ivar[0] > 0)


def test_noise_is_drawn_at_the_level_asked_for_and_again_by_its_seed(tmp_path) -> None:
    a_spectrum(tmp_path)
    stars = read_known(a_table(tmp_path))
    pixels = [((5150.0, 5200.0), 3e-6)]
    one, again, other = (as_survey(stars, pixels, SURVEY, snr=50.0, draws=2, seed=s)[0] for s in (1, 1, 2))
    assert list(one.table["path"]) == [f"star.txt, {x}" for x in ("no noise", "noise 1", "noise 2")]
    np.testing.assert_array_equal(one.flux, again.flux)
    assert not np.array_equal(one.flux[1], other.flux[1])
    z = (one.flux[1:] - one.flux[0]) * np.sqrt(one.ivar[1:])
    assert np.std(z) == pytest.approx(1.0, abs=0.04)
    assert np.median(one.flux[0] * np.sqrt(one.ivar[0])) == pytest.approx(50.0, rel=1e-3)
    assert abs(np.corrcoef(z)[0, 1]) < 0.08


def test_near_its_ends_a_spectrum_says_nothing(tmp_path) -> None:
    """What is broadened there came from beyond."""
    a_spectrum(tmp_path)
    low = 5141.4
    (batch,) = as_survey(read_known(a_table(tmp_path)), [((5130.0, 5160.0), LOG_STEP)], 1800.0, draws=0)
    first = batch.wavelength[batch.ivar[0] > 0][0]
    # three widths to the pixel's edge, which itself is one wide
    assert 3.5 < (first - low) / (low / 1800.0 / FWHM_PER_SIGMA) < 4.7


def test_a_survey_without_files_has_the_pixels_of_its_stated_spectra() -> None:
    asked = SurveyOptions(kind="stated", window=(5000.0, 5100.0), log_step=2e-6)
    assert pixels_of(asked, False) == [((5000.0, 5100.0), 2e-6)]
    assert pixels_of(asked, True) == [((5000.0, 5100.0), LOG_STEP)]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"medium": ["water"]}, r"known.ecsv, row 1: column medium: expected .*air.*vacuum"),
        ({"file": ["gone.txt"]}, "row 1: there is no file gone.txt, neither beside the table"),
        ({"feh": [np.nan]}, "row 1: feh of star.txt is missing"),
        ({"resolution": [-5.0]}, "row 1: resolution is -5"),
        ({"resolution": ["high"]}, "known.ecsv: column resolution does not hold numbers"),
        ({"snr": [0.0]}, "column snr: expected a number greater than 0"),
        ({"teff": [4.0]}, "known.ecsv: column teff has no plausible value"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path, columns, words) -> None:
    a_spectrum(tmp_path)
    with pytest.raises(SurveyError, match=words):
        read_known(a_table(tmp_path, **columns))


def test_columns_that_are_not_there_are_named(tmp_path) -> None:
    (tmp_path / "t.csv").write_text("file,teff\nstar.txt,5000\n")
    with pytest.raises(SurveyError, match="no column medium, logg, feh; a table of known stars needs"):
        read_known(tmp_path / "t.csv")


def test_a_resolution_no_better_than_the_surveys_is_refused_and_so_is_no_coverage(tmp_path) -> None:
    a_spectrum(tmp_path)
    stars = read_known(a_table(tmp_path, resolution=[7000.0]))
    with pytest.raises(SurveyError, match=r"star.txt: a spectrum of resolution 7000 cannot be brought to 7500"):
        as_survey(stars, [((5160.0, 5190.0), 1e-5)], SURVEY)
    with pytest.raises(SurveyError, match=r"star.txt has 5141.* A \(vacuum\), less than a tenth of every window"):
        as_survey(stars, [((6160.0, 6190.0), 1e-5)], 1800.0)


def test_two_spectra_of_a_star_are_told_apart(tmp_path) -> None:
    for name in ("a.txt", "b.txt"):
        a_spectrum(tmp_path, name=name)
    twice = {name: values * 2 for name, values in LABELS.items()}
    path = tmp_path / "known.ecsv"
    for files, words in ((["a.txt", "b.txt"], None), (["a.txt", "a.txt"], r"Sun \(a.txt\) is there twice")):
        Table({"file": files, "medium": ["air"] * 2, "star": ["Sun"] * 2, **twice}).write(path, overwrite=True)
        if words is None:
            assert [s.name for s in read_known(path)] == ["Sun (a.txt)", "Sun (b.txt)"]
        else:
            with pytest.raises(SurveyError, match=words):
                read_known(path)
