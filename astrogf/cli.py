"""The command `astrogf`."""

import errno
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from astrogf import __version__
from astrogf.base.errors import AstrogfError
from astrogf.runtime import Stopped, stoppable

app = typer.Typer(
    name="astrogf",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Debug = Annotated[bool, typer.Option("--debug", help="Show the Python traceback of an error.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the run that is in the folder.")]


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
AGAIN = "{folder}/record.json says so; start it again with --overwrite."


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
        _say(error.sentence)
        raise typer.Exit(2) from error
    except Stopped as error:
        _say(f"Stopped by {error.signal}. {stopped}".strip())
        raise typer.Exit(error.exit_code) from error
    except OSError as error:
        if debug or error.errno not in NO_ROOM:
            raise
        _say(f"Writing {error.filename or 'a file'} failed: {error.strerror}; make room, or name another place.")
        raise typer.Exit(2) from error


def _say(sentence: str) -> None:
    # names of files that are not UTF-8 cannot be printed as they are
    shown = sentence.encode("utf-8", "backslashreplace").decode()
    Console(stderr=True, highlight=False).print(f"[red]{escape(shown)}[/red]", soft_wrap=True)


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

    Begin with `astrogf demo`, which needs no data.
    """


@app.command()
def fit(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="TOML file; copy configs/lamost_lrs.toml.")],
    spectra: Annotated[Path, typer.Option(help="Directory with the spectra, searched with all below it.")],
    out: Annotated[Path, typer.Option(help="Folder for the run; new or empty.")],
    labels: Annotated[
        Path | None, typer.Option(help="Table of labels to compare with (lasp_teff, lasp_logg, lasp_feh).")
    ] = None,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Fit stars and log gf jointly to a directory of survey spectra.

    Example: `astrogf fit configs/lamost_lrs.toml --spectra ~/lamost --out runs/first`
    """
    with plain_errors(debug, AGAIN.format(folder=out)):
        from astrogf.config import load

        settings = load(config)
        from astrogf.fitting.pipeline import fit_survey

        fit_survey(settings, spectra, out, labels=labels, overwrite=overwrite)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the run; new or empty.")] = Path("runs/demo"),
    config: Annotated[
        Path | None, typer.Option(help="TOML file; without it, the settings of configs/demo.toml.")
    ] = None,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Simulate a small survey with errors put into the line list, and find them again.

    Example: `astrogf demo --out runs/demo`
    """
    with plain_errors(debug, AGAIN.format(folder=out)):
        from astrogf.config import demo_config, load

        settings = demo_config() if config is None else load(config)
        from astrogf.fitting.pipeline import run_demo

        run_demo(settings, out, overwrite=overwrite)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="TOML file, such as configs/train_atlas9.toml.")],
    out: Annotated[Path, typer.Option(help="Folder for the weights and their card.")],
    debug: Debug = False,
) -> None:
    """Train the emulator of model atmospheres.

    Example: `astrogf train configs/train_atlas9.toml --out runs/emulator`
    """
    with plain_errors(debug, "The same command goes on from the last checkpoint in --out."):
        if not config.is_file():
            raise AstrogfError(f"There is no configuration file {config}; configs/train_atlas9.toml is one to copy.")
        from astrogf.emulator.options import TrainOptions
        from astrogf.runs.outputs import check_output
        from astrogf.runtime import ready_to_compute

        TrainOptions.read(config)
        check_output(out, "folder")
        ready_to_compute()
        from astrogf.emulator.training import main

        main(config, out)


@app.command("validate-emulator")
def validate_emulator(
    decks: Annotated[Path, typer.Option(help="Folder of ATLAS-9 or ATLAS-12 decks; gzipped and joined ones too.")],
    out: Annotated[Path, typer.Option(help="Folder for validation.json, index.html and the pictures.")],
    family: Annotated[str, typer.Option(help="Shipped emulator: atlas9 or atlas12.")] = "atlas9",
    weights: Annotated[Path | None, typer.Option(help="Weights that `astrogf train` wrote, instead.")] = None,
    others: Annotated[Path | None, typer.Option(help="Folder whose subfolders hold weights to compare with.")] = None,
    draws: Annotated[int, typer.Option(help="Random labels to test for monotone structures.")] = 10_000,
    debug: Debug = False,
) -> None:
    """Measure an emulator of model atmospheres against real decks.

    Example: `astrogf validate-emulator --decks ~/atlas12 --family atlas12 --out runs/validation`
    """
    with plain_errors(debug):
        from astrogf.validating.validation import validate

        validate(decks, out, family, weights, others, count=draws)


@app.command()
def check(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `astrogf fit` or `astrogf demo` wrote.")],
    spectra: Annotated[
        Path | None, typer.Option(help="Directory with spectra; stars of the run itself are left out.")
    ] = None,
    known: Annotated[
        Path | None, typer.Option(help="Table of known stars: file, medium, teff, logg, feh, errors; see the manual.")
    ] = None,
    snr: Annotated[float, typer.Option(help="Signal-to-noise ratio a pixel that known stars are given.")] = 100.0,
    draws: Annotated[int, typer.Option(help="Draws of that noise for each known star.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    json: Annotated[Path | None, typer.Option(help="File for all figures.")] = None,
    figure: Annotated[Path | None, typer.Option(help="File for the picture (png, pdf).")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Check on the run's own stars too.")] = False,
    debug: Debug = False,
) -> None:
    """Hold a run's corrections against stars that it has not seen, or that are known well.

    Example: `astrogf check runs/first --spectra ~/lamost --json check.json --figure check.png`

    Example: `astrogf check runs/first --known benchmarks.ecsv`
    """
    with plain_errors(debug, "Nothing was written."):
        from astrogf.checking.held_out import held_out_check
        from astrogf.checking.known import Noise

        noise = Noise(snr, draws, seed)
        held_out_check(run, spectra, table=known, noise=noise, json=json, figure=figure, everything=everything)


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
    json: Annotated[Path | None, typer.Option(help="File for everything that is found, as JSON.")] = None,
    figure: Annotated[Path | None, typer.Option(help="File for a picture of some of the spectra (png or pdf).")] = None,
    debug: Debug = False,
) -> None:
    """Say what survey files hold, what of it would be used, and why not the rest.

    Example: `astrogf inspect ~/lamost --window 4900-5400 --figure spectra.png`
    """
    with plain_errors(debug):
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
    json: Annotated[Path | None, typer.Option(help="File for what the store then holds, as JSON.")] = None,
    debug: Debug = False,
) -> None:
    """Convert a directory of survey files to a store, once; run again, it goes on where it stopped.

    Example: `astrogf ingest ~/lamost --store spectra.zarr`
    """
    with plain_errors(debug, "The same command goes on where it stopped."):
        from astrogf.data.stores import ingest as take

        take(spectra, store, kind, json_out=json)


@app.command()
def store(
    path: Annotated[Path, typer.Argument(metavar="STORE", help="What `astrogf ingest` wrote.")],
    verify: Annotated[bool, typer.Option("--verify", help="Compare every chunk with its checksum.")] = False,
    json: Annotated[Path | None, typer.Option(help="File for everything that is told, as JSON.")] = None,
    debug: Debug = False,
) -> None:
    """Say what a store of spectra holds.

    Example: `astrogf store spectra.zarr --verify`
    """
    with plain_errors(debug):
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
    debug: Debug = False,
) -> None:
    """Download public spectra of SDSS, APOGEE and LAMOST; run again, it fetches what is missing.

    Example: `astrogf fetch sdss-lite 266-51602-1 266-51602-2 --out ~/sdss`
    """
    with plain_errors(debug, "The same command fetches what is missing."):
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
        if not done:
            raise typer.Exit(1)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `astrogf fit` or `astrogf demo` wrote.")],
    debug: Debug = False,
) -> None:
    """Draw the pictures and report.html of a run again, from its folder alone.

    Example: `astrogf report runs/demo`
    """
    with plain_errors(debug):
        from astrogf.fitting.pipeline import redraw

        redraw(run)


@app.command()
def compare(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `astrogf fit` or `astrogf demo` wrote.")],
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="Reference log gf: ECSV, CSV, FITS or VOTable.")],
    json: Annotated[Path, typer.Option(help="JSON file for the figures.")],
    figure: Annotated[Path | None, typer.Option(help="Picture (PNG or PDF).")] = None,
    ratio: Annotated[float, typer.Option(help="Lines the data decided: posterior / prior sd below this.")] = 0.3,
    medium: Annotated[str | None, typer.Option(help="air or vacuum, where the table does not say.")] = None,
    tolerance: Annotated[float, typer.Option(help="Largest difference in wavelength of one line, in Angstrom.")] = 0.05,
    elow: Annotated[float, typer.Option(help="Largest difference in lower energy of one line, in eV.")] = 0.02,
    debug: Debug = False,
) -> None:
    """Compare the log gf of a run with reference values, laboratory ones or another list's.

    Example: `astrogf compare runs/first laboratory.ecsv --json comparison.json --figure comparison.png`
    """
    with plain_errors(debug):
        from astrogf.comparing.corrections import compare as against
        from astrogf.synthesis.lines.identity import Tolerance

        against(run, table, json, figure, ratio=ratio, medium=medium, tolerance=Tolerance(tolerance, elow))


def main() -> None:
    """Entry point of the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal of ASCII has no Å
    app()
