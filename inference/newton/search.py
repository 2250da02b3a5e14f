"""First labels from a coarse grid of the engine's own spectra: no pipeline's labels are needed."""

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from astrogf.inference.blocks.places import Advance
from astrogf.inference.problem.arrow import inverse_root
from astrogf.inference.problem.collect import Collected
from astrogf.inference.problem.devices import in_chunks, one_by_one, spread, star_mesh
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.parameters import LN_SIGMA, STAR, lsf_sigma, vmic_relation
from astrogf.inference.problem.priors import starting_point
from astrogf.inference.problem.problem import N_SPECTRUM, StarData, StarProblem
from astrogf.inference.problem.spectra import taken
from astrogf.synthesis.observed.instrument import observe, rv_limit

SEARCH_SIGMA = 15.0
"""km/s."""
BLOCK = 30_000_000
"""Numbers of node spectra compared with a star at once."""


class Search(NamedTuple):
    """Best node of every star: its parameters (order of `STAR`) and the chi2 per pixel there.

    `seconds` is what one synthesis took, all devices working (median over chunks, compilation left out).
    """

    theta: Float[np.ndarray, "star star_parameter"]
    chi2: Float[np.ndarray, " star"]
    seconds: float


def label_nodes(problem: StarProblem) -> Float[np.ndarray, "node 5"]:
    """Nodes over the emulator's domain and the part of the HR diagram where FGK stars live.

    Teff every 350 K, log g every 0.8 dex, [Fe/H] every 0.5; [alpha/Fe] and vmic follow their usual relations.
    """
    teff, logg, feh = np.meshgrid(np.arange(3900.0, 7650.0, 350.0), np.arange(0.8, 5.0, 0.8), np.arange(-2.0, 0.6, 0.5))
    teff, logg, feh = (x.ravel() for x in (teff, logg, feh))
    # no star is both hotter and brighter than the supergiants, nor cooler and fainter than the main sequence
    physical = (logg > 1.6e-3 * (teff - 5300.0) + 0.5) & (logg < 5.2)
    teff, logg, feh = teff[physical], logg[physical], feh[physical]
    alpha = np.clip(-0.3 * feh, 0.0, 0.3)
    labels = np.column_stack([teff, logg, feh, alpha])
    inside = np.asarray(jax.vmap(problem.margin)(jnp.asarray(labels))) > 0.0
    return np.column_stack([labels, np.asarray(vmic_relation(teff, logg))])[inside]


def velocities(problem: StarProblem, step: float) -> Float[np.ndarray, " velocity"]:
    """Radial velocities that the padded grid allows, km/s."""
    reach = min(rv_limit(problem.spectrum.grid) * 0.98 - step, 500.0)
    return np.arange(-reach, reach + 0.01 * step, step)


@eqx.filter_jit
def _seen_at(problem: StarProblem, theta, delta, velocity) -> Float[Array, "velocity pixel"]:
    flux = problem.spectrum.normalised(problem.told(theta), problem.shift(theta, delta))
    place = problem.instrument.at(theta)
    return jax.lax.map(lambda rv: problem.instrument.see(flux, place.at[0].set(rv), problem.spectrum.grid), velocity)


def find_velocity(
    problem: StarProblem, data: StarData, theta: Float[np.ndarray, " own"], around: tuple[float, float] | None = None
) -> tuple[float, float]:
    """Radial velocity (km/s) of one spectrum of a star with known labels, and the chi2 per pixel there.

    Two scans: the whole reach of the grid (or `around`: centre and half width) with broadened lines, then the best
    20 km/s with the star's own.
    """
    broad = np.array(theta)
    broad[LN_SIGMA] = max(broad[LN_SIGMA], np.log(SEARCH_SIGMA))
    scan = velocities(problem, min(20.0, 0.5 * np.exp(broad[LN_SIGMA])))
    if around is not None:
        near = np.abs(scan - around[0]) <= max(around[1], scan[1] - scan[0])
        scan = scan[near] if near.any() else scan
    delta = jnp.zeros(problem.n_free)
    best, chi2 = 0.0, np.inf
    for parameters, step in ((broad, None), (np.asarray(theta), 1.0)):
        velocity = scan if step is None else best + np.arange(-20.0, 20.1, step)
        limit = rv_limit(problem.spectrum.grid)
        spectra = _seen_at(problem, jnp.asarray(parameters), delta, jnp.clip(jnp.asarray(velocity), -limit, limit))
        values = np.asarray(_chi2(spectra, data.flux, _softened(data, 0.02), problem.basis))
        best, chi2 = float(velocity[np.argmin(values)]), float(values.min())
    return best, chi2 / max(int(np.sum(np.asarray(data.ivar) > 0)), 1)


def _softened(data: StarData, noise_floor: float) -> Float[Array, " pixel"]:
    """ivar with a share of the level added to the noise."""
    flux, good = data.flux, data.ivar > 0
    floor = noise_floor**2 * jnp.mean(flux) ** 2
    return jnp.where(good, 1.0 / (1.0 / jnp.where(good, data.ivar, 1.0) + floor), 0.0)


@jax.jit
def _chi2(spectra: Float[Array, "node pixel"], flux, ivar, basis):
    """Weighted chi2 of every node with its own best continuum."""
    k = basis.shape[1]
    pairs = (basis[:, :, None] * basis[:, None, :]).reshape(basis.shape[0], k * k)
    normal = ((spectra**2 * ivar) @ pairs).reshape(-1, k, k) + 1e-9 * jnp.eye(k)
    projected = (spectra * (ivar * flux)) @ basis

    def gain(matrix, vector):
        return jnp.sum((inverse_root(matrix) @ vector) ** 2)

    return jnp.sum(ivar * flux**2) - jax.vmap(gain)(normal, projected)


@eqx.filter_jit
def _see(
    common: tuple[StarProblem, Float[Array, " velocity"], Float[Array, ""]], nodes: Float[Array, "node 5"], mesh: Mesh
) -> Float[Array, "node velocity pixel"]:
    """Spectra of nodes at every velocity, broadened by `common`'s ln sigma; nodes are spread over the devices."""

    def one(common, node):
        problem, velocity, ln_sigma = common
        flux = problem.spectrum.normalised(node[:N_SPECTRUM], jnp.zeros(problem.spectrum.n_line))
        return jax.vmap(lambda rv: observe(flux, rv, jnp.exp(ln_sigma), problem.spectrum.grid))(velocity)

    def mine(common, nodes):
        return one_by_one(lambda node: one(common, node), nodes, common[0].spectrum.working_bytes)

    return spread(mine, common, nodes, mesh)


class Nodes(NamedTuple):
    """Spectra of the nodes at all velocities, broadened by `ln_sigma`. `seconds` is what one synthesis took, all
    devices working (median over chunks, compilation left out)."""

    labels: Float[np.ndarray, "node 5"]
    velocity: Float[np.ndarray, " velocity"]
    ln_sigma: float
    spectra: Float[np.ndarray, "place pixel"]
    seconds: float


def node_spectra(
    problem: StarProblem, ln_sigma: float, progress: Callable[[int, int], None] = lambda done, total: None
) -> Nodes:
    """The nodes over a window, seen at no less than SEARCH_SIGMA of broadening, so that velocities need not be
    close."""
    nodes = label_nodes(problem)
    grid = problem.spectrum.grid
    ln_sigma = float(max(ln_sigma, np.log(SEARCH_SIGMA)))
    velocity = velocities(problem, min(20.0, 0.8 * np.exp(ln_sigma)))

    mesh = star_mesh()
    broadening = jnp.asarray(ln_sigma)

    spectra = np.empty((len(nodes), len(velocity), grid.n_pixel), np.float32)
    took, done = [], 0
    for mine, _, keep in in_chunks(nodes, 10, mesh):
        began = time.perf_counter()
        seen = _see((problem, jnp.asarray(velocity), broadening), jnp.asarray(mine), mesh)
        spectra[done : done + keep] = seen[:keep]
        took.append((time.perf_counter() - began) / len(mine))
        done += keep
        progress(done, len(nodes))
    return Nodes(nodes, velocity, ln_sigma, spectra.reshape(-1, grid.n_pixel), float(np.median(took[1:] or took)))


def best_nodes(
    nodes: Nodes, basis: Float[Array | np.ndarray, "pixel basis"], data: StarData, noise_floor: float = 0.02
) -> tuple[Float[np.ndarray, "star star_parameter"], Float[np.ndarray, " star"]]:
    """Parameters (order of `STAR`) of the best node of every spectrum and the chi2 per pixel there. `noise_floor`
    (share of the flux) keeps bright stars from being decided by what a coarse node lacks."""
    n_part = -(-nodes.spectra.size // BLOCK)
    theta, chi2 = [], []
    for flux, ivar in zip(data.flux, data.ivar, strict=True):
        softened = _softened(StarData(flux, ivar), noise_floor)
        values = np.concatenate(
            [np.asarray(_chi2(part, flux, softened, basis)) for part in np.array_split(nodes.spectra, n_part)]
        )
        best = int(np.argmin(values))
        i, j = divmod(best, len(nodes.velocity))
        n_good = max(int(np.sum(ivar > 0)), 1)
        theta.append([*nodes.labels[i], nodes.ln_sigma, float(nodes.velocity[j])])
        chi2.append(values[best] / n_good)
    return np.array(theta).reshape(-1, len(STAR)), np.array(chi2)


def coarse_search(
    problem: StarProblem,
    data: StarData,
    ln_sigma: float,
    *,
    noise_floor: float = 0.02,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Search:
    """Best (labels, rv) of every star among nodes and velocities within the padded grid's reach: see `node_spectra` and
    `best_nodes`."""
    nodes = node_spectra(problem, ln_sigma, progress)
    theta, chi2 = best_nodes(nodes, problem.basis, data, noise_floor)
    return Search(theta, chi2, nodes.seconds)


def _best_of_block(common: tuple[Nodes, np.ndarray], task: tuple, advance: Advance) -> np.ndarray:
    """Of the rows of a block that are searched: `task` is where its data are, the window, and which rows."""
    kept, window, rows = task
    theta, _ = best_nodes(*common, taken(kept.get()[window], rows))
    advance(len(rows))
    return theta


def starting_points(
    collected: Collected, options: FitOptions, progress: Callable[[str, int, int], None]
) -> tuple[Float[np.ndarray, "star own"], float]:
    """Where every star begins, and seconds of a synthesis: anchors at their labels, the others at the best node."""
    sample, beliefs = collected.sample, collected.beliefs
    theta = np.full((sample.n_star, sample.n_own), np.nan)
    theta[:, len(STAR) :] = np.asarray(sample.prior.mean)[:, len(STAR) :]
    seconds = [np.nan]
    n_anchor, done = sum(b.is_anchor for b in beliefs), 0
    for k, window in enumerate(sample.windows):
        anchors = np.array([beliefs[s].is_anchor for s in window.star])
        tasks, stars = [], []
        for part in sample.parts:
            mine = part.rows[k]
            waiting = np.isnan(theta[window.star[mine], 0])
            known = np.flatnonzero(waiting & anchors[mine])
            for row in known:
                data = part.data.get()[k]
                star = window.star[mine[row]]
                theta[star, :7] = starting_point(beliefs[star], options)
                one = StarData(*(x[row] for x in data))
                rv = beliefs[star].labels.get("rv")
                theta[star, 6], _ = find_velocity(window.problem, one, theta[star], (rv[0], 4 * rv[1]) if rv else None)
                done += 1
                progress("velocities of anchors", done, n_anchor)
            rows = np.flatnonzero(waiting & ~anchors[mine])
            if len(rows):
                tasks.append((part.data, k, rows))
                stars.append(window.star[mine[rows]])
        if not tasks:
            continue
        ln_sigma = float(lsf_sigma(options.stars.resolution))
        nodes = node_spectra(window.problem, ln_sigma, partial(progress, "coarse search"))
        common = nodes, np.asarray(window.problem.basis)
        for star, found in zip(stars, sample.work.place.map(_best_of_block, common, tasks), strict=True):
            theta[star, :7] = found
        seconds.append(nodes.seconds)
    return theta, float(np.nanmin(seconds)) if np.isfinite(seconds).any() else np.nan
