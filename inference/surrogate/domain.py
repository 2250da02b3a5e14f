"""The stars that a surrogate is made for: ranges of labels from the run's priors, within the emulator's hull."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import qmc

from astrogf.emulator.domain import SCALE
from astrogf.emulator.layers import Layers
from astrogf.emulator.options import coverage
from astrogf.emulator.structure import LABELS
from astrogf.inference.problem.options import StarOptions
from astrogf.inference.problem.parameters import vmic_relation

REACH = 3.0
"""Prior sds to each side, where nothing else ends the range sooner."""
BEYOND = 150.0
"""K: what is added to the temperatures that the run keeps, so that a star at their edge is inside."""
LEAST = {"logg": 0.2, "feh": -2.6, "vmic": 0.1}
MOST = {"logg": 5.3, "feh": 0.6}
"""Ends beyond which there are hardly any stars; vmic in km/s whatever its relation says."""
OUTSIDE_HULL = -0.3
"""Grid steps outside the emulator's hull up to which the fit keeps stars."""
SLOPE, BRIGHTEST = 1.6e-3, 0.3
"""Least log g of a star: rises with Teff above 5300 K, as in `newton.search.label_nodes`, a little lower."""


class Domain(NamedTuple):
    """Lowest and highest Teff, log g, [Fe/H], [alpha/Fe], and vmic minus its relation (km/s); prior sd of the
    abundances that stars have of their own (dex)."""

    low: Float[np.ndarray, "5"]
    high: Float[np.ndarray, "5"]
    abundance_sd: float

    @classmethod
    def of(cls, options: StarOptions) -> "Domain":
        """What the run's priors and cuts leave."""
        low, high = list[float](), list[float]()
        for name in LABELS:
            mean, sd = getattr(options, f"{name}_prior")
            covered = coverage().labels[name]
            beyond = -OUTSIDE_HULL * SCALE[LABELS.index(name)]
            covered = covered[0] - beyond, covered[1] + beyond
            ends = [max(mean - REACH * sd, covered[0]), min(mean + REACH * sd, covered[1])]
            if name == "teff":
                kept = options.teff_range
                ends = [max(ends[0], kept[0] - BEYOND), min(ends[1], kept[1] + BEYOND)]
            low.append(max(ends[0], LEAST.get(name, -np.inf)))
            high.append(min(ends[1], MOST.get(name, np.inf)))
        spread = 2.5 * options.vmic_sd
        return cls(np.array([*low, -spread]), np.array([*high, spread]), options.abundance_sd)

    def inside(
        self, parameters: Float[np.ndarray, "star 5"], atmosphere: Layers, slack: float = 0.0
    ) -> Bool[np.ndarray, " star"]:
        """Whether stars (teff, logg, feh, alpha, vmic) are in the domain, or out of it by no more than `slack` of a
        label's range."""
        teff, logg, vmic = parameters[:, 0], parameters[:, 1], parameters[:, 4]
        place = parameters.copy()
        place[:, 4] -= np.asarray(vmic_relation(teff, logg))
        room = slack * (self.high - self.low)
        within = np.all((place >= self.low - room) & (place <= self.high + room), axis=1)
        within &= (logg > SLOPE * (teff - 5300.0) + BRIGHTEST - room[1]) & (vmic >= LEAST["vmic"] - room[4])
        return within & (np.asarray(jax.vmap(atmosphere.margin)(jnp.asarray(parameters[:, :4]))) > OUTSIDE_HULL)

    def draw(self, n: int, atmosphere: Layers, seed: int) -> Float[np.ndarray, "star 5"]:
        """Stars spread evenly, denser where spectra vary fast: in 1 / Teff, and towards high metallicity.

        Another `seed` gives others.
        """
        sobol = qmc.Sobol(5, seed=seed)
        found: list[np.ndarray] = []
        while sum(map(len, found)) < n:
            u = sobol.random(1 << max(8, (2 * n - 1).bit_length()))
            drawn = self.low + (self.high - self.low) * u
            drawn[:, 0] = 1.0 / (1.0 / self.low[0] + (1.0 / self.high[0] - 1.0 / self.low[0]) * u[:, 0])
            drawn[:, 2] = self.high[2] - (self.high[2] - self.low[2]) * u[:, 2] ** 1.5
            drawn[:, 4] += np.asarray(vmic_relation(drawn[:, 0], drawn[:, 1]))
            found.append(drawn[self.inside(drawn, atmosphere)])
        return np.concatenate(found)[:n]

    def draw_abundances(self, n: int, n_element: int, seed: int) -> Float[np.ndarray, "star element"]:
        """Abundances of stars, dex, from their prior."""
        return self.abundance_sd * np.random.default_rng(seed).normal(size=(n, n_element))
