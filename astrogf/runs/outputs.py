"""Where a command writes: tried before the work, so that no result is computed for a place that cannot take it."""

import errno
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO

from astrogf.base.errors import AstrogfError
from astrogf.base.files import FULL as FULL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind = Literal["folder", "store", "json", "picture", "list", "configuration"]
PICTURES = ("png", "pdf", "svg", "jpg", "jpeg", "tif", "tiff", "eps", "ps", "webp")
"""Endings of a picture's file."""
OPTION: dict[str, str] = {
    **{"folder": "--out", "store": "--store", "json": "--json", "picture": "--figure"},
    **{"list": "--out", "configuration": "--out"},
}
ROOM = {"folder": 32e6, "store": 32e6, "json": 1e6, "picture": 4e6, "list": 32e6, "configuration": 1e6}
"""Bytes that must be free before the work begins: no run, store or picture is smaller."""


def check_output(path: Path | None, kind: Kind, option: str | None = None, *, overwrite: bool = True) -> None:
    """Try that `path` can be written, leaving nothing behind; missing folders above it will be made then.

    `option` is what the sentence calls it; a file that is there is refused unless `overwrite`. Raises AstrogfError
    where a folder is wanted and a file is there or the other way round, for a picture with an ending that is none of
    `PICTURES`, and where the system refuses: read-only or forbidden folders, names that are too long, a full disk.
    None (an option that was not given) is always right.
    """
    if path is None or (kind == "json" and path == PRINTED):
        return
    option = option or OPTION[kind]
    wanted = "a folder" if kind in ("folder", "store") else "a file"
    if kind == "picture":
        _check_ending(path, option)
    try:
        if path.is_dir() and wanted == "a file":
            raise AstrogfError(f"{option}: {path} is a folder; name a file, such as {path / _example(kind)}.")
        if path.exists() and wanted == "a file" and not path.is_file():
            raise AstrogfError(f"{option}: {path} is no ordinary file (a device or a pipe); name another.")
        if path.exists() and not overwrite:
            raise AstrogfError(f"{option}: {path} is there already; name another file, or add --overwrite.")
        if path.exists() and wanted == "a folder" and not path.is_dir():
            raise AstrogfError(f"{option}: {path} is a file; name a folder.")
        for above in path.absolute().parents:
            if above.exists() and not above.is_dir():
                raise AstrogfError(f"{option}: {path} cannot be made, because {above} is a file.")
        with _made(path if wanted == "a folder" else path.parent) as folder:
            # as long as the name that a file has until it is whole
            draft = _draft(folder / "statistics.npz" if wanted == "a folder" else path)
            try:
                draft.write_bytes(b"\0" * 4096)
            finally:
                with suppress(OSError):
                    draft.unlink()
            free = shutil.disk_usage(folder).free
    except OSError as error:
        raise AstrogfError(f"{option}: {_shown(path)} cannot be written: {why(error)}.") from error
    if free < ROOM[kind]:
        raise AstrogfError(
            f"{option}: the disk of {path} has {free / 1e6:.1f} MB left, {ROOM[kind] / 1e6:.0f} MB are needed at "
            "least: make room, or name another place."
        )


def why(error: OSError) -> str:
    """What the system said, and what to do about it where that is known."""
    advice = {
        errno.ENAMETOOLONG: "a name in it is too long for the file system; give a shorter one",
        errno.EROFS: "the file system is read-only",
        errno.EACCES: "permission denied",
        errno.EPERM: "permission denied",
        errno.ENOSPC: "no space is left on the disk; make room, or name another place",
        errno.EDQUOT: "your quota of the disk is used up; make room, or name another place",
    }
    return advice.get(error.errno or 0, error.strerror or str(error))


@contextmanager
def complete(path: Path) -> Iterator[Path]:
    """A name to write to that becomes `path` only when all went well; folders above it are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = _draft(path)
    try:
        yield draft
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


PRINTED = Path("-")
"""As the file of --json: stdout."""
_answers: ContextVar[TextIO | None] = ContextVar("answers", default=None)


@contextmanager
def speaking(quiet: bool, json: Path | None) -> Iterator[None]:
    """Within, what a command says goes to stdout: nowhere if `quiet`, to stderr where JSON is `PRINTED`."""
    token = _answers.set(sys.stdout)
    try:
        with ExitStack() as stack:
            if quiet:
                stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w", encoding="utf-8"))))
            elif json == PRINTED:
                stack.enter_context(redirect_stdout(sys.stderr))
            yield
    finally:
        _answers.reset(token)


def write_text(path: Path, text: str) -> None:
    """A text file, complete or absent; on stdout where it is `PRINTED`."""
    if path == PRINTED:
        print(text, end="", file=_answers.get() or sys.stdout, flush=True)
        return
    with complete(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_picture(path: Path, figure: "Figure") -> None:
    """A picture in the format of the ending, complete or absent."""
    with complete(path) as draft:
        figure.savefig(draft)


@contextmanager
def after_results(what: str, where: str) -> Iterator[None]:
    """Within, whatever goes wrong becomes an AstrogfError: `what` failed, but the results are in `where`."""
    try:
        yield
    except Exception as error:
        raise AstrogfError(
            f"{what} failed ({cause(error)}); the results are complete, in {where}. --debug shows the traceback."
        ) from error


def cause(error: BaseException) -> str:
    """An error in a few words, on one line."""
    text = (str(error).strip().splitlines() or [""])[0].removesuffix(".")
    if isinstance(error, AstrogfError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")


_DRAFT = re.compile(r"\..+\.\d+(\.\w+)?")


def is_draft(name: str) -> bool:
    """Whether a file has the name of one that was being written: a killed process leaves it."""
    return bool(_DRAFT.fullmatch(name))


def _check_ending(path: Path, option: str) -> None:
    ending = path.suffix.lower().removeprefix(".")
    if ending not in PICTURES:
        said = f"ends in .{ending}" if ending else "has no ending"
        raise AstrogfError(f"{option}: {path.name} {said}; a picture's name ends in .{', .'.join(PICTURES)}.")


def _example(kind: Kind) -> str:
    return {"picture": "figure.png", "list": "corrected.list", "configuration": "astrogf.toml"}.get(
        kind, "figures.json"
    )


def _shown(path: Path) -> str:
    text = str(path)
    return text if len(text) <= 200 else f"{text[:80]}...{text[-40:]}"


@contextmanager
def _made(folder: Path) -> Iterator[Path]:
    """The folder, with those above it; what was not there before is gone afterwards."""
    missing = []
    for place in (folder, *folder.parents):
        if place.exists():
            break
        missing.append(place)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    finally:
        for place in missing:
            with suppress(OSError):
                place.rmdir()
