"""The joint fit of the Sun and Arcturus in the H band beside APOGEE's own tuned synthesis, over the same pixels.

Run: astrogf fit configs/hband_anchors.toml --spectra DIR --out RUN
     python benchmarks/hband_fit.py RUN --observed DIR [--json OUT]

DIR is the folder of APOGEE's tuning material. Both models are held against the observed spectra in the run's pixels,
through APOGEE's mask; the tuned synthesis is given the same freedom in the continuum (a polynomial of the same degree)
and the velocity that fits it best.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from hband import MASK, MASK_PIXEL, STARS, read_columns

from astrogf.base.air import air_to_vacuum
from astrogf.base.constants import C_KMS
from astrogf.runs import folder as runs
from astrogf.surveys.formats.stated import HighRes, rebin


def unmasked(wavelength: np.ndarray, velocity: float, mask: np.ndarray) -> np.ndarray:
    """Pixels (vacuum, as observed) that APOGEE's mask (vacuum, at rest) leaves."""
    rest = wavelength / (1.0 + velocity / C_KMS)
    right = np.clip(np.searchsorted(mask[0], rest), 1, mask.shape[1] - 1)
    near = np.where(rest - mask[0][right - 1] < mask[0][right] - rest, right - 1, right)
    return (np.abs(mask[0][near] - rest) < MASK_PIXEL) & (mask[1][near] > 0.5)


def tuned_model(path: Path, wavelength: np.ndarray, velocity: float) -> np.ndarray:
    """APOGEE's tuned synthesis in the run's pixels; nan outside."""
    air, flux = read_columns(path)
    vacuum = air_to_vacuum(air) * (1.0 + velocity / C_KMS)
    step = float(f"{np.log10(wavelength[-1] / wavelength[0]) / (len(wavelength) - 1):.6g}")
    first = round(np.log10(wavelength[0]) / step)
    seen, ivar = rebin(HighRes(vacuum, flux, np.ones(len(flux)), ""), first, len(wavelength), step)
    return np.where(ivar > 0, seen, np.nan)


def scaled(model: np.ndarray, flux: np.ndarray, use: np.ndarray, degree: int) -> np.ndarray:
    """The model times the polynomial that fits best over the pixels used."""
    basis = np.polynomial.chebyshev.chebvander(np.linspace(-1, 1, len(flux)), degree)
    design = basis * np.nan_to_num(model)[:, None]
    coefficients, *_ = np.linalg.lstsq(design[use], flux[use], rcond=None)
    return design @ coefficients


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--observed", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    run = runs.read(arguments.run)
    config, mask, s = run.record["config"], read_columns(arguments.observed / MASK), run.spectra
    span = s.wavelength[-1] - s.wavelength[0]
    degree = max(config["continuum"]["degree"], round(span / (config["continuum"]["scale"] or np.inf)))
    result = {}
    for row, star in enumerate(run.used):
        name = str(star["path"])
        known = STARS[name]
        keep = (s.ivar[row] > 0) & unmasked(s.wavelength, float(star["rv"]), mask)
        trials = []
        for velocity in np.arange(known.velocity - 1.5, known.velocity + 1.6, 0.1):
            theirs = tuned_model(arguments.observed / known.tuned, s.wavelength, velocity)
            use = keep & np.isfinite(theirs)
            model = scaled(theirs, s.flux[row], use, degree)
            trials.append((np.std((s.flux[row] - model)[use]), velocity, use, theirs))
        best, velocity, use, theirs = min(trials, key=lambda t: t[0])
        result[name] = {
            "pixels": int(use.sum()),
            "corrected": float(np.std((s.flux[row] - s.model_corrected[row])[use])),
            "as_it_came": float(np.std((s.flux[row] - s.model_original[row])[use])),
            "tuned_same_continuum": float(best),
            "tuned": float(np.std((s.flux[row] - theirs)[use])),
            "tuned_velocity": float(velocity),
        }
    lines = run.lines
    result["corrections"] = {
        "lines": len(lines),
        "within_half_dex": float(np.mean(np.abs(lines["correction"]) < 0.5)),
        "seconds": run.summary["seconds"],
        "peak_memory_gb": run.summary["peak_memory_gb"],
    }
    heads = ("corrected", "as it came", "APOGEE, same continuum", "APOGEE")
    print(f"{'rms through the mask':28s}" + "".join(f"{h:>{len(h) + 2}s}" for h in heads))
    for name in run.used["path"]:
        r = result[str(name)]
        values = (r["corrected"], r["as_it_came"], r["tuned_same_continuum"], r["tuned"])
        columns = "".join(f"{v:{len(h) + 2}.4f}" for v, h in zip(values, heads, strict=True))
        print(f"{name!s:28s}{columns}   {r['pixels']} pixels")
    print(f"{len(lines)} corrections, {100 * result['corrections']['within_half_dex']:.1f}% within 0.5 dex")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
