"""Labels of five spectra as a surrogate and its judge would return them."""

import numpy as np
from astropy.table import Table

from astrogf.inference.surrogate.build import Trial
from astrogf.inference.surrogate.label import Judged, Labelled

NAMES = ("teff", "logg", "feh", "alpha", "vmic", "ln_sigma", "rv")


def made_up_labels(further: tuple[str, ...] = ()) -> Labelled:
    """The fourth is outside the surrogate's range, the last fits badly; the first three were fitted exactly, and are
    off by 0.1, 0.2 and 0.3 of their errors. `further`: labels after those that all stars have."""
    rng, k = np.random.default_rng(0), len(further)
    usual = np.array([5500.0, 4.0, -0.1, 0.05, 1.1, 4.2, 12.0]) + rng.normal(size=(5, 7)) * 0.01
    labels = np.column_stack([usual, 0.05 * rng.normal(size=(5, k))])
    own = np.tile([50.0, 0.1, 0.05, 0.03, 0.1, 0.02, 1.0, *[0.06] * k], (5, 1))
    listed = 0.4 * own
    for values in (labels, own, listed):
        values[3] = np.nan
    star, z = np.arange(3), np.repeat([[0.1], [-0.2], [0.3]], 7 + k, axis=1)
    judged = Judged(star, labels[:3] - z * own[:3], own[:3], listed[:3], z)
    sd = np.sqrt(own**2 * (1.0 + judged.share_of_sd**2) + listed**2)
    names = {column: [f"s{k}.fits" for k in range(5)] for column in ("path", "star")}
    table = Table(names | {"snr": np.full(5, 80.0)})
    trial = Trial(np.zeros((64, 5 + k)), np.full(64, 2e-4), np.full((64, 5 + k), 0.01))
    return Labelled(
        table, NAMES + further, labels, sd, own, listed, np.array([400.0, 410.0, 390.0, 900.0, 4000.0]),
        np.full(5, 420), np.full(5, 6), ["", "", "", "outside", "chi2"], judged, [trial],
    )  # fmt: skip
