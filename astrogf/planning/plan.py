"""`astrogf plan`: what a run will need, on the screen and as JSON; the same lines head every run."""

from pathlib import Path
from tempfile import gettempdir
from typing import Any, NamedTuple

from rich.console import Console

from astrogf.base.errors import AstrogfError
from astrogf.config import Config
from astrogf.console import Bars, in_columns
from astrogf.fitting import engine, prior_run
from astrogf.inference.problem.counts import Counts
from astrogf.inference.problem.devices import accelerators
from astrogf.planning.costs import REFERENCE, Budget, Costs, cores, estimate, free_memory, kernel_seconds
from astrogf.runs.folder import as_json
from astrogf.runs.outputs import FULL, check_output, why, write_text


class Plan(NamedTuple):
    """What a run is made of and what it costs here. `wanted` is the chunk of the configuration."""

    counts: Counts
    costs: Costs
    budget: Budget
    wanted: int
    method: str

    def as_json(self) -> dict[str, Any]:
        """Seconds, bytes, numbers: what record.json and --json hold."""
        c, k = self.counts, self.costs
        return {
            "stars": c.stars,
            "spectra": c.spectra,
            "windows": [w._asdict() for w in c.windows],
            "lines": c.lines,
            "candidates": c.candidates,
            "free_lines": c.free,
            "compile_seconds": k.compile,
            "stage_seconds": k.seconds,
            "seconds": k.total,
            "memory_bytes": k.memory,
            "least_memory_bytes": k.least_memory,
            "memory_budget_bytes": self.budget.memory,
            "disk_bytes": k.disk,
            "most_disk_bytes": k.most_disk,
            "chunk": k.chunk,
            "cores": self.budget.cores,
            "speed": self.budget.speed,
            "accelerators": self.budget.accelerators,
        }

    def rows(self) -> list[tuple[str, str]]:
        """The same in words."""
        c, k = self.counts, self.costs
        ends = ", ".join(f"{w.first:.0f}–{w.last:.0f} Å" for w in c.windows)
        more = "" if self.method in ("gauss-newton", "svi") else f", and what {self.method} takes"
        return [
            ("stars", f"{c.stars:,}"),
            ("spectra", f"{c.spectra:,}"),
            ("windows", ends),
            ("pixels in them", " + ".join(f"{w.pixels:,}" for w in c.windows)),
            ("lines in and beside them", f"{c.lines:,}"),
            ("lines with a free log gf", f"about {c.free:,} of {c.candidates:,}"),
            ("memory of the process", f"{k.memory / 1e9:.1f} GB of {self.budget.memory / 1e9:.1f} GB"),
            ("disk, at the end and while it runs", f"{_bytes(k.disk)}, {_bytes(k.most_disk)}"),
            (f"time on {self._where()} like these, at most", _time(k.total) + more),
            ("of it compiling, the first time", _time(k.compile)),
            ("[solver] chunk", self._chunk()),
        ]

    def _where(self) -> str:
        b = self.budget
        devices = f", {b.accelerators} accelerator{'s' * (b.accelerators > 1)}" if b.accelerators else ""
        return f"{b.cores} idle cores{devices}"

    def _chunk(self) -> str:
        k = self.costs
        if k.memory > self.budget.memory:
            return f"{k.chunk}; even so {k.least_memory / 1e9:.1f} GB are needed: lower max_lines or take more memory"
        return str(k.chunk) if k.chunk == self.wanted else f"{k.chunk} instead of {self.wanted}, to keep within it"


def make(counts: Counts, config: Config, memory: float | None = None) -> Plan:
    """For these counts, on this machine; `memory`: bytes that the process may take, what is free now if not given."""
    budget = Budget(cores(), memory or free_memory(), REFERENCE / kernel_seconds(), accelerators())
    return Plan(counts, estimate(counts, config, budget), budget, config.solver.chunk, config.solver.method)


UNCERTAIN = 1.25
"""How far what is planned may be off: a run is refused only where it would not fit even so."""


def check_fits(plan: Plan, config: Config) -> None:
    """Raises AstrogfError, before anything is computed, where the fit cannot have the memory that it needs, with how
    many free lines there is room for."""
    room, need = plan.budget.memory, plan.costs.least_memory
    if need <= UNCERTAIN * room:
        return

    def too_many(lines: int) -> bool:
        return estimate(plan.counts._replace(free=lines), config, plan.budget).least_memory > room

    low, high = 0, plan.counts.free
    while high - low > max(high // 50, 1):
        middle = (low + high) // 2
        low, high = (low, middle) if too_many(middle) else (middle, high)
    cure = f"[lines] max_lines = {low} would" if low > 0 else "no number of free lines will"
    scatter = ", and more with [noise] line_scatter = 0" if config.noise.line_scatter > 0 else ""
    raise AstrogfError(
        f"The fit of about {plan.counts.free:,} free lines needs {need / 1e9:.1f} GB of memory, of which "
        f"{room / 1e9:.1f} GB are free: {cure} fit{scatter}; or run it where there is more, or with fewer other "
        "processes. Nothing has been computed."
    )


def show(console: Console, plan: Plan) -> None:
    """Print the lines."""
    for line in in_columns(plan.rows(), console.width):
        console.print(line, no_wrap=True, crop=False, overflow="ignore", highlight=False)


def plan_run(
    config: Config,
    spectra: Path,
    *,
    memory: float | None = None,
    json: Path | None = None,
    console: Console | None = None,
) -> Plan:
    """Read the spectra and say what their fit will need. Raises AstrogfError."""
    from astrogf.surveys.load import without_held_out

    check_output(json, "json")
    console = console or Console()
    lines = engine.lines_of(config)
    prior = prior_run.read(config, lines)
    with Bars(console) as bars:
        try:
            loaded = engine.load(config, spectra, bars, Path(gettempdir()))
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise AstrogfError(
                f"The folder {gettempdir()} has no room for the spectra in the windows, which lie there for the while: "
                f"{why(error)}; TMPDIR in the environment names another folder."
            ) from error
        loaded, _ = without_held_out(loaded, config.survey, config.spectra)
    if not loaded.inputs:
        raise AstrogfError(
            f"None of the {len(loaded.set_aside)} files in {spectra} can be used: `astrogf inspect {spectra}` says why."
        )
    told = None if prior is None else prior.known
    plan = make(engine.count(loaded.batches, config, lines=lines, prior=told), config, memory)
    show(console, plan)
    if json is not None:
        write_text(json, as_json(plan.as_json()))
    return plan


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 200_000 else f"{seconds / 86400:.1f} days"


def _bytes(number: float) -> str:
    return f"{number / 1e6:.0f} MB" if number < 1e9 else f"{number / 1e9:.1f} GB"
