"""The Gaia-ESO line list as published (VizieR J/A+A/645/A106, table geslines): FITS, VOTable, ECSV or CDS text.

Source: Heiter et al. (2021, A&A 645, A106). Columns read, by any of their names in VizieR's and the survey's tables:
element, ion (1 neutral), isotope (0 none), wavelength, log gf, lower energy, log radiative and Stark damping, van der
Waals damping (negative log10 of the FWHM per hydrogen atom at 10^4 K, or ABO sigma.alpha), and, if there, upper J.
"""

from pathlib import Path

import numpy as np
from astropy.table import Table

from astrogf.base.errors import AstrogfError
from astrogf.synthesis.gas.species import parse_species
from astrogf.synthesis.lineio import plain
from astrogf.synthesis.lineio.columns import TableColumns, plain_name
from astrogf.synthesis.lineio.records import OUTSIDE, Problems, Records, species_columns

NAMES = {
    "element": ("element", "name", "name1", "species"),
    "ion": ("ion",),
    "isotope": ("isotope", "isotope1"),
    "wavelength": ("lambda", "wavelength", "wave"),
    "loggf": ("loggf",),
    "elow": ("elow",),
    "jup": ("jup",),
    "rad": ("raddamp",),
    "stark": ("stadamp", "starkdamp"),
    "vdw": ("vdwdamp",),
}
REQUIRED = ("element", "ion", "wavelength", "loggf", "elow", "vdw")
PUBLISHED = {
    "element": "Element",
    "ion": "Ion",
    "isotope": "Isotope",
    "wavelength": "lambda",
    "loggf": "loggf",
    "elow": "Elow",
    "jup": "Jup",
    "rad": "Rad-damp",
    "stark": "Sta-damp",
    "vdw": "Vdw-damp",
}


def columns_of(names: list[str]) -> dict[str, str]:
    """Our name of a column -> the table's, for those it has."""
    plain = {plain_name(name): name for name in names}
    return {key: plain[alias] for key, aliases in NAMES.items() for alias in reversed(aliases) if alias in plain}


def parse(table: Table, path: Path, problems: Problems) -> Records:
    """Records of the table, units of columns honoured; zero or missing damping is unknown. Wavelengths are of air."""
    columns = columns_of(table.colnames)
    missing = [key for key in REQUIRED if key not in columns]
    lacking = plain.missing(table)
    if len(lacking) < len(missing):
        raise AstrogfError(f"{path}: columns {', '.join(lacking)} are missing; it has {', '.join(table.colnames)}")
    if missing:
        expected = ", ".join(PUBLISHED[key] for key in missing)
        raise AstrogfError(f"{path}: columns {expected} are missing; it has {', '.join(table.colnames)}")
    # the survey's own tables keep three places in a column, for the atoms of a molecule: the first counts
    read = TableColumns(table, columns, path, problems, logs=True)
    rows, names = read.rows, read.text("element")
    ion, isotope = read.number("ion"), read.number("isotope", 0.0)
    keys = [f"{e}|{_integer(i)}|{_integer(a)}" for e, i, a in zip(names, ion, isotope, strict=True)]
    z, stage, mass = species_columns(keys, rows, _species, problems, "an element's symbol and a stage of 1 or more")
    return Records(
        row=rows,
        name=np.array([f"{e} {_integer(i)}" for e, i in zip(names, ion, strict=True)], dtype=str),
        z=z,
        ion=stage,
        isotope=mass,
        wavelength=read.wavelength("wavelength", "air"),
        elow=read.energy("elow"),
        loggf=read.loggf(),
        gup=2 * read.number("jup") + 1,
        log_gamma_rad=read.log_gamma_rad(),
        vdw=read.vdw(),
        log_gamma4=read.log_gamma4(),
        label=np.full(len(rows), ""),
        orbitals=np.full((len(rows), 2), ""),
        stated="air",
    )


def _integer(value: float) -> int:
    return int(value) if np.isfinite(value) else 0


def _species(key: str) -> tuple[int, int, int]:
    name, ion, isotope = key.split("|")
    if int(ion) < 1 or not name:
        raise AstrogfError(name)
    z, _ = parse_species(name)
    if int(ion) > 3:
        return OUTSIDE
    return z, int(ion), max(int(isotope), 0)


def build(columns: dict[str, np.ndarray]) -> Table:
    """A table with the published names; the keys are those of `PUBLISHED`."""
    table = Table({PUBLISHED[key]: value for key, value in columns.items()})
    for name, unit in (("lambda", "Angstrom"), ("Elow", "eV")):
        table[name].unit = unit
    table["lambda"].description = "wavelength in air"
    return table
