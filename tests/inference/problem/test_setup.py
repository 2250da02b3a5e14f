"""Windows prepared: what is kept between runs is what would be made."""

import dataclasses

import numpy as np
import pytest

from astrogf.inference.problem import setup as module
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.setup import prepare, shipped_lines
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.observed.grid import Grid

OPTIONS = FitOptions().changed(model={"oversampling": 16, "depths": 20})
PIXELS = Grid(37180, 40).pixel_wavelength


@pytest.fixture
def made(tmp_path, monkeypatch):
    """How often lines were weighed, in a cache folder of one's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calls = []
    weigh = module.line_extent

    def counted(*args):
        calls.append(args)
        return weigh(*args)

    monkeypatch.setattr(module, "line_extent", counted)
    return calls


def assert_same(a, b):
    for x, y in zip((a.row, a.near, *a.extent, *a.lines), (b.row, b.near, *b.extent, *b.lines), strict=True):
        np.testing.assert_array_equal(x, y)
    assert (a.grid, a.options) == (b.grid, b.options)


@pytest.mark.parametrize("given", [True, False])
def test_the_same_window_is_found_again(made, given):
    lines = shipped_lines([(5200.0, 5240.0)], OPTIONS, 100.0) if given else None
    first, second = (prepare(PIXELS, OPTIONS, lines=lines) for _ in range(2))
    assert len(made) == 1
    assert len(first.lines) > 100
    assert_same(first, second)


def test_another_list_pixel_or_option_is_chosen_anew(made):
    lines = shipped_lines([(5200.0, 5240.0)], OPTIONS, 100.0)
    first = prepare(PIXELS, OPTIONS, lines=lines)
    weaker = lines.replace(loggf=np.where(np.arange(len(lines)) == 7, lines.loggf - 0.1, lines.loggf))
    prepare(PIXELS, OPTIONS, lines=weaker)
    prepare(PIXELS[:-1], OPTIONS, lines=lines)
    prepare(PIXELS, OPTIONS.changed(model={"line_cut": 1e-3}), lines=lines)
    prepare(PIXELS, OPTIONS, lines=lines, keep_all=True)
    prepare(PIXELS, OPTIONS.changed(model={"solar": "grevesse2007"}), lines=lines)
    assert len(made) == 6
    # what the choice of lines does not follow from
    other = OPTIONS.changed(solver={"chunk": 3})
    found = prepare(PIXELS, other, lines=lines)
    assert len(made) == 6
    assert_same(first, dataclasses.replace(found, options=OPTIONS))


def test_hydrogen_in_a_list_is_said_every_time(made):
    lines = shipped_lines([(5200.0, 5240.0)], OPTIONS, 100.0)
    lines = LineList(*(np.concatenate([column[:1], column]) for column in lines))
    lines = lines.replace(z=np.where(np.arange(len(lines)) == 0, 1, lines.z))
    for _ in range(2):
        with pytest.warns(UserWarning, match="hydrogen"):
            chosen = prepare(PIXELS, OPTIONS, lines=lines)
        assert not chosen.lines.hydrogen.any()
    assert len(made) == 1


def test_the_model_is_relative_to_the_solar_abundances_asked_for():
    """With 0.05 dex less iron (Grevesse et al. 2007 against Asplund et al. 2009) lines are as 0.05 dex weaker."""
    lines = shipped_lines([(5200.0, 5240.0)], OPTIONS, 100.0)
    iron = lines.take(lines.z == 26)
    scales = (OPTIONS.changed(model={"solar": name}) for name in ("asplund2009", "grevesse2007"))
    old, new = (prepare(PIXELS, options, lines=iron, keep_all=True).model for options in scales)
    sun = np.array([5772.0, 4.44, 0.0, 0.0, 1.0])
    assert new.n_line == old.n_line
    less = np.asarray(new.normalised(sun, np.zeros(new.n_line)))
    np.testing.assert_allclose(less, old.normalised(sun, np.full(old.n_line, -0.05)), atol=4e-3)
    assert np.mean(1.0 - less) < 0.98 * np.mean(1.0 - np.asarray(old.normalised(sun, np.zeros(old.n_line))))
