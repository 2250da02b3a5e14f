"""The shelf of a run: what is put there comes back, stays as long as a state refers to it, and no longer."""

import errno
import os
import pickle
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from astrogf.base.errors import AstrogfError
from astrogf.computing.common import Commons, loaded
from astrogf.inference.blocks.shelf import Kept
from astrogf.inference.problem.arrow import Reduced
from astrogf.runs import states
from astrogf.runs.checkpoint import CheckpointFolder
from astrogf.runs.shelf import FolderShelf


def value(seed: int) -> Reduced:
    return Reduced(np.random.default_rng(seed).normal(size=(3, 3)), np.arange(3, dtype=np.float32))


def assert_same(one: Reduced, other: Reduced) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


@pytest.fixture
def kept(tmp_path: Path) -> CheckpointFolder:
    (tmp_path / "run").mkdir()
    made = CheckpointFolder(tmp_path / "run")
    made.begin({})
    return made


def files(kept: CheckpointFolder) -> int:
    return len(list(kept.shelf.folder.glob("*")))


def test_a_value_comes_back_from_another_process(tmp_path: Path) -> None:
    shelf = pickle.loads(pickle.dumps(FolderShelf(tmp_path / "shelf")))
    handle: Kept = pickle.loads(pickle.dumps(shelf.put(value(1))))
    assert_same(handle.get(), value(1))


def test_what_no_state_refers_to_goes_and_data_stay(kept: CheckpointFolder) -> None:
    first, second, data = kept.shelf.put(value(1)), kept.shelf.put(value(2)), kept.shelf.put(value(3), lasting=True)
    kept.save("one", {"blocks": (first, data)})
    assert files(kept) == 2
    with pytest.raises(FileNotFoundError):
        second.get()
    third = kept.shelf.put(value(4))
    kept.save("another", [third])
    assert files(kept) == 3
    kept.save("one", {"blocks": ()})
    assert files(kept) == 2
    assert_same(data.get(), value(3))
    assert_same(third.get(), value(4))


def test_a_run_that_was_moved_finds_what_its_states_refer_to(kept: CheckpointFolder, tmp_path: Path) -> None:
    kept.shelf.put(value(3), lasting=True)
    kept.save("one", (kept.shelf.put(value(1)), 7))
    kept.shelf.put(value(2))  # the run was killed before it was saved
    (tmp_path / "run").rename(tmp_path / "moved")
    moved = CheckpointFolder(tmp_path / "moved")
    moved.tidy()
    assert files(moved) == 1
    handle, number = moved.load("one")
    assert number == 7
    assert_same(handle.get(), value(1))
    moved.begin({})
    assert files(moved) == 0


def test_a_full_disk_is_a_sentence_and_leaves_no_half_file(kept: CheckpointFolder, monkeypatch) -> None:
    def full(file, **given):
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(states.np, "savez", full)
    with pytest.raises(AstrogfError, match=r"cannot be written: no space is left.*--resume"):
        kept.shelf.put(value(1))
    assert files(kept) == 0


class Shared(NamedTuple):
    a: int


def test_what_workers_share_is_written_once_and_read_only_as_it_was_written(tmp_path: Path) -> None:
    commons = Commons(tmp_path)
    name = commons.name_of(Shared(1))
    assert commons.name_of(Shared(1)) == name != commons.name_of(Shared(2))
    assert loaded(name) == Shared(1)
    assert loaded(name) is loaded(name)
    other = Path(commons.name_of(Shared(3)))
    other.write_bytes(pickle.dumps(Shared(4)))
    with pytest.raises(ValueError, match="was changed"):
        loaded(str(other))
    commons.remove()
    assert not list(tmp_path.glob("*"))
