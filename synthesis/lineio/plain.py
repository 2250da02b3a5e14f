"""A plain table of lines (ECSV, FITS, VOTable): wavelength, species, lower energy, log gf, perhaps damping."""

from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import Table

from astrogf.base.tables import numbers, quantity
from astrogf.synthesis.gas.species import parse_species
from astrogf.synthesis.lineio.moog import parse_code
from astrogf.synthesis.lineio.records import Problems, Records, species_columns

WAVELENGTH = {
    "wavelength_air": "air",
    "wave_air": "air",
    "lambda_air": "air",
    "wavelength_vac": "vacuum",
    "wavelength_vacuum": "vacuum",
    "wave_vac": "vacuum",
    "wavelength": None,
}
"""Names of the wavelength column and the medium that each states."""
NAMES = {
    "species": ("species", "code", "element"),
    "elow": ("e_low", "elow", "ep", "chi", "excitation", "exc_low"),
    "loggf": ("loggf", "log_gf", "gf_log"),
    "gup": ("gup", "g_up"),
    "rad": ("log_gamma_rad", "gamma_rad", "rad_damp"),
    "stark": ("log_gamma_stark", "log_gamma4", "stark_damp"),
    "vdw": ("vdw", "log_gamma_vdw", "vdw_damp", "waals"),
}
REQUIRED = ("species", "elow", "loggf")
UNITS = {"wavelength": u.AA, "elow": u.eV}


def columns_of(table: Table) -> tuple[dict[str, str], str | None] | None:
    """Column names by meaning and the medium, or None for a table that is no plain line list."""
    lower = {name.lower(): name for name in table.colnames}
    wave = next((name for name in WAVELENGTH if name in lower), None)
    columns = {key: lower[name] for key, names in NAMES.items() for name in names[::-1] if name in lower}
    if wave is None or any(key not in columns for key in REQUIRED):
        return None
    return columns | {"wavelength": lower[wave]}, WAVELENGTH[wave]


def parse(table: Table, path: Path, problems: Problems) -> Records | None:
    """Records of a plain table, or None where it is none.

    `species` is a name ('Fe I', 'CN') or MOOG's code (26.0, 26.1, 607.0). Wavelengths are in Angstrom and energies in
    eV where their columns name no other unit (nm, 1/cm).
    """
    understood = columns_of(table)
    if understood is None:
        return None
    columns, medium = understood
    rows = np.arange(1, len(table) + 1)

    def column(key: str) -> np.ndarray:
        if key not in columns:
            return np.full(len(table), np.nan)
        name = columns[key]
        raw = quantity(table, name, UNITS[key], where=path) if key in UNITS else numbers(table, name, where=path)
        if key in ("wavelength", "elow", "loggf"):
            for i in np.flatnonzero(~np.isfinite(raw)):
                problems.add(rows[i], columns[key], str(raw[i]), "a number")
        return raw

    keys = [_key(value) for value in table[columns["species"]]]
    z, ion, isotope = species_columns(keys, rows, _species, problems, "a name such as 'Fe I' or a code such as 26.0")
    empty = np.full(len(rows), "")
    return Records(
        rows, np.array(keys, dtype=str), z, ion, isotope, column("wavelength"), column("elow"), column("loggf"),
        column("gup"), column("rad"), column("vdw"), column("stark"), empty, np.full((len(rows), 2), ""),
        stated=medium,  # type: ignore[arg-type]
    )  # fmt: skip


def _key(value) -> str:
    return f"{float(value):.5f}" if isinstance(value, float | np.floating | int | np.integer) else str(value).strip()


def _species(key: str) -> tuple[int, int, int]:
    try:
        float(key)
    except ValueError:
        return (*parse_species(key), 0)
    return parse_code(key)
