"""Does memory stay flat with the number of stars, and the time of a star; and are the numbers the same wherever?

A joint fit of simulated LAMOST stars with the line list as it is, on a coarse model, so that many can be afforded: what
is kept of a star is as large as in a real fit. Each measurement is a process of its own.

    python benchmarks/many_stars.py --memory 500 1000 2000 --json memory.json
    python benchmarks/many_stars.py --places 64 --json places.json
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from astrogf.computing.options import ComputeOptions
from astrogf.runtime import peak_memory_gb, ready_to_compute

DIFFERENT = 64
"""Stars that are drawn; more are these with other noise."""


def one(stars: int, lines: int, block: int, iterations: int, compute: ComputeOptions, out: Path | None) -> dict:
    """A joint fit in this process, or from this process."""
    ready_to_compute()
    import jax.numpy as jnp
    import numpy as np

    from astrogf.computing.place import place_of
    from astrogf.inference.blocks.work import Work
    from astrogf.inference.newton.joint import fit_joint
    from astrogf.inference.newton.stars import FitState
    from astrogf.inference.problem.options import FitOptions
    from astrogf.inference.problem.priors import Belief, star_prior
    from astrogf.inference.problem.problem import StarData
    from astrogf.inference.problem.spectra import ELSEWHERE, WindowSpectra, in_blocks, quiet
    from astrogf.inference.rehearsal.small import OPTIONS, build, draw
    from astrogf.runs.checkpoint import CheckpointFolder

    options: FitOptions = OPTIONS.changed(
        model={"oversampling": 6, "depths": 16},
        continuum={"degree": 7},
        noise={"inflation": None},
        solver={"chunk": 16, "block": block, "joint_iterations": iterations, "tolerance": 1e-6},
    )
    small = build(DIFFERENT, lines, first_pixel=36902, n_pixel=420, kept=3000, max_ratio=0.99, options=options)
    drawn = draw(small, np.random.default_rng(0))
    flux, ivar = (np.asarray(x) for x in drawn.data)

    def data(k: int, rows: np.ndarray) -> StarData:
        mine = rows % DIFFERENT
        again = np.where(rows < DIFFERENT, 0.0, 1.0)[:, None]
        noise = np.random.default_rng(int(rows[0])).normal(size=(len(rows), flux.shape[1])) / np.sqrt(ivar[mine])
        return StarData(flux[mine] + again * noise, ivar[mine])  # type: ignore[arg-type]

    window = WindowSpectra(small.problem, ELSEWHERE, np.arange(stars), np.zeros(stars, int))
    prior = star_prior([Belief()] * stars, options)
    with tempfile.TemporaryDirectory() as folder:
        kept = CheckpointFolder(Path(folder))
        kept.begin({})
        with place_of(compute, Path(folder) / "shared") as place:
            sample = in_blocks([window], prior, Work(place, kept.shelf, block), data)
            run = FitState(
                jnp.asarray(drawn.theta[np.arange(stars) % DIFFERENT]), jnp.asarray(drawn.shared), quiet(sample)
            )
            began, wall = time.process_time(), time.perf_counter()
            joint = fit_joint(sample, run, small.groups, options, checkpoint=kept)
            disk = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
            found = {
                "stars": stars, "lines": small.n_line, "block": block, **compute.model_dump(),
                "cores": len(os.sched_getaffinity(0)), "peak_gb": peak_memory_gb(), "disk_gb": disk / 1e9,
                # of workers that still run nobody knows
                "core_seconds_a_star_and_iteration": (time.process_time() - began) / stars / iterations
                if compute.where == "here" else None,
                "seconds": time.perf_counter() - wall,
            }  # fmt: skip
    if out is not None:
        sd = np.sqrt(np.diag(np.asarray(joint.posterior.covariance)))
        np.savez(out, mean=joint.posterior.mean, sd=sd, theta=joint.run.theta, a=joint.passed.reduced.precision)
    return found


def alone(cores: list[int] | None = None, **arguments: Any) -> dict:
    """`one` in a process of its own, on these cores."""
    command = [sys.executable, __file__, "--one", json.dumps(arguments)]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True,
        preexec_fn=None if cores is None else lambda: os.sched_setaffinity(0, cores),
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    print(found, file=sys.stderr, flush=True)
    return found


def places(stars: int, lines: int, block: int, iterations: int) -> dict:
    """The same fit in one process of one core, in two of one core each, on two Dask workers of one core, and in one
    process of two cores; and how far apart the results are, in sd and relative."""
    import numpy as np
    from distributed import LocalCluster

    first = sorted(os.sched_getaffinity(0))[:1]
    common: dict[str, Any] = {"stars": stars, "lines": lines, "block": block, "iterations": iterations}
    with tempfile.TemporaryDirectory() as folder:

        def run(name: str, compute: dict, cores: list[int] | None = None) -> dict:
            return alone(cores, **common, compute=compute, out=str(Path(folder) / f"{name}.npz"))

        measured = {"here, 1 core": run("one", {}, first)}
        measured["2 processes"] = run("processes", {"where": "processes", "workers": 2})
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=None) as cluster:
            measured["2 Dask workers"] = run("dask", {"where": "dask", "scheduler": cluster.scheduler_address})
        measured["here, all cores"] = run("all", {})
        with np.load(Path(folder) / "one.npz") as a:
            for name, file in (("2 processes", "processes"), ("2 Dask workers", "dask"), ("here, all cores", "all")):
                with np.load(Path(folder) / f"{file}.npz") as b:
                    measured[name]["corrections_apart_sd"] = float(np.max(np.abs(a["mean"] - b["mean"]) / a["sd"]))
                    measured[name]["errors_apart"] = float(np.max(np.abs(b["sd"] / a["sd"] - 1.0)))
                    measured[name]["labels_apart"] = float(np.max(np.abs(b["theta"] / a["theta"] - 1.0)))
                    measured[name]["sums_apart"] = float(np.max(np.abs(a["a"] - b["a"])) / np.max(np.abs(a["a"])))
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", type=int, nargs="+", default=[], help="numbers of stars")
    parser.add_argument("--places", type=int, help="number of stars")
    parser.add_argument("--lines", type=int, default=300)
    parser.add_argument("--block", type=int, default=128)
    parser.add_argument("--iterations", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.one:
        given = json.loads(a.one)
        compute, out = ComputeOptions(**given.pop("compute")), given.pop("out")
        print(json.dumps(one(**given, compute=compute, out=None if out is None else Path(out))))
        return
    common = {"lines": a.lines, "block": a.block, "iterations": a.iterations}
    found: dict[str, Any] = {"memory": [alone(stars=n, **common, compute={}, out=None) for n in a.memory]}
    if a.places:
        found["places"] = places(a.places, a.lines, min(a.block, 16), a.iterations)
    text = json.dumps(found, indent=2)
    print(text)
    if a.json:
        a.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
