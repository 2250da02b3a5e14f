"""The spectrum model: stellar labels and log gf corrections to a normalised spectrum, with all derivatives."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from emulator.layers import Layers
from emulator.structure import Structure
from synthesis.abundances import ATOMIC_WEIGHTS, number_fractions
from synthesis.continuum import continuum_opacity
from synthesis.eos import equation_of_state
from synthesis.gas import Gas
from synthesis.grid import Grid
from synthesis.hydrogen import HydrogenPlan, hydrogen_opacity, hydrogen_plan
from synthesis.linelist import LineList
from synthesis.lines import Bucket, Profile, line_opacity, line_response, make_buckets, profile_state
from synthesis.transfer import emergent_flux, planck, response

PARAMETERS = ("teff", "logg", "feh", "alpha", "vmic")
"""Order of a star's parameter vector here: K, dex, dex, dex, km/s."""
CONTINUUM_STEP = 10.0  # Angstrom between continuum nodes: interpolation error below 1e-5 away from edges


class Linearised(eqx.Module):
    """A spectrum, its derivatives by the star's parameters, and by log gf of every line within its window."""

    flux: Float[Array, " wave"]
    by_parameter: Float[Array, "wave parameter"]
    by_line: list[Float[Array, "chunk line window"]]


class SpectrumModel(eqx.Module):
    """Normalised LTE spectra on a fixed grid; one instance a run, so that everything compiles once.

    `atmosphere` is an emulator on the run's depths; `delta` below always has `n_free` entries, in dex.
    """

    atmosphere: Layers
    buckets: list[Bucket]
    hydrogen: HydrogenPlan
    node_index: np.ndarray
    node_weight: np.ndarray
    node_wavelength: np.ndarray
    grid: Grid = eqx.field(static=True)
    n_line: int = eqx.field(static=True)
    n_free: int = eqx.field(static=True)
    order: int = eqx.field(static=True)

    @classmethod
    def build(
        cls, atmosphere: Layers, lines: LineList, half_width: np.ndarray, grid: Grid, n_free: int = 0, order: int = 3
    ) -> "SpectrumModel":
        """Prepare the fixed shapes of a run, on the host.

        `half_width` in grid points comes from `synthesis.strength.line_windows`; `n_free` is the number of
        corrections there is room for (see `with_free`); `order` is the number of Gauss angles.
        """
        buckets = make_buckets(lines, half_width, grid, ATOMIC_WEIGHTS)
        wavelength = grid.wavelength
        n_node = max(2, int((wavelength[-1] - wavelength[0]) / CONTINUUM_STEP) + 1)
        nodes = np.linspace(wavelength[0], wavelength[-1], n_node)
        left = np.clip(np.searchsorted(nodes, wavelength, side="right") - 1, 0, n_node - 2)
        weight = (wavelength - nodes[left]) / np.diff(nodes)[left]
        plan = hydrogen_plan(wavelength)
        model = cls(atmosphere, buckets, plan, left, weight, nodes, grid, len(lines), n_free, order)
        return model.with_free(np.full(len(lines), -1))

    def with_free(self, free: Int[np.ndarray, " line"]) -> "SpectrumModel":
        """The same model with correction free[i] moving line i (-1: none); shapes, and so compilations, are kept.

        Raises ValueError where there are more corrections than the model has room for.
        """
        if len(free) and free.max() >= self.n_free:
            raise ValueError(f"{free.max() + 1} corrections, but the model was built with room for {self.n_free}")
        index = np.append(np.where(free < 0, self.n_free, free), self.n_free)
        moved = [jnp.asarray(index[np.asarray(b.line)]) for b in self.buckets]
        return eqx.tree_at(lambda m: [b.free for b in m.buckets], self, moved)

    def gas(self, parameters: Float[Array, "5"]) -> tuple[Structure, Gas, Profile]:
        """Structure, gas and line-profile state of a star with parameters as in `PARAMETERS`."""
        structure = self.atmosphere(parameters[:4])
        fractions = number_fractions(parameters[2], parameters[3])
        gas = equation_of_state(structure.t, structure.p, structure.xne, fractions)
        return structure, gas, profile_state(gas, parameters[4])

    def spread(self, values: Float[Array, "node *rest"]) -> Float[Array, "wave *rest"]:
        """Linear interpolation from the continuum nodes onto the grid."""
        weight = self.node_weight.reshape(-1, *[1] * (values.ndim - 1))
        return values[self.node_index] * (1.0 - weight) + values[self.node_index + 1] * weight

    def _layers(self, parameters) -> "Layered":
        """Everything but the lines, on nodes where it is smooth."""
        structure, gas, profile = self.gas(parameters)
        nodes = jnp.asarray(self.node_wavelength)
        kappa, source = sum(continuum_opacity(nodes, gas)), planck(nodes, gas.t)
        level = emergent_flux(kappa / structure.abross, source, structure.tau, self.order)
        hydrogen = hydrogen_opacity(self.hydrogen, gas, parameters[4] * 1e5)
        return Layered(structure.abross, profile, kappa, source, level, hydrogen)

    def _opacity(self, layers: "Layered", delta) -> Float[Array, "wave depth"]:
        lines = line_opacity(self.buckets, layers.profile, delta, self.grid.size)
        return self.spread(layers.kappa) + layers.hydrogen + lines

    def normalised(self, parameters: Float[Array, "5"], delta: Float[Array, " free"]) -> Float[Array, " wave"]:
        """Flux over continuum flux on the grid, S = B."""
        layers = self._layers(parameters)
        ratio = self._opacity(layers, delta) / layers.abross
        flux = emergent_flux(ratio, self.spread(layers.source), self.atmosphere.tau, self.order)
        return flux / self.spread(layers.level[:, None])[:, 0]

    def linearised(self, parameters: Float[Array, "5"], delta: Float[Array, " free"]) -> Linearised:
        """The spectrum with its exact derivatives by all parameters and by log gf of all lines.

        The price is one synthesis, one reverse pass of the transfer, and one more pass over the line windows,
        however many parameters and lines there are.
        """
        slopes, layers = jax.jacfwd(lambda p: (self._layers(p),) * 2, has_aux=True)(parameters)
        tangents = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), slopes.profile)
        kappa, source = self._opacity(layers, delta), self.spread(layers.source)
        flux, by_ratio, by_source = response(kappa / layers.abross, source, self.atmosphere.tau, self.order)
        by_kappa = by_ratio / layers.abross

        def contract(weights, slope):
            return jnp.einsum("wd,wdp->wp", weights, slope)

        by_parameter = contract(by_kappa, self.spread(slopes.kappa) + slopes.hydrogen)
        by_parameter = by_parameter + contract(by_source, self.spread(slopes.source))
        by_parameter = by_parameter - (by_kappa * kappa / layers.abross) @ slopes.abross
        lines = line_response(self.buckets, layers.profile, tangents, delta, by_kappa)
        level = self.spread(layers.level[:, None])
        level_slope = self.spread(slopes.level)
        normalised = flux[:, None] / level
        by_parameter = (by_parameter + lines.by_parameter - normalised * level_slope) / level
        by_line = [
            window / level[b.start[..., None] + np.arange(window.shape[-1]), 0]
            for b, window in zip(self.buckets, lines.by_line, strict=True)
        ]
        return Linearised(normalised[:, 0], by_parameter, by_line)


class Layered(NamedTuple):
    """A star's layers before lines: continuum opacity, source and flux on the nodes, hydrogen on the grid."""

    abross: Float[Array, " depth"]
    profile: Profile
    kappa: Float[Array, "node depth"]
    source: Float[Array, "node depth"]
    level: Float[Array, " node"]
    hydrogen: Float[Array, "wave depth"]
