"""Four simulated stars at high resolution, every log gf of whose list is wrong, and two lines missing from it."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from astrogf.inference.problem.parameters import lsf_sigma, vmic_relation
from astrogf.inference.problem.priors import Belief, star_prior
from astrogf.inference.problem.problem import StarData
from astrogf.inference.problem.setup import Setup, prepare
from astrogf.inference.problem.spectra import Sample, WindowSpectra
from astrogf.inference.rehearsal.small import OPTIONS as SMALL
from astrogf.inference.rehearsal.small import spectra
from astrogf.surveys.spectrum import grid, window_pixels
from astrogf.synthesis.lines.linelist import LineList

WINDOW = (5165.0, 5180.0)
OPTIONS = SMALL.changed(
    model={"oversampling": 3, "depths": 32, "rv_reach": 50.0, "widest_sigma": 6.0},
    stars={"resolution": 45000.0},
    solver={"joint_iterations": 10},
    lines={"max_lines": 200, "max_ratio": 0.9},
    noise={"inflation": None},
)
LABELS = np.array(
    [[5800.0, 4.4, -0.1, 0.05], [5100.0, 3.0, -0.4, 0.15], [6200.0, 4.2, -0.3, 0.1], [4900.0, 4.6, 0.0, 0.05]]
)
STATED = {"teff": 20.0, "logg": 0.05, "feh": 0.03}


@dataclass
class Lacking:
    """`lines` as the fit gets them, by how much each is wrong, and the two that it lacks; `theta`, `sigma` are true."""

    wavelength: np.ndarray
    lines: LineList
    injected: np.ndarray
    missing: LineList
    model: Setup
    sample: Sample
    theta: jnp.ndarray
    sigma: float


def lacking(seed: int) -> Lacking:
    """Spectra of 15 Angstrom, R = 45,000, S/N 200, with 42 lines of which the list has 40, each wrong by 0.2 dex."""
    rng = np.random.default_rng(seed)
    wavelength = grid(*window_pixels(WINDOW, 3e-6), 3e-6)
    setup = prepare(wavelength, OPTIONS)
    inside = np.abs(setup.lines.wavelength - np.mean(WINDOW)) < 6.5
    strongest = np.argsort(-np.where(inside, setup.extent.strength, 0.0))[:40]
    listed = setup.lines.take(np.sort(strongest))
    missing = setup.lines.take(np.sort(rng.choice(strongest[10:], 2, replace=False)))
    missing = missing.replace(wavelength=rng.uniform(5169.0, 5176.0, 2), transition=10**6 + np.arange(2))
    true = prepare(wavelength, OPTIONS, lines=listed.merged(missing), keep_all=True).problem(0)
    vmic, sigma = np.asarray(vmic_relation(LABELS[:, 0], LABELS[:, 1])), float(lsf_sigma(OPTIONS.stars.resolution))
    theta = jnp.asarray(np.column_stack([LABELS, vmic, np.full(4, sigma), 8.0 * rng.normal(size=4)]))
    clean = np.asarray(spectra(true, theta, jnp.zeros(0)))
    data = StarData(*(jnp.asarray(x) for x in (clean + rng.normal(size=clean.shape) / 200, 200.0**2 + 0 * clean)))
    injected = 0.2 * rng.normal(size=len(listed))
    lines = listed.replace(loggf=listed.loggf - injected)
    known = [Belief({name: (row[i], sd) for i, (name, sd) in enumerate(STATED.items())}) for row in LABELS]
    model = prepare(wavelength, OPTIONS, lines=lines, keep_all=True)
    sample = Sample(
        (WindowSpectra(model.problem(0), data, np.arange(4), np.zeros(4, int)),), star_prior(known, OPTIONS)
    )
    return Lacking(wavelength, lines, injected, missing, model, sample, theta, sigma)
