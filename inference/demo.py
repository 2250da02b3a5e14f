"""A small survey with a known truth: LAMOST files of simulated stars, with errors injected into the line list."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from astropy.table import Table
from jaxtyping import Float

from inference.beliefs import Belief, star_prior
from inference.fit import select_lines
from inference.options import FitOptions
from inference.parameters import STAR, lsf_sigma, vmic_relation
from inference.pieces import Piece, Sample, quiet
from inference.setup import prepare, with_free
from inference.star import StarData, StarProblem, predict
from inference.stars import Progress
from inference.sweep import sweep
from surveys.simulate import observe, write_lamost_lrs
from surveys.spectrum import grid, window_pixels


@dataclass(frozen=True)
class DemoOptions:
    """What the simulated survey holds. `injected` transitions get an error of Normal(0, `scatter`) dex.

    The spectra are computed on a finer grid than the fit will use (`oversampling`, `depths`), so that the fit's own
    discretisation is part of what is tested.
    """

    stars: int = 64
    window: tuple[float, float] = (4900.0, 5400.0)
    snr: tuple[float, float] = (30.0, 150.0)
    injected: int = 200
    scatter: float = 0.2
    outlier_fraction: float = 0.002
    oversampling: int = 64
    depths: int = 48
    seed: int = 20261122


class Truth(NamedTuple):
    """What was put into the files: one row a star (path, labels, snr), one row an injected line."""

    stars: Table
    lines: Table


def draw_labels(
    options: DemoOptions, problem: StarProblem, fit: FitOptions
) -> Float[np.ndarray, "star star_parameter"]:
    """FGK dwarfs and red giants inside the emulator's domain, in the order of `STAR`; two thirds are dwarfs."""
    rng = np.random.default_rng(options.seed)
    theta: list[list[float]] = []
    while len(theta) < options.stars:
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
            sigma = float(lsf_sigma(fit.resolution * 1.03)) + fit.resolution_scatter * rng.normal()
            theta.append([teff, logg, feh, alpha, max(vmic, 0.4), sigma, 40.0 * rng.normal()])
    return np.array(theta)


def simulate_survey(options: DemoOptions, fit: FitOptions, out: Path, progress: Progress = lambda *_: None) -> Truth:
    """Write the files of a simulated LAMOST LRS survey into `out` and return what is true of them."""
    rng = np.random.default_rng(options.seed + 1)
    first, n_pixel = window_pixels(options.window)
    wavelength = grid(first, n_pixel)
    setup = prepare(wavelength, fit)
    problem = setup.problem()
    theta = draw_labels(options, problem, fit)
    snr = np.exp(rng.uniform(np.log(options.snr[0]), np.log(options.snr[1]), options.stars))

    # the lines that get an error are those about which this survey can tell something
    labels, shared = jnp.asarray(theta), jnp.array([float(lsf_sigma(fit.resolution))])
    flat = StarData(jnp.ones((options.stars, n_pixel)), jnp.full((options.stars, n_pixel), 1e2))
    whose = np.arange(options.stars)
    prior = star_prior([Belief()] * options.stars, fit)
    sample = Sample((Piece(problem, flat, whose, np.zeros(options.stars, int)),), prior)
    clean = jnp.asarray(sweep(sample, labels, shared, quiet(sample), chunk=fit.chunk).model[0])
    data = StarData(clean, jnp.asarray(snr[:, None] / clean) ** 2)
    sample = Sample((Piece(problem, data, whose, np.zeros(options.stars, int)),), prior)
    passed = sweep(
        sample, labels, shared, quiet(sample), chunk=fit.chunk,
        progress=lambda i, n: progress("choosing lines to falsify", i, n),
    )  # fmt: skip
    setup = replace(setup, row=np.arange(len(setup.lines)))  # the list of this run is the one in the window
    chosen = select_lines([setup], setup.lines, passed, replace(fit, max_lines=options.injected))
    error = options.scatter * rng.normal(size=len(chosen.leader))

    # the truth is computed on a finer grid, from the same lines
    fine = prepare(
        wavelength, replace(fit, oversampling=options.oversampling, depths=options.depths), lines=setup.lines,
        keep_all=True,
    )  # fmt: skip
    truth = with_free(fine.problem(len(error)), chosen.free)
    see = eqx.filter_jit(predict)

    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for s, t in enumerate(theta):
        # the list says loggf; the star obeys loggf + error, so the fit has to find correction = error
        flux = np.asarray(see(truth, jnp.asarray(t), jnp.asarray(error)))
        tilt = tuple(0.1 * rng.normal(size=3))
        seen = observe(flux, snr[s], rng, tilt=tilt, outlier_fraction=options.outlier_fraction)
        name = f"spec-60000-SIM{options.seed % 1000:03d}_sp01-{s + 1:03d}.fits"
        write_lamost_lrs(
            out / name, first, seen.flux * 1000.0, seen.ivar * 1e-6, ra=30.0 + 0.1 * s, dec=30.0, rv=float(t[-1]),
            object=f"sim{s + 1:03d}", snr=float(snr[s]), subclass="G2", obsid=s + 1, fiber=s + 1,
        )  # fmt: skip
        paths.append(name)
        progress("simulating spectra", s + 1, len(theta))

    stars = Table({"path": paths, **{name: theta[:, i] for i, name in enumerate(STAR)}, "snr": snr})
    lines = setup.lines.take(chosen.leader)
    injected = Table(
        {
            "wavelength": lines.wavelength,
            "species": lines.species(),
            "elow": lines.elow,
            "loggf": lines.loggf,
            "injected": error,
            "transition": lines.transition,
        }
    )
    return Truth(stars, injected)
