"""Damping of lines where the list is silent: hydrogen collisions, quadratic Stark, radiation.

Everything here runs once, on the host, when a line list is read. Recipes and their order are Turbospectrum's.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.interpolate import RegularGridInterpolator
from scipy.special import gamma as gamma_function

from astrogf.base.constants import ATOMIC_MASS, BOHR_RADIUS, BOLTZMANN, LIGHT
from astrogf.base.errors import AstrogfError
from astrogf.synthesis.gas.partition import IONISATION_ENERGY
from astrogf.synthesis.gas.species import species_mass
from astrogf.synthesis.package_data import arrays

HYDROGEN_MASS = 1.00782503 * ATOMIC_MASS
RYDBERG_EV = 13.598434599702
HC_EV_ANGSTROM = 12398.419843320026
T_REFERENCE = 1e4
NO_STARK = -99.0
NEAREST_LIMIT = 0.05
"""eV: levels nearer the ionisation limit than this, on either side, are taken to be this far from it."""
MOLECULE_WIDTH = 0.07
"""HWHM of molecular lines in hydrogen, cm^-1 per bar at 296 K, falling as T^-0.5 at constant pressure: the value
that ExoMol gives where none is known (Tennyson et al. 2016, J. Mol. Spectrosc. 327, 73)."""

_TABLES = {"sp": (1.0, 1.3), "pd": (1.3, 2.3), "df": (2.3, 3.3)}
"""First effective quantum numbers of the two axes (state of lower l first), in steps of 0.1."""
_UPPER_P = np.array([[2.6, 2.7, 2.8, 2.9, 3.0], [762.0, 858, 969, 1030, 1074], [0.270, 0.266, 0.268, 0.258, 0.254]])
"""d-p transitions whose d state (n* < 2) is too compact for the tables: n*, cross-section and exponent of the p state
alone, which dominates (Barklem, private communication 1997 to the authors of Turbospectrum, who use it)."""


class Damping(NamedTuple):
    """Widths of lines, FWHM in rad/s, as `linelist.LineList` holds them.

    `log_gamma6` is per hydrogen atom at 10^4 K and scales as T^`gamma6_exponent`; `log_gamma4` per electron.
    `quality` indexes `linelist.QUALITY`: it says what the list itself knew (0 an ABO calculation for the transition,
    1 a width, 2 nothing or a factor), also where a generic ABO cross-section has replaced it.
    """

    log_gamma_rad: Float[np.ndarray, " line"]
    log_gamma6: Float[np.ndarray, " line"]
    gamma6_exponent: Float[np.ndarray, " line"]
    log_gamma4: Float[np.ndarray, " line"]
    quality: Int[np.ndarray, " line"]


def _interpolators() -> dict[str, tuple[RegularGridInterpolator, RegularGridInterpolator]]:
    result = {}
    tables = arrays("abo")
    for name, first in _TABLES.items():
        table = tables[name].astype(float)
        axes = tuple(a + 0.1 * np.arange(n) for a, n in zip(first, table.shape[1:], strict=True))
        sigma, alpha = (RegularGridInterpolator(axes, t, bounds_error=False, fill_value=np.nan) for t in table)
        result[name] = (sigma, alpha)
    return result


_ABO = _interpolators()


def generic_abo(
    ion: Int[np.ndarray, " line"],
    below_limit: Float[np.ndarray, "line 2"],
    orbitals: np.ndarray,
) -> tuple[Float[np.ndarray, " line"], Float[np.ndarray, " line"]]:
    """Cross-section at 10^6 cm/s (a0^2) and velocity exponent of transitions of neutral atoms; nan where none.

    `below_limit` holds chi - E of lower and upper level (eV), `orbitals` their letters. Tables cover effective quantum
    numbers of about 1-3 (s, p), 2.3-4 (d), 3.3-5 (f); linear between nodes 0.1 apart. A d state below n* = 2 under a
    p state is neglected.
    Source: Anstee & O'Mara (1995), Barklem & O'Mara (1997), Barklem, O'Mara & Ross (1998).
    """
    ion, below_limit = np.asarray(ion), np.asarray(below_limit, float)
    n_star = np.sqrt(RYDBERG_EV / np.maximum(below_limit, 1e-3))
    sigma, alpha = np.full(len(ion), np.nan), np.full(len(ion), np.nan)
    letters = np.char.lower(np.asarray(orbitals, dtype=str))
    for name, (cross_section, exponent) in _ABO.items():
        for lower, upper in ((0, 1), (1, 0)):
            pick = (ion == 1) & (letters[:, lower] == name[0]) & (letters[:, upper] == name[1])
            points = n_star[pick][:, [lower, upper]]
            sigma[pick], alpha[pick] = cross_section(points), exponent(points)
    upper = n_star[:, 1]
    alone = (ion == 1) & (letters[:, 0] == "d") & (letters[:, 1] == "p") & (n_star[:, 0] < 2)
    alone &= (upper >= _UPPER_P[0, 0]) & (upper <= _UPPER_P[0, -1])
    sigma = np.where(alone, np.interp(upper, _UPPER_P[0], _UPPER_P[1]), sigma)
    alpha = np.where(alone, np.interp(upper, _UPPER_P[0], _UPPER_P[2]), alpha)
    return sigma, alpha


def abo_width(
    sigma: Float[np.ndarray, " line"], alpha: Float[np.ndarray, " line"], mass: Float[np.ndarray, " line"]
) -> Float[np.ndarray, " line"]:
    """log10 FWHM (rad/s) per hydrogen atom at 10^4 K from an ABO cross-section (a0^2) and exponent; mass in amu.

    Source: Anstee & O'Mara (1995), eq. 1, averaged over a Maxwellian (their eq. 3).
    """
    reduced = 1.0 / (1.0 / HYDROGEN_MASS + 1.0 / (mass * ATOMIC_MASS))
    v = np.sqrt(8 * BOLTZMANN * T_REFERENCE / (np.pi * reduced))
    shape = (4 / np.pi) ** (alpha / 2) * gamma_function(2 - alpha / 2)
    with np.errstate(divide="ignore"):
        return np.log10(2 * shape * v * sigma * BOHR_RADIUS**2 * (v / 1e6) ** -alpha)


def unsoeld_width(
    ion: Int[np.ndarray, " line"], below_limit: Float[np.ndarray, "line 2"]
) -> Float[np.ndarray, " line"]:
    """log10 FWHM (rad/s) per hydrogen atom at 10^4 K in Unsoeld's approximation, without enhancement.

    gamma6 = 17 C6^0.4 v^0.6 N with C6 = 0.3e-30 ion^2 [1/(chi - E_up)^2 - 1/(chi - E_low)^2], in the constants of
    Turbospectrum. Source: Unsoeld (1955), eq. 82.48; Gray (2005), eqs. 11.27-11.28.
    """
    below = np.maximum(np.abs(below_limit), NEAREST_LIMIT)
    x = np.asarray(ion, float) ** 2 * (1 / below[:, 1] ** 2 - 1 / below[:, 0] ** 2)
    log_c6 = np.log10(np.maximum(x, 1e-4)) - 29.7278
    return 16.6735 + 0.7 * np.log10(5040 / T_REFERENCE) + np.log10(BOLTZMANN * T_REFERENCE) + 0.4 * log_c6


def stark_width(ion: Int[np.ndarray, " line"], upper_below_limit: Float[np.ndarray, " line"]) -> np.ndarray:
    """log10 FWHM (rad/s) per electron of quadratic Stark broadening.

    Cowley (1971, Observatory 91, 139) as Turbospectrum 20.1 applies it, 13.6 (ion / (chi - E_up))^2 standing for the
    strength of the upper level. With the fourth power of its effective quantum number, (13.6 ion^2 / (chi - E_up))^2,
    which other codes use, widths would be 13.6 ion^2 times these.
    """
    ion = np.asarray(ion, float)
    level = RYDBERG_EV * (ion / np.maximum(np.abs(upper_below_limit), NEAREST_LIMIT)) ** 2
    return np.log10(np.where(ion == 1, 2.26e-7, 5.42e-7 / (ion + 1) ** 2) * level)


def complete_damping(
    z: Int[np.ndarray, " line"],
    ion: Int[np.ndarray, " line"],
    wavelength: Float[np.ndarray, " line"],
    elow: Float[np.ndarray, " line"],
    loggf: Float[np.ndarray, " line"],
    *,
    gup: Float[np.ndarray, " line"],
    log_gamma_rad: Float[np.ndarray, " line"],
    vdw: Float[np.ndarray, " line"],
    log_gamma4: Float[np.ndarray, " line"],
    orbitals: np.ndarray | None = None,
) -> Damping:
    """Every width of every line, from what a list gives; nan is unknown in all keyword columns.

    Units: vacuum Angstrom, eV, dex. `vdw` as in Turbospectrum's lists: 20 and above the integer part is an ABO
    cross-section (a0^2) and the rest its velocity exponent; negative it is log10 of the FWHM (rad/s) per hydrogen atom
    at 10^4 K; between, it multiplies Unsoeld's width (0 or nan: 1). `orbitals` [line, 2] are letters of the active
    electron in the lower and the upper level ('s', 'p', 'd', 'f', anything else unknown).

    Hydrogen: individual ABO, else generic ABO where orbitals and energies allow (it goes before a listed width, whose
    source is an approximation as well), else the listed width (as T^0.3), else Unsoeld. Molecules take
    `MOLECULE_WIDTH`. Stark: listed, else `stark_width`, none for molecules. Radiation: listed, else classical.
    Raises ValueError for a species that the model lacks.
    """
    z, ion = np.asarray(z, int), np.asarray(ion, int)
    wavelength, elow, loggf = (np.asarray(x, float) for x in (wavelength, elow, loggf))
    gup, log_gamma_rad, log_gamma4 = (np.asarray(x, float) for x in (gup, log_gamma_rad, log_gamma4))
    vdw = np.nan_to_num(np.asarray(vdw, float), nan=0.0)
    atom = z <= 92
    if np.any((ion < 1) | (ion > 3) | (z < 1)):
        worst = np.flatnonzero((ion < 1) | (ion > 3) | (z < 1))[0]
        raise AstrogfError(f"line {worst}: species z = {z[worst]}, ion = {ion[worst]}; stages 1-3 of z >= 1 are known")

    chi = IONISATION_ENERGY[np.where(atom, z, 1) - 1, np.where(atom, ion, 1) - 1]
    chi = np.where(np.isfinite(chi), chi, elow + 5.0)
    below = chi[:, None] - np.stack([elow, elow + HC_EV_ANGSTROM / wavelength], axis=1)

    individual, listed = vdw >= 20, vdw < 0
    sigma, alpha = np.where(individual, np.floor(vdw), np.nan), np.where(individual, vdw - np.floor(vdw), np.nan)
    if orbitals is not None:
        generic_sigma, generic_alpha = generic_abo(ion, below, orbitals)
        fill = ~individual & np.isfinite(generic_sigma)
        sigma, alpha = np.where(fill, generic_sigma, sigma), np.where(fill, generic_alpha, alpha)
    has_abo = atom & np.isfinite(sigma)
    factor = np.where((vdw > 0) & (vdw < 20), vdw, 1.0)
    log_gamma6 = np.where(listed, vdw, unsoeld_width(ion, below) + np.log10(factor))
    safe = np.where(has_abo, sigma, 1.0), np.where(has_abo, alpha, 0.0)
    log_gamma6 = np.where(has_abo, abo_width(*safe, species_mass(z)), log_gamma6)
    exponent = np.where(has_abo, (1 - safe[1]) / 2, 0.3)
    molecular = 4 * np.pi * LIGHT * MOLECULE_WIDTH * 1e-6 * BOLTZMANN * np.sqrt(296.0 * T_REFERENCE)
    log_gamma6 = np.where(atom | listed, log_gamma6, np.log10(molecular))
    exponent = np.where(atom, exponent, 0.5)

    stark = np.where(atom, stark_width(ion, below[:, 1]), NO_STARK)
    # A transition of unknown upper weight is given the classical oscillator: g_low f = g_up / 3.
    oscillator = np.where(gup > 0, loggf - np.log10(np.where(gup > 0, gup, 1.0)), -np.log10(3.0))
    classical = np.log10(6.669e15 / wavelength**2) + oscillator
    return Damping(
        np.where(np.isnan(log_gamma_rad), classical, log_gamma_rad),
        log_gamma6,
        exponent,
        np.where(np.isnan(log_gamma4), stark, log_gamma4),
        np.where(individual, 0, np.where(listed, 1, 2)),
    )
