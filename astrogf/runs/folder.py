"""The run folder, written piece by piece so that nothing is ever half there; `run` reads it back."""

import json
import math
import shutil
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from jaxtyping import Float

from astrogf.base.errors import AstrogfError
from astrogf.inference import statistics
from astrogf.inference.pixels import ByBlocks, blocks_of
from astrogf.inference.result import FitResult
from astrogf.runs.checkpoint import NAME as CHECKPOINT
from astrogf.runs.checkpoint import CheckpointFolder
from astrogf.runs.columns import described
from astrogf.runs.outputs import check_output, complete, is_draft, why, write_text
from astrogf.runs.run import Run as Run
from astrogf.runs.run import read as read
from astrogf.runs.spectra import Spectra
from astrogf.runs.summary import KEYS
from astrogf.runs.tables import factor_table, line_order, misfit_table, unlisted_table

FILES = (
    "summary.json",
    "record.json",
    "stars.ecsv",
    "loggf.ecsv",
    "unlisted.ecsv",
    "partly.ecsv",
    "set_aside.ecsv",
    "hyper.ecsv",
    "truth_lines.ecsv",
    "spectra.fits",
    "posterior.fits",
    "selection.ecsv",
    "misfit.ecsv",
    "factors.ecsv",
    "split.ecsv",
    "statistics.npz",
    "known.ecsv",
    "held_out.json",
    "labels.fits",
    "label.json",
    "report.html",
)
"""Every file of a run; --overwrite removes these, the folders figures, surrogate and checkpoint, and a demo's
folder survey."""


def prepare(folder: Path, *, overwrite: bool) -> None:
    """Make an empty folder for a run, before anything is computed.

    Raises AstrogfError when it cannot be written, or holds something and `overwrite` is off, or holds what is no run.
    """
    check_output(folder, "folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            _clear(folder, overwrite)
    except OSError as error:
        raise AstrogfError(f"The run folder {folder} cannot be written: {why(error)}.") from error


def _clear(folder: Path, overwrite: bool) -> None:
    if not overwrite:
        begun = _begun(folder)
        goes_on = (
            "--resume goes on with the unfinished run in it; or "
            if begun and _command(folder) in ("fit", "demo")
            else ""
        )
        raise AstrogfError(
            f"{folder} is not empty; {goes_on}name another folder with --out, or add --overwrite to replace the run in "
            "it."
        )
    if not _is_run(folder):
        raise AstrogfError(
            f"{folder} holds files but no run of astrogf (there is no record.json), so --overwrite leaves it alone; "
            "name another folder with --out."
        )
    survey = ("survey",) if _command(folder) == "demo" else ()
    for name in ("figures", "surrogate", CHECKPOINT, *survey):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in FILES:
        (folder / name).unlink(missing_ok=True)


def _is_run(folder: Path) -> bool:
    """Whether there is a run, if only one that was killed before it could write its record."""
    return (folder / "record.json").is_file() or all(
        path.name == CHECKPOINT or is_draft(path.name) for path in folder.iterdir()
    )


def _record(folder: Path) -> dict[str, Any]:
    """What record.json says; nothing where there is none or it is damaged."""
    try:
        found = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _command(folder: Path) -> str | None:
    """What wrote the run; None if its record is damaged."""
    return _record(folder).get("command")


def _begun(folder: Path) -> bool:
    """Whether there is a run that has not come to its end; one that has keeps no checkpoint."""
    return _record(folder).get("status") != "finished" or CheckpointFolder(folder).follows() is not None


def reopen(folder: Path, command: str) -> dict[str, Any]:
    """The record of an unfinished run that is to be gone on with, {} where none was begun.

    A finished one comes back as its record with the status 'finished'. Raises AstrogfError for what is no run of
    this `command`.
    """
    if not folder.exists() or not any(folder.iterdir()):
        return {}
    if not _is_run(folder):
        raise AstrogfError(
            f"The folder {folder} holds no run of astrogf (there is no record.json): there is nothing to go on with; "
            "name another folder with --out."
        )
    record = _record(folder)
    if record and record.get("command") != command:
        raise AstrogfError(
            f"The run in {folder} is of `astrogf {record.get('command')}`, which goes on with it, and not of `astrogf "
            f"{command}`; or name another folder with --out."
        )
    if record.get("status") == "finished" and _begun(folder):
        record["status"] = "incomplete"
    return record


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """record.json: what was asked, with what, on what, and how it went."""
    _write_json(folder / "record.json", record)


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """summary.json. Raises ValueError unless it has exactly the keys of `summary.KEYS`."""
    if set(summary) != set(KEYS):
        raise AstrogfError(f"summary has keys {sorted(set(summary) ^ set(KEYS))} too many or too few")
    _write_json(folder / "summary.json", {key: summary[key] for key in KEYS})


def write_set_aside(folder: Path, set_aside: Table) -> None:
    """set_aside.ecsv: path, reason and detail of every file that was not used."""
    _write_table(folder / "set_aside.ecsv", set_aside)


def write_partly(folder: Path, partly: Table) -> None:
    """partly.ecsv: pieces and windows of used files that were not used."""
    _write_table(folder / "partly.ecsv", partly)


def write_split(folder: Path, split: Table) -> None:
    """split.ecsv: which stars were held out."""
    _write_table(folder / "split.ecsv", split)


def write_stars(folder: Path, stars: Table) -> None:
    """stars.ecsv: one row a file."""
    _write_table(folder / "stars.ecsv", stars)


def write_lines(folder: Path, lines: Table) -> None:
    """loggf.ecsv: one row a free line."""
    _write_table(folder / "loggf.ecsv", lines)


def write_known(folder: Path, known: Table) -> None:
    """known.ecsv: what `astrogf check --known` made of stars that are known well."""
    _write_table(folder / "known.ecsv", known)


def write_held_out(folder: Path, check: Mapping[str, Any]) -> None:
    """held_out.json: what the last `astrogf check --spectra` found."""
    _write_json(folder / "held_out.json", check)


def write_results(
    folder: Path, result: FitResult, stars: Table, lines: Table, set_aside: Table, truth: Table | None = None
) -> None:
    """All tables and arrays of a run, each file complete or absent."""
    write_stars(folder, stars)
    write_lines(folder, lines)
    unlisted = unlisted_table(result)
    if unlisted is not None:
        _write_table(folder / "unlisted.ecsv", unlisted)
    write_set_aside(folder, set_aside)
    if len(result.hyper.colnames):
        _write_table(folder / "hyper.ecsv", result.hyper)
    if truth is not None:
        _write_table(folder / "truth_lines.ecsv", truth)
    if result.selection is not None:
        _write_table(folder / "selection.ecsv", result.selection)
    if result.misfit is not None and len(result.misfit):
        _write_table(folder / "misfit.ecsv", misfit_table(result.misfit))
    if result.factors is not None and len(result.factors):
        _write_table(folder / "factors.ecsv", factor_table(result.factors))
    if result.statistics is not None:
        with complete(folder / "statistics.npz") as draft:
            statistics.save(draft, result.statistics)
    paths = Table({"path": np.asarray(result.table["path"], dtype=str)})
    write_images(folder / "spectra.fits", {name: getattr(result, name) for name in Spectra._fields}, paths)
    order = line_order(result.lines)
    covariance = np.asarray(result.correction_covariance)[np.ix_(order, order)]
    apparent = np.asarray(result.apparent_covariance)[np.ix_(order, order)]
    arrays = {"covariance": covariance, "apparent": apparent}
    if result.labels_covariance is not None:
        arrays["labels"] = np.asarray(result.labels_covariance)
    write_images(folder / "posterior.fits", arrays, result.lines["wavelength", "species"][order])


def read_covariance(folder: Path) -> Float[np.ndarray, "line line"] | None:
    """Covariance of what the spectra want of every line, in the order of loggf.ecsv and unlisted.ecsv; None where the
    run has none. Runs of before that was apart from the log gf have only one."""
    try:
        with fits.open(folder / "posterior.fits", memmap=False) as hdus:
            return np.asarray(hdus["APPARENT" if "APPARENT" in hdus else "COVARIANCE"].data, dtype=float)
    except (OSError, KeyError):
        return None


def as_json(content: Mapping[str, Any]) -> str:
    """The text of a JSON file; numbers that are not finite become null."""
    return json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_text(path, as_json(content))


def _write_table(path: Path, table: Table) -> None:
    with complete(path) as draft:
        described(table).write(draft, format="ascii.ecsv", overwrite=True)


def write_images(path: Path, arrays: Mapping[str, np.ndarray | ByBlocks], rows: Table) -> None:
    """One image extension an array (float32, wavelength float64), some rows at a time, and a table that says what the
    rows are."""
    plain_rows = Table({name: np.asarray(rows[name]) for name in rows.colnames})
    with complete(path) as draft:
        fits.HDUList([fits.PrimaryHDU()]).writeto(draft)
        for name, array in arrays.items():
            kind = np.float64 if name == "wavelength" else np.float32
            # of the array's shape, without an array of that size
            header = fits.ImageHDU(np.broadcast_to(kind(0), np.shape(array)), name=name.upper()).header
            with closing(fits.StreamingHDU(str(draft), header)) as hdu:
                for block in blocks_of(array) if header["NAXIS1"] else ():
                    hdu.write(np.ascontiguousarray(block, dtype=kind))
        with fits.open(draft, mode="append") as hdus:
            hdus.append(fits.BinTableHDU(plain_rows, name="ROWS"))


def plain(value: Any) -> Any:
    """The same in JSON's own types; numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()  # names of files need not be UTF-8
    if value is None or isinstance(value, int | bool):
        return value
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return str(value)
