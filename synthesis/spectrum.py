"""A prepared spectrum: a pure function of atmosphere, abundances, vmic and log gf corrections."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from astrogf.base.errors import AstrogfError
from astrogf.base.to_specutils import to_specutils
from astrogf.emulator.layers import Layers
from astrogf.emulator.structure import LABELS, Structure
from astrogf.synthesis.checks import Outside, check_corrections, check_mu, check_star
from astrogf.synthesis.gas.abundances import SYMBOLS, number_fractions
from astrogf.synthesis.gas.eos import equation_of_state, solve_xne
from astrogf.synthesis.transfer.plane import emergent_flux, emergent_intensity
from astrogf.synthesis.transfer.scattering import scattered_source
from astrogf.synthesis.transfer.spherical import reference_radius, shell_radius, spherical_flux
from astrogf.synthesis.window import Layered, Linearised, Spread, State, Window

Labels = Sequence[float] | Float[Array, "4"]
Abundances = Mapping[str, Float[Array, ""] | float] | Float[Array, "92"]


class Spectrum(eqx.Module):
    """A synthetic spectrum: `wavelength` in Angstrom, `flux` and `continuum` at the stellar surface.

    Units: erg cm^-2 s^-1 A^-1, integrating to sigma Teff^4; intensities (where mu was asked for, shape (wave, mu))
    in erg cm^-2 s^-1 A^-1 sr^-1. `medium` is that of the wavelengths, `solar` the scale of the abundances.
    """

    wavelength: Float[Array, " wave"]
    flux: Float[Array, "wave *mu"]
    continuum: Float[Array, "wave *mu"]
    medium: str = eqx.field(static=True, default="vacuum")
    solar: str = eqx.field(static=True, default="asplund2009")

    @property
    def normalised(self) -> Float[Array, "wave *mu"]:
        """Flux over continuum."""
        return self.flux / self.continuum

    def to_specutils(self, normalised: bool = False) -> Any:
        """As a `specutils.Spectrum`, flux or (`normalised`) flux over continuum, wavelength in Angstrom of `medium`.

        Raises AstrogfError where specutils is missing (pip install 'astrogf[specutils]'), and for intensities.
        """
        if self.flux.ndim != 1:
            raise AstrogfError("to_specutils: intensities at several mu are no one spectrum; take a column of flux")
        values = np.asarray(self.normalised if normalised else self.flux)
        unit = "" if normalised else "erg / (s cm2 Angstrom)"
        meta = {"medium": self.medium, "solar": self.solar}
        return to_specutils(np.asarray(self.wavelength), values, unit, meta=meta)

    def __repr__(self) -> str:
        if not isinstance(self.wavelength, np.ndarray | jax.Array) or isinstance(self.wavelength, jax.core.Tracer):
            return super().__repr__()
        wave = np.asarray(self.wavelength)
        extent = f", {wave[0]:.2f}-{wave[-1]:.2f} A in {self.medium}" if wave.ndim == 1 and wave.size else ""
        return f"Spectrum({wave.size} wavelengths{extent}; wavelength, flux, continuum, normalised)"


class Physics(eqx.Module):
    """How a spectrum is computed; static, so a change compiles anew.

    `scattering`: electrons and Rayleigh scatter in the source function (else S = B, and they absorb). `spherical`:
    shells instead of planes, around a star of `mass` suns. `electrons`: "structure" takes the structure's electron
    density, "solve" the one that conserves charge with the abundances at hand.
    """

    scattering: bool = eqx.field(static=True, default=False)
    spherical: bool = eqx.field(static=True, default=False)
    mass: float = eqx.field(static=True, default=1.0)
    electrons: Literal["structure", "solve"] = eqx.field(static=True, default="structure")
    solar: str = eqx.field(static=True, default="asplund2009")


def relative_abundances(abundances: Abundances | None) -> Float[Array, "92"] | None:
    """[X/Fe] of every element from a mapping of symbols or an array of 92; None for none.

    Raises ValueError for what is no element.
    """
    if abundances is None:
        return None
    if not isinstance(abundances, Mapping):
        return jnp.asarray(abundances, float)
    xfe = jnp.zeros(92)
    for symbol, value in abundances.items():
        if symbol not in SYMBOLS:
            raise AstrogfError(f"abundances: {symbol!r} is no element's symbol; write {{'Mg': 0.2}} for [Mg/Fe] = 0.2")
        xfe = xfe.at[SYMBOLS.index(symbol)].set(value)
    return xfe


@eqx.filter_jit
def star_state(
    layers: Layers,
    physics: Physics,
    atmosphere: Structure | Labels,
    feh: Float[Array, ""] | float | None = None,
    alpha: Float[Array, ""] | float | None = None,
    vmic: Float[Array, "*depth"] | float = 1.0,
    abundances: Abundances | None = None,
) -> State:
    """Structure, gas and vmic (km/s) of a star; `layers` makes structures of labels.

    Raises ValueError for labels that are not four numbers, for abundances of what is no element, and for a vmic that is
    neither one number nor one a layer.
    """
    labels = None
    if isinstance(atmosphere, Structure):
        structure = atmosphere
    else:
        labels = jnp.stack([jnp.asarray(x, float) for x in atmosphere])
        if labels.shape != (len(LABELS),):
            raise AstrogfError(f"labels: {labels.shape[0]} numbers, expected four: {', '.join(LABELS)}")
        structure = layers(labels)
    vmic = jnp.asarray(vmic, float)
    if vmic.shape not in ((), structure.t.shape):
        raise AstrogfError(f"vmic: {vmic.size} values for {structure.t.size} layers; give one number, or one a layer")
    feh = (0.0 if labels is None else labels[2]) if feh is None else feh
    alpha = (0.0 if labels is None else labels[3]) if alpha is None else alpha
    fractions = number_fractions(feh, alpha, relative_abundances(abundances), physics.solar)
    t, p = structure.t, structure.p
    xne = solve_xne(t, p, fractions) if physics.electrons == "solve" else structure.xne
    return structure, equation_of_state(t, p, xne, fractions), vmic


def surface_logg(structure: Structure) -> Float[Array, ""]:
    """log g (cgs) at which the structure is in hydrostatic equilibrium: the median over its layers.

    Source: dP / dRHOX = g - g_rad, Kurucz (1970, SAO Special Report 309), eq. 4.3.
    """
    slope = jnp.diff(structure.p) / jnp.diff(structure.rhox)
    return jnp.log10(jnp.median(slope + 0.5 * (structure.accrad[1:] + structure.accrad[:-1])))


class Synthesis(eqx.Module):
    """A wavelength window with its lines, prepared; a call is a pure function that JAX can transform.

    `synthesis.synthesize.prepare` makes one. Differentiate a call with jax.grad or jax.jacfwd, or take `linearised`,
    which gives all parameters and all lines at once for the price of a few spectra.

    `outside` is what labels outside the emulator's hull do: "warn", "raise" (AstrogfError) or "ignore". Values are
    looked at where they are numbers; under a JAX transformation they are not known, and nothing is said.
    """

    window: Window
    layers: Layers
    wavelength: Float[np.ndarray, " wave"]
    physics: Physics
    outside: Outside = eqx.field(static=True, default="warn")

    def __call__(
        self,
        atmosphere: Structure | Labels,
        *,
        feh: Float[Array, ""] | float | None = None,
        alpha: Float[Array, ""] | float | None = None,
        vmic: Float[Array, "*depth"] | float = 1.0,
        abundances: Abundances | None = None,
        corrections: Float[Array, " line"] | None = None,
        mu: Float[Array, " mu"] | None = None,
        outside: Outside | None = None,
    ) -> Spectrum:
        """The spectrum of one star; arguments as in `synthesize`, wavelengths in vacuum.

        `outside` as in `synthesize` where not as prepared. Raises ValueError for a star that cannot be, and where
        `corrections` are not one for every line there was room made for.
        """
        check_star(self.layers, atmosphere, feh, alpha, vmic, abundances, outside or self.outside)
        check_corrections(corrections)
        check_mu(mu)
        delta = jnp.zeros(self.window.n_free) if corrections is None else jnp.asarray(corrections, float)
        if delta.shape != (self.window.n_free,):
            raise AstrogfError(
                f"corrections: {delta.size} values, but the window has room for {self.window.n_free}; "
                "prepare it with free=True and give one for every line of the list"
            )
        star = star_state(self.layers, self.physics, atmosphere, feh, alpha, vmic, abundances)
        layers = self.window.layered(star)
        kappa = self.window.opacity(layers, delta)
        flux, continuum = emerge(self.window.linear, self.window.angles, self.physics, star, layers, kappa, mu)
        return Spectrum(jnp.asarray(self.wavelength), flux, continuum, "vacuum", self.physics.solar)

    def linearised(
        self,
        parameters: Mapping[str, Float[Array, ""] | float],
        atmosphere: Structure | None = None,
        corrections: Float[Array, " line"] | None = None,
    ) -> Linearised:
        """Normalised spectrum (S = B, plane-parallel), its derivatives by `parameters` and by log gf of every line.

        `parameters` names teff, logg, feh, alpha, vmic and elements ("Mg" is [Mg/Fe]), and gives their values;
        columns of `by_parameter` follow its order. With an `atmosphere` given, teff and logg are not parameters.
        Raises ValueError for names that are none of these, or missing ones.
        """
        names = list(parameters)
        allowed = ("feh", "alpha", "vmic", *SYMBOLS) if atmosphere is not None else (*LABELS, "vmic", *SYMBOLS)
        wrong = [n for n in names if n not in allowed]
        missing = [n for n in LABELS if n not in names] if atmosphere is None else []
        if wrong or missing:
            raise AstrogfError(f"parameters: {', '.join(wrong or missing)} {'not known' if wrong else 'missing'}")

        elements = {name: parameters[name] for name in names if name in SYMBOLS}
        star: Any = atmosphere if atmosphere is not None else [parameters[name] for name in LABELS]
        given = parameters.get("feh"), parameters.get("alpha"), parameters.get("vmic")
        check_star(self.layers, star, *given, elements, self.outside)
        check_corrections(corrections)
        delta = jnp.zeros(self.window.n_free) if corrections is None else jnp.asarray(corrections, float)
        return _linearised(self, tuple(names), jnp.asarray([parameters[n] for n in names], float), atmosphere, delta)


@eqx.filter_jit
def _linearised(synthesis: Synthesis, names: tuple[str, ...], values, atmosphere, delta) -> Linearised:
    def state(vector):
        value = dict(zip(names, vector, strict=True))
        star = [value[k] for k in LABELS] if atmosphere is None else atmosphere
        elements = {k: v for k, v in value.items() if k in SYMBOLS}
        given = value.get("feh"), value.get("alpha"), value.get("vmic", jnp.asarray(1.0)), elements
        return star_state(synthesis.layers, synthesis.physics, star, *given)

    return synthesis.window.linearised(state, values, delta)


@eqx.filter_jit
def emerge(
    linear: Spread,
    angles: int,
    physics: Physics,
    star: State,
    layers: Layered,
    kappa: Float[Array, "wave depth"],
    mu: Float[Array, " mu"] | None = None,
) -> tuple[Float[Array, "wave *mu"], Float[Array, "wave *mu"]]:
    """Flux (or intensity at every mu) and its continuum on a window's grid, given the whole opacity `kappa` there."""
    structure, gas, _ = star
    tau = structure.tau
    if physics.spherical:
        reference = reference_radius(surface_logg(structure), physics.mass)
        radius = shell_radius(tau, structure.rhox, gas.rho, reference)

    def solve(kappa, scattered, thermal):
        ratio, source = kappa / structure.abross, thermal
        if physics.scattering:
            share = scattered / structure.abross
            source = scattered_source(ratio - share, share, thermal, tau)
        if physics.spherical:
            return spherical_flux(ratio, source, tau, radius, reference)
        if mu is not None:
            return emergent_intensity(ratio, source, tau, mu)
        return emergent_flux(ratio, source, tau, angles)

    level = linear(solve(layers.kappa, layers.scattering, layers.source))
    return solve(kappa, linear(layers.scattering), linear(layers.source)), level
