"""What gaps between lines show of lines that no list has, spectrum by spectrum, and what that means for each line.

A gap is where the model has next to no line; in a spectrum that has hardly any, the tenth of its pixels where the model
has least. The absorption that is missing there is measured as that of a line is, with a profile as wide as the
spectrum's lines are.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float

from astrogf.inference.newton.passed import Pass
from astrogf.inference.newton.told import Told
from astrogf.inference.prior.blends import Blends, Gaps, Sums, gaps_of, under
from astrogf.inference.problem.noise import NoiseModel, as_numpy, variances
from astrogf.inference.problem.parameters import LN_SIGMA
from astrogf.inference.problem.spectra import Noise, Sample

GAP, LEAST = 0.985, 90.0
"""Parts of the continuum above which the model has a gap, and the percentile of the pixels that do for one at least."""
THERMAL = 1.5
"""km/s: sd of a line without an instrument, of iron at 5000 K with a microturbulence of 1.5 km/s."""
LEAST_WEIGHT = 1e-3
"""Where hardly a pixel of a line is good, its depth is nearly 0 rather than anything."""
SEEN = 1e-6
"""The least slope of a line that is seen at all, parts of the continuum a dex."""


class Matched(NamedTuple):
    """Depth of the Gaussian line that fits best about every pixel, and the variance that the pixels' own leaves it."""

    depth: Float[np.ndarray, " pixel"]
    variance: Float[np.ndarray, " pixel"]


def matched(
    value: Float[np.ndarray, " pixel"], variance: Float[np.ndarray, " pixel"], good: Bool[np.ndarray, " pixel"], sigma
) -> Matched:
    """A line of width `sigma` (pixels) fitted to `value` about every pixel, all `good` ones alike."""
    reach = int(np.ceil(4.0 * sigma))
    profile = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weight = np.maximum(np.convolve(good.astype(float), profile**2, "same"), LEAST_WEIGHT)
    depth = np.convolve(np.where(good, value, 0.0), profile, "same") / weight
    return Matched(depth, np.convolve(np.where(good, variance, 0.0), profile**2, "same") / weight**2)


def gaps_in(
    residual: Float[np.ndarray, " pixel"],
    variance: Float[np.ndarray, " pixel"],
    normalised: Float[np.ndarray, " pixel"],
    sigma: float,
) -> Gaps | None:
    """The gaps of a spectrum whose lines are `sigma` pixels wide; all in parts of the continuum, nan where a pixel does
    not count. `residual`: the flux less the model, which is `normalised`; `variance` of a pixel, which the fit allows
    for and which is so no part of what the gaps scatter by."""
    good = np.isfinite(residual) & np.isfinite(normalised)
    if not good.any():
        return None
    missing = matched(-residual, variance, good, sigma)
    gap = good & (normalised >= min(GAP, np.percentile(normalised[good], LEAST)))
    found = gaps_of(missing.depth[gap], max(2.0 * sigma, 1.0))
    if found is None:
        return None
    return found._replace(sd=np.sqrt(max(found.sd**2 - float(np.median(missing.variance[gap])), 0.0)))


class Spectrum(NamedTuple):
    """Of one spectrum: its window and its row there; its gaps, None where they are too few; and of every line the slope
    and what is known, its own deviation allowed for."""

    window: int
    row: int
    gaps: Gaps | None
    slope: Float[Array | np.ndarray, " line"]
    known: Float[np.ndarray, " line"]


def of_each(
    sample: Sample, passed: Pass, theta: Float[Array | np.ndarray, "star own"], noise: Noise
) -> Iterator[Spectrum]:
    """Every spectrum of a pass that kept `sight`."""
    sigma = np.exp(np.asarray(theta)[:, LN_SIGMA])
    for part, terms in zip(sample.parts, passed.terms(), strict=True):
        for k, (window, data, row) in enumerate(zip(sample.windows, part.data.get(), terms.rows, strict=True)):
            if row is None or row.sight is None:
                continue
            rows, grid = part.rows[k], window.problem.spectrum.grid
            plain = as_numpy(noise[k]._replace(local=np.ones((len(noise[k].scale), 1))))
            mine = NoiseModel(*(x[rows] for x in plain))
            variance, used = variances(data.flux, data.ivar, mine), np.asarray(data.ivar) > 0.0
            level = np.asarray(row.coefficients) @ np.asarray(window.problem.basis).T
            width = np.hypot(sigma[window.star[rows]], THERMAL) / float(grid.oversampling * grid.velocity_step)
            scatter = np.asarray(mine.scatter) if window.problem.scattered else np.zeros(len(rows))
            for r, at in enumerate(rows):
                normalised = np.where(used[r], row.adjusted[r] / level[r], np.nan)
                residual = np.asarray(data.flux[r]) / level[r] - normalised
                found = gaps_in(residual, variance[r] / level[r] ** 2, normalised, float(width[r]))
                known = np.asarray(row.sight.information[r], float)
                yield Spectrum(k, int(at), found, row.sight.slope[r], known / (1.0 + known * scatter[r] ** 2))


def blends_of(
    sample: Sample, passed: Pass, theta: Float[Array | np.ndarray, "star own"], noise: Noise, told: Told | None = None
) -> Blends:
    """Of every line, what all spectra of a pass that kept `sight` show: each has the weight of what it knows of the
    line, and so have the others that have `told`. A spectrum with too few pixels in gaps says nothing."""
    sums = Sums.none(len(passed.reduced.gradient) - 1)
    if told is not None and told.blends is not None:
        sums.add(told.blends, np.diag(told.precision)[:-1])
    for one in of_each(sample, passed, theta, noise):
        if one.gaps is not None:
            sums.add(under(np.maximum(np.asarray(one.slope), SEEN), one.gaps), one.known)
    return sums.together()


def gaps_by_window(
    sample: Sample, passed: Pass, theta: Float[Array | np.ndarray, "star own"], noise: Noise
) -> list[Float[np.ndarray, "row 3"]]:
    """`Gaps` of every row of every window, nan where a spectrum has too few."""
    found = [np.full((len(w.star), 3), np.nan) for w in sample.windows]
    for one in of_each(sample, passed, theta, noise):
        if one.gaps is not None:
            found[one.window][one.row] = one.gaps
    return found
