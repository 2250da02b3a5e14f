"""A pass over one star as another tree of this project computes it and as this one does, in four windows.

Run: git worktree add /tmp/before e060bc1 && python benchmarks/passes_compared.py --other /tmp/before [--windows LRS].
`--line-cut 1e-4` has both follow lines and wings further than a fit does. Of each window it prints CPU-seconds of the
spectrum and of the spectrum with all derivatives (its own parameters and the strongest lines of atoms, in the survey's
pixels), each the median of repeats in a process of one thread, and how far flux and derivatives of the two trees are
apart: derivatives in units of their own peak. The other tree may have the rooms inside `astrogf` or beside it, and the
model of a window as it was then.
"""

import argparse
import importlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

WINDOWS: dict[str, tuple[tuple[float, float], float, int, dict[str, Any]]] = {
    "LRS": ((4900.0, 5400.0), 1e-4, 1200, {}),
    "MRS": ((5100.0, 5250.0), 1e-5, 600, {"oversampling": 12, "rv_reach": 300.0, "widest_sigma": 30.0}),
    "high": (
        (5150.0, 5250.0), 3e-6, 400,
        {"oversampling": 3, "depths": 40, "line_cut": 1e-3, "rv_reach": 150.0, "widest_sigma": 6.0},
    ),
    "APOGEE": (
        (15155.0, 15800.0), 6e-6, 800,
        {"oversampling": 6, "depths": 40, "line_cut": 5e-4, "rv_reach": 150.0, "widest_sigma": 12.0},
    ),
}  # fmt: skip
"""Window (vacuum Angstrom), log10 step of a pixel, lines that are free, options of the model."""
STAR = [5777.0, 4.44, 0.0, 0.05, 1.0, 0.0, 12.0]
"""teff, logg, feh, alpha, vmic, ln_sigma (set by the window's resolution), rv."""
RESOLUTION = {"LRS": 1800.0, "MRS": 7500.0, "high": 50000.0, "APOGEE": 22500.0}
REPEATS = 5
SEEN = 1e-4
"""A derivative with a smaller peak (of the normalised flux, by dex or step) is not compared."""
INSIDE = (Path.cwd() / "inference" / "problem").is_dir()
"""Whether the rooms are inside `astrogf`, as they are since the inference room has been divided."""


def room(name: str):
    """A module of the tree that is the working directory, wherever it has its rooms."""
    return importlib.import_module(f"astrogf.{name}" if INSIDE else name)


def model_of(window: str, chosen: Path):
    """Spectrum and derivatives in pixels of a star, as functions to be compiled, and their first argument.

    The lines that are free are read from `chosen`, or chosen and written there.
    """
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    edges, log_step, n_free, model = WINDOWS[window]
    model = model | ({"line_cut": float(os.environ["LINE_CUT"])} if "LINE_CUT" in os.environ else {})
    spectrum = room("surveys.spectrum")
    first, n_pixel = spectrum.window_pixels(edges, log_step)
    pixels = spectrum.grid(first, n_pixel, log_step)
    if INSIDE:
        setups, problems = room("inference.problem.setup"), room("inference.problem.problem")
        options = room("inference.problem.options").FitOptions().changed(model=model)
    else:
        setups, problems = room("inference.setup"), room("inference.star")
        options = room("inference.options").FitOptions(**model)
    setup = setups.prepare(pixels, options)
    lines = setup.lines
    identity = np.column_stack([lines.wavelength, lines.elow, lines.loggf, lines.z]).round(4)
    if not chosen.exists():
        _, number, count = np.unique(identity, axis=0, return_inverse=True, return_counts=True)
        strength = np.where((lines.z < 100) & (count[number.ravel()] == 1), setup.extent.strength, 0.0)
        np.save(chosen, identity[np.sort(np.argsort(-strength)[:n_free])])
    wanted = {tuple(row): i for i, row in enumerate(np.load(chosen))}
    free = np.array([wanted.get(tuple(row), -1) for row in identity])
    there = len(np.unique(free[free >= 0]))
    problem = setups.with_free(setup.problem(n_free), free)
    parameters = room("inference.problem.parameters" if INSIDE else "inference.parameters")
    theta, delta = np.array(STAR), jnp.zeros(n_free)
    theta[5] = float(parameters.lsf_sigma(RESOLUTION[window]))
    theta = jnp.asarray(theta)

    if not INSIDE:
        observe = room("synthesis.instrument").observe

        def derivatives(problem, theta):
            line = problem.spectrum.linearised(theta[:5], problem.shift(theta, delta))

            def see(flux, rv, ln_sigma):
                return observe(flux, rv, jnp.exp(ln_sigma), problem.spectrum.grid)

            place = theta[6], theta[5]
            by_place = [jax.jacfwd(see, argnums=i)(line.flux, *place) for i in (2, 1)]
            by_spectrum = jax.vmap(lambda column: see(column, *place), 1, 1)(line.by_parameter)
            by_line = problems.line_columns(problem, theta, line.by_line).dense[:, :n_free]
            own = jnp.column_stack([by_spectrum, *by_place]) * parameters.steps(len(STAR))
            return see(line.flux, *place), own, by_line
    else:
        in_pixels = room("inference.problem.linearise").in_pixels

        def derivatives(problem, theta):
            at = problem.spectrum.responding(theta[:5], problem.shift(theta, delta))
            found = in_pixels(problem, theta, delta, at)
            return found.normalised, found.own, found.lines[:, :n_free]

    def plain(problem, theta):
        return problems.predict(problem, theta, delta)

    print(f"{len(lines)} lines, {there} of {n_free} asked for; {setup.grid.size} points", end="\t")
    return eqx.filter_jit(plain), eqx.filter_jit(derivatives), problem, theta, identity, np.asarray(pixels)


def work(window: str, chosen: Path, out: Path) -> None:
    """In a process of its own: compute and clock one window with the tree that is first on the path."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import jax

    runtime = importlib.import_module("astrogf.runtime")
    (runtime.ready_to_compute if INSIDE else runtime.use_all_cores)()
    jax.config.update("jax_enable_x64", True)

    plain, derivatives, problem, theta, identity, pixels = model_of(window, chosen)
    found: dict[str, Any] = {"identity": identity, "wavelength": pixels}
    for name, function in (("spectrum", plain), ("derivatives", derivatives)):
        jax.block_until_ready(function(problem, theta))
        took = []
        for _ in range(REPEATS):
            began = time.process_time()
            value = jax.block_until_ready(function(problem, theta))
            took.append(time.process_time() - began)
        found[f"{name}_seconds"] = np.median(took)
    names = ("flux", "own", "lines")
    np.savez(out, **found, **{k: np.asarray(v) for k, v in zip(names, value, strict=True)})


def say(window: str, new: Any, old: Any) -> None:
    """How the two compare, but for pixels beside lines that are in one list with another value or not at all."""
    lists = [{tuple(row) for row in one["identity"]} for one in (new, old)]
    unlike = np.array(sorted({row[0] for row in lists[0] ^ lists[1]}))
    wave = new["wavelength"]
    beside = 3.0 * wave / RESOLUTION[window]
    alike = (
        np.all(np.abs(wave[:, None] - unlike) > beside[:, None], axis=1) if len(unlike) else np.full(len(wave), True)
    )
    ratios = [float(old[k] / new[k]) for k in ("spectrum_seconds", "derivatives_seconds")]
    flux = np.abs(new["flux"] - old["flux"])
    print(
        f"{window}: {ratios[0]:.1f} and {ratios[1]:.1f} times faster; {len(unlike)} lines changed, {alike.mean():.0%}"
        f" of the pixels are away from them; flux within {flux[alike].max():.1e} there, {flux.max():.1e} everywhere; "
        "derivatives there, of their peak:",
        end=" ",
    )
    for name in ("own", "lines"):
        one, two = new[name][alike], old[name][alike]
        peak = np.abs(old[name]).max(0)
        seen = np.abs(two).max(0) > np.maximum(0.99 * peak, SEEN)
        apart = np.abs(one - two).max(0)[seen] / peak[seen]
        figures = np.percentile(apart, (50, 95, 100))
        print("{} {:.1e} (median), {:.1e} (95%), {:.1e} (worst)".format(name, *figures), end="; ")
    print(flush=True)


def main() -> None:
    """Print a row a window."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--other", type=Path, required=True)
    parser.add_argument("--windows", nargs="+", choices=list(WINDOWS), default=list(WINDOWS))
    parser.add_argument("--line-cut", type=float)
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work:
        return work(asked.work[0], Path(asked.work[1]), Path(asked.work[2]))
    here = Path(__file__).resolve().parents[1]
    environment = dict(os.environ) | ({"LINE_CUT": str(asked.line_cut)} if asked.line_cut else {})
    with tempfile.TemporaryDirectory() as folder:
        for window in asked.windows:
            found = []
            for name, tree in (("this tree", here), ("the other", asked.other.resolve())):
                out = Path(folder) / f"{window} {name}.npz"
                command = [
                    sys.executable,
                    __file__,
                    "--other",
                    ".",
                    "--work",
                    window,
                    f"{folder}/{window}.npy",
                    str(out),
                ]
                print(f"{window}, {name}", end="\t", flush=True)
                subprocess.run(command, check=True, cwd=tree, env=environment | {"PYTHONPATH": str(tree)})
                found.append(np.load(out))
                seconds = [float(found[-1][f"{k}_seconds"]) for k in ("spectrum", "derivatives")]
                print("CPU s: {:.3f} spectrum, {:.3f} with derivatives".format(*seconds), flush=True)
            say(window, *found)
    return None


if __name__ == "__main__":
    main()
