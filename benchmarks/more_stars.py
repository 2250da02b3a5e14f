"""How the errors of log gf fall with the number of stars, and whether true errors fall with them.

A survey of simulated stars is fitted with its first 4, 8, ... of them. What all stars together say of the corrections,
(A, b), is N / N_all of it for N stars that are like the others, which predicts the posterior sd of every line; the true
errors must follow. Repeated with other truths.

    python benchmarks/more_stars.py --out more_stars.json --figure more_stars.png
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

from astrogf.inference.prior import groups as hyper
from astrogf.inference.prior.means import LIST_MEAN_SD
from astrogf.inference.prior.widths import Widths
from astrogf.inference.problem.problem import StarData
from astrogf.inference.rehearsal.small import build, draw, maximise
from astrogf.runtime import use_compilation_cache
from astrogf.style import paper


def predicted(small, fit, part: float) -> np.ndarray:
    """Posterior sd of the corrections from `part` of what the data of a fit say."""
    o = small.options
    ln_sigma_sd = jnp.asarray(o.stars.ln_resolution_sd)
    groups, weight = small.groups, fit.posterior.weight
    prior = np.asarray(hyper.shared_precision(weight, groups.means(o.lines.model_error), ln_sigma_sd))
    return np.sqrt(np.diag(np.linalg.inv(prior + part * np.asarray(fit.passed.reduced.precision))))[:-1]


def one(small, counts: list[int], snr: float, rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Posterior sd, predicted sd and error, each (number of stars, line), of one truth."""
    drawn = draw(small, rng, snr=snr, widths=Widths.single(0.2, len(small.groups.names)))
    found = []
    for n in counts:
        data = StarData(*(x[:n] for x in drawn.data))
        found.append(maximise(small, data, drawn.theta[:n], drawn.shared, widths=drawn.widths))
    sd = np.array([np.sqrt(np.diag(np.asarray(f.posterior.covariance)))[:-1] for f in found])
    expected = np.array([predicted(small, found[-1], n / counts[-1]) for n in counts])
    error = np.array([np.asarray(f.posterior.mean)[:-1] - drawn.shared[:-1] for f in found])
    return sd, expected, error


def draw_figure(path: Path, counts: list[int], rows: list[dict], prior: float) -> None:
    """Posterior sd, its prediction and the true errors against the number of stars."""
    with paper():
        figure, axis = plt.subplots(figsize=(4.2, 3.4), layout="constrained")
        for key, style, label in (
            ("rms_sd", "o-", "posterior sd (rms over lines)"),
            ("rms_expected", "k--", "expected from what all stars say"),
            ("rms_error", "s", "true error (rms)"),
        ):
            axis.plot(counts, [row[key] for row in rows], style, label=label, ms=4)
        axis.axhline(prior, color="0.6", lw=0.8, label="prior")
        axis.set(xscale="log", yscale="log", xlabel="stars", ylabel=r"error of $\log gf$ / dex")
        axis.set_xticks(counts, [str(n) for n in counts], minor=False)
        axis.set_yticks([0.05, 0.1, 0.2], ["0.05", "0.1", "0.2"])
        axis.minorticks_off()
        axis.legend(fontsize=7)
        figure.savefig(path, dpi=150)


def main() -> None:
    """Print and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[4, 8, 16, 32, 64])
    parser.add_argument("--lines", type=int, default=40)
    parser.add_argument("--pixels", type=int, default=100)
    parser.add_argument("--truths", type=int, default=8)
    parser.add_argument("--snr", type=float, default=80.0)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--out", type=Path, default=Path("more_stars.json"))
    parser.add_argument("--figure", type=Path)
    a = parser.parse_args()
    use_compilation_cache()
    began = time.perf_counter()
    small = build(a.counts[-1], a.lines, n_pixel=a.pixels)
    rng = np.random.default_rng(a.seed)
    truths = [one(small, a.counts, a.snr, rng) for _ in range(a.truths)]
    sd, expected, error = (np.array(x) for x in zip(*truths, strict=True))
    prior_sd = float(np.hypot(0.2, LIST_MEAN_SD))
    informed = sd[:, -1] < 0.5 * prior_sd
    print(f"{small.n_line} corrections, {informed.sum(1).mean():.0f} of them informed by {a.counts[-1]} stars, "
          f"S/N {a.snr:g}, {a.truths} truths, {time.perf_counter() - began:.0f} s")  # fmt: skip
    print("stars  sd/dex  expected  ratio (16-84% of lines)  true error   rms z   within 1, 2 sd")
    rows = []
    for k, n in enumerate(a.counts):
        s, e, r = (x[:, k][informed] for x in (sd, expected, error))
        z, low, high = r / s, *np.percentile(s / e, [16, 84])
        rows.append({
            "stars": n, "rms_sd": float(np.sqrt(np.mean(s**2))), "rms_expected": float(np.sqrt(np.mean(e**2))),
            "rms_error": float(np.sqrt(np.mean(r**2))), "rms_z": float(np.sqrt(np.mean(z**2))),
            "within_1": float(np.mean(np.abs(z) < 1)), "within_2": float(np.mean(np.abs(z) < 2)),
        })  # fmt: skip
        q = rows[-1]
        print(f"{n:5d}  {q['rms_sd']:.4f}  {q['rms_expected']:.4f}    {np.median(s / e):.3f} ({low:.3f}-{high:.3f})   "
              f"   {q['rms_error']:.4f}       {q['rms_z']:.2f}    {100 * q['within_1']:.0f}% "
              f"{100 * q['within_2']:.0f}%", flush=True)  # fmt: skip
    found = {"lines": small.n_line, "informed": int(informed.sum()), "rows": rows}
    a.out.write_text(json.dumps(found, indent=1) + "\n")
    if a.figure:
        draw_figure(a.figure, a.counts, rows, prior_sd)


if __name__ == "__main__":
    main()
