"""The dual-encoder network: one encoder for the labels, one for the optical depth, merged into six outputs a depth.

Source: Li et al. (2025, arXiv 2507.06357) for the two encoders; DeepONet (Lu et al. 2021) for merging by a product,
with which the labels are encoded once a star and not once a depth.
"""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

QUANTITIES = ("rhox", "t", "p", "xne", "abross", "accrad")
"""Order of the outputs. All are natural logarithms; ACCRAD is positive in each of the 214,632 training layers."""

Merge = Literal["product", "concat"]


class DepthEncoder(eqx.Module):
    """Smooth functions of log tau: Chebyshev polynomials mixed by a small network ('product' and 'concat' alike)."""

    mlp: eqx.nn.MLP
    low: float = eqx.field(static=True)
    high: float = eqx.field(static=True)
    degree: int = eqx.field(static=True)

    def __init__(self, low: float, high: float, degree: int, width: int, out: int, key: PRNGKeyArray):
        self.low, self.high, self.degree = low, high, degree
        self.mlp = eqx.nn.MLP(degree, out, width, 2, jax.nn.silu, key=key)

    def __call__(self, log_tau: Float[Array, ""]) -> Float[Array, " feature"]:
        """Features at one depth."""
        u = 2 * (log_tau - self.low) / (self.high - self.low) - 1
        terms = [u, 2 * u * u - 1]
        for _ in range(self.degree - 2):
            terms.append(2 * u * terms[-1] - terms[-2])
        return self.mlp(jnp.stack(terms))


class DualEncoder(eqx.Module):
    """Labels and log tau to ln(RHOX, T, P, XNE, ABROSS, ACCRAD), mean and scale of the training set taken out.

    `mean` and `scale` hold one value a quantity and node of `log_tau`; between the nodes they are splines, given by
    `mean_bend` (second derivatives). T is taken relative to Teff, P to gravity, ACCRAD to Teff^4.
    """

    label_encoder: eqx.nn.MLP
    depth_encoder: DepthEncoder
    head: eqx.nn.MLP | eqx.nn.Linear
    label_mean: Float[Array, "4"]
    label_scale: Float[Array, "4"]
    log_tau: Float[Array, " node"]
    mean: Float[Array, "quantity node"]
    mean_bend: Float[Array, "quantity node"]
    scale: Float[Array, " quantity"]
    merge: Merge = eqx.field(static=True)

    def features(self, labels: Float[Array, "4"]) -> Float[Array, "4"]:
        """5040/teff, logg, feh, alpha, standardised."""
        x = jnp.stack([5040.0 / labels[0], labels[1], labels[2], labels[3]])
        return (x - self.label_mean) / self.label_scale

    def __call__(
        self, labels: Float[Array, "4"], log_tau: Float[Array, " depth"]
    ) -> Float[Array, "quantity depth"]:
        """Natural logarithms of the six quantities (CGS, K)."""
        code = self.label_encoder(self.features(labels))
        depth = jax.vmap(self.depth_encoder)(log_tau)
        if self.merge == "product":
            raw = jnp.einsum("qk,dk->qd", code.reshape(len(QUANTITIES), -1), depth)
        else:
            joined = jnp.concatenate([jnp.broadcast_to(code, (len(log_tau), len(code))), depth], axis=-1)
            raw = jax.vmap(self.head)(joined).T
        base = jax.vmap(lambda m, b: spline(log_tau, self.log_tau, m, b))(self.mean, self.mean_bend)
        ln_t, ln_g = jnp.log(labels[0]), labels[1] * np.log(10.0)
        zero = jnp.zeros_like(ln_g)
        offset = jnp.stack([zero, ln_t, ln_g, zero, zero, 4 * ln_t])
        return base + raw * self.scale[:, None] + offset[:, None]


def offsets(labels: Float[np.ndarray, "node 4"]) -> Float[np.ndarray, "node quantity"]:
    """What `DualEncoder` adds to each logarithm before anything is learned: ln Teff to T, ln g to P, 4 ln Teff to ACCRAD."""
    ln_t, ln_g = np.log(labels[:, 0]), labels[:, 1] * np.log(10.0)
    zero = np.zeros_like(ln_g)
    return np.stack([zero, ln_t, ln_g, zero, zero, 4 * ln_t], axis=-1)


def spline(
    x: Float[Array, " depth"],
    nodes: Float[Array, " node"],
    values: Float[Array, " node"],
    bend: Float[Array, " node"],
) -> Float[Array, " depth"]:
    """Cubic spline on equally spaced nodes from values and second derivatives."""
    h = nodes[1] - nodes[0]
    i = jnp.clip(jnp.floor((x - nodes[0]) / h).astype(int), 0, len(nodes) - 2)
    b = (x - nodes[i]) / h
    a = 1 - b
    return a * values[i] + b * values[i + 1] + ((a**3 - a) * bend[i] + (b**3 - b) * bend[i + 1]) * h**2 / 6


def build(
    labels: Float[np.ndarray, "node 4"],
    log_tau: Float[np.ndarray, " depth"],
    ln_values: Float[np.ndarray, "node quantity depth"],
    *,
    width: int,
    layers: int,
    rank: int,
    degree: int,
    depth_width: int,
    merge: Merge,
    key: PRNGKeyArray,
) -> DualEncoder:
    """A network before training: standardised on these nodes, weights drawn from `key`."""
    from scipy.interpolate import CubicSpline

    x = np.column_stack([5040.0 / labels[:, 0], labels[:, 1:]])
    rest = ln_values - offsets(labels)[:, :, None]
    mean = rest.mean(axis=0)
    k1, k2, k3 = jax.random.split(key, 3)
    q = len(QUANTITIES)
    out = q * rank if merge == "product" else rank
    head: eqx.nn.MLP | eqx.nn.Linear
    if merge == "product":
        head = eqx.nn.Linear(1, 1, key=k3)  # unused: the product is the head
    else:
        head = eqx.nn.MLP(2 * rank, q, width, 2, jax.nn.silu, key=k3)
    return DualEncoder(
        eqx.nn.MLP(4, out, width, layers, jax.nn.silu, key=k1),
        DepthEncoder(float(log_tau[0]), float(log_tau[-1]), degree, depth_width, rank, k2),
        head,
        jnp.asarray(x.mean(0)),
        jnp.asarray(np.where(x.std(0) > 0, x.std(0), 1.0)),
        jnp.asarray(log_tau),
        jnp.asarray(mean),
        jnp.asarray(CubicSpline(log_tau, mean, axis=-1)(log_tau, 2)),
        jnp.asarray((rest - mean).std(axis=(0, 2))),
        merge,
    )
