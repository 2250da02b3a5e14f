"""What a star's own abundances add to a surrogate's spectra: a parabola in each, foretold by a process of its own.

An abundance moves log (gf x abundance) of all lines of a carrier alike, so that a spectrum is a function of one shift
of each composition: C, Mg, C2, CN. Lines of one composition hardly overlap those of another, and what two shifts do
together beyond what each does alone is neglected; CN has a shift of its own, so that of carbon and nitrogen it is not.
"""

from collections.abc import Mapping
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from astrogf.inference.surrogate.process import Process, fit_process

LARGEST_STEP = 0.2
"""dex: a step is a prior sd of the shift, but no more than that."""
REACH = 4.0
"""Steps beyond which spectra go on along straight lines."""
ORDERS = 2
LEFT_OUT = 2e-5
"""rms of the flux, of a composition shifted by its step, that components may leave."""


class Change(NamedTuple):
    """What abundances add to a spectrum, and its derivatives by the process's coordinates and by the abundances."""

    flux: Float[Array, " point"]
    by_coordinate: Float[Array, "coordinate point"]
    by_abundance: Float[Array, "element point"]


class Abundances(eqx.Module):
    """Of every composition, the coefficients of shift / `step` and its square on the points of a `Coarse`.

    They are sums of its `components`, whose amplitudes are `middle` and what `process` adds. `atoms` is the number of
    atoms of each element in a composition: its shift is atoms @ [X/Fe].
    """

    process: Process
    middle: Float[Array, " component"]
    components: tuple[Float[Array, "component order point"], ...]
    atoms: Float[Array, "composition element"]
    step: Float[Array, " composition"]

    def __call__(
        self,
        place: Float[Array, " coordinate"],
        past: Float[Array, " coordinate"],
        abundances: Float[Array, " element"],
    ) -> Change:
        """The change at `place` and, along straight lines, so far `past` it."""
        power, slope = powers(self.atoms @ abundances / self.step)
        told = self.process(place)
        told = told.at[0].add(self.middle + past @ told[1:])
        total, by_shift, first = jnp.zeros(()), list[Array](), 0
        for q, block in enumerate(self.components):
            n, order, point = block.shape
            mine = told[:, first : first + n, None]
            first += n
            # powers go into the amplitudes: one product of matrices, and nothing of size component x point a star
            rows = jnp.concatenate([mine * power[q], mine[:1] * slope[q]])
            seen = rows.reshape(-1, n * order) @ block.reshape(n * order, point)
            total = total + seen[:-1]
            by_shift.append(seen[-1])
        return Change(total[0], total[1:], (self.atoms / self.step[:, None]).T @ jnp.stack(by_shift))

    def beyond(self, abundances: Float[np.ndarray, "star element"]) -> Bool[np.ndarray, " star"]:
        """Whether stars have a composition that is shifted farther than the parabola is good for."""
        return np.any(np.abs(abundances @ np.asarray(self.atoms).T) > REACH * np.asarray(self.step), axis=1)


def powers(
    u: Float[Array, " composition"],
) -> tuple[Float[Array, "composition order"], Float[Array, "composition order"]]:
    """u, u^2 and their derivatives, along straight lines beyond `REACH`."""
    order, held = jnp.arange(1, ORDERS + 1), jnp.clip(u, -REACH, REACH)[:, None]
    slope = order * held ** (order - 1)
    return held**order + (u[:, None] - held) * slope, slope


def steps_of(atoms: Float[np.ndarray, "composition element"], sd: float) -> Float[np.ndarray, " composition"]:
    """By how much every composition is shifted, dex, for the second derivative, of abundances with this prior sd."""
    return np.minimum(sd * np.sqrt(np.sum(atoms**2, axis=1)), LARGEST_STEP)


def coefficients(
    step: Float[np.ndarray, " composition"],
    here: Float[np.ndarray, "star composition point"],
    moved: Float[np.ndarray, "star composition point"],
) -> Float[np.ndarray, "star composition order point"]:
    """Of the parabolas whose derivatives by the shift are these where no composition is shifted, and where each is
    by its step."""
    return step[:, None, None] * np.stack([here, (moved - here) / 2.0], axis=2)


def fit_abundances(
    place: Float[np.ndarray, "star coordinate"],
    terms: Float[np.ndarray, "star composition order point"],
    atoms: Float[np.ndarray, "composition element"],
    step: Float[np.ndarray, " composition"],
) -> Abundances | None:
    """Through these `coefficients` of stars at `place`; compositions that hardly show are left out, None if all are."""
    kept, components, amplitudes = list[int](), list[Array](), list[np.ndarray]()
    n_star, _, n_order, n_point = terms.shape
    for q in range(len(atoms)):
        rows = terms[:, q].reshape(n_star, -1)
        left, size, across = np.linalg.svd(rows, full_matrices=False)
        rest = np.sqrt(np.cumsum(size[::-1] ** 2)[::-1] / (n_star * n_point))
        n = int(np.sum(rest > LEFT_OUT))
        if n:
            kept.append(q)
            components.append(jnp.asarray(across[:n].reshape(n, n_order, n_point)))
            amplitudes.append(left[:, :n] * size[:n])
    if not kept:
        return None
    values = np.concatenate(amplitudes, axis=1)
    middle = values.mean(0)
    process = fit_process(place, values - middle, None, np.sqrt(values.std(0)))
    return Abundances(
        process, jnp.asarray(middle), tuple(components), jnp.asarray(atoms[kept]), jnp.asarray(step[kept])
    )


PREFIX = "abundances_"


def as_arrays(these: Abundances | None) -> dict[str, np.ndarray]:
    """All that they are, for a file."""
    if these is None:
        return {}
    arrays = {name: np.asarray(value) for name, value in these.process._asdict().items()}
    arrays |= {name: np.asarray(getattr(these, name)) for name in ("middle", "atoms", "step")}
    arrays["components"] = np.concatenate([np.asarray(block) for block in these.components])
    arrays["count"] = np.array([len(block) for block in these.components])
    return {PREFIX + name: value for name, value in arrays.items()}


def from_arrays(arrays: Mapping[str, np.ndarray]) -> Abundances | None:
    """The inverse of `as_arrays`."""
    if PREFIX + "count" not in arrays:
        return None
    mine = {name: jnp.asarray(arrays[PREFIX + name]) for name in (*Process._fields, "middle", "atoms", "step")}
    blocks = np.split(arrays[PREFIX + "components"], np.cumsum(arrays[PREFIX + "count"])[:-1])
    process = Process(*(mine[name] for name in Process._fields))
    return Abundances(process, mine["middle"], tuple(map(jnp.asarray, blocks)), mine["atoms"], mine["step"])
