"""Train every variant that an ablation file lists, on the same nodes and steps, and print one table.

    python tools/ablate_emulator.py configs/ablate_atlas9.toml --out runs/ablation

The file holds the keys of a training run (configs/train_atlas9.toml) and a table [variant.NAME] of changes for each
variant. Weights stay in OUT/NAME, so that `astrogf validate-emulator --others OUT` compares them; a variant whose card
is there is not trained again. The table goes to OUT/ablation.md.
"""

import argparse
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from astrogf.emulator import model, validation
from astrogf.emulator.options import TrainOptions
from astrogf.emulator.training import Nodes, train

COLUMNS = ("t", "rhox", "p", "xne", "abross")


def variants(path: Path) -> dict[str, TrainOptions]:
    """Name to configuration. Raises ValueError for a key that no training run has."""
    given = tomllib.loads(path.read_text())
    changes = given.pop("variant", {})
    if not changes:
        raise ValueError(f"{path}: no table [variant.NAME]; each variant to train needs one")
    known = set(TrainOptions.model_fields)
    for name, table in {"the file": given, **changes}.items():
        unknown = set(table) - known
        if unknown:
            raise ValueError(f"{path}: {name} has the unknown key {min(unknown)!r}")
    return {name: TrainOptions(**(given | table)) for name, table in changes.items()}


def run(path: Path, out: Path) -> str:
    """Train what is missing; the table as markdown."""
    rows = []
    for name, config in variants(path).items():
        card_path = out / name / f"{config.family}.json"
        if not card_path.exists():
            print(f"== {name}", flush=True)
            train(config, out / name)
        rows.append(row(name, config, card_path.with_suffix(".eqx"), json.loads(card_path.read_text())))
    head = ["variant", "T (%)", "RHOX", "P", "XNE", "ABROSS", "residual", "dT/dTeff", "dT/dlogg", "steps", "s"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(r) + " |" for r in rows]
    return "\n".join(lines) + "\n"


def row(name: str, config: TrainOptions, weights: Path, card: dict[str, Any]) -> list[str]:
    """One line: held-out medians, hydrostatic residual, rms of two label derivatives against neighbouring nodes."""
    nodes = Nodes.read(Path(config.data))
    layers = (nodes.log_tau >= validation.LAYERS[0] - 1e-6) & (nodes.log_tau <= validation.LAYERS[-1] + 1e-6)
    fit, stop, _ = nodes.split(config.held_out, config.validation, config.seed_split)
    unseen = np.ones(len(nodes.labels), bool)
    unseen[np.concatenate([fit, stop])] = False
    sample = validation.Sample(nodes.labels, nodes.ln_values[..., layers], unseen, np.zeros(0))
    emulator = model.load(config.family, weights)
    found = validation.evaluate(emulator, sample.labels)
    slopes = validation.derivatives(found, sample, np.ones(len(unseen), bool))
    median = card["errors"]
    residual = card["hydrostatic_residual_dex"]["median"]
    return [
        name,
        f"{median['t']['median']:.3f}",
        *(f"{median[q]['median']:.4f}" for q in COLUMNS[1:]),
        "undefined" if residual is None else f"{residual:.5f}",
        *(f"{100 * slopes[label]['t']['unseen']:.1f} %" for label in ("teff", "logg")),
        str(card["steps"]),
        f"{card['seconds']:.0f}",
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    options = parser.parse_args()
    table = run(options.config, options.out)
    (options.out / "ablation.md").write_text(table)
    print(table)
