"""Corrections of log gf put into the user's own file: only the log gf fields change."""

import gzip
from pathlib import Path

import numpy as np
from jaxtyping import Float

from astrogf.base.errors import AstrogfError
from astrogf.base.tables import kind_of, read_table
from astrogf.synthesis.lineio import ecsv_rows, kurucz, moog, turbospectrum, vald
from astrogf.synthesis.lineio.read import read_indexed
from astrogf.synthesis.lineio.records import UTF8, Medium, OnBad, read_bytes
from astrogf.synthesis.lines.linelist import LineList

REWRITABLE = ("vald", "kurucz", "turbospectrum", "moog")
"""Formats in text of their own; tables of lines are rewritten where they are ECSV."""
DIGITS = 10
"""Decimals of log gf in tables, whose cells have no width."""


def corrected(lines: LineList, delta: Float[np.ndarray, " line"]) -> LineList:
    """`lines` with `delta` (dex) added to log gf. Raises ValueError for a wrong length or what is not finite."""
    # not _replace: a LineList's length is its number of lines
    return LineList(**lines._asdict() | {"loggf": lines.loggf + _checked(lines, delta)})


def _checked(lines: LineList, delta: np.ndarray) -> np.ndarray:
    delta = np.asarray(delta, float)
    if delta.shape != (len(lines),):
        raise AstrogfError(f"corrections of shape {delta.shape} for {len(lines)} lines; give one a line, 0 for none")
    if not np.all(np.isfinite(delta)):
        raise AstrogfError(f"correction {int(np.flatnonzero(~np.isfinite(delta))[0])} is not a number; give 0 for none")
    return delta


def rewrite_lines(
    source: str | Path,
    target: str | Path,
    corrections: Float[np.ndarray, " line"],
    format: str | None = None,
    medium: Medium | None = None,
    *,
    scaled: bool | None = None,
    on_bad: OnBad = "raise",
) -> int:
    """Copy the list `source` to `target` with corrections added to its log gf; gives the number of fields changed.

    `corrections` (dex) follow the order of `read_lines(source)`, 0 where there is none. Every byte outside the log gf
    fields stays, and so do decimals and the right-hand end of each field. Formats: vald, kurucz, turbospectrum, moog,
    and tables in ECSV, whose numbers are written in full. `scaled` as in `read_lines`.
    Raises ValueError where a value does not fit its field, or for other formats.
    """
    source, target = Path(source), Path(target)
    # air or vacuum does not matter here, but the order of lines has to be that of the reader
    lines, rows, format = read_indexed(source, format, medium, scaled=scaled, on_bad=on_bad)
    raw = read_bytes(source)
    if format not in REWRITABLE and kind_of(raw) != "ecsv":
        raise AstrogfError(
            f"{source}: a list in format {format!r} is rewritten in place only as ECSV text; convert it "
            "(astropy.table.Table.write, or write_lines)"
        )
    delta = _checked(lines, corrections)
    mark = UTF8 if raw.startswith(UTF8) else b""
    text = raw.removeprefix(mark).decode("latin-1").split("\n")
    place, field = _places(format, text, source)
    changed = 0
    for row, change in zip(rows.tolist(), delta.tolist(), strict=True):
        if change != 0.0:
            index, start, stop = place(row)
            line = text[index]
            text[index] = line[:start] + field(line[start:stop], change, source, row) + line[stop:]
            changed += text[index] != line
    content = mark + "\n".join(text).encode("latin-1")
    target.write_bytes(gzip.compress(content, mtime=0) if target.suffix == ".gz" else content)
    return changed


def _places(format: str, text: list[str], path: Path):
    """Function from a row to the index of its line and the ends of its log gf field; and what writes the field."""
    if format not in REWRITABLE:
        cells = ecsv_rows.cells(text, ecsv_rows.loggf_column(read_table(path, arrays=True), path), path)
        return cells.__getitem__, _cell
    span = _spans(format, text, path)
    return lambda row: (row - 1, *span(text[row - 1])), _field


def _spans(format: str, text: list[str], path: Path):
    """Function that finds the log gf field of a line."""
    if format == "vald":
        form = vald.layout(text, path)
        return lambda line: vald.loggf_span(line, form)
    if format == "kurucz":
        shift = kurucz.shift_of(text)
        return lambda line: kurucz.loggf_span(line, shift)
    if format == "moog":
        fixed = moog.is_fixed(moog.data_lines(text)[1])
        return lambda line: moog.loggf_span(line, fixed)
    return turbospectrum.loggf_span


def _field(old: str, change: float, path: Path, row: int) -> str:
    """The field with its number changed: as many decimals, the same end, blanks on the left given up if needed."""
    token = old.strip()
    tail = old[len(old.rstrip()) :]
    mantissa, letter, _ = token.upper().replace("D", "E").partition("E")
    decimals = len(mantissa.partition(".")[2])
    value = float(token.upper().replace("D", "E")) + change
    new = f"{value:.{decimals}{'E' if letter else 'f'}}"
    room = len(old) - len(tail)
    if len(new) > room:
        raise AstrogfError(
            f"{path}: line {row}: log gf {new} does not fit the {room} columns of its field; widen the field in the "
            "source, or use write_lines"
        )
    return new.rjust(room) + tail


def _cell(old: str, change: float, path: Path, row: int) -> str:
    """A cell of a table with its number changed, in full but for rounding of the sum."""
    quote = '"' if old.startswith('"') else ""
    return f"{quote}{round(float(old.strip(quote or None)) + change, DIGITS)!r}{quote}"
