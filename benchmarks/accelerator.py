"""A pass of the joint fit on an accelerator beside the same on this machine's cores: seconds a star, and the numbers.

Stars drawn at random over the labels of FGK stars, a window of LAMOST, the strongest lines of atoms free. Each
measurement is a process of its own: the device with profiles in single and in double precision, the cores with double
(`reference`, what all others are compared with) and single. Clocked are passes after the first, which compiles.

    python benchmarks/accelerator.py --stars 64 --json accelerator.json
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from astrogf.runtime import peak_memory_gb, ready_to_compute

REPEATS = 3
CASES = {
    "reference": {"JAX_PLATFORMS": "cpu", "single": "0"},
    "cores": {"JAX_PLATFORMS": "cpu", "single": "1"},
    "device, double": {"single": "0"},
    "device": {"single": "1"},
    "device, TF32": {"single": "1", "JAX_DEFAULT_MATMUL_PRECISION": "tensorfloat32"},
}


def one(
    stars: int, free: int, window: tuple[float, float], single: bool, chunk: int, together: int | None, out: Path
) -> dict:
    """Passes in this process; what they give is left in `out`."""
    ready_to_compute()
    import jax

    from astrogf.inference.newton.sweep import Rows, sweep_window
    from astrogf.inference.problem import devices
    from astrogf.inference.problem.noise import NoiseModel
    from astrogf.inference.problem.options import FitOptions
    from astrogf.inference.problem.parameters import lsf_sigma, vmic_relation
    from astrogf.inference.problem.priors import Belief, star_prior
    from astrogf.inference.problem.problem import StarData
    from astrogf.inference.problem.setup import prepare, with_free
    from astrogf.surveys.spectrum import grid, window_pixels
    from astrogf.synthesis.gas.abundances import SYMBOLS

    devices.TOGETHER = devices.TOGETHER if together is None else together
    options = FitOptions().changed(model={"single": single})
    setup = prepare(grid(*window_pixels(window)), options)
    strength = np.where(setup.lines.z <= len(SYMBOLS), setup.extent.strength, 0.0)
    which = np.full(len(setup.lines), -1)
    which[np.sort(np.argsort(-strength)[:free])] = np.arange(free)
    problem = with_free(setup.problem(free), which)

    rng, sigma = np.random.default_rng(1), float(lsf_sigma(options.stars.resolution))
    labels = rng.uniform([4800.0, 3.5, -0.8, 0.0], [6300.0, 4.6, 0.2, 0.2], (stars, 4))
    vmic = np.asarray(vmic_relation(labels[:, 0], labels[:, 1]))
    theta = np.column_stack([labels, vmic, np.full(stars, sigma), rng.uniform(-60.0, 60.0, stars)])
    n_pixel = problem.spectrum.grid.n_pixel
    prior = jax.tree.map(np.asarray, star_prior([Belief()] * stars, options))
    noise = NoiseModel(*(np.full(stars, x) for x in (1.0, 0.01, 0.0)), local=np.ones((stars, n_pixel)))
    shared = np.append(0.05 * rng.normal(size=free), sigma)

    def passed(flux: np.ndarray):
        data = StarData(flux, np.full(flux.shape, 1e4))  # type: ignore[arg-type]
        rows = Rows(data, theta, prior, np.ones(stars), noise, np.zeros((stars, problem.n_deviating)))
        part = sweep_window(problem, rows, shared, chunk)
        return jax.block_until_ready(part)

    began = time.perf_counter()
    model = np.asarray(passed(np.ones((stars, n_pixel))).row.model)
    first, seconds = time.perf_counter() - began, []
    flux = model + 0.01 * np.random.default_rng(2).normal(size=model.shape)
    for _ in range(REPEATS):
        began = time.perf_counter()
        part = passed(flux)
        seconds.append(time.perf_counter() - began)
    np.savez(
        out, model=part.row.model, log_posterior=part.row.log_posterior, precision=part.shared.precision,
        gradient=part.shared.gradient, own=part.star.precision, cross=part.star.cross, flux=flux,
    )  # fmt: skip
    device = jax.devices()[0]
    memory = (device.memory_stats() or {}).get("peak_bytes_in_use", 0) / 1e9
    return {
        "device": device.device_kind, "devices": jax.device_count(), "stars": stars, "lines": free,
        "first_seconds": first, "seconds_a_star": float(np.median(seconds)) / stars, "device_gb": memory,
        "peak_gb": peak_memory_gb(), "jax": jax.__version__,
    }  # fmt: skip


def apart(found: Path, reference: Path) -> dict[str, float]:
    """How far results are from the reference's: the model's fluxes, and products relative to their own scale."""
    a, b = np.load(found), np.load(reference)
    of = {"flux": float(np.max(np.abs(a["model"] - b["model"])))}
    for name in ("precision", "own", "cross"):
        scale = np.sqrt(np.mean(b[name] ** 2))
        of[name] = float(np.sqrt(np.mean((a[name] - b[name]) ** 2)) / scale)
    return of


def main() -> None:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stars", type=int, default=64)
    parser.add_argument("--free", type=int, default=1200)
    parser.add_argument("--window", type=float, nargs=2, default=(4900.0, 5400.0))
    parser.add_argument("--chunk", type=int, default=64)
    parser.add_argument("--together", type=int, help="spectra computed at once on the device, instead of the package's")
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), default=tuple(CASES))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--single", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.out is not None:
        window = (asked.window[0], asked.window[1])
        print(
            json.dumps(one(asked.stars, asked.free, window, bool(asked.single), asked.chunk, asked.together, asked.out))
        )
        return
    found: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in asked.cases:
            setting = dict(CASES[case])
            out, single = Path(folder) / f"{case.replace(', ', '_')}.npz", setting.pop("single")
            call = [sys.executable, __file__, *sys.argv[1:], "--single", single, "--out", str(out)]
            done = subprocess.run(call, env=os.environ | setting, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{case}: failed\n{done.stderr[-3000:]}", flush=True)
                continue
            found[case] = json.loads(done.stdout.splitlines()[-1])
            reference = Path(folder) / "reference.npz"
            if reference.exists() and out != reference:
                found[case] |= apart(out, reference)
            print(case, json.dumps(found[case]), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
