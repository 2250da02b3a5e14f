"""The emulator that the rooms above use: labels to a structure, with its hull, read from one weights file."""

import json
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from astrogf.base.errors import AstrogfError, NoFileError
from astrogf.emulator import hydrostatic
from astrogf.emulator.domain import Hull
from astrogf.emulator.network import DepthModes, DepthNetwork, DualEncoder, same, silu
from astrogf.emulator.options import Equilibrium
from astrogf.emulator.structure import Structure

DATA = Path(__file__).parent / "data"
DEFAULT_DEPTHS = 80
"""'integral': RHOX and P are integrals of g, ACCRAD and ABROSS; 'loss', 'none': the network's own outputs."""


class Emulator(eqx.Module):
    """Atmospheres as a smooth function of the labels.

    `Emulator(labels, tau)` is pure: jit, vmap and grad work on it, and it answers in float64. `tau` has to
    lie in the range of the training grid (`tau_range`). Ask `margin` or `inside` whether the labels lie in
    the hull: beyond it the answer has no meaning. To compile it write `jax.jit(lambda x: emulator(x))` or use
    `eqx.filter_jit`: an equinox module is not hashable, as `jax.jit` would want it.
    """

    network: DualEncoder
    hull: Hull
    cumulative: Float[Array, "node node"]
    family: str = eqx.field(static=True)
    equilibrium: Equilibrium = eqx.field(static=True)
    tau_range: tuple[float, float] = eqx.field(static=True)
    """Lowest and highest log10 tau of the training grid."""

    def __call__(self, labels: Float[Array, "4"], tau: Float[Array, " depth"] | None = None) -> Structure:
        """Structure (CGS, K) at Rosseland depths `tau`; 80 depths, log tau -6.875 to 2, by default.

        Shapes: labels (teff, logg, feh, alpha) of one star; vmap over stars. Raises ValueError when `tau` is
        known (not traced) and leaves the training range.
        """
        labels = jnp.asarray(labels, dtype=jnp.float64)
        log_tau = self.default_log_tau if tau is None else _checked(tau, self.tau_range)
        return self.on_log_tau(labels, log_tau)

    def on_log_tau(self, labels: Float[Array, "4"], log_tau: Float[Array, " depth"]) -> Structure:
        """As `__call__`, on log10 tau and in the precision of its arguments."""
        tau = 10.0**log_tau
        ln = self.network(labels, log_tau)
        if self.equilibrium == "integral":
            ln_rhox, ln_p = self._integrated(labels, log_tau)
        else:
            ln_rhox, ln_p = ln[0], ln[2]
        return Structure(
            tau,
            jnp.exp(ln_rhox),
            jnp.exp(ln[1]),
            jnp.exp(ln_p),
            jnp.exp(ln[3]),
            jnp.exp(ln[4]),
            jnp.exp(ln[5]),
        )

    def _integrated(
        self, labels: Float[Array, "4"], log_tau: Float[Array, " depth"]
    ) -> tuple[Float[Array, " depth"], Float[Array, " depth"]]:
        nodes = self.network.log_tau
        at_nodes = self.network(labels, nodes)
        tau, gravity = 10.0**nodes, 10.0 ** labels[1]
        abross, accrad = jnp.exp(at_nodes[4]), jnp.exp(at_nodes[5])
        top = jnp.exp(at_nodes[:, 0])
        rhox, p = hydrostatic.integrate(self.cumulative, tau, gravity, abross, accrad, top[0], top[2])
        # Slopes are exact, so that equilibrium holds between the nodes as well as on them.
        mass = tau / abross
        x, ln_nodes = log_tau * hydrostatic.LN10, nodes * hydrostatic.LN10
        ln_rhox = hydrostatic.hermite(x, ln_nodes, jnp.log(rhox), mass / rhox)
        ln_p = hydrostatic.hermite(x, ln_nodes, jnp.log(p), mass * (gravity - accrad) / p)
        return ln_rhox, ln_p

    @property
    def default_log_tau(self) -> Float[Array, " depth"]:
        """80 equal steps in log tau over the training range."""
        return jnp.linspace(*self.tau_range, DEFAULT_DEPTHS)

    def margin(self, labels: Float[Array, "4"]) -> Float[Array, ""]:
        """Distance to the nearest face of the training hull in grid steps, positive inside."""
        return self.hull.margin(labels)

    def inside(self, labels: Float[Array, "4"]) -> Bool[Array, ""]:
        """Whether the labels lie in the training hull."""
        return self.hull.inside(labels)


def _checked(tau: Float[Array, " depth"], log_range: tuple[float, float]) -> Float[Array, " depth"]:
    tau = jnp.asarray(tau, dtype=jnp.float64)
    low, high = log_range
    if not isinstance(tau, jax.core.Tracer):
        values = np.log10(np.maximum(np.asarray(tau), 1e-300))
        if values.min() < low - 1e-6 or values.max() > high + 1e-6:
            raise AstrogfError(
                f"tau covers log10 {values.min():.3f} to {values.max():.3f}, but the emulator knows {low} to "
                f"{high}: cut the depth grid"
            )
    return jnp.log10(tau)


def make(network: DualEncoder, hull: Hull, family: str, equilibrium: Equilibrium) -> Emulator:
    """An emulator around a network; the quadrature follows from the network's own depth grid."""
    cumulative = hydrostatic.cumulative_matrix(np.asarray(network.log_tau, dtype=np.float64))
    ends = float(network.log_tau[0]), float(network.log_tau[-1])
    return Emulator(network, hull, jnp.asarray(cumulative), family, equilibrium, ends)


def save(emulator: Emulator, path: Path) -> None:
    """Write weights (float32), standardisation and hull: one JSON line with the shapes, then the arrays."""
    net = emulator.network
    depth = net.depth_encoder
    head = {
        "family": emulator.family,
        "equilibrium": emulator.equilibrium,
        "merge": net.merge,
        "reference": net.reference,
        "temperature": net.temperature,
        "log_tau": [*emulator.tau_range, len(net.log_tau)],
        "label_mlp": _shape(net.label_encoder),
        "depth_mlp": _shape(depth.mlp) if isinstance(depth, DepthNetwork) else None,
        "modes": list(depth.table.shape) if isinstance(depth, DepthModes) else None,
        "head_mlp": _shape(net.head) if net.head is not None else None,
        "knots": len(emulator.hull.knots),
    }
    weights, tables = partition(net)
    with path.open("wb") as f:
        f.write((json.dumps(head) + "\n").encode())
        eqx.tree_serialise_leaves(f, (_cast(weights, jnp.float32), tables, emulator.hull))


def load(family: str = "atlas9", path: Path | None = None) -> Emulator:
    """The shipped emulator of a family, or the one in a weights file that `astrogf train` wrote.

    Raises FileNotFoundError naming the families that are shipped.
    """
    path = path or DATA / f"{family}.eqx"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in DATA.glob("*.eqx"))) or "none"
        raise NoFileError(f"no emulator weights at {path}; families shipped: {known}")
    with path.open("rb") as f:
        head = json.loads(f.readline())
        # of shapes alone: a blank network would be drawn at random, in dozens of small compilations
        like = eqx.filter_eval_shape(lambda: _blank(head))
        with jax.ensure_compile_time_eval():
            weights, tables, hull = jax.tree.map(_double, eqx.tree_deserialise_leaves(f, like))
            return make(eqx.combine(weights, tables), hull, head["family"], head["equilibrium"])


def _blank(head: dict) -> tuple[DualEncoder, DualEncoder, Hull]:
    """What `save` writes after the head: learned weights in float32, what is fixed, hull."""
    zero = jnp.zeros
    low, high, n = head["log_tau"]
    depth: DepthModes | DepthNetwork
    if head["modes"]:
        depth = DepthModes(zero(n), zero(head["modes"]), zero(head["modes"]))
    else:
        depth = DepthNetwork(_mlp(head["depth_mlp"]), low, high)
    final = _mlp(head["head_mlp"]) if head["head_mlp"] else None
    tables = (zero(4), zero(4), zero(n), zero((6, n)), zero((6, n)), zero(6))
    choices = head["merge"], head.get("reference", "grey"), head.get("temperature", "inverse")
    blank = DualEncoder(_mlp(head["label_mlp"]), depth, final, *tables, *choices)
    k = head["knots"]
    weights, rest = partition(blank)
    return _cast(weights, jnp.float32), rest, Hull(zero(4), zero(4), zero(k), zero(k), zero(2))


def _double(leaf: Any) -> Any:
    return jnp.asarray(np.asarray(leaf, np.float64)) if eqx.is_array(leaf) else leaf


def partition(net: DualEncoder) -> tuple[DualEncoder, DualEncoder]:
    """What is learned (float32 on disk) and what is fixed before: standardisation, depth grid, modes."""
    learned = jax.tree.map(lambda _: False, net)
    learned = eqx.tree_at(lambda n: n.label_encoder, learned, jax.tree.map(eqx.is_array, net.label_encoder))
    if isinstance(net.depth_encoder, DepthNetwork):
        learned = eqx.tree_at(lambda n: n.depth_encoder, learned, jax.tree.map(eqx.is_array, net.depth_encoder))
    if net.head is not None:
        learned = eqx.tree_at(lambda n: n.head, learned, jax.tree.map(eqx.is_array, net.head))
    return eqx.partition(net, learned)


def _cast(tree: DualEncoder, dtype: type) -> DualEncoder:
    return jax.tree.map(lambda a: a.astype(dtype), tree)


def _shape(mlp: eqx.nn.MLP) -> list[int]:
    return [int(mlp.in_size), int(mlp.out_size), mlp.width_size, mlp.depth]  # type: ignore[call-overload]


def _mlp(shape: list[int]) -> eqx.nn.MLP:
    return eqx.nn.MLP(
        shape[0], shape[1], shape[2], shape[3], activation=silu, final_activation=same, key=jax.random.key(0)
    )
