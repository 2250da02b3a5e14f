"""The spectrum model of a fit: stellar labels and log gf corrections to a normalised spectrum, with all derivatives."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from astrogf.emulator.layers import Layers
from astrogf.synthesis.gas.abundances import number_fractions
from astrogf.synthesis.gas.eos import equation_of_state
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.lines.pieces import TILE, Extent
from astrogf.synthesis.observed.grid import Grid
from astrogf.synthesis.window import Responding, State, Window

PARAMETERS = ("teff", "logg", "feh", "alpha", "vmic")
"""Order of a star's parameter vector here: K, dex, dex, dex, km/s."""
WIDEST = 4000
"""Grid points to a side of the widest line of a fit, some 100 A."""

FARTHER = 4
"""A fit's cut is coarse: wings go on to this many times where they have fallen to it."""

COPIES = 30
"""Arrays of wavelengths x layers in memory at once."""


class SpectrumModel(eqx.Module):
    """Normalised LTE spectra on a survey's grid; one instance a run, so that everything compiles once.

    `atmosphere` is an emulator on the run's depths. `shift` below is what each line of the list is moved by, in dex of
    log (gf x abundance): a correction, an abundance that many lines share, or both. `solar` names the scale that feh
    and alpha are relative to. `by_teff`: what `shift` changes by with Teff, dex/K, where it does: derivatives by Teff
    then have that of the lines in them.
    """

    atmosphere: Layers
    window: Window
    grid: Grid = eqx.field(static=True)
    solar: str = eqx.field(static=True, default="asplund2009")
    by_teff: Float[Array, " line"] | None = None

    @classmethod
    def build(
        cls,
        atmosphere: Layers,
        lines: LineList,
        extent: Extent,
        grid: Grid,
        angles: int = 3,
        single: bool = True,
        solar: str = "asplund2009",
    ) -> "SpectrumModel":
        """Prepare the fixed shapes of a run, on the host: see `Window.build`. No line reaches past `WIDEST` points."""
        extent = extent._replace(reach=np.minimum(extent.reach, WIDEST * grid.velocity_step))
        # a whole number of survey pixels, so that the instrument sees all tiles alike
        tile = grid.oversampling * -(-TILE // grid.oversampling)
        shapes: dict[str, Any] = {"tile": tile, "single": single, "farther": FARTHER}
        window = Window.build(grid.wavelength, lines, extent, angles=angles, **shapes)
        return cls(atmosphere, window.line_by_line(), grid, solar)

    @property
    def n_line(self) -> int:
        """Lines of the list."""
        return self.window.n_line

    @property
    def working_bytes(self) -> float:
        """Memory that a spectrum takes, with its derivatives, while it is computed: so many arrays of wavelengths x
        layers."""
        return 8.0 * COPIES * self.window.velocity.shape[0] * self.atmosphere.tau.shape[0]

    def state(self, parameters: Float[Array, "5"]) -> State:
        """Structure, gas and vmic of a star with parameters as in `PARAMETERS`."""
        structure = self.atmosphere(parameters[:4])
        fractions = number_fractions(parameters[2], parameters[3], solar=self.solar)
        return structure, equation_of_state(structure.t, structure.p, structure.xne, fractions), parameters[4]

    def normalised(self, parameters: Float[Array, "5"], shift: Float[Array, " line"]) -> Float[Array, " wave"]:
        """Flux over continuum flux on the grid, S = B."""
        flux, continuum = self.window.spectrum(self.state(parameters), shift)
        return flux / continuum

    def responding(self, parameters: Float[Array, "5"], shift: Float[Array, " line"]) -> Responding:
        """The spectrum with its exact derivatives by all parameters, and what those by lines follow from."""
        at = self.window.responding(self.state, parameters, shift)
        if self.by_teff is None:
            return at
        moving = self.window.along(at, shift, self.by_teff)
        return at._replace(by_parameter=at.by_parameter.at[:, PARAMETERS.index("teff")].add(moving))
