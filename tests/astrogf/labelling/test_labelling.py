"""What `astrogf label` writes and refuses; the labels are made up."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import astrogf
from astrogf.base.errors import AstrogfError
from astrogf.base.tables import read_table
from astrogf.config import Config
from astrogf.fitting import engine
from astrogf.labelling import labelling
from astrogf.labelling.keeping import SurrogateFolder
from astrogf.runs import folder as runs
from astrogf.surveys.directory.gather import aside_table
from tests.builders.believable_run import make
from tests.builders.made_up_labels import NAMES, made_up_labels


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "spectra").mkdir()
    (tmp_path / "spectra" / "a.fits").write_bytes(b"")
    aside = aside_table([("bad.fits", "low_snr", "S/N 3")])
    batches = [SimpleNamespace(flux=np.ones((5, 3)))]
    monkeypatch.setattr(engine, "load", lambda *_: SimpleNamespace(batches=batches, set_aside=aside))
    monkeypatch.setattr(engine, "label", lambda *_, **__: (made_up_labels(), [0]))
    return make(tmp_path / "run", known=True).folder


@pytest.mark.parametrize("name", ["labels.fits", "labels.ecsv"])
def test_labels_with_errors_flags_and_what_was_set_aside(run: Path, name: str) -> None:
    found, out = made_up_labels(), run.parent / name
    labelling.label_spectra(run, run.parent / "spectra", out=out)
    table = read_table(out)
    assert list(table["path"]) == [f"s{k}.fits" for k in range(5)] + ["bad.fits"]
    assert [str(f) for f in np.ma.filled(table["flags"][:5], "")] == ["", "", "", "outside", "chi2"]
    assert list(np.ma.getmaskarray(table["teff"])) == [False, False, False, True, False, True]
    assert str(table["teff"].unit) == "K"
    np.testing.assert_allclose(table["feh"][:3], found.labels[:3, 2], atol=1e-5)
    # noise, surrogate (0.236 of it: 68% of 0.1, 0.2, 0.3) and corrections
    assert table["teff_sd"][0] == pytest.approx(50.0 * np.sqrt(1.0 + 0.2365**2 + 0.16), rel=1e-3)
    assert table["teff_list_sd"][0] == pytest.approx(20.0)
    assert list(table["exact"][:5]) == [True, True, True, False, False]
    assert table["reason"][5] == "low_snr"


def test_figures_beside_the_table(run: Path, capsys) -> None:
    told = labelling.label_spectra(run, run.parent / "spectra", json=run.parent / "told.json")
    kept = json.loads((run / "label.json").read_text())
    assert kept == json.loads((run.parent / "told.json").read_text())
    assert kept["spectra"] == told["spectra"] == 5
    assert kept["labelled"] == 4
    assert kept["flags"] == {"outside": 1, "chi2": 1}
    assert kept["set_aside"] == {"low_snr": 1}
    assert kept["exact"]["by_label"]["teff"] == pytest.approx({"median": 0.2, "95%": 0.29, "largest": 0.3})
    assert kept["exact"]["added"]["teff"] == pytest.approx(0.2365, abs=1e-3)
    assert [star["path"] for star in kept["per_star"]] == ["s0.fits", "s1.fits", "s2.fits"]
    assert set(kept["per_star"][0]["exact"]) == set(NAMES)
    assert "0.200 (median)" in capsys.readouterr().out


def test_the_same_from_python(run: Path) -> None:
    table = astrogf.open_run(run).label(run.parent / "spectra")
    assert len(table) == 6
    assert table.meta["exact"]["stars"] == 3


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"noise": {"line_scatter": 0.05}}, "deviations of its own lines"),
        ({"survey": {"kind": "stated"}}, "only stated spectra"),
    ],
)
def test_a_run_it_cannot_serve_is_refused_in_a_sentence(changed: dict, said: str) -> None:
    config = Config()
    for section, keys in changed.items():
        config = config.model_copy(update={section: getattr(config, section).model_copy(update=keys)})
    with pytest.raises(AstrogfError, match=said):
        labelling.check_served(config, Path("runs/a"))


def test_a_run_with_abundances_of_the_stars_is_served() -> None:
    config = Config()
    stars = config.stars.model_copy(update={"abundances": ("C", "Mg")})
    labelling.check_served(config.model_copy(update={"stars": stars}), Path("runs/a"))


@pytest.mark.parametrize("name", ["labels.fits", "labels.ecsv"])
def test_abundances_are_columns_as_in_a_run(run: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """After what every star has; what a surrogate gets wrong of derivatives by them is among its figures."""
    found = made_up_labels(("[C/Fe]", "[Mg/Fe]"))
    monkeypatch.setattr(engine, "label", lambda *_, **__: (found, [0]))
    told = labelling.label_spectra(run, run.parent / "spectra", out=run.parent / name)
    table = read_table(run.parent / name)
    np.testing.assert_allclose(table["[Mg/Fe]"][:3], found.labels[:3, 8], atol=1e-5)
    np.testing.assert_allclose(table["[C/Fe]_sd"][:3], found.sd[:3, 7], atol=1e-5)
    assert "[Mg/Fe]_list_sd" in table.colnames
    (quality,) = told["surrogate"]
    assert list(quality["slopes_rms_median"]) == ["teff", "logg", "feh", "alpha", "vmic", "[C/Fe]", "[Mg/Fe]"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"out": Path("labels.txt")}, "ends in .fits or .ecsv"),
        ({"share": 1.5}, "--share is 1.5"),
        ({"points": 10}, "--points is 10"),
        ({"seed": -1}, "--seed"),
    ],
)
def test_what_was_asked_wrongly_is_said_before_any_work(run: Path, given: dict, said: str) -> None:
    with pytest.raises(AstrogfError, match=said):
        labelling.label_spectra(run, run.parent / "spectra", **given)


def test_a_surrogate_of_something_else_or_a_damaged_one_is_not_used(run: Path) -> None:
    folder = SurrogateFolder(run)
    assert folder.load(0, "a", None, None) is None  # type: ignore[arg-type]
    folder.folder.mkdir()
    path = folder.folder / "window_1.npz"
    np.savez(path, name=np.array("b"))
    assert folder.load(0, "a", None, None) is None  # type: ignore[arg-type]
    path.write_bytes(path.read_bytes()[:40])
    assert folder.load(0, "b", None, None) is None  # type: ignore[arg-type]
    runs.prepare(run, overwrite=True)
    assert not folder.folder.exists()
