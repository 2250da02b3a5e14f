"""Label tables of other people, to compare a fit with and never to fit to."""

from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, Table

from surveys.ingest import SAME_STAR_ARCSEC
from surveys.spectrum import SurveyError

INDEX_NAME = "index.csv"


def find_index(directory: Path | str) -> Path | None:
    """index.csv in the directory of spectra or the one above it, if there is one."""
    directory = Path(directory).resolve()
    return next(
        (folder / INDEX_NAME for folder in (directory, directory.parent) if (folder / INDEX_NAME).is_file()),
        None,
    )


def read_labels(path: Path | str) -> Table:
    """A table of labels (CSV, ECSV, FITS or VOTable), column names in lower case, one row a spectrum or star.

    It must name its rows by a column `path`, by `obsid`, or by `ra` and `dec` (degrees). Raises SurveyError.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    formats = {
        ".csv": "ascii.csv",
        ".ecsv": "ascii.ecsv",
        ".fits": "fits",
        ".fit": "fits",
        ".vot": "votable",
        ".xml": "votable",
    }
    if suffix not in formats:
        raise SurveyError(f"{path} ends in {suffix!r}; a label table ends in one of {', '.join(formats)}.")
    try:
        labels = Table.read(path, format=formats[suffix])
    except Exception as err:  # astropy raises its readers' own classes
        raise SurveyError(f"{path} cannot be read as a table: {err}") from err
    for name in labels.colnames:
        if name != name.lower() and name.lower() not in labels.colnames:
            labels.rename_column(name, name.lower())
    if not (
        {"path"} <= set(labels.colnames) or {"obsid"} <= set(labels.colnames) or {"ra", "dec"} <= set(labels.colnames)
    ):
        raise SurveyError(
            f"{path} has none of the columns that name a spectrum (path, obsid, or ra and dec); it has: "
            f"{', '.join(labels.colnames[:12])}."
        )
    return labels


def match_labels(stars: Table, labels: Table) -> Table:
    """The labels of each row of a batch's table, in its order; masked where there are none.

    A row is found by path if one of the two paths ends in the other, folder by folder; else by obsid; else by
    the nearest position within 3 arcsec. A path or obsid that stands for several rows of `labels` matches
    none of them. The column `matched_by` says path, obsid, position or "" (not found).
    """
    chosen = np.full(len(stars), -1)
    how = np.full(len(stars), "", dtype="U8")
    for name, matcher in (("path", _by_path), ("obsid", _by_obsid), ("position", _by_position)):
        rest = np.flatnonzero(chosen < 0)
        if rest.size and len(labels):
            found = matcher(stars[rest], labels)
            chosen[rest] = found
            how[rest[found >= 0]] = name
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
    found = np.full(len(stars), -1)
    if not {"path"} <= set(stars.colnames) & set(labels.colnames):
        return found
    have = [_parts(p) for p in _filled(labels["path"])]
    want = [_parts(p) for p in stars["path"]]
    for depth in range(max(map(len, want), default=0), 0, -1):
        # a path with fewer folders is compared over all that it has
        candidate = _unique([h[-depth:] for h in have], [w[-depth:] for w in want])
        for i in np.flatnonzero((found < 0) & (candidate >= 0)):
            h, w = have[candidate[i]], want[i]
            shared = min(len(h), len(w))
            if h[-shared:] == w[-shared:]:
                found[i] = candidate[i]
    return found


def _parts(path: str) -> tuple[str, ...]:
    """Folders and name; a spectrum is the same whether it is gzipped or not."""
    return tuple(part for part in str(path).removesuffix(".gz").split("/") if part not in ("", "."))


def _by_obsid(stars: Table, labels: Table) -> np.ndarray:
    if not {"obsid"} <= set(stars.colnames) & set(labels.colnames):
        return np.full(len(stars), -1)
    return _unique(_filled(labels["obsid"]), [str(v) for v in stars["obsid"]])


def _by_position(stars: Table, labels: Table) -> np.ndarray:
    found = np.full(len(stars), -1)
    if not {"ra", "dec"} <= set(stars.colnames) & set(labels.colnames):
        return found
    here, there = _positions(stars), _positions(labels)
    rows, usable = (np.flatnonzero(np.isfinite(p).all(axis=1)) for p in (here, there))
    if rows.size and usable.size:
        sky, catalogue = (SkyCoord(*p.T * u.deg) for p in (here[rows], there[usable]))
        nearest, separation, _ = sky.match_to_catalog_sky(catalogue)
        found[rows] = np.where(separation < SAME_STAR_ARCSEC * u.arcsec, usable[nearest], -1)
    return found


def _positions(table: Table) -> np.ndarray:
    return np.column_stack([np.ma.filled(np.ma.asarray(table[c]).astype(float), np.nan) for c in ("ra", "dec")])


def _filled(column) -> list[str]:
    values = np.ma.asarray(column)
    return ["" if bad else str(v) for v, bad in zip(np.ma.getdata(values), np.ma.getmaskarray(values), strict=True)]
