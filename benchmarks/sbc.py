"""Simulation-based calibration: is the posterior of stars and corrections as wide as it says?

Problems are drawn from the model's own prior, widths of the errors, classes and the model's own errors of the lines
included, fitted with the arrow solver, and the rank of every true value among draws of the posterior is taken (Talts
et al. 2018, arXiv 1804.06788): `apparent` is what the spectra see of a line (u), `loggf` the list's error (delta).
Draws are those of the sampler of `inference.prior.classes`; stars' own parameters are drawn given them. Ranks must be
uniform. Parameters of one problem are correlated, so the chi2 of the pooled ranks is compared with what it is when the
"truth" is itself a draw of each posterior, not with the tables. Variants change one thing at a time: noise, widths,
grid of the truth, convergence.

    python benchmarks/sbc.py --out sbc.json --figure sbc.png
"""

import argparse
import json
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from astrogf.inference.newton.joint import SharedPrior
from astrogf.inference.prior.classes import Chain, Moves, sweep
from astrogf.inference.prior.widths import Belief, Widths
from astrogf.inference.problem.parameters import STAR, STEP
from astrogf.inference.rehearsal.small import build, draw, maximise, refined
from astrogf.inference.solvers.gaussian import laplace_gaussian
from astrogf.runtime import use_compilation_cache

BINS, DRAWS = 20, 199
VARIANTS = {
    "as the model": {},
    "no outliers": {"outliers": False},
    "widths known": {"known": True},
    "finer truth": {"fine": (32, 40)},
    "two iterations": {"iterations": 2},
    "S/N 300": {"snr": 300.0},
    "S/N 30": {"snr": 30.0},
}
"""What each changes of: S/N 120, outliers and widths as the model has them, the fit's own grid, converged."""
APART, BURN = 3, 40
"""Sweeps of the sampler from draw to draw, and before the first."""


def sampled(small, fit, belief, rng) -> tuple[np.ndarray, np.ndarray]:
    """Draws of the shared parameters and of the log gf, widths and classes sampled."""
    prior = SharedPrior.of(small.groups, small.options)._replace(belief=belief)
    system, member = prior.system(fit.passed.reduced, fit.shared), small.groups.member
    chain = Chain(fit.learned.place, fit.learned.top, np.zeros(len(member), int), system.factor(fit.learned.weight)[1])
    moves = Moves.of(system, belief, fit.learned.place, fit.learned.weight)
    shared, loggf = [], []
    for k in range(-BURN, APART * (DRAWS + 1)):
        chain, *_ = sweep(rng, moves, system, chain)
        if k < 0 or k % APART:
            continue
        share, left = chain.states(system).shrunk()
        mu = system.means.draw_of_list(rng, chain.step[system.shared :])
        mean = share * system.from_mean(chain.step) + mu
        loggf.append(mean + np.sqrt(left) * rng.normal(size=len(member)))
        shared.append(np.asarray(fit.shared) + chain.step[: system.shared])
    return np.array(shared), np.array(loggf)


def one(small, rng, truth_problem, setting) -> dict:
    """Draw and fit a problem: ranks of truth and of one draw of the posterior, by kind of parameter, and z."""
    drawn = draw(
        small, rng, snr=setting.get("snr", 120.0), outliers=setting.get("outliers", True), truth=truth_problem
    )  # fmt: skip
    start, widths = drawn.shared, drawn.widths if setting.get("known") else None
    if "iterations" in setting:  # from the prior's mean instead of the truth, or there is nothing to converge
        start = np.append(np.zeros(small.n_line), drawn.shared[-1])
    fit = maximise(small, drawn.data, drawn.theta, start, widths=widths, iterations=setting.get("iterations", 25))
    belief = small.groups.belief(small.options.lines.model_error) if widths is None else Belief.known(widths)
    shared, loggf = sampled(small, fit, belief, rng)
    mean, covariance = shared.mean(axis=0), np.cov(shared.T)
    gaussian = laplace_gaussian(
        fit.passed.star, fit.passed.rows[0], fit.theta, fit.shared, jnp.asarray(mean), jnp.asarray(covariance)
    )
    off = np.einsum("sij,dj->dsi", np.asarray(gaussian.slope), shared - mean)
    white = rng.normal(size=(DRAWS + 1, *gaussian.own_mean.shape))
    own = np.asarray(gaussian.own_mean) - off + np.einsum("sij,dsj->dsi", np.asarray(gaussian.own_factor), white)
    true_own = drawn.theta / STEP
    out = {"converged": fit.last_step < 0.01, "iterations": fit.iterations}
    values = {"apparent": (drawn.shared[:-1], shared[:, :-1]), "loggf": (drawn.loggf, loggf)}
    values |= {"ln_sigma0": (drawn.shared[-1:], shared[:, -1:])}
    values |= {name: (true_own[:, i], own[:, :, i]) for i, name in enumerate(STAR)}
    out["rank"] = {k: np.sum(d[:-1] < t, axis=0) for k, (t, d) in values.items()}
    out["null"] = {k: np.sum(d[:-1, ...] < d[-1], axis=0) for k, (_, d) in values.items()}
    out["z"] = {k: (d.mean(axis=0) - t) / d.std(axis=0) for k, (t, d) in values.items()}
    widths = Widths.at(fit.learned.place)
    means = small.groups.means(small.options.lines.model_error)
    of_mean = np.diagonal(means.covariance)[means.of]
    prior_sd = np.sqrt((widths.sd**2 + widths.phi**2)[small.groups.member] + of_mean)
    out["ratio"] = shared[:, :-1].std(axis=0) / prior_sd
    # independent, if the posterior is right: the truth in the posterior's own white coordinates
    out["white"] = np.linalg.solve(np.asarray(gaussian.factor), drawn.shared - np.asarray(gaussian.mean))
    return out


def chi2(counts: np.ndarray) -> float:
    """Of counts in equal bins against their mean."""
    return float(np.sum((counts - counts.mean()) ** 2) / counts.mean())


def uniformity(ranks: list[np.ndarray], null: list[np.ndarray], rng, resamples: int = 4000) -> dict:
    """chi2 of pooled ranks, and how often it is exceeded when problems are resampled with null ranks.

    The null distribution: the same number of problems, drawn with replacement from those whose "truth" is a draw.
    """

    def counts(some):
        return np.array([np.bincount(r * BINS // (DRAWS + 1), minlength=BINS) for r in some])

    seen, table = chi2(counts(ranks).sum(0)), counts(null)
    n = len(null)
    flat = table.sum() / BINS / n  # each problem's expectation per bin
    centred = table - table.mean(0) + flat
    draws = np.array([chi2(centred[rng.integers(n, size=n)].sum(0)) for _ in range(resamples)])
    return {"chi2": seen, "dof": BINS - 1, "p": float(np.mean(draws >= seen)), "counts": counts(ranks).sum(0).tolist()}


def summary(found: list[dict], rng) -> dict:
    """p-values and coverage by kind of parameter, and of log gf by how far the data decide their lines."""
    out = {"problems": len(found), "converged": int(sum(f["converged"] for f in found)),
           "iterations": float(np.mean([f["iterations"] for f in found])), "parameters": {}}  # fmt: skip
    for kind in found[0]["rank"]:
        z = np.concatenate([f["z"][kind] for f in found])
        out["parameters"][kind] = {
            **uniformity([f["rank"][kind] for f in found], [f["null"][kind] for f in found], rng),
            "n": len(z), "z_mean": float(z.mean()), "z_rms": float(np.sqrt(np.mean(z**2))),
            "within_1": float(np.mean(np.abs(z) < 1)), "within_2": float(np.mean(np.abs(z) < 2)),
        }  # fmt: skip
    z, ratio = (np.concatenate([f[k]["loggf"] if k == "z" else f[k] for f in found]) for k in ("z", "ratio"))
    out["by_ratio"] = []
    for low, high in ((0, 0.3), (0.3, 0.5), (0.5, 0.8), (0.8, 2.0)):
        mine = (ratio >= low) & (ratio < high)
        if mine.sum() > 10:
            out["by_ratio"].append(
                {"from": low, "to": high, "n": int(mine.sum()), "z_rms": float(np.sqrt(np.mean(z[mine] ** 2))),
                 "within_1": float(np.mean(np.abs(z[mine]) < 1)), "within_2": float(np.mean(np.abs(z[mine]) < 2))}
            )  # fmt: skip
    white = np.concatenate([f["white"] for f in found])
    out["white_z2"] = float(np.mean(white**2))
    out["white_z2_sd"] = float(np.sqrt(2.0 / white.size))
    return out


def picture(results: dict, path: Path) -> None:
    """Histograms of ranks of lines, log gf, Teff and [Fe/H], one row a variant."""
    kinds = ("apparent", "loggf", "teff", "feh")
    figure, axes = plt.subplots(len(results), len(kinds), figsize=(9, 1.3 * len(results)), layout="constrained")
    for row, (name, result) in zip(np.atleast_2d(axes), results.items(), strict=True):
        for ax, kind in zip(row, kinds, strict=True):
            p = result["parameters"][kind]
            counts = np.array(p["counts"])
            ax.bar(np.arange(BINS), counts, width=1.0, color="#0072b2", alpha=0.7)
            mean = counts.mean()
            ax.axhspan(mean - 2 * np.sqrt(mean), mean + 2 * np.sqrt(mean), color="0.8", zorder=0)
            ax.set_title(f"{kind}: p = {p['p']:.3f}", fontsize=7)
            ax.tick_params(labelsize=6)
        row[0].set_ylabel(name, fontsize=7)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run the variants and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("sbc.json"))
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--only", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seed", type=int, default=5)
    a = parser.parse_args()
    use_compilation_cache()
    small = build(4, 40, kept=200)
    print(f"{small.n_star} stars, {small.n_line} corrections in groups {small.groups.names}", flush=True)
    results = {}
    for name in a.only:
        began, setting = time.perf_counter(), VARIANTS[name]
        truth = refined(small, *setting["fine"]) if "fine" in setting else None
        rng = np.random.default_rng(a.seed)
        found = []
        for _ in range(a.problems):
            found.append(one(small, rng, truth, setting))
            if len(found) % 20 == 0:  # what is there so far, should it be stopped
                seconds = round(time.perf_counter() - began, 1)
                results[name] = summary(found, np.random.default_rng(0)) | {"seconds": seconds}
                a.out.write_text(json.dumps(results, indent=1) + "\n")
        r = results[name] = summary(found, np.random.default_rng(0)) | {"seconds": time.perf_counter() - began}
        print(f"\n{name}: {r['problems']} problems, {r['converged']} converged, {r['seconds']:.0f} s, "
              f"white z2 {r['white_z2']:.3f} +- {r['white_z2_sd']:.3f}")  # fmt: skip
        for kind, p in r["parameters"].items():
            print(f"  {kind:11s} n {p['n']:5d}  p {p['p']:.3f}  z mean {p['z_mean']:+.3f} rms {p['z_rms']:.3f}  "
                  f"within 1, 2 sd {p['within_1']:.3f} {p['within_2']:.3f}", flush=True)  # fmt: skip
        for b in r["by_ratio"]:
            print(f"    log gf, ratio {b['from']}-{b['to']}: n {b['n']}, z rms {b['z_rms']:.3f}, "
                  f"within {b['within_1']:.3f} {b['within_2']:.3f}", flush=True)  # fmt: skip
        a.out.write_text(json.dumps(results, indent=1) + "\n")
    if a.figure:
        picture(results, a.figure)


if __name__ == "__main__":
    main()
