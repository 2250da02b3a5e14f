"""`[lines] prior`: what is refused before anything is computed, and what the tables say of lines that were known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from rich.console import Console

from astrogf import config
from astrogf.base.errors import AstrogfError
from astrogf.fitting import pipeline, prior_run
from astrogf.inference.problem.parameters import lsf_sigma
from astrogf.inference.statistics import LineNames, Statistics
from astrogf.runs import folder as runs
from astrogf.runs import summary, tables
from astrogf.surveys.batch import SpectrumBatch
from astrogf.synthesis.lines.shipped import load_atomic_lines
from tests.builders.believable import believable, set_aside

N = 12


def write_run(folder: Path, statistics: bool = True) -> runs.Run:
    """A run of anchors with N lines in 4900-5400 A."""
    result, _ = believable(stars=3, lines=N)
    t = result.lines
    real = load_atomic_lines(4905.0, 5395.0)
    real = real.take(np.arange(100, len(real), len(real) // N)[:N])
    t["wavelength"], t["species"], t["elow"], t["loggf"] = real.wavelength, real.species(), real.elow, real.loggf
    names = LineNames(*(np.asarray(t[name]) for name in LineNames._fields))
    a = np.diag(np.append(np.full(N, 400.0), 50.0))
    a[0, -1] = a[-1, 0] = 40.0
    known = Statistics(a, np.zeros(N + 1), np.append(t["apparent"], 1.0), names, ("ln_sigma",), 3)
    result = replace(result, statistics=known if statistics else None)
    folder.mkdir(parents=True)
    asked = config.Config().changed(stars={"resolution": 60_000.0, "resolution_sd": 6000.0})
    inputs = {"files": {"sun.txt": "ab" * 32, "gone.txt": None}}
    trace = [{"stage": "joint"}, {"stage": "suspects", "places": 3, "prior_mean": 0.7}]
    runs.write_record(folder, {"config": asked.model_dump(mode="json"), "inputs": inputs, "solver": {"trace": trace}})
    stars, lines = tables.star_table(result, set_aside()), tables.line_table(result)
    runs.write_results(folder, result, stars, lines, set_aside())
    runs.write_summary(folder, summary.summarise(result, lines, stars))
    return runs.read(folder)


@pytest.fixture(scope="module")
def anchors(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("prior") / "anchors").folder


def asked(prior: Path, **survey) -> config.Config:
    return config.parse({"survey": survey, "lines": {"prior": str(prior)}}, "my.toml")


def test_a_run_of_another_list_is_refused(anchors) -> None:
    lines = load_atomic_lines(4905.0, 5395.0)
    assert prior_run.read(asked(anchors), lines).folder == anchors
    other = lines.replace(loggf=np.round(lines.loggf + 0.01, 2))
    with pytest.raises(AstrogfError, match=r"lines.prior: .*anchors corrects another line list: 12 of its 12 lines"):
        prior_run.read(asked(anchors), other)


def test_a_run_relative_to_other_solar_abundances_is_refused(anchors) -> None:
    other = asked(anchors).changed(model={"solar": "grevesse2007"})
    with pytest.raises(AstrogfError, match=r"asplund2009, this run to grevesse2007.*Set \[model\] solar"):
        prior_run.read(other, None)


def test_a_run_of_another_shipped_list_is_refused(tmp_path) -> None:
    run = write_run(tmp_path / "old")
    runs.write_record(run.folder, run.record | {"inputs": run.record["inputs"] | {"line_list": "another"}})
    with pytest.raises(AstrogfError, match="belong to the line list that it was fitted with"):
        prior_run.read(asked(run.folder), None)


def test_parts_of_windows_that_the_prior_has_not_seen() -> None:
    seen = [(4851.0, 5351.0), (6301.0, 6721.0)]
    assert prior_run.outside([(4900.0, 5300.0), (6320.0, 6720.0)], seen) == ()
    assert prior_run.outside([(4860.0, 5440.0), (6320.0, 6720.0)], seen) == ((5351.0, 5440.0),)
    assert prior_run.outside([(4800.0, 6800.0)], seen) == ((4800.0, 4851.0), (5351.0, 6301.0), (6721.0, 6800.0))
    # a pixel or two more are nothing
    assert prior_run.outside([(4845.0, 5355.0)], seen) == ()


def test_a_window_wider_than_the_priors_is_said(anchors) -> None:
    within = prior_run.read(asked(anchors), None)
    assert prior_run.unseen_in_words(within) is None
    low, high = config.Config().survey.window
    wider = prior_run.read(asked(anchors, window=[low, high + 90.0]), None)
    assert wider.unseen == ((high, high + 90.0),)
    assert f"not seen {high:g}-{high + 90:g} A" in (prior_run.unseen_in_words(wider) or "")


def test_the_runs_own_resolution_is_integrated_out(anchors) -> None:
    prior = prior_run.read(asked(anchors), None)
    s = prior.known.statistics
    weight = 50.0 + 0.1**-2
    assert s.others == ()
    assert s.n_star == 3
    assert s.precision[0, 0] == pytest.approx(400.0 - 40.0**2 / weight)
    assert s.gradient[0] == pytest.approx(40.0 * 0.1**-2 * (1.0 - float(lsf_sigma(60_000.0))) / weight)
    np.testing.assert_allclose(np.diag(s.precision)[1:], 400.0)
    assert prior.known.unlisted_mean == 0.7
    assert prior_run.read(config.Config(), None) is None


def test_how_wrong_the_run_found_the_list(tmp_path) -> None:
    """The widths of each line's group, in the order of the statistics; none of a group of one Normal."""
    run = write_run(tmp_path / "run")
    lines = run.lines.copy()
    lines["group"] = ["strong" if k < 4 else "weak" if k < 10 else "new" for k in range(N)]
    hyper = Table({"group": ["weak", "strong", "new"], "tau": [0.2, 0.05, 0.3], "gross": [0.6, 0.3, 0.0]})
    hyper["share"] = [0.25, 0.1, 0.0]
    lines.write(run.folder / "loggf.ecsv", overwrite=True)
    hyper.write(run.folder / "hyper.ecsv", overwrite=True)
    known = prior_run.read(asked(run.folder), None).known
    group = {(str(row["species"]), round(row["wavelength"], 3)): row["group"] for row in lines}
    for k, (species, wavelength) in enumerate(zip(known.lines.species, known.lines.wavelength, strict=True)):
        tau, gross, share = {"strong": (0.05, 0.3, 0.1), "weak": (0.2, 0.6, 0.25), "new": (np.nan,) * 3}[
            group[str(species), round(wavelength, 3)]
        ]
        wanted = [np.log(tau), np.log(gross), np.log(share / (1.0 - share))]
        np.testing.assert_allclose(known.widths[:, k], wanted)
    hyper["gross"] = 0.0
    hyper.write(run.folder / "hyper.ecsv", overwrite=True)
    assert prior_run.read(asked(run.folder), None).known.widths is None
    (run.folder / "hyper.ecsv").unlink()
    assert prior_run.read(asked(run.folder), None).known.widths is None


def test_what_is_no_prior_is_refused_with_a_sentence(anchors, tmp_path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "x.fits").write_text("")
    bare = write_run(tmp_path / "bare", statistics=False).folder
    (tmp_path / "file").write_text("")
    other = {"window": [6300.0, 6400.0]}
    for given, words in (
        (asked(tmp_path / "nothing"), r"\[lines\] prior: .*nothing is no folder; name that of a run"),
        (asked(tmp_path / "file"), "is no folder"),
        (asked(tmp_path / "s"), "has no statistics.npz"),
        (asked(bare), r"bare has no statistics.npz, in which a run keeps"),
        (asked(anchors, **other), r"has no line in 6300-6400 A, the window of this run: its 12 lines lie in"),
    ):
        with pytest.raises(AstrogfError, match=words):
            pipeline.fit_survey(given, tmp_path / "s", tmp_path / "out", console=Console(quiet=True))
        assert not (tmp_path / "out").exists()
    with pytest.raises(AstrogfError, match=r"--out: .* is the run that"):
        pipeline.fit_survey(asked(anchors), tmp_path / "s", anchors, overwrite=True, console=Console(quiet=True))
    assert (anchors / "statistics.npz").is_file()
    with pytest.raises(AstrogfError, match="the demonstration puts errors into the list"):
        pipeline.run_demo(asked(anchors), tmp_path / "out")
    with pytest.raises(AstrogfError, match=r"'nuts' cannot do \[lines\] prior"):
        config.parse({"solver": {"method": "nuts"}, "lines": {"prior": str(anchors)}}, "my.toml")


def test_a_run_beside_the_configuration_is_found(anchors, tmp_path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "my.toml").write_text('[lines]\nprior = "runs"\n')
    assert config.load(tmp_path / "my.toml").lines.prior == str(tmp_path / "runs")
    (tmp_path / "my.toml").write_text('[lines]\nprior = "elsewhere"\n')
    assert config.load(tmp_path / "my.toml").lines.prior == "elsewhere"


def test_photons_do_not_count_twice(anchors) -> None:
    prior = prior_run.read(asked(anchors), None)
    nothing = np.zeros((2, 4))
    for sha, refused in (("cd" * 32, False), ("ab" * 32, True)):
        table = Table({"path": ["star.fits", "solar"], "sha256": ["ef" * 32, sha]})
        batch = SpectrumBatch(np.arange(4.0), nothing, nothing, table)
        if refused:
            with pytest.raises(AstrogfError, match=r"solar is a spectrum that .* has used \(sun.txt\)"):
                prior_run.check_photons(prior, [batch])
        else:
            prior_run.check_photons(prior, [batch])


def test_the_table_says_how_far_each_line_has_moved(anchors) -> None:
    prior = prior_run.read(asked(anchors), None)
    result, _ = believable(stars=3, lines=N)
    for name in ("wavelength", "species", "elow", "loggf"):
        result.lines[name] = np.asarray(prior.lines[name])
    before = np.asarray(result.lines["correction"])
    sd = np.asarray(result.lines["posterior_sd"])
    by = 0.01 * np.arange(N)
    result.lines["correction"] = before + by
    result.lines["posterior_sd"] = sd * np.where(np.arange(N) < 4, 0.5, 1.0)
    result.lines["loggf"][N - 1] += 0.1  # another line: it is new
    lines = prior_run.with_moved(tables.line_table(result), prior)
    assert np.ma.getmaskarray(lines["moved"]).tolist() == [False] * (N - 1) + [True]
    np.testing.assert_allclose(tables.floats(lines["moved"])[:-1], by[:-1], atol=1e-4)
    np.testing.assert_allclose(tables.floats(lines["before"])[:-1], before[:-1], atol=1e-5)
    np.testing.assert_allclose(tables.floats(lines["before_sd"])[:-1], sd[:-1], atol=1e-5)
    said = prior_run.in_words(prior, lines)
    assert (said["spectra"], said["lines"], said["in_table"], said["learned_more"]) == (3, N, N - 1, 4)
    assert said["moved_rms"] == pytest.approx(np.sqrt(np.mean(by[:-1] ** 2)), rel=1e-3)
