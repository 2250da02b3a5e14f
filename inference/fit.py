"""The joint fit from spectra: search, stars alone, selection of lines, stars and log gf together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from astropy.table import Table
from jaxtyping import Array, Bool, Float, Int

from astrogf.base.constants import C_KMS, FWHM_PER_SIGMA
from astrogf.base.errors import AstrogfError
from astrogf.inference.blocks.work import IN_MEMORY, Work
from astrogf.inference.checkpoint import NOWHERE, Checkpoint, once
from astrogf.inference.newton.choice import Choice, choose, group_transitions, record
from astrogf.inference.newton.joint import Joint, SharedPrior, fit_joint
from astrogf.inference.newton.knowledge import knowledge
from astrogf.inference.newton.over_scatters import over_scatters
from astrogf.inference.newton.passed import Pass
from astrogf.inference.newton.search import starting_points
from astrogf.inference.newton.stars import FitState, Progress, fit_stars
from astrogf.inference.newton.suspects import suspicion, worst
from astrogf.inference.newton.told import Told
from astrogf.inference.prior import groups as hyper
from astrogf.inference.problem.collect import NoStarsError, Origin, collect
from astrogf.inference.problem.devices import star_mesh, whole_chunks
from astrogf.inference.problem.left_out import leaving_out
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.parameters import LN_SIGMA, lsf_sigma
from astrogf.inference.problem.prior_lines import LinePrior, sure_of
from astrogf.inference.problem.priors import Belief
from astrogf.inference.problem.setup import Setup, numbered, prepare, with_free
from astrogf.inference.problem.spectra import Sample, margins, quiet
from astrogf.inference.problem.unlisted import CLASS, SCATTER, START, is_unlisted, places, with_unlisted
from astrogf.inference.result import FitResult, assemble
from astrogf.inference.solvers.refine import refined
from astrogf.inference.solvers.svi import fit_svi
from astrogf.inference.statistics import with_told
from astrogf.surveys.batch import SpectrumBatch
from astrogf.surveys.directory.gather import aside_table
from astrogf.synthesis.gas.abundances import SYMBOLS
from astrogf.synthesis.lines.agreement import AGREED, AGREED_SD, agreement
from astrogf.synthesis.lines.agreement import NAMES as KINDS
from astrogf.synthesis.lines.linelist import QUALITY, LineList


class Fitted(NamedTuple):
    """The result and one row (path, reason, detail) for every star that the engine itself set aside."""

    result: FitResult
    set_aside: Table


SURVEY = ("gauss-newton", "svi")
"""Methods that take all a fit can be of, and stars in blocks; the others are for small problems."""
NEAR_ENOUGH = 0.5
"""Posterior sd: the joint fit begins when the steps of nine stars in ten are below. Corrections move them by more."""


def out_of_domain(
    run: FitState, passed: Pass, sample: Sample, anchor: list[bool], options: FitOptions
) -> list[tuple[str, str] | None]:
    """For each star None, or a short reason and a sentence why the joint fit must not use it."""
    theta = np.asarray(run.theta)
    chi2 = passed.chi2 / np.maximum(sample.n_pixel, 1)
    margin = margins(sample, run.theta)
    low, high = options.stars.teff_range
    verdicts: list[tuple[str, str] | None] = []
    for s, teff in enumerate(theta[:, 0]):
        if not np.isfinite(passed.log_posterior[s]):
            verdicts.append(("no_model", "the model is not finite at the best labels: look at the spectrum by eye"))
        elif anchor[s]:
            verdicts.append(None)
        elif not low <= teff <= high:
            sentence = f"the engine finds Teff {teff:.0f} K, outside {low:.0f}-{high:.0f} K (stars.teff_range)"
            verdicts.append(("teff", sentence))
        elif margin[s] < -0.3:
            sentence = f"best labels lie {-margin[s]:.2f} grid steps outside the emulator's domain: not modelled"
            verdicts.append(("hull", sentence))
        elif chi2[s] > options.stars.max_chi2:
            sentence = (
                f"chi2 per pixel {chi2[s]:.1f} exceeds {options.stars.max_chi2:g} (stars.max_chi2): "
                "not a single FGK star, or bad pixels"
            )
            verdicts.append(("chi2", sentence))
        else:
            verdicts.append(None)
    return verdicts


def strengths(setups: Sequence[Setup], n_line: int) -> Float[np.ndarray, " line"]:
    """Greatest line-to-continuum opacity of every line of the run in any window; 0 where it does not matter.

    Lines that only reach in from outside do not: a wing alone is no measure of log gf, for a continuum looks like it.
    """
    strength = np.zeros(n_line)
    for setup in setups:
        np.maximum.at(strength, setup.row[setup.near], setup.extent.strength[setup.near])
    return strength


class Known(NamedTuple):
    """Transitions that may be freed, what the spectra know of every line of the run alone, and which transitions are
    free whatever that is."""

    candidates: Choice
    information: Float[np.ndarray, " line"]
    always: Bool[np.ndarray, " transition"]


def known_lines(
    setups: Sequence[Setup],
    lines: LineList,
    sample: Sample,
    run: FitState,
    options: FitOptions,
    progress: Progress = lambda *_: None,
    before: Int[np.ndarray, " known"] | None = None,
    checkpoint: Checkpoint = NOWHERE,
    stage: str = "lines",
) -> Known:
    """What a pass over stars on their own, with the list as it is, knows of the lines that may be freed, and of those
    that are known `before` (rows of the list); it is kept as `stage` of the `checkpoint`."""
    strength, unlisted = strengths(setups, len(lines)), is_unlisted(lines)
    atoms = (strength > options.lines.least_strength) & (lines.z <= len(SYMBOLS))
    atoms |= np.isin(np.arange(len(lines)), [] if before is None else before)
    candidates = group_transitions(lines, strength, atoms | (unlisted & (strength > 0.0)))

    def pass_over() -> Float[np.ndarray, " line"]:
        asked = [candidates.free[setup.row] >= 0 for setup in setups]
        information = np.zeros(len(lines))
        found = knowledge(
            sample, run, asked, chunk=options.solver.chunk, progress=partial(progress, "selecting lines")
        )  # fmt: skip
        for setup, of_window in zip(setups, found, strict=True):
            np.add.at(information, setup.row, of_window)
        return information

    information = once(checkpoint, stage, pass_over)
    always = is_unlisted(lines)[candidates.leader]
    if before is not None:
        always |= np.isin(np.arange(len(always)), candidates.free[before])
    return Known(candidates, information, always)


def _limits(known: Known, options: FitOptions) -> dict[str, Any]:
    return {
        "prior_sd": options.lines.prior_sd,
        "max_ratio": options.lines.max_ratio,
        "max_lines": options.lines.max_lines,
        "always": known.always,
    }


def select_lines(known: Known, options: FitOptions) -> Choice:
    """Free transitions, by what the spectra know of each."""
    return choose(known.candidates, known.information, **_limits(known, options))


def selection_record(setups: Sequence[Setup], lines: LineList, known: Known, options: FitOptions) -> Table:
    """Every transition that `select_lines` looked at, and why it is free or not: see `choice.record`."""
    strength = strengths(setups, len(lines))
    return record(known.candidates, lines, strength, known.information, **_limits(known, options))


def freed(sample: Sample, setups: Sequence[Setup], free: Int[np.ndarray, " line"], n: int) -> Sample:
    """The same spectra with correction free[i] of `n` moving line i of the run's list.

    Stars on their own are fitted without room for corrections: the blocks of the lines cost the square of their number.
    """
    return sample.with_problems([with_free(setup.problem(n), free[setup.row]) for setup in setups])


def classes(leaders: LineList, shipped: bool) -> np.ndarray:
    """What is known of the value of each correction's line: that the shipped list and another agree or do not, or else
    what the list knows of its damping."""
    known = np.array(QUALITY, dtype=object)[leaders.quality]
    kind = agreement(leaders.transition) if shipped else np.zeros(len(leaders), int)
    return np.where(kind > 0, np.array(KINDS, dtype=object)[kind], known)


class Stage(NamedTuple):
    """A joint fit and what it was of: the run's lines in every window, the stars by themselves and with free lines, the
    knowledge that the lines were chosen from, the free lines and their groups, and what was told of them."""

    setups: list[Setup]
    lines: LineList
    alone: Sample
    free: Sample
    known: Known
    chosen: Choice
    groups: hyper.Groups
    joint: Joint
    told: Told | None = None

    @property
    def leaders(self) -> LineList:
        """The line that names each correction."""
        return self.lines.take(self.chosen.leader)


def fit_lines(
    setups: list[Setup],
    lines: LineList,
    alone: Sample,
    run: FitState,
    options: FitOptions,
    progress: Progress,
    shipped: bool,
    first: Joint | None = None,
    corrections: Callable[[LineList], Float[np.ndarray, " free"]] = lambda leaders: START * is_unlisted(leaders),
    unlisted_mean: float = 0.0,
    checkpoint: Checkpoint = NOWHERE,
    prior: LinePrior | None = None,
) -> Stage:
    """Choose free lines and fit them with the stars.

    `run`: the stars on their own; `shipped`: whether the lines are those that come with the package. The fit starts
    from them, or from a `first` joint fit, with these `corrections` of the leaders. Lines that a `prior` knows are free
    in any case, and start where it left them. Raises NoStarsError where no line can be free.
    """
    again = "" if first is None else "second "
    before = None if prior is None else prior.rows(lines)
    known = known_lines(setups, lines, alone, run, options, progress, before, checkpoint, f"{again}lines")
    chosen = select_lines(known, options)
    if len(chosen.leader) == 0:
        raise NoStarsError(
            "no line carries enough information for a correction: "
            "add stars, widen survey.window or raise lines.max_ratio"
        )
    told = None
    if prior is not None and before is not None:
        mine = chosen.free[before]
        chosen.leader[mine] = before  # what names a line in the prior's tables names it here
        chosen.information[mine] += sure_of(prior)
        told = prior.told(mine, len(chosen.leader))
    leaders = lines.take(chosen.leader)
    groups = hyper.make_groups(
        leaders.species(),
        classes(leaders, shipped),
        options.lines.least_group,
        {CLASS: SCATTER},
        {KINDS[AGREED]: AGREED_SD},
        chosen.information,
    ).about({CLASS: unlisted_mean})
    if prior is not None and prior.widths is not None and told is not None:
        groups = groups.told_of(mine, prior.widths)
    last = run if first is None else first.run
    # the errors by wavelength are for what the lines so far did not explain
    noise = tuple(n._replace(local=jnp.ones((len(n.scale), 1))) for n in last.noise)
    begin = np.array(corrections(leaders), float)
    if told is not None and first is None:
        begin[mine] = told.point[mine]
    shared = jnp.append(jnp.asarray(begin), last.shared[-1])
    free = freed(alone, setups, chosen.free, len(chosen.leader))
    begun = FitState(last.theta, shared, noise, run.trace)
    solve = fit_svi if options.solver.method == "svi" else fit_joint
    joint = solve(free, begun, groups, options, progress, f"{again}joint", checkpoint, told)
    return Stage(setups, lines, alone, free, known, chosen, groups, joint, told)


def with_suspects(
    first: Stage,
    origin: Origin,
    run: FitState,
    options: FitOptions,
    progress: Progress,
    shipped: bool,
    checkpoint: Checkpoint = NOWHERE,
    prior: LinePrior | None = None,
) -> Stage:
    """The joint fit again, with lines that the list may lack at the places that a first one makes suspect.

    It starts where the first one ended, but for the corrections at those places, which start anew. There the unlisted
    lines are believed to be as strong as START, those of a resolution element together: a suspicion is what their
    usual prior lacks. The first fit stands where nothing is suspect.
    """
    at = places(first.lines, options.lines.unlisted)
    wavelength = [b.wavelength for b in origin.batches]
    suspicions = suspicion(first.free, first.joint, first.groups, first.leaders.wavelength, wavelength, at)
    at = worst(at, suspicions, options.lines.unlisted_most // len(options.lines.unlisted_levels))
    if len(at) == 0:
        run.trace.append({"stage": "suspects", "places": 0})
        return first
    last = first.joint.run
    element = FWHM_PER_SIGMA * float(jnp.median(jnp.exp(last.theta[:, LN_SIGMA]))) / C_KMS * np.median(at)
    mean = START - np.log10(max(element / options.lines.unlisted * len(options.lines.unlisted_levels), 1.0))
    run.trace.append({"stage": "suspects", "places": len(at), "prior_mean": float(mean)})
    lines = with_unlisted(first.lines, options.lines.unlisted, options.lines.unlisted_levels, at)
    # what the first fit compiled serves no more, and maps memory, of which a process may have only so many maps
    jax.clear_caches()
    setups = numbered([prepare(b.wavelength, options, lines=lines) for b in origin.batches])
    alone = first.alone.with_problems([setup.problem(0) for setup in setups])
    learned = dict(zip(first.leaders.transition.tolist(), np.asarray(last.shared[:-1]), strict=True))

    def corrections(leaders: LineList) -> Float[np.ndarray, " free"]:
        so_far = np.array([learned.get(t, 0.0) for t in leaders.transition.tolist()])
        beside = np.abs(leaders.wavelength[:, None] - at).min(axis=1) <= options.lines.unlisted
        return np.where(is_unlisted(leaders), mean, np.where(beside, 0.0, so_far))

    return fit_lines(
        setups, lines, alone, run, options, progress, shipped, first.joint, corrections, mean, checkpoint, prior
    )


class _Widened(NamedTuple):
    """What the last stage of a fit changes of its joint maximum."""

    theta: Float[Array, "star own"]
    posterior: hyper.Posterior
    status: str
    trace: list[dict]


def over_widths(
    stage: Stage, options: FitOptions, progress: Progress = lambda *_: None, checkpoint: Checkpoint = NOWHERE
) -> Joint:
    """The joint fit with what follows its maximum: the widths of the prior integrated over, or another solver; it is
    kept as the stage 'widths' of the `checkpoint`."""

    def work() -> _Widened:
        if options.solver.method in SURVEY:
            progress("integrating over the prior's widths", 0, 1)
            prior = SharedPrior.of(stage.groups, options, stage.told, stage.joint.blends)
            joint = over_scatters(stage.joint, prior)
            progress("integrating over the prior's widths", 1, 1)
        else:
            joint = refined(stage.free, stage.joint, stage.groups, options)
        return _Widened(joint.run.theta, joint.posterior, joint.status, joint.run.trace)

    found: _Widened = once(checkpoint, "widths", work)
    trace = stage.joint.run.trace
    trace[:] = found.trace
    run = replace(stage.joint.run, theta=found.theta, trace=trace)
    return stage.joint._replace(run=run, posterior=found.posterior, status=found.status)


def completed(lines: LineList, options: FitOptions, shipped: bool = True, prior: LinePrior | None = None) -> LineList:
    """The list with what a `prior` knows and it lacks, and with the lines that it may lack everywhere, as the options
    say. `shipped`: whether it is the list that comes with the package."""
    lines = lines if prior is None else prior.completed(lines, shipped)
    everywhere = options.lines.unlisted if options.lines.unlisted_where == "everywhere" else 0.0
    return with_unlisted(lines, everywhere, options.lines.unlisted_levels)


def fit(
    batches: SpectrumBatch | Sequence[SpectrumBatch],
    options: FitOptions,
    progress: Progress = lambda *_: None,
    *,
    lines: LineList | None = None,
    beliefs: Mapping[str, Belief] | None = None,
    checkpoint: Checkpoint = NOWHERE,
    prior: LinePrior | None = None,
    work: Work = IN_MEMORY,
) -> Fitted:
    """Fit stars and log gf jointly.

    `batches`: one or several windows; spectra of one `path` are one star's. `lines` instead of the shipped list.
    `beliefs`: what is known of single stars, by path. `prior`: what other spectra say of the lines; `statistics` of the
    result then hold it too. It goes on from what `checkpoint` has of the same fit. `work`: where it is computed, and in
    blocks of how many stars; the solvers of small problems have all in memory, in this process.
    Raises NoStarsError (a sentence) when no star can be modelled, or no line carries information; AstrogfError where
    the prior is of another list.
    """
    batches = [batches] if isinstance(batches, SpectrumBatch) else list(batches)
    if options.solver.method not in SURVEY and (
        len(batches) > 1 or options.noise.line_scatter > 0 or options.lines.unlisted > 0 or options.lines.blends
        or options.noise.line_drift > 0 or prior is not None
    ):  # fmt: skip
        raise NoStarsError(
            f"solver.method = {options.solver.method!r} takes one window, noise.line_scatter = 0, "
            "noise.line_drift = 0, lines.unlisted = 0, lines.blends = false and no lines.prior: use 'gauss-newton' or "
            "'svi' for this problem"
        )
    if prior is not None and options.lines.unlisted > 0 and prior.unlisted.any():
        raise AstrogfError(
            f"lines.unlisted: {prior.name}, the prior, has such lines, which are taken along; leave the key out"
        )
    complete = partial(completed, options=options, shipped=lines is None, prior=prior)
    cut = work if options.solver.method in SURVEY else None
    if options.solver.method == "svi":
        # a step visits whole blocks, and no chunk of stars should be larger than a block
        paths = {path for b in batches for path in b.table["path"].tolist()}
        most = options.solver.stars_a_step(len(paths))
        cut = work._replace(block=most if work.block is None else min(work.block, most))
        options = options.changed(solver={"chunk": min(options.solver.chunk, most)})
    if cut is not None and cut.block is not None:
        # kept, because states speak of the blocks, and a run may go on with another number of devices
        size = partial(whole_chunks, cut.block, options.solver.chunk, star_mesh().devices.size)
        cut = cut._replace(block=once(checkpoint, "blocks", size))
    collected = collect(batches, options, lines, beliefs or {}, complete=complete, work=cut)
    setups, sample, beliefs_of_stars, origin = collected
    theta, seconds = once(checkpoint, "search", lambda: starting_points(collected, options, progress))
    start = float(lsf_sigma(options.stars.resolution))
    noise = quiet(
        sample, 0.01 if options.noise.inflation is None else options.noise.inflation, options.noise.line_scatter
    )
    run = FitState(jnp.asarray(theta), jnp.array([start]), noise)
    judged = leaving_out(sample, theta, options.model.leave_out)
    run, passed = fit_stars(judged, run, options, tolerance=NEAR_ENOUGH, progress=progress, checkpoint=checkpoint)
    # once more, where the velocities of all windows are known
    sample = leaving_out(sample, np.asarray(run.theta), options.model.leave_out)

    verdicts = out_of_domain(run, passed, sample, [b.is_anchor for b in beliefs_of_stars], options)
    keep = np.array([v is None for v in verdicts])
    rows = [(origin.table["path"][s], *v) for s, v in enumerate(verdicts) if v is not None]
    set_aside = aside_table(rows)
    if not keep.any():
        raise NoStarsError(
            "every star was set aside by the engine: see the table of set-aside files for the reasons",
            set_aside=set_aside,
        )
    row_keep = [keep[p.star] for p in sample.windows]
    noise = tuple(type(n)(*(x[k] for x in n)) for n, k in zip(run.noise, row_keep, strict=True))
    alone, origin = sample.select(keep), origin.select(keep, row_keep)
    run = FitState(run.theta[keep], run.shared, noise, run.trace)

    shipped, mean = lines is None, 0.0 if prior is None else prior.unlisted_mean
    stage = fit_lines(
        setups, origin.lines, alone, run, options, progress, shipped,
        unlisted_mean=mean, checkpoint=checkpoint, prior=prior,
    )  # fmt: skip
    if options.lines.unlisted > 0.0 and options.lines.unlisted_where == "suspect":
        stage = with_suspects(stage, origin, run, options, progress, shipped, checkpoint, prior)
        origin, alone = replace(origin, lines=stage.lines), stage.alone
    joint = over_widths(stage, options, progress, checkpoint)

    # the yardstick: labels refitted with the list as it came, under the noise and resolution of the joint fit
    frozen = FitState(run.theta, joint.run.shared[-1:], joint.run.noise, joint.run.trace)
    _, original = fit_stars(
        alone, frozen, options, free=False, iterations=2, stage="original list", progress=progress,
        checkpoint=checkpoint,
    )  # fmt: skip
    took = min(step["seconds"] for step in joint.run.trace if step["stage"].endswith("joint"))
    ratio = took / sum(len(p.star) for p in alone.windows) / seconds if np.isfinite(seconds) else None
    strength = strengths(stage.setups, len(origin.lines))
    result = assemble(alone, origin, strength, stage.chosen, stage.groups, joint, original, options)
    if prior is not None and stage.told is not None and result.statistics is not None:
        n_told, own = prior.statistics.n_star, result.statistics
        within = stage.told.slopes is not None and own.slopes is not None
        both = own._replace(n_star=own.n_star + n_told) if within else with_told(own, stage.told, n_told)
        result = replace(result, statistics=both)
    looked_at = selection_record(stage.setups, origin.lines, stage.known, options)
    return Fitted(replace(result, jacobian_cost_ratio=ratio, selection=looked_at), set_aside)
