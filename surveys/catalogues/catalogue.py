"""Label tables of other people: read, and joined to spectra by name or by position (`labels` says what for)."""

from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord, angular_separation
from astropy.table import MaskedColumn, Table

from astrogf.base import tables
from astrogf.surveys.directory.load import SAME_STAR_ARCSEC
from astrogf.surveys.spectrum import SurveyError

INDEX_NAME = "index.csv"


def find_index(directory: Path | str) -> Path | None:
    """index.csv in the directory of spectra or the one above it, if there is one."""
    directory = Path(directory).resolve()
    return next(
        (folder / INDEX_NAME for folder in (directory, directory.parent) if (folder / INDEX_NAME).is_file()),
        None,
    )


def read_table(path: Path | str) -> Table:
    """A table as `base.tables.read_table` opens it, column names in lower case. Raises SurveyError."""
    table = tables.read_table(path, error=SurveyError)
    for name in table.colnames:
        if name != name.lower() and name.lower() not in table.colnames:
            table.rename_column(name, name.lower())
    return table


def read_labels(path: Path | str) -> Table:
    """A table of labels, as `read_table`, one row a spectrum or star.

    It must name its rows by a column `path`, by `obsid`, by plate, mjd and fiber, by a name (NAMES), or by `ra`
    and `dec` (degrees; `_ra` and `raj2000` count too). Raises SurveyError.
    """
    labels = read_table(path)
    for name, others in {"ra": ("_ra", "raj2000", "ra_icrs"), "dec": ("_dec", "_de", "dej2000", "de_icrs")}.items():
        alias = next((other for other in others if other in labels.colnames), None)
        # sexagesimal text is no number of degrees
        if name not in labels.colnames and alias and labels[alias].dtype.kind in "fiu":
            labels.rename_column(alias, name)
    if {"ra", "dec"} <= set(labels.colnames):
        try:
            _positions(labels)
        except SurveyError as error:
            raise SurveyError(f"{path}: {error}") from error
    names = set(labels.colnames)
    if not ({"path", "obsid", *NAMES} & names or {"ra", "dec"} <= names or _plate_columns(labels)):
        raise SurveyError(
            f"{path} has none of the columns that name a spectrum (path, obsid, plate with mjd and fiber, a name "
            f"such as apogee_id, or ra and dec); it has: {', '.join(labels.colnames[:12])}."
        )
    return labels


def match_labels(stars: Table, labels: Table) -> Table:
    """The labels of each row of a batch's table, in its order; masked where there are none.

    A row is found by path if one of the two paths ends in the other, folder by folder; else by obsid; else by
    plate, mjd and fiber (SDSS); else by a name of the star (NAMES) that is its `object`; else by the nearest
    position within 3 arcsec. What stands for several rows of `labels` matches none of them. The column
    `matched_by` says path, obsid, plate, name, position or "" (not found).
    """
    chosen = np.full(len(stars), -1)
    how = np.full(len(stars), "", dtype="U8")
    for name, matcher in _MATCHERS.items():
        rest = np.flatnonzero(chosen < 0)
        if rest.size and len(labels):
            rows = matcher(stars[rest], labels)
            chosen[rest] = rows
            how[rest[rows >= 0]] = name
    missing = chosen < 0
    out = Table()
    for name in labels.colnames:
        column = labels[name]
        if column.ndim != 1:
            continue
        values = np.ma.masked_array(np.ma.getdata(column), mask=np.ma.getmaskarray(np.ma.asarray(column)))
        picked = values[np.maximum(chosen, 0)] if len(labels) else np.ma.masked_all(len(stars), column.dtype)
        out[name] = MaskedColumn(picked, mask=np.ma.getmaskarray(picked) | missing, unit=column.unit)
    out["matched_by"] = how
    return out


def _unique(keys: list, wanted: list) -> np.ndarray:
    """Position in `keys` of each wanted key that stands there once; -1 for the others."""
    at: dict = {}
    for i, key in enumerate(keys):
        at[key] = -1 if key in at else i
    return np.array([at.get(key, -1) if key else -1 for key in wanted], dtype=int)


def _by_path(stars: Table, labels: Table) -> np.ndarray:
    match = np.full(len(stars), -1)
    if not {"path"} <= set(stars.colnames) & set(labels.colnames):
        return match
    have = [_parts(p) for p in _filled(labels["path"])]
    want = [_parts(p) for p in stars["path"]]
    for depth in range(max(map(len, want), default=0), 0, -1):
        # a path with fewer folders is compared over all that it has
        candidate = _unique([h[-depth:] for h in have], [w[-depth:] for w in want])
        for i in np.flatnonzero((match < 0) & (candidate >= 0)):
            h, w = have[candidate[i]], want[i]
            shared = min(len(h), len(w))
            if h[-shared:] == w[-shared:]:
                match[i] = candidate[i]
    return match


def _parts(path: str) -> tuple[str, ...]:
    """Folders and name; a spectrum is the same whether it is gzipped or not."""
    return tuple(part for part in str(path).removesuffix(".gz").split("/") if part not in ("", "."))


def _by_obsid(stars: Table, labels: Table) -> np.ndarray:
    if not {"obsid"} <= set(stars.colnames) & set(labels.colnames):
        return np.full(len(stars), -1)
    return _unique(_whole(labels["obsid"]), _whole(stars["obsid"]))


def _whole(column) -> list[str]:
    """Numbers that name a row; one that was kept as a float is the same number."""
    return [text.removesuffix(".0") for text in _filled(column)]


def _plate_columns(table: Table) -> tuple[str, str, str] | None:
    fiber = next((name for name in ("fiber", "fiberid", "fiber_id") if name in table.colnames), None)
    plate = next((name for name in ("plate", "plan") if name in table.colnames), None)
    return (plate, "mjd", fiber) if plate and fiber and "mjd" in table.colnames else None


def _by_plate(stars: Table, labels: Table) -> np.ndarray:
    here, there = _plate_columns(stars), _plate_columns(labels)
    if not here or not there or there[0] != "plate":
        return np.full(len(stars), -1)

    def keys(table: Table, columns: tuple[str, str, str]) -> list:
        words = zip(*(_whole(table[c]) for c in columns), strict=True)
        return [tuple(map(int, w)) if all(part.isdigit() for part in w) else None for w in words]

    return _unique(keys(labels, there), keys(stars, here))


NAMES = ("apogee_id", "sdss4_apogee_id", "sdss_id", "object", "obj", "name", "hd", "hip")
"""Columns of a label table that may hold the name under which the survey observed the star (its `object`)."""
NAMESAKE = np.radians(0.1)
"""A row of the right name but farther away than this is of another star (61 Cyg moves so far in 70 years)."""
_NUMBERS = {"hd": "hd", "hip": "hip"}  # catalogues whose columns hold bare numbers


def _by_name(stars: Table, labels: Table) -> np.ndarray:
    match = np.full(len(stars), -1)
    if "object" not in stars.colnames:
        return match
    want = [_name(v) for v in _filled(stars["object"])]
    for column in (name for name in NAMES if name in labels.colnames and labels[name].ndim == 1):
        prefix = _NUMBERS.get(column, "")
        have = [_name(v) for v in _filled(labels[column])]
        have = [prefix + v if v.isdigit() and prefix else v for v in have]
        rest = match < 0
        match[rest] = _unique(have, [w for w, free in zip(want, rest, strict=True) if free])
    if {"ra", "dec"} <= set(stars.colnames) & set(labels.colnames):
        here, there = _positions(stars), _positions(labels)[match] if len(labels) else _positions(stars)
        with np.errstate(invalid="ignore"):
            apart = angular_separation(*np.radians(here).T, *np.radians(there).T) > NAMESAKE
        match[apart] = -1
    return match


def _name(value: str) -> str:
    """Names are the same whatever their blanks, case and the letters that surveys put before a position."""
    word = "".join(value.split()).lower()
    return word.removeprefix("apogee:").removeprefix("2mass").removeprefix("j")


def _by_position(stars: Table, labels: Table) -> np.ndarray:
    if not {"ra", "dec"} <= set(stars.colnames) & set(labels.colnames):
        return np.full(len(stars), -1)
    return nearest(stars, labels)


def nearest(stars: Table, others: Table) -> np.ndarray:
    """Row of `others` nearest to each of `stars` (columns ra, dec in degrees); -1 if none lies within 3 arcsec."""
    match = np.full(len(stars), -1)
    here, there = _positions(stars), _positions(others)
    rows, usable = (np.flatnonzero(np.isfinite(p).all(axis=1)) for p in (here, there))
    if rows.size and usable.size:
        sky, catalogue = (SkyCoord(*p.T * u.deg) for p in (here[rows], there[usable]))
        at, separation, _ = sky.match_to_catalog_sky(catalogue)
        match[rows] = np.where(separation < SAME_STAR_ARCSEC * u.arcsec, usable[at], -1)
    return match


_MATCHERS = {
    "path": _by_path,
    "obsid": _by_obsid,
    "plate": _by_plate,
    "name": _by_name,
    "position": _by_position,
}


def _positions(table: Table) -> np.ndarray:
    """Right ascension and declination in degrees; NaN where a number is none on the sky (-9999)."""
    ra, dec = (tables.quantity(table, c, u.deg, where="the positions", error=SurveyError) for c in ("ra", "dec"))
    on_sky = (np.abs(ra) <= 360.0) & (np.abs(dec) <= 90.0)
    return np.where(on_sky[:, None], np.column_stack([ra, dec]), np.nan)


def _filled(column) -> list[str]:
    values = np.ma.asarray(column)
    return ["" if bad else str(v) for v, bad in zip(np.ma.getdata(values), np.ma.getmaskarray(values), strict=True)]
