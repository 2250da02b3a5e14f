"""Lines of Ca I to levels above the ionisation limit, in the observed Sun."""

import lzma

import numpy as np
import pytest

from astrogf import synthesize
from astrogf.base.air import air_to_vacuum
from astrogf.base.constants import C_KMS, FWHM_PER_SIGMA
from astrogf.synthesis.lines.shipped import load_all_lines

CENTRES = (6345.06, 6363.50)
"""Vacuum Angstrom."""
REACH, FREE = 7.0, 0.975
"""Pixels count within so many Angstrom where all other lines leave so much of the continuum."""
WIDER = (-0.2, 0.0, 0.2)
"""dex: widths tried, about the list's."""


@pytest.fixture(scope="module")
def sun(shared):
    """Vacuum wavelength, the observed flux (UVES atlas), ours without these lines, and with each of the widths."""
    with lzma.open(shared / "highres" / "uves_sun" / "UVES_Sun-1_cleaned_norm.txt.xz", "rt") as file:
        observed = np.array([row.split()[:2] for row in file], float).T
    wavelength = air_to_vacuum(observed[0])
    pick = (wavelength > 6335.0) & (wavelength < 6374.0)
    lines = load_all_lines(6310.0, 6400.0)
    broad = lines.log_gamma_rad > 11.0
    assert broad.sum() == 3

    def ours(some):  # 2.6 km/s stand for macroturbulence, rotation and slit
        made = synthesize(
            (5772.0, 4.438, 0.0, 0.0), some, 6334.0, 6375.0, step=0.02, resolution=C_KMS / 2.6 / FWHM_PER_SIGMA
        )
        return np.interp(wavelength[pick], np.asarray(made.wavelength), np.asarray(made.normalised))

    wide = [ours(lines.replace(log_gamma_rad=lines.log_gamma_rad + np.where(broad, x, 0.0))) for x in WIDER]
    return wavelength[pick], observed[1][pick], ours(lines.take(~broad)), wide


@pytest.mark.parametrize("centre", CENTRES)
def test_the_observed_sun_has_them_as_wide_as_the_list(sun, centre):
    """What the observed Sun lacks without them is a profile of their width, and of 0.5 to 1 of the strength that
    VALD's log gf give (which fits correct); half or twice the width fits worse. A straight line is left free."""
    wavelength, observed, bare, wide = sun
    near = (np.abs(wavelength - centre) < REACH) & (bare > FREE)
    assert near.sum() > 500
    lacking, x = (1.0 - observed / bare)[near], (wavelength[near] - centre) / REACH
    rms, scales = [], []
    for full in wide:
        columns = np.stack([(1.0 - full / bare)[near], np.ones_like(x), x], axis=1)
        good = np.ones(len(x), bool)
        for _ in range(5):  # unlisted lines
            solved = np.linalg.lstsq(columns[good], lacking[good])[0]
            good = np.abs(lacking - columns @ solved) < 0.02
        assert good.mean() > 0.97
        rms.append(np.std((lacking - columns @ solved)[good]))
        scales.append(solved[0])
    assert np.argmin(rms) == 1
    assert rms[1] < 0.005
    assert 0.5 < scales[1] < 1.0
    assert np.max((1.0 - wide[1] / bare)[near]) > 0.04
