"""The noise of every release, learned from the residuals of a pass."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from astrogf.inference.blocks.places import Advance
from astrogf.inference.blocks.shelf import Kept
from astrogf.inference.newton.passed import Pass
from astrogf.inference.problem.noise import RAISED, AtRest, NoiseModel, most_probable, noise_scores
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.spectra import Noise, Sample, WindowSpectra, known_scatter


def own_freedom(sample: Sample, window: WindowSpectra) -> float:
    """Parameters that the pixels of one spectrum determine: its part of the star's own, and the continuum."""
    return sample.n_own * float(np.mean(sample.share[window.star])) + window.problem.basis.shape[1]


class _Residuals(NamedTuple):
    """Of a block: data and terms of a pass, and of each window's rows the release, the freedom but for deviations, the
    part of a deviation that is not the correction, and the held factors."""

    data: Kept
    terms: Kept
    release: tuple[np.ndarray, ...]
    freedom: tuple[float, ...]
    own: tuple[float, ...]
    local: tuple[np.ndarray | AtRest, ...]
    n_release: tuple[int, ...]


def _scores(common: None, task: _Residuals, advance: Advance) -> list[Float[np.ndarray, "release pair"] | float]:
    """Of every window: `noise_scores` of a block, 0 where it has no spectra."""
    data, terms = task.data.get(), task.terms.get()
    found: list[Any] = []
    for k, row in enumerate(terms.rows):
        if row is None:
            found.append(0.0)
            continue
        # of deviations that all spectra share, one is the correction
        freedom = task.freedom[k] + row.determined * task.own[k]
        factors = np.asarray(task.local[k])
        found.append(
            noise_scores(data[k].flux, data[k].ivar, row.adjusted, task.release[k], freedom, factors, task.n_release[k])
        )
    return found


def learn(
    sample: Sample,
    passed: Pass,
    options: FitOptions,
    more: float = 0.0,
    local: tuple[Any, ...] | None = None,
) -> Noise:
    """Noise of every window's releases from the residuals of a pass; `more` freedom is taken by shared parameters.
    `local` factors (`inference.newton.misfit`) are held.

    The scatter of lines is held: learned, it took over what corrections and labels should explain (0.2-0.4 dex in
    LAMOST spectra). What the spectra suggest for it is in the trace.
    """
    windows = sample.windows
    held: list[Any] = [np.ones((len(w.star), 1)) for w in windows]
    if local is not None:
        held = [x if isinstance(x, AtRest) else np.asarray(x) for x in local]
    same = (
        tuple(own_freedom(sample, w) + more for w in windows),
        tuple(1.0 - 1.0 / len(w.star) for w in windows),
    )
    n_release = tuple(int(w.release.max()) + 1 for w in windows)
    tasks = []
    for part, terms in zip(sample.parts, passed.blocks, strict=True):
        release = tuple(w.release[rows] for w, rows in zip(windows, part.rows, strict=True))
        factors = tuple(x[rows] for x, rows in zip(held, part.rows, strict=True))
        tasks.append(_Residuals(part.data, terms, release, *same, factors, n_release))
    total: list[Any] = [0.0] * len(windows)
    for found in sample.work.place.map(_scores, None, tasks):
        total = [a + b for a, b in zip(total, found, strict=True)]
    noise = []
    for w, score, f in zip(windows, total, held, strict=True):
        scale, inflation = most_probable(score)[w.release].T
        scatter = known_scatter(w, np.full(len(w.star), options.noise.line_scatter))
        of_rows = NoiseModel(jnp.asarray(scale), jnp.asarray(inflation), jnp.asarray(scatter))
        noise.append(of_rows._replace(local=f if isinstance(f, AtRest) else jnp.asarray(f)))
    return tuple(noise)


def noise_summary(noise: Noise) -> dict[str, float]:
    """For the trace: medians over the spectra."""
    scale, inflation, scatter = (np.concatenate([np.asarray(n[i]) for n in noise]) for i in range(3))
    raised = [n.local.raised() if isinstance(n.local, AtRest) else np.sum(n.local > RAISED) for n in noise]
    of = [len(n.local) * (n.local.n_pixel if isinstance(n.local, AtRest) else n.local.shape[1]) for n in noise]
    return {
        "noise_scale": float(np.median(scale)),
        "inflation": float(np.median(inflation)),
        "line_scatter": float(np.median(scatter)),
        "misfit": float(np.sum(raised) / np.sum(of)),
    }
