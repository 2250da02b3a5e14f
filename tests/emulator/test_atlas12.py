"""The atlas12 family against real ATLAS-12 decks that nothing was trained on, beside its teacher."""

import gzip
import hashlib
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.emulator import hydrostatic, load
from astrogf.emulator import validation as v
from astrogf.emulator.atmosnet import FILES, Networks
from astrogf.emulator.decks import read_decks, read_folder
from astrogf.emulator.model import DATA, Emulator
from astrogf.emulator.network import QUANTITIES
from tests.places import DECKS, ROOT

CACHE = ROOT / ".cache"


@pytest.fixture(scope="module")
def emulator() -> Emulator:
    return load("atlas12")


@pytest.fixture(scope="module")
def card() -> dict:
    return json.loads((DATA / "atlas12.json").read_text())


def test_card_belongs_to_the_weights_and_says_that_they_learned_from_a_teacher(card: dict) -> None:
    assert hashlib.sha256((DATA / "atlas12.eqx").read_bytes()).hexdigest() == card["weights_sha256"]
    assert (DATA / "atlas12.eqx").stat().st_size < 3_000_000
    assert "teacher" in card["source"]
    assert {"seed", "seed_split"} <= set(card["config"])


def test_domain_is_that_of_the_issue(emulator: Emulator) -> None:
    assert np.asarray(emulator.hull.low)[[0, 2, 3]] == pytest.approx([3500, -4, -0.2])
    assert np.asarray(emulator.hull.high)[[0, 2, 3]] == pytest.approx([8000, 0.5, 0.6])
    for labels in ([5772, 4.44, 0, 0], [4300, 1.7, -0.5, 0.2], [6500, 4.2, -4, -0.2], [4800, 2.5, -2.5, 0.6]):
        assert bool(emulator.inside(jnp.array(labels, float))), labels


def test_equilibrium_and_monotone_layers(emulator: Emulator) -> None:
    result = v.draws(emulator, np.asarray(emulator.hull.low), np.asarray(emulator.hull.high), 500, seed=3)
    assert result["finite_and_positive"] == result["rhox_increases"] == result["tau_increases"] == 500
    labels = np.array([[5772, 4.44, 0, 0], [4300, 1.7, -0.5, 0.2], [6500, 4.2, -3, 0.4]])
    rest = v.residuals(emulator, labels, np.linspace(-6.875, 2, 72))
    assert np.nanmedian(np.abs(rest)) < 1e-5  # real decks: 0.0002
    s = jax.jit(lambda x: emulator(x))(jnp.array(labels[0]))
    assert np.all(np.diff(s.p) > 0)
    assert np.isfinite(hydrostatic.residual(s, 4.44)).all()


def test_closer_to_real_atlas12_decks_than_the_teacher(emulator: Emulator, shared: Path) -> None:
    """T, P and RHOX nearer to the 28 real decks than atmosnet, on the decks in the hull.

    XNE is not: 0.0047 dex at the median against 0.0038 (docs/explanation/emulator.md); it is only kept from
    getting worse here.
    """
    path = CACHE / "sources" / "atmosnet" / "atmosnet" / "data" / FILES["cool"]
    if not path.exists():
        pytest.skip("atmosnet 1.0.1 is not in the source cache")
    sample = v.Sample.of(read_folder(shared / "atlas12")[0], set())
    inside = v.covered(emulator, sample.labels)
    assert inside.sum() >= 24
    ours = v.errors(v.evaluate(emulator, sample.labels)[inside], sample.ln[inside])
    teacher = v.errors(v.evaluate(Networks.read(path), sample.labels)[inside], sample.ln[inside])
    for q in ("t", "p", "rhox"):
        assert ours[q]["median"] < 0.8 * teacher[q]["median"], q
        assert ours[q]["rms"] < teacher[q]["rms"], q
    assert ours["xne"]["median"] < 1.35 * teacher["xne"]["median"]


def test_near_real_atlas9_decks(emulator: Emulator) -> None:
    """Castelli & Kurucz (2003) decks: other opacities, so a loose bar; runs where no ATLAS-12 deck is at hand."""
    text = gzip.decompress(DECKS.read_bytes()).decode()
    sample = v.Sample.of(read_decks(text, "tests")[0], set())
    warm = (sample.labels[:, 0] > 4000) & v.covered(emulator, sample.labels)
    assert warm.sum() >= 3
    found = v.evaluate(emulator, sample.labels)[warm]
    t = np.abs(found[:, QUANTITIES.index("t")] - sample.ln[warm, QUANTITIES.index("t")])
    assert np.median(t) < 0.01
