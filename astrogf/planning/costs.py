"""Time, memory and disk of a fit from what it is made of: formulas with constants that were measured.

The reference machine has two cores (x86-64 with AVX-512, 2026), and `REFERENCE` is what `kernel_seconds` gave there.
Measured in November 2026: a pass, compiling and the sampler of 6 stars with 589 free lines (LAMOST window 4900-5400 A,
oversampling 48, empty caches: 174 s of processor time, 1.59 GB) and of 64 stars with 1,200 (docs/results.md: 302 s of
fitting on idle cores, 2.25 GB in the process that had also simulated them); matrices per pixel from four stars at
R = 60,000 with 2,400 free lines in two windows (56 s an iteration, 5.2-5.6 GB). What products of matrices, sweeps of
the sampler and a pass cost was measured again in fits of that month's end (docs/scaling.md). What a spectrum costs
whatever its lines are, and a star in memory, is from fits of 500 and 2,000 stars in a narrow window (docs/results.md).
"""

import time
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from astrogf.base.constants import C_KMS
from astrogf.inference.prior.lapack import SMALL
from astrogf.inference.prior.scatters import BURN, FEWEST, MOST, SWEEP_LINES
from astrogf.inference.problem.counts import Counts, WindowCounts
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.tiles import LEAST, PASSED_OVER
from astrogf.runtime import own_cores

REFERENCE = 0.0216
"""Seconds of `kernel_seconds` on the reference machine."""
RESPONSE = 1.7e-8
"""Core-seconds of a spectrum with all derivatives by its star's parameters, a point of a line's core and layer."""
LAYER = 7e-4
"""Core-seconds of the same, a layer, whatever the lines: the gas, the continuum, and what is done with the spectrum."""
SYNTHESIS = 0.44
"""Part of it that a spectrum alone costs."""
LINES, KNOWLEDGE = 1.2, 1.3
"""A pass with derivatives by free lines, and one over all lines that may be freed, in passes without."""
ACCELERATOR = 120.0
"""Cores of the reference machine that do a pass as fast as an accelerator: an H100 (docs/scaling.md)."""
FLOPS = 38e9
"""Of products and factors of matrices, a core and second."""
SOLVES, FOLDS = 16, 6
"""L^3 flops of an iteration that learns the widths, and of one that marginalises slopes with temperature."""
SUMMED = 40e-9
"""Core-seconds of a pass a squared number of lines, whatever the stars: sums begun, mirrored and passed on."""
SWEEP, SWEEP_SQUARE, SWEEP_CUBE = 0.02, 1.5e-8, 0.45
"""Seconds of a sweep of the sampler: alone, and a squared number of lines; and L^3 flops, with every sixth sweep's
inverse."""
SWEEPS = 0.25
"""Sweeps, as a part of most: it ends when the slowest width has been gone through often enough."""
NODES = 200
"""Spectra of the coarse search."""
COMPILE = 50.0
"""Seconds a window, where nothing is compiled yet; kept in the cache."""
FIXED = 25.0
"""Seconds of imports, lines, pictures and report."""
BASE, WINDOW = 1.55e9, 0.25e9
"""Bytes of a process with one window's programs, and of another window's."""
STACKED, COLUMNS, BLOCKS, THIN, MATRICES, WHOLE = 4, 5.3, 3, 3, 10, 6
"""Copies of: the responses of a chunk; a spectrum's derivatives by free lines, on each core; their products; what
couples its continuum and its star to them; shared matrices; those of them that have the lines' slopes with temperature
too, where there are some."""
FULLER = 2.0
"""Free lines of the fullest tile of pixels, over those that stand in its reach on average: strong ones reach farther,
and lines are not spread evenly."""
STAR_COPIES, PIXEL_ARRAYS = 3, 14
"""Copies of what couples a star to the lines, and arrays of its pixels' size."""
STAR_MEMORY = 10e3
"""Bytes of a star that stay in memory: its rows of the tables, when they are read most of all."""
SHARED, SLOPES = 16.0, 15.5
"""Bytes of the finished folder a squared number of free lines: covariance and statistics; and what the lines' slopes
with temperature add to the statistics, where there are some."""
REPORT, STAR_ROW, LINE_ROW, CANDIDATE_ROW = 8e6, 700, 400, 140
"""Bytes of the report and its pictures, and of rows of the tables."""


class Budget(NamedTuple):
    """What there is: cores, bytes of memory for the process, speed of a core in units of the reference machine's, and
    accelerators, which then do the passes."""

    cores: int
    memory: float
    speed: float
    accelerators: int = 0

    @property
    def width(self) -> float:
        """Cores of the reference machine that do a pass as fast."""
        return self.accelerators * ACCELERATOR or self.cores * self.speed


class Costs(NamedTuple):
    """Seconds by stage (of compiling apart), bytes of memory at `chunk`, the least that any chunk needs, bytes of the
    run folder at the end and at most, and the chunk to be set."""

    seconds: dict[str, float]
    compile: float
    memory: float
    least_memory: float
    disk: float
    most_disk: float
    chunk: int

    @property
    def total(self) -> float:
        """Seconds, compiling included."""
        return self.compile + sum(self.seconds.values())


def kernel_seconds() -> float:
    """Seconds of a core for a fixed piece of work as a pass does it, exponentials and products: the best of ten.

    Of the core, not of the clock, so that waiting does not enter; what shares the core's units with it does.
    """
    x = np.linspace(-1.0, 0.0, 400_000)
    a = x[:250_000].reshape(500, 500)
    best = np.inf
    with threadpool_limits(1):
        for _ in range(10):
            began = time.thread_time()
            for _ in range(5):
                np.exp(x).sum()
                (a @ a).sum()
            best = min(best, time.thread_time() - began)
    return best


def cores() -> int:
    """CPU cores that this process may use."""
    return len(own_cores())


def free_memory() -> float:
    """Bytes of memory that are available now; where the system does not say, 8 GB."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            said = dict(line.split(":", 1) for line in file)
        return 1024.0 * float(said["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return 8e9


def estimate(counts: Counts, options: FitOptions, budget: Budget) -> Costs:
    """What a fit of these counts costs; iterations are taken to be as many as the options allow."""
    least, rest = _memory(counts, options, budget.cores)
    chunk, most = options.solver.chunk, max(int((budget.memory - rest) // least), 0)
    size = max(budget.cores, min(chunk, -(-counts.spectra // budget.cores) * budget.cores))
    if rest + least * size > budget.memory:
        chunk = max(most // budget.cores, 1) * budget.cores
        size = chunk
    disk, checkpoint = _disk(counts, options)
    return Costs(
        _seconds(counts, options, budget),
        COMPILE * len(counts.windows) / budget.speed,
        rest + least * size,
        rest + least * budget.cores,
        disk,
        disk + checkpoint,
        chunk,
    )


def _memory(counts: Counts, options: FitOptions, cores: int) -> tuple[float, float]:
    """Bytes a row of a chunk, and of all else."""
    n = counts.free
    row = STACKED * 8.0 * options.model.depths * max(w.grid for w in counts.windows)
    row += THIN * 8.0 * n * _wide(options) * (counts.basis + counts.own)
    tiled = [_in_tiles(w, n, options) for w in counts.windows]
    columns = cores * 8.0 * max(COLUMNS * t.columns + BLOCKS * t.blocks for t in tiled)
    star = STAR_COPIES * 8.0 * n * _wide(options) * counts.own + PIXEL_ARRAYS * 8.0 * counts.pixels
    stars = min(counts.stars, options.solver.block) * star + counts.stars * STAR_MEMORY
    return row, BASE + WINDOW * (len(counts.windows) - 1) + columns + stars + _matrices(options) * 8.0 * n**2


class _InTiles(NamedTuple):
    """A spectrum's derivatives by free lines (`problem.tiles`): numbers of them, numbers of their products, and how
    many products of two numbers these are."""

    columns: float
    blocks: float
    products: float


def _in_tiles(window: WindowCounts, n: int, options: FitOptions) -> _InTiles:
    """As `Tiles.of` chooses them, for lines that are spread evenly but for FULLER."""
    pixel = C_KMS * np.log(window.last / window.first) / max(window.pixels - 1, 1)
    model, pixels = options.model, window.pixels
    reach = 2.0 * (np.ceil(5.0 * model.widest_sigma / pixel) + np.ceil(model.rv_reach / pixel)) + 2.0
    whole = _InTiles(float(n * pixels), float(n**2), float(n**2 * pixels))
    if options.noise.line_scatter > 0:
        return whole
    best, least = whole, n**2 * (pixels + PASSED_OVER)
    for size in LEAST * 2 ** np.arange(int(np.log2(max(pixels / LEAST, 1.0))) + 1):
        member, tiles = min(FULLER * n / pixels * (size + reach), n), np.ceil(pixels / size)
        if tiles * member**2 * (size + PASSED_OVER) < least:
            least = tiles * member**2 * (size + PASSED_OVER)
            columns, blocks = float(tiles * member * size), float(tiles * member**2)
            best = _InTiles(columns, blocks, blocks * size)
    return best


def _wide(options: FitOptions) -> int:
    """Shared parameters a line."""
    return 2 if options.noise.line_drift > 0 else 1


def _matrices(options: FitOptions) -> int:
    """Of n x n numbers; a pass has some of all shared parameters."""
    return MATRICES + WHOLE * (_wide(options) ** 2 - 1)


def _disk(counts: Counts, options: FitOptions) -> tuple[float, float]:
    """Bytes of the finished folder, and of the checkpoint beside it until then."""
    n, pixels = float(counts.free), float(counts.stars * counts.pixels)
    tables = counts.stars * STAR_ROW + n * LINE_ROW + counts.candidates * CANDIDATE_ROW
    run = REPORT + tables + 5 * 4.0 * pixels + (SHARED + SLOPES * (_wide(options) - 1)) * n**2
    star = counts.stars * 4.0 * n * counts.own
    # the spectra, as read and in blocks; joint maximum and the pass after it, widths, stars before and after
    joint = star + 2 * 8.0 * pixels + 2 * 8.0 * n**2
    # what every batch said, before and after
    said = 2 * 8.0 * (_wide(options) * n) ** 2 * _batches(counts, options)
    return run, 2 * 2 * 8.0 * pixels + 2 * joint + 2 * 8.0 * n**2 + 2 * 2 * 8.0 * pixels + said


def _batches(counts: Counts, options: FitOptions) -> float:
    """Steps of an epoch; 0 for a method that has none."""
    if options.solver.method != "svi":
        return 0.0
    return counts.stars / options.solver.stars_a_step(counts.stars)


def _seconds(counts: Counts, options: FitOptions, budget: Budget) -> dict[str, float]:
    """By stage."""
    n, solver, width = float(counts.free), options.solver, budget.width
    each = [(RESPONSE * w.points + LAYER) * options.model.depths for w in counts.windows]
    alone = sum(w.spectra * t for w, t in zip(counts.windows, each, strict=True)) / width
    flops = sum(w.spectra * 2.0 * _in_tiles(w, counts.free, options).products for w in counts.windows)
    flops += (counts.spectra * counts.basis + counts.stars * counts.own) * (n * _wide(options)) ** 2
    if options.noise.line_scatter > 0:
        flops += counts.spectra * 6.0 * n**3
    solves = SOLVES + (FOLDS if options.noise.line_drift > 0 else 0)
    steps = _batches(counts, options)
    joint = (
        LINES * alone + ((flops + max(steps, 1.0) * solves * n**3) / FLOPS + max(steps, 1.0) * SUMMED * n**2) / width
    )
    passes = solver.joint_iterations + (steps > 0.0)
    compared = counts.windows[0]
    velocities = 2.0 * options.model.rv_reach / 20.0
    products = counts.searched * NODES * velocities * compared.pixels * 2.0 * counts.basis * (counts.basis + 1)
    threads = budget.cores if counts.free >= SMALL else 1
    sweeps = float(np.clip(SWEEPS * SWEEP_LINES / (n + 1), FEWEST, MOST)) + BURN
    return {
        "search": (NODES * SYNTHESIS * each[0] + products / FLOPS) / width * (counts.searched > 0),
        "stars": solver.star_iterations * alone,
        "lines": KNOWLEDGE * alone,
        "joint": passes * joint,
        "widths": sweeps * (SWEEP + SWEEP_SQUARE * n**2 + SWEEP_CUBE * n**3 / FLOPS / threads) / budget.speed,
        "original": 2.0 * alone,
        "fixed": FIXED / budget.speed,
    }
