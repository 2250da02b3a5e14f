"""What the equation of state hands to the opacities."""

from typing import NamedTuple

from jaxtyping import Array, Float


class Gas(NamedTuple):
    """State of the gas in every layer, from `synthesis.gas.eos.equation_of_state`.

    Units: CGS, number densities in cm^-3. `n[z - 1, i]` counts the atoms of element z in ionisation
    stage i (0 neutral, 1 singly, 2 doubly ionised) that are free (not in molecules); `n_over_u` is the same
    divided by the partition function. `n_molecule` follows `partition.MOLECULES`; `n_h2` is its first row.
    """

    t: Float[Array, " depth"]
    xne: Float[Array, " depth"]
    rho: Float[Array, " depth"]
    n: Float[Array, "92 3 depth"]
    n_over_u: Float[Array, "92 3 depth"]
    n_h2: Float[Array, " depth"]
    n_molecule: Float[Array, "molecule depth"]
