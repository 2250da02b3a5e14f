"""What every line-list format is reduced to: columns in the file's own order, and what is wrong in its rows."""

import codecs
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from astrogf.base import files
from astrogf.base.errors import AstrogfError
from astrogf.synthesis.lineio.words import ARGUMENTS, Words

Medium = Literal["air", "vacuum"]
OnBad = Literal["raise", "skip"]
EV_TO_WAVENUMBER = 8065.543937349212
"""cm^-1 in one eV (CODATA 2018)."""
UTF8, UTF16 = codecs.BOM_UTF8, (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""Bytes that some editors put before a text to say how it is encoded."""
OUTSIDE = (0, 0, 0)
"""Species, ion, isotope of a line that the model has no populations for."""


class Records(NamedTuple):
    """Lines of a file in its order. Units: Angstrom in the file's medium, eV, dex; nan is unknown.

    `row` is the line number in the file, from 1. `z` is 0 for a species outside the model, `name` what the file calls
    it. `vdw` is in Turbospectrum's convention (see `complete_damping`). `label` tells components
    of one transition from others, '' where the format has none. `total` is log gf of the whole transition where the
    format has it beside that of a component, else None. `stated` is the medium that the file itself states, `scaled`
    whether its log gf hold the isotopes' shares; None where it does not say.
    """

    row: np.ndarray
    name: np.ndarray
    z: np.ndarray
    ion: np.ndarray
    isotope: np.ndarray
    wavelength: np.ndarray
    elow: np.ndarray
    loggf: np.ndarray
    gup: np.ndarray
    log_gamma_rad: np.ndarray
    vdw: np.ndarray
    log_gamma4: np.ndarray
    label: np.ndarray
    orbitals: np.ndarray
    stated: Medium | None = None
    scaled: bool | None = None
    total: np.ndarray | None = None

    def take(self, keep: np.ndarray) -> "Records":
        """The records where `keep` says so."""
        columns = self._asdict()
        return Records(**{k: v[keep] if isinstance(v, np.ndarray) else v for k, v in columns.items()})


class Problems:
    """Rows of a file that cannot be read, with what is wrong in each, and what else whoever reads it should know.

    `words` says how messages name options.
    """

    def __init__(self, path: Path, words: Words = ARGUMENTS) -> None:
        self.path, self.words = path, words
        self.rows: dict[int, str] = {}
        self.notes: list[str] = []

    def note(self, sentence: str) -> None:
        """Keep a sentence about the file for a warning."""
        self.notes.append(sentence)

    def add(self, row: int, field: str, text: str, expected: str) -> None:
        """Note that `field` of line `row` holds `text` where `expected` was due; the first fault of a row stays."""
        self.rows.setdefault(int(row), f"{field} is {text.strip()!r}, expected {expected}")

    def settle(self, on_bad: OnBad) -> None:
        """Warn of what was noted; raise ValueError, or warn of the rows left out, if there are any."""
        if not (self.rows and on_bad == "raise"):
            for sentence in self.notes:
                warnings.warn(f"{self.path}: {sentence}", UserWarning, stacklevel=4)
        if not self.rows:
            return
        first = min(self.rows)
        where = ", ".join(str(row) for row in sorted(self.rows)[:10]) + (", ..." if len(self.rows) > 10 else "")
        count = f"{len(self.rows)} unreadable line" + ("s" if len(self.rows) > 1 else "")
        if on_bad == "raise":
            raise AstrogfError(
                f"{self.path}: line {first}: {self.rows[first]} ({count} in the file: {where}); correct the file, "
                f"or {self.words.give('on_bad', 'skip')} to leave such lines out"
            )
        warnings.warn(
            f"{self.path}: left out {count}: {where}; line {first}: {self.rows[first]}", UserWarning, stacklevel=4
        )


def read_text(content: bytes) -> list[str]:
    """Lines of a text file without their ends and its mark of UTF-8. Latin-1, so that every byte stays what it was."""
    return [line.removesuffix("\r") for line in content.removeprefix(UTF8).decode("latin-1").split("\n")]


def read_bytes(path: Path) -> bytes:
    """Content of a file, unpacked. Raises AstrogfError where there is no such file, it is damaged or UTF-16."""
    if not path.is_file():
        raise AstrogfError(f"{path}: no such file; give the path of a line list")
    content = files.read_bytes(path, what="a line list")
    if content.startswith(UTF16):
        raise AstrogfError(f"{path}: text in UTF-16; save it as UTF-8 or plain ASCII")
    return content


def numbers(
    texts: Iterable[str] | np.ndarray, rows: np.ndarray, field: str, problems: Problems, blank: float | None = None
) -> np.ndarray:
    """A column of texts as float64; an entry that is no finite number becomes nan and a problem of its row.

    A blank stands for `blank`, if that is given. Fortran's exponent letter D is understood.
    """
    column = np.asarray(list(texts) if not isinstance(texts, np.ndarray) else texts, dtype=str)
    try:
        values = column.astype(float)
    except ValueError:
        values = np.array([_number(text, blank) for text in column.tolist()], float)
    for i in np.flatnonzero(~np.isfinite(values)):
        problems.add(rows[i], field, str(column[i]), "a number")
    return values


def _number(text: str, blank: float | None) -> float:
    if not text.strip() and blank is not None:
        return blank
    try:
        return float(text.strip().replace("D", "E").replace("d", "e"))
    except ValueError:
        return np.nan


def species_columns(
    names: list[str],
    rows: np.ndarray,
    parse: Callable[[str], tuple[int, int, int]],
    problems: Problems,
    expected: str,
    shown: Callable[[str], str] = lambda name: name.replace("|", " ").strip(),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(z, ion, isotope) of every line; `parse` reads one name, gives `OUTSIDE` or raises ValueError.

    `shown` is a name as messages have it.
    """
    unique, inverse = np.unique(np.asarray(names, dtype=str), return_inverse=True)
    codes = np.zeros((len(unique), 3), int)
    for i, name in enumerate(unique.tolist()):
        try:
            codes[i] = parse(name)
        except ValueError:
            for row in rows[inverse.ravel() == i]:
                problems.add(row, "species", shown(name), expected)
    z, ion, isotope = codes[inverse.ravel()].T if len(unique) else np.zeros((3, 0), int)
    return z, ion, isotope
