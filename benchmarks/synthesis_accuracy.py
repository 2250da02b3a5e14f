"""How far spectra and derivatives are from a reference made by Turbospectrum, star by star and window by window.

Run: python benchmarks/synthesis_accuracy.py --reference DIR --json OUT [--stars sun ...] [--windows 5350 ...]. DIR is
laid out as the project's own reference: stars/NAME.npz (T, P, RHOX in cons_*, abundances, microturbulence),
spectra/NAME.npz (wl_W, B_norm_W, B_cont_W and, where there are, Blte_*, BnoH_*) and derivatives/NAME_*.npz. Everything
about a star is read from its files. Electron densities are solved from (T, P) with our own equation of state.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from astrogf.runtime import use_all_cores, use_compilation_cache

use_all_cores()
use_compilation_cache()

from astrogf.base.air import air_to_vacuum  # noqa: E402
from astrogf.emulator.decks import own_log_tau  # noqa: E402
from astrogf.emulator.structure import Structure  # noqa: E402
from astrogf.synthesis.gas.eos import equation_of_state, solve_xne  # noqa: E402
from astrogf.synthesis.lines.linelist import LineList  # noqa: E402
from astrogf.synthesis.lines.shipped import load_atomic_lines  # noqa: E402
from astrogf.synthesis.lines.strength import line_extent  # noqa: E402
from astrogf.synthesis.spectrum import Physics, emerge  # noqa: E402
from astrogf.synthesis.window import Window  # noqa: E402

MARGIN = 2.0
"""The reference has exactly the lines within this many Angstrom (air) of its window."""
CUT = 1e-4
ANGLES = 6
H_ALPHA = 6562.80
CORE = 1.5
"""Angstrom from the centre of H alpha where its wings begin."""
MASS_UNIT = 1.66054 / 1.6735
"""Atomic mass unit over the mass of a hydrogen atom, which the reference takes in its stead when it makes density of
nuclei: its opacities per gram are this much of the right ones. Only `continuum_as_reference` is computed so."""
FREE_OF_LINES = 0.0005
"""A point of H alpha's wings counts where metal lines take less than this from the flux."""


@dataclass
class Star:
    """A star of the reference: structure arrays, n(Z)/n(H), vmic (km/s, one a layer)."""

    name: str
    structure: Structure
    fractions: np.ndarray
    vmic: np.ndarray

    def state(self, parameters=(0.0, 0.0)):
        """Structure, gas, vmic for shifts of [M/H] (all elements from lithium on) and of vmic; differentiable."""
        return _state(self.structure, self.fractions, self.vmic, jnp.asarray(parameters))


@jax.jit
def _state(structure, fractions, vmic, parameters):
    fractions = fractions * jnp.where(jnp.arange(1, 93) > 2, 10.0 ** parameters[0], 1.0)
    t, p = structure.t, structure.p
    gas = equation_of_state(t, p, solve_xne(t, p, fractions), fractions)
    return structure, gas, vmic + parameters[1]


def read_star(path: Path) -> Star:
    """A star from its file. Raises KeyError, naming the array, where one is missing."""
    with np.load(path) as file:
        column = {k: np.asarray(file[f"cons_{k.upper()}"], float) for k in ("rhox", "t", "p", "xne")}
        # Where the file has no opacity of its own, any scale does: only kappa drhox counts.
        column["abross"] = np.asarray(file["cons_ABROSS"] if "cons_ABROSS" in file else np.ones_like(column["t"]))
        column["accrad"] = np.zeros_like(column["t"])
        fractions = np.zeros(92)
        fractions[0] = 1.0
        fractions[file["abund_Z"] - 1] = 10.0 ** (file["abund_logeps"] - 12.0)
        if "tsB_xi" in file:
            vmic = file["tsB_xi"] * 1e-5
        else:
            vmic = np.full(len(column["t"]), float(json.loads(str(file["meta"]))["vmic"]))
    tau = 10.0 ** own_log_tau(column["rhox"], column["abross"])
    structure = Structure(tau=jnp.asarray(tau), **{k: jnp.asarray(v) for k, v in column.items()})
    return Star(path.stem, structure, fractions, vmic)


def lines_of(air: np.ndarray) -> LineList:
    """The shipped lines that the reference has for a window. Raises ValueError where the list does not reach."""
    edges = air_to_vacuum(np.array([air[0] - MARGIN - 5e-4, air[-1] + MARGIN + 5e-4]))
    return load_atomic_lines(*edges)


def prepare(star: Star, lines: LineList, wavelength: np.ndarray, hydrogen: bool = True, n_free: int = 0) -> Window:
    """Our window on the reference's own wavelengths (vacuum), with the lines that reach the reference's cut."""
    state = star.state()
    extent = line_extent(lines, [(state[1], state[2], jnp.ones(len(star.vmic), bool))], line_cut=CUT)
    keep = extent.strength > CUT
    window = Window.build(
        wavelength,
        lines.take(keep),
        extent.take(keep),
        n_free=n_free,
        angles=ANGLES,
        hydrogen=hydrogen,
        spare=True,
    )
    return window if n_free == 0 else window.with_free(np.flatnonzero(keep))


def synthesise(star: Star, window: Window, scattering: bool = False, as_reference: bool = False):
    """Flux, continuum flux, and the flux with hydrogen as the only line absorber, erg cm^-2 s^-1 A^-1.

    `as_reference` gives the continuum with the reference's mass unit (the other two are then meaningless).
    """
    state = star.state()
    layers, physics = window.layered(state), Physics(scattering=scattering)
    kappa = window.linear(layers.kappa)
    if layers.hydrogen is not None:
        kappa = kappa + window.cubic(layers.hydrogen)
    whole = window.opacity(layers, jnp.zeros(window.n_free))
    if as_reference:
        layers = layers._replace(kappa=layers.kappa * MASS_UNIT, scattering=layers.scattering * MASS_UNIT)
    flux, continuum = emerge(window.linear, ANGLES, physics, state, layers, whole)
    hydrogen_only, _ = emerge(window.linear, ANGLES, physics, state, layers, kappa)
    return np.asarray(flux), np.asarray(continuum), np.asarray(hydrogen_only)


def figures(difference: np.ndarray) -> dict[str, float]:
    """Median, 99th percentile and maximum of |difference|."""
    size = np.abs(difference)
    return {"median": float(np.median(size)), "p99": float(np.percentile(size, 99)), "max": float(size.max())}


def compare(star: Star, spectra, window_name: str, scattering: bool) -> dict:
    """Figures of one star and window. Raises ValueError where the line list does not reach."""
    air = spectra[f"wl_{window_name}"]
    wavelength, lines = air_to_vacuum(air), lines_of(air)
    window = prepare(star, lines, wavelength)
    flux, level, hydrogen_only = synthesise(star, window)
    result: dict = {"lines": window.n_line}
    kinds = {"B": "B", "Blte": "Blte", "BnoH": "BnoH"}
    for kind in kinds:
        if f"{kind}_norm_{window_name}" not in spectra:
            continue
        ours = flux / level, level
        if kind == "B" and scattering:
            scattered = synthesise(star, window, scattering=True)
            ours = scattered[0] / scattered[1], scattered[1]
        if kind == "BnoH":
            bare = synthesise(star, prepare(star, lines, wavelength, hydrogen=False), scattering)
            ours = bare[0] / bare[1], bare[1]
        difference = ours[0] - spectra[f"{kind}_norm_{window_name}"]
        result[kind] = figures(difference)
        result[kind]["at"] = float(air[np.argmax(np.abs(difference))])
        if f"{kind}_cont_{window_name}" in spectra:
            ratio = ours[1] / spectra[f"{kind}_cont_{window_name}"]
            result[kind]["continuum"] = {
                "median": float(np.median(ratio)), "max_deviation": float(np.abs(ratio - 1).max())
            }  # fmt: skip
            if kind == "Blte":
                ratio = synthesise(star, window, as_reference=True)[1] / spectra[f"Blte_cont_{window_name}"]
                result[kind]["continuum_as_reference"] = {
                    "median": float(np.median(ratio)), "max_deviation": float(np.abs(ratio - 1).max())
                }  # fmt: skip
        distance = np.abs(air - H_ALPHA)
        if kind != "BnoH" and distance.min() < CORE:
            wings = (distance > CORE) & (hydrogen_only - flux < FREE_OF_LINES * level)
            result[kind]["halpha_wings"] = float(np.abs(difference[wings]).max())
            result[kind]["halpha_core"] = float(np.abs(difference[distance <= CORE]).max())
    return result


def compare_derivatives(star: Star, path: Path) -> dict:
    """Largest error of each derivative of the normalised flux, relative to its peak."""
    with np.load(path) as file:
        air = file["wl"]
        lines = lines_of(air)
        window = prepare(star, lines, air_to_vacuum(air), n_free=len(lines))
        made = window.linearised(star.state, jnp.zeros(2), jnp.zeros(window.n_free))
        size = window.size
        names = {"dF_dfeh_consPe": np.asarray(made.by_parameter[:, 0]), "dF_dvmic": np.asarray(made.by_parameter[:, 1])}
        for key in file.files:
            if key.startswith("dF_dloggf_"):
                names[key] = by_one_line(window, made, *key.split("_")[2:], size)
        result = {}
        for key, ours in names.items():
            if key in file:
                error = np.abs(ours - file[key]).max() / np.abs(file[key]).max()
                result[key] = float(error)
        return result


def by_one_line(window: Window, made, z: str, ion: str, wavelength: str, size: int) -> np.ndarray:
    """The derivative by log gf of the one line of a species at a wavelength (air), on the window's grid."""
    target, total = air_to_vacuum(np.array([float(wavelength)]))[0], np.zeros(size)
    row = 92 * 3 if int(z) > 92 else (int(z) - 1) * 3 + int(ion) - 1
    numbers: set[int] = set()
    for cores in window.pieces.cores:
        species, at, number = (np.asarray(x) for x in (cores.lines.species, cores.lines.wavelength, cores.lines.free))
        numbers |= set(number[(species == row) & (np.abs(at - target) < 0.01)].tolist())
    for number in numbers - {window.n_free}:
        total += np.asarray(made.by_correction(number))
    return total


def cell(value: float | None, bar: float, form: str = "{:.4f}") -> str:
    """A figure, red where it is beyond its bar."""
    if value is None:
        return ""
    text = form.format(value)
    return text if abs(value) <= bar else f"[red]{text}[/red]"


def show(result: dict, console: Console) -> None:
    """The table of all stars and windows, and the derivatives."""
    for kind in ("B", "Blte", "BnoH"):
        table = Table(title=f"normalised flux and continuum against {kind}")
        heads = "star,window,median,99%,max,at,continuum,max dev,same unit,Ha wings,Ha core"
        for head in heads.split(","):
            table.add_column(head)
        for star, windows in result["stars"].items():
            for name, entry in windows.items():
                if kind not in entry:
                    continue
                e = entry[kind]
                level = e.get("continuum", {})
                table.add_row(
                    star, name, cell(e["median"], 1e-3, "{:.5f}"), cell(e["p99"], 0.01), cell(e["max"], 0.03),
                    f"{e['at']:.2f}", f"{level['median']:.4f}" if level else "",
                    cell(level.get("max_deviation"), 0.005),
                    cell(e.get("continuum_as_reference", {}).get("max_deviation"), 0.005),
                    cell(e.get("halpha_wings"), 0.005),
                    f"{e['halpha_core']:.4f}" if "halpha_core" in e else "",
                )  # fmt: skip
        if table.row_count:
            console.print(table)
    table = Table(title="derivatives: largest error over the peak")
    for head in ("star", "derivative", "error"):
        table.add_column(head)
    for star, entry in result["derivatives"].items():
        for name, error in entry.items():
            table.add_row(star, name, cell(error, 0.02 if "loggf" in name else 0.03))
    if table.row_count:
        console.print(table)


def write(result: dict, path: Path | None) -> None:
    """The figures so far, as JSON."""
    if path:
        path.write_text(json.dumps(result, indent=1))


def main() -> None:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reference", type=Path, required=True, help="directory with stars/ and spectra/")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--stars", nargs="*", help="names of stars (default: all that have both files)")
    parser.add_argument("--windows", nargs="*", help="windows by their key, such as 5350 (default: all)")
    parser.add_argument("--no-scattering", action="store_true", help="S = B on our side even against B, which scatters")
    parser.add_argument("--no-derivatives", action="store_true")
    options = parser.parse_args()
    console = Console(width=140)
    folder = options.reference
    if not (folder / "stars").is_dir() or not (folder / "spectra").is_dir():
        parser.error(f"{folder} has no stars/ and spectra/; give a directory laid out as the reference")
    names = sorted(p.stem for p in (folder / "stars").glob("*.npz") if (folder / "spectra" / p.name).exists())
    wrong = [s for s in options.stars or [] if s not in names]
    if wrong:
        parser.error(f"no such star: {', '.join(wrong)}; there are {', '.join(names)}")
    result: dict = {"reference": str(folder), "stars": {}, "derivatives": {}, "skipped": []}
    for name in options.stars or names:
        star = read_star(folder / "stars" / f"{name}.npz")
        result["stars"][name] = {}
        with np.load(folder / "spectra" / f"{name}.npz") as spectra:
            keys = sorted((k[3:] for k in spectra.files if k.startswith("wl_")), key=float)
            for key in keys:
                if options.windows and key not in options.windows:
                    continue
                began = time.perf_counter()
                try:
                    entry = compare(star, spectra, key, not options.no_scattering)
                except ValueError as error:
                    result["skipped"].append(f"{name} {key}: {error}")
                    console.print(f"{name} {key} skipped: {error}")
                    continue
                result["stars"][name][key] = entry
                write(result, options.json)
                console.print(f"{name} {key}: {entry['lines']} lines, {time.perf_counter() - began:.0f} s")
        for path in sorted((folder / "derivatives").glob(f"{name}_*.npz")):
            if not options.no_derivatives:
                result["derivatives"][path.stem] = compare_derivatives(star, path)
        jax.clear_caches()  # kept, the programs of many stars exhaust the maps that a process may have
    show(result, console)
    write(result, options.json)


if __name__ == "__main__":
    main()
