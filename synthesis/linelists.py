"""The lines of a run: the shipped ones of its windows, or a list of the user's with what the package adds to it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from astrogf.synthesis.gas.abundances import SYMBOLS
from astrogf.synthesis.lineio import read_lines
from astrogf.synthesis.lines.borrow import borrow_damping
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.lines.shipped import OPTICAL, load_all_lines, load_atomic_lines, load_molecular_lines

BEYOND = 5.0
"""Angstrom beyond a window in which lines are taken along."""


def shipped_lines(start: float, stop: float, molecules: bool) -> LineList:
    """The shipped lines of a window with what reaches in from beyond it (vacuum Angstrom)."""
    load = load_all_lines if molecules else load_atomic_lines
    return load(start - BEYOND, stop + BEYOND)


def windows_lines(windows: Sequence[tuple[float, float]], molecules: bool) -> LineList:
    """The shipped lines of several windows (vacuum Angstrom), each once, sorted by wavelength."""
    ends: list[list[float]] = []
    for low, high in sorted(windows):
        if ends and low - 2 * BEYOND <= ends[-1][1]:
            ends[-1][1] = max(ends[-1][1], high)
        else:
            ends.append([low, high])
    parts = [shipped_lines(low, high, molecules) for low, high in ends]
    return LineList(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def with_molecules(lines: LineList) -> LineList:
    """A list of atoms together with the shipped molecular lines of its range, where there are some."""
    if len(lines) == 0 or np.any(lines.z > len(SYMBOLS)):
        return lines
    start = max(lines.wavelength[0], OPTICAL[0])
    stop = min(lines.wavelength[-1], OPTICAL[1])
    if start >= stop:
        return lines
    more = load_molecular_lines(start, stop)
    return lines.merged(more.replace(transition=more.transition + int(lines.transition.max()) + 1))


def user_lines(path: Path | str, *, damping: bool, molecules: bool) -> LineList:
    """A list in any format of `lineio`, with the shipped lines' damping where it has none, and shipped molecules.

    Raises AstrogfError (OSError where the file cannot be opened) as `read_lines` does.
    """
    lines = read_lines(path)
    if damping:
        lines = borrow_damping(lines, load_all_lines)
    return with_molecules(lines) if molecules else lines
