"""What the numbers of a list can be, and what is added to log gf for isotopes."""

import numpy as np
from jaxtyping import Bool, Float

from astrogf.base.errors import AstrogfError
from astrogf.synthesis.gas.partition import IONISATION_ENERGY
from astrogf.synthesis.gas.species import constituents, species_name
from astrogf.synthesis.lineio.records import Problems, Records
from astrogf.synthesis.lines.isotopes import Ratios, log_share

PLACEHOLDER = (99.0, 99.9, 99.99, 99.999, 999.0, 999.9, 999.99, 9999.0, 9999.9, 9999.99)
"""Numbers that tables put where there is none, of either sign."""


RANGES = (
    ("wavelength", 100.0, 1e7, "Angstrom between 100 and 10,000,000"),
    ("elow", 0.0, 150.0, "an energy between 0 and 150 eV"),
    ("loggf", -60.0, 10.0, "a log gf between -60 and 10"),
    ("log_gamma_rad", -20.0, 20.0, "log10 of a width in rad/s, or 0 if unknown"),
    ("log_gamma6", -40.0, 0.0, "log10 of a width in rad/s per hydrogen atom, or 0 if unknown"),
    ("log_gamma4", -40.0, 0.0, "log10 of a width in rad/s per electron, or 0 if unknown"),
)
"""Column of a `LineList`, what its numbers lie between, and what is expected of them."""
FIELD = {
    "elow": "lower level",
    "loggf": "log gf",
    "log_gamma_rad": "radiative damping",
    "log_gamma6": "van der Waals damping",
    "log_gamma4": "Stark damping",
}
"""How messages call a column of a published list."""


def unknown(values: Float[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
    """Radiative or Stark damping with nan where 0 or a placeholder (99, -99.99, 9999 ...) says that it is unknown."""
    return np.where((values == 0.0) | placeholder(values) | placeholder(-values), np.nan, values)


def placeholder(values: Float[np.ndarray, " row"]) -> Bool[np.ndarray, " row"]:
    """Whether numbers are such as tables put where there is none."""
    return np.isin(np.round(values, 3), PLACEHOLDER)


def check_ranges(records: Records, problems: Problems) -> None:
    """Note lines whose numbers cannot be what their columns say."""
    for name, low, high, expected in RANGES:
        column = getattr(records, {"log_gamma6": "vdw"}.get(name, name))
        # ABO sigma.alpha is positive
        top = np.inf if name == "log_gamma6" else high
        for i in np.flatnonzero((column < low) | (column > top)):
            problems.add(records.row[i], FIELD.get(name, name), f"{column[i]:g}", expected)
    check_levels(records.row, records.z, records.ion, records.elow, problems)


def check_levels(row: np.ndarray, z: np.ndarray, ion: np.ndarray, elow: np.ndarray, problems: Problems) -> None:
    """Note lower levels (eV) far above the ionisation energy, and warn of those above it: autoionising, or wrong."""
    above = elow / limit_of(z, ion)
    for i in np.flatnonzero(above > 2.0):
        expected = f"an energy below the ionisation of {species_name(int(z[i]), int(ion[i]))}"
        problems.add(row[i], "lower level", f"{elow[i]:g} eV", expected)
    auto = np.flatnonzero((above > 1.0) & (above <= 2.0))
    if len(auto):
        count = f"{len(auto)} lower level" + ("s lie" if len(auto) > 1 else " lies")
        problems.note(f"{count} above the ionisation energy of its species (the first in line {row[auto[0]]})")


def limit_of(z: np.ndarray, ion: np.ndarray) -> np.ndarray:
    """Ionisation energies (eV) of atoms; infinite where none is known, and for molecules."""
    known = (z >= 1) & (z <= 92) & (ion >= 1) & (ion <= 3)
    energy = IONISATION_ENERGY[np.where(known, z, 1) - 1, np.where(known, ion, 1) - 1]
    return np.where(known & (energy > 0.0), energy, np.inf)


def check_isotopes(records: Records, problems: Problems, isotopes: Ratios | None, scaled: bool) -> None:
    """Note lines of isotopes whose share nobody says; `isotopes` are the caller's.

    Raises AstrogfError where the caller's are no fractions.
    """
    log_share(np.zeros(0, int), np.zeros(0, int), isotopes)
    pairs, inverse = np.unique(np.stack([records.z, records.isotope]), axis=1, return_inverse=True)
    for k, (z, isotope) in enumerate(pairs.T.tolist()):
        if z == 0 or isotope == 0 or (scaled and not isotopes):
            continue
        try:
            shares(np.array([z]), np.array([isotope]), isotopes, scaled)
        except AstrogfError:
            expected = f"an isotope of {species_name(z)} with a terrestrial share, or a fraction in {{}}"
            for row in records.row[inverse.ravel() == k]:
                problems.add(row, "isotope", str(isotope), expected.format(problems.words.name("isotopes")))


def shares(z: np.ndarray, isotope: np.ndarray, isotopes: Ratios | None, scaled: bool) -> np.ndarray:
    """What is added to log gf for the isotopes (dex): their shares, or their change where log gf is scaled already."""
    if not scaled:
        return log_share(z, isotope, isotopes)
    change = np.zeros(len(z))
    given = {number for number, _ in isotopes or ()}
    touched = np.array([any(n in given for n in constituents(int(k))) for k in z], bool)
    if isotopes and np.any(touched):
        pick = z[touched], isotope[touched]
        change[touched] = log_share(*pick, isotopes) - log_share(*pick)
    return change
