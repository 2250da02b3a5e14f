"""What every line-list format is reduced to before it becomes a `LineList`: columns in the file's own order."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from astrogf.base import files
from astrogf.base.air import air_to_vacuum
from astrogf.base.errors import AstrogfError
from astrogf.synthesis.lineio.transitions import transitions
from astrogf.synthesis.lines.damping import complete_damping
from astrogf.synthesis.lines.isotopes import Ratios, log_share
from astrogf.synthesis.lines.linelist import LineList

Medium = Literal["air", "vacuum"]
OnBad = Literal["raise", "skip"]
EV_TO_WAVENUMBER = 8065.543937349212
"""cm^-1 in one eV (CODATA 2018)."""
OUTSIDE = (0, 0, 0)
"""Species, ion, isotope of a line that the model has no populations for."""


class Records(NamedTuple):
    """Lines of a file in its order. Units: Angstrom in the file's medium, eV, dex; nan is unknown.

    `row` is the line number in the file, from 1. `z` is 0 for a species outside the model, `name` what the file calls
    it. `vdw` is in Turbospectrum's convention (see `complete_damping`). `label` tells components
    of one transition from others, '' where the format has none. `stated` is the medium that the file itself states,
    `scaled` whether its log gf hold the isotopes' shares; None where it does not say.
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

    def take(self, keep: np.ndarray) -> "Records":
        """The records where `keep` says so."""
        columns = self._asdict()
        return Records(**{k: v[keep] if isinstance(v, np.ndarray) else v for k, v in columns.items()})


class Problems:
    """Rows of a file that cannot be read, with what is wrong in each."""

    def __init__(self, path: Path):
        self.path = path
        self.rows: dict[int, str] = {}

    def add(self, row: int, field: str, text: str, expected: str) -> None:
        """Note that `field` of line `row` holds `text` where `expected` was due; the first fault of a row stays."""
        self.rows.setdefault(int(row), f"{field} is {text.strip()!r}, expected {expected}")

    def settle(self, on_bad: OnBad) -> None:
        """Raise ValueError, or warn of the rows left out, if there are any."""
        if not self.rows:
            return
        first = min(self.rows)
        where = ", ".join(str(row) for row in sorted(self.rows)[:10]) + (", ..." if len(self.rows) > 10 else "")
        count = f"{len(self.rows)} unreadable line" + ("s" if len(self.rows) > 1 else "")
        if on_bad == "raise":
            raise AstrogfError(
                f"{self.path}: line {first}: {self.rows[first]} ({count} in the file: {where}); correct the file, "
                "or pass on_bad='skip' to leave such lines out"
            )
        warnings.warn(
            f"{self.path}: left out {count}: {where}; line {first}: {self.rows[first]}", UserWarning, stacklevel=4
        )


def read_text(content: bytes) -> list[str]:
    """Lines of a text file without their ends. Latin-1, so that every byte stays what it was."""
    return [line.removesuffix("\r") for line in content.decode("latin-1").split("\n")]


def read_bytes(path: Path) -> bytes:
    """Content of a file, unpacked. Raises AstrogfError where there is no such file or it is damaged."""
    if not path.is_file():
        raise AstrogfError(f"{path}: no such file; give the path of a line list")
    return files.read_bytes(path, what="a line list")


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
    names: list[str], rows: np.ndarray, parse: Callable[[str], tuple[int, int, int]], problems: Problems, expected: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(z, ion, isotope) of every line; `parse` reads one name, gives `OUTSIDE` or raises ValueError."""
    unique, inverse = np.unique(np.asarray(names, dtype=str), return_inverse=True)
    codes = np.zeros((len(unique), 3), int)
    for i, name in enumerate(unique.tolist()):
        try:
            codes[i] = parse(name)
        except ValueError:
            for row in rows[inverse.ravel() == i]:
                problems.add(row, "species", name, expected)
    z, ion, isotope = codes[inverse.ravel()].T if len(unique) else np.zeros((3, 0), int)
    return z, ion, isotope


def check_ranges(records: Records, problems: Problems) -> None:
    """Note lines whose numbers cannot be what their columns say."""
    limits = (
        ("wavelength", records.wavelength, 100.0, 1e7, "Angstrom between 100 and 10,000,000"),
        ("lower level", records.elow, 0.0, 150.0, "an energy between 0 and 150 eV"),
        ("log gf", records.loggf, -60.0, 10.0, "a log gf between -60 and 10"),
    )
    for field, column, low, high, expected in limits:
        for i in np.flatnonzero((column < low) | (column > high)):
            problems.add(records.row[i], field, f"{column[i]:g}", expected)


def decide_medium(path: Path, stated: Medium | None, given: Medium | None) -> Medium:
    """The medium of a file's wavelengths. Raises ValueError where nobody says, or file and caller disagree."""
    if given not in (None, "air", "vacuum"):
        raise AstrogfError(f"medium={given!r}: expected 'air' or 'vacuum'")
    if stated is None and given is None:
        raise AstrogfError(
            f"{path}: the format does not say if wavelengths are air or vacuum; pass medium='air' or 'vacuum'"
        )
    if stated is not None and given is not None and stated != given:
        raise AstrogfError(f"{path}: the file has {stated} wavelengths but medium={given!r} was passed; drop medium")
    return given if stated is None else stated  # type: ignore[return-value]


def complete(
    records: Records,
    path: Path,
    problems: Problems,
    *,
    medium: Medium | None,
    isotopes: Ratios | None,
    scaled: bool | None,
    on_bad: OnBad,
) -> tuple[LineList, np.ndarray]:
    """The `LineList` of a file's records and, of each of its lines, the number of the record.

    Unreadable rows are settled as `on_bad` says; species outside the model are left out with one warning.
    """
    check_ranges(records, problems)
    problems.settle(on_bad)
    medium = decide_medium(path, records.stated, medium)
    index = np.flatnonzero(~np.isin(records.row, list(problems.rows)))
    outside = index[records.z[index] == 0]
    if len(outside):
        counts = Counter(records.name[outside].tolist())
        listed = ", ".join(f"{name} ({n})" for name, n in counts.most_common(8)) + (", ..." if len(counts) > 8 else "")
        warnings.warn(
            f"{path}: left out {len(outside)} lines of species outside the model: {listed}", UserWarning, stacklevel=3
        )
    index = index[records.z[index] != 0]
    wavelength = records.wavelength[index]
    wavelength = air_to_vacuum(wavelength) if medium == "air" else wavelength
    order = np.argsort(wavelength, kind="stable")
    index, wavelength = index[order], wavelength[order]
    r = records.take(index)
    scaled = _decide_scaling(path, r, scaled)
    try:
        share = log_share(r.z, r.isotope, isotopes)
        if scaled:
            share = share - log_share(r.z, r.isotope) if isotopes else np.zeros(len(index))
    except ValueError as error:
        raise AstrogfError(f"{path}: {error}") from None
    damping = complete_damping(
        r.z,
        r.ion,
        wavelength,
        r.elow,
        r.loggf,
        gup=r.gup,
        log_gamma_rad=r.log_gamma_rad,
        vdw=r.vdw,
        log_gamma4=r.log_gamma4,
        orbitals=r.orbitals,
    )
    lines = LineList(
        wavelength=wavelength,
        z=r.z,
        ion=r.ion,
        isotope=r.isotope,
        elow=r.elow,
        loggf=r.loggf,
        log_fraction=share,
        log_gamma_rad=damping.log_gamma_rad,
        log_gamma6=damping.log_gamma6,
        gamma6_exponent=damping.gamma6_exponent,
        log_gamma4=damping.log_gamma4,
        quality=damping.quality,
        transition=transitions(r.z, r.ion, r.isotope, r.elow, wavelength, r.label),
        gup=r.gup,
    )
    return lines, index


def _decide_scaling(path: Path, records: Records, given: bool | None) -> bool:
    if records.scaled is not None and given is not None and records.scaled != given:
        said = "" if records.scaled else "not "
        raise AstrogfError(
            f"{path}: the file says that its log gf are {said}scaled by isotopic fractions, but scaled={given} was "
            "passed; drop scaled"
        )
    if records.scaled is None and given is None and np.any(records.isotope != 0):
        raise AstrogfError(
            f"{path}: it names isotopes but does not say if its log gf hold their fractions (VALD says so in the line "
            "that begins '* oscillator strengths were'); pass scaled=True or scaled=False"
        )
    return bool(records.scaled if given is None else given)
