"""Lines that the list does not have: weak lines put everywhere, free to grow where the spectra of all stars want them.

No list is complete, and a line that is missing is taken for an error in the log gf of its neighbours, with a small
posterior sd: the pixels cannot tell. So a run may allow for it beforehand. Every `spacing` Angstrom stands a line of
Fe I, too weak to be seen, whose correction has the wide prior Normal(0, SCATTER): of a thousand such lines one is
expected to be wider than 26 mA in the Sun. What this does for the others, and what it does not: docs/solvers.md.
"""

import numpy as np
from jaxtyping import Bool, Float

from synthesis.linelist import QUALITY, LineList

CLASS = "unlisted"
SCATTER = 0.8
"""dex: prior sd of how strong an unlisted line is."""
LOGGF, ELOW = -5.5, 3.0
"""An Fe I line of 3 eV with this log gf is 0.1 mA wide in the Sun at 5150 A (26 mA 2.5 dex higher, 73 mA 3.5)."""
START = 1.5
"""dex: where the fit begins, for the spectra see nothing of a line at its prior mean."""
WIDTHS = {"log_gamma_rad": 8.2, "log_gamma6": -7.5, "gamma6_exponent": 0.3, "log_gamma4": -5.9}
"""Middle of the Fe I lines of 4800-5500 A in the shipped list."""
GROWTH = 3.5
"""dex: how much stronger a line may become within the wavelengths over which it is computed."""


def is_unlisted(lines: LineList) -> Bool[np.ndarray, " line"]:
    """Which of the lines are none of the list's."""
    return np.asarray(lines.quality) == QUALITY.index(CLASS)


def with_unlisted(lines: LineList, spacing: float) -> LineList:
    """The list with an unlisted line at every multiple of `spacing` (Angstrom) within its range; unchanged for 0."""
    if spacing <= 0.0 or len(lines) == 0:
        return lines
    first, last = np.ceil(lines.wavelength[0] / spacing), np.floor(lines.wavelength[-1] / spacing)
    wavelength = spacing * np.arange(first, last + 1)
    n = len(wavelength)
    columns = {"z": 26, "ion": 1, "isotope": 0, "elow": ELOW, "loggf": LOGGF, "log_fraction": 0.0, **WIDTHS}
    full = {name: np.full(n, value) for name, value in columns.items()}
    more = LineList(
        wavelength=wavelength, quality=np.full(n, QUALITY.index(CLASS)), gup=np.full(n, np.nan),
        transition=int(lines.transition.max()) + 1 + np.arange(n), **full,
    )  # fmt: skip
    return lines.merged(more)


def grown(lines: LineList) -> Float[np.ndarray, " line"]:
    """Log gf of every line with which its reach is to be computed."""
    return lines.loggf + GROWTH * is_unlisted(lines)
