"""The joint fit from a batch of spectra: search, stars alone, selection of lines, stars and log gf together."""

from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from astropy.table import Table
from jaxtyping import Float, Int

import emulator
from emulator.layers import Layers
from inference import hyper, noise
from inference.arrow import own_covariances
from inference.joint import Joint, fit_joint
from inference.noise import NoiseModel
from inference.options import FitOptions
from inference.parameters import STAR, STEP, StarPrior, lsf_sigma, vmic_relation
from inference.result import FitResult
from inference.search import Search, coarse_search
from inference.selection import Selection, choose, group_transitions
from inference.star import StarData, StarProblem, chebyshev_basis
from inference.stars import Progress, Run, fit_stars
from inference.sweep import Pass, sweep
from surveys.batch import SpectrumBatch
from synthesis.abundances import number_fractions
from synthesis.eos import equation_of_state
from synthesis.grid import Grid
from synthesis.linelist import QUALITY, LineList, load_lines
from synthesis.model import SpectrumModel
from synthesis.strength import line_reach

REFERENCE_STARS = (
    (4100.0, 1.0, 0.0),
    (4300.0, 4.5, 0.3),
    (4800.0, 2.5, 0.3),
    (5777.0, 4.44, 0.3),
    (6800.0, 4.0, 0.3),
)
"""(teff, logg, feh) of the atmospheres in which a line must matter to be kept at all."""


WALL = 0.1
"""Softness of the wall at the emulator's hull, in grid steps of its training set."""


class NoStarsError(ValueError):
    """Nothing was left to fit; the sentence says why and what to do, `set_aside` which stars were refused."""

    def __init__(self, sentence: str, set_aside: Table | None = None):
        super().__init__(sentence)
        self.set_aside = set_aside


@dataclass
class Setup:
    """What a run prepares once: grid, lines and the emulator on the depths of the run."""

    options: FitOptions
    grid: Grid
    lines: LineList
    strength: Float[np.ndarray, " line"]
    reach: Float[np.ndarray, " line"]
    atmosphere: Layers

    def problem(self, room: int | None = None) -> StarProblem:
        """The star problem, with room for `room` corrections (the options' max_lines by default), none of them used."""
        o = self.options
        room = o.max_lines if room is None else room
        model = SpectrumModel.build(self.atmosphere, self.lines, self.reach, self.grid, room, o.angles, o.single)
        prior = StarPrior(jnp.asarray(o.prior_mean()), jnp.asarray(o.prior_sd_star()))
        basis = jnp.asarray(chebyshev_basis(self.grid.n_pixel, o.continuum_degree))
        sd = jnp.full(basis.shape[1], 3.0)
        return StarProblem(model, basis, prior, sd, o.resolution_scatter, WALL)


def with_free(problem: StarProblem, free: Int[np.ndarray, " line"]) -> StarProblem:
    """The same problem with correction free[i] moving line i."""
    return eqx.tree_at(lambda p: p.spectrum, problem, problem.spectrum.with_free(free))


def prepare(
    wavelength: Float[np.ndarray, " pixel"],
    options: FitOptions,
    family: str = "atlas9",
    lines: LineList | None = None,
) -> Setup:
    """Choose the lines that matter in the window and their widths, on the host.

    `lines` given are all kept (a selection made before); else the shipped list is searched.
    """
    grid = Grid.over(wavelength, options.oversampling)
    tau = np.logspace(options.tau_top, options.tau_bottom, options.depths)
    atmosphere = Layers(emulator.load(family), jnp.asarray(tau))
    edge = grid.wavelength
    given = lines is not None
    lines = lines if lines is not None else load_lines(edge[0] - 5.0, edge[-1] + 5.0)
    reference = []
    for teff, logg, feh in REFERENCE_STARS:
        labels = jnp.array([teff, logg, feh, 0.0])
        vmic = float(vmic_relation(teff, logg))
        structure = atmosphere(labels)
        gas = equation_of_state(structure.t, structure.p, structure.xne, number_fractions(feh, 0.0))
        reference.append((gas, jnp.asarray(vmic), (structure.tau < 3.0) & (structure.tau > 1e-5)))
    strength, reach = line_reach(lines, reference, options.line_cut)
    keep = (strength > options.line_cut) | given
    return Setup(options, grid, lines.take(keep), strength[keep], reach[keep], atmosphere)


def scaled_data(batch: SpectrumBatch) -> tuple[StarData, Float[np.ndarray, " star"]]:
    """Fluxes divided by each star's median level (the continuum prior expects a level near 1), and the levels."""
    good = batch.ivar > 0
    level = np.array([np.median(f[g]) if g.any() else 1.0 for f, g in zip(batch.flux, good, strict=True)])
    level = np.where(level > 0, level, 1.0)
    flux, ivar = batch.flux / level[:, None], batch.ivar * level[:, None] ** 2
    return StarData(jnp.asarray(flux, float), jnp.asarray(ivar, float)), level


def out_of_domain(
    run: Run, passed: Pass, problem: StarProblem, n_pixel: np.ndarray, options: FitOptions
) -> list[tuple[str, str] | None]:
    """For each star None, or a short reason and a sentence why the joint fit must not use it."""
    theta = np.asarray(run.theta)
    chi2 = np.asarray(passed.chi2) / np.maximum(n_pixel, 1)
    margin = np.asarray(jax.vmap(problem.margin)(run.theta[:, :4]))
    low, high = options.teff_range
    verdicts: list[tuple[str, str] | None] = []
    for s, teff in enumerate(theta[:, 0]):
        if not np.isfinite(passed.log_posterior[s]):
            verdicts.append(("no_model", "the model is not finite at the best labels: look at the spectrum by eye"))
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


def select_lines(setup: Setup, passed: Pass, options: FitOptions) -> Selection:
    """Free transitions, by what a pass with the list as it is knows of each."""
    candidates = group_transitions(setup.lines, setup.strength, setup.strength > 0.02)
    return choose(
        candidates,
        np.asarray(passed.information),
        prior_sd=options.prior_sd,
        max_ratio=options.max_ratio,
        max_lines=options.max_lines,
    )


def shared_table(run: Run, joint: Joint, releases: np.ndarray) -> dict[str, tuple[float, float]]:
    """Shared parameters that are not corrections: value and sd."""
    ln_sigma, sd = float(run.shared[-1]), float(jnp.sqrt(joint.posterior.covariance[-1, -1]))
    resolution = float(np.exp(lsf_sigma(1.0) - ln_sigma))
    table = {"resolution": (resolution, resolution * sd)}
    for r, name in enumerate(releases):
        first = int(np.flatnonzero(run.release == r)[0]) if np.any(run.release == r) else None
        if first is not None:
            table[f"noise scale, {name}"] = (float(run.noise.scale[first]), float("nan"))
            table[f"inflation, {name}"] = (float(run.noise.inflation[first]), float("nan"))
    return table


def line_table(setup: Setup, chosen: Selection, joint: Joint, groups: hyper.Groups) -> Table:
    """One row a free transition, named by its strongest component."""
    n = len(chosen.leader)
    lines = setup.lines.take(chosen.leader)
    sd = np.sqrt(np.diag(np.asarray(joint.posterior.covariance)))[:n]
    prior = np.asarray(hyper.prior_sd(joint.posterior.tau, jnp.asarray(groups.member)))
    components = np.bincount(setup.lines.transition, minlength=setup.lines.transition.max() + 1)
    table = Table(
        {
            "wavelength": lines.wavelength,
            "species": lines.species(),
            "elow": lines.elow,
            "loggf": lines.loggf,
            "correction": np.asarray(joint.posterior.mean)[:n],
            "posterior_sd": sd,
            "prior_sd": prior,
            "ratio": sd / prior,
            "group": [groups.names[g] for g in groups.member],
            "components": components[lines.transition],
            "strength": setup.strength[chosen.leader],
        }
    )
    table["wavelength"].unit, table["elow"].unit = "Angstrom", "eV"
    for name in ("loggf", "correction", "posterior_sd", "prior_sd"):
        table[name].unit = "dex"
    return table


def star_flags(theta: Float[np.ndarray, "star star_parameter"], margin: Float[np.ndarray, " star"], outliers) -> tuple:
    """What a star leans on, in words."""
    flags = []
    for s in range(len(theta)):
        words = []
        if margin[s] < 0.02:
            words.append("at the edge of the emulator's domain")
        if outliers[s] > 0.03:
            words.append(f"{100 * outliers[s]:.0f}% outlying pixels")
        flags.append("; ".join(words))
    return tuple(flags)


class Fitted(NamedTuple):
    """The result and one row (path, reason, detail) for every star that the engine itself set aside."""

    result: FitResult
    set_aside: Table


def fit(batch: SpectrumBatch, options: FitOptions, progress: Progress = lambda *_: None) -> Fitted:
    """Fit stars and log gf jointly.

    Raises NoStarsError (a sentence) when no star of the batch can be modelled, or no line carries information.
    """
    if len(batch.flux) == 0:
        raise NoStarsError("no spectrum passed the selection: lower [survey] snr_min or check the window")
    setup = prepare(batch.wavelength, options)
    data, level = scaled_data(batch)
    alone = setup.problem()
    start = float(lsf_sigma(options.resolution))
    found: Search = coarse_search(alone, data, start, progress=partial(progress, "coarse search"))
    n_star = len(data.flux)
    inflation = 0.01 if options.inflation is None else options.inflation
    noise_model = NoiseModel(jnp.ones(n_star), jnp.full(n_star, inflation))
    releases, release = np.unique(np.asarray(batch.table["release"]).astype(str), return_inverse=True)
    run = Run(jnp.asarray(found.theta), jnp.array([start]), noise_model, release)
    run, passed = fit_stars(alone, data, run, options, progress=progress)

    n_pixel = np.asarray((data.ivar > 0).sum(1))
    verdicts = out_of_domain(run, passed, alone, n_pixel, options)
    keep = np.array([v is None for v in verdicts])
    rows = [(batch.table["path"][s], *v) for s, v in enumerate(verdicts) if v is not None]
    set_aside = Table(rows=rows or None, names=("path", "reason", "detail"), dtype=(str, str, str))
    if not keep.any():
        raise NoStarsError(
            "every star was set aside by the engine: see the table of set-aside files for the reasons", set_aside
        )
    batch, data, level, n_pixel = (
        batch.select(keep),
        StarData(*(x[keep] for x in data)),
        level[keep],
        n_pixel[keep],
    )
    run = Run(run.theta[keep], run.shared, NoiseModel(*(x[keep] for x in run.noise)), run.release[keep], run.trace)

    passed = sweep(
        alone, data, run.theta, run.shared, run.noise, chunk=options.chunk,
        progress=partial(progress, "selecting lines"),
    )  # fmt: skip
    chosen = select_lines(setup, passed, options)
    if len(chosen.leader) == 0:
        raise NoStarsError(
            "no line carries enough information for a correction: "
            "add stars, widen [survey] window or raise [lines] max_ratio"
        )
    species = setup.lines.take(chosen.leader).species()
    groups = hyper.make_groups(species, np.array(QUALITY)[setup.lines.quality[chosen.leader]])
    problem = with_free(alone, chosen.free)
    begin = Run(
        run.theta, jnp.concatenate([jnp.zeros(len(chosen.leader)), run.shared]), run.noise, run.release, run.trace
    )
    joint = fit_joint(problem, data, begin, groups, options, progress)

    # the yardstick: labels refitted with the list as it came, under the noise and resolution of the joint fit
    frozen = Run(run.theta, joint.run.shared[-1:], joint.run.noise, run.release, joint.run.trace)
    _, original = fit_stars(
        alone, data, frozen, options, learn=False, iterations=2, stage="original list", progress=progress
    )
    seconds = min(step["seconds"] for step in joint.run.trace if step["stage"] == "joint") / len(data.flux)
    result = assemble(batch, data, level, n_pixel, setup, chosen, groups, alone, joint, original, releases)
    return Fitted(replace(result, jacobian_cost_ratio=seconds / found.seconds), set_aside)


def assemble(
    batch, data, level, n_pixel, setup, chosen, groups, alone, joint: Joint, original: Pass, releases
) -> FitResult:
    """Put everything on the scale of the spectra as they came."""
    covariance = np.asarray(own_covariances(joint.passed.star, joint.posterior.covariance))[:, : len(STAR), : len(STAR)]
    theta = np.asarray(joint.run.theta)
    var = np.asarray(jax.vmap(noise.variance)(data.flux, data.ivar, joint.run.noise))
    good = np.asarray(data.ivar > 0)
    residual = np.asarray(data.flux - joint.passed.model)
    outliers = ((np.abs(residual) > 5 * np.sqrt(var)) & good).sum(1) / np.maximum(n_pixel, 1)
    margin = np.asarray(jax.vmap(alone.margin)(joint.run.theta[:, :4]))
    n = len(chosen.leader)
    return FitResult(
        table=batch.table,
        label_names=STAR,
        labels=theta,
        labels_sd=np.sqrt(np.diagonal(covariance, 0, 1, 2)) * STEP,
        flags=star_flags(theta, margin, outliers),
        wavelength=np.asarray(batch.wavelength),
        flux=batch.flux,
        ivar=batch.ivar,
        sigma=np.where(good, np.sqrt(var), np.inf) * level[:, None],
        model_original=np.asarray(original.model) * level[:, None],
        model_corrected=np.asarray(joint.passed.model) * level[:, None],
        chi2_original=np.asarray(original.chi2),
        chi2_corrected=np.asarray(joint.passed.chi2),
        n_pixel=n_pixel,
        lines=line_table(setup, chosen, joint, groups),
        correction_covariance=np.asarray(joint.posterior.covariance)[:n, :n],
        shared=shared_table(joint.run, joint, releases),
        hyper=Table(
            {
                "group": groups.names,
                "lines": np.bincount(groups.member),
                "tau": np.asarray(joint.posterior.tau),
            }
        ),
        status=joint.status,
        trace=joint.run.trace,
    )
