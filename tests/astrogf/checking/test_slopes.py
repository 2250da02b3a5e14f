"""Errors of the lines' slopes with temperature, read from a run folder."""

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from astrogf.base.errors import AstrogfError
from astrogf.checking.held_out import slope_errors
from astrogf.inference import statistics
from astrogf.inference.statistics import LineNames, Statistics


def written(folder: Path, drop: bool = False) -> tuple[Table, np.ndarray, statistics.Slopes]:
    """Statistics of four lines, and their table in another order."""
    rng, n = np.random.default_rng(1), 4
    names = LineNames(np.array([5000.1, 5001.2, 5000.1, 4990.0]), np.array(["Fe I", "Ti I", "Fe I", "Fe II"]),
                      np.array([1.0, 2.0, 3.0, 0.5]), np.zeros(n))  # fmt: skip
    fields = {name: np.zeros(n) for name in statistics.Slopes._fields}
    fields |= {"slope": rng.normal(size=(n, n + 1)), "covariance": np.diag([0.1, 0.2, 0.3, 0.4])}
    fields |= {"sd": np.array(0.12)}
    slopes = statistics.Slopes(**fields)
    made = Statistics(np.eye(n + 1), np.zeros(n + 1), np.zeros(n + 1), names, ("ln_sigma",), 9, None, slopes)
    statistics.save(folder / "statistics.npz", made._replace(slopes=None) if drop else made)
    order = [3, 2, 0, 1]
    table = Table({"wavelength": names.wavelength[order], "species": names.species[order], "elow": names.elow[order]})
    table["drift"] = 0.0
    return table, np.array(order), slopes


def test_they_are_in_the_order_of_the_table(tmp_path: Path) -> None:
    table, order, slopes = written(tmp_path)
    corrections = np.diag([4.0, 3.0, 2.0, 1.0])
    found = slope_errors(tmp_path, table, corrections)
    assert found is not None
    follows = slopes.slope[np.ix_(order, order)]
    np.testing.assert_allclose(found.cross, -follows @ corrections)
    own = np.diag(slopes.covariance)[order]
    np.testing.assert_allclose(found.covariance, np.diag(own) + follows @ corrections @ follows.T)


def test_there_may_be_none(tmp_path: Path) -> None:
    table, *_ = written(tmp_path, drop=True)
    assert slope_errors(tmp_path, table, np.eye(4)) is None
    del table["drift"]
    written(tmp_path)
    assert slope_errors(tmp_path, table, np.eye(4)) is None


def test_statistics_of_other_lines_are_refused(tmp_path: Path) -> None:
    table, *_ = written(tmp_path)
    table["elow"][2] = 1.5
    with pytest.raises(AstrogfError, match="is not of the lines in"):
        slope_errors(tmp_path, table, np.eye(4))
