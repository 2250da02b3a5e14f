"""The evidence lower bound of a Gaussian over what all stars share.

q is a Gaussian over corrections, the survey's resolution, means of the species and slopes with temperature; stars' own
parameters, continua and deviations are integrated over given these (Laplace), the classes of the lines are summed over,
and the widths of the prior are one value. Up to constants of the problem.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from astrogf.inference.newton.drift import Drift, covariance_with_slopes, with_slopes
from astrogf.inference.newton.joint import SharedPrior
from astrogf.inference.newton.told import Told
from astrogf.inference.prior import groups as hyper
from astrogf.inference.prior.conditional import System
from astrogf.inference.prior.widths import Widths, total
from astrogf.inference.problem.arrow import Eliminated
from astrogf.inference.solvers.minibatch import Quadratic

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(24)
"""Of the mean of a line's log prior density over its Gaussian."""


class Variational(NamedTuple):
    """q about the point of `system`: step to its mean and covariance, of the shared parameters followed by the means of
    the species; the widths that it has; and the slopes given the shared parameters, where there are some."""

    system: System
    step: Float[np.ndarray, " all"]
    covariance: Float[np.ndarray, "all all"]
    learned: hyper.Learned
    slopes: Eliminated | None = None

    @property
    def whole_step(self) -> Float[np.ndarray, " whole"]:
        """To the mean of the shared parameters and the slopes."""
        mine = self.step[: self.system.shared]
        return mine if self.slopes is None else with_slopes(self.slopes, mine)

    @property
    def whole_covariance(self) -> Float[np.ndarray, "whole whole"]:
        """Of the same."""
        mine = self.covariance[: self.system.shared, : self.system.shared]
        return mine if self.slopes is None else covariance_with_slopes(self.slopes, mine)


def elbo(
    q: Variational,
    likelihood: Quadratic,
    grown: float,
    point: Float[np.ndarray, " whole"],
    origin: Float[np.ndarray, " whole"],
    prior: SharedPrior,
    drift: Drift | None,
) -> float:
    """E_q[log likelihood + log prior] + entropy of q. `likelihood` of the stars visited so far, about `origin`, counts
    `grown` times; `point` of q's system."""
    mean, covariance = point + q.whole_step, q.whole_covariance
    value = grown * likelihood.expected(mean - origin, covariance)
    value += 0.5 * np.linalg.slogdet(q.covariance)[1]
    n = q.system.shared
    value += log_prior(q, prior, mean[:n])
    if prior.told is not None and not prior.within:
        value += _expected(prior.told, mean[:n], covariance[:n, :n])
    if drift is not None and drift.prior is not None and q.slopes is not None:
        value -= 0.5 * (mean[n:] @ drift.prior.pull(mean[n:]) + drift.prior.left_of(covariance[n:, n:]))
        value += 0.5 * np.linalg.slogdet(np.asarray(q.slopes.covariance))[1]
        value += 0.0 if drift.told is None else _expected(drift.told, mean, covariance)
    return float(value)


def _expected(told: Told, mean: np.ndarray, covariance: np.ndarray) -> float:
    return told.log_likelihood(mean) - 0.5 * float(np.sum(told.precision * covariance))


def log_prior(q: Variational, prior: SharedPrior, mean: Float[np.ndarray, " shared"]) -> float:
    """Mean over q, whose shared parameters have this `mean`, of the log prior of corrections, resolution and species'
    means; and the log prior of the widths."""
    system, widths = q.system, Widths.at(q.learned.place)
    n, shared = len(system.member), system.shared
    off = system.from_mean(q.step) + np.sqrt(system.spread(q.covariance)) * NODES[:, None]
    states = system.states(widths)
    lines = sum(w * np.sum(total(states.log_density(x))) for w, x in zip(WEIGHTS / WEIGHTS.sum(), off, strict=True))
    away = (mean[n:] - np.asarray(prior.mean)[n:]) ** 2 + np.diagonal(q.covariance)[n:shared]
    means, among, precision = q.step[shared:], q.covariance[shared:, shared:], system.means.precision
    square = float(np.sum(away)) / float(prior.ln_sigma_sd) ** 2 + means @ precision @ means + np.sum(precision * among)
    return float(lines - 0.5 * square + prior.belief.log_density(q.learned.place, q.learned.top)[0])
