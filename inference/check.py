"""Held-out stars: their labels refitted with the list as it came and with the corrected one, and what that says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from astropy.table import Table
from jaxtyping import Float, Int
from scipy.special import ndtr

from astrogf.base.errors import AstrogfError
from astrogf.inference.fit import freed
from astrogf.inference.newton.drift import PER, SOLAR_TEFF, loading
from astrogf.inference.newton.learned_noise import learn
from astrogf.inference.newton.misfit import told_factors
from astrogf.inference.newton.passed import Pass
from astrogf.inference.newton.search import starting_points
from astrogf.inference.newton.stars import FitState, Progress, fit_stars
from astrogf.inference.problem import noise
from astrogf.inference.problem.arrow import substitute
from astrogf.inference.problem.collect import Collected, collect
from astrogf.inference.problem.instrument import names
from astrogf.inference.problem.left_out import leaving_out
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.parameters import RV, steps
from astrogf.inference.problem.priors import Belief
from astrogf.inference.problem.problem import predict
from astrogf.inference.problem.spectra import Noise, Sample, quiet
from astrogf.inference.problem.unlisted import CLASS, with_these
from astrogf.inference.result import observed_models
from astrogf.surveys.batch import SpectrumBatch
from astrogf.synthesis.lines.identity import SAME_LIST
from astrogf.synthesis.lines.linelist import LineList

DRAWS = 24
"""Draws of the corrections in a posterior predictive band."""


class SlopeErrors(NamedTuple):
    """Of the slopes of a run's lines with temperature (`newton.drift`): their covariance with the corrections, dex^2,
    and with each other."""

    cross: Float[np.ndarray, "line line"]
    covariance: Float[np.ndarray, "line line"]

    @classmethod
    def of(
        cls,
        slope: Float[np.ndarray, "line line"],
        covariance: Float[np.ndarray, "line line"],
        corrections: Float[np.ndarray, "line line"],
    ) -> "SlopeErrors":
        """From slopes that follow a step of the corrections by -slope @ step, with a covariance given these."""
        cross = -slope @ corrections
        return cls(cross, covariance - cross @ slope.T)


@dataclass(frozen=True)
class Corrections:
    """What a run found: its free transitions (wavelength in vacuum A, species, elow), what the spectra want of them
    (`apparent`) and its covariance,
    the survey's ln_sigma, and the noise (scale, inflation, line scatter) it learned for each release (and window, where
    there are several: 'DR5, window 1'); the `factors` of the variances at rest wavelengths where its model is
    wrong for all stars; and the errors of the lines' `slopes`, if it has slopes and says them."""

    lines: Table
    covariance: Float[np.ndarray, "line line"]
    ln_sigma: float
    noise: Mapping[str, tuple[float, float, float]]
    factors: Table | None = None
    slopes: SlopeErrors | None = None


@dataclass(frozen=True)
class Checked:
    """Held-out spectra under both lists. Arrays as in `FitResult`; `labels_own_sd` leaves the corrections' errors out,
    which all stars share. `predictive_sd` is what the corrections' posterior
    adds to a pixel's sigma, of the first `n_band` stars."""

    table: Table
    label_names: tuple[str, ...]
    labels: Float[np.ndarray, "star label"]
    labels_sd: Float[np.ndarray, "star label"]
    labels_own_sd: Float[np.ndarray, "star label"]
    labels_original: Float[np.ndarray, "star label"]
    wavelength: Float[np.ndarray, " pixel"]
    flux: Float[np.ndarray, "star pixel"]
    sigma: Float[np.ndarray, "star pixel"]
    model_original: Float[np.ndarray, "star pixel"]
    model_corrected: Float[np.ndarray, "star pixel"]
    predictive_sd: Float[np.ndarray, "band pixel"]
    chi2_original: Float[np.ndarray, " star"]
    chi2_corrected: Float[np.ndarray, " star"]
    n_pixel: Int[np.ndarray, " star"]

    @property
    def pit(self) -> Float[np.ndarray, " used"]:
        """Probability integral transform of every used pixel under the corrected model (uniform if noise is right)."""
        used = np.isfinite(self.sigma) & np.isfinite(self.model_corrected)
        return ndtr((self.flux - self.model_corrected)[used] / self.sigma[used])


def find_again(
    lines: LineList, corrected: Table, windows: Sequence[tuple[float, float]] = ((0.0, np.inf),)
) -> Int[np.ndarray, " line"]:
    """Correction that moves each line of the list, or -1. Raises ValueError where one in these windows (vacuum
    Angstrom) is not in it."""
    species = lines.species()
    free = np.full(len(lines), -1)
    by_transition = {}
    for k, row in enumerate(corrected):
        close = np.flatnonzero(np.abs(lines.wavelength - row["wavelength"]) < SAME_LIST.wavelength)
        near = [i for i in close if species[i] == row["species"] and abs(lines.elow[i] - row["elow"]) < SAME_LIST.elow]
        if not near and not any(low <= row["wavelength"] <= high for low, high in windows):
            continue
        if not near:
            raise AstrogfError(
                f"the corrected line {row['species']} {row['wavelength']:.3f} A is not in the line list: "
                "the check needs the list that the run had"
            )
        by_transition[int(lines.transition[near[0]])] = k
    wanted = np.array([by_transition.get(int(t), -1) for t in lines.transition])
    return np.where(wanted >= 0, wanted, free)


def known_noise(
    sample: Sample, releases: list[np.ndarray], learned: Mapping[str, tuple[float, float, float]]
) -> Noise | None:
    """The run's own noise for every row, or None where it has not met a release.

    Windows are counted anew in a check that has fewer of them: a release that the run met in one window alone is known.
    """
    out = []
    for k, (window, kinds) in enumerate(zip(sample.windows, releases, strict=True)):
        where = f", window {k + 1}" if len(sample.windows) > 1 else ""
        found = []
        for name in kinds:
            alike = [key for key in learned if key == name or key.startswith(f"{name}, window ")]
            found.append(f"{name}{where}" if f"{name}{where}" in learned else alike[0] if len(alike) == 1 else None)
        if None in found:
            return None
        columns = np.array([learned[name] for name in found if name is not None])[window.release].T
        out.append(noise.NoiseModel(*map(jnp.asarray, columns))._replace(local=jnp.ones_like(window.data.flux)))
    return tuple(out)


def with_factors(
    sample: Sample, noise_models: Noise, theta: Float[np.ndarray, "star own"], wavelength: list, factors: Table | None
) -> Noise:
    """The noise with the run's `factors` of the variances, for the velocities that the stars have."""
    if factors is None:
        return noise_models
    out = []
    for window, model, pixels in zip(sample.windows, noise_models, wavelength, strict=True):
        local = told_factors(factors, pixels, np.asarray(theta)[window.star, RV])
        out.append(model._replace(local=jnp.asarray(local)))
    return tuple(out)


def predictive(
    sample: Sample, run: FitState, passed: Pass, covariance: Float[np.ndarray, "line line"], count: int, seed: int = 0
) -> Float[np.ndarray, "band pixel"]:
    """Sd of the first `count` stars' models over draws of corrections and, given them, of the stars' own labels."""
    rng = np.random.default_rng(seed)
    n, n_line = min(count, sample.n_star), covariance.shape[0]
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    star, rows = jax.tree.map(lambda x: jnp.asarray(x)[:n], passed.star), passed.rows
    draws = []
    see = eqx.filter_jit(predict)
    for _ in range(DRAWS):
        move = jnp.append(jnp.asarray(root @ rng.normal(size=n_line)), 0.0)
        own = jax.vmap(substitute, in_axes=(0, None))(star, move)
        own_root = np.linalg.cholesky(np.asarray(star.covariance))
        scatter = np.einsum("sij,sj->si", own_root, rng.normal(size=own.shape))
        own = np.asarray(own) - np.asarray(star.constant) + scatter
        theta = np.asarray(run.theta)[:n] + own * steps(sample.n_own)
        drawn = []
        for window, kept in zip(sample.windows, rows, strict=True):
            delta = jnp.zeros(window.problem.n_free).at[:n_line].set(run.shared[:-1] + move[:-1])
            models = np.full((len(window.star), window.problem.basis.shape[0]), np.nan)
            for r in np.flatnonzero(window.star < n):
                flux = see(window.problem, jnp.asarray(theta[window.star[r]]), delta)
                models[r] = np.asarray(window.problem.basis) @ kept.coefficients[r] * np.asarray(flux)
            drawn.append(models)
        draws.append(sample.side_by_side(drawn, np.nan)[:n])
    return np.std(draws, axis=0)


class Corrected(NamedTuple):
    """Spectra put together by star, the same under the corrected list (whose lines change with a star's temperature if
    the run has slopes), and the corrections that their spectra are made with, in the order of the run's lines."""

    collected: Collected
    sample: Sample
    delta: Float[np.ndarray, " line"]

    def begin(self, theta: Float[np.ndarray, "star own"], ln_sigma: float, noise: Noise) -> FitState:
        """Stars of these parameters under the corrected list."""
        shared = jnp.append(jnp.asarray(self.delta), ln_sigma)
        return FitState(jnp.asarray(theta), shared, noise)


def with_corrections(
    batches: Sequence[SpectrumBatch],
    options: FitOptions,
    corrections: Corrections,
    lines: LineList | None,
    beliefs: Mapping[str, Belief],
) -> Corrected:
    """Spectra under a run's corrections. `lines` must be what the run had. Raises as `check`."""
    mine = corrections.lines[np.asarray(corrections.lines["group"]) == CLASS]
    collected = collect(
        batches, options, lines, beliefs,
        complete=lambda listed: with_these(listed, np.asarray(mine["wavelength"]), np.asarray(mine["elow"])),
    )  # fmt: skip
    origin, n = collected.origin, len(corrections.lines)
    free = find_again(origin.lines, corrections.lines, [(b.wavelength[0], b.wavelength[-1]) for b in origin.batches])
    # spectra are made with what spectra want; runs without a model error of the lines have no such column
    wanted = "apparent" if "apparent" in corrections.lines.colnames else "correction"
    delta = np.asarray(corrections.lines[wanted], dtype=float)
    sample = freed(collected.sample, collected.setups, free, n)
    if "drift" in corrections.lines.colnames:
        slope = np.asarray(corrections.lines["drift"], dtype=float) / PER
        sample = sample.with_problems([w.problem.changing(slope, SOLAR_TEFF) for w in sample.windows])
    return Corrected(collected, sample, delta)


def label_covariance(
    passed: Pass, corrections: Corrections, theta: Float[np.ndarray, "star own"]
) -> tuple[Float[np.ndarray, "star own own"], Float[np.ndarray, "star own own"]]:
    """Of every star's own parameters, `theta`, in `parameters.steps`: the covariance with the corrections held, and
    what these and their slopes with temperature add, which all stars share."""
    slope = np.asarray(passed.star.slope)[:, :, : len(corrections.covariance)]

    def of_labels(of_lines: Float[np.ndarray, "line line"]) -> Float[np.ndarray, "star own own"]:
        return np.einsum("sil,lk,sjk->sij", slope, of_lines, slope, optimize=True)

    shared = of_labels(corrections.covariance)
    if corrections.slopes is not None:
        # what moves a line in a star is its correction and z times its slope
        z = loading(np.asarray(theta)[:, 0])[:, None, None]
        cross, covariance = corrections.slopes
        shared = shared + z * of_labels(cross + cross.T) + z**2 * of_labels(covariance)
    return np.asarray(passed.star.covariance), shared


def check(
    batches: Sequence[SpectrumBatch],
    options: FitOptions,
    corrections: Corrections,
    progress: Progress = lambda *_: None,
    *,
    lines: LineList | None = None,
    beliefs: Mapping[str, Belief] | None = None,
    n_band: int = 6,
) -> Checked:
    """Refit the labels of stars with both lists, everything that stars share held where the run has left it.

    `lines` must be what the run had. Raises ValueError where it is not, NoStarsError without spectra.
    """
    under = with_corrections(batches, options, corrections, lines, beliefs or {})
    collected, corrected = under.collected, under.sample
    sample, origin = collected.sample, collected.origin
    theta, _ = starting_points(collected, options, progress)
    ready = known_noise(sample, origin.releases, corrections.noise)
    start = ready or quiet(
        sample, 0.01 if options.noise.inflation is None else options.noise.inflation, options.noise.line_scatter
    )
    pixels = [np.asarray(b.wavelength) for b in origin.batches]
    start = with_factors(sample, start, theta, pixels, corrections.factors)
    run = under.begin(theta, corrections.ln_sigma, start)
    left_out = options.model.leave_out
    judged = leaving_out(corrected, theta, left_out)
    run, passed = fit_stars(judged, run, options, free=False, stage="corrected list", progress=progress)
    if ready is None or left_out:
        sample, corrected = (leaving_out(s, np.asarray(run.theta), left_out) for s in (sample, corrected))
        if ready is None:
            run.noise = learn(corrected, passed, options, local=tuple(n.local for n in start))
        run, passed = fit_stars(
            corrected, run, options, free=False, iterations=3, stage="corrected list", progress=progress
        )
    before = FitState(run.theta, jnp.array([corrections.ln_sigma]), run.noise)
    before, original = fit_stars(sample, before, options, free=False, stage="original list", progress=progress)

    sigma = []
    for window, model, level in zip(sample.windows, run.noise, origin.levels, strict=True):
        sd = np.sqrt(np.asarray(jax.vmap(noise.variance)(window.data.flux, window.data.ivar, model)))
        sigma.append(np.where(np.asarray(window.data.ivar) > 0, sd, np.inf) * level[:, None])
    band = predictive(corrected, run, passed, corrections.covariance, n_band)
    ones = [np.ones((len(level), len(b.wavelength))) for level, b in zip(origin.levels, origin.batches, strict=True)]
    scale = sample.side_by_side([level[:, None] * one for level, one in zip(origin.levels, ones, strict=True)], 1.0)

    own, added = label_covariance(passed, corrections, np.asarray(run.theta))
    return Checked(
        table=origin.table,
        label_names=names(options.stars, len(sample.windows)),
        labels=np.asarray(run.theta),
        labels_sd=np.sqrt(np.diagonal(own + added, 0, 1, 2)) * steps(sample.n_own),
        labels_own_sd=np.sqrt(np.diagonal(own, 0, 1, 2)) * steps(sample.n_own),
        labels_original=np.asarray(before.theta),
        wavelength=np.concatenate([np.asarray(b.wavelength) for b in origin.batches]),
        flux=sample.side_by_side([np.asarray(b.flux) for b in origin.batches], 0.0),
        sigma=sample.side_by_side(sigma, np.inf),
        model_original=np.asarray(observed_models(sample, origin, original)),
        model_corrected=np.asarray(observed_models(sample, origin, passed)),
        predictive_sd=band * scale[: len(band)],
        chi2_original=np.asarray(original.chi2),
        chi2_corrected=np.asarray(passed.chi2),
        n_pixel=sample.n_pixel,
    )


def repeats(labels, labels_sd, star: np.ndarray, survey: np.ndarray) -> dict[str, Float[np.ndarray, " pair"]]:
    """(difference) / (error of the difference) of all pairs of spectra of one star, by label index.

    Only pairs of the same kind of spectrum. Give errors without what both share (the corrections').
    """
    out: dict[str, list] = {}
    for name in np.unique(star):
        rows = np.flatnonzero(star == name)
        for a, i in enumerate(rows):
            for j in rows[a + 1 :]:
                if survey[i] == survey[j]:
                    for k in range(labels.shape[1]):
                        z = (labels[i, k] - labels[j, k]) / np.hypot(labels_sd[i, k], labels_sd[j, k])
                        out.setdefault(str(k), []).append(z)
    return {k: np.array(v) for k, v in out.items()}
