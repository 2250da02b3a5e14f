"""The elements by name, for options too: this module does not import JAX."""

from functools import cache

from astrogf.synthesis.package_data import DATA

SYMBOLS = [
    "H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P",
    "S", "Cl", "Ar", "K", "Ca", "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn",
    "Ga", "Ge", "As", "Se", "Br", "Kr", "Rb", "Sr", "Y", "Zr", "Nb", "Mo", "Tc", "Ru", "Rh",
    "Pd", "Ag", "Cd", "In", "Sn", "Sb", "Te", "I", "Xe", "Cs", "Ba", "La", "Ce", "Pr", "Nd",
    "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu", "Hf", "Ta", "W", "Re",
    "Os", "Ir", "Pt", "Au", "Hg", "Tl", "Pb", "Bi", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Th",
    "Pa", "U",
]  # fmt: skip
"""Element symbols, `SYMBOLS[z - 1]`."""


@cache
def isotopes() -> frozenset[tuple[int, int]]:
    """(Z, mass number) of all isotopes that occur in nature (tools/build_isotopes.py)."""
    rows = (DATA / "isotopes.csv").read_text(encoding="utf-8").splitlines()[1:]
    return frozenset((int(z), int(mass)) for z, mass, _ in (row.split(",") for row in rows))


WITHOUT_SOLAR = ("Tc", "Pm", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Pa")
"""Elements of which the Sun has none: [X/Fe] means nothing."""


def check_abundance(name: str) -> None:
    """Raises ValueError (a sentence) unless `name` is an element or isotope ('13C') with an [X/Fe] of its own.

    H and Fe are what [X/Fe] is measured against; elements that the Sun has not got have none.
    """
    symbol = name.lstrip("0123456789")
    mass = name.removesuffix(symbol)
    if symbol not in SYMBOLS:
        near = next((s for s in SYMBOLS if s.lower() == symbol.lower()), None)
        meant = f"; did you mean {mass + near!r}?" if near else " such as 'Mg', or an isotope such as '13C'"
        raise ValueError(f"{name!r} is no element{meant}")
    if symbol in ("H", "Fe"):
        raise ValueError(f"{name!r} has no [X/Fe]: it is what the others are measured against")
    if symbol in WITHOUT_SOLAR:
        raise ValueError(f"{name!r} has no solar abundance, and so no [X/Fe]")
    if mass and (SYMBOLS.index(symbol) + 1, int(mass)) not in isotopes():
        raise ValueError(f"{name!r} is no isotope of {symbol} that occurs in nature")
