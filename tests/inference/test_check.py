"""Parts of the held-out check whose answers are known without a fit."""

import numpy as np
import pytest
from astropy.table import Table

from astrogf.inference.check import find_again, repeats
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.parameters import LN_SIGMA, VMIC, lsf_sigma
from astrogf.inference.problem.priors import Belief, star_prior, starting_point
from astrogf.inference.problem.setup import composition, rest_slots
from astrogf.synthesis.lines.shipped import load_atomic_lines
from tests.builders.made_up_check import made_up_check


def test_corrected_lines_are_found_again_with_all_their_components():
    lines = load_atomic_lines(5200.0, 5230.0)
    crowded = lines.transition[np.flatnonzero(np.bincount(lines.transition)[lines.transition] > 1)[0]]
    parts = np.flatnonzero(lines.transition == crowded)
    leader = parts[np.argmax(lines.loggf[parts])]
    species = lines.species()
    table = Table(
        {"wavelength": np.round(lines.wavelength[[leader]], 4), "species": species[[leader]],
         "elow": np.round(lines.elow[[leader]], 4)}
    )  # fmt: skip
    free = find_again(lines, table)
    np.testing.assert_array_equal(np.flatnonzero(free == 0), parts)
    table["wavelength"] += 0.5
    with pytest.raises(ValueError, match="is not in the line list"):
        find_again(lines, table)


def test_repeats_of_one_star_have_unit_scatter_where_errors_are_right():
    rng = np.random.default_rng(3)
    star = np.repeat(np.arange(400), 2).astype(str)
    truth = np.repeat(rng.normal(size=400), 2)
    labels = (truth + 0.1 * rng.normal(size=800))[:, None]
    z = repeats(labels, np.full((800, 1), 0.1), star, np.full(800, "LAMOST"))["0"]
    assert len(z) == 400
    assert np.std(z) == pytest.approx(1.0, abs=0.1)


def test_a_belief_replaces_the_runs_own_prior():
    options = FitOptions().changed(stars={"abundances": ("C", "Mg"), "abundance_sd": 0.2})
    sun = Belief({"teff": (5772.0, 2.0), "logg": (4.44, 0.01), "vmic": (1.0, 0.1), "resolution": (6e4, 6e3)}, 0.01)
    prior = star_prior([sun, Belief()], options)
    assert prior.mean[0, 0] == 5772.0
    known = star_prior([Belief(xfe={"C": (0.3, 0.05)})], options)
    assert (float(known.mean[0, 7]), float(known.sd[0, 7])) == (0.3, 0.05)
    assert prior.sd[0, 0] == 2.0
    assert float(prior.mean[0, LN_SIGMA]) == pytest.approx(float(lsf_sigma(6e4)))
    assert float(prior.sd[0, LN_SIGMA]) == pytest.approx(0.1)
    np.testing.assert_array_equal(prior.follows_vmic, [0, 1])
    np.testing.assert_array_equal(prior.follows_survey, [0, 1])
    np.testing.assert_allclose(prior.sd[:, -2:], [[0.01, 0.01], [0.2, 0.2]])
    assert starting_point(sun, options)[VMIC] == 1.0
    assert sun.is_anchor
    assert not Belief().is_anchor
    with pytest.raises(ValueError, match="none of teff"):
        Belief({"tef": (1.0, 1.0)})


def test_atoms_of_a_molecule_share_its_abundances():
    class Lines:
        z = np.array([606, 607, 26, 12, 112])
        isotope = np.array([12012, 13014, 0, 0, 0])

    atoms = composition(Lines, ("C", "N", "Mg"))
    np.testing.assert_array_equal(atoms, [[2, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1], [0, 0, 1]])
    carbon13 = composition(Lines, ("C", "13C", "14N"))
    np.testing.assert_array_equal(carbon13[:3], [[2, 0, 0], [1, 1, 1], [0, 0, 0]])
    patterns, rest = rest_slots(atoms)
    assert len(patterns) == 3
    assert rest[2] == -1
    assert rest[3] == rest[4]
    with pytest.raises(ValueError, match="'Xx' is no element"):
        composition(Lines, ("Xx",))


def test_summary_and_picture_of_a_check(tmp_path):
    """Gaussian noise of the stated size: the corrected model covers as it should, the shifted one fits worse."""
    import json

    from astrogf.checking import figures as check_figures
    from astrogf.checking import held_out as check
    from astrogf.inference.check import Corrections
    from astrogf.runs import folder as runs

    checked = made_up_check()
    lines = Table({"wavelength": [5000.0, 5000.4], "group": ["Fe I abo", "unlisted"]})
    found = Corrections(lines, np.eye(2), 4.2, {})
    summary = json.loads(runs.as_json(check.summarise(checked, found)))
    assert summary["pixel_coverage_68"] == pytest.approx(0.683, abs=0.03)
    assert summary["share_worse"] == 0.0
    assert summary["lines"] == 1
    assert summary["chi2_per_pixel_original"] > summary["chi2_per_pixel_corrected"]
    assert summary["repeats"]["teff"]["pairs"] == 4
    check_figures.draw(checked, tmp_path / "check.png")
    assert (tmp_path / "check.png").stat().st_size > 10_000
