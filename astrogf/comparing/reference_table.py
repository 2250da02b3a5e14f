"""Tables of reference log gf (laboratory values, another list) as they come: names, units and media recognised."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import Table
from jaxtyping import Float

from astrogf.base import tables
from astrogf.base.air import air_to_vacuum
from astrogf.base.errors import AstrogfError
from astrogf.comparing.judge import Lines
from astrogf.synthesis.gas.species import parse_species, species_name

LOGGF = ("loggf_lab", "loggf_ref", "loggf", "log_gf")
ELOW = ("elow", "e_low", "excitation", "ep")
ERROR = ("error", "loggf_error", "loggf_err", "e_loggf", "loggf_sd", "sd")
SOURCE = ("reference", "ref", "source")


@dataclass(frozen=True)
class ReferenceTable:
    """Reference values: `lines` in vacuum, `sd` in dex (0 where none is given), `source` a text a row.

    `rows` are the rows of the file that are left; `refused` says how many were not usable, and why.
    """

    lines: Lines
    sd: Float[np.ndarray, " line"]
    source: list[str]
    rows: np.ndarray
    refused: dict[str, int]
    column: str
    medium: str
    has_errors: bool


def read(path: Path, medium: str | None = None) -> ReferenceTable:
    """A table of reference log gf. `medium`: 'air' or 'vacuum' of a column that is just called wavelength.

    Raises AstrogfError when the file cannot be read, lacks a column, or does not tell air from vacuum.
    """
    table = tables.read_table(path)
    if len(table) == 0:
        raise AstrogfError(f"{path} has no rows.")
    waves, medium = _wavelength(path, table, medium)
    elow = tables.quantity(table, _need(path, table, ELOW, "the energy of the lower level"), u.eV, where=path)
    column = _need(path, table, LOGGF, "the log gf")
    loggf = tables.numbers(table, column, where=path)
    codes, strange = species_codes(table[_need(path, table, ("species",), "the species")])
    name = _find(table, ERROR)
    sd = tables.numbers(table, name, where=path) if name else np.zeros(len(table))
    finite = np.isfinite(waves) & np.isfinite(elow) & np.isfinite(loggf)
    keep = finite & (codes > 0)
    refused = {"a value is missing": int(np.sum(~finite)), "species not known": int(np.sum(finite & (codes <= 0)))}
    if not keep.any():
        example = f", for example {strange!r}" if strange else ""
        raise AstrogfError(f"{path} has no row that can be used: {refused} of {len(table)} rows{example}.")
    source = _find(table, SOURCE)
    texts = [str(x) for x in table[source][keep]] if source else [""] * int(keep.sum())
    sd = np.where(np.isfinite(sd) & (sd > 0), sd, 0.0)
    lines = Lines(waves[keep], codes[keep], elow[keep], loggf[keep])
    return ReferenceTable(
        lines, sd[keep], texts, np.flatnonzero(keep), {k: v for k, v in refused.items() if v}, column, medium,
        bool(name) and bool(np.any(sd[keep] > 0)),
    )  # fmt: skip


def species_codes(column) -> tuple[np.ndarray, str | None]:
    """10 z + ion of every row, 0 where it is not known, and an example of those; 'Fe I', 26.0 and 26.10000 alike."""
    codes_by_name: dict[str, int] = {}
    strange = None
    out = np.zeros(len(column), int)
    for row, value in enumerate(column):
        text = f"{value:.5f}" if isinstance(value, float | np.floating) else str(value)
        if text not in codes_by_name:
            try:
                z, ion = parse_species(text)
                codes_by_name[text] = 10 * z + ion
            except ValueError:
                codes_by_name[text], strange = 0, text
        out[row] = codes_by_name[text]
    return out, strange


def species_text(code: int) -> str:
    """'Fe I' of a code of `species_codes`."""
    return species_name(code // 10, code % 10)


def _find(table: Table, names: tuple[str, ...]) -> str | None:
    by_lower_case = {c.lower(): c for c in reversed(table.colnames)}
    return next((by_lower_case[n] for n in names if n in by_lower_case), None)


def _need(path: Path, table: Table, names: tuple[str, ...], what: str) -> str:
    column = _find(table, names)
    if column is None:
        raise AstrogfError(
            f"{path} has no column for {what}: expected one of {', '.join(names)}; it has {', '.join(table.colnames)}."
        )
    return column


def _wavelength(path: Path, table: Table, medium: str | None) -> tuple[np.ndarray, str]:
    """Vacuum Angstrom, and the medium that the file was in."""
    name = _find(table, ("wavelength_air", "wavelength_vac", "wavelength_vacuum", "wavelength"))
    if name is None:
        raise AstrogfError(
            f"{path} has no column of wavelengths: expected wavelength_air, wavelength_vac or wavelength; "
            f"it has {', '.join(table.colnames)}."
        )
    said = name.lower().partition("_")[2]
    if not said:
        text = f"{table.meta.get('medium', '')} {table[name].description or ''}".lower()
        words = {m for m in ("air", "vacuum") if m in text}
        said = words.pop() if len(words) == 1 else ""
    stated = {"air": "air", "vac": "vacuum", "vacuum": "vacuum"}.get(said)
    if stated and medium and stated != medium:
        raise AstrogfError(f"{path}: column {name} is in {stated} by its own word, but --medium says {medium}.")
    medium = stated or medium
    if medium is None:
        raise AstrogfError(
            f"{path}: column {name} does not say whether it is air or vacuum; add --medium air or vacuum."
        )
    values = tables.quantity(table, name, u.AA, where=path)
    return (air_to_vacuum(values) if medium == "air" else values), medium
