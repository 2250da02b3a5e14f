"""The priors of a run learned anew from its sufficient statistics, without its spectra.

Run: python benchmarks/relearn.py RUN OUT [--least-group 100000] [--floor 0.09] [--prior-sd 0.4]
     astrogf compare OUT TABLE --json OUT.json

OUT is a copy of the run whose loggf.ecsv holds corrections and errors under other groups of lines (a group of fewer
than `least-group` lines is pooled, so that a large number gives all lines one prior) and another systematic floor.
Exact as far as the model is linear between the two maxima.
"""

import argparse
import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from astropy.table import Table

import emulator  # noqa: F401  (double precision)
from astrogf.tables import wavelength_order
from inference import hyper, statistics


def main() -> None:
    """Write OUT and print the learned scatters."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--least-group", type=int, default=100_000)
    parser.add_argument("--floor", type=float, default=0.09)
    parser.add_argument("--prior-sd", type=float, default=0.4, help="where the scatters start, dex")
    parser.add_argument("--ln-sigma-sd", type=float, default=0.1, help="prior sd of the shared resolution")
    a = parser.parse_args()
    s = statistics.load(a.run / "statistics.npz")
    lines = Table.read(a.run / "loggf.ecsv")
    n = len(s.lines.wavelength)
    quality = np.array([str(g).split()[-1] for g in lines["group"]])
    order = wavelength_order(Table({"wavelength": s.lines.wavelength}))
    if not np.allclose(s.lines.wavelength[order], lines["wavelength"], atol=1e-3):
        raise SystemExit(f"{a.run}: statistics.npz and loggf.ecsv are not of the same lines")
    place = np.argsort(order)
    groups = hyper.make_groups(s.lines.species, quality[place], a.least_group)
    mean = jnp.zeros(n + 1).at[-1].set(s.point[-1])
    found = hyper.learn(
        jnp.asarray(s.precision), jnp.asarray(s.gradient), jnp.asarray(s.point), mean, jnp.asarray(a.ln_sigma_sd),
        jnp.full(len(groups.names), a.prior_sd), jnp.asarray(groups.member), 25,
    )  # fmt: skip
    prior = np.asarray(hyper.prior_sd(found.tau, jnp.asarray(groups.member)))
    statistical = np.sqrt(np.diag(np.asarray(found.covariance)))[:n]
    sd = np.hypot(statistical, a.floor)
    correction = np.asarray(found.mean)[:n]
    columns = {"correction": correction, "statistical_sd": statistical, "posterior_sd": sd, "prior_sd": prior}
    for name, values in (columns | {"ratio": sd / prior}).items():
        lines[name] = values[order]
    lines["loggf_corrected"] = np.asarray(lines["loggf"]) + np.asarray(lines["correction"])
    lines["group"] = np.array(groups.names)[groups.member][order]
    shutil.copytree(a.run, a.out, ignore=shutil.ignore_patterns("figures", "report.html"))
    lines.write(a.out / "loggf.ecsv", format="ascii.ecsv", overwrite=True)
    for name, tau, count in zip(groups.names, np.asarray(found.tau), np.bincount(groups.member), strict=True):
        print(f"{name:20s} {count:5d} lines, scatter {tau:.3f} dex")


if __name__ == "__main__":
    main()
