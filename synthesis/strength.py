"""Which lines matter, and how far each reaches: judged against the continuum in a set of atmospheres."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from emulator.structure import Structure
from synthesis.abundances import number_fractions
from synthesis.continuum import continuum_opacity
from synthesis.eos import equation_of_state
from synthesis.grid import Grid
from synthesis.linelist import LineList
from synthesis.lines import LEVELS, line_constants, make_buckets, profile_state
from synthesis.voigt import voigt


def line_windows(
    lines: LineList,
    grid: Grid,
    atmospheres: list[tuple[Structure, Float[Array, "5"]]],
    cut: float = 1e-3,
    max_kms: float = 6000.0,
) -> tuple[Float[np.ndarray, " line"], Int[np.ndarray, " line"]]:
    """Line-centre opacity over continuum, and the half window in grid points where it has fallen to `cut`.

    Both are the largest over the atmospheres and over layers with tau_ross < 3. A line whose ratio never reaches
    `cut` gets half window 0 and may be dropped. `atmospheres` holds structures with their parameters
    (teff, logg, feh, alpha, vmic). The criterion is Turbospectrum's (its eps is 1e-4).
    """
    mid = np.array([0.5 * (grid.wavelength[0] + grid.wavelength[-1])])
    distances = np.unique(np.rint(np.geomspace(4.0, max_kms / grid.velocity_step, 40)).astype(int))
    wide = Grid(grid.first_pixel - 200, grid.n_pixel + 400, grid.log_step, grid.oversampling)
    chunk = (2 * LEVELS[0] + 1) * len(lines)
    bucket = make_buckets(lines, np.zeros(len(lines), int), wide, chunk_elements=chunk)[0]
    bucket = jax.tree.map(lambda x: x[0], bucket)

    @jax.jit
    def ratios(structure, parameters):
        fractions = number_fractions(parameters[2], parameters[3])
        gas = equation_of_state(structure.t, structure.p, structure.xne, fractions)
        absorption, scattering = continuum_opacity(jnp.asarray(mid), gas)
        continuum = (absorption + scattering)[0]
        seen = (structure.tau < 3.0) & (structure.tau > 1e-5)
        scale, doppler, a = line_constants(bucket, profile_state(gas, parameters[4]), jnp.zeros(1))
        scale = jnp.where(seen, scale / continuum, 0.0)

        def at(distance):
            return jnp.max(scale * voigt(distance * grid.velocity_step / doppler, a), axis=1)

        return jax.lax.map(at, jnp.concatenate([jnp.zeros(1), jnp.asarray(distances, float)]))

    largest = np.max([np.asarray(ratios(s, jnp.asarray(p))) for s, p in atmospheres], axis=0)[:, : len(lines)]
    reached = largest[1:] > cut
    half = np.where(reached.any(0), distances[np.minimum(reached.sum(0), len(distances) - 1)], distances[0])
    return largest[0], np.where(largest[0] > cut, half, 0)
