"""Which lines matter, and how far each one reaches: the error bound on the opacity that sets the windows."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from astrogf.synthesis.continuum.opacity import continuum_opacity
from astrogf.synthesis.gas.gas import Gas
from astrogf.synthesis.lines.buckets import Bucket, make_buckets
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.lines.opacity import line_constants, profile_state
from astrogf.synthesis.lines.voigt import voigt

CONTINUUM_STEP = 100.0  # Angstrom between the wavelengths where lines are weighed against the continuum


@eqx.filter_jit
def _reach(
    bucket: Bucket, nodes: Array, node: Array, gas: Gas, vmic: Array, counts: Array, line_cut: float
) -> tuple[Array, Array]:
    """Line-centre opacity over continuum, and the velocity beyond which the ratio is below `line_cut`, per line."""
    absorption, _ = continuum_opacity(nodes, gas)

    def chunk(inputs):
        b, node = inputs
        scale, doppler, a = line_constants(b, profile_state(gas, vmic), jnp.zeros(1))
        # the scattering part of the continuum is left out: it is the stricter bound, and Turbospectrum's
        ratio = jnp.where(counts, scale / absorption[node], 0.0) / line_cut
        # H(a, u) < exp(-u^2) + a / (sqrt(pi) u^2) (1 + 3/(2 u^2)): where these are a third and two thirds of 1 / ratio
        core = jnp.sqrt(jnp.log(jnp.maximum(3.0 * ratio, 1.0)))
        wing = jnp.sqrt(1.5 + 1.5 * a * ratio / np.sqrt(np.pi))
        reach = doppler * jnp.where(ratio > 1.0, jnp.maximum(core, wing), 0.0)
        return jnp.max(ratio * voigt(jnp.zeros_like(a), a), axis=1) * line_cut, jnp.max(reach, axis=1)

    return jax.lax.map(chunk, (bucket, node))


def line_reach(
    lines: LineList,
    atmospheres: Sequence[tuple[Gas, Float[Array, "*depth"], Bool[Array, " depth"]]],
    line_cut: float = 1e-4,
) -> tuple[Float[np.ndarray, " line"], Float[np.ndarray, " line"]]:
    """Line-centre opacity over continuous absorption, and the distance (km/s) at which it has fallen to `line_cut`.

    Both are the largest over the atmospheres and over their layers that count. A line whose ratio never reaches
    `line_cut` gets reach 0 and may be dropped. An atmosphere is its gas, vmic (km/s, a number or one a layer) and the
    layers that count. The criterion is Turbospectrum's (its eps is 1e-4, over all layers).
    """
    if len(lines) == 0:
        return np.zeros(0), np.zeros(0)
    edges = lines.wavelength.min(), lines.wavelength.max()
    nodes = np.linspace(edges[0], edges[1], max(2, int((edges[1] - edges[0]) / CONTINUUM_STEP) + 2))
    # one bucket that holds every line, whatever the width: only its columns are used
    grid = np.linspace(edges[0] - 1.0, edges[1] + 1.0, 1000)
    [bucket] = make_buckets(lines, np.zeros(len(lines)), grid, chunk_points=256 * 9, spare=True)
    order = np.minimum(np.asarray(bucket.line), len(lines) - 1)
    spacing = max(nodes[1] - nodes[0], 1e-9)  # a single line has one node
    node = np.rint((lines.wavelength[order] - nodes[0]) / spacing).astype(int)
    strength, reach = np.zeros(len(lines)), np.zeros(len(lines))
    for gas, vmic, counts in atmospheres:
        centre, far = _reach(bucket, jnp.asarray(nodes), jnp.asarray(node), gas, vmic, counts, line_cut)
        real = np.asarray(bucket.line).ravel() < len(lines)
        row = np.asarray(bucket.line).ravel()[real]
        strength[row] = np.maximum(strength[row], np.asarray(centre).ravel()[real])
        reach[row] = np.maximum(reach[row], np.asarray(far).ravel()[real])
    return strength, np.where(strength > line_cut, reach, 0.0)
