"""Training set of the atlas12 family: the C3K nodes of the package atmosnet 1.0.1. A teacher's values, not decks.

    python tools/build_atlas12.py           writes .cache/atlas12.npz (40 MB, not committed)

Needs the training set of tools/build_atlas9.py (real decks, to measure the teacher's offsets with), and builds it where
it is missing.

The teacher's networks carry offsets that are the same in every atmosphere and jump from depth to depth (each output
has its own last bias, left where a stochastic optimiser stopped). They are measured without any ATLAS-12 deck and
taken out, see `offsets`; then nodes whose RHOX does not increase, or that are not in hydrostatic equilibrium, are
dropped (P falls inwards where ACCRAD exceeds gravity in real decks of supergiants: that is no reason). Only the labels
at which C3K models exist are used: between them the teacher is made of linear pieces.
"""

import argparse
import sys
from pathlib import Path

import build_atlas9
import jax
import numpy as np
from sources import fetch, sha256

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from astrogf.emulator import hydrostatic  # noqa: E402
from astrogf.emulator.atmosnet import FILES, Networks  # noqa: E402
from astrogf.emulator.network import QUANTITIES  # noqa: E402

LOW, HIGH = (3500.0, -1.0, -4.0, -0.2), (8000.0, 5.5, 0.5, 0.6)
DEPTHS = 72
"""log tau -6.875 to 2, as in ATLAS-9: deeper layers leave no light and have no real deck to be measured with."""
RHOX, T, P, ABROSS, ACCRAD = (QUANTITIES.index(q) for q in ("rhox", "t", "p", "abross", "accrad"))
DISAGREE = 0.05
"""dex between the teacher's RHOX or P and the integrals of its own ABROSS and ACCRAD that a node may have."""


def log10_teacher(networks: Networks, labels: np.ndarray) -> np.ndarray:
    """log10 of the six quantities, shape (node, 6, DEPTHS)."""
    run = jax.jit(jax.vmap(networks.log10))
    return np.concatenate([np.asarray(run(labels[i : i + 500])) for i in range(0, len(labels), 500)])[..., :DEPTHS]


def integrals(labels: np.ndarray, values: np.ndarray, log_tau: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log10 RHOX and P that follow from ABROSS, ACCRAD and the topmost RHOX and P (NaN where P would be negative)."""
    quadrature = hydrostatic.cumulative_matrix(log_tau).T
    mass = 10 ** (log_tau - values[:, ABROSS])
    rhox = 10 ** values[:, RHOX, :1] + mass @ quadrature
    p = 10 ** values[:, P, :1] + (mass * (10 ** labels[:, 1:2] - 10 ** values[:, ACCRAD])) @ quadrature
    return np.log10(rhox), np.log10(np.where(p > 0, p, np.nan))


def offsets(networks: Networks, atlas9: Path, log_tau: np.ndarray) -> np.ndarray:
    """What the teacher is off by at each quantity and depth in every atmosphere alike, dex, shape (6, depth).

    1. Jumps: median over the 1,500 or so ATLAS-9 decks with Teff >= 4500 K and logg >= 2 of teacher minus deck, less
       a smooth curve through it (Whittaker 1923, third differences). Two codes differ smoothly in depth.
    2. T as a whole: the same median in log tau 0 to 1.5, where neither the treatment of lines nor of the solar
       mixture moves T(tau_Ross) much.
    3. RHOX and P as a whole: their median distance from the integrals of the teacher's own ABROSS and ACCRAD;
       the topmost layers, which these integrals start from, share the mean of log tau -5.4 to -3.1.
    """
    with np.load(atlas9) as z:
        labels, decks = z["labels"], np.log10(z["values"])
    keep = (labels[:, 0] >= 4500) & (labels[:, 1] >= 2)
    labels = labels[keep]
    teacher = log10_teacher(networks, labels)
    apart = np.median(teacher - decks[keep], axis=0)
    bend = np.diff(np.eye(DEPTHS), 3, axis=0)
    off = apart - np.linalg.solve(np.eye(DEPTHS) + 1e3 * bend.T @ bend, apart.T).T
    off[T] += np.median(apart[T, (log_tau >= 0) & (log_tau <= 1.5)])
    for _ in range(3):
        values = teacher - off
        for q, integral in zip((RHOX, P), integrals(labels, values, log_tau), strict=True):
            miss = np.nanmedian(values[:, q] - integral, axis=0)
            miss[:12] = miss[12:31].mean()
            off[q] += miss
    return off


def usable(labels: np.ndarray, values: np.ndarray, log_tau: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """Which nodes to keep, and how many fail each test (a node may fail several)."""
    inner = (log_tau >= -5) & (log_tau <= 1.5)
    with np.errstate(invalid="ignore"):
        far = [
            ~(np.abs(values[:, q] - i)[:, inner].max(axis=1) < DISAGREE)
            for q, i in zip((RHOX, P), integrals(labels, values, log_tau), strict=True)
        ]
    bad = {
        "RHOX does not increase": np.any(np.diff(values[:, RHOX], axis=1) <= 0, axis=1),
        f"RHOX is off its integral by {DISAGREE} dex": far[0],
        f"P is off its integral by {DISAGREE} dex": far[1],
    }
    good = ~np.any(list(bad.values()), axis=0)
    before = good.copy()
    for teff in np.unique(labels[:, 0]):  # a gravity that most nodes fail at is no part of the grid
        for logg in np.unique(labels[labels[:, 0] == teff, 1])[::-1]:
            here = (labels[:, 0] == teff) & (labels[:, 1] == logg)
            if good[here].mean() < 0.5:
                good[(labels[:, 0] == teff) & ((labels[:, 1] <= logg) if logg < 3 else here)] = False
    counts = {k: int(v.sum()) for k, v in bad.items()}
    counts["beyond a gravity that most nodes fail at"] = int((before & ~good).sum())
    return good, counts


def build(out: Path, atlas9: Path) -> None:
    """Write arrays `labels`, `log_tau`, `values`, `offsets`."""
    if not atlas9.exists():
        build_atlas9.build(atlas9)
    networks = Networks.read(fetch("atmosnet") / "atmosnet" / "data" / FILES["cool"])
    log_tau = networks.log_tau[:DEPTHS]
    labels = networks.nodes
    labels = labels[np.all((labels >= LOW) & (labels <= HIGH), axis=1)]
    labels = labels[np.lexsort(labels.T[::-1])]
    off = offsets(networks, atlas9, log_tau)
    values = log10_teacher(networks, labels) - off
    good, counts = usable(labels, values, log_tau)
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        out,
        labels=labels[good],
        log_tau=log_tau,
        values=10 ** values[good],
        quantities=np.array(QUANTITIES),
        offsets=off,
        refused=np.array([f"{k}: {v}" for k, v in counts.items()]),
    )
    for reason, count in counts.items():
        print(f"left out: {count} nodes, {reason}")
    sizes = np.median(np.abs(off), axis=1)
    print("median size of the offsets, dex:", {q: round(float(v), 5) for q, v in zip(QUANTITIES, sizes, strict=True)})
    print(f"{out}: {good.sum()} of {len(labels)} nodes, sha256 {sha256(out)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / ".cache" / "atlas12.npz")
    parser.add_argument("--atlas9", type=Path, default=ROOT / ".cache" / "atlas9.npz")
    options = parser.parse_args()
    build(options.out, options.atlas9)
