"""Laplace and the skewed guide against NUTS on 4 stars x 40 lines: means within 0.15 sd, sds within 15%.

Importance sampling, quicker than NUTS and exact where the Gaussian is near, judges Laplace first.

All see the same simulated LAMOST pixels; NUTS, on NumPyro's density itself, is the truth. The widths of the
prior are held in all.

    python benchmarks/solvers_agree.py --out solvers.json
"""

import argparse
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from astrogf.inference.prior.widths import Widths
from astrogf.inference.problem.parameters import STAR
from astrogf.inference.problem.problem import StarData
from astrogf.inference.rehearsal.small import OPTIONS, build, draw, maximise
from astrogf.inference.solvers.gaussian import joint_sites, laplace_gaussian, with_means
from astrogf.inference.solvers.laplace import recentred
from astrogf.inference.solvers.model import joint_model
from astrogf.inference.solvers.nuts import Solution, importance, laplace, nuts, split_density
from astrogf.inference.solvers.skewed import skewed
from astrogf.runtime import use_compilation_cache

MEAN_BAR, SD_BAR = 0.15, 0.15
COARSE = OPTIONS.changed(model={"oversampling": 8, "depths": 16})
"""All solvers see the same model; how finely it is computed does not matter between them, and NUTS is slow."""


def density_of(small, data, widths):
    """NumPyro's density of some of the stars, as the solvers take it."""

    def density(index):
        mine = small.sample(StarData(data.flux[index], data.ivar[index]))
        quiet = small.quiet(len(index))
        member = jnp.asarray(small.groups.member)
        means = small.groups.means(small.options.lines.model_error)
        args = (mine, member, len(small.groups.names), means, small.options, quiet, widths)
        return split_density(joint_model, args, {}, joint_sites(small.n_line))

    return density


def parts(small, solution: Solution) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Means and sds by kind of parameter."""
    n = small.n_line
    shared = {"corrections": slice(0, n), "ln_sigma0": slice(n, n + 1), "m": slice(n + 1, None)}
    out = {k: (solution.mean[s], solution.sd[s]) for k, s in shared.items()}
    out |= {name: (solution.own_mean[:, i], solution.own_sd[:, i]) for i, name in enumerate(STAR)}
    rest = slice(len(STAR), None)
    return out | {"continuum": (solution.own_mean[:, rest].ravel(), solution.own_sd[:, rest].ravel())}


def against(small, solution: Solution, truth: Solution) -> dict:
    """Largest and typical difference in means (in sd of the truth) and ratio of sds."""
    out = {}
    for (kind, (mean, sd)), (true_mean, true_sd) in zip(
        parts(small, solution).items(), parts(small, truth).values(), strict=True
    ):
        off, ratio = (mean - true_mean) / true_sd, sd / true_sd
        out[kind] = {
            "n": len(off), "mean_off_max": float(np.abs(off).max()), "mean_off_rms": float(np.sqrt(np.mean(off**2))),
            "sd_ratio_min": float(ratio.min()), "sd_ratio_max": float(ratio.max()),
            "sd_ratio_median": float(np.median(ratio)),
            "means_within": float(np.mean(np.abs(off) < MEAN_BAR)),
            "sds_within": float(np.mean(np.abs(ratio - 1) < SD_BAR)),
        }  # fmt: skip
    return out


def main() -> None:
    """Run all three and say how they agree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stars", type=int, default=4)
    parser.add_argument("--lines", type=int, default=40)
    parser.add_argument("--pixels", type=int, default=150, help="of a LAMOST spectrum, from 5223 A")
    parser.add_argument("--max-ratio", type=float, default=0.99, help="of posterior / prior sd expected of a free line")
    parser.add_argument("--snr", type=float, default=200.0)
    parser.add_argument("--draws", type=int, default=500, help="a chain")
    parser.add_argument("--warmup", type=int, default=120)
    parser.add_argument("--chains", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=512, help="of gradients, for Laplace's mean")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--importance", type=int, default=2000, help="draws")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("solvers.json"))
    a = parser.parse_args()
    use_compilation_cache()
    small = build(a.stars, a.lines, n_pixel=a.pixels, kept=200, max_ratio=a.max_ratio, options=COARSE)
    widths = Widths.single(0.2, len(small.groups.names))
    drawn = draw(small, np.random.default_rng(a.seed), snr=a.snr, widths=widths)
    began = time.perf_counter()
    fit = maximise(small, drawn.data, drawn.theta, drawn.shared, widths=widths, tolerance=1e-3)
    gaussian = laplace_gaussian(
        fit.passed.star, fit.passed.rows[0], fit.theta, fit.shared, fit.posterior.mean, fit.posterior.covariance
    )
    means = small.groups.means(small.options.lines.model_error)
    gaussian = with_means(gaussian, fit.posterior.weight, means)
    print(f"{a.stars} stars, {small.n_line} corrections; maximum in {fit.iterations} iterations, last step "
          f"{fit.last_step:.1e} sd, {time.perf_counter() - began:.0f} s", flush=True)  # fmt: skip
    density = density_of(small, drawn.data, widths)
    solutions = {"maximum": laplace(gaussian)}
    results: dict = {"problem": vars(a) | {"out": a.out.name, "corrections": small.n_line}}

    def write():
        a.out.write_text(json.dumps(results, indent=1) + "\n")

    def report(truth: Solution, by: str):
        for name, solution in solutions.items():
            found = results[f"{name} against {by}"] = against(small, solution, truth)
            print(
                f"\n{name} against {by}: off in sd (max, rms), ratio of sds (min, median, max), shares within the bars"
            )
            for kind, r in found.items():
                print(f"  {kind:12s} n {r['n']:3d}  {r['mean_off_max']:.3f} {r['mean_off_rms']:.3f}   "
                      f"{r['sd_ratio_min']:.3f} {r['sd_ratio_median']:.3f} {r['sd_ratio_max']:.3f}   "
                      f"{r['means_within']:.2f} {r['sds_within']:.2f}", flush=True)  # fmt: skip
        write()

    keys = jax.random.split(jax.random.key(a.seed), 4)
    centred = solutions["laplace"] = recentred(density(np.arange(a.stars)), gaussian, keys[3], pairs=a.pairs)
    results["laplace_run"] = {"status": centred.status} | centred.diagnostics
    print("laplace:", results["laplace_run"], flush=True)
    gaussian = centred.gaussian
    weighed = importance(density(np.arange(a.stars)), gaussian, keys[2], draws=a.importance)
    results["importance_run"] = {"status": weighed.status} | weighed.diagnostics
    print("importance:", results["importance_run"], flush=True)
    solutions["skewed"] = skewed(density, gaussian, keys[0], batch=a.batch, steps=a.steps)
    results["skewed_run"] = {"status": solutions["skewed"].status} | solutions["skewed"].diagnostics
    print("skewed:", results["skewed_run"], flush=True)
    report(weighed, "importance")
    truth = nuts(density(np.arange(a.stars)), gaussian, keys[1], warmup=a.warmup, draws=a.draws, chains=a.chains)
    results["nuts_run"] = {"status": truth.status} | truth.diagnostics
    print("nuts:", results["nuts_run"], flush=True)
    solutions["importance"] = weighed
    report(truth, "nuts")


if __name__ == "__main__":
    main()
