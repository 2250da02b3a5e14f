"""`astrogf inspect`: what files hold and what of it would be used; on screen, as JSON, as a picture."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from rich.console import Console
from rich.text import Text

from astrogf.base.errors import AstrogfError, printable
from astrogf.console import Bars
from astrogf.data.screen import Column, show_left_out, show_table
from astrogf.runs.outputs import PRINTED, check_output, write_text
from astrogf.style import CORRECTED, OBSERVED, ORIGINAL, QUIET, WIDE, finish, paper

MOST_ROWS = 60
"""Files listed one by one on screen; a directory with more is told in sums."""
MOST_PANELS = 9


class Shown(NamedTuple):
    """A spectrum to draw: vacuum Angstrom, flux (NaN where unusable), sigma, and what to write above it."""

    path: str
    kind: str
    title: str
    wavelength: Float[np.ndarray, " pixel"]
    flux: Float[np.ndarray, " pixel"]
    sigma: Float[np.ndarray, " pixel"]


def inspect(
    path: Path,
    *,
    windows: list[tuple[float, float]] | None = None,
    snr_min: float = 20.0,
    snr_band: str = "g",
    spectral_types: str = "FGK",
    json_out: Path | None = None,
    figure_out: Path | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Read everything at `path`, say it on the console, and write JSON and a picture where asked.

    The result (and the JSON file): `path`; `settings`; `summary` with files, readable, used, by_kind, by_reason;
    `files`, entries as surveys.directory.census.census documents them. Raises AstrogfError.
    """
    check_output(json_out, "json")
    check_output(figure_out, "picture")
    console = console or Console()
    settings = {"windows": windows or [], "snr_min": snr_min, "snr_band": snr_band, "spectral_types": spectral_types}
    shown: dict[str, list[Shown]] = {}
    # a bar of a moment is noise where nobody watches
    bars = Bars(console) if console.is_terminal else None

    def progress(done: int, total: int) -> None:
        if bars is not None:
            bars("reading spectra", done, total)

    keep = (lambda name, pieces: _keep(shown, name, pieces)) if figure_out is not None else None
    if bars is None:
        files = _census(path, settings, progress, keep)
    else:
        with bars:
            files = _census(path, settings, progress, keep)
    record = {"path": printable(path), "settings": settings, "summary": summary(files), "files": files}
    if json_out is not None:
        write_text(json_out, json.dumps(record, indent=1, allow_nan=False) + "\n")
    show(console, record)
    if figure_out is not None:
        chosen = choose(shown)
        if chosen:
            figure_out.parent.mkdir(parents=True, exist_ok=True)
            spectra(chosen).savefig(figure_out)
            console.print(f"picture: {printable(figure_out)}", soft_wrap=True, highlight=False, markup=False)
        else:
            console.print("no picture: no file could be read", highlight=False)
    if json_out is not None and json_out != PRINTED:
        said = f"everything as JSON: {printable(json_out)}"
        console.print(said, soft_wrap=True, highlight=False, markup=False)
    return record


def _census(
    path: Path,
    settings: dict[str, Any],
    progress: Callable[[int, int], None],
    each: Callable[[str, list[Any]], None] | None,
) -> list[dict[str, Any]]:
    from astrogf.surveys.directory.census import census
    from astrogf.surveys.directory.selection import Selection
    from astrogf.surveys.spectrum import window_pixels

    selection = Selection(settings["snr_min"], settings["snr_band"], settings["spectral_types"], 0.9, 30.0)
    for window in settings["windows"]:
        window_pixels(window)
    return census(path, selection, settings["windows"], progress=progress, each=each)


def read_windows(texts: list[str]) -> list[tuple[float, float]]:
    """Windows from the command line: "4900-5400". Raises AstrogfError."""
    windows = []
    for text in texts:
        try:
            low, high = (float(part) for part in text.split("-"))
        except ValueError as error:
            raise AstrogfError(f"The window {text!r} is not two wavelengths in Angstrom such as 4900-5400.") from error
        windows.append((low, high))
    return windows


def summary(files: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts of files, of pieces by kind, and of what stands in the way by reason."""
    return {
        "files": len(files),
        "readable": sum(f["readable"] for f in files),
        "used": sum(f["used"] for f in files),
        "by_kind": dict(Counter(p["kind"] for f in files for p in f["pieces"])),
        "by_reason": dict(Counter(f["reason"] for f in files if f["reason"]).most_common()),
    }


def show(console: Console, record: dict[str, Any]) -> None:
    """The table of files (or of kinds, where they are many) and the sums."""
    files, sums = record["files"], record["summary"]
    one_by_one = len(files) <= MOST_ROWS
    rows = _file_rows(files) if one_by_one else _kind_rows(files)
    left_out = show_table(console, FILE_COLUMNS if one_by_one else KIND_COLUMNS, rows)
    show_left_out(console, left_out, "a wider terminal shows more; --json has all")
    for f in files if one_by_one else []:
        if f["why"]:
            console.print(Text.assemble((f["reason"], "red"), f"  {f['why']}"), soft_wrap=True, highlight=False)
    noun = "file" if sums["files"] == 1 else "files"
    console.print(
        f"{sums['files']} {noun}, {sums['readable']} readable, {sums['used']} would be used "
        f"({_settings(record['settings'])})",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
    for reason, count in sums["by_reason"].items():
        console.print(f"{count:6d}  {reason}", highlight=False, markup=False)


def _settings(s: dict[str, Any]) -> str:
    windows = ", ".join(f"{a:g}-{b:g} Å" for a, b in s["windows"]) or "any wavelength"
    types = s["spectral_types"] or "all"
    return f"{windows}; S/N from {s['snr_min']:g}; spectral types {types}"


FILE_COLUMNS = (
    *(Column("file", 0), Column("kind", 2), Column("release", 9), Column("object", 8), Column("type", 6)),
    *(Column("ra", 11, True), Column("dec", 12, True), Column("pixels", 7, True), Column("good", 5, True)),
    *(Column("wavelength (Å)", 4, True), Column("S/N", 3, True), Column("R", 13, True)),
    *(Column("rv (km/s)", 10, True), Column("used", 1)),
)
"""One row a piece. By importance: file, used, kind, S/N, wavelength, good, type, pixels, object, release, rv, ra ..."""
KIND_COLUMNS = (
    *(Column("kind", 0), Column("release", 1), Column("spectra", 2, True), Column("used", 3, True)),
    *(Column("pixels", 9, True), Column("good", 6, True), Column("wavelength (Å)", 4, True)),
    *(Column("S/N: least", 7, True), Column("median", 5, True), Column("most", 8, True)),
)
"""One row a kind and release. By importance: kind, release, spectra, used, wavelength, median S/N, good ..."""


def _file_rows(files: list[dict[str, Any]]) -> list[list[str]]:
    rows = []
    for f in files:
        for i, p in enumerate(f["pieces"]):
            low, high = p["wavelength"]
            whole = (
                *(f[key] for key in ("release", "object", "subclass")),
                *(_text(f["ra"], ".4f"), _text(f["dec"], "+.4f"), _text(f["rv_header"], "+.1f")),
            )
            release, what, subclass, ra, dec, rv = (printable(v, "") if i == 0 else "" for v in whole)
            rows.append(
                [
                    *(f["path"] if i == 0 else "", p["kind"], release, what, subclass, ra, dec),
                    *(str(p["file_pixels"]), str(p["good_pixels"]), f"{low:.0f}–{high:.0f}", _text(p["snr"], ".1f")),
                    *(_text(p["resolution"], ".0f"), rv, "yes" if p["used"] else "no"),
                ]
            )
        if not f["pieces"]:
            rows.append([f["path"], "—", *[""] * (len(FILE_COLUMNS) - 3), "no"])
    return rows


def _kind_rows(files: list[dict[str, Any]]) -> list[list[str]]:
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for f in files:
        for p in f["pieces"]:
            groups.setdefault((p["kind"], f["release"]), []).append(p)
    rows = []
    for (kind, release), pieces in sorted(groups.items()):
        signal = [p["snr"] for p in pieces if p["snr"] is not None] or [np.nan]
        low, high = min(p["wavelength"][0] for p in pieces), max(p["wavelength"][1] for p in pieces)
        pixels, good = (f"{np.median([p[key] for p in pieces]):.0f}" for key in ("file_pixels", "good_pixels"))
        rows.append(
            [
                *(kind, printable(release, ""), str(len(pieces)), str(sum(p["used"] for p in pieces)), pixels, good),
                f"{low:.0f}–{high:.0f}",
                *(f"{value:.1f}" for value in (min(signal), np.median(signal), max(signal))),
            ]
        )
    return rows


def _text(value: float | None, form: str) -> str:
    return "—" if value is None else format(value, form)


def _keep(shown: dict[str, list[Shown]], name: str, pieces: list[Any]) -> None:
    """Remember up to three spectra of each kind, the files of best S/N first, so that a directory fits in memory."""
    for p in pieces:
        good = p.ivar > 0
        if good.sum() < 10:
            continue
        sigma = np.where(good, 1.0 / np.sqrt(np.where(good, p.ivar, 1.0)), np.nan)
        meta = p.meta
        signal = float(np.median((p.flux / sigma)[good]))
        title = f"{name}   {p.kind}   S/N {signal:.0f}" + (f"   {meta['subclass']}" if meta.get("subclass") else "")
        row = Shown(name, p.kind, title, p.wavelength, np.where(good, p.flux, np.nan), sigma)
        held = shown.setdefault(p.kind, [])
        held.append(row)
        held.sort(key=lambda s: -float(np.nanmedian(s.flux / s.sigma)))
        del held[3:]


def choose(shown: dict[str, list[Shown]]) -> list[Shown]:
    """At most MOST_PANELS: the best of every kind first, then the next ones."""
    ranks = max((len(held) for held in shown.values()), default=0)
    order = [held[rank] for rank in range(ranks) for held in shown.values() if rank < len(held)]
    return sorted(order[:MOST_PANELS], key=lambda s: (s.wavelength[0], s.kind))


def spectra(chosen: list[Shown]) -> Figure:
    """One panel a spectrum: flux over its median, its sigma, and what is unusable as bars below."""
    with paper():
        figure, axes = plt.subplots(len(chosen), 1, figsize=(WIDE, 1.45 * len(chosen) + 0.5), squeeze=False)
        for ax, s in zip(axes[:, 0], chosen, strict=True):
            level = np.nanmedian(np.abs(s.flux)) or 1.0
            flux, sigma = s.flux / level, s.sigma / level
            low, high = np.nanpercentile(flux, [0.3, 99.7])
            reach = 0.12 * (high - low) if high > low else 1.0
            ax.plot(s.wavelength, np.where(sigma < 0.5, sigma, np.nan), color=QUIET, lw=0.6)
            ax.plot(s.wavelength, flux, color=OBSERVED, lw=0.5)
            bad = ~np.isfinite(s.flux)
            bottom = min(low, 0.0) - reach
            ax.fill_between(s.wavelength, bottom, bottom + 0.6 * reach, where=bad, color=ORIGINAL, lw=0, step="mid")
            ax.set_ylim(bottom, high + reach)
            ax.set_xlim(s.wavelength[0], s.wavelength[-1])
            ax.set_title(s.title, fontsize=7.5, color=CORRECTED, parse_math=False)
            ax.set_ylabel("flux / median")
        axes[-1, 0].set_xlabel("vacuum wavelength (Å); grey: σ of a pixel (below 0.5); orange: unusable pixels")
        return finish(figure)
