"""The line list that a run had, and which of its corrections moves each line."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.io import fits
from astropy.table import Table
from jaxtyping import Bool, Float, Int

from astrogf.base.errors import AstrogfError
from astrogf.comparing.corrections import run_lines
from astrogf.comparing.reference_table import species_codes
from astrogf.config import Config, as_recorded, parse
from astrogf.fitting import engine
from astrogf.runs.spectra import windows
from astrogf.runs.tables import floats
from astrogf.synthesis.lines.identity import SAME_LIST, pairs
from astrogf.synthesis.lines.linelist import LineList

SAME_VALUE = 1e-6
"""dex: loggf.ecsv repeats log gf of the list in full."""


class Names(NamedTuple):
    """What names lines in tables of one run: vacuum Angstrom, 10 z + ion, eV."""

    wavelength: Float[np.ndarray, " line"]
    code: Int[np.ndarray, " line"]
    elow: Float[np.ndarray, " line"]


class Source(NamedTuple):
    """Where a list came from: a file with its sha256 and what was said of it, or the shipped list (no file)."""

    file: str | None
    sha256: str | None
    said: dict[str, Any]


class RunList(NamedTuple):
    """`lines` as the run had them; `row[i]` is the row of `table` (loggf.ecsv) that moves line i, or -1."""

    lines: LineList
    row: Int[np.ndarray, " line"]
    table: Table
    source: Source

    def correction(self, chosen: Bool[np.ndarray, " free"]) -> Float[np.ndarray, " line"]:
        """What is added to log gf of each line (dex): that of `chosen` rows of the table, 0 elsewhere."""
        value = np.where(chosen, floats(self.table["correction"]), 0.0)
        return np.append(value, 0.0)[self.row]


def read(run: Path, lines_at: Path | None = None, *, as_in_file: bool = False) -> RunList:
    """The list of a finished run; `lines_at` is where a list of the user's lies now, if not where the run found it.

    With `as_in_file` a list of the user's has the lines of its file, those that the run split in one.
    Raises AstrogfError for what is no finished run, and where the list is another one than the run had.
    """
    table = run_lines(run)
    record = _record(run)
    config = _config(record["config"], run)
    if config.lines.list is None:
        if lines_at is not None:
            raise AstrogfError(f"--list: {run} had the shipped list; drop this option")
        lines, source = _shipped(run, config), Source(None, None, {})
    else:
        path = lines_at or Path(config.lines.list)
        if not path.is_file():
            raise AstrogfError(f"The list of {run}, {path}, is not there; say with --list where it lies now")
        checksum, known = sha256(path), ((record.get("inputs") or {}).get("lines") or {}).get("sha256")
        if known not in (None, checksum):
            raise AstrogfError(
                f"{path} has changed since {run} read it; give the list as it was with --list, or fit again"
            )
        config = config.changed(lines={"list": str(path)})
        read_now = engine.lines_of(config)
        assert read_now is not None
        said = {key: getattr(config.lines, key) for key in ("format", "medium", "scaled", "on_bad")}
        lines, source = read_now, Source(path.name, checksum, said)
    row = rows_of(lines, table, run)
    if as_in_file and config.lines.list is not None and config.lines.borrow_structure:
        filed = engine.lines_of(config.changed(lines={"borrow_structure": False}))
        assert filed is not None
        moved = dict(zip(lines.transition.tolist(), row.tolist(), strict=True))
        lines, row = filed, np.array([moved[number] for number in filed.transition.tolist()])
    return RunList(lines, row, table, source)


def rows_of(lines: LineList, table: Table, run: Path) -> Int[np.ndarray, " line"]:
    """Row of a run's loggf.ecsv that moves each line: of all components of the transition that it names, -1 of others.

    Raises AstrogfError where a transition is not in the list, or has another log gf there.
    """
    names = Names(floats(table["wavelength"]), species_codes(table["species"])[0], floats(table["elow"]))
    loggf, free = floats(table["loggf"]), np.full(len(table), -1)
    near = np.zeros(len(table), bool)
    for k, i in pairs(names, lines, SAME_LIST)[::-1]:  # the nearest is written last
        near[k] = True
        if abs(lines.loggf[i] - loggf[k]) < SAME_VALUE:
            free[k] = i
    if np.any(free < 0):
        k = int(np.argmax(free < 0))
        what = "has another log gf in the list" if near[k] else "is not in the list"
        raise AstrogfError(
            f"{np.sum(free >= 0)} of the {len(table)} corrected lines of {run} are in its list as they were; "
            f"{table['species'][k]} {names.wavelength[k]:.3f} A {what}: the corrections belong to the list that the "
            "run had, so give that one (--list), or fit again"
        )
    numbers, where = np.unique(lines.transition, return_inverse=True)
    row = np.full(len(numbers), -1)
    row[where.ravel()[free]] = np.arange(len(table))
    return row[where.ravel()]


def sha256(path: Path) -> str:
    """Checksum of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _record(run: Path) -> dict[str, Any]:
    try:
        record = json.loads((run / "record.json").read_text(encoding="utf-8"))
        record["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AstrogfError(f"{run} is not a finished run of astrogf: record.json cannot be read ({error})") from error
    return record


def _config(raw: dict[str, Any], run: Path) -> Config:
    """What a run was told of its list and of the model; options of other versions of astrogf are no matter here."""
    sections = {name: type(Config.model_fields[name].default) for name in ("lines", "model")}
    raw = as_recorded(raw)
    known = {
        name: {key: value for key, value in (raw.get(name) or {}).items() if key in section.model_fields}
        for name, section in sections.items()
    }
    return parse(known, f"the configuration of {run}")


def _shipped(run: Path, config: Config) -> LineList:
    """The shipped lines that the run computed with: those of its windows, and those that reach in from outside."""
    engine.ready_to_compute()
    from astrogf.inference.problem.setup import grid_under, padded_window, shipped_lines
    from astrogf.synthesis.model import WIDEST

    try:
        with fits.open(run / "spectra.fits", memmap=False) as hdus:
            wavelength = np.asarray(hdus["WAVELENGTH"].data, float)
    except (OSError, KeyError) as error:
        raise AstrogfError(f"{run} is not a finished run of astrogf: spectra.fits cannot be read ({error})") from error
    grids = windows(wavelength)
    farthest = WIDEST * max(grid_under(grid, config).velocity_step for grid in grids)
    return shipped_lines([padded_window(grid, config) for grid in grids], config, farthest)
