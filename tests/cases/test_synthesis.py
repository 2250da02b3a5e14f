"""Inputs that once failed in silence, remade: spectra of narrow windows, hydrogen in lists, decks, impossible stars."""

import gzip
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import astrogf
from astrogf.base.constants import C_KMS
from astrogf.base.errors import AstrogfError, AstrogfWarning
from astrogf.emulator.decks import DeckError, read_deck, read_decks
from astrogf.emulator.structure import Structure
from astrogf.inference.fit import strengths
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.setup import prepare as prepare_fit
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.lines.pieces import Extent, cut_up, padded_velocity
from astrogf.synthesis.lines.shipped import load_all_lines, load_atomic_lines
from astrogf.synthesis.lines.strength import distance, line_extent, may_reach
from astrogf.synthesis.spectrum import Physics, star_state
from astrogf.synthesis.synthesize import emulated, prepare, synthesize
from tests.places import DECKS

SUN = (5777.0, 4.44, 0.0, 0.0)
CUT = 1e-4
QUICK = {"start": 5168.0, "stop": 5169.0, "step": 0.05}


def few() -> LineList:
    return load_atomic_lines(5165.0, 5172.0)


# -- a window is the same whatever is computed beside it --------------------------------------------------------------


@pytest.mark.parametrize(
    ("narrow", "wide", "medium"),
    [
        ((5183.0, 5186.0), (5150.0, 5210.0), "air"),  # Mg b1 inside
        ((5176.0, 5178.0), (5140.0, 5210.0), "vacuum"),  # between the wings, no strong line inside
        ((8552.0, 8556.0), (8480.0, 8620.0), "vacuum"),  # the wing of 8542, 10 A from its core
        ((5893.2, 5895.2), (5850.0, 5940.0), "vacuum"),  # between the Na D lines, both outside
    ],
)
def test_a_narrow_window_is_the_wide_one_cut(narrow, wide, medium):
    step = 0.02
    one = synthesize(SUN, None, *narrow, step=step, medium=medium)
    other = synthesize(SUN, None, *wide, step=step, medium=medium)
    first = round((narrow[0] - wide[0]) / step)
    same = np.asarray(other.normalised)[first : first + len(one.wavelength)]
    np.testing.assert_allclose(np.asarray(one.normalised), same, atol=CUT)


def lone(wavelength: float) -> LineList:
    """One strong line."""
    lines = few()
    return lines.take(np.array([np.argmax(lines.loggf)])).replace(wavelength=np.array([wavelength]))


def times_counted(centre: float, reach: float, core: float, grid: np.ndarray) -> np.ndarray:
    """How often every point of a grid counts among the pieces of one line."""
    pieces = cut_up(lone(centre), Extent(*(np.array([x]) for x in (1.0, reach, core))), grid)
    count = np.zeros(len(padded_velocity(grid)), int)
    for cores in pieces.cores:
        columns = (np.asarray(x).ravel() for x in (cores.start, cores.centre, cores.half))
        for start, middle, half in zip(*columns, strict=True):
            point = start + np.arange(cores.width)
            count[point] += np.abs(point - middle) <= half
    if pieces.wings is not None:
        wings = pieces.wings
        of_line = [np.asarray(x)[0] for x in (wings.centre, wings.hole, wings.half)]
        members = np.concatenate([np.asarray(wings.near), np.asarray(wings.far)], axis=1)
        for tile, mine in enumerate((members == 0).sum(axis=1)):
            point = tile * wings.tile + np.arange(wings.tile)
            away = np.abs(point - of_line[0])
            count[point] += mine * ((away > of_line[1]) & (away <= of_line[2]))
    return count[: len(grid)]


@pytest.mark.parametrize("core", [15.0, 40.0, 5000.0])
@pytest.mark.parametrize("centre", [5100.0, 5149.0, 5150.5, 5152.4, 5153.0, 5156.0, 5210.0])
@pytest.mark.parametrize("reach", [20.0, 150.0, 400.0, 3800.0])
def test_every_point_within_reach_is_in_a_piece_once(centre, reach, core):
    grid = np.arange(5150.0, 5153.0, 0.01)
    count = times_counted(centre, reach, core, grid)
    within = np.abs(C_KMS * np.log(grid / centre)) < reach - 1.0
    assert np.all(count[within] == 1)
    assert np.all(count <= 1)


def test_a_line_far_outside_costs_no_more_than_what_it_reaches():
    grid = np.arange(5150.0, 5250.0, 0.01)
    velocity = C_KMS * np.log(5150.0 / 5100.0)
    count = times_counted(5100.0, velocity + 50.0, 1e4, grid)
    inside = np.sum(grid < 5150.0 * np.exp(50.0 / C_KMS))
    np.testing.assert_array_equal(np.flatnonzero(count), np.arange(count.sum()))
    assert abs(count.sum() - inside) <= 2


@pytest.mark.parametrize("star", [SUN, (3900.0, 1.0, 0.2, 0.2)])
def test_the_bound_on_reach_misses_no_line(star):
    lines = load_all_lines(5120.0, 5260.0)

    structure, gas, vmic = star_state(emulated(), Physics(), jnp.asarray(star), None, None, jnp.asarray(1.0), None)
    stars = [(gas, vmic, jnp.ones(structure.t.shape, bool))]
    reach = line_extent(lines, stars, CUT).reach
    away = distance(lines.wavelength, 5190.0, 5192.0)
    reaches = (reach >= away) & (away > 0)
    bound = may_reach(lines, 5190.0, 5192.0, stars, CUT)
    assert reaches.sum() > 10
    assert not np.any(reaches & ~bound)
    assert bound.sum() < 0.6 * len(lines)


def test_a_fit_takes_strong_lines_from_outside():
    """Ca II 8544.44 A (vacuum), some 30 A below the padded window, and its brother 8664.52 A reach in."""
    setup = prepare_fit(10.0 ** (np.arange(39345, 39355) * 1e-4), FitOptions())
    low, high = setup.grid.wavelength[[0, -1]]
    outside = (setup.lines.wavelength < low - 5.0) | (setup.lines.wavelength > high + 5.0)
    np.testing.assert_array_equal(outside, ~setup.near)
    calcium = np.flatnonzero(outside & (setup.lines.z == 20) & (np.abs(setup.lines.wavelength - 8544.44) < 0.1))
    assert len(calcium)
    assert low - setup.lines.wavelength[calcium[0]] > 20.0
    assert np.all(setup.extent.reach[outside] >= distance(setup.lines.wavelength, low, high)[outside])
    window = setup.problem(0).spectrum.window
    held = np.asarray(window.pieces.wings.lines.line)
    assert np.isin(calcium, held).all()
    # what only reaches in is not for this window to correct
    assert np.all(strengths([setup], setup.row.max() + 1)[setup.row[outside]] == 0.0)


# -- hydrogen of a list ----------------------------------------------------------------------------------------------


def with_hydrogen() -> LineList:
    lines = load_atomic_lines(6550.0, 6580.0)
    row = lines.take(np.array([0]))
    alpha = {"wavelength": 6564.61, "z": 1, "ion": 1, "elow": 10.199, "loggf": 0.71, "isotope": 0}
    return lines.merged(row.replace(**{k: np.array([v]) for k, v in alpha.items()}, transition=np.array([10**7])))


def test_hydrogen_of_a_list_is_left_out_with_a_warning():
    both, given = with_hydrogen(), {"step": 0.1}
    own = synthesize(SUN, both.take(both.z != 1), 6563.0, 6567.0, **given).normalised
    with pytest.warns(AstrogfWarning, match=r"1 of the list's lines are hydrogen's \(6564\.61 A"):
        once = synthesize(SUN, both, 6563.0, 6567.0, **given).normalised
    np.testing.assert_allclose(once, own, atol=1e-12)
    # where the model has none, the list's stays
    listed = synthesize(SUN, both, 6563.0, 6567.0, hydrogen=False, **given).normalised
    assert listed.min() < 0.6
    pixels = 10.0 ** (np.arange(38165, 38180) * 1e-4)
    with pytest.warns(AstrogfWarning, match="hydrogen's"):
        setup = prepare_fit(pixels, FitOptions(), lines=both)
    assert not np.any(setup.lines.z == 1)
    np.testing.assert_array_equal(both.wavelength[setup.row], setup.lines.wavelength)


# -- decks -----------------------------------------------------------------------------------------------------------

LAYER = 17


def deck_text() -> str:
    return "TEFF" + gzip.decompress(DECKS.read_bytes()).decode().split("TEFF")[1]


def spoiled(text: str, edges: tuple[int, int], word: str, layer: int = LAYER) -> str:
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("READ DECK6")) + layer
    lines[at] = lines[at][: edges[0]] + word.rjust(edges[1] - edges[0]) + lines[at][edges[1] :]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("edges", "word", "sentence"),
    [
        ((15, 24), "NaN", "T of layer 17 should be a finite number, found 'NaN'"),
        ((24, 34), "Infinity", "P of layer 17 should be a finite number"),
        ((34, 44), "********", "XNE of layer 17 should be a finite number"),
        ((34, 44), "-1.000E+09", r"XNE of layer 17 is -1e\+09, expected above zero"),
        ((44, 54), "0.000E+00", "ABROSS of layer 17 is 0, expected above zero"),
        ((54, 64), "nan", "ACCRAD of layer 17 should be a finite number"),
        ((64, 74), "-2.000E+05", "VTURB of layer 17 is -200000, expected 0 or more"),
        ((0, 15), "1.00000000E-09", "RHOX of layer 17 is 1e-09 after .*, expected a strict increase"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_deck_with_an_impossible_value_names_the_layer(tmp_path: Path, edges, word, sentence, packed):
    text = spoiled(deck_text(), edges, word)
    path = tmp_path / ("star.atm.gz" if packed else "star.atm")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    with pytest.raises(DeckError, match=f"^{path.name}: {sentence}"):
        astrogf.read_atmosphere(path)
    assert read_decks(text, "many")[0] == []


@pytest.mark.parametrize("n", [64, 72, 80])
def test_layers_of_every_length_are_checked(n):
    lines = deck_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("READ DECK6"))
    rows = lines[at + 1 : at + 73]
    mass = float(rows[-1][:15])
    more = [f"{mass * 1.1**k:15.8E}{rows[-1][15:]}" for k in range(1, 9)]
    rows = [*rows, *more][:n]
    text = "\n".join([*lines[:at], lines[at].replace(" 72 ", f" {n} "), *rows, *lines[at + 73 :]])
    assert len(read_deck(text).structure.t) == n
    with pytest.raises(DeckError, match=f"T of layer {n} should be"):
        read_deck(spoiled(text, (15, 24), "NaN", n))


def structure(**columns) -> Structure:
    good = read_deck(deck_text()).structure
    return Structure(**{f: columns.get(f, getattr(good, f)) for f in Structure.__annotations__})


def changed(field: str, value: float, layer: int = 5) -> np.ndarray:
    column = np.array(getattr(structure(), field))
    column[layer - 1] = value
    return column


@pytest.mark.parametrize(
    ("field", "column", "sentence"),
    [
        ("t", lambda: changed("t", np.nan), "t of layer 5 is nan, expected finite"),
        ("p", lambda: changed("p", -3.0), "p of layer 5 is -3, expected above zero"),
        ("accrad", lambda: changed("accrad", np.inf), "accrad of layer 5 is inf"),
        ("tau", lambda: changed("tau", 1e-9), "tau of layer 5 is 1e-09 after .*, expected a strict increase"),
        ("xne", lambda: np.ones(7), "one value a layer in every column"),
        ("rhox", lambda: structure().rhox[::-1], "rhox of layer 2 .* strict increase"),
    ],
)
def test_arrays_of_an_atmosphere_are_checked(field, column, sentence):
    with pytest.raises(AstrogfError, match=sentence):
        synthesize(structure(**{field: column()}), few(), **QUICK)
    window = prepare(structure(), few(), np.arange(5168.0, 5169.0, 0.05))
    with pytest.raises(AstrogfError, match=sentence):
        window(structure(**{field: column()}))


# -- stars and windows that cannot be --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"atmosphere": (np.nan, 4.44, 0.0, 0.0)}, "teff nan: expected finite and not below 1 K"),
        ({"atmosphere": (-5777.0, 4.44, 0.0, 0.0)}, "teff -5777"),
        ({"atmosphere": (5777.0, np.inf, 0.0, 0.0)}, "logg inf"),
        ({"atmosphere": (5777.0, 4.44, np.nan, 0.0)}, "feh nan"),
        ({"atmosphere": "sun.atm"}, "expected labels"),
        ({"atmosphere": 5777.0}, "expected labels"),
        ({"lines": "list.vald"}, "lines: str, expected what read_lines"),
        ({"vmic": -1.0}, "vmic -1: expected from 0 to 100 km/s"),
        ({"vmic": np.nan}, "vmic nan"),
        ({"vmic": 2e5}, "vmic 200000"),
        ({"vmic": np.where(np.arange(80) == 6, np.nan, 1.0)}, r"vmic nan \(number 7 of 80\)"),
        ({"vsini": -2.0}, "vsini -2"),
        ({"vsini": np.nan}, "vsini nan"),
        ({"vmacro": np.inf}, "vmacro inf"),
        ({"vmacro": -1.0}, "vmacro -1"),
        ({"resolution": -5e4}, "resolution -50000: .* at least 1000"),
        ({"resolution": np.nan}, "resolution nan"),
        ({"resolution": 0.0}, "resolution 0"),
        ({"resolution": 0.1}, r"profile would be 5.169e\+04 Angstrom wide in a window of 1 Angstrom; .* at least 1000"),
        ({"stop": 5198.0, "resolution": 50.0}, "at least 174"),
        ({"feh": np.nan}, "feh nan"),
        ({"alpha": -np.inf}, "alpha -inf"),
        ({"start": np.nan}, "start nan"),
        ({"stop": np.inf}, "stop inf"),
        ({"step": -0.01}, "expected 0 < start < stop"),
        ({"step": np.nan}, "step nan"),
        ({"step": 3.0}, "one point only"),
        ({"step": 1e-9}, "1,000,000,001 wavelengths, at most 2,000,000"),
        ({"start": 5169.0, "stop": 5168.0}, "expected 0 < start < stop"),
        ({"abundances": {"Mg": np.nan}}, r"\[Mg/Fe\] nan"),
        ({"abundances": {"Mg": 7.6}}, r"\[Mg/Fe\] 7.6: expected from -5 to 5 dex"),
        ({"abundances": np.where(np.arange(92) == 25, -9.0, 0.0)}, r"\[Fe/Fe\] -9"),
        ({"abundances": np.zeros(30)}, "give 92"),
        ({"isotopes": {(6, 12): 1.2, (6, 13): -0.2}}, "share of C-12 1.2: expected from 0 to 1"),
        ({"isotopes": {(6, 12): np.nan, (6, 13): 0.1}}, "share of C-12 nan"),
        ({"isotopes": {"C12": 0.9}}, "no .Z, mass number."),
        ({"mu": [0.0]}, "above 0 and at most 1"),
        ({"mu": [1.5]}, "mu 1.5"),
        ({"line_cut": 0.0}, "line_cut 0.0"),
        ({"outside": "shout"}, "'warn', 'raise' or 'ignore'"),
    ],
)
def test_what_cannot_be_is_refused(arguments, sentence):
    given = {"atmosphere": SUN, "lines": few(), **QUICK} | arguments
    with pytest.raises(AstrogfError, match=sentence):
        synthesize(**given)


def test_a_spectrum_without_numbers_is_an_error():
    """Far outside the hull the continuum is not finite although the flux is: neither may be handed over."""
    with pytest.raises(AstrogfError, match="no finite spectrum"):
        synthesize((44000.0, 0.1, -3.7, 0.0), few(), **QUICK, outside="ignore")


@pytest.mark.parametrize(
    ("labels", "face"),
    [
        ((2500.0, 4.44, 0.0, 0.0), "teff too low"),
        ((44000.0, 0.1, -3.7, 0.0), "teff too high"),
        ((5777.0, 4.44, 0.9, 0.0), "feh too high"),
        ((5777.0, 4.44, 0.0, 0.8), "alpha too high"),
    ],
)
def test_outside_the_hull_is_the_callers_choice(labels, face):
    window = prepare(SUN, few(), np.arange(5168.0, 5169.0, 0.05))
    with pytest.raises(AstrogfError, match=f"grid steps outside .*{face}"):
        synthesize(labels, few(), **QUICK, outside="raise")
    with pytest.raises(AstrogfError, match=face):
        window(labels, outside="raise")
    with pytest.warns(AstrogfWarning, match=f"grid steps outside .*{face}"):
        window(labels)
    with pytest.warns(AstrogfWarning, match=face):
        prepare(labels, few(), np.arange(5168.0, 5169.0, 0.05))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        window(labels, outside="ignore")
        jax.jit(lambda x: window(x).flux)(jnp.asarray(labels))


def test_on_a_face_of_the_hull_nothing_is_said():
    """The Sun's alpha is the lowest of the grid: its margin is 0, and rounding to float32 may carry it over."""
    window = prepare(SUN, few(), np.arange(5168.0, 5169.0, 0.05), outside="raise")
    for labels in (SUN, np.float32(SUN), (5777, 4.44, np.float32(0.5), np.float32(0.4))):
        assert np.all(np.isfinite(np.asarray(window(labels).flux)))
    with pytest.raises(AstrogfError, match="feh too high"):
        window((5777.0, 4.44, 0.7, 0.0))
    with pytest.raises(AstrogfError, match="vmic -2"):
        window(SUN, vmic=-2.0)
    with pytest.raises(AstrogfError, match="teff nan"):
        window.linearised({"teff": np.nan, "logg": 4.44, "feh": 0.0, "alpha": 0.0})
