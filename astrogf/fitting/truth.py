"""What a simulation knows: injected log gf errors and true labels, laid beside the fit's rows."""

import numpy as np
from astropy.table import MaskedColumn, Table

from astrogf.runs.summary import COMPARED
from astrogf.synthesis.lines.identity import written


def attach_injected(lines: Table, truth: Table) -> Table:
    """The free lines with a column `injected` (dex, masked where nothing is known).

    `truth` has one row a line: wavelength (vacuum Angstrom), species, elow (eV), loggf (of the list the fit
    starts from) and injected (dex: true log gf minus that of the list, so a perfect correction equals it).
    Lines are the same where all four agree; of indistinguishable ones the first with the first.
    """
    waiting: dict[tuple, list[float]] = {}
    for row in truth:
        waiting.setdefault(_identity(row), []).append(float(row["injected"]))
    injected_errors = [waiting[key].pop(0) if waiting.get(key := _identity(row)) else np.nan for row in lines]
    out = lines.copy()
    out["injected"] = MaskedColumn(np.ma.masked_invalid(np.array(injected_errors, dtype=float)), format=".5f")
    return out


def reference_labels(paths: list[str], truth: Table) -> Table:
    """True teff, logg, feh of the stars with these paths (NaN where the truth names none)."""
    rows = {str(row["path"]): row for row in truth}
    return Table(
        {
            name: np.array([float(rows[p][name]) if p in rows else np.nan for p in paths], dtype=float)
            for name in COMPARED
        }
    )


def _identity(row) -> tuple:
    # Tables lose digits on their way through text: a thousandth of an Angstrom still tells lines apart.
    return written(row["species"], *(row[n] for n in ("wavelength", "elow", "loggf")))
