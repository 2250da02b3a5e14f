"""Commands about spectra: inspect, ingest, store, fetch."""

from pathlib import Path
from typing import Annotated

import typer

from astrogf.commands.app import Debug, Json, Quiet, answer, app, check_json, plain_errors, speaking


@app.command()
def inspect(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A spectrum, or a directory searched with all below it.")
    ],
    window: Annotated[
        list[str] | None, typer.Option(help="Wavelengths that would be fitted, such as 4900-5400; may be repeated.")
    ] = None,
    snr_min: Annotated[float, typer.Option(help="Least signal-to-noise ratio a pixel.")] = 20.0,
    snr_band: Annotated[str, typer.Option(help="Band of the header's S/N: u, g, r, i or z.")] = "g",
    types: Annotated[str, typer.Option(help="First letters of the spectral types kept; empty keeps all.")] = "FGK",
    figure: Annotated[Path | None, typer.Option(help="File for a picture of some of the spectra (png or pdf).")] = None,
    json: Json = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Say what survey files hold, what of it would be used, and why not the rest.

    Example: `astrogf inspect ~/lamost --window 4900-5400 --figure spectra.png`
    """
    with speaking(quiet, json), plain_errors(debug):
        from astrogf.data.inspection import inspect as look
        from astrogf.data.inspection import read_windows

        windows = read_windows(window or [])
        look(
            path,
            windows=windows,
            snr_min=snr_min,
            snr_band=snr_band,
            spectral_types=types,
            json_out=json,
            figure_out=figure,
        )


@app.command()
def ingest(
    spectra: Annotated[Path, typer.Argument(metavar="SPECTRA", help="Directory, searched with all below it.")],
    store: Annotated[Path, typer.Option(help="The store: made if it does not exist, else appended to.")],
    kind: Annotated[
        str, typer.Option(help="Kind of spectra, such as lamost_lrs, sdss_optical or apogee_apstar.")
    ] = "lamost_lrs",
    json: Json = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Convert a directory of survey files to a store, once; run again, it goes on where it stopped.

    Example: `astrogf ingest ~/lamost --store spectra.zarr`
    """
    with speaking(quiet, json), plain_errors(debug, "The same command goes on where it stopped."):
        from astrogf.data.stores import ingest as take

        take(spectra, store, kind, json_out=json)


@app.command()
def store(
    path: Annotated[Path, typer.Argument(metavar="STORE", help="What `astrogf ingest` wrote.")],
    verify: Annotated[bool, typer.Option("--verify", help="Compare every chunk with its checksum.")] = False,
    json: Json = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Say what a store of spectra holds.

    Example: `astrogf store spectra.zarr --verify`
    """
    with speaking(quiet, json), plain_errors(debug):
        from astrogf.data.stores import show

        show(path, verify=verify, json_out=json)


@app.command()
def fetch(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="sdss-lite, sdss-full, sdssv-lite, sdssv-full, apstar, aspcapstar, mwmstar, lamost-lrs, lamost-mrs.",
        ),
    ],
    identifiers: Annotated[
        list[str] | None, typer.Argument(metavar="[IDENTIFIER]...", help="Such as 266-51602-1 (plate, MJD, fiber).")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("spectra"),
    table: Annotated[Path | None, typer.Option(help="Catalogue with the columns that identify the files.")] = None,
    release: Annotated[str, typer.Option(help="Data release, such as dr17; each kind has its default.")] = "",
    version: Annotated[str, typer.Option(help="run2d, version of Astra, or version of a LAMOST release.")] = "",
    base: Annotated[str, typer.Option(help="Another root of the addresses, such as a mirror's.")] = "",
    checksums: Annotated[Path | None, typer.Option(help="List as sha1sum or sha256sum write it.")] = None,
    token: Annotated[str, typer.Option(help="LAMOST's token.", envvar="LAMOST_TOKEN")] = "",
    workers: Annotated[int, typer.Option(min=1, max=16, help="Downloads at a time.")] = 4,
    tries: Annotated[int, typer.Option(min=1, help="Tries of each address.")] = 4,
    only_list: Annotated[bool, typer.Option("--list", help="Print the addresses and fetch nothing.")] = False,
    json: Json = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Download public spectra of SDSS, APOGEE and LAMOST; run again, it fetches what is missing.

    Example: `astrogf fetch sdss-lite 266-51602-1 266-51602-2 --out ~/sdss`
    """
    with speaking(quiet, json), plain_errors(debug, "The same command fetches what is missing."):
        check_json(json)
        from astrogf.data.fetching import fetch as get

        done = get(
            kind,
            identifiers or [],
            out,
            table=table,
            release=release,
            version=version,
            base=base,
            checksums=checksums,
            token=token,
            workers=workers,
            tries=tries,
            only_list=only_list,
        )
        answer(json, done)
        if done["failed"]:
            raise typer.Exit(1)
