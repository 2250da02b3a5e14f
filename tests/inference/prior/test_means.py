"""Means of the species against draws of mu and nu."""

import numpy as np
import pytest

from astrogf.inference.prior.means import LEAST_SD, LIST_MEAN_SD, MODEL_MEAN_SD, Means

SPECIES = np.array([3, 3, 7, 3, 9, 9])
KNOWN = np.array([False, True, False, False, True, True])
MEANS = Means.by_species(SPECIES, KNOWN)


def test_lines_of_a_species_share_a_mean_but_for_those_known_well() -> None:
    assert len(MEANS) == 4
    assert MEANS.of[0] == MEANS.of[3] != MEANS.of[1]
    assert MEANS.of[4] == MEANS.of[5]
    np.testing.assert_array_equal(MEANS.species[MEANS.of], SPECIES)


def test_covariance_and_what_the_means_say_of_the_list_against_draws() -> None:
    rng = np.random.default_rng(2)
    mu, nu = (np.array(x) for x in zip(*(MEANS.draw(rng) for _ in range(40_000)), strict=True))
    assert np.all(mu[:, KNOWN] == 0.0)
    np.testing.assert_array_equal(mu[:, 0], mu[:, 3])
    np.testing.assert_array_equal(nu[:, 0], nu[:, 1])
    first = [int(np.flatnonzero(MEANS.of == k)[0]) for k in range(len(MEANS))]
    m = (mu + nu)[:, first]
    np.testing.assert_allclose(np.cov(m.T), MEANS.covariance, atol=0.03 * MEANS.covariance.max())
    part, variance = MEANS.of_list
    left = mu[:, first] - m @ part.T
    np.testing.assert_allclose(left.var(axis=0), variance, atol=0.03 * LIST_MEAN_SD**2)
    assert np.abs(left.T @ m / len(m)).max() < 0.03 * LIST_MEAN_SD * MODEL_MEAN_SD


def test_lines_known_well_tell_the_lists_error_from_the_models() -> None:
    part, variance = MEANS.of_list
    here = MEANS.of[0]
    assert variance[here] == pytest.approx(0.0, abs=1e-12)
    assert part[here, MEANS.of[1]] == pytest.approx(-1.0)
    assert part[here, here] == pytest.approx(1.0)
    alone = MEANS.of[2]
    assert part[alone, alone] == pytest.approx(LIST_MEAN_SD**2 / (LIST_MEAN_SD**2 + MODEL_MEAN_SD**2))


def test_a_model_without_error_and_a_list_without_one_leave_no_mean() -> None:
    means = Means.by_species(SPECIES, KNOWN, 0.0)
    assert np.sqrt(means.covariance[means.of[4], means.of[4]]) == LEAST_SD
    part, variance = means.of_list
    assert part[means.of[0], means.of[0]] == pytest.approx(1.0)
    assert variance[means.of[0]] == pytest.approx(0.0, abs=1e-12)
