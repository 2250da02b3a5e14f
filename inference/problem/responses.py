"""Spectra and their derivatives, star by star: the one large program of a pass, whatever is then made of them.

It sees neither data nor which lines are free: passes for stars alone, for the choice of lines, for the joint fit and
with the list as it was run the same compiled code.
"""

from typing import cast

import equinox as eqx
import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from astrogf.inference.problem.devices import one_by_one, spread
from astrogf.inference.problem.problem import StarProblem
from astrogf.synthesis.model import SpectrumModel
from astrogf.synthesis.window import Responding


@eqx.filter_jit
def _responses(model: SpectrumModel, rows, mesh: Mesh) -> Responding:
    def mine(model: SpectrumModel, rows) -> Responding:
        return one_by_one(lambda row: model.responding(*row), rows, model.working_bytes)

    return spread(mine, model, rows, mesh)


@eqx.filter_jit
def _shifts(problem: StarProblem, theta, delta) -> Float[Array, "row line"]:
    return jax.vmap(problem.shift)(theta, delta)


def responses(
    problem: StarProblem,
    theta: Float[Array | np.ndarray, "row own"],
    delta: Float[Array | np.ndarray, "row free"],
    mesh: Mesh,
) -> Responding:
    """Of every row: the spectrum there, its derivatives by the star's parameters, and the response of its flux.

    They take wavelengths x layers x 8 bytes a row. Rows are spread over the devices.
    """
    return _responses(problem.spectrum, (problem.told(cast(Array, theta)), _shifts(problem, theta, delta)), mesh)
