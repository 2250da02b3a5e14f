"""A small (A, b) with groups of lines, and the probability of its scatters written down densely."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from astrogf.inference.newton import groups as hyper
from astrogf.inference.newton.evidence import Evidence
from astrogf.inference.newton.joint import SharedPrior
from astrogf.inference.problem.arrow import Reduced


class Given(NamedTuple):
    """(A, b), the point less the prior mean, the prior, and the scatters that are held (nan: learned)."""

    reduced: Reduced
    off: Float[Array, " shared"]
    prior: SharedPrior
    held: Float[Array, " group"]

    @property
    def evidence(self) -> Evidence:
        return Evidence.of(*self.reduced, self.off, self.prior.group, self.prior.ln_sigma_sd, self.held)

    def dense(self, ln_tau: Float[Array, " learned"]):
        """log density of the learned ln tau, up to a constant, and the posterior's step and precision there."""
        learned = np.flatnonzero(np.isnan(self.held))
        tau = jnp.asarray(self.held).at[learned].set(jnp.exp(ln_tau))
        prior = hyper.shared_precision(tau, self.prior.group, self.prior.ln_sigma_sd)
        value, step, factor = hyper.log_evidence(self.reduced, self.off, prior, 0.5 * jnp.linalg.slogdet(prior)[1])
        said = jnp.sum(2.0 * ln_tau - 0.5 * (tau[learned] / hyper.SCATTER_SD) ** 2)
        return value + said, (step, factor @ factor.T)

    def slope_and_hessian(self, ln_tau: Float[np.ndarray, " learned"]):
        """By automatic differentiation of the dense value."""

        def value(x):
            return self.dense(x)[0]

        return jax.jit(lambda x: (jax.grad(value)(x), jax.hessian(value)(x)))(jnp.asarray(ln_tau))
