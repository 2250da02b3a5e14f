"""Wavelengths at rest at which a star is not judged, because the model is known to be wrong there.

The cores of the Balmer lines are the example: they form above the layers that have an LTE population, and a survey's
resolution spreads them over what is left of the line. What the sky or the instrument spoils is another matter, and the
survey's (`surveys.night_sky`).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from astrogf.base.constants import C_KMS
from astrogf.inference.problem.problem import StarData
from astrogf.inference.problem.spectra import Cut, Sample, WindowSpectra, usable

Ranges = Sequence[tuple[float, float]]


def inside(window: WindowSpectra, theta: Float[np.ndarray, "row own"], ranges: Ranges) -> Bool[np.ndarray, "row pixel"]:
    """Pixels whose centres lie in one of the ranges (vacuum Angstrom) once the velocity of that window is taken off."""
    velocity = np.asarray(theta) @ np.asarray(window.problem.instrument.place)[0]
    rest = window.problem.spectrum.grid.pixel_wavelength / (1.0 + velocity[:, None] / C_KMS)
    out = np.zeros(rest.shape, bool)
    for low, high in ranges:
        out |= (rest >= low) & (rest <= high)
    return out


def leaving_out(sample: Sample, theta: Float[np.ndarray, "star own"], ranges: Ranges) -> Sample:
    """The sample without the pixels in `ranges` (vacuum Angstrom at rest) of stars with these own parameters, which
    must have the stars' velocities. Of a sample that was cut the spectra are put on the shelf anew."""
    if len(ranges) == 0:
        return sample
    theta = np.asarray(theta)

    def without(k: int, data: StarData, rows: np.ndarray | slice) -> StarData:
        window = sample.windows[k]
        out = inside(window, theta[window.star[rows]], ranges)
        return StarData(data.flux, np.where(out, 0.0, np.asarray(data.ivar)))  # type: ignore[arg-type]

    if sample.cut is None:
        whole = [replace(w, data=without(k, w.data, slice(None))) for k, w in enumerate(sample.windows)]
        return replace(sample, windows=tuple(whole))
    pixels = [np.zeros(len(w.star), int) for w in sample.windows]
    kept = []
    for part in sample.parts:
        mine = tuple(without(k, d, part.rows[k]) for k, d in enumerate(part.data.get()))
        for count, rows, one in zip(pixels, part.rows, mine, strict=True):
            count[rows] = usable(one)
        kept.append(sample.work.shelf.put(mine, lasting=True))
    there = tuple(replace(w, pixels=n) for w, n in zip(sample.windows, pixels, strict=True))
    return replace(sample, windows=there, cut=Cut(sample.cut.sizes, tuple(kept)))
