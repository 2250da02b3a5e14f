"""Corrections as a file of their own: each line by what names it, its correction, and the list they belong to."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy import units as u
from astropy.table import Table
from jaxtyping import Bool, Float, Int

from astrogf import __version__
from astrogf.base.errors import AstrogfError
from astrogf.base.files import beginning_of
from astrogf.base.tables import kind_of, numbers, read_table
from astrogf.comparing.reference_table import species_codes
from astrogf.exporting.run_list import RunList
from astrogf.runs.outputs import complete
from astrogf.runs.tables import floats
from astrogf.synthesis.lines.isotopes import natural_share
from astrogf.synthesis.lines.linelist import LineList

KIND, VERSION = "astrogf corrections", 1
COLUMNS = ("transition", "species", "isotope", "wavelength", "elow", "loggf", "correction", "posterior_sd", "ratio")
"""What an overlay must have; `class` (what shares a prior) and the ends of intervals may stand beside."""
DIGITS = 6
"""Decimals of dex and eV; the shipped lists have seven figures."""
CARRIED = ("prior_sd", "low_95", "low_68", "high_68", "high_95", "badly_wrong")
"""Columns of loggf.ecsv that are taken along where a run has them."""


class Overlay(NamedTuple):
    """Lines with corrections, one row a component; those of one `transition` share a correction.

    Units: vacuum Angstrom, eV, dex. `loggf` is that of the list the corrections were inferred with, of the isotope
    alone (its share not in it). `list_sha256` names that list's file, '' for the shipped list; `said` is how it was
    read.
    """

    transition: Int[np.ndarray, " line"]
    species: np.ndarray
    code: Int[np.ndarray, " line"]
    isotope: Int[np.ndarray, " line"]
    wavelength: Float[np.ndarray, " line"]
    elow: Float[np.ndarray, " line"]
    loggf: Float[np.ndarray, " line"]
    correction: Float[np.ndarray, " line"]
    list_sha256: str
    said: dict[str, Any]


def pure_loggf(lines: LineList) -> Float[np.ndarray, " line"]:
    """log gf of every line without its isotope's share, whichever way the list holds them.

    A line of a named isotope with `log_fraction` 0 holds its share, as the readers leave it.
    """
    return lines.loggf - np.where(lines.log_fraction == 0.0, natural_share(lines.z, lines.isotope), 0.0)


def write(path: Path, listed: RunList, chosen: Bool[np.ndarray, " free"], run: Path, selection: str) -> int:
    """The corrections of `chosen` rows of a run's loggf.ecsv as a table in ECSV; how many transitions they are."""
    moved = np.flatnonzero((listed.row >= 0) & np.append(chosen, False)[listed.row])
    lines, row = listed.lines.take(moved), listed.row[moved]
    mine = listed.table[row]
    table = Table(
        {
            "transition": np.unique(row, return_inverse=True)[1].ravel(),
            "species": lines.species(),
            "isotope": lines.isotope,
            "wavelength": np.round(lines.wavelength, 5),
            "elow": np.round(lines.elow, DIGITS),
            "loggf": np.round(pure_loggf(lines), DIGITS),
            **{name: np.round(floats(mine[name]), DIGITS) for name in ("correction", "posterior_sd", "ratio")},
            **{name: np.round(floats(mine[name]), DIGITS) for name in CARRIED if name in mine.colnames},
            "class": np.asarray(mine["group"], dtype=str) if "group" in mine.colnames else np.full(len(mine), ""),
        }
    )
    for name in ("wavelength", "elow"):
        table[name].unit = u.AA if name == "wavelength" else u.eV
    for name in ("loggf", "correction", "posterior_sd", *CARRIED):
        if name in table.colnames and name != "badly_wrong":
            table[name].unit = u.dex
    source = listed.source
    table.meta = {
        "kind": KIND,
        "version": VERSION,
        "medium": "vacuum",
        "written_by": f"astrogf {__version__}",
        "run": run.resolve().name,
        "selection": selection,
        "list": {"file": source.file or "shipped", "sha256": source.sha256 or "", **source.said},
    }
    table["wavelength"].description = "in vacuum"
    table["loggf"].description = "of the list, without the share of the isotope"
    table["correction"].description = "to be added to log gf of every component of the transition"
    with complete(path) as draft:
        table.write(draft, format="ascii.ecsv", overwrite=True)
    return len(np.unique(row))


def read(path: Path) -> Overlay:
    """An overlay. Raises AstrogfError for what is none, and for rows that cannot be."""
    if not path.is_file():
        raise AstrogfError(f"There is no file {path}.")
    table = read_table(path) if kind_of(beginning_of(path)) == "ecsv" else None
    if table is None or table.meta.get("kind") != KIND:
        raise AstrogfError(
            f"{path} holds no corrections of astrogf; write them with `astrogf export RUN --format overlay --out FILE`"
        )
    if table.meta.get("version") != VERSION:
        raise AstrogfError(
            f"{path} is of version {table.meta.get('version')}, this program reads {VERSION}; export again"
        )
    missing = [name for name in COLUMNS if name not in table.colnames]
    if missing or not len(table):
        what = f"has no column {', '.join(missing)}" if missing else "holds no line"
        raise AstrogfError(f"{path} {what}; export the corrections again")
    value = {n: numbers(table, n, where=path) for n in COLUMNS if n != "species"}
    code, strange = species_codes(table["species"])
    if strange is not None:
        raise AstrogfError(f"{path}: species is {strange!r}, expected a name such as 'Fe I'; export again")
    for name, column in value.items():
        bad = np.flatnonzero(~np.isfinite(column))
        if len(bad) and name not in ("posterior_sd", "ratio"):
            raise AstrogfError(f"{path}: row {bad[0] + 1} has no number in column {name}; export again")
    said = dict(table.meta.get("list") or {})
    return Overlay(
        transition=value["transition"].astype(int),
        species=np.asarray(table["species"], dtype=str),
        code=code,
        isotope=value["isotope"].astype(int),
        wavelength=value["wavelength"],
        elow=value["elow"],
        loggf=value["loggf"],
        correction=value["correction"],
        list_sha256=str(said.pop("sha256", "") or ""),
        said=said,
    )
