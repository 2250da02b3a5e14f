"""Arrays kept between runs: found by content, never in the way."""

import numpy as np
import pytest

from astrogf.base import kept as store
from astrogf.base.kept import content_of, digest, kept


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "astrogf" / "squares"


def squares(calls, n=3):
    def make():
        calls.append(n)
        return {"square": np.arange(n) ** 2, "empty": np.zeros(0)}

    return make


def test_made_once_of_the_same_key_and_anew_of_another(folder):
    calls: list[int] = []
    key = np.arange(3.0), "name", (1.0, None)
    first, second = (kept("squares", key, squares(calls)) for _ in range(2))
    assert calls == [3]
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
        assert first[name].dtype == second[name].dtype
    kept("squares", (np.arange(3.0), "name", (1.5, None)), squares(calls))
    assert len(calls) == 2
    assert len(list(folder.iterdir())) == 2


def test_digest_tells_contents_apart():
    parts = [np.arange(3), np.arange(3.0), np.zeros((2, 3)), np.zeros((3, 2)), "a", 1, 1.0, None, ("a", 1), (("a",), 1)]
    assert len({digest(part) for part in parts}) == len(parts)
    assert digest(np.zeros((4, 4))[:, ::2]) == digest(np.zeros((4, 2)))


@pytest.mark.parametrize(
    "spoil", [lambda raw: b"", lambda raw: raw[: len(raw) // 2], lambda raw: raw[:60] + b"\7" * 90]
)
def test_a_damaged_file_is_made_anew(folder, spoil):
    calls: list[int] = []
    kept("squares", ("key",), squares(calls, 300))
    [file] = folder.iterdir()
    file.write_bytes(spoil(file.read_bytes()))
    again = kept("squares", ("key",), squares(calls, 300))
    np.testing.assert_array_equal(again["square"], np.arange(300) ** 2)
    assert len(calls) == 2
    kept("squares", ("key",), squares(calls, 300))
    assert len(calls) == 2


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    calls: list[int] = []
    for _ in range(2):
        np.testing.assert_array_equal(kept("squares", (1,), squares(calls))["square"], [0, 1, 4])
    assert len(calls) == 2


def test_the_last_used_are_kept(folder, monkeypatch):
    monkeypatch.setattr(store, "MOST", 3)
    for key in range(5):
        kept("squares", (key,), squares([]))
    assert len(list(folder.iterdir())) == 3


def test_content_of_folders_changes_with_any_file(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "code.py").write_text("1")
    before = content_of(tmp_path / "a")
    (tmp_path / "a" / "table.npz").write_text("2")
    content_of.cache_clear()
    assert content_of(tmp_path / "a") != before
