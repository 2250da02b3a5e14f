"""Draws of ln tau that are nearly the posterior's: each group's density given the others at the maximum, coupled.

The density along one group's axis through the maximum is exact at the cost of an eigenvalue problem of its lines: its
tails, exponential towards small scatters, are nothing a Gaussian has. Normal variates with the correlations of the
curvature are mapped to these densities (a Gaussian copula), made wider by marginal over conditional sd. They come from
a Latin hypercube (McKay et al. 1979, Technometrics 21, 239), in antithetic pairs: a mean over draws of what is nearly a
sum of terms of one group each has little noise.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, ndtri

from astrogf.inference.newton.evidence import LEAST_CURVATURE, Conditional, Evidence

REACH, POINTS = 12.0, 2401
"""Of the grid of a group's density: to both sides, in Gaussian sd, and its points."""
LEAST_LOG = -700.0
"""Of a density, in units of its maximum."""


class Proposal(NamedTuple):
    """`grid` of ln tau with `log_density` along every group's axis through `mode`; `root`: Cholesky factor of the
    correlations; `wider`: marginal over conditional sd."""

    mode: Float[np.ndarray, " group"]
    grid: Float[np.ndarray, "group point"]
    log_density: Float[np.ndarray, "group point"]
    root: Float[np.ndarray, "group group"]
    wider: Float[np.ndarray, " group"]

    @classmethod
    def about(cls, evidence: Evidence, mode: Float[np.ndarray, " group"], found: Conditional) -> "Proposal":
        """From what was `found` at the maximum."""
        size, axes = np.linalg.eigh(-found.hessian)
        size = np.maximum(size, LEAST_CURVATURE)
        conditional, covariance = np.diagonal((axes * size) @ axes.T), (axes / size) @ axes.T
        sd = np.sqrt(np.diagonal(covariance))
        grid = mode[:, None] + np.linspace(-REACH, REACH, POINTS) / np.sqrt(conditional)[:, None]
        log_density = np.empty_like(grid)
        for group, line in enumerate(grid):
            along = evidence.along(group, mode, found, line)
            along = np.where(np.isfinite(along), along, -np.inf)
            log_density[group] = np.maximum(along - along.max(), LEAST_LOG)
        root = np.linalg.cholesky(covariance / np.outer(sd, sd))
        return cls(mode, grid, log_density, root, sd * np.sqrt(conditional))

    def draw(
        self, rng: np.random.Generator, pairs: int
    ) -> tuple[Float[np.ndarray, "draw group"], Float[np.ndarray, " draw"]]:
        """ln tau of twice as many draws, and their log density up to a constant."""
        groups = len(self.mode)
        cells = rng.permuted(np.tile(np.arange(pairs), (groups, 1)), axis=1).T
        half = ndtri((cells + rng.uniform(size=cells.shape)) / pairs)
        white = np.concatenate([half, -half])
        normal = white @ self.root.T
        ln_tau, log_density = np.empty_like(normal), 0.5 * np.sum(normal**2 - white**2, axis=1)
        for g, (grid, log) in enumerate(zip(self.grid, self.log_density, strict=True)):
            density = np.exp(log)
            below = np.append(0.0, np.cumsum(density[1:] + density[:-1]))
            place = np.interp(ndtr(normal[:, g]), below / below[-1], grid)
            log_density += np.interp(place, grid, log)
            ln_tau[:, g] = self.mode[g] + self.wider[g] * (place - self.mode[g])
        return ln_tau, log_density
