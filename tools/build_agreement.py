"""Build synthesis/data/agreement.npz: which log gf of the shipped optical atoms an independent list agrees with.

Sources: synthesis/data/lines_ges.npz (tools/build_lines.py); pymoog 0.0.3 (PyPI), vald_3000_11000.list in
files/linelist/vald, an extraction of VALD (Ryabchikova et al. 2015, Phys. Scr. 90, 054005).
Two values that are the same number are of one source and say nothing. Two that differ and still agree to AGREED dex
were measured or computed twice; two that differ by more than DISPUTED show that at least one of them is wrong. Compared
are whole transitions, hyperfine and isotopic components added up.
Run: python tools/build_agreement.py
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from moog_lists import read_moog
from sources import fetch

from astrogf.synthesis.lines.agreement import NAMES
from astrogf.synthesis.lines.identity import OTHER_LIST, same_lines
from astrogf.synthesis.lines.shipped import OPTICAL, load_atomic_lines

OUT = Path(__file__).resolve().parents[1] / "synthesis" / "data" / "agreement.npz"
SAME, AGREED, DISPUTED = 0.0015, 0.03, 0.1
"""dex: differences below, which are rounding; below which values agree; above which they do not."""
APART, LEVEL = 0.06, 0.005
"""Components of one transition in a list without numbers: Angstrom to their neighbour, eV between lower levels."""


class Totals(NamedTuple):
    """Transitions with the log of the sum of their components' gf, isotopes by their shares."""

    wavelength: np.ndarray
    code: np.ndarray
    elow: np.ndarray
    loggf: np.ndarray


def added(group: np.ndarray, loggf: np.ndarray) -> np.ndarray:
    """log of the sum of gf in each line's group, groups counted from 0."""
    return np.log10(np.bincount(group, 10.0**loggf))[group]


def whole(wavelength: np.ndarray, code: np.ndarray, elow: np.ndarray, loggf: np.ndarray) -> Totals:
    """The totals of a list that does not number its transitions."""
    order = np.lexsort((wavelength, np.round(elow, 2), code))
    wavelength, code, elow, loggf = (x[order] for x in (wavelength, code, elow, loggf))
    follows = (np.diff(wavelength) < APART) & (np.diff(code) == 0) & (np.abs(np.diff(elow)) < LEVEL)
    return Totals(wavelength, code, elow, added(np.append(0, np.cumsum(~follows)), loggf))


def main() -> None:
    """Read both lists, compare, write one class a transition."""
    ours = load_atomic_lines(*OPTICAL)
    number, of = np.unique(ours.transition, return_inverse=True)
    mine = Totals(ours.wavelength, ours.code, ours.elow, added(of, ours.loggf + ours.log_fraction))
    table = read_moog(fetch("pymoog") / "pymoog" / "files" / "linelist" / "vald" / "vald_3000_11000.list", "air")
    atoms = table["z"] <= 92
    theirs = whole(
        *(x[atoms] for x in (table["wavelength"], 10 * table["z"] + table["ion"], table["elow"], table["loggf"]))
    )
    row = same_lines(mine, theirs, OTHER_LIST)
    # of the strongest component, which is the one most surely found
    strongest = np.lexsort((ours.loggf, of))[np.append(np.flatnonzero(np.diff(np.sort(of))), len(of) - 1)]
    row, loggf = row[strongest], mine.loggf[strongest]
    off = np.where(row >= 0, np.abs(loggf - theirs.loggf[row]), np.nan)
    kind = np.zeros(len(number), np.int8)
    kind[(off > SAME) & (off < AGREED)] = NAMES.index("agreed")
    kind[off > DISPUTED] = NAMES.index("disputed")
    np.savez_compressed(OUT, transition=number.astype(np.int32), kind=kind)
    counts = ", ".join(f"{int(np.sum(kind == k))} {name}" for k, name in enumerate(NAMES))
    print(f"{OUT.name}: {len(number)} transitions, {int(np.sum(row >= 0))} in both lists: {counts}")


if __name__ == "__main__":
    main()
