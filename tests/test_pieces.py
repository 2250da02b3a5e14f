"""load_pieces: batches by kind and window, pieces of one file linked, nothing lost without a reason."""

import numpy as np
import pytest

from surveys.ingest import load_directory, load_pieces
from surveys.spectrum import SurveyError

BLUE, RED = (4900.0, 5300.0), (6400.0, 6800.0)


def test_lrs_comes_out_as_load_directory_gives_it(shared):
    folder = shared / "spectra" / "lamost_lrs"
    old = load_directory(folder, BLUE)
    new = load_pieces(folder, [BLUE], kinds=["lamost_lrs"])
    (batch,) = new.batches
    assert np.array_equal(batch.flux, old.batch.flux)
    assert np.array_equal(batch.ivar, old.batch.ivar)
    assert np.array_equal(batch.wavelength, old.batch.wavelength)
    for name in batch.table.colnames:
        assert list(map(str, batch.table[name])) == list(map(str, old.batch.table[name])), name
    assert [list(row) for row in new.set_aside] == [list(row) for row in old.set_aside]
    assert batch.lsf is None


def test_arguments_that_make_no_sense(tmp_path):
    with pytest.raises(SurveyError, match="No window"):
        load_pieces(tmp_path, [])
    with pytest.raises(SurveyError, match="no kind of spectrum; there are: lamost_lrs"):
        load_pieces(tmp_path, [BLUE], kinds=["hubble"])
    with pytest.raises(SurveyError, match="does not exist"):
        load_pieces(tmp_path / "gone", [BLUE])
