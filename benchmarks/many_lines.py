"""Ever more free lines in one wide window: time and memory of a pass, of the joint solve, of the sampler of widths.

The strongest lines of atoms in 4800-6800 A are free; a few stars of different labels are simulated with them, at
R = 1,800 in LAMOST's pixels. Each number of lines is a process of its own. Stages, in order, with the peak of the
process's memory after each: a pass (the second of two, so that nothing is compiled), a round of the prior's widths and
the covariance, every line's partner, sweeps of the sampler, and the statistics file. `fit`, if asked for: a joint fit
of two iterations and a few sweeps, whose peak is that of the shared matrices of a run.

    python benchmarks/many_lines.py --lines 1200 2400 5000 10000 --json many_lines.json
    python benchmarks/many_lines.py --lines 1200 2400 --stages pass --dense
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from astrogf.runtime import peak_memory_gb, ready_to_compute

WINDOW = (4800.0, 6800.0)
STAGES = ("pass", "solve", "sampler", "files", "fit")
ROUNDS = 2
"""Of the widths, the second of which makes the covariance; a fit has at most 12 an iteration."""
SWEEPS = 7
"""Of the sampler, two of which carry the posterior; `one_sweep` is what begins it, and one that does."""


def one(lines: int, stars: int, stages: list[str], dense: bool) -> dict[str, Any]:
    """In this process."""
    ready_to_compute()
    import equinox as eqx
    import jax.numpy as jnp
    import numpy as np

    from astrogf.inference.newton.choice import partners
    from astrogf.inference.newton.joint import SharedPrior, fit_joint
    from astrogf.inference.newton.over_scatters import over_scatters
    from astrogf.inference.newton.stars import FitState
    from astrogf.inference.newton.sweep import sweep
    from astrogf.inference.prior import groups as hyper
    from astrogf.inference.prior import scatters
    from astrogf.inference.problem.options import FitOptions
    from astrogf.inference.problem.parameters import lsf_sigma
    from astrogf.inference.problem.priors import Belief, star_prior
    from astrogf.inference.problem.problem import StarData
    from astrogf.inference.problem.setup import prepare, with_free
    from astrogf.inference.problem.spectra import Sample, WindowSpectra, quiet
    from astrogf.inference.problem.tiles import Tiles
    from astrogf.inference.rehearsal.small import spectra
    from astrogf.inference.statistics import LineNames, Statistics, save
    from astrogf.surveys.spectrum import grid, window_pixels
    from astrogf.synthesis.gas.abundances import SYMBOLS
    from astrogf.synthesis.lines.linelist import QUALITY

    options = FitOptions().changed(
        model={"oversampling": 16, "depths": 20, "line_cut": 1e-2}, continuum={"scale": 75.0},
        lines={"max_lines": lines},
    )  # fmt: skip
    setup = prepare(grid(*window_pixels(WINDOW)), options)
    strength = np.where((setup.lines.z <= len(SYMBOLS)) & setup.near, setup.extent.strength, 0.0)
    leaders = np.sort(np.argsort(-strength, kind="stable")[:lines])
    free = np.full(len(setup.lines), -1)
    free[leaders] = np.arange(lines)
    problem = with_free(setup.problem(lines), free)
    if dense:
        problem = eqx.tree_at(lambda p: p.tiles, problem, Tiles.undivided(problem.spectrum.grid.n_pixel, lines))
    rng, sigma = np.random.default_rng(0), float(lsf_sigma(options.stars.resolution))
    at = np.linspace(-1.0, 1.0, stars) if stars > 1 else np.zeros(1)
    theta = np.tile([5500.0, 4.2, -0.2, 0.05, 1.1, sigma, 10.0], (stars, 1)) + np.outer(
        at, [600, 0.3, 0.2, 0, 0.1, 0, 80]
    )
    clean = np.asarray(spectra(problem, jnp.asarray(theta), jnp.zeros(lines)))
    flux = clean + 0.01 * rng.normal(size=clean.shape)
    data = StarData(jnp.asarray(flux), jnp.full(flux.shape, 1e4))
    window = WindowSpectra(problem, data, np.arange(stars), np.zeros(stars, int))
    sample = Sample((window,), star_prior([Belief()] * stars, options))
    shared = jnp.append(jnp.zeros(lines), sigma)
    found: dict[str, Any] = {"lines": lines, "pixels": clean.shape[1], "stars": stars, "dense": dense}
    found |= {"tiles": problem.tiles.n_tile, "lines_of_a_tile": problem.tiles.n_member}
    found["peak_gb_before"] = peak_memory_gb()

    def clocked(name: str, function: Callable[[], Any]) -> Any:
        cpu, wall = time.process_time(), time.perf_counter()
        out = function()
        found[f"{name}_core_seconds"] = time.process_time() - cpu
        found[f"{name}_seconds"] = time.perf_counter() - wall
        found[f"{name}_peak_gb"] = peak_memory_gb()
        said = {key: round(value, 2) for key, value in found.items() if key.startswith(name)}
        print(lines, said, file=sys.stderr, flush=True)
        return out

    def run() -> Any:
        return sweep(sample, jnp.asarray(theta), shared, quiet(sample), chunk=2)

    clocked("first_pass", run)
    passed = clocked("pass", run)
    found["pass_core_seconds_a_star"] = found["pass_core_seconds"] / stars
    species, quality = setup.lines.take(leaders).species(), np.array(QUALITY)[setup.lines.quality[leaders]]
    information = np.diag(np.asarray(passed.reduced.precision))[:-1]
    groups = hyper.make_groups(species, quality, options.lines.least_group, information=information)
    prior = SharedPrior.of(groups, options)
    begin = hyper.Learned.start(prior.belief, prior.group)
    if "solve" in stages:
        system = prior.system(passed.reduced, shared)
        begin, _, covariance = clocked("solve", lambda: hyper.learn(system, prior.belief, begin, ROUNDS))
        sd = np.sqrt(np.diag(covariance)[:lines])
        found["sd_of_first_lines"], found["mean_sd"] = sd[:3].tolist(), float(sd.mean())
        clocked("partners", lambda: partners(covariance[:lines, :lines]))
        del covariance, system
    if "sampler" in stages:
        system = prior.system(passed.reduced, shared)
        scatters.BURN = 0
        for name, sweeps in (("one_sweep", 1), ("sweeps", SWEEPS)):
            clocked(name, partial(scatters.integrate, system, prior.belief, begin, shared, sweeps=sweeps))
        del system
    if "files" in stages:
        mine = setup.lines.take(leaders)
        names = LineNames(mine.wavelength, mine.species(), mine.elow, mine.loggf)
        a, b = (np.asarray(x) for x in passed.reduced)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "statistics.npz"
            statistics = Statistics(a, b, np.asarray(shared), names, ("ln_sigma",), stars)
            clocked("statistics", lambda: save(path, statistics))
            found["statistics_mb"] = path.stat().st_size / 1e6
    if "fit" in stages:
        scatters.BURN, scatters.FEWEST, scatters.MOST = 0, SWEEPS, SWEEPS
        few = options.changed(solver={"joint_iterations": 2, "chunk": 2}, noise={"inflation": 0.0})

        def fit() -> None:
            run = FitState(jnp.asarray(theta), shared, quiet(sample))
            joint = fit_joint(sample, run, groups, few)
            over_scatters(joint, prior)

        del passed
        clocked("fit", fit)
        found["matrices_of_fit"] = (found["fit_peak_gb"] - found["peak_gb_before"]) * 1e9 / (8.0 * lines**2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, nargs="+", default=[1200])
    parser.add_argument("--stars", type=int, default=4)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES[:-1])
    parser.add_argument("--dense", action="store_true", help="all lines in one tile, as in small problems")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.one:
        print(json.dumps(one(**json.loads(a.one))))
        return
    found = []
    for n in a.lines:
        told = json.dumps({"lines": n, "stars": a.stars, "stages": a.stages, "dense": a.dense})
        done = subprocess.run([sys.executable, __file__, "--one", told], stdout=subprocess.PIPE, text=True)
        failed = {"lines": n, "failed": done.returncode}
        found.append(json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else failed)
        print(json.dumps(found[-1], indent=1), flush=True)
    if a.json:
        a.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
