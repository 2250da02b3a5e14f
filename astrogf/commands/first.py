"""Commands of the first steps: init, doctor."""

from pathlib import Path
from typing import Annotated

import typer

from astrogf.commands.app import Debug, Json, Quiet, Replace, app, plain_errors, speaking
from astrogf.first_steps.kinds import Kind


@app.command()
def init(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help=f"Kind of spectra: {', '.join(Kind)}.")] = (
        Kind.lamost_lrs
    ),
    out: Annotated[Path, typer.Option(help="File for the configuration.")] = Path("astrogf.toml"),
    overwrite: Replace = False,
    json: Json = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a configuration to begin with: every key of a fit, its value for these spectra, and what it means.

    Example: `astrogf init apogee --out apogee.toml`
    """
    with speaking(quiet, json), plain_errors(debug):
        from astrogf.first_steps.configuration import init as write

        write(kind.value, out, overwrite=overwrite, json_out=json)


@app.command()
def doctor(
    json: Json = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """See whether this installation works: versions, devices, cache, memory, disk, data, products of matrices.

    The exit code is 1 if something is broken.

    Example: `astrogf doctor --json doctor.json`
    """
    with speaking(quiet, json), plain_errors(debug):
        from astrogf.first_steps.doctor import doctor as examine

        if examine(json_out=json)["broken"]:
            raise typer.Exit(1)
