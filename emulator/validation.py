"""Emulators against decks: errors by quantity and depth, hydrostatic residuals, label derivatives, random draws.

Pure functions on arrays; `astrogf validate-emulator` reads the files and draws.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from astrogf.base.errors import AstrogfError
from astrogf.emulator import hydrostatic
from astrogf.emulator.cards import RANGE
from astrogf.emulator.decks import Deck
from astrogf.emulator.domain import neighbours
from astrogf.emulator.layers import Source
from astrogf.emulator.network import QUANTITIES
from astrogf.emulator.structure import Structure

LN10 = float(np.log(10.0))
LAYERS = np.arange(RANGE[0], RANGE[1] + 1e-9, 0.125)
"""log tau of the layers that count, the ATLAS grid between -5 and 1.5."""
RESOLVED = {"t": 0.003, "others": 0.03}
"""Size of a difference in ln q between neighbours above which it is resolved: ten times what the decks' own
convergence leaves (their hydrostatic residual is 0.001 to 0.003 dex at the 95th percentile)."""


class Sample(NamedTuple):
    """Decks as arrays on LAYERS: labels and ln of the six quantities, and which of them nobody was trained on."""

    labels: Float[np.ndarray, "deck 4"]
    ln: Float[np.ndarray, "deck 6 depth"]
    unseen: Bool[np.ndarray, " deck"]
    residual: Float[np.ndarray, " any"]
    """log10 hydrostatic residual of the decks themselves, without their first 2 and last 20 layers, dex."""

    @classmethod
    def of(cls, decks: list[Deck], seen: set[tuple[float, ...]]) -> "Sample":
        """Decks whose layers include LAYERS; `seen` holds the labels that were trained on."""
        rows, rest, kept = [], [], []
        for deck in decks:
            s = deck.structure
            log_tau = np.log10(np.asarray(s.tau))
            if log_tau[0] > LAYERS[0] + 1e-6 or log_tau[-1] < LAYERS[-1] - 1e-6:
                continue
            ln = np.log(np.maximum([np.asarray(getattr(s, q)) for q in QUANTITIES], 1e-30))
            rows.append([np.interp(LAYERS, log_tau, row) for row in ln])
            rest.append(hydrostatic.residual(s, deck.logg)[2:-20])
            kept.append(deck.labels)
        labels = np.array(kept).reshape(-1, 4)
        unseen = np.array([tuple(x) not in seen for x in labels], bool)
        return cls(labels, np.array(rows).reshape(-1, 6, len(LAYERS)), unseen, np.concatenate([*rest, []]))


def evaluate(source: Source, labels: Float[np.ndarray, "star 4"]) -> Float[np.ndarray, "star 6 depth"]:
    """ln of the six quantities on LAYERS, 256 stars at a time."""
    tau = 10.0 ** jnp.asarray(LAYERS)
    return _in_parts(lambda x: jnp.log(_columns(source(x, tau), QUANTITIES)), labels)


def covered(source: Source, labels: Float[np.ndarray, "star 4"]) -> Bool[np.ndarray, " star"]:
    """Which labels lie in the source's domain, its faces included."""
    return np.asarray(jax.jit(jax.vmap(source.margin))(jnp.asarray(labels))) >= -1e-9


def errors(
    emulated: Float[np.ndarray, "deck 6 depth"], truth: Float[np.ndarray, "deck 6 depth"]
) -> dict[str, dict[str, Any]]:
    """Absolute errors by quantity (median, p95, p99, rms) and the median in each dex of log tau."""
    table = {}
    for i, q in enumerate(QUANTITIES):
        miss = np.abs(emulated[:, i] - truth[:, i])
        miss = 100 * np.expm1(miss) if q == "t" else miss / LN10
        by_depth = {
            f"{low:+.0f}": float(np.median(miss[:, (low <= LAYERS) & (low + 1 > LAYERS)])) for low in range(-5, 2)
        }
        table[q] = {
            "median": float(np.median(miss)),
            "p95": float(np.percentile(miss, 95)),
            "p99": float(np.percentile(miss, 99)),
            "rms": float(np.sqrt(np.mean(miss**2))),
            "median_by_log_tau": by_depth,
        }
    return table


def residuals(source: Source, labels: Float[np.ndarray, "star 4"], log_tau: Float[np.ndarray, " depth"]) -> np.ndarray:
    """Hydrostatic residual in dex of each star on these depths, without the first 2 and the last 20."""
    tau = 10.0 ** jnp.asarray(log_tau)
    blank = np.ones(len(log_tau))
    rest = []
    tables = _in_parts(lambda x: _columns(source(x, tau), ("rhox", "p", "accrad")), labels)
    for x, (rhox, p, accrad) in zip(labels, tables, strict=True):
        s = Structure(blank, rhox, blank, p, blank, blank, accrad)  # type: ignore[arg-type]
        rest.append(hydrostatic.residual(s, x[1])[2:-20])
    return np.concatenate([*rest, []])


def spread(values: np.ndarray) -> dict[str, float | None]:
    """Median, p95 and p99 of absolute values, NaN left out (and counted)."""
    good = np.abs(values[np.isfinite(values)])
    names = {"median": 50, "p95": 95, "p99": 99}
    percentiles: dict[str, float | None] = dict.fromkeys(names)
    if len(good):
        percentiles = {name: float(np.percentile(good, percent)) for name, percent in names.items()}
    return percentiles | {"undefined": float(1 - len(good) / max(1, len(values)))}


def derivatives(
    emulated: Float[np.ndarray, "deck 6 depth"], sample: Sample, allowed: Bool[np.ndarray, " deck"]
) -> dict[str, dict[str, Any]]:
    """Mean label derivative between neighbours, emulated against the decks': rms of the miss over rms of the true.

    A difference of the emulator over the decks' own step is the mean of its Jacobian over that step, so that
    no error of the step size enters. `all` takes every layer where the difference is resolved, `unseen` the
    pairs with a deck that was held out. `layers` is the share of resolved layers.
    """
    table: dict[str, dict[str, Any]] = {}
    for name, pairs in neighbours(sample.labels).items():
        pairs = pairs[allowed[pairs].all(axis=1)] if len(pairs) else pairs
        table[name] = {"pairs": len(pairs)}
        if not len(pairs):
            continue
        a, b = pairs.T
        true, ours = sample.ln[b] - sample.ln[a], emulated[b] - emulated[a]
        fresh = sample.unseen[a] | sample.unseen[b]
        for i, q in enumerate(QUANTITIES):
            clear = np.abs(true[:, i]) > RESOLVED.get(q, RESOLVED["others"])
            row: dict[str, float | None] = {"layers": float(clear.mean())}
            for key, use in (("all", clear), ("unseen", clear & fresh[:, None])):
                gone = ours[:, i][use] - true[:, i][use]
                row[key] = float(np.sqrt(np.mean(gone**2) / np.mean(true[:, i][use] ** 2))) if gone.size else None
                row[f"{key}_median"] = float(np.median(np.abs(gone / true[:, i][use]))) if gone.size else None
            table[name][q] = row
    return table


def draws(
    source: Any, low: Float[np.ndarray, "4"], high: Float[np.ndarray, "4"], count: int, seed: int
) -> dict[str, Any]:
    """How many of `count` random labels from the domain give finite, positive and monotone structures."""
    rng = np.random.default_rng(seed)
    labels = low + (high - low) * rng.random((20 * count, 4))
    labels = labels[covered(source, labels)][:count]
    values = _in_parts(lambda x: _columns(source(x), ("tau", *QUANTITIES)), labels)
    rises = {q: np.all(np.diff(values[:, i]) > 0, axis=1) for i, q in ((0, "tau"), (1, "rhox"), (3, "p"))}
    weak = np.any(values[:, 6] > 10.0 ** labels[:, 1:2], axis=1)
    return {
        "draws": len(labels),
        "seed": seed,
        "finite_and_positive": int(np.all(np.isfinite(values) & (values > 0), axis=(1, 2)).sum()),
        **{f"{q}_increases": int(r.sum()) for q, r in rises.items()},
        "p_falls_though_accrad_below_gravity": int((~rises["p"] & ~weak).sum()),
        "lowest_logg_at_which_p_falls": float(labels[~rises["p"], 1].min()) if (~rises["p"]).any() else None,
        "highest_logg_at_which_p_falls": float(labels[~rises["p"], 1].max()) if (~rises["p"]).any() else None,
    }


def _columns(structure: Structure, names: tuple[str, ...]) -> Float[Array, "column depth"]:
    return jnp.stack([getattr(structure, q) for q in names])


def _in_parts(one: Callable[[Array], Array], labels: np.ndarray, size: int = 256) -> np.ndarray:
    """`one` over all labels, in parts of one size (compiled once), the last one filled up."""
    if not len(labels):
        raise AstrogfError("no labels to evaluate: the decks lie outside the domain")
    run = jax.jit(jax.vmap(one))
    full = np.concatenate([labels, np.repeat(labels[-1:], -len(labels) % size, axis=0)])
    parts = [np.asarray(run(jnp.asarray(full[i : i + size]))) for i in range(0, len(full), size)]
    return np.concatenate(parts)[: len(labels)]
