"""Why stars that are known well do not come back at their labels: the spectrum, the windows, or the continuum.

Every known star that the anchors' run has fitted is given to the survey's run as it was observed, and with the anchors'
own model in its place, of which the survey's model can be wrong only by what the two runs differ in; in all of the
survey's windows and where the anchors' run has seen them; with the continuum of the survey and one that follows more.

Run: python benchmarks/known_causes.py RUN --known TABLE [--prior ANCHORS] [--continuum 20] [--json FILE]
"""

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
from rich.console import Console

from astrogf.checking import held_out, known
from astrogf.config import parse
from astrogf.console import Bars
from astrogf.fitting import engine, prior_run
from astrogf.runs import folder as runs
from astrogf.runtime import ready_to_compute

EDGE = 1.5
"""Angstrom at the ends of the anchors' windows that keep the observed flux."""


def modelled(star, anchors: runs.Run):
    """The star with the anchors' model for its flux where they have one, and the labels that they ended at; None where
    they have not fitted its file."""
    given = anchors.record["config"]["spectra"]
    names = [name for name, said in given.items() if Path(said["file"]).name == Path(star.file).name]
    used = anchors.used
    rows = [i for i, path in enumerate(used["path"]) if str(path) in names]
    if not rows:
        return None
    i, s = rows[0], anchors.spectra
    there = np.isfinite(s.model_corrected[i]) & np.isfinite(s.sigma[i])
    wave = star.spectrum.wavelength
    flux = np.array(star.spectrum.flux, float)
    inside = np.zeros(len(wave), bool)
    for low, high in prior_run.of_run(anchors.record["config"]["survey"]):
        inside |= (wave > low + EDGE) & (wave < high - EDGE)
    inside &= np.isfinite(flux) & (flux > 0)
    flux[inside] = np.interp(wave[inside], s.wavelength[there], s.model_corrected[i][there])
    labels = {name: (float(used[name][i]), float(used[f"{name}_sd"][i])) for name in star.labels}
    return star._replace(spectrum=star.spectrum._replace(flux=flux)), labels


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--known", type=Path, required=True, help="table of known stars, as of `astrogf check`")
    parser.add_argument("--prior", type=Path, help="the anchors' run (that of [lines] prior)")
    parser.add_argument("--continuum", type=float, default=20.0, help="Angstrom a degree that follow more")
    parser.add_argument("--json", type=Path)
    a = parser.parse_args()
    ready_to_compute()
    run = runs.read(a.run)
    config = parse(run.record["config"], str(a.run))
    anchors = runs.read(a.prior or Path(config.lines.prior))
    corrections, lines = held_out.corrections(a.run, run), engine.lines_of(config)
    stars = [(s, m) for s in known.read(a.known, None) if (m := modelled(s, anchors)) is not None]
    unseen = prior_run.outside(config.survey.all_windows, prior_run.of_run(anchors.record["config"]["survey"]))
    rows = []
    print("label minus the label of the anchors' run, without noise")
    print(f"{'spectrum':>16} {'windows':>14} {'continuum':>12}   star: Teff (K), log g, [Fe/H]; chi2 a pixel, S/N 100")
    for spectrum, windows, continuum in itertools.product(
        ("observed", "anchors' model"), ("all", "anchors'"), (None, a.continuum)
    ):
        if windows == "anchors'" and not unseen:
            continue
        left_out = (*config.survey.leave_out, *(unseen if windows == "anchors'" else ()))
        mine = config.changed(survey={"leave_out": [list(pair) for pair in left_out]})
        given = [(star if spectrum == "observed" else model)._replace(labels=labels) for star, (model, labels) in stars]
        with Bars(Console(stderr=True)) as bars:
            found = known.refit(given, run, mine, corrections, bars, known.Noise(draws=0), continuum, lines=lines)
        said = "the survey's" if continuum is None else f"{continuum:g} A"
        for row in found:
            values = [float(row[f"{name}_difference"]) for name in ("teff", "logg", "feh")]
            values.append(float(row["chi2_per_pixel_corrected"]))
            rows.append([spectrum, windows, continuum, str(row["star"]), *values])
            print(f"{spectrum:>16} {windows:>14} {said:>12}   {row['star']}: {values[0]:+.0f}, {values[1]:+.3f}, "
                  f"{values[2]:+.3f}; {values[3]:.3f}", flush=True)  # fmt: skip
    if a.json:
        a.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
