"""What is counted of a fit beforehand is what the fit then has."""

import numpy as np
import pytest
from astropy.table import Table

from astrogf.inference.fit import completed
from astrogf.inference.problem import counts
from astrogf.inference.problem.collect import NoStarsError, collect
from astrogf.inference.problem.counts import KNOWN, count, expected_free
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.priors import Belief
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
