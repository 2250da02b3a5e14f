"""Labels of very many stars at a run's corrected list, and what the exact model says of a random share of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast

import jax.numpy as jnp
import numpy as np
from astropy.table import Table
from jaxtyping import Bool, Float, Int

from astrogf.inference.check import (
    Corrected,
    Corrections,
    known_noise,
    label_covariance,
    with_corrections,
    with_factors,
)
from astrogf.inference.newton.learned_noise import learn
from astrogf.inference.newton.stars import FitState, Progress, fit_stars
from astrogf.inference.problem.instrument import names
from astrogf.inference.problem.left_out import leaving_out
from astrogf.inference.problem.noise import NoiseModel
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.parameters import LN_SIGMA, RV, STAR, steps
from astrogf.inference.problem.problem import N_SPECTRUM, StarData, StarProblem
from astrogf.inference.problem.spectra import Noise, Sample, quiet
from astrogf.inference.surrogate.build import Trial, built, made_from
from astrogf.inference.surrogate.coarse import Coarse
from astrogf.inference.surrogate.domain import Domain
from astrogf.inference.surrogate.model import Surrogate, in_place_of
from astrogf.inference.surrogate.search import best_places, places
from astrogf.inference.surrogate.stars import Fitted, Stars, fit_batches
from astrogf.surveys.batch import SpectrumBatch
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.observed.instrument import rv_limit

SLACK = 0.02
"""Part of a label's range by which a star may be out of the surrogate's domain."""
NARROWEST = 1.1
"""Least width of the line-spread function in units of what the surrogate's spectra are broadened by in advance."""
LEARNT_FROM = 256
"""Stars that noise is learned from, where the run has not met a release."""
NEAREST = 5
"""Exactly fitted stars whose errors from the corrections stand for a star's."""
PORTION = 8192
"""Stars whose equations are put together at once."""
FLAGS = {
    "no_model": "no finite model; no labels",
    "outside": "outside the labels that the surrogate is made for; no labels",
    "too_sharp": "sharper than any spectrum the surrogate can tell; no labels",
    "rv": "a velocity at the end of what the window has room for; no labels",
    "not_converged": "steps did not become small",
    "teff": "outside stars.teff_range",
    "chi2": "chi2 per pixel above stars.max_chi2",
    "abundances": "all well, but an abundance farther from 0 than the surrogate is made for",
}
EXACT_ITERATIONS, EXACT_TOLERANCE = 12, 0.02


class Keeper(Protocol):
    """Where surrogates are kept between calls."""

    def load(self, window: int, name: str, grid_of: Coarse, problem: StarProblem) -> tuple[Surrogate, Trial] | None:
        """The surrogate of this window if it was made of just what `name` names."""

    def save(self, window: int, name: str, surrogate: Surrogate, trial: Trial) -> None:
        """Keep it."""


class Judged(NamedTuple):
    """Stars fitted exactly, from where the surrogate ended: rows of `Labelled`, labels, their sd (corrections held),
    what the corrections add to it, and surrogate minus exact in units of that sd."""

    star: Int[np.ndarray, " judged"]
    labels: Float[np.ndarray, "judged label"]
    own_sd: Float[np.ndarray, "judged label"]
    list_sd: Float[np.ndarray, "judged label"]
    z: Float[np.ndarray, "judged label"]

    @property
    def share_of_sd(self) -> Float[np.ndarray, " label"]:
        """The surrogate's error of every label in units of the label's: 68.27% of the stars are within."""
        if len(self.star) == 0:
            return np.full(self.z.shape[1], np.nan)
        return np.percentile(np.abs(self.z), 68.27, axis=0)


@dataclass(frozen=True)
class Labelled:
    """Stars with labels. `own_sd` is of the star's own noise, by the surrogate; `sd` has the surrogate's error and that
    of the corrections as well, `list_sd` the latter alone, which stars share; where no star could be fitted exactly
    `list_sd` is nan and `sd` no more than `own_sd`. `flags`: '' where all is well; labels are
    nan where the surrogate cannot tell them. `trials`: of each window's surrogate, spectra not trained on."""

    table: Table
    label_names: tuple[str, ...]
    labels: Float[np.ndarray, "star label"]
    sd: Float[np.ndarray, "star label"]
    own_sd: Float[np.ndarray, "star label"]
    list_sd: Float[np.ndarray, "star label"]
    chi2: Float[np.ndarray, " star"]
    n_pixel: Int[np.ndarray, " star"]
    iterations: Int[np.ndarray, " star"]
    flags: list[str]
    judged: Judged
    trials: list[Trial]


class Replaced(NamedTuple):
    """The windows of a sample under their surrogates."""

    problems: list[StarProblem]
    coarse: list[Coarse]
    trials: list[Trial]


def replaced(
    ready: Corrected,
    options: FitOptions,
    corrections: Corrections,
    domain: Domain,
    keeper: Keeper,
    points: int,
    progress: Progress,
) -> Replaced:
    """A surrogate for every window, kept ones where there are."""
    out = Replaced([], [], [])
    for k, (setup, window) in enumerate(zip(ready.collected.setups, ready.sample.windows, strict=True)):
        coarse = Coarse.under(setup.grid, corrections.ln_sigma)
        name = made_from(setup, window.problem, ready.delta, coarse, points)
        found = keeper.load(k, name, coarse, window.problem)
        if found is None:
            found = built(window.problem, ready.delta, coarse, domain, options.solver.chunk, points, progress)
            keeper.save(k, name, *found)
        out.problems.append(in_place_of(window.problem, found[0], coarse))
        out.coarse.append(coarse)
        out.trials.append(found[1])
    return out


def begun(
    sample: Sample, problems: Sequence[StarProblem], domain: Domain, ln_sigma: float, progress: Progress
) -> Float[np.ndarray, "star own"]:
    """Where every star begins, by its first window."""
    theta = np.zeros((sample.n_star, sample.n_own))
    theta[:, len(STAR) :] = np.asarray(sample.prior.mean)[:, len(STAR) :]
    waiting, done = np.ones(sample.n_star, bool), 0
    for window, problem in zip(sample.windows, problems, strict=True):
        rows = np.flatnonzero(waiting[window.star])
        if not len(rows):
            continue
        at = places(problem, domain, ln_sigma)
        for mine in np.array_split(rows, -(-len(rows) // 1024)):
            data = StarData(*(x[mine] for x in window.data))
            theta[window.star[mine], : len(STAR)] = best_places(at, data)
            done += len(mine)
            progress("search", done, sample.n_star)
        waiting[window.star[rows]] = False
    theta[:, LN_SIGMA] = ln_sigma
    return theta


def noise_of(
    ready: Corrected,
    problems: list[StarProblem],
    theta: Float[np.ndarray, "star own"],
    options: FitOptions,
    corrections: Corrections,
    progress: Progress,
    seed: int,
) -> Noise:
    """The run's own noise of every row, or what some of the stars say where the run has not met a release; with the
    run's factors by wavelength, at the velocities of `theta`."""
    sample, origin = ready.collected.sample, ready.collected.origin
    pixels = [window.problem.spectrum.grid.pixel_wavelength for window in sample.windows]
    known = known_noise(sample, origin.releases, corrections.noise)
    if known is not None:
        plain = tuple(n._replace(local=jnp.ones((len(n.scale), 1))) for n in known)
        return with_factors(sample, plain, theta, pixels, corrections.factors)
    floor = 0.01 if options.noise.inflation is None else options.noise.inflation
    rng = np.random.default_rng(seed)
    keep = np.zeros(sample.n_star, bool)
    for window in sample.windows:
        for r in np.unique(window.release):
            keep[rng.permutation(window.star[window.release == r])[:LEARNT_FROM]] = True
    some = sample.with_problems(problems).select(keep)
    begin = with_factors(some, quiet(some, floor), theta[keep], pixels, corrections.factors)
    run = FitState(jnp.asarray(theta[keep]), jnp.array([corrections.ln_sigma]), begin)
    run, passed = fit_stars(some, run, options, free=False, stage="noise", progress=progress)
    learned = learn(some, passed, options, local=tuple(n.local for n in begin))
    out = []
    for window, few, noise in zip(sample.windows, some.windows, learned, strict=True):
        first = np.array([np.flatnonzero(few.release == r)[0] for r in range(int(window.release.max()) + 1)])
        scale, inflation, scatter = (np.asarray(x)[first][window.release] for x in noise[:3])
        out.append(NoiseModel(scale, inflation, scatter, np.ones((len(window.star), 1))))
    return with_factors(sample, tuple(out), theta, pixels, corrections.factors)


def as_stars(
    sample: Sample, noise: Noise, theta: Float[np.ndarray, "star own"], stars: Int[np.ndarray, " mine"]
) -> Stars:
    """Some of the stars, the rows of all windows side by side; one without a spectrum in a window has an empty row
    there."""
    data, used, noises = [], [], []
    for window, model in zip(sample.windows, noise, strict=True):
        row = np.full(sample.n_star, -1)
        row[window.star] = np.arange(len(window.star))
        row = row[stars]
        there = row >= 0
        flux, ivar = (np.asarray(x)[row] for x in window.data)
        data.append(StarData(flux, ivar * there[:, None]))
        used.append(there.astype(float))
        noises.append(NoiseModel(*(np.asarray(x)[row] for x in model)))
    prior = type(sample.prior)(*(np.asarray(x)[stars] for x in sample.prior))
    return Stars(tuple(data), tuple(used), tuple(noises), theta[stars], prior, sample.share[stars])


def fit_all(
    problems: Sequence[StarProblem],
    sample: Sample,
    noise: Noise,
    theta: Float[np.ndarray, "star own"],
    ln_sigma: float,
    progress: Progress = lambda *_: None,
) -> Fitted:
    """All stars by the surrogate, so many at once that memory is flat."""
    parts, n = list[Fitted](), sample.n_star
    for first in range(0, n, PORTION):
        mine = np.arange(first, min(first + PORTION, n))

        def labelling(done: int, total: int, before: int = first) -> None:
            progress("labels", before + done, n)

        parts.append(fit_batches(problems, ln_sigma, as_stars(sample, noise, theta, mine), progress=labelling))
    return Fitted(*(np.concatenate(x) for x in zip(*parts, strict=True)))


def flagged(
    fitted: Fitted,
    sample: Sample,
    problems: list[StarProblem],
    coarse: list[Coarse],
    domain: Domain,
    options: FitOptions,
) -> tuple[list[str], Bool[np.ndarray, " star"]]:
    """Of every star what is doubtful, and whether it has labels all the same."""  # fmt: skip
    theta = np.nan_to_num(fitted.theta)
    low, high = options.stars.teff_range
    chi2 = fitted.chi2 / np.maximum(sample.n_pixel, 1)
    finite = np.isfinite(fitted.log_posterior) & np.isfinite(fitted.theta).all(1)
    inside = domain.inside(theta[:, :N_SPECTRUM], problems[0].spectrum.atmosphere, SLACK)
    narrow = np.exp(theta[:, LN_SIGMA]) < NARROWEST * max(c.sigma0 for c in coarse)
    far = np.abs(theta[:, RV]) > min(rv_limit(c.grid) - 5.0 * c.sigma0 for c in coarse)
    found = {
        "no_model": ~finite,
        "outside": finite & ~inside,
        "too_sharp": finite & narrow,
        "rv": finite & far,
        "not_converged": finite & ~fitted.converged,
        "teff": finite & ~((theta[:, 0] >= low) & (theta[:, 0] <= high)),
        "chi2": finite & ~(chi2 <= options.stars.max_chi2),
    }
    # the others say why, where a spectrum is not such a star's
    well = finite & ~np.any(list(found.values()), axis=0)
    found["abundances"] = well & np.any([far_from_solar(problem, theta) for problem in problems], axis=0)
    flags = [" ".join(name for name, hit in found.items() if hit[s]) for s in range(sample.n_star)]
    return flags, finite & inside & ~narrow & ~far


def far_from_solar(problem: StarProblem, theta: Float[np.ndarray, "star own"]) -> Bool[np.ndarray, " star"]:
    """Whether stars have abundances that the window's surrogate is not made for."""
    own = cast(Surrogate, problem.spectrum).abundances
    first = len(STAR)
    return np.zeros(len(theta), bool) if own is None else own.beyond(theta[:, first : first + problem.n_told])


def judge(
    ready: Corrected,
    fitted: Fitted,
    noise: Noise,
    chosen: Int[np.ndarray, " judged"],
    options: FitOptions,
    corrections: Corrections,
    progress: Progress,
) -> Judged:
    """The exact model's labels of the chosen stars, from where the surrogate left them."""
    n_own = ready.sample.n_own
    if len(chosen) == 0:
        return Judged(chosen, *(np.zeros((0, n_own)) for _ in range(4)))
    keep = np.zeros(ready.sample.n_star, bool)
    keep[chosen] = True
    some = ready.sample.select(keep)
    of_rows = [keep[w.star] for w in ready.sample.windows]
    mine = tuple(NoiseModel(*(np.asarray(x)[rows] for x in n)) for n, rows in zip(noise, of_rows, strict=True))
    shared = jnp.append(jnp.asarray(ready.delta), corrections.ln_sigma)
    run = FitState(jnp.asarray(fitted.theta[chosen]), shared, mine)
    run, passed = fit_stars(
        some, run, options, free=False, iterations=EXACT_ITERATIONS, tolerance=EXACT_TOLERANCE, share=1.0,
        stage="exact labels of a share", progress=progress,
    )  # fmt: skip
    own, added = label_covariance(passed, corrections, np.asarray(run.theta))
    own_sd, list_sd = (np.sqrt(np.diagonal(x, 0, 1, 2)) * steps(n_own) for x in (own, added))
    exact = np.asarray(run.theta)
    return Judged(chosen, exact, own_sd, list_sd, (fitted.theta[chosen] - exact) / own_sd)


def list_errors(theta: Float[np.ndarray, "star own"], judged: Judged) -> Float[np.ndarray, "star own"]:
    """What the corrections' errors add to labels: the mean of the exactly fitted stars nearest in labels; nan where
    there are none."""
    if len(judged.star) == 0:
        return np.full(theta.shape, np.nan)
    scale = steps(theta.shape[1])[:3] * np.array([2.5, 5.0, 5.0])
    there, out = judged.labels[:, :3] / scale, np.empty(theta.shape)
    for rows in np.array_split(np.arange(len(theta)), -(-len(theta) // 4096)):
        distance = np.sum((np.nan_to_num(theta[rows, None, :3]) / scale - there) ** 2, axis=2)
        near = np.argsort(distance, axis=1)[:, :NEAREST]
        out[rows] = np.sqrt(np.mean(judged.list_sd[near] ** 2, axis=1))
    return out


def label(
    batches: Sequence[SpectrumBatch],
    options: FitOptions,
    corrections: Corrections,
    keeper: Keeper,
    *,
    lines: LineList | None = None,
    share: float = 0.01,
    least: int = 24,
    most: int = 200,
    points: int,
    seed: int = 0,
    progress: Progress = lambda *_: None,
) -> Labelled:
    """Labels of all stars with everything that stars share held where the run has left it.

    `lines` must be what the run had. A random `share` of the stars that have labels, at `least` and at `most` so many,
    is fitted exactly. The run must have no scatter of lines. Raises as `check`.
    """
    ready = with_corrections(batches, options, corrections, lines, {})
    sample, domain = ready.collected.sample, Domain.of(options.stars)
    problems, coarse, trials = replaced(ready, options, corrections, domain, keeper, points, progress)
    theta = begun(sample, problems, domain, corrections.ln_sigma, progress)
    sample, exact = (leaving_out(s, theta, options.model.leave_out) for s in (sample, ready.sample))
    ready = ready._replace(collected=ready.collected._replace(sample=sample), sample=exact)
    noise = noise_of(ready, problems, theta, options, corrections, progress, seed)
    fitted = fit_all(problems, sample, noise, theta, corrections.ln_sigma, progress)
    flags, usable = flagged(fitted, sample, problems, coarse, domain, options)
    good = np.flatnonzero(usable & np.array([not f for f in flags]))
    wanted = min(len(good), most, max(least, int(np.ceil(share * len(good)))))
    chosen = np.sort(np.random.default_rng(seed).choice(good, wanted, replace=False))
    judged = judge(ready, fitted, noise, chosen, options, corrections, progress)
    labels, own_sd = (np.where(usable[:, None], x, np.nan) for x in (fitted.theta, fitted.sd))
    list_sd = np.where(usable[:, None], list_errors(fitted.theta, judged), np.nan)
    of_surrogate = np.nan_to_num(judged.share_of_sd) * own_sd
    return Labelled(
        table=ready.collected.origin.table,
        label_names=names(options.stars, len(sample.windows)),
        labels=labels,
        sd=np.sqrt(own_sd**2 + of_surrogate**2 + np.nan_to_num(list_sd) ** 2),
        own_sd=own_sd,
        list_sd=list_sd,
        chi2=fitted.chi2,
        n_pixel=sample.n_pixel,
        iterations=fitted.iterations,
        flags=flags,
        judged=judged,
        trials=trials,
    )
