"""The front door of the spectrum model: `synthesize` one spectrum, or `prepare` a window for many."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from astrogf import emulator
from astrogf.base.air import air_to_vacuum
from astrogf.base.constants import C_KMS, FWHM_PER_SIGMA
from astrogf.base.errors import AstrogfError
from astrogf.emulator.decks import Deck
from astrogf.emulator.layers import Layers
from astrogf.emulator.structure import Structure
from astrogf.synthesis.lines.isotopes import Ratios, log_share
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.lines.shipped import H_BAND, OPTICAL, load_all_lines
from astrogf.synthesis.lines.strength import line_reach
from astrogf.synthesis.observed.broadening import broaden
from astrogf.synthesis.spectrum import Abundances, Labels, Physics, Spectrum, Synthesis, star_state
from astrogf.synthesis.window import Window

DEPTHS = np.logspace(-6.0, 1.8, 80)
"""Rosseland optical depths at which an atmosphere given by its labels is taken."""
Medium = Literal["vacuum", "air"]


@cache
def emulated(family: str = "atlas9") -> Layers:
    """The shipped emulator on `DEPTHS`."""
    return Layers(emulator.load(family), jnp.asarray(DEPTHS))


def _opened(atmosphere, feh, alpha):
    """A deck as its structure, with the deck's own feh and alpha where none are given."""
    if not isinstance(atmosphere, Deck):
        return atmosphere, feh, alpha
    return atmosphere.structure, atmosphere.feh if feh is None else feh, atmosphere.alpha if alpha is None else alpha


def _arrays(tree):
    """Numbers as arrays, so that a new value is not a new compilation."""
    return jax.tree.map(lambda x: x if isinstance(x, str) else jnp.asarray(x, float), tree)


def shipped_lines(start: float, stop: float) -> LineList:
    """The shipped lines of a window (vacuum Angstrom) and, as far as they reach, 30 A to its sides.

    Raises ValueError for a window that the shipped lists do not cover.
    """
    cover = H_BAND if start >= H_BAND[0] else OPTICAL
    inside = cover[0] <= start and stop <= cover[1]
    edges = (max(start - 30.0, cover[0]), min(stop + 30.0, cover[1])) if inside else (start, stop)
    return load_all_lines(*edges)


def with_isotopes(lines: LineList, isotopes: Ratios) -> LineList:
    """The lines with the shares of isotopes that the ratios say, {(Z, mass number): share of the element}."""
    return lines.replace(log_fraction=log_share(lines.z, lines.isotope, isotopes))


def prepare(
    atmosphere: Structure | Deck | Labels | list[Structure | Deck | Labels],
    lines: LineList | None,
    wavelength: Float[np.ndarray, " wave"],
    *,
    vmic: Float[Array, "*depth"] | float = 1.0,
    feh: float | None = None,
    alpha: float | None = None,
    abundances: Abundances | None = None,
    isotopes: Ratios | None = None,
    free: bool = False,
    line_cut: float = 1e-4,
    angles: int = 5,
    hydrogen: bool = True,
    physics: Physics | None = None,
) -> Synthesis:
    """A window whose lines and shapes are fixed, for strictly increasing vacuum wavelengths in Angstrom.

    `atmosphere`: one, or a list of those that will be asked for (labels then as tuples). A line is kept where its
    opacity exceeds `line_cut` of the continuous absorption in any layer of any of them, and reaches as far as that.
    `free` makes room for a correction to every line of `lines`. Other arguments as in `synthesize`.
    """
    physics = Physics() if physics is None else physics
    wavelength = np.asarray(wavelength, float)
    if wavelength.ndim != 1 or len(wavelength) < 2 or not np.all(np.diff(wavelength) > 0):
        raise AstrogfError("wavelength: expected at least two strictly increasing vacuum wavelengths in Angstrom")
    lines = shipped_lines(wavelength[0], wavelength[-1]) if lines is None else lines
    if isotopes is not None:
        lines = with_isotopes(lines, isotopes)
    labels = not isinstance(atmosphere, list) or np.isscalar(atmosphere[0])
    several: Any = [atmosphere] if labels else atmosphere
    vmic, abundances = _arrays((vmic, abundances))
    reference = []
    for one in several:
        star, its_feh, its_alpha = _arrays(_opened(one, feh, alpha))
        structure, gas, v = star_state(emulated(), physics, star, its_feh, its_alpha, vmic, abundances)
        reference.append((gas, v, jnp.ones(structure.t.shape, bool)))
    strength, reach = line_reach(lines, reference, line_cut)
    kept = np.flatnonzero(strength > line_cut)
    n_free = len(lines) if free else 0
    window = Window.build(
        wavelength,
        lines.take(kept),
        reach[kept],
        n_free=n_free,
        angles=angles,
        hydrogen=hydrogen,
        split=True,
        spare=True,
    )
    if free:
        window = window.with_free(kept)
    return Synthesis(window, emulated(), wavelength, physics)


def synthesize(
    atmosphere: Structure | Deck | Labels,
    lines: LineList | None,
    start: float,
    stop: float,
    *,
    step: float = 0.01,
    medium: Medium = "vacuum",
    vmic: Float[Array, "*depth"] | float = 1.0,
    feh: float | None = None,
    alpha: float | None = None,
    abundances: Mapping[str, float] | Float[Array, "92"] | None = None,
    solar: str = "asplund2009",
    isotopes: Ratios | None = None,
    corrections: Float[np.ndarray, " line"] | None = None,
    vsini: float = 0.0,
    vmacro: float = 0.0,
    resolution: float | None = None,
    mu: Sequence[float] | None = None,
    scattering: bool = False,
    spherical: bool = False,
    mass: float = 1.0,
    electrons: Literal["structure", "solve"] = "structure",
    hydrogen: bool = True,
    line_cut: float = 1e-4,
    angles: int = 5,
) -> Spectrum:
    """The LTE spectrum of a star at start, start + step, ..., stop (Angstrom in `medium`).

    - `atmosphere`: labels (teff K, logg, feh, alpha), for which the ATLAS-9 emulator gives the structure, a model
      read by `read_atmosphere`, or a `Structure` of arrays.
    - `lines`: a `LineList` (see `read_lines`), or None for the shipped lists, atoms and molecules.
    - `vmic`: km/s, a number or one a layer. `feh`, `alpha`: abundances where they differ from the labels (for a
      `Structure` they are 0 unless given, for a model its own). `abundances`: further [X/Fe], {"C": -0.1} or an
      array of 92. `solar`: asplund2009, asplund2021 or grevesse1998. `isotopes`: {(Z, mass number): share} unlike
      the Earth's.
    - `corrections`: dex added to log gf, one for every line of `lines`.
    - `vsini`, `vmacro` (radial-tangential) in km/s, and `resolution` = lambda / FWHM of a Gaussian instrument.
    - `mu`: cosines at which intensities instead of the flux are wanted.
    - `scattering`, `spherical`, `mass`, `electrons`: see `Physics`. `hydrogen`: include its lines. `line_cut`: the
      opacity relative to the continuum at which lines end. `angles`: Gauss angles of the flux.

    Compiles once per shape of the problem; for derivatives, and for many spectra of one window, use `prepare`.
    Raises ValueError, with a sentence, for arguments that make no sense.
    """
    if medium not in ("vacuum", "air"):
        raise AstrogfError(f"medium {medium!r}: expected 'vacuum' or 'air', the medium of start and stop")
    if not 0 < start < stop or not step > 0:
        raise AstrogfError(
            f"start {start}, stop {stop}, step {step}: expected 0 < start < stop in Angstrom and step > 0"
        )
    if mu is not None and (spherical or vsini > 0 or vmacro > 0):
        raise AstrogfError(
            "mu: intensities are for planes, without rotation and macroturbulence, which act on the disc"
        )
    asked = start + step * np.arange(round((stop - start) / step) + 1)
    vacuum = air_to_vacuum(asked) if medium == "air" else asked
    sigma = C_KMS / resolution / FWHM_PER_SIGMA if resolution else 0.0
    broad = vsini > 0 or vmacro > 0 or sigma > 0
    grid = _broad_grid(vacuum, 1.5 * vsini + 4.0 * vmacro + 6.0 * sigma) if broad else vacuum
    physics = Physics(scattering, spherical, mass, electrons, solar)
    lines = shipped_lines(vacuum[0], vacuum[-1]) if lines is None else lines
    if corrections is not None:
        if np.shape(corrections) != (len(lines),):
            sizes = f"{np.size(corrections)} values for {len(lines)} lines"
            raise AstrogfError(f"corrections: {sizes}; give one for every line")
        lines = lines.replace(loggf=lines.loggf + np.asarray(corrections))
    star, *composition = _opened(atmosphere, feh, alpha)
    names = ("vmic", "feh", "alpha", "abundances")
    given: dict[str, Any] = dict(zip(names, _arrays((vmic, *composition, abundances)), strict=True))
    synthesis = prepare(
        star,
        lines,
        grid,
        **given,
        isotopes=isotopes,
        line_cut=line_cut,
        angles=angles,
        hydrogen=hydrogen,
        physics=physics,
    )
    made = synthesis(_arrays(star), **given, mu=_arrays(mu))
    flux, continuum = made.flux, made.continuum
    if broad:
        ratio = _seen(made.normalised, grid, vacuum, vsini=vsini, vmacro=vmacro, sigma=sigma)
        continuum = jnp.interp(vacuum, grid, continuum)
        flux = ratio * continuum
    return Spectrum(jnp.asarray(asked), flux, continuum, medium, solar)


def _broad_grid(vacuum: np.ndarray, pad: float) -> np.ndarray:
    """Log-uniform wavelengths at least as fine as those asked for, `pad` km/s farther at both ends."""
    step = float(np.min(np.diff(np.log(vacuum))))
    reach = pad / C_KMS + 10 * step
    n = int(np.ceil((np.log(vacuum[-1] / vacuum[0]) + 2 * reach) / step)) + 1
    return vacuum[0] * np.exp(-reach + step * np.arange(n))


def _seen(ratio: Array, grid: np.ndarray, vacuum: np.ndarray, **widths: float) -> Array:
    """A normalised spectrum on a log-uniform grid, broadened and brought to the wavelengths asked for."""
    from scipy.interpolate import CubicSpline

    step = C_KMS * float(np.log(grid[1] / grid[0]))
    return jnp.asarray(CubicSpline(grid, np.asarray(broaden(ratio, step, **widths)))(vacuum))
