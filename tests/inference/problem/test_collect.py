"""Spectra put together by star: the table of the stars, and what a star may cost in memory."""

import tracemalloc

import numpy as np
from astropy.table import Table

from astrogf.inference.problem.collect import Origin, collect, table_of_stars
from astrogf.inference.rehearsal.small import OPTIONS
from astrogf.surveys.batch import SpectrumBatch
from astrogf.surveys.directory.selection import batch_table


def batch(stars: range, n_pixel: int = 12) -> SpectrumBatch:
    """Flat spectra, and the table that a reader makes of them."""
    rows = [
        {"path": f"star{i:06d}", "sha256": f"{i:064x}", "release": "simulated", "ra": 0.1 * i, "dec": 0.0, "snr": 50.0}
        for i in stars
    ]
    pixels = np.ones((len(stars), n_pixel))
    wavelength = 10.0 ** (1e-4 * (36902 + np.arange(n_pixel)))
    return SpectrumBatch(wavelength, pixels, 100.0 * pixels, batch_table(rows))


def test_a_star_in_two_windows_has_the_row_of_the_first():
    one, two = Table({"path": ["a", "b"], "snr": [1.0, 2.0]}), Table({"path": ["longer", "b"], "snr": [3.0, 4.0]})
    found = table_of_stars([one, two], [np.array([0, 1]), np.array([2, 1])])
    assert list(found["path"]) == ["a", "b", "longer"]
    assert list(found["snr"]) == [1.0, 2.0, 3.0]


def test_a_column_that_another_survey_does_not_have_is_masked():
    one, two = Table({"path": ["a"], "fiber": [7]}), Table({"path": ["b"]})
    found = table_of_stars([one, two], [np.array([0]), np.array([1])])
    assert found["fiber"].tolist() == [7, None]


def test_what_collecting_keeps_of_a_star_is_small():
    several = batch(range(2000))
    collect([batch(range(3))], OPTIONS, None, {})  # the lines, which do not depend on the stars
    tracemalloc.start()
    collected = collect([several], OPTIONS, None, {})
    selected: Origin = collected.origin.select(np.ones(2000, bool), [np.ones(2000, bool)])
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # a row of a table is 0.6 kB, a dict of it would be 5
    pixels = 4 * 8 * several.flux.shape[1]
    assert len(selected.table) == 2000
    assert kept / 2000 < 2500 + pixels
    assert peak / 2000 < 4000 + 2 * pixels
