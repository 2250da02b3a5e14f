"""What lines of a species have in common: the list may be off for all of them by mu, the model by nu.

The spectra see m = mu + nu. Which of the two it is they cannot tell, but for lines whose values are known well: there
the list has no common error, m is nu alone, and so the other lines of the species show mu. The means that lines have
are therefore two a species at most, and correlated.

A correction follows mu and leaves nu where it is. Of a species without well-known lines mu is that part of m which the
two priors leave it.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

LIST_MEAN_SD, MODEL_MEAN_SD = 0.05, 0.07
"""dex: sds of mu and nu. Sets of log gf of one source and species are off together by a few hundredths of a dex (Jofre
et al. 2014, A&A 564, A133). The model's common error of a species is that of its abundance in the Sun, and what one
dimension and LTE make of it: the two shift solar abundances by 0.03-0.1 dex, unlike from species to species (Scott et
al. 2015, A&A 573, A25 and A26)."""
LEAST_SD = 1e-3
"""dex: of a mean that neither can move."""


class Means(NamedTuple):
    """Which mean every line has; and of each mean its species, and the sds of mu and nu, the first 0 for lines whose
    values are known well."""

    of: Int[np.ndarray, " line"]
    species: Int[np.ndarray, " mean"]
    list_sd: Float[np.ndarray, " mean"]
    model_sd: Float[np.ndarray, " mean"]

    @classmethod
    def by_species(
        cls,
        species: Int[np.ndarray, " line"],
        known: Bool[np.ndarray, " line"] | None = None,
        model_sd: Float[np.ndarray, " line"] | float = MODEL_MEAN_SD,
    ) -> "Means":
        """Of lines of these species; `known`: lines whose values are known well."""
        species = np.asarray(species)
        known = np.zeros(len(species), bool) if known is None else np.asarray(known)
        each, first, of = np.unique(2 * species + known, return_index=True, return_inverse=True)
        model = np.broadcast_to(np.asarray(model_sd, float), len(species))[first]
        return cls(of, each // 2, np.where(known[first], 0.0, LIST_MEAN_SD), model)

    def __len__(self) -> int:
        return len(self.species)

    def _shared(self, sd: Float[np.ndarray, " mean"]) -> Float[np.ndarray, "mean mean"]:
        return (self.species[:, None] == self.species) * np.outer(sd, sd)

    @property
    def covariance(self) -> Float[np.ndarray, "mean mean"]:
        """Of the means beforehand."""
        whole = self._shared(self.list_sd) + self._shared(self.model_sd)
        return whole + np.diag(np.where(np.diagonal(whole) > 0.0, 0.0, LEAST_SD**2))

    @property
    def precision(self) -> Float[np.ndarray, "mean mean"]:
        """Inverse of the covariance."""
        return np.linalg.inv(self.covariance)

    @property
    def of_list(self) -> tuple[Float[np.ndarray, "mean mean"], Float[np.ndarray, " mean"]]:
        """Given all means, mu of each ~ Normal(row of the matrix times the means, variance)."""
        with_means = self._shared(self.list_sd)
        part = with_means @ self.precision
        return part, np.maximum(self.list_sd**2 - np.sum(part * with_means, axis=1), 0.0)

    def draw(self, rng: np.random.Generator) -> tuple[Float[np.ndarray, " line"], Float[np.ndarray, " line"]]:
        """mu and nu of every line, from the prior."""
        n = int(self.species.max(initial=-1)) + 1
        mu, nu = (sd * rng.normal(size=n)[self.species] for sd in (self.list_sd, self.model_sd))
        return mu[self.of], nu[self.of]

    def draw_of_list(self, rng: np.random.Generator, means: Float[np.ndarray, " mean"]) -> Float[np.ndarray, " line"]:
        """mu of every line given the means."""
        part, variance = self.of_list
        return (part @ means + np.sqrt(variance) * rng.normal(size=len(variance)))[self.of]
