"""The journal of a store: one line a finished step, each with its own checksum, so that a kill loses one step."""

import json
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from astrogf.surveys.spectrum import SurveyError

JOURNAL = "journal.jsonl"


@dataclass
class Step:
    """What one step added to a store.

    rows: spectra in the store after it. chunk: index of the chunk it wrote, -1 if none. files: sha256 of every file
    of that chunk, by its path below the store; a file that is not named does not exist (all fill values). source:
    directory that was read. aside: files left out, as (path, size, sha256, reason, sentence). end: the last step
    of a run that came to its end.
    """

    rows: int
    chunk: int = -1
    files: dict[str, str] = field(default_factory=dict)
    source: str = ""
    aside: list[tuple[str, int, str, str, str]] = field(default_factory=list)
    end: bool = False


def _line(step: Step) -> bytes:
    body = json.dumps(vars(step), sort_keys=True, separators=(",", ":"))
    return f"{zlib.crc32(body.encode()):08x} {body}\n".encode()


def append(store: Path, step: Step) -> None:
    """Add one step; when this returns it is on the disk."""
    with open(store / JOURNAL, "ab") as file:
        file.write(_line(step))
        file.flush()
        os.fsync(file.fileno())


def read(store: Path) -> tuple[list[Step], int]:
    """The finished steps and the length in bytes that they take; what a kill left behind them is passed over.

    Raises SurveyError where a line that was finished is damaged.
    """
    path = store / JOURNAL
    try:
        raw = path.read_bytes()
    except OSError as err:
        raise SurveyError(
            f"{path} cannot be read ({err.strerror or err}); without its journal a store is of no use: ingest again."
        ) from err
    steps, end = [], raw.rfind(b"\n") + 1
    for number, line in enumerate(raw[:end].splitlines(), start=1):
        checksum, _, body = line.partition(b" ")
        if checksum != f"{zlib.crc32(body):08x}".encode():
            raise SurveyError(
                f"{path} is damaged in line {number} (its checksum differs): restore it from a copy, or ingest again "
                "into a new store."
            )
        fields: dict[str, Any] = json.loads(body)
        steps.append(Step(**fields | {"aside": [tuple(row) for row in fields["aside"]]}))
    return steps, end


def cut(store: Path, length: int) -> None:
    """Remove the unfinished line that a kill left behind the first `length` bytes."""
    if (store / JOURNAL).stat().st_size > length:
        os.truncate(store / JOURNAL, length)
