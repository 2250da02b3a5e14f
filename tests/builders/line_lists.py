"""Small line lists of every kind, with invented numbers."""

import warnings
from pathlib import Path

from astropy import units as u
from astropy.table import Table

MOOG_ROWS = {
    "fixed": "  5432.100      26.0     1.750    -1.400\n  5433.700      26.1     3.500    -2.000\n",
    "free": "5432.1 26.0 1.75 -1.4\n5433.7 26.1 3.5 -2.0\n",
    "tabs": "5432.1\t26.0\t1.75\t-1.4\n5433.7\t26.1\t3.5\t-2.0\n",
    "wide": "5432.10000 26.0 1.75 -1.4\n5433.70000 26.1 3.50 -2.0\n",
    "remarks": "5432.1 26.0 1.75 -1.4 # strong\n\n! between\n5433.7 26.1 3.5 -2.0\n",
}
"""The two lines of `plain` as MOOG has them."""


def plain(path: Path, units: dict[str, str] | None = None, **columns) -> Path:
    """A plain table of two lines, Fe I 5432.1 and Fe II 5433.7 A (vacuum), with columns replaced, added or dropped."""
    base = {"wavelength_vac": [5432.1, 5433.7], "species": ["Fe I", "Fe II"], "E_low": [1.75, 3.5], "loggf": [-1.4, -2]}
    table = Table({name: column for name, column in (base | columns).items() if column is not None})
    for name, unit in (units or {}).items():
        table[name].unit = u.Unit(unit, parse_strict="silent")
    form = {".ecsv": "ascii.ecsv", ".fits": "fits", ".vot": "votable"}[path.suffix]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # units that the format does not know
        table.write(path, format=form, overwrite=True)
    return path


GFALL = (
    "{:11.4f}{:7.3f}{:6.2f}{:12.3f}{:5.1f} {:10s}{:12.3f}{:5.1f} {:10s}{:6.2f}{:6.2f}{:6.2f}AGF  0 0"
    "{:3d}{:6.3f}{:3d}{:6.3f}"
)


def gfall(*rows: tuple) -> str:
    """Lines of Kurucz's columns from (nm, log gf, code, rad, isotope, hyperfine log fraction); vacuum by the levels."""
    return "".join(
        GFALL.format(
            nm, loggf, code, 12000.0, 2.5, "low", 12000.0 + 1e7 / nm, 1.5, "high", rad, 0, 0, mass, share, mass, 0
        ).ljust(160)
        + "\n"
        for nm, loggf, code, rad, mass, share in rows
    )


SHORT = {
    "stellar": (
        "                                                 Damping parameters   Lande  Central\n"
        "Spec Ion       WL_air(A)  Excit(eV) Vmic log gf* Rad.   Stark  Waals  factor  depth  Reference\n",
        "'Fe 1', {:.4f}, 2.2227, 1.0, -2.880, 8.310,-6.160, 281.266,  2.500, 0.640, '   1 gf:X02   1 X01  Fe'\n",
    ),
    "all": (
        "                                             Damping parameters   Lande\n"
        "Elm Ion       WL_air(A) Excit(eV) log gf*   Rad.  Stark    Waals  factor   References\n",
        "'Fe 1', {:.4f},   2.2227, -2.880,  8.310,-6.160,  281.266,  2.500,'   1 wl:X01   1 X01    Fe'\n",
    ),
}
LONG = (
    "                                                                     Lande factors       Damping parameters\n"
    "Elm Ion      WL_air(A)  log gf* E_low(eV) J lo E_up(eV)  J up  lower   upper    mean   Rad.   Stark  Waals\n",
    "'Fe 1', {:.4f}, -2.880,  2.2227,  2.0,  4.2,  1.0,  1.500,  2.000,  1.250, 8.310,-6.160,-7.270,\n"
    "'  LS                3d6 a5P'\n'  LS                3d6 z5F'\n'_  1 wl:X01   1 X01  Fe'\n",
)
FOOTER = "* oscillator strengths were NOT scaled by the solar isotopic ratios.\n References:\n  1. nobody\n"
WARNING = " WARNING: Output was truncated to 100000 lines\n"
KINDS = SHORT | {"long": LONG}
"""Header and record of each kind of extract."""


def vald(kind: str, *wavelengths: float, selected: int | None = None, footer: str = FOOTER) -> str:
    """An extract; with `selected` its first line says that so many lines were selected."""
    head, record = KINDS[kind]
    region = f" 6100.0, 6200.0, {selected}, 900, 1.0 Wavelength region, lines selected, lines processed, Vmicro\n"
    return (region if selected is not None else "") + head + "".join(map(record.format, wavelengths)) + footer
