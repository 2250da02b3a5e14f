"""Kurucz atomic lists (gfall, gf08..., gfhyper...): 160 fixed columns.

Source: Kurucz, kurucz.harvard.edu/linelists, FORMAT(F11.4,F7.3,F6.2,F12.3,F5.1,1X,A10,F12.3,F5.1,1X,A10,3F6.2,A4,
2I2,I3,F6.3,I3,F6.3,2I5,...): wavelength in nm, energies in cm^-1 (negative where predicted), levels in either order.
"""

from pathlib import Path

import numpy as np

from astrogf.base.air import vacuum_to_air
from astrogf.base.errors import AstrogfError
from astrogf.synthesis.lineio.records import (
    EV_TO_WAVENUMBER,
    OUTSIDE,
    Medium,
    Problems,
    Records,
    numbers,
    species_columns,
)

COLUMNS = {
    "wavelength": (0, 11),
    "log gf": (11, 18),
    "species": (18, 24),
    "first level": (24, 36),
    "first J": (36, 41),
    "first label": (42, 52),
    "second level": (52, 64),
    "second J": (64, 69),
    "second label": (70, 80),
    "radiative damping": (80, 86),
    "Stark damping": (86, 92),
    "van der Waals damping": (92, 98),
    "hyperfine isotope": (106, 109),
    "hyperfine log fraction": (109, 115),
    "isotope": (115, 118),
}
WIDTH = 160
LIMIT = 2000.0
"""Angstrom: vacuum below, air above, in the lists that follow Kurucz's rule."""


def _shift(line: str) -> int | None:
    """0, or -1 where the first column is missing (lists printed with F10.4); None where the line does not fit."""
    for shift in (0, -1):
        try:
            cells = [line[max(a + shift, 0) : b + shift] for a, b in COLUMNS.values()]
            for k in (0, 1, 3, 4, 6, 7):
                float(cells[k])
            whole, _, charge = cells[2].strip().partition(".")
            if 1 <= int(whole) < 200 and len(charge) == 2 and len(line) >= 64:
                return shift
        except ValueError:
            continue
    return None


def fits(line: str) -> bool:
    """Whether a line of text can be a line of such a list."""
    return _shift(line) is not None


def shift_of(text: list[str]) -> int:
    """Shift of the columns that most of the first lines agree on."""
    shifts = [s for s in map(_shift, [line for line in text[:200] if line.strip()]) if s is not None]
    return max(set(shifts), key=shifts.count) if shifts else 0


def parse(text: list[str], path: Path, problems: Problems) -> Records:
    """Records of a list. Zero damping is unknown, and so are positive van der Waals and Stark widths (autoionising)."""
    rows = np.array([i + 1 for i, line in enumerate(text) if line.strip() and not line.startswith("#")], int)
    shift = shift_of(text)
    lines = [" " * -shift + text[i - 1] for i in rows]
    block = "".join(line[:WIDTH].ljust(WIDTH) for line in lines).encode("latin-1")
    grid = np.frombuffer(block, dtype="S1").reshape(-1, WIDTH)

    def cell(name: str) -> np.ndarray:
        a, b = COLUMNS[name]
        return np.ascontiguousarray(grid[:, a:b]).view(f"S{b - a}").ravel().astype(f"U{b - a}")

    names = ("wavelength", "log gf", "first level", "first J", "second level", "second J")
    value = {name: numbers(cell(name), rows, name, problems) for name in names}
    optional = ("radiative damping", "Stark damping", "van der Waals damping", "hyperfine log fraction", "isotope")
    value |= {name: numbers(cell(name), rows, name, problems, 0.0) for name in (*optional, "hyperfine isotope")}
    first, second = np.abs(value["first level"]), np.abs(value["second level"])
    upward = first <= second
    mass = np.where(value["isotope"] > 0, value["isotope"], value["hyperfine isotope"])
    keys = [f"{code.strip()}|{0.0 if np.isnan(m) else m:.0f}" for code, m in zip(cell("species"), mass, strict=True)]
    z, ion, isotope = species_columns(keys, rows, _species, problems, "element and charge/100, as 26.01 for Fe II")
    wavelength = 10.0 * value["wavelength"]
    levels = (cell(n) for n in ("first level", "first J", "first label", "second level", "second J", "second label"))
    rad, stark, vdw = (value[name] for name in optional[:3])
    return Records(
        row=rows,
        name=cell("species"),
        z=z,
        ion=ion,
        isotope=isotope,
        wavelength=wavelength,
        elow=np.minimum(first, second) / EV_TO_WAVENUMBER,
        loggf=value["log gf"] + value["hyperfine log fraction"],
        gup=2 * np.where(upward, value["second J"], value["first J"]) + 1,
        log_gamma_rad=np.where(rad == 0.0, np.nan, rad),
        vdw=np.where(vdw >= 0.0, np.nan, vdw),
        log_gamma4=np.where(stark >= 0.0, np.nan, stark),
        label=np.array(["|".join(cells) for cells in zip(*levels, strict=True)], dtype=str),
        orbitals=np.full((len(rows), 2), ""),
        stated=_medium(wavelength, np.abs(second - first)),
        total=value["log gf"],
    )


def _medium(wavelength: np.ndarray, difference: np.ndarray) -> Medium:
    """Air, Kurucz's rule, or vacuum where the energy levels of most lines above 2000 A say so (gfallvac lists)."""
    has_levels = (wavelength > LIMIT) & (difference > 1.0)
    if not np.any(has_levels):
        return "air"
    vacuum = 1e8 / difference[has_levels]
    off_vacuum = np.abs(wavelength[has_levels] - vacuum)
    off_air = np.abs(wavelength[has_levels] - vacuum_to_air(vacuum))
    return "vacuum" if np.median(off_vacuum - off_air) < 0.0 else "air"


def _species(key: str) -> tuple[int, int, int]:
    code, _, mass = key.partition("|")
    whole, _, charge = code.partition(".")
    z, ion = int(whole), int(charge.ljust(2, "0")) + 1
    if z < 1 or len(charge) > 2:
        raise AstrogfError(code)
    return (z, ion, int(mass)) if z <= 92 and ion <= 3 else OUTSIDE


def loggf_span(line: str, shift: int) -> tuple[int, int]:
    """Where the log gf field begins and ends."""
    a, b = COLUMNS["log gf"]
    return a + shift, b + shift
