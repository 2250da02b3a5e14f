"""astrogf from Python: what is imported when, a run as an object, units at the border, examples in docstrings."""

import doctest
import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table

import astrogf
from astrogf.base.quantities import ANGSTROM, DEX, KMS, bare, bare_labels, bare_tree
from astrogf.config import Config
from astrogf.fitting import engine, report
from astrogf.runs import run as opened
from astrogf.runs import tables
from astrogf.runs.words import arguments_for_options
from astrogf.surveys.batch import SpectrumBatch
from astrogf.surveys.directory.gather import partly_table
from astrogf.surveys.load import Loaded
from tests.builders.believable import believable, counts, set_aside
from tests.builders.believable_run import make
from tests.places import ROOT

HEAVY = ("jax", "numpyro", "numpy", "scipy", "astropy", "matplotlib", "xarray", "specutils", "bokeh")
DOCTESTED = ("astrogf.api", "astrogf.runs.run", "astrogf.runs.words", "astrogf.base.quantities", "astrogf.base.units")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> astrogf.Run:
    folder = tmp_path_factory.mktemp("python") / "runs" / "first"
    make(folder, known=True)
    return astrogf.open_run(str(folder))


def loaded_by(code: str, *of: str) -> set[str]:
    """Which of these modules a fresh process has after the code."""
    asked = f"import sys, json; print(json.dumps([m for m in {of!r} if m in sys.modules]))"
    said = subprocess.run(
        [sys.executable, "-c", f"{code}\n{asked}"], check=True, capture_output=True, text=True, cwd=ROOT
    )
    return set(json.loads(said.stdout.splitlines()[-1]))


def test_importing_astrogf_imports_nothing_heavy():
    """What makes an import take longer than a blink."""
    assert loaded_by("import astrogf; dir(astrogf)", *HEAVY) == set()
    assert loaded_by("import astrogf; astrogf.synthesize", "jax") == {"jax"}  # the test would see it


def test_opening_a_run_imports_no_jax(run):
    code = f"import astrogf\nrun = astrogf.open_run({str(run.folder)!r})\nrepr(run), run._repr_html_(), run.covariance"
    assert loaded_by(code, "jax", "matplotlib", "numpy") == {"numpy"}


def test_every_public_name_is_there():
    for name in astrogf.__all__:
        assert getattr(astrogf, name) is not None
    assert set(astrogf.__all__) <= set(dir(astrogf))
    with pytest.raises(AttributeError, match=r"public are .*open_run"):
        _ = astrogf.nothing


def test_the_package_says_that_it_is_typed():
    assert (Path(astrogf.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize("name", DOCTESTED)
def test_examples_of_docstrings(name, run, monkeypatch):
    """Written as a user would, beside a run in runs/first."""
    monkeypatch.chdir(run.folder.parents[1])
    failed, tried = doctest.testmod(
        importlib.import_module(name), extraglobs={"astrogf": astrogf, "run": run}, optionflags=doctest.ELLIPSIS
    )
    assert tried > 0
    assert failed == 0


def test_a_run_says_what_it_is(run):
    assert repr(run) == (
        f"Run({str(run.folder)!r}: 60 stars, 300 free lines, {run.summary['informed_lines']} of them informed, chi2 "
        f"per pixel {run.summary['chi2_per_pixel_original']:.3f} -> {run.summary['chi2_per_pixel_corrected']:.3f})"
    )
    page = run._repr_html_()
    assert "<b>60</b>" in page
    assert page.count("<tr>") == page.count("</tr>") > 10


def test_names_of_folders_cannot_smuggle_markup(tmp_path):
    assert "<b>x" not in make(tmp_path / "<b>x", known=False)._repr_html_()


def test_the_covariance_is_that_of_the_lines(run):
    np.testing.assert_allclose(np.sqrt(np.diag(run.covariance)), run.lines["posterior_sd"], atol=1e-5)
    assert run.covariance is run.covariance


def test_a_run_without_its_covariance_says_so(tmp_path):
    folder = make(tmp_path / "run", known=False).folder
    (folder / "posterior.fits").unlink()
    with pytest.raises(astrogf.AstrogfError, match=r"no COVARIANCE in .*posterior.fits"):
        _ = astrogf.open_run(folder).covariance


def test_pictures_by_their_names(run):
    from astrogf.fitting.report import CAPTIONS

    assert set(CAPTIONS) | {"spectrum"} == set(opened.Plot.__args__)
    for name in CAPTIONS:
        assert run.plot(name).axes
    path = str(run.used["path"][7])
    for star in (7, path, -53):
        assert run.plot("spectrum", star).axes[0].get_title(loc="left").startswith(path)


def test_what_cannot_be_drawn_is_refused(run, tmp_path):
    for name, star, words in (
        ("hrd", None, "no such picture; it has corrections"),
        ("spectrum", None, "say of which one"),
        ("spectrum", 60, "60 is no row of the 60 stars"),
        ("spectrum", "faint-1.fits", "no spectrum 'faint-1.fits' was fitted"),
        ("spectrum", str(run.used["path"][7])[:-3], f"is it {run.used['path'][7]}"),
    ):
        with pytest.raises(astrogf.AstrogfError, match=words):
            run.plot(name, star)
    with pytest.raises(astrogf.AstrogfError, match="this run has nothing for it"):
        make(tmp_path / "fit", known=False).plot("injected")


def test_a_users_backend_of_matplotlib_stays():
    code = "import matplotlib; matplotlib.use('svg'); import astrogf.style; assert matplotlib.get_backend() == 'svg'"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_compare_gives_the_pairs(run, tmp_path):
    table = run.lines["wavelength", "species", "elow", "loggf"].copy()
    table["loggf"] += 0.1
    table.write(tmp_path / "laboratory.ecsv", format="ascii.ecsv")
    pairs = run.compare(tmp_path / "laboratory.ecsv", medium="vacuum")
    assert len(pairs) == pairs.meta["matching"]["pairs"] == len(table)
    np.testing.assert_allclose(pairs["reference"] - pairs["list"], 0.1, atol=1e-6)


def test_sentences_speak_of_arguments(run, tmp_path):
    with pytest.raises(astrogf.AstrogfError, match=r"^medium is 'water'; expected air or vacuum"):
        run.export("vald", tmp_path / "x", medium="water")
    with pytest.raises(astrogf.AstrogfError, match=r"overwrite=True to replace the run"):
        astrogf.fit({}, ROOT / "configs", run.folder, quiet=True)
    assert arguments_for_options("drop --dry-run; take --all") == "drop dry_run; take everything=True"


@pytest.fixture
def fits_are_made_up(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """The pipeline with a fit that looks like one; the configurations that it was asked for."""
    result, _ = believable()
    asked: list[Config] = []
    batch = SpectrumBatch(result.wavelength, result.flux, result.ivar, result.table.copy())

    def fit(batches, config, *_, **__):
        asked.append(config)
        return result, set_aside()[:0]

    monkeypatch.setattr(engine, "load", lambda *_: Loaded([batch], set_aside(), partly_table([])))
    monkeypatch.setattr(engine, "fit", fit)
    monkeypatch.setattr(engine, "count", lambda *_, **__: counts())
    blank = [report.Picture(name, caption, b"") for name, (_, caption) in report.CAPTIONS.items() if name != "injected"]
    monkeypatch.setattr(report, "draw", lambda run: blank)
    return asked


def test_fit_gives_the_run_that_it_wrote(tmp_path, monkeypatch, fits_are_made_up, capsys):
    monkeypatch.chdir(tmp_path)
    config = {"survey": {"window": [490.0, 540.0] * u.nm, "snr_min": 25}, "stars": {"vmic_sd": 300 * u.m / u.s}}
    run = astrogf.fit(config, str(ROOT / "configs"), quiet=True)
    assert run.folder == Path("runs/configs")
    assert fits_are_made_up[0] == Config().changed(
        survey={"window": (4900.0, 5400.0), "snr_min": 25.0}, stars={"vmic_sd": 0.3}
    )
    assert capsys.readouterr().out == ""
    assert (run.folder / "report.html").is_file()
    assert repr(astrogf.open_run(run.folder)) == repr(run)
    again = astrogf.fit(config, ROOT / "configs", run.folder, resume=True, quiet=True)
    assert again.summary == run.summary
    assert len(fits_are_made_up) == 1


def test_a_configuration_may_be_a_file_a_mapping_or_one_made(tmp_path, fits_are_made_up):
    file = tmp_path / "c.toml"
    file.write_text("[survey]\nsnr_min = 31.0\n")
    given = (str(file), {"survey": {"snr_min": 31.0}}, Config().changed(survey={"snr_min": 31.0}))
    for k, config in enumerate(given):
        astrogf.fit(config, ROOT / "configs", tmp_path / f"run{k}", quiet=True)
    assert fits_are_made_up[0] == fits_are_made_up[1] == fits_are_made_up[2]
    with pytest.raises(astrogf.AstrogfError, match=r"config: \[survey\] snr_mn: unknown key; did you mean 'snr_min'"):
        astrogf.fit({"survey": {"snr_mn": 1.0}}, ROOT / "configs", tmp_path / "no")
    with pytest.raises(astrogf.AstrogfError, match=r"survey.window is in kg; expected one of Angstrom"):
        astrogf.fit({"survey": {"window": [1, 2] * u.kg}}, ROOT / "configs", tmp_path / "no")


def test_quantities_become_plain_numbers_in_our_units():
    gravity = u.dex(u.cm / u.s**2)
    assert bare(0.5 * u.um, ANGSTROM, "x") == pytest.approx(5000.0)
    assert bare(2.4 * u.eV, ANGSTROM, "x", spectral=True) == pytest.approx(5166.008, abs=1e-3)
    assert bare(2.44 * u.dex(u.m / u.s**2), DEX, "x") == pytest.approx(4.44)
    assert bare(u.Quantity(0.1), DEX, "x") == 0.1
    assert bare(7.0, KMS, "x") == 7.0
    assert bare_labels((5.777 * u.kK, 4.44 * gravity, 0.0, 0.1 * u.dex)) == pytest.approx((5777.0, 4.44, 0.0, 0.1))
    assert bare_tree({"a": [1 * u.km / u.s, 2], "b": np.float64(3)}) == {"a": [1.0, 2], "b": 3.0}
    for value, unit in ((1 * u.K, DEX), (2.4 * u.eV, ANGSTROM), (1 * u.dex(u.K), DEX), (1 * u.m, KMS), (1 * u.m, "")):
        with pytest.raises(astrogf.AstrogfError, match=r"^step is in .*, expected"):
            bare(value, unit, "step")


def test_names_repeated_without_jax_are_those_of_the_fit():
    from astrogf.inference.prior import intervals
    from astrogf.inference.problem import instrument, unlisted

    assert (tables.INTERVALS, tables.UNLISTED) == (intervals.NAMES, unlisted.CLASS)
    assert tables.VELOCITY_UNIT == instrument.VELOCITY_UNIT


def test_lines_and_spectra_read_well():
    lines = astrogf.load_lines(5183.0, 5184.0)
    assert repr(lines).startswith(f"LineList({len(lines)} lines of ")
    assert "5183." in repr(lines)
    assert repr(lines.take(np.zeros(len(lines), bool))) == "LineList(no lines)"
    spectrum = astrogf.Spectrum(np.array([5000.0, 5001.0]), np.ones(2), np.ones(2), "air")
    assert repr(spectrum).startswith("Spectrum(2 wavelengths, 5000.00-5001.00 A in air")


def test_tables_of_a_run_are_astropys(run):
    assert isinstance(run.lines, Table)
    assert run.used["teff"].quantity.unit == u.K
