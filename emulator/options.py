"""What the training of an emulator can be told: the keys of a training file, with their defaults and meaning."""

import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, ValidationError

from astrogf.base.errors import AstrogfError
from astrogf.base.options import Count, NotNegative, Positive, Section, Seed, complaint

Equilibrium = Literal["integral", "loss", "none"]
Merge = Literal["product", "concat"]
DepthKind = Literal["modes", "nodes", "network"]
Reference = Literal["grey", "none"]
Temperature = Literal["inverse", "linear"]
Optimiser = Literal["muon", "adamw"]
Share = Annotated[float, Field(ge=0, lt=1)]


DATA = Path(__file__).parent / "data"
"""Shipped weights and their cards."""


class Coverage(NamedTuple):
    """The box of an emulator's labels, (lowest, highest) of each, and the log10 Rosseland optical depths it has."""

    labels: dict[str, tuple[float, float]]
    log_tau: tuple[float, float]


@cache
def coverage(family: str = "atlas9") -> Coverage:
    """What a shipped emulator covers, by its card; teff in K, logg, feh and alpha in dex."""
    card = json.loads((DATA / f"{family}.json").read_text(encoding="utf-8"))
    box = zip(card["hull"]["low"], card["hull"]["high"], strict=True)
    labels = dict(zip(("teff", "logg", "feh", "alpha"), box, strict=True))
    return Coverage(labels, (card["log_tau"][0], card["log_tau"][1]))


class TrainOptions(Section):
    """One training run; the card of the weights records all of it, seeds included."""

    data: str = Field(
        ".cache/atlas9.npz", description="training set, built by tools/build_atlas9.py or build_atlas12.py"
    )
    source: str = Field("", description="what the training set is, in words, for the card")
    start: str = Field("", description="weights to go on from; their tables (means, modes) stay")
    family: str = Field("atlas9", description="name of the emulator")
    equilibrium: Equilibrium = Field(
        "integral", description="RHOX and P as integrals, or as outputs with (loss) or without (none) the equations"
    )
    merge: Merge = Field("product", description="label code and depth code merge by a product or by a network on both")
    width: Count = Field(256, description="width of the encoder of the labels")
    layers: Count = Field(3, description="its layers")
    rank: Count = Field(48, description="length of a code")
    depth_encoder: DepthKind = Field("modes", description="principal components, a row a node, or a network on log tau")
    reference: Reference = Field("grey", description="T relative to Teff, P to gravity, ACCRAD to Teff^4; or nothing")
    temperature: Temperature = Field("inverse", description="5040/Teff as input, or Teff/5040 (linear)")
    optimiser: Optimiser = Field("muon", description="muon or adamw")
    steps: Count = Field(20000, description="most steps")
    batch: Count = Field(256, description="models a step")
    learning_rate: Positive = Field(2e-3, description="at its highest")
    weight_decay: NotNegative = Field(1e-4, description="decay of the weights")
    average: Share = Field(0.999, description="decay of the running mean of the weights")
    physics_weight: NotNegative = Field(0.0, description="weight of the equations of equilibrium in the loss")
    sobolev_weight: NotNegative = Field(0.0, description="weight of the differences between neighbouring nodes")
    state_weight: NotNegative = Field(1.0, description="XNE and ABROSS: their misses count this many times as much")
    accrad_weight: NotNegative = Field(1.0, description="ACCRAD: likewise")
    edge_weight: NotNegative = Field(1.0, description="what a layer outside log tau -5 to 1.5 counts in the loss")
    knee: Positive = Field(4.0, description="tolerances from which on the loss grows linearly, not as the square")
    polish_rounds: Annotated[int, Field(ge=0)] = Field(
        0, description="rounds of robust least squares for the last layer of T, XNE, ABROSS and ACCRAD"
    )
    held_out: Share = Field(0.1, description="share of the nodes kept for the card's errors")
    validation: Share = Field(0.03, description="share of the nodes kept for stopping")
    seed: Seed = Field(1, description="seed of the first weights and of the batches")
    seed_split: Seed = Field(2025, description="seed of both shares of nodes")
    check_every: Count = Field(1000, description="steps between looks at the validation nodes")
    patience: Count = Field(20, description="looks without a gain that end the training")
    max_seconds: Positive = Field(3600.0, description="longest training")

    @classmethod
    def read(cls, path: Path, changes: dict[str, Any] | None = None) -> Self:
        """From TOML, some keys changed. Raises AstrogfError naming a key that is unknown or of a wrong type."""
        try:
            return cls(**(tomllib.loads(path.read_text(encoding="utf-8-sig")) | (changes or {})))
        except FileNotFoundError:
            raise AstrogfError(
                f"There is no configuration file {path}; configs/train_atlas9.toml is one to copy."
            ) from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise AstrogfError(f"{path} is not valid TOML: {error}") from error
        except ValidationError as error:
            first = dict(error.errors()[0])
            raise AstrogfError(f"{path}: {complaint(first, cls)}") from error
