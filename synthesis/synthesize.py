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
from astrogf.base.quantities import ANGSTROM, DEX, KMS, bare, bare_labels
from astrogf.emulator.decks import Deck
from astrogf.emulator.layers import Layers
from astrogf.emulator.structure import Structure
from astrogf.synthesis import checks
from astrogf.synthesis.checks import Outside
from astrogf.synthesis.linelists import is_hydrogen
from astrogf.synthesis.lines.isotopes import Ratios, log_share
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.lines.shipped import H_BAND, OPTICAL, load_all_lines, whole_list
from astrogf.synthesis.lines.strength import Weighed, line_extent, may_reach
from astrogf.synthesis.observed.broadening import broaden
from astrogf.synthesis.spectrum import Abundances, Labels, Physics, Spectrum, Synthesis, star_state
from astrogf.synthesis.window import Window

DEPTHS = np.logspace(-6.0, 1.8, 80)
"""Rosseland optical depths at which an atmosphere given by its labels is taken."""
BESIDE = 30.0
"""Angstrom to the sides of a window in which all shipped lines are looked at; farther out, those that reach it."""
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
    """The shipped lines of a window (vacuum Angstrom) and, as far as they reach, `BESIDE` A to its sides.

    Raises ValueError for a window that the shipped lists do not cover.
    """
    return load_all_lines(*_edges(start, stop))


def _edges(start: float, stop: float) -> tuple[float, float]:
    cover = H_BAND if start >= H_BAND[0] else OPTICAL
    inside = cover[0] <= start and stop <= cover[1]
    return (max(start - BESIDE, cover[0]), min(stop + BESIDE, cover[1])) if inside else (start, stop)


def _farther(start: float, stop: float, atmospheres: Weighed, line_cut: float) -> LineList:
    """The shipped lines that reach a window (vacuum Angstrom) from beyond those that `shipped_lines` gives."""
    whole, edges = whole_list(H_BAND if start >= H_BAND[0] else OPTICAL), _edges(start, stop)
    beyond = (whole.wavelength < edges[0]) | (whole.wavelength > edges[1])
    return whole.take(beyond & may_reach(whole, start, stop, atmospheres, line_cut))


def with_isotopes(lines: LineList, isotopes: Ratios) -> LineList:
    """The lines with the shares of isotopes that the ratios say, {(Z, mass number): share of the element}.

    Raises ValueError for what are no isotopes, and for shares that are not from 0 to 1.
    """
    checks.check_isotopes(isotopes)
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
    outside: Outside = "warn",
) -> Synthesis:
    """A window whose lines and shapes are fixed, for strictly increasing vacuum wavelengths in Angstrom.

    `atmosphere`: one, or a list of those that will be asked for (labels then as tuples). A line is kept where its
    opacity exceeds `line_cut` of the continuous absorption in any layer of any of them, and reaches as far as that,
    from outside the window too. `free` makes room for a correction to every line of `lines`. `outside` is kept for
    calls. Other arguments as in `synthesize`. What comes back is a JAX function: it takes plain numbers, no Quantities.
    """
    wavelength, vmic = bare(wavelength, ANGSTROM, "wavelength", spectral=True), bare(vmic, KMS, "vmic")
    feh, alpha, abundances = bare(feh, DEX, "feh"), bare(alpha, DEX, "alpha"), _bare_abundances(abundances)
    atmosphere = _bare_stars(atmosphere)
    return _prepare(
        atmosphere,
        lines,
        checks.check_wavelength(wavelength),
        farther=lines is None,
        vmic=vmic,
        feh=feh,
        alpha=alpha,
        abundances=abundances,
        isotopes=isotopes,
        free=free,
        line_cut=line_cut,
        angles=angles,
        hydrogen=hydrogen,
        physics=Physics() if physics is None else physics,
        outside=outside,
    )


def _prepare(
    atmosphere: Any,
    lines: LineList | None,
    wavelength: Float[np.ndarray, " wave"],
    *,
    farther: bool,
    vmic: Any,
    feh: Any,
    alpha: Any,
    abundances: Any,
    isotopes: Ratios | None,
    free: bool,
    line_cut: float,
    angles: int,
    hydrogen: bool,
    physics: Physics,
    outside: Outside,
) -> Synthesis:
    """`prepare` for lines that are given; with `farther`, shipped lines that reach in from beyond those are added."""
    checks.check_lines(lines)
    checks.check_cut(line_cut, angles)
    labels = not isinstance(atmosphere, list) or (len(atmosphere) > 0 and np.ndim(atmosphere[0]) == 0)
    labels = labels and not (isinstance(atmosphere, list) and isinstance(atmosphere[0], Structure | Deck))
    several: Any = [atmosphere] if labels else atmosphere
    if not several:
        raise AstrogfError("atmosphere: an empty list; give at least one star")
    opened = [_opened(one, feh, alpha) for one in several]
    for one in opened:
        checks.check_star(emulated(), one[0], one[1], one[2], vmic, abundances, outside)
    lines = shipped_lines(wavelength[0], wavelength[-1]) if lines is None else lines
    vmic, abundances = _arrays((vmic, abundances))
    reference = []
    for one in opened:
        star, its_feh, its_alpha = _arrays(one)
        structure, gas, v = star_state(emulated(), physics, star, its_feh, its_alpha, vmic, abundances)
        reference.append((gas, v, jnp.ones(structure.t.shape, bool)))
    n_own = len(lines)
    if farther:
        more = _farther(wavelength[0], wavelength[-1], reference, line_cut)
        # after the list's own: corrections count those
        lines = LineList(*(np.concatenate(pair) for pair in zip(lines, more, strict=True)))
    if isotopes is not None:
        lines = with_isotopes(lines, isotopes)
    extent = line_extent(lines, reference, line_cut)
    doubled = is_hydrogen(lines) if hydrogen else np.zeros(len(lines), bool)
    kept = np.flatnonzero((extent.strength > line_cut) & ~doubled)
    n_free = n_own if free else 0
    window = Window.build(
        wavelength,
        lines.take(kept),
        extent.take(kept),
        n_free=n_free,
        angles=angles,
        hydrogen=hydrogen,
        spare=True,
    )
    if free:
        window = window.with_free(np.where(kept < n_own, kept, -1))
    return Synthesis(window, emulated(), wavelength, physics, outside)


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
    outside: Outside = "warn",
) -> Spectrum:
    """The LTE spectrum of a star at start, start + step, ..., stop (Angstrom in `medium`).

    Numbers are in the units named here; astropy's Quantities are taken too, in any unit of the kind.

    - `atmosphere`: labels (teff K, logg, feh, alpha), for which the ATLAS-9 emulator gives the structure, a model
      read by `read_atmosphere`, or a `Structure` of arrays.
    - `lines`: a `LineList` (see `read_lines`), or None for the shipped lists, atoms and molecules.
    - `vmic`: km/s, a number or one a layer. `feh`, `alpha`: abundances where they differ from the labels (for a
      `Structure` they are 0 unless given, for a model its own). `abundances`: further [X/Fe], {"C": -0.1} or an
      array of 92. `solar`: asplund2009, asplund2021, grevesse2007 or grevesse1998. `isotopes`: {(Z, mass number):
      share} unlike the Earth's.
    - `corrections`: dex added to log gf, one for every line of `lines`.
    - `vsini`, `vmacro` (radial-tangential) in km/s, and `resolution` = lambda / FWHM of a Gaussian instrument.
    - `mu`: cosines at which intensities instead of the flux are wanted.
    - `scattering`, `spherical`, `mass`, `electrons`: see `Physics`. `hydrogen`: include its lines, those of `lines`
      left out with a warning. `line_cut`: the opacity relative to the continuum at which lines end. `angles`: Gauss
      angles of the flux.
    - `outside`: what labels outside the emulator's hull do: "warn" (AstrogfWarning; the atmosphere is an
      extrapolation), "raise" (AstrogfError) or "ignore".

    Compiles once per shape of the problem; for derivatives, and for many spectra of one window, use `prepare`.
    Raises ValueError, with a sentence, for arguments that make no sense: numbers that are not finite or not positive
    where they have to be, a resolving power whose profile is wider than the window, more wavelengths than memory
    holds; and where no finite spectrum comes of the star.
    """
    if medium not in ("vacuum", "air"):
        raise AstrogfError(f"medium {medium!r}: expected 'vacuum' or 'air', the medium of start and stop")
    start, stop = (bare(x, ANGSTROM, what, spectral=True) for x, what in ((start, "start"), (stop, "stop")))
    step, resolution = bare(step, ANGSTROM, "step"), bare(resolution, "", "resolution")
    vsini, vmacro, vmic = bare(vsini, KMS, "vsini"), bare(vmacro, KMS, "vmacro"), bare(vmic, KMS, "vmic")
    corrections, abundances = bare(corrections, DEX, "corrections"), _bare_abundances(abundances)
    feh, alpha = bare(feh, DEX, "feh"), bare(alpha, DEX, "alpha")
    mass, atmosphere = bare(mass, "solMass", "mass"), bare_labels(atmosphere)
    count = checks.check_window(start, stop, step)
    checks.check_broadening(start, stop, vsini=vsini, vmacro=vmacro, resolution=resolution)
    checks.check_mu(mu)
    checks.check_corrections(corrections)
    checks.check_lines(lines)
    if mu is not None and (spherical or vsini > 0 or vmacro > 0):
        raise AstrogfError(
            "mu: intensities are for planes, without rotation and macroturbulence, which act on the disc"
        )
    asked = start + step * np.arange(count)
    vacuum = air_to_vacuum(asked) if medium == "air" else asked
    sigma = C_KMS / resolution / FWHM_PER_SIGMA if resolution else 0.0
    broad = vsini > 0 or vmacro > 0 or sigma > 0
    grid = _broad_grid(vacuum, 1.5 * vsini + 4.0 * vmacro + 6.0 * sigma) if broad else vacuum
    physics = Physics(scattering, spherical, mass, electrons, solar)
    farther = lines is None
    lines = shipped_lines(vacuum[0], vacuum[-1]) if lines is None else lines
    if corrections is not None:
        if np.shape(corrections) != (len(lines),):
            sizes = f"{np.size(corrections)} values for {len(lines)} lines"
            raise AstrogfError(f"corrections: {sizes}; give one for every line")
        lines = lines.replace(loggf=lines.loggf + np.asarray(corrections))
    star, *composition = _opened(atmosphere, feh, alpha)
    checks.check_star(emulated(), star, composition[0], composition[1], vmic, abundances, "ignore")
    names = ("vmic", "feh", "alpha", "abundances")
    given: dict[str, Any] = dict(zip(names, _arrays((vmic, *composition, abundances)), strict=True))
    synthesis = _prepare(
        star,
        lines,
        grid,
        farther=farther,
        **given,
        isotopes=isotopes,
        free=False,
        line_cut=line_cut,
        angles=angles,
        hydrogen=hydrogen,
        physics=physics,
        outside=outside,
    )
    made = synthesis(_arrays(star), **given, mu=_arrays(mu), outside="ignore")
    checks.check_finite((made.flux, made.continuum), star)
    flux, continuum = made.flux, made.continuum
    if broad:
        ratio = _seen(made.normalised, grid, vacuum, vsini=vsini, vmacro=vmacro, sigma=sigma)
        continuum = jnp.interp(vacuum, grid, continuum)
        flux = ratio * continuum
    return Spectrum(jnp.asarray(asked), flux, continuum, medium, solar)


def _bare_stars(stars: Any) -> Any:
    """One star or a list of stars, labels among them without units; four labels may be a list too."""
    if isinstance(stars, list) and any(isinstance(one, tuple | list | Structure | Deck) for one in stars):
        return [bare_labels(one) for one in stars]
    return bare_labels(stars)


def _bare_abundances(abundances: Any) -> Any:
    """[X/Fe] in dex."""
    if not isinstance(abundances, Mapping):
        return bare(abundances, DEX, "abundances")
    return {symbol: bare(value, DEX, f"abundances[{symbol!r}]") for symbol, value in abundances.items()}


def _broad_grid(vacuum: np.ndarray, pad: float) -> np.ndarray:
    """Log-uniform wavelengths at least as fine as those asked for, `pad` km/s farther at both ends."""
    step = float(np.min(np.diff(np.log(vacuum))))
    reach = pad / C_KMS + 10 * step
    n = int(np.ceil((np.log(vacuum[-1] / vacuum[0]) + 2 * reach) / step)) + 1
    checks.check_points(n)
    return vacuum[0] * np.exp(-reach + step * np.arange(n))


def _seen(ratio: Array, grid: np.ndarray, vacuum: np.ndarray, **widths: float) -> Array:
    """A normalised spectrum on a log-uniform grid, broadened and brought to the wavelengths asked for."""
    from scipy.interpolate import CubicSpline

    step = C_KMS * float(np.log(grid[1] / grid[0]))
    return jnp.asarray(CubicSpline(grid, np.asarray(broaden(ratio, step, **widths)))(vacuum))
