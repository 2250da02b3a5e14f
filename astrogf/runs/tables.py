"""The two tables of a run: one row a file, and one row a line."""

import re
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import Column, MaskedColumn, Table, vstack
from jaxtyping import Bool, Float, Int

from astrogf.runs.summary import COMPARED

if TYPE_CHECKING:
    from astrogf.inference.result import FitResult

UNLISTED = "unlisted"
"""The group of lines that the list may lack (inference.problem.unlisted.CLASS)."""
APPARENT = ("apparent", "apparent_sd", "drift", "drift_sd")
INTERVALS = ("low_95", "low_68", "high_68", "high_95")
"""Ends of the credible intervals of a correction (inference.prior.intervals.NAMES)."""

VELOCITY_UNIT = 100.0
"""km/s: unit of a further window's velocity (inference.problem.instrument.VELOCITY_UNIT)."""
UNITS = {"teff": u.K, "logg": u.dex, "feh": u.dex, "alpha": u.dex, "vmic": u.km / u.s, "rv": u.km / u.s}
"""Units of the labels; one not named here is a pure number."""
KEPT = (
    *("object", "star", "ra", "dec", "snr", "snr_source", "rv_header", "class", "subclass", "good_fraction"),
    *("survey", "release", "obsid", "mjd", "plan", "spectrograph", "fiber", "sha256"),
)
"""What the reader knows of a file and the star table repeats."""


def unit_of(label: str) -> u.UnitBase | None:
    """Unit of a label; None for a pure number."""
    return VELOCITY_UNIT * u.km / u.s if re.fullmatch(r"rv_\d+", label) else UNITS.get(label)


def star_table(result: "FitResult", set_aside: Table, reference: Table | None = None) -> Table:
    """One row a file, the stars used first and in the order of the fit, then what was set aside.

    Columns: path, used, spectrum (row in spectra.fits, -1 if none), reason and detail (of setting aside), flags,
    the labels with `<label>_sd`, n_pixel, chi2_per_pixel_original, chi2_per_pixel_corrected, what the header said
    and ref_teff, ref_logg, ref_feh where `reference` (rows like result.table, columns teff, logg, feh) is given.
    A value that does not exist is masked.
    """
    n = len(result.table)
    used = Table()
    used["path"] = np.asarray(result.table["path"], dtype=str)
    used["used"] = np.ones(n, bool)
    used["spectrum"] = np.arange(n)
    used["reason"] = np.full(n, "")
    used["detail"] = np.full(n, "")
    used["flags"] = np.asarray(result.flags, dtype=str) if n else np.empty(0, dtype=str)
    for i, name in enumerate(result.label_names):
        unit = unit_of(name)
        used[name] = MaskedColumn(result.labels[:, i], unit=unit, format=_decimals(name))
        used[f"{name}_sd"] = MaskedColumn(result.labels_sd[:, i], unit=unit, format=_decimals(name))
    pixels = np.maximum(result.n_pixel, 1)
    used["n_pixel"] = np.asarray(result.n_pixel)
    used["chi2_per_pixel_original"] = MaskedColumn(result.chi2_original / pixels, format=".4f")
    used["chi2_per_pixel_corrected"] = MaskedColumn(result.chi2_corrected / pixels, format=".4f")
    for name in KEPT:
        if name in result.table.colnames:
            used[name] = result.table[name]
    if reference is not None:
        for name in COMPARED:
            value: np.ma.MaskedArray = np.ma.masked_invalid(np.ma.asarray(reference[name], dtype=float))
            used[f"ref_{name}"] = MaskedColumn(value, unit=UNITS[name], format=_decimals(name))
    return vstack([used, _set_aside_rows(set_aside)], join_type="outer", metadata_conflicts="silent")


def line_table(result: "FitResult") -> Table:
    """One row a free line of the list: result.lines with units, and `loggf_corrected` beside what the list says."""
    return _with_units(result.lines[line_order(result.lines)[: np.sum(~_unlisted(result.lines))]])


def unlisted_table(result: "FitResult") -> Table | None:
    """The same of lines that the list may lack (log gf of an Fe I line of 3 eV); None where none were allowed for."""
    n = int(np.sum(_unlisted(result.lines)))
    return _with_units(result.lines[line_order(result.lines)[-n:]]) if n else None


def factor_table(curve: Table) -> Table:
    """The factors of the variances of pixels at rest (vacuum), with units."""
    return Table(
        {
            "wavelength": Column(curve["wavelength"], unit=u.AA, format=".4f"),
            "factor": Column(curve["factor"], format=".4g"),
        }
    )


def misfit_table(stretches: Table) -> Table:
    """Where the model is wrong for all stars (vacuum, at rest), with units."""
    return Table(
        {
            "start": Column(stretches["start"], unit=u.AA, format=".3f"),
            "stop": Column(stretches["stop"], unit=u.AA, format=".3f"),
            "factor": Column(stretches["factor"], format=".1f"),
        }
    )


def _unlisted(lines: Table) -> Bool[np.ndarray, " line"]:
    return np.asarray(lines["group"]) == UNLISTED


def _with_units(lines: Table) -> Table:
    lines["loggf_corrected"] = np.asarray(lines["loggf"]) + np.asarray(lines["correction"])
    for name in lines.colnames:
        if name in ("wavelength", "elow"):
            lines[name].unit = u.AA if name == "wavelength" else u.eV
            lines[name].format = ".4f"
        elif name in ("correction", "posterior_sd", *INTERVALS, "prior_sd", *APPARENT):
            lines[name].unit = u.dex
            lines[name].format = ".5f"
        elif name in (
            "loggf",
            "loggf_corrected",
            "loggf_total",
            "ratio",
            "strength",
            "correlation",
            "partner",
            "list_share",
            "badly_wrong",
            "blended",
        ):
            lines[name].format = ".4f"
    return lines


def line_order(lines: Table) -> Int[np.ndarray, " line"]:
    """Rows by rising wavelength, unlisted lines after the others: the order of loggf.ecsv (and unlisted.ecsv after
    it) and of posterior.fits."""
    return np.lexsort((np.asarray(lines["wavelength"]), _unlisted(lines)))


def combine_set_aside(*tables: Table | None) -> Table:
    """What reader and engine set aside, as one table of path, reason, detail."""
    rows = [row for t in tables if t is not None for row in t["path", "reason", "detail"].iterrows()]
    columns = list(zip(*rows, strict=True)) if rows else [(), (), ()]
    names = ("path", "reason", "detail")
    return Table({n: np.array([str(v) for v in c], dtype=str) for n, c in zip(names, columns, strict=True)})


def reasons(set_aside: Table) -> list[tuple[str, int]]:
    """Each reason with its number of files, the commonest first."""
    names, counts = np.unique(np.asarray(set_aside["reason"], dtype=str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [(str(names[i]), int(counts[i])) for i in order]


def _set_aside_rows(set_aside: Table) -> Table:
    rows = set_aside["path", "reason", "detail"].copy()
    rows["used"] = np.zeros(len(rows), bool)
    rows["spectrum"] = np.full(len(rows), -1)
    rows["flags"] = np.full(len(rows), "")
    return rows


def _decimals(label: str) -> str:
    return ".1f" if label == "teff" else ".4f"


def floats(column: MaskedColumn) -> Float[np.ndarray, " row"]:
    """A column as plain numbers, NaN where masked."""
    return np.ma.filled(np.ma.asarray(column, dtype=float), np.nan)
