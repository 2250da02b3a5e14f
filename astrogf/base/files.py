"""Files as bytes, unpacked where they are compressed: told by their first bytes, never by their names."""

import bz2
import errno
import lzma
import os
import stat
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from astrogf.base.errors import AstrogfError

LARGEST = 4 * 1024**3
"""Bytes that a file may have, on disk and unpacked, where the caller names no other limit: the largest published line
lists stay below it, and a forged or damaged file shall not eat the memory."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of a disk that takes nothing more."""
_PIECE = 64 * 1024
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
    return beginning(_head(path, 8 * size), size)


def packing_of(path: Path) -> Packing | None:
    """How a file is compressed; None where it is not, or cannot be read."""
    return packing(_head(path, 8))


def _head(path: Path, size: int) -> bytes:
    if obstacle(path):
        return b""
    try:
        with _open(path) as file:
            return file.read(size) or b""
    except OSError:
        return b""


def _open(path: Path) -> BinaryIO:
    # without O_NONBLOCK, what has become a pipe since it was looked at (or a file of /proc) would wait for ever
    return os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb")


def readable(path: Path) -> bool:
    """Whether `path` is a regular file, or a link to one, that may be opened."""
    return not obstacle(path) and os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids)


_NOT_FILES = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def obstacle(path: Path) -> str:
    """Why `path` cannot be read as a file, as "is a pipe, not a file" or "cannot be read (...)"; "" if it may be.

    A link is what it points to. Nothing is opened but a folder.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as err:  # a name with a null byte is a ValueError
        if os.path.islink(path):
            return f"is a link to {os.readlink(path)}, which cannot be read ({_said(err)})"
        return f"cannot be read ({_said(err)})"
    if stat.S_ISDIR(mode):
        try:
            os.scandir(path).close()
        except OSError as err:
            return f"is a folder that cannot be searched ({_said(err)})"
        return "is a folder, not a file"
    what = next((what for test, what in _NOT_FILES if test(mode)), "")
    return f"is {what}, not a file" if what else ""


def _said(err: Exception) -> str:
    return str(getattr(err, "strerror", None) or err)


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
    at = size = 0
    while raw.startswith(found.magic, at) or not parts:
        member = found.opener()
        # piece by piece, for a decompressor copies what lies behind its member, and bgzip makes thousands of members
        while not member.eof and at < len(raw):
            piece = raw[at : at + _PIECE]
            try:
                parts.append(member.decompress(piece, largest - size + 1))
            except _DAMAGED as err:
                raise error(f"{path} is {found.name} file that is damaged ({err}): fetch it again.") from err
            at += len(piece)
            size += len(parts[-1])
            if size > largest:
                raise error(f"{path} unpacks to over {largest / 1e6:.0f} MB, too much for {what}.")
        if not member.eof:
            raise error(f"{path} is {found.name} file that is cut short: fetch it again.")
        at -= len(member.unused_data)
        while raw.startswith(b"\0", at):  # archives on tape are padded
            padding = raw[at : at + _PIECE]
            at += len(padding) - len(padding.lstrip(b"\0"))
    return b"".join(parts)


def read_packed(
    path: Path, *, largest: int = LARGEST, what: str = "a file", error: type[AstrogfError] = AstrogfError
) -> bytes:
    """A file's bytes as they lie on disk.

    Raises `error` where it is no regular file (a pipe, a device, a folder), cannot be read or has more than `largest`
    bytes.
    """
    cure = "check that it exists and its permissions"
    if said := obstacle(path):
        raise error(f"{path} {said}: {cure if 'cannot' in said else 'give a file'}.")
    try:
        size = path.stat().st_size
        if size <= largest:
            with _open(path) as file:
                raw = file.read(size + 1) or b""  # None where there is nothing to read yet
            size = max(size, len(raw))
    except OSError as err:
        raise error(f"{path} cannot be read ({_said(err)}): {cure}.") from err
    if size > largest:
        raise error(f"{path} has {size / 1e6:.0f} MB, too much for {what}.")
    return raw


def read_bytes(
    path: Path, *, largest: int = LARGEST, what: str = "a file", error: type[AstrogfError] = AstrogfError
) -> bytes:
    """A file's bytes, unpacked: `read_packed`, then `unpacked`."""
    limits: dict[str, Any] = {"largest": largest, "what": what, "error": error}
    return unpacked(read_packed(path, **limits), path, **limits)


def read_text(path: Path, encoding: str = "utf-8", *, error: type[AstrogfError] = AstrogfError) -> str:
    """A file's text, unpacked; what is no text in the encoding becomes a replacement sign."""
    return read_bytes(path, error=error).decode(encoding, errors="replace")
