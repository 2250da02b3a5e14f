"""load_pieces: batches by kind and window, pieces of one file linked, nothing lost without a reason."""

import numpy as np
import pytest

from surveys.ingest import load_directory, load_pieces
from surveys.spectrum import SurveyError

BLUE, RED = (4900.0, 5300.0), (6400.0, 6800.0)


def test_lrs_comes_out_as_load_directory_gives_it(shared):
    folder = shared / "spectra" / "lamost_lrs" / "Cmost_tests"
    old = load_directory(folder, BLUE)
    new = load_pieces(folder, [BLUE, RED], kinds=["lamost_lrs"])
    assert len(new.batches) == 2
    assert np.array_equal(new.batches[0].flux, old.batch.flux)
    assert np.array_equal(new.batches[0].wavelength, old.batch.wavelength)
    assert list(new.batches[0].table["path"]) == list(old.batch.table["path"])
    assert list(new.set_aside["path"]) == list(old.set_aside["path"])
    assert new.batches[0].lsf is None
    assert set(new.batches[1].table["path"]) <= set(new.batches[0].table["path"])


def test_arguments_that_make_no_sense(tmp_path):
    with pytest.raises(SurveyError, match="No window"):
        load_pieces(tmp_path, [])
    with pytest.raises(SurveyError, match="none of lamost_lrs"):
        load_pieces(tmp_path, [BLUE], kinds=["hubble"])
    with pytest.raises(SurveyError, match="does not exist"):
        load_pieces(tmp_path / "gone", [BLUE])
