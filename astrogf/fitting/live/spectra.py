"""Spectra to zoom in: observation, both models, residuals, and the free lines where they fall in the star's frame."""

from typing import Any

import numpy as np
from bokeh.layouts import column
from bokeh.models import ColumnDataSource
from jaxtyping import Float

from astrogf.base.constants import C_KMS
from astrogf.fitting.figures import excerpt, of_one
from astrogf.fitting.live import base
from astrogf.fitting.live.lines import LINE
from astrogf.runs.run import Run
from astrogf.runs.summary import informed
from astrogf.runs.tables import floats
from astrogf.style import CORRECTED, OBSERVED, ORIGINAL

MOST_PIXELS = 8000
"""Pixels of a spectrum in the report; of longer ones the stretch in which the correction changes most."""


def spectrum(run: Run, row: int) -> Any:
    """Flux above, residuals below, on one axis of wavelength."""
    s = of_one(excerpt(run.spectra_of(slice(row, row + 1)), 0, MOST_PIXELS))
    good = np.isfinite(s.sigma) & (s.ivar > 0)
    scale = float(np.percentile(s.flux[good], 95)) if good.any() else 1.0

    def shown(values: Float[np.ndarray, " pixel"]) -> Float[np.ndarray, " pixel"]:
        return np.where(good, values, np.nan)

    with np.errstate(invalid="ignore", divide="ignore"):
        data = base.source(
            wavelength=s.wavelength,
            observed=shown(s.flux / scale),
            original=s.model_original / scale,
            corrected=s.model_corrected / scale,
            residual_original=shown((s.flux - s.model_original) / s.sigma),
            residual_corrected=shown((s.flux - s.model_corrected) / s.sigma),
        )
    tools = "xpan,xwheel_zoom,box_zoom,reset,save"
    extent = (float(s.wavelength[0]), float(s.wavelength[-1]))
    top = base.plot("", "relative flux", height=300, tools=tools, x_range=extent)
    steps = top.step("wavelength", "observed", source=data, mode="center", color=OBSERVED, legend_label="observed")
    top.line("wavelength", "original", source=data, color=ORIGINAL, legend_label="original list")
    top.line("wavelength", "corrected", source=data, color=CORRECTED, legend_label="corrected list")
    base.hover(
        top,
        [("vacuum wavelength", "@wavelength{0.00} Å"), ("observed", "@observed{0.000}"),
         ("original, corrected list", "@original{0.000}, @corrected{0.000}"),
         ("residual / σ", "@residual_original{+0.0}, @residual_corrected{+0.0}")],
        [steps], mode="vline",
    )  # fmt: skip
    marks = line_marks(run, row, extent, float(np.nanmax(data.data["observed"], initial=1.0)) + 0.03)
    if len(marks.data["wavelength"]):
        ticks = top.scatter("wavelength_seen", "height", source=marks, marker="dash", angle=np.pi / 2, size=12,
                            color="#009e73", legend_label="lines the data decided")  # fmt: skip
        base.hover(top, LINE, [ticks])
    base.legend(top)
    bottom = base.plot("vacuum wavelength (Å)", "residual / σ", height=170, tools=tools, x_range=top.x_range)
    bottom.toolbar_location = None
    bottom.line("wavelength", "residual_original", source=data, color=ORIGINAL)
    bottom.line("wavelength", "residual_corrected", source=data, color=CORRECTED)
    base.dashed(bottom, np.array(extent), np.zeros(2))
    return column(top, bottom, sizing_mode="stretch_width")


def line_marks(run: Run, row: int, extent: tuple[float, float], height: float) -> ColumnDataSource:
    """Informed lines within a stretch of wavelengths, shifted by the star's velocity."""
    lines = run.lines[informed(run.lines)]
    velocity = float(run.used["rv"][row]) if "rv" in run.used.colnames else 0.0
    seen = floats(lines["wavelength"]) * (1.0 + velocity / C_KMS)
    lines = lines[(seen > extent[0]) & (seen < extent[1])]
    seen = seen[(seen > extent[0]) & (seen < extent[1])]
    columns: dict[str, Any] = {
        name: floats(lines[name]) if name in lines.colnames else np.full(len(lines), np.nan)
        for name in ("wavelength", "elow", "loggf", "correction", "posterior_sd", "low_95", "high_95", "ratio")
    }
    words = {name: np.asarray(lines[name], dtype=str) for name in ("species", "group")}
    return base.source(wavelength_seen=seen, height=np.full(len(lines), height), **columns, **words)
