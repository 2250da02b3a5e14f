"""The run folder: what is written is what is read, and nothing is overwritten by accident."""

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from astrogf.base.errors import AstrogfError
from astrogf.checking import held_out as check
from astrogf.config import Config
from astrogf.fitting import figures, truth
from astrogf.fitting.report import misfits, missing_lines
from astrogf.inference.blocks.shelf import InMemory
from astrogf.inference.pixels import ByBlocks
from astrogf.inference.problem.spectra import Part
from astrogf.runs import folder as runs
from astrogf.runs import summary, tables
from tests.builders.believable import believable, reference, set_aside

ISSUE_KEYS = set(
    "stars_used stars_set_aside lines_free chi2_per_pixel_original chi2_per_pixel_corrected coverage_68 coverage_95 "
    "coverage_68_informed coverage_95_informed "
    "informed_lines rms_informed_dex label_scatter jacobian_cost_ratio seconds peak_memory_gb".split()
)


def write(folder: Path, command: str = "demo") -> runs.Run:
    result, injected = believable()
    stars = tables.star_table(result, set_aside(), reference(result))
    lines = truth.attach_injected(tables.line_table(result), injected)
    runs.prepare(folder, overwrite=False)
    runs.write_record(folder, {"command": command, "reference": "truth", "nothing": np.nan, "n": np.int64(3)})
    runs.write_results(folder, result, stars, lines, set_aside(), injected)
    runs.write_summary(folder, summary.summarise(result, lines, stars, seconds=1.5))
    return runs.read(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    return write(tmp_path_factory.mktemp("runs") / "demo")


def test_summary_has_exactly_the_keys(run: runs.Run) -> None:
    written = json.loads((run.folder / "summary.json").read_text())
    assert set(written) == ISSUE_KEYS
    assert written["peak_memory_gb"] is None
    assert (written["stars_used"], written["stars_set_aside"], written["lines_free"]) == (60, 5, 300)
    with pytest.raises(ValueError, match="extra"):
        runs.write_summary(run.folder, written | {"extra": 1})


def test_round_trip(run: runs.Run) -> None:
    result, injected = believable()
    for name in ("flux", "ivar", "sigma", "model_original", "model_corrected"):
        np.testing.assert_allclose(getattr(run.spectra, name), getattr(result, name), rtol=1e-6)
    np.testing.assert_array_equal(run.spectra.wavelength, result.wavelength)
    assert list(run.used["path"]) == list(result.table["path"])
    np.testing.assert_allclose(run.used["teff"], result.labels[:, 0], atol=0.051)
    np.testing.assert_allclose(run.lines["correction"], result.lines["correction"], atol=1e-5)
    np.testing.assert_allclose(run.lines["injected"], injected["injected"], atol=1e-5)
    assert run.truth is not None
    assert len(run.truth) == 300
    assert run.record["nothing"] is None
    assert run.record["n"] == 3
    assert not list(run.folder.glob(".*"))


def test_spectra_are_written_block_by_block_as_at_once(tmp_path: Path, run: runs.Run) -> None:
    result, _ = believable()
    parts = [Part(slice(a, b), (np.arange(a, b),), InMemory(())) for a, b in ((0, 25), (25, 50), (50, 60))]
    window = SimpleNamespace(
        star=np.arange(60), problem=SimpleNamespace(spectrum=SimpleNamespace(grid=SimpleNamespace(n_pixel=422)))
    )
    sample: Any = SimpleNamespace(n_star=60, windows=(window,), parts=parts)
    names = ("flux", "ivar", "sigma", "model_original", "model_corrected")
    by_blocks: dict[str, Any] = {
        n: ByBlocks(sample, lambda i, k, n=n: getattr(result, n)[parts[i].rows[k]], np.nan) for n in names
    }
    runs.prepare(tmp_path / "run", overwrite=False)
    stars = tables.star_table(result, set_aside())
    runs.write_results(tmp_path / "run", replace(result, **by_blocks), stars, tables.line_table(result), set_aside())
    assert (tmp_path / "run" / "spectra.fits").read_bytes() == (run.folder / "spectra.fits").read_bytes()


def test_some_stars_are_read(run: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, values in run.spectra_of(slice(7, 9))._asdict().items():
        whole = getattr(run.spectra, name)
        np.testing.assert_array_equal(values, whole if name == "wavelength" else whole[7:9])
    s = run.spectra
    good, z = np.isfinite(s.sigma) & (s.ivar > 0), (s.flux - s.model_corrected) / s.sigma
    monkeypatch.setattr(figures, "AT_ONCE", 7)
    np.testing.assert_array_equal(figures.normalised_residuals(run), z[good])
    monkeypatch.setattr(figures, "MOST_RESIDUALS", 10_000)  # of 60 x 422: every third star
    third = np.arange(60) % 3 == 0
    np.testing.assert_array_equal(figures.normalised_residuals(run), z[good & third[:, None]])


@pytest.mark.filterwarnings("ignore:File may have been truncated")
def test_spectra_that_were_cut_short_are_a_sentence(tmp_path: Path) -> None:
    path = write(tmp_path / "run").folder / "spectra.fits"
    path.write_bytes(path.read_bytes()[:200_000])
    with pytest.raises(AstrogfError, match="cannot be read"):
        runs.read(tmp_path / "run")


def test_one_row_a_file(run: runs.Run) -> None:
    assert len(run.stars) == 65
    aside = run.stars[~np.asarray(run.stars["used"])]
    assert sorted(aside["path"]) == sorted(set_aside()["path"])
    assert np.ma.getmaskarray(aside["teff"]).all()
    assert "S/N(g) 3.1" in str(aside["detail"][2])


def test_lines_come_in_order_of_wavelength_with_their_covariance(tmp_path: Path) -> None:
    from dataclasses import replace

    from astropy.io import fits

    result, _ = believable(stars=3, lines=20)
    shuffle = np.random.default_rng(0).permutation(20)
    covariance = result.correction_covariance[np.ix_(shuffle, shuffle)]
    result = replace(result, lines=result.lines[shuffle], correction_covariance=covariance)
    lines = tables.line_table(result)
    runs.write_results(tmp_path, result, tables.star_table(result, set_aside()[:0]), lines, set_aside()[:0])
    assert np.all(np.diff(lines["wavelength"]) >= 0)
    with fits.open(tmp_path / "posterior.fits") as hdus:
        np.testing.assert_allclose(np.sqrt(np.diag(hdus["COVARIANCE"].data)), lines["posterior_sd"], rtol=1e-6)
        np.testing.assert_allclose(hdus["ROWS"].data["wavelength"], lines["wavelength"])


def test_where_the_model_is_wrong_is_kept_and_named(run: runs.Run, tmp_path: Path) -> None:

    assert run.misfit is None
    assert misfits(run) == []
    result, _ = believable()
    start, width, factor = 5000.0 + 3.0 * np.arange(30), 0.4, 2.5 + np.arange(30.0)
    found = replace(result, misfit=Table({"start": start, "stop": start + width, "factor": factor}))
    lines, stars = tables.line_table(found), tables.star_table(found, set_aside(), None)
    runs.write_record(tmp_path, {"command": "fit"})
    runs.write_results(tmp_path, found, stars, lines, set_aside())
    runs.write_summary(tmp_path, summary.summarise(found, lines, stars, seconds=1.5))
    again = runs.read(tmp_path)
    assert again.misfit is not None
    assert str(again.misfit["start"].unit) == "Angstrom"
    np.testing.assert_allclose(again.misfit["stop"], start + width, atol=1e-3)
    worst = misfits(again)
    assert [m["factor"] for m in worst] == list(factor[:9:-1])
    assert worst[0]["start"] == pytest.approx(start[-1])


def test_lines_that_the_list_may_lack_are_kept_apart(tmp_path: Path) -> None:
    from dataclasses import replace

    result, injected = believable()
    mine = np.arange(300) % 10 == 3
    result.lines["group"] = np.where(mine, "unlisted", result.lines["group"])
    result.lines["correction"][mine] = np.linspace(0.0, 3.0, 30)
    result.lines["prior_sd"][mine] = 0.8
    result = replace(result, flags=("",) * 60)
    lines = truth.attach_injected(tables.line_table(result), injected)
    stars = tables.star_table(result, set_aside(), reference(result))
    runs.write_record(tmp_path, {"command": "fit", "config": Config().model_dump(), "shared": {}})
    runs.write_results(tmp_path, result, stars, lines, set_aside(), injected)
    runs.write_summary(tmp_path, summary.summarise(result, lines, stars, seconds=1.5))
    run = runs.read(tmp_path)
    assert run.summary["lines_free"] == 270
    assert len(run.lines) == 270
    assert run.unlisted is not None
    assert list(run.unlisted["group"]) == ["unlisted"] * 30
    covariance = runs.read_covariance(tmp_path)
    assert covariance is not None
    # those that astrogf check takes up again are in the order of the covariance
    found = check.corrections(tmp_path, run)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), np.asarray(found.lines["posterior_sd"], float), atol=2e-5)
    strong = [row["correction"] for row in missing_lines(run)]
    np.testing.assert_allclose(strong, np.linspace(3.0, 0.0, 30)[: len(strong)], atol=1e-5)
    assert strong[-1] > 1.6 > 3.0 - len(strong) * 3.0 / 29


def test_prepare_guards_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    runs.prepare(folder, overwrite=False)
    (folder / "precious.txt").write_text("mine")
    with pytest.raises(AstrogfError, match=r"not empty.*--overwrite"):
        runs.prepare(folder, overwrite=False)
    with pytest.raises(AstrogfError, match="no run of astrogf"):
        runs.prepare(folder, overwrite=True)
    assert (folder / "precious.txt").read_text() == "mine"
    with pytest.raises(AstrogfError, match="is a file"):
        runs.prepare(folder / "precious.txt", overwrite=True)


def test_overwrite_removes_the_run_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    write(folder, command="fit")
    (folder / "notes.txt").write_text("mine")
    (folder / "survey").mkdir()
    runs.prepare(folder, overwrite=True)
    assert sorted(os.listdir(folder)) == ["notes.txt", "survey"]


def test_overwrite_copes_with_a_broken_record(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text("{")
    runs.prepare(tmp_path, overwrite=True)
    assert not list(tmp_path.iterdir())


def test_read_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(AstrogfError, match="is not a run"):
        runs.read(tmp_path)
    runs.write_record(tmp_path, {"command": "fit"})
    with pytest.raises(AstrogfError, match=r"did not finish \(summary.json"):
        runs.read(tmp_path)


def test_failed_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    runs.write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        runs.write_text(path, "new \udcff")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_recovery_against_hand_computed() -> None:
    lines = Table(
        {
            "correction": [0.1, 0.3, -0.2, 0.0],
            "low_95": [-0.1, 0.1, -0.4, -0.2],
            "low_68": [0.0, 0.2, -0.3, -0.1],
            "high_68": [0.2, 0.4, -0.1, 0.1],
            "high_95": [0.3, 0.5, 0.0, 0.2],
            "ratio": [0.2, 0.2, 0.9, 0.2],
            "injected": np.ma.masked_invalid([0.05, 0.15, 0.1, np.nan]),
        }
    )
    found = summary.recovery(lines)
    assert found["coverage_68"] == pytest.approx(1 / 3)
    assert found["coverage_95"] == pytest.approx(2 / 3)
    assert found["rms_informed_dex"] == pytest.approx(np.sqrt((0.05**2 + 0.15**2) / 2))


def test_scatter_leaves_out_what_is_not_known() -> None:
    stars = Table(
        {
            "used": [True, True, True, False],
            **{n: [1.0, 2.0, 4.0, 9.0] for n in ("teff", "logg", "feh")},
            **{f"{n}_sd": [1.5, 1.5, 1.0, 1.0] for n in ("teff", "logg", "feh")},
            **{f"ref_{n}": np.ma.masked_invalid([0.0, 0.0, np.nan, 0.0]) for n in ("teff", "logg", "feh")},
        }
    )
    found = summary.label_scatter(stars)
    assert found is not None
    assert found["teff"]["median"] == 1.5
    assert found["teff"]["n"] == 2
    assert found["teff"]["robust_sigma"] == pytest.approx(0.5 * 1.4826, rel=1e-4)
    assert (found["teff"]["within_1sd"], found["teff"]["within_2sd"]) == (0.5, 1.0)


def test_twin_lines_each_get_their_own_truth() -> None:
    same = {"wavelength": [5000.0, 5000.0, 5001.0], "species": ["Fe I"] * 3, "elow": [1.0] * 3, "loggf": [-1.0] * 3}
    lines = truth.attach_injected(Table(same), Table({k: v[:2] for k, v in same.items()} | {"injected": [0.1, 0.2]}))
    assert list(np.ma.filled(lines["injected"], 9.0)) == [0.1, 0.2, 9.0]


def test_true_labels_are_found_by_path() -> None:
    stars = Table({"path": ["b", "a"], "teff": [2.0, 1.0], "logg": [2.0, 1.0], "feh": [2.0, 1.0]})
    found = truth.reference_labels(["a", "b", "c"], stars)
    np.testing.assert_array_equal(found["teff"], [1.0, 2.0, np.nan])
