"""What a fit is made of, counted before anything is computed: stars, windows, pixels, lines, free lines to be expected.

How many lines will be free is decided by a pass over all spectra (`newton.choice`). Beforehand it is told from how
strong lines are: `KNOWN` has what the spectra knew of lines of each strength in a fit of 64 simulated LAMOST spectra
(4900-5400 A; a line's neighbours matter more than its strength, hence the spread), and finer pixels and resolution
know more by the power FINER of their product, from a fit of four stars at R = 60,000.

A run that has another one as prior frees few lines more than that one knows. Of lines of one strength, both know best
those that stand free, and the other run has taken these: if it knows a share f of them, and these spectra would free
a share s, it is s - f that are new, and none where f is larger.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import norm

from astrogf.base.constants import C_KMS, FWHM_PER_SIGMA
from astrogf.inference.newton.choice import group_transitions
from astrogf.inference.problem.collect import window_setups
from astrogf.inference.problem.instrument import names
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.prior_lines import LinePrior
from astrogf.inference.problem.priors import NOTHING, Belief
from astrogf.inference.problem.setup import Setup
from astrogf.inference.problem.unlisted import is_unlisted, places
from astrogf.surveys.batch import SpectrumBatch
from astrogf.synthesis.gas.abundances import SYMBOLS
from astrogf.synthesis.lines.linelist import LineList

KNOWN = np.array(
    [
        (-1.5, -9.3, 1.15), (-1.0, -8.9, 1.4), (-0.5, -8.25, 1.45), (0.0, -7.7, 1.75), (0.5, -7.2, 2.0),
        (1.0, -6.25, 1.8), (1.5, -5.45, 1.45), (2.0, -4.55, 0.8), (2.5, -4.1, 0.5), (3.0, -4.0, 0.55),
        (3.5, -3.75, 0.55),
    ]
)  # fmt: skip
"""log10 of a transition's strength (line over continuum opacity); median of log10 of what is known of it (squared
signal-to-noise per dex) over the sum of the squared S/N of all spectra; distance of the 84th percentile."""
WIDTH, LAMOST, FINER = 4.0, 71.0 * 69.0, 0.45
"""km/s of a line of its own; sigma of broadening times pixel in `KNOWN`, (km/s)^2."""

ALIKE, NEAR = 0.25, 20.0
"""log10 of strength by which lines are alike, to either side; and A from a line that another run knows, within which it
has seen lines."""

AT_ONCE = 256
"""Spectra that are looked at at once."""


class WindowCounts(NamedTuple):
    """One window: its ends (vacuum Angstrom), pixels, points of the synthesis grid, spectra, lines that are computed,
    and points of all their cores, which a synthesis costs by."""

    first: float
    last: float
    pixels: int
    grid: int
    spectra: int
    lines: int
    points: int


class Counts(NamedTuple):
    """A fit: stars, those whose labels are not known and searched for, their own parameters, continuum coefficients of
    a spectrum, lines in the windows, transitions that may be freed, and how many of them are expected to be."""

    windows: tuple[WindowCounts, ...]
    stars: int
    searched: int
    own: int
    basis: int
    lines: int
    candidates: int
    free: int

    @property
    def spectra(self) -> int:
        """Of all windows."""
        return sum(w.spectra for w in self.windows)

    @property
    def pixels(self) -> int:
        """Of a star with a spectrum in every window."""
        return sum(w.pixels for w in self.windows)


def count(
    batches: Sequence[SpectrumBatch],
    options: FitOptions,
    lines: LineList | None,
    beliefs: Mapping[str, Belief],
    complete: Callable[[LineList], LineList] = lambda lines: lines,
    prior: LinePrior | None = None,
) -> Counts:
    """Counted for these spectra; arguments as of `collect`. All lines of the `prior` are free. Raises NoStarsError
    where there is no spectrum."""
    batches = [b for b in batches if len(b.flux)]
    lines, setups = window_setups(batches, options, lines, complete=complete)
    strength = np.zeros(len(lines))
    for setup in setups:
        np.maximum.at(strength, setup.row[setup.near], setup.extent.strength[setup.near])
    always = is_unlisted(lines)
    if prior is not None:
        always |= np.isin(lines.transition, lines.transition[prior.rows(lines)])
    atoms = (strength > options.lines.least_strength) & (lines.z <= len(SYMBOLS)) & ~always
    chosen = group_transitions(lines, strength, atoms).leader if atoms.any() else np.empty(0, int)
    taken = None
    if prior is not None and len(chosen):
        listed = always & ~is_unlisted(lines)
        theirs = group_transitions(lines, strength, listed).leader if listed.any() else np.empty(0, int)
        taken = share_taken(*((strength[x], lines.wavelength[x]) for x in (chosen, theirs)))
    certain = expected_free(strength[chosen], batches, options, taken)
    more = len(np.unique(lines.transition[always]))
    if options.lines.unlisted > 0 and options.lines.unlisted_where == "suspect":
        at = len(places(lines, options.lines.unlisted)) * len(options.lines.unlisted_levels)
        more = min(options.lines.unlisted_most, at)
    windows = tuple(_window(b, s) for b, s in zip(batches, setups, strict=True))
    basis = max(setup.degree for setup in setups) + 1
    stars = {str(path) for b in batches for path in b.table["path"].tolist()}
    searched = sum(not beliefs.get(path, NOTHING).is_anchor for path in stars)
    own = len(names(options.stars, len(batches)))
    return Counts(windows, len(stars), searched, own, basis, len(lines), len(chosen) + more, certain + more)


def expected_free(
    strength: Float[np.ndarray, " transition"],
    batches: Sequence[SpectrumBatch],
    options: FitOptions,
    taken: Float[np.ndarray, " transition"] | None = None,
) -> int:
    """How many transitions of such strengths will be free: see `KNOWN`. `taken`: what share of those like each of them
    is not asked about, because another run knows it."""
    if len(strength) == 0:
        return 0
    known = np.sum([_signal(b, options) for b in batches])
    need = (options.lines.max_ratio**-2.0 - 1.0) / options.lines.prior_sd**2
    if known <= 0.0 or need <= 0.0:
        return 0
    x = np.log10(np.maximum(strength, 1e-10))
    median, above = (np.interp(x, KNOWN[:, 0], KNOWN[:, i]) for i in (1, 2))
    share = norm.sf((np.log10(need / known) - median) / above)
    if taken is not None:
        share = np.clip(share - taken, 0.0, None) / (1.0 - taken)
    return int(min(options.lines.max_lines, round(float(np.sum(share)))))


def share_taken(
    mine: tuple[Float[np.ndarray, " mine"], Float[np.ndarray, " mine"]],
    theirs: tuple[Float[np.ndarray, " theirs"], Float[np.ndarray, " theirs"]],
) -> Float[np.ndarray, " mine"]:
    """Of transitions about as strong as each of mine, the part that are theirs, where theirs are; 0 elsewhere, below 1.

    Both are strengths and wavelengths (A). `theirs`: transitions that another run knows.
    """
    at = np.sort(theirs[1][theirs[0] > 0.0])
    if len(at) == 0:
        return np.zeros(len(mine[0]))
    i = np.searchsorted(at, mine[1])
    nearest = np.minimum(np.abs(mine[1] - at[np.maximum(i - 1, 0)]), np.abs(at[np.minimum(i, len(at) - 1)] - mine[1]))
    seen = nearest < NEAR
    x = np.log10(mine[0])

    def alike(strength: Float[np.ndarray, " some"]) -> Float[np.ndarray, " mine"]:
        there = np.sort(np.log10(strength[strength > 0.0]))
        return np.searchsorted(there, x + ALIKE, "right") - np.searchsorted(there, x - ALIKE)

    known = alike(theirs[0])
    # each of mine that was seen is one of those like itself, so that this is no 0 / 0
    return np.where(seen, known / np.maximum(known + alike(mine[0][seen]), 1), 0.0)


def _signal(batch: SpectrumBatch, options: FitOptions) -> float:
    """Sum of the squared S/N a pixel of all spectra, for pixels and resolution as in `KNOWN`."""
    snr2 = np.concatenate([_squared_snr(batch, i) for i in range(0, len(batch.flux), AT_ONCE)]).sum()
    sigma = np.hypot(C_KMS / options.stars.resolution / FWHM_PER_SIGMA, WIDTH)
    pixel = C_KMS * np.log(batch.wavelength[-1] / batch.wavelength[0]) / (len(batch.wavelength) - 1)
    return float(snr2 * (LAMOST / (sigma * pixel)) ** FINER)


def _squared_snr(batch: SpectrumBatch, first: int) -> Float[np.ndarray, " row"]:
    """Of a usable pixel in the mean, of some rows."""
    flux, ivar = (x[first : first + AT_ONCE] for x in (batch.flux, batch.ivar))
    good = ivar > 0
    return np.sum(flux**2 * ivar * good, axis=1) / np.maximum(good.sum(axis=1), 1)


def _window(batch: SpectrumBatch, setup: Setup) -> WindowCounts:
    size = len(setup.grid.wavelength)
    half = np.ceil(setup.extent.core / setup.grid.velocity_step)
    wavelength = np.asarray(batch.wavelength)
    points = int(np.sum(np.minimum(2 * half + 1, size)))
    return WindowCounts(
        float(wavelength[0]), float(wavelength[-1]), len(wavelength), size, len(batch.flux), len(setup.lines), points
    )
