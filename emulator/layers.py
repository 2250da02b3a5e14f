"""An emulator on the depths of a run: labels in, structure out."""

import equinox as eqx
from jaxtyping import Array, Float

from emulator.model import Emulator
from emulator.structure import Structure


class Layers(eqx.Module):
    """`emulator` evaluated at fixed optical depths `tau`: fewer layers than its 80 are a speed choice."""

    emulator: Emulator
    tau: Float[Array, " depth"]

    def __call__(self, labels: Float[Array, "4"]) -> Structure:
        """Structure at (teff, logg, feh, alpha), units as in `Structure`."""
        return self.emulator(labels, self.tau)

    def margin(self, labels: Float[Array, "4"]) -> Float[Array, ""]:
        """Signed distance to the emulator's training domain, positive inside."""
        return self.emulator.margin(labels)
