"""Everything a joint fit can be told, as one frozen value."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FitOptions:
    """Options of `inference.fit.fit`; units K, dex, km/s, Angstrom.

    Model: `oversampling` grid points a survey pixel, `depths` layers between log tau_ross `tau_top` and
    `tau_bottom`, `angles` Gauss angles, `line_cut` the smallest line-to-continuum opacity kept, `single` line
    profiles in float32. The defaults are fine enough for a LAMOST pixel: tests/test_synthesis.py says how fine.
    `molecules` takes the shipped molecular lines along.
    Lines: at most `max_lines` corrections, those whose expected posterior is below `max_ratio` of `prior_sd`; a line
    that the list does not have every `unlisted` Angstrom (0: none), 'everywhere' or only where a first fit gives cause
    for suspicion ('suspect', `unlisted_most` lines at the worst places), one for each lower level in eV.
    Solver: `method` 'gauss-newton' (Laplace's errors about the maximum, scatters integrated over), or after it
    'laplace' (about the mean, from `draws` pairs of gradients), 'svi' or 'nuts', with `draws` steps or draws.
    Stars: domain in Teff kept, priors as (mean, sd); `abundances` names the elements whose [X/Fe] beyond alpha is a
    star's own (from 0, sd `abundance_sd`). Continuum: Chebyshev of `continuum_degree`, or one degree every
    `continuum_scale` Angstrom where that is more. `rv_reach` is the largest |rv| looked for.
    """

    oversampling: int = 36
    depths: int = 32
    tau_top: float = -5.0
    tau_bottom: float = 1.5
    angles: int = 2
    single: bool = False
    line_cut: float = 2e-3
    molecules: bool = True
    rv_reach: float = 500.0
    widest_sigma: float = 80.0
    max_lines: int = 1200
    max_ratio: float = 0.9
    prior_sd: float = 0.2
    least_group: int = 8
    least_strength: float = 0.02
    floor: float = 0.0
    unlisted: float = 0.0
    unlisted_where: str = "everywhere"
    unlisted_levels: tuple[float, ...] = (3.0,)
    unlisted_most: int = 1000
    line_scatter: float = 0.0
    teff_range: tuple[float, float] = (4000.0, 7200.0)
    max_chi2: float = 6.0
    resolution: float = 1800.0
    resolution_sd: float = 150.0
    resolution_scatter: float = 0.05
    teff_prior: tuple[float, float] = (5500.0, 1500.0)
    logg_prior: tuple[float, float] = (3.5, 1.5)
    feh_prior: tuple[float, float] = (-0.3, 0.7)
    alpha_prior: tuple[float, float] = (0.1, 0.12)
    vmic_sd: float = 0.2
    rv_sd: float = 300.0
    continuum_degree: int = 7
    continuum_scale: float | None = None
    abundances: tuple[str, ...] = ()
    abundance_sd: float = 0.1
    inflation: float | None = None
    misfit: bool = False
    star_iterations: int = 6
    joint_iterations: int = 7
    tolerance: float = 0.05
    chunk: int = 16
    method: str = "gauss-newton"
    draws: int = 500
    seed: int = 0

    def prior_mean(self) -> np.ndarray:
        """Means in the order of `parameters.STAR` (vmic and ln_sigma follow the star and the survey)."""
        return np.array([self.teff_prior[0], self.logg_prior[0], self.feh_prior[0], self.alpha_prior[0], 0.0, 0.0, 0.0])

    def prior_sd_star(self) -> np.ndarray:
        """Standard deviations in the order of `inference.problem.parameters.STAR`."""
        spread = (self.teff_prior[1], self.logg_prior[1], self.feh_prior[1], self.alpha_prior[1])
        return np.array([*spread, self.vmic_sd, self.resolution_scatter, self.rv_sd])
