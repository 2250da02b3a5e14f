"""H band 15100-17000 A of the Sun and Arcturus against the observed spectra APOGEE tuned its line list on.

Run: python benchmarks/hband.py [--observed DIR] [--json OUT] [--figure PNG] [--window 15100 17000] [--no-molecules]

Prints the rms of observed minus synthetic beside that of APOGEE's own tuned synthesis, over the same pixels and
through APOGEE's mask (whose wavelengths are vacuum, those of the spectra air). Nothing is tuned here: atmospheres of
the emulator, the list of 2013, abundances from the literature; only a velocity, a Gaussian and a rotation, which
stand for macroturbulence, rotation and spectrograph, are fitted to the spectrum.
"""

import argparse
import json
import lzma
import time
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize
from scipy.special import j1

from astrogf.runtime import use_all_cores, use_compilation_cache

use_all_cores()
use_compilation_cache()

from astrogf.base.air import air_to_vacuum, vacuum_to_air  # noqa: E402
from astrogf.base.constants import C_KMS  # noqa: E402
from astrogf.synthesis.gas.abundances import number_fractions  # noqa: E402
from astrogf.synthesis.lines.shipped import load_hband_lines  # noqa: E402
from astrogf.synthesis.spectrum import Physics  # noqa: E402
from astrogf.synthesis.synthesize import prepare  # noqa: E402

OBSERVED = Path(__file__).resolve().parents[2] / "shared" / "data" / "highres" / "apogee_tuning"
MASK = "mask_v02_aspcap_wave.txt.xz"
MASK_PIXEL = 0.15  # A: a pixel farther than this from all pixels of the mask lies in a gap between detectors
STEP = 0.63  # km/s between the wavelengths of the synthesis


class Star(NamedTuple):
    """What is known of a star: files, labels, abundances A(X), isotopes, velocity of the observed spectrum (km/s)."""

    observed: str
    tuned: str
    parameters: tuple[float, float, float, float, float]
    abundances: dict[int, float]
    ratios: dict[tuple[int, int], float] | None
    velocity: float


STARS = {
    "sun": Star(
        "solar.withH.conti_matt.28aug2018.txt.xz", "sun.syn10_65p.sp.xz", (5772.0, 4.438, 0.0, 0.0, 1.0), {}, None, 1.0
    ),
    # Labels, and elements from Na on: Ramirez & Allende Prieto (2011, ApJ 743, 135); C, N, O from molecules in the
    # H band: Smith et al. (2013, ApJ 765, 16); 12C/13C = 7: Sneden et al. (2014, ApJS 214, 26).
    "arcturus": Star(
        "arct.new_4.txt.xz",
        "arct.syn10_65p.sp.xz",
        (4286.0, 1.66, -0.52, 0.3, 1.74),
        {6: 7.96, 7: 7.64, 8: 8.64, 11: 5.83, 12: 7.45, 13: 6.26, 14: 7.32, 19: 4.71, 20: 5.93, 22: 4.70, 23: 3.61,
         24: 5.07, 25: 4.70, 27: 4.56, 28: 5.76},
        {(6, 12): 0.875, (6, 13): 0.125},
        14.2,
    ),
}  # fmt: skip


def read_columns(path: Path) -> Float[np.ndarray, "2 pixel"]:
    """The first two columns of a compressed text file."""
    with lzma.open(path, "rt") as file:
        return np.array([line.split()[:2] for line in file if len(line.split()) >= 2], float).T


def mixture(star: Star) -> Float[Array, "92"]:
    """[X/Fe] on top of [Fe/H] and [alpha/Fe] that gives the star its A(X)."""
    _, _, feh, alpha, _ = star.parameters
    standard = np.log10(np.maximum(np.asarray(number_fractions(feh, alpha)), 1e-30)) + 12.0
    xfe = np.zeros(92)
    for z, abundance in star.abundances.items():
        xfe[z - 1] = abundance - standard[z - 1]
    return jnp.asarray(xfe)


def synthesise(star: Star, start: float, stop: float, molecules: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Vacuum wavelength (uniform in its logarithm) and normalised flux."""
    wavelength = np.exp(np.arange(np.log(start), np.log(stop), STEP / C_KMS))
    lines = load_hband_lines(max(start - 20.0, 15000.0), min(stop + 20.0, 17005.0), star.ratios)
    lines = lines if molecules else lines.take(lines.z <= 92)
    labels, vmic = star.parameters[:4], star.parameters[4]
    physics = Physics(electrons="solve")
    prepared = prepare(labels, lines, wavelength, vmic=vmic, abundances=mixture(star), physics=physics)
    made = prepared(tuple(jnp.asarray(x) for x in labels), vmic=vmic, abundances=mixture(star))
    return wavelength, np.asarray(made.normalised)


def broaden(flux: np.ndarray, step: float, sigma: float, vsini: float) -> np.ndarray:
    """Convolve with a Gaussian and a rotation profile without limb darkening (km/s), by their Fourier transforms."""
    n = len(flux)
    padded = np.concatenate([flux, flux[::-1]])  # reflected: no jump at the ends
    k = 2.0 * np.pi * np.fft.rfftfreq(2 * n, step)
    x = k * max(abs(vsini), 1e-3)
    rotation = np.where(x > 1e-6, 2.0 * j1(np.maximum(x, 1e-6)) / np.maximum(x, 1e-6), 1.0)
    return np.fft.irfft(np.fft.rfft(padded) * np.exp(-0.5 * (k * sigma) ** 2) * rotation, 2 * n)[:n]


class Score(NamedTuple):
    """One star's result: rms through the mask, ours and of APOGEE's tuned synthesis, and what was fitted."""

    rms: float
    tuned: float
    rms_all: float
    tuned_all: float
    offset: float
    sigma: float
    vsini: float
    velocity: float
    n_pixel: int


def compare(star: Star, folder: Path, wavelength: np.ndarray, flux: np.ndarray):
    """Score, and the pixels (air wavelength at rest, observed, ours, tuned, unmasked) it was taken from."""
    observed, tuned = read_columns(folder / star.observed), read_columns(folder / star.tuned)
    mask = read_columns(folder / MASK)
    mask_air = vacuum_to_air(mask[0])
    at_rest = observed[0] / (1.0 + star.velocity / C_KMS)
    inside = (at_rest > vacuum_to_air(wavelength[0]) + 1.5) & (at_rest < vacuum_to_air(wavelength[-1]) - 1.5)
    air, seen = at_rest[inside], observed[1][inside]
    right = np.clip(np.searchsorted(mask_air, air), 1, len(mask_air) - 1)
    near = np.where(air - mask_air[right - 1] < mask_air[right] - air, right - 1, right)
    used = (np.abs(mask_air[near] - air) < MASK_PIXEL) & (mask[1][near] > 0.5)
    theirs = np.interp(air, tuned[0], tuned[1])
    vacuum = air_to_vacuum(air)
    step = float(np.log(wavelength[1] / wavelength[0]) * C_KMS)

    def ours(sigma, vsini, shift):
        spectrum = CubicSpline(wavelength, broaden(flux, step, sigma, vsini))
        return spectrum(vacuum / (1.0 + shift / C_KMS))

    def loss(p):
        return float(np.mean((seen - ours(*p))[used] ** 2))

    sigma, vsini, shift = minimize(loss, [2.5, 2.0, 0.0], method="Nelder-Mead", options={"xatol": 0.02}).x
    model = ours(sigma, vsini, shift)

    def rms(x):
        return float(np.sqrt(np.mean(x**2)))

    score = Score(
        rms((seen - model)[used]), rms((seen - theirs)[used]), rms(seen - model), rms(seen - theirs),
        float(np.median((seen - model)[used])), abs(sigma), abs(vsini), star.velocity + shift, int(used.sum()),
    )  # fmt: skip
    return score, (air, seen, model, theirs, used)


def draw(path: Path, pixels: dict[str, tuple]) -> None:
    """Observed, ours and the difference, in eight rows a star."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = 8
    figure, axes = plt.subplots(rows * len(pixels), 1, figsize=(22, 3.2 * rows * len(pixels)))
    for i, (name, (air, seen, model, theirs, used)) in enumerate(pixels.items()):
        edges = np.linspace(air[0], air[-1], rows + 1)
        for axis, low, high in zip(axes[i * rows :], edges[:-1], edges[1:], strict=False):
            pick = (air >= low) & (air <= high)
            axis.plot(air[pick], seen[pick], color="black", lw=0.7, label=f"{name}, observed")
            axis.plot(air[pick], model[pick], color="C3", lw=0.7, label="synthesis")
            axis.plot(air[pick], (seen - model)[pick] + 0.2, color="C0", lw=0.6, label="difference + 0.2")
            axis.plot(air[pick], (seen - theirs)[pick] + 0.05, color="0.6", lw=0.5, label="tuned, difference + 0.05")
            axis.fill_between(air[pick], -0.1, 1.1, where=~used[pick], color="0.9", lw=0)
            axis.set(xlim=(low, high), ylim=(-0.1, 1.1))
            axis.set_ylabel("flux")
        axes[i * rows].legend(loc="lower right", ncol=4, fontsize=8)
    axes[-1].set_xlabel("air wavelength / A")
    figure.tight_layout()
    figure.savefig(path, dpi=60)


def main() -> None:
    """Synthesise, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--observed", type=Path, default=OBSERVED)
    parser.add_argument("--star", nargs="+", choices=list(STARS), default=list(STARS))
    parser.add_argument("--window", nargs=2, type=float, default=(15100.0, 17000.0))
    parser.add_argument("--no-molecules", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--save", type=Path, help="keep pixels as npz")
    options = parser.parse_args()
    if not options.observed.is_dir():
        parser.error(f"{options.observed}: no such folder; give the one with {STARS['sun'].observed} by --observed")
    scores, pixels = {}, {}
    for name in options.star:
        began = time.perf_counter()
        wavelength, flux = synthesise(STARS[name], *options.window, molecules=not options.no_molecules)
        seconds = time.perf_counter() - began
        score, pixels[name] = compare(STARS[name], options.observed, wavelength, flux)
        scores[name] = score._asdict() | {"ratio": score.rms / score.tuned, "seconds": seconds}
        print(
            f"{name:9s} rms {score.rms:.4f}, APOGEE's tuned synthesis {score.tuned:.4f} ({score.rms / score.tuned:.2f} "
            f"times) over {score.n_pixel} pixels through the mask; without mask {score.rms_all:.4f} and "
            f"{score.tuned_all:.4f}; median difference {score.offset:+.4f}; sigma {score.sigma:.2f}, "
            f"rotation {score.vsini:.2f}, velocity {score.velocity:+.2f} km/s; {seconds:.0f} s with compilation",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(scores, indent=1) + "\n")
    if options.figure:
        draw(options.figure, pixels)
    if options.save:
        np.savez(options.save, **{k: np.array(v) for k, v in pixels.items()})


if __name__ == "__main__":
    main()
