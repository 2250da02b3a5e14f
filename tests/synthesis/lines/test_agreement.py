"""Agreement of the shipped log gf with another list, against laboratory values."""

import numpy as np
import pytest
from astropy.table import Table

from astrogf.base.air import air_to_vacuum
from astrogf.synthesis.lines.agreement import AGREED, AGREED_SD, NAMES, agreement
from astrogf.synthesis.lines.identity import OTHER_LIST, same_lines
from astrogf.synthesis.lines.shipped import load_atomic_lines
from tests.places import SHARED


def test_transitions_of_other_lists_are_unjudged() -> None:
    assert agreement(np.array([-1, 1_000_000, 2_345_678])).tolist() == [0, 0, 0]


def test_every_kind_occurs_and_components_agree() -> None:
    lines = load_atomic_lines(4800.0, 6800.0)
    kind = agreement(lines.transition)
    assert set(kind) == set(range(len(NAMES)))
    assert np.sum(kind == AGREED) < 0.1 * len(kind)


def test_values_that_agree_are_good() -> None:
    """858 lines with a laboratory log gf gathered by linemake (Placco et al. 2021, RNAAS 5, 92)."""
    path = SHARED / "lines" / "laboratory_loggf_dev.ecsv"
    if not path.exists():
        pytest.skip(f"needs {path}")
    known, lines = Table.read(path), load_atomic_lines(4800.0, 6800.0)
    z = np.floor(known["species"]).astype(int)
    ion = np.rint((known["species"] - z) * 10).astype(int) + 1

    class Laboratory:
        wavelength = air_to_vacuum(np.asarray(known["wavelength_air"]))
        code, elow = np.asarray(10 * z + ion), np.asarray(known["E_low"])

    row = same_lines(Laboratory, lines, OTHER_LIST)
    single = np.bincount(lines.transition)[lines.transition] == 1
    found = (row >= 0) & single[row]
    off = np.abs(lines.loggf[row] - np.asarray(known["loggf_lab"]))[found]
    kind = agreement(lines.transition[row])[found]
    agreed = off[kind == AGREED]
    assert len(agreed) > 40
    assert np.sqrt(np.mean(agreed**2)) < 1.3 * AGREED_SD
    assert np.mean(off[kind == NAMES.index("disputed")] > 0.1) > 0.5
