"""`astrogf compare`: the corrections of a run against a table of reference log gf."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Screen

from astrogf.base.air import vacuum_to_air
from astrogf.base.errors import AstrogfError
from astrogf.base.tables import read_table
from astrogf.comparing import judge as judge
from astrogf.comparing import reference_table
from astrogf.runs.folder import plain
from astrogf.runs.outputs import after_results, check_output, write_picture, write_text
from astrogf.runs.tables import floats
from astrogf.synthesis.lines.identity import OTHER_LIST, Tolerance

NEEDED = ("wavelength", "species", "elow", "loggf", "correction", "posterior_sd", "prior_sd", "ratio")
WORST = 20
"""Rows in the list of worst outliers."""


def run_lines(run: Path) -> Table:
    """loggf.ecsv of a run folder. Raises AstrogfError when it is not there or lacks columns."""
    path = run / "loggf.ecsv"
    if not path.is_file():
        raise AstrogfError(f"{run} is not a finished run of astrogf: there is no loggf.ecsv in it.")
    table = read_table(path)
    missing = [n for n in NEEDED if n not in table.colnames]
    if missing:
        raise AstrogfError(f"{path} has no column {', '.join(missing)}; was it written by astrogf?")
    return table


def compare_run(
    run: Path,
    table: Path,
    *,
    ratio: float = 0.3,
    medium: str | None = None,
    tolerance: Tolerance = OTHER_LIST,
) -> tuple[dict[str, Any], judge.Compared, Table]:
    """What the JSON file of `astrogf compare` holds; the pairs as arrays; and a table with one row a pair.

    Raises AstrogfError when a table cannot be used or no line is in both.
    """
    mine, theirs = run_lines(run), reference_table.read(table, medium)
    codes, _ = reference_table.species_codes(mine["species"])
    lines = judge.Lines(floats(mine["wavelength"]), codes, floats(mine["elow"]), floats(mine["loggf"]))
    matched = judge.match(lines, theirs.lines, tolerance, components=_components(mine))
    baseline, value, unlike = _on_one_footing(mine, theirs.lines, matched)
    keep = ~unlike
    if not keep.any():
        raise AstrogfError(_nothing(mine, theirs, tolerance, int(unlike.sum())))
    i, j = matched.run[keep], matched.reference[keep]
    rows = mine[i]
    names = np.array([str(s) for s in rows["species"]])
    pairs = judge.compare(
        (baseline - value)[keep], floats(rows["correction"]), floats(rows["posterior_sd"]), floats(rows["prior_sd"]),
        theirs.sd[j], floats(rows["ratio"]), names,
    )  # fmt: skip
    wave = lines.wavelength[i]
    per_line = Table(
        {
            "wavelength": wave,
            "wavelength_air": vacuum_to_air(wave),
            "species": names,
            "elow": lines.elow[i],
            "list": baseline[keep],
            "inferred": baseline[keep] + floats(rows["correction"]),
            "reference": value[keep],
            "difference": pairs.after,
            "difference_before": pairs.before,
            "posterior_sd": floats(rows["posterior_sd"]),
            "reference_sd": theirs.sd[j],
            "z": pairs.after / pairs.after_sd,
            "ratio": pairs.ratio,
            "rivals": matched.rivals[keep],
            "source": [theirs.source[k] for k in j],
        }
    )
    ambiguous = per_line[per_line["rivals"] > 0]
    result = {
        "run": run.name,
        "table": table.name,
        "reference_column": theirs.column,
        "reference_medium": theirs.medium,
        "reference_errors": theirs.has_errors,
        "ratio_limit": ratio,
        "tolerance": {"wavelength_angstrom": tolerance.wavelength, "elow_ev": tolerance.elow},
        "matching": {
            "run_lines": len(mine),
            "reference_rows": len(theirs.lines.wavelength) + sum(theirs.refused.values()),
            "refused_rows": theirs.refused,
            "pairs": int(keep.sum()),
            "ambiguous": len(ambiguous),
            "ambiguous_lines": _rows(ambiguous),
            "tied_components_not_comparable": int(unlike.sum()),
            "reference_rows_without_line": int(np.sum(matched.group < 0)),
        },
        **judge.tables(pairs, ratio),
        "worst": _rows(per_line[np.argsort(-np.abs(pairs.after), kind="stable")[:WORST]]),
    }
    return plain(result), pairs, per_line


def _components(mine: Table) -> list[np.ndarray] | None:
    """Vacuum wavelengths of the tied components of every line, if the run's table lists them."""
    if "component_wavelengths" not in mine.colnames:
        return None
    return [np.array(str(text).split(), float) for text in mine["component_wavelengths"]]


def _on_one_footing(mine: Table, theirs: judge.Lines, matched: judge.Match) -> tuple[np.ndarray, ...]:
    """List value and reference value of every pair, and which pairs do not speak of the same thing.

    A transition with several tied components is named by its strongest one, and a table may give its total gf or the
    gf of each component. With `loggf_total` in the run's table, totals are compared: that of the run with the sum over
    the reference's rows. Without it, only a reference that splits the transition can be compared, component with
    component; a single row, which is probably a total, cannot.
    """
    n = len(matched.run)
    rows = mine[matched.run]
    many = floats(rows["components"]) > 1 if "components" in mine.colnames else np.zeros(n, bool)
    members = np.bincount(matched.group[matched.group >= 0], minlength=n)
    total = judge.total_loggf(theirs.loggf, matched.group, n)
    single = floats(rows["loggf"]), theirs.loggf[matched.reference]
    if "loggf_total" in mine.colnames:
        return (
            np.where(many, floats(rows["loggf_total"]), single[0]),
            np.where(many, total, single[1]),
            np.zeros(n, bool),
        )
    owner = matched.reference
    near = np.array(
        [
            np.sum(
                (theirs.code == theirs.code[j])
                & (np.abs(theirs.elow - theirs.elow[j]) < 1e-3)
                & (np.abs(theirs.wavelength - theirs.wavelength[j]) < 0.5)
            )
            for j in owner
        ],
        int,
    )
    return *single, many & (np.maximum(members, near) < 2)


def _nothing(mine: Table, theirs: reference_table.ReferenceTable, tolerance: Tolerance, unlike: int) -> str:
    ours, other = floats(mine["wavelength"]), theirs.lines.wavelength
    hint = (
        f"{unlike} pairs are transitions of tied components against a single reference row, which cannot be compared"
        if unlike
        else f"the run covers {ours.min():.1f}-{ours.max():.1f} A, the table {other.min():.1f}-{other.max():.1f} A in "
        f"vacuum (read as {theirs.medium}); check --medium, the units and the species"
    )
    return f"No line of the run is in the table within {tolerance.wavelength:g} A and {tolerance.elow:g} eV: {hint}."


def _rows(table: Table) -> list[dict[str, Any]]:
    kept = ("wavelength", "wavelength_air", "species", "elow", "list", "inferred", "reference", "difference",
            "difference_before", "z", "ratio", "rivals", "source")  # fmt: skip
    return [
        {n: plain(row[n] if n in ("species", "source") else round(float(row[n]), 5)) for n in kept} for row in table
    ]


def compare(
    run: Path,
    table: Path,
    json_path: Path | None = None,
    figure: Path | None = None,
    *,
    ratio: float = 0.3,
    medium: str | None = None,
    tolerance: Tolerance = OTHER_LIST,
) -> dict[str, Any]:
    """Print the table, and write the JSON file and the picture if asked for. Raises AstrogfError."""
    if medium not in (None, "air", "vacuum"):
        raise AstrogfError(f"--medium is {medium!r}; expected air or vacuum.")
    check_output(json_path, "json")
    check_output(figure, "picture")
    if json_path is not None and table.is_file() and json_path.resolve() == table.resolve():
        raise AstrogfError(f"--json: {json_path} is the table that is compared with; name another file.")
    result, pairs, per_line = compare_run(run, table, ratio=ratio, medium=medium, tolerance=tolerance)
    if json_path is not None:
        write_text(json_path, json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    say(result, Console(highlight=False))
    if figure is not None:
        with after_results("The picture", str(json_path or "the figures above")):
            from astrogf.comparing.figures import against_reference

            write_picture(figure, against_reference(per_line, pairs, ratio))
    return result


def say(result: dict[str, Any], console: Console) -> None:
    """The figures, on the terminal."""
    m = result["matching"]
    console.print(
        f"{m['pairs']} lines of the run found in {escape(result['table'])} "
        f"(column {escape(result['reference_column'])}), "
        f"{m['ambiguous']} of them ambiguous; {m['tied_components_not_comparable']} with tied components set aside",
        soft_wrap=True,
    )
    screen = Screen(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    screen.add_column("log gf\nminus reference", no_wrap=True)
    for name in ("n", "median", "robust\nσ", "> 0.3\ndex", "z\nmedian", "z\nsd", "\n< 1σ", "\n< 2σ"):
        screen.add_column(name, justify="right", no_wrap=True)
    limit = f"ratio < {result['ratio_limit']:g}"
    blocks = [("all lines", result["all"]), (limit, result["informed"])]
    blocks += [(f"{name}, {limit}", b["informed"]) for name, b in list(result["by_species"].items())[:6]]
    for title, block in blocks:
        screen.add_row(escape(title))
        for which in ("baseline", "inferred"):
            screen.add_row(f"  {which}", *_cells(block[which]))
    console.print(screen)
    floor = result["informed"]["inferred"]["systematic_floor"]
    if floor:
        console.print(f"z of {limit} has a robust sd of 1 with {floor:.3f} dex added to every posterior sd")
    worst = result["worst"][0]
    console.print(
        f"furthest off: {worst['species']} {worst['wavelength_air']:.3f} A (air), "
        f"{worst['difference']:+.2f} dex, ratio {worst['ratio']:.2f}"
    )


def _cells(s: dict[str, Any]) -> list[str]:
    z = s["z"]
    values = [(s["median"], "+.3f"), (s["robust_sigma"], ".3f"), (s["outliers"], ".1%"), (z["median"], "+.2f"),
              (z["robust_sd"], ".2f"), (z["within_1"], ".0%"), (z["within_2"], ".0%")]  # fmt: skip
    return [str(s["n"]), *("-" if v is None else format(v, form) for v, form in values)]
