"""Places where the list may lack a line: by residuals in common and by corrections too large to believe."""

import jax.numpy as jnp
import numpy as np
import pytest
from astropy.table import Table

from astrogf.base.constants import C_KMS
from astrogf.inference.fit import fit_lines, with_suspects
from astrogf.inference.newton.stars import FitState
from astrogf.inference.newton.suspects import suspicion, worst
from astrogf.inference.prior import groups as hyper
from astrogf.inference.problem.collect import Origin
from astrogf.inference.problem.spectra import quiet
from astrogf.inference.problem.unlisted import LOGGF, is_unlisted, places, with_unlisted
from astrogf.surveys.batch import SpectrumBatch
from astrogf.synthesis.lines.linelist import QUALITY
from astrogf.synthesis.lines.shipped import load_atomic_lines
from tests.builders.lacking import OPTIONS, lacking
from tests.builders.residuals import joint_of, sample_of

N_PIXEL = 400
WAVELENGTH = 5000.0 * np.exp(np.arange(N_PIXEL) * 2.0 / C_KMS)
RVS = np.array([-40.0, 0.0, 26.0, 80.0])


def noisy() -> np.ndarray:
    return 0.01 * np.random.default_rng(6).normal(size=(len(RVS), N_PIXEL))


def judged(residual: np.ndarray, at: np.ndarray, correction=(0.1, -0.2), sd=(0.02, 0.02)) -> np.ndarray:
    leaders = np.array([5002.0, 5010.0])
    sample = sample_of(residual)
    joint = joint_of(sample, RVS, np.array(correction), np.array(sd), 0.2)
    groups = hyper.Groups(np.zeros(2, int), ("Fe I",), np.zeros(2, int), np.array([np.nan]))
    return suspicion(sample, joint, groups, leaders, [WAVELENGTH], at)


def test_a_line_missing_in_all_stars_is_suspected_at_its_wavelength_at_rest() -> None:
    residual = noisy()
    for row, i in zip(residual, 200 + np.rint(RVS / 2.0).astype(int), strict=True):
        row[i - 2 : i + 3] -= [0.02, 0.06, 0.1, 0.06, 0.02]
    at = np.arange(WAVELENGTH[0], WAVELENGTH[-1], 0.03)
    found = judged(residual, at)
    assert abs(at[np.argmax(found)] - WAVELENGTH[200]) < 0.1
    chosen = worst(at, found, 5)
    assert len(chosen) == 5
    assert np.all(np.diff(chosen) > 0)
    assert np.all(np.abs(chosen - WAVELENGTH[200]) < 0.2)
    everywhere = worst(at, found, 10_000)
    assert np.mean(np.abs(everywhere - WAVELENGTH[200]) < 0.3) > 0.5
    assert len(everywhere) < 0.1 * len(at)


def test_noise_makes_little_suspect_and_nothing_outside_the_spectra() -> None:
    at = np.arange(WAVELENGTH[0] - 20.0, WAVELENGTH[-1] + 20.0, 0.03)
    found = judged(noisy(), at)
    assert np.mean(found > 2.0) < 0.02
    outside = (at < WAVELENGTH[0] * (1 - 80.0 / C_KMS) - 0.1) | (at > WAVELENGTH[-1] * (1 + 40.0 / C_KMS) + 0.1)
    np.testing.assert_array_equal(found[outside], 1.0)


@pytest.mark.parametrize(
    ("correction", "sd", "doubted"),
    [
        ((0.6, 0.0), (0.02, 0.02), [5002.0]),
        ((0.6, -0.7), (0.02, 0.02), [5002.0, 5010.0]),
        ((0.6, 0.0), (0.15, 0.02), []),  # not well determined
        ((0.4, 0.0), (0.02, 0.02), []),  # two scatters are no cause
    ],
)
def test_a_correction_too_large_to_believe_is_doubted(correction, sd, doubted) -> None:
    at = np.arange(5000.5, 5011.0, 0.02)
    found = judged(noisy(), at, correction, sd)
    element = 5.0 / C_KMS
    near = np.abs(at[:, None] / np.reshape(doubted, (1, -1)) - 1.0).min(axis=1, initial=1.0) < element
    np.testing.assert_array_equal(np.isinf(found), near)


def test_lines_of_every_level_stand_at_the_suspect_places_only() -> None:
    lines = load_atomic_lines(5170.0, 5200.0)
    at = places(lines, 0.1)[[3, 40, 41]]
    both = with_unlisted(lines, 0.1, (1.0, 5.5), at)
    mine = both.take(is_unlisted(both))
    np.testing.assert_allclose(mine.wavelength, np.repeat(at, 2))
    np.testing.assert_array_equal(np.sort(mine.elow), [1.0] * 3 + [5.5] * 3)
    assert np.all(mine.quality == QUALITY.index("unlisted"))
    assert len(np.unique(mine.transition)) == 6
    # about as strong in the Sun whatever their level: 5040 / 5300 dex an eV
    np.testing.assert_allclose(mine.loggf, LOGGF + 5040.0 / 5300.0 * (mine.elow - 3.0), atol=0.02)
    assert np.isin(places(lines, 0.1), places(load_atomic_lines(5160.0, 5210.0), 0.1)).all()


@pytest.mark.slow
def test_lines_that_the_list_lacks_are_put_where_they_are_missing() -> None:
    """Four stars at R = 45,000, two lines missing among 42: found, and listed lines on top of them no longer err."""
    p = lacking(0)
    options = OPTIONS.changed(
        noise={"misfit": True}, lines={"unlisted": 0.04, "unlisted_where": "suspect", "unlisted_most": 150}
    )
    spectra = p.sample.windows[0].data
    batch = SpectrumBatch(p.wavelength, np.asarray(spectra.flux), np.asarray(spectra.ivar), Table())
    origin = Origin([batch], Table(), p.lines, [np.ones(len(spectra.flux))], [np.array(["made"])])
    run = FitState(p.theta, jnp.array([p.sigma]), quiet(p.sample, 0.01))
    first = fit_lines([p.model], p.lines, p.sample, run, options, lambda *_: None, False)
    second = with_suspects(first, origin, run, options, lambda *_: None, False)
    [said] = [step for step in run.trace if step["stage"] == "suspects"]
    assert 5 < said["places"] < 60
    error = dict(zip(p.lines.transition.tolist(), p.injected, strict=True))
    near, far = {}, {}
    for name, stage in (("first", first), ("second", second)):
        leaders, mean = stage.leaders, np.asarray(stage.joint.posterior.mean)[:-1]
        sd = np.sqrt(np.diag(np.asarray(stage.joint.posterior.covariance)))[:-1]
        z = (mean - np.array([error.get(t, np.nan) for t in leaders.transition.tolist()])) / sd
        distance = np.min(np.abs(leaders.wavelength[:, None] - p.missing.wavelength), axis=1)
        listed = ~is_unlisted(leaders)
        near[name], far[name] = np.abs(z[listed & (distance < 0.5)]), z[listed & (distance > 0.5)]
    assert near["first"].max() > 5.0
    assert near["second"].max() < 3.5
    assert np.sqrt(np.mean(far["second"] ** 2)) < 1.3
    unlisted = is_unlisted(second.leaders)
    strong = second.leaders.wavelength[unlisted & (np.asarray(second.joint.posterior.mean)[:-1] > 1.9)]
    assert len(strong)
    apart = np.abs(strong[:, None] - p.missing.wavelength)
    assert np.all(apart.min(axis=1) < 0.1)
    assert np.all(apart.min(axis=0) < 0.1)
