"""Which rows of a list are components (hyperfine, isotopic) of one transition."""

import numpy as np
from jaxtyping import Float, Int

SPREAD = 20.0
"""km/s between neighbouring components."""


def transitions(
    z: Int[np.ndarray, " line"],
    ion: Int[np.ndarray, " line"],
    isotope: Int[np.ndarray, " line"],
    elow: Float[np.ndarray, " line"],
    wavelength: Float[np.ndarray, " line"],
    label: np.ndarray,
) -> Int[np.ndarray, " line"]:
    """Number the transitions: components of one share a number, and one correction of log gf. Any medium.

    Components have the same species and label, lower energies within 0.002 eV and lie within 20 km/s of their
    neighbour. Without a label ('') only lines that may have components are tied: those of a named isotope and those
    of an element of odd Z, whose nuclei have spin. Rotational lines of molecules share labels in many lists and are
    never tied. Source: rule of this package; how often labels are needed is told in docs/results.md.
    """
    z, ion, isotope = (np.asarray(x, int) for x in (z, ion, isotope))
    elow, wavelength = np.asarray(elow, float), np.asarray(wavelength, float)
    if not len(z):
        return np.zeros(0, int)
    label = np.asarray(label, dtype=str)
    single = (z > 92) | ((label == "") & (isotope == 0) & (z % 2 == 0))
    _, code = np.unique(label, return_inverse=True)
    order = np.lexsort((wavelength, np.round(elow, 2), code, single, ion, z))
    z, ion, code, elow, wavelength, single = (x[order] for x in (z, ion, code, elow, wavelength, single))
    same = (
        (np.diff(z) == 0)
        & (np.diff(ion) == 0)
        & (np.diff(code) == 0)
        & ~(single[1:] | single[:-1])
        & (np.abs(np.diff(elow)) < 0.002)
        & (np.diff(wavelength) < wavelength[1:] * SPREAD / 299792.458)
    )
    number = np.empty(len(z), int)
    number[order] = np.concatenate([[0], np.cumsum(~same)])
    return number
