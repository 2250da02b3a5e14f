"""Simulated surveys read back: the pixels are those of the stated truth, with the noise they state."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.table import Table
from scipy.stats import norm

from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.parameters import STAR
from astrogf.inference.problem.priors import Belief
from astrogf.inference.problem.problem import predict
from astrogf.inference.rehearsal.options import DemoOptions
from astrogf.inference.rehearsal.survey import FINER, Truth, falsify, simulate_survey
from astrogf.surveys.batch import SpectrumBatch
from astrogf.surveys.directory.load import load_directory
from astrogf.surveys.formats import stated as highres
from astrogf.surveys.options import SurveyOptions
from astrogf.synthesis.lines.agreement import AGREED, agreement

COARSE = {"oversampling": 6, "depths": 16}
FIT = FitOptions().changed(
    model={**COARSE, "line_cut": 2e-2, "molecules": False, "rv_reach": 200.0, "widest_sigma": 30.0},
    stars={"resolution": 7500.0, "resolution_sd": 600.0},
)
WINDOWS = ((5200.0, 5215.0), (6400.0, 6418.0))
SUN = Belief({"teff": (5772.0, 20.0), "logg": (4.44, 0.01), "feh": (0.0, 0.02), "resolution": (40000.0, 500.0)})


def chi2(batches, demo: DemoOptions, survey: SurveyOptions, fit: FitOptions, truth: Truth) -> np.ndarray:
    """Per pixel of every spectrum under the true model, its continuum fitted; the few outliers left out."""
    windows, _, error = falsify(demo, survey, fit, np.random.default_rng(demo.seed))
    see, out = eqx.filter_jit(predict), []
    for window, batch in zip(windows, batches, strict=True):
        slots = jnp.asarray(error[window.transition])
        for path, flux, ivar in zip(batch.table["path"], batch.flux, batch.ivar, strict=True):
            row = truth.stars[[str(p) for p in truth.stars["path"]].index(str(path))]
            model = np.asarray(see(window.problem, jnp.array([row[n] for n in STAR]), slots))
            basis = np.polynomial.legendre.legvander(np.linspace(-1, 1, len(flux)), 5) * model[:, None]
            root = np.sqrt(ivar)
            found = np.linalg.lstsq(basis * root[:, None], flux * root, rcond=None)[0]
            pull = ((flux - basis @ found) * root)[ivar > 0]
            out.append(np.sum(pull[np.abs(pull) < 5] ** 2) / (len(pull) - 6))
    return np.array(out)


def test_medium_resolution_survey_holds_what_it_says(tmp_path) -> None:
    survey = SurveyOptions(kind="lamost_mrs", windows=WINDOWS)
    demo = DemoOptions(stars=2, snr=(40.0, 60.0), outlier_fraction=0.0, **COARSE)
    truth = simulate_survey(demo, survey, FIT, tmp_path)
    batches, aside, _ = load_directory(tmp_path, list(WINDOWS), kinds=["lamost_mrs"], snr_min=0.0)
    assert len(aside) == 0
    assert [len(b.flux) for b in batches] == [2, 2]
    found = chi2(batches, demo, survey, FIT, truth)
    # 250 pixels an arm: over eight surveys (64 spectra, two lists) the sd of one is 0.13
    assert found.mean() == pytest.approx(1.0, abs=0.2)
    assert found == pytest.approx(np.ones(4), abs=0.4)


def test_every_line_of_the_list_is_wrong_and_components_agree() -> None:
    survey = SurveyOptions(kind="lamost_mrs", windows=WINDOWS)
    demo = DemoOptions(species_error=0.0, species_model_error=0.0, **COARSE)
    windows, lines, shown = falsify(demo, survey, FIT, np.random.default_rng(1))
    _, first = np.unique(lines["transition"], return_index=True)
    injected = np.asarray(lines["injected"])
    each, model = injected[first], (np.asarray(lines["shown"]) - injected)[first]
    agreed = agreement(np.asarray(lines["transition"])[first]) == AGREED
    assert agreed.sum() > 5
    assert np.median(np.abs(each[agreed])) < 0.06
    assert abs(np.corrcoef(each, model)[0, 1]) < 4 / np.sqrt(len(each))
    assert np.std(model) == pytest.approx(demo.model_error, rel=0.15)
    each = each[~agreed]
    whole = np.hypot(demo.scatter, np.sqrt(demo.wrong_share) * demo.wrong)
    assert np.std(each) == pytest.approx(whole, rel=0.2)
    narrow, wide = norm(0.0, demo.scatter), norm(0.0, np.hypot(demo.scatter, demo.wrong))
    beyond = 2 * ((1 - demo.wrong_share) * narrow.sf(0.3) + demo.wrong_share * wide.sf(0.3))
    assert np.mean(np.abs(each) > 0.3) == pytest.approx(beyond, abs=4 * np.sqrt(beyond / len(each)))
    assert np.all(np.asarray(lines["shown"]) == shown[lines["transition"]])
    assert all(len(np.unique(injected[lines["transition"] == t])) == 1 for t in lines["transition"][first])
    assert {float(w) // 1000 for w in lines["wavelength"]} == {5.0, 6.0}
    assert len(windows) == 2


def test_a_species_errs_together() -> None:
    survey = SurveyOptions(kind="lamost_mrs", windows=WINDOWS)
    alone = {"scatter": 1e-6, "wrong_share": 0.0, "model_error": 0.0}
    demo = DemoOptions(**alone, **COARSE)
    _, lines, _ = falsify(demo, survey, FIT, np.random.default_rng(1))
    injected, model = np.asarray(lines["injected"]), np.asarray(lines["shown"] - lines["injected"])
    agreed = agreement(np.asarray(lines["transition"])) == AGREED
    assert np.abs(injected[agreed]).max() < 1e-4
    for errors, sd, mine in ((injected, demo.species_error, ~agreed), (model, demo.species_model_error, injected < 9)):
        species, of = np.unique(lines["species"][mine], return_inverse=True)
        means = np.bincount(of, errors[mine]) / np.bincount(of)
        assert np.abs(errors[mine] - means[of]).max() < 1e-4
        assert np.std(means) == pytest.approx(sd, rel=3 / np.sqrt(2 * len(species)))


def test_stated_spectra_are_drawn_from_what_is_said_of_them(tmp_path) -> None:
    survey = SurveyOptions(kind="stated", windows=WINDOWS[:1], log_step=3e-6)
    demo = DemoOptions(snr=(150.0, 160.0), outlier_fraction=0.0, **COARSE)
    truth = simulate_survey(demo, survey, FIT, tmp_path, beliefs={"sun": SUN}, files={"sun": "deep/sun.txt"})
    row = truth.stars[0]
    assert abs(row["teff"] - 5772.0) < 80.0
    assert row["logg"] == pytest.approx(4.44, abs=0.04)
    read = highres.read(tmp_path / "deep" / "sun.txt", medium="vacuum")
    noise = np.sqrt(read.ivar[read.ivar > 0]) * read.flux[read.ivar > 0]
    assert np.median(noise) == pytest.approx(row["snr"] / np.sqrt(FINER), rel=0.05)
    # on the file's own samples, whose noise is independent
    batch = SpectrumBatch(read.wavelength, read.flux[None], read.ivar[None], Table({"path": ["sun"]}))
    assert chi2([batch], demo, survey, FIT, truth) == pytest.approx(
        np.ones(1), abs=0.2
    )  # 2,000 samples: 0.03 is one sd


def test_lines_missing_from_the_list_are_in_the_stars_alone() -> None:
    survey = SurveyOptions(kind="lamost_mrs", windows=WINDOWS[:1])
    demo = DemoOptions(missing=3, **COARSE)
    windows, lines, error = falsify(demo, survey, FIT, np.random.default_rng(1))
    extra = lines[lines["missing"]]
    assert len(extra) == 3
    assert np.isnan(extra["injected"]).all()
    assert not np.isnan(lines["injected"][~lines["missing"]]).any()
    assert ((extra["wavelength"] > 5200.0) & (extra["wavelength"] < 5215.0)).all()
    assert np.isin(extra["transition"], windows[0].transition).all()
    assert (error[np.asarray(extra["transition"])] == 0.0).all()
