"""Where the list may lack a line: what a first fit without it did not explain, or at too high a price.

Two signs, each at the wavelength at rest: residuals that all stars share beyond their noise (`misfit`), and a well
determined correction that is larger than its group believes possible, for a line that is missing on top of a
listed one is taken up by it without a residual.
"""

import numpy as np
from jaxtyping import Float

from astrogf.base.constants import C_KMS, FWHM_PER_SIGMA
from astrogf.inference.newton.joint import Joint
from astrogf.inference.newton.misfit import with_misfit
from astrogf.inference.prior import groups as hyper
from astrogf.inference.problem.noise import RAISED
from astrogf.inference.problem.parameters import LN_SIGMA, RV
from astrogf.inference.problem.spectra import Sample

DETERMINED = 0.5
"""A correction is well determined where its posterior sd is below this part of its group's scatter ..."""
TOO_FAR = 2.5
"""... and doubted where it then exceeds the scatter (of the narrow class) by this factor."""


def suspicion(
    sample: Sample,
    joint: Joint,
    groups: hyper.Groups,
    leaders: Float[np.ndarray, " free"],
    wavelength: list[Float[np.ndarray, " pixel"]],
    at: Float[np.ndarray, " place"],
) -> Float[np.ndarray, " place"]:
    """How wrong a joint fit is at each of the wavelengths `at` (vacuum Angstrom, at rest).

    The factor by which the residuals of all stars ask the variance to be raised, 1 where there is nothing; infinite
    within a resolution element of a doubted correction. `leaders`: wavelengths of the corrections; `wavelength`:
    pixels of every window.
    """
    suspicions = np.ones(len(at))
    theta = np.asarray(joint.run.theta)
    noise = with_misfit(sample, joint.passed, joint.run.theta, joint.run.noise)
    for window, raised, pixels in zip(sample.windows, noise, wavelength, strict=True):
        for row, star in enumerate(window.star):
            rest = np.asarray(pixels) / (1.0 + theta[star, RV] / C_KMS)
            [factor] = np.asarray(raised.local[np.array([row])])
            suspicions = np.maximum(suspicions, np.interp(at, rest, factor, left=1.0, right=1.0))
    correction = np.abs(np.asarray(joint.posterior.mean)[:-1])
    sd = np.sqrt(np.diag(np.asarray(joint.posterior.covariance)))[:-1]
    tau = np.sqrt(joint.posterior.widths.variance[0])[groups.member]
    element = FWHM_PER_SIGMA * float(np.median(np.exp(theta[:, LN_SIGMA]))) / C_KMS
    for line in leaders[(sd < DETERMINED * tau) & (correction > TOO_FAR * tau)]:
        suspicions[np.abs(at / line - 1.0) < element] = np.inf
    return suspicions


def worst(
    at: Float[np.ndarray, " place"], suspicions: Float[np.ndarray, " place"], most: int
) -> Float[np.ndarray, " chosen"]:
    """The places with a suspicion, by wavelength; only the `most` suspicious where there are more."""
    order = np.argsort(-suspicions, kind="stable")[:most]
    return np.sort(at[order[suspicions[order] > RAISED]])
