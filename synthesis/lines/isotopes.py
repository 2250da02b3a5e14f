"""Shares of isotopes and isotopologues, to be added to log gf: terrestrial, or as given for a star."""

from collections.abc import Mapping
from contextlib import suppress
from functools import cache

import numpy as np
from jaxtyping import Float, Int

from astrogf.base.errors import AstrogfError
from astrogf.synthesis.gas.abundances import SYMBOLS
from astrogf.synthesis.gas.species import constituents, species_name
from astrogf.synthesis.package_data import DATA

Ratios = Mapping[tuple[int, int], float]
"""{(Z, mass number): number fraction among the isotopes of that element}."""


@cache
def terrestrial() -> dict[tuple[int, int], float]:
    """(Z, mass number) -> terrestrial number fraction of all 288 isotopes that occur in nature.

    Source: Berglund & Wieser (2011, Pure Appl. Chem. 83, 397); built by tools/build_isotopes.py.
    """
    rows = (DATA / "isotopes.csv").read_text().splitlines()[1:]
    cells = [row.split(",") for row in rows]
    return {(int(z), int(mass)): float(share) for z, mass, share in cells}


def mass_numbers(z: int, isotope: int) -> tuple[int, ...]:
    """Mass numbers of the atoms of a species in the order of `species.constituents`; (0, ...) is the natural mixture.

    Raises ValueError where the code has not three digits an atom.
    """
    n_atom = len(constituents(z))
    digits = f"{isotope:0{3 * n_atom}d}"
    if isotope < 0 or len(digits) > 3 * n_atom:
        raise AstrogfError(
            f"isotope {isotope} of {species_name(z)}: expected three digits for each of its {n_atom} atoms, "
            "in rising order of Z (12C14N is 12014), or 0 for the natural mixture"
        )
    return tuple(int(digits[i : i + 3]) for i in range(0, len(digits), 3))


def _shares(ratios: Ratios | None) -> dict[tuple[int, int], float]:
    """Terrestrial shares, the elements of `ratios` replaced whole by what it says of them."""
    if not ratios:
        return terrestrial()
    given = {z for z, _ in ratios}
    for z in given:
        total = sum(share for (number, _), share in ratios.items() if number == z)
        if any(share < 0.0 for (number, _), share in ratios.items() if number == z) or abs(total - 1.0) > 1e-3:
            raise AstrogfError(
                f"isotope ratios of {SYMBOLS[z - 1]} add up to {total:g}: give all its isotopes, with fractions >= 0 "
                "that add up to 1"
            )
    return {key: share for key, share in terrestrial().items() if key[0] not in given} | dict(ratios)


def _log_share(z: int, isotope: int, shares: Mapping[tuple[int, int], float], known: set[tuple[int, int]]) -> float:
    """log10 share of one species. Two like atoms of different mass are one isotopologue that occurs twice as often."""
    if isotope == 0:
        return 0.0
    numbers, masses = constituents(z), mass_numbers(z, isotope)
    total = 0.0
    for element in set(numbers):
        mine = [mass for number, mass in zip(numbers, masses, strict=True) if number == element and mass != 0]
        for mass in mine:
            if (element, mass) not in known:
                raise AstrogfError(
                    f"isotope {isotope} of {species_name(z)}: {SYMBOLS[element - 1]}-{mass} has no terrestrial share; "
                    "give the fractions of all isotopes of its element"
                )
            share = shares.get((element, mass), 0.0)
            total += np.log10(share) if share > 0.0 else -np.inf
        total += np.log10(len(set(mine))) if len(mine) == 2 else 0.0
    return float(total)


def log_share(
    z: Int[np.ndarray, " line"], isotope: Int[np.ndarray, " line"], ratios: Ratios | None = None
) -> Float[np.ndarray, " line"]:
    """log10 of the share of each line's isotope (isotopologue); 0.0 where `isotope` is 0, -99.0 where it is absent.

    Terrestrial fractions; an element named in `ratios`, {(Z, mass number): fraction}, has those instead, and all its
    isotopes have to be given: {(6, 12): 0.9, (6, 13): 0.1}. A molecule has the product of the shares of its atoms;
    one with two like atoms of different mass (12C13C) counts twice, for it can be made in two ways.
    Raises ValueError for an isotope without a share, or fractions that do not add up to one.
    """
    shares = _shares(ratios)
    known = set(terrestrial()) | set(ratios or ())
    pairs = np.stack([np.asarray(z, int), np.asarray(isotope, int)])
    unique, inverse = np.unique(pairs, axis=1, return_inverse=True)
    values = np.array([_log_share(int(a), int(b), shares, known) for a, b in unique.T], float)
    return np.maximum(values[inverse.ravel()], -99.0) if values.size else np.zeros(0)


def natural_share(z: Int[np.ndarray, " line"], isotope: Int[np.ndarray, " line"]) -> Float[np.ndarray, " line"]:
    """As `log_share` with terrestrial fractions, but 0.0 where there is none: the isotope is its whole element."""
    pairs, inverse = np.unique(np.stack([np.asarray(z, int), np.asarray(isotope, int)]), axis=1, return_inverse=True)
    values = np.zeros(pairs.shape[1])
    for k in range(pairs.shape[1]):
        with suppress(AstrogfError):
            values[k] = log_share(*pairs[:, k : k + 1])[0]
    return np.where(values > -99.0, values, 0.0)[inverse.ravel()]


def element_loggf(
    isotope: Int[np.ndarray, " line"], loggf: Float[np.ndarray, " line"], log_fraction: Float[np.ndarray, " line"]
) -> float:
    """log gf of a transition of an element, as laboratories give it, from its components of all isotopes (dex).

    Isotopes count by their shares, those that a list leaves out as if they were like the others. Where log gf hold the
    shares already (`log_fraction` 0 of several isotopes), they add up as they are.
    """
    _, first = np.unique(isotope, return_index=True)
    listed = min(float(np.sum(10.0 ** log_fraction[first])), 1.0)
    return float(np.log10(np.sum(10.0 ** (loggf + log_fraction)) / listed))
