"""Where the training nodes are: a hull in the four labels with a differentiable signed distance."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from astrogf.emulator.structure import LABELS

SCALE = (250.0, 0.5, 0.5, 0.4)
"""Spacing of the ATLAS-9 grid in teff, logg, feh, alpha: a margin of 1 is one grid step."""


STEPS = {"teff": 500.0, "logg": 0.5, "feh": 0.5, "alpha": 0.4}
"""Farthest that two decks may lie apart in one label to count as neighbours."""


class Hull(eqx.Module):
    """The box of the labels, cut by two edges that the grid has.

    `logg_low` is the lowest gravity that exists at each of the temperatures `knots` (a line between them);
    `feh_low` is the lowest metallicity at alpha = low[3] and at alpha = high[3] (a line between them: in
    ATLAS-9 [M/H] = -4 exists for alpha = 0.4 only).
    """

    low: Float[Array, "4"]
    high: Float[Array, "4"]
    knots: Float[Array, " knot"]
    logg_low: Float[Array, " knot"]
    feh_low: Float[Array, "2"]

    @classmethod
    def of(cls, labels: Float[np.ndarray, "node 4"]) -> "Hull":
        """The hull of a set of training nodes on a grid."""
        teff, logg, feh, alpha = labels.T
        knots = np.unique(teff)
        return cls(
            jnp.asarray(labels.min(0)),
            jnp.asarray(labels.max(0)),
            jnp.asarray(knots),
            jnp.asarray([logg[teff == t].min() for t in knots]),
            jnp.asarray([feh[alpha == alpha.min()].min(), feh[alpha == alpha.max()].min()]),
        )

    def distances(self, labels: Float[Array, "4"]) -> Float[Array, "8"]:
        """Signed distance to each face in grid steps, positive inside: low and high of each label in turn.

        The low faces of logg and feh are sloped; their distance is measured at right angles to the slope.
        """
        labels = jnp.asarray(labels)
        teff, logg, feh, alpha = labels
        scale = jnp.asarray(SCALE)
        low, high = (labels - self.low) / scale, (self.high - labels) / scale
        i = jnp.clip(jnp.searchsorted(self.knots, teff) - 1, 0, len(self.knots) - 2)
        rise = (self.logg_low[i + 1] - self.logg_low[i]) / (self.knots[i + 1] - self.knots[i])
        within = jnp.clip(teff, self.low[0], self.high[0])
        floor = self.logg_low[i] + rise * (within - self.knots[i])
        steep = rise * scale[0] / scale[1]
        gravity = (logg - floor) / scale[1] / jnp.sqrt(1 + steep**2)
        span = self.high[3] - self.low[3]
        tilt = jnp.where(span > 0, (self.feh_low[1] - self.feh_low[0]) / jnp.where(span > 0, span, 1.0), 0.0)
        metal = (feh - self.feh_low[0] - tilt * (alpha - self.low[3])) / scale[2]
        metal = metal / jnp.sqrt(1 + (tilt * scale[3] / scale[2]) ** 2)
        low = low.at[1].set(jnp.minimum(low[1], gravity)).at[2].set(jnp.minimum(low[2], metal))
        return jnp.stack([low, high], axis=-1).reshape(-1)

    def margin(self, labels: Float[Array, "4"]) -> Float[Array, ""]:
        """Distance to the nearest face in grid steps: positive inside, negative outside, differentiable."""
        return jnp.min(self.distances(labels))

    def inside(self, labels: Float[Array, "4"]) -> Bool[Array, ""]:
        """Whether the labels lie in the hull, faces included."""
        return self.margin(labels) >= -1e-9

    def leaning(self, labels: Float[Array, "4"], within: float = 0.1) -> tuple[str, ...]:
        """Names of the faces that the labels lie on, beyond or within `within` grid steps of; not traced."""
        near = np.asarray(self.distances(labels)) < within
        names = [f"{name} {side}" for name in LABELS for side in ("low", "high")]
        return tuple(n for n, hit in zip(names, near, strict=True) if hit)

    def card(self) -> dict:
        """The hull as plain numbers, for the card."""
        return {k: np.asarray(v).tolist() for k, v in vars(self).items()}


def neighbours(labels: Float[np.ndarray, "deck 4"]) -> dict[str, np.ndarray]:
    """Pairs of decks that differ in one label only, by the label's next value in the set: index pairs by label."""
    pairs: dict[str, np.ndarray] = {}
    for k, name in enumerate(LABELS):
        others = np.delete(labels, k, axis=1)
        order = np.lexsort((labels[:, k], *others.T))
        a, b = order[:-1], order[1:]
        step = labels[b, k] - labels[a, k]
        good = np.all(others[a] == others[b], axis=1) & (step > 0) & (step <= STEPS[name] + 1e-9)
        pairs[name] = np.stack([a[good], b[good]], axis=1)
    return pairs
