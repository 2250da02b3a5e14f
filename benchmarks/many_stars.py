"""Fits of ever more stars: memory, time a star and iteration, and the same in this process, in two and on Dask.

`--fits`: `astrogf fit` from a store to the report, in a narrow window and with few lines, so that many stars can be
afforded. The spectra are 200 that were synthesised, with S/N above 900, in a window that is wider by a pixel on
both sides; every star is one of them with noise of its own, moved by -1, 0 or 1 whole pixels (69 km/s each).
`--flow`: a joint fit in a window of 420 pixels, with noise and errors by wavelength learned, and its spectra and models
written, but what the spectrum model gave for the first stars that are computed together is used for all others: its
time is saved, and what is in memory is the same. The numbers of such a fit mean nothing.
`--places`: one joint fit of stars that the fit's own model has drawn. Each measurement is a process of its own.

    python benchmarks/many_stars.py --fits 500 2000 5000 20000 --json fits.json
    python benchmarks/many_stars.py --flow 500 20000 --json flow.json
    python benchmarks/many_stars.py --places 64 --json places.json
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from astrogf.computing.options import ComputeOptions
from astrogf.runtime import peak_memory_gb, ready_to_compute

DIFFERENT = 64
"""Stars that are drawn; more are these with other noise."""
SYNTHESISED = 200
"""Spectra that a store of many stars is made of."""
CONFIG = """
[survey]
window = [5200.0, 5240.0]
snr_min = 0.0
[model]
oversampling = 6
depths = 16
line_cut = 0.1
molecules = false
rv_reach = 200.0
widest_sigma = 70.0
[lines]
max_lines = 40
max_ratio = 0.99
[continuum]
degree = 2
[stars]
max_chi2 = 1000.0
[noise]
misfit = true
[solver]
chunk = 16
block = {block}
star_iterations = 1
joint_iterations = {iterations}
tolerance = 1e-6
"""


def one(
    stars: int, lines: int, block: int, iterations: int, compute: ComputeOptions, out: Path | None, flow: bool = False
) -> dict:
    """A joint fit in this process, or from this process; `flow` as above."""
    ready_to_compute()
    import jax.numpy as jnp
    import numpy as np

    from astrogf.computing.place import place_of
    from astrogf.inference.blocks.work import Work
    from astrogf.inference.newton import sweep
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
        noise={"inflation": None, "misfit": flow},
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

    if flow:
        sweep.responses = _only_once(sweep.responses)
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
            if flow:
                _write(Path(folder) / "spectra.fits", sample, joint, small.wavelength)
            disk = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
            found = {
                "stars": stars, "lines": small.n_line, "block": block, **compute.model_dump(),
                "cores": len(os.sched_getaffinity(0)), "peak_gb": peak_memory_gb(), "disk_gb": disk / 1e9,
                # of workers that still run nobody knows
                "core_seconds_a_star_and_iteration": (time.process_time() - began) / stars / iterations
                if compute.where == "here" else None,
                "seconds": time.perf_counter() - wall,
                # after the first, which compiles
                "seconds_an_iteration": [step["seconds"] for step in joint.run.trace][1:],
            }  # fmt: skip
    if out is not None:
        sd = np.sqrt(np.diag(np.asarray(joint.posterior.covariance)))
        np.savez(out, mean=joint.posterior.mean, sd=sd, theta=joint.run.theta, a=joint.passed.reduced.precision)
    return found


def _write(path: Path, sample: Any, joint: Any, wavelength: Any) -> None:
    """Spectra, errors and models of a joint fit, as a run does."""
    from functools import partial

    import numpy as np
    from astropy.table import Table

    from astrogf.inference.pixels import ByBlocks
    from astrogf.inference.result import outliers, pixel_sd
    from astrogf.runs.folder import write_images

    def of(name: str, i: int, k: int) -> Any:
        if name in ("flux", "ivar"):
            return getattr(sample.parts[i].data.get()[k], name)
        return joint.passed.blocks[i].get().rows[k].model

    noise = joint.run.noise
    outliers(sample, noise, joint.passed)
    arrays = {name: ByBlocks(sample, partial(of, name), np.nan) for name in ("flux", "ivar", "model")}
    arrays |= {"sigma": ByBlocks(sample, partial(pixel_sd, sample, noise), np.inf)}
    write_images(path, {"wavelength": np.asarray(wavelength), **arrays}, Table({"row": np.arange(sample.n_star)}))


def store_of(stars: int, config: Path, synthesised: Path, store: Path) -> None:
    """A store of so many spectra, see above; those that they are made of are `synthesised` once."""
    import numpy as np

    from astrogf.config import load
    from astrogf.inference.rehearsal.options import DemoOptions
    from astrogf.inference.rehearsal.survey import simulate_survey
    from astrogf.surveys.directory.load import load_directory
    from astrogf.surveys.spectrum import window_pixels
    from astrogf.surveys.store.store import GRIDS, create
    from astrogf.surveys.store.writer import open_writer

    options = load(config)
    wider = options.survey.window[0] - 2.0, options.survey.window[1] + 2.0
    survey = options.survey.model_copy(update={"window": wider})
    demo = DemoOptions(stars=SYNTHESISED, snr=(900.0, 1000.0), outlier_fraction=0.0, oversampling=12, depths=16)
    if not synthesised.exists():
        simulate_survey(demo, survey, options, synthesised)
    (seen,), _, _ = load_directory(synthesised, [wider], kinds=["lamost_lrs"], snr_min=0.0)
    first, rng = window_pixels(wider)[0], np.random.default_rng(0)
    create(store, GRIDS["lamost_lrs"], kind="lamost_lrs")
    with open_writer(store, "simulated") as writer:
        for i in range(stars):
            of = i % len(seen.flux)
            flux, snr, moved = seen.flux[of], rng.uniform(30.0, 150.0), int(rng.integers(-1, 2))
            good = seen.ivar[of] > 0
            sd = np.where(good, flux / snr, 0.0)
            ivar = np.where(good, 1.0 / np.where(good, sd, 1.0) ** 2, 0.0)
            row = {name: seen.table[name][of] for name in ("kind", "piece", "frame", "release", "class")}
            row |= {"path": f"star{i:06d}", "sha256": hashlib.sha256(str(i).encode()).hexdigest(), "obsid": str(i)}
            row |= {"ra": (i * 0.618034 * 360) % 360, "dec": float(-10 + 70 * i / stars), "snr": snr, "snr_g": snr}
            writer.add(first + moved, flux + sd * rng.normal(size=len(flux)), ivar, row)


def whole(stars: int, block: int, iterations: int, synthesised: str) -> dict:
    """`astrogf fit` of so many stars, in this process."""
    from rich.console import Console

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "many.toml").write_text(CONFIG.format(block=block, iterations=iterations))
        # in a process of its own, whose memory is not ours
        told = [str(stars), str(folder / "many.toml"), synthesised, str(folder / "store")]
        command = [sys.executable, __file__, "--store", *told]
        subprocess.run(command, check=True)
        ready_to_compute()
        from astrogf.config import load
        from astrogf.fitting import engine
        from astrogf.fitting.pipeline import fit_survey
        from astrogf.inference.newton import joint
        from astrogf.inference.newton import stars as alone

        begun: dict[str, list[float]] = {"joint": [], "stars": []}
        by_stage = dict[str, float]()
        for module, stage in ((joint, "joint"), (alone, "stars")):
            module.sweep = _noting(module.sweep, begun[stage], by_stage, stage)  # type: ignore[attr-defined]
        engine.count = _noting(engine.count, [], by_stage, "read")
        begun_at = time.process_time()
        fit_survey(load(folder / "many.toml"), folder / "store", folder / "run", console=Console(quiet=True))
        cpu = time.process_time() - begun_at
        record = json.loads((folder / "run" / "record.json").read_text())
        summary = json.loads((folder / "run" / "summary.json").read_text())
        disk = sum(path.stat().st_size for path in (folder / "run").rglob("*") if path.is_file())
    # the first pass of a stage compiles; of the last nobody knows where it ended
    each = {stage: [(b - a) / stars for a, b in pairwise(at)][1:] for stage, at in begun.items()}
    plan = {name: record["plan"][name] for name in ("seconds", "compile_seconds", "memory_bytes", "disk_bytes")}
    return {
        "stars": stars, "used": summary["stars_used"], "lines": summary["lines_free"], "block": block,
        "peak_gb": peak_memory_gb(), "peak_gb_at_the_end_of": by_stage,
        "core_seconds_a_star_and_joint_iteration": each["joint"],
        "core_seconds": cpu, "seconds_by_stage": record["timings"], "disk_gb": disk / 1e9, "plan": plan,
    }  # fmt: skip


def _only_once(function: Any) -> Any:
    """What it gave when it was first called, whatever it is called with; arrays of other shapes are another matter."""
    given: dict[int, Any] = {}

    def same(problem: Any, theta: Any, *others: Any) -> Any:
        if len(theta) not in given:
            given[len(theta)] = function(problem, theta, *others)
        return given[len(theta)]

    return same


def _noting(function: Any, begun: list[float], memory: dict[str, float], stage: str) -> Any:
    def noted(*arguments: Any, **named: Any) -> Any:
        begun.append(time.process_time())
        found = function(*arguments, **named)
        memory[stage] = peak_memory_gb()
        return found

    return noted


def alone(cores: list[int] | None = None, **arguments: Any) -> dict:
    """`one`, or `whole` where no place is named, in a process of its own, on these cores."""
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
    parser.add_argument("--fits", type=int, nargs="+", default=[], help="numbers of stars")
    parser.add_argument("--flow", type=int, nargs="+", default=[], help="numbers of stars")
    parser.add_argument("--places", type=int, help="number of stars")
    parser.add_argument("--lines", type=int, default=300)
    parser.add_argument("--block", type=int, default=128)
    parser.add_argument("--iterations", type=int, default=4)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--store", nargs=4, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.store:
        ready_to_compute()
        store_of(int(a.store[0]), *(Path(path) for path in a.store[1:]))
        return
    if a.one:
        given = json.loads(a.one)
        if "compute" not in given:
            print(json.dumps(whole(**given)))
            return
        compute, out = ComputeOptions(**given.pop("compute")), given.pop("out")
        print(json.dumps(one(**given, compute=compute, out=None if out is None else Path(out))))
        return
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        given = {"block": a.block, "iterations": a.iterations, "synthesised": str(Path(folder) / "synthesised")}
        found["fits"] = [alone(stars=n, **given) for n in a.fits]
    flow = {"lines": 40, "block": a.block, "iterations": a.iterations, "compute": {}, "out": None, "flow": True}
    found["flow"] = [alone(stars=n, **flow) for n in a.flow]
    if a.places:
        found["places"] = places(a.places, a.lines, min(a.block, 16), a.iterations)
    text = json.dumps(found, indent=2)
    print(text)
    if a.json:
        a.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
