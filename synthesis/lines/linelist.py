"""The line list as columns."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from astrogf.synthesis.gas.species import species_name

QUALITY = ("abo", "listed", "unsoeld", "unlisted")
"""Damping known by an individual ABO calculation, as log gamma6 of the list, or approximated: the only mark of how
well a transition has been studied that the source file carries, and the second half of a correction's group. The last
is of no list: lines that a list may lack (`inference.problem.unlisted`)."""


class LineList(NamedTuple):
    """Lines, sorted by wavelength; one row a component (hyperfine, isotopic).

    `z`, `ion` and `isotope` name the species as `synthesis.gas.species` does, molecules included.

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

    def __repr__(self) -> str:
        if not isinstance(self.wavelength, np.ndarray):  # JAX puts marks of its own in the place of columns
            return f"LineList{tuple(self)!r}"
        if not len(self):
            return "LineList(no lines)"
        return (
            f"LineList({len(self)} lines of {len(np.unique(self.code))} species, {np.min(self.wavelength):.3f}-"
            f"{np.max(self.wavelength):.3f} A in vacuum; {', '.join(self._fields)})"
        )

    @property
    def code(self) -> Int[np.ndarray, " line"]:
        """10 z + ion of each line, its species as one number."""
        return 10 * self.z + self.ion

    @property
    def hydrogen(self) -> Bool[np.ndarray, " line"]:
        """Whether each line is one of hydrogen, whose lines and continua the model has of its own where it can."""
        return self.z == 1

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
