"""Readers: line lists of other codes as a `LineList`."""

from pathlib import Path

import numpy as np

from astrogf.base.errors import AstrogfError
from astrogf.base.tables import read_table
from astrogf.synthesis.lineio import ecsv, gaia_eso, kurucz, moog, plain, turbospectrum, vald
from astrogf.synthesis.lineio.recognise import FORMATS, recognise
from astrogf.synthesis.lineio.records import Medium, OnBad, Problems, complete, decide_medium, read_bytes, read_text
from astrogf.synthesis.lines.isotopes import Ratios
from astrogf.synthesis.lines.linelist import LineList

_PARSE = {
    "vald": vald.parse,
    "kurucz": kurucz.parse,
    "turbospectrum": turbospectrum.parse,
    "moog": moog.parse,
}


def read_lines(
    path: str | Path,
    format: str | None = None,
    medium: Medium | None = None,
    isotopes: Ratios | None = None,
    *,
    scaled: bool | None = None,
    on_bad: OnBad = "raise",
) -> LineList:
    """Read a line list, gzipped or not; sorted by (vacuum) wavelength, damping completed where the list is silent.

    `format`: 'vald', 'kurucz', 'turbospectrum', 'moog', 'gaia-eso', 'ecsv' (our own), or None, which recognises the
    format by the content; a plain table (`lineio.plain`) needs no name. `medium`: 'air' or 'vacuum'; needed where
    neither the file (VALD, ecsv, the energies in a Kurucz list, the column's name in a plain table) nor the format
    (gaia-eso: air) says, and an error where they disagree. `isotopes`, {(Z, mass number): fraction}, replaces
    terrestrial fractions. `scaled`: the list's log gf hold the fractions already; VALD files say so themselves, other
    formats do not by convention. `on_bad`: 'raise' refuses a file with unreadable rows, 'skip' leaves them out with a
    warning. Species outside the model are left out with a warning.

    Raises ValueError with the file, line, field, what was expected and what to do.
    """
    return read_indexed(path, format, medium, isotopes, scaled=scaled, on_bad=on_bad)[0]


def read_indexed(
    path: str | Path,
    format: str | None = None,
    medium: Medium | None = None,
    isotopes: Ratios | None = None,
    *,
    scaled: bool | None = None,
    on_bad: OnBad = "raise",
) -> tuple[LineList, np.ndarray, str]:
    """As `read_lines`, with the number of each line's row in the file (from 1) and the format."""
    path = Path(path)
    content = read_bytes(path)
    if not content.strip():
        raise AstrogfError(f"{path}: the file is empty; give a line list")
    if on_bad not in ("raise", "skip"):
        raise AstrogfError(f"on_bad={on_bad!r}: expected 'raise' or 'skip'")
    if format is None:
        format = recognise(path, content)
    if format not in FORMATS:
        raise AstrogfError(f"format={format!r}: expected one of {', '.join(FORMATS)}, or None to recognise it")
    problems = Problems(path)
    if format in _PARSE:
        records = _PARSE[format](read_text(content), path, problems)
    else:
        table = read_table(path, arrays=True)
        if ecsv.is_ours(table):
            decide_medium(path, "vacuum", medium)
            lines = ecsv.read(path, table)
            if isotopes:
                raise AstrogfError(
                    f"{path}: an astrogf list holds its isotopic fractions; isotopes cannot replace them"
                )
            return lines, np.arange(1, len(lines) + 1), "ecsv"
        if format == "ecsv":
            raise AstrogfError(
                f"{path}: not written by write_lines(format='ecsv'); if it is the Gaia-ESO table, say so"
            )
        records = plain.parse(table, path, problems) or gaia_eso.parse(table, path, problems)
    if scaled is None and format != "vald":
        scaled = False
    lines, index = complete(records, path, problems, medium=medium, isotopes=isotopes, scaled=scaled, on_bad=on_bad)
    if not len(lines):
        raise AstrogfError(f"{path}: no line could be read as format {format!r}; check format=")
    return lines, records.row[index], format
