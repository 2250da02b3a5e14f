"""Corrections that another run knows: which lines of this run's list they are, and what that run says of them."""

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from astrogf.base.errors import AstrogfError
from astrogf.inference.newton.told import Told
from astrogf.inference.prior.blends import Blends
from astrogf.inference.problem.unlisted import looks_unlisted, with_these
from astrogf.inference.statistics import LineNames, Statistics
from astrogf.synthesis.lines.identity import written
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.lines.shipped import H_BAND, OPTICAL, whole_list


class LinePrior(NamedTuple):
    """What another run's spectra say of lines alone (`Statistics` without `others`), the prior mean of its unlisted
    lines, the run's name for messages, and how wrong it found the list to be: coordinates of tau, gross and the share
    (`prior.widths`) of every line, nan where it has none. `slopes`: what its spectra say of the lines and their slopes
    with temperature, where these were free."""

    statistics: Statistics
    unlisted_mean: float = 0.0
    name: str = "the prior"
    widths: Float[np.ndarray, "3 known"] | None = None
    slopes: Told | None = None

    @property
    def lines(self) -> LineNames:
        """What tells the corrections apart."""
        return self.statistics.lines

    @property
    def unlisted(self) -> Bool[np.ndarray, " line"]:
        """Those of no list."""
        return looks_unlisted(self.lines.species, self.lines.wavelength, self.lines.elow, self.lines.loggf)

    def completed(self, lines: LineList, shipped: bool) -> LineList:
        """The list with what this prior knows and it lacks: shipped lines outside the run's windows, and unlisted ones.

        Lines that no window sees are free all the same. They say what the list and the model get wrong of a species,
        and the prior knows them together with the others.
        """
        mine = self.unlisted
        if shipped:
            known = {written(*one, digits=4) for one in zip(*_rows(self.lines, ~mine), strict=True)}
            for cover in (OPTICAL, H_BAND):
                lines = _with_known(lines, known, cover)
        if mine.any():
            lines = with_these(lines, self.lines.wavelength[mine], self.lines.elow[mine])
        return lines

    def rows(self, lines: LineList) -> Int[np.ndarray, " known"]:
        """Row of a (completed) list that is each line of the prior. Raises AstrogfError where one is not in it."""
        names = zip(lines.species(), lines.wavelength, lines.elow, lines.loggf, strict=True)
        at = {written(*one, digits=4): i for i, one in reversed(list(enumerate(names)))}
        mine = [written(*one, digits=4) for one in zip(*_rows(self.lines, slice(None)), strict=True)]
        missing = [name for name in mine if name not in at]
        if missing:
            species, wavelength, elow, loggf = missing[0]
            alike = [key for key in at if key[:3] == (species, wavelength, elow)]
            said = f"has it with {alike[0][3]:.4f}" if alike else "does not have it"
            raise AstrogfError(
                f"lines.prior: {self.name} corrects another line list: {len(missing)} of its {len(mine)} lines are not "
                f"in this run's, such as {species} {wavelength:.4f} A (vacuum) with log gf {loggf:.4f}; this run's "
                f"{said}. Fit both with one list."
            )
        return np.array([at[name] for name in mine], int)

    def check(self, lines: LineList | None) -> None:
        """Raises AstrogfError unless the whole list (None: the shipped one) has all lines of the prior."""
        if lines is None:
            first, last = self.lines.wavelength.min(), self.lines.wavelength.max()
            covers = [c for c in (OPTICAL, H_BAND) if first <= c[1] and last >= c[0]] or [OPTICAL]
            lines = reduce(LineList.merged, (whole_list(cover, False) for cover in covers))
        self.rows(self.completed(lines, shipped=False))

    def told(self, free: Int[np.ndarray, " known"], n: int) -> Told:
        """As part of a joint fit with `n` corrections and the survey's ln_sigma, where the prior's lines are `free`."""
        s = self.statistics
        precision, gradient, point = np.zeros((n + 1, n + 1)), np.zeros(n + 1), np.zeros(n + 1)
        precision[np.ix_(free, free)], gradient[free], point[free] = s.precision, s.gradient, s.point
        slopes = None if self.slopes is None else _placed(self.slopes, np.append(free, n + 1 + free), 2 * n + 1)
        return Told(precision, gradient, point, None if s.blends is None else Blends.of(n, free, s.blends), slopes)


def _placed(told: Told, at: Int[np.ndarray, " known"], n: int) -> Told:
    """The same of `n` parameters, of which those told of are `at`."""
    precision, gradient, point = np.zeros((n, n)), np.zeros(n), np.zeros(n)
    precision[np.ix_(at, at)], gradient[at], point[at] = told.precision, told.gradient, told.point
    return Told(precision, gradient, point)


def _rows(lines: LineNames, which) -> tuple[np.ndarray, ...]:
    return lines.species[which], lines.wavelength[which], lines.elow[which], lines.loggf[which]


def _with_known(lines: LineList, known: set[tuple], cover: tuple[float, float]) -> LineList:
    """The list with those transitions of a shipped list that are `known` and not in it."""
    if not any(cover[0] <= name[1] <= cover[1] for name in known):
        return lines
    whole = whole_list(cover, False)
    names = zip(whole.species(), whole.wavelength, whole.elow, whole.loggf, strict=True)
    found = np.fromiter((written(*one, digits=4) in known for one in names), bool, len(whole))
    more = np.isin(whole.transition, whole.transition[found]) & ~np.isin(whole.transition, lines.transition)
    return lines.merged(whole.take(more)) if more.any() else lines


def in_windows(lines: LineNames, windows: Sequence[tuple[float, float]]) -> Bool[np.ndarray, " line"]:
    """Lines within any of these windows (vacuum Angstrom)."""
    inside = [(lines.wavelength >= low) & (lines.wavelength <= high) for low, high in windows]
    return np.any(inside, axis=0)


def sure_of(prior: LinePrior) -> Float[np.ndarray, " known"]:
    """Squared signal-to-noise per dex that the prior has of every line alone."""
    return np.diag(prior.statistics.precision)
