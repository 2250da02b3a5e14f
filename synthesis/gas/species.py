"""Names and codes of the species that absorb in lines: atoms, ions and molecules.

A species is a pair (z, ion). Atoms: z the atomic number, ion 1 neutral, 2 singly, 3 doubly ionised. Molecules: ion 1,
z the atomic numbers of the constituents in rising order, two digits each, as MOOG writes them: 106 CH, 607 CN,
606 C2, 822 TiO, 10108 H2O. An isotope is the mass numbers of the constituents in the same order, three digits each
(12014 is 12C14N, 1001016 is H2-16O), and 0 the natural mixture.
"""

import re

import numpy as np
from jaxtyping import Float, Int

from astrogf.base.errors import AstrogfError
from astrogf.synthesis.gas.abundances import ATOMIC_WEIGHTS, SYMBOLS
from astrogf.synthesis.gas.partition import MOLECULE_ATOMS, MOLECULES

STAGES = ("I", "II", "III")
N_ATOMIC = 92 * len(STAGES)
"""Rows of atomic species in tables by species; molecules follow in the order of `partition.MOLECULES`."""
_NUMBER = {symbol: z for z, symbol in enumerate(SYMBOLS, start=1)}


def _code(atoms: np.ndarray) -> int:
    numbers = [z for z, count in enumerate(atoms.astype(int), start=1) for _ in range(count)]
    return int("".join(f"{z:02d}" for z in numbers))


MOLECULE_CODES = np.array([_code(atoms) for atoms in MOLECULE_ATOMS])
"""z of every molecule of `partition.MOLECULES`."""
_ROW = {int(code): N_ATOMIC + i for i, code in enumerate(MOLECULE_CODES)}


def constituents(z: int) -> tuple[int, ...]:
    """Atomic numbers in a species, rising: (6, 7) for CN, (26,) for iron."""
    digits = f"{z:d}".zfill(len(f"{z:d}") + len(f"{z:d}") % 2)
    return (z,) if z < 100 else tuple(int(digits[i : i + 2]) for i in range(0, len(digits), 2))


def species_row(z: Int[np.ndarray, " line"], ion: Int[np.ndarray, " line"]) -> Int[np.ndarray, " line"]:
    """Row of every species in `lines.Profile.n_over_u`. Raises ValueError for a molecule that the model lacks."""
    z, ion = np.asarray(z, int), np.asarray(ion, int)
    row = (z - 1) * len(STAGES) + ion - 1
    for code in np.unique(z[z > 92]):
        if int(code) not in _ROW:
            known = ", ".join(MOLECULES)
            raise AstrogfError(f"species {code}: no such molecule in the equation of state; it knows {known}")
        row = np.where(z == code, _ROW[int(code)], row)
    return row


def species_mass(z: Int[np.ndarray, " line"]) -> Float[np.ndarray, " line"]:
    """Mass of a species in atomic mass units."""
    codes, inverse = np.unique(np.asarray(z, int), return_inverse=True)
    masses = [sum(ATOMIC_WEIGHTS[n - 1] for n in constituents(int(code))) for code in codes]
    return np.array(masses, float)[inverse] if len(codes) else np.zeros(0)


def species_name(z: int, ion: int = 1) -> str:
    """'Fe I', 'CN'."""
    if z <= 92:
        return f"{SYMBOLS[z - 1]} {STAGES[ion - 1]}"
    if z in _ROW:
        return MOLECULES[_ROW[z] - N_ATOMIC]
    return "".join(SYMBOLS[n - 1] for n in constituents(z))


def parse_species(text: str) -> tuple[int, int]:
    """(z, ion) from 'Fe I', 'Fe 1', 'Fe', 'FeI', '26.00', '26.1', 'CN', '607.0'.

    A number counts ions from 0 after the point (MOOG, Kurucz). Raises ValueError, saying what was expected.
    """
    name = text.strip().strip("'\"").strip()
    if re.fullmatch(r"\d+(\.\d*)?", name):
        whole, _, charge = name.partition(".")
        z, ion = int(whole), int((charge or "0")[0]) + 1
    elif name in MOLECULES:
        z, ion = int(MOLECULE_CODES[MOLECULES.index(name)]), 1
    else:
        match = re.fullmatch(r"([A-Z][a-z]?)\s*(III|II|I|[123])?", name)
        if match is None or match[1] not in _NUMBER:
            raise AstrogfError(f"species {text!r}: expected a name such as 'Fe I' or 'CN', or a code as 26.0 or 607.0")
        stage = match[2] or "I"
        z, ion = _NUMBER[match[1]], int(stage) if stage.isdigit() else STAGES.index(stage) + 1
    if not (1 <= z <= 92 and 1 <= ion <= 3) and z < 100:
        raise AstrogfError(f"species {text!r}: elements 1-92 in stages I-III are known")
    return z, ion
