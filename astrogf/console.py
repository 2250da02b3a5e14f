"""What a run says in the terminal: progress while it works, its figures when it is done."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from astrogf.base.errors import printable
from astrogf.runs.tables import reasons
from astrogf.runs.words import headline, unconverged
from astrogf.runtime import Stopwatch, raise_if_stopped

if TYPE_CHECKING:
    from astrogf.runs.run import Run


class Bars:
    """One progress bar a stage, or in a log file one line when it is done.

    Use as a context; call as a progress function.
    """

    def __init__(self, console: Console) -> None:
        self._console, self._clock = console, Stopwatch()
        self._live = console.is_terminal and console.file.isatty()  # a notebook's shell only says that it is one
        self._progress = Progress(
            TextColumn("{task.description:<32}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not self._live,
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> "Bars":
        self._progress.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._progress.__exit__(*error)

    def __call__(self, stage: str, done: int, total: int) -> None:
        raise_if_stopped()
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(self._tasks[stage], completed=done, total=total)
        if not self._live and done == total:
            self._console.print(
                f"{self._clock.seconds:7.0f} s  {stage} ({total})", highlight=False, soft_wrap=True, markup=False
            )


def show(console: Console, run: "Run", report: Path | None) -> None:
    """Print the headline figures, what was set aside and why, and where the report is (None: there is none)."""
    console.print()
    for line in in_columns(headline(run.summary, run.reference), console.width):
        console.print(line, no_wrap=True, crop=False, overflow="ignore", highlight=False)
    if (sentence := unconverged(run.record.get("solver", {}))) is not None:
        console.print(Text(f"\n{sentence}", style="yellow"), soft_wrap=True)
    if len(run.set_aside):
        console.print("\nset aside, by reason:")
        counts = reasons(run.set_aside)
        digits = max(len(str(count)) for _, count in counts)
        for reason, count in counts:
            console.print(Text(f"{count:{digits}d}  {printable(reason)}"), soft_wrap=True)
    if report is not None:
        console.print(Text(f"\nreport: {printable(str(report))}"), soft_wrap=True)


def in_columns(rows: list[tuple[str, str]], width: int) -> list[Text]:
    """Names and figures, the figures in bold and below each other; one too long for that ends at the edge of the
    screen, or stands on a line of its own."""
    shown = [(printable(name), printable(value)) for name, value in rows]
    longest = max((len(value) for _, value in shown), default=0)
    column = max((len(name) for name, value in shown if len(name) + 2 + len(value) <= width), default=0)
    column = min(column, max((len(name) for name, _ in shown), default=0)) + 2
    lines = []
    for name, value in shown:
        figure = Text(value, style="bold")
        if column + longest <= width or (column + len(value) <= width and len(name) < column):
            lines.append(Text(name.ljust(column)) + figure)
        elif len(name) + 2 + len(value) <= width:
            lines.append(Text(name.ljust(width - len(value))) + figure)
        else:
            lines += [Text(name), Text("    ") + figure]
    return lines
