"""The package's own format: every column of `LineList` in an ECSV table, nothing rounded, nothing left to guess."""

from pathlib import Path

import numpy as np
from astropy.table import Table

from astrogf.base.errors import AstrogfError
from astrogf.synthesis.lines.linelist import LineList

KIND = "astrogf line list"
UNITS = {
    "wavelength": "Angstrom",
    "elow": "eV",
    "loggf": "dex",
    "log_fraction": "dex",
}
INTEGER = ("z", "ion", "isotope", "quality", "transition")


def is_ours(table: Table) -> bool:
    """Whether a table says that it was written by `write`."""
    return table.meta.get("kind") == KIND


def write(path: Path, lines: LineList) -> None:
    """All columns at full precision, vacuum wavelengths; `path` may end in .gz."""
    table = Table(lines._asdict(), meta={"kind": KIND, "version": 1, "medium": "vacuum"})
    for name, unit in UNITS.items():
        table[name].unit = unit
    for name in ("log_gamma_rad", "log_gamma6", "log_gamma4"):
        table[name].description = "log10 of a FWHM in rad/s (per H atom at 1e4 K, per electron)"
    table.write(path, format="ascii.ecsv", overwrite=True)


def read(path: Path, table: Table) -> LineList:
    """The lines of such a table. Raises ValueError for missing columns, other units or another medium."""
    missing = [name for name in LineList._fields if name not in table.colnames]
    if missing:
        raise AstrogfError(f"{path}: columns {', '.join(missing)} are missing; write the list again with write_lines")
    if table.meta.get("medium") != "vacuum":
        raise AstrogfError(f"{path}: meta 'medium' is {table.meta.get('medium')!r}, expected 'vacuum'")
    for name, unit in UNITS.items():
        if str(table[name].unit) != unit:
            raise AstrogfError(f"{path}: column {name} is in {table[name].unit}, expected {unit}")
    columns = {}
    for name in LineList._fields:
        values = np.asarray(np.ma.filled(table[name], np.nan) if name not in INTEGER else table[name])
        if values.dtype.kind not in "iuf":
            raise AstrogfError(f"{path}: column {name} holds text, expected numbers")
        bad = ~np.isfinite(values) & (name != "gup")
        if np.any(bad):
            raise AstrogfError(f"{path}: row {int(np.flatnonzero(bad)[0]) + 1}: column {name} is {values[bad][0]}")
        columns[name] = values.astype(int if name in INTEGER else float)
    lines = LineList(**columns)
    return lines.take(np.argsort(lines.wavelength, kind="stable"))
