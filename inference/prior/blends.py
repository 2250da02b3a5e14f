"""Lines that no list has lie under listed ones: what they add to a line, by what the gaps between the lines show.

Where the model has next to no line, whatever the spectrum absorbs is absorbed by lines that the list lacks. A listed
line stands as likely on such a line as a gap does, and what it then seems stronger by depends on how well it is seen:
absorption m of the continuum raises the log gf of a line of depth d by log10(1 + m / d). So the model's own error eta
(`widths`) has, beside what is common to a group, two parts that every line has of its own:

    clear     eta ~ Normal(0, sqrt(phi_g^2 + clear_i))
    blended   eta ~ Normal(shift_i, sqrt(phi_g^2 + clear_i + spread_i)),   with probability share_i

`clear` is what the gaps scatter by where no missing line is, beyond the noise of the pixels: the continuum, ghosts,
very weak lines. All four follow from the spectra and not from the corrections; nothing in them is learned from how well
the corrections agree with their prior.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import exponnorm, norm

QUANTILES, REPRESENTATIVES = 200, 400
"""Of an exponential distribution, for means over it; of the gaps of a spectrum, which stand for all."""
FEWEST = 60
"""Pixels in gaps that a spectrum must have to say anything of them, resolution elements counted."""


class Gaps(NamedTuple):
    """The absorption in a spectrum's gaps that the model lacks, as the depth of a line, in parts of the continuum:
    Normal(0, sd), noise included or not, and with probability `share` an Exponential of this `mean` in addition."""

    sd: float
    mean: float
    share: float


class Blends(NamedTuple):
    """Of every line, what lines that no list has make of it: variances in dex^2, the shift in dex."""

    clear: Float[np.ndarray, " line"]
    share: Float[np.ndarray, " line"]
    shift: Float[np.ndarray, " line"]
    spread: Float[np.ndarray, " line"]

    @classmethod
    def of(cls, n: int, rows: Int[np.ndarray, " known"], known: "Blends") -> "Blends":
        """Of `n` lines, where those of some `rows` are known and the others have none."""
        out = cls(*np.zeros((4, n)))
        for whole, part in zip(out, known, strict=True):
            whole[rows] = part
        return out

    @property
    def own(self) -> Float[np.ndarray, "2 line"]:
        """Variance of eta beyond its group's, clear and blended."""
        return np.stack([self.clear, self.clear + self.spread])

    @property
    def centre(self) -> Float[np.ndarray, "2 line"]:
        """Mean of eta, clear and blended."""
        return np.stack([np.zeros(len(self.shift)), self.shift])

    @property
    def log_share(self) -> Float[np.ndarray, "2 line"]:
        """log of the probability to be clear and to be blended."""
        with np.errstate(divide="ignore"):
            return np.log(np.stack([1.0 - self.share, self.share]))

    @property
    def variance(self) -> Float[np.ndarray, " line"]:
        """Of eta beyond its group's, both together."""
        return self.clear + self.share * (self.spread + (1.0 - self.share) * self.shift**2)


def gaps_of(absorbed: Float[np.ndarray, " pixel"], elements: float) -> Gaps | None:
    """The distribution of the depths of missing lines (parts of the continuum) that a spectrum's gaps show, at its most
    probable; None where they are fewer than FEWEST.

    `elements`: pixels of a resolution element, whose values are one.
    """
    if len(absorbed) < FEWEST * elements:
        return None
    scale = max(1.4826 * float(np.median(np.abs(absorbed - np.median(absorbed)))), 1e-6)
    y = np.quantile(absorbed, (np.arange(REPRESENTATIVES) + 0.5) / REPRESENTATIVES) / scale

    def loss(x: np.ndarray) -> float:
        sd, mean, share = np.exp(x[0]), np.exp(x[1]), expit(x[2])
        log_clear = norm.logpdf(y, 0.0, sd) + np.log1p(-share)
        return -float(np.sum(np.logaddexp(log_clear, exponnorm.logpdf(y, mean / sd, 0.0, sd) + np.log(share))))

    begin = [np.log(0.9), np.log(5.0), logit(0.1)]
    bounds = [(-3.0, 3.0), (-1.0, 6.0), (-7.0, 2.0)]
    found = minimize(loss, begin, method="Nelder-Mead", bounds=bounds, options={"maxiter": 600})
    sd, mean, share = np.exp(found.x[0]), np.exp(found.x[1]), expit(found.x[2])
    return Gaps(float(sd * scale), float(mean * scale), float(share))


def under(slope: Float[np.ndarray, " line"], gaps: Gaps) -> Blends:
    """What a spectrum with these `gaps` makes of lines whose flux falls by `slope` a dex of log gf (parts of the
    continuum, at the line's centre); `slope` above 0.

    A line of which little more can be seen, a saturated one, has a small slope as a weak one has.
    """
    quantile = -np.log1p(-(np.arange(QUANTILES) + 0.5) / QUANTILES)
    depth = np.asarray(slope, float) / np.log(10.0)
    added = np.log10(1.0 + gaps.mean * quantile[:, None] / depth)
    clear = (gaps.sd / np.asarray(slope, float)) ** 2
    return Blends(clear, np.full(len(depth), gaps.share), added.mean(axis=0), added.var(axis=0))


class Sums(NamedTuple):
    """Blends of several spectra together, each with the weight of what it knows of a line: sums of weights, and of
    weights times sd, share, shift and sd of the shift. Spectra show the same missing lines, so that sds add up."""

    weight: Float[np.ndarray, " line"]
    parts: Float[np.ndarray, "4 line"]

    @classmethod
    def none(cls, n: int) -> "Sums":
        """Of no spectrum, for n lines."""
        return cls(np.zeros(n), np.zeros((4, n)))

    def add(self, one: Blends, weight: Float[np.ndarray, " line"]) -> None:
        """One more spectrum."""
        self.weight[:] += weight
        self.parts[:] += weight * np.stack([np.sqrt(one.clear), one.share, one.shift, np.sqrt(one.spread)])

    def together(self) -> Blends:
        """Lines that no spectrum sees have none."""
        clear, share, shift, spread = self.parts / np.where(self.weight > 0.0, self.weight, 1.0)
        return Blends(clear**2, share, shift, spread**2)
