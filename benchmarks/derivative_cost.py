"""What derivatives cost: one synthesis, the same with its Jacobian by all labels and all lines, one star of the fit.

Run: python benchmarks/derivative_cost.py [--window 4900 5400]. Times are medians over repeats in one process on all
cores of one device; compilation is printed apart.
"""

import argparse
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from astrogf.runtime import use_all_cores

use_all_cores()

from astrogf.inference.problem.linearise import linearise  # noqa: E402
from astrogf.inference.problem.noise import NoiseModel  # noqa: E402
from astrogf.inference.problem.options import FitOptions  # noqa: E402
from astrogf.inference.problem.priors import Belief, star_prior  # noqa: E402
from astrogf.inference.problem.problem import StarData  # noqa: E402
from astrogf.inference.problem.setup import prepare  # noqa: E402
from astrogf.surveys.spectrum import grid, window_pixels  # noqa: E402


def clock(function, *arguments, repeats: int = 7) -> tuple[float, float]:
    """Seconds to compile, and median seconds of a call."""
    began = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    compiled = time.perf_counter() - began
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        took.append(time.perf_counter() - began)
    return compiled, float(np.median(took))


FREE = 400
"""Lines with a correction of their own in the star of the joint fit."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--window", type=float, nargs=2, default=(4900.0, 5400.0))
    options = FitOptions()
    setup = prepare(grid(*window_pixels(tuple(parser.parse_args().window))), options)
    problem = setup.problem(FREE)
    model, star = problem.spectrum, jnp.array([5777.0, 4.44, 0.0, 0.05, 1.0, 4.26, 12.0])
    delta, n = jnp.zeros(FREE), model.grid.n_pixel
    data = StarData(jnp.ones(n), jnp.full(n, 1e4))
    shared, noise = jnp.append(delta, 4.26), NoiseModel(jnp.array(1.0), jnp.array(0.01))
    prior, one = jax.tree.map(lambda x: x[0], star_prior([Belief()], options)), jnp.array(1.0)
    points = sum(c.start.size * c.width for c in model.window.pieces.cores) * options.model.depths
    print(
        f"{len(setup.lines)} lines, {model.grid.size} wavelengths, {options.model.depths} layers, "
        f"{points:.3g} profile points"
    )
    rows = {
        "synthesis": clock(eqx.filter_jit(lambda m: m.normalised(star[:5], delta)), model),
        "  with 5 labels and all lines": clock(eqx.filter_jit(lambda m: m.linearised(star[:5], delta)), model),
        "star of the joint fit": clock(
            eqx.filter_jit(lambda p: linearise(p, data, star, prior, one, shared, noise, jnp.zeros(0))), problem
        ),
    }
    base = rows["synthesis"][1]
    for name, (compiled, seconds) in rows.items():
        print(f"{name:32s} {seconds:8.4f} s   {seconds / base:5.2f} syntheses   (first call {compiled:.1f} s)")


if __name__ == "__main__":
    main()
