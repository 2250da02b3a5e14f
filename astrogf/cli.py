"""The command `astrogf`: all commands put together, in the order in which the help names them."""

import io
import os
import sys
import warnings
from typing import Any

from typer.models import CommandInfo

from astrogf.base.errors import AstrogfWarning
from astrogf.commands import data, emulators, first, lists, runs
from astrogf.commands.app import app, say

__all__ = ["app", "data", "emulators", "first", "lists", "main", "runs"]

ORDER = (
    *("init", "doctor", "demo", "inspect", "plan", "fit", "report", "check", "compare"),
    *("export", "apply", "label"),
    *("ingest", "store", "fetch", "train", "validate-emulator"),
)
"""Commands as the help lists them: the way from the first steps to the results, then what fewer people need."""


def _place(command: CommandInfo) -> int:
    return ORDER.index(command.name or command.callback.__name__)  # type: ignore[union-attr]


app.registered_commands.sort(key=_place)


def warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    """A warning on stderr: astrogf's own as a sentence: whoever runs a command has no use for its line of code."""
    if issubclass(category, AstrogfWarning):
        say(f"Warning: {message}", "yellow")
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), end="", file=file or sys.stderr)


def main() -> None:
    """Entry point of the command."""
    os.environ["MPLBACKEND"] = "Agg"  # pictures go into files: a screen is neither needed nor opened
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal of ASCII has no Å
    warnings.showwarning = warned
    app()
