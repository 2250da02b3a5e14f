"""Tables of numbers as text: separated by commas, semicolons, tabs, bars or blanks, with a line of names or without."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from astrogf.surveys.formats.columns import understood
from astrogf.surveys.formats.other import as_text
from astrogf.surveys.spectrum import SurveyError

FEWEST = 10
_SEPARATORS = (",", ";", "\t", "|", None)
_ABSENT = ("", "nan", "null", "none", "na", "n/a", "--", "-", "...")
_WORDS = {"true": 1.0, "false": 0.0, "t": 1.0, "f": 0.0}
_COMMENT = ("#", "!", "%", "//")
_DECIMAL_COMMA = re.compile(r"^[+-]?\d+,\d+(e[+-]?\d+)?$")
_ECSV = re.compile(r"name:\s*([^,}\s]+).*?unit:\s*([^,}]+)")


class TextTable(NamedTuple):
    """`names` of the columns (() where the text has none), with units as `name[unit]`, and their values."""

    names: tuple[str, ...]
    values: Float[np.ndarray, "row column"]


def is_table(head: bytes) -> bool:
    """Whether unpacked bytes begin as lines of at least two numbers, under a line of names or not."""
    text = as_text(head)
    if text is None:
        return False
    lines = text.splitlines()
    rows = [row for line in lines[: -1 if len(lines) > 1 else None] if (row := _content(line))][:60]
    _, numeric = _separator(rows)
    return numeric >= 2 and numeric >= 0.5 * len(rows)


def read(plain: bytes, path: Path) -> TextTable:
    """The table that unpacked bytes are. Raises SurveyError with the line where they are not one."""
    text = as_text(plain)
    if text is None:
        raise SurveyError(f"{path} is no text.")
    lines = text.splitlines()
    content = [(i, row) for i, line in enumerate(lines) if (row := _content(line))]
    separator, _ = _separator([row for _, row in content[:60]])
    table = [(i, _cells(row, separator)) for i, row in content]
    if not table:
        raise SurveyError(f"{path} holds no line of numbers.")
    begin = next((k for k, (_, cells) in enumerate(table) if _is_row(cells)), len(table))
    rows = table[begin:]
    if len(rows) < FEWEST:
        raise SurveyError(f"{path} has {len(rows)} rows of numbers; expected at least {FEWEST} rows.")
    n = len(rows[0][1])
    if n > 2 and all(len(cells) == n and not cells[-1] for _, cells in rows):
        n -= 1  # every line ends in a separator
        rows = [(i, cells[:-1]) for i, cells in rows]
    names = _names([lines[i] for i, _ in table[:begin]], lines[: rows[0][0]], separator, n, path)
    values = np.empty((len(rows), n))
    for k, (i, cells) in enumerate(rows):
        if len(cells) != n:
            raise SurveyError(f"{path}, line {i + 1}: {len(cells)} columns where the lines before have {n}.")
        try:
            values[k] = [float(cell) for cell in cells]
        except ValueError:
            values[k] = [_value(cell, i, path) for cell in cells]
    return TextTable(names, values)


def _content(line: str) -> str:
    """A line without comment; a semicolon in front of everything begins one too."""
    line = line.strip()
    if line.startswith((*_COMMENT, ";")):
        return ""
    for mark in ("#", "!"):
        if mark in line:
            line = line.split(mark, 1)[0].rstrip()
    return line


def _cells(line: str, separator: str | None) -> list[str]:
    """The cells of a line's content."""
    if separator is None and ";" not in line and '"' not in line and "'" not in line:
        return line.split()
    if separator != ";":
        line = line.split(";")[0]
    return [cell.strip().strip("\"'") for cell in line.split(separator)]


def _separator(rows: list[str]) -> tuple[str | None, int]:
    """What separates the columns, and in how many rows it makes them begin with two numbers."""
    counts = [sum(_is_row(_cells(row, separator)) for row in rows) for separator in _SEPARATORS]
    best = int(np.argmax(counts))
    return (_SEPARATORS[best], counts[best]) if counts[best] else (None, 0)


def _is_row(cells: list[str]) -> bool:
    first = _number(cells[0]) if len(cells) >= 2 else None
    return first is not None and bool(np.isfinite(first)) and _number(cells[1]) is not None


def _number(cell: str) -> float | None:
    """A number, also with Fortran's exponent or a comma for the point; NaN for a word that says none; else None."""
    word = cell.lower()
    if word in _ABSENT:
        return np.nan
    if word in _WORDS:
        return _WORDS[word]
    try:
        return float(word)
    except ValueError:
        pass
    word = word.replace("d", "e")
    try:
        return float(word.replace(",", ".") if _DECIMAL_COMMA.match(word) else word)
    except ValueError:
        return None


def _value(cell: str, line: int, path: Path) -> float:
    value = _number(cell)
    if value is None:
        raise SurveyError(f"{path}, line {line + 1}: {cell[:40]!r} is not a number.")
    return value


def _names(before: list[str], preface: list[str], separator: str | None, n: int, path: Path) -> tuple[str, ...]:
    """Names of the `n` columns: the one line before the numbers, or a comment that says them; () where neither does.

    `before`: lines that are neither comments nor numbers. `preface`: all lines before the numbers.
    """
    said = [match for line in preface if line.startswith("#") and (match := _ECSV.search(line))]
    units = {match[1]: match[2] for match in said}
    if len(before) > 1:
        raise SurveyError(
            f"{path}: {len(before)} lines before the numbers are neither numbers nor comments; one may name the "
            f"columns, the others have to begin with #: {before[0].strip()[:60]!r}."
        )
    for line in before:
        found = _split_names(line, separator, n)
        if found is None:
            raise SurveyError(
                f"{path}: the line before the numbers, {line.strip()[:60]!r}, does not name {n} columns as there are: "
                "correct it, or begin it with #."
            )
        return tuple(f"{name}[{units[name].strip()}]" if name in units else name for name in found)
    for line in reversed(preface):
        found = _split_names(line.strip().lstrip("#!%;/ \t"), separator, n)
        if found and {"wavelength", "flux"} <= {understood(name).role for name in found}:
            return tuple(found)
    return ()


def _split_names(line: str, separator: str | None, n: int) -> list[str] | None:
    """A line as `n` names, by the separator of the numbers or by any other."""
    line = re.sub(r"\s*([\(\[][^\)\]]*[\)\]])", lambda match: match[1].replace(" ", ""), line.strip())
    for trial in (separator, *_SEPARATORS):
        names = [name.strip().strip("\"'") for name in line.split(trial)]
        if len(names) == n + 1 and not names[-1]:
            names = names[:-1]
        if len(names) == n and all(names):
            return names
    return None
