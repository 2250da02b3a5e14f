"""`astrogf apply`: corrections put into any list, of which only log gf changes."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from astrogf.base.errors import AstrogfError
from astrogf.data.screen import show_pairs
from astrogf.exporting import matching, overlay
from astrogf.exporting.run_list import sha256
from astrogf.runs.folder import as_json
from astrogf.runs.outputs import check_output, complete, write_text
from astrogf.synthesis.lineio.read import read_indexed
from astrogf.synthesis.lineio.records import Medium, OnBad
from astrogf.synthesis.lineio.rewrite import rewrite_lines
from astrogf.synthesis.lineio.words import COMMAND
from astrogf.synthesis.lines.identity import OTHER_LIST, SAME_LIST
from astrogf.synthesis.lines.linelist import LineList

MOST_NAMED = 20
"""Transitions without a line in the list that the JSON file names."""


def apply(
    corrections: Path,
    lines_at: Path,
    out: Path,
    *,
    values: bool = False,
    format: str | None = None,
    medium: Medium | None = None,
    scaled: bool | None = None,
    on_bad: OnBad = "raise",
    overwrite: bool = False,
    json_out: Path | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Copy the list `lines_at` to `out` with the corrections in it, every byte but log gf kept.

    Corrections are shifts of the list that they were inferred with, so the list has to be that one: the same file, or
    every corrected transition of its wavelengths and species with the same log gf. With `values` it may be any list:
    what matches within `OTHER_LIST` gets the inferred log gf, the rest stays. Returns what is told. Raises
    AstrogfError.
    """
    console = console or Console()
    check_output(out, "list", overwrite=overwrite)
    check_output(json_out, "json")
    found = overlay.read(corrections)
    if not lines_at.is_file():
        raise AstrogfError(f"There is no line list {lines_at}.")
    for used in (lines_at, corrections):
        if out.exists() and out.samefile(used):
            raise AstrogfError(f"--out: {out} is read from; name another file.")
    same_file = bool(found.list_sha256) and sha256(lines_at) == found.list_sha256
    said: dict[str, Any] = {"format": format, "medium": medium, "scaled": scaled, "on_bad": on_bad}
    if same_file:  # read as the run read it, unless something else is said
        said = {key: found.said.get(key) if value in (None, "raise") else value for key, value in said.items()}
        said["on_bad"] = said["on_bad"] or "raise"
    lines, rows, known_as = read_indexed(lines_at, **said, words=COMMAND)
    matched = matching.match(found, lines, OTHER_LIST if values else SAME_LIST, same_values=not values)
    told = _count(found, matched, lines, corrections, lines_at, same_file, known_as)
    if not told["transitions_matched"]:
        raise AstrogfError(
            f"{lines_at}: none of the {told['transitions']} corrected transitions is in it ({told['in_range']} "
            "are of its wavelengths and species); see that it is a list of these lines, and --medium"
            + ("" if values else "; lists that differ in wavelengths or energies need --values")
        )
    if not values:
        _refuse(told, found, matched, lines_at, same_file)
    delta = matching.to_values(found, lines, matched) if values else matching.shifts(found, lines, matched)
    told["file"] = str(out)
    told["by"] = "values" if values else "shifts"
    told["lines_changed"] = _rewrite(lines_at, out, lines, rows, delta, said, told)
    told["largest_change_dex"] = float(np.max(np.abs(delta)))
    if json_out is not None:
        write_text(json_out, as_json(told))
    _say(told, console)
    return told


def _count(found, matched, lines: LineList, corrections: Path, lines_at: Path, same_file: bool, known_as: str) -> dict:
    """How many transitions of the overlay the list has, by their numbers."""
    everywhere = np.unique(found.transition)
    within = np.unique(found.transition[matched.in_range])
    hit = np.unique(found.transition[matched.row >= 0])
    other = np.unique(found.transition[np.abs(np.nan_to_num(matched.apart)) > matching.WRITTEN])
    lost = [k for k in np.setdiff1d(within, hit)]
    named = [int(np.argmax(found.transition == k)) for k in lost[:MOST_NAMED]]
    return {
        "corrections": str(corrections),
        "list": str(lines_at),
        "format": "table" if known_as == "gaia-eso" else known_as,
        "same_file": same_file,
        "lines": len(lines),
        "transitions": len(everywhere),
        "in_range": len(within),
        "transitions_matched": len(hit),
        "with_another_loggf": len(other),
        "not_in_list": [f"{found.species[k]} {found.wavelength[k]:.3f}" for k in named],
    }


def _refuse(told: dict[str, Any], found, matched, lines_at: Path, same_file: bool) -> None:
    """Raise AstrogfError unless the list is the one that the corrections were inferred with."""
    apart = np.abs(np.nan_to_num(matched.apart))
    lost = matched.in_range & (matched.row < 0)
    if not np.any(lost) and not np.any(apart > matching.WRITTEN):
        return
    with_file = found.said.get("file")
    what = f"{lines_at} is not the list that the corrections were inferred with ({with_file})"
    if same_file:
        what = f"{lines_at} is read otherwise than the run read it (see --format, --medium, --scaled)"
    details = [
        f"{told['transitions_matched']} of the {told['in_range']} corrected transitions of its wavelengths and species "
        "are in it"
    ]
    if told["with_another_loggf"]:
        k = int(np.argmax(apart))
        details.append(
            f"{told['with_another_loggf']} of them with another log gf ({found.species[k]} {found.wavelength[k]:.3f} "
            f"A: {found.loggf[k] + matched.apart[k]:.3f}, not {found.loggf[k]:.3f})"
        )
    raise AstrogfError(
        f"{what}: {', '.join(details)}. Corrections are shifts of that list's log gf; to give the lines that match the "
        "inferred log gf instead, add --values"
    )


def _rewrite(
    lines_at: Path, out: Path, lines: LineList, rows: np.ndarray, delta: np.ndarray, said: dict[str, Any], told: dict
) -> int:
    """Write the copy; how many fields changed. Notes how far what was written is from what was wanted."""
    with complete(out) as draft, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the list was read before, and its warnings were told
        changed = rewrite_lines(lines_at, draft, delta, **said)
        again, rows_again, _ = read_indexed(draft, **said)
    # lines of one wavelength may come in another order where the reader goes by log gf
    wanted = dict(zip(rows.tolist(), (lines.loggf + delta).tolist(), strict=True))
    got = zip(rows_again.tolist(), again.loggf.tolist(), strict=True)
    told["largest_rounding_dex"] = max(abs(value - wanted[row]) for row, value in got)
    return changed


def _say(told: dict[str, Any], console: Console) -> None:
    how = {
        "shifts": "the same file" if told["same_file"] else "the same log gf in another file",
        "values": "any list: lines that match have the inferred log gf",
    }[told["by"]]
    show_pairs(
        console,
        [
            ("written", told["file"]),
            ("list", f"{told['list']} ({told['format']}, {told['lines']} lines), {how}"),
            (
                "transitions",
                f"{told['transitions_matched']} of {told['in_range']} of its wavelengths and species "
                f"({told['transitions']} corrected in all)",
            ),
            ("lines changed", f"{told['lines_changed']}, by {told['largest_change_dex']:.3f} dex at most"),
            ("rounding", f"{told['largest_rounding_dex']:.4f} dex at most, by the decimals of the file"),
        ],
    )
    if told["not_in_list"]:
        text = "not in the list: " + ", ".join(told["not_in_list"])
        console.print(Text(text), soft_wrap=True, highlight=False)
