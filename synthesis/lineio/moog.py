"""MOOG lists: a title, then wavelength, species, excitation potential, log gf, damping, D0 (, equivalent width).

Source: Sneden, "MOOG: an LTE stellar line analysis program" (WRITEMOOG), format 7e10.3 or free; Damping.f: negative
damping is log10 of the FWHM per hydrogen atom at 10^4 K, 0 < value <= 1e-10 is C6, larger ones multiply Unsoeld's.
"""

import re
from pathlib import Path

import numpy as np

from astrogf.base.constants import ATOMIC_MASS, BOLTZMANN
from astrogf.base.errors import AstrogfError
from astrogf.synthesis.gas.abundances import ATOMIC_WEIGHTS
from astrogf.synthesis.gas.species import MOLECULE_CODES, constituents, species_mass
from astrogf.synthesis.lineio.records import OUTSIDE, Problems, Records, numbers, species_columns
from astrogf.synthesis.lines.damping import HYDROGEN_MASS

FIELDS = ("wavelength", "species", "lower level", "log gf", "damping", "D0", "equivalent width")
WIDTH = 10
COMMENT = ("#", "!", "%", ";", "*", "//")
CODE = re.compile(r"\d+(\.\d*)?")


def is_fixed(lines: list[str]) -> bool:
    """Whether lines are in fields of ten columns: almost none has a number across a border of two fields, nor
    have most two in one field."""
    if any("\t" in line for line in lines):
        return False
    grid = _grid(lines)
    ends = np.arange(WIDTH, 6 * WIDTH, WIDTH)
    across = (grid[:, ends - 1] != b" ") & ~np.isin(grid[:, ends], [b" ", b"-", b"+"])
    twice = [any(len(line[k : k + WIDTH].split()) > 1 for k in range(0, 4 * WIDTH, WIDTH)) for line in lines]
    return bool(np.sum(across.any(axis=1)) <= 0.02 * len(lines) and sum(twice) <= 0.5 * len(lines))


def _grid(lines: list[str]) -> np.ndarray:
    """The first six fields as characters [line, 60]."""
    width = 6 * WIDTH
    block = "".join(line[:width].ljust(width) for line in lines).encode("latin-1")
    return np.frombuffer(block, dtype="S1").reshape(-1, width)


def parse(text: list[str], path: Path, problems: Problems) -> Records:
    """Records of a list. In fixed fields a blank is zero; in free format the missing ones at the end are.

    A list that begins with its data is read from there, with a warning: MOOG takes the first line for a title.
    """
    if text and looks_like_data(text[0]):
        problems.note("line 1 holds data and was read; MOOG itself takes it for a title: put one before the data")
    rows, lines = data_lines(text)
    row = np.array(rows, int)
    if is_fixed(lines):
        # what stands after the sixth field is read by no one: an equivalent width, a reference
        table = np.ascontiguousarray(_grid(lines)).view(f"S{WIDTH}").astype(f"U{WIDTH}").T
    else:
        cells = [line.split()[:6] for line in lines]
        for i, line, words in zip(rows, lines, cells, strict=True):
            if len(words) < 4:
                problems.add(i, "line", line[:60], "at least wavelength, species, excitation potential and log gf")
        table = np.array([words + [""] * (6 - len(words)) for words in cells], dtype=str).reshape(-1, 6).T
    wavelength, elow, loggf = (numbers(table[k], row, FIELDS[k], problems) for k in (0, 2, 3))
    damping = numbers(table[4], row, "damping", problems, 0.0)
    names = np.char.strip(table[1]).tolist()
    z, ion, isotope = species_columns(
        names, row, parse_code, problems, "a code such as 26.0, 26.1, 607.0, 56.1137 or 607.01214"
    )
    return Records(
        row=row,
        name=np.array(names, dtype=str),
        z=z,
        ion=ion,
        isotope=isotope,
        wavelength=np.abs(wavelength),  # negative: the line continues a blend
        elow=elow,
        loggf=loggf,
        gup=np.full(len(row), np.nan),
        log_gamma_rad=np.full(len(row), np.nan),
        vdw=_vdw(damping, z),
        log_gamma4=np.full(len(row), np.nan),
        label=np.full(len(row), ""),
        orbitals=np.full((len(row), 2), ""),
    )


def data_lines(text: list[str]) -> tuple[list[int], list[str]]:
    """Numbers (from 1) and texts of the lines that hold data: all but comments, blank lines and the title.

    The title is the first line, unless it holds data, or the first below comments that begins with no two numbers.
    """
    rows = [i for i, line in enumerate(text, start=1) if line.strip() and not line.lstrip().startswith(COMMENT)]
    if rows and not looks_like_data(text[rows[0] - 1]) and (rows[0] == 1 or not _numeric(text[rows[0] - 1], 2)):
        del rows[0]
    return rows, [text[i - 1].partition("#")[0] for i in rows]


def _numeric(line: str, count: int) -> bool:
    """Whether a line begins with so many numbers."""
    words = line.split()[:count]
    try:
        return len([float(word) for word in words]) == count
    except ValueError:
        return False


def looks_like_data(line: str) -> bool:
    """Whether a line begins with four numbers, the second a species code, and has no quotes (Turbospectrum)."""
    try:
        return _numeric(line, 4) and "'" not in line and parse_code(line.split()[1])[0] >= 0
    except ValueError:
        return False


def _vdw(damping: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Damping column in Turbospectrum's convention; C6 becomes a width, 17 C6^0.4 v^0.6 (Unsoeld 1955)."""
    c6 = (damping > 0.0) & (damping <= 1e-10)
    reduced = 1.0 / (1.0 / HYDROGEN_MASS + 1.0 / (species_mass(np.maximum(z, 1)) * ATOMIC_MASS))
    v = np.sqrt(8 * BOLTZMANN * 1e4 / (np.pi * reduced))
    width = np.log10(17.0 * np.where(c6, damping, 1.0) ** 0.4 * v**0.6)
    return np.where(damping == 0.0, np.nan, np.where(c6, width, damping))


def parse_code(code: str) -> tuple[int, int, int]:
    """(z, ion, isotope) of '26.1', '607.0', '607.01214' (12C14N), '56.1137' (137Ba II), '3.006' (6Li).

    Digits after the point: the charge, then masses, two digits an atom in molecules, three (or two) in atoms. Some
    lists write the mass of an ion right after the point ('63.15100' is 151Eu II); the one that the element can have
    is taken. Raises ValueError for what is no code; gives `OUTSIDE` for a species that the model lacks.
    """
    if CODE.fullmatch(code) is None:
        raise AstrogfError(code)
    whole, _, digits = code.partition(".")
    z, ion, masses = int(whole), int((digits or "0")[0]) + 1, digits[1:]
    if z < 1:
        raise AstrogfError(code)
    if z >= 100:
        if z not in MOLECULE_CODES or ion != 1:
            return OUTSIDE
        n_atom = len(constituents(z))
        pairs = [int(masses[k : k + 2] or 0) for k in range(0, 2 * n_atom, 2)]
        isotope = 0
        for mass in pairs:
            isotope = 1000 * isotope + mass
        return z, ion, isotope
    if z > 92 or ion > 3:
        return OUTSIDE
    if not masses.strip("0"):
        return z, ion, 0
    padded = digits.ljust(5, "0")
    candidates = [
        int(part) for part, rest in ((padded[1:4], padded[4:]), (padded[1:3], padded[3:])) if not rest.strip("0")
    ]
    candidates.append(int(padded[:3]))
    weight = float(ATOMIC_WEIGHTS[z - 1])
    for mass in candidates:
        if abs(mass - weight) <= max(1.5, 0.12 * weight):
            return z, ion, mass
    raise AstrogfError(code)


def loggf_span(line: str, fixed: bool) -> tuple[int, int]:
    """Where the log gf field begins and ends."""
    if fixed:
        return 3 * WIDTH, min(4 * WIDTH, len(line))
    fourth = list(re.finditer(r"\S+", line))[3]
    return len(line[: fourth.start()].rstrip()) + 1, fourth.end()
