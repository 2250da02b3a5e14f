"""`astrogf export`: the corrected list of a run in another code's format, its corrections alone, or its results."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from rich.console import Console
from rich.text import Text

from astrogf.base.errors import AstrogfError
from astrogf.base.tables import read_table
from astrogf.data.screen import show_pairs
from astrogf.exporting import overlay, run_list
from astrogf.exporting.formats import Format
from astrogf.exporting.results import RESULTS, write_results
from astrogf.runs.folder import as_json
from astrogf.runs.outputs import check_output, complete, write_text
from astrogf.runs.run import read
from astrogf.runs.summary import INFORMED
from astrogf.runs.tables import floats
from astrogf.synthesis.lineio.records import Medium
from astrogf.synthesis.lineio.rewrite import corrected
from astrogf.synthesis.lineio.write import moog_code, write_lines
from astrogf.synthesis.lines.isotopes import natural_share
from astrogf.synthesis.lines.linelist import LineList

KORG: tuple[str, Medium] = ("vald", "vacuum")
"""Korg's reader of VALD takes vacuum as well as air, and the isotopes; that of Kurucz's format loses hyperfine
fractions, that of Turbospectrum's refuses multiples of Unsoeld's width, that of MOOG's has no damping."""
AIR: Medium = "air"
ATOMS_ONLY = ("kurucz",)


def export(
    run: Path,
    out: Path,
    format: str,
    *,
    everything: bool = False,
    ratio: float = INFORMED,
    lines_at: Path | None = None,
    medium: Medium | None = None,
    overwrite: bool = False,
    json_out: Path | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Write the whole list that a run had, with the corrections of its informed lines (or `everything`), to `out`; or
    all results, as `exporting.results` has them.

    Informed are those whose ratio is below `ratio`. Wavelengths are of air above 2000 A where the code expects that,
    unless `medium` says otherwise. Returns what is told. Raises AstrogfError.
    """
    console = console or Console()
    told: dict[str, Any]
    format = Format(format).value
    if not ratio > 0.0:
        raise AstrogfError(f"--ratio is {ratio:g}, expected a number above 0")
    if medium not in (None, "air", "vacuum"):
        raise AstrogfError(f"--medium is {medium!r}; expected air or vacuum")
    if medium is not None and format in ("ecsv", "overlay", "korg"):
        raise AstrogfError(f"--medium: {format} always has vacuum wavelengths; drop this option")
    check_output(out, "list", overwrite=overwrite)
    check_output(json_out, "json")
    if format in RESULTS:
        for name, given in (("all", everything), ("ratio", ratio != INFORMED), ("list", lines_at), ("medium", medium)):
            if given:
                raise AstrogfError(f"--{name} is of line lists; {format} holds all results: drop this option")
        told = {"format": format, "file": str(out), **write_results(out, read(run), format)}
        _tell(told, json_out)
        show_pairs(console, [("written", told["file"]), *((k, _shown(v)) for k, v in told.items() if k != "file")])
        return told
    listed = run_list.read(run, lines_at, as_in_file=format == "overlay")
    chosen = np.ones(len(listed.table), bool) if everything else floats(listed.table["ratio"]) < ratio
    if not np.any(chosen):
        raise AstrogfError(f"No line of {run} has a ratio below {ratio:g}: raise --ratio, or take --all")
    selection = "all free lines" if everything else f"ratio < {ratio:g}"
    told = {"format": format, "file": str(out), "selection": selection}
    if format == "overlay":
        overlay.write(out, listed, chosen, run, selection)
    else:
        told |= _write(out, listed, listed.correction(chosen), format, medium)
    moved = np.append(chosen, False)[listed.row]
    told |= {
        "corrected_transitions": int(np.sum(chosen)),
        "corrected_lines": int(np.sum(moved)),
        "free_transitions": len(listed.table),
        "unlisted_left_out": _unlisted(run),
    }
    _tell(told, json_out)
    _say(told, console)
    return told


def _tell(told: dict[str, Any], json_out: Path | None) -> None:
    if json_out is not None:
        write_text(json_out, as_json(told))


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _write(
    out: Path, listed: run_list.RunList, delta: Float[np.ndarray, " line"], format: str, medium: Medium | None
) -> dict[str, Any]:
    """The list in a format of its own; how many lines it has, how many were left out, and in which medium."""
    lines = corrected(listed.lines, delta)
    atoms = lines.z <= 92
    left_out = int(np.sum(~atoms)) if format in ATOMS_ONLY else 0
    lines = lines.take(atoms) if left_out else lines
    if format == "ecsv":
        name, medium = "ecsv", None
    elif format == "korg":
        name, medium = KORG
    else:
        name, medium = format, medium or AIR
    with complete(out) as draft:
        write_lines(draft, lines, name, medium, title=f"corrected by astrogf, {'air' if medium == AIR else 'vacuum'}")
    told: dict[str, Any] = {"lines": len(lines), "molecular_lines_left_out": left_out, "medium": medium or "vacuum"}
    if format == "moog":
        told |= {"molecular_lines_without_d0": int(np.sum(lines.z > 92)), "isotopes": _shares(lines)}
    return told


def _shares(lines: LineList) -> dict[str, float]:
    """Natural share of every isotope and isotopologue of a list by MOOG's code, which its log gf do not hold."""
    named = np.flatnonzero(lines.isotope != 0)
    kinds = np.unique(np.stack([lines.z, lines.ion, lines.isotope])[:, named], axis=1)
    share = 10.0 ** natural_share(kinds[0], kinds[2])
    return {moog_code(*map(int, kind)): round(float(s), 6) for kind, s in zip(kinds.T, share, strict=True)}


def _unlisted(run: Path) -> int:
    """Lines that the run found the list to lack: guesses of where absorption is missing, and no lines of a list."""
    path = run / "unlisted.ecsv"
    return len(read_table(path)) if path.is_file() else 0


def _say(told: dict[str, Any], console: Console) -> None:
    pairs = [("written", told["file"]), ("format", told["format"])]
    if "lines" in told:
        pairs += [("lines", f"{told['lines']}, wavelengths in {told['medium']}")]
    pairs.append(
        (
            "corrected",
            f"{told['corrected_lines']} lines of {told['corrected_transitions']} transitions ({told['selection']}; "
            f"{told['free_transitions']} were free)",
        )
    )
    show_pairs(console, pairs)
    if told.get("molecular_lines_left_out"):
        _note(console, f"{told['molecular_lines_left_out']} molecular lines are left out: the format holds atoms")
    if told.get("isotopes"):
        _note(
            console,
            f"log gf are those of pure isotopes: MOOG needs the shares of {len(told['isotopes'])} of them in its "
            "parameter file (--json has them)",
        )
    if told.get("molecular_lines_without_d0"):
        _note(console, f"{told['molecular_lines_without_d0']} molecular lines have 0 for the dissociation energy")
    if told["unlisted_left_out"]:
        _note(console, f"{told['unlisted_left_out']} unlisted lines of the run are left out: they are of no list")


def _note(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True, highlight=False)
