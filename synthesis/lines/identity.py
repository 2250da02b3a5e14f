"""What makes two rows the same line: within one list, in two lists, and in one list that was written and read again.

A line has no name. Its species, wavelength and lower energy name it, and how far two of them may differ depends on
where they come from:

- `SAME_LIST`: rows of one list, one of them written and read again. They differ by what text loses, at most 0.001 A and
  0.0005 eV.
- `OTHER_LIST`: two lists. Wavelengths are measured or computed from levels, energies are of other compilations. Of 858
  laboratory lines (4800-6800 A; Placco et al. 2021, linemake) the shipped Gaia-ESO list has 855 within 0.2 A: 95% of
  them within 0.010 A, 849 within 0.03 A and 854 within 0.05 A, which is the tolerance of Turbospectrum's search too;
  energies differ by 0.003 eV (99%), 0.02 eV at most. As near to 1.4% of the list's own lines lies another transition of
  the species: so the nearest line is the same.
- `LABELLED`, `UNLABELLED`: rows of one list that are components (hyperfine, isotopic) of one transition. They are no
  copies of each other, but lie next to each other at different wavelengths, so that the tolerance is a velocity.
"""

from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from astrogf.base.constants import C_KMS


class Tolerance(NamedTuple):
    """Largest differences of one line: wavelength in Angstrom, energy of the lower level in eV."""

    wavelength: float
    elow: float


SAME_LIST = Tolerance(0.002, 0.001)
"""One list, written and read again; see above."""
OTHER_LIST = Tolerance(0.05, 0.02)
"""Two lists; see above."""


class Adjacency(NamedTuple):
    """Largest distance of neighbouring components: in km/s, and in eV between their lower energies.

    Lines are put beside each other by their energies rounded to `digits`.
    """

    velocity: float
    elow: float
    digits: int


LABELLED = Adjacency(20.0, 0.002, 2)
"""Rows that a list gives the same levels: hyperfine patterns spread over a few 0.1 A, isotopes farther than that."""
UNLABELLED = Adjacency(8.0, 0.0015, 3)
"""Rows of a list without levels (APOGEE's): two lines of one lower level so close in one atom are taken for one."""


class Lines(Protocol):
    """What names lines: vacuum Angstrom, 10 z + ion, eV."""

    @property
    def wavelength(self) -> Float[np.ndarray, " line"]: ...
    @property
    def code(self) -> Int[np.ndarray, " line"]: ...
    @property
    def elow(self) -> Float[np.ndarray, " line"]: ...


def pairs(one: Lines, two: Lines, tolerance: Tolerance) -> Int[np.ndarray, "pair 2"]:
    """All pairs (row of `one`, row of `two`) of the same line, those nearest in wavelength first.

    Distances are taken to 0.1 mA, and where they are equal the energies decide (to 0.1 meV), then the order of rows.
    """
    if len(one.wavelength) == 0 or len(two.wavelength) == 0:
        return np.zeros((0, 2), int)
    points = [np.column_stack([x.wavelength / tolerance.wavelength, x.elow / tolerance.elow, 10.0 * x.code])
              for x in (one, two)]  # fmt: skip
    # a hair more than 1, so that decimals such as 0.05 - 0.00 count as within 0.05
    near = cKDTree(points[0]).query_ball_tree(cKDTree(points[1]), 1.0 + 1e-6, p=np.inf)
    i = np.repeat(np.arange(len(near)), [len(some) for some in near])
    j = np.array([row for some in near for row in some], int)
    apart = np.round(np.abs(one.wavelength[i] - two.wavelength[j]), 4)
    energy = np.round(np.abs(one.elow[i] - two.elow[j]), 4)
    return np.column_stack([i, j])[np.lexsort((j, i, energy, apart))]


def same_lines(one: Lines, two: Lines, tolerance: Tolerance) -> Int[np.ndarray, " line"]:
    """Row of `two` that is each line of `one`, the nearest where several are; -1 for none."""
    row = np.full(len(one.wavelength), -1)
    i, j = pairs(one, two, tolerance)[::-1].T  # the nearest is written last
    row[i] = j
    return row


def written(species: str, *values: float, digits: int = 3) -> tuple:
    """Name of a line in tables written from one list, for a dictionary: `values` (wavelength, elow, loggf) rounded.

    Only for numbers of one origin: those of two lists may lie at two sides of where rounding parts them.
    """
    return (str(species), *(round(float(value), digits) for value in values))


def components(
    z: Int[np.ndarray, " line"],
    ion: Int[np.ndarray, " line"],
    label: Int[np.ndarray, " line"],
    elow: Float[np.ndarray, " line"],
    wavelength: Float[np.ndarray, " line"],
    alone: Bool[np.ndarray, " line"],
    adjacency: Adjacency,
) -> Int[np.ndarray, " line"]:
    """Number the transitions of a list: components of one share a number. Wavelengths in any medium.

    Components have the same species, label and lower energy and lie next to each other within `adjacency`; a line
    that is `alone` is never tied.
    """
    if not len(z):
        return np.zeros(0, int)
    order = np.lexsort((wavelength, np.round(elow, adjacency.digits), label, alone, ion, z))
    z, ion, label, elow, wavelength, alone = (x[order] for x in (z, ion, label, elow, wavelength, alone))
    same = (
        (np.diff(z) == 0)
        & (np.diff(ion) == 0)
        & (np.diff(label) == 0)
        & ~(alone[1:] | alone[:-1])
        & (np.abs(np.diff(elow)) < adjacency.elow)
        & (np.abs(np.diff(wavelength)) < wavelength[1:] * adjacency.velocity / C_KMS)
    )
    number = np.empty(len(z), int)
    number[order] = np.concatenate([[0], np.cumsum(~same)])
    return number
