"""A short window with the strongest lines of the list, the strongest of which have corrections."""

import numpy as np

from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.problem import StarProblem
from astrogf.inference.problem.setup import prepare, with_free
from astrogf.synthesis.observed.grid import Grid


def strong_lines(
    options: FitOptions, n_pixel: int, n_line: int, kept: int = 60, first_pixel: int = 37180
) -> StarProblem:
    pixels = Grid(first_pixel, n_pixel).pixel_wavelength
    setup = prepare(pixels, options)
    strength = np.argsort(-setup.extent.strength)
    setup = prepare(pixels, options, lines=setup.lines.take(np.sort(strength[:kept])), keep_all=True)
    free = np.full(len(setup.lines), -1)
    free[np.argsort(-setup.extent.strength)[:n_line]] = np.arange(n_line)
    return with_free(setup.problem(n_line), free)
