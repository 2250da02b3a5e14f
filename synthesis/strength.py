"""Which lines matter, and how far each one reaches: the error bound on the opacity that sets the windows."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from synthesis.buckets import Bucket, make_buckets
from synthesis.continuum import continuum_opacity
from synthesis.gas import Gas
from synthesis.linelist import LineList
from synthesis.lines import line_constants, profile_state
from synthesis.voigt import voigt

HALVINGS = 14
LEAST_KMS, MOST_KMS = 1.0, 60_000.0
CONTINUUM_STEP = 100.0  # Angstrom between the wavelengths where lines are weighed against the continuum


@eqx.filter_jit
def _reach(
    bucket: Bucket, nodes: Array, node: Array, gas: Gas, vmic: Array, counts: Array, cut: float
) -> tuple[Array, Array]:
    """Line-centre opacity over continuum, and the velocity at which the ratio has fallen to `cut`, per line."""
    absorption, _ = continuum_opacity(nodes, gas)

    def chunk(inputs):
        b, node = inputs
        scale, doppler, a = line_constants(b, profile_state(gas, vmic), jnp.zeros(1))
        # the scattering part of the continuum is left out: it is the stricter bound, and Turbospectrum's
        scale = jnp.where(counts, scale / absorption[node], 0.0)

        def ratio(velocity):
            return jnp.max(scale * voigt(velocity[:, None] / doppler, a), axis=1)

        def halve(_, bracket):
            low, high = bracket
            middle = 0.5 * (low + high)
            above = ratio(jnp.exp(middle)) > cut
            return jnp.where(above, middle, low), jnp.where(above, high, middle)

        start = jnp.full(b.mass.shape, np.log(LEAST_KMS)), jnp.full(b.mass.shape, np.log(MOST_KMS))
        _, high = jax.lax.fori_loop(0, HALVINGS, halve, start)
        return ratio(jnp.zeros(b.mass.shape)), jnp.exp(high)

    return jax.lax.map(chunk, (bucket, node))


def line_reach(
    lines: LineList,
    atmospheres: Sequence[tuple[Gas, Float[Array, "*depth"], Bool[Array, " depth"]]],
    cut: float = 1e-4,
) -> tuple[Float[np.ndarray, " line"], Float[np.ndarray, " line"]]:
    """Line-centre opacity over continuous absorption, and the distance (km/s) at which it has fallen to `cut`.

    Both are the largest over the atmospheres and over their layers that count. A line whose ratio never reaches
    `cut` gets reach 0 and may be dropped. An atmosphere is its gas, vmic (km/s, a number or one a layer) and the
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
    node = np.rint((lines.wavelength[order] - nodes[0]) / (nodes[1] - nodes[0])).astype(int)
    strength, reach = np.zeros(len(lines)), np.zeros(len(lines))
    for gas, vmic, counts in atmospheres:
        centre, far = _reach(bucket, jnp.asarray(nodes), jnp.asarray(node), gas, vmic, counts, cut)
        real = np.asarray(bucket.line).ravel() < len(lines)
        row = np.asarray(bucket.line).ravel()[real]
        strength[row] = np.maximum(strength[row], np.asarray(centre).ravel()[real])
        reach[row] = np.maximum(reach[row], np.asarray(far).ravel()[real])
    return strength, np.where(strength > cut, reach, 0.0)
