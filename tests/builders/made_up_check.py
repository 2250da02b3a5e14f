"""A check of stars that were not seen, as the refit of their labels would return it."""

import numpy as np
from astropy.table import Table

from astrogf.inference.check import Checked


def made_up_check() -> Checked:
    """Eight spectra of four stars with Gaussian noise of the stated size about the corrected model; the one of the list
    as it came is 0.01 too high."""
    rng = np.random.default_rng(0)
    n, p = 8, 400
    model = np.tile(1 - 0.5 * rng.random(p), (n, 1))
    flux, sigma = model + 0.02 * rng.normal(size=(n, p)), np.full((n, p), 0.02)
    chi2 = [((flux - m) ** 2 / sigma**2).sum(1) for m in (model + 0.01, model)]
    names = {"path": [f"a{i}" for i in range(n)], "star": [f"s{i // 2}" for i in range(n)], "survey": ["x"] * n}
    labels, wavelength = rng.normal(size=(n, 2)), 4900 * 10 ** (1e-4 * np.arange(p))
    return Checked(
        Table(names), ("teff", "logg"), labels, np.ones((n, 2)), np.ones((n, 2)), labels, wavelength, flux,
        sigma, model + 0.01, model, np.full((3, p), 0.005), *chi2, np.full(n, p),
    )  # fmt: skip
