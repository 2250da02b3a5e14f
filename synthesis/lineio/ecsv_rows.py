"""Where numbers stand in the text of an ECSV table, so that one column can be changed and every other byte kept."""

import re
from pathlib import Path

from astropy.table import Table

from astrogf.base.errors import AstrogfError
from astrogf.synthesis.lineio import ecsv, gaia_eso, plain
from astrogf.synthesis.lineio.columns import plain_name

DELIMITER = re.compile(r"#\s*delimiter:\s*['\"]?([, ])")
CELL = {" ": re.compile(r'"(?:[^"]|"")*"|[^ ]+'), ",": re.compile(r'(?:"(?:[^"]|"")*"|[^,])*')}


def loggf_column(table: Table, path: Path) -> str:
    """Name of the column that holds log gf, as the reader of such a table takes it. Raises AstrogfError for a gf."""
    if ecsv.is_ours(table):
        return "loggf"
    understood = plain.columns_of(table)
    columns = understood[0] if understood else gaia_eso.columns_of(table.colnames)
    name = columns["loggf"]
    if plain_name(name) == "gf":
        raise AstrogfError(
            f"{path}: column {name} holds gf, no logarithm, and cannot be corrected in place; give log gf"
        )
    return name


def cells(text: list[str], column: str, path: Path) -> dict[int, tuple[int, int, int]]:
    """Row of the table (from 1) -> index of its line in `text`, begin and end of its cell of `column`.

    Raises AstrogfError where a row has not as many cells as there are columns.
    """
    said = next((m[1] for line in text if (m := DELIMITER.match(line))), " ")
    rows = [(i, _spans(line, said)) for i, line in enumerate(text) if line.strip() and not line.startswith("#")]
    if not rows:
        raise AstrogfError(f"{path}: the table has no rows; give a line list")
    (first, names), data = rows[0], rows[1:]
    k = [text[first][a:b].strip().strip('"') for a, b in names].index(column)
    found = {}
    for number, (i, spans) in enumerate(data, start=1):
        if len(spans) != len(names):
            raise AstrogfError(
                f"{path}: line {i + 1}: {len(spans)} cells, expected {len(names)}; write the table again"
            )
        found[number] = (i, *spans[k])
    return found


def _spans(line: str, delimiter: str) -> list[tuple[int, int]]:
    """Begin and end of every cell of a line."""
    line = line.rstrip("\r")
    if delimiter == " ":
        return [m.span() for m in CELL[" "].finditer(line)]
    spans, start = [], 0
    while True:
        match = CELL[","].match(line, start)
        assert match is not None  # an empty cell is one too
        spans.append(match.span())
        if match.end() >= len(line):
            return spans
        start = match.end() + 1
