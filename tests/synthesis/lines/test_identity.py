"""What is the same line: tolerances, the nearest of several, components of one transition."""

from typing import NamedTuple

import numpy as np
import pytest

from astrogf.synthesis.lines.identity import (
    LABELLED,
    OTHER_LIST,
    SAME_LIST,
    UNLABELLED,
    components,
    pairs,
    same_lines,
    written,
)
from astrogf.synthesis.lines.shipped import load_atomic_lines


class Names(NamedTuple):
    wavelength: np.ndarray
    code: np.ndarray
    elow: np.ndarray


def names(*rows) -> Names:
    return Names(*(np.array(column) for column in zip(*rows, strict=True)))


LIST = names((5000.00, 261, 1.000), (5000.04, 261, 1.005), (5000.00, 262, 1.000), (5100.00, 261, 3.0))


def test_the_nearest_line_of_the_species_is_the_same():
    other = names((5000.03, 261, 1.0), (5000.001, 262, 1.001), (5100.06, 261, 3.0), (5000.0, 261, 1.03))
    np.testing.assert_array_equal(same_lines(other, LIST, OTHER_LIST), [1, 2, -1, -1])
    np.testing.assert_array_equal(same_lines(LIST, other, OTHER_LIST), [0, 0, 1, -1])
    np.testing.assert_array_equal(same_lines(other, LIST, SAME_LIST), [-1, 2, -1, -1])


@pytest.mark.parametrize("apart", [0.05, -0.05])
def test_a_decimal_at_the_tolerance_is_within_it(apart):
    near = names((5000.0 + apart, 261, 1.02))
    assert same_lines(near, names((5000.0, 261, 1.0)), OTHER_LIST)[0] == 0
    assert same_lines(near, names((5000.0 + 2.03 * apart, 261, 1.0)), OTHER_LIST)[0] == -1


def test_pairs_come_nearest_first_and_lists_may_be_empty():
    found = pairs(LIST, LIST, OTHER_LIST)
    np.testing.assert_array_equal(found, [[0, 0], [1, 1], [2, 2], [3, 3], [0, 1], [1, 0]])
    empty = Names(*(np.zeros(0) for _ in range(3)))
    assert same_lines(empty, LIST, OTHER_LIST).shape == (0,)
    np.testing.assert_array_equal(same_lines(LIST, empty, OTHER_LIST), [-1] * 4)


def test_a_name_survives_the_digits_that_text_loses():
    assert written("Fe I", 5000.1231, 1.0004) == written("Fe I", 5000.1234, 1.0)
    assert written("Fe I", 5000.1231, digits=4) != written("Fe I", 5000.1234, digits=4)


def test_components_are_neighbours_of_one_lower_level():
    wave = 5000.0 * (1.0 + np.array([0.0, 15.0, 30.0, 55.0, 56.0]) / 299792.458)
    z, zero = np.full(5, 25), np.zeros(5, int)
    elow = np.array([2.0, 2.001, 2.0, 2.0, 2.4])
    made = components(z, zero + 1, zero, elow, wave, zero.astype(bool), LABELLED)
    np.testing.assert_array_equal(made, [0, 0, 0, 1, 2])
    made = components(z, zero + 1, zero, elow, wave, zero.astype(bool), UNLABELLED)
    assert len(set(made)) == 5
    alone = np.array([False, True, False, False, False])
    made = components(z, zero + 1, zero, elow, wave, alone, LABELLED)
    assert len(set(made)) == 5  # without it between them, 0 and 2 are too far from each other


def test_lines_far_apart_are_not_tied_where_their_energies_follow_each_other():
    """N I 6425.5 and 6435.1 A of one label, whose lower energies 5.616 and 5.614 eV round to neighbouring numbers."""
    elow, wave = np.array([5.616, 5.616, 5.6145, 5.6145]), np.array([6400.0, 6435.1, 6300.0, 6425.5])
    one, zero = np.ones(4, int), np.zeros(4, int)
    for adjacency in (LABELLED, UNLABELLED):
        assert len(set(components(7 * one, one, zero, elow, wave, zero.astype(bool), adjacency))) == 4


def test_a_list_is_its_own_copy():
    lines = load_atomic_lines(5000.0, 5100.0)
    lines = lines.take(np.unique(np.stack([lines.code, np.round(lines.wavelength, 3)]), axis=1, return_index=True)[1])
    lines = lines.take(np.argsort(lines.wavelength, kind="stable"))
    np.testing.assert_array_equal(same_lines(lines, lines, SAME_LIST), np.arange(len(lines)))
