"""What all commands share: the program, its common options, errors as sentences, what is said where."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from astrogf import __version__
from astrogf.base.errors import AstrogfError
from astrogf.base.files import FULL
from astrogf.runtime import Stopped, stoppable

app = typer.Typer(
    name="astrogf",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Debug = Annotated[bool, typer.Option("--debug", help="Show the Python traceback of an error.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the run that is in the folder.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the unfinished run that is in the folder.")]
Replace = Annotated[bool, typer.Option("--overwrite", "--force", help="Replace the file if it is there.")]
Json = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="File for all figures as JSON; - prints them, and all else goes to stderr."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but warnings and errors.")]


GO_ON = "{folder}/record.json says so; the same command with --resume goes on from the last finished iteration."


@contextmanager
def plain_errors(debug: bool, stopped: str = "") -> Iterator[None]:
    """What can be put right becomes a red sentence on stderr and exit code 2; any other error keeps its traceback.

    A signal that ends the process (`runtime.stoppable`) becomes a sentence too, followed by `stopped`, which says what
    is left of the work; the exit code is the shell's, 143 for SIGTERM and 130 for SIGINT.
    """
    try:
        with stoppable():
            yield
    except AstrogfError as error:
        if debug:
            raise
        say(error.sentence)
        raise typer.Exit(2) from error
    except Stopped as error:
        say(f"Stopped by {error.signal}. {stopped}".strip())
        raise typer.Exit(error.exit_code) from error
    except OSError as error:
        if debug or error.errno not in FULL:
            raise
        say(f"Writing {error.filename or 'a file'} failed: {error.strerror}; make room, or name another place.")
        raise typer.Exit(2) from error


def say(sentence: str, colour: str = "red") -> None:
    """A sentence on stderr."""
    # names of files that are not UTF-8 cannot be printed as they are
    shown = sentence.encode("utf-8", "backslashreplace").decode()
    Console(stderr=True, highlight=False).print(f"[{colour}]{escape(shown)}[/{colour}]", soft_wrap=True)


@contextmanager
def speaking(quiet: bool, json: Path | None) -> Iterator[None]:
    """As `runs.outputs.speaking`, whose module is loaded only here: help shall not wait for it."""
    from astrogf.runs import outputs

    with outputs.speaking(quiet, json):
        yield


def answer(json: Path | None, told: Any) -> None:
    """What a command found, as JSON, where it was asked for."""
    if json is not None:
        from astrogf.runs.folder import as_json
        from astrogf.runs.outputs import write_text

        write_text(json, as_json(told))


def check_json(json: Path | None) -> None:
    """Raise AstrogfError, before any work, where the file of --json cannot be written."""
    if json is not None:
        from astrogf.runs.outputs import check_output

        check_output(json, "json")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"astrogf {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Corrections to the oscillator strengths (log gf) of atomic lines, and the labels of stars, from survey spectra.

    Begin with `astrogf demo`, which needs no data; `astrogf init` writes a configuration for your own.
    """
