"""Commands about the emulator of model atmospheres: train, validate-emulator."""

from pathlib import Path
from typing import Annotated

import typer

from astrogf.base.errors import AstrogfError
from astrogf.commands.app import Debug, Json, Quiet, answer, app, check_json, plain_errors, speaking


@app.command()
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="TOML file, such as configs/train_atlas9.toml.")],
    out: Annotated[Path, typer.Option(help="Folder for the weights and their card.")],
    json: Json = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train the emulator of model atmospheres.

    Example: `astrogf train configs/train_atlas9.toml --out runs/emulator`
    """
    with speaking(quiet, json), plain_errors(debug, "The same command goes on from the last checkpoint in --out."):
        if not config.is_file():
            raise AstrogfError(f"There is no configuration file {config}; configs/train_atlas9.toml is one to copy.")
        from astrogf.emulator.options import TrainOptions
        from astrogf.runs.outputs import check_output
        from astrogf.runtime import ready_to_compute

        TrainOptions.read(config)
        check_json(json)
        check_output(out, "folder")
        ready_to_compute()
        from astrogf.emulator.training import main

        answer(json, main(config, out))


@app.command("validate-emulator")
def validate_emulator(
    decks: Annotated[Path, typer.Option(help="Folder of ATLAS-9 or ATLAS-12 decks; gzipped and joined ones too.")],
    out: Annotated[Path, typer.Option(help="Folder for validation.json, index.html and the pictures.")],
    family: Annotated[str, typer.Option(help="Shipped emulator: atlas9 or atlas12.")] = "atlas9",
    weights: Annotated[Path | None, typer.Option(help="Weights that `astrogf train` wrote, instead.")] = None,
    others: Annotated[Path | None, typer.Option(help="Folder whose subfolders hold weights to compare with.")] = None,
    draws: Annotated[int, typer.Option(help="Random labels to test for monotone structures.")] = 10_000,
    json: Json = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure an emulator of model atmospheres against real decks.

    Example: `astrogf validate-emulator --decks ~/atlas12 --family atlas12 --out runs/validation`
    """
    with speaking(quiet, json), plain_errors(debug):
        check_json(json)
        from astrogf.validating.validation import validate

        answer(json, validate(decks, out, family, weights, others, count=draws))
