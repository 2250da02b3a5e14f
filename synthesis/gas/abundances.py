"""Element abundances: the solar scale, atomic weights, and the mixture of a star from its labels."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from astrogf.base.errors import AstrogfError
from astrogf.synthesis.gas.elements import SYMBOLS as SYMBOLS
from astrogf.synthesis.package_data import DATA

_NONE = -np.inf

# Photospheric values; meteoritic where the photosphere gives none (Asplund et al. 2009, table 1).
ASPLUND2009 = np.array([
    12.00, 10.93, 1.05, 1.38, 2.70, 8.43, 7.83, 8.69, 4.56, 7.93, 6.24, 7.60, 6.45, 7.51,
    5.41, 7.12, 5.50, 6.40, 5.03, 6.34, 3.15, 4.95, 3.93, 5.64, 5.43, 7.50, 4.99, 6.22,
    4.19, 4.56, 3.04, 3.65, 2.30, 3.34, 2.54, 3.25, 2.52, 2.87, 2.21, 2.58, 1.46, 1.88,
    _NONE, 1.75, 0.91, 1.57, 0.94, 1.71, 0.80, 2.04, 1.01, 2.18, 1.55, 2.24, 1.08, 2.18,
    1.10, 1.58, 0.72, 1.42, _NONE, 0.96, 0.52, 1.07, 0.30, 1.10, 0.48, 0.92, 0.10, 0.84,
    0.10, 0.85, -0.12, 0.85, 0.26, 1.40, 1.38, 1.62, 0.92, 1.17, 0.90, 1.75, 0.65, _NONE,
    _NONE, _NONE, _NONE, _NONE, _NONE, 0.02, _NONE, -0.54,
])  # fmt: skip
"""Solar log10 n(Z)/n(H) + 12, Asplund et al. (2009, ARA&A 47, 481, table 1); -inf where none."""

ATOMIC_WEIGHTS = np.array([
    1.008, 4.0026, 6.94, 9.0122, 10.81, 12.011, 14.007, 15.999, 18.998, 20.180, 22.990, 24.305, 26.982,
    28.085, 30.974, 32.06, 35.45, 39.948, 39.098, 40.078, 44.956, 47.867, 50.942, 51.996, 54.938, 55.845,
    58.933, 58.693, 63.546, 65.38, 69.723, 72.630, 74.922, 78.971, 79.904, 83.798, 85.468, 87.62, 88.906,
    91.224, 92.906, 95.95, 98.0, 101.07, 102.91, 106.42, 107.87, 112.41, 114.82, 118.71, 121.76, 127.60,
    126.90, 131.29, 132.91, 137.33, 138.91, 140.12, 140.91, 144.24, 145.0, 150.36, 151.96, 157.25, 158.93,
    162.50, 164.93, 167.26, 168.93, 173.05, 174.97, 178.49, 180.95, 183.84, 186.21, 190.23, 192.22, 195.08,
    196.97, 200.59, 204.38, 207.2, 208.98, 209.0, 210.0, 222.0, 223.0, 226.0, 227.0, 232.04, 231.04, 238.03,
])  # fmt: skip
"""Standard atomic weights, atomic mass units (IUPAC 2021, abridged; the longest-lived isotope where none)."""

ALPHA_ELEMENTS = (8, 10, 12, 14, 16, 18, 20, 22)
"""Atomic numbers that follow [alpha/Fe]: O, Ne, Mg, Si, S, Ar, Ca, Ti, as in the ATLAS9 ODFNEW grids."""


def _fractions(log_eps: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(log_eps), 10.0 ** (np.nan_to_num(log_eps, neginf=0.0) - 12.0), 0.0)


def _scales() -> dict[str, np.ndarray]:
    scales = {"asplund2009": _fractions(ASPLUND2009)}
    table = np.genfromtxt(DATA / "solar.csv", delimiter=",", names=True, dtype=None)
    return scales | {name: _fractions(table[name]) for name in (table.dtype.names or ())[1:]}


SOLAR = _scales()
"""n(Z)/n(H) of the Sun by name of the scale: asplund2009 (the default), asplund2021, grevesse2007 (of MARCS models,
of Gaia-ESO and APOGEE, and of the labels of the Gaia benchmark stars), grevesse1998 (the one ATLAS-9 ODFNEW
atmospheres were computed with). Sources: tools/build_solar.py; zero where a scale has no value."""
_IS_METAL = np.arange(1, 93) >= 3
_IS_ALPHA = np.isin(np.arange(1, 93), ALPHA_ELEMENTS)


def number_fractions(
    feh: Float[Array, ""] | float,
    alpha: Float[Array, ""] | float,
    xfe: Float[Array, "92"] | None = None,
    solar: str = "asplund2009",
) -> Float[Array, "92"]:
    """n(Z)/n(H) of every element Z = 1-92 for the labels of a star; zero for elements without a solar value.

    Elements from lithium on shift by `feh`, those in `ALPHA_ELEMENTS` also by `alpha`; `xfe[z - 1]` adds any
    further [X/Fe] of one element (dex, on top of `alpha`; helium too). Differentiable in all three. `solar` names
    the scale (`SOLAR`). Raises ValueError for one that is not there.
    """
    if solar not in SOLAR:
        raise AstrogfError(f"solar scale {solar!r}: expected one of {', '.join(SOLAR)}")
    shift = jnp.where(_IS_METAL, feh, 0.0) + jnp.where(_IS_ALPHA, alpha, 0.0)
    if xfe is not None:
        shift = shift + xfe
    return jnp.asarray(SOLAR[solar]) * jnp.power(10.0, shift)
