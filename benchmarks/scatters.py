"""Seconds of the integral over the prior's widths and classes, by stage, and of learning them, on simulated (A, b).

The matrix is a survey's in structure: lines of lognormal strength, blended with some ten neighbours, seen by stars
whose eight labels each are eliminated; 15 groups, the largest with a fifth of the lines, one with a held scatter.
`--than` repeats the integral with so many sweeps and says how far the usual numbers are off. `--run`: the (A, b) of a
run's folder instead, so many `--sweeps` of its sampler, and how many of them are independent.

    python benchmarks/scatters.py --lines 1200 2400
    python benchmarks/scatters.py --lines 1200 --than 4000
    python benchmarks/scatters.py --run runs/demo --sweeps 2000
"""

import argparse
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.table import Table

from astrogf.runtime import ready_to_compute

ready_to_compute()

from astrogf.config import parse  # noqa: E402
from astrogf.inference.prior import groups as hyper  # noqa: E402
from astrogf.inference.prior.classes import Chain, Moves, sweep  # noqa: E402
from astrogf.inference.prior.conditional import System, inverse_of  # noqa: E402
from astrogf.inference.prior.lapack import threads_for  # noqa: E402
from astrogf.inference.prior.scatters import effective, integrate  # noqa: E402
from astrogf.inference.prior.widths import Belief  # noqa: E402
from astrogf.inference.problem.parameters import lsf_sigma  # noqa: E402
from astrogf.inference.statistics import load  # noqa: E402
from astrogf.synthesis.lines.agreement import AGREED, AGREED_SD, NAMES  # noqa: E402

GROUPS, STARS, LABELS = 15, 40, 8
MODEL_ERROR = 0.08
WIDTH, STRENGTH, LN_SIGMA_SD = 1.5, -1.5, 0.08
"""Width of a line's profile (Gaussian sd) in mean distances between lines; mean ln of (what one star says of a line,
as 1 / its error) x its scatter; prior sd of the resolution's ln."""


class Survey(NamedTuple):
    """(A, b) at `point`, priors excluded; `tau`: the true scatters, `held` those that are given."""

    member: np.ndarray
    held: np.ndarray
    tau: np.ndarray
    precision: np.ndarray
    gradient: np.ndarray
    point: np.ndarray


def simulated(n_line: int, seed: int = 3) -> Survey:
    """A survey whose corrections are measured to 0.1-0.95 of their prior, at the maximum for the true scatters."""
    rng = np.random.default_rng(seed)
    share = 1.0 / np.arange(2.0, GROUPS + 2.0)
    member = rng.choice(GROUPS, n_line, p=share / share.sum())
    held = np.full(GROUPS, np.nan)
    held[2] = 0.8
    tau = np.where(np.isnan(held), np.exp(rng.uniform(np.log(0.05), np.log(0.4), GROUPS)), held)
    place = np.sort(rng.uniform(0.0, n_line, n_line))
    overlap = np.exp(-(((place[:, None] - place) / (2.0 * WIDTH)) ** 2))
    strength = np.exp(rng.normal(STRENGTH, 1.0, n_line)) / tau[member]
    a = np.zeros((n_line + 1, n_line + 1))
    for _ in range(STARS):
        seen = strength * np.exp(0.3 * rng.normal(size=n_line))
        wider = 0.1 * rng.normal(size=n_line)
        lines = seen[:, None] * overlap * seen
        star = np.block([[lines, (lines @ wider)[:, None]], [wider @ lines, wider @ lines @ wider + 50.0]])
        labels = np.column_stack([np.eye(GROUPS)[member][:, : LABELS - 2], rng.normal(size=(n_line, 2))])
        cross = star[:, :-1] @ labels
        a += star - cross @ np.linalg.solve(labels.T @ cross[:-1] + np.eye(LABELS), cross.T)
    a = 0.5 * (a + a.T)
    truth = np.append(tau[member] * rng.normal(size=n_line), 0.02)
    noise = np.linalg.cholesky(a + 1e-9 * np.diag(np.diag(a))) @ rng.normal(size=n_line + 1)
    prior = np.diag(np.append(tau[member], LN_SIGMA_SD) ** -2.0)
    point = np.linalg.solve(a + prior, a @ truth + noise)
    return Survey(member, held, tau, a, a @ (truth - point) + noise, point)


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Print the seconds spent within."""
    wall, processor = time.perf_counter(), time.process_time()
    yield
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(f"  {name:<34} {processor:8.2f} s of processor time, {wall:8.2f} s", flush=True)


def stages(n_line: int, than: int | None) -> None:
    """Seconds of every stage for one number of lines."""
    survey = simulated(n_line)
    print(f"{n_line} lines, {GROUPS} groups")
    groups = hyper.Groups(survey.member, tuple(map(str, range(GROUPS))), survey.member, survey.held)
    belief, off = groups.belief(MODEL_ERROR), survey.point - np.append(np.zeros(n_line), 0.01)
    system = System.of(survey.precision, survey.gradient, off, survey.member, groups.means(MODEL_ERROR), LN_SIGMA_SD)
    with timed("learned from the prior's medians"):
        learned, step, _ = hyper.learn(system, belief, hyper.Learned.start(belief, survey.member))
    with threads_for(n_line):
        with timed("10 factors"):
            for _ in range(10):
                factor, _ = system.factor(learned.weight)
        with timed("an inverse"):
            inverse_of(factor)
        with timed("scale of the moves"):
            moves = Moves.of(system, belief, learned.place, learned.weight)
        chain, rng = Chain(learned.place, learned.top, np.zeros(n_line, int), step), np.random.default_rng(0)
        with timed("10 sweeps"):
            for _ in range(10):
                chain, *_ = sweep(rng, moves, system, chain)
    with timed("integral"):
        posterior, said = integrate(system, belief, learned, survey.point)
    print(f"  {said['sweeps']:.0f} sweeps, {said['effective_sweeps']:.0f} effective ones of the slowest width")
    if than is None:
        return
    with timed(f"integral, {than} sweeps"):
        truth, _ = integrate(system, belief, learned, survey.point, sweeps=than, seed=1)
    sd, wanted = (np.sqrt(np.diag(p.covariance)) for p in (posterior, truth))
    mine, theirs = (np.sqrt(np.diag(p.loggf.covariance)) for p in (posterior, truth))
    off_by = {
        "means (sd)": np.abs(posterior.mean - truth.mean) / wanted,
        "sds": np.abs(sd / wanted - 1.0),
        "log gf (sd)": np.abs(posterior.loggf.mean - truth.loggf.mean) / theirs,
        "sds of log gf": np.abs(mine / theirs - 1.0),
        "probability to be badly wrong": np.abs(posterior.loggf.wide - truth.loggf.wide),
    }
    for name, value in off_by.items():
        print(f"  {name} off by {np.sqrt(np.mean(value**2)):.4f} rms, {np.max(value):.4f} at most")


def of_run(folder: Path) -> tuple[System, Belief]:
    """(A, b) and prior of a finished run without unlisted lines, from its statistics and its table of lines."""
    options = parse(json.loads((folder / "record.json").read_text())["config"], str(folder))
    statistics = load(folder / "statistics.npz")
    table = Table.read(folder / "loggf.ecsv")
    rows = {key: i for i, key in enumerate(zip(*_identity(table), strict=True))}
    lines = statistics.lines
    mine = table[[rows[key] for key in zip(*_identity(lines._asdict()), strict=True)]]
    names, member = np.unique(np.asarray(mine["group"]).astype(str), return_inverse=True)
    bands = [re.search(r"band (\d+) of (\d+)", name) for name in names]
    seen = np.array([1.0 - 2.0 * (int(b[1]) - 1) / (int(b[2]) - 1) if b else 0.0 for b in bands])
    species = np.unique(np.asarray(mine["species"]).astype(str), return_inverse=True)[1]
    stated = np.where(names == NAMES[AGREED], AGREED_SD, np.nan)
    groups = hyper.Groups(member, tuple(names), species, np.full(len(names), np.nan), None, stated, seen)
    error = options.lines.model_error
    off = statistics.point - np.append(np.zeros(len(member)), lsf_sigma(options.stars.resolution))
    system = System.of(
        statistics.precision, statistics.gradient, off, member, groups.means(error), options.stars.ln_resolution_sd,
        statistics.blends,
    )  # fmt: skip
    return system, groups.belief(error)


def _identity(columns) -> tuple[list, list, list]:
    return (
        np.round(np.asarray(columns["wavelength"], float), 4).tolist(),
        np.asarray(columns["species"]).astype(str).tolist(),
        np.round(np.asarray(columns["elow"], float), 3).tolist(),
    )


def independent(folder: Path, sweeps: int) -> None:
    """Seconds of a sweep, and how many of them are worth an independent one, by row of the widths."""
    system, belief = of_run(folder)
    n = len(system.member)
    learned, step, _ = hyper.learn(system, belief, hyper.Learned.start(belief, system.member))
    moves, rng = Moves.of(system, belief, learned.place, learned.weight), np.random.default_rng(0)
    chain, places = Chain(learned.place, learned.top, np.zeros(n, int), step), []
    with threads_for(n), timed(f"{sweeps} sweeps, {n} lines, {len(learned.place[0])} groups"):
        for _ in range(sweeps):
            chain, *_ = sweep(rng, moves, system, chain)
            places.append(chain.place)
    for row, name in enumerate(("tau", "gross", "share", "phi")):
        each = effective(np.array(places)[:, row, belief.learned[row]])
        if len(each):
            print(
                f"  independent ones of {name}: {np.median(each):.0f} (median of groups), {np.min(each):.0f} (fewest)"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, nargs="+", default=[1200, 2400], metavar="N")
    parser.add_argument("--than", type=int, metavar="SWEEPS", help="hold the result against so many")
    parser.add_argument("--run", type=Path, help="folder of a run")
    parser.add_argument("--sweeps", type=int, default=2000, help="of --run")
    a = parser.parse_args()
    if a.run is not None:
        independent(a.run, a.sweeps)
        return
    for n_line in a.lines:
        stages(n_line, a.than)


if __name__ == "__main__":
    main()
