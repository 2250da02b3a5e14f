"""Training in small: every architecture learns, a run that was cut off goes on to the same weights."""

import dataclasses
import gzip
import json
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.base.errors import AstrogfError
from astrogf.emulator import load
from astrogf.emulator.decks import read_decks
from astrogf.emulator.network import QUANTITIES, principal
from astrogf.emulator.options import TrainOptions
from astrogf.emulator.polish import polish
from astrogf.emulator.training import Price, loss, main, train
from tests.places import DECKS, ROOT

SMALL = TrainOptions(
    width=16,
    layers=1,
    rank=4,
    batch=2,
    steps=60,
    check_every=20,
    held_out=0.2,
    average=0.5,
    learning_rate=1e-2,
)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Five real decks as a training set."""
    decks, _ = read_decks(gzip.decompress(DECKS.read_bytes()).decode(), "tests")
    values = np.stack([np.stack([getattr(d.structure, q) for q in QUANTITIES]) for d in decks])
    path = tmp_path_factory.mktemp("nodes") / "nodes.npz"
    labels = np.stack([d.labels for d in decks])
    np.savez(path, labels=labels, log_tau=np.log10(decks[0].structure.tau), values=values)
    return str(path)


@pytest.mark.parametrize(
    ("equilibrium", "merge", "depth_encoder"),
    [("integral", "product", "modes"), ("loss", "concat", "network"), ("none", "product", "nodes")],
)
def test_each_kind_learns_and_its_weights_load(
    nodes: str, tmp_path: Path, equilibrium: str, merge: str, depth_encoder: str
) -> None:
    config = SMALL.changed(
        data=nodes,
        equilibrium=equilibrium,
        merge=merge,
        depth_encoder=depth_encoder,
        physics_weight=0.1,
    )
    card = train(config, tmp_path, say=lambda _: None)
    history = json.loads((tmp_path / "checkpoint.json").read_text())["history"]
    assert history[-1][1] < 0.7 * history[0][1]
    assert card["config"]["seed_split"] == SMALL.seed_split
    emulator = load("atlas9", tmp_path / "atlas9.eqx")
    assert emulator.equilibrium == equilibrium
    structure = emulator(jnp.array([5000.0, 3.0, -1.0, 0.2]))
    assert np.all(np.isfinite(structure.p))
    assert structure.p.shape == (80,)


def test_a_run_cut_off_goes_on_to_the_same_weights(nodes: str, tmp_path: Path) -> None:
    config = SMALL.changed(data=nodes, optimiser="adamw")
    whole = train(config, tmp_path / "whole", say=lambda _: None)

    def cut(line: str) -> None:
        if line.startswith("step 40"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "cut", say=cut)
    lines: list[str] = []
    resumed = train(config, tmp_path / "cut", say=lines.append)
    assert lines[0] == "going on from step 40"
    assert resumed["weights_sha256"] == whole["weights_sha256"]


def test_principal_components_rebuild_the_nodes(nodes: str) -> None:
    with np.load(nodes) as z:
        rest = np.log(z["values"])
    rest = rest - rest.mean(0)
    modes = principal(rest, 4)  # five nodes about their mean have four directions
    for q in range(len(QUANTITIES)):
        codes, *_ = np.linalg.lstsq(modes[q], rest[:, q].T, rcond=None)
        np.testing.assert_allclose(modes[q] @ codes, rest[:, q].T, atol=1e-9)
        np.testing.assert_allclose((codes**2).mean(1), 1.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("widht = 3", "widht: unknown key; did you mean 'width'"),
        ('width = "wide"', "width: expected a whole number"),
        ('merge = "sum"', "merge: expected 'product' or 'concat'"),
        ('depth_encoder = "modes"\nmerge = "concat"', "needs merge 'product'"),
        ('data = "atlas9.npz"', "tools/build_atlas9.py"),
    ],
)
def test_a_bad_configuration_names_the_key(nodes: str, tmp_path: Path, line: str, sentence: str) -> None:
    path = tmp_path / "train.toml"
    path.write_text(line if "data" in line else f"{line}\ndata = '{nodes}'\n")
    with pytest.raises(AstrogfError, match=sentence):
        main(path, tmp_path / "out")


def test_the_shipped_configuration_is_valid() -> None:
    config = TrainOptions.read(ROOT / "configs" / "train_atlas9.toml")
    assert config.family == "atlas9"


def test_training_goes_on_from_the_weights_of_another_family(nodes: str, tmp_path: Path) -> None:
    first = SMALL.changed(data=nodes, family="first")
    train(first, tmp_path, say=lambda _: None)
    second = first.changed(family="second", start=str(tmp_path / "first.eqx"), learning_rate=1e-9, weight_decay=0.0)
    train(second, tmp_path / "second", say=lambda _: None)
    labels = jnp.array([5000.0, 3.0, -1.0, 0.2])
    a, b = load("first", tmp_path / "first.eqx"), load("second", tmp_path / "second" / "second.eqx")
    np.testing.assert_allclose(a(labels).t, b(labels).t, rtol=1e-5)
    with np.load(nodes) as z:
        np.savez(tmp_path / "cut.npz", **(dict(z) | {"log_tau": z["log_tau"] + 0.1}))
    with pytest.raises(ValueError, match="other depths"):
        train(second.changed(data=str(tmp_path / "cut.npz")), tmp_path / "third", say=lambda _: None)


def test_sobolev_loss_counts_the_miss_of_differences() -> None:
    """Neighbours that miss by the same amount have the right derivative: only an unequal miss costs more."""
    emulator = load("atlas9")
    labels = jnp.array([[5000.0, 3.0, -1.0, 0.0], [5250.0, 3.0, -1.0, 0.0]])
    log_tau = jnp.linspace(-5, 1, 20)
    exact = [emulator.on_log_tau(x, log_tau) for x in labels]
    goal = jnp.stack([jnp.log(jnp.stack([getattr(s, q) for q in QUANTITIES])) for s in exact])
    alike = loss(emulator, labels, log_tau, goal + 0.01)
    slopes = Price(sobolev=1.0)
    assert loss(emulator, labels, log_tau, goal + 0.01, slopes) == pytest.approx(float(alike), rel=1e-6)
    uneven = goal + jnp.array([0.01, -0.01])[:, None, None]
    assert loss(emulator, labels, log_tau, uneven, slopes) > 2 * loss(emulator, labels, log_tau, uneven)


def test_prices_count_quantities_and_layers_as_they_say() -> None:
    """A small miss costs its square, so doubled units of XNE make it four times as dear; edges can cost nothing."""
    emulator = load("atlas9")
    labels, log_tau = jnp.array([[5000.0, 3.0, -1.0, 0.0]]), jnp.linspace(-6.5, 1.5, 33)
    exact = emulator.on_log_tau(labels[0], log_tau)
    goal = jnp.log(jnp.stack([getattr(exact, q) for q in QUANTITIES]))[None]
    off = goal.at[:, QUANTITIES.index("xne")].add(1e-4)
    plain = float(loss(emulator, labels, log_tau, off))
    assert float(loss(emulator, labels, log_tau, off, Price(state=2.0))) == pytest.approx(4 * plain, rel=1e-3)
    assert float(loss(emulator, labels, log_tau, off, Price(accrad=0.1))) == pytest.approx(plain, rel=1e-9)
    outside = goal + 0.01 * (log_tau < -5.0 - 1e-9)
    assert float(loss(emulator, labels, log_tau, outside)) > 0.1
    assert float(loss(emulator, labels, log_tau, outside, Price(edge=0.0))) == pytest.approx(0.0, abs=1e-12)


def test_polish_solves_the_last_layer_of_one_quantity(nodes: str) -> None:
    """Five real decks have fewer values than the rows have weights: they are met, and no other output moves."""
    net = load("atlas9").network
    with np.load(nodes) as z:
        labels, ln_values = z["labels"], np.log(z["values"])
    outputs = eqx.filter_jit(lambda n, x: jax.vmap(lambda one: n(one, n.log_tau))(x))
    before = np.asarray(outputs(net, labels))
    found = polish(net, labels, ln_values, "xne", clip=0.02, layer=np.ones(72), rounds=200, ridge=1e-9)
    after, k = np.asarray(outputs(found, labels)), QUANTITIES.index("xne")
    np.testing.assert_array_equal(np.delete(after, k, axis=1), np.delete(before, k, axis=1))
    was, now = (np.median(np.abs(x[:, k] - ln_values[:, k])) for x in (before, after))
    assert now < 0.3 * was
    with pytest.raises(ValueError, match="modes"):
        polish(dataclasses.replace(net, merge="concat"), labels, ln_values, "xne", clip=0.02, layer=np.ones(72))


def test_every_ablation_variant_is_a_valid_configuration() -> None:
    import sys

    root = ROOT
    sys.path.insert(0, str(root / "tools"))
    try:
        from ablate_emulator import variants
    finally:
        sys.path.pop(0)
    found = variants(root / "configs" / "ablate_atlas9.toml")
    assert {"shipped", "paper-dual-encoder", "plain-mlp", "physics-loss", "no-grey-reference"} <= set(found)
    assert len({config.steps for config in found.values()}) == 1
    assert len({config.seed_split for config in found.values()}) == 1
