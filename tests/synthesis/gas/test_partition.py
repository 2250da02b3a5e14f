"""Partition functions against sums over levels."""

import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.base.constants import BOLTZMANN
from astrogf.synthesis.gas.partition import log_partition
from astrogf.synthesis.lines.shipped import load_atomic_lines

ERG_PER_EV = 1.602176634e-12
FE_II = {
    "a6D": (0.0, 0.0477, 0.0828, 0.1070, 0.1211),
    "a4F": (0.2322, 0.3013, 0.3519, 0.3865),
    "a4D": (0.9863, 1.0405, 1.0762, 1.0969),
    "a4P": (1.6706, 1.6953, 1.7240),
    "a2G": (1.9645, 2.0296),
    "a2P": (2.2764, 2.3417),
    "a2H": (2.5219, 2.5796),
    "a2D": (2.5438, 2.6419),
    "b4P": (2.5827, 2.7044, 2.7785),
    "a4H": (2.6349, 2.6570, 2.6758, 2.6919),
    "b4F": (2.8067, 2.8281, 2.8441, 2.8555),
    "a6S": (2.8910,),
    "a4G": (3.1528, 3.1995, 3.2213),
}
"""Lowest terms of Fe II, eV (NIST ASD; Nave & Johansson 2013, ApJS 204, 1)."""
WEIGHTS = {
    "a6D": (10, 8, 6, 4, 2), "a4F": (10, 8, 6, 4), "a4D": (8, 6, 4, 2), "a4P": (6, 4, 2), "a2G": (10, 8), "a2P": (4, 2),
    "a2H": (12, 10), "a2D": (6, 4), "b4P": (6, 4, 2), "a4H": (14, 12, 10, 8), "b4F": (10, 8, 6, 4), "a6S": (6,),
    "a4G": (12, 10, 8),
}  # fmt: skip
IRWIN = {5800.0: 45.7, 6500.0: 48.25}
"""What Turbospectrum 20.1 has, after Irwin (1981, ApJS 45, 621); shared/data/reference, sp_U of t6500g40p00."""


def test_the_levels_are_those_of_lines():
    """Each is the lower level of a line in the shipped list, to the meV."""
    lines = load_atomic_lines(4200.0, 9200.0)
    elow = lines.elow[(lines.z == 26) & (lines.ion == 2)]
    for energies in FE_II.values():
        for energy in energies:
            assert np.min(np.abs(elow - energy)) < 1e-3


@pytest.mark.parametrize("t", [5800.0, 6500.0])
def test_iron_ions_against_their_levels(t):
    """The sum over the lowest 13 terms is a part of the whole, all but a hundredth to 6500 K. The reference's whole is
    less than this part, so that in warm stars 3% too many of its iron atoms and ions are in each level."""
    part = sum(
        weight * np.exp(-energy * ERG_PER_EV / (BOLTZMANN * t))
        for term, energies in FE_II.items()
        for energy, weight in zip(energies, WEIGHTS[term], strict=True)
    )
    whole = float(jnp.exp(log_partition(jnp.array([t]))[25, 1, 0]))
    assert IRWIN[t] < part < whole < 1.01 * part
