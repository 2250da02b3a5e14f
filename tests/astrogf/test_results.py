"""The posterior of a run for other programs: draws, ArviZ, FITS tables, specutils."""

import builtins
import json

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.io.votable.ucd import parse_ucd
from astropy.table import Table
from scipy.special import ndtr
from typer.testing import CliRunner

import astrogf
from astrogf.base.tables import read_table
from astrogf.cli import app
from astrogf.inference.prior import intervals
from astrogf.runs import draws
from astrogf.runs.columns import ABOUT, about, described
from astrogf.runs.spectra import windows
from tests.builders.believable import LABELS, SPECIES
from tests.builders.believable_run import make


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> astrogf.Run:
    return make(tmp_path_factory.mktemp("results") / "run", known=True)


@pytest.fixture
def absent(monkeypatch):
    """Make a library one that is not installed."""

    def without(name: str) -> None:
        real = builtins.__import__

        def refuse(module, *args, **more):
            if module.partition(".")[0] == name:
                raise ImportError(f"No module named {name!r}")
            return real(module, *args, **more)

        import sys

        for module in [m for m in sys.modules if m.partition(".")[0] == name]:
            monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.setattr(builtins, "__import__", refuse)

    return without


def long_tailed(n: int = 6) -> tuple[intervals.Parts, np.ndarray, np.ndarray, np.ndarray]:
    """Lines that are one of two Gaussians, as those of a fit: mixture, means, sds, ends of intervals."""
    weight = np.stack([np.linspace(0.99, 0.6, n), np.linspace(0.01, 0.4, n)])
    mean, sd = np.stack([np.zeros(n), np.linspace(0.05, 0.2, n)]), np.stack([np.full(n, 0.08), np.full(n, 0.3)])
    first = (weight * mean).sum(0)
    variance = (weight * (sd**2 + mean**2)).sum(0) - first**2
    parts = intervals.Parts(weight, mean, sd)
    return parts, first, np.sqrt(variance), intervals.quantiles(parts)


def test_levels_are_those_of_the_intervals():
    assert draws.LEVELS == intervals.LEVELS


def test_draws_have_intervals_mean_and_sd_of_a_mixture():
    parts, mean, sd, ends = long_tailed()
    drawn = draws.corrections(mean, np.diag(sd**2), ends, 60_000, np.random.default_rng(1))
    for level, end in zip(draws.LEVELS, ends, strict=True):
        np.testing.assert_allclose(np.mean(drawn < end, axis=0), level, atol=0.006)
    np.testing.assert_allclose(drawn.mean(0), mean, atol=0.01 * sd.max())
    np.testing.assert_allclose(drawn.std(0), sd, rtol=0.02)
    gaussian = draws.corrections(mean, np.diag(sd**2), None, 60_000, np.random.default_rng(1))
    assert np.max(np.abs(np.mean(gaussian < ends[0], axis=0) - draws.LEVELS[0])) > 0.005  # the test would see it
    # between the ends too they are nearer to the mixture than a Gaussian of its mean and sd
    x = np.linspace(-0.5, 0.8, 40)[:, None]
    exact = np.sum(parts.weight * ndtr((x[:, None] - parts.mean) / parts.sd), axis=1)
    of_drawn = np.max(np.abs(np.mean(drawn[:, None] < x, axis=0) - exact), axis=0)
    of_gaussian = np.max(np.abs(ndtr((x - mean) / sd) - exact), axis=0)
    assert np.max(of_drawn) < 0.1
    assert np.max(of_drawn / of_gaussian) < 0.7


def test_a_gaussian_comes_out_as_one():
    mean, sd = np.array([0.1, -0.2]), np.array([0.05, 0.3])
    ends = mean + sd * np.array([[-1.959964], [-1.0], [1.0], [1.959964]])
    curve = draws.curves(mean, sd, ends)
    z = np.linspace(-3.5, 3.5, 50)[:, None] * np.ones(2)
    np.testing.assert_allclose(curve(z), mean + sd * z, atol=1e-3)


def test_draws_are_correlated_as_the_covariance_says():
    _, mean, sd, ends = long_tailed(3)
    correlation = np.array([[1.0, -0.8, 0.3], [-0.8, 1.0, 0.0], [0.3, 0.0, 1.0]])
    drawn = draws.corrections(mean, correlation * np.outer(sd, sd), ends, 40_000, np.random.default_rng(2))
    np.testing.assert_allclose(np.corrcoef(drawn.T), correlation, atol=0.06)
    covariance = np.array([[[100.0**2, 0.7 * 100 * 0.1], [0.7 * 100 * 0.1, 0.1**2]]])
    mean, sd = np.array([[5777.0, 4.4]]), np.array([[100.0, 0.1]])
    stars = draws.labels(mean, sd, covariance, 20_000, np.random.default_rng(3))
    np.testing.assert_allclose(np.cov(stars[:, 0].T), covariance[0], rtol=0.05)


def test_a_star_that_was_left_out_has_no_draws():
    mean, sd = np.zeros((2, 2)), np.array([[1.0, 2.0], [np.inf, 1.0]])
    covariance = np.stack([np.diag([1.0, 4.0]), np.full((2, 2), np.nan)])
    for of_labels in (covariance, None):
        drawn = draws.labels(mean, sd, of_labels, 100, np.random.default_rng(0))
        assert np.isfinite(drawn[:, 0]).all()
        assert np.isnan(drawn[:, 1, 0]).all()


def test_a_covariance_that_rounding_made_singular_is_drawn_from():
    ones = np.ones((3, 3), dtype=np.float32).astype(float)
    z = draws.correlated(ones, 1000, np.random.default_rng(0))
    np.testing.assert_allclose(z.std(0), 1.0, atol=0.1)
    assert np.max(np.abs(z[:, 0] - z[:, 1])) < 0.05


def test_the_posterior_has_what_the_tables_say(run):
    tree = run.posterior(draws=4000, seed=3)
    assert {g.lstrip("/") for g in tree.groups} == {"", "posterior", "constant_data", "observed_data"}
    made = tree["posterior"]
    assert made["correction"].sizes == {"chain": 4, "draw": 1000, "line": 300}
    both = ("chain", "draw")
    lines = run.lines
    np.testing.assert_allclose(made["correction"].std(both), lines["posterior_sd"], rtol=0.08)
    off = (made["correction"].mean(both) - np.asarray(lines["correction"])) / np.asarray(lines["posterior_sd"])
    assert float(np.abs(off).max()) < 0.08
    np.testing.assert_allclose(made["loggf"] - made["correction"], np.tile(lines["loggf"], (4, 1000, 1)), atol=1e-9)
    for name in LABELS:
        np.testing.assert_allclose(made[name].std(both), run.used[f"{name}_sd"], rtol=0.08)
    assert made["teff"].attrs["units"] == "K"
    assert list(made["star"].values) == list(run.used["path"])
    np.testing.assert_array_equal(tree["observed_data/flux"], run.spectra.flux)
    np.testing.assert_array_equal(tree["constant_data/covariance"], run.covariance)
    again = run.posterior(draws=4000, seed=3)
    np.testing.assert_array_equal(again["posterior/teff"], made["teff"])


def test_labels_of_a_star_keep_their_covariance(tmp_path):
    """A run that has it: written, read, and in the draws."""
    run = make(tmp_path / "run", known=True, label_correlation=0.9)
    assert run.label_covariance.shape == (60, 7, 7)
    np.testing.assert_allclose(np.sqrt(run.label_covariance[:, 0, 0]), run.used["teff_sd"], rtol=1e-4)
    made = run.posterior(draws=2000)["posterior"]
    teff, logg = (made[name].values.reshape(2000, -1)[:, 4] for name in ("teff", "logg"))
    assert np.corrcoef(teff, logg)[0, 1] == pytest.approx(0.9, abs=0.02)


def test_lines_of_one_name_are_told_apart(run):
    from astrogf.runs.posterior import _unique

    assert _unique(["Fe I 1", "Fe I 2", "Fe I 1"]) == ["Fe I 1", "Fe I 2", "Fe I 1 (2)"]
    names = run.posterior(draws=4)["posterior/line"].values
    assert len(set(names)) == 300


def test_a_run_with_unlisted_lines_has_them_behind(tmp_path):
    run = make(tmp_path / "fit", known=False)
    tree = run.posterior(draws=8)
    assert tree["posterior"].sizes["line"] == len(run.lines) + len(run.unlisted) == 300
    assert list(tree["posterior/group"].values[-len(run.unlisted) :]) == ["unlisted"] * len(run.unlisted)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # what ArviZ says of its own next version
def test_arviz_reads_the_file_of_the_command(run, tmp_path):
    arviz = pytest.importorskip("arviz")
    out = tmp_path / "posterior.nc"
    said = CliRunner().invoke(app, ["export", str(run.folder), "--format", "netcdf", "--out", str(out), "--json", "-"])
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["groups"] == ["posterior", "constant_data", "observed_data"]
    data = arviz.from_netcdf(str(out))
    summary = arviz.summary(data, var_names=["teff"], kind="stats")
    np.testing.assert_allclose(summary["mean"].astype(float), run.used["teff"], rtol=0.01)
    assert len(data["posterior"]["line"]) == 300


def test_the_tree_goes_into_zarr(run, tmp_path):
    xarray = pytest.importorskip("xarray")
    run.posterior(draws=8).to_zarr(tmp_path / "p.zarr", zarr_format=2)
    again = xarray.open_datatree(tmp_path / "p.zarr", engine="zarr")
    assert again["posterior/correction"].sizes["line"] == 300


def test_fits_tables_have_units_descriptions_and_ucds(run, tmp_path):
    out = tmp_path / "run.fits"
    assert run.export("fits", out)["extensions"] == ["LINES", "STARS", "GROUPS", "COVARIANCE"]
    lines, stars = (Table.read(out, hdu=name) for name in ("LINES", "STARS"))
    np.testing.assert_array_equal(lines["correction"], run.lines["correction"])
    assert list(stars["path"]) == list(run.stars["path"])
    assert lines["wavelength"].unit == u.AA
    assert stars["vmic"].unit == u.km / u.s
    assert read_table(out)["correction"].description == f"{ABOUT['correction'].description} [dex]"
    with fits.open(out) as hdus:
        number = hdus["STARS"].columns.names.index("teff_sd") + 1
        assert hdus["STARS"].header[f"TUCD{number}"] == "stat.error;phys.temperature.effective"
        hdus.verify("exception")
        np.testing.assert_allclose(hdus["COVARIANCE"].data, run.covariance)


def test_ecsv_tables_have_descriptions_and_ucds(run):
    """As they lie in the folder, read by astropy alone."""
    lines = Table.read(run.folder / "loggf.ecsv", format="ascii.ecsv")
    assert lines["posterior_sd"].description == ABOUT["posterior_sd"].description
    assert lines["posterior_sd"].meta["ucd"] == "stat.error;phys.atmol.wOscStrength"
    stars = Table.read(run.folder / "stars.ecsv", format="ascii.ecsv")
    assert stars["teff"].meta["ucd"] == "phys.temperature.effective"


def test_what_is_said_of_columns():
    for name in [*ABOUT, "teff_sd", "tau_sd", "Mg", "Mg_sd"]:
        if about(name).ucd:
            parse_ucd(about(name).ucd, check_controlled_vocabulary=True)
    assert about("Mg_sd").ucd == about("[Mg/Fe]_sd").ucd == "stat.error;phys.abund"
    assert about("[Mg/Fe]").description == "[Mg/Fe] beyond alpha"
    assert about("nothing") is None
    table = Table({"teff": [1.0], "other": [2.0]})
    table["teff"].description = "mine"
    assert described(table)["teff"].description == "mine"
    assert table["other"].description is None


def test_every_column_of_a_run_is_described(run):
    for table in (run.lines, run.used, run.hyper):
        lacking = [name for name in table.colnames if not table[name].description and name not in ("depth", "survey")]
        assert not lacking


def test_a_spectrum_for_specutils(run):
    pytest.importorskip("specutils")
    star = 5
    observed, model = run.spectrum(star), run.spectrum(str(run.used["path"][star]), "corrected")
    np.testing.assert_array_equal(observed.flux.value, run.spectra.flux[star])
    np.testing.assert_array_equal(model.flux.value, run.spectra.model_corrected[star])
    np.testing.assert_allclose(observed.spectral_axis.to_value("nm"), run.spectra.wavelength / 10)
    assert observed.mask[200:240].all()
    assert not observed.mask[:190].all()
    good = ~observed.mask
    np.testing.assert_allclose(observed.uncertainty.array[good], run.spectra.sigma[star][good] ** -2.0)
    assert observed.meta["teff"] == run.used["teff"][star]
    for given, words in (({"window": 1}, "this run has 1, counted from 0"), ({"which": "best"}, "expected one of")):
        with pytest.raises(astrogf.AstrogfError, match=words):
            run.spectrum(0, **given)
    synthetic = astrogf.Spectrum(np.array([5000.0, 5001.0]), np.full(2, 0.5), np.ones(2), "air")
    assert synthetic.to_specutils().flux.unit.is_equivalent("W / m3")
    assert list(synthetic.to_specutils(normalised=True).flux.value) == [0.5, 0.5]


def test_windows_are_spectra_of_their_own(run, monkeypatch):
    pytest.importorskip("specutils")
    w = run.spectra.wavelength
    two = np.concatenate([w[:200], 3.0 * w[200:]])
    object.__setattr__(run, "spectra", run.spectra._replace(wavelength=two))
    try:
        assert [len(x) for x in windows(two)] == [200, len(w) - 200]
        np.testing.assert_array_equal(run.spectrum(0, window=1).spectral_axis.value, two[200:])
    finally:
        object.__setattr__(run, "spectra", run.spectra._replace(wavelength=w))


@pytest.mark.parametrize(("library", "extra"), [("xarray", "arviz"), ("h5netcdf", "arviz"), ("specutils", "specutils")])
def test_a_library_that_is_missing_is_named(run, tmp_path, absent, library, extra):
    absent(library)
    asked = (lambda: run.spectrum(0)) if library == "specutils" else (lambda: run.export("netcdf", tmp_path / "p.nc"))
    with pytest.raises(astrogf.AstrogfError, match=rf"needs {library}.*pip install 'astrogf\[{extra}\]'"):
        asked()
    assert not (tmp_path / "p.nc").exists()


def test_what_is_of_line_lists_is_refused_for_results(run, tmp_path):
    for given in ({"everything": True}, {"ratio": 0.3}, {"medium": "air"}):
        with pytest.raises(astrogf.AstrogfError, match="is of line lists; fits holds all results"):
            run.export("fits", tmp_path / "x.fits", **given)
    for count in (0, 6, 2.5):
        with pytest.raises(astrogf.AstrogfError, match="expected a multiple of 4"):
            run.posterior(draws=count)


def test_species_of_the_builder_are_in_the_names(run):
    assert {str(s) for s in run.posterior(draws=4)["posterior/species"].values} <= set(SPECIES)
