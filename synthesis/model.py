"""The spectrum model: stellar labels and log gf corrections to a normalised spectrum, with all derivatives."""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from emulator.layers import Layers
from emulator.structure import Structure
from synthesis.abundances import number_fractions
from synthesis.continuum import continuum_opacity
from synthesis.eos import equation_of_state
from synthesis.gas import Gas
from synthesis.grid import Grid
from synthesis.hydrogen import HydrogenPlan, hydrogen_nodes, hydrogen_plan
from synthesis.linelist import LineList
from synthesis.lines import Bucket, Profile, line_opacity, line_response, make_buckets, profile_state
from synthesis.transfer import emergent_flux, planck, response

PARAMETERS = ("teff", "logg", "feh", "alpha", "vmic")
"""Order of a star's parameter vector here: K, dex, dex, dex, km/s."""
CONTINUUM_STEP = 10.0  # Angstrom between continuum nodes


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
    linear: "Spread"
    node_wavelength: np.ndarray
    grid: Grid = eqx.field(static=True)
    n_line: int = eqx.field(static=True)
    n_free: int = eqx.field(static=True)
    order: int = eqx.field(static=True)

    @classmethod
    def build(
        cls,
        atmosphere: Layers,
        lines: LineList,
        half_width: np.ndarray,
        grid: Grid,
        n_free: int = 0,
        order: int = 3,
        single: bool = False,
    ) -> "SpectrumModel":
        """Prepare the fixed shapes of a run, on the host.

        `half_width` in grid points comes from `synthesis.strength.line_windows`; `n_free` is the number of
        corrections there is room for (see `with_free`); `order` is the number of Gauss angles; `single` evaluates the
        line profiles in float32.
        """
        buckets = make_buckets(lines, half_width, grid, single=single)
        wavelength = grid.wavelength
        n_node = max(2, int((wavelength[-1] - wavelength[0]) / CONTINUUM_STEP) + 1)
        nodes = np.linspace(wavelength[0], wavelength[-1], n_node)
        left = np.clip(np.searchsorted(nodes, wavelength, side="right") - 1, 0, n_node - 2)
        right_share = (wavelength - nodes[left]) / np.diff(nodes)[left]
        linear = Spread(
            jnp.asarray(np.stack([left, left + 1], 1)), jnp.asarray(np.stack([1.0 - right_share, right_share], 1))
        )
        plan = hydrogen_plan(wavelength)
        model = cls(atmosphere, buckets, plan, linear, nodes, grid, len(lines), n_free, order)
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

    def _layers(self, parameters) -> "Layered":
        """Everything but the lines, on nodes where it is smooth."""
        structure, gas, profile = self.gas(parameters)
        nodes = jnp.asarray(self.node_wavelength)
        absorption, scattering = continuum_opacity(nodes, gas)
        kappa, source = absorption + scattering, planck(nodes, gas.t)
        level = emergent_flux(kappa / structure.abross, source, structure.tau, self.order)
        hydrogen = hydrogen_nodes(self.hydrogen, gas, parameters[4] * 1e5)
        return Layered(structure.abross, profile, kappa, source, level, hydrogen)

    @property
    def cubic(self) -> "Spread":
        """From hydrogen's nodes to the grid."""
        return Spread(self.hydrogen.near, self.hydrogen.interpolation)

    def _opacity(self, layers: "Layered", delta) -> Float[Array, "wave depth"]:
        lines = line_opacity(self.buckets, layers.profile, delta, self.grid.size)
        return self.linear(layers.kappa) + self.cubic(layers.hydrogen) + lines

    def normalised(self, parameters: Float[Array, "5"], delta: Float[Array, " free"]) -> Float[Array, " wave"]:
        """Flux over continuum flux on the grid, S = B."""
        layers = self._layers(parameters)
        ratio = self._opacity(layers, delta) / layers.abross
        flux = emergent_flux(ratio, self.linear(layers.source), self.atmosphere.tau, self.order)
        return flux / self.linear(layers.level)

    def linearised(self, parameters: Float[Array, "5"], delta: Float[Array, " free"]) -> Linearised:
        """The spectrum with its exact derivatives by all parameters and by log gf of all lines.

        The price is one synthesis, one reverse pass of the transfer, and one more pass over the line windows,
        however many parameters and lines there are.
        """
        slopes, layers = jax.jacfwd(lambda p: (self._layers(p),) * 2, has_aux=True)(parameters)
        tangents = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), slopes.profile)
        kappa, source = self._opacity(layers, delta), self.linear(layers.source)
        flux, by_ratio, by_source = response(kappa / layers.abross, source, self.atmosphere.tau, self.order)
        by_kappa = by_ratio / layers.abross
        by_parameter = self.linear.contract(by_kappa, slopes.kappa) + self.linear.contract(by_source, slopes.source)
        by_parameter = by_parameter + self.cubic.contract(by_kappa, slopes.hydrogen)
        by_parameter = by_parameter - (by_kappa * kappa / layers.abross) @ slopes.abross
        lines = line_response(self.buckets, layers.profile, tangents, delta, by_kappa)
        level = self.linear(layers.level)[:, None]
        level_slope = self.linear(slopes.level)
        normalised = flux[:, None] / level
        by_parameter = (by_parameter + lines.by_parameter - normalised * level_slope) / level
        by_line = [
            window / level[b.start[..., None] + np.arange(window.shape[-1]), 0]
            for b, window in zip(self.buckets, lines.by_line, strict=True)
        ]
        return Linearised(normalised[:, 0], by_parameter, by_line)


class Layered(NamedTuple):
    """A star's layers before lines, each on its own nodes."""

    abross: Float[Array, " depth"]
    profile: Profile
    kappa: Float[Array, "node depth"]
    source: Float[Array, "node depth"]
    level: Float[Array, " node"]
    hydrogen: Float[Array, "core depth"]


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
        """Sum over depth of response * (slopes on the grid), as one matrix product that never makes the latter."""
        n_node, n_depth, n_parameter = slopes.shape
        table = response @ jnp.moveaxis(slopes, 1, 0).reshape(n_depth, n_node * n_parameter)
        table = table.reshape(-1, n_node, n_parameter)
        picked = jnp.take_along_axis(table, jnp.asarray(self.index)[:, :, None], axis=1)
        return jnp.sum(picked * self.weight[:, :, None], axis=1)
