"""Wavelengths at which the model is wrong for all stars: found in the stack, nowhere else, and not averaged away."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from astropy.table import Table

from astrogf.base.constants import C_KMS
from astrogf.inference.fit import freed, known_lines, select_lines
from astrogf.inference.newton import misfit as misfits
from astrogf.inference.newton.joint import fit_joint
from astrogf.inference.newton.misfit import by_wavelength, curve, factor, misfit_table, stack, told_factors
from astrogf.inference.newton.stars import FitState
from astrogf.inference.prior import groups as hyper
from astrogf.inference.problem.noise import AtRest
from astrogf.inference.problem.spectra import quiet, taken
from tests.builders.lacking import OPTIONS, lacking
from tests.builders.residuals import sample_of, theta_of


def test_noise_alone_raises_nothing() -> None:
    z = np.random.default_rng(1).normal(size=20_000)
    for width in (1, 3, 7):
        found = factor(z, width)
        assert found.min() >= 1.0
        assert found.mean() < 1.03
        assert np.mean(found > 2.0) < 1e-3


def test_an_excess_gets_its_own_factor() -> None:
    z = np.random.default_rng(2).normal(size=3000)
    z[1000:1400] *= 4.0
    z[2000:2003] = [4.0, -8.0, 4.0]
    found = factor(z, 41)
    assert np.median(found[1050:1350]) == pytest.approx(16.0, rel=0.3)
    assert factor(z, 3)[2001] > 10.0
    np.testing.assert_array_less(factor(z, 3)[np.r_[:990, 1410:1990, 2010:3000]], 5.0)


def test_rows_are_stacked_at_rest() -> None:
    rng = np.random.default_rng(3)
    shift, inverse = np.array([-4, 0, 7]), rng.uniform(0.5, 2.0, (3, 50))
    pattern = rng.normal(size=50 + 11)
    residual = np.array([pattern[7 - s : 57 - s] for s in shift])
    z = stack(residual, inverse, shift)
    weight = np.zeros(61)
    for row, s in zip(inverse, shift, strict=True):
        weight[7 - s : 57 - s] += row
    # but for the probability with which any one row is an outlier
    np.testing.assert_allclose(z, pattern * np.sqrt(weight), rtol=1e-3)
    nothing = stack(residual, np.where(np.arange(50) < 20, 0.0, inverse), np.zeros(3, int))
    assert np.all(np.isnan(nothing[:20]))
    assert np.all(np.isfinite(factor(nothing, 5)))


def test_what_one_spectrum_alone_has_is_no_word_about_the_others() -> None:
    """Eighteen stars, an outlier of 26 sd in one of them at each of many pixels: as a stack without these pixels; what
    all have, however large, counts in full."""
    rng, at = np.random.default_rng(5), np.arange(50, 4000, 40)
    residual, inverse = rng.normal(size=(18, 4000)), np.ones((18, 4000))
    spoilt, masked = residual.copy(), inverse.copy()
    who = rng.integers(0, 18, len(at))
    spoilt[who, at], masked[who, at] = 26.0, 0.0
    none = np.zeros(18, int)
    plain = stack(residual, inverse, none)
    assert np.abs(plain - residual.sum(0) / np.sqrt(18.0)).max() < 1.0
    assert np.mean(plain**2) == pytest.approx(1.0, abs=0.05)
    np.testing.assert_allclose(
        stack(spoilt, inverse, none), stack(np.where(masked > 0, residual, 0.0), masked, none), atol=0.2
    )
    assert np.mean(factor(stack(spoilt, inverse, none), 3) > 2.0) < 1e-3
    in_common = stack(residual[:4] + np.where(np.isin(np.arange(4000), at), 15.0, 0.0), inverse[:4], none[:4])
    assert np.median(in_common[at]) == pytest.approx(30.0, rel=0.05)


def test_an_error_in_common_is_not_averaged_over_stars() -> None:
    """What 40 spectra say of their mean, with an error in common of sd 0.02: 1 / (0.01^2 / 40 + 0.02^2)."""
    rng = np.random.default_rng(4)
    inverse = np.full((40, 4000), 1e4)
    residual = 0.01 * rng.normal(size=(40, 4000)) + 0.02 * rng.normal(size=4000)
    found = factor(stack(residual, inverse, np.zeros(40, int)), 201)
    assert np.median(inverse.sum(0) / found) == pytest.approx(1.0 / (0.01**2 / 40 + 0.02**2), rel=0.15)


@pytest.mark.slow
def test_the_harm_of_lines_that_the_list_lacks_stays_beside_them() -> None:
    p = lacking(0)
    sample, noise = p.sample, quiet(p.sample, 0.01)
    alone = FitState(p.theta, jnp.array([p.sigma]), noise)
    chosen = select_lines(known_lines([p.model], p.lines, sample, alone, OPTIONS), OPTIONS)
    leaders = p.lines.take(chosen.leader)
    groups = hyper.make_groups(leaders.species(), np.zeros(len(leaders), dtype=str), 10**6)
    begin = FitState(p.theta, jnp.append(jnp.zeros(len(leaders)), p.sigma), noise)
    near = np.min(np.abs(leaders.wavelength[:, None] - p.missing.wavelength), axis=1) < 0.5
    z, sd, joint = {}, {}, {}
    for misfit in (False, True):
        fitted = freed(sample, [p.model], chosen.free, len(leaders))
        joint[misfit] = fit_joint(fitted, replace(begin, trace=[]), groups, OPTIONS.changed(noise={"misfit": misfit}))
        sd[misfit] = np.sqrt(np.diag(np.asarray(joint[misfit].posterior.covariance)))[:-1]
        z[misfit] = (np.asarray(joint[misfit].posterior.mean)[:-1] - p.injected[chosen.leader]) / sd[misfit]
    table = misfit_table(sample, joint[True].run.theta, joint[True].run.noise, [p.wavelength])
    size = {k: np.sqrt(np.mean(v[~near] ** 2)) for k, v in z.items()}
    assert size[False] > 2.0
    assert size[True] < 1.3
    assert np.abs(z[False][near]).max() > 10.0
    assert np.abs(z[True][near]).max() < 0.6 * np.abs(z[False][near]).max()
    worst = table[np.argmax(table["factor"])]
    assert np.min(np.abs(0.5 * (worst["start"] + worst["stop"]) - p.missing.wavelength)) < 0.5
    assert np.mean(np.asarray(joint[True].run.noise[0].local) > 2.0) < 0.1
    assert len(misfit_table(sample, joint[False].run.theta, joint[False].run.noise, [p.wavelength])) == 0


def in_two(sample, model: np.ndarray) -> list:
    """The rows of its only window in two blocks."""
    halves = np.array_split(np.arange(len(model)), 2)
    return [(rows, taken(sample.windows[0].data, rows), model[rows]) for rows in halves]


def test_what_is_wrong_at_rest_is_raised_where_each_star_has_it() -> None:
    rng = np.random.default_rng(6)
    rv = np.array([-40.0, 0.0, 26.0, 80.0])
    wavelength = 5000.0 * np.exp(np.arange(400) * 2.0 / C_KMS)
    at = 200 + np.rint(rv / 2.0).astype(int)  # a receding star has it at longer wavelengths
    residual = 0.01 * rng.normal(size=(4, 400))
    for row, i in zip(residual, at, strict=True):
        row[i - 1 : i + 2] += [0.03, -0.06, 0.03]
    theta, sample = theta_of(rv), sample_of(residual)
    [noise] = quiet(sample)
    at_rest = by_wavelength(sample.windows[0], theta, noise, in_two(sample, np.ones((4, 400))))
    found = np.asarray(at_rest)
    for row, i in zip(found, at, strict=True):
        assert np.argmax(row) in (i - 1, i, i + 1)
        assert row.max() > 10.0
        assert np.all(row[np.abs(np.arange(400) - i) > 4] < 4.0)
        assert np.mean(row > 2.0) < 0.04
    assert at_rest.raised() == np.sum(found > 2.0)
    np.testing.assert_array_equal(at_rest[np.array([3, 1])], found[[3, 1]])
    table = misfit_table(sample, theta, (noise._replace(local=at_rest),), [wavelength])
    stretch = table[np.argmax(table["factor"])]
    assert stretch["start"] < wavelength[200] < stretch["stop"]
    assert stretch["stop"] - stretch["start"] < 0.3
    assert stretch["factor"] == found.max()
    # written down at rest and told to the same stars, they are the same but for those next to 1
    told = told_factors(curve(sample, theta, (noise._replace(local=at_rest),), [wavelength]), wavelength, rv)
    np.testing.assert_array_equal(told, np.where(found > misfits.CURVE, found, 1.0))


def test_stretches_do_not_depend_on_how_many_spectra_are_looked_at_at_once(monkeypatch) -> None:
    rng, wavelength = np.random.default_rng(7), 5000.0 * np.exp(np.arange(300) * 2.0 / C_KMS)
    theta, sample = theta_of(40.0 * rng.normal(size=9)), sample_of(np.zeros((9, 300)))
    factors = 1.0 + 3.0 * np.convolve(rng.random(320) < 0.02, np.ones(4), "same")
    [noise] = quiet(sample)
    at_rest = noise._replace(local=AtRest(factors, rng.integers(0, 21, 9), 300))
    tables = []
    for n in (256, 4, 1):
        monkeypatch.setattr(misfits, "AT_ONCE", n)
        tables.append(misfit_table(sample, theta, (at_rest,), [wavelength]).as_array())
    assert len(tables[0]) > 3
    np.testing.assert_array_equal(tables[0], tables[1])
    np.testing.assert_array_equal(tables[0], tables[2])


def test_one_spectrum_tells_nothing() -> None:
    sample = sample_of(np.full((1, 30), 7.0))
    [noise] = quiet(sample)
    one = by_wavelength(sample.windows[0], theta_of(np.zeros(1)), noise, [])
    np.testing.assert_array_equal(one, 1.0)


def test_factors_are_told_to_other_spectra() -> None:
    """A pixel of another star has the factor of the rest pixel that it sees, and 1 where none was told."""
    pixels = 5000.0 * 10.0 ** (1e-4 * np.arange(40))
    step = C_KMS * 1e-4 * np.log(10.0)
    told = Table({"wavelength": pixels[[10, 11, 30]], "factor": [5.0, 3.0, 20.0]})
    found = told_factors(told, pixels, np.array([0.0, 0.3 * step, 4.0 * step, -2.0 * step]))
    for row, shift in enumerate((0, 0, 4, -2)):
        expected = np.ones(40)
        for at, value in ((10, 5.0), (11, 3.0), (30, 20.0)):
            expected[at + shift] = value
        np.testing.assert_array_equal(found[row], expected)
    np.testing.assert_array_equal(told_factors(told[:0], pixels, np.zeros(2)), np.ones((2, 40)))
