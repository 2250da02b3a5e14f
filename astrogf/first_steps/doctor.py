"""`astrogf doctor`: whether this installation works."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from astrogf.first_steps import checks
from astrogf.runs.folder import as_json
from astrogf.runs.outputs import check_output, write_text
from astrogf.runtime import git_commit, machine, ready_to_compute, versions

STYLES = {"ok": "green", "note": "yellow", "broken": "red"}


def doctor(*, json_out: Path | None = None, console: Console | None = None) -> dict[str, Any]:
    """Look at everything and say it. Returns what is told: `broken` counts what does not work, `checks` has all."""
    console = console or Console()
    check_output(json_out, "json")
    ready_to_compute()
    found = [
        checks.python(),
        checks.packages(),
        *checks.devices(),
        checks.cache(),
        checks.memory(),
        checks.disk(),
        *checks.data(),
    ]
    told = {
        "broken": sum(c.state == "broken" for c in found),
        "notes": sum(c.state == "note" for c in found),
        "checks": [c._asdict() for c in found],
        "versions": versions(),
        "machine": machine(),
        "git_commit": git_commit(),
    }
    if json_out is not None:
        write_text(json_out, as_json(told))
    _say(found, told, console)
    return told


def _say(found: list[checks.Check], told: dict[str, Any], console: Console) -> None:
    width = max(len(c.name) for c in found)
    for c in found:
        line = Text.assemble((f"{c.state:<6}", STYLES[c.state]), f"  {c.name:<{width}}  ", c.said)
        console.print(line, soft_wrap=True, highlight=False)
        if c.advice:
            console.print(Text(f"{'':{width + 10}}{c.advice}"), soft_wrap=True, highlight=False)
    end = f"{told['broken']} broken" if told["broken"] else "nothing is broken"
    console.print(Text(f"\n{end}, {told['notes']} to note" if told["notes"] else f"\n{end}"), highlight=False)
