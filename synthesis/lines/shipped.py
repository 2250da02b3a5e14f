"""The shipped line lists, optical atoms, optical molecules and the H band: read once and cut to a window."""

from functools import cache

import numpy as np

from astrogf.base.errors import AstrogfError
from astrogf.synthesis.lines.isotopes import Ratios, log_share
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.package_data import arrays

OPTICAL = (4200.0, 9200.0)
H_BAND = (15000.0, 17005.0)
"""Coverage in vacuum Angstrom of the optical lists and of the H band list."""
INTEGERS = {"z", "ion", "isotope", "quality", "transition"}


@cache
def _columns(name: str) -> LineList:
    table = arrays(name)
    unknown = np.full(len(table["wavelength"]), np.nan)
    columns = {
        field: table[field].astype(int if field in INTEGERS else float) if field in table else unknown
        for field in LineList._fields
    }
    return LineList(**columns)


def _window(name: str, cover: tuple[float, float], start: float, stop: float, ratios: Ratios | None) -> LineList:
    if not (cover[0] <= start < stop <= cover[1]):
        raise AstrogfError(
            f"window {start:.0f}-{stop:.0f} A: this list covers {cover[0]:.0f}-{cover[1]:.0f} A (vacuum); "
            "give a window inside, its start below its stop"
        )
    lines = _columns(name)
    lines = lines.take((lines.wavelength >= start) & (lines.wavelength <= stop))
    return LineList(**(lines._asdict() | {"log_fraction": log_share(lines.z, lines.isotope, ratios)}))


def load_atomic_lines(start: float, stop: float) -> LineList:
    """The shipped Gaia-ESO lines with start <= wavelength <= stop (vacuum Angstrom).

    Raises ValueError where the list has nothing to say (it covers 4200-9200 A).
    Source: Heiter et al. (2021, A&A 645, A106); built by tools/build_lines.py.
    """
    lines = _columns("lines_ges")
    if start < OPTICAL[0] or stop > OPTICAL[1] + 2.0:
        raise AstrogfError(
            f"window {start:.0f}-{stop:.0f} A: the shipped line list covers {OPTICAL[0]:.0f}-{OPTICAL[1]:.0f} A; "
            "narrow the window"
        )
    return lines.take((lines.wavelength >= start) & (lines.wavelength <= stop))


def load_molecular_lines(start: float, stop: float, ratios: Ratios | None = None) -> LineList:
    """Lines of C2, CN, CH, OH, MgH, SiH and TiO with start <= wavelength <= stop (vacuum Angstrom, 4200-9200).

    One isotopologue each but for CH (12C and 13C). `log_fraction` has the isotopic shares: terrestrial, or those of
    `ratios` as in `isotopes.log_share`. Transitions count from 1,000,000, clear of `load_atomic_lines`.
    Raises ValueError for a window not inside the coverage.
    Source: VALD (Ryabchikova et al. 2015, Phys. Scr. 90, 054005); built by tools/build_molecular_lines.py.
    """
    return _window("lines_molecules", OPTICAL, start, stop, ratios)


def load_hband_lines(start: float, stop: float, ratios: Ratios | None = None) -> LineList:
    """Atoms and molecules with start <= wavelength <= stop (vacuum Angstrom, 15000-17005), hydrogen left out.

    `log_fraction` has the isotopic shares of molecules: terrestrial, or those of `ratios` as in
    `isotopes.log_share`, {(6, 12): 0.875, (6, 13): 0.125} for a red giant. Hyperfine components of a line share
    their number in `transition`; numbers count from 2,000,000. Raises ValueError for a window not inside.
    Source: APOGEE's list of 2013 (Shetrone et al. 2015, ApJS 221, 24); built by tools/build_hband.py.
    """
    return _window("lines_hband", H_BAND, start, stop, ratios)


def load_all_lines(start: float, stop: float, ratios: Ratios | None = None) -> LineList:
    """Every shipped line, atoms and molecules, from start to stop (vacuum Angstrom), sorted by wavelength.

    Optical: `load_atomic_lines` with `load_molecular_lines`; H band: `load_hband_lines`. Raises ValueError for a
    window that neither covers.
    """
    if start >= H_BAND[0] and stop <= H_BAND[1]:
        return load_hband_lines(start, stop, ratios)
    if start < OPTICAL[0] or stop > OPTICAL[1]:
        raise AstrogfError(
            f"window {start:.0f}-{stop:.0f} A (vacuum): the shipped lists cover {OPTICAL[0]:.0f}-"
            f"{OPTICAL[1]:.0f} and {H_BAND[0]:.0f}-{H_BAND[1]:.0f} A; read a list of your own with read_lines"
        )
    atoms, molecules = load_atomic_lines(start, stop), load_molecular_lines(start, stop, ratios)
    return atoms.merged(molecules)


@cache
def whole_list(cover: tuple[float, float], molecules: bool = True) -> LineList:
    """All that the shipped lists have of a coverage, `OPTICAL` or `H_BAND`; `molecules` of the optical are a choice."""
    return load_all_lines(*cover) if molecules or cover == H_BAND else load_atomic_lines(*cover)
