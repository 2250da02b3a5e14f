"""VALD3 extracts: 'extract stellar' and 'extract all' (element), short and long.

Source: VALD wiki, pages "select output", "presformat output" and "Vald3Format" (Ryabchikova et al. 2015).
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from astrogf.base.errors import AstrogfError
from astrogf.synthesis.gas.abundances import SYMBOLS
from astrogf.synthesis.gas.species import MOLECULE_CODES, constituents
from astrogf.synthesis.lineio.records import (
    EV_TO_WAVENUMBER,
    OUTSIDE,
    Medium,
    Problems,
    Records,
    numbers,
    species_columns,
)

WAVELENGTH = re.compile(r"W[LN]_(air|vac)\(\s*([^)]*?)\s*\)")
ENERGY = re.compile(r"(E_low|Excit)\(\s*([^)]*?)\s*\)")
RECORD = re.compile(r"\s*'([A-Z][A-Za-z0-9]*\+*\s+\d+)\s*'\s*,")
END = re.compile(r"\s*(\*|References:|'[^']*'\s*,\s*$|'H\s*:)")
SCALED = re.compile(r"\*\s*oscillator strengths were (NOT )?scaled", re.IGNORECASE)
REGION = re.compile(r"\s*[\d.]+\s*,\s*[\d.]+\s*,\s*(\d+)\s*,\s*\d+\s*,.*lines selected")
TRUNCATED = re.compile(r"(warning|output|list|extract|lines?)\b.*\btruncat|\btruncat.*\blines?\b", re.IGNORECASE)
SPECIES = re.compile(r"([A-Z][A-Za-z0-9]*\+*)\s+(\d+)")
ATOM = re.compile(r"([A-Z][a-z]?)(\d*)")
MASS = re.compile(r"\((\d{1,3})\)([A-Z][a-z]?)(\d*)")
NUMBER = {symbol: z for z, symbol in enumerate(SYMBOLS, start=1)}
UNIT = {"A": 1.0, "Angstrom": 1.0, "nm": 10.0, "um": 1e4, "mum": 1e4, "micron": 1e4}

_COLUMNS = {
    ("short", "all"): ("wavelength", "elow", "loggf", "rad", "stark", "waals", "lande"),
    ("short", "stellar"): ("wavelength", "elow", "vmic", "loggf", "rad", "stark", "waals", "lande", "depth"),
    ("long", "all"): ("wavelength", "loggf", "elow", "jlow", "eup", "jup", "g1", "g2", "g3", "rad", "stark", "waals"),
    ("long", "stellar"): (
        *("wavelength", "loggf", "elow", "jlow", "eup", "jup", "g1", "g2", "g3", "rad", "stark", "waals"),
        "depth",
    ),
}


class Layout(NamedTuple):
    """What the header of an extract says. `energy` and `wavelength` turn the file's units into eV and Angstrom."""

    header: int
    columns: tuple[str, ...]
    long: bool
    medium: Medium
    wavelength: float | None
    energy: float


def _is_header(line: str) -> bool:
    return "W" in line and bool(WAVELENGTH.search(line) and ENERGY.search(line))


def find_header(text: list[str]) -> int | None:
    """Index of the line with the column names, None if there is none."""
    return next((i for i, line in enumerate(text[:200]) if _is_header(line)), None)


class Extract(NamedTuple):
    """One extract of a file: indices of its first line, of its header, and of the line after its last."""

    first: int
    header: int
    stop: int


def extracts(text: list[str]) -> list[Extract]:
    """The extracts of a file, one below the other."""
    headers = [i for i, line in enumerate(text) if _is_header(line)]
    if not headers:
        return []
    starts = [0] * len(headers)
    for k, header in enumerate(headers[1:], start=1):
        starts[k] = header
        # up over what stands before the header: the region, names of groups of columns, a warning
        while starts[k] > headers[k - 1] + 1 and _is_preamble(text[starts[k] - 1]):
            starts[k] -= 1
    return [Extract(*parts) for parts in zip(starts, headers, [*starts[1:], len(text)], strict=True)]


def _is_preamble(line: str) -> bool:
    return not line.strip() or bool(REGION.match(line) or TRUNCATED.search(line) or "Damping parameters" in line)


def layout(text: list[str], path: Path) -> Layout:
    """Read the header, and see that all are alike where several extracts stand in the file.

    Raises ValueError where it is missing, has units that are not known, or is unlike the first.
    """
    parts = extracts(text)
    if not parts:
        raise AstrogfError(
            f"{path}: no VALD header with 'WL_air(A)' or 'WL_vac(A)' in it; keep the header lines of the extract"
        )
    forms = [_layout(text, path, part.header) for part in parts]
    for form in forms[1:]:
        if form._replace(header=0) != forms[0]._replace(header=0):
            raise AstrogfError(
                f"{path}: line {form.header + 1}: a second extract begins here, of other columns, units or medium than "
                "the first; put each into a file of its own"
            )
    return forms[0]


def _layout(text: list[str], path: Path, i: int) -> Layout:
    wave, energy = WAVELENGTH.search(text[i]), ENERGY.search(text[i])
    assert wave is not None
    assert energy is not None
    medium: Medium = "air" if wave[1] == "air" else "vacuum"
    wavenumber = wave[2].replace("^", "") == "cm-1"
    if wavenumber and medium == "air":
        raise AstrogfError(f"{path}: line {i + 1}: wavenumbers in air; ask VALD for vacuum, or for wavelengths")
    if not wavenumber and wave[2] not in UNIT:
        raise AstrogfError(f"{path}: line {i + 1}: wavelength unit {wave[2]!r}, expected A, nm or cm^-1")
    if energy[2].replace("^", "") not in ("eV", "cm-1"):
        raise AstrogfError(f"{path}: line {i + 1}: energy unit {energy[2]!r}, expected eV or cm^-1")
    long = energy[1] == "E_low"
    stellar = "Vmic" in text[i] or "depth" in text[i]
    return Layout(
        i,
        _COLUMNS["long" if long else "short", "stellar" if stellar else "all"],
        long,
        medium,
        None if wavenumber else UNIT[wave[2]],
        1.0 if energy[2] == "eV" else 1.0 / EV_TO_WAVENUMBER,
    )


def parse(text: list[str], path: Path, problems: Problems) -> Records:
    """Records of an extract; energies, wavelengths and the medium as its header says, scaling as its footer does.

    Several extracts in a file are read as one; records that stand in more than one of them count once. `problems` is
    told what shows that an extract is cut short.
    """
    form = layout(text, path)
    index: list[int] = []
    extra: dict[int, list[str]] = {}
    repeated = 0
    for part in extracts(text):
        found, lines, ended = _blocks(text, part, form, problems)
        refused = sum(part.first < row <= part.stop for row in set(problems.rows) - {i + 1 for i in found})
        _note_cuts(text, part, len(found) + refused, ended, problems)
        seen = {text[i] for i in index}
        new = [i for i in found if text[i] not in seen]
        repeated += len(found) - len(new)
        index += new
        extra |= lines
    if repeated:
        problems.note(f"{repeated} records stand in more than one of its extracts and count once")
    n_column = len(form.columns)
    names, cells, tails, good = [], [], [], []
    for i in index:
        parts = text[i].split(",", n_column + 1)
        match = RECORD.match(text[i])
        if match is None or len(parts) < n_column + 1:
            problems.add(i + 1, "line", text[i][:60], f"{n_column + 1} fields after the layout of the header")
            continue
        good.append(i)
        names.append(match[1])
        cells.append(parts[1 : n_column + 1])
        tails.append(extra[i][2] if form.long else "".join(parts[n_column + 1 :]))
    rows = np.array(good, int) + 1
    table = dict(zip(form.columns, np.array(cells, dtype=str).reshape(-1, n_column).T, strict=True))
    value = {
        key: numbers(table[key], rows, key, problems)
        for key in ("wavelength", "elow", "loggf", "rad", "stark", "waals", *(("jup",) if form.long else ()))
    }
    # the isotope stands in the reference field: '(12)C(14)N', '(153)Eu+'
    masses = [" ".join(m[0] for m in MASS.finditer(tail)) if "(" in tail else "" for tail in tails]
    keys = [f"{name}|{mass}" for name, mass in zip(names, masses, strict=True)]
    z, ion, isotope = species_columns(keys, rows, _species, problems, "an element or molecule and its stage, as 'Fe 1'")
    unknown = {key: np.where(value[key] == 0.0, np.nan, value[key]) for key in ("rad", "stark", "waals")}
    wavelength = value["wavelength"]
    with np.errstate(divide="ignore"):
        wavelength = 1e8 / wavelength if form.wavelength is None else wavelength * form.wavelength
    return Records(
        row=rows,
        name=np.array(names, dtype=str),
        z=z,
        ion=ion,
        isotope=isotope,
        wavelength=wavelength,
        elow=value["elow"] * form.energy,
        loggf=value["loggf"],
        gup=2 * value["jup"] + 1 if form.long else np.full(len(rows), np.nan),
        log_gamma_rad=unknown["rad"],
        vdw=unknown["waals"],
        log_gamma4=unknown["stark"],
        label=np.array([_label(extra[i]) for i in good] if form.long else [""] * len(good), dtype=str),
        orbitals=np.array([_orbitals(extra[i]) for i in good] if form.long else [("", "")] * len(good)).reshape(-1, 2),
        stated=form.medium,
        scaled=_scaled(text, path),
    )


def _note_cuts(text: list[str], part: Extract, found: int, ended: bool, problems: Problems) -> None:
    """Note what shows that an extract of `found` records is cut short; `ended` is whether it has a footer."""
    outside = (i for i in range(part.first, part.stop) if not text[i].lstrip().startswith("'"))
    warned = [i for i in outside if TRUNCATED.search(text[i])]
    counts = [int(m[1]) for i in range(part.first, part.header) if (m := REGION.match(text[i]))]
    if warned:
        problems.note(
            f"the list is cut short: line {warned[0] + 1} says {text[warned[0]].strip()!r}; ask VALD for smaller pieces"
        )
    if counts and counts[-1] > found:
        problems.note(
            f"the list is cut short: its header says that {counts[-1]} lines were selected, {found} are there; ask "
            "VALD again"
        )
    if counts and counts[-1] < found:
        problems.note(f"its header says that {counts[-1]} lines were selected, but {found} are there")
    if not ended:
        problems.note(
            "the list may be cut short: no footer (the references) follows its last record; ask VALD again if it is"
        )


def _blocks(
    text: list[str], part: Extract, form: Layout, problems: Problems
) -> tuple[list[int], dict[int, list[str]], bool]:
    """Indices of the lines that open a record, the lines that follow each, and whether a footer ends them."""
    index: list[int] = []
    extra: dict[int, list[str]] = {}
    ended = False
    for i in range(part.header + 1, part.stop):
        line = text[i]
        if not line.strip() or line.startswith("#"):
            continue
        if RECORD.match(line):
            index.append(i)
            extra[i] = []
        elif END.match(line):
            ended = True
            break
        elif TRUNCATED.search(line):
            continue
        elif form.long and index and len(extra[index[-1]]) < 3:
            extra[index[-1]].append(line)
        else:
            problems.add(i + 1, "line", line[:60], "a record such as 'Fe 1', followed by numbers")
    if form.long:
        for i in index:
            if len(extra[i]) != 3:
                problems.add(i + 1, "record", f"{1 + len(extra[i])} lines", "four lines a record in the long format")
                extra[i] += [""] * (3 - len(extra[i]))
    return index, extra, ended


def _scaled(text: list[str], path: Path) -> bool | None:
    """What the footers say. Raises AstrogfError where those of several extracts differ."""
    matches = [SCALED.search(line) for line in text if line.lstrip().startswith("*")]
    said = {match[1] is None for match in matches if match}
    if len(said) > 1:
        raise AstrogfError(
            f"{path}: log gf are scaled by isotopic fractions in one of its extracts and not in another; put each into "
            "a file of its own"
        )
    return said.pop() if said else None


def _label(lines: list[str]) -> str:
    return " ".join(" ".join(line.replace("'", " ").split()) for line in lines[:2])


def _orbitals(lines: list[str]) -> tuple[str, str]:
    """Letters of the orbitals that differ between the two levels of an LS-coupled record, where only one does.

    VALD writes configurations as '3d6.(5D).4s.4p.(3P*) z5F*': subshells separated by points, parents in brackets.
    """
    shells = []
    for line in lines[:2]:
        words = line.replace("'", " ").split()
        shells.append(_subshells(words[1]) if len(words) > 1 else {})
    lower, upper = shells
    loses = [s for s in lower if lower[s] > upper.get(s, 0)]
    gains = [s for s in upper if upper[s] > lower.get(s, 0)]
    if len(loses) == len(gains) == 1 and lower[loses[0]] - upper.get(loses[0], 0) == 1:
        return loses[0][-1], gains[0][-1]
    return "", ""


def _subshells(configuration: str) -> dict[str, int]:
    count: dict[str, int] = {}
    for part in re.sub(r"<[^>]*>|\([^)]*\)", ".", configuration).split("."):
        for match in re.finditer(r"(\d+[spdfgh])(\d*)", part):
            count[match[1]] = count.get(match[1], 0) + int(match[2] or 1)
    return count


def _species(key: str) -> tuple[int, int, int]:
    name, _, masses = key.partition("|")
    match = SPECIES.fullmatch(name)
    if match is None:
        raise AstrogfError(name)
    formula, stage = match[1], int(match[2])
    if stage < 1:
        raise AstrogfError(name)
    atoms = [(a, int(n or 1)) for a, n in ATOM.findall(formula)]
    if not atoms or any(a not in NUMBER for a, _ in atoms):
        raise AstrogfError(name)
    numbers_ = sorted(NUMBER[a] for a, n in atoms for _ in range(n))
    if len(numbers_) == 1:
        z = numbers_[0]
        if z > 92 or stage > 3:
            return OUTSIDE
    else:
        z = int("".join(f"{n:02d}" for n in numbers_))
        if z not in MOLECULE_CODES or stage != 1 or formula.endswith("+"):
            return OUTSIDE
    return z, stage, _isotope(z, masses)


def _isotope(z: int, masses: str) -> int:
    """Isotope code from '(12)C (14)N'; 0 for an atom of which nothing is said."""
    given: dict[int, list[int]] = {}
    for mass, symbol, count in MASS.findall(masses):
        if symbol in NUMBER:
            given.setdefault(NUMBER[symbol], []).extend([int(mass)] * int(count or 1))
    code = 0
    for number in constituents(z):
        left = given.get(number, [])
        code = 1000 * code + (left.pop(0) if left else 0)
    return code


def loggf_span(line: str, form: Layout) -> tuple[int, int]:
    """Where the log gf field of a record line begins and ends: between its commas."""
    commas = [i for i, c in enumerate(line) if c == ","]
    k = form.columns.index("loggf")
    return commas[k] + 1, commas[k + 1]
