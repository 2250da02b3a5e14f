"""The dual-encoder network: one encoder for the labels, one for the depth, merged into six outputs a depth.

Source: Li et al. (2025, arXiv 2507.06357) for the two encoders; DeepONet (Lu et al. 2021) for merging by a
product, with which the labels are encoded once a star and not once a depth.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.interpolate import CubicSpline

from astrogf.base.errors import AstrogfError
from astrogf.emulator.options import DepthKind, Merge, Reference, Temperature

QUANTITIES = ("rhox", "t", "p", "xne", "abross", "accrad")
"""Order of the outputs, all natural logarithms; ACCRAD is positive in each of the 214,632 training layers."""


def silu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """JAX's, under a name by which a network can be sent to another process."""
    return jax.nn.silu(x)


def same(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """What is left of the last layer, likewise."""
    return x


class DepthNetwork(eqx.Module):
    """Depth encoder as in the paper: a network on log tau, fed with Gaussians spaced over the range."""

    mlp: eqx.nn.MLP
    low: float = eqx.field(static=True)
    high: float = eqx.field(static=True)

    def __call__(self, log_tau: Float[Array, " depth"]) -> Float[Array, "1 depth feature"]:
        """Features at each depth, the same for every quantity."""
        count = int(self.mlp.in_size)  # type: ignore[call-overload]
        centres = jnp.linspace(-1.0, 1.0, count, dtype=log_tau.dtype)
        u = 2 * (log_tau - self.low) / (self.high - self.low) - 1
        bumps = jnp.exp(-0.5 * ((u[:, None] - centres) / (centres[1] - centres[0])) ** 2)
        return jax.vmap(self.mlp)(bumps)[None]


class DepthModes(eqx.Module):
    """Depth encoder as a table: the principal components over depth of each quantity, splines in log tau."""

    nodes: Float[Array, " node"]
    table: Float[Array, "quantity node feature"]
    bend: Float[Array, "quantity node feature"]

    def __call__(self, log_tau: Float[Array, " depth"]) -> Float[Array, "quantity depth feature"]:
        """The modes at each depth."""
        values, bends = spline_weights(log_tau, self.nodes)
        return jnp.einsum("dn,qnk->qdk", values, self.table) + jnp.einsum("dn,qnk->qdk", bends, self.bend)


class DualEncoder(eqx.Module):
    """Labels and log tau to ln(RHOX, T, P, XNE, ABROSS, ACCRAD), mean and scale of the nodes taken out.

    `mean` and `scale` hold one value a quantity and node of `log_tau`; between the nodes they are splines,
    given by `mean_bend` (second derivatives). With the reference 'grey' T is taken relative to Teff, P to
    gravity, ACCRAD to Teff^4: with the mean at each depth taken out, T/Teff is T over the grey atmosphere's.
    """

    label_encoder: eqx.nn.MLP
    depth_encoder: DepthNetwork | DepthModes
    head: eqx.nn.MLP | None
    label_mean: Float[Array, "4"]
    label_scale: Float[Array, "4"]
    log_tau: Float[Array, " node"]
    mean: Float[Array, "quantity node"]
    mean_bend: Float[Array, "quantity node"]
    scale: Float[Array, " quantity"]
    merge: Merge = eqx.field(static=True)
    reference: Reference = eqx.field(static=True, default="grey")
    temperature: Temperature = eqx.field(static=True, default="inverse")

    def features(self, labels: Float[Array, "4"]) -> Float[Array, "4"]:
        """5040/teff (or teff/5040), logg, feh, alpha, standardised."""
        hot = 5040.0 / labels[0] if self.temperature == "inverse" else labels[0] / 5040.0
        x = jnp.stack([hot, labels[1], labels[2], labels[3]])
        return (x - self.label_mean) / self.label_scale

    def __call__(self, labels: Float[Array, "4"], log_tau: Float[Array, " depth"]) -> Float[Array, "quantity depth"]:
        """Natural logarithms of the six quantities (CGS, K)."""
        code = self.label_encoder(self.features(labels))
        depth = self.depth_encoder(log_tau)
        if self.merge == "product":
            codes = code.reshape(len(QUANTITIES), -1)
            per_quantity = len(depth) > 1
            raw = jnp.einsum("qk,qdk->qd", codes, depth) if per_quantity else codes @ depth[0].T
        else:
            joined = jnp.concatenate([jnp.broadcast_to(code, (len(log_tau), len(code))), depth[0]], axis=-1)
            assert self.head is not None
            raw = jax.vmap(self.head)(joined).T
        base = spline(log_tau, self.log_tau, self.mean, self.mean_bend)
        if self.reference == "none":
            return base + raw * self.scale[:, None]
        ln_t, ln_g = jnp.log(labels[0]), labels[1] * np.log(10.0)
        zero = jnp.zeros_like(ln_g)
        offset = jnp.stack([zero, ln_t, ln_g, zero, zero, 4 * ln_t])
        return base + raw * self.scale[:, None] + offset[:, None]


def offsets(labels: Float[np.ndarray, "node 4"]) -> Float[np.ndarray, "node quantity"]:
    """What the reference 'grey' adds before anything is learned: ln Teff to ln T, ln g to P, 4 ln Teff to ACCRAD."""
    ln_t, ln_g = np.log(labels[:, 0]), labels[:, 1] * np.log(10.0)
    zero = np.zeros_like(ln_g)
    return np.stack([zero, ln_t, ln_g, zero, zero, 4 * ln_t], axis=-1)


def spline_weights(
    x: Float[Array, " depth"], nodes: Float[Array, " node"]
) -> tuple[Float[Array, "depth node"], Float[Array, "depth node"]]:
    """Weights of values and of second derivatives at equally spaced nodes in the cubic spline through them at x."""
    # as matrices, because a product is one small program where gathers of every table are many
    h = nodes[1] - nodes[0]
    i = jnp.clip(jnp.floor((x - nodes[0]) / h).astype(int), 0, len(nodes) - 2)
    left, right = (i[:, None] + k == jnp.arange(len(nodes)) for k in (0, 1))
    b = ((x - nodes[i]) / h)[:, None]
    a = 1 - b
    values = jnp.where(left, a, 0.0) + jnp.where(right, b, 0.0)
    bends = jnp.where(left, a**3 - a, 0.0) + jnp.where(right, b**3 - b, 0.0)
    return values, bends * (h**2 / 6)


def spline(
    x: Float[Array, " depth"],
    nodes: Float[Array, " node"],
    values: Float[Array, "*curve node"],
    bend: Float[Array, "*curve node"],
) -> Float[Array, "*curve depth"]:
    """Cubic splines on equally spaced nodes from values and second derivatives."""
    of_value, of_bend = spline_weights(x, nodes)
    return values @ of_value.T + bend @ of_bend.T


def build(
    labels: Float[np.ndarray, "node 4"],
    log_tau: Float[np.ndarray, " depth"],
    ln_values: Float[np.ndarray, "node quantity depth"],
    *,
    width: int,
    layers: int,
    rank: int,
    depth_encoder: DepthKind,
    merge: Merge,
    reference: Reference = "grey",
    temperature: Temperature = "inverse",
    key: PRNGKeyArray,
) -> DualEncoder:
    """A network before training: standardised on these nodes, weights drawn from `key`.

    The depth encoder 'nodes' gives every depth of the grid its own output: a plain network of the labels.
    """
    hot = 5040.0 / labels[:, 0] if temperature == "inverse" else labels[:, 0] / 5040.0
    x = np.column_stack([hot, labels[:, 1:]])
    rank = len(log_tau) if depth_encoder == "nodes" else min(rank, len(labels), len(log_tau))
    rest = ln_values - (offsets(labels)[:, :, None] if reference == "grey" else 0.0)
    mean = rest.mean(axis=0)
    scale = (rest - mean).std(axis=(0, 2))
    k1, k2, k3 = jax.random.split(key, 3)
    q = len(QUANTITIES)
    depth: DepthNetwork | DepthModes
    if depth_encoder != "network":
        if merge != "product":
            raise AstrogfError(
                f"depth_encoder '{depth_encoder}' needs merge 'product'; choose 'network' to concatenate"
            )
        each = np.broadcast_to(np.eye(rank), (q, rank, rank))
        modes = each if depth_encoder == "nodes" else principal((rest - mean) / scale[:, None], rank)
        bend = CubicSpline(log_tau, modes, axis=1)(log_tau, 2)
        depth = DepthModes(jnp.asarray(log_tau), jnp.asarray(modes), jnp.asarray(bend))
    else:
        mlp = eqx.nn.MLP(24, rank, 128, 2, silu, same, key=k2)
        depth = DepthNetwork(mlp, float(log_tau[0]), float(log_tau[-1]))
    head = None if merge == "product" else eqx.nn.MLP(2 * rank, q, width, 2, silu, same, key=k3)
    return DualEncoder(
        eqx.nn.MLP(4, q * rank if merge == "product" else rank, width, layers, silu, same, key=k1),
        depth,
        head,
        jnp.asarray(x.mean(0)),
        jnp.asarray(np.where(x.std(0) > 0, x.std(0), 1.0)),
        jnp.asarray(log_tau),
        jnp.asarray(mean),
        jnp.asarray(CubicSpline(log_tau, mean, axis=-1)(log_tau, 2)),
        jnp.asarray(scale),
        merge,
        reference,
        temperature,
    )


def principal(rest: Float[np.ndarray, "node quantity depth"], rank: int) -> Float[np.ndarray, "quantity depth rank"]:
    """Principal components over depth of each quantity, each of the size of its spread over the nodes."""
    tables = []
    for q in range(rest.shape[1]):
        _, size, modes = np.linalg.svd(rest[:, q] - rest[:, q].mean(0), full_matrices=False)
        tables.append((size[:rank, None] * modes[:rank]).T / np.sqrt(len(rest)))
    return np.stack(tables)
