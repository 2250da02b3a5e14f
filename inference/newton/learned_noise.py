"""The noise of every release, learned from the residuals of a pass."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from astrogf.inference.newton.sweep import Pass
from astrogf.inference.problem.noise import RAISED, learn_noise
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.spectra import Noise, Sample, WindowSpectra, known_scatter


def own_freedom(sample: Sample, window: WindowSpectra) -> float:
    """Parameters that the pixels of one spectrum determine: its part of the star's own, and the continuum."""
    return sample.n_own * float(np.mean(sample.share[window.star])) + window.problem.basis.shape[1]


def learn(
    sample: Sample,
    passed: Pass,
    options: FitOptions,
    more: float = 0.0,
    local: tuple[Float[Array, "row pixel"], ...] | None = None,
) -> Noise:
    """Noise of every window's releases from the residuals of a pass; `more` freedom is taken by shared parameters.
    `local` factors (`inference.newton.misfit`) are held.

    The scatter of lines is held: learned, it took over what corrections and labels should explain (0.2-0.4 dex in
    LAMOST spectra). What the spectra suggest for it is in the trace.
    """
    noise = []
    factors = [None] * len(sample.windows) if local is None else list(local)
    for p, row, f in zip(sample.windows, passed.rows, factors, strict=True):
        # of deviations that all spectra share, one is the correction
        freedom = own_freedom(sample, p) + more + np.asarray(row.determined) * (1.0 - 1.0 / len(p.star))
        found = learn_noise(p.data.flux, p.data.ivar, jnp.asarray(row.adjusted), p.release, freedom, f)
        scatter = known_scatter(p, np.full(len(p.star), options.noise.line_scatter))
        noise.append(found._replace(scatter=jnp.asarray(scatter)))
    return tuple(noise)


def noise_summary(noise: Noise) -> dict[str, float]:
    """For the trace: medians over the spectra."""
    scale, inflation, scatter = (np.concatenate([np.asarray(n[i]) for n in noise]) for i in range(3))
    misfit = np.concatenate([np.ravel(n.local) for n in noise]) > RAISED
    return {
        "noise_scale": float(np.median(scale)),
        "inflation": float(np.median(inflation)),
        "line_scatter": float(np.median(scatter)),
        "misfit": float(np.mean(misfit)),
    }
