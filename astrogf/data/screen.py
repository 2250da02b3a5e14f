"""Tables on the screen: names of files whole, and on a narrow screen the least important columns left out by name."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

GAP = 2
LONGEST = 34


class Column(NamedTuple):
    """A column: its name, whether its cells end on the right, and its rank: on a narrow screen high ranks go first."""

    name: str
    rank: int
    right: bool = False


def show_table(console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    """Print rows of text; the names of columns that the screen was too narrow for, in their order.

    No cell is cut or folded. The first column is always there; where it does not fit beside the others, a row whose
    first cell is long has it on a line of its own. Nothing in a cell is taken for markup.
    """
    widths = [max(cell_len(text) for text in (column.name, *cells)) for column, *cells in _by_column(columns, rows)]
    ranked = sorted(range(1, len(columns)), key=lambda i: columns[i].rank)
    shown = {0}
    # longer names have lines of their own, so that the other columns fit
    most = min(LONGEST, console.width // 2)
    left = console.width - max(n for n in (cell_len(columns[0].name), *(cell_len(row[0]) for row in rows)) if n <= most)
    for i in ranked:
        if left < widths[i] + GAP:
            break
        left -= widths[i] + GAP
        shown.add(i)
    first = max(min(widths[0], console.width - sum(widths[i] + GAP for i in shown if i)), cell_len(columns[0].name))
    order = sorted(shown)
    sizes = {i: widths[i] if i else first for i in order}
    # ends of lines are not filled up: a name of any length would only gain blanks
    for k, row in enumerate(([column.name for column in columns], *rows)):
        style = "bold" if k == 0 else ""
        if cell_len(row[0]) > first:
            _print(console, Text(row[0], style))
            row = ["", *row[1:]]
        line = Text()
        for i in order:
            space = " " * (sizes[i] - cell_len(row[i]))
            line.append(" " * GAP if i else "")
            line.append(space if columns[i].right else "")
            line.append(row[i], style or STYLES.get((columns[i].name, row[i]), ""))
            line.append("" if columns[i].right else space)
        line.rstrip()
        if line.plain:
            _print(console, line)
    return [column.name for i, column in enumerate(columns) if i not in shown]


STYLES = {("used", "yes"): "green", ("used", "no"): "red"}


def show_left_out(console: Console, names: Sequence[str], where: str) -> None:
    """Say which columns were left out, and where they are."""
    if names:
        _print(console, Text(f"not shown at this width: {', '.join(names)} ({where})", "dim"))


def show_pairs(console: Console, pairs: Sequence[tuple[str, str]]) -> None:
    """Names and what they are, in two columns; what is long goes on below itself."""
    first = max((cell_len(name) for name, _ in pairs), default=0) + GAP
    for name, text in pairs:
        lines = Text(text, "bold").wrap(console, max(console.width - first, 20)) or [Text("")]
        for k, line in enumerate(lines):
            line.rstrip()
            _print(console, Text.assemble((name if k == 0 else "").ljust(first), line))


def _by_column(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[tuple]:
    return [(column, *(row[i] for row in rows)) for i, column in enumerate(columns)]


def _print(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True, highlight=False, markup=False)
