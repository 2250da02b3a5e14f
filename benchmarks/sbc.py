"""Simulation-based calibration: is the posterior of stars and corrections as wide as it says?

Problems are drawn from the model's own prior, fitted with the arrow solver, and the rank of every true value among
draws of the Laplace posterior is taken (Talts et al. 2018, arXiv 1804.06788). Ranks must be uniform. Parameters of
one problem are correlated, so the chi2 of the pooled ranks is compared with what it is when the "truth" is itself a
draw of each posterior, not with the tables. Variants change one thing at a time: noise, tau, grid of the truth, solver.

    python benchmarks/sbc.py --out sbc.json --figure sbc.png
"""

import argparse
import json
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import jax
import matplotlib.pyplot as plt
import numpy as np

from astrogf.inference.newton.evidence import Evidence
from astrogf.inference.newton.joint import SharedPrior
from astrogf.inference.newton.scatters import integrate
from astrogf.inference.problem.parameters import STAR, STEP
from astrogf.inference.rehearsal.small import build, draw, maximise, refined
from astrogf.inference.solvers.gaussian import laplace_gaussian
from astrogf.runtime import use_compilation_cache

BINS, DRAWS = 20, 199
VARIANTS = {
    "as the model": {},
    "no outliers": {"outliers": False},
    "tau by EM": {"learn": True},
    "tau drawn, by EM": {"learn": True, "tau": None},
    "tau drawn, integrated": {"learn": True, "tau": None, "integrate": True},
    "finer truth": {"fine": (32, 40)},
    "two iterations": {"iterations": 2},
    "S/N 300": {"snr": 300.0},
    "S/N 30": {"snr": 30.0},
}
"""What each changes of: S/N 120, outliers as the model has them, tau 0.2 and known, the fit's own grid, converged."""


def one(small, rng, truth_problem, setting) -> dict:
    """Draw and fit a problem: ranks of truth and of one draw of the posterior, by kind of parameter, and z."""
    drawn = draw(
        small, rng, snr=setting.get("snr", 120.0), tau=setting.get("tau", 0.2),
        outliers=setting.get("outliers", True), truth=truth_problem,
    )  # fmt: skip
    fit = maximise(
        small, drawn.data, drawn.theta, drawn.shared,
        tau=None if setting.get("learn") else drawn.tau, iterations=setting.get("iterations", 25),
    )  # fmt: skip
    if "iterations" in setting:  # from the prior's mean instead of the truth, or there is nothing to converge
        start = np.zeros_like(drawn.shared)
        start[-1] = drawn.shared[-1]
        fit = maximise(small, drawn.data, drawn.theta, start, tau=drawn.tau, iterations=setting["iterations"])
    if setting.get("integrate"):
        prior = SharedPrior.of(small.groups, small.options)
        evidence = Evidence.of(
            *fit.passed.reduced, fit.shared - prior.mean, prior.group, prior.ln_sigma_sd, small.groups.held
        )
        fit = fit._replace(posterior=integrate(evidence, fit.shared, fit.posterior.tau)[0])
    gaussian = laplace_gaussian(fit.passed, fit.theta, fit.shared, fit.posterior.mean, fit.posterior.covariance)
    shared, own = (np.asarray(x) for x in gaussian.draw(jax.random.key(int(rng.integers(2**31))), DRAWS + 1))
    true_own = drawn.theta / STEP
    out = {"converged": fit.last_step < 0.01, "iterations": fit.iterations}
    values = {"correction": (drawn.shared[:-1], shared[:, :-1]), "ln_sigma0": (drawn.shared[-1:], shared[:, -1:])}
    values |= {name: (true_own[:, i], own[:, :, i]) for i, name in enumerate(STAR)}
    sd, own_sd = (np.asarray(x) for x in gaussian.sd())
    spread = {"correction": sd[:-1], "ln_sigma0": sd[-1:]} | {name: own_sd[:, i] for i, name in enumerate(STAR)}
    centre = {"correction": fit.posterior.mean[:-1], "ln_sigma0": fit.posterior.mean[-1:]}
    centre |= {name: gaussian.own_mean[:, i] for i, name in enumerate(STAR)}
    out["rank"] = {k: np.sum(d[:-1] < t, axis=0) for k, (t, d) in values.items()}
    out["null"] = {k: np.sum(d[:-1, ...] < d[-1], axis=0) for k, (_, d) in values.items()}
    out["z"] = {k: (np.asarray(centre[k]) - t) / spread[k] for k, (t, _) in values.items()}
    out["ratio"] = sd[:-1] / np.hypot(np.asarray(fit.posterior.tau)[small.groups.member], 0.05)
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
    """p-values and coverage by kind of parameter, and of corrections by how far the data decide them."""
    out = {"problems": len(found), "converged": int(sum(f["converged"] for f in found)),
           "iterations": float(np.mean([f["iterations"] for f in found])), "parameters": {}}  # fmt: skip
    for kind in found[0]["rank"]:
        z = np.concatenate([f["z"][kind] for f in found])
        out["parameters"][kind] = {
            **uniformity([f["rank"][kind] for f in found], [f["null"][kind] for f in found], rng),
            "n": len(z), "z_mean": float(z.mean()), "z_rms": float(np.sqrt(np.mean(z**2))),
            "within_1": float(np.mean(np.abs(z) < 1)), "within_2": float(np.mean(np.abs(z) < 2)),
        }  # fmt: skip
    z, ratio = (np.concatenate([f[k]["correction"] if k == "z" else f[k] for f in found]) for k in ("z", "ratio"))
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
    """Histograms of ranks of corrections and of Teff, log g and [Fe/H], one row a variant."""
    kinds = ("correction", "teff", "logg", "feh")
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
            print(f"    corrections, ratio {b['from']}-{b['to']}: n {b['n']}, z rms {b['z_rms']:.3f}, "
                  f"within {b['within_1']:.3f} {b['within_2']:.3f}", flush=True)  # fmt: skip
        a.out.write_text(json.dumps(results, indent=1) + "\n")
    if a.figure:
        picture(results, a.figure)


if __name__ == "__main__":
    main()
