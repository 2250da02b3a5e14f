"""Reader of ATLAS decks: the READ DECK6 text that ATLAS-9 and ATLAS-12 write, 64, 72 or 80 layers."""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from astrogf.base import files
from astrogf.base.errors import AstrogfError, NoFileError
from astrogf.emulator.structure import Structure, check_columns

LOG_TAU_TOP, LOG_TAU_STEP = -6.875, 0.125
"""The depth grid on which every ATLAS deck is converged: log10 tau_Ross = -6.875 + 0.125 i."""

_TITLE = re.compile(r"\[\s*([+-]?\d+\.\d+)\s*([aA]?)")
_CHANGE = re.compile(r"(\d+)\s*(-?\d+\.\d+)")
_NO_E = re.compile(r"(\d)([+-]\d{3})$")
_COLUMNS = ("RHOX", "T", "P", "XNE", "ABROSS", "ACCRAD", "VTURB")
_EDGES = (0, 15, 24, 34, 44, 54, 64, 74)
"""Fortran FORMAT(1PE15.8,0PF9.1,1P8E10.3): columns may touch, so they are cut by width and never split."""

_IRON_LIKE = (6, 7, 11, 13, 24, 25, 26, 28, 30)
_ALPHA = (8, 12, 14, 20, 22)
_SOLAR = {
    "AG89": (
        -3.48,
        -3.99,
        -5.71,
        -5.57,
        -6.37,
        -6.65,
        -4.37,
        -5.79,
        -7.44,
        -3.11,
        -4.46,
        -4.49,
        -5.68,
        -7.05,
    ),
    "GS98": (
        -3.52,
        -4.12,
        -5.71,
        -5.57,
        -6.37,
        -6.65,
        -4.54,
        -5.79,
        -7.44,
        -3.21,
        -4.46,
        -4.49,
        -5.68,
        -7.02,
    ),
    "AGSS09": (
        -3.61,
        -4.21,
        -5.80,
        -5.59,
        -6.40,
        -6.61,
        -4.54,
        -5.82,
        -7.48,
        -3.35,
        -4.44,
        -4.53,
        -5.70,
        -7.09,
    ),
}
"""log10 N/N_total of the elements _IRON_LIKE + _ALPHA in the solar mixtures that ATLAS decks scale from."""


class DeckError(AstrogfError):
    """A deck that cannot be read; the message names the deck, the field and what was expected."""


@dataclass(frozen=True)
class Deck:
    """One atmosphere with its labels.

    Units: teff K, logg dex (cgs), feh and alpha dex, vturb cm/s (of the outermost layer, as in the deck).
    `structure` holds float64 arrays of `depth` layers, outermost first, all strictly increasing in RHOX and
    tau. `tau_from` is 'grid' or 'integral' (see `read_deck`); `dropped` counts repeated outer layers left
    out.
    """

    name: str
    title: str
    teff: float
    logg: float
    feh: float
    alpha: float
    vturb: float
    structure: Structure
    tau_from: str
    dropped: int

    @property
    def labels(self) -> Float[np.ndarray, "4"]:
        """teff, logg, feh, alpha."""
        return np.array([self.teff, self.logg, self.feh, self.alpha])


def read_deck(source: Path | str, name: str | None = None) -> Deck:
    """Read one deck from a file (Path) or from its text (str).

    Labels: teff and logg from the TEFF line; feh and alpha from a title such as `[-1.0a]` (a: 0.4), else from
    the deck's own abundances against the solar mixture (Anders & Grevesse 1989, Grevesse & Sauval 1998 or
    Asplund et al. 2009) that leaves the non-alpha elements with the least scatter.
    tau: the grid -6.875 + 0.125 i when the deck's own integral of ABROSS dRHOX agrees with it to 0.1 dex
    below log tau = -6, else that integral: ATLAS converges every layer on the grid, and the integral over
    such wide steps is the less exact of the two where they agree (median difference 0.0003 dex on 2,985
    ATLAS-9 decks). Decks that differ by more are not on the grid (one ATLAS-9 deck, by two layers; the
    64-layer solar deck). Raises DeckError for text that is no complete deck, FileNotFoundError for a missing
    file.
    """
    if isinstance(source, Path):
        if not source.is_file():
            raise NoFileError(f"no deck {source}")
        name, text = name or source.name, files.read_text(source, error=DeckError)
    else:
        name, text = name or "deck", source
    lines = text.splitlines()
    head = _find(lines, "TEFF", name)
    words = lines[head].split()
    if len(words) < 4 or words[2] != "GRAVITY":
        raise DeckError(f"{name}: line {head + 1} should read 'TEFF <K> GRAVITY <dex> ...', found {lines[head]!r}")
    teff, logg = _number(words[1], name, "TEFF"), _number(words[3], name, "GRAVITY")
    if not teff > 0:
        raise DeckError(f"{name}: TEFF is {teff:g}, expected a temperature in K")
    title = next((line[5:].strip() for line in lines if line.startswith("TITLE")), "")
    feh, alpha = _composition(title, lines, name)
    start = _find(lines, "READ DECK6", name)
    count = lines[start].split()[2] if len(lines[start].split()) > 2 else ""
    if not count.isdigit():
        raise DeckError(f"{name}: READ DECK6 should be followed by the number of layers, found {lines[start]!r}")
    if int(count) < 3:
        raise DeckError(f"{name}: READ DECK6 announces {count} layers; an atmosphere has dozens")
    rows = lines[start + 1 : start + 1 + int(count)]
    if len(rows) < int(count) or any(row.startswith("PRADK") for row in rows):
        raise DeckError(f"{name}: READ DECK6 announces {count} layers but the deck ends before; fetch it again")
    table = np.array([_layer(row, i, name) for i, row in enumerate(rows)])
    return _deck(name, title, teff, logg, feh, alpha, table)


def read_decks(text: str, name: str, teff_max: float = np.inf) -> tuple[list[Deck], list[str]]:
    """Every deck up to `teff_max` in a text of many, each begun by TEFF, and why others were refused."""
    starts = [m.start() for m in re.finditer(r"^TEFF", text, re.MULTILINE)] + [len(text)]
    decks, refused = [], []
    for i, (a, b) in enumerate(itertools.pairwise(starts)):
        if float(text[a:b].split(maxsplit=2)[1]) > teff_max:
            continue
        try:
            decks.append(read_deck(text[a:b], f"{name} block {i}"))
        except DeckError as error:
            refused.append(str(error))
    return decks, refused


def read_folder(folder: Path, teff_max: float = np.inf) -> tuple[list[Deck], list[str]]:
    """Every deck in the files of a folder (text, perhaps compressed, one deck or many), and why others were refused.

    Files without a line that begins with TEFF are passed over. Raises FileNotFoundError for a folder that does not
    exist or holds no deck.
    """
    if not folder.is_dir():
        raise NoFileError(f"no folder {folder}; --decks wants a folder of ATLAS decks")
    decks, refused = [], []
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        try:
            text = files.read_text(path, error=DeckError)
        except DeckError as error:
            refused.append(str(error))
            continue
        if not re.search(r"^TEFF", text, re.MULTILINE):
            continue
        good, bad = read_decks(text, path.name, teff_max)
        decks += good
        refused += bad
    if not decks:
        raise NoFileError(f"no ATLAS deck (text with READ DECK6) up to {teff_max:.0f} K in {folder}")
    return decks, refused


def own_log_tau(rhox: Float[np.ndarray, " depth"], abross: Float[np.ndarray, " depth"]) -> Float[np.ndarray, " depth"]:
    """log10 of the integral of ABROSS dRHOX, ABROSS taken as a power law of RHOX between layers.

    The outermost layer starts from ABROSS * RHOX, the opacity held constant above it (as ATLAS does).
    """
    depth, height = np.log(rhox), abross * rhox
    slope = np.diff(np.log(height))
    mean = np.where(np.abs(slope) > 1e-6, np.diff(height) / np.where(slope == 0, 1, slope), height[1:])
    return np.log10(np.cumsum(np.concatenate([height[:1], mean * np.diff(depth)])))


def _deck(name: str, title: str, teff: float, logg: float, feh: float, alpha: float, table: np.ndarray) -> Deck:
    grid = LOG_TAU_TOP + LOG_TAU_STEP * np.arange(len(table))
    # The classic solar deck repeats its first RHOX with another temperature: a layer of no mass.
    first = 1 if len(table) > 1 and abs(table[1, 0] - table[0, 0]) <= 1e-5 * abs(table[0, 0]) else 0
    table, grid = table[first:], grid[first:]
    columns = dict(zip(_COLUMNS, table.T, strict=True))
    check_columns(columns, name, error=DeckError, first=first + 1)
    if table[:, 6].min() < 0:
        layer = int(np.argmax(table[:, 6] < 0))
        raise DeckError(f"{name}: VTURB of layer {layer + first + 1} is {table[layer, 6]:g}, expected 0 or more")
    own = own_log_tau(table[:, 0], table[:, 4])
    agrees = np.max(np.abs(own - grid)[grid > -6]) < 0.1
    tau = 10.0 ** (grid if agrees else own)
    check_columns({"tau": tau}, name, error=DeckError, first=first + 1)
    rhox, t, p, xne, abross, accrad, vturb = table.T
    structure = Structure(tau, rhox, t, p, xne, abross, accrad)  # type: ignore[arg-type]
    return Deck(
        name,
        title,
        teff,
        logg,
        feh,
        alpha,
        float(vturb[0]),
        structure,
        "grid" if agrees else "integral",
        first,
    )


def _find(lines: list[str], word: str, name: str) -> int:
    for i, line in enumerate(lines):
        if line.lstrip().startswith(word):
            return i
    raise DeckError(f"{name}: no line beginning with {word}; this is no ATLAS deck (READ DECK6 format)")


def _number(text: str, name: str, field: str) -> float:
    text = text.strip().replace("D", "E")
    try:
        value = float(_NO_E.sub(r"\1E\2", text))  # three-digit exponents lose their E in Fortran
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise DeckError(f"{name}: {field} should be a finite number, found {text!r}")
    return value


def _layer(row: str, index: int, name: str) -> list[float]:
    cells = [row[a:b] for a, b in itertools.pairwise(_EDGES)]
    return [_number(cell, name, f"{c} of layer {index + 1}") for cell, c in zip(cells, _COLUMNS, strict=True)]


def _composition(title: str, lines: list[str], name: str) -> tuple[float, float]:
    scale_line = lines[_find(lines, "ABUNDANCE SCALE", name)].split()
    scale = _number(scale_line[2] if len(scale_line) > 2 else "", name, "ABUNDANCE SCALE")
    if not scale > 0:
        raise DeckError(f"{name}: ABUNDANCE SCALE is {scale:g}, expected a factor above zero")
    log_scale = np.log10(scale)
    match = _TITLE.match(title)
    if match:
        feh = float(match[1])
        if abs(feh - log_scale) > 0.02:
            raise DeckError(f"{name}: the title says [{feh:+.2f}] but ABUNDANCE SCALE is {log_scale:+.2f} dex")
        return feh, 0.4 if match[2] else 0.0
    changes: dict[int, float] = {}
    for line in lines:
        if line.startswith(" ABUNDANCE CHANGE"):
            changes |= {int(z): float(a) for z, a in _CHANGE.findall(line[17:])}
    if not set(_IRON_LIKE + _ALPHA) <= set(changes):
        raise DeckError(f"{name}: no [M/H] in the title and no full table of ABUNDANCE CHANGE; add '[M/H]' to it")
    abundance = np.array([changes[z] for z in _IRON_LIKE + _ALPHA])
    n = len(_IRON_LIKE)
    sun = min((np.array(s) for s in _SOLAR.values()), key=lambda s: float(np.std((abundance - s)[:n])))
    excess = abundance - sun
    iron = float(np.median(excess[:n]))
    return round(log_scale + iron, 3) + 0.0, round(float(np.median(excess[n:])) - iron, 3) + 0.0
