"""Files as bytes, unpacked where they are compressed: told by their first bytes, never by their names."""

import bz2
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from astrogf.base.errors import AstrogfError

LARGEST = 4 * 1024**3
"""Bytes that a file may have, on disk and unpacked, where the caller names no other limit: the largest published line
lists stay below it, and a forged or damaged file shall not eat the memory."""
XZ_MEMORY = 256 * 1024**2
"""Bytes that unpacking xz may take (the strongest preset of xz takes 65 MB)."""


class Packing(NamedTuple):
    """A way to compress: its name with its article, its first bytes, and what makes a decompressor for one member."""

    name: str
    magic: bytes
    opener: Callable[[], Any]


PACKINGS = (
    Packing("a gzip", b"\x1f\x8b", lambda: zlib.decompressobj(wbits=31)),  # 31: gzip's header and checksum
    Packing("an xz", b"\xfd7zXZ", lambda: lzma.LZMADecompressor(memlimit=XZ_MEMORY)),
    Packing("a bzip2", b"BZh", bz2.BZ2Decompressor),
)
GZIP, XZ, BZIP2 = PACKINGS
_DAMAGED = (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError)


def packing(head: bytes) -> Packing | None:
    """How bytes are compressed that begin with `head`; None where they are not."""
    return next((p for p in PACKINGS if head.startswith(p.magic)), None)


def beginning(raw: bytes, size: int = 8192) -> bytes:
    """At most `size` bytes from the start of `raw`, unpacked; empty where they are damaged."""
    found = packing(raw)
    if found is None:
        return raw[:size]
    try:
        return found.opener().decompress(raw[: 8 * size], size)
    except _DAMAGED:
        return b""


def beginning_of(path: Path, size: int = 8192) -> bytes:
    """`beginning` of a file, of which no more is read than that needs; empty where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return beginning(file.read(8 * size), size)
    except OSError:
        return b""


def packing_of(path: Path) -> Packing | None:
    """How a file is compressed; None where it is not, or cannot be read."""
    try:
        with open(path, "rb") as file:
            return packing(file.read(8))
    except OSError:
        return None


def unpacked(
    raw: bytes, path: Path, *, largest: int = LARGEST, what: str = "a file", error: type[AstrogfError] = AstrogfError
) -> bytes:
    """The bytes, unpacked if they are gzip, xz or bzip2, all members of them; `path` is only for the message.

    Bytes behind the last member are ignored, as gzip does. Raises `error` where they are damaged, cut short or more
    than `largest` bytes, which is too much for `what`.
    """
    found = packing(raw)
    if found is None:
        return raw
    parts: list[bytes] = []
    size = 0
    while raw.startswith(found.magic) or not parts:
        member = found.opener()
        try:
            parts.append(member.decompress(raw, largest - size + 1))
        except _DAMAGED as err:
            raise error(f"{path} is {found.name} file that is damaged ({err}): fetch it again.") from err
        size += len(parts[-1])
        if size > largest:
            raise error(f"{path} unpacks to over {largest / 1e6:.0f} MB, too much for {what}.")
        if not member.eof:
            raise error(f"{path} is {found.name} file that is cut short: fetch it again.")
        raw = member.unused_data.lstrip(b"\0")  # archives on tape are padded
    return b"".join(parts)


def read_packed(
    path: Path, *, largest: int = LARGEST, what: str = "a file", error: type[AstrogfError] = AstrogfError
) -> bytes:
    """A file's bytes as they lie on disk. Raises `error` where it cannot be read or has more than `largest` bytes."""
    try:
        if path.stat().st_size > largest:
            raise error(f"{path} has {path.stat().st_size / 1e6:.0f} MB, too much for {what}.")
        return path.read_bytes()
    except OSError as err:
        raise error(
            f"{path} cannot be read ({err.strerror or err}): check that it exists and its permissions."
        ) from err


def read_bytes(
    path: Path, *, largest: int = LARGEST, what: str = "a file", error: type[AstrogfError] = AstrogfError
) -> bytes:
    """A file's bytes, unpacked: `read_packed`, then `unpacked`."""
    limits: dict[str, Any] = {"largest": largest, "what": what, "error": error}
    return unpacked(read_packed(path, **limits), path, **limits)


def read_text(path: Path, encoding: str = "utf-8", *, error: type[AstrogfError] = AstrogfError) -> str:
    """A file's text, unpacked; what is no text in the encoding becomes a replacement sign."""
    return read_bytes(path, error=error).decode(encoding, errors="replace")
