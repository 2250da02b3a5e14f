"""What is counted of a fit beforehand is what the fit then has."""

import numpy as np
import pytest
from astropy.table import Table

from astrogf.inference.fit import completed
from astrogf.inference.problem import counts
from astrogf.inference.problem.collect import NoStarsError, collect
from astrogf.inference.problem.counts import KNOWN, count, expected_free, share_taken
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.prior_lines import LinePrior
from astrogf.inference.problem.priors import Belief
from astrogf.inference.statistics import LineNames, Statistics
from astrogf.surveys.batch import SpectrumBatch
from astrogf.surveys.spectrum import grid, window_pixels

OPTIONS = FitOptions().changed(
    model={
        "oversampling": 6,
        "depths": 16,
        "line_cut": 2e-2,
        "molecules": False,
        "rv_reach": 200.0,
        "widest_sigma": 70,
    },
    continuum={"degree": 2},
    stars={"abundances": ("Mg", "Ti")},
)


def batch(window: tuple[float, float], paths: list[str], snr: float) -> SpectrumBatch:
    wavelength = grid(*window_pixels(window))
    flux = np.ones((len(paths), len(wavelength)))
    return SpectrumBatch(wavelength, flux, snr**2 * flux, Table({"path": paths, "release": ["x"] * len(paths)}))


BATCHES = [batch((5200.0, 5240.0), ["a", "b", "c"], 50.0), batch((6400.0, 6430.0), ["b", "c", "d"], 50.0)]


def test_counts_are_those_of_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    sun = Belief({"teff": (5772.0, 10.0), "logg": (4.44, 0.01)})
    monkeypatch.setattr(counts, "AT_ONCE", 2)
    in_pieces = count(BATCHES, OPTIONS, None, {"a": sun})
    monkeypatch.undo()
    found = count(BATCHES, OPTIONS, None, {"a": sun})
    assert found == in_pieces
    got = collect(BATCHES, OPTIONS, None, {"a": sun})
    assert (found.stars, found.searched, found.spectra) == (got.sample.n_star, 3, 6)
    assert found.own == got.sample.n_own
    assert found.basis == got.sample.windows[0].problem.basis.shape[1]
    assert found.lines == len(got.origin.lines)
    assert [w.pixels for w in found.windows] == [len(b.wavelength) for b in BATCHES]
    assert [w.lines for w in found.windows] == [len(s.lines) for s in got.setups]
    assert found.pixels == sum(w.pixels for w in found.windows)
    assert all(w.points > w.lines for w in found.windows)
    assert 0 < found.free < found.candidates < found.lines
    with pytest.raises(NoStarsError):
        count([], OPTIONS, None, {})


def test_unlisted_lines_are_free() -> None:
    options = OPTIONS.changed(lines={"unlisted": 2.0})
    plain = count(BATCHES, options, None, {})
    more = count(BATCHES, options, None, {}, lambda lines: completed(lines, options))
    added = more.lines - plain.lines
    assert added > 20
    assert more.free == plain.free + added
    suspect = options.changed(lines={"unlisted_where": "suspect", "unlisted_most": 7})
    assert count(BATCHES, suspect, None, {}).free == plain.free + 7


def test_better_spectra_free_more_lines() -> None:
    strength = np.geomspace(0.03, 3000.0, 500)
    some = [expected_free(strength, [batch((5200.0, 5240.0), ["a"], snr)], OPTIONS) for snr in (0.0, 30, 150, 900)]
    assert some[0] == 0
    assert 0 < some[1] < some[2] < some[3] <= 500
    assert expected_free(strength[:0], BATCHES, OPTIONS) == 0
    assert expected_free(strength, BATCHES, OPTIONS.changed(lines={"max_lines": 9})) == 9
    assert expected_free(strength, BATCHES, OPTIONS.changed(lines={"max_ratio": 0.3})) < expected_free(
        strength, BATCHES, OPTIONS
    )
    assert (np.diff(KNOWN[:, 1]) > 0).all()


def knowing(lines, rows: np.ndarray) -> LinePrior:
    """A run of these lines."""
    some, n = lines.take(rows), len(rows)
    names = LineNames(some.wavelength, some.species(), some.elow, some.loggf)
    return LinePrior(Statistics(np.eye(n), np.zeros(n), np.zeros(n), names, (), 4))


def test_lines_that_a_prior_knows_are_not_counted_again_among_those_like_them() -> None:
    """A run that has seen the first window, and knows four of five of its strong lines, leaves little to be freed
    there, and the second window as it is."""
    batches = [batch((5200.0, 5240.0), ["a", "b"], 150.0), batch((6400.0, 6430.0), ["b"], 150.0)]
    got = collect(batches, OPTIONS, None, {})
    lines, strength = got.origin.lines, np.zeros(len(got.origin.lines))
    for setup in got.setups:
        np.maximum.at(strength, setup.row[setup.near], setup.extent.strength[setup.near])
    here, may = lines.wavelength < 6000.0, strength > OPTIONS.lines.least_strength
    alone = np.bincount(lines.transition)[lines.transition] == 1
    seen = np.flatnonzero((strength > 1.0) & alone & here)
    prior = knowing(lines, np.delete(seen, slice(None, None, 5)))
    left = may & here & ~np.isin(np.arange(len(lines)), prior.rows(lines))
    unasked, second = (expected_free(strength[x], batches, OPTIONS) for x in (left, may & ~here))
    assert unasked > 20
    assert second > 5
    more = count(batches, OPTIONS, None, {}, prior=prior).free - len(prior.lines.wavelength)
    assert second - 2 <= more < second + 0.5 * unasked


def test_what_is_new_of_like_lines_is_what_they_would_free_less_what_is_known() -> None:
    """100 lines of a strength, 40 of which another run knows, and 100 where it has not looked."""
    bright = [batch((5200.0, 5240.0), ["a", "b"], 1500.0)]
    theirs = np.full(40, 30.0), np.linspace(5200.0, 5240.0, 40)
    mine = np.full(160, 30.0), np.append(np.linspace(5200.0, 5240.0, 60), np.linspace(6400.0, 6430.0, 100))
    taken = share_taken(mine, theirs)
    np.testing.assert_allclose(taken, np.append(np.full(60, 0.4), np.zeros(100)))
    options = OPTIONS.changed(lines={"max_lines": 10_000})
    of_all = expected_free(np.full(10_000, 30.0), bright, options) / 10_000
    assert 0.45 < of_all < 0.95
    assert expected_free(mine[0], bright, options, taken) == round(100 * (of_all - 0.4) + 100 * of_all)
    np.testing.assert_array_equal(share_taken(mine, (np.full(40, 3e3), theirs[1])), 0.0)
    np.testing.assert_array_equal(share_taken(mine, (np.zeros(40), theirs[1])), 0.0)
    most = share_taken(mine, (np.full(9000, 30.0), np.repeat(theirs[1], 225)))
    assert expected_free(mine[0], bright, options, most) == round(100 * of_all)
