"""Commands by which results go out: export, apply."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from astrogf.commands.app import Debug, Json, Quiet, Replace, app, plain_errors, speaking
from astrogf.exporting.formats import Format


class Medium(StrEnum):
    """What wavelengths are measured in."""

    air = "air"
    vacuum = "vacuum"


class OnBad(StrEnum):
    """What is done about lines of a list that cannot be read."""

    refuse = "raise"
    skip = "skip"


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `astrogf fit` or `astrogf demo` wrote.")],
    format: Annotated[
        Format,
        typer.Option(
            help="The code that reads it; overlay: corrections alone; fits: tables; netcdf: posterior for ArviZ."
        ),
    ],
    out: Annotated[Path, typer.Option(help="File for the list; gzipped where it ends in .gz.")],
    everything: Annotated[bool, typer.Option("--all", help="Corrections of all free lines, not of informed ones.")] = (
        False
    ),
    ratio: Annotated[float, typer.Option(help="Informed lines: posterior / prior sd below this.")] = 0.5,
    lines: Annotated[Path | None, typer.Option("--list", help="Where the list of the run lies now.")] = None,
    medium: Annotated[Medium | None, typer.Option(help="Other wavelengths than the code expects.")] = None,
    overwrite: Replace = False,
    json: Json = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write the line list of a run with its corrections for use in another code, or its results as one file.

    Example: `astrogf export runs/first --format moog --out corrected.list`

    Example: `astrogf export runs/first --format netcdf --out posterior.nc`
    """
    with speaking(quiet, json), plain_errors(debug, "Nothing was written."):
        from astrogf.exporting.export import export as write

        write(
            run,
            out,
            format.value,
            everything=everything,
            ratio=ratio,
            lines_at=lines,
            medium=medium.value if medium else None,  # type: ignore[arg-type]
            overwrite=overwrite,
            json_out=json,
        )


@app.command()
def apply(
    overlay: Annotated[Path, typer.Argument(metavar="OVERLAY", help="What `astrogf export --format overlay` wrote.")],
    lines: Annotated[Path, typer.Argument(metavar="LIST", help="VALD, Turbospectrum, MOOG, Kurucz or ECSV.")],
    out: Annotated[Path, typer.Option(help="File for the corrected copy; gzipped where it ends in .gz.")],
    values: Annotated[
        bool, typer.Option("--values", help="LIST may be any: lines that match get the inferred log gf.")
    ] = False,
    format: Annotated[str | None, typer.Option(help="Format of LIST, where it is not recognised.")] = None,
    medium: Annotated[Medium | None, typer.Option(help="Wavelengths of LIST, where it does not say.")] = None,
    scaled: Annotated[
        bool | None, typer.Option(help="Whether log gf of LIST hold the isotopes' fractions, where it does not say.")
    ] = None,
    on_bad: Annotated[OnBad, typer.Option(help="Lines of LIST that cannot be read.")] = OnBad.refuse,
    overwrite: Replace = False,
    json: Json = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Put the corrections of a run into a line list; nothing but log gf changes.

    Example: `astrogf apply corrections.ecsv my.list --medium air --out my_corrected.list`
    """
    with speaking(quiet, json), plain_errors(debug, "Nothing was written."):
        from astrogf.exporting.apply import apply as put

        put(
            overlay,
            lines,
            out,
            values=values,
            format=format,
            medium=medium.value if medium else None,  # type: ignore[arg-type]
            scaled=scaled,
            on_bad=on_bad.value,  # type: ignore[arg-type]
            overwrite=overwrite,
            json_out=json,
        )
