"""A Gaussian process of many quantities of a few coordinates, which is told values, and slopes where there are some.

Covariance: rational quadratic, (1 + s / 2a)^-a with s the squared distance in units of the coordinates' lengths. The
lengths are the most probable ones given some of the points. A point with its slopes tells as much as one point more for
each coordinate, and costs a third of that to compute.
Source: Rasmussen & Williams (2006, Gaussian Processes for Machine Learning), eqs. 2.25, 4.19 and section 9.4.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

SHAPE = 2.0
"""a: lower, and the covariance has more scales in it."""
VALUE_NOISE, SLOPE_NOISE = 1e-8, 1e-7
"""Variance of what is told, of values and of slopes, as a part of the variance of what there is: spectra are good to
1e-5 of the flux."""
LEARNT_FROM = 200
"""Points that the lengths are learned from."""
BLOCK = 64


class Process(NamedTuple):
    """`weight` [point, told, quantity]: of the value told at every point, and of the slopes (1 + coordinate) if they
    were told; points lie at `at`, in units of `length`."""

    at: Float[Array, "point coordinate"]
    length: Float[Array, " coordinate"]
    weight: Float[Array, "point told quantity"]

    def __call__(self, place: Float[Array, " coordinate"]) -> Float[Array, "told quantity"]:
        """Value of every quantity there, and below it its derivatives by the coordinates."""
        blocks = covariances(place / self.length, self.at)
        n_told, n_quantity = self.weight.shape[1:]
        rows = jnp.moveaxis(blocks[:, :, :n_told], 0, 1).reshape(blocks.shape[1], -1)
        told = rows @ self.weight.reshape(-1, n_quantity)
        return told.at[1:].divide(self.length[:, None])


def covariances(
    z: Float[Array, " coordinate"], at: Float[Array, "point coordinate"]
) -> Float[Array, "point told told"]:
    """Between value and slopes at z (second axis) and those at every point (third), coordinates in lengths."""
    d = z - at
    base = 1.0 + jnp.sum(d * d, 1) / (2.0 * SHAPE)
    h = base**-SHAPE
    first = -0.5 * base ** (-SHAPE - 1.0)
    second = (SHAPE + 1.0) / (4.0 * SHAPE) * base ** (-SHAPE - 2.0)
    slope = 2.0 * first[:, None] * d
    both = -2.0 * first[:, None, None] * jnp.eye(d.shape[1]) - 4.0 * second[:, None, None] * d[:, :, None] * d[:, None]
    top = jnp.concatenate([h[:, None, None], -slope[:, None, :]], 2)
    return jnp.concatenate([top, jnp.concatenate([slope[:, :, None], both], 2)], 1)


@partial(jax.jit, static_argnums=2)
def _rows(z: Float[Array, "row coordinate"], at: Float[Array, "point coordinate"], q: int) -> Float[Array, "told told"]:
    """Of what is told at each, `q` numbers: its value, then its slopes if they are."""
    blocks = jax.vmap(covariances, (0, None))(z, at)[:, :, :q, :q]
    n, m, q, _ = blocks.shape
    return blocks.transpose(0, 2, 1, 3).reshape(n * q, m * q)


def _noise(n: int, n_slope: int) -> Float[np.ndarray, " told"]:
    return np.tile(np.append(VALUE_NOISE, np.full(n_slope, SLOPE_NOISE)), n)


def _told(values, slopes, length) -> Float[Array, "told quantity"]:
    """Values [point, quantity] and slopes [point, coordinate, quantity] one after the other, point by point."""
    if slopes is None:
        return jnp.asarray(values)
    return jnp.concatenate([values[:, None], slopes * length[None, :, None]], 1).reshape(-1, values.shape[1])


@jax.jit
def _misfit(ln_length, place, values, slopes, importance, noise) -> Float[Array, ""]:
    """-log likelihood of the lengths, the amplitude of every quantity at its best; mean over quantities."""
    length = jnp.exp(ln_length)
    told = len(noise) // len(place)
    root = jnp.linalg.cholesky(_rows(place / length, place / length, told) + jnp.diag(noise))
    white = solve_triangular(root, _told(values, slopes, length), lower=True)
    score = 0.5 * len(noise) * jnp.log(jnp.mean(white**2, 0)) + jnp.sum(jnp.log(jnp.diag(root)))
    if slopes is not None:
        # they are told in units of the length: so much less likely for it
        score = score - len(place) * jnp.sum(ln_length)
    return jnp.sum(importance * score) / jnp.sum(importance) / len(noise)


def lengths(
    place: Float[np.ndarray, "point coordinate"],
    values: Float[np.ndarray, "point quantity"],
    slopes: Float[np.ndarray, "point coordinate quantity"] | None,
    importance: Float[np.ndarray, " quantity"],
) -> Float[np.ndarray, " coordinate"]:
    """The most probable length of every coordinate, given the first `LEARNT_FROM` points."""
    some = slice(0, LEARNT_FROM)
    args = jnp.asarray(place[some]), jnp.asarray(values[some]), None if slopes is None else jnp.asarray(slopes[some])
    last = jnp.asarray(importance), jnp.asarray(_noise(len(args[0]), 0 if slopes is None else place.shape[1]))
    value_and_slope = jax.value_and_grad(_misfit)

    def score(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = value_and_slope(jnp.asarray(x), *args, *last)
        return (float(value), np.asarray(slope)) if np.isfinite(value) else (1e10, np.zeros(len(x)))

    start = np.log(np.std(place, axis=0) * 1.5)
    within = [(x - 3.0, x + 3.0) for x in start]
    found = minimize(score, start, jac=True, method="L-BFGS-B", bounds=within, options={"maxiter": 30})
    return np.exp(found.x)


def fit_process(
    place: Float[np.ndarray, "point coordinate"],
    values: Float[np.ndarray, "point quantity"],
    slopes: Float[np.ndarray, "point coordinate quantity"] | None,
    importance: Float[np.ndarray, " quantity"],
) -> Process:
    """The process through values and slopes (by the coordinates; None where they are not known); the lengths are those
    of the quantities that matter, by `importance`. Takes memory of 8 bytes times the square of what is told: points
    times (1 + coordinates)."""
    n, q = len(place), 0 if slopes is None else place.shape[1]
    length = lengths(place, values, slopes, importance)
    at = place / length
    whole = np.empty((n * (q + 1), n * (q + 1)))
    for first in range(0, n, BLOCK):
        part = np.asarray(_rows(jnp.asarray(at[first : first + BLOCK]), jnp.asarray(at), q + 1))
        whole[first * (q + 1) : first * (q + 1) + len(part)] = part
    whole[np.diag_indices(len(whole))] += _noise(n, q)
    factor = cho_factor(whole, lower=True, overwrite_a=True, check_finite=False)
    weight = cho_solve(factor, np.asarray(_told(values, slopes, length)), check_finite=False)
    return Process(jnp.asarray(at), jnp.asarray(length), jnp.asarray(weight.reshape(n, q + 1, -1)))
