"""Turbospectrum lists: a block a species, with a header ('26.000 ' ion lines), a name, and free-format lines.

Source: Readme-Linelist_format_v.19 of Turbospectrum (Plez): wavelength, E_low (eV), log gf, fdamp, g_up, gamma_rad
[, log gamma_Stark in later versions], level letters, ...; isotopes as '0607.012014' or '56.137'.
"""

import re
from pathlib import Path

import numpy as np

from astrogf.base.errors import AstrogfError
from astrogf.synthesis.gas.species import MOLECULE_CODES
from astrogf.synthesis.lineio.records import OUTSIDE, Problems, Records, numbers, species_columns

HEADER = re.compile(r"\s*'\s*(\d+)\.(\d*)\s*'\s+(\d+)(?:\s+(\d+))?\s*$")


def parse(text: list[str], path: Path, problems: Problems) -> Records:
    """Records of a list; a zero fdamp, g_up, gamma_rad or Stark width is unknown."""
    rows: list[int] = []
    tokens: list[list[str]] = []
    names: list[str] = []
    labels: list[str] = []
    letters: list[tuple[str, str]] = []
    name, left, opened, expect_name = "", None, 0, False

    def close_block() -> None:
        if left:
            problems.add(opened, "number of lines", f"{left:+d} off", "as many lines as the header of the block says")

    for i, line in enumerate(text, start=1):
        if not line.strip():
            continue
        parts = line.split("'")
        if not parts[0].strip():
            match = HEADER.match(line)
            if match:
                close_block()
                name, opened, expect_name = f"{match[1]}.{match[2]}|{match[3]}", i, True
                left = int(match[4]) if match[4] else None
                continue
            if expect_name:
                expect_name = False
                continue
        words = parts[0].split()
        left = None if left is None else left - 1
        if not name or not 5 <= len(words) <= 7:
            expected = (
                "6 or 7 numbers before the level letters" if name else "the header of a block, as ' 26.000 ' 1 12"
            )
            problems.add(i, "line", line[:60], expected)
            continue
        expect_name = False
        rows.append(i)
        names.append(name)
        tokens.append(words + ["0"] * (7 - len(words)))
        labels.append(parts[5] if len(parts) > 5 else "")
        letters.append((parts[1].strip(), parts[3].strip()) if len(parts) > 3 else ("", ""))
    close_block()

    row = np.array(rows, int)
    fields = ("wavelength", "lower level", "log gf", "fdamp", "g_up", "gamma_rad", "Stark damping")
    table = np.array(tokens, dtype=str).reshape(-1, 7).T
    wavelength, elow, loggf, fdamp, gup, rad, stark = (
        numbers(column, row, field, problems) for column, field in zip(table, fields, strict=True)
    )
    for k in np.flatnonzero((rad > 1.0) & (rad < 100.0)):
        problems.add(
            row[k], "gamma_rad", tokens[k][5], "a width in rad/s such as 2.50E+08 (no logarithm), 0 if unknown"
        )
    z, ion, isotope = species_columns(names, row, _species, problems, "Z.isotope and stage, as ' 26.000 ' 1")
    return Records(
        row=row,
        name=np.array([n.replace("|", " ") for n in names], dtype=str),
        z=z,
        ion=ion,
        isotope=isotope,
        wavelength=wavelength,
        elow=elow,
        loggf=loggf,
        gup=np.where(gup > 0.0, gup, np.nan),
        log_gamma_rad=np.where(rad > 1.0, np.log10(np.maximum(rad, 1.0)), np.nan),
        vdw=np.where(fdamp == 0.0, np.nan, fdamp),
        log_gamma4=np.where(stark == 0.0, np.nan, stark),
        label=np.array(labels, dtype=str),
        orbitals=np.array(letters, dtype=str).reshape(-1, 2),
    )


def _species(key: str) -> tuple[int, int, int]:
    code, _, stage = key.partition("|")
    whole, _, masses = code.partition(".")
    z, ion, isotope = int(whole), int(stage), int(masses or 0)
    if z < 1 or ion < 1:
        raise AstrogfError(code)
    if z >= 100:
        return (z, 1, isotope) if z in MOLECULE_CODES and ion == 1 else OUTSIDE
    return (z, ion, isotope) if z <= 92 and ion <= 3 else OUTSIDE


def loggf_span(line: str) -> tuple[int, int]:
    """Where the third number of a line stands, with the blanks before it save one."""
    third = list(re.finditer(r"\S+", line))[2]
    return line[: third.start()].rstrip().__len__() + 1, third.end()
