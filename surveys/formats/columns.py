"""What the columns of a spectrum are by their names, what their units mean, and what errors say of a spectrum."""

import re
from pathlib import Path
from typing import Literal, NamedTuple

import astropy.units as u
import numpy as np
from jaxtyping import Float

from astrogf.surveys.spectrum import SurveyError

Medium = Literal["air", "vacuum"]
Role = Literal["wavelength", "flux", "ivar", "error", "variance", "snr", "mask"]
NAMES: dict[Role, tuple[str, ...]] = {
    "wavelength": (
        *("wavelength", "wavelengths", "wave", "waves", "lambda", "lam", "waveobs", "wav", "wl", "wvl", "λ"),
        *("loglam", "log_wave", "loglambda", "log_lambda", "logwave", "log_wavelength"),
    ),
    "flux": (
        *("flux", "fluxes", "flux_norm", "norm_flux", "normflux", "fluxnorm", "nflux", "normalized_flux"),
        *("normalised_flux", "intensity", "flam", "f_lambda", "flux_density"),
    ),
    "ivar": ("ivar", "invvar", "inv_var", "inverse_variance", "flux_ivar", "ivar_flux"),
    "error": (
        *("error", "err", "errors", "sigma", "flux_err", "flux_error", "fluxerr", "fluxerror", "err_flux", "e_flux"),
        *("error_flux", "flux_sigma", "uncertainty", "flux_uncertainty", "unc", "std", "stddev", "noise", "sd"),
    ),
    "variance": ("variance", "var", "flux_var", "flux_variance", "var_flux"),
    "snr": ("snr", "s/n", "sn", "signal_to_noise"),
    "mask": ("mask", "flag", "flags", "quality", "qual", "dq", "bad", "badpix", "bpm", "pixmask"),
}
"""Names by which a column is understood, in lower case. A mask is 0 where a sample is good."""
WEIGHTS: tuple[Role, ...] = ("ivar", "error", "variance", "snr")
"""Columns from which ivar is made, the first that there is."""
SNR_RANGE = (0.1, 1e4)
"""Median S/N a sample that errors may mean; the best atlases of the Sun reach some thousands."""

_UNITS = {
    **dict.fromkeys(("a", "å", "aa", "ang", "angs", "angstrom", "angstroms", "ångström", "angstroem"), 1.0),
    **dict.fromkeys(("nm", "nms", "nanometer", "nanometers", "nanometre", "nanometres", "nano", "mmu"), 1e1),
    **dict.fromkeys(("um", "µm", "μm", "mum", "micron", "microns", "micrometer", "micrometers"), 1e4),
    **dict.fromkeys(("micrometre", "micrometres"), 1e4),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1e10),
}
_WRAPPED = re.compile(r"^(?:log10|log|dex)\s*\(\s*(.*?)\s*\)$", re.IGNORECASE)
_NAME = re.compile(r"^\s*(.*?)\s*(?:[\(\[]\s*(.*?)\s*[\)\]])?\s*$", re.DOTALL)
_MEDIA: dict[str, Medium] = {"air": "air", "vac": "vacuum", "vacuum": "vacuum"}


class Named(NamedTuple):
    """What a column's name says: its role (None: not understood), unit ("": none), medium, whether it is a log10."""

    role: Role | None
    unit: str = ""
    medium: Medium | None = None
    logarithm: bool = False


def understood(name: str) -> Named:
    """What a name such as `flux`, `wavelength (nm)`, `wave_air` or `Lambda[AA]` says."""
    match = _NAME.match(name.strip().strip("\"'"))
    bare, unit = (match[1], match[2] or "") if match else (name, "")
    bare = re.sub(r"[\s\-.]+", "_", bare.strip().lower())
    medium: Medium | None = None
    # an ending tells the medium, or a unit: wave_air, wavelength_nm
    while "_" in bare and _role(bare) is None:
        bare, end = bare.rsplit("_", 1)
        if end in _MEDIA:
            medium = _MEDIA[end]
        elif end in _UNITS:
            unit = unit or end
        else:
            return Named(None)
        if _role(bare) not in ("wavelength", None):
            return Named(None)
    role = _role(bare)
    return Named(role, unit if role == "wavelength" else "", medium, role == "wavelength" and bare.startswith("log"))


def _role(bare: str) -> Role | None:
    return next((role for role, names in NAMES.items() if bare in names), None)


def angstroms(unit: str) -> tuple[float, bool] | None:
    """Angstrom in one of `unit`, in any usual spelling, and whether it is of a log10; None for no unit of length."""
    plain = unit.strip().strip("\"'[]()").strip()
    wrapped = _WRAPPED.match(unit.strip())
    if wrapped:
        inner = angstroms(wrapped[1])
        return None if inner is None else (inner[0], True)
    if plain.lower() in _UNITS:
        return _UNITS[plain.lower()], False
    for spelling in (plain, plain.lower()):
        meant = u.Unit(spelling, parse_strict="silent")
        if meant.is_equivalent(u.m):
            return float(meant.to(u.Angstrom)), False
    return None


def plausible(wavelength: Float[np.ndarray, " sample"]) -> bool:
    """Whether these are Angstrom of stellar spectra: within 500-1,000,000, some of them within 2000-25,000.

    Optical wavelengths in nm lie below, those in Angstrom that are taken for nm above.
    """
    low, high = float(np.min(wavelength)), float(np.max(wavelength))
    return bool(np.isfinite(low + high) and low > 500.0 and high < 1e6 and low < 25_000.0 and high > 2000.0)


def weights(
    flux: Float[np.ndarray, " sample"], given: Float[np.ndarray, " sample"], role: Role, label: str, path: Path
) -> Float[np.ndarray, " sample"]:
    """ivar from a column of errors, variances, inverse variances or S/N; 0 where it is no positive number.

    `label` names the column in a sentence. Raises SurveyError where no sample has a weight, or the errors mean a S/N
    outside SNR_RANGE.
    """
    ivar = _ivar(flux, given, role)
    some = (ivar > 0) & np.isfinite(flux) & (flux != 0)
    if not np.any(ivar > 0):
        kinds = {"0": given == 0, "negative": given < 0, "not a number": ~np.isfinite(given)}
        what = " or ".join(name for name, where in kinds.items() if np.any(where)) or "too small or too large"
        raise SurveyError(
            f"{path}: {label} is {what} in all {len(given)} rows, so that no sample has a weight: give standard "
            "deviations, or leave the column out, and spectra.NAME.snr is taken."
        )
    snr = float(np.median(np.abs(flux[some]) * np.sqrt(ivar[some]))) if some.any() else np.nan
    if snr < SNR_RANGE[0] or snr > SNR_RANGE[1]:
        raise SurveyError(
            f"{path}: {label} means a S/N of {_said(snr)} a sample (median of flux / error), which cannot be right: "
            f"{_hint(flux, given, role)}correct it, or leave the column out, and spectra.NAME.snr is taken."
        )
    return ivar


def _ivar(flux: np.ndarray, given: np.ndarray, role: Role) -> np.ndarray:
    with np.errstate(all="ignore"):
        known = np.isfinite(given) & (given > 0)
        value = np.where(known, given, 1.0)
        if role == "snr":
            ivar = np.where(flux != 0, (value / flux) ** 2, 0.0)
        else:
            ivar = {"ivar": value, "error": value**-2.0, "variance": 1.0 / value}[role]
        return np.where(known & np.isfinite(ivar), ivar, 0.0)


def _hint(flux: np.ndarray, given: np.ndarray, role: Role) -> str:
    """What else the column might be, if that made sense."""
    for other, called in (("variance", "variances"), ("ivar", "inverse variances"), ("error", "standard deviations")):
        ivar = _ivar(flux, given, other)  # type: ignore[arg-type]
        use = (ivar > 0) & np.isfinite(flux) & (flux != 0)
        snr = float(np.median(np.abs(flux[use]) * np.sqrt(ivar[use]))) if other != role and use.any() else 0.0
        if 1.0 <= snr <= SNR_RANGE[1]:
            return f"if these are {called} (S/N {_said(snr)}), name the column {other!r}; else "
    return ""


def _said(snr: float) -> str:
    return f"{snr:,.0f}" if snr >= 10 else f"{snr:.2g}"
