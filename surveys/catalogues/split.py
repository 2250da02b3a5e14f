"""Stars held out of a fit: drawn by name, so that a star keeps its side whatever else is added."""

import hashlib
from pathlib import Path

import numpy as np
from astropy.table import Table

from astrogf.base import tables
from astrogf.surveys.catalogues.catalogue import nearest
from astrogf.surveys.spectrum import SurveyError


def draw(star: str, seed: int) -> float:
    """A number in 0 to 1 that depends on the star's name and the seed alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{star}".encode()).digest()[:8], "big") / 2**64


def split(table: Table, fraction: float, seed: int, *, before: Table | None = None) -> Table:
    """Which stars are held out: one row a star, with columns star, ra, dec (deg), spectra, draw, held_out.

    table: rows of a batch or store, with its column `star`; all spectra of a star are on one side. A star is held
    out if its draw is below `fraction`, so that a larger fraction only adds to a smaller one. A star's name comes
    from the position of its first spectrum: `before`, the split recorded earlier (`read_split`), keeps a star
    found within 3 arcsec there on its side even if its name has changed. Raises SurveyError for a fraction outside
    0 to 1, or where `before` was drawn with another seed or fraction.
    """
    if not 0 <= fraction <= 1:
        raise SurveyError(f"The held-out fraction {fraction:g} must lie in 0 to 1.")
    stars, first, count = np.unique(np.asarray(table["star"], dtype=str), return_index=True, return_counts=True)
    out = Table({"star": stars})
    for name in ("ra", "dec"):
        out[name] = np.asarray(table[name], dtype=np.float64)[first] if name in table.colnames else np.nan
        out[name].unit = "deg"
    out["spectra"] = count
    out["draw"] = np.array([draw(star, seed) for star in stars.tolist()], dtype=np.float64)
    if before is not None and len(before):
        if (before.meta.get("seed"), before.meta.get("fraction")) != (seed, fraction):
            raise SurveyError(
                f"The recorded split was drawn with seed {before.meta.get('seed')} and fraction "
                f"{before.meta.get('fraction')}, not {seed} and {fraction}: go on with those, or begin a new split."
            )
        row_of = dict(zip(before["star"].tolist(), range(len(before)), strict=True))
        at = np.array([row_of.get(star, -1) for star in stars.tolist()], dtype=int)
        at = np.where(at >= 0, at, nearest(out, before))
        out["draw"] = np.where(at >= 0, np.asarray(before["draw"])[np.maximum(at, 0)], out["draw"])
    out["held_out"] = np.asarray(out["draw"]) < fraction
    out.meta |= {"seed": int(seed), "fraction": float(fraction)}
    return out


def held_out(table: Table, recorded: Table) -> np.ndarray:
    """True for every spectrum whose star is held out. Raises SurveyError where a star is not in the split."""
    sides = dict(zip(recorded["star"].tolist(), np.asarray(recorded["held_out"]).tolist(), strict=True))
    stars = np.asarray(table["star"], dtype=str).tolist()
    missing = [star for star in stars if star not in sides]
    if missing:
        raise SurveyError(
            f"{len(missing)} spectra are of stars that the recorded split does not know (the first: {missing[0]}): "
            "make the split again, with the recorded one as `before`."
        )
    return np.array([sides[star] for star in stars], dtype=bool)


def write_split(recorded: Table, path: Path | str) -> None:
    """Record a split as ECSV, whole or not at all."""
    path = Path(path)
    draft = path.with_name(f".{path.name}.partial")
    recorded.write(draft, format="ascii.ecsv", overwrite=True)
    draft.replace(path)


def read_split(path: Path | str) -> Table:
    """A recorded split. Raises SurveyError if `path` is none."""
    recorded = tables.read_table(path, error=SurveyError)
    missing = {"star", "ra", "dec", "draw", "held_out"} - set(recorded.colnames)
    if missing or not {"seed", "fraction"} <= set(recorded.meta):
        raise SurveyError(f"{path} is no recorded split: it lacks {', '.join(sorted(missing)) or 'its seed'}.")
    return recorded
