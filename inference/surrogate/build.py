"""A surrogate made from spectra of the exact model, and tried on others that it was not made from."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from astrogf import base, emulator, synthesis
from astrogf.base.kept import content_of, digest
from astrogf.inference.problem.devices import in_chunks, star_mesh
from astrogf.inference.problem.parameters import STAR
from astrogf.inference.problem.problem import N_SPECTRUM, StarProblem
from astrogf.inference.problem.responses import responses
from astrogf.inference.problem.setup import Setup
from astrogf.inference.surrogate.abundances import Abundances, coefficients, fit_abundances, steps_of
from astrogf.inference.surrogate.coarse import Coarse
from astrogf.inference.surrogate.compositions import by_composition, coarse_slopes
from astrogf.inference.surrogate.domain import Domain
from astrogf.inference.surrogate.model import Surrogate, box, by_parameter, coordinates
from astrogf.inference.surrogate.process import fit_process

Progress = Callable[[str, int, int], None]
POINTS = 896
"""Stars whose spectra a surrogate is made from."""
TRIED_ON = 64
"""Others that it is tried on."""
TRUNCATED = 5e-5
"""rms of the flux that the components may leave."""
SEED = 1


class Spectra(NamedTuple):
    """Stars, their spectra on coarse points and the derivatives of these by the parameters: (teff, logg, feh, alpha,
    vmic), and where there are some the shifts of compositions or abundances, dex."""

    parameters: Float[np.ndarray, "star told"]
    flux: Float[np.ndarray, "star point"]
    slopes: Float[np.ndarray, "star point told"]


class Trial(NamedTuple):
    """Surrogate minus exact model of stars that it was not made from: rms over the points of every star's spectrum, in
    units of the continuum, and of its derivatives, in units of theirs. `parameters`: (teff, logg, feh, alpha, vmic),
    and abundances drawn from their prior."""

    parameters: Float[np.ndarray, "star told"]
    flux: Float[np.ndarray, " star"]
    slopes: Float[np.ndarray, "star told"]


@eqx.filter_jit
def _coarsened(coarse: Coarse, flux: Array, slopes: Array) -> Array:
    columns = jnp.concatenate([flux[:, :, None], slopes], 2)
    return jax.lax.map(coarse.coarsen, columns)


def spectra_of(
    problem: StarProblem,
    delta: Float[np.ndarray, " free"],
    parameters: Float[np.ndarray, "star told"],
    coarse: Coarse,
    chunk: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Spectra:
    """Spectra of the exact model with the corrections `delta`. The program is that of every fit.

    Parameters beyond the labels are shifts of the compositions, of a problem of `by_composition`.
    """
    mesh, rows = star_mesh(), []
    for mine, _, keep in in_chunks(parameters, chunk, mesh):
        theta = np.zeros((len(mine), len(STAR) + mine.shape[1] - N_SPECTRUM))
        theta[:, :N_SPECTRUM], theta[:, len(STAR) :] = mine[:, :N_SPECTRUM], mine[:, N_SPECTRUM:]
        moved = np.broadcast_to(delta, (len(mine), len(delta)))
        at = responses(problem, theta, moved, mesh)
        parts = [np.asarray(_coarsened(coarse, at.flux, at.by_parameter))]
        if mine.shape[1] > N_SPECTRUM:
            parts.append(np.asarray(coarse_slopes(problem, coarse, (theta, moved, at), mesh)))
        rows.append(np.concatenate(parts, axis=2)[:keep])
        progress(sum(map(len, rows)), len(parameters))
    columns = np.concatenate(rows)
    return Spectra(parameters, columns[:, :, 0], columns[:, :, 1:])


def build(problem: StarProblem, told: Spectra, coarse: Coarse, domain: Domain) -> Surrogate:
    """A surrogate, of labels alone, through these spectra; rows that are not finite are left out."""
    good = np.isfinite(told.flux).all(1) & np.isfinite(told.slopes).all((1, 2))
    parameters, flux, slopes = told.parameters[good, :N_SPECTRUM], told.flux[good], told.slopes[good, :, :N_SPECTRUM]
    mean = flux.mean(0)
    _, size, across = np.linalg.svd(flux - mean, full_matrices=False)
    left = np.sqrt(np.maximum(np.cumsum(size[::-1] ** 2)[::-1], 0.0) / flux.size)
    components = across[: max(1, int(np.sum(left > TRUNCATED)))]
    place = np.asarray(coordinates(jnp.asarray(parameters)))
    values = (flux - mean) @ components.T
    by_coordinate = slopes / np.asarray(by_parameter(jnp.asarray(parameters)))[:, None, :]
    told_slopes = np.einsum("spc,kp->sck", by_coordinate, components)
    process = fit_process(place, values, told_slopes, np.sqrt(size[: len(components)]))
    low, high = box(domain, parameters)
    return Surrogate(
        problem.spectrum.atmosphere, process, jnp.asarray(mean), jnp.asarray(components), jnp.asarray(low),
        jnp.asarray(high), coarse.grid,
    )  # fmt: skip


@eqx.filter_jit
def _both(surrogate: Surrogate, parameters: Array) -> tuple[Array, Array]:
    return jax.lax.map(surrogate.both, parameters)


def tried(surrogate: Surrogate, exact: Spectra) -> Trial:
    """What the surrogate gets wrong of spectra that it was not made from."""
    flux, slopes = (np.asarray(x) for x in _both(surrogate, jnp.asarray(exact.parameters)))
    size = np.sqrt(np.mean(exact.slopes**2, axis=1))
    wrong = np.sqrt(np.mean((slopes - exact.slopes) ** 2, axis=1)) / np.where(size > 0.0, size, 1.0)
    return Trial(exact.parameters, np.sqrt(np.mean((flux - exact.flux) ** 2, axis=1)), wrong)


def build_abundances(
    here: Spectra,
    moved: Spectra,
    atoms: Float[np.ndarray, "composition element"],
    step: Float[np.ndarray, " composition"],
) -> Abundances | None:
    """What abundances add, through the derivatives of the same stars without a shift and with a step of every
    composition at once; rows that are not finite are left out."""
    first, second = (np.moveaxis(x.slopes[:, :, N_SPECTRUM:], 2, 1) for x in (here, moved))
    good = np.isfinite(first + second).all((1, 2))
    place = np.asarray(coordinates(jnp.asarray(here.parameters[good, :N_SPECTRUM])))
    return fit_abundances(place, coefficients(step, first[good], second[good]), atoms, step)


def built(
    problem: StarProblem,
    delta: Float[np.ndarray, " free"],
    coarse: Coarse,
    domain: Domain,
    chunk: int,
    points: int = POINTS,
    progress: Progress = lambda *_: None,
    tried_on: int = TRIED_ON,
) -> tuple[Surrogate, Trial]:
    """A surrogate of the problem at the corrections `delta`, made and tried."""
    atmosphere = problem.spectrum.atmosphere
    labels, others = (domain.draw(n, atmosphere, seed) for n, seed in ((points, SEED), (tried_on, SEED + 1)))
    own = domain.draw_abundances(tried_on, problem.membership.shape[1], SEED)
    split, atoms = by_composition(problem)
    step = steps_of(atoms, domain.abundance_sd)
    total, done = (1 + bool(len(atoms))) * points + tried_on, 0

    def spectra(labels: Float[np.ndarray, "star 5"], shift: Float[np.ndarray, "*star composition"]) -> Spectra:
        nonlocal done
        parameters, before = np.column_stack([labels, np.broadcast_to(shift, (len(labels), len(atoms)))]), done
        done += len(labels)
        return spectra_of(
            split, delta, parameters, coarse, chunk,
            lambda now, _: progress("spectra for the surrogate", before + now, total),
        )  # fmt: skip

    here = spectra(labels, np.zeros(len(atoms)))
    surrogate = build(problem, here, coarse, domain)
    if len(atoms):
        surrogate = replace(surrogate, abundances=build_abundances(here, spectra(labels, step), atoms, step))
    exact = spectra(others, own @ atoms.T)
    by_own = exact.slopes[:, :, N_SPECTRUM:] @ atoms
    slopes = np.concatenate([exact.slopes[:, :, :N_SPECTRUM], by_own], axis=2)
    return surrogate, tried(surrogate, Spectra(np.column_stack([others, own]), exact.flux, slopes))


MADE_WITH = ("abundances", "build", "coarse", "compositions", "domain", "model", "process")
"""Modules of this folder that a surrogate follows from."""


@cache
def _made_with() -> str:
    mine = [Path(__file__).with_name(f"{name}.py").read_bytes() for name in MADE_WITH]
    return digest(mine, content_of(*(Path(room.__file__ or "").parent for room in (base, emulator, synthesis))))


def made_from(
    setup: Setup, problem: StarProblem, delta: Float[np.ndarray, " free"], coarse: Coarse, points: int
) -> str:
    """Name of all that a surrogate of this problem follows from: another content has another name."""
    options, lines = setup.options, list(setup.lines)
    stars: list[Any] = [options.stars.teff_range, options.stars.vmic_sd]
    stars += [options.stars.abundances, options.stars.abundance_sd]
    stars += [getattr(options.stars, f"{name}_prior") for name in ("teff", "logg", "feh", "alpha")]
    moved: list[Any] = [np.asarray(delta), np.asarray(problem.slot), np.asarray(problem.membership)]
    if problem.steepness is not None:
        moved += [problem.steady_at, np.asarray(problem.steepness)]
    return digest(lines, list(setup.extent), *moved, repr(coarse), stars, points, repr(options.model), _made_with())
