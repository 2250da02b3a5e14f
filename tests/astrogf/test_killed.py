"""A real process, killed with SIGKILL at random moments and gone on with."""

from pathlib import Path

import pytest

from benchmarks.killed import differences, measure


@pytest.mark.slow
def test_a_killed_run_ends_as_one_that_was_not(tmp_path: Path) -> None:
    found = measure(tmp_path, kills=3, seed=1)
    assert len(found["kills"]) == 3
    assert any(kill["states"] for kill in found["kills"])
    for each in (found["two_left_alone"], *found["killed_and_alone"]):
        assert len(each) == 7
        assert set(each.values()) == {0.0}
    table = tmp_path / "alone" / "loggf.ecsv"
    text = table.read_text()
    # the comparison would see a changed digit
    cell = next(word for word in text.splitlines()[-1].split() if word.startswith("-0.") or word.startswith("0."))
    table.write_text(text.replace(cell, cell[:-1] + ("1" if cell[-1] != "1" else "2"), 1))
    assert differences(tmp_path / "alone", tmp_path / "first")["loggf.ecsv"] > 0.0
