"""What validate-emulator measures, on arrays with a known answer and on five real decks."""

import json
from pathlib import Path

import numpy as np
import pytest

from astrogf.base.errors import AstrogfError
from astrogf.emulator import validation as v
from astrogf.emulator.decks import read_folder
from astrogf.emulator.domain import neighbours
from astrogf.emulator.network import QUANTITIES
from astrogf.validating.validation import bars, validate
from tests.places import DECKS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("decks")
    (path / DECKS.name).write_bytes(DECKS.read_bytes())
    (path / "notes.txt").write_text("no deck here\n")
    (path / "broken.dat").write_text("TEFF   5000.  GRAVITY  3.0000 LTE\nTITLE [0.0]\n")
    return path


def linear_decks() -> v.Sample:
    """ln q rising linearly with each label: its differences are known."""
    labels = np.array(
        [[t, g, m, a] for t in (5000, 5250, 5500) for g in (2, 3, 3.5) for m in (-1, -0.5) for a in (0, 0.4)], float
    )
    slope = np.array([[1e-3, 0.5, 0.3, 0.2]] * 6) * (1 + np.arange(6))[:, None]
    ln = (labels @ slope.T)[:, :, None] * np.ones(len(v.LAYERS))
    return v.Sample(labels, ln, np.arange(len(labels)) % 5 == 0, np.zeros(3))


def test_neighbours_differ_in_one_label_by_one_step() -> None:
    labels = linear_decks().labels
    pairs = neighbours(labels)
    # 9 of 3 temperatures make two pairs each; logg 2 to 3 is too far; and so on
    assert {k: len(p) for k, p in pairs.items()} == {"teff": 24, "logg": 12, "feh": 18, "alpha": 18}
    for k, name in enumerate(("teff", "logg", "feh", "alpha")):
        step = labels[pairs[name][:, 1]] - labels[pairs[name][:, 0]]
        assert np.all(step[:, k] > 0)
        assert np.all(np.delete(step, k, axis=1) == 0)


def test_derivative_errors_of_a_known_miss() -> None:
    """An emulator whose slope in Teff is 5% too steep is 5% off in that derivative and exact in the others."""
    sample = linear_decks()
    found = sample.ln * 1.0
    found += 0.05 * ((sample.labels[:, 0] - 5000) * 1e-3)[:, None, None] * (1 + np.arange(6))[None, :, None]
    table = v.derivatives(found, sample, np.ones(len(found), bool))
    for q in QUANTITIES:
        for key in ("all", "unseen", "all_median", "unseen_median"):
            assert table["teff"][q][key] == pytest.approx(0.05)
            assert table["logg"][q][key] == pytest.approx(0.0, abs=1e-12)
    none = v.derivatives(found, sample, np.zeros(len(found), bool))
    assert none["teff"] == {"pairs": 0}


def test_errors_in_their_units() -> None:
    truth = linear_decks().ln
    table = v.errors(truth + np.log(1.02), truth)
    assert table["t"]["median"] == pytest.approx(2.0)
    assert table["p"]["p99"] == pytest.approx(np.log10(1.02))
    assert table["p"]["median_by_log_tau"].keys() == {"-5", "-4", "-3", "-2", "-1", "+0", "+1"}


def test_folder_of_decks(folder: Path, tmp_path: Path) -> None:
    decks, refused = read_folder(folder)
    assert len(decks) == 5
    assert len(refused) == 1
    assert "broken.dat" in refused[0]
    assert len(read_folder(folder, teff_max=4500)[0]) == 2
    with pytest.raises(FileNotFoundError, match="no folder"):
        read_folder(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="READ DECK6"):
        read_folder(tmp_path)


def test_the_whole_validation_on_five_decks(folder: Path, tmp_path: Path) -> None:
    result = validate(folder, tmp_path / "out", sources=tmp_path / "none", count=300)
    saved = json.loads((tmp_path / "out" / "validation.json").read_text())
    assert saved["decks"]["read"] == 5
    assert saved["table_1"].keys() >= {"atlas9"}
    # the decks' own residual: 0.0002 dex median, measured on 10,284 decks
    assert 5e-5 < saved["table_2"]["decks"]["median"] < 5e-4
    assert saved["table_2"]["atlas9"]["median"] < 1e-5
    assert saved["table_1"]["atlas9"]["t"]["median"] < 0.2
    assert saved["draws"]["rhox_increases"] == saved["draws"]["draws"] == 300
    assert bars(saved) == result["bars"]
    page = (tmp_path / "out" / "index.html").read_text()
    for picture in ("errors_by_depth", "hr_errors", "label_derivatives"):
        assert (tmp_path / "out" / f"{picture}.png").stat().st_size > 10_000
        assert f"{picture}.png" in page


def test_what_a_user_gets_wrong_is_a_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(AstrogfError, match="no emulator weights"):
        validate(folder, tmp_path, family="atlas7")
    with pytest.raises(AstrogfError, match="no folder"):
        validate(tmp_path / "none", tmp_path)
