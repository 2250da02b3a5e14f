"""What a file holds that does not say what it is: wavelength, flux and weights of text, a FITS image or table.

The one place that decides whether such a file can be read: `astrogf inspect` and `stated.read` both ask it.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from jaxtyping import Float

from astrogf.surveys.formats import texttable
from astrogf.surveys.formats.columns import (
    NAMES,
    WEIGHTS,
    Medium,
    Named,
    Role,
    angstroms,
    plausible,
    understood,
    weights,
)
from astrogf.surveys.formats.fitsfile import fenced, is_fits, open_fits, text
from astrogf.surveys.formats.other import not_a_spectrum
from astrogf.surveys.spectrum import SurveyError

TRIED = {"Angstrom": 1.0, "nm": 10.0, "um": 1e4, "m": 1e10}
"""Units that wavelengths may be in of which a file says nothing."""
_AXES = ("FREQ", "VELO", "VRAD", "VOPT", "ZOPT", "BETA", "WAVN", "ENER")  # FITS standard, table 25


class Content(NamedTuple):
    """Samples as they lie in the file (a log10 undone); `ivar` None: no errors, 0: unusable. `medium` and `unit`: what
    the file says of its wavelengths, None and "" for nothing; `what` is it, in words."""

    wavelength: Float[np.ndarray, " sample"]
    flux: Float[np.ndarray, " sample"]
    ivar: Float[np.ndarray, " sample"] | None
    medium: Medium | None
    unit: str
    what: str


def content(plain: bytes, path: Path) -> Content:
    """What unpacked bytes hold. Raises SurveyError where they hold no spectrum, or one that cannot be right."""
    if not is_fits(plain):
        if not texttable.is_table(plain[:65536]):
            raise SurveyError(f"{path} {not_a_spectrum(plain)}")
        return _checked(_of_text(texttable.read(plain, path), path), path)
    with open_fits(plain, path, sums=False) as hdus, fenced(path, "FITS"):
        try:
            return _checked(_of_fits(hdus, path), path)
        except SurveyError as err:
            if b"ZIMAGE  =" not in plain:
                raise
            raise SurveyError(
                f"{err} It is under tile compression (fpack), which was undone here as funpack does.", err.reason
            ) from err


class _Columns(NamedTuple):
    """Columns by role, each with what a sentence calls it; what is said of the wavelengths; what the file is."""

    values: dict[Role, np.ndarray]
    labels: dict[Role, str]
    wave: Named
    what: str


def _of_text(table: texttable.TextTable, path: Path) -> _Columns:
    n, rows = table.values.shape[1], len(table.values)
    names = table.names
    if not names and n > 3:
        raise SurveyError(
            f"{path} has {n} columns and no line that names them; two or three are taken for wavelength, flux and "
            "error. Put a line before the numbers that names each, such as 'wavelength flux error mask', or leave out "
            "the others."
        )
    said = [understood(name) for name in names or ("wavelength", "flux", "error")[:n]]
    unknown = [name for name, meant in zip(names, said, strict=False) if meant.role is None]
    if unknown:
        raise SurveyError(
            f"{path}: of {n} columns {', '.join(map(repr, unknown))} cannot be understood: "
            f"call them {', '.join(NAMES)} as they are, or leave them out."
        )
    roles: list[Role] = [meant.role for meant in said if meant.role is not None]
    twice = next((role for role in roles if roles.count(role) > 1), None)
    if twice or not {"wavelength", "flux"} <= set(roles):
        missing = f"two columns of {twice}" if twice else "no column of wavelength, or none of flux"
        raise SurveyError(f"{path} has {missing} by its names {', '.join(names)}: name each column once.")
    values = {role: table.values[:, i] for i, role in enumerate(roles)}
    labels = {role: f"column {name!r}" for role, name in zip(roles, names, strict=False)}
    labels = labels or {"error": "the third column, taken for the error,"}
    what = f"a text table of numbers ({', '.join(roles)}; {rows} rows)"
    return _Columns(values, labels, said[roles.index("wavelength")], what)


def _of_fits(hdus: fits.HDUList, path: Path) -> _Columns:
    head = hdus[0].header
    if head.get("NAXIS") == 1:
        return _of_image(hdus, path)
    for hdu in hdus[1:]:
        if not isinstance(hdu, fits.BinTableHDU | fits.TableHDU):
            continue
        names = {name.lower(): name for name in hdu.columns.names}
        found: dict[Role, str] = {}
        for role, known in NAMES.items():
            name = next((names[n] for n in known if n in names), None)
            if name is None:
                name = next((n for n in hdu.columns.names if understood(n).role == role), None)
            if name is not None:
                found[role] = name
        if not {"wavelength", "flux"} <= found.keys():
            continue
        held = {role: np.ravel(hdu.data[name]) for role, name in found.items()}
        # one S/N or flag of the whole spectrum is no column of the samples
        values = {
            role: v.astype(np.float64)
            for role, v in held.items()
            if role in ("wavelength", "flux") or (v.dtype.kind in "fiub" and v.size == held["flux"].size)
        }
        said = understood(found["wavelength"])
        said = said._replace(unit=str(hdu.columns[found["wavelength"]].unit or "") or said.unit)
        labels = {role: f"column {name!r}" for role, name in found.items()}
        return _Columns(values, labels, said, f"a FITS table of no survey known here ({', '.join(values)})")
    blocks = ", ".join(f"{hdu.name or i} {getattr(hdu, 'shape', '')}" for i, hdu in enumerate(hdus))
    raise SurveyError(
        f"{path} is a FITS file of {text(head, 'TELESCOP') or 'an unnamed telescope'} in no layout known here (blocks: "
        f"{blocks[:200]}): neither a survey's, nor "
        f"an image with one axis, nor a table with a column of wavelength ({', '.join(NAMES['wavelength'][:5])} ...) "
        f"and one of flux ({', '.join(NAMES['flux'][:3])} ...).",
        "unknown_release",
    )


def _of_image(hdus: fits.HDUList, path: Path) -> _Columns:
    head = hdus[0].header
    flux = np.asarray(hdus[0].data, dtype=np.float64)
    kind = str(head.get("CTYPE1", "")).strip().upper()
    if kind.startswith(_AXES):
        raise SurveyError(f"{path}: its axis is {kind} by CTYPE1, not wavelength: convert it first.")
    try:
        step = float(head["CDELT1"] if "CDELT1" in head else head["CD1_1"])
        wave = float(head["CRVAL1"]) + (np.arange(len(flux)) + 1.0 - float(head.get("CRPIX1", 1.0))) * step
    except (KeyError, TypeError, ValueError) as err:
        raise SurveyError(f"{path} is a FITS image without a wavelength axis (CRVAL1, CDELT1).") from err
    # IRAF says the unit in WAT1_001 only
    iraf = re.search(r"units=(\S+)", text(head, "WAT1_001"))
    said = Named(
        "wavelength",
        text(head, "CUNIT1") or (iraf[1] if iraf else ""),
        {"AWAV": "air", "WAVE": "vacuum"}.get(kind),  # type: ignore[arg-type]
        head.get("DC-FLAG") == 1 or "LOG" in kind,
    )
    what = "a one-dimensional FITS image of no survey known here"
    return _Columns({"wavelength": wave, "flux": flux}, {}, said, what)


def _checked(found: _Columns, path: Path) -> Content:
    """The columns as content. Raises SurveyError for what cannot be right whatever the unit is."""
    wave, flux = found.values["wavelength"], found.values["flux"]
    if len({len(values) for values in found.values.values()}) > 1 or len(wave) < texttable.FEWEST:
        sizes = ", ".join(f"{role} {len(values)}" for role, values in found.values.items())
        raise SurveyError(f"{path} has columns that differ in length or have hardly any rows ({sizes}).")
    unit = found.wave.unit
    wave = _wavelengths(wave, found.wave, path)
    usable = np.isfinite(flux)
    if not usable.any():
        raise SurveyError(f"{path} has no finite flux.", "no_good_pixels")
    masked = _masked(found, path)
    role = next((role for role in WEIGHTS if role in found.values), None)
    ivar = None
    if role is None:
        if not np.any(flux[usable & ~masked] > 0):
            raise SurveyError(f"{path} has no positive flux.", "no_good_pixels")
        ivar = np.where(masked, 0.0, np.nan) if masked.any() else None
    else:
        label = found.labels.get(role, f"column {role!r}")
        ivar = np.where(masked, 0.0, weights(flux, found.values[role], role, label, path))
        if not np.any(usable & (flux != 0) & (ivar > 0)):
            raise SurveyError(
                f"{path} has no sample with a flux, a positive error and no mask: {np.sum(~usable | (flux == 0))} of "
                f"{len(flux)} have no flux (NaN or 0), {np.sum(~(ivar > 0))} no weight or a mask.",
                "no_good_pixels",
            )
    return Content(wave, flux, ivar, found.wave.medium, unit, found.what)


def _wavelengths(wave: np.ndarray, said: Named, path: Path) -> np.ndarray:
    """Wavelengths in the file's unit, a log10 undone. Raises SurveyError where they cannot be of that unit, or any."""
    scale = angstroms(said.unit) if said.unit else None
    if said.unit and scale is None:
        raise SurveyError(
            f"{path} says that its wavelengths are in {said.unit!r}, which is no unit of wavelength known here "
            f"(Angstrom, nm, um, m and what astropy takes for a length): convert them first."
        )
    if said.logarithm or (scale is not None and scale[1]):
        with np.errstate(over="ignore"):
            wave = 10.0**wave
    if not np.isfinite(wave).all() or len(np.unique(wave)) < texttable.FEWEST:
        row = np.argmin(np.isfinite(wave)) + 1
        fault = f"row {row} has none" if not np.isfinite(wave).all() else "hardly any of them differ"
        raise SurveyError(f"{path} has wavelengths that cannot be right: {fault}.")
    factors = [scale[0]] if scale is not None else list(TRIED.values())
    if not any(plausible(wave * factor) for factor in factors):
        whose = f"in {said.unit}, as it says" if said.unit else f"in any of {', '.join(TRIED)}"
        raise SurveyError(
            f"{path} has wavelengths {np.min(wave):g}-{np.max(wave):g}, which are not those of a stellar spectrum "
            f"{whose}: check the unit."
        )
    return wave


def _masked(found: _Columns, path: Path) -> np.ndarray:
    """Samples that the mask takes away. Raises SurveyError where those are most."""
    if "mask" not in found.values:
        return np.zeros(len(found.values["flux"]), bool)
    masked = found.values["mask"] != 0  # NaN too
    if masked.mean() > 0.5:
        raise SurveyError(
            f"{path}: {found.labels['mask']} is not 0 in {masked.mean():.0%} of the rows, where 0 says that a sample "
            "is good: turn it round if it says the opposite, or leave it out.",
            "few_good_pixels",
        )
    return masked
