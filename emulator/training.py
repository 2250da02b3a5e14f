"""Training of the emulator: `main(config_path, out)` is what `astrogf train` calls."""

import hashlib
import json
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from astrogf.base.errors import AstrogfError
from astrogf.emulator import model, network
from astrogf.emulator.cards import RANGE, Card, evaluate
from astrogf.emulator.domain import Hull, neighbours
from astrogf.emulator.options import TrainOptions
from astrogf.emulator.polish import polish

TOLERANCE = {"rhox": 0.01, "t": 0.001, "p": 0.01, "xne": 0.02, "abross": 0.02, "accrad": 0.05}
"""Errors in ln q that count as one in the loss; beyond a few it grows linearly (unconverged layers)."""

CLIP = {"t": 0.002, "xne": 0.02, "abross": 0.02, "accrad": 0.12}
"""Misses in ln q at which the polishing of the last layer clips. RHOX and P are integrals and left out; that of ACCRAD
is wide because its 99th percentile, set by decks that did not converge, grows where it is narrow."""


class Price(NamedTuple):
    """What the loss counts how much; the keys of `TrainOptions` of the same names.

    `physics` and `sobolev`: see `loss`. `state` multiplies the misses of XNE and ABROSS, `accrad` those of ACCRAD,
    `edge` the loss of layers outside the range of the card's errors; from `knee` tolerances on the loss is linear.
    """

    physics: float = 0.0
    sobolev: float = 0.0
    state: float = 1.0
    accrad: float = 1.0
    edge: float = 1.0
    knee: float = 4.0

    @classmethod
    def of(cls, config: TrainOptions) -> "Price":
        """As the configuration says."""
        c = config
        return cls(c.physics_weight, c.sobolev_weight, c.state_weight, c.accrad_weight, c.edge_weight, c.knee)

    def units(self) -> Float[np.ndarray, "6"]:
        """Misses in ln q that count as one, in the order of QUANTITIES."""
        more = {"xne": self.state, "abross": self.state, "accrad": self.accrad}
        return np.array([TOLERANCE[q] / more.get(q, 1.0) for q in network.QUANTITIES])


PLAIN = Price()
"""No physics, no derivatives, everything counted once."""


class Nodes(NamedTuple):
    """The training set: labels, log tau grid, ln of the six quantities, and the file's hash."""

    labels: Float[np.ndarray, "node 4"]
    log_tau: Float[np.ndarray, " depth"]
    ln_values: Float[np.ndarray, "node 6 depth"]
    sha256: str

    @classmethod
    def read(cls, path: Path) -> "Nodes":
        """From the file that tools/build_atlas9.py writes."""
        if not path.exists():
            raise AstrogfError(f"no training set at {path}: build it with `python tools/build_{path.stem}.py`")
        with np.load(path) as z:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            return cls(z["labels"], z["log_tau"], np.log(z["values"]), digest)

    def split(self, held_out: float, validation: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Indices, drawn at random, of the nodes to fit, to stop by and to report on."""
        order = np.random.default_rng(seed).permutation(len(self.labels))
        a = max(1, round(held_out * len(order)))
        b = a + max(1, round(validation * len(order)))
        return np.sort(order[b:]), np.sort(order[a:b]), np.sort(order[:a])


def loss(
    emulator: model.Emulator,
    labels: Float[Array, "node 4"],
    log_tau: Float[Array, " depth"],
    target: Float[Array, "node 6 depth"],
    price: Price = PLAIN,
) -> Float[Array, ""]:
    """Pseudo-Huber distance in ln q in units of TOLERANCE; with 'loss', the two equations of equilibrium too.

    With a Sobolev weight the first half of the nodes are neighbours of the second, and the miss of their
    differences counts in units of a fifth of TOLERANCE: what a label derivative is off by.

    The equations are taken as d ln RHOX / d ln tau = tau / (ABROSS RHOX) and d ln P / d ln tau =
    tau (g - ACCRAD) / (ABROSS P), the left sides by forward differentiation of the network in tau.
    """
    unit = jnp.asarray(price.units(), dtype=target.dtype)
    counted = (log_tau >= RANGE[0] - 1e-6) & (log_tau <= RANGE[1] + 1e-6)
    layer = jnp.where(counted, 1.0, price.edge)
    layer = layer / jnp.mean(layer)

    def huber(miss: Float[Array, "6 depth"]) -> Float[Array, ""]:
        return jnp.mean(layer * (jnp.sqrt(1 + (miss / price.knee) ** 2) - 1)) * price.knee**2

    def one(label: Float[Array, "4"], goal: Float[Array, "6 depth"]) -> tuple[Array, Float[Array, "6 depth"]]:
        s = emulator.on_log_tau(label, log_tau)
        ln = jnp.log(jnp.stack([getattr(s, q) for q in network.QUANTITIES]))
        miss = (ln - goal) / unit[:, None]
        total = huber(miss)
        if emulator.equilibrium == "loss":
            ln, slope = jax.jvp(lambda u: emulator.network(label, u), (log_tau,), (jnp.ones_like(log_tau),))
            slope = slope / np.log(10.0)
            mass = jnp.exp(log_tau * np.log(10.0) - ln[4])
            rhox = (slope[0] - mass / jnp.exp(ln[0])) / 0.002
            p = (slope[2] - mass * (10.0 ** label[1] - jnp.exp(ln[5])) / jnp.exp(ln[2])) / 0.002
            total = total + price.physics * jnp.mean(jnp.sqrt(1 + rhox**2) + jnp.sqrt(1 + p**2) - 2)
        return total, miss

    total, miss = jax.vmap(one)(labels, target)
    if price.sobolev > 0:
        half = len(labels) // 2
        total = jnp.mean(total) + price.sobolev * jnp.mean(jax.vmap(huber)(5 * (miss[half:] - miss[:half])))
    return jnp.mean(total)


def train(config: TrainOptions, out: Path, say: Callable[[str], None] = print) -> Card:
    """Train, write `out/<family>.eqx` (weights), `<family>.json` (card), and return the card.

    A run that was cut off goes on from `out/checkpoint.eqx` (same config only). Raises AstrogfError
    without the training set.
    """
    out.mkdir(parents=True, exist_ok=True)
    nodes = Nodes.read(Path(config.data))
    fit, stop, held = nodes.split(config.held_out, config.validation, config.seed_split)
    key = jax.random.key(config.seed)
    net = network.build(
        nodes.labels[fit], nodes.log_tau, nodes.ln_values[fit], width=config.width, layers=config.layers,
        rank=config.rank, depth_encoder=config.depth_encoder, merge=config.merge,
        reference=config.reference, temperature=config.temperature, key=key,
    )  # fmt: skip
    if config.start:
        net = started(Path(config.start), nodes)
    hull = Hull.of(nodes.labels)
    template = single(model.make(net, hull, config.family, config.equilibrium))
    weights, fixed = model.partition(template.network)

    def assemble(w: Any) -> model.Emulator:
        return eqx.tree_at(lambda e: e.network, template, eqx.combine(w, fixed))

    schedule = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, min(500, config.steps // 10), config.steps, 1e-3 * config.learning_rate
    )
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), rule(config, schedule))
    data = single((nodes.labels[fit], nodes.ln_values[fit]))
    check = single((nodes.labels[stop], nodes.ln_values[stop]))
    log_tau = jnp.asarray(nodes.log_tau, jnp.float32)
    pairs = jnp.asarray(np.concatenate(list(neighbours(nodes.labels[fit]).values())))

    price = Price.of(config)
    plain = price._replace(physics=0.0, sobolev=0.0)

    def draw(k: Array) -> Array:
        if config.sobolev_weight > 0:
            return jax.random.choice(k, pairs, (config.batch // 2,), replace=True).T.reshape(-1)
        return jax.random.choice(k, len(fit), (config.batch,), replace=False)

    def step(carry: tuple, k: Array) -> tuple[tuple, Array]:
        w, mean, state = carry
        pick = draw(k)
        value, slope = jax.value_and_grad(lambda v: loss(assemble(v), data[0][pick], log_tau, data[1][pick], price))(w)
        update, state = optimiser.update(slope, state, w)
        w = optax.apply_updates(w, update)
        mean = jax.tree.map(lambda a, b: config.average * a + (1 - config.average) * b, mean, w)
        return (w, mean, state), value

    @jax.jit
    def block(carry: tuple, k: Array) -> tuple[tuple, Array, Array]:
        carry, values = jax.lax.scan(step, carry, jax.random.split(k, config.check_every))
        return carry, values.mean(), loss(assemble(carry[1]), check[0], log_tau, check[1], plain)

    carry = (weights, weights, optimiser.init(weights))
    history: list[list[float]] = []
    best, best_weights = np.inf, weights
    before = 0.0
    checkpoint, note = out / "checkpoint.eqx", out / "checkpoint.json"
    if checkpoint.exists() and note.exists():
        saved = json.loads(note.read_text())
        if saved["config"] == config.model_dump(mode="json"):
            carry, best_weights = eqx.tree_deserialise_leaves(checkpoint, (carry, best_weights))
            history = saved["history"]
            best = min(h[2] for h in history)
            say(f"going on from step {int(history[-1][0])}")
            before = saved.get("seconds", 0.0)
    start, blocks = time.time() - before, config.steps // config.check_every
    for i in range(len(history), blocks):
        with jax.default_matmul_precision("highest"):  # TF32 would spoil the quadrature on a GPU
            carry, value, stop_value = block(carry, jax.random.fold_in(key, i))
        history.append([(i + 1) * config.check_every, float(value), float(stop_value)])
        if history[-1][2] < best:
            best, best_weights = history[-1][2], carry[1]
        eqx.tree_serialise_leaves(checkpoint, (carry, best_weights))
        seconds = time.time() - start
        note.write_text(json.dumps({"config": config.model_dump(mode="json"), "history": history, "seconds": seconds}))
        done = (i + 1) * config.check_every
        say(f"step {done}: loss {value:.4f}, validation {stop_value:.4f}, {seconds:.0f} s")
        since = len(history) - 1 - int(np.argmin([h[2] for h in history]))
        if since >= config.patience or seconds > config.max_seconds or not np.isfinite(float(value)):
            say("stopped early")
            break
    final = eqx.combine(jax.tree.map(lambda a: a.astype(jnp.float64), best_weights), model.partition(net)[1])
    if config.polish_rounds:
        counted = np.where(
            (nodes.log_tau >= RANGE[0] - 1e-6) & (nodes.log_tau <= RANGE[1] + 1e-6), 1.0, config.edge_weight
        )
        for quantity, clip in CLIP.items():
            final = polish(
                final, nodes.labels[fit], nodes.ln_values[fit], quantity,
                clip=clip, layer=counted, rounds=config.polish_rounds,
            )  # fmt: skip
    emulator = model.make(final, hull, config.family, config.equilibrium)
    model.save(emulator, out / f"{config.family}.eqx")
    emulator = model.load(config.family, out / f"{config.family}.eqx")
    extra = {
        "source": config.source,
        "config": config.model_dump(mode="json"), "version": _version(), "data_sha256": nodes.sha256,
        "nodes": {"fitted": len(fit), "validation": len(stop), "held_out": len(held)},
        "start_sha256": hashlib.sha256(Path(config.start).read_bytes()).hexdigest() if config.start else None,
        "best_validation_loss": best,
        "steps": int(history[-1][0]), "seconds": round(time.time() - start, 1),
        "device": jax.devices()[0].device_kind,
        "test_nodes": nodes.labels[held[:: max(1, len(held) // 5)]][:5].tolist(),
        "weights_sha256": hashlib.sha256((out / f"{config.family}.eqx").read_bytes()).hexdigest(),
    }  # fmt: skip
    card = evaluate(emulator, nodes.labels[held], nodes.log_tau, nodes.ln_values[held], extra)
    (out / f"{config.family}.json").write_text(json.dumps(card, indent=1) + "\n")
    return card


def started(path: Path, nodes: Nodes) -> network.DualEncoder:
    """The network in a weights file, to go on from on other nodes: its tables stay what they were.

    Raises ValueError when it was made for other depths.
    """
    net = model.load(path.stem, path).network
    if net.log_tau.shape != nodes.log_tau.shape or not np.allclose(net.log_tau, nodes.log_tau):
        raise AstrogfError(f"{path}: made for other depths than the training set; start needs the same ones")
    return net


def rule(config: TrainOptions, schedule: optax.Schedule) -> optax.GradientTransformation:
    """AdamW, or Muon (Jordan et al. 2024) on the matrices at ten times the rate with Adam on the rest."""
    if config.optimiser == "adamw":
        return optax.adamw(schedule, weight_decay=config.weight_decay)
    return optax.contrib.muon(
        lambda count: 10 * schedule(count), weight_decay=config.weight_decay, adam_learning_rate=schedule
    )


def single(tree: Any) -> Any:
    """Arrays as float32: training runs in single precision, the shipped emulator in double."""
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32) if eqx.is_array_like(a) else a, tree)


def main(config_path: Path, out: Path, changes: dict[str, Any] | None = None) -> Card:
    """Train as the TOML file says but for `changes`, a progress line a block (rich where it is installed)."""
    config = TrainOptions.read(config_path, changes)
    try:
        from rich.console import Console

        say: Callable[[str], None] = Console(highlight=False).print
    except ImportError:
        say = print
    card = train(config, out, say)
    say(json.dumps(card["errors"], indent=1))
    say(json.dumps(card["hydrostatic_residual_dex"]))
    return card


def _version() -> str:
    try:
        return version("astrogf")
    except PackageNotFoundError:
        return "source tree"
