"""The picture of `astrogf compare`."""

import matplotlib.pyplot as plt
import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from astrogf.comparing.judge import OUTLIER, Compared, statistics
from astrogf.style import CORRECTED, OBSERVED, ORIGINAL, QUIET, WIDE, finish, paper


def against_reference(lines: Table, pairs: Compared, ratio: float) -> Figure:
    """Log gf minus reference before and after the corrections, and the histogram of z.

    Lines whose posterior / prior is below `ratio` in colour; with none below, the histogram is of all lines.
    """
    sharp = pairs.ratio < ratio
    value = np.asarray(lines["reference"])
    with paper():
        figure, (left, middle, right) = plt.subplots(1, 3, figsize=(WIDE, 2.9), width_ratios=(1.15, 1.15, 1))
        top = 1.05 * max(1.0, float(np.percentile(np.abs([pairs.before, pairs.after]), 99)))
        for ax, difference, colour, title in (
            (left, pairs.before, ORIGINAL, "list"),
            (middle, pairs.after, CORRECTED, "inferred"),
        ):
            _scatter(ax, value, np.clip(difference, -top, top), sharp, colour)
            s = statistics(difference[sharp], np.ones(int(sharp.sum())))
            note = f": σ = {s['robust_sigma']:.2f}, {s['outliers']:.0%} beyond" if s["n"] > 1 else ""
            ax.set(title=f"{title}{note}", xlabel="reference log gf", ylim=(-1.05 * top, 1.05 * top))
        left.set_ylabel("log gf − reference (dex)")
        middle.sharey(left)
        middle.tick_params(labelleft=False)
        shown = sharp if sharp.any() else np.ones(len(sharp), bool)
        _histogram(right, (pairs.after / pairs.after_sd)[shown])
        right.set_title(f"ratio < {ratio:g}" if sharp.any() else "all lines")
    return finish(figure)


def _scatter(ax: Axes, value: np.ndarray, difference: np.ndarray, sharp: np.ndarray, colour: str) -> None:
    ax.axhline(0, color=OBSERVED, lw=0.6)
    for edge in (-OUTLIER, OUTLIER):
        ax.axhline(edge, color=OBSERVED, lw=0.5, ls=":")
    ax.plot(value[~sharp], difference[~sharp], ".", ms=2.5, color=QUIET, alpha=0.5)
    ax.plot(value[sharp], difference[sharp], ".", ms=3.5, color=colour)


def _histogram(ax: Axes, z: np.ndarray) -> None:
    edges = np.linspace(-5, 5, 31).tolist()
    ax.hist(np.clip(z, -4.999, 4.999), edges, density=True, color=CORRECTED, alpha=0.7)
    x = np.linspace(-5, 5, 201)
    ax.plot(x, np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi), color=OBSERVED, lw=0.9)
    ax.set(xlabel="(inferred − reference) / sd", xlim=(-5, 5))
