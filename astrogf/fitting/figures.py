"""The pictures of a run, one function each. All take a `runs.Run` and return a matplotlib Figure."""

import re
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float, Int, Shaped
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter

from astrogf.runs.run import Run
from astrogf.runs.spectra import Spectra
from astrogf.runs.summary import COMPARED, informed, label_difference
from astrogf.runs.tables import floats
from astrogf.style import CORRECTED, HALF, LABEL_TEXT, OBSERVED, ORIGINAL, QUIET, SPECIES_COLOURS, WIDE, finish


def typical_stars(run: Run, count: int = 6) -> list[int]:
    """Rows of `run.used` that span the temperatures, in each stretch the star of median S/N."""
    used = run.used
    by_teff = np.argsort(floats(used["teff"]))
    chosen = []
    for part in np.array_split(by_teff, min(count, len(by_teff))):
        quality = floats(used["snr"])[part] if "snr" in used.colnames else np.arange(len(part))
        chosen.append(int(part[np.argsort(quality)[len(part) // 2]]))
    return chosen


EXTREMES = 3
"""Worst and best spectra that are shown."""


class Chosen(NamedTuple):
    """A star of the report: its row in `used`, and why it is shown."""

    row: int
    why: str


def chosen(run: Run) -> list[Chosen]:
    """Stars that span the temperatures, then those that the corrected list fits worst and best; each once."""
    chi2 = floats(run.used["chi2_per_pixel_corrected"])
    order: Int[np.ndarray, " star"] = np.argsort(np.where(np.isfinite(chi2), chi2, -np.inf))
    named = [Chosen(row, "spans the temperatures") for row in typical_stars(run)]
    named += [Chosen(int(row), "among the worst fits") for row in order[::-1][:EXTREMES]]
    named += [Chosen(int(row), "among the best fits") for row in order[:EXTREMES]]
    seen: set[int] = set()
    return [one for one in named if not (one.row in seen or seen.add(one.row))]  # type: ignore[func-returns-value]


def spectrum(run: Run, star: int) -> Figure:
    """One star: observation and both models, continuum-shaped scale removed, and the residuals in noise units.

    Of more than LEGIBLE pixels, the part where the correction changes most.
    """
    row = run.used[star]
    s = of_one(excerpt(run.spectra_of(slice(star, star + 1)), 0))
    good = np.isfinite(s.sigma) & (s.ivar > 0)
    scale = np.percentile(s.flux[good], 95) if good.any() else 1.0

    def shown(values: np.ndarray) -> np.ndarray:
        return np.where(good, values, np.nan)

    figure, (top, bottom) = plt.subplots(2, 1, figsize=(WIDE, 3.2), sharex=True, height_ratios=(2.4, 1))
    top.step(s.wavelength, shown(s.flux / scale), where="mid", color=OBSERVED, lw=0.9, label="observed")
    top.plot(s.wavelength, s.model_original / scale, color=ORIGINAL, lw=0.9, label="original list")
    top.plot(s.wavelength, s.model_corrected / scale, color=CORRECTED, lw=0.9, label="corrected list")
    low = np.nanmin(shown(s.flux / scale)) if good.any() else 0.0
    top.set(ylabel="relative flux", ylim=(max(0.0, low - 0.06), np.nanmax(shown(s.flux / scale)) + 0.05))
    top.set_title(_caption(run, row), pad=17)
    top.legend(loc="lower left", bbox_to_anchor=(-0.01, 0.985), ncols=3, borderaxespad=0, handlelength=1.4)
    top.text(1.0, 1.02, _quality(row), transform=top.transAxes, ha="right", va="bottom", fontsize=8)
    for model, colour in ((s.model_original, ORIGINAL), (s.model_corrected, CORRECTED)):
        bottom.plot(s.wavelength, shown((s.flux - model) / s.sigma), color=colour, lw=0.8)
    bottom.axhline(0, color=OBSERVED, lw=0.6)
    worst = np.nanpercentile(np.abs(shown((s.flux - s.model_original) / s.sigma)), 99.5)
    reach = max(4.0, float(worst) * 1.1) if np.isfinite(worst) else 4.0
    bottom.set(xlabel="vacuum wavelength (Å)", ylabel="residual / σ", ylim=(-reach, reach))
    bottom.set_xlim(s.wavelength[0], s.wavelength[-1])
    figure.align_ylabels()
    return finish(figure)


LEGIBLE = 1500
"""Pixels of a spectrum that can be told apart in a picture."""


def excerpt(s: Spectra, star: int, most: int = LEGIBLE) -> Spectra:
    """The pixels to show: those of one window, and of it no more than `most`; elsewhere everything."""
    step = np.diff(s.wavelength)
    starts = np.append(0, np.flatnonzero((step > 20 * np.median(step)) | (step <= 0)) + 1)
    if len(starts) == 1 and len(s.wavelength) <= most:
        return s
    used = np.isfinite(s.sigma[star])
    change = np.where(used, np.abs(s.model_original[star] - s.model_corrected[star]), 0.0)
    best = (-1.0, 0, 0)
    for first, last in zip(starts, np.append(starts[1:], len(s.wavelength)), strict=True):
        width = min(most, last - first)
        total = np.concatenate([[0.0], np.cumsum(np.nan_to_num(change[first:last]))])
        gain = total[width:] - total[:-width]
        at = int(np.argmax(gain))
        best = max(best, (float(gain[at]), first + at, first + at + width))
    keep = slice(best[1], best[2])
    return Spectra(*(x[..., keep] for x in s))


def of_one(s: Spectra) -> Spectra:
    """Those of one star, as arrays of its pixels."""
    return Spectra(*(x if x.ndim == 1 else x[0] for x in s))


def _caption(run: Run, row) -> str:
    parts = [
        f"$T_\\mathrm{{eff}}$ = {row['teff']:.0f} K",
        f"$\\log g$ = {row['logg']:.2f}",
        f"[Fe/H] = {row['feh']:+.2f}".replace("-", "−"),
    ]
    if "snr" in run.used.colnames:
        parts.append(f"S/N = {row['snr']:.0f}")
    return f"{row['path']}     " + "   ".join(parts)


def _quality(row) -> str:
    original, corrected = row["chi2_per_pixel_original"], row["chi2_per_pixel_corrected"]
    return f"χ² per pixel {original:.2f} → {corrected:.2f}"


def corrections(run: Run) -> Figure:
    """Correction of every free line at its wavelength; those the data decided in colour, with error bars."""
    lines = run.lines
    sharp = informed(lines)
    wave, value, sd = (floats(lines[n]) for n in ("wavelength", "correction", "posterior_sd"))
    figure, ax = plt.subplots(figsize=(WIDE, 3.4))
    ax.axhline(0, color=OBSERVED, lw=0.6)
    ax.plot(wave[~sharp], value[~sharp], ".", ms=3, color=QUIET, alpha=0.6, label="mostly prior")
    for name, colour, rows in by_species(run):
        rows = rows[sharp[rows]]
        if len(rows):
            style: dict[str, Any] = {
                "fmt": "o",
                "ms": 3.2,
                "lw": 0.8,
                "color": colour,
                "label": f"{name} ({len(rows)})",
            }
            ax.errorbar(wave[rows], value[rows], sd[rows], **style)
    ax.set(xlabel="vacuum wavelength (Å)", ylabel=r"correction to $\log gf$ (dex)")
    ax.margins(x=0.01)
    ax.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=8, borderaxespad=0.2, handletextpad=0.2)
    _shrink_legend(ax)
    return finish(figure)


def by_species(run: Run) -> list[tuple[str, str, Int[np.ndarray, " line"]]]:
    """Name, colour and rows of the commonest informed species, and of all others together."""
    names = np.asarray(run.lines["species"], dtype=str)
    sharp = informed(run.lines)
    species, counts = np.unique(names[sharp], return_counts=True)
    common = species[np.argsort(-counts, kind="stable")][: len(SPECIES_COLOURS)]
    groups = [(str(n), c, np.flatnonzero(names == n)) for n, c in zip(common, SPECIES_COLOURS, strict=False)]
    rest = np.flatnonzero(~np.isin(names, common))
    return [*groups, ("other", "#555555", rest)]


def class_of(group: str, species: str) -> str:
    """The class in the name of a group: 'abo' of 'Fe I abo, band 2 of 8' and of 'other abo'."""
    name = re.sub(r", band \d+ of \d+$", "", group)
    for first in (species, "other"):
        if name.startswith(f"{first} "):
            return name.removeprefix(f"{first} ")
    return name


MOST_SPECIES = 24
"""Species with a column of their own; rarer ones are together."""


def properties(run: Run) -> tuple[Shaped[np.ndarray, " line"], Shaped[np.ndarray, " line"]]:
    """Species (the rare ones 'other') and class of every line."""
    species, group = (np.asarray(run.lines[name], dtype=str) for name in ("species", "group"))
    names, counts = np.unique(species, return_counts=True)
    common = names[np.argsort(-counts, kind="stable")][:MOST_SPECIES]
    classes = np.array([class_of(g, s) for g, s in zip(group, species, strict=True)])
    return np.where(np.isin(species, common), species, "other"), classes


def by_property(run: Run) -> Figure:
    """Corrections by excitation, species and class."""
    sharp, value = informed(run.lines), floats(run.lines["correction"])
    rng = np.random.default_rng(0)
    figure, axes = plt.subplot_mosaic([["elow", "class"], ["species", "species"]], figsize=(WIDE, 5.2), sharey=True)
    for (name, ax), words in zip(axes.items(), (None, *properties(run)[::-1]), strict=True):
        if words is None:
            x, names = floats(run.lines["elow"]), np.empty(0)
        else:
            names = np.unique(words)
            x = np.searchsorted(names, words) + rng.uniform(-0.25, 0.25, len(words))
        for rows, colour, alpha in ((~sharp, QUIET, 0.4), (sharp, CORRECTED, 0.8)):
            ax.plot(x[rows], value[rows], ".", ms=3, color=colour, alpha=alpha, mew=0)
        ax.axhline(0, color=OBSERVED, lw=0.6)
        if words is not None:
            ax.set_xticks(range(len(names)), names, rotation=60 if name == "species" else 0)
        ax.set(xlabel="lower level (eV)" if name == "elow" else name, ylabel="correction (dex)")
    return finish(figure)


def _shrink_legend(ax: Axes) -> None:
    """Two rows when the species are too many for one."""
    legend = ax.get_legend()
    if legend is not None and len(legend.get_texts()) > 6:
        ax.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=5, borderaxespad=0.2, handletextpad=0.2)


def posterior_to_prior(run: Run) -> Figure:
    """How much narrower than its prior each line's posterior is."""
    ratio = floats(run.lines["ratio"])
    figure, ax = plt.subplots(figsize=(HALF, 3.0))
    bins = np.arange(0, max(1.0, float(np.max(ratio, initial=0))) + 0.05, 0.05)  # one half is an edge
    sharp = informed(run.lines)
    ax.hist([ratio[sharp], ratio[~sharp]], bins=bins.tolist(), stacked=True, color=[CORRECTED, "#c9c9c9"], rwidth=0.92)
    ax.axvline(0.5, color=OBSERVED, lw=0.8, ls=(0, (4, 3)))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="posterior sd / prior sd", ylabel="lines", xlim=(0, bins[-1]))
    ax.set_title(f"{int(sharp.sum())} of {len(ratio)} lines below one half")
    return finish(figure)


def labels(run: Run) -> Figure:
    """Labels against the reference, with the one-to-one line and what scatters about it."""
    used, name_of_reference = run.used, run.reference or "reference"
    figure, axes = plt.subplots(2, 3, figsize=(WIDE, 4.0), sharex="col", height_ratios=(2.1, 1))
    for (top, bottom), name in zip(axes.T, COMPARED, strict=True):
        theirs, ours, sd = (floats(used[n]) for n in (f"ref_{name}", name, f"{name}_sd"))
        points: dict[str, Any] = {"fmt": "o", "ms": 3, "lw": 0.7, "color": CORRECTED, "ecolor": "#a9c9dd"}
        top.errorbar(theirs, ours, sd, **points)
        bottom.errorbar(theirs, ours - theirs, sd, **points)
        both = np.concatenate([theirs, ours])
        if np.isfinite(both).any():
            ends = np.nanmin(both), np.nanmax(both)
            top.plot(ends, ends, color=OBSERVED, lw=0.7, ls=(0, (4, 3)))
        bottom.axhline(0, color=OBSERVED, lw=0.7, ls=(0, (4, 3)))
        unit = " K" if name == "teff" else " dex"
        digits = 0 if name == "teff" else 3
        scatter = (run.summary["label_scatter"] or {}).get(name, {})
        top.set_title(_scatter_text(scatter, digits, unit), fontsize=8)
        top.text(0.03, 0.97, f"n = {scatter.get('n', 0)}", transform=top.transAxes, va="top", fontsize=8)
        top.set_ylabel(LABEL_TEXT[name])
        bottom.set(xlabel=f"{LABEL_TEXT[name]}, {name_of_reference}", ylabel="difference")
    figure.align_ylabels()
    return finish(figure)


def _scatter_text(scatter: dict, digits: int, unit: str) -> str:
    if not scatter.get("n"):
        return "no star in common"
    text = f"median {scatter['median']:+.{digits}f}".replace("-", "−")
    if scatter["robust_sigma"] is not None:
        text += f", σ {scatter['robust_sigma']:.{digits}f}"
    return text + unit


def chi2(run: Run) -> Figure:
    """chi2 per pixel of every star with the list as it came and with the corrected one."""
    used = run.used
    before, after = floats(used["chi2_per_pixel_original"]), floats(used["chi2_per_pixel_corrected"])
    figure, ax = plt.subplots(figsize=(HALF, 3.6))
    snr = floats(used["snr"]) if "snr" in used.colnames else np.full(len(used), np.nan)
    if np.isfinite(snr).all():
        dots = ax.scatter(before, after, s=16, c=snr, cmap="viridis", vmax=np.percentile(snr, 98), lw=0)
        figure.colorbar(dots, label="S/N", pad=0.02).outline.set_visible(False)
    else:
        ax.scatter(before, after, s=16, color=CORRECTED, lw=0)
    both = np.concatenate([before, after])
    low, high = np.min(both) / 1.1, np.max(both) * 1.1
    ax.plot([low, high], [low, high], color=OBSERVED, lw=0.7, ls=(0, (4, 3)))
    ax.set(xlim=(low, high), ylim=(low, high))
    if high > 6 * low > 0:
        ax.set(xscale="log", yscale="log")
        ticks = [t for t in (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500) if low < t < high]
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(FixedLocator(ticks))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
    better = int(np.sum(after < before))
    ax.set(xlabel="χ² per pixel, original list", ylabel="χ² per pixel, corrected list")
    ax.set_title(f"{better} of {len(before)} stars fit better")
    return finish(figure)


def kiel(run: Run) -> Figure:
    """Surface gravity against effective temperature of the stars used, coloured by metallicity."""
    used = run.used
    figure, ax = plt.subplots(figsize=(HALF, 3.6))
    teff, logg = floats(used["teff"]), floats(used["logg"])
    bars: dict[str, Any] = {"fmt": "none", "ecolor": "#c4c4c4", "elinewidth": 0.7, "zorder": 1}
    ax.errorbar(teff, logg, floats(used["logg_sd"]), floats(used["teff_sd"]), **bars)
    dots = ax.scatter(teff, logg, s=18, c=floats(used["feh"]), cmap="cividis", lw=0, zorder=2)
    figure.colorbar(dots, label="[Fe/H] (dex)", pad=0.02).outline.set_visible(False)
    ax.set(xlabel=LABEL_TEXT["teff"], ylabel=LABEL_TEXT["logg"])
    ax.invert_xaxis()
    ax.invert_yaxis()
    return finish(figure)


MOST_RESIDUALS = 2_000_000
"""Pixels that the distribution of residuals is of, at most."""
AT_ONCE = 256
"""Spectra that are read at once."""


def normalised_residuals(run: Run) -> Float[np.ndarray, " pixel"]:
    """(observed - corrected model) / sigma over all pixels used; of every n-th star where those are more than
    MOST_RESIDUALS."""
    n_star = len(run.used)
    n_pixel = len(run.spectra_of(slice(0, 1)).wavelength)
    every, found = max(-(-n_star * n_pixel // MOST_RESIDUALS), 1), []
    for first in range(0, n_star, AT_ONCE):
        s = run.spectra_of(slice(first, min(first + AT_ONCE, n_star)))
        good = np.isfinite(s.sigma) & (s.ivar > 0)
        good[np.arange(first, first + len(good)) % every > 0] = False
        found.append((s.flux - s.model_corrected)[good] / s.sigma[good])
    return np.concatenate(found)


def residuals(run: Run) -> Figure:
    """Distribution of the normalised residuals of all pixels, beside what the noise model expects."""
    z = normalised_residuals(run)
    figure, ax = plt.subplots(figsize=(HALF, 3.2))
    x = np.linspace(-6, 6, 241)
    ax.hist(np.clip(z, -6, 6), bins=np.linspace(-6, 6, 97).tolist(), density=True, color="#b9d3e4")
    ax.plot(x, np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), color=OBSERVED, label="unit Gaussian")
    ax.set(xlabel="(observed − corrected model) / σ", ylabel="density", xlim=(-6, 6), yscale="log", ylim=(1e-4, 1))
    quartiles = np.percentile(z, [15.87, 84.13]) if len(z) else np.zeros(2)
    outside = 100 * np.mean(np.abs(z) > 3) if len(z) else 0.0
    ax.set_title(f"half width (68%) {np.diff(quartiles)[0] / 2:.2f}, beyond 3σ {outside:.2f}%")
    ax.legend(loc="upper left")
    return finish(figure)


def injected(run: Run) -> Figure:
    """Recovered against injected errors of a simulation, and their differences in posterior sd."""
    lines = run.lines
    known = np.isfinite(floats(lines["injected"]))
    sharp = informed(lines) & known
    true, got, sd = (floats(lines[n]) for n in ("injected", "correction", "posterior_sd"))
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDE, 3.3), width_ratios=(1.15, 1))
    weak = known & ~sharp
    left.plot(true[weak], got[weak], ".", ms=2.2, color=QUIET, alpha=0.4, lw=0, label=f"mostly prior ({weak.sum()})")
    style: dict[str, Any] = {"fmt": "o", "ms": 3.2, "lw": 0.7, "color": CORRECTED, "ecolor": "#a9c9dd"}
    left.errorbar(true[sharp], got[sharp], sd[sharp], label=f"informed ({sharp.sum()})", **style)
    ends = np.array([np.nanmin(true, initial=-0.1), np.nanmax(true, initial=0.1)])
    left.plot(ends, ends, color=OBSERVED, lw=0.7, ls=(0, (4, 3)))
    left.set(xlabel=r"injected error of $\log gf$ (dex)", ylabel="recovered correction (dex)")
    left.legend(loc="upper left", handletextpad=0.3)
    pull = (got - true)[known] / sd[known]
    x = np.linspace(-5, 5, 201)
    right.hist(
        np.clip(pull, -5, 5), np.linspace(-5, 5, 41).tolist(), density=True, color="#b9d3e4", label="all free lines"
    )
    if sharp.any():
        clipped = np.clip((got - true)[sharp] / sd[sharp], -5, 5)
        steps: dict[str, Any] = {"histtype": "step", "lw": 0.9, "color": CORRECTED, "label": "informed"}
        right.hist(clipped, np.linspace(-5, 5, 21).tolist(), density=True, **steps)
    right.legend(loc="upper left", handlelength=1.0)
    right.plot(x, np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), color=OBSERVED, lw=0.9)
    right.set(xlabel="(recovered − injected) / posterior sd", ylabel="density", xlim=(-5, 5))
    figures = run.summary["coverage_68"], run.summary["coverage_95"]
    if all(f is not None for f in figures):
        right.set_title(f"68, 95% intervals hold {100 * figures[0]:.0f}, {100 * figures[1]:.0f}%")
    return finish(figure)


STEPS = {"largest_step_sd": "stars alone", "star_step_sd": "stars, jointly", "shared_step_sd": "log gf, jointly"}
"""Entries of the solver's trace that say how far a step went, in posterior standard deviations."""


def trace(run: Run) -> Figure:
    """How far each iteration still moved; steps that were taken back are open."""
    entries = run.record["solver"]["trace"]
    figure, ax = plt.subplots(figsize=(1.25 * HALF, 3.0))
    for (key, text), colour in zip(STEPS.items(), (QUIET, CORRECTED, ORIGINAL), strict=True):
        rows = [i for i, e in enumerate(entries) if (e.get(key) or 0) > 0 and e.get("stage") != "original list"]
        if not rows:
            continue
        sizes = [entries[i][key] for i in rows]
        fill = [colour if entries[i].get("accepted", True) else "white" for i in rows]
        ax.plot(np.array(rows) + 1, sizes, color=colour, lw=0.9, zorder=1, label=text, marker="o", ms=4)
        ax.scatter(np.array(rows) + 1, sizes, s=14, c=fill, edgecolors=colour, zorder=2)
    tolerance = run.record.get("config", {}).get("solver", {}).get("tolerance")
    if tolerance:
        ax.axhline(tolerance, color=OBSERVED, lw=0.8, ls=(0, (4, 3)), label="tolerance")
    ax.set(xlabel="iteration", ylabel="step / posterior sd", yscale="log")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    ax.set_title(str(run.record["solver"]["status"]).replace("_", " "))
    return finish(figure)


def has_reference(run: Run) -> bool:
    """Whether any star can be compared with a reference."""
    return any(len(label_difference(run.stars, name)) for name in COMPARED)
