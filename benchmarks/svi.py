"""SVI and Gauss-Newton side by side: how many stars each must visit to come, and stay, within 0.1 sd of the answer.

A simulated survey (`rehearsal.small`: stars and lines from the model's own prior), the noise known, all from the same
start: the list as it is, every star fitted on its own. The answer is where Gauss-Newton ends with a tolerance of a
thousandth of a sd. Distances are those of the corrections from it, root of the mean square and largest, in posterior
sd. Two more fits are SVI without control variates (Robbins-Monro: what stars said before is forgotten at the rate of
the steps), with steps of 1 / t and t^-0.7. Core-seconds are of the whole process, compiling left out: every kind of
pass runs once beforehand. The last pass of SVI, over all stars, is counted in 'whole fit' alone.

    python benchmarks/svi.py --stars 256 --json svi.json
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from astrogf.inference.blocks.work import Work
from astrogf.inference.newton.joint import Joint, SharedPrior, fit_joint
from astrogf.inference.newton.stars import FitState, fit_stars
from astrogf.inference.problem.parameters import lsf_sigma
from astrogf.inference.problem.priors import Belief, star_prior
from astrogf.inference.problem.problem import StarData
from astrogf.inference.problem.spectra import Sample, WindowSpectra, in_blocks, quiet
from astrogf.inference.rehearsal.small import OPTIONS, Small, build, draw
from astrogf.inference.solvers.minibatch import Minibatch, Quadratic, dealt, visited_at
from astrogf.inference.solvers.svi import Setting, fit_svi, inferred, moved, started, stepped, visit
from astrogf.runtime import ready_to_compute

NEAR = 0.1


class Watch:
    """A checkpoint that keeps nothing but where the shared parameters were, and when: visits of stars, core-seconds."""

    def __init__(self, visits: Callable[[Any], float]) -> None:
        self.visits, self.began = visits, time.process_time()
        self.seen: list[tuple[float, float, np.ndarray]] = []

    def load(self, stage: str) -> None:
        """Nothing."""

    def save(self, stage: str, state: Any) -> None:
        """Note where it is."""
        if not isinstance(state, Joint):
            self.note(self.visits(state), np.asarray(state.shared))

    def note(self, visits: float, shared: np.ndarray) -> None:
        """Of a step."""
        self.seen.append((visits, time.process_time() - self.began, shared))

    def told(self, answer: np.ndarray, sd: np.ndarray) -> dict[str, Any]:
        """Distances, and when they were below NEAR for good: visits a star, core-seconds."""
        away = np.array([(shared[:-1] - answer[:-1]) / sd[:-1] for _, _, shared in self.seen])
        rms, largest = np.sqrt(np.mean(away**2, axis=1)), np.abs(away).max(axis=1)
        found: dict[str, Any] = {"visits": [v for v, _, _ in self.seen], "rms": rms.tolist(), "max": largest.tolist()}
        for name, distance in (("rms", rms), ("max", largest)):
            outside = np.flatnonzero(distance > NEAR)
            first = 0 if len(outside) == 0 else int(outside[-1]) + 1
            there = first < len(self.seen)
            visits, seconds = self.seen[first][:2] if there else (None, None)
            found[f"{name}_near"] = {"visits": visits, "core_seconds": seconds}
        return found


def survey(a: argparse.Namespace) -> tuple[Small, Sample, FitState]:
    """Stars fitted on their own with the list as it is."""
    options = OPTIONS.changed(
        model={"oversampling": 6, "depths": 16},
        noise={"line_scatter": a.scatter},
        solver={"joint_iterations": a.epochs, "tolerance": 1e-6, "seed": a.seed},
    )
    small = build(a.stars, a.lines, n_pixel=a.pixels, kept=300, max_ratio=0.99, options=options)
    drawn = draw(small, np.random.default_rng(a.seed), snr=a.snr)
    flux, ivar = (np.asarray(x) for x in drawn.data)

    def data(k: int, rows: np.ndarray) -> StarData:
        return StarData(flux[rows], ivar[rows])  # type: ignore[arg-type]

    window = WindowSpectra(small.problem, drawn.data, np.arange(a.stars), np.zeros(a.stars, int))
    prior = star_prior([Belief()] * a.stars, options)
    sample = in_blocks([window], prior, Work(block=max(1, a.stars // a.steps)), data)
    shared = jnp.zeros(small.n_line + 1).at[-1].set(lsf_sigma(options.stars.resolution))
    run = FitState(jnp.asarray(drawn.theta), shared, quiet(sample, 0.0, a.scatter))
    run, _ = fit_stars(sample, run, small.options, free=False, iterations=5)
    return small, sample, run


def without_memory(small: Small, sample: Sample, run: FitState, a: argparse.Namespace, power: float) -> Watch:
    """Minibatches as of `fit_svi`, natural parameters by plain steps of (1 + t)^-power."""
    options, prior = small.options, SharedPrior.of(small.groups, small.options)
    batches = dealt(len(sample.parts), a.steps, a.seed)
    origin, n = np.asarray(run.shared), len(batches)
    setting = Setting(sample, options, None, batches, origin, lambda t: (1.0 + t) ** -power, (), options.solver.chunk)
    state, watch = started(run, setting, prior, None), Watch(lambda state: state.step / n)
    for _ in range(a.epochs * n):
        k = visited_at(state.step, n, a.seed)
        mine = Minibatch.of(sample, batches[k])
        seen = visit(state, setting, k, mine)
        forgotten = state._replace(said=(None,) * n, total=Quadratic.nothing(len(origin)))
        state = stepped(forgotten, setting, k, mine, seen)
        state = moved(state, inferred(state, setting, prior)[0])
        watch.save("", state)
    return watch


def main() -> None:
    """Run all and print when each was near."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stars", type=int, default=256)
    parser.add_argument("--lines", type=int, default=40)
    parser.add_argument("--pixels", type=int, default=60)
    parser.add_argument("--snr", type=float, default=60.0)
    parser.add_argument("--scatter", type=float, default=0.02)
    parser.add_argument("--steps", type=int, default=16, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--plain", action="store_true", help="SVI without control variates too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    a = parser.parse_args()
    ready_to_compute()
    small, sample, run = survey(a)
    batch = small.options.changed(solver={"batch": max(1, a.stars // a.steps)})

    def begin() -> FitState:
        return FitState(run.theta, run.shared, run.noise, [])

    # what is compiled here is compiled in neither of the two that are timed
    fit_joint(sample, begin(), small.groups, small.options.changed(solver={"joint_iterations": 1}))
    fit_svi(sample, begin(), small.groups, batch.changed(solver={"joint_iterations": 1}))
    watches = {"gauss-newton": Watch(lambda state: state.iteration), "svi": Watch(lambda state: state.step / a.steps)}
    newton = fit_joint(sample, begin(), small.groups, small.options, checkpoint=watches["gauss-newton"])
    whole = {"gauss-newton": {"core_seconds": time.process_time() - watches["gauss-newton"].began}}
    watches["svi"].began = time.process_time()
    other = fit_svi(sample, begin(), small.groups, batch, checkpoint=watches["svi"])
    whole["svi"] = {"core_seconds": time.process_time() - watches["svi"].began}
    if a.plain:
        watches |= {f"plain steps t^-{p:g}": without_memory(small, sample, begin(), a, p) for p in (1.0, 0.7)}
    answer, sd = np.asarray(newton.posterior.mean), np.sqrt(np.diag(np.asarray(newton.posterior.covariance)))
    found: dict[str, Any] = {
        "problem": {k: v for k, v in vars(a).items() if k != "json"} | {"corrections": small.n_line},
        "start_rms": float(np.sqrt(np.mean(((np.asarray(run.shared) - answer) / sd)[:-1] ** 2))),
        "apart_max": float(np.max(np.abs(np.asarray(other.posterior.mean) - answer) / sd)),
        "sd_ratio": [float(f(np.sqrt(np.diag(np.asarray(other.posterior.covariance))) / sd)) for f in (np.min, np.max)],
        "whole_fit": whole,
    }  # fmt: skip
    found |= {name: watch.told(answer, sd) for name, watch in watches.items()}
    print(f"{a.stars} stars, {small.n_line} corrections, from {found['start_rms']:.1f} sd (rms) away")
    print(f"in the end means {found['apart_max']:.3f} sd apart at most, ratios of sds {found['sd_ratio']}, {whole}")
    for name in watches:
        for kind in ("rms", "max"):
            near = found[name][f"{kind}_near"]
            print(f"{name:20s} {kind} within {NEAR} sd after {near['visits']} visits, {near['core_seconds']} core-s")
    text = json.dumps(found, indent=1)
    if a.json:
        a.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
