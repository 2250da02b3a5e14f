"""Lines that the list does not have: weak lines put everywhere, free to grow where the spectra of all stars want them.

No list is complete, and a line that is missing is taken for an error in the log gf of its neighbours, with a small
posterior sd: the pixels cannot tell. So a run may allow for it beforehand. Every `spacing` Angstrom stands a line of
Fe I, too weak to be seen, whose correction has the wide prior Normal(0, SCATTER): of a thousand such lines one is
expected to be wider than 26 mA in the Sun. Or they stand only where a first fit gives cause for suspicion
(`inference.newton.suspects`). What this does for the others, and what it does not: docs/explanation/statistics.md.
"""

import numpy as np
from jaxtyping import Bool, Float

from astrogf.synthesis.lines.linelist import QUALITY, LineList

CLASS = "unlisted"
SCATTER = 0.8
"""dex: prior sd of how strong an unlisted line is."""
LOGGF, ELOW = -5.5, 3.0
"""An Fe I line of 3 eV with this log gf is 0.1 mA wide in the Sun at 5150 A (26 mA 2.5 dex higher, 73 mA 3.5); at other
wavelengths the same part of the wavelength, so that log gf falls with it."""
PER_EV = 0.95
"""dex of log gf that an eV of the lower level costs such a line in the Sun (5040 K over its line-forming 5300 K)."""
START = 1.5
"""dex: where the fit begins, for the spectra see nothing of a line at its prior mean; all lines of a resolution element
together where there are several."""
WIDTHS = {"log_gamma_rad": 8.2, "log_gamma6": -7.5, "gamma6_exponent": 0.3, "log_gamma4": -5.9}
"""Middle of the Fe I lines of 4800-5500 A in the shipped list."""
GROWTH = 3.5
"""dex: how much stronger a line may become within the wavelengths over which it is computed."""


def is_unlisted(lines: LineList) -> Bool[np.ndarray, " line"]:
    """Which of the lines are none of the list's."""
    return np.asarray(lines.quality) == QUALITY.index(CLASS)


def places(lines: LineList, spacing: float) -> Float[np.ndarray, " place"]:
    """Multiples of `spacing` (Angstrom) within the range of a list, the same for every list."""
    first, last = np.ceil(lines.wavelength[0] / spacing), np.floor(lines.wavelength[-1] / spacing)
    return spacing * np.arange(first, last + 1)


def usual_loggf(wavelength: Float[np.ndarray, " line"], elow: Float[np.ndarray, " line"]) -> Float[np.ndarray, " line"]:
    """Log gf of unlisted lines at wavelengths (Angstrom) and with lower levels (eV)."""
    return LOGGF + PER_EV * (elow - ELOW) - np.log10(wavelength / 5150.0)


def looks_unlisted(
    species: np.ndarray,
    wavelength: Float[np.ndarray, " line"],
    elow: Float[np.ndarray, " line"],
    loggf: Float[np.ndarray, " line"],
) -> Bool[np.ndarray, " line"]:
    """Which lines, by what tables say of them, are none of a list's: no list has that log gf to the last digit."""
    return (np.asarray(species) == "Fe I") & (np.abs(loggf - usual_loggf(wavelength, elow)) < 1e-9)


def with_these(lines: LineList, wavelength: np.ndarray, elow: np.ndarray) -> LineList:
    """The list with unlisted lines of Fe I of these wavelengths (vacuum Angstrom) and lower levels (eV)."""
    n = len(wavelength)
    columns = {"z": 26, "ion": 1, "isotope": 0, "log_fraction": 0.0, **WIDTHS}
    full = {name: np.full(n, value) for name, value in columns.items()}
    more = LineList(
        wavelength=np.asarray(wavelength, float), elow=np.asarray(elow, float),
        loggf=usual_loggf(np.asarray(wavelength, float), np.asarray(elow, float)),
        quality=np.full(n, QUALITY.index(CLASS)), gup=np.full(n, np.nan),
        transition=int(lines.transition.max()) + 1 + np.arange(n), **full,
    )  # fmt: skip
    return lines.merged(more)


def with_unlisted(
    lines: LineList,
    spacing: float,
    levels: tuple[float, ...] = (ELOW,),
    at: Float[np.ndarray, " place"] | None = None,
) -> LineList:
    """The list with one unlisted line of each lower level (eV) at every multiple of `spacing` (Angstrom) within its
    range, or only at the places `at`; unchanged for a spacing of 0."""
    if spacing <= 0.0 or len(lines) == 0:
        return lines
    at = places(lines, spacing) if at is None else at
    return with_these(lines, np.repeat(at, len(levels)), np.tile(levels, len(at)))


def grown(lines: LineList) -> Float[np.ndarray, " line"]:
    """Log gf of every line with which its reach is to be computed."""
    return lines.loggf + GROWTH * is_unlisted(lines)
