"""Wavelengths and frames of real survey spectra: each star's velocity by its own best model, against its header's.

Run: python benchmarks/frame.py --spectra DIR [--only GROUP] [--most 40] [--json OUT]

Of every survey, spectra of S/N above 20 (and of types F, G, K where the header has one) are taken in one small window.
`coarse_search` gives each the engine's best model among its nodes; at high resolution labels and broadening are then
refined about it. The velocity is where chi2 is least along a fine scan (a parabola through the lowest point), every
velocity with its own best continuum. It is compared with the header's heliocentric one, or with 0 where the survey has
moved the spectrum to rest. Stars of chi2 per pixel above 6 (the most that a fit takes) are counted and left out: M
dwarfs, for which the emulator has no model. Repeats are spectra of one star (3 arcsec), or single exposures of one
file (about a straight line in time). The header of LAMOST MRS has no velocity: its arms are compared with each other.

The header's velocity is by the survey's own templates on the same wavelengths: what is tested is that what the readers
hand on has the frame and the grid that the survey meant, not the survey's own zero point.
"""

import argparse
import itertools
import json
import time
from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from astropy.table import Table, vstack

from astrogf.base.constants import C_KMS
from astrogf.inference.newton.search import coarse_search
from astrogf.inference.problem.collect import scaled_data
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.parameters import lsf_sigma, vmic_relation
from astrogf.inference.problem.problem import StarData, StarProblem
from astrogf.inference.problem.setup import prepare
from astrogf.surveys.directory.load import load_directory
from astrogf.surveys.spectrum import APOGEE_STEP, LOG_STEP, MRS_STEP, grid, window_pixels
from astrogf.synthesis.observed.instrument import observe

CHI2, FLOOR = 6.0, 0.02
"""Most chi2 per pixel of a star that counts; share of the level added to the noise, as `coarse_search` does."""


@dataclass(frozen=True)
class Group:
    """Kinds on one grid in one window. sets: name, kind, single exposures. bar: km/s, |found - header| at the median.

    span: half width of the scan about the search's velocity, km/s.
    """

    name: str
    sets: tuple[tuple[str, str, bool], ...]
    window: tuple[float, float]
    log_step: float
    options: FitOptions
    bar: float
    span: float
    refine: bool

    @property
    def pixel(self) -> float:
        """km/s."""
        return self.log_step * np.log(10.0) * C_KMS


def _options(resolution: float, **model: float | bool) -> FitOptions:
    """A coarse fit of one spectrum: strong lines, a stiff continuum."""
    return FitOptions().changed(
        model={"line_cut": 0.01, **model}, stars={"resolution": resolution}, continuum={"degree": 5}
    )


_LOW = _options(1800.0, oversampling=24, molecules=False)
_MRS = _options(7500.0, oversampling=5, molecules=False, rv_reach=200.0, widest_sigma=50.0)
_APOGEE = _options(22500.0, oversampling=4, rv_reach=150.0, widest_sigma=30.0)

GROUPS = (
    Group(
        "low", (("LAMOST LRS", "lamost_lrs", False), ("SDSS optical", "sdss_optical", False)), (5100.0, 5300.0),
        LOG_STEP, _LOW, 15.0, 100.0, False,
    ),
    *(
        Group(
            arm,
            ((f"LAMOST MRS {arm}", f"lamost_mrs_{arm}", False), (f"MRS {arm}, exposures", f"lamost_mrs_{arm}", True)),
            window, MRS_STEP, _MRS, 3.0, 30.0, True,
        ) for arm, window in (("blue", (5130.0, 5270.0)), ("red", (6400.0, 6640.0)))
    ),
    Group(
        "apogee", (("APOGEE apStar", "apogee_apstar", False), ("APOGEE apVisit", "apogee_apvisit", False)),
        (16130.0, 16260.0), APOGEE_STEP, _APOGEE, 3.0, 20.0, True,
    ),
)  # fmt: skip


def chosen(stars: list[str], most: int) -> np.ndarray:
    """Which of the spectra to take: at most `most`, whole stars, half of them with repeats, seeded."""
    names, index, count = np.unique(stars, return_inverse=True, return_counts=True)
    order = np.random.default_rng(6).permutation(len(names))
    taken = np.zeros(len(names), bool)
    for again, room in ((True, most // 2), (False, most)):
        for star in order[(count[order] > 1) == again]:
            if count[taken].sum() + count[star] <= room:
                taken[star] = True
    return taken[index]


@eqx.filter_jit
def seen(problem: StarProblem, labels: jax.Array, sigma: jax.Array, velocity: jax.Array) -> jax.Array:
    """Normalised spectra of one star at every (sigma, velocity): axes sigma, velocity, pixel."""
    flux = problem.spectrum.normalised(labels, jnp.zeros(problem.spectrum.n_slot))
    at = problem.spectrum.grid
    return jax.lax.map(lambda s: jax.lax.map(lambda v: observe(flux, v, s, at), velocity), sigma)


def chi2(spectra: np.ndarray, flux: np.ndarray, weight: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """chi2 of every spectrum, each times the polynomial that fits best."""
    out = np.empty(len(spectra))
    for i, spectrum in enumerate(spectra):
        design = basis * (spectrum * np.sqrt(weight))[:, None]
        _, rest, *_ = np.linalg.lstsq(design, flux * np.sqrt(weight))
        out[i] = rest[0]
    return out


class Scanner:
    """One spectrum and its chi2 for labels, broadening and velocities."""

    def __init__(self, problem: StarProblem, data: StarData) -> None:
        flux, ivar = np.asarray(data.flux), np.asarray(data.ivar)
        self.problem, self.flux, self.basis = problem, flux, np.asarray(problem.basis)
        self.weight = np.where(ivar > 0, 1.0 / (1.0 / np.where(ivar > 0, ivar, 1.0) + (FLOOR * flux.mean()) ** 2), 0.0)

    def chi2(self, labels: np.ndarray, sigma: np.ndarray, velocity: np.ndarray) -> np.ndarray:
        """Axes sigma, velocity."""
        spectra = np.asarray(seen(self.problem, *map(jnp.asarray, (labels, sigma, velocity))))
        flat = chi2(spectra.reshape(-1, len(self.flux)), self.flux, self.weight, self.basis)
        return flat.reshape(len(sigma), len(velocity))

    def refined(self, labels: np.ndarray, sigma: np.ndarray, rv: float, step: float) -> tuple[np.ndarray, float, float]:
        """Labels of least chi2 among the neighbours of a node, twice, the second time nearer, with sigma and rv."""
        velocity, best = rv + step * np.arange(-5, 6), (np.inf, labels, sigma[0], rv)
        for size in (1.0, 0.5):
            centre = best[1]
            for move in itertools.product((-1, 0, 1), repeat=3):
                teff, logg, feh = centre[:3] + size * np.array(move) * (175.0, 0.4, 0.25)
                trial = np.array([teff, logg, feh, np.clip(-0.3 * feh, 0.0, 0.3), float(vmic_relation(teff, logg))])
                if float(self.problem.margin(jnp.asarray(trial[:4]))) < 0.0:
                    continue
                values = self.chi2(trial, sigma, velocity)
                i, j = np.unravel_index(np.argmin(values), values.shape)
                if values[i, j] < best[0]:
                    best = (values[i, j], trial, sigma[i], velocity[j])
        return best[1], float(best[2]), float(best[3])

    def velocity(self, labels: np.ndarray, sigma: float, rv: float, span: float) -> tuple[float, float, float]:
        """Velocity of least chi2 near rv, its formal error, and chi2 per pixel there."""
        step = span / 25.0
        trials = rv + step * np.arange(-25, 26)
        values = self.chi2(labels, np.array([sigma]), trials)[0]
        i = int(np.clip(np.argmin(values), 1, len(trials) - 2))
        low, mid, high = values[i - 1 : i + 2]
        curvature = max(low - 2.0 * mid + high, 1e-30)
        at = trials[i] + 0.5 * step * (low - high) / curvature
        return at, step * np.sqrt(2.0 / curvature), mid / max(int((self.weight > 0).sum()), 1)


def measure(group: Group, spectra: Path, most: int) -> Table:
    """One row a spectrum: what the header says, what the best model says with its formal error, and its labels."""
    first, n_pixel = window_pixels(group.window, group.log_step)
    tables, fluxes, ivars = [], [], []
    for name, kind, exposures in group.sets:
        batch = load_directory(spectra, [group.window], kinds=[kind], snr_min=20.0, exposures=exposures).batches[0]
        batch = batch.select(chosen(list(batch.table["star"]), most))
        data, _ = scaled_data(batch.flux, batch.ivar)
        table = batch.table["path", "piece", "star", "mjd", "snr", "subclass", "frame", "rv_header"]
        table["set"] = name
        tables.append(table)
        fluxes.append(np.asarray(data.flux))
        ivars.append(np.asarray(data.ivar))
    table, flux, ivar = vstack(tables, metadata_conflicts="silent"), np.concatenate(fluxes), np.concatenate(ivars)
    problem = prepare(grid(first, n_pixel, group.log_step), group.options).problem(1)
    own = float(np.exp(lsf_sigma(group.options.stars.resolution)))
    found = coarse_search(problem, StarData(jnp.asarray(flux), jnp.asarray(ivar)), np.log(own))
    sigmas, rows = own * np.array([1.0, 1.4, 2.0, 2.8]), []
    for i, theta in enumerate(found.theta):
        scan = Scanner(problem, StarData(*map(jnp.asarray, (flux[i], ivar[i]))))
        labels, sigma, rv = theta[:5], float(np.exp(theta[5])), theta[6]
        if group.refine:
            labels, sigma, rv = scan.refined(labels, sigmas, rv, own / 1.5)
        rows.append((*scan.velocity(labels, sigma, rv, group.span), *labels[:3], sigma))
    for name, column in zip(("found", "found_sd", "chi2", "teff", "logg", "feh", "sigma"), zip(*rows, strict=True),
                            strict=True):  # fmt: skip
        table[name] = np.array(column)
    table["expected"] = np.where(np.asarray(table["frame"]) == "rest", 0.0, table["rv_header"])
    table["used"] = table["chi2"] < CHI2
    return table


def robust_sd(x: np.ndarray) -> float:
    """1.4826 times the median absolute deviation; nan of fewer than two."""
    return float(1.4826 * np.median(np.abs(x - np.median(x)))) if len(x) > 1 else np.nan


def repeats(values: np.ndarray, groups: list[str], minutes: np.ndarray | None = None) -> tuple[float, int]:
    """Scatter (robust sd) of values about the mean of their group, degrees of freedom counted, and how many groups.

    With `minutes` about a straight line in time, of groups of at least three: the star of the MRS files is a binary.
    """
    _, index, count = np.unique(groups, return_inverse=True, return_counts=True)
    free = 1 if minutes is None else 2
    off = []
    for g in np.flatnonzero(count > free):
        mine = index == g
        if np.isfinite(values[mine]).all():
            at = np.zeros(mine.sum()) if minutes is None else minutes[mine] - minutes[mine].mean()
            line = np.polyval(np.polyfit(at, values[mine], free - 1), at)
            off.append((values[mine] - line) * np.sqrt(count[g] / (count[g] - free)))
    return (1.4826 * float(np.median(np.abs(np.concatenate(off)))), len(off)) if off else (np.nan, 0)


def summarise(table: Table, group: Group) -> dict:
    """The numbers of one set, km/s: `median` of found - expected with its `error`, and in pixels."""
    kept = table[table["used"]]
    apart = np.asarray(kept["found"] - kept["expected"])
    apart = apart[np.isfinite(apart)]
    single = len(kept) > 0 and "-" in str(kept["piece"][0])  # B-84454650: the arm and the minute it began
    names = [str(row["path"] if single else row["star"]) for row in kept]
    minutes = np.array([float(piece[2:]) for piece in kept["piece"]]) if single else None
    median = float(np.median(apart)) if len(apart) else np.nan
    (found, n), (header, _) = (repeats(np.asarray(kept[c]), names, minutes) for c in ("found", "rv_header"))
    return {
        "spectra": len(table), "used": len(kept), "compared": len(apart), "median": median,
        "error": 1.2533 * robust_sd(apart) / np.sqrt(max(len(apart), 1)),
        "median_abs": float(np.median(np.abs(apart))) if len(apart) else np.nan, "scatter": robust_sd(apart),
        "bar": group.bar, "pixels": median / group.pixel, "repeats": found, "repeats_header": header, "repeated": n,
    }  # fmt: skip


def arms(blue: Table, red: Table) -> dict[str, tuple[float, float]]:
    """Velocities in the two arms of the same file and exposure, km/s."""

    def by_key(table: Table) -> dict:
        return {f"{r['path']} {r['piece'][2:] if '-' in r['piece'] else 'coadd'}": float(r["found"])
                for r in table[table["used"]]}  # fmt: skip

    b, r = by_key(blue), by_key(red)
    return {key: (b[key], r[key]) for key in sorted(b.keys() & r.keys())}


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spectra", type=Path, required=True, help="directory with files of any of the surveys")
    parser.add_argument("--only", action="append", help="low, blue, red or apogee; may be given several times")
    parser.add_argument("--most", type=int, default=40, help="spectra of a survey")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result, tables = {}, {}
    heads = ("median", "+-", "|median|", "scatter", "bar", "pixels", "repeats", "header's", "groups")
    print(f"{'km/s':22s}{'spectra':>8s}{'used':>6s}" + "".join(f"{h:>9s}" for h in heads))
    for group in GROUPS:
        if arguments.only and group.name not in arguments.only:
            continue
        began = time.perf_counter()
        table = tables[group.name] = measure(group, arguments.spectra, arguments.most)
        for name, _, _ in group.sets:
            mine = table[np.asarray(table["set"]) == name]
            s = summarise(mine, group)
            rows = [dict(zip(mine.colnames, (v.item() for v in row), strict=True)) for row in mine.iterrows()]
            result[name] = s | {"rows": rows}
            values = (s[k] for k in ("median", "error", "median_abs", "scatter", "bar", "pixels", "repeats"))
            print(f"{name:22s}{s['spectra']:8d}{s['used']:6d}" + "".join(f"{v:9.2f}" for v in values)
                  + f"{s['repeats_header']:9.2f}{s['repeated']:9d}", flush=True)  # fmt: skip
        result[f"seconds of {group.name}"] = time.perf_counter() - began
    if {"blue", "red"} <= tables.keys():
        result["blue and red"] = pairs = arms(tables["blue"], tables["red"])
        for what in ("coadds", "exposures"):
            apart = np.array([b - r for key, (b, r) in pairs.items() if key.endswith("coadd") == (what == "coadds")])
            print(f"blue - red, {what}: {np.median(apart):.2f}, scatter {robust_sd(apart):.2f}, {len(apart)} pairs")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
