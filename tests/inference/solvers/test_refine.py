"""NUTS and Laplace after a fit: the density they are given is NumPyro's own, and their result has the fit's shape."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from numpyro.infer import Predictive
from numpyro.infer.util import log_density

from astrogf.inference.newton.joint import Joint
from astrogf.inference.newton.stars import FitState
from astrogf.inference.prior import groups as hyper
from astrogf.inference.prior.widths import GROUP_SD, PHI
from astrogf.inference.rehearsal.small import build, draw, maximise
from astrogf.inference.solvers.gaussian import joint_sites
from astrogf.inference.solvers.model import joint_model, sampled_widths
from astrogf.inference.solvers.refine import density_of_stars, refined

N_STAR, N_LINE = 2, 4


@pytest.fixture(scope="module")
def fitted():
    small = build(N_STAR, N_LINE, n_pixel=24, kept=40)
    drawn = draw(small, np.random.default_rng(1), snr=100.0)
    fit = maximise(small, drawn.data, drawn.theta, drawn.shared, widths=drawn.widths)
    sample = small.sample(drawn.data)
    run = FitState(fit.theta, fit.shared, small.quiet(), [])
    return small, sample, Joint(run, fit.passed, fit.posterior, fit.learned, "converged")


def test_density_is_that_of_the_model(fitted):
    """The two parts of the density at the maximum against numpyro.infer.util.log_density of all stars."""
    small, sample, joint = fitted
    own = jnp.concatenate([joint.run.theta / jnp.array([100, 0.1, 0.1, 0.1, 0.1, 0.05, 5.0]),
                           joint.passed.rows[0].coefficients], axis=1)  # fmt: skip
    means = small.groups.means(small.options.lines.model_error)
    shared = jnp.append(joint.run.shared, jnp.zeros(len(means)))
    of = density_of_stars(sample, joint.run.noise[0], joint, small.groups, small.options)
    once, each = of(jnp.arange(N_STAR))(shared, own)
    sites = joint_sites(small.n_line)(shared, own)
    member, n_group = jnp.asarray(small.groups.member), len(small.groups.names)
    args = (sample, member, n_group, means, small.options, joint.run.noise, joint.posterior.widths)
    whole, _ = log_density(joint_model, args, {}, sites)
    np.testing.assert_allclose(once + each, whole, rtol=1e-9)
    alone = [of(jnp.array([s]))(shared, own[s : s + 1]) for s in range(N_STAR)]
    np.testing.assert_allclose(sum(a[1] for a in alone), each, rtol=1e-9)
    np.testing.assert_allclose(alone[0][0], once, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["laplace", "nuts"])
def test_a_solver_of_the_configuration_refines_the_fit(fitted, method):
    """Near the Laplace posterior, which for such data is close to the truth."""

    small, sample, joint = fitted
    options = small.options.changed(solver={"method": method, "draws": 200})
    before = joint.posterior
    after = refined(sample, joint, hyper.Groups(*small.groups), options)
    sd = np.sqrt(np.diag(np.asarray(before.covariance)))
    assert after.run.trace[-1]["stage"] == method
    assert np.abs(np.asarray(after.posterior.mean) - np.asarray(before.mean))[:-1].max() < 0.6 * sd[:-1].max()
    ratio = np.sqrt(np.diag(np.asarray(after.posterior.covariance))) / sd
    assert np.all((ratio > 0.6) & (ratio < 1.6))
    assert jax.tree.all(jax.tree.map(lambda x: bool(jnp.isfinite(x).all()), after.posterior))


def test_widths_of_the_numpyro_model_have_their_prior() -> None:
    """Medians of tau, gross, share and phi of two groups, and how groups scatter about their common height."""
    names = ("tau", "gross", "share", "phi")

    def model() -> None:
        for name, value in sampled_widths(2, 0.08)._asdict().items():
            numpyro.deterministic(name, value)

    drawn = Predictive(model, num_samples=4000)(jax.random.key(1))
    found = np.array([np.median(drawn[name]) for name in names])
    np.testing.assert_allclose(found, [0.1, 0.4, 0.1, 0.08], rtol=0.06)
    apart = np.log(np.asarray(drawn["phi"])) @ np.array([1.0, -1.0])
    assert np.std(apart) == pytest.approx(np.sqrt(2.0) * GROUP_SD[PHI], rel=0.05)
