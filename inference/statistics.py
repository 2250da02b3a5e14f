"""Sufficient statistics of a set of stars: what its spectra say of the shared parameters, kept without the spectra.

Near the point p of the linearisation, log L(x) = b'(x - p) - (x - p)'A(x - p) / 2 + const, priors excluded. (A, b) of
two sets of stars add up, and priors and hyperparameters are put on afterwards.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from astrogf.base.errors import AstrogfError
from astrogf.inference.newton.drift import SlopePrior, unfolded
from astrogf.inference.newton.told import Told
from astrogf.inference.prior import groups as hyper
from astrogf.inference.prior.blends import Blends, Sums
from astrogf.inference.prior.conditional import System
from astrogf.inference.prior.scatters import integrate
from astrogf.inference.problem.arrow import Eliminated, Reduced
from astrogf.synthesis.lines.identity import written

VERSION = 1


class LineNames(NamedTuple):
    """What tells the corrections apart: vacuum Angstrom, 'Fe I', eV, and the list's log gf that is corrected."""

    wavelength: Float[np.ndarray, " line"]
    species: np.ndarray
    elow: Float[np.ndarray, " line"]
    loggf: Float[np.ndarray, " line"]


class Slopes(NamedTuple):
    """Of the lines with temperature (`newton.drift`): their step is constant - slope @ (shared step), with covariance;
    where they are, and the sds and the ions of their prior (`drift.SlopePrior`)."""

    constant: Float[np.ndarray, " line"]
    slope: Float[np.ndarray, "line shared"]
    covariance: Float[np.ndarray, "line line"]
    point: Float[np.ndarray, " line"]
    sd: Float[np.ndarray, ""]
    common_sd: Float[np.ndarray, ""]
    ion: Int[np.ndarray, " line"]

    @property
    def prior(self) -> SlopePrior:
        """Of the slopes."""
        return SlopePrior(float(self.sd), float(self.common_sd), self.ion)


class Statistics(NamedTuple):
    """(A, b) at `point`. Shared parameters: a correction for each of `lines`, then those named in `others`. `blends`:
    what missing lines make of the corrections, where the spectra were asked. `slopes` of the lines, which (A, b) has
    marginalised, where they were free."""

    precision: Float[np.ndarray, "shared shared"]
    gradient: Float[np.ndarray, " shared"]
    point: Float[np.ndarray, " shared"]
    lines: LineNames
    others: tuple[str, ...]
    n_star: int
    blends: Blends | None = None
    slopes: Slopes | None = None

    def at(self, point: Float[np.ndarray, " shared"]) -> "Statistics":
        """The same quadratic about another point."""
        moved = self.gradient - self.precision @ (point - self.point)
        return self._replace(gradient=moved, point=np.asarray(point))


def save(path: Path, statistics: Statistics) -> None:
    """Write an npz file."""
    s = statistics
    more: dict[str, Any] = {} if s.blends is None else {"blends": np.stack(s.blends)}
    if s.slopes is not None:
        more |= {f"slopes_{name}": value for name, value in s.slopes._asdict().items()}
    np.savez_compressed(
        path, version=VERSION, precision=s.precision, gradient=s.gradient, point=s.point, n_star=s.n_star,
        wavelength=s.lines.wavelength, species=np.asarray(s.lines.species, dtype=str), elow=s.lines.elow,
        loggf=s.lines.loggf, others=np.array(s.others, dtype=str),
        **more,
    )  # fmt: skip


def load(path: Path) -> Statistics:
    """Read what `save` wrote. Raises ValueError, naming the file, when it is something else."""
    try:
        with np.load(path, allow_pickle=False) as f:
            version = int(f["version"])
            stored = {name: f[name] for name in f.files}
    except (OSError, ValueError, KeyError) as error:
        raise AstrogfError(f"{path} holds no sufficient statistics ({error}); expected an npz file of a fit") from error
    if version != VERSION:
        raise AstrogfError(f"{path} is of version {version}, this program reads {VERSION}; save the statistics again")
    lines = LineNames(stored["wavelength"], stored["species"], stored["elow"], stored["loggf"])
    others = tuple(str(name) for name in stored["others"])
    n = len(lines.wavelength) + len(others)
    if stored["precision"].shape != (n, n) or stored["gradient"].shape != (n,) or stored["point"].shape != (n,):
        raise AstrogfError(f"{path} is damaged: {n} shared parameters, but A is {stored['precision'].shape}")
    blends = stored.get("blends")
    if blends is not None and blends.shape != (len(Blends._fields), len(lines.wavelength)):
        raise AstrogfError(f"{path} is damaged: {len(lines.wavelength)} lines, but what is of blends is {blends.shape}")
    slopes = None
    if "slopes_sd" in stored:
        # runs of versions in which the lines of an ion shared nothing do not say so
        nothing = {"slopes_common_sd": np.array(0.0), "slopes_ion": np.full(len(lines.wavelength), -1)}
        slopes = Slopes(*((nothing | stored)[f"slopes_{name}"] for name in Slopes._fields))
        if slopes.slope.shape != (len(lines.wavelength), n):
            raise AstrogfError(
                f"{path} is damaged: {n} shared parameters, but what is of slopes is {slopes.slope.shape}"
            )
    return Statistics(
        stored["precision"], stored["gradient"], stored["point"], lines, others, int(stored["n_star"]),
        None if blends is None else Blends(*blends), slopes,
    )  # fmt: skip


def combine(one: Statistics, two: Statistics) -> Statistics:
    """Both sets of stars together, about the first one's point.

    Lines must be the same, in any order; a parameter of `others` that only one has (another survey's resolution) is
    appended. Exact where the stars were linearised at one point; else as good as the linear model is between
    the two. Raises ValueError when the corrections are not of the same lines, or have slopes with temperature
    (marginalised one by one, they would be two sets of slopes).
    """
    if one.slopes is not None or two.slopes is not None:
        raise AstrogfError("statistics of fits with noise.line_drift cannot be added: fit both sets of stars together")
    order = _alignment(one.lines, two.lines)
    n = len(order)
    others = one.others + tuple(name for name in two.others if name not in one.others)
    mine = np.arange(len(one.point))
    theirs = np.append(np.argsort(order), [n + others.index(name) for name in two.others]).astype(int)
    size = n + len(others)
    point = np.zeros(size)
    point[theirs] = two.point
    point[mine] = one.point
    moved = two.at(point[theirs])
    precision, gradient = np.zeros((size, size)), np.zeros(size)
    for s, index in ((one, mine), (moved, theirs)):
        precision[np.ix_(index, index)] += s.precision
        gradient[index] += s.gradient
    of_two = None if two.blends is None else Blends(*(x[order] for x in two.blends))
    weights = np.diag(one.precision)[:n], np.diag(two.precision)[:n][order]
    sums = Sums.none(n)
    for known, weight in zip((one.blends, of_two), weights, strict=True):
        if known is not None:
            sums.add(known, weight)
    blends = None if one.blends is None and of_two is None else sums.together()
    return Statistics(precision, gradient, point, one.lines, others, one.n_star + two.n_star, blends)


def _alignment(one: LineNames, two: LineNames) -> Int[np.ndarray, " line"]:
    """Row of `two` that is each row of `one`."""

    def keys(lines):
        return [written(s, w, e, g, digits=4) for w, s, e, g in zip(*lines, strict=True)]

    first, second = keys(one), keys(two)
    where = {key: i for i, key in enumerate(second)}
    missing = [key for key in first if key not in where]
    if missing or len(first) != len(second):
        example = f", for example {missing[0]}" if missing else ""
        raise AstrogfError(
            f"the two sets do not correct the same lines ({len(first)} and {len(second)}, {len(missing)} of the first "
            f"not in the second{example}): fit both with the selection of one of them"
        )
    return np.array([where[key] for key in first], int)


def of_lines(
    statistics: Statistics, other_mean: Float[np.ndarray, " other"], other_sd: Float[np.ndarray, " other"]
) -> Statistics:
    """What the stars say of the lines alone: the other shared parameters, of prior Normal(other_mean, other_sd),
    integrated out."""
    s, n = statistics, len(statistics.lines.wavelength)
    weight = np.asarray(other_sd, float) ** -2.0
    inner = s.precision[n:, n:] + np.diag(weight)
    pull = s.gradient[n:] - weight * (s.point[n:] - other_mean)
    taken = np.linalg.solve(inner, np.column_stack([s.precision[n:, :n], pull]))
    cross = s.precision[:n, n:]
    precision = s.precision[:n, :n] - cross @ taken[:, :n]
    gradient = s.gradient[:n] - cross @ taken[:, n]
    return Statistics(0.5 * (precision + precision.T), gradient, s.point[:n], s.lines, (), s.n_star, s.blends)


def slopes_of_lines(
    statistics: Statistics, other_mean: Float[np.ndarray, " other"], other_sd: Float[np.ndarray, " other"]
) -> Told | None:
    """As `of_lines`, of the corrections followed by the slopes; None where there are none."""
    s, n = statistics, len(statistics.lines.wavelength)
    if s.slopes is None:
        return None
    eliminated = Eliminated(s.slopes.constant, s.slopes.slope, s.slopes.covariance)
    whole = unfolded(Told(s.precision, s.gradient, s.point), eliminated, s.slopes.point, s.slopes.prior)
    lines, other = np.append(np.arange(n), np.arange(len(s.point), len(whole.point))), np.arange(n, len(s.point))
    weight = np.asarray(other_sd, float) ** -2.0
    inner = whole.precision[np.ix_(other, other)] + np.diag(weight)
    pull = whole.gradient[other] - weight * (s.point[other] - other_mean)
    cross = whole.precision[np.ix_(other, lines)]
    taken = np.linalg.solve(inner, np.column_stack([cross, pull]))
    precision = whole.precision[np.ix_(lines, lines)] - cross.T @ taken[:, :-1]
    gradient = whole.gradient[lines] - cross.T @ taken[:, -1]
    return Told(0.5 * (precision + precision.T), gradient, whole.point[lines])


def with_told(statistics: Statistics, told: Told, n_star: int) -> Statistics:
    """A run's own stars and the `n_star` others whose word it took along."""
    both = told.with_these(
        Reduced(jnp.asarray(statistics.precision), jnp.asarray(statistics.gradient)), statistics.point
    )
    precision, gradient = (np.asarray(x) for x in both)
    return statistics._replace(precision=precision, gradient=gradient, n_star=statistics.n_star + n_star)


def posterior(
    statistics: Statistics,
    groups: hyper.Groups,
    *,
    other_mean: Float[np.ndarray, " other"],
    other_sd: Float[np.ndarray, " other"],
    model_error: float,
    seed: int = 0,
    sweeps: int | None = None,
) -> tuple[hyper.Posterior, dict[str, float]]:
    """What a fit makes of its statistics at the end, from the statistics alone: corrections that the spectra want, log
    gf, widths of the groups' prior; and how well the sampler went through these (`inference.prior.scatters`).

    `groups` of the lines, in the statistics' order; the other shared parameters have the prior Normal(other_mean,
    other_sd); `model_error` as `[lines]` has it.
    """
    belief = groups.belief(model_error)
    off = statistics.point - np.concatenate([groups.line_mean, other_mean])
    system = System.of(
        statistics.precision, statistics.gradient, off, groups.member, groups.means(model_error), np.asarray(other_sd),
        statistics.blends,
    )  # fmt: skip
    learned, _, _ = hyper.learn(system, belief, hyper.Learned.start(belief, groups.member))
    return integrate(system, belief, learned, jnp.asarray(statistics.point), seed=seed, sweeps=sweeps)
