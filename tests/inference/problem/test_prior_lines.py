"""Lines that another run knows, found again in this run's list, added to it where it lacks them, or refused."""

import numpy as np
import pytest

from astrogf.base.errors import AstrogfError
from astrogf.inference.problem.prior_lines import LinePrior, in_windows
from astrogf.inference.problem.unlisted import is_unlisted, with_these
from astrogf.inference.statistics import LineNames, Statistics
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.lines.shipped import load_atomic_lines


def prior_of(lines: LineList, rows: np.ndarray) -> LinePrior:
    """A run that has corrected these lines."""
    some = lines.take(rows)
    names = LineNames(some.wavelength, some.species(), some.elow, some.loggf)
    n = len(rows)
    return LinePrior(Statistics(np.eye(n), np.zeros(n), np.zeros(n), names, (), 4), name="runs/anchors")


@pytest.fixture(scope="module")
def lines() -> LineList:
    return load_atomic_lines(5160.0, 5230.0)


def test_lines_are_found_again_and_those_beyond_the_windows_added_with_their_components(lines) -> None:
    """The anchors have seen 70 A, this run's windows 15 of them."""
    parts = np.bincount(lines.transition)[lines.transition]
    beyond = (lines.wavelength > 5190.0) & (parts > 1)
    rows = np.sort(np.append(np.flatnonzero(lines.wavelength < 5175.0)[::25], np.flatnonzero(beyond)[0]))
    prior = prior_of(lines, rows)
    mine = lines.take(lines.wavelength < 5176.0)
    with pytest.raises(AstrogfError, match=r"1 of its \d+ lines are not in this run's"):
        prior.rows(mine)
    whole = prior.completed(mine, shipped=True)
    outside = lines.transition[rows[-1]]
    assert np.sum(whole.transition == outside) == np.sum(lines.transition == outside) > 1
    assert len(whole) == len(mine) + np.sum(lines.transition == outside)
    assert np.all(np.diff(whole.wavelength) >= 0)
    found = prior.rows(whole)
    np.testing.assert_array_equal(whole.transition[found], lines.transition[rows])
    np.testing.assert_array_equal(whole.loggf[found], lines.loggf[rows])
    # a list of the user's is whole as it comes
    assert prior.completed(mine, shipped=False) is mine


def test_lines_of_no_list_are_taken_along(lines) -> None:
    more = with_these(lines, np.array([5170.0, 5172.5]), np.array([3.0, 4.5]))
    prior = prior_of(more, np.sort(np.append(np.flatnonzero(is_unlisted(more)), [3, 30])))
    assert prior.unlisted.sum() == 2
    whole = prior.completed(lines, shipped=False)
    assert np.sum(is_unlisted(whole)) == 2
    np.testing.assert_array_equal(np.sort(whole.wavelength[is_unlisted(whole)]), [5170.0, 5172.5])
    assert np.all(is_unlisted(whole)[prior.rows(whole)] == prior.unlisted)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"loggf": 0.2}, r"runs/anchors corrects another line list: 3 of its 3 lines .* this run's has it with"),
        ({"wavelength": 0.3}, r"such as .* A \(vacuum\) with log gf .*; this run's does not have it. Fit both"),
    ],
)
def test_another_list_is_refused(lines, change, words) -> None:
    prior = prior_of(lines, np.array([4, 100, 300]))
    other = lines.replace(**{name: getattr(lines, name) + by for name, by in change.items()})
    with pytest.raises(AstrogfError, match=words):
        prior.rows(other)


def test_windows_hold_lines_or_not(lines) -> None:
    names = prior_of(lines, np.array([0, len(lines) - 1])).lines
    assert in_windows(names, [(5159.0, 5165.0), (6000.0, 6100.0)]).tolist() == [True, False]
