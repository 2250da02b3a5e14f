"""`astrogf fit` of a directory of very many files: through a store of the run's own, which goes with its states."""

from pathlib import Path

import numpy as np
import pytest

from astrogf.config import parse
from astrogf.fitting import engine
from astrogf.runs.checkpoint import CheckpointFolder
from astrogf.surveys.simulate import LRS_FIRST, LRS_PIXELS, observe, write_lamost_lrs
from astrogf.surveys.store import kept


def test_many_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, spectra, said = np.random.default_rng(0), tmp_path / "spectra", list[str]()
    for i in range(5):
        seen = observe(np.full(LRS_PIXELS, 500.0), 60.0, rng)
        write_lamost_lrs(spectra / f"{i}.fits", LRS_FIRST, seen.flux, seen.ivar, ra=10.0 + i, dec=5.0, rv=1.0, obsid=i)
    (spectra / "cut.fits").write_bytes((spectra / "0.fits").read_bytes()[:9000])
    config, checkpoint = parse({}, "none"), CheckpointFolder(tmp_path / "run")
    stages = dict[str, int]()

    def progress(stage: str, done: int, total: int) -> None:
        stages[stage] = total

    def load(folder: Path | None):
        said.clear()
        stages.clear()
        return engine.load(config, spectra, progress, folder, said.append)

    few = load(checkpoint.folder)
    assert not said
    assert not (checkpoint.folder / engine.FILES).exists()
    monkeypatch.setattr(kept, "MANY", 6)
    for words, times in (("6 files are read once", 1), ("read from the store", 2)):
        found = load(checkpoint.folder)
        assert words in said[0], times
        assert stages == {"reading files": 6, "reading spectra": 5}
        np.testing.assert_array_equal(found.batches[0].flux[:], few.batches[0].flux[:])
        assert found.inputs == few.inputs
        assert list(found.set_aside["path"]) == ["cut.fits"]
        checkpoint.tidy()
        checkpoint.begin({})
    load(None)  # a check or a labelling has no folder for it
    assert not said
    checkpoint.remove()
    assert not checkpoint.folder.exists()
