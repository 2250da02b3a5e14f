"""Exported lists in the readers of other programs, where these are installed."""

import numpy as np
import pytest

from tools import check_readers


def test_other_programs_read_what_is_exported():
    """PySME's reader of VALD, pymoog's of MOOG; the first number that is read otherwise is named."""
    if not (check_readers.FOLDER / "ready").exists():
        pytest.skip("`python tools/check_readers.py` installs PySME and pymoog into .cache/readers, from the network")
    check_readers.main()


def test_a_number_that_is_read_otherwise_is_named():
    check_readers.same("log gf", np.array([1.0, 2.0]), [1.0, 2.0], 1e-3)
    with pytest.raises(SystemExit, match=r"log gf of line 1: 2.1 read, 2.0 written"):
        check_readers.same("log gf", np.array([1.0, 2.0]), [1.0, 2.1], 1e-3)
    with pytest.raises(SystemExit, match="1 read, 2 written"):
        check_readers.same("log gf", np.array([1.0, 2.0]), [1.0], 1e-3)
