"""What a run says in the terminal: progress while it works, its figures when it is done."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from astrogf.base.errors import printable
from astrogf.runs.folder import Run
from astrogf.runs.tables import reasons
from astrogf.runtime import Stopwatch, raise_if_stopped

LABELS = {"teff": ("Teff", "K", 0), "logg": ("log g", "dex", 3), "feh": ("[Fe/H]", "dex", 3)}


class Bars:
    """One progress bar a stage, or in a log file one line when it is done.

    Use as a context; call as a progress function.
    """

    def __init__(self, console: Console) -> None:
        self._console, self._clock = console, Stopwatch()
        self._live = console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description:<32}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not self._live,
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> "Bars":
        self._progress.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._progress.__exit__(*error)

    def __call__(self, stage: str, done: int, total: int) -> None:
        raise_if_stopped()
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(self._tasks[stage], completed=done, total=total)
        if not self._live and done == total:
            self._console.print(
                f"{self._clock.seconds:7.0f} s  {stage} ({total})", highlight=False, soft_wrap=True, markup=False
            )


def headline(summary: dict[str, Any], reference: str | None) -> list[tuple[str, str]]:
    """The figures of summary.json in words, those that apply."""
    s = summary
    rows = [
        ("stars used", f"{s['stars_used']}"),
        ("files set aside", f"{s['stars_set_aside']}"),
        ("lines with a free log gf", f"{s['lines_free']}"),
        ("of these informed (posterior/prior sd below 0.5)", f"{s['informed_lines']}"),
        ("χ² per pixel, original list", _number(s["chi2_per_pixel_original"], ".4f")),
        ("χ² per pixel, corrected list", _number(s["chi2_per_pixel_corrected"], ".4f")),
    ]
    if s["coverage_68"] is not None:
        rows += [
            ("injected errors within their 68% intervals", f"{100 * s['coverage_68']:.1f}%"),
            ("injected errors within their 95% intervals", f"{100 * s['coverage_95']:.1f}%"),
            ("the same of informed lines", ", ".join(_percent(s[f"coverage_{k}_informed"]) for k in (68, 95))),
            ("rms of recovered − injected, informed lines", _number(s["rms_informed_dex"], ".3f") + " dex"),
        ]
    for name, value in (s["label_scatter"] or {}).items():
        text, unit, digits = LABELS[name]
        if value["n"]:
            spread = _number(value["robust_sigma"], f".{digits}f")
            shown = f"median {value['median']:+.{digits}f}, robust σ {spread} {unit} (n = {value['n']})"
            rows.append((f"{text} − {reference}", shown.replace("-", "−")))
            if reference == "truth":
                within = f"{100 * value['within_1sd']:.1f}%, {100 * value['within_2sd']:.1f}%"
                rows.append((f"{text}: within 1, 2 posterior sd", within))
    if s["jacobian_cost_ratio"] is not None:
        rows.append(("all-lines Jacobian / one synthesis (time)", f"{s['jacobian_cost_ratio']:.2f}"))
    rows.append(("wall-clock", f"{_number(s['seconds'], '.0f')} s"))
    rows.append(("peak memory", f"{_number(s['peak_memory_gb'], '.2f')} GB"))
    return rows


def _percent(value: float | None) -> str:
    return "—" if value is None else f"{100 * value:.1f}%"


def _number(value: float | None, form: str) -> str:
    return "—" if value is None else format(value, form)


def show(console: Console, run: Run, report: Path | None) -> None:
    """Print the headline figures, what was set aside and why, and where the report is (None: there is none)."""
    console.print()
    for line in in_columns(headline(run.summary, run.reference), console.width):
        console.print(line, no_wrap=True, crop=False, overflow="ignore", highlight=False)
    if len(run.set_aside):
        console.print("\nset aside, by reason:")
        counts = reasons(run.set_aside)
        digits = max(len(str(count)) for _, count in counts)
        for reason, count in counts:
            console.print(Text(f"{count:{digits}d}  {printable(reason)}"), soft_wrap=True)
    if report is not None:
        console.print(Text(f"\nreport: {printable(str(report))}"), soft_wrap=True)


def in_columns(rows: list[tuple[str, str]], width: int) -> list[Text]:
    """Names and figures, the figures in bold and below each other; one too long for that ends at the edge of the
    screen, or stands on a line of its own."""
    shown = [(printable(name), printable(value)) for name, value in rows]
    longest = max((len(value) for _, value in shown), default=0)
    column = max((len(name) for name, value in shown if len(name) + 2 + len(value) <= width), default=0)
    column = min(column, max((len(name) for name, _ in shown), default=0)) + 2
    lines = []
    for name, value in shown:
        figure = Text(value, style="bold")
        if column + longest <= width or (column + len(value) <= width and len(name) < column):
            lines.append(Text(name.ljust(column)) + figure)
        elif len(name) + 2 + len(value) <= width:
            lines.append(Text(name.ljust(width - len(value))) + figure)
        else:
            lines += [Text(name), Text("    ") + figure]
    return lines
