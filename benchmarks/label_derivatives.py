"""How well the emulator knows what a label does to the spectrum: differences of spectra between neighbouring ATLAS-9
decks, against the same differences with emulated structures.

    python benchmarks/label_derivatives.py --json OUT [--families atlas9 atlas12] [--windows blue H_alpha H_band]

From each of BASES one label at a time is moved by a step of the grid. Both spectra of a pair are our synthesis (the
shipped lines, microturbulence 1.5 km/s), once with the two real decks and once with the structures that the emulator
has at their labels and depths: what differs is the mean of the emulator's derivative over the step. The error is the
rms of the difference of the two, relative to the rms of the real one, over the window and at the resolving powers of
RESOLUTION. The decks come from a pinned package (tools/sources.py). Windows that OUT has already
are not computed again.
"""

import argparse
import json
import sys
from itertools import product
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from astrogf.runtime import use_all_cores, use_compilation_cache

use_all_cores()
use_compilation_cache()

from astrogf import emulator  # noqa: E402
from astrogf.base.constants import C_KMS, FWHM_PER_SIGMA  # noqa: E402
from astrogf.emulator.decks import Deck, read_decks  # noqa: E402
from astrogf.synthesis.lines.shipped import load_hband_lines  # noqa: E402
from astrogf.synthesis.observed.broadening import broaden  # noqa: E402
from astrogf.synthesis.synthesize import prepare, shipped_lines  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
from build_atlas9 import text  # noqa: E402
from structure_spectra import cut, grid  # noqa: E402

BASES = (
    (4250.0, 1.5, 0.0, 0.0),
    (4750.0, 2.5, -0.5, 0.0),
    (5000.0, 4.5, 0.0, 0.0),
    (5750.0, 4.5, 0.0, 0.0),
    (5750.0, 4.0, -1.5, 0.0),
    (6500.0, 4.0, 0.0, 0.0),
)
STEPS = {"teff": (250.0, 0.0, 0.0, 0.0), "logg": (0.0, 0.5, 0.0, 0.0), "feh": (0.0, 0.0, 0.5, 0.0),
         "alpha": (0.0, 0.0, 0.0, 0.4)}  # fmt: skip
WINDOWS = {"blue": (4800.0, 5400.0), "H_alpha": (6500.0, 6650.0), "H_band": (15100.0, 17000.0)}  # vacuum Angstrom
KMS, VMIC = 1.0, 1.5
RESOLUTION = {"full": None, "2000": 2000.0}
EDGE = 1000.0
"""km/s left out at both ends, which the instrument's wings reach."""


def neighbours() -> dict[tuple[float, ...], Deck]:
    """The decks of BASES and of what is one step away, by their labels. Raises KeyError where the grid lacks one."""
    decks, _ = read_decks(text(), "kurucz_data.txt.gz", 8000.0)
    found = {tuple(float(x) for x in deck.labels): deck for deck in decks}
    wanted = (tuple(np.add(base, step).tolist()) for base in BASES for step in ((0.0,) * 4, *STEPS.values()))
    return {key: found[key] for key in wanted}


def spectra(decks: list[Deck], window: str, families: list[str], console: Console) -> dict[str, list[np.ndarray]]:
    """Normalised fluxes of the decks and of each family's structures at their labels, at full resolution."""
    start, stop = WINDOWS[window]
    wavelength = grid(start, stop, KMS)
    ends = wavelength[0], wavelength[-1]
    lines = load_hband_lines(ends[0] - 20.0, 17005.0) if window == "H_band" else shipped_lines(*ends)
    models: list[Any] = [*decks]
    synthesis = prepare(models, lines, wavelength, vmic=VMIC)
    networks = {family: eqx.filter_jit(emulator.load(family)) for family in families}
    out: dict[str, list[np.ndarray]] = {name: [] for name in ("decks", *families)}
    for deck in track(decks, description=f"spectra, {window}", console=console, transient=True):
        real = cut(deck.structure)
        feh, alpha = (jnp.asarray(x) for x in deck.labels[2:4])
        for name in out:
            one = real if name == "decks" else networks[name](jnp.asarray(deck.labels), real.tau)
            out[name].append(np.asarray(synthesis(one, feh=feh, alpha=alpha, vmic=jnp.asarray(VMIC)).normalised))
    return out


def seen(flux: np.ndarray, resolution: float | None) -> np.ndarray:
    """A spectrum at a resolving power, without the ends."""
    if resolution is not None:
        sigma = C_KMS / resolution / FWHM_PER_SIGMA
        flux = np.asarray(broaden(jnp.asarray(flux), KMS, sigma=sigma))
    edge = int(EDGE / KMS)
    return flux[edge:-edge]


def compare(
    decks: dict[tuple[float, ...], Deck], window: str, families: list[str], console: Console
) -> list[dict[str, float | str | list[float]]]:
    """Of every base, label, family and resolving power the emulator's error, relative to the decks' difference."""
    keys = sorted(decks)
    flux = spectra([decks[k] for k in keys], window, families, console)
    rows: list[dict[str, float | str | list[float]]] = []
    for (base, (label, step)), (sight, resolution) in product(product(BASES, STEPS.items()), RESOLUTION.items()):
        other = tuple(np.add(base, step).tolist())
        apart = {name: seen(one[keys.index(other)] - one[keys.index(base)], resolution) for name, one in flux.items()}
        size = float(np.sqrt(np.mean(apart["decks"] ** 2)))
        for family in families:
            off = float(np.sqrt(np.mean((apart[family] - apart["decks"]) ** 2)))
            along = float(np.sum(apart[family] * apart["decks"]) / np.sum(apart["decks"] ** 2))
            rows.append({"window": window, "base": list(base), "label": label, "family": family, "resolution": sight,
                         "difference_rms": size, "error_rms": off, "relative": off / size, "scale": along})  # fmt: skip
    return rows


def show(rows: list[dict], console: Console) -> None:
    """By family, window and label: the relative errors of the bases."""
    table = Table(title="error of a label's effect on the normalised flux, per cent of its rms")
    for head in ("family", "window", "resolving power", "label", "median", "largest", "at", "scale"):
        table.add_column(head)
    groups = sorted({(r["family"], r["window"], r["resolution"], r["label"]) for r in rows})
    for group in groups:
        mine = [r for r in rows if (r["family"], r["window"], r["resolution"], r["label"]) == group]
        worst = max(mine, key=lambda r: r["relative"])
        errors = [100 * r["relative"] for r in mine]
        scale = np.median([r["scale"] for r in mine])
        at = " ".join(f"{x:g}" for x in worst["base"])
        table.add_row(*group, f"{np.median(errors):.2f}", f"{max(errors):.2f}", at, f"{scale:.4f}")
    console.print(table)


def main() -> None:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="results; windows found there are not computed again")
    parser.add_argument("--families", nargs="+", default=["atlas9", "atlas12"])
    parser.add_argument("--windows", nargs="+", default=list(WINDOWS), choices=list(WINDOWS))
    options = parser.parse_args()
    console = Console(width=130)
    known = json.loads(options.json.read_text()) if options.json.exists() else {}
    decks = neighbours()
    for window in options.windows:
        if window not in known:
            known[window] = compare(decks, window, options.families, console)
            options.json.write_text(json.dumps(known, indent=1) + "\n")
            jax.clear_caches()  # kept, the programs of many windows exhaust the maps that a process may have
    show([row for window in known.values() for row in window], console)


if __name__ == "__main__":
    main()
