"""The picture of a held-out check: what the corrected list gains, whether noise is noise, a spectrum with its band."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from astrogf.inference.check import Checked
from astrogf.style import CORRECTED, OBSERVED, ORIGINAL, QUIET, WIDE, finish, paper


def draw(checked: Checked, path: Path) -> None:
    """Write the picture to `path` (png or pdf)."""
    with paper():
        figure, axes = plt.subplot_mosaic([["gain", "pit"], ["spectrum", "spectrum"], ["residual", "residual"]],
                                          figsize=(WIDE, 6.4), height_ratios=(1.1, 1.2, 0.8))  # fmt: skip
        n = np.maximum(checked.n_pixel, 1)
        before, after = checked.chi2_original / n, checked.chi2_corrected / n
        ends = np.nanmin([before, after]) * 0.95, np.nanmax([before, after]) * 1.05
        axes["gain"].loglog(before, after, ".", color=CORRECTED, ms=4)
        axes["gain"].loglog(ends, ends, color=QUIET, lw=0.8)
        axes["gain"].set(xlabel="χ² per pixel, list as it came", ylabel="corrected list", xlim=ends, ylim=ends)
        axes["gain"].set_title(f"{np.mean(after < before):.0%} of {len(before)} unseen spectra fit better")
        axes["pit"].hist(checked.pit, np.linspace(0, 1, 21).tolist(), density=True, color=CORRECTED, alpha=0.75)
        axes["pit"].axhline(1.0, color=QUIET, lw=0.8)
        axes["pit"].set(xlabel="probability integral transform of a pixel", ylabel="density", xlim=(0, 1))
        axes["pit"].set_title("Flat where the noise is what it is said to be")
        _spectrum(axes["spectrum"], axes["residual"], checked)
        figure.savefig(path)
        finish(figure)


def _spectrum(above, below, checked: Checked) -> None:
    """The most gaining of the stars that have a band, in the 120 A where the lists differ most."""
    star = int(np.nanargmax((checked.chi2_original - checked.chi2_corrected)[: len(checked.predictive_sd)]))
    wave, used = checked.wavelength, np.isfinite(checked.sigma[star])
    differ = np.abs(checked.model_original[star] - checked.model_corrected[star]) * used
    centre = wave[int(np.nanargmax(np.convolve(np.nan_to_num(differ), np.ones(25), "same")))]
    near = used & (np.abs(wave - centre) < 60.0)
    level = np.nanmedian(checked.flux[star][near])
    x, flux = wave[near], checked.flux[star][near] / level
    model, band = checked.model_corrected[star][near] / level, checked.predictive_sd[star][near] / level
    sigma = checked.sigma[star][near] / level
    above.fill_between(x, model - 2 * band, model + 2 * band, color=CORRECTED, alpha=0.3, lw=0)
    above.step(x, flux, where="mid", color=OBSERVED, lw=0.8, label="observed")
    above.plot(x, checked.model_original[star][near] / level, color=ORIGINAL, lw=0.8, label="list as it came")
    above.plot(x, model, color=CORRECTED, lw=0.9, label="corrected, with 2 sd of the posterior")
    above.set(ylabel="flux / median", xlim=(x[0], x[-1]))
    above.margins(y=0.12)
    above.legend(ncols=3, loc="lower left", borderaxespad=0.0)
    above.set_title(str(checked.table["path"][star]))
    below.axhline(0.0, color=QUIET, lw=0.6)
    below.plot(x, (flux - checked.model_original[star][near] / level) / sigma, color=ORIGINAL, lw=0.8)
    below.plot(x, (flux - model) / sigma, color=CORRECTED, lw=0.8)
    below.set(xlabel="vacuum wavelength (Å)", ylabel="residual / σ", xlim=(x[0], x[-1]))
