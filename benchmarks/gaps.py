"""What the spectra of a run absorb where its model has next to no line: a table, and a picture of one star.

Run: python benchmarks/gaps.py RUN [--star NAME] [--near 4940] [--figure gaps.png]
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.stats import exponnorm, norm

from astrogf import style
from astrogf.base.constants import C_KMS
from astrogf.inference.newton.gaps import GAP, THERMAL, gaps_in, matched
from astrogf.runs import folder as runs

ENVELOPE = 301
"""Pixels: the continuum is the smoothed maximum of the model over so many."""


def envelope(model: np.ndarray) -> np.ndarray:
    """The continuum under a model with gaps, from the model alone."""
    return uniform_filter1d(maximum_filter1d(np.nan_to_num(model), ENVELOPE), ENVELOPE)


def main() -> None:
    """Print the table; draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--star", help="path of the star in the picture (the first)")
    parser.add_argument("--near", type=float, default=4940.0, help="Angstrom in the middle of the picture")
    parser.add_argument("--figure", type=Path)
    a = parser.parse_args()
    run = runs.read(a.run)
    s, stars = run.spectra, run.stars[np.asarray(run.stars["used"])]
    edges = np.flatnonzero(np.diff(s.wavelength) > 20.0 * np.median(np.diff(s.wavelength))) + 1
    shown = list(stars["path"]).index(a.star) if a.star else 0
    print("star, window: pixels in gaps, scatter beyond the noise, mean depth and share of missing lines")
    for i, path in enumerate(stars["path"]):
        for window in np.split(np.arange(len(s.wavelength)), edges):
            wavelength, model = s.wavelength[window], s.model_corrected[i][window]
            level = envelope(model)
            residual = (s.flux[i][window] - model) / level
            residual[~np.isfinite(s.sigma[i][window])] = np.nan
            variance = (s.sigma[i][window] / level) ** 2
            pixel = C_KMS * float(np.median(np.diff(np.log(wavelength))))
            width = float(np.hypot(np.exp(stars["ln_sigma"][i]), THERMAL)) / pixel
            found = gaps_in(residual, variance, model / level, width)
            n = int(np.sum(np.isfinite(residual) & (model / level >= GAP)))
            if found is None:
                print(f"{path} {wavelength[0]:.0f}-{wavelength[-1]:.0f} A: {n}, too few")
                continue
            print(f"{path} {wavelength[0]:.0f}-{wavelength[-1]:.0f} A: {n}, {found.sd:.4f}, {found.mean:.4f}, "
                  f"{found.share:.3f}")  # fmt: skip
            if a.figure and i == shown and wavelength[0] <= a.near <= wavelength[-1]:
                draw(
                    a, str(path), wavelength, s.flux[i][window] / level, model / level, residual, variance, width, found
                )


def draw(a, name, wavelength, flux, model, residual, variance, width, found) -> None:
    """Some Angstrom of the spectrum with its gaps marked, and the distribution of what is missing in all gaps."""
    good = np.isfinite(residual)
    missing = matched(-residual, variance, good, width)
    gap = good & (model >= GAP)
    noise = np.median(missing.variance[gap])
    with plt.rc_context(style.RC):
        figure, (left, right) = plt.subplots(1, 2, figsize=(style.WIDE, 2.8), width_ratios=(1.6, 1.0))
        near = np.abs(wavelength - a.near) < 2.5
        left.plot(wavelength[near], flux[near], ".", ms=3, color=style.OBSERVED, label=f"{name}, observed")
        left.plot(wavelength[near], model[near], color=style.CORRECTED, label="model, corrected list")
        low = float(np.nanmin(flux[near])) - 0.05
        left.fill_between(
            wavelength[near], low, 1.03, where=gap[near], color=style.QUIET, alpha=0.25, lw=0, label="gap of the model"
        )
        left.set(xlabel="wavelength (Å, vacuum)", ylabel="flux / continuum", ylim=(low, 1.28))
        left.legend(ncols=2, loc="upper left", handlelength=1.2, columnspacing=1.0)
        edges = np.linspace(-0.05, 0.3, 71)
        right.hist(missing.depth[gap], edges, density=True, color=style.QUIET, label=f"{gap.sum()} pixels in gaps")
        x, sd = np.linspace(-0.05, 0.3, 400), np.hypot(found.sd, np.sqrt(noise))
        fitted = (1 - found.share) * norm.pdf(x, 0, sd) + found.share * exponnorm.pdf(x, found.mean / sd, 0, sd)
        right.plot(x, fitted, color=style.CORRECTED, label=f"{found.share:.0%} with {found.mean:.1%} on average")
        right.set(yscale="log", ylim=(0.02, 200), xlabel="absorption lacking", ylabel="density")
        right.legend()
        figure.savefig(a.figure)


if __name__ == "__main__":
    main()
