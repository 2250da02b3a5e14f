"""The package's own format: every column of `LineList` in an ECSV table, nothing rounded, nothing left to guess."""

from pathlib import Path

import numpy as np
from astropy.table import Table

from astrogf.base.errors import AstrogfError
from astrogf.synthesis.gas.species import MOLECULE_CODES
from astrogf.synthesis.lineio.checks import RANGES, check_levels
from astrogf.synthesis.lineio.columns import TableColumns
from astrogf.synthesis.lineio.records import OnBad, Problems
from astrogf.synthesis.lines.damping import complete_damping
from astrogf.synthesis.lines.linelist import LineList

KIND = "astrogf line list"
UNITS = {
    "wavelength": "Angstrom",
    "elow": "eV",
    "loggf": "dex",
    "log_fraction": "dex",
}
INTEGER = ("z", "ion", "isotope", "quality", "transition")
WIDTHS = ("log_gamma_rad", "log_gamma6", "log_gamma4")


def is_ours(table: Table) -> bool:
    """Whether a table says that it was written by `write`."""
    return table.meta.get("kind") == KIND


def write(path: Path, lines: LineList) -> None:
    """All columns at full precision, vacuum wavelengths; `path` may end in .gz."""
    table = Table(lines._asdict(), meta={"kind": KIND, "version": 1, "medium": "vacuum"})
    for name, unit in UNITS.items():
        table[name].unit = unit
    for name in WIDTHS:
        table[name].description = "log10 of a FWHM in rad/s (per H atom at 1e4 K, per electron)"
    table.write(path, format="ascii.ecsv", overwrite=True)


def read(path: Path, table: Table, problems: Problems, on_bad: OnBad) -> tuple[LineList, np.ndarray]:
    """The lines of such a table and their rows (from 1); widths of 0, which somebody put there, are filled in.

    Rows that cannot be read are settled as `on_bad` says. Raises AstrogfError for missing columns, units that do not
    fit or another medium.
    """
    missing = [name for name in LineList._fields if name not in table.colnames]
    if missing:
        raise AstrogfError(f"{path}: columns {', '.join(missing)} are missing; write the list again with write_lines")
    if table.meta.get("medium") != "vacuum":
        raise AstrogfError(f"{path}: meta 'medium' is {table.meta.get('medium')!r}, expected 'vacuum'")
    table_columns = TableColumns(table, {name: name for name in LineList._fields}, path, problems)
    for name in (*WIDTHS, "loggf", "log_fraction"):
        if table[name].unit is not None and str(table[name].unit) != "dex":
            raise AstrogfError(f"{path}: column {name} is in {table[name].unit}, expected dex")
    columns = {name: table_columns.number(name, required=name != "gup") for name in LineList._fields}
    columns |= {"wavelength": table_columns.wavelength("wavelength", "vacuum"), "elow": table_columns.energy("elow")}
    for name, low, high, expected in RANGES:
        for i in np.flatnonzero((columns[name] < low) | (columns[name] > high)):
            if not (name == "log_gamma4" and columns[name][i] == -99.0):  # there is none: molecules
                problems.add(int(i) + 1, name, f"{columns[name][i]:g}", expected)
    z, ion = columns["z"], columns["ion"]
    known = np.isin(z, np.arange(1, 93)) & np.isin(ion, (1, 2, 3)) | np.isin(z, MOLECULE_CODES) & (ion == 1)
    for i in np.flatnonzero(~known):
        problems.add(int(i) + 1, "z, ion", f"{z[i]:g}, {ion[i]:g}", "an element 1-92 in stage 1-3, or a molecule")
    fine = np.where(known, z, 0).astype(int), np.where(known, ion, 0).astype(int)
    check_levels(table_columns.rows, *fine, columns["elow"], problems)
    problems.settle(on_bad)
    good = ~np.isin(table_columns.rows, list(problems.rows))
    lines = LineList(**{n: v[good].astype(int if n in INTEGER else float) for n, v in columns.items()})
    order = np.argsort(lines.wavelength, kind="stable")
    return _filled(lines).take(order), table_columns.rows[good][order]


def _filled(lines: LineList) -> LineList:
    """The lines with what `complete_damping` has for widths of 0."""
    if not any(np.any(getattr(lines, name) == 0.0) for name in WIDTHS):
        return lines
    given = {name: np.where(getattr(lines, name) == 0.0, np.nan, getattr(lines, name)) for name in WIDTHS}
    rad, gamma6, gamma4 = given.values()
    filled = complete_damping(
        lines.z, lines.ion, lines.wavelength, lines.elow, lines.loggf,
        gup=lines.gup, log_gamma_rad=rad, vdw=gamma6, log_gamma4=gamma4,
    )  # fmt: skip
    unknown6 = np.isnan(gamma6)
    return lines.replace(
        log_gamma_rad=filled.log_gamma_rad,
        log_gamma6=np.where(unknown6, filled.log_gamma6, gamma6),
        gamma6_exponent=np.where(unknown6, filled.gamma6_exponent, lines.gamma6_exponent),
        log_gamma4=filled.log_gamma4,
        quality=np.where(unknown6, filled.quality, lines.quality),
    )
