"""The headline figures of a run: what the fit changed, and how far it can be believed."""

from typing import TYPE_CHECKING

import numpy as np
from astropy.stats import mad_std
from astropy.table import MaskedColumn, Table
from jaxtyping import Bool, Float

if TYPE_CHECKING:
    from astrogf.inference.result import FitResult

KEYS = (
    "stars_used",
    "stars_set_aside",
    "lines_free",
    "chi2_per_pixel_original",
    "chi2_per_pixel_corrected",
    "coverage_68",
    "coverage_95",
    "coverage_68_informed",
    "coverage_95_informed",
    "informed_lines",
    "rms_informed_dex",
    "label_scatter",
    "jacobian_cost_ratio",
    "seconds",
    "peak_memory_gb",
)
"""The keys of summary.json, in the order written."""

COMPARED = ("teff", "logg", "feh")
"""Labels that are compared with a reference."""

INFORMED = 0.5
"""A line is informed by the data when its posterior sd is below this part of its prior sd."""


def summarise(
    result: "FitResult",
    lines: Table,
    stars: Table,
    *,
    seconds: float | None = None,
    peak_memory_gb: float | None = None,
) -> dict:
    """Everything in summary.json; None where a figure does not apply.

    `lines` is result.lines, with the column `injected` if the truth is known (`truth.attach_injected`); `stars`
    has one row a file (`star_table`). chi2 per pixel is the sum over stars divided by the pixels used. The
    coverages are the fraction of injected errors within 1 and 2 posterior sd of the correction, over all free
    lines that were injected; those called informed, and rms_informed_dex, over those of them that are informed.
    """
    pixels = int(np.sum(result.n_pixel))
    figures: dict = dict.fromkeys(KEYS)
    figures |= {
        "stars_used": int(np.sum(stars["used"])),
        "stars_set_aside": int(np.sum(~stars["used"])),
        "lines_free": len(lines),
        "chi2_per_pixel_original": float(np.sum(result.chi2_original)) / pixels if pixels else None,
        "chi2_per_pixel_corrected": float(np.sum(result.chi2_corrected)) / pixels if pixels else None,
        "informed_lines": int(np.sum(informed(lines))),
        "label_scatter": label_scatter(stars),
        "jacobian_cost_ratio": result.jacobian_cost_ratio,
        "seconds": seconds,
        "peak_memory_gb": peak_memory_gb,
    }
    if "injected" in lines.colnames:
        figures |= recovery(lines)
    return figures


def informed(lines: Table) -> Bool[np.ndarray, " line"]:
    """Lines whose posterior sd is under half of the prior sd."""
    return np.asarray(lines["ratio"], dtype=float) < INFORMED


def recovery(lines: Table) -> dict[str, float | None]:
    """How the corrections meet the injected errors, and how many of these the credible intervals hold; `lines` needs
    correction, ratio, injected and the intervals' ends."""
    rows = lines[~np.ma.getmaskarray(np.ma.asarray(lines["injected"]))]
    injected = np.asarray(rows["injected"], dtype=float)
    miss = np.asarray(rows["correction"], dtype=float) - injected
    sharp = informed(rows)
    figures: dict[str, float | None] = {}
    for suffix, some in (("", np.ones(len(rows), bool)), ("_informed", sharp)):
        for share in (68, 95):
            low, high = (np.asarray(rows[f"{end}_{share}"], dtype=float) for end in ("low", "high"))
            inside = (low < injected) & (injected < high)
            figures[f"coverage_{share}{suffix}"] = float(np.mean(inside[some])) if some.any() else None
    return figures | {"rms_informed_dex": float(np.sqrt(np.mean(miss[sharp] ** 2))) if sharp.any() else None}


def label_scatter(stars: Table) -> dict[str, dict] | None:
    """Median and robust sigma (1.4826 MAD) of label minus reference over the stars used that have both, and the
    fractions within 1 and 2 of the label's own sds (the reference taken as exact)."""
    if "ref_teff" not in stars.colnames:
        return None
    out = {}
    for name in COMPARED:
        difference = label_difference(stars, name)
        n = len(difference)
        pull = np.abs(difference) / label_difference(stars, name, "_sd") if n else np.empty(0)
        out[name] = {
            "median": float(np.median(difference)) if n else None,
            "robust_sigma": float(mad_std(difference)) if n > 1 else None,
            "within_1sd": float(np.mean(pull < 1)) if n else None,
            "within_2sd": float(np.mean(pull < 2)) if n else None,
            "n": n,
        }
    return out


def label_difference(stars: Table, name: str, of: str = "") -> Float[np.ndarray, " star"]:
    """Label minus reference for the stars used in which both are finite; with `of` '_sd', the label's sd there."""
    if f"ref_{name}" not in stars.colnames or name not in stars.colnames:
        return np.empty(0)
    difference = _filled(stars[name]) - _filled(stars[f"ref_{name}"])
    known = np.isfinite(difference) & np.asarray(stars["used"])
    return _filled(stars[f"{name}{of}"])[known] if of else difference[known]


def _filled(column: MaskedColumn) -> Float[np.ndarray, " row"]:
    return np.ma.filled(np.ma.asarray(column, dtype=float), np.nan)
