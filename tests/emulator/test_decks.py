"""The deck reader against numbers typed from the decks, and what a broken deck should say."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from astrogf.emulator.decks import DeckError, own_log_tau, read_deck, read_decks
from tests.places import DECKS


@pytest.fixture(scope="module")
def text() -> str:
    return gzip.decompress(DECKS.read_bytes()).decode()


@pytest.fixture(scope="module")
def one(text: str) -> str:
    return "TEFF" + text.split("TEFF")[1]


def test_every_test_deck_reads_with_labels_of_its_own_title(text: str) -> None:
    decks, refused = read_decks(text, "tests")
    assert not refused
    assert len(decks) == 5
    for deck in decks:
        assert len(deck.structure.tau) == 72
        assert deck.tau_from == "grid"
        assert deck.title.startswith("[")
        assert ("a]" in deck.title.split()[0]) == (deck.alpha == 0.4)
        assert f"{abs(deck.feh):.1f}" in deck.title.split()[0]
        assert deck.vturb == 2.0e5


def test_depth_grid_agrees_with_the_decks_own_opacity_integral(text: str) -> None:
    for deck in read_decks(text, "tests")[0]:
        s = deck.structure
        apart = np.abs(own_log_tau(s.rhox, s.abross) - np.log10(s.tau))
        assert np.median(apart) < 0.002
        assert apart.max() < 0.02


def test_atlas12_sun_numbers(shared: Path) -> None:
    deck = read_deck(shared / "atlas12" / "at12_aaaaa_t05770g4.44.atm")
    s = deck.structure
    np.testing.assert_array_equal(deck.labels, [5770.0, 4.44, 0.0, 0.0])
    assert len(s.tau) == 80
    # typed from the first and the last layer of the deck
    first = [s.rhox[0], s.t[0], s.p[0], s.xne[0], s.abross[0], s.accrad[0], deck.vturb]
    assert first == [5.15706619e-04, 3691.3, 1.421e01, 2.462e09, 2.586e-04, 7.582e-02, 1.0e05]
    last = [s.rhox[-1], s.t[-1], s.p[-1], s.xne[-1], s.abross[-1], s.accrad[-1]]
    assert last == [1.23546285e01, 11405.8, 3.402e05, 2.174e16, 3.017e02, 3.175e00]
    assert np.log10(s.tau[[0, -1]]) == pytest.approx([-6.875, 3.0])


def test_atlas12_composition_from_the_decks_abundances(shared: Path) -> None:
    """Typed from ABUNDANCE CHANGE: Fe -5.54 (Sun -4.54), Mg -4.84 (Sun -4.44), and so on."""
    folder = shared / "atlas12"
    expected = {
        "at12_aaaaa_t05250g4.00.atm": (-1.0, 0.6),
        "at12_aaaaa_t06000g1.00.atm": (-1.25, -0.2),
        "at12_aaaaa_t07000g1.50.atm": (-4.0, 0.0),
        "at12_aaaaa_t04250g-0.5.atm": (0.0, 0.4),
    }
    for name, (feh, alpha) in expected.items():
        deck = read_deck(folder / name)
        assert (deck.feh, deck.alpha) == pytest.approx((feh, alpha), abs=1e-6)
    for path in sorted(folder.glob("*.atm")):
        assert np.all(np.diff(read_deck(path).structure.tau) > 0)


def test_repeated_outer_layer_is_dropped(one: str) -> None:
    lines = one.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("READ DECK6"))
    lines[start] = lines[start].replace(" 72 ", " 73 ")
    double = lines[start + 1][:15] + "   9999.0" + lines[start + 1][24:]
    deck = read_deck("\n".join([*lines[: start + 1], double, *lines[start + 1 :]]))
    assert deck.dropped == 1
    assert len(deck.structure.t) == 72
    assert deck.structure.t[0] == read_deck(one).structure.t[0]


def test_columns_that_run_together_are_cut_by_width(one: str) -> None:
    lines = one.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("READ DECK6"))
    row = lines[start + 72]
    lines[start + 72] = row[:15] + "100000.0 "[:9].rjust(9) + "-1.000E-01"[:0] + row[24:34] + "1.2345E+16" + row[44:]
    assert read_deck("\n".join(lines)).structure.xne[-1] == 1.2345e16


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda t: "SIMPLE  =  T", "no line beginning with TEFF"),
        (lambda t: t.replace("GRAVITY", "GRAFFITI"), "GRAVITY"),
        (lambda t: t[: len(t) // 2], "deck ends before"),
        (lambda t: t.replace("2.000E+05", "not-a-num", 1), "VTURB of layer 1"),
        (lambda t: t.replace("READ DECK6 72", "READ DECK6 xx"), "number of layers"),
        (lambda t: t.replace("ABUNDANCE SCALE   ", "ABUNDANCE SCALE  9"), "ABUNDANCE SCALE"),
    ],
)
def test_a_broken_deck_says_which_field(one: str, spoil, sentence: str) -> None:
    with pytest.raises(DeckError, match=sentence) as error:
        read_deck(spoil(one), name="broken.atm")
    assert "broken.atm" in str(error.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_deck(tmp_path / "none.atm")
