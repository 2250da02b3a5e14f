"""Quantities of astropy at the border: what comes in with a unit leaves as plain numbers in ours.

astropy is not imported for numbers that have no unit.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from astrogf.base.errors import AstrogfError

ANGSTROM, KELVIN, DEX, KMS, EV = "Angstrom", "K", "dex", "km/s", "eV"
LABELS = {"teff": KELVIN, "logg": DEX, "feh": DEX, "alpha": DEX}
"""Units of the labels that name a star, in their order."""


def bare(value: Any, unit: str, what: str, *, spectral: bool = False) -> Any:
    """`value` in `unit` without it; what has no unit is taken to be in it already and comes back as it was.

    log g may be a logarithmic quantity, dex(cm/s2); where `spectral`, wavelengths may be frequencies or energies.
    Raises AstrogfError, which calls the value `what`, for a unit of something else.

    >>> from astropy import units as u
    >>> float(bare(0.25 * u.km / u.s, KMS, "vmic")), bare(0.25, KMS, "vmic")
    (0.25, 0.25)
    >>> bare(2.0 * u.K, KMS, "vmic")
    Traceback (most recent call last):
        ...
    astrogf.base.errors.AstrogfError: vmic is in K, expected km/s (or a plain number, in km/s)
    """
    given = getattr(value, "unit", None)
    if given is None or not hasattr(value, "to_value"):
        return value
    from astropy import units as u

    try:
        if isinstance(given, u.LogUnit) and unit == DEX:
            gravity = not given.physical_unit.is_equivalent(u.dimensionless_unscaled)
            return value.to_value(u.DexUnit(u.cm / u.s**2 if gravity else u.dimensionless_unscaled))
        if given == u.dimensionless_unscaled and unit == DEX:
            return value.value
        return value.to_value(u.Unit(unit), equivalencies=u.spectral() if spectral else [])
    except (u.UnitConversionError, u.UnitTypeError) as error:
        wanted = f"{unit} (or a plain number, in {unit})" if unit else "a number without a unit"
        raise AstrogfError(f"{what} is in {given}, expected {wanted}") from error


def bare_labels(labels: Any) -> Any:
    """A sequence of labels (teff, logg, feh, alpha), each in its unit; anything else as it was."""
    if not isinstance(labels, list | tuple) or not any(hasattr(x, "to_value") for x in labels):
        return labels
    if len(labels) != len(LABELS):
        return labels
    return tuple(bare(x, unit, name) for x, (name, unit) in zip(labels, LABELS.items(), strict=True))


def bare_tree(tree: Any, what: str = "") -> Any:
    """Nested mappings and sequences as a configuration takes them: lengths in Angstrom, speeds in km/s, temperatures
    in K, energies in eV, dex; arrays as lists. Raises AstrogfError that names the place, for other units."""
    if isinstance(tree, Mapping):
        return {key: bare_tree(value, f"{what}.{key}" if what else str(key)) for key, value in tree.items()}
    if hasattr(tree, "to_value"):
        return _rounded(_plain(_in_ours(tree, what)))
    if isinstance(tree, list | tuple):
        return [bare_tree(value, what) for value in tree]
    return _plain(tree)


def _in_ours(value: Any, what: str) -> Any:
    from astropy import units as u

    for unit in (ANGSTROM, KELVIN, KMS, EV, DEX):
        if value.unit.is_equivalent(u.Unit(unit)) or (unit == DEX and isinstance(value.unit, u.LogUnit)):
            return bare(value, unit, what)
    if value.unit == u.dimensionless_unscaled:
        return value.value
    raise AstrogfError(f"{what} is in {value.unit}; expected one of Angstrom, K, km/s, eV, dex, or a plain number")


def _rounded(value: Any) -> Any:
    """Without what a conversion leaves in the last digits, which would make 490 nm 4899.999999999999 A."""
    return [_rounded(x) for x in value] if isinstance(value, list) else float(f"{value:.13g}")


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
