"""Tables of plain text: a line of column names, then rows, by whichever sign the columns are set apart."""

import csv
import io
import math
import re
from pathlib import Path

import numpy as np
from astropy.table import Column, MaskedColumn, Table

from astrogf.base.errors import AstrogfError

SEPARATORS = {"|": "pipes", ";": "semicolons", "\t": "tabs", ",": "commas", " ": "blanks"}
"""Signs between columns, in the order in which they are looked for."""
LARGE = 100_000_000
"""Bytes from which on a text is given to astropy's fast reader, which needs less memory."""
NONE = frozenset(("", "null", "none", "nan", "na", "n/a", "-", "--", "---", "...", "\\n", "nodata", "masked"))
"""Words for 'no value' in a column of numbers, in lower case."""
_RULE = re.compile(r"[-=+|: ]+")
_COUNT = re.compile(r"\(\d+ rows?\)")
_WHOLE = re.compile(r"[+-]?\d{1,18}")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")


def number(word: str) -> float:
    """The number a word stands for; NaN for a word that means none. Raises ValueError (a sentence) for anything else.

    >>> number(" 5777 "), number("NULL")
    (5777.0, nan)
    """
    word = word.strip()
    if word.lower() in NONE or word.strip("*") == "":
        return math.nan
    try:
        value = float(word)
    except ValueError:
        raise ValueError(f"{word[:40]!r} is no number") from None
    return value if math.isfinite(value) else math.nan


def has_pipes(content: bytes) -> bool:
    """Whether the rows of a table, and not only its head as in IPAC's format, begin with a pipe."""
    return content.rstrip().rpartition(b"\n")[2].lstrip().startswith(b"|")


def parse(content: bytes, path: Path, expected: str, error: type[AstrogfError]) -> Table:
    """The table of a text; in columns of numbers the words of `NONE` are masked, elsewhere what is empty.

    Lines that begin with # are comments (the last one before the rows may hold the names), lines of dashes and empty
    ones are passed over. Raises `error`, with the line, where rows do not have as many columns as there are names, and
    for what is no table: `expected` says what is.
    """
    if len(content) > LARGE:
        head = content[: content.index(b"\n", 100_000)]
        separator, _, _ = _split(_lines(head, path, expected, error), path, expected, error)
        words = [(spelt, "0") for word in sorted(NONE) for spelt in sorted({word, word.upper(), word.capitalize()})]
        return Table.read(io.BytesIO(content), format="ascii.basic", delimiter=separator, fill_values=words)
    separator, names, rows = _split(_lines(content, path, expected, error), path, expected, error)
    out = Table()
    for name, cells in zip(names, zip(*(cells for _, cells in rows), strict=True) if rows else [()] * len(names),
                           strict=True):  # fmt: skip
        out[name] = _column(list(cells), decimal_comma=separator == ";")
    return out


def _lines(content: bytes, path: Path, expected: str, error: type[AstrogfError]) -> list[tuple[int, str]]:
    """Number and text of every line that says something."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = content.decode("utf-16", errors="replace")
    elif b"\0" in content[:100_000] or content.startswith(b"PK\x03\x04"):
        raise error(f"{path} is not recognised as a table; expected {expected}.")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("latin-1")
    if text.lstrip()[:200].lower().startswith(("<!doctype html", "<html", "{", "[")):
        raise error(f"{path} is not recognised as a table; expected {expected}.")
    return [
        (i, line)
        for i, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not _RULE.fullmatch(line.strip()) and not _COUNT.fullmatch(line.strip())
    ]


def _split(
    lines: list[tuple[int, str]], path: Path, expected: str, error: type[AstrogfError]
) -> tuple[str, list[str], list[tuple[int, list[str]]]]:
    """Separator, names, and number and cells of every row."""
    plain = [(i, line) for i, line in lines if not line.lstrip().startswith("#")]
    if not plain:
        raise error(f"{path} is not recognised as a table; expected {expected}.")
    separator = next(s for s in SEPARATORS if s in plain[0][1].strip() or s == " ")
    table = [(i, _cells(line, separator)) for i, line in plain]
    first, head = table[0]
    if all(_is_number(cell) for cell in head):
        comments = [line.lstrip(" #") for i, line in lines if line.lstrip().startswith("#") and i < first]
        head = _cells(comments[-1], separator if separator in comments[-1] else " ") if comments else []
        if len(head) != len(table[0][1]):
            raise error(f"{path}, line {first}: numbers, but no line of column names above them.")
    else:
        table = table[1:]
    # one column, such as a list of identifiers, is a table where its name says so: text has lines of one word too
    if len(head) < 2 and not (
        ".csv" in path.suffixes and head and table and all(len(cells) == 1 for _, cells in table)
    ):
        raise error(f"{path} is not recognised as a table; expected {expected}.")
    names = [name.strip() for name in head]
    # a row may end in a separator, or begin with one
    edges = [at for at in (0, len(names) - 1) if not names[at]]
    if any(not name for at, name in enumerate(names) if at not in edges):
        raise error(
            f"{path}: a column has no name in the line of names: {SEPARATORS[separator]} without a word between."
        )
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice:
        raise error(f"{path} has two columns {twice}: give each a name of its own.")
    rows = []
    for i, cells in table:
        if len(cells) == len(names) + 1 and not cells[-1].strip():
            cells = cells[:-1]
        if len(cells) != len(names):
            raise error(
                f"{path}, line {i}: {len(cells)} columns, where {len(names)} have names (separated by "
                f"{SEPARATORS[separator]}): correct the line, or put quotes round text that holds the separator."
            )
        rows.append((i, [cell for at, cell in enumerate(cells) if at not in edges]))
    return separator, [name for at, name in enumerate(names) if at not in edges], rows


def _cells(line: str, separator: str) -> list[str]:
    """The cells of a line, without their quotes."""
    if separator == " ":
        line = re.sub(r"\s+", " ", line.strip())
    return [c.strip() for c in next(csv.reader([line], delimiter=separator, skipinitialspace=True))]


def _is_number(word: str) -> bool:
    try:
        number(word)
    except ValueError:
        return False
    return True


def _column(cells: list[str], *, decimal_comma: bool) -> Column:
    """Whole numbers, numbers or text, whichever all cells are; without a value: masked."""
    given = [cell for cell in cells if cell.lower() not in NONE]
    if decimal_comma and given and all(_DECIMAL_COMMA.fullmatch(c) or _is_number(c) for c in given):
        cells = [cell.replace(",", ".") for cell in cells]
        given = [cell.replace(",", ".") for cell in given]
    if given and all(_WHOLE.fullmatch(cell) for cell in given):
        values = np.array([int(c) if c.lower() not in NONE else 0 for c in cells], dtype=np.int64)
        absent = np.array([c.lower() in NONE for c in cells], bool)
    elif all(_is_number(cell) for cell in cells) and (given or not cells):
        values = np.array([number(c) for c in cells], dtype=np.float64)
        absent = np.isnan(values)
    else:
        values = np.array(cells, dtype=str)
        absent = np.array([not c for c in cells], bool)
    return MaskedColumn(values, mask=absent) if absent.any() else Column(values)
