"""The spectrum model: stellar labels and log gf corrections to a normalised spectrum, with all derivatives."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

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
    """A spectrum, its derivatives by the star's parameters, and by every free line within its window."""

    flux: Float[Array, " wave"]
    by_parameter: Float[Array, "wave parameter"]
    by_line: list[Float[Array, "chunk line window"]]


class SpectrumModel(eqx.Module):
    """Normalised LTE spectra on a fixed grid; one instance a run, so that everything compiles once.

    `atmosphere` is an emulator on the run's depths. `free_buckets` hold the lines with a correction of their own,
    `fixed_buckets` all others. `delta` below always has `n_free` entries, in dex.
    """

    atmosphere: Layers
    free_buckets: list[Bucket]
    fixed_buckets: list[Bucket]
    hydrogen: HydrogenPlan
    node_index: np.ndarray
    node_weight: np.ndarray
    node_wavelength: np.ndarray
    grid: Grid = eqx.field(static=True)
    n_free: int = eqx.field(static=True)
    order: int = eqx.field(static=True)

    @classmethod
    def build(
        cls,
        atmosphere: Layers,
        lines: LineList,
        half_width: np.ndarray,
        grid: Grid,
        free: np.ndarray | None = None,
        order: int = 3,
    ) -> "SpectrumModel":
        """Prepare the fixed shapes of a run, on the host.

        `half_width` in grid points comes from `synthesis.strength.line_windows`; `free[i]` is the index of the
        correction that moves line i, or -1; `order` is the number of Gauss angles.
        """
        free = np.full(len(lines), -1) if free is None else np.asarray(free)
        n_free = int(free.max()) + 1 if len(free) else 0
        index = np.where(free < 0, n_free, free)
        mine = free >= 0
        free_buckets, fixed_buckets = (
            make_buckets(lines.take(pick), half_width[pick], grid, ATOMIC_WEIGHTS, index[pick], n_free)
            for pick in (mine, ~mine)
        )
        wavelength = grid.wavelength
        n_node = max(2, int((wavelength[-1] - wavelength[0]) / CONTINUUM_STEP) + 1)
        nodes = np.linspace(wavelength[0], wavelength[-1], n_node)
        left = np.clip(np.searchsorted(nodes, wavelength, side="right") - 1, 0, n_node - 2)
        weight = (wavelength - nodes[left]) / np.diff(nodes)[left]
        plan = hydrogen_plan(wavelength)
        return cls(atmosphere, free_buckets, fixed_buckets, plan, left, weight, nodes, grid, n_free, order)

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
        return self.spread(layers.kappa) + layers.hydrogen + line_opacity([*self.free_buckets, *self.fixed_buckets], layers.profile, delta, self.grid.size)

    def normalised(self, parameters: Float[Array, "5"], delta: Float[Array, " free"]) -> Float[Array, " wave"]:
        """Flux over continuum flux on the grid, S = B."""
        layers = self._layers(parameters)
        ratio = self._opacity(layers, delta) / layers.abross
        flux = emergent_flux(ratio, self.spread(layers.source), self.atmosphere.tau, self.order)
        return flux / self.spread(layers.level[:, None])[:, 0]

    def linearised(self, parameters: Float[Array, "5"], delta: Float[Array, " free"]) -> Linearised:
        """The spectrum with its exact derivatives by all parameters and all free lines.

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
        lines = line_response(
            [*self.free_buckets, *self.fixed_buckets],
            layers.profile,
            tangents,
            delta,
            by_kappa,
            [True] * len(self.free_buckets) + [False] * len(self.fixed_buckets),
        )
        level = self.spread(layers.level[:, None])
        level_slope = self.spread(slopes.level)
        normalised = flux[:, None] / level
        by_parameter = (by_parameter + lines.by_parameter - normalised * level_slope) / level
        by_line = [
            window / jax.vmap(jax.vmap(lambda s, w=window: jax.lax.dynamic_slice_in_dim(level[:, 0], s, w.shape[-1])))(b.start)
            for b, window in zip(self.free_buckets, lines.by_line, strict=True)
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
