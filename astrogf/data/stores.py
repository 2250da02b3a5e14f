"""`astrogf ingest` and `astrogf store`: survey files into a store of spectra, and what a store holds."""

from pathlib import Path
from typing import Any

from rich.console import Console

from astrogf.base.errors import AstrogfError, printable
from astrogf.console import Bars
from astrogf.data.screen import show_pairs
from astrogf.runs.folder import as_json
from astrogf.runs.outputs import check_output, write_text

MOST_DAMAGES = 20


def ingest(
    spectra: Path, store: Path, kind: str, *, json_out: Path | None = None, console: Console | None = None
) -> dict[str, Any]:
    """Put every spectrum of one kind below `spectra` into `store`, going on where an earlier run stopped.

    Returns surveys.store.store.summary, which also goes into `json_out`. Raises AstrogfError.
    """
    from astrogf.surveys.store.fill import ingest as take

    check_output(store, "store")
    check_output(json_out, "json")
    console = console or Console()
    bars = Bars(console)
    with bars:
        take(spectra, store, kind, progress=lambda done, total: bars("reading spectra", done, total))
    return show(store, json_out=json_out, console=console)


def show(
    store: Path, *, verify: bool = False, json_out: Path | None = None, console: Console | None = None
) -> dict[str, Any]:
    """Say what a store holds; with `verify`, compare every chunk with its checksum. Raises AstrogfError."""
    from astrogf.surveys.spectrum import REASONS
    from astrogf.surveys.store.store import Store, summary

    check_output(json_out, "json")
    console = console or Console()
    told = summary(store)
    show_pairs(console, [(name, printable(text, "")) for name, text in _lines(told)])
    if told["set_aside"]:
        console.print("\nset aside, by reason:")
        counts = told["set_aside_by_reason"].items()
        show_pairs(console, [(str(count), REASONS.get(reason, reason)) for reason, count in counts])
    if verify:
        told["damaged"] = Store(store).verify()
    if json_out is not None:
        write_text(json_out, as_json(told))
    if verify and told["damaged"]:
        damaged = told["damaged"]
        more = f" And {len(damaged) - MOST_DAMAGES} more." if len(damaged) > MOST_DAMAGES else ""
        raise AstrogfError("\n".join(damaged[:MOST_DAMAGES]) + more)
    if verify:
        console.print(f"\nall {told['chunks']} chunks are as they were written")
    return told


def _lines(told: dict[str, Any]) -> list[tuple[str, str]]:
    grid = told["grid"]
    lines = [
        ("spectra", f"{told['spectra']} of {told['stars']} stars"),
        ("kind", told["kind"] or "any"),
        ("grid", f"{grid['low']:.1f}–{grid['high']:.1f} Å, {grid['n_pixel']} pixels of {grid['log_step']:g} dex"),
        ("size", f"{told['bytes'] / 1e6:.1f} MB in {told['chunks']} chunks of {told['chunk_spectra']} spectra"),
        ("finished", "yes" if told["complete"] else "no: run `astrogf ingest` again to go on"),
    ]
    for name in ("survey", "release", "class"):
        counts = ", ".join(f"{key or '—'} {count}" for key, count in told[f"by_{name}"].items())
        lines.append((name, counts or "—"))
    if told["snr_median"] is not None:
        bins = ", ".join(
            f"{b['from']}–{b['to']}: {b['spectra']}" if b["to"] else f"above {b['from']}: {b['spectra']}"
            for b in told["snr_histogram"]
            if b["spectra"]
        )
        lines.append(("S/N", f"median {told['snr_median']:.1f} ({bins})"))
    return lines
