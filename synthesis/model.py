"""The spectrum model: stellar labels and log gf corrections to a normalised spectrum, with all derivatives."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

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

    `atmosphere` maps the four labels to a `Structure` (an emulator). `buckets` hold all lines, `free_buckets` only
    those with a correction of their own. `delta` below always has `n_free` entries, in dex.
    """

    atmosphere: Callable[[Float[Array, "4"]], Structure]
    buckets: list[Bucket]
    free_buckets: list[Bucket]
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
        atmosphere: Callable,
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
        buckets = make_buckets(lines, half_width, grid, ATOMIC_WEIGHTS, index, n_free)
        free_buckets = make_buckets(lines.take(mine), half_width[mine], grid, ATOMIC_WEIGHTS, index[mine], n_free)
        wavelength = grid.wavelength
        n_node = max(2, int((wavelength[-1] - wavelength[0]) / CONTINUUM_STEP) + 1)
        nodes = np.linspace(wavelength[0], wavelength[-1], n_node)
        left = np.clip(np.searchsorted(nodes, wavelength, side="right") - 1, 0, n_node - 2)
        weight = (wavelength - nodes[left]) / np.diff(nodes)[left]
        plan = hydrogen_plan(wavelength)
        return cls(atmosphere, buckets, free_buckets, plan, left, weight, nodes, grid, n_free, order)

    def gas(self, parameters: Float[Array, "5"]) -> tuple[Structure, Gas, Profile]:
        """Structure, gas and line-profile state of a star with parameters as in `PARAMETERS`."""
        structure = self.atmosphere(parameters[:4])
        fractions = number_fractions(parameters[2], parameters[3])
        gas = equation_of_state(structure.t, structure.p, structure.xne, fractions)
        return structure, gas, profile_state(gas, parameters[4])

    def spread(self, values: Float[Array, "node depth"]) -> Float[Array, "wave depth"]:
        """Linear interpolation from the continuum nodes onto the grid."""
        weight = self.node_weight[:, None]
        return values[self.node_index] * (1.0 - weight) + values[self.node_index + 1] * weight

    def _spectrum(self, parameters, delta):
        structure, gas, profile = self.gas(parameters)
        nodes = sum(continuum_opacity(jnp.asarray(self.node_wavelength), gas))
        node_source = planck(jnp.asarray(self.node_wavelength), gas.t)
        continuum = emergent_flux(nodes, node_source, structure.tau, structure.abross, self.order)
        kappa = self.spread(nodes) + line_opacity(self.buckets, profile, delta)
        kappa = kappa + hydrogen_opacity(self.hydrogen, gas, parameters[4] * 1e5)
        source = self.spread(node_source)
        level = self.spread(continuum[:, None])[:, 0]
        return structure, profile, kappa, source, level

    def normalised(self, parameters: Float[Array, "5"], delta: Float[Array, " free"]) -> Float[Array, " wave"]:
        """Flux over continuum flux on the grid, S = B."""
        structure, _, kappa, source, level = self._spectrum(parameters, delta)
        return emergent_flux(kappa, source, structure.tau, structure.abross, self.order) / level

    def linearised(self, parameters: Float[Array, "5"], delta: Float[Array, " free"]) -> Linearised:
        """The spectrum with its exact derivatives by all parameters and all free lines."""

        def spectrum(p):
            structure, profile, kappa, source, level = self._spectrum(p, delta)
            flux = emergent_flux(kappa, source, structure.tau, structure.abross, self.order) / level
            return flux, (flux, structure, profile, kappa, source, level)

        by_parameter, (flux, structure, profile, kappa, source, level) = jax.jacfwd(spectrum, has_aux=True)(parameters)
        _, by_opacity = response(kappa, source, structure.tau, structure.abross, self.order)
        by_line = line_response(self.free_buckets, profile, delta, by_opacity / level[:, None])
        return Linearised(flux, by_parameter, by_line)
