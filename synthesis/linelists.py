"""The lines of a run: the shipped ones of its windows, or a list of the user's with what the package adds to it."""

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from astrogf.base.errors import AstrogfError, AstrogfWarning
from astrogf.synthesis.gas.abundances import SYMBOLS
from astrogf.synthesis.lineio.read import read_indexed
from astrogf.synthesis.lineio.records import Medium, OnBad
from astrogf.synthesis.lineio.words import Words
from astrogf.synthesis.lines.borrow import borrow_damping, borrow_structure
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.lines.shipped import (
    H_BAND,
    OPTICAL,
    load_all_lines,
    load_atomic_lines,
    load_molecular_lines,
    whole_list,
)

ISOTOPE = re.compile(r"\(?(\d{1,3})\)?-?([A-Z][a-z]?)|([A-Z][a-z]?)-?(\d{1,3})")
BEYOND = 5.0
"""Angstrom beyond a window in which lines are taken along, however weak."""
HYDROGEN = 1
"""Atomic number of the lines that the model computes itself: see `synthesis.hydrogen`."""
Reaching = Callable[[LineList, float, float], Bool[np.ndarray, " line"]]
"""Which lines of a list may reach a window (vacuum Angstrom) from outside: `lines.strength.may_reach` of some stars."""


def beside(lines: LineList, start: float, stop: float) -> Bool[np.ndarray, " line"]:
    """Lines of a window or within `BEYOND` of it (vacuum Angstrom)."""
    return np.asarray((lines.wavelength > start - BEYOND) & (lines.wavelength < stop + BEYOND))


def shipped_lines(start: float, stop: float, molecules: bool) -> LineList:
    """The shipped lines of a window with those beside it (vacuum Angstrom)."""
    load = load_all_lines if molecules else load_atomic_lines
    return load(start - BEYOND, stop + BEYOND)


def windows_lines(
    windows: Sequence[tuple[float, float]], molecules: bool, reaching: Reaching | None = None
) -> LineList:
    """The shipped lines of several windows (vacuum Angstrom), each once, sorted by wavelength.

    With `reaching` also those that reach a window from farther outside.
    """
    ends: list[list[float]] = []
    for low, high in sorted(windows):
        if ends and low - 2 * BEYOND <= ends[-1][1]:
            ends[-1][1] = max(ends[-1][1], high)
        else:
            ends.append([low, high])
    parts = [shipped_lines(low, high, molecules) for low, high in ends]
    lines = LineList(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    if reaching is None:
        return lines
    for cover in sorted({H_BAND if low >= H_BAND[0] else OPTICAL for low, _ in windows}):
        whole = whole_list(cover, molecules)
        far, near = np.zeros(len(whole), bool), np.zeros(len(whole), bool)
        for low, high in ends:
            far |= reaching(whole, low, high)
            near |= (whole.wavelength >= low - BEYOND) & (whole.wavelength <= high + BEYOND)
        lines = lines.merged(whole.take(far & ~near))
    return lines


def is_hydrogen(lines: LineList) -> Bool[np.ndarray, " line"]:
    """Hydrogen's lines, with a warning that they are left out where there are any."""
    hydrogen = np.asarray(lines.z == HYDROGEN)
    if hydrogen.any():
        first = lines.wavelength[np.argmax(hydrogen)]
        warnings.warn(
            f"{hydrogen.sum()} of the list's lines are hydrogen's ({first:.2f} A in vacuum the first): they are left "
            "out, for the model computes hydrogen's lines itself",
            AstrogfWarning,
            stacklevel=3,
        )
    return hydrogen


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


def user_lines(
    path: Path | str,
    *,
    damping: bool,
    structure: bool,
    molecules: bool,
    format: str | None = None,
    medium: Medium | None = None,
    isotopes: Mapping[str, float] | None = None,
    scaled: bool | None = None,
    on_bad: OnBad = "raise",
    section: str = "",
) -> LineList:
    """A list in any format of `lineio`, with the shipped lines' damping and structure where it has none, and shipped
    molecules.

    Arguments are those of `read_lines`, but for the isotopes, which have names: {'12C': 0.9, '13C': 0.1}. `section`
    is where messages say that they are set, 'lines' for lines.medium. Raises AstrogfError as `read_lines` does.
    """
    words = Words(section)
    ratios = {named_isotope(name, words): share for name, share in (isotopes or {}).items()}
    try:
        lines = read_indexed(path, format, medium, ratios or None, scaled=scaled, on_bad=on_bad, words=words)[0]
    except OSError as error:
        raise AstrogfError(f"{path} cannot be read ({error.strerror or error}): check its permissions") from error
    if structure:
        lines = borrow_structure(lines, load_atomic_lines, ratios=ratios or None)
    if damping:
        lines = borrow_damping(lines, load_all_lines)
    return with_molecules(lines) if molecules else lines


def named_isotope(name: str, words: Words) -> tuple[int, int]:
    """(Z, mass number) of '13C', 'C13' or 'C-13'. Raises AstrogfError for anything else."""
    match = ISOTOPE.fullmatch(name.strip())
    symbol, mass = (match[2] or match[3], match[1] or match[4]) if match else ("", "0")
    if symbol not in SYMBOLS:
        raise AstrogfError(f"{words.name('isotopes')}: {name!r} is no isotope; name it by mass and element, as '13C'")
    return SYMBOLS.index(symbol) + 1, int(mass)
