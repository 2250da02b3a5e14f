"""A fit that is cut short at every boundary of its stages and gone on with ends as one that is not, to the bit."""

import dataclasses

import jax
import numpy as np
import pytest
from astropy.table import Table

from astrogf.inference.blocks.shelf import MEMORY
from astrogf.inference.blocks.work import Work
from astrogf.inference.checkpoint import NOWHERE, once
from astrogf.inference.fit import Fitted, fit
from astrogf.inference.newton import joint, suspects
from astrogf.inference.newton.stars import bounded_step
from astrogf.inference.prior import scatters
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.rehearsal.options import DemoOptions
from astrogf.inference.rehearsal.survey import simulate_survey
from astrogf.runs.checkpoint import CheckpointFolder
from astrogf.surveys.batch import SpectrumBatch
from astrogf.surveys.directory.load import load_directory
from astrogf.surveys.options import SurveyOptions

WINDOW = (5200.0, 5240.0)
COARSE = {"oversampling": 6, "depths": 16}
OPTIONS = FitOptions().changed(
    model={**COARSE, "line_cut": 2e-2, "molecules": False, "rv_reach": 200.0, "widest_sigma": 70.0},
    lines={"max_lines": 12, "max_ratio": 0.99},
    continuum={"degree": 2},
    stars={"max_chi2": 100.0},
    solver={"chunk": 2, "star_iterations": 3, "joint_iterations": 4, "tolerance": 1e-3},
)


class Cut(Exception):
    """The end of the process, as far as a fit can tell."""


class Cutting(CheckpointFolder):
    """Lets a fit come to its next state and no farther: it ends there, or in the pass that follows (`later`)."""

    def __init__(self, run, later: bool) -> None:
        super().__init__(run)
        self.later, self.saved = later, list[str]()

    def save(self, stage, state):
        super().save(stage, state)
        self.saved.append(stage)
        if not self.later or len(self.saved) > 1:
            raise Cut

    def progress(self, stage, done, total):
        if self.saved:
            raise Cut


@pytest.fixture(scope="module")
def batches(tmp_path_factory) -> list[SpectrumBatch]:
    folder = tmp_path_factory.mktemp("survey")
    survey = SurveyOptions(kind="lamost_lrs", window=WINDOW)
    simulate_survey(DemoOptions(stars=3, outlier_fraction=0.0, **COARSE), survey, OPTIONS, folder)
    return load_directory(folder, [WINDOW], kinds=["lamost_lrs"], snr_min=0.0)[0]


@pytest.fixture(autouse=True)
def few_sweeps(monkeypatch) -> None:
    """As many as tell one random sequence from another."""
    for name, n in {"BURN": 2, "FEWEST": 8, "MOST": 8}.items():
        monkeypatch.setattr(scatters, name, n)


def gone_on_with(batches, options: FitOptions, folder, block: int | None = None) -> tuple[Fitted, list[str]]:
    """The fit in pieces of one state each, and the stages of the states. With `block` it is cut into blocks of so many
    stars, which lie in the folder."""
    folder.mkdir()
    CheckpointFolder(folder).begin({})
    saved: list[str] = []
    for piece in range(100):
        kept = Cutting(folder, later=piece % 2 == 1)
        try:
            kept.tidy()
            work = Work(shelf=kept.shelf if block else MEMORY, block=block)
            return fit(batches, options, kept.progress, checkpoint=kept, work=work), saved + kept.saved
        except Cut:
            saved += kept.saved
    raise AssertionError("the fit does not come on")


def assert_same(one: Fitted, other: Fitted) -> None:
    """Every number but the times."""
    assert list(one.set_aside["path"]) == list(other.set_aside["path"])
    for name in {f.name for f in dataclasses.fields(one.result)} - {"jacobian_cost_ratio", "trace"}:
        mine, theirs = (arrays(getattr(x.result, name)) for x in (one, other))
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)
    for a, b in zip(one.result.trace, other.result.trace, strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0}


def arrays(value) -> list:
    if isinstance(value, Table):
        return [np.asarray(value[name]) for name in value.colnames]
    return [np.asarray(x) for x in jax.tree.leaves(value)]


def test_cut_at_every_boundary_it_ends_with_the_same_bits(batches, tmp_path) -> None:
    whole = fit(batches, OPTIONS)
    assert len(whole.result.lines) == 12
    pieces, stages = gone_on_with(batches, OPTIONS, tmp_path / "run")
    assert_same(pieces, whole)
    # each iteration once: none is done again, none is left out
    assert stages == [
        *["search", *["stars"] * 3, "lines", *["joint"] * 4, "widths", *["original list"] * 2]
    ]  # fmt: skip
    changed = fit(batches, OPTIONS.changed(solver={"joint_iterations": 3}))
    assert np.abs(np.asarray(changed.result.labels) - np.asarray(whole.result.labels)).max() > 1e-6


def test_in_blocks_on_disk_it_ends_with_the_same_bits_too(batches, tmp_path) -> None:
    """In memory and not cut short, on disk and in pieces; and as one block, but for rounding."""
    options = OPTIONS.changed(noise={"line_scatter": 0.02}, solver={"star_iterations": 2, "joint_iterations": 3})
    whole = fit(batches, options, work=Work(block=2))
    pieces, _ = gone_on_with(batches, options, tmp_path / "run", block=2)
    assert_same(pieces, whole)
    # of one pass: what the widths of the prior are learned from rounds otherwise, and their search makes 1e-6 of it
    once_only = options.changed(solver={"joint_iterations": 1})
    mine, theirs = fit(batches, once_only, work=Work(block=2)).result, fit(batches, once_only).result
    for name in ("model_original", "model_corrected", "sigma", "chi2_corrected"):
        np.testing.assert_allclose(getattr(mine, name), getattr(theirs, name), rtol=1e-8, err_msg=name)
    assert mine.statistics is not None
    assert theirs.statistics is not None
    for x, y in zip(mine.statistics[:3], theirs.statistics[:3], strict=True):
        np.testing.assert_allclose(x, y, atol=1e-8 * np.abs(y).max())
    # what no state refers to is not left behind: two passes of a stage, at most, and the spectra
    assert len(list((tmp_path / "run" / "checkpoint" / "blocks").glob("*.npz"))) <= 3 * 2 + 2


def test_in_batches_it_ends_with_the_same_bits_too(batches, tmp_path) -> None:
    """Variational inference, of which a step is a block, on disk and in pieces, and in memory."""
    options = OPTIONS.changed(
        noise={"line_scatter": 0.02, "inflation": 0.01},
        solver={"method": "svi", "batch": 1, "star_iterations": 2, "joint_iterations": 2},
    )
    whole = fit(batches, options)
    pieces, stages = gone_on_with(batches, options, tmp_path / "run", block=2)
    assert_same(pieces, whole)
    visits = stages.count("joint") - 1  # a block has as many stars as there are devices, at least
    assert visits in (2 * 1, 2 * 2, 2 * 3)
    assert stages[4:] == ["lines", *["joint"] * (visits + 1), "widths", *["original list"] * 2]


def test_a_stars_labels_keep_their_covariance(batches) -> None:
    """In the labels' own units: its diagonal is their errors, and every star's correlations are those of something."""
    made = fit(batches, OPTIONS).result
    covariance, sd = np.asarray(made.labels_covariance), np.asarray(made.labels_sd)
    np.testing.assert_allclose(np.sqrt(np.diagonal(covariance, 0, 1, 2)), sd)
    correlation = covariance / sd[:, :, None] / sd[:, None, :]
    assert np.all(np.linalg.eigvalsh(correlation) > 0.0)
    teff, feh = (made.label_names.index(name) for name in ("teff", "feh"))
    assert np.all(correlation[:, teff, feh] > 0.0)  # hotter and richer in metals looks alike


def test_rejected_steps_go_on_too(batches, tmp_path, monkeypatch) -> None:
    """What is kept of the last good point is needed only where the next one is worse: steps are made too long."""
    monkeypatch.setattr(joint, "bounded_step", lambda step: 6.0 * bounded_step(step))
    options = OPTIONS.changed(noise={"inflation": 0.01}, solver={"star_iterations": 2})
    whole = fit(batches, options)
    rejected = [not step["accepted"] for step in whole.result.trace if step["stage"] == "joint"]
    assert any(rejected)
    assert not all(rejected)
    assert_same(gone_on_with(batches, options, tmp_path / "run")[0], whole)


@pytest.mark.slow
def test_misfit_and_suspects_go_on_too(batches, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(suspects, "RAISED", 0.5)  # every place is suspicious, the most suspicious ones are taken
    options = OPTIONS.changed(
        noise={"misfit": True},
        lines={"unlisted": 4.0, "unlisted_where": "suspect", "unlisted_most": 3},
        solver={"star_iterations": 2, "joint_iterations": 3},
    )
    whole = fit(batches, options)
    pieces, stages = gone_on_with(batches, options, tmp_path / "run")
    assert_same(pieces, whole)
    second = ["second lines", *["second joint"] * 3]
    assert stages[3:] == ["lines", *["joint"] * 3, *second, "widths", *["original list"] * 2]


def test_a_fit_that_is_done_is_only_put_together(batches, tmp_path) -> None:
    (tmp_path / "run").mkdir()
    kept = CheckpointFolder(tmp_path / "run")
    kept.begin({})
    first = fit(batches, OPTIONS, checkpoint=kept)

    def progress(stage, done, total):
        raise AssertionError(f"{stage} is computed again")

    assert_same(fit(batches, OPTIONS, progress, checkpoint=kept), first)


def test_once() -> None:
    kept = dict[str, int]()

    class Dictionary:
        load, save = staticmethod(kept.get), staticmethod(kept.__setitem__)

    assert once(NOWHERE, "a", lambda: 1) == 1
    assert once(Dictionary(), "a", lambda: 2) == 2
    assert once(Dictionary(), "a", lambda: 3) == 2
