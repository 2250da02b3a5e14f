"""The noise that a joint fit ends with is that of the residuals where it ends, not of those on the way."""

import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.inference.newton import joint
from astrogf.inference.newton.joint import fit_joint
from astrogf.inference.newton.learned_noise import learn
from astrogf.inference.newton.stars import FitState
from astrogf.inference.rehearsal.small import OPTIONS, Draw, Small, build, draw

N_STAR, SNR = 12, 200.0


@pytest.fixture(scope="module")
def small() -> Small:
    options = OPTIONS.changed(solver={"chunk": 6, "joint_iterations": 10}, noise={"inflation": None})
    return build(N_STAR, 8, n_pixel=48, kept=40, options=options)


@pytest.fixture(scope="module")
def drawn(small: Small) -> Draw:
    return draw(small, np.random.default_rng(4), snr=SNR)


def inflations(small: Small, drawn: Draw) -> tuple[float, float]:
    """What the fit ends with, from a list that is far off; and what its last residuals say."""
    sample = small.sample(drawn.data)
    far = jnp.asarray(drawn.shared).at[:-1].add(0.5 * jnp.sign(jnp.sin(7.0 * jnp.arange(small.n_line) + 1.0)))
    begin = FitState(jnp.asarray(drawn.theta), far, small.quiet(N_STAR))
    found = fit_joint(sample, begin, small.groups, small.options)
    last = learn(sample, found.passed, small.options, local=tuple(n.local for n in found.run.noise))
    return float(found.run.noise[0].inflation[0]), float(last[0].inflation[0])


def test_the_noise_is_that_of_where_the_fit_ends(small: Small, drawn: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    ended, said = inflations(small, drawn)
    assert ended < 1.3 * said + 3e-4
    # in so few rounds that the corrections are on their way, it is not
    monkeypatch.setattr(joint, "NOISE_ROUNDS", 1)
    monkeypatch.setattr(joint, "FAR", np.inf)
    hasty, said = inflations(small, drawn)
    assert hasty > 2.0 * said + 3e-4
