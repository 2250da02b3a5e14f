"""Readers: line lists of other codes as a `LineList`."""

from pathlib import Path

import numpy as np

from astrogf.base.errors import AstrogfError
from astrogf.base.tables import read_table
from astrogf.synthesis.lineio import ecsv, gaia_eso, kurucz, moog, plain, turbospectrum, vald
from astrogf.synthesis.lineio.complete import complete, decide_medium
from astrogf.synthesis.lineio.recognise import FORMATS, recognise
from astrogf.synthesis.lineio.records import UTF8, Medium, OnBad, Problems, read_bytes, read_text
from astrogf.synthesis.lineio.words import ARGUMENTS, Words
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
    words: Words = ARGUMENTS,
) -> tuple[LineList, np.ndarray, str]:
    """As `read_lines`, with the number of each line's row in the file (from 1) and the format.

    `words` says how messages name these arguments.
    """
    path = Path(path)
    content = read_bytes(path)
    if not content.removeprefix(UTF8).strip():
        raise AstrogfError(f"{path}: the file is empty; give a line list")
    if on_bad not in ("raise", "skip"):
        raise AstrogfError(f"{words.given('on_bad', on_bad)}: expected 'raise' or 'skip'")
    if format is None:
        format = recognise(path, content, words)
    if format not in FORMATS:
        raise AstrogfError(
            f"{words.given('format', format)}: expected one of {', '.join(FORMATS)}, or nothing to recognise it"
        )
    problems = Problems(path, words)
    if format in _PARSE:
        records = _PARSE[format](read_text(content), path, problems)
    else:
        table = read_table(path, arrays=True)
        if not len(table):
            raise AstrogfError(f"{path}: the table has no rows; give a line list")
        if ecsv.is_ours(table):
            decide_medium(path, "vacuum", medium, words)
            lines, rows = ecsv.read(path, table, problems, on_bad)
            if isotopes:
                raise AstrogfError(
                    f"{path}: an astrogf list holds its isotopic fractions; {words.drop('isotopes')}, which cannot "
                    "replace them"
                )
            return lines, rows, "ecsv"
        plainly = plain.parse(table, path, problems, medium)
        if format == "ecsv" and plainly is None:
            raise AstrogfError(
                f"{path}: neither written by write_lines(format='ecsv') nor a plain table of lines; if it is the "
                f"Gaia-ESO table, {words.give('format', 'gaia-eso')}"
            )
        records = plainly or gaia_eso.parse(table, path, problems)
    if scaled is None and format != "vald":
        scaled = False
    lines, index = complete(records, path, problems, medium=medium, isotopes=isotopes, scaled=scaled, on_bad=on_bad)
    if not len(lines):
        raise AstrogfError(f"{path}: no line could be read as format {format!r}; check {words.name('format')}")
    return lines, records.row[index], format
