"""Commands that fit and look at runs: fit, plan, demo, check, label, report, compare."""

from pathlib import Path
from typing import Annotated

import typer

from astrogf.commands.app import (
    GO_ON,
    Debug,
    Json,
    Overwrite,
    Quiet,
    Resume,
    answer,
    app,
    check_json,
    plain_errors,
    speaking,
)


@app.command()
def fit(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="TOML file; `astrogf init` writes one.")],
    spectra: Annotated[Path, typer.Option(help="Directory with the spectra, searched with all below it.")],
    out: Annotated[Path, typer.Option(help="Folder for the run; new or empty.")],
    labels: Annotated[
        Path | None, typer.Option(help="Table of labels to compare with (lasp_teff, lasp_logg, lasp_feh).")
    ] = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    json: Json = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fit stars and log gf jointly to a directory of survey spectra.

    Example: `astrogf fit configs/lamost_lrs.toml --spectra ~/lamost --out runs/first`
    """
    with speaking(quiet, json), plain_errors(debug, GO_ON.format(folder=out)):
        from astrogf.config import load

        settings = load(config)
        check_json(json)
        from astrogf.fitting.pipeline import fit_survey

        answer(json, fit_survey(settings, spectra, out, labels=labels, overwrite=overwrite, resume=resume).summary)


@app.command()
def plan(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="TOML file, as for `astrogf fit`.")],
    spectra: Annotated[Path, typer.Option(help="Directory or store with the spectra.")],
    memory: Annotated[
        float | None, typer.Option(min=0.1, help="GB that the process may take; what is free now if not given.")
    ] = None,
    json: Json = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Say what a fit will need before it begins: lines, memory, disk, time on this machine.

    Example: `astrogf plan configs/lamost_lrs.toml --spectra ~/lamost --memory 8`
    """
    with speaking(quiet, json), plain_errors(debug):
        from astrogf.config import load

        settings = load(config)
        from astrogf.fitting.pipeline import check_spectra
        from astrogf.planning.plan import plan_run

        check_spectra(spectra)
        plan_run(settings, spectra, memory=None if memory is None else memory * 1e9, json=json)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the run; new or empty.")] = Path("runs/demo"),
    config: Annotated[
        Path | None, typer.Option(help="TOML file; without it, the settings of configs/demo.toml.")
    ] = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    json: Json = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Simulate a small survey with errors put into the line list, and find them again.

    Example: `astrogf demo --out runs/demo`
    """
    with speaking(quiet, json), plain_errors(debug, GO_ON.format(folder=out)):
        from astrogf.config import demo_config, load

        settings = demo_config() if config is None else load(config)
        check_json(json)
        from astrogf.fitting.pipeline import run_demo

        answer(json, run_demo(settings, out, overwrite=overwrite, resume=resume).summary)


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
    continuum: Annotated[
        float | None,
        typer.Option(help="Angstrom a degree of the continua of known stars, where the survey's own cannot follow."),
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="File for the picture (png, pdf).")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Check on the run's own stars too.")] = False,
    json: Json = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Hold a run's corrections against stars that it has not seen, or that are known well.

    Example: `astrogf check runs/first --spectra ~/lamost --json check.json --figure check.png`

    Example: `astrogf check runs/first --known benchmarks.ecsv`
    """
    with speaking(quiet, json), plain_errors(debug, "Nothing was written."):
        from astrogf.checking.held_out import held_out_check
        from astrogf.checking.known import Noise

        noise = Noise(snr, draws, seed)
        held_out_check(
            run, spectra, table=known, noise=noise, continuum=continuum, json=json, figure=figure,
            everything=everything,
        )  # fmt: skip


@app.command()
def label(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `astrogf fit` or `astrogf demo` wrote.")],
    spectra: Annotated[Path, typer.Option(help="Directory or store with the spectra.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Table of labels (.fits, .ecsv); RUN/labels.fits if not given.")
    ] = None,
    share: Annotated[
        float, typer.Option(help="Part of the stars that is fitted exactly too (24 to 200 stars).")
    ] = 0.01,
    points: Annotated[
        int | None, typer.Option(help="Exact spectra that the surrogate is made from; 896 if not given.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of which stars are fitted exactly.")] = 0,
    json: Json = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Labels with errors of very many stars at a run's corrected list, by a surrogate of its spectrum model.

    Example: `astrogf label runs/first --spectra lamost.store --out labels.fits`
    """
    with speaking(quiet, json), plain_errors(debug, "No labels were written; a surrogate that was finished is kept."):
        from astrogf.labelling.labelling import label_spectra

        label_spectra(run, spectra, out=out, json=json, share=share, points=points, seed=seed)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `astrogf fit` or `astrogf demo` wrote.")],
    json: Json = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw the pictures and report.html of a run again, from its folder alone.

    Example: `astrogf report runs/demo`
    """
    with speaking(quiet, json), plain_errors(debug):
        check_json(json)
        from astrogf.fitting.pipeline import redraw

        answer(json, redraw(run).summary)


@app.command()
def compare(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `astrogf fit` or `astrogf demo` wrote.")],
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="Reference log gf: ECSV, CSV, FITS or VOTable.")],
    figure: Annotated[Path | None, typer.Option(help="Picture (PNG or PDF).")] = None,
    ratio: Annotated[float, typer.Option(help="Lines the data decided: posterior / prior sd below this.")] = 0.3,
    medium: Annotated[str | None, typer.Option(help="air or vacuum, where the table does not say.")] = None,
    tolerance: Annotated[float, typer.Option(help="Largest difference in wavelength of one line, in Angstrom.")] = 0.05,
    elow: Annotated[float, typer.Option(help="Largest difference in lower energy of one line, in eV.")] = 0.02,
    json: Json = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compare the log gf of a run with reference values, laboratory ones or another list's.

    Example: `astrogf compare runs/first laboratory.ecsv --json comparison.json --figure comparison.png`
    """
    with speaking(quiet, json), plain_errors(debug):
        from astrogf.comparing.corrections import compare as against
        from astrogf.synthesis.lines.identity import Tolerance

        against(run, table, json, figure, ratio=ratio, medium=medium, tolerance=Tolerance(tolerance, elow))
