"""A fit that never happened but looks like one: 60 stars, 422 pixels, 300 lines. No physics, only shapes."""

import numpy as np
from astropy.table import Table

from astrogf.inference.prior.intervals import NAMES as INTERVALS
from astrogf.inference.problem.counts import Counts, WindowCounts
from astrogf.inference.result import FitResult

LABELS = ("teff", "logg", "feh", "alpha", "vmic", "ln_sigma", "rv")
SPECIES = ("Fe I", "Fe I", "Fe I", "Ti I", "Cr I", "Ni I", "Fe II", "Ti II", "Y II", "Mn I")


def _labels(rng: np.random.Generator, n: int) -> np.ndarray:
    """Dwarfs along a main sequence and giants along a branch."""
    giant = np.arange(n) % 3 == 0
    teff = np.where(giant, rng.uniform(4300, 5200, n), rng.uniform(4700, 6700, n))
    logg = np.where(giant, 1.6 + (teff - 4300) / 900 * 1.6, 4.75 - np.clip((teff - 5200) / 3000, 0, None))
    logg = logg + rng.normal(0, 0.08, n)
    feh = np.clip(rng.normal(-0.35, 0.4, n), -2.2, 0.4)
    alpha = np.clip(-0.25 * feh, 0, 0.3) + rng.normal(0, 0.04, n)
    rest = (rng.normal(1.3, 0.2, n), rng.normal(4.25, 0.05, n), rng.normal(0, 60, n))
    return np.column_stack([teff, logg, feh, alpha, *rest])


def _lines(rng: np.random.Generator, n: int) -> tuple[Table, np.ndarray]:
    """Corrections scattered about injected errors as their posterior says; weak lines follow the prior."""
    depth = np.clip(rng.lognormal(-2.0, 0.9, n), 0.003, 0.9)
    prior = rng.choice([0.08, 0.2, 0.4], n, p=[0.3, 0.5, 0.2])
    injected = rng.normal(0, prior)
    data_sd = 0.02 / depth
    sd = 1 / np.sqrt(1 / prior**2 + 1 / data_sd**2)
    measured = injected + rng.normal(0, data_sd)
    species = rng.choice(SPECIES, n)
    lines = Table(
        {
            "wavelength": np.sort(rng.uniform(4900, 5400, n)),
            "species": species,
            "elow": rng.uniform(0, 5, n),
            "loggf": rng.uniform(-4, 0.3, n),
            "correction": measured * (sd / data_sd) ** 2,
            "posterior_sd": sd,
            **{
                name: measured * (sd / data_sd) ** 2 + k * sd for name, k in zip(INTERVALS, (-2, -1, 1, 2), strict=True)
            },
            "prior_sd": prior,
            "list_share": (sd / prior) ** 2,
            "badly_wrong": np.clip(np.abs(measured) - 0.4, 0.01, 0.99),
            "apparent": measured * (sd / data_sd) ** 2,
            "apparent_sd": sd,
            "ratio": sd / prior,
            "group": [f"{s} / {q}" for s, q in zip(species, rng.choice(["lab", "calc"], n), strict=True)],
            "depth": depth,
        }
    )
    return lines, injected


def believable(stars: int = 60, pixels: int = 422, lines: int = 300, seed: int = 4) -> tuple[FitResult, Table]:
    """The fit, and the injected errors as a simulation reports them."""
    rng = np.random.default_rng(seed)
    wavelength = 10 ** (np.log10(4900) + 1e-4 * np.arange(pixels))
    table_of_lines, injected = _lines(rng, lines)
    truth = table_of_lines["wavelength", "species", "elow", "loggf"]
    truth["injected"] = injected
    labels = _labels(rng, stars)
    sd = np.tile([60.0, 0.12, 0.06, 0.04, 0.1, 0.03, 1.2], (stars, 1)) * rng.uniform(0.6, 1.6, (stars, 1))
    snr = rng.uniform(22, 150, stars)

    strength = 0.25 + 0.9 * np.clip((6800 - labels[:, 0]) / 2500, 0, 1) + 0.25 * labels[:, 2]
    profile = np.exp(-0.5 * ((wavelength[:, None] - np.asarray(table_of_lines["wavelength"])) / 1.2) ** 2)
    tau = np.asarray(table_of_lines["depth"])
    right = np.exp(-np.clip(strength, 0.08, None)[:, None] * (profile @ tau)[None])
    wrong = np.exp(-np.clip(strength, 0.08, None)[:, None] * (profile @ (tau * 10 ** (-0.6 * injected)))[None])
    slope = 1 + rng.normal(0, 0.15, stars)[:, None] * np.linspace(-1, 1, pixels)
    scale = 10 ** rng.uniform(1.5, 3.5, stars)[:, None] * slope
    sigma = scale / snr[:, None] * np.ones(pixels)
    flux = scale * right + sigma * rng.standard_t(8, (stars, pixels))
    ivar = 1 / sigma**2
    bad = rng.random((stars, pixels)) < 0.01
    bad[5:6, 200:240] = True
    flux[bad], ivar[bad], sigma[bad] = 0, 0, np.inf
    original, corrected = scale * wrong, scale * right
    result = FitResult(
        table=Table(
            {
                "path": [f"spec-{55000 + i}-plan{i % 7:02d}-sp{i % 16:02d}_{i:03d}.fits" for i in range(stars)],
                "sha256": [f"{i:064x}" for i in range(stars)],
                "survey": ["lamost_lrs"] * stars,
                "release": rng.choice(["DR5", "DR8"], stars),
                "object": [f"J{i:06d}" for i in range(stars)],
                "ra": rng.uniform(0, 360, stars),
                "dec": rng.uniform(-5, 60, stars),
                "snr": snr,
                "rv_header": labels[:, 6] + rng.normal(0, 5, stars),
                "class": ["STAR"] * stars,
                "subclass": rng.choice(["F5", "G2", "K1"], stars),
            }
        ),
        label_names=LABELS,
        labels=labels,
        labels_sd=sd,
        flags=tuple("near the edge in feh" if f < -1.2 else "" for f in labels[:, 2]),
        wavelength=wavelength,
        flux=flux,
        ivar=ivar,
        sigma=sigma,
        model_original=original,
        model_corrected=corrected,
        chi2_original=np.sum(np.square(flux - original) * ivar, axis=1),
        chi2_corrected=np.sum(np.square(flux - corrected) * ivar, axis=1),
        n_pixel=np.sum(ivar > 0, axis=1),
        lines=table_of_lines,
        correction_covariance=np.diag(np.asarray(table_of_lines["posterior_sd"]) ** 2),
        apparent_covariance=np.diag(np.asarray(table_of_lines["apparent_sd"]) ** 2),
        shared={"resolution": (1790.0, 25.0)},
        hyper=Table(
            {"group": ["Fe I / lab"], "lines": [300], "tau": [0.1], "tau_sd": [0.02], "phi": [0.08], "phi_sd": [0.02]}
        ),
        status="converged",
        trace=[
            {"stage": "stars", "iteration": i + 1, "log_posterior": -9e4 + 100 * i, "largest_step_sd": 8 * 0.4**i}
            for i in range(5)
        ]
        + [
            {
                "stage": "joint",
                "iteration": i + 1,
                "objective": -8e4 + 50 * i,
                "accepted": i != 2,
                "shared_step_sd": 3 * 0.35**i,
                "star_step_sd": 1.5 * 0.3**i,
                "seconds": 9.5,
            }
            for i in range(5)
        ],
        jacobian_cost_ratio=2.7,
    )
    return result, truth


def reference(result: FitResult, seed: int = 5) -> Table:
    """Labels somebody else measured, with two stars unmeasured."""
    rng = np.random.default_rng(seed)
    n = len(result.labels)
    noise = rng.normal(0, 1, (n, 3)) * [90, 0.17, 0.08] + [25, -0.04, 0.02]
    values = result.labels[:, :3] + noise
    values[:2] = np.nan
    return Table(values, names=("teff", "logg", "feh"))


def set_aside() -> Table:
    """Files that were no good, as the reader reports them."""
    return Table(
        {
            "path": ["broken.fits", "picture.fits", "faint-1.fits", "faint-2.fits", "faint-3.fits"],
            "reason": ["unreadable", "unreadable", "snr_too_low", "snr_too_low", "snr_too_low"],
            "detail": [
                "truncated: 2880 of 95040 bytes",
                "not FITS: begins with a PNG signature",
                "S/N(g) 3.1, at least 20 is asked for",
                "S/N(g) 12.0, at least 20 is asked for",
                "S/N(g) 19.2, at least 20 is asked for",
            ],
        }
    )


def counts(spectra: int = 64, free: int = 1200) -> Counts:
    """What `astrogf.inference.problem.counts.count` says of simulated LAMOST spectra of 4900-5400 A, oversampled 48
    times."""
    window = WindowCounts(4900.04, 5398.83, 422, 21600, spectra, 25784, 678178)
    return Counts((window,), spectra, spectra, 7, 8, 36971, 7952, free)
