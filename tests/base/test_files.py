"""Files told by their bytes: what is unpacked, and what is refused with a sentence."""

import bz2
import gzip
import lzma

import numpy as np
import pytest

from astrogf.base import files
from astrogf.base.errors import AstrogfError

TEXT = b"5000.0 26.0 1.0 -1.0\n" * 4000
NOISE = np.random.default_rng(0).integers(0, 256, 50_000, dtype=np.uint8).tobytes()
PACK = {"plain": lambda x: x, "gzip": gzip.compress, "xz": lzma.compress, "bzip2": bz2.compress}
PACKED = [name for name in PACK if name != "plain"]


class MyError(AstrogfError):
    """Somebody's own."""


@pytest.mark.parametrize("name", PACK)
def test_every_packing_gives_the_same_bytes_whatever_the_name(tmp_path, name):
    path = tmp_path / "list.dat"
    path.write_bytes(PACK[name](TEXT))
    assert files.read_bytes(path) == TEXT
    assert files.read_text(path) == TEXT.decode()
    assert files.beginning_of(path, 21) == TEXT[:21]
    assert (files.packing_of(path) is None) == (name == "plain")
    assert files.read_packed(path) == path.read_bytes()


@pytest.mark.parametrize("name", PACKED)
def test_joined_members_are_all_read_and_what_follows_is_not(name):
    """As gzip, xz and bzip2 themselves do with files that were joined, and with the padding of tapes."""
    joined = PACK[name](TEXT) + PACK[name](b"more\n") + bytes(512)
    assert files.unpacked(joined, "x") == TEXT + b"more\n"
    assert files.unpacked(joined + b"junk", "x") == TEXT + b"more\n"


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("what", [b"", TEXT])
def test_what_is_cut_short_is_refused(tmp_path, name, what):
    """Whether the cut lies in the only member or in a later one."""
    path = tmp_path / "cut"
    for whole in (PACK[name](what + NOISE), PACK[name](TEXT) + PACK[name](what + NOISE)):
        path.write_bytes(whole[:-20])
        with pytest.raises(MyError, match=f"cut is an? {name} file that is cut short: fetch it again"):
            files.read_bytes(path, error=MyError)


@pytest.mark.parametrize("name", PACKED)
def test_what_is_damaged_is_refused(name):
    whole = bytearray(PACK[name](NOISE))
    whole[len(whole) // 2] ^= 0xFF
    with pytest.raises(MyError, match=f"an? {name} file that is damaged"):
        files.unpacked(bytes(whole), "x", error=MyError)


@pytest.mark.parametrize("name", PACKED)
def test_a_bomb_does_not_eat_the_memory(name):
    """A megabyte of zeros packs into a kilobyte; members count together."""
    bomb = PACK[name](bytes(10**6))
    with pytest.raises(AstrogfError, match="unpacks to over 1 MB, too much for a list"):
        files.unpacked(bomb, "x", largest=10**6 - 1, what="a list")
    assert len(files.unpacked(bomb, "x", largest=10**6)) == 10**6
    with pytest.raises(AstrogfError, match="unpacks to over"):
        files.unpacked(bomb * 2, "x", largest=10**6)


def test_a_file_that_is_too_large_or_not_there(tmp_path):
    (tmp_path / "large").write_bytes(TEXT)
    with pytest.raises(MyError, match="large has 0 MB, too much for a deck"):
        files.read_bytes(tmp_path / "large", largest=1000, what="a deck", error=MyError)
    for path, said in (
        (tmp_path / "gone", r"cannot be read .*check that it exists"),
        (tmp_path, "is a folder, not a file"),
    ):
        with pytest.raises(MyError, match=said):
            files.read_bytes(path, error=MyError)
        assert files.beginning_of(path) == b""
        assert files.packing_of(path) is None
    assert files.beginning(b"\x1f\x8brubbish") == b""
