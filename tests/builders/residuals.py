"""Spectra known by their residuals alone, and a joint fit of them: what is looked at without a spectrum model."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from astrogf.base.constants import C_KMS, FWHM_PER_SIGMA
from astrogf.inference.newton.joint import Joint
from astrogf.inference.newton.passed import Pass, Terms
from astrogf.inference.newton.stars import FitState
from astrogf.inference.prior import groups as hyper
from astrogf.inference.prior.widths import Widths
from astrogf.inference.problem.arrow import Eliminated, Reduced
from astrogf.inference.problem.contribution import RowTerms
from astrogf.inference.problem.parameters import LN_SIGMA, RV, StarPrior
from astrogf.inference.problem.problem import StarData
from astrogf.inference.problem.spectra import Sample, WindowSpectra, quiet
from astrogf.synthesis.observed.grid import Grid

PIXEL = 2.0
"""km/s a pixel; the line-spread function has FWHM_KMS."""
FWHM_KMS = 5.0
SIGMA = 0.01
"""Noise of every pixel."""


@dataclass(frozen=True)
class Gridded:
    """A spectrum model of which only the grid is asked."""

    grid: Grid


@dataclass(frozen=True)
class NoModel:
    """A problem of which only the grid is asked, and the continuum, which is a constant."""

    spectrum: Gridded
    basis: np.ndarray
    scattered: bool = False


def window_of(residual: np.ndarray) -> WindowSpectra:
    """A spectrum a star with flux 1 + residual, [star, pixel]."""
    data = StarData(jnp.asarray(1.0 + residual), jnp.full(residual.shape, SIGMA**-2.0))
    step = PIXEL / C_KMS / np.log(10.0)
    grid = Grid(round(np.log10(5000.0) / step), residual.shape[1], step, oversampling=4)
    problem: Any = NoModel(Gridded(grid), np.ones((residual.shape[1], 1)))
    n = len(residual)
    return WindowSpectra(problem, data, np.arange(n), np.zeros(n, int))


def sample_of(residual: np.ndarray) -> Sample:
    """The window alone; nothing is believed of its stars."""
    n = len(residual)
    nothing = StarPrior(*(jnp.zeros(shape) for shape in ((n, 7), (n, 7), n, n)))
    return Sample((window_of(residual),), nothing)


def theta_of(rv: np.ndarray) -> jnp.ndarray:
    """Labels of stars with these velocities and the line-spread function of FWHM_KMS."""
    return jnp.zeros((len(rv), 7)).at[:, RV].set(rv).at[:, LN_SIGMA].set(np.log(FWHM_KMS / FWHM_PER_SIGMA))


def joint_of(sample: Sample, rv: np.ndarray, correction: np.ndarray, sd: np.ndarray, tau: float) -> Joint:
    """A joint fit whose models are 1 everywhere, with these corrections, their sds and their group's scatter."""
    (window,) = sample.windows
    (n, n_pixel), n_shared = window.data.flux.shape, len(correction) + 1
    one, nothing = np.ones((n, n_pixel)), np.zeros(n)
    rows = RowTerms(
        nothing, nothing, one, one, np.ones((n, 1)), None, np.zeros((n, 0)), nothing, nothing, nothing, None
    )
    star = Eliminated(jnp.zeros((n, 7)), jnp.zeros((n, 7, n_shared)), jnp.zeros((n, 7, 7)))
    reduced = Reduced(jnp.zeros((n_shared, n_shared)), jnp.zeros(n_shared))
    shared = np.append(correction, 0.0)
    widths = Widths(np.array([tau]), np.array([0.4]), np.array([0.0]), np.array([0.0]))
    weight = np.full(len(correction), tau**-2.0)
    posterior = hyper.Posterior(jnp.asarray(shared), jnp.asarray(np.diag(np.append(sd, 1.0) ** 2)), weight, widths)
    begin = hyper.Learned(np.zeros((4, 1)), np.zeros((2, 4)), weight)
    passed = Pass.of_one(reduced, Terms.kept_of(star, [rows], [np.arange(n)]), nothing, nothing)
    return Joint(FitState(theta_of(rv), jnp.asarray(shared), quiet(sample)), passed, posterior, begin, "converged")
