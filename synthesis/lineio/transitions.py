"""Which rows of a list are components (hyperfine, isotopic) of one transition."""

import numpy as np
from jaxtyping import Float, Int

from astrogf.synthesis.lines.identity import LABELLED, components


def transitions(
    z: Int[np.ndarray, " line"],
    ion: Int[np.ndarray, " line"],
    isotope: Int[np.ndarray, " line"],
    elow: Float[np.ndarray, " line"],
    wavelength: Float[np.ndarray, " line"],
    label: np.ndarray,
) -> Int[np.ndarray, " line"]:
    """Number the transitions: components of one share a number, and one correction of log gf. Any medium.

    Components have the same species and label and lie as near to their neighbour as `identity.LABELLED` says. Without
    a label ('') only lines that may have components are tied: those of a named isotope and those of an element of odd
    Z, whose nuclei have spin. Rotational lines of molecules share labels in many lists and are never tied.
    Source: rule of this package; how often labels are needed is told in docs/results.md.
    """
    z, ion, isotope = (np.asarray(x, int) for x in (z, ion, isotope))
    label = np.asarray(label, dtype=str)
    alone = (z > 92) | ((label == "") & (isotope == 0) & (z % 2 == 0))
    _, code = np.unique(label, return_inverse=True)
    return components(z, ion, code, np.asarray(elow, float), np.asarray(wavelength, float), alone, LABELLED)
