"""A table of anchors: stars of known labels and their spectra, each of which is a section [spectra.NAME]."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from astrogf.base import tables
from astrogf.surveys.catalogues.catalogue import read_table
from astrogf.surveys.catalogues.labels import WHERE, own_labels
from astrogf.surveys.spectrum import SurveyError

OwnLabels = dict[str, tuple[np.ndarray, np.ndarray]]
"""Of every label the values and errors of all rows."""
NEEDED = ("teff", "logg", "feh")
TEXTS = ("medium", "unit", "star")
NUMBERS = ("snr", "abundance_sd", "line_scatter")
"""Columns that are keys of a section as they stand, beside the file and the labels."""
USUAL_SPREAD = 0.1
"""Error of a resolution that is given without one, as a share of it."""


def sections(path: Path) -> dict[str, dict[str, Any]]:
    """The sections that the rows of a table stand for, by name: the star's, or else the file's.

    Columns: file and medium; teff, logg, feh, perhaps alpha, vmic and rv, each with its error (teff_sd, e_teff ...);
    perhaps star, unit, snr, resolution (with resolution_sd), abundance_sd, line_scatter. Files are looked for beside
    the table first. Raises SurveyError that names the table, the row and the column.
    """
    table, labels, numbers = read(path, "anchors", (*NUMBERS, "resolution", "resolution_sd"))
    found: dict[str, dict[str, Any]] = {}
    for i in range(len(table)):
        file = _text(table, "file", i)
        section: dict[str, Any] = {"file": str(path.parent / file) if (path.parent / file).is_file() else file}
        section |= {name: text for name in TEXTS if (text := _text(table, name, i))}
        section |= {name: float(numbers[name][i]) for name in NUMBERS if np.isfinite(numbers[name][i])}
        for name, (value, sd) in labels.items():
            if np.isfinite(value[i]) and not np.isfinite(sd[i]):
                raise SurveyError(
                    f"{path}, row {i + 1}: {name} of {file} has no error; an anchor counts as much as its labels are "
                    f"known: give {name}_sd, or leave {name} out."
                )
            if np.isfinite(value[i]):
                section[name] = [float(value[i]), float(sd[i])]
        resolution, spread = (float(numbers[name][i]) for name in ("resolution", "resolution_sd"))
        if np.isfinite(resolution):
            section["resolution"] = [resolution, spread if np.isfinite(spread) else USUAL_SPREAD * resolution]
        found[_name(section, found)] = section
    return found


def read(path: Path, what: str, columns: Sequence[str]) -> tuple[Table, OwnLabels, dict[str, np.ndarray]]:
    """A table of stars of known labels and their spectra: its rows, their labels with errors, and numbers of `columns`,
    NaN where there are none. `what` are they, for messages. Raises SurveyError."""
    table = read_table(path)
    try:
        labels = own_labels(table)
        numbers = {name: _numbers(table, name) for name in columns}
    except SurveyError as error:
        raise SurveyError(str(error).replace(WHERE, str(path), 1)) from error
    missing = [name for name in ("file", "medium") if name not in table.colnames]
    missing += [name for name in NEEDED if name not in labels]
    if missing or not len(table):
        lacking = f"has no column {', '.join(missing)}" if missing else "has no row"
        raise SurveyError(
            f"{path} {lacking}; a table of {what} needs file, medium, teff, logg, feh and the labels' errors "
            "(teff_sd ...), a row a spectrum."
        )
    return table, labels, numbers


def _numbers(table: Table, name: str) -> np.ndarray:
    if name not in table.colnames:
        return np.full(len(table), np.nan)
    return tables.numbers(table, name, where=WHERE, error=SurveyError)


def _text(table: Table, name: str, row: int) -> str:
    value = table[name][row] if name in table.colnames else ""
    return "" if value is np.ma.masked else str(value).strip()


def _name(section: dict[str, Any], taken: dict[str, Any]) -> str:
    """A key of TOML: 'alf Tau' is alf_tau, a second spectrum of it alf_tau_2."""
    stem = Path(section["file"]).name.split(".")[0]
    name = re.sub(r"\W+", "_", section.get("star", stem).casefold()).strip("_") or "star"
    number = 1 + sum(re.fullmatch(rf"{re.escape(name)}(_\d+)?", other) is not None for other in taken)
    return name if number == 1 else f"{name}_{number}"
