"""The joint fit from spectra: search, stars alone, selection of lines, stars and log gf together."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from astropy.table import Table
from jaxtyping import Float, Int

from inference import hyper
from inference.beliefs import Belief, star_prior, starting_point
from inference.joint import SharedPrior, fit_joint
from inference.options import FitOptions
from inference.parameters import STAR, lsf_sigma
from inference.pieces import Piece, Sample, margins, quiet
from inference.refine import refined
from inference.result import FitResult, Origin, assemble
from inference.scatters import over_scatters
from inference.search import coarse_search, find_velocity
from inference.selection import Selection, choose, group_transitions, record
from inference.setup import Setup, padded_window, prepare, windows_lines, with_free
from inference.star import StarData
from inference.stars import Progress, Run, fit_stars
from inference.sweep import Pass, sweep
from inference.unlisted import CLASS, SCATTER, START, is_unlisted, with_unlisted
from surveys.batch import SpectrumBatch
from surveys.ingest import aside_table
from synthesis.abundances import SYMBOLS
from synthesis.linelist import QUALITY, LineList


class NoStarsError(ValueError):
    """Nothing was left to fit; the sentence says why and what to do, `set_aside` which stars were refused."""

    def __init__(self, sentence: str, set_aside: Table | None = None):
        super().__init__(sentence)
        self.set_aside = set_aside


class Fitted(NamedTuple):
    """The result and one row (path, reason, detail) for every star that the engine itself set aside."""

    result: FitResult
    set_aside: Table


class Collected(NamedTuple):
    """The stars of several batches: setups and sample by window, and where every star is from."""

    setups: list[Setup]
    sample: Sample
    beliefs: list[Belief]
    origin: Origin


def scaled_data(batch: SpectrumBatch) -> tuple[StarData, Float[np.ndarray, " row"]]:
    """Fluxes divided by each spectrum's median level (the continuum prior expects a level near 1), and the levels."""
    good = batch.ivar > 0
    level = np.array([np.median(f[g]) if g.any() else 1.0 for f, g in zip(batch.flux, good, strict=True)])
    level = np.where(level > 0, level, 1.0)
    flux, ivar = batch.flux / level[:, None], batch.ivar * level[:, None] ** 2
    return StarData(jnp.asarray(flux, float), jnp.asarray(ivar, float)), level


def collect(
    batches: Sequence[SpectrumBatch],
    options: FitOptions,
    lines: LineList | None,
    beliefs: Mapping[str, Belief],
    family: str = "atlas9",
    *,
    keep_all: bool = False,
) -> Collected:
    """Windows prepared, and spectra put together by star: those of one path (a file, or what a file speaks of).

    `lines` instead of the shipped list, sorted by wavelength; `keep_all` where they are a selection made before.
    """
    batches = [b for b in batches if len(b.flux)]
    if not batches:
        raise NoStarsError("no spectrum passed the selection: lower [survey] snr_min or check the window")
    if lines is None:
        lines = windows_lines([padded_window(b.wavelength, options) for b in batches], options.molecules)
    lines = with_unlisted(lines, options.unlisted)
    paths = list(dict.fromkeys(str(path) for b in batches for path in b.table["path"]))
    number = {path: i for i, path in enumerate(paths)}
    setups = [prepare(b.wavelength, options, family, lines, keep_all=keep_all) for b in batches]
    pieces, levels, releases = [], [], []
    tables: dict[int, dict] = {}
    for batch, setup in zip(batches, setups, strict=True):
        data, level = scaled_data(batch)
        names, release = np.unique(np.asarray(batch.table["release"]).astype(str), return_inverse=True)
        star = np.array([number[str(path)] for path in batch.table["path"]])
        said = [beliefs.get(str(path), Belief()).line_scatter for path in batch.table["path"]]
        scatter = np.array([np.nan if s is None else s for s in said])
        pieces.append(Piece(setup.problem(0), data, star, release, scatter))
        levels.append(level)
        releases.append(names)
        for row, s in enumerate(star):
            tables.setdefault(s, dict(zip(batch.table.colnames, batch.table[row], strict=True)))
    known = [beliefs.get(path, Belief()) for path in paths]
    sample = Sample(tuple(pieces), star_prior(known, options))
    table = Table(rows=[tables[s] for s in range(len(paths))], names=batches[0].table.colnames)
    return Collected(setups, sample, known, Origin(batches, table, lines, levels, releases))


def search(
    collected: Collected, options: FitOptions, progress: Progress
) -> tuple[Float[np.ndarray, "star own"], float]:
    """Where every star begins, and seconds of a synthesis: anchors at their labels, the others at the best node."""
    sample, beliefs = collected.sample, collected.beliefs
    theta = np.full((sample.n_star, sample.n_own), np.nan)
    theta[:, len(STAR) :] = np.asarray(sample.prior.mean)[:, len(STAR) :]
    seconds = [np.nan]
    n_anchor, done = sum(b.is_anchor for b in beliefs), 0
    for piece in sample.pieces:
        waiting = np.isnan(theta[piece.star, 0])
        anchors = np.array([beliefs[s].is_anchor for s in piece.star])
        for row in np.flatnonzero(waiting & anchors):
            star = piece.star[row]
            theta[star, :7] = starting_point(beliefs[star], options)
            one = StarData(*(x[row] for x in piece.data))
            rv = beliefs[star].labels.get("rv")
            theta[star, 6], _ = find_velocity(
                piece.problem, one, theta[star], (rv[0], 4 * rv[1]) if rv else None
            )
            done += 1
            progress("velocities of anchors", done, n_anchor)
        rows = np.flatnonzero(waiting & ~anchors)
        if len(rows):
            found = coarse_search(
                piece.problem, StarData(*(x[rows] for x in piece.data)), float(lsf_sigma(options.resolution)),
                progress=partial(progress, "coarse search"),
            )  # fmt: skip
            theta[piece.star[rows], :7] = found.theta
            seconds.append(found.seconds)
    return theta, float(np.nanmin(seconds)) if np.isfinite(seconds).any() else np.nan


def out_of_domain(
    run: Run, passed: Pass, sample: Sample, anchor: list[bool], options: FitOptions
) -> list[tuple[str, str] | None]:
    """For each star None, or a short reason and a sentence why the joint fit must not use it."""
    theta = np.asarray(run.theta)
    chi2 = passed.chi2 / np.maximum(sample.n_pixel, 1)
    margin = margins(sample, run.theta)
    low, high = options.teff_range
    verdicts: list[tuple[str, str] | None] = []
    for s, teff in enumerate(theta[:, 0]):
        if not np.isfinite(passed.log_posterior[s]):
            verdicts.append(("no_model", "the model is not finite at the best labels: look at the spectrum by eye"))
        elif anchor[s]:
            verdicts.append(None)
        elif not low <= teff <= high:
            sentence = f"the engine finds Teff {teff:.0f} K, outside {low:.0f}-{high:.0f} K ([stars] teff_range)"
            verdicts.append(("teff", sentence))
        elif margin[s] < -0.3:
            sentence = f"best labels lie {-margin[s]:.2f} grid steps outside the emulator's domain: not modelled"
            verdicts.append(("hull", sentence))
        elif chi2[s] > options.max_chi2:
            sentence = (
                f"chi2 per pixel {chi2[s]:.1f} exceeds {options.max_chi2:g} ([stars] max_chi2): "
                "not a single FGK star, or bad pixels"
            )
            verdicts.append(("chi2", sentence))
        else:
            verdicts.append(None)
    return verdicts


def strengths(setups: Sequence[Setup], n_line: int) -> Float[np.ndarray, " line"]:
    """Greatest line-to-continuum opacity of every line of the run in any window; 0 where it does not matter."""
    strength = np.zeros(n_line)
    for setup in setups:
        np.maximum.at(strength, setup.row, setup.strength)
    return strength


def select_lines(setups: Sequence[Setup], lines: LineList, passed: Pass, options: FitOptions) -> Selection:
    """Free transitions of atoms, by what a pass with the list as it is knows of each."""
    candidates, known, limits = _candidates(setups, lines, passed, options)
    return choose(candidates, known, **limits)


def selection_record(setups: Sequence[Setup], lines: LineList, passed: Pass, options: FitOptions) -> Table:
    """Every transition that `select_lines` looked at, and why it is free or not: see `selection.record`."""
    candidates, known, limits = _candidates(setups, lines, passed, options)
    return record(candidates, lines, strengths(setups, len(lines)), known, **limits)


def _candidates(setups: Sequence[Setup], lines: LineList, passed: Pass, options: FitOptions):
    strength, known = strengths(setups, len(lines)), np.zeros(len(lines))
    for setup, information in zip(setups, passed.information, strict=True):
        np.add.at(known, setup.row, np.asarray(information))
    unlisted = is_unlisted(lines)
    atoms = (strength > options.least_strength) & (lines.z <= len(SYMBOLS))
    candidates = group_transitions(lines, strength, atoms | (unlisted & (strength > 0.0)))
    limits = {"prior_sd": options.prior_sd, "max_ratio": options.max_ratio, "max_lines": options.max_lines,
              "always": unlisted[candidates.leader]}  # fmt: skip
    return candidates, known, limits


def freed(sample: Sample, setups: Sequence[Setup], free: Int[np.ndarray, " line"], n: int) -> Sample:
    """The same spectra with correction free[i] of `n` moving line i of the run's list.

    Stars on their own are fitted without room for corrections: the blocks of the lines cost the square of their number.
    """
    return sample.with_problems([with_free(setup.problem(n), free[setup.row]) for setup in setups])


def fit(
    batches: SpectrumBatch | Sequence[SpectrumBatch],
    options: FitOptions,
    progress: Progress = lambda *_: None,
    *,
    lines: LineList | None = None,
    beliefs: Mapping[str, Belief] | None = None,
) -> Fitted:
    """Fit stars and log gf jointly.

    `batches`: one or several windows; spectra of one `path` are one star's. `lines` instead of the shipped list.
    `beliefs`: what is known of single stars, by path.
    Raises NoStarsError (a sentence) when no star can be modelled, or no line carries information.
    """
    batches = [batches] if isinstance(batches, SpectrumBatch) else list(batches)
    if options.method != "gauss-newton" and (len(batches) > 1 or options.line_scatter > 0 or options.unlisted > 0):
        raise NoStarsError(
            f"[solver] method = {options.method!r} takes one window, [noise] line_scatter = 0 and "
            "[lines] unlisted = 0: use 'gauss-newton' for this problem"
        )
    collected = collect(batches, options, lines, beliefs or {})
    setups, sample, known, origin = collected
    theta, seconds = search(collected, options, progress)
    start = float(lsf_sigma(options.resolution))
    noise = quiet(sample, 0.01 if options.inflation is None else options.inflation, options.line_scatter)
    run = Run(jnp.asarray(theta), jnp.array([start]), noise)
    run, passed = fit_stars(sample, run, options, progress=progress)

    verdicts = out_of_domain(run, passed, sample, [b.is_anchor for b in known], options)
    keep = np.array([v is None for v in verdicts])
    rows = [(origin.table["path"][s], *v) for s, v in enumerate(verdicts) if v is not None]
    set_aside = aside_table(rows)
    if not keep.any():
        raise NoStarsError(
            "every star was set aside by the engine: see the table of set-aside files for the reasons", set_aside
        )
    row_keep = [keep[p.star] for p in sample.pieces]
    noise = tuple(type(n)(*(x[k] for x in n)) for n, k in zip(run.noise, row_keep, strict=True))
    alone, origin = sample.select(keep), origin.select(keep, row_keep)
    run = Run(run.theta[keep], run.shared, noise, run.trace)

    passed = sweep(
        alone, run.theta, run.shared, run.noise, chunk=options.chunk, progress=partial(progress, "selecting lines")
    )
    chosen = select_lines(setups, origin.lines, passed, options)
    if len(chosen.leader) == 0:
        raise NoStarsError(
            "no line carries enough information for a correction: "
            "add stars, widen [survey] window or raise [lines] max_ratio"
        )
    leaders = origin.lines.take(chosen.leader)
    groups = hyper.make_groups(
        leaders.species(), np.array(QUALITY)[leaders.quality], options.least_group, {CLASS: SCATTER}
    )
    corrections = START * is_unlisted(leaders)
    begin = Run(run.theta, jnp.concatenate([jnp.asarray(corrections), run.shared]), run.noise, run.trace)
    free = freed(alone, setups, chosen.free, len(chosen.leader))
    joint = fit_joint(free, begin, groups, options, progress)
    if options.method == "gauss-newton":
        progress("integrating over the groups' scatters", 0, 1)
        joint = over_scatters(joint, SharedPrior.of(groups, options), groups)
        progress("integrating over the groups' scatters", 1, 1)
    else:
        joint = refined(free, joint, groups, options)

    # the yardstick: labels refitted with the list as it came, under the noise and resolution of the joint fit
    frozen = Run(run.theta, joint.run.shared[-1:], joint.run.noise, joint.run.trace)
    _, original = fit_stars(alone, frozen, options, free=False, iterations=2, stage="original list", progress=progress)
    took = min(step["seconds"] for step in joint.run.trace if step["stage"] == "joint")
    ratio = took / sum(len(p.star) for p in alone.pieces) / seconds if np.isfinite(seconds) else None
    result = assemble(alone, origin, strengths(setups, len(origin.lines)), chosen, groups, joint, original, options)
    looked_at = selection_record(setups, origin.lines, passed, options)
    return Fitted(replace(result, jacobian_cost_ratio=ratio, selection=looked_at), set_aside)
