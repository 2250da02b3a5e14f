"""A small survey with a known truth: files of simulated stars, made with a line list that is wrong everywhere.

Every atomic transition has an error of Normal(0, `demo.scatter`) dex, those whose values two lists agree on (see
`synthesis.lines.agreement`) one of AGREED_SD, and a share `demo.wrong_share` of them one of Normal(0, `demo.wrong`) in
addition; what the stars show of a line is off by `demo.model_error` more, the same in all of them, which is no error of
the list. Lines of a species share an error of each kind, `demo.species_error`, which values that agree do not have, and
`demo.species_model_error`. `demo.missing` more lines are in the stars but not in the list: copies of strong ones at
wavelengths of their own. `survey.kind` is the layout written: 'lamost_lrs',
'lamost_mrs' or 'stated' (high resolution, one text file for each star of which something is known, with labels drawn
from just that; `demo.stars` then counts nothing, and `demo.snr` is that of the fit's pixels of `survey.log_step`). The
spectra are computed on a finer grid than the fit will use (`demo.oversampling`, `demo.depths`), so that the fit's own
discretisation is part of what is tested.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from astropy.table import Table
from jaxtyping import Float

from astrogf.base.errors import AstrogfError
from astrogf.inference.newton.stars import Progress
from astrogf.inference.problem.instrument import own_parameters
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.parameters import LN_SIGMA, RV, STAR, VMIC, lsf_sigma, vmic_relation
from astrogf.inference.problem.priors import Belief, star_prior
from astrogf.inference.problem.problem import StarProblem, predict
from astrogf.inference.problem.setup import prepare, with_free
from astrogf.inference.rehearsal.options import DemoOptions
from astrogf.surveys.options import SurveyOptions
from astrogf.surveys.simulate import observe, write_lamost_lrs, write_lamost_mrs
from astrogf.surveys.spectrum import LOG_STEP, MRS_STEP, grid, window_pixels
from astrogf.synthesis.gas.abundances import SYMBOLS
from astrogf.synthesis.linelists import windows_lines
from astrogf.synthesis.lines.agreement import AGREED, AGREED_SD, agreement
from astrogf.synthesis.lines.linelist import LineList

KINDS = ("lamost_lrs", "lamost_mrs", "stated")
BETWEEN_ARMS = 5800.0
"""Angstrom between LAMOST MRS' blue and red arm."""
STRONG = 200
"""Strongest lines of a window, of which the weaker three quarters are copied as missing ones."""
FINER = 5
"""Samples of a stated spectrum's file in a pixel of the fit, whose noise must not be correlated by rebinning."""


def log_step(survey: SurveyOptions) -> float:
    """Step (log10) of the pixels that are written."""
    return {"lamost_lrs": LOG_STEP, "lamost_mrs": MRS_STEP, "stated": survey.log_step / FINER}[survey.kind]


def check_options(survey: SurveyOptions, n_stated: int) -> None:
    """Raises AstrogfError for a survey that cannot be simulated."""
    if survey.kind not in KINDS:
        raise AstrogfError(
            f"survey.kind: expected one of {', '.join(KINDS)} for a simulated survey, got {survey.kind!r}"
        )
    if survey.kind == "stated" and n_stated == 0:
        raise AstrogfError(
            "survey.kind = 'stated' simulates the stars of the stated spectra (sections [spectra.NAME]); there is none"
        )
    if survey.kind == "lamost_lrs" and len(survey.all_windows) > 1:
        raise AstrogfError("survey.windows: a simulated LRS survey has one window")


class Truth(NamedTuple):
    """What was put into the files: one row a star (path, labels, snr), one row a line."""

    stars: Table
    lines: Table


class Window(NamedTuple):
    """One window of the survey as it really is: its first pixel, and the synthesis with a slot for each transition."""

    first: int
    problem: StarProblem
    transition: np.ndarray


def draw_labels(
    demo: DemoOptions, problem: StarProblem, fit: FitOptions, rng: np.random.Generator, n_window: int = 1
) -> Float[np.ndarray, "star own"]:
    """FGK dwarfs and red giants inside the emulator's domain, in the order of `STAR`; two thirds are dwarfs."""
    instrument = own_parameters(fit.stars, n_window)
    theta: list[np.ndarray] = []
    while len(theta) < demo.stars:
        if rng.uniform() < 2 / 3:
            teff = rng.uniform(4600.0, 6600.0)
            logg = 4.65 - 0.35 * max(teff - 5400.0, 0.0) / 1000.0 + 0.1 * rng.normal()
        else:
            teff = rng.uniform(4300.0, 5200.0)
            logg = 2.4 + 2.6e-3 * (teff - 4800.0) + 0.2 * rng.normal()
        feh = float(np.clip(rng.normal(-0.2, 0.35), -1.5, 0.4))
        alpha = float(np.clip(-0.25 * feh + 0.03 * rng.normal(), 0.02, 0.35))
        labels = jnp.array([teff, logg, feh, alpha])
        if float(problem.margin(labels)) > 0.03:
            vmic = float(vmic_relation(teff, logg)) + 0.1 * rng.normal()
            sigma = float(lsf_sigma(fit.stars.resolution * 1.03)) + fit.stars.resolution_scatter * rng.normal()
            own = [teff, logg, feh, alpha, max(vmic, 0.4), sigma, 40.0 * rng.normal()]
            further = fit.stars.abundance_sd * rng.normal(size=len(fit.stars.abundances))
            theta.append(np.concatenate([own, further, [one.sd * rng.normal() for one in instrument]]))
    return np.array(theta)


def draw_beliefs(
    beliefs: Mapping[str, Belief], fit: FitOptions, rng: np.random.Generator, n_window: int = 1
) -> Float[np.ndarray, "star own"]:
    """Labels of stars of which something is known, drawn from just that; velocities of 10 km/s where not known."""
    prior = star_prior(list(beliefs.values()), fit, n_window)
    mean, sd = np.array(prior.mean), np.array(prior.sd)
    for s, belief in enumerate(beliefs.values()):
        sd[s, RV] = belief.labels.get("rv", (0.0, 10.0))[1]
        if "resolution" not in belief.labels:
            mean[s, LN_SIGMA] = float(lsf_sigma(fit.stars.resolution))
    theta = mean + sd * rng.normal(size=mean.shape)
    follows = np.asarray(prior.follows_vmic) > 0
    theta[follows, VMIC] += np.asarray(vmic_relation(theta[follows, 0], theta[follows, 1]))
    return theta


def with_missing(
    lines: LineList, demo: DemoOptions, survey: SurveyOptions, fit: FitOptions, rng: np.random.Generator
) -> LineList:
    """The lines of the stars: those of the list, and `missing` others with transition numbers beyond the list's."""
    if demo.missing == 0:
        return lines
    window = survey.all_windows[0]
    setup = prepare(grid(*window_pixels(window, log_step(survey)), log_step(survey)), fit, lines=lines)
    strong = np.argsort(-np.where(setup.lines.z <= len(SYMBOLS), setup.extent.strength, 0.0))[:STRONG]
    # not the strongest: an observer would know of those
    copied = setup.lines.take(np.sort(rng.choice(strong[len(strong) // 4 :], demo.missing, replace=False)))
    moved = copied.replace(
        wavelength=rng.uniform(*window, demo.missing),
        transition=int(lines.transition.max()) + 1 + np.arange(demo.missing),
    )
    return lines.merged(moved)


def falsify(
    demo: DemoOptions, survey: SurveyOptions, fit: FitOptions, rng: np.random.Generator
) -> tuple[list[Window], Table, np.ndarray]:
    """The survey's windows, the table of their lines, and what the stars show of every transition of the list.

    The list says loggf; the stars obey loggf + injected, but for the model's errors, and the fit has to find
    correction = injected, apparent = injected + the model's error.
    """
    lines = windows_lines(list(survey.all_windows), fit.model.molecules)
    last_listed = int(lines.transition.max())
    atomic = np.unique(lines.transition[lines.z <= len(SYMBOLS)])
    error = np.zeros(last_listed + 1 + demo.missing)
    wrong = rng.uniform(size=len(atomic)) < demo.wrong_share
    agreed = agreement(atomic) == AGREED
    scatter = np.where(agreed, np.minimum(AGREED_SD, demo.scatter), demo.scatter)
    error[atomic] = np.hypot(scatter, demo.wrong * wrong) * rng.normal(size=len(atomic))
    shown = error.copy()
    shown[atomic] += demo.model_error * rng.normal(size=len(atomic))
    species = np.zeros(len(error), int)
    species[lines.transition] = 10 * lines.z + lines.ion
    names, of = np.unique(species[atomic], return_inverse=True)
    shared = demo.species_error * rng.normal(size=len(names))
    error[atomic] += shared[of] * ~agreed
    shown[atomic] += shared[of] * ~agreed + demo.species_model_error * rng.normal(size=len(names))[of]
    lines = with_missing(lines, demo, survey, fit, rng)
    finer = fit.changed(model={"oversampling": demo.oversampling, "depths": demo.depths})
    windows, rows = [], []
    for number, window in enumerate(survey.all_windows):
        first, n_pixel = window_pixels(window, log_step(survey))
        pixels = grid(first, n_pixel, log_step(survey))
        # the stars have the lines that matter with the list as it says, so that both models hold the same ones
        setup = prepare(pixels, fit, lines=lines)
        transition, slot = np.unique(setup.lines.transition, return_inverse=True)
        fine = prepare(pixels, finer, lines=setup.lines, keep_all=True)
        problem = replace(fine, window=number, n_window=len(survey.all_windows)).problem(len(transition))
        windows.append(Window(first, with_free(problem, slot), transition))
        rows.append(setup.row)
    held = lines.take(np.unique(np.concatenate(rows)))
    atoms = held.take(held.z <= len(SYMBOLS))
    table = Table(
        {
            "wavelength": atoms.wavelength,
            "species": atoms.species(),
            "elow": atoms.elow,
            "loggf": atoms.loggf,
            "injected": np.where(atoms.transition > last_listed, np.nan, error[atoms.transition]),
            "shown": np.where(atoms.transition > last_listed, np.nan, shown[atoms.transition]),
            "missing": atoms.transition > last_listed,
            "transition": atoms.transition,
        }
    )
    return windows, table, shown


def simulate_survey(
    demo: DemoOptions,
    survey: SurveyOptions,
    fit: FitOptions,
    out: Path,
    progress: Progress = lambda *_: None,
    beliefs: Mapping[str, Belief] | None = None,
    files: Mapping[str, str] | None = None,
) -> Truth:
    """Write the files of a simulated survey into `out` and return what is true of them.

    `beliefs` and `files`: labels and file name of every stated star. Each spectrum's lines deviate from the truth by
    its line scatter. Raises AstrogfError for a survey that cannot be simulated.
    """
    beliefs = beliefs or {}
    check_options(survey, len(beliefs))
    rng = np.random.default_rng(demo.seed)
    windows, lines, error = falsify(demo, survey, fit, rng)
    if survey.kind == "stated":
        theta, paths = draw_beliefs(beliefs, fit, rng, len(windows)), list(beliefs)
        scatter = [fit.noise.line_scatter if b.line_scatter is None else b.line_scatter for b in beliefs.values()]
    else:
        theta = draw_labels(demo, windows[0].problem, fit, rng, len(windows))
        paths = [f"spec-60000-SIM{demo.seed % 1000:03d}_sp01-{s + 1:03d}.fits" for s in range(len(theta))]
        scatter = [fit.noise.line_scatter] * len(theta)
    least, most = np.log(demo.snr)
    snr = np.exp(rng.uniform(least, most, len(theta)))
    per_pixel = np.sqrt(FINER) if survey.kind == "stated" else 1.0
    see = eqx.filter_jit(predict)

    out.mkdir(parents=True, exist_ok=True)
    for s, t in enumerate(theta):
        observed = []
        mine = error + scatter[s] * rng.normal(size=len(error)) * (error != 0.0)
        for window in windows:
            flux = np.asarray(see(window.problem, jnp.asarray(t), jnp.asarray(mine[window.transition])))
            tilt = tuple(0.1 * rng.normal(size=3))
            one = observe(flux, snr[s] / per_pixel, rng, tilt=tilt, outlier_fraction=demo.outlier_fraction)
            observed.append((window.first, one.flux * 1000.0, one.ivar * 1e-6))
        who: dict[str, Any] = {"ra": 30.0 + 0.1 * s, "dec": 30.0, "object": f"sim{s + 1:03d}", "obsid": s + 1}
        if survey.kind == "lamost_lrs":
            write_lamost_lrs(
                out / paths[s], *observed[0], rv=float(t[RV]), snr=float(snr[s]), subclass="G2", fiber=s + 1, **who
            )  # fmt: skip
        elif survey.kind == "lamost_mrs":
            blue = [mean < BETWEEN_ARMS for mean in np.mean(survey.all_windows, axis=1)]
            arms = {"blue" if b else "red": arm for b, arm in zip(blue, observed, strict=True)}
            write_lamost_mrs(out / paths[s], arms, **who)
        else:
            _write_text(out / (files or {})[paths[s]], observed, log_step(survey))
        progress("simulating spectra", s + 1, len(theta))

    labels = {name: theta[:, i] for i, name in enumerate(STAR)}
    return Truth(Table({"path": paths, **labels, "snr": snr}), lines)


def _write_text(path: Path, windows: list, step: float) -> None:
    """Wavelength (vacuum Angstrom), flux and error of all windows, one row a pixel; errors of 0 are unusable."""
    rows = []
    for first, flux, ivar in windows:
        error = np.where(ivar > 0, 1.0 / np.sqrt(np.where(ivar > 0, ivar, 1.0)), 0.0)
        rows.append(np.column_stack([grid(first, len(flux), step), flux, error]))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, np.concatenate(rows), fmt=("%.6f", "%.6e", "%.6e"))
