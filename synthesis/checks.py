"""What a spectrum is asked for, checked before anything is computed; values under a JAX transformation pass unseen."""

import warnings
from collections.abc import Mapping
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from astrogf.base.errors import AstrogfError, AstrogfWarning
from astrogf.emulator.decks import Deck
from astrogf.emulator.layers import Layers
from astrogf.emulator.structure import LABELS, Structure, check_structure
from astrogf.synthesis.gas.abundances import SYMBOLS
from astrogf.synthesis.lines.isotopes import Ratios
from astrogf.synthesis.lines.linelist import LineList

Outside = Literal["warn", "raise", "ignore"]
"""What labels outside the emulator's hull do."""
MOST_POINTS = 2_000_000
"""Wavelengths of one spectrum: some 10 GB of opacities at 80 layers."""
MOST_DEX = 5.0
"""Largest |[X/Fe]| that is believed."""
MOST_METAL = 10.0
"""Largest |[Fe/H]| and |[alpha/Fe]| that is believed."""
MOST_VMIC = 100.0
"""km/s; more is a microturbulence in other units."""
MOST_KMS = 1000.0
"""km/s; no star rotates faster."""
ENOUGH_RESOLUTION = 1000.0
"""A resolving power that is plausible for a window of any width."""
_ON_FACE = 1e-6  # grid steps by which rounding may carry labels over a face of the hull


def known(*values: Any) -> bool:
    """Whether there are numbers to look at: nothing is traced by JAX."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def _shown(value: Any) -> str:
    flat = np.atleast_1d(np.asarray(value, float))
    return f"{flat[0]:g}" if flat.size == 1 else "[" + ", ".join(f"{x:g}" for x in flat[:4]) + ", ...]"


def check_range(name: str, value: Any, low: float, high: float, unit: str, advice: str = "") -> None:
    """Raises AstrogfError unless every number of `value` is finite and from `low` to `high`; None and traced pass."""
    if value is None or not known(value):
        return
    try:
        array = np.asarray(value, float)
    except (TypeError, ValueError):
        raise AstrogfError(f"{name} {value!r}: expected a number{unit}") from None
    bad = ~(np.isfinite(array) & (array >= low) & (array <= high))
    if bad.any():
        where = f" (number {np.flatnonzero(bad.ravel())[0] + 1} of {array.size})" if array.size > 1 else ""
        bounds = f"from {low:g} to {high:g}" if np.isfinite(high) else f"finite and not below {low:g}"
        if not np.isfinite(low):
            bounds = "finite"
        raise AstrogfError(f"{name} {_shown(array[bad])}{where}: expected {bounds}{unit}{advice}")


def check_abundances(abundances: Any) -> None:
    """Raises AstrogfError for [X/Fe] of what is no element, of a wrong number of elements, or beyond belief."""
    if abundances is None:
        return
    if isinstance(abundances, Mapping):
        for symbol, value in abundances.items():
            if symbol not in SYMBOLS:
                raise AstrogfError(
                    f"abundances: {symbol!r} is no element's symbol; write {{'Mg': 0.2}} for [Mg/Fe] = 0.2"
                )
            check_range(f"abundances: [{symbol}/Fe]", value, -MOST_DEX, MOST_DEX, " dex")
            if np.ndim(value) != 0:
                raise AstrogfError(f"abundances: [{symbol}/Fe] has {np.size(value)} values; give one number")
        return
    if np.shape(abundances) != (len(SYMBOLS),):
        raise AstrogfError(
            f"abundances: {np.shape(abundances)} numbers; give {len(SYMBOLS)}, one [X/Fe] an element, or a mapping "
            "{'Mg': 0.2}"
        )
    if known(abundances):
        array = np.asarray(abundances, float)
        for z in np.flatnonzero(~(np.abs(array) <= MOST_DEX)):
            check_range(f"abundances: [{SYMBOLS[z]}/Fe]", array[z], -MOST_DEX, MOST_DEX, " dex")


def check_isotopes(isotopes: Ratios | None) -> None:
    """Raises AstrogfError for keys that are no (Z, mass number) and for shares that are not from 0 to 1."""
    for key, share in (isotopes or {}).items():
        if not (isinstance(key, tuple) and len(key) == 2 and 1 <= key[0] <= len(SYMBOLS) and key[1] >= key[0]):
            raise AstrogfError(f"isotopes: {key!r} is no (Z, mass number); write {{(6, 12): 0.9, (6, 13): 0.1}}")
        check_range(f"isotopes: the share of {SYMBOLS[key[0] - 1]}-{key[1]}", share, 0.0, 1.0, "")


def check_lines(lines: Any) -> None:
    """Raises AstrogfError for what is neither a list of lines nor None."""
    if lines is not None and not isinstance(lines, LineList):
        raise AstrogfError(
            f"lines: {type(lines).__name__}, expected what read_lines or load_lines gives, or None for shipped ones"
        )


def check_star(
    layers: Layers, atmosphere: Any, feh: Any, alpha: Any, vmic: Any, abundances: Any, outside: Outside
) -> None:
    """Raises AstrogfError for a star that cannot be; labels outside the emulator's hull do what `outside` says."""
    if outside not in ("warn", "raise", "ignore"):
        raise AstrogfError(f"outside {outside!r}: expected 'warn', 'raise' or 'ignore'")
    check_range("vmic", vmic, 0.0, MOST_VMIC, " km/s")
    for name, value in (("feh", feh), ("alpha", alpha)):
        check_range(name, value, -MOST_METAL, MOST_METAL, " dex")
    check_abundances(abundances)
    if isinstance(atmosphere, Structure):
        if known(atmosphere):
            check_structure(atmosphere)
        return
    if isinstance(atmosphere, str | bytes) or not hasattr(atmosphere, "__len__"):
        raise AstrogfError(
            f"atmosphere {atmosphere!r}: expected labels (teff, logg, feh, alpha) or a Structure, as a model from "
            "read_atmosphere has in `structure`"
        )
    if len(atmosphere) != len(LABELS):
        raise AstrogfError(f"labels: {len(atmosphere)} numbers, expected four: {', '.join(LABELS)}")
    for name, value in zip(LABELS, atmosphere, strict=True):
        low, high, unit = {"teff": (1.0, np.inf, " K"), "logg": (-np.inf, np.inf, " dex (cgs)")}.get(
            name, (-MOST_METAL, MOST_METAL, " dex")
        )
        check_range(name, value, low, high, unit)
    if outside != "ignore" and known(atmosphere):
        labels = np.array([float(x) for x in atmosphere])
        margin = float(_margin(layers, labels))
        if not margin >= -_ON_FACE:
            _say_outside(layers, labels, margin, outside)


@eqx.filter_jit
def _margin(layers: Layers, labels: Float[np.ndarray, "4"]) -> Array:
    # one program, where step by step there would be dozens
    return layers.margin(jnp.asarray(labels))


def _say_outside(layers: Layers, labels: np.ndarray, margin: float, outside: Outside) -> None:
    hull = getattr(layers.emulator, "hull", None)
    faces = ""
    if hull is not None:
        beyond = hull.leaning(labels, -_ON_FACE)
        span = ", ".join(
            f"{name} {low:g} to {high:g}"
            for name, low, high in zip(LABELS, np.asarray(hull.low), np.asarray(hull.high), strict=True)
        )
        faces = (
            f" ({', '.join(f'{f.split()[0]} too {f.split()[1]}' for f in beyond)}; it spans {span}, not every corner)"
        )
    star = ", ".join(f"{name} {value:g}" for name, value in zip(LABELS, labels, strict=True))
    sentence = f"{star}: {-margin:.2g} grid steps outside the emulator's models{faces}"
    if outside == "raise":
        raise AstrogfError(f"{sentence}: choose labels inside, or give a model of your own", "outside")
    warnings.warn(
        f"{sentence}: its atmosphere is an extrapolation; outside='raise' refuses, outside='ignore' is silent",
        AstrogfWarning,
        stacklevel=5,
    )


def check_window(start: Any, stop: Any, step: Any) -> int:
    """The number of wavelengths asked for. Raises AstrogfError where they make no sense or are too many."""
    for name, value in (("start", start), ("stop", stop), ("step", step)):
        if np.ndim(value) != 0:
            raise AstrogfError(f"{name}: {np.size(value)} numbers, expected one, in Angstrom")
        check_range(name, value, -np.inf, np.inf, " Angstrom")
    if not 0 < start < stop or not step > 0:
        raise AstrogfError(
            f"start {start}, stop {stop}, step {step}: expected 0 < start < stop in Angstrom and step > 0"
        )
    count = round((stop - start) / step) + 1 if (stop - start) / step < 1e15 else (stop - start) / step
    if count < 2:
        raise AstrogfError(f"step {step}: the window from {start} to {stop} Angstrom has one point only; make it finer")
    check_points(count)
    return int(count)


def check_points(count: float) -> None:
    """Raises AstrogfError for more wavelengths than memory is thought to hold."""
    if count > MOST_POINTS:
        raise AstrogfError(
            f"start, stop, step: {count:,.0f} wavelengths, at most {MOST_POINTS:,} are computed at once; take a "
            "coarser step or several windows"
        )


def check_broadening(start: float, stop: float, *, vsini: Any, vmacro: Any, resolution: Any) -> None:
    """Raises AstrogfError for widths that no star or instrument has; wavelengths in Angstrom, velocities in km/s."""
    check_range("vsini", vsini, 0.0, MOST_KMS, " km/s")
    check_range("vmacro", vmacro, 0.0, MOST_KMS, " km/s")
    if resolution is None:
        return
    check_range("resolution", resolution, -np.inf, np.inf, " (lambda / FWHM), or None for no instrument")
    least = min(stop / (stop - start), ENOUGH_RESOLUTION)
    if not resolution >= least:
        width = f"would be {stop / resolution:.4g} Angstrom wide" if resolution > 0 else "has no width"
        raise AstrogfError(
            f"resolution {resolution:g}: the instrument's profile {width} in a window of {stop - start:g} Angstrom; "
            f"give lambda / FWHM of at least {np.ceil(least):.0f}, or None for no instrument"
        )


def check_wavelength(wavelength: Any) -> np.ndarray:
    """The wavelengths as numbers. Raises AstrogfError unless they are finite, positive and increase strictly."""
    wavelength = np.asarray(wavelength, float)
    good = wavelength.ndim == 1 and len(wavelength) >= 2 and np.all(np.isfinite(wavelength))
    if not good or not wavelength[0] > 0 or not np.all(np.diff(wavelength) > 0):
        raise AstrogfError("wavelength: expected at least two strictly increasing vacuum wavelengths in Angstrom")
    check_points(len(wavelength))
    return wavelength


def check_mu(mu: Any) -> None:
    """Raises AstrogfError for cosines that are not above 0 and at most 1."""
    if mu is not None and known(mu):
        check_range("mu", mu, 0.0, 1.0, ", a cosine")
        if np.size(mu) == 0 or np.ndim(mu) != 1 or np.min(np.asarray(mu)) <= 0.0:
            raise AstrogfError(f"mu {mu}: expected a list of cosines above 0 and at most 1")


def check_cut(line_cut: Any, angles: Any) -> None:
    """Raises AstrogfError for a cut that is not between 0 and 1, and for less than one angle."""
    if not (np.ndim(line_cut) == 0 and 0.0 < float(line_cut) < 1.0):
        raise AstrogfError(f"line_cut {line_cut}: expected the least opacity over the continuum, above 0 and below 1")
    if not (isinstance(angles, int | np.integer) and angles >= 1):
        raise AstrogfError(f"angles {angles}: expected a whole number of Gauss angles, 1 or more")


def check_corrections(corrections: Any) -> None:
    """Raises AstrogfError for corrections of log gf that are not finite."""
    if corrections is not None:
        check_range("corrections", corrections, -np.inf, np.inf, " dex")


def check_finite(spectrum: tuple[Any, Any], atmosphere: Any) -> None:
    """Raises AstrogfError where flux or continuum came out without numbers: the atmosphere has no meaning there."""
    if not all(np.all(np.isfinite(np.asarray(part))) for part in spectrum if known(part)):
        star = "this atmosphere" if isinstance(atmosphere, Structure | Deck) else f"labels {_shown(atmosphere)}"
        raise AstrogfError(
            f"{star}: no finite spectrum comes of it; choose a star inside the emulator's hull", "outside"
        )
