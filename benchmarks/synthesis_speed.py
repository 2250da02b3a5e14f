"""Seconds and memory of one long spectrum on one thread, plain, with all derivatives, and in reverse mode.

Run: python benchmarks/synthesis_speed.py [--json OUT] [--stars sun giant] [--window 4800 6800] [--points 100001]. The
task is Turbospectrum's in the project's reference: 4800-6800 A, 100,001 wavelengths, 72 layers, the Gaia-ESO atoms
above 1e-4 of the continuum, which took it 5.1 s (Sun) and 8.5 s (4500/1.5) at its best and 13 to 19 s as shipped, on
another machine. Every row runs in a process of its own, so that its peak memory is its own; compiling is printed apart,
and so is the memory held when the program is compiled ("run" is the most that running it adds).
"""

import argparse
import json
import os
import subprocess
import sys
import time

STARS = {"sun": (5777.0, 4.44, 0.0, 0.0, 1.0), "giant": (4500.0, 1.5, -0.5, 0.0, 1.8)}
"""teff, logg, feh, alpha, vmic."""
TASKS = {
    "spectrum": "flux and continuum",
    "labels": "and 5 labels' derivatives, all lines'",
    "reverse": "gradient of a sum by labels and all log gf",
}
LAYERS = 72


def resident_gb() -> float:
    """Resident memory of this process now, GB; its peak where the system has no /proc."""
    from astrogf.runtime import peak_memory_gb

    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e9
    except OSError:
        return peak_memory_gb() or float("nan")


def one(star: str, task: str, window: tuple[float, float], points: int) -> dict:
    """Time one task of one star in this process."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import numpy as np

    from astrogf import emulator
    from astrogf.emulator.layers import Layers
    from astrogf.runtime import peak_memory_gb
    from astrogf.synthesis.lines.shipped import load_atomic_lines
    from astrogf.synthesis.synthesize import prepare

    labels, vmic = jnp.array(STARS[star][:4]), jnp.asarray(STARS[star][4])
    layers = Layers(emulator.load("atlas9"), jnp.logspace(-5.5, 1.8, LAYERS))
    structure = layers(labels)
    wavelength = np.linspace(*window, points)
    began = time.perf_counter()
    given = {"vmic": STARS[star][4], "feh": STARS[star][2], "free": task != "spectrum"}
    lines = load_atomic_lines(window[0] - 60.0, window[1] + 60.0)
    prepared = prepare(structure, lines, wavelength, **given)
    first_prepare = time.perf_counter() - began
    began = time.perf_counter()
    prepared = prepare(structure, lines, wavelength, **given)
    prepare_seconds = time.perf_counter() - began
    prepared = eqx.tree_at(lambda s: s.layers, prepared, layers)

    def spectrum(prepared, p, delta):
        made = prepared(tuple(p[:4]), vmic=p[4], corrections=delta)
        return made.flux, made.continuum

    def gradient(prepared, p, delta):
        return jax.grad(lambda p, d: sum(jnp.sum(x) for x in spectrum(prepared, p, d)), argnums=(0, 1))(p, delta)

    def jacobian(prepared, p, delta):
        return prepared.linearised(dict(zip(("teff", "logg", "feh", "alpha", "vmic"), p, strict=True)), None, delta)

    function = eqx.filter_jit({"spectrum": spectrum, "labels": jacobian, "reverse": gradient}[task])
    arguments = prepared, jnp.append(labels, vmic), jnp.zeros(prepared.window.n_free)
    began = time.perf_counter()
    compiled = function.lower(*arguments).compile()
    compile_seconds = time.perf_counter() - began
    compiled_gb = resident_gb()
    took = []
    for _ in range(4):
        began = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        took.append(time.perf_counter() - began)
    cores = prepared.window.pieces.cores
    kept = {int(i) for c in cores for i in np.unique(np.asarray(c.lines.line))}
    return {
        "star": star,
        "task": task,
        "seconds": min(took[1:]),
        "compile_seconds": compile_seconds,
        "prepare_seconds": prepare_seconds,
        "first_prepare_seconds": first_prepare,
        "peak_gb": peak_memory_gb(),
        "compiled_gb": compiled_gb,
        "run_gb": peak_memory_gb() - compiled_gb,
        "temporaries_gb": compiled.compiled.memory_analysis().temp_size_in_bytes / 1e9,
        "lines": len(kept - {prepared.window.n_line}),
        "profile_points": int(sum(c.start.size * c.width for c in cores)) * LAYERS,
        "wavelengths": points,
        "layers": LAYERS,
        "device": jax.devices()[0].device_kind,
        "threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def main() -> None:
    """Run every task of every star in its own process, print the table, write the figures."""
    from rich.console import Console
    from rich.table import Table

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--stars", nargs="*", default=list(STARS), choices=list(STARS))
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--window", type=float, nargs=2, default=(4800.0, 6800.0), help="vacuum Angstrom")
    parser.add_argument("--points", type=int, default=100_001)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        os.environ["XLA_FLAGS"] = (os.environ.get("XLA_FLAGS", "") + " --xla_cpu_prefer_vector_width=512").strip()
        print(json.dumps(one(*options.one, tuple(options.window), options.points)))
        return
    rows = []
    for star in options.stars:
        for task in options.tasks:
            command = [sys.executable, __file__, "--one", star, task, "--points", str(options.points)]
            command += ["--window", *map(str, options.window)]
            finished = subprocess.run(command, capture_output=True, text=True)
            if finished.returncode:
                sys.exit(f"{star} {task} failed:\n{finished.stderr}")
            rows.append(json.loads(finished.stdout.splitlines()[-1]))
    table = Table(title=f"{options.points} wavelengths, {LAYERS} layers, one thread of {rows[0]['device']}")
    heads = "star,task,seconds,spectra,lines,compile s,prepare s,compiled GB,run GB,peak GB"
    for head in heads.split(","):
        table.add_column(head)
    for row in rows:
        base = next((r["seconds"] for r in rows if r["star"] == row["star"] and r["task"] == "spectrum"), None)
        row["ratio"] = row["seconds"] / base if base else None
        table.add_row(
            row["star"], TASKS[row["task"]], f"{row['seconds']:.2f}", f"{row['ratio']:.2f}" if base else "",
            str(row["lines"]), f"{row['compile_seconds']:.1f}", f"{row['prepare_seconds']:.2f}",
            f"{row['compiled_gb']:.2f}", f"{row['run_gb']:.2f}", f"{row['peak_gb']:.2f}",
        )  # fmt: skip
    Console(width=130).print(table)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"rows": rows}, file, indent=2)


if __name__ == "__main__":
    main()
