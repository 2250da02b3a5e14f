"""Laplace's Gaussian with its mean brought from the posterior's maximum nearer to the posterior's mean.

A skewed posterior has its mean elsewhere than its maximum, to lowest order by Sigma (d^3 log p : Sigma) / 2 (Tierney,
Kass & Kadane 1989, JASA 84, 710). No third derivative is needed: where q is a Gaussian at m with covariance Sigma, the
mean over q of the gradient of log p is (d^3 log p : Sigma) / 2 at the maximum, and vanishes where KL(q, p) is least in
m. In white coordinates a step to there is that mean gradient itself. Draws come in antithetic pairs, so that all odd
terms, the Gaussian's own among them, cancel pair by pair.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from astrogf.inference.solvers.gaussian import ArrowGaussian
from astrogf.inference.solvers.nuts import Density, Solution, laplace

NOISE = 0.1
"""Largest standard error of a mean, in sd, that passes for converged."""


def recentred(density: Density, start: ArrowGaussian, key: Array, *, pairs: int = 512, rounds: int = 2) -> Solution:
    """`start` with its mean shifted in `rounds` steps, each of `pairs` antithetic pairs of gradients.

    Status says when the shift's standard error is above `NOISE` sd in any white coordinate, or when no gradient was
    finite, in which case the start comes back as it was. Diagnostics: that error,
    `shift_max` (white coordinates, sd), pairs without a finite gradient, seconds.
    """
    n, shape = len(start.mean), start.own_mean.shape
    size = n + shape[0] * shape[1]

    def value(white, offset):
        z, w = white[:n] + offset[:n], (white[n:] + offset[n:]).reshape(shape)
        return sum(density(*start.place(z, w)))

    @jax.jit
    def slopes(key, offset):
        def pair(key):
            e = jax.random.normal(key, (size,))
            return 0.5 * (jax.grad(value)(e, offset) + jax.grad(value)(-e, offset))

        return jax.lax.map(pair, jax.random.split(key, pairs))

    began = time.perf_counter()
    offset, error, lost = jnp.zeros(size), 0.0, 0
    for one in jax.random.split(key, rounds):
        gradients = np.asarray(slopes(one, offset))
        good = np.isfinite(gradients).all(axis=1)
        lost += int(np.sum(~good))
        gradients = gradients[good]
        if len(gradients) < 2:
            return laplace(start, "no draw has a finite gradient: the start is too far from the posterior")
        error = float(np.max(np.std(gradients, axis=0, ddof=1)) / np.sqrt(len(gradients)))
        offset = offset + gradients.mean(axis=0)
    shared, own = start.place(offset[:n], offset[n:].reshape(shape))
    status = "converged" if error < NOISE else f"means known to {error:.2f} sd only: take more pairs"
    diagnostics = {
        "error": error, "shift_max": float(jnp.max(jnp.abs(offset))), "not_finite": lost, "pairs": pairs,
        "seconds": time.perf_counter() - began,
    }  # fmt: skip
    return laplace(start._replace(mean=shared, own_mean=own), status)._replace(diagnostics=diagnostics)
