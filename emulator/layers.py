"""A structure source on the depths of a run: labels in, structure out."""

from typing import Protocol

import equinox as eqx
from jaxtyping import Array, Float

from astrogf.emulator.structure import Structure


class Source(Protocol):
    """What `Emulator`, `grids.Grid` and `atmosnet.Networks` have in common."""

    def __call__(self, labels: Float[Array, "4"], tau: Float[Array, " depth"] | None = None) -> Structure:
        """Structure at (teff, logg, feh, alpha) and Rosseland depths `tau`, units as in `Structure`."""

    def margin(self, labels: Float[Array, "4"]) -> Float[Array, ""]:
        """Signed distance to the edge of the domain, positive inside."""


class Layers(eqx.Module):
    """A source evaluated at fixed optical depths `tau`: fewer layers than 80 are a speed choice.

    Any `Source` will do, so that what the choice of atmospheres does to a result can be measured.
    """

    emulator: Source
    tau: Float[Array, " depth"]

    def __call__(self, labels: Float[Array, "4"]) -> Structure:
        """Structure at (teff, logg, feh, alpha), units as in `Structure`."""
        return self.emulator(labels, self.tau)

    def margin(self, labels: Float[Array, "4"]) -> Float[Array, ""]:
        """Signed distance to the source's domain, positive inside."""
        return self.emulator.margin(labels)
