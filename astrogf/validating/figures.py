"""The pictures of `astrogf validate-emulator`."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from astrogf.style import LABEL_TEXT, OBSERVED, SPECIES_COLOURS, WIDE, finish, paper

QUANTITIES = ("rhox", "t", "p", "xne", "abross", "accrad")
TITLES = {"rhox": "RHOX", "t": "T", "p": "P", "xne": "XNE", "abross": "ABROSS", "accrad": "ACCRAD"}
SYMBOLS = {"teff": r"$T_\mathrm{eff}$", "logg": r"$\log g$", "feh": "[Fe/H]", "alpha": r"[$\alpha$/Fe]"}


def _miss(emulated: np.ndarray, truth: np.ndarray, i: int) -> np.ndarray:
    apart = np.abs(emulated[:, i] - truth[:, i])
    return 100 * np.expm1(apart) if QUANTITIES[i] == "t" else apart / np.log(10)


def _unit(q: str) -> str:
    return "%" if q == "t" else "dex"


def by_depth(
    emulated: dict[str, Float[np.ndarray, "deck 6 depth"]],
    truth: Float[np.ndarray, "deck 6 depth"],
    log_tau: Float[np.ndarray, " depth"],
) -> Figure:
    """Median (line) and 95th percentile (thin dashes) of the absolute error at each depth, one panel a quantity."""
    with paper():
        figure, axes = plt.subplots(2, 3, figsize=(WIDE, 4.2), sharex=True)
        for i, (q, ax) in enumerate(zip(QUANTITIES, axes.flat, strict=True)):
            for (name, values), colour in zip(emulated.items(), _colours(len(emulated)), strict=True):
                miss = _miss(values, truth, i)
                ax.semilogy(log_tau, np.median(miss, axis=0), color=colour, label=name, lw=1.3)
                ax.semilogy(log_tau, np.percentile(miss, 95, axis=0), color=colour, lw=0.6, ls="--")
            ax.set_title(f"{TITLES[q]} ({_unit(q)})")
        for ax in axes[1]:
            ax.set_xlabel(r"$\log\tau_\mathrm{Ross}$")
        for ax in axes[:, 0]:
            ax.set_ylabel("absolute error")
        handles, names = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=min(6, len(names)))
        return finish(figure)


def over_hr(
    emulated: Float[np.ndarray, "deck 6 depth"],
    truth: Float[np.ndarray, "deck 6 depth"],
    labels: Float[np.ndarray, "deck 4"],
    name: str,
) -> Figure:
    """Median absolute error of all decks and depths at each place of the Hertzsprung-Russell diagram."""
    places, at = np.unique(labels[:, :2], axis=0, return_inverse=True)
    at = at.reshape(-1)
    with paper():
        figure, axes = plt.subplots(2, 3, figsize=(WIDE, 4.6), sharex=True, sharey=True)
        for i, (q, ax) in enumerate(zip(QUANTITIES, axes.flat, strict=True)):
            miss = np.median(_miss(emulated, truth, i), axis=1)
            value = np.array([np.median(miss[at == j]) for j in range(len(places))])
            floor = max(value.min(), value.max() / 100)
            norm = LogNorm(floor, value.max() * 1.0001)
            style: dict[str, Any] = {"s": 17, "marker": "s", "cmap": "cividis", "lw": 0}
            dots = ax.scatter(*places.T, c=np.maximum(value, floor), norm=norm, **style)
            bar = figure.colorbar(dots, ax=ax, pad=0.02, aspect=25)
            bar.ax.tick_params(labelsize=7, which="both")
            ax.set_title(f"{TITLES[q]} ({_unit(q)})")
        axes[0, 0].invert_xaxis()
        axes[0, 0].invert_yaxis()
        for ax in axes[1]:
            ax.set_xlabel(LABEL_TEXT["teff"])
        for ax in axes[:, 0]:
            ax.set_ylabel(LABEL_TEXT["logg"])
        figure.suptitle(f"Median absolute error of {name}, {len(labels)} decks", fontsize=9, x=0.01, ha="left")
        return finish(figure)


def derivatives(tables: dict[str, dict[str, Any]]) -> Figure:
    """rms error of each label derivative, relative to its rms, one panel a label."""
    names = list(tables)
    with paper():
        figure, axes = plt.subplots(1, 4, figsize=(WIDE, 2.5), sharey=True)
        for ax, (label, text) in zip(axes, SYMBOLS.items(), strict=True):
            for j, (name, colour) in enumerate(zip(names, _colours(len(names)), strict=True)):
                rows = [tables[name][label].get(q, {}).get("all") for q in QUANTITIES]
                x = np.arange(len(QUANTITIES)) + (j - (len(names) - 1) / 2) * 0.8 / len(names)
                y = [np.nan if r is None else 100 * r for r in rows]
                ax.plot(x, y, "o", ms=3.2, color=colour, label=name)
            ax.axhline(3.0, color=OBSERVED, lw=0.6, ls=":")
            ax.set_yscale("log")
            ax.set_xticks(range(len(QUANTITIES)), [TITLES[q] for q in QUANTITIES], rotation=60, ha="right", fontsize=7)
            ax.set_title(f"with {text}, {tables[names[0]][label]['pairs']} pairs")
        axes[0].set_ylabel("rms error of the derivative (%)")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=min(6, len(names)))
        return finish(figure)


def _colours(count: int) -> list[Any]:
    """The palette of the runs' pictures, and shades of grey where it ends."""
    more = [str(g) for g in np.linspace(0.25, 0.75, max(1, count - len(SPECIES_COLOURS)))]
    return [*SPECIES_COLOURS, *more][:count]
