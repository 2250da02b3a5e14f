"""A `LineList` in the terms of published lists: the inverse of what the readers do."""

from typing import NamedTuple

import numpy as np

from astrogf.base.air import vacuum_to_air
from astrogf.base.errors import AstrogfError
from astrogf.synthesis.gas.species import species_mass
from astrogf.synthesis.lineio.records import Medium
from astrogf.synthesis.lines.damping import NO_STARK, abo_width, complete_damping
from astrogf.synthesis.lines.isotopes import natural_share
from astrogf.synthesis.lines.linelist import LineList


class Listed(NamedTuple):
    """Columns to print. Wavelengths (Angstrom) in the medium asked for, log gf without isotopic fractions.

    `vdw` is ABO sigma.alpha (20 and above), log10 of the FWHM per hydrogen atom (negative), or 0 where the default of
    `complete_damping` gives the same; `factor` multiplies Unsoeld's width in atoms without better, else nan.
    `log_gamma4` is 0 where there is none, `listed_stark` whether any differs from the default.
    """

    wavelength: np.ndarray
    loggf: np.ndarray
    vdw: np.ndarray
    factor: np.ndarray
    log_gamma_rad: np.ndarray
    log_gamma4: np.ndarray
    listed_stark: bool


def listed(lines: LineList, medium: Medium, scaled: bool | None) -> Listed:
    """Columns of `lines` as lists hold them. `scaled` says whether `loggf` holds the isotopes' shares.

    None takes a line of a named isotope whose `log_fraction` is 0 for scaled, as the reader of VALD leaves it.
    """
    if medium not in ("air", "vacuum"):
        raise AstrogfError(f"medium={medium!r}: say whether to write 'air' or 'vacuum' wavelengths")
    share = natural_share(lines.z, lines.isotope)
    holds = (lines.log_fraction == 0.0) if scaled is None else np.full(len(lines), scaled)
    unknown = np.full(len(lines), np.nan)
    default = complete_damping(
        lines.z,
        lines.ion,
        lines.wavelength,
        lines.elow,
        lines.loggf,
        gup=lines.gup,
        log_gamma_rad=lines.log_gamma_rad,
        vdw=unknown,
        log_gamma4=unknown,
    )
    atom = lines.z <= 92
    approximate = lines.quality == 2
    excess = lines.log_gamma6 - default.log_gamma6
    abo = atom & ((lines.quality == 0) | (np.abs(lines.gamma6_exponent - 0.3) > 1e-4))
    same = approximate & ~abo & (np.abs(excess) < 5e-4)
    return Listed(
        wavelength=vacuum_to_air(lines.wavelength) if medium == "air" else lines.wavelength,
        loggf=lines.loggf - np.where(holds, share, 0.0),
        vdw=np.where(same, 0.0, np.where(abo, _sigma_alpha(lines), lines.log_gamma6)),
        factor=np.where(approximate & atom & ~abo, 10.0**excess, np.nan),
        log_gamma_rad=lines.log_gamma_rad,
        log_gamma4=np.where(lines.log_gamma4 > NO_STARK, lines.log_gamma4, 0.0),
        listed_stark=bool(np.any(np.abs(lines.log_gamma4 - default.log_gamma4) > 5e-3)),
    )


def _sigma_alpha(lines: LineList) -> np.ndarray:
    """ABO cross-section and velocity exponent in one number: 2006.342 is 2006 a0^2 and 0.342."""
    alpha = np.clip(np.round(1.0 - 2.0 * lines.gamma6_exponent, 3), 0.0, 0.999)
    one = abo_width(np.ones(len(lines)), alpha, species_mass(lines.z))
    return np.round(10.0 ** (lines.log_gamma6 - one)) + alpha
