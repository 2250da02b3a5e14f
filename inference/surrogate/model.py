"""The surrogate as a spectrum model: what `synthesis.model.SpectrumModel` is asked for in a fit of stars alone."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from astrogf.emulator.layers import Layers
from astrogf.inference.problem.problem import N_SPECTRUM, StarProblem
from astrogf.inference.problem.tiles import Tiles
from astrogf.inference.surrogate import abundances as further
from astrogf.inference.surrogate.abundances import Abundances
from astrogf.inference.surrogate.coarse import Coarse, CoarseInstrument
from astrogf.inference.surrogate.domain import Domain
from astrogf.inference.surrogate.process import Process
from astrogf.synthesis.model import PARAMETERS
from astrogf.synthesis.observed.grid import Grid
from astrogf.synthesis.window import Responding

THETA = 5040.0
"""K: the first coordinate is this over Teff, in which spectra are smoother than in Teff."""


class Surrogate(eqx.Module):
    """Normalised spectra on the points of a `Coarse`, broadened by its sigma0, as a function of a star's labels and of
    the abundances that it has of its own.

    `process` gives the amplitudes of `components` over the `mean`, and `abundances` what those add, if they do. Beyond
    `low` and `high` (teff, logg, feh, alpha, vmic) spectra go on along straight lines. `parameters` below are these
    five and the abundances, `told` of them.
    """

    atmosphere: Layers
    process: Process
    mean: Float[Array, " point"]
    components: Float[Array, "component point"]
    low: Float[Array, "5"]
    high: Float[Array, "5"]
    grid: Grid = eqx.field(static=True)
    n_line: int = eqx.field(static=True, default=0)
    abundances: Abundances | None = None

    @property
    def working_bytes(self) -> float:
        """Memory that a spectrum takes, with its derivatives, while it is computed."""
        size, n = sum(self.components.shape), 1 + len(PARAMETERS)
        if self.abundances is not None:
            size, n = size + sum(sum(x.shape) for x in self.abundances.components), n + len(self.abundances.step)
        return 8.0 * 2 * n * size

    def both(self, parameters: Float[Array, " told"]) -> tuple[Float[Array, " point"], Float[Array, "point told"]]:
        """The spectrum and its derivatives by the parameters."""
        labels, own = parameters[:N_SPECTRUM], parameters[N_SPECTRUM:]
        held = jnp.clip(labels, self.low, self.high)
        place, scale = coordinates(held), by_parameter(held)
        told = self.process(place) @ self.components
        slopes = told[1:] * scale[:, None]
        flux = self.mean + told[0] + (labels - held) @ slopes
        by_own = jnp.zeros((len(own), len(self.mean)))
        if self.abundances is not None:
            change = self.abundances(place, (labels - held) * scale, own)
            flux, slopes, by_own = (
                flux + change.flux,
                slopes + change.by_coordinate * scale[:, None],
                change.by_abundance,
            )
        return flux, jnp.concatenate([slopes, by_own]).T

    def normalised(self, parameters: Float[Array, " told"], shift: Float[Array, " line"]) -> Float[Array, " point"]:
        """Flux over continuum flux; lines cannot be moved, so that `shift` is empty."""
        return self.both(parameters)[0]

    def responding(self, parameters: Float[Array, " told"], shift: Float[Array, " line"]) -> Responding:
        """The spectrum and its derivatives; nothing of what those by lines follow from."""
        flux, slopes = self.both(parameters)
        return Responding(flux, slopes, cast(Any, None), cast(Any, None), cast(Any, None))


def coordinates(parameters: Float[Array, "*star 5"]) -> Float[Array, "*star 5"]:
    """What the process is a function of."""
    return jnp.concatenate([THETA / parameters[..., :1], parameters[..., 1:]], -1)


def by_parameter(parameters: Float[Array, "*star 5"]) -> Float[Array, "*star 5"]:
    """Derivatives of the coordinates by the parameters: the one of Teff is not 1."""
    ones = jnp.ones_like(parameters[..., 1:])
    return jnp.concatenate([-THETA / parameters[..., :1] ** 2, ones], -1)


def in_place_of(problem: StarProblem, surrogate: Surrogate, coarse: Coarse) -> StarProblem:
    """The problem of stars alone, its spectra made by the surrogate; all else is as it was."""
    empty = jnp.zeros((0, 0))
    return replace(
        problem,
        spectrum=cast(Any, surrogate),
        pieces=cast(Any, None),
        slot=jnp.zeros(0, int),
        membership=empty,
        atoms=empty,
        rest=jnp.zeros(0, int),
        n_free=0,
        tiles=Tiles.undivided(problem.spectrum.grid.n_pixel, 0),
        scattered=False,
        steepness=None,
        instrument=CoarseInstrument.of(problem.instrument, coarse.sigma0),
        n_told=problem.membership.shape[1],
    )


def as_arrays(surrogate: Surrogate) -> dict[str, np.ndarray]:
    """All that a surrogate is but for atmosphere and grid, for a file."""
    process = {name: np.asarray(value) for name, value in surrogate.process._asdict().items()}
    mine = {name: np.asarray(getattr(surrogate, name)) for name in ("mean", "components", "low", "high")}
    return process | mine | further.as_arrays(surrogate.abundances)


def from_arrays(arrays: Mapping[str, np.ndarray], atmosphere: Layers, grid: Grid) -> Surrogate:
    """The inverse of `as_arrays`. Raises KeyError where one is missing."""
    process = Process(*(jnp.asarray(arrays[name]) for name in Process._fields))
    mean, components, low, high = (jnp.asarray(arrays[name]) for name in ("mean", "components", "low", "high"))
    own = further.from_arrays(arrays)
    return Surrogate(atmosphere, process, mean, components, low, high, grid, abundances=own)


def box(domain: Domain, parameters: Float[np.ndarray, "star 5"]) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest parameters: the domain's, and for vmic, which it has relative to the labels, those drawn."""
    vmic = parameters[:, 4]
    return np.append(domain.low[:4], vmic.min()), np.append(domain.high[:4], vmic.max())
