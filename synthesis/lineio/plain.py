"""A plain table of lines (ECSV, FITS, VOTable): wavelength, species, lower energy, log gf, perhaps damping."""

import re
from pathlib import Path

import numpy as np
from astropy.table import Table

from astrogf.base.errors import AstrogfError
from astrogf.synthesis.gas.abundances import SYMBOLS
from astrogf.synthesis.gas.partition import MOLECULES
from astrogf.synthesis.lineio import species as spelled
from astrogf.synthesis.lineio.columns import TableColumns, plain_name
from astrogf.synthesis.lineio.records import Medium, Problems, Records, species_columns

WAVELENGTH: dict[str, Medium | None] = {
    "wavelengthair": "air",
    "waveair": "air",
    "lambdaair": "air",
    "wlair": "air",
    "wavelengthvac": "vacuum",
    "wavelengthvacuum": "vacuum",
    "wavevac": "vacuum",
    "lambdavac": "vacuum",
    "wlvac": "vacuum",
    "wavelength": None,
}
"""Names of the wavelength column (`columns.plain_name`) and the medium that each states."""
NAMES = {
    "species": ("species",),
    "element": ("element", "elem", "el", "atom", "symbol", "z", "atomicnumber"),
    "code": ("code",),
    "stage": ("ion", "ionstage", "stage", "ionisation", "ionization", "ionisationstage", "ionizationstage"),
    "charge": ("charge", "ioncharge"),
    "isotope": ("isotope", "massnumber"),
    "elow": ("elow", "ep", "chi", "excitation", "exclow"),
    "loggf": ("loggf", "gflog", "gf"),
    "gup": ("gup",),
    "rad": ("loggammarad", "gammarad", "raddamp", "loggamrad", "gamrad", "grad"),
    "stark": ("loggammastark", "loggamma4", "starkdamp", "gammastark", "gamma4", "loggamstark", "gamstark"),
    "vdw": ("vdw", "loggammavdw", "vdwdamp", "waals", "gammavdw", "loggamvdw", "gamvdw"),
}
"""Names of the other columns, the first that is there counts."""
NAMED_BY = ("species", "element", "code")


def columns_of(table: Table, medium: str | None = None) -> tuple[dict[str, str], Medium | None] | None:
    """Column names by meaning and the medium, or None for a table that is no plain line list."""
    plain = {plain_name(name): name for name in reversed(table.colnames)}
    waves = [name for name in WAVELENGTH if name in plain]
    columns = {key: plain[name] for key, names in NAMES.items() for name in names[::-1] if name in plain}
    if not waves or "elow" not in columns or "loggf" not in columns or not any(key in columns for key in NAMED_BY):
        return None
    # a table may have both kinds of wavelengths
    wave = next((name for name in waves if WAVELENGTH[name] == medium), waves[0])
    return columns | {"wavelength": plain[wave]}, WAVELENGTH[wave]


def missing(table: Table) -> list[str]:
    """What a table lacks to be a plain line list, by the name that a column should have."""
    plain = {plain_name(name) for name in table.colnames}
    wanted = {
        "wavelength_air or wavelength_vac": tuple(WAVELENGTH),
        "species": tuple(name for key in NAMED_BY for name in NAMES[key]),
        "E_low": NAMES["elow"],
        "loggf": NAMES["loggf"],
    }
    return [name for name, aliases in wanted.items() if not plain & set(aliases)]


def parse(table: Table, path: Path, problems: Problems, medium: str | None = None) -> Records | None:
    """Records of a plain table, or None where it is none.

    A species is a name ('Fe I', 'FeII', 'Fe 2', 'CN'), a code (26.0, 26.1, 26.01, 607.0), or an element with a stage
    ('ion', 1 neutral) or a charge (0 neutral) in a column of its own. Units of columns are honoured (`columns`);
    without one wavelengths are in Angstrom and energies in eV. `medium` is what the caller said of the wavelengths.
    Raises AstrogfError for units that do not fit, and where two columns say the same thing differently.
    """
    understood = columns_of(table, medium)
    if understood is None:
        return None
    columns, stated = understood
    read = TableColumns(table, columns, path, problems)
    _refuse_twins(read)
    keys = _keys(read)
    z, ion, isotope = species_columns(
        keys, read.rows, _species, problems, "a name such as 'Fe I', or a code such as 26.0, and a stage (1 neutral) "
        "or charge (0 neutral) that agrees", _shown,
    )  # fmt: skip
    empty = np.full(len(read.rows), "")
    return Records(
        row=read.rows,
        name=np.array([_shown(key) for key in keys], dtype=str),
        z=z,
        ion=ion,
        isotope=isotope,
        wavelength=read.wavelength("wavelength", stated or medium),
        elow=read.energy("elow"),
        loggf=read.loggf(),
        gup=read.number("gup"),
        log_gamma_rad=read.log_gamma_rad(),
        vdw=read.vdw(),
        log_gamma4=read.log_gamma4(),
        label=empty,
        orbitals=np.full((len(read.rows), 2), ""),
        stated=stated,
    )


def _refuse_twins(read: TableColumns) -> None:
    """Raise AstrogfError where two columns are named as the same quantity and do not hold the same numbers."""
    for key in ("wavelength", "elow", "loggf"):
        used = read.names[key]
        aliases = (plain_name(used),) if key == "wavelength" else tuple(n for n in NAMES[key] if n != "gf")
        # astropy numbers columns of the same name: loggf, loggf_1
        others = [n for n in read.table.colnames if n != used]
        twins = [n for n in others if plain_name(n) in aliases or plain_name(re.sub(r"_?\d+$", "", n)) in aliases]
        for twin in twins:
            same = read.table[used].unit == read.table[twin].unit
            if same and np.array_equal(np.asarray(read.table[used]), np.asarray(read.table[twin])):
                continue
            raise AstrogfError(f"{read.path}: columns {used} and {twin} say the same thing differently; remove one")


def _keys(read: TableColumns) -> list[str]:
    """'name|stage|isotope' of every row; stage and isotope are blank where no column says them."""
    names = read.text(next(key for key in NAMED_BY if key in read.names))
    blank = [""] * len(names)
    stages = blank
    for key in ("charge", "stage"):
        if key in read.names:
            words = [_whole(word) for word in read.text(key)]
            if key == "stage" and "0" in words:
                raise AstrogfError(
                    f"{read.path}: line {words.index('0') + 1}: column {read.names[key]} holds 0; if it counts charges "
                    "(0 neutral) name it charge, else give stages (1 neutral)"
                )
            stages = [f"{key} {word}" for word in words]
    if stages is not blank and any(_is_upper(name) and name not in MOLECULES for name in names):
        names = [name.capitalize() if _is_upper(name) else name for name in names]
    isotopes = [_whole(word) for word in read.text("isotope")] if "isotope" in read.names else blank
    return ["|".join(parts) for parts in zip(names, stages, isotopes, strict=True)]


def _is_upper(name: str) -> bool:
    """Whether a name is an element's symbol in capitals: 'FE', and 'CO', which is a molecule elsewhere."""
    return len(name) == 2 and name.isupper() and name.capitalize() in SYMBOLS


def _whole(word: str) -> str:
    """'2' for '2.00000', other words as they are."""
    return word.rstrip("0").rstrip(".") if "." in word else word


def _species(key: str) -> tuple[int, int, int]:
    name, said, mass = key.split("|")
    kind, _, word = said.partition(" ")
    if not said:
        return spelled.species(name, None, int(float(mass or 0)))
    stage = spelled.stage_of(word, charge=kind == "charge")
    if stage is None and not spelled.says_stage(name):
        raise AstrogfError(name)
    return spelled.species(name, stage, int(float(mass or 0)))


def _shown(key: str) -> str:
    """A key as messages show it: 'Fe, stage 2'."""
    return ", ".join(part.strip() for part in key.split("|") if part)
