"""The spectrum of a wavelength window: everything prepared once, then structure, gas and vmic in, flux out."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from astrogf.base.errors import AstrogfError
from astrogf.emulator.structure import Structure
from astrogf.synthesis.continuum.opacity import continuum_opacity
from astrogf.synthesis.gas.gas import Gas
from astrogf.synthesis.hydrogen.opacity import HydrogenPlan, hydrogen_nodes, hydrogen_plan
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.lines.opacity import line_opacity
from astrogf.synthesis.lines.pieces import TILE, Extent, Pieces, cut_up, padded_velocity
from astrogf.synthesis.lines.profile import Profile, profile_state
from astrogf.synthesis.lines.slopes import LinePieces, by_line, by_parameter, on_grid
from astrogf.synthesis.transfer.plane import by_blocks, emergent_flux, planck, response

CONTINUUM_STEP = 10.0  # Angstrom between continuum nodes
State = tuple[Structure, Gas, Float[Array, "*depth"]]
"""What a spectrum is computed from: structure, gas, vmic in km/s (a number or one a layer)."""


class Layered(NamedTuple):
    """A star's layers before lines, each quantity on its own nodes; opacities in cm^2/g.

    `kappa` is absorption and `scattering` of the continuum together.
    """

    abross: Float[Array, " depth"]
    profile: Profile
    kappa: Float[Array, "node depth"]
    scattering: Float[Array, "node depth"]
    source: Float[Array, "node depth"]
    level: Float[Array, " node"]
    hydrogen: Float[Array, "core depth"] | None


class Linearised(eqx.Module):
    """A normalised spectrum, its derivatives by parameters, and by log gf of every free line in pieces."""

    flux: Float[Array, " wave"]
    by_parameter: Float[Array, "wave parameter"]
    by_line: list[LinePieces]

    def by_correction(self, number: int) -> Float[Array, " wave"]:
        """The derivative by one correction on the whole grid."""
        return on_grid(self.by_line, lambda free: jnp.where(free == number, 0, 1), 1, self.flux.shape[0])[0]


class Window(eqx.Module):
    """A wavelength grid with its lines, of fixed shape: one instance a run, so that everything compiles once.

    `delta` below are corrections to log gf (dex), `n_free` of them; `with_free` says which line each one moves.
    """

    pieces: Pieces
    hydrogen: HydrogenPlan | None
    linear: "Spread"
    node_wavelength: np.ndarray
    velocity: Float[Array, " padded"]
    size: int = eqx.field(static=True)
    n_line: int = eqx.field(static=True)
    n_free: int = eqx.field(static=True)
    angles: int = eqx.field(static=True)

    @classmethod
    def build(
        cls,
        wavelength: Float[np.ndarray, " wave"],
        lines: LineList,
        extent: Extent,
        *,
        n_free: int = 0,
        angles: int = 3,
        hydrogen: bool = True,
        tile: int = TILE,
        **shapes: Any,
    ) -> "Window":
        """Prepare the fixed shapes, on the host, for strictly increasing vacuum wavelengths in Angstrom.

        `extent` comes from `synthesis.lines.strength.line_extent`; `n_free` is the number of corrections there is room
        for; `angles` the number of Gauss angles; `tile` the points of a tile of wings; `shapes` goes to `cut_up`.
        """
        wavelength = np.asarray(wavelength, float)
        n_node = max(2, int((wavelength[-1] - wavelength[0]) / CONTINUUM_STEP) + 1)
        nodes = np.linspace(wavelength[0], wavelength[-1], n_node)
        left = np.clip(np.searchsorted(nodes, wavelength, side="right") - 1, 0, n_node - 2)
        share = (wavelength - nodes[left]) / np.diff(nodes)[left]
        linear = Spread(jnp.asarray(np.stack([left, left + 1], 1)), jnp.asarray(np.stack([1.0 - share, share], 1)))
        window = cls(
            cut_up(lines, extent, wavelength, tile=tile, **shapes),
            hydrogen_plan(wavelength) if hydrogen else None,
            linear,
            nodes,
            jnp.asarray(padded_velocity(wavelength, tile)),
            len(wavelength),
            len(lines),
            n_free,
            angles,
        )
        return window.with_free(np.full(len(lines), -1))

    def with_free(self, free: Int[np.ndarray, " line"]) -> "Window":
        """The same window with correction free[i] moving line i (-1: none); shapes, and so compilations, are kept.

        Raises ValueError where there are more corrections than there is room for.
        """
        if len(free) and free.max() >= self.n_free:
            raise AstrogfError(f"{free.max() + 1} corrections, but the model was built with room for {self.n_free}")
        index = np.append(np.where(free < 0, self.n_free, free), self.n_free)
        return eqx.tree_at(lambda w: w.pieces, self, self.pieces.with_free(index, self.n_free))

    def line_by_line(self) -> "Window":
        """The same window with a correction for every line, in the order of the list, and derivatives by none."""
        pieces = self.pieces.with_free(np.arange(self.n_line + 1), 0)
        return replace(self, pieces=pieces, n_free=self.n_line)

    @property
    def cubic(self) -> "Spread":
        """From hydrogen's nodes to the grid; only where there is hydrogen."""
        assert self.hydrogen is not None
        return Spread(self.hydrogen.near, self.hydrogen.interpolation)

    def layered(self, state: State) -> Layered:
        """Everything but the lines, on nodes where it is smooth."""
        return _layered(self.hydrogen, jnp.asarray(self.node_wavelength), state, self.angles)

    def opacity(self, layers: Layered, delta: Float[Array, " free"]) -> Float[Array, "wave depth"]:
        """Continuum, hydrogen and line opacity on the grid, cm^2/g."""
        kappa = self.linear(layers.kappa)
        if layers.hydrogen is not None:
            kappa = kappa + self.cubic(layers.hydrogen)
        return kappa + line_opacity(self.pieces, layers.profile, delta, self.velocity)[: self.size]

    def spectrum(
        self, state: State, delta: Float[Array, " free"]
    ) -> tuple[Float[Array, " wave"], Float[Array, " wave"]]:
        """Flux and continuum flux, erg cm^-2 s^-1 A^-1 at the surface, with S = B."""
        layers = self.layered(state)
        ratio = self.opacity(layers, delta) / layers.abross
        flux = emergent_flux(ratio, self.linear(layers.source), state[0].tau, self.angles)
        return flux, self.linear(layers.level)

    def linearised(
        self,
        state: Callable[[Float[Array, " parameter"]], State],
        parameters: Float[Array, " parameter"],
        delta: Float[Array, " free"],
    ) -> Linearised:
        """The normalised spectrum with its exact derivatives by all parameters and by log gf of the free lines.

        `state` makes a star of its parameters (its optical depths may not depend on them). The price is one
        synthesis, one reverse pass of the transfer, and one more pass over the pieces, however many lines there are.
        """
        at = self.responding(state, parameters, delta)
        return Linearised(at.flux, at.by_parameter, self.by_line(at, self.pieces, delta))

    def responding(
        self,
        state: Callable[[Float[Array, " parameter"]], State],
        parameters: Float[Array, " parameter"],
        delta: Float[Array, " free"],
    ) -> "Responding":
        """As `linearised`, but for the derivatives by lines, which `by_line` makes of it for any choice of them."""
        tau = jax.lax.stop_gradient(state(parameters)[0].tau)
        slopes, layers = jax.jacfwd(lambda p: (self.layered(state(p)),) * 2, has_aux=True)(parameters)
        tangents = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), slopes.profile)
        kappa, source = self.opacity(layers, delta), self.linear(layers.source)
        flux, by_ratio, by_source = response(kappa / layers.abross, source, tau, self.angles)
        by_kappa = by_ratio / layers.abross
        slope = self.linear.contract(by_kappa, slopes.kappa) + self.linear.contract(by_source, slopes.source)
        if layers.hydrogen is not None:
            slope = slope + self.cubic.contract(by_kappa, slopes.hydrogen)
        slope = slope - (by_kappa * kappa / layers.abross) @ slopes.abross
        padded = jnp.pad(by_kappa, ((0, self.velocity.shape[0] - self.size), (0, 0)))
        by_lines = by_parameter(self.pieces, layers.profile, tangents, delta, padded, self.velocity)
        level = self.linear(layers.level)
        normalised = flux / level
        slope = slope + by_lines[: self.size] - normalised[:, None] * self.linear(slopes.level)
        return Responding(normalised, slope / level[:, None], layers.profile, padded, level)

    def by_line(self, at: "Responding", pieces: Pieces, delta: Float[Array, " free"]) -> list[LinePieces]:
        """Derivatives of the normalised spectrum by log gf of the free lines of `pieces`, there moved by `delta`."""
        inverse = jnp.pad(1.0 / at.level, (0, self.velocity.shape[0] - self.size))

        def over_level(part: LinePieces) -> LinePieces:
            point = part.start[:, None] + np.arange(part.slope.shape[1])
            return eqx.tree_at(lambda p: p.slope, part, part.slope * inverse[point])

        parts = by_line(pieces, at.profile, delta, at.response, self.velocity)
        return [over_level(part) for part in parts]

    def along(
        self, at: "Responding", delta: Float[Array, " free"], direction: Float[Array, " free"]
    ) -> Float[Array, " wave"]:
        """Derivative of the normalised spectrum as `delta` moves along a direction: that by all lines at once."""
        opacity = functools.partial(line_opacity, self.pieces, at.profile, grid=self.velocity)
        _, change = jax.jvp(opacity, (delta,), (direction,))
        return jnp.sum(at.response * change, axis=1)[: self.size] / at.level


class Responding(NamedTuple):
    """A normalised spectrum and its derivatives by parameters, with what those by lines follow from."""

    flux: Float[Array, "*row wave"]
    by_parameter: Float[Array, "*row wave parameter"]
    profile: Profile
    response: Float[Array, "*row padded depth"]
    level: Float[Array, "*row wave"]


@eqx.filter_jit
def _layered(hydrogen: HydrogenPlan | None, nodes: Array, state: State, angles: int) -> Layered:
    structure, gas, vmic = state
    absorption, scattering = continuum_opacity(nodes, gas)
    kappa, source = absorption + scattering, planck(nodes, gas.t)
    level = emergent_flux(kappa / structure.abross, source, structure.tau, angles)
    lines = None if hydrogen is None else hydrogen_nodes(hydrogen, gas, vmic * 1e5)
    return Layered(structure.abross, profile_state(gas, vmic), kappa, scattering, source, level, lines)


class Spread(eqx.Module):
    """Interpolation from a few nodes onto the grid: which nodes each point takes, with what weights."""

    index: Int[Array, "wave k"]
    weight: Float[Array, "wave k"]

    def __call__(self, values: Float[Array, "node *rest"]) -> Float[Array, "wave *rest"]:
        """Values on the grid."""
        shape = (-1, *[1] * (values.ndim - 1))
        k = self.index.shape[1]
        terms = [values[self.index[:, i]] * jnp.reshape(self.weight[:, i], shape) for i in range(k)]
        return functools.reduce(jnp.add, terms)

    def contract(
        self, response: Float[Array, "wave depth"], slopes: Float[Array, "node depth parameter"]
    ) -> Float[Array, "wave parameter"]:
        """Sum over depth of response * (slopes on the grid), without ever making the latter."""

        def block(response, index, weight):
            here = sum(weight[:, k, None, None] * slopes[index[:, k]] for k in range(index.shape[1]))
            return jnp.einsum("wd,wdp->wp", response, here)

        return by_blocks(block, (response, self.index, self.weight), 512)
