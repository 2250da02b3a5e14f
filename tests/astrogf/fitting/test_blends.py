"""Missing lines from end to end: stars with lines that the list lacks, fitted with allowance for them."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from astrogf import config
from astrogf.base.errors import AstrogfError
from astrogf.fitting import engine
from astrogf.inference.prior import scatters
from astrogf.inference.prior.blends import Blends
from astrogf.inference.result import OF_GAPS, FitResult
from astrogf.inference.statistics import combine, load, save

STAR = {
    "medium": "vacuum", "logg": [4.4, 0.01], "feh": [0.0, 0.01], "alpha": [0.0, 0.01], "vmic": [1.0, 0.05],
    "rv": [0.0, 1.0], "resolution": [60000.0, 3000.0],
}  # fmt: skip
GIVEN = {
    "survey": {"kind": "stated", "window": [5200.0, 5230.0], "log_step": 3e-6},
    "model": {"oversampling": 3, "depths": 16, "molecules": False, "rv_reach": 30.0, "widest_sigma": 6.0},
    "lines": {"max_lines": 60, "least_strength": 0.01, "max_ratio": 0.9, "blends": True},
    "continuum": {"degree": 2},
    "solver": {"star_iterations": 2, "joint_iterations": 5, "chunk": 2},
    "demo": {"missing": 16, "snr": [250.0, 300.0], "oversampling": 2, "depths": 16, "outlier_fraction": 0.0},
    "spectra": {
        "sun": {"file": "sun.txt", "teff": [5772.0, 5.0], **STAR},
        "dwarf": {"file": "dwarf.txt", "teff": [6100.0, 5.0], **STAR},
    },
}


def silent(*_: object) -> None:
    """No bar."""


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> FitResult:
    folder = tmp_path_factory.mktemp("stars")
    given = config.parse(GIVEN, "my.toml")
    with pytest.MonkeyPatch.context() as few:
        for name, n in {"BURN": 5, "FEWEST": 40, "MOST": 40}.items():
            few.setattr(scatters, name, n)
        engine.simulate(given, folder, silent)
        return engine.fit(engine.load(given, folder, silent).batches, given, silent, lines=None)[0]


def test_lines_that_missing_ones_matter_to_lean_on_the_list(result) -> None:
    blends, lines = result.statistics.blends, result.lines
    seen = blends.share > 0.0
    assert seen.sum() > 30
    leaning = spearmanr(blends.variance[seen], np.asarray(lines["list_share"])[seen]).statistic
    assert leaning > 0.3
    blended = np.asarray(lines["blended"])
    assert np.all((blended >= 0.0) & (blended <= 1.0))
    np.testing.assert_array_equal(blended[~seen], 0.0)
    # some lines say for themselves that they are or are not
    assert np.ptp(blended[seen] / blends.share[seen]) > 0.3


def test_what_the_gaps_show_is_in_the_record(result) -> None:
    for name in ("sun", "dwarf"):
        sd, depth, share = (result.shared[f"{what}, {name}"][0] for what in OF_GAPS)
        assert sd < depth
        assert 0.005 < depth < 0.5
        assert 0.01 < share < 0.9


def test_statistics_keep_it(result, tmp_path) -> None:
    for blends in (result.statistics.blends, None):
        save(tmp_path / "s.npz", result.statistics._replace(blends=blends))
        again = load(tmp_path / "s.npz").blends
        assert (again is None) == (blends is None)
        if blends is not None:
            np.testing.assert_array_equal(again, blends)


def test_damaged_statistics_are_refused_with_a_sentence(result, tmp_path) -> None:
    short = Blends(*(x[:-1] for x in result.statistics.blends))
    save(tmp_path / "s.npz", result.statistics._replace(blends=short))
    with pytest.raises(AstrogfError, match=r"s.npz is damaged: \d+ lines, but what is of blends is \(4, \d+\)"):
        load(tmp_path / "s.npz")


def test_two_sets_of_stars_keep_what_both_know_of_blends(result) -> None:
    one = result.statistics
    twice = combine(one, one)
    np.testing.assert_allclose(twice.blends, one.blends, atol=1e-12)
    np.testing.assert_allclose(combine(one._replace(blends=None), one).blends, one.blends, atol=1e-12)
    assert combine(one._replace(blends=None), one._replace(blends=None)).blends is None


def test_other_solvers_refuse_it_before_any_work() -> None:
    with pytest.raises(AstrogfError, match=r"'nuts' cannot do \[lines\] blends"):
        config.parse({"solver": {"method": "nuts"}, "lines": {"blends": True}}, "my.toml")
