"""Small problems with a known truth: few stars, few lines, one short window. What solvers and coverage are tested on.

The truth is drawn from the very prior that the model states (`solvers.model`), so that ranks of the truth in the
posterior are uniform if, and only if, the posterior is right (Talts et al. 2018, arXiv 1804.06788).
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from astrogf.inference.fit import known_lines, select_lines
from astrogf.inference.newton.joint import SharedPrior
from astrogf.inference.newton.passed import Pass
from astrogf.inference.newton.stars import FitState, bounded_step, keep_physical
from astrogf.inference.newton.sweep import sweep
from astrogf.inference.prior import groups as hyper
from astrogf.inference.prior.widths import GROUP_SD, TOP_SD, Widths
from astrogf.inference.prior.widths import Belief as WidthBelief
from astrogf.inference.problem.noise import OUTLIER_SHARE, OUTLIER_WIDTH
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.parameters import STAR, lsf_sigma, vmic_relation
from astrogf.inference.problem.priors import Belief, star_prior
from astrogf.inference.problem.problem import StarData, StarProblem, predict
from astrogf.inference.problem.setup import prepare, with_free
from astrogf.inference.problem.spectra import Noise, Sample, WindowSpectra, quiet
from astrogf.synthesis.lines.linelist import QUALITY, LineList
from astrogf.synthesis.observed.grid import Grid

OPTIONS = FitOptions().changed(
    model={"oversampling": 16, "depths": 20, "molecules": False, "line_cut": 1e-2, "single": True},
    continuum={"degree": 2},
    noise={"inflation": 0.0},
    solver={"chunk": 8},
    stars={
        "teff_prior": (5300.0, 400.0),
        "logg_prior": (3.8, 0.5),
        "feh_prior": (-0.2, 0.25),
        "alpha_prior": (0.1, 0.08),
        "rv_sd": 30.0,
    },
)
"""Coarse and quick. The priors keep stars where the emulator and the lines are: FGK."""


@dataclass(frozen=True)
class Small:
    """A problem without data: everything that all draws from its prior share."""

    problem: StarProblem
    groups: hyper.Groups
    options: FitOptions
    n_star: int
    wavelength: Float[np.ndarray, " pixel"]
    lines: LineList
    free: Int[np.ndarray, " line"]

    @property
    def n_line(self) -> int:
        """Free corrections."""
        return len(self.groups.member)

    def sample(self, data: StarData) -> Sample:
        """As many stars as there are data, a spectrum each."""
        return sample_of(self.problem, data, self.options)

    def quiet(self, n_star: int | None = None) -> Noise:
        """Errors as the data state them."""
        n = self.n_star if n_star is None else n_star
        return quiet(self.sample(StarData(jnp.ones((n, 1)), jnp.ones((n, 1)))))


def sample_of(problem: StarProblem, data: StarData, options: FitOptions) -> Sample:
    """A sample of one window, with the run's own priors."""
    n = data.flux.shape[0]
    return Sample((WindowSpectra(problem, data, np.arange(n), np.zeros(n, int)),), star_prior([Belief()] * n, options))


class Draw(NamedTuple):
    """A truth and its data. `shared`: what the spectra see of every line (u), then the survey's ln_sigma; `loggf`: the
    errors of the list's log gf (delta)."""

    data: StarData
    theta: Float[np.ndarray, "star star_parameter"]
    shared: Float[np.ndarray, " shared"]
    widths: Widths
    loggf: Float[np.ndarray, " line"]


class Fit(NamedTuple):
    """The maximum and the pass linearised there; `posterior` of the shared parameters given the widths in `learned`."""

    theta: Float[Array, "star star_parameter"]
    shared: Float[Array, " shared"]
    passed: Pass
    posterior: hyper.Posterior
    learned: hyper.Learned
    last_step: float
    iterations: int


def build(
    n_star: int = 4,
    n_line: int = 40,
    *,
    first_pixel: int = 37180,
    n_pixel: int = 50,
    kept: int = 300,
    max_ratio: float = 0.9,
    options: FitOptions = OPTIONS,
) -> Small:
    """A problem over `n_pixel` LAMOST pixels with the `kept` strongest lines there, of which the `n_line` transitions
    that the spectra would tell most about are free; fewer, if for fewer the expected posterior / prior sd is below
    `max_ratio`."""
    grid = Grid(first_pixel, n_pixel)
    options = options.changed(lines={"max_lines": n_line, "max_ratio": max_ratio})
    setup = prepare(grid.pixel_wavelength, options)
    strongest = np.sort(np.argsort(-setup.extent.strength)[:kept])
    setup = prepare(grid.pixel_wavelength, options, lines=setup.lines.take(strongest), keep_all=True)
    alone = setup.problem(0)
    labels = np.tile([5300.0, 4.0, -0.2, 0.1], (n_star, 1)) + np.linspace(-1, 1, n_star)[:, None] * [500, 0.3, 0.1, 0]
    sigma = float(lsf_sigma(options.stars.resolution))
    vmic = np.asarray(vmic_relation(labels[:, 0], labels[:, 1]))
    theta = jnp.asarray(np.column_stack([labels, vmic, np.full(n_star, sigma), np.zeros(n_star)]))
    flat = StarData(jnp.ones((n_star, n_pixel)), jnp.full((n_star, n_pixel), 1e4))
    sample = sample_of(alone, flat, options)
    run = FitState(theta, jnp.array([sigma]), quiet(sample))
    setup = replace(setup, row=np.arange(len(setup.lines)))  # the list of this problem is the one in the window
    known = known_lines([setup], setup.lines, sample, run, options)
    chosen = select_lines(known, options)
    lines = setup.lines.take(chosen.leader)
    groups = hyper.make_groups(lines.species(), np.array(QUALITY)[lines.quality])
    options = options.changed(lines={"max_lines": len(chosen.leader)})
    problem = with_free(setup.problem(len(chosen.leader)), chosen.free)
    return Small(problem, groups, options, n_star, grid.pixel_wavelength, setup.lines, chosen.free)


def refined(small: Small, oversampling: int, depths: int) -> StarProblem:
    """The same lines on another grid and other depths: a truth that the fit's own discretisation does not share."""
    options = small.options.changed(model={"oversampling": oversampling, "depths": depths})
    setup = prepare(small.wavelength, options, lines=small.lines, keep_all=True)
    return with_free(setup.problem(small.n_line), small.free)


@eqx.filter_jit
def spectra(problem: StarProblem, theta, delta) -> Float[Array, "star pixel"]:
    """Normalised spectra of all stars."""
    return jax.lax.map(lambda one: predict(problem, one, delta), theta)


def draw_stars(small: Small, rng: np.random.Generator, ln_sigma0: float) -> Float[np.ndarray, "star star_parameter"]:
    """Stars from the prior, the wall at the emulator's hull included (by rejection)."""
    o, problem = small.options, small.problem
    mean, sd = o.stars.prior_mean()[:4], o.stars.prior_sd()[:4]
    labels: list[np.ndarray] = []
    while len(labels) < small.n_star:
        tried = mean + sd * rng.normal(size=(256, 4))
        outside = np.maximum(-np.asarray(margins(problem, tried)), 0.0) / problem.wall
        labels.extend(tried[rng.uniform(size=256) < np.exp(-0.5 * outside**2)])
    kept = np.array(labels[: small.n_star])
    vmic = np.asarray(vmic_relation(kept[:, 0], kept[:, 1])) + o.stars.vmic_sd * rng.normal(size=len(kept))
    sigma = ln_sigma0 + small.options.stars.resolution_scatter * rng.normal(size=len(kept))
    return np.column_stack([kept, vmic, sigma, o.stars.rv_sd * rng.normal(size=len(kept))])


@eqx.filter_jit
def margins(problem: StarProblem, labels) -> Float[Array, " star"]:
    """Signed distances to the emulator's domain."""
    return jax.vmap(lambda one: problem.margin(one))(labels)


def draw(
    small: Small,
    rng: np.random.Generator,
    *,
    snr: float = 80.0,
    widths: Widths | None = None,
    outliers: bool = True,
    truth: StarProblem | None = None,
) -> Draw:
    """A truth from the prior, and spectra of it with the noise that the model assumes.

    `widths` of the groups: drawn from their own prior where none are given. `outliers` False: Gaussian noise only.
    `truth`: another problem to compute the spectra with (`refined`). The continuum is level, 1: its prior is so much
    wider than what the pixels say of it that where in it the truth lies does not matter.
    """
    o, member = small.options, small.groups.member
    if widths is None:
        belief = small.groups.belief(o.lines.model_error)
        place = belief.middle(belief.top + np.array([TOP_SD, np.zeros(4)]) * rng.normal(size=(2, 4)))
        widths = Widths.at(place + GROUP_SD[:, None] * rng.normal(size=place.shape))
    means = small.groups.means(o.lines.model_error)
    mu, nu = means.draw(rng)
    loggf, u = draw_lines(rng, mu, nu, widths, member)
    ln_sigma0 = float(lsf_sigma(o.stars.resolution)) + o.stars.ln_resolution_sd * rng.normal()
    theta = draw_stars(small, rng, ln_sigma0)
    clean = np.asarray(spectra(small.problem if truth is None else truth, jnp.asarray(theta), jnp.asarray(u)))
    sd = np.full(clean.shape, 1.0 / snr)
    wide = (rng.uniform(size=sd.shape) < OUTLIER_SHARE) & outliers
    noisy = clean + sd * np.where(wide, OUTLIER_WIDTH, 1.0) * rng.normal(size=sd.shape)
    data = StarData(jnp.asarray(noisy), jnp.asarray(sd**-2.0))
    return Draw(data, theta, np.append(u, ln_sigma0), widths, loggf)


def draw_lines(
    rng: np.random.Generator,
    mu: Float[np.ndarray, " line"],
    nu: Float[np.ndarray, " line"],
    widths: Widths,
    member: Int[np.ndarray, " line"],
) -> tuple[Float[np.ndarray, " line"], Float[np.ndarray, " line"]]:
    """Errors of the list's log gf, delta, and what the spectra see of them, u, from the prior given its widths."""
    wide = rng.uniform(size=len(member)) < widths.share[member]
    sd = np.sqrt(np.where(wide, widths.listed[1][member], widths.listed[0][member]))
    delta = mu + sd * rng.normal(size=len(member))
    return delta, delta + nu + widths.phi[member] * rng.normal(size=len(member))


def maximise(
    small: Small,
    data: StarData,
    theta: Float[Array, "star star_parameter"],
    shared: Float[Array, " shared"],
    *,
    widths: Widths | None = None,
    iterations: int = 25,
    tolerance: float = 0.01,
) -> Fit:
    """Gauss-Newton to the joint maximum from (theta, shared), with the widths of the prior held, or learned
    where there are none.

    Stops when no parameter moves by more than `tolerance` of its sd; a step that does not improve is taken shorter.
    """
    o = small.options
    prior = SharedPrior.of(small.groups, o)
    learned = hyper.Learned.start(prior.belief, prior.group)
    if widths is not None:
        prior = prior._replace(belief=WidthBelief.known(widths))
        learned = hyper.Learned(prior.belief.centre, prior.belief.top, learned.weight)
    theta, shared = jnp.asarray(theta), jnp.asarray(shared)
    sample = small.sample(data)
    noise = quiet(sample)
    best: tuple | None = None
    moving = True
    shrink, size = 1.0, np.inf
    for it in range(iterations):
        passed = sweep(sample, theta, shared, noise, chunk=o.solver.chunk, keep=("continuum",))
        value = float(jnp.sum(passed.log_posterior)) + prior.log_density(shared, learned)
        if best is None or value >= best[0] - 1e-6 or moving:
            best, shrink = (value, passed, theta, shared), min(1.0, 2.0 * shrink)
        else:
            _, passed, theta, shared = best
            shrink *= 0.3
        before = learned.weight
        learned, posterior = prior.learned(passed.reduced, shared, learned)
        moving = bool(np.any(before != learned.weight))
        whole = posterior.mean - shared
        own = passed.own_step(whole)
        size = float(
            jnp.maximum(
                jnp.max(jnp.abs(whole) / jnp.sqrt(jnp.diag(posterior.covariance))),
                jnp.max(jnp.abs(own / passed.own_sd)[:, : len(STAR)]),
            )
        )
        if size < tolerance or it + 1 == iterations:
            break
        shared = shared + shrink * jnp.clip(whole, -0.5, 0.5)
        theta = keep_physical(theta + shrink * bounded_step(own))
    return Fit(theta, shared, passed, posterior, learned, size, it + 1)
