"""`astrogf fetch`: public files of SDSS, APOGEE and LAMOST from identifiers."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from astrogf.base.errors import AstrogfError, printable
from astrogf.console import Bars
from astrogf.data.screen import Column, show_table
from astrogf.runs.outputs import check_output

MOST_ROWS = 20


def fetch(
    kind: str,
    identifiers: list[str],
    out: Path,
    *,
    table: Path | None = None,
    release: str = "",
    version: str = "",
    base: str = "",
    checksums: Path | None = None,
    token: str = "",
    workers: int = 4,
    tries: int = 4,
    only_list: bool = False,
    console: Console | None = None,
) -> dict[str, Any]:
    """Download the files, or with `only_list` print their addresses; what is told: how many of them are there.

    Keys: `wanted`, `there`, `new`, `failed` (identifier, reason, detail of each); of a list, `wanted` and `addresses`.
    Raises AstrogfError for identifiers, releases, tables or folders that cannot be used.
    """
    console = console or Console()
    from astrogf.surveys.catalogues.catalogue import read_table
    from astrogf.surveys.download.addresses import identifiers_of, targets
    from astrogf.surveys.download.fetch import fetch as get
    from astrogf.surveys.download.fetch import read_checksums

    listed = identifiers_of(kind, read_table(table)) if table is not None else []
    wanted = targets(kind, [*identifiers, *listed], release=release, version=version, base=base)
    if not wanted:
        raise AstrogfError("No identifier was given: name some, or a table of them with --table.")
    if only_list:
        for target in wanted:
            console.print(target.urls[0], soft_wrap=True, highlight=False, markup=False)
        return {"wanted": len(wanted), "addresses": [target.urls[0] for target in wanted], "failed": []}
    check_output(out, "folder")
    bars = Bars(console)
    with bars:
        got = get(
            wanted,
            out,
            checksums=read_checksums(checksums) if checksums is not None else None,
            token=token,
            workers=workers,
            tries=tries,
            progress=lambda done, total: bars("fetching files", done, total),
        )
    files, failed = got.files, got.failed
    new = int(files["new"].sum()) if len(files) else 0
    console.print(f"{len(files)} of {len(wanted)} files are in {out}, {new} of them new", soft_wrap=True, markup=False)
    if len(failed):
        columns = (Column("identifier", 0), Column("reason", 1))
        show_table(console, columns, [[printable(row[c.name], "") for c in columns] for row in failed[:MOST_ROWS]])
        for row in failed[:MOST_ROWS]:
            console.print(Text(printable(row["detail"])), soft_wrap=True, highlight=False)
        console.print(f"{len(failed)} failed; all of them are in {out / 'failed.ecsv'}", soft_wrap=True, markup=False)
    columns_of_failed = ("identifier", "reason", "detail")
    refused = [{name: printable(row[name]) for name in columns_of_failed} for row in failed]
    return {"wanted": len(wanted), "there": len(files), "new": new, "failed": refused}
