"""A problem of strong lines with corrections, spectra of stars all over its domain, and a surrogate of it."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.parameters import lsf_sigma
from astrogf.inference.problem.problem import StarData, StarProblem
from astrogf.inference.problem.spectra import Sample
from astrogf.inference.rehearsal.small import sample_of, spectra
from astrogf.inference.surrogate.build import Trial, built
from astrogf.inference.surrogate.coarse import Coarse
from astrogf.inference.surrogate.domain import Domain
from astrogf.inference.surrogate.model import Surrogate
from tests.builders.strong_lines import strong_lines

N_STAR, N_LINE, N_PIXEL, TRIED, SNR = 8, 10, 60, 16, 80.0


class Made(NamedTuple):
    """`theta` and `shared` are true of the `data`; abundances, where the options have some, are from their prior."""

    options: FitOptions
    problem: StarProblem
    data: StarData
    theta: np.ndarray
    shared: np.ndarray
    coarse: Coarse
    domain: Domain
    surrogate: Surrogate
    trial: Trial

    def sample(self, problem: StarProblem, data: StarData | None = None) -> Sample:
        """Of one window."""
        return sample_of(problem, self.data if data is None else data, self.options)


def made_surrogate(options: FitOptions, points: int, first_pixel: int = 37180) -> Made:
    """The surrogate is made from so many `points` and tried on TRIED others."""
    rng = np.random.default_rng(5)
    problem = strong_lines(options, N_PIXEL, N_LINE, first_pixel=first_pixel)
    ln_sigma = float(lsf_sigma(options.stars.resolution)) + 0.03
    shared = np.append(0.2 * rng.normal(size=N_LINE), ln_sigma)
    domain, coarse = Domain.of(options.stars), Coarse.under(problem.spectrum.grid, ln_sigma)
    surrogate, trial = built(problem, shared[:-1], coarse, domain, chunk=16, points=points, tried_on=TRIED)
    drawn = domain.draw(N_STAR, surrogate.atmosphere, seed=7)
    instrument = [ln_sigma, 0.0] + [0.03, 20.0] * rng.normal(size=(N_STAR, 2))
    own = domain.draw_abundances(N_STAR, len(options.stars.abundances), seed=8)
    theta = np.column_stack([drawn, instrument, own])
    clean = np.asarray(spectra(problem, jnp.asarray(theta), jnp.asarray(shared[:-1])))
    data = StarData(jnp.asarray(clean + rng.normal(size=clean.shape) / SNR), jnp.full(clean.shape, SNR**2))
    return Made(options, problem, data, theta, shared, coarse, domain, surrogate, trial)
