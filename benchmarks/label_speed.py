"""How many spectra a second `astrogf label` gives labels, and how far they are from those of the exact model.

RUN is a run of `astrogf demo` (or of `astrogf fit`, with --spectra); its own spectra are labelled, and for the speed
these again and again with more noise. The surrogate is the one in RUN/surrogate, made where there is none. Processor
seconds are of all cores together: 100 spectra a second on two cores are 20 ms a spectrum.

    python benchmarks/label_speed.py runs/demo --stars 2048 --json label_speed.json
    python benchmarks/label_speed.py runs/demo --independent --json label_exact.json
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from astrogf.runtime import ready_to_compute


def main() -> None:
    """Measure and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--spectra", type=Path, default=None, help="RUN/survey if not given")
    parser.add_argument("--stars", type=int, default=0, help="spectra whose labels are timed; 0 for the accuracy alone")
    parser.add_argument("--independent", action="store_true", help="the exact fit searches for its own start")
    parser.add_argument("--judged", type=int, default=64, help="stars that are fitted exactly")
    parser.add_argument("--json", type=Path, default=None)
    given = parser.parse_args()
    found = measure(given.run, given.spectra or given.run / "survey", given.stars, given.judged, given.independent)
    print(json.dumps(found, indent=1))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


def measure(run: Path, spectra: Path, stars: int, judged: int, independent: bool) -> dict[str, Any]:
    """All figures."""
    ready_to_compute()
    import numpy as np

    from astrogf.checking.held_out import corrections
    from astrogf.config import parse
    from astrogf.fitting import engine
    from astrogf.inference.check import with_corrections
    from astrogf.inference.surrogate.build import POINTS
    from astrogf.inference.surrogate.domain import Domain
    from astrogf.inference.surrogate.label import begun, fit_all, flagged, judge, noise_of, replaced
    from astrogf.labelling.keeping import SurrogateFolder
    from astrogf.labelling.tables import compared, quality
    from astrogf.runs import folder as runs

    record = runs.read(run)
    config = parse(record.record["config"], str(run))
    of_run, domain = corrections(run, record), Domain.of(config.stars)
    lines = engine.lines_of(config)
    batches = engine.load(config, spectra, lambda *_: None).batches
    ready = with_corrections(batches, config, of_run, lines, {})
    clock, names = Clock(), tuple(record.record["label_names"])
    made = replaced(ready, config, of_run, domain, SurrogateFolder(run), POINTS, lambda *_: None)
    found: dict[str, Any] = {"surrogate_cpu_s": clock.lap()[0], "surrogate": [quality(t, names) for t in made.trials]}
    sigma = of_run.ln_sigma

    def labels(these):
        theta = begun(these.collected.sample, made.problems, domain, sigma, lambda *_: None)
        searched = clock.lap()
        noise = noise_of(these, made.problems, theta, config, of_run, lambda *_: None, 0)
        clock.lap()
        fitted = fit_all(made.problems, these.collected.sample, noise, theta, sigma)
        return fitted, noise, searched, clock.lap()

    fitted, noise, *_ = labels(ready)
    if stars:
        many = repeated(ready, stars)
        clock.lap()
        again, _, searched, took = labels(many)
        for name, (cpu, wall) in {"search": searched, "labels": took}.items():
            found[name] = {"cpu_ms_a_spectrum": 1e3 * cpu / stars, "wall_ms_a_spectrum": 1e3 * wall / stars}
        found["stars"] = stars
        found["iterations"] = dict(
            zip(*(x.tolist() for x in np.unique(again.iterations, return_counts=True)), strict=True)
        )
        found["not_converged"] = int(np.sum(~again.converged))
    flags, usable = flagged(fitted, ready.sample, made.problems, made.coarse, domain, config)
    found["flags"] = sorted(f for f in flags if f)
    chosen = np.flatnonzero(usable)[:judged]
    if judged:
        if independent:
            from astrogf.inference.newton.search import starting_points

            theta, _ = starting_points(ready.collected, config, lambda *_: None)
            begin = fitted._replace(theta=np.asarray(theta))
            result = judge(ready, begin, noise, chosen, config, of_run, lambda *_: None)
            result = result._replace(z=(fitted.theta[chosen] - result.labels) / result.own_sd)
        else:
            result = judge(ready, fitted, noise, chosen, config, of_run, lambda *_: None)
        found["exact"] = compared(result, names)
        found["sd_ratio"] = np.percentile(fitted.sd[chosen] / result.own_sd, [5, 50, 95]).tolist()
    return found


def repeated(ready, stars: int):
    """As many spectra: those there are, again and again with as much noise once more."""
    import jax.numpy as jnp
    import numpy as np

    from astrogf.inference.problem.parameters import StarPrior
    from astrogf.inference.problem.problem import StarData

    sample, rng = ready.collected.sample, np.random.default_rng(0)
    mine = np.arange(stars) % sample.n_star
    (window,) = sample.windows
    flux, ivar = (np.asarray(x)[mine] for x in window.data)
    sd = np.where(ivar > 0, 1.0 / np.sqrt(np.where(ivar > 0, ivar, 1.0)), 0.0)
    flux = flux + sd * rng.normal(size=flux.shape) * (np.arange(stars) >= sample.n_star)[:, None]
    more = replace(window, data=StarData(flux, ivar), star=np.arange(stars), release=window.release[mine], scatter=None)
    whole = replace(sample, windows=(more,), prior=StarPrior(*(jnp.asarray(x)[mine] for x in sample.prior)))
    return ready._replace(collected=ready.collected._replace(sample=whole))


class Clock:
    """Processor and wall seconds since the last lap."""

    def __init__(self) -> None:
        self._last = time.process_time(), time.perf_counter()

    def lap(self) -> tuple[float, float]:
        """Seconds of both kinds."""
        now = time.process_time(), time.perf_counter()
        took = now[0] - self._last[0], now[1] - self._last[1]
        self._last = now
        return took


if __name__ == "__main__":
    main()
