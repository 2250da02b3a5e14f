"""How a window's spectrograph sees a star: velocity and width of its line-spread function, which vary along it.

The width is interpolated between `lsf_nodes` points of a window: a pixel is the mean of what it would be with the
widths of the two nodes beside it, weighted by distance. That is linear in the spectrum, so that derivatives pass. The
arms of a spectrograph have velocities of their own, for each is calibrated by itself.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from astrogf.inference.problem.options import StarOptions
from astrogf.inference.problem.parameters import LN_SIGMA, RV, STAR
from astrogf.synthesis.observed.grid import Grid
from astrogf.synthesis.observed.instrument import observe

VELOCITY_UNIT = 100.0
"""km/s: unit of the velocity of a further window relative to the first, so that 0.1 is a natural step of it too."""


class Own(NamedTuple):
    """One of a star's own parameters that are of the instrument: its name, prior sd (about 0), and what it moves: a
    node of a window (`node`), or the velocity of a window (None)."""

    name: str
    sd: float
    window: int
    node: int | None


def own_parameters(options: StarOptions, n_window: int) -> list[Own]:
    """Those that follow labels and abundances: ln width at each node over `ln_sigma`, which is that of the middle node
    of the first window (left out where the width is the same everywhere), then velocities of the other windows."""
    middle = options.lsf_nodes // 2
    widths = [
        Own(f"ln_sigma_{w + 1}_{k + 1}", options.lsf_sd, w, k)
        for w in range(n_window)
        for k in range(options.lsf_nodes)
        if options.lsf_sd > 0 and (w, k) != (0, middle)
    ]
    velocities = [
        Own(f"rv_{w + 1}", options.window_rv_sd / VELOCITY_UNIT, w, None)
        for w in range(1, n_window)
        if options.window_rv_sd > 0
    ]
    return widths + velocities


def names(options: StarOptions, n_window: int) -> tuple[str, ...]:
    """Names of all own parameters of a star: those of `STAR`, '[C/Fe]' and so on, and those of the instrument."""
    elements = (f"[{e}/Fe]" for e in options.abundances)
    return (*STAR, *elements, *(own.name for own in own_parameters(options, n_window)))


class Instrument(eqx.Module):
    """A window's place in what its stars have of their own.

    `place` takes own parameters to velocity (km/s) and ln sigma at every node; `weight` is a node's share in a pixel.
    """

    place: Float[Array, "place own"]
    weight: Float[Array, "pixel node"]

    @classmethod
    def build(cls, options: StarOptions, n_pixel: int, window: int = 0, n_window: int = 1) -> "Instrument":
        """Of window number `window` of `n_window`."""
        nodes = options.lsf_nodes if options.lsf_sd > 0 else 1
        extra = own_parameters(options, n_window)
        first = len(STAR) + len(options.abundances)
        place = np.zeros((1 + nodes, first + len(extra)))
        place[0, RV], place[1:, LN_SIGMA] = 1.0, 1.0
        for i, own in enumerate(extra):
            if own.window == window:
                row, value = (0, VELOCITY_UNIT) if own.node is None else (1 + own.node, 1.0)
                place[row, first + i] = value
        at = np.linspace(0.0, 1.0, n_pixel)
        ends = np.linspace(0.0, 1.0, nodes)
        weight = np.stack([np.interp(at, ends, row) for row in np.eye(nodes)], axis=1)
        return cls(jnp.asarray(place), jnp.asarray(weight))

    def at(self, theta: Float[Array, " own"]) -> Float[Array, " place"]:
        """Velocity and ln sigma at every node, for a star."""
        return self.place @ theta

    def see(self, flux: Float[Array, " wave"], place: Float[Array, " place"], grid: Grid) -> Float[Array, " pixel"]:
        """The spectrum in the survey's pixels."""
        seen = [observe(flux, place[0], jnp.exp(ln_sigma), grid) for ln_sigma in place[1:]]
        return seen[0] if len(seen) == 1 else sum(w * one for w, one in zip(self.weight.T, seen, strict=True))

    def mixed(
        self, seen: list[Float[Array, "line local"]], pixel: Int[Array, "line local"]
    ) -> Float[Array, "line local"]:
        """Pieces of the spectrum, seen with the width of each node, as their pixels (within the window) have them."""
        if len(seen) == 1:
            return seen[0]
        return sum(self.weight[:, k][pixel] * one for k, one in enumerate(seen))  # type: ignore[return-value]
