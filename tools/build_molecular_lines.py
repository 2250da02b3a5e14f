"""Build synthesis/data/lines_molecules.npz: molecular lines 4200-9200 A (vacuum) that matter in FGK stars.

Source: pymoog 0.0.3 (PyPI), files/linelist/vald/vald_3000_11000.list, an extract of VALD (Ryabchikova et al. 2015,
Phys. Scr. 90, 054005), in air: CH (Masseron et al. 2014), OH and C2 (Kurucz, Brooke et al. 2013), CN (Sneden et al.
2014), MgH, SiH (Kurucz), TiO (Plez 1998) as cited there. VALD's gf contain the terrestrial share of the isotopologue
(13CH is 1.95 dex weaker than 12CH): it is taken out here, and `isotopes.log_share` puts the star's own in.
Run: PYTHONPATH=. python tools/build_molecular_lines.py
"""

import numpy as np
from build_hband import columns, report, save
from moog_lists import known, read_moog, relevance
from sources import fetch

from astrogf.synthesis.lines.linelist import LineList

CUT = 1e-4  # of the continuum at line centre
COVER = (4200.0, 9200.0)
FIRST_TRANSITION = 1_000_000


def main() -> None:
    """Read, complete, keep what matters, write."""
    root = fetch("pymoog") / "pymoog" / "files" / "linelist" / "vald"
    table = read_moog(root / "vald_3000_11000.list", medium="air")
    inside = (table["wavelength"] > COVER[0]) & (table["wavelength"] < COVER[1])
    keep = inside & (table["z"] > 92) & known(table["z"], table["ion"])
    lines = columns({name: column[keep] for name, column in table.items()}, FIRST_TRANSITION)
    lines = LineList(**(lines._asdict() | {"loggf": lines.loggf - lines.log_fraction}))
    judged = LineList(**(lines._asdict() | {"log_fraction": np.maximum(lines.log_fraction, -1.0)}))
    chosen = lines.take(relevance(judged) > CUT)
    report(chosen, lines)
    save(chosen, "lines_molecules")


if __name__ == "__main__":
    main()
