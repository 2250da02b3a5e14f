"""Writers: a `LineList` in the formats of the codes that people use."""

import gzip
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from astropy.units import UnitsWarning

from astrogf.base.errors import AstrogfError
from astrogf.synthesis.gas.abundances import SYMBOLS
from astrogf.synthesis.gas.species import constituents, species_name
from astrogf.synthesis.lineio import ecsv, gaia_eso, kurucz
from astrogf.synthesis.lineio.listed import Listed, listed
from astrogf.synthesis.lineio.recognise import FORMATS
from astrogf.synthesis.lineio.records import EV_TO_WAVENUMBER, Medium
from astrogf.synthesis.lines.isotopes import mass_numbers, natural_share
from astrogf.synthesis.lines.linelist import LineList

VALD_HEADER = (
    "                                             Damping parameters  Lande\n"
    "Elm Ion       WL_{}(A) Excit(eV) log gf*   Rad.  Stark    Waals factor   References"
)


def write_lines(
    path: str | Path,
    lines: LineList,
    format: str,
    medium: Medium | None = None,
    *,
    scaled: bool | None = None,
    title: str = "astrogf line list",
    dissociation: Mapping[int, float] | None = None,
) -> None:
    """Write `lines`, whose `loggf` are final, to `path` (gzipped where it ends in .gz; overwritten).

    `format`: 'vald' (extract all, short), 'kurucz' (atoms only), 'turbospectrum', 'moog', 'gaia-eso' (FITS, VOTable or
    ECSV by the ending) or 'ecsv', the complete one, which alone needs no `medium` ('air' or 'vacuum').
    All but 'ecsv' get log gf without isotopic fractions; `scaled` says whether `lines.loggf` hold them (None: those
    of a named isotope with `log_fraction` 0 do). `dissociation` gives MOOG D0 (eV) of molecules by z.
    Raises ValueError where something does not fit the format.
    """
    path = Path(path)
    if format not in FORMATS:
        raise AstrogfError(f"format={format!r}: expected one of {', '.join(FORMATS)}")
    if format == "ecsv":
        if medium == "air":
            raise AstrogfError("format 'ecsv' holds vacuum wavelengths; drop medium='air'")
        ecsv.write(path, lines)
        return
    if medium is None:
        raise AstrogfError(f"format {format!r}: pass medium='air' or 'vacuum', the wavelengths to write")
    columns = listed(lines, medium, scaled)
    if format == "gaia-eso":
        _write_gaia_eso(path, lines, columns, medium)
        return
    if format == "vald":
        text = _vald(lines, columns, medium)
    elif format == "kurucz":
        text = _kurucz(lines, columns, medium)
    elif format == "turbospectrum":
        text = _turbospectrum(lines, columns)
    else:
        text = _moog(lines, columns, title, dissociation or {})
    content = ("\n".join(text) + "\n").encode("latin-1")
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def _vald(lines: LineList, c: Listed, medium: Medium) -> list[str]:
    text = VALD_HEADER.format("air" if medium == "air" else "vac").split("\n")
    species = {key: _vald_species(*key) for key in set(zip(lines.z.tolist(), lines.ion.tolist(), strict=True))}
    isotopes = {key: _vald_isotope(*key) for key in set(zip(lines.z.tolist(), lines.isotope.tolist(), strict=True))}
    for i in range(len(lines)):
        z, ion, isotope = int(lines.z[i]), int(lines.ion[i]), int(lines.isotope[i])
        text.append(
            f"'{species[z, ion]}',{c.wavelength[i]:16.5f},{lines.elow[i]:9.4f},{c.loggf[i]:7.3f},"
            f"{c.log_gamma_rad[i]:7.3f},{c.log_gamma4[i]:6.3f},{c.vdw[i]:9.3f}, 99.000,'   1 gf:astrogf    "
            f"{isotopes[z, isotope]}{'+' * (ion - 1)}'"
        )
    return [
        *text,
        "* oscillator strengths were NOT scaled by the solar isotopic ratios.",
        " References:",
        "  1. written by astrogf",
    ]


def _vald_species(z: int, ion: int) -> str:
    return f"{SYMBOLS[z - 1] if z <= 92 else species_name(z)} {ion}"


def _vald_isotope(z: int, isotope: int) -> str:
    atoms = zip(constituents(z), mass_numbers(z, isotope), strict=True)
    return "".join(f"({mass}){SYMBOLS[n - 1]}" if mass else SYMBOLS[n - 1] for n, mass in atoms)


def _kurucz(lines: LineList, c: Listed, medium: Medium) -> list[str]:
    if np.any(lines.z > 92):
        raise AstrogfError("format 'kurucz' holds atoms; leave molecules out, lines.take(lines.z <= 92)")
    low = lines.elow * EV_TO_WAVENUMBER
    high = low + 1e8 / lines.wavelength
    j_up = np.where(np.isnan(lines.gup), 0.0, (lines.gup - 1) / 2)
    share = np.maximum(natural_share(lines.z, lines.isotope), -9.999)
    vdw = np.where(c.vdw >= 20.0, lines.log_gamma6, c.vdw)
    wavelength = np.where(lines.wavelength < kurucz.LIMIT, lines.wavelength, c.wavelength) / 10.0
    text = []
    for i in range(len(lines)):
        code = lines.z[i] + (lines.ion[i] - 1) / 100
        text.append(
            f"{wavelength[i]:11.4f}{c.loggf[i]:7.3f}{code:6.2f}{low[i]:12.3f}{0.0:5.1f} {'':10s}{high[i]:12.3f}"
            f"{j_up[i]:5.1f} {'':10s}{c.log_gamma_rad[i]:6.2f}{c.log_gamma4[i]:6.2f}{vdw[i]:6.2f}{'AGF':<4s} 0 0"
            f"{lines.isotope[i]:3d}{0.0:6.3f}{lines.isotope[i]:3d}{share[i]:6.3f}{0:5d}{0:5d}"
        )
    return text


def _turbospectrum(lines: LineList, c: Listed) -> list[str]:
    vdw = np.where(np.isnan(c.factor), c.vdw, c.factor)
    gup = np.nan_to_num(lines.gup, nan=0.0)
    gamma = 10.0**c.log_gamma_rad
    keys = np.stack([lines.z, lines.isotope, lines.ion])
    unique, inverse = np.unique(keys, axis=1, return_inverse=True)
    text = []
    for k, (z, isotope, ion) in enumerate(unique.T.tolist()):
        digits = 3 * len(constituents(z))
        code = f"{z:4d}.{isotope:0{digits}d}" if z <= 92 else f"{z:04d}.{isotope:0{digits}d}"
        pick = np.flatnonzero(inverse.ravel() == k)
        name = species_name(z, ion)
        text += [f"'{code:<20s}'{ion:5d}{len(pick):10d}", f"'{name:<8s}LTE'"]
        for i in pick:
            stark = f" {c.log_gamma4[i]:7.3f}" if c.listed_stark else ""
            text.append(
                f"{c.wavelength[i]:12.4f} {lines.elow[i]:7.4f} {c.loggf[i]:7.3f} {vdw[i]:8.3f} {gup[i]:6.1f} "
                f"{gamma[i]:9.3E}{stark} 'x' 'x'   0.0    1.0 '{name} {lines.transition[i]}'"
            )
    return text


def _moog(lines: LineList, c: Listed, title: str, dissociation: Mapping[int, float]) -> list[str]:
    vdw = np.where(c.vdw >= 20.0, lines.log_gamma6, c.vdw)
    text = [" ".join(title.split()) or "lines"]
    for i in range(len(lines)):
        z = int(lines.z[i])
        code = moog_code(z, int(lines.ion[i]), int(lines.isotope[i]))
        d0 = f"{dissociation.get(z, 0.0):10.3f}" if z > 92 else ""
        row = f"{c.wavelength[i]:10.3f}{code:>10s}{lines.elow[i]:10.4f}{c.loggf[i]:10.3f}{vdw[i]:10.3f}{d0}"
        text.append(row)
    return text


def moog_code(z: int, ion: int, isotope: int) -> str:
    """MOOG's name of a species: '26.1', '56.1137', '607.01214'. Raises ValueError for a mass of three digits."""
    if isotope == 0:
        return f"{z}.{ion - 1}"
    masses = mass_numbers(z, isotope)
    if z <= 92:
        return f"{z}.{ion - 1}{masses[0]:03d}"
    if max(masses) > 99:
        raise AstrogfError(f"isotope {isotope} of {species_name(z)}: MOOG has two digits for the mass of an atom")
    return f"{z}.{ion - 1}" + "".join(f"{mass:02d}" for mass in masses)


def _write_gaia_eso(path: Path, lines: LineList, c: Listed, medium: Medium) -> None:
    if medium != "air":
        raise AstrogfError("format 'gaia-eso' holds air wavelengths, as published; pass medium='air'")
    if np.any(lines.z > 92):
        raise AstrogfError("format 'gaia-eso' holds atoms; leave molecules out, lines.take(lines.z <= 92)")
    suffix = path.suffixes[-2] if path.suffix == ".gz" and len(path.suffixes) > 1 else path.suffix
    form = {".fits": "fits", ".fit": "fits", ".vot": "votable", ".xml": "votable", ".ecsv": "ascii.ecsv"}.get(suffix)
    if form is None:
        raise AstrogfError(
            f"{path}: format 'gaia-eso' is written as .fits, .vot or .ecsv; give the file such an ending"
        )
    table = gaia_eso.build(
        {
            "element": np.array([SYMBOLS[z - 1] for z in lines.z]),
            "ion": lines.ion,
            "isotope": lines.isotope,
            "wavelength": c.wavelength,
            "loggf": c.loggf,
            "elow": lines.elow,
            "jup": (lines.gup - 1) / 2,
            "rad": c.log_gamma_rad,
            "stark": c.log_gamma4,
            "vdw": c.vdw,
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnitsWarning)  # VOUnit would have 0.1nm for Angstrom
        table.write(path, format=form, overwrite=True)
