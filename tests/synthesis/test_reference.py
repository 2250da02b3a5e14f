"""Spectra, continuum and H alpha against Turbospectrum v20.1 (Plez 2012) on its own structures, set B.

Its S = B spectra, on its own wavelengths; `benchmarks/synthesis_accuracy.py` measures the same and more.
"""

import numpy as np
import pytest

from benchmarks.synthesis_accuracy import compare, read_star

WINDOWS = ("5150", "5350", "6100", "6540", "8480")
STARS = ("sun", "t4000g15p00", "t4500g15m05", "t4500g45p00", "t5750g45m20a04", "t6500g40p00")
QUICK = [("sun", "6540"), ("t4000g15p00", "5150")]
BEYOND = {
    ("t4500g15m05", "6540"): "H alpha core: 99% 0.017, maximum 0.041; the reference has three temperatures",
    ("t6500g40p00", "6540"): "wings of H alpha: median 0.0021, maximum 0.0026",
    ("t6500g40p00", "8480"): "cores of Paschen 15 and 16: 99% 0.014",
}
"""What misses a bar, and by how much."""


def case(star, window):
    """Star and window as a parameter, slow but for a few, expected to fail where a bar is known to be missed."""
    marks = [] if (star, window) in QUICK else [pytest.mark.slow]
    if (star, window) in BEYOND:
        marks.append(pytest.mark.xfail(reason=BEYOND[star, window], strict=True))
    return pytest.param(star, window, marks=marks)


@pytest.mark.parametrize(("star", "window"), [case(s, w) for s in STARS for w in WINDOWS])
def test_flux_against_turbospectrum(shared, star, window):
    folder = shared / "reference" / "turbospectrum"
    with np.load(folder / "spectra" / f"{star}.npz") as file:
        wanted = (f"wl_{window}", f"Blte_norm_{window}", f"Blte_cont_{window}")
        spectra = {k: file[k] for k in wanted}
    figures = compare(read_star(folder / "stars" / f"{star}.npz"), spectra, window, scattering=False)["Blte"]

    assert figures["median"] < 1e-3
    assert figures["p99"] < 0.01
    assert figures["max"] < 0.03
    assert figures.get("halpha_wings", 0.0) < 0.005
    # the reference weighs an atomic mass unit as a hydrogen atom: its density is 0.8% too high, its continuum 0.4%
    assert figures["continuum"]["max_deviation"] < 0.01
