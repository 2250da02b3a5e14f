"""The last layer of one quantity, solved for by robust least squares once the network is trained.

With the hidden layers fixed the outputs are linear in the last layer, and each quantity has rows of its own there: one
quantity can be brought to its best without a change in the others' outputs.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from astrogf.base.errors import AstrogfError
from astrogf.emulator.network import QUANTITIES, DepthModes, DualEncoder, offsets


def polish(
    net: DualEncoder,
    labels: Float[np.ndarray, "node 4"],
    ln_values: Float[np.ndarray, "node 6 depth"],
    quantity: str,
    *,
    clip: float,
    layer: Float[np.ndarray, " depth"],
    rounds: int = 60,
    ridge: float = 1e-5,
) -> DualEncoder:
    """The network with the last layer of `quantity` fitted to these nodes, on the network's own depths.

    `clip`: misses in ln beyond it count as if they were `clip` (Huber's modified residuals: Huber & Ronchetti 2009,
    Robust Statistics, section 7.8). `layer`: weight of each depth. `ridge`: penalty on the change of a weight relative
    to the mean square of the features. Raises ValueError for another merge than a product with depth modes.
    """
    if net.merge != "product" or not isinstance(net.depth_encoder, DepthModes):
        raise AstrogfError("polish: only networks with merge 'product' and depth_encoder 'modes' have rows a quantity")
    q = QUANTITIES.index(quantity)
    hidden = jax.vmap(net.features)(jnp.asarray(labels))
    for one in net.label_encoder.layers[:-1]:
        assert one.bias is not None
        hidden = jax.nn.silu(hidden @ one.weight.T + one.bias)
    features = np.column_stack([np.asarray(hidden), np.ones(len(labels))])
    last = net.label_encoder.layers[-1]
    assert last.bias is not None
    modes = np.asarray(net.depth_encoder.table[q])
    rows = slice(q * modes.shape[1], (q + 1) * modes.shape[1])
    weights = np.column_stack([np.asarray(last.weight[rows]), np.asarray(last.bias[rows])])

    reference = offsets(labels)[:, q, None] if net.reference == "grey" else 0.0
    goal = (ln_values[:, q] - reference - np.asarray(net.mean[q])) / float(net.scale[q])
    clip = clip / float(net.scale[q])
    project = np.linalg.pinv(modes * np.sqrt(layer)[:, None]) * np.sqrt(layer)
    square = features.T @ features
    solve = np.linalg.solve(square + ridge * np.trace(square) * np.eye(len(square)), features.T)
    for _ in range(rounds):
        miss = np.clip(goal - features @ weights.T @ modes.T, -clip, clip)
        weights = weights + (solve @ (miss @ project.T)).T
    full, bias = last.weight.at[rows].set(weights[:, :-1]), last.bias.at[rows].set(weights[:, -1])
    return eqx.tree_at(
        lambda n: (n.label_encoder.layers[-1].weight, n.label_encoder.layers[-1].bias), net, (full, bias)
    )
