"""What gaps between lines show of lines that no list has, spectrum by spectrum, and what that means for each line.

A gap is where the model has next to no line; in a spectrum that has hardly any, the tenth of its pixels where the model
has least. The absorption that is missing there is measured as that of a line is, with a profile as wide as the
spectrum's lines are.
"""

import numpy as np
from jaxtyping import Array, Bool, Float

from astrogf.inference.newton.blends import Blends, Sums, gaps_of, under
from astrogf.inference.newton.passed import Pass
from astrogf.inference.newton.told import Told
from astrogf.inference.problem.parameters import LN_SIGMA
from astrogf.inference.problem.spectra import Noise, Sample

GAP, LEAST = 0.985, 90.0
"""Parts of the continuum above which the model has a gap, and the percentile of the pixels that do for one at least."""
THERMAL = 1.5
"""km/s: sd of a line without an instrument, of iron at 5000 K with a microturbulence of 1.5 km/s."""
SEEN = 1e-6
"""The least slope of a line that is seen at all, parts of the continuum a dex."""


def matched(
    value: Float[np.ndarray, " pixel"], good: Bool[np.ndarray, " pixel"], sigma: float
) -> Float[np.ndarray, " pixel"]:
    """Depth of the Gaussian line of width `sigma` (pixels) that fits `value` best about every pixel."""
    reach = int(np.ceil(4.0 * sigma))
    profile = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weight = np.convolve(good.astype(float), profile**2, "same")
    return np.convolve(np.where(good, value, 0.0), profile, "same") / np.maximum(weight, 1e-3)


def blends_of(
    sample: Sample, passed: Pass, theta: Float[Array | np.ndarray, "star own"], noise: Noise, told: Told | None = None
) -> Blends:
    """Of every line, what the spectra of a pass that kept `sight` show: each spectrum has the weight of what it knows
    of the line once its own deviation is allowed for, and so have the others that have `told`. A spectrum with too few
    pixels says nothing."""
    sums, sigma = Sums.none(len(passed.reduced.gradient) - 1), np.exp(np.asarray(theta)[:, LN_SIGMA])
    if told is not None and told.blends is not None:
        sums.add(told.blends, np.diag(told.precision)[:-1])
    for part, terms in zip(sample.parts, passed.terms(), strict=True):
        for k, (window, data, row) in enumerate(zip(sample.windows, part.data.get(), terms.rows, strict=True)):
            if row is None or row.sight is None:
                continue
            grid, basis = window.problem.spectrum.grid, np.asarray(window.problem.basis)
            pixel = float(grid.oversampling * grid.velocity_step)
            for r, at in enumerate(part.rows[k]):
                level = basis @ np.asarray(row.coefficients[r])
                good = (np.asarray(data.ivar[r]) > 0.0) & np.isfinite(row.adjusted[r])
                normalised = np.where(good, row.adjusted[r] / level, 0.0)
                width = float(np.hypot(sigma[window.star[at]], THERMAL)) / pixel
                missing = matched(normalised - np.asarray(data.flux[r]) / level, good, width)
                gap = good & (normalised >= min(GAP, np.percentile(normalised[good], LEAST) if good.any() else GAP))
                found = gaps_of(missing[gap], max(2.0 * width, 1.0))
                if found is None:
                    continue
                known = np.asarray(row.sight.information[r], float)
                scatter = float(np.asarray(noise[k].scatter)[at]) if window.problem.scattered else 0.0
                sums.add(under(np.maximum(row.sight.slope[r], SEEN), found), known / (1.0 + known * scatter**2))
    return sums.together()
