"""Build synthesis/data/lines_hband.npz: atomic and molecular lines 15000-17005 A (vacuum) that matter in FGK stars.

Source: pymoog 0.0.3 (PyPI), files/linelist/apogee/apogee.list, a MOOG version of APOGEE's list 201312161124
(Shetrone et al. 2015, ApJS 221, 24; molecules from Goorvitch 1994, Kurucz, and others as cited there), in vacuum.
Its gf hold no isotopic shares (isotopologues of CO have gf's of one size); `isotopes.log_share` adds them.
Run: PYTHONPATH=. python tools/build_hband.py
"""

from pathlib import Path

import numpy as np
from moog_lists import known, read_moog, relevance
from sources import fetch

from astrogf.synthesis.lines.damping import complete_damping
from astrogf.synthesis.lines.identity import UNLABELLED, components
from astrogf.synthesis.lines.isotopes import log_share
from astrogf.synthesis.lines.linelist import LineList

DATA = Path(__file__).resolve().parents[1] / "synthesis" / "data"
CUT = 1e-4  # of the continuum at line centre
FIRST_TRANSITION = 2_000_000
HAS_STRUCTURE = (11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 39, 41, 57, 59, 63, 65)
"""Elements of odd Z, whose main isotopes have a nuclear moment: only theirs are lines of one lower level tied."""


def transitions(z, ion, elow, wavelength, first: int) -> np.ndarray:
    """Number the transitions: hyperfine components share one.

    Components have one species of odd Z, one lower energy, and lie within `identity.UNLABELLED` of their neighbour. The
    list has no level labels; two lines of one lower level so close together in the same atom would be taken for one.
    """
    alone = ~np.isin(z, HAS_STRUCTURE)
    return first + components(z, ion, np.zeros(len(z), int), elow, wavelength, alone, UNLABELLED)


def columns(table: dict[str, np.ndarray], first: int) -> LineList:
    """All columns of a LineList from those of `read_moog`, damping completed, shares terrestrial."""
    unknown = np.full(len(table["z"]), np.nan)
    key = ("z", "ion", "wavelength", "elow", "loggf")
    damping = complete_damping(
        *(table[name] for name in key), gup=unknown, log_gamma_rad=unknown, vdw=table["vdw"], log_gamma4=unknown
    )
    return LineList(
        **{name: table[name] for name in (*key, "isotope")},
        **damping._asdict(),
        log_fraction=log_share(table["z"], table["isotope"]),
        transition=transitions(table["z"], table["ion"], table["elow"], table["wavelength"], first),
        gup=unknown,
    )


def save(lines: LineList, name: str) -> None:
    """Write the columns that a loader cannot make up, wavelengths alone in double precision."""
    types = {"wavelength": float, "z": np.int32, "ion": np.int8, "isotope": np.int32, "quality": np.int8}
    types["transition"] = np.int32
    kept = (field for field in LineList._fields if field not in ("log_fraction", "gup"))
    table = {field: np.asarray(getattr(lines, field)).astype(types.get(field, np.float32)) for field in kept}
    table["wavelength"] = np.round(table["wavelength"], 4)
    out = DATA / f"{name}.npz"
    np.savez_compressed(out, **table)
    print(f"{out.name}: {len(lines)} lines, {out.stat().st_size / 1e6:.2f} MB")


def report(lines: LineList, of: LineList) -> None:
    """Print how many lines of every species were kept."""
    names, counts = np.unique(of.species(), return_counts=True)
    kept = dict(zip(*np.unique(lines.species(), return_counts=True), strict=True))
    print(", ".join(f"{name} {kept.get(name, 0)}/{count}" for name, count in zip(names, counts, strict=True)))


def main() -> None:
    """Read, complete, keep what matters, write."""
    root = fetch("pymoog") / "pymoog" / "files" / "linelist" / "apogee"
    table = read_moog(root / "apogee.list", medium="vacuum")
    keep = known(table["z"], table["ion"])
    lines = columns({name: column[keep] for name, column in table.items()}, FIRST_TRANSITION)
    # A 13C-rich star's isotopologues matter as much as the main one: judge them at a tenth of it.
    judged = LineList(**(lines._asdict() | {"log_fraction": np.maximum(lines.log_fraction, -1.0)}))
    chosen = lines.take(relevance(judged) > CUT)
    report(chosen, lines)
    save(chosen, "lines_hband")


if __name__ == "__main__":
    main()
