"""Where the time of a pass goes: the stages of one star of a joint fit, each compiled and clocked by itself.

Run: python benchmarks/pass_profile.py [--window 4900 5400] [--free 1200]. CPU-seconds and wall seconds are medians over
repeats in one process; the strongest lines of atoms are free. `--double` has all profiles in double precision.
"""

import argparse
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from astrogf.runtime import ready_to_compute

ready_to_compute()

from astrogf.inference.problem.linearise import in_pixels, linearise  # noqa: E402
from astrogf.inference.problem.lines import line_columns  # noqa: E402
from astrogf.inference.problem.noise import NoiseModel  # noqa: E402
from astrogf.inference.problem.options import FitOptions  # noqa: E402
from astrogf.inference.problem.priors import Belief, star_prior  # noqa: E402
from astrogf.inference.problem.problem import StarData  # noqa: E402
from astrogf.inference.problem.setup import prepare, with_free  # noqa: E402
from astrogf.surveys.spectrum import grid, window_pixels  # noqa: E402
from astrogf.synthesis.gas.abundances import SYMBOLS  # noqa: E402
from astrogf.synthesis.lines.opacity import line_opacity  # noqa: E402
from astrogf.synthesis.lines.slopes import by_line, by_parameter  # noqa: E402
from astrogf.synthesis.transfer.plane import response  # noqa: E402

REPEATS = 7


def clock(name: str, function, *arguments):
    """Print CPU-seconds of the first call, then CPU and wall seconds of the others (medians); what it gives."""
    compiled, began = eqx.filter_jit(function), time.process_time()
    jax.block_until_ready(compiled(*arguments))
    first, took = time.process_time() - began, []
    for _ in range(REPEATS):
        cpu, wall = time.process_time(), time.perf_counter()
        out = jax.block_until_ready(compiled(*arguments))
        took.append((time.process_time() - cpu, time.perf_counter() - wall))
    cpu, wall = np.median(took, axis=0)
    print(f"{name:44s} {cpu:7.3f} {wall:7.3f}   (first call {first:.1f})", flush=True)
    return out


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--window", type=float, nargs=2, default=(4900.0, 5400.0))
    parser.add_argument("--free", type=int, default=1200)
    parser.add_argument("--double", action="store_true")
    asked = parser.parse_args()
    options = FitOptions().changed(model={"single": not asked.double})
    began = time.process_time()
    setup = prepare(grid(*window_pixels(tuple(asked.window))), options)
    problem = setup.problem(asked.free)
    strength = np.where(setup.lines.z <= len(SYMBOLS), setup.extent.strength, 0.0)
    free = np.full(len(setup.lines), -1)
    free[np.sort(np.argsort(-strength)[: asked.free])] = np.arange(asked.free)
    problem = with_free(problem, free)
    model, window = problem.spectrum, problem.spectrum.window
    pieces, velocity = window.pieces, window.velocity
    points = sum(c.start.size * c.width for c in pieces.cores) * options.model.depths
    print(f"{len(free)} lines, {model.grid.size} wavelengths, {points:.3g} points of cores; ", end="")
    print(f"prepared in {time.process_time() - began:.1f} CPU-s\n{'':44s} {'CPU s':>7s} {'wall s':>7s}")

    star, delta = jnp.array([5777.0, 4.44, 0.0, 0.05, 1.0, 4.26, 12.0]), jnp.zeros(asked.free)
    slots, shift, parameters = problem.by_slot(star, delta), problem.shift(star, delta), star[:5]
    clock("structure and gas", lambda m: m.state(parameters), model)
    layers = clock("  and continuum, hydrogen", lambda m: m.window.layered(m.state(parameters)), model)
    slopes = clock(
        "  their derivatives", lambda m: jax.jacfwd(lambda p: m.window.layered(m.state(p)))(parameters), model
    )
    clock("line opacity", lambda p: line_opacity(p, layers.profile, shift, velocity), pieces)
    kappa, source = window.opacity(layers, shift), window.linear(layers.source)
    tau = model.state(parameters)[0].tau
    _, by_kappa, _ = clock("response of the transfer", lambda k: response(k / layers.abross, source, tau, 2), kappa)
    padded = jnp.pad(by_kappa, ((0, velocity.shape[0] - window.size), (0, 0)))
    moved = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), slopes.profile)
    clock("lines by parameters", lambda p: by_parameter(p, layers.profile, moved, shift, padded, velocity), pieces)
    mine = problem.pieces
    parts = clock("lines by log gf", lambda p: by_line(p, layers.profile, slots, padded, velocity), mine)
    clock(
        "  through the instrument", line_columns, problem, star, parts, problem.tiles, problem.n_slot - problem.n_free
    )
    clock("spectrum", lambda m: m.normalised(parameters, shift), model)
    at = clock("and its derivatives by parameters", lambda m: m.responding(parameters, shift), model)
    clock("by lines too, in pixels", lambda p, at: in_pixels(p, star, delta, at), problem, at)
    data = StarData(jnp.ones(model.grid.n_pixel), jnp.full(model.grid.n_pixel, 1e4))
    prior, noise = jax.tree.map(lambda x: x[0], star_prior([Belief()], options)), NoiseModel(*jnp.array([1.0, 0.01]))
    rest = prior, jnp.array(1.0), jnp.append(delta, 4.26), noise, jnp.zeros(0)
    clock("  and normal equations", lambda p, at: linearise(p, data, star, *rest, at), problem, at)
    alone = setup.problem(0)
    rest = prior, jnp.array(1.0), jnp.array([4.26]), noise, jnp.zeros(0)
    clock("  of the star on its own", lambda p, at: linearise(p, data, star, *rest, at), alone, at)


if __name__ == "__main__":
    main()
