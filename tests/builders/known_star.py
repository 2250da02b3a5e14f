"""A run of a survey at R = 7500 whose list has two dozen wrong lines, with all that a check of known stars needs: the
run folder, and the spectrum of a star of known labels at R = 60,000 under the true log gf."""

from dataclasses import replace
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from astropy.table import Table

from astrogf.base.constants import C_KMS
from astrogf.config import Config, parse
from astrogf.inference.problem.parameters import lsf_sigma, vmic_relation
from astrogf.inference.problem.problem import predict
from astrogf.inference.problem.setup import prepare, with_free
from astrogf.runs import folder as runs
from astrogf.runs import summary, tables
from astrogf.surveys.spectrum import grid, window_pixels
from tests.builders.believable import believable, set_aside

WINDOW = (5160.0, 5190.0)
RESOLUTION, OWN = 7600.0, 60_000.0
CONFIG = {
    "survey": {"kind": "lamost_mrs_blue", "window": list(WINDOW)},
    "model": {
        "oversampling": 6,
        "depths": 20,
        "line_cut": 1e-2,
        "molecules": False,
        "rv_reach": 60.0,
        "widest_sigma": 30.0,
    },
    "stars": {"resolution": 7500.0, "resolution_sd": 500.0},
    "continuum": {"degree": 2},
    "solver": {"star_iterations": 10},
    "spectra": {"anchor": {"file": "not_here.txt", "medium": "air", "degrade": True}},
}
LABELS = {"teff": 5350.0, "logg": 4.2, "feh": -0.25, "alpha": 0.1}


def config() -> Config:
    """What the run was asked: an anchor beside the survey's stars."""
    return parse(CONFIG, "known star")


def write_run(folder: Path, seed: int = 2) -> np.ndarray:
    """Write the run folder and beside it star.txt (vacuum, at rest); the errors of the list."""
    rng = np.random.default_rng(seed)
    fine = config().changed(model={"oversampling": 2, "rv_reach": 10.0, "widest_sigma": 4.0})
    wavelength = grid(*window_pixels((WINDOW[0] - 8.0, WINDOW[1] + 8.0), 2e-6), 2e-6)
    setup = prepare(wavelength, fine)
    inside = (setup.lines.wavelength > WINDOW[0]) & (setup.lines.wavelength < WINDOW[1])
    alone = np.bincount(setup.lines.transition)[setup.lines.transition] == 1
    strongest = np.sort(np.argsort(-setup.extent.strength * inside * alone)[:24])
    error = 0.25 + 0.15 * rng.normal(size=len(strongest))
    free = np.full(len(setup.lines), -1)
    free[strongest] = np.arange(len(strongest))
    vmic = float(vmic_relation(LABELS["teff"], LABELS["logg"]))
    theta = jnp.array([*LABELS.values(), vmic, float(lsf_sigma(OWN)), 0.0])
    flux = eqx.filter_jit(predict)(with_free(setup.problem(len(error)), free), theta, jnp.asarray(error))
    rows = zip(wavelength, np.asarray(flux), strict=True)
    folder.mkdir(parents=True)
    (folder.parent / "star.txt").write_text("\n".join(f"{w:.5f} {f:.7f}" for w, f in rows))
    _write(folder, setup.lines.take(strongest), error)
    return error


def _write(folder: Path, lines, error: np.ndarray) -> None:
    result, _ = believable(stars=3, lines=len(error))
    table = result.lines
    table["wavelength"], table["species"] = lines.wavelength, lines.species()
    table["elow"], table["loggf"] = lines.elow, lines.loggf
    table["correction"] = table["apparent"] = error
    small = 0.01**2 * np.eye(len(error))
    result = replace(result, lines=table, correction_covariance=small, apparent_covariance=small)
    stars, written = tables.star_table(result, set_aside()), tables.line_table(result)
    noise = {"noise scale, DR7": 0.8, "inflation, DR7": 0.004, "noise scale, anchor": 1.0, "inflation, anchor": 0.3}
    shared = {name: {"value": value, "sd": None} for name, value in {"resolution": RESOLUTION, **noise}.items()}
    record = {
        "command": "fit", "reference": None, "config": config().model_dump(mode="json"), "shared": shared,
        "status": "finished", "started": "then", "finished": "now", "versions": {"astrogf": "test"},
        "solver": {"status": "converged", "trace": result.trace},
    }  # fmt: skip
    runs.write_record(folder, record)
    runs.write_results(folder, result, stars, written, set_aside())
    runs.write_summary(folder, summary.summarise(result, written, stars, seconds=1.0))


def write_table(path: Path, rv: float) -> None:
    """The star twice: in vacuum at rest, its velocity not said; and in air, moved by `rv` (km/s) as the table says."""
    from astrogf.base.air import vacuum_to_air

    wave, flux = np.loadtxt(path.parent / "star.txt").T
    moved = vacuum_to_air(wave * (1.0 + rv / C_KMS))
    (path.parent / "moved.txt").write_text("\n".join(f"{w:.5f} {f:.7f}" for w, f in zip(moved, flux, strict=True)))
    table = Table({"file": ["star.txt", "moved.txt"], "medium": ["vacuum", "air"], "star": ["still", "moved"]})
    table["rv"], table["resolution"] = np.ma.masked_invalid([np.nan, rv]), OWN
    for name, value in LABELS.items():
        table[name], table[f"{name}_sd"] = value, {"teff": 15.0}.get(name, 0.02)
    table.write(path, overwrite=True)
