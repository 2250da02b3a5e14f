"""Draws of ln tau: their density is what it says, and nearly the posterior's."""

import numpy as np

from astrogf.inference.newton.proposal import Proposal
from tests.inference.newton.test_evidence import blended


def test_draws_are_nearly_the_posterior_and_have_the_density_stated():
    """Weights of equal size mean both; a wrong density would leave them as unequal as the draws' densities are."""
    evidence = blended(100).evidence
    mode, found = evidence.maximum(np.log([0.2, 0.2, 0.2, 0.2]))
    ln_tau, log_density = Proposal.about(evidence, mode, found).draw(np.random.default_rng(0), 200)
    assert ln_tau.shape == (400, 4)
    ln_weight = evidence.values(ln_tau) - log_density
    assert np.std(log_density) > 1.0
    assert np.std(ln_weight) < 0.3
    weight = np.exp(ln_weight - ln_weight.max())
    assert weight.sum() ** 2 / np.sum(weight**2) > 0.9 * 400


def test_a_group_without_lines_has_its_prior():
    """Rayleigh: the mean of tau^2 is twice the square of its scale; the hypercube leaves little noise."""
    evidence = blended(60).evidence
    mode, found = evidence.maximum(np.log([0.2, 0.2, 0.2, 0.2]))
    ln_tau, _ = Proposal.about(evidence, mode, found).draw(np.random.default_rng(0), 200)
    np.testing.assert_allclose(np.mean(np.exp(2.0 * ln_tau[:, 3])), 2.0 * 0.2**2, rtol=0.02)
