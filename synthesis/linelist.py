"""The line list as columns, and the list that is shipped."""

from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from synthesis.species import species_name

QUALITY = ("abo", "listed", "unsoeld", "unlisted")
"""Damping known by an individual ABO calculation, as log gamma6 of the list, or approximated: the only mark of how
well a transition has been studied that the source file carries, and the second half of a correction's group. The last
is of no list: lines that a list may lack (`inference.unlisted`)."""


class LineList(NamedTuple):
    """Lines, sorted by wavelength; one row a component (hyperfine, isotopic).

    `z`, `ion` and `isotope` name the species as `synthesis.species` does, molecules included.

    Units: vacuum Angstrom, eV, dex. Widths are FWHM in rad/s: `log_gamma_rad`; per hydrogen atom at 10^4 K
    (`log_gamma6`, scaling as T^gamma6_exponent); per electron (`log_gamma4`). `log_fraction` is the isotope's share,
    to be added to `loggf`. Components of one transition share a number in `transition`. `gup` is the statistical
    weight of the upper level, nan where the list does not say.
    """

    wavelength: Float[np.ndarray, " line"]
    z: Int[np.ndarray, " line"]
    ion: Int[np.ndarray, " line"]
    isotope: Int[np.ndarray, " line"]
    elow: Float[np.ndarray, " line"]
    loggf: Float[np.ndarray, " line"]
    log_fraction: Float[np.ndarray, " line"]
    log_gamma_rad: Float[np.ndarray, " line"]
    log_gamma6: Float[np.ndarray, " line"]
    gamma6_exponent: Float[np.ndarray, " line"]
    log_gamma4: Float[np.ndarray, " line"]
    quality: Int[np.ndarray, " line"]
    transition: Int[np.ndarray, " line"]
    gup: Float[np.ndarray, " line"]

    def __len__(self) -> int:
        return len(self.wavelength)

    def replace(self, **columns: np.ndarray) -> "LineList":
        """The same lines with other columns (`_replace` takes the number of lines for that of columns)."""
        return LineList(**(self._asdict() | columns))

    def take(self, keep: np.ndarray) -> "LineList":
        """The lines where `keep` (boolean or indices) says so."""
        return LineList(*(column[keep] for column in self))

    def merged(self, other: "LineList") -> "LineList":
        """These lines and others, by wavelength; transition numbers are kept and must not be shared."""
        both = LineList(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))
        return both.take(np.argsort(both.wavelength, kind="stable"))

    def species(self) -> np.ndarray:
        """Names such as 'Fe I' or 'CN'."""
        pairs, inverse = np.unique(np.stack([self.z, self.ion]), axis=1, return_inverse=True)
        return np.array([species_name(int(z), int(ion)) for z, ion in pairs.T] or [""])[inverse.ravel()]


@cache
def _shipped() -> LineList:
    with np.load(str(files("synthesis") / "data" / "lines_ges.npz")) as table:
        integer = {"z", "ion", "isotope", "quality", "transition"}
        columns = {k: table[k].astype(int if k in integer else float) for k in LineList._fields if k in table}
    columns.setdefault("gup", np.full(len(columns["wavelength"]), np.nan))
    return LineList(**columns)


def load_lines(start: float, stop: float) -> LineList:
    """The shipped Gaia-ESO lines with start <= wavelength <= stop (vacuum Angstrom).

    Raises ValueError where the list has nothing to say (it covers 4200-9200 A).
    Source: Heiter et al. (2021, A&A 645, A106); built by tools/build_lines.py.
    """
    lines = _shipped()
    if start < 4200.0 or stop > 9202.0:
        raise ValueError(
            f"window {start:.0f}-{stop:.0f} A: the shipped line list covers 4200-9200 A; narrow the window"
        )
    return lines.take((lines.wavelength >= start) & (lines.wavelength <= stop))
