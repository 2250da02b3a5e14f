"""The stars: Hertzsprung-Russell diagram, labels against a reference, chi2 with both lists. Chosen in one, they stand
out in all."""

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource
from bokeh.models.annotations import ColorBar
from bokeh.transform import linear_cmap

from astrogf.fitting.live import base
from astrogf.runs.run import Run
from astrogf.runs.summary import COMPARED, label_difference
from astrogf.runs.tables import floats
from astrogf.style import CORRECTED

NAMES = {"teff": "Teff (K)", "logg": "log g (dex)", "feh": "[Fe/H] (dex)"}
FORMATS = {"teff": "0", "logg": "0.00", "feh": "+0.00"}
STAR = [
    ("file", "@path"),
    ("Teff", "@teff{0} ± @teff_sd{0} K"),
    ("log g", "@logg{0.00} ± @logg_sd{0.00}"),
    ("[Fe/H]", "@feh{+0.00} ± @feh_sd{0.00}"),
    ("S/N", "@snr{0}"),
    ("χ² per pixel", "@original{0.000} → @corrected{0.000}"),
    ("flags", "@flags"),
]


def star_source(run: Run) -> ColumnDataSource:
    """One row a star used."""
    used = run.used
    columns: dict[str, Any] = {"path": np.asarray(used["path"], dtype=str)}
    for name in NAMES:
        columns[name], columns[f"{name}_sd"] = floats(used[name]), floats(used[f"{name}_sd"])
        columns[f"{name}_low"] = columns[name] - columns[f"{name}_sd"]
        columns[f"{name}_high"] = columns[name] + columns[f"{name}_sd"]
        known = f"ref_{name}" in used.colnames
        columns[f"ref_{name}"] = floats(used[f"ref_{name}"]) if known else np.full(len(used), np.nan)
        columns[f"off_{name}"] = columns[name] - columns[f"ref_{name}"]
        columns[f"off_{name}_low"] = columns[f"off_{name}"] - columns[f"{name}_sd"]
        columns[f"off_{name}_high"] = columns[f"off_{name}"] + columns[f"{name}_sd"]
    columns["snr"] = floats(used["snr"]) if "snr" in used.colnames else np.full(len(used), np.nan)
    columns["original"] = floats(used["chi2_per_pixel_original"])
    columns["corrected"] = floats(used["chi2_per_pixel_corrected"])
    columns["flags"] = np.array([str(f) if f is not np.ma.masked and str(f) else "—" for f in used["flags"]])
    return base.source(**columns)


def figures(run: Run) -> dict[str, Any]:
    """The views by their names; those against a reference where there is one."""
    data = star_source(run)
    made = {"kiel": kiel(data), "chi2": chi2(data)}
    for name in COMPARED:
        if len(label_difference(run.stars, name)):
            made[f"label_{name}"] = against(data, name, run.reference or "reference")
    return made


def kiel(data: ColumnDataSource) -> Any:
    """Surface gravity against effective temperature."""
    made = base.plot(NAMES["teff"], NAMES["logg"], height=440)
    made.segment("teff_low", "logg", "teff_high", "logg", source=data, line_color="#c4c4c4")
    base.bars(made, data, "teff", "logg_low", "logg_high")
    feh = np.asarray(data.data["feh"])
    low, high = (float(np.nanmin(feh)), float(np.nanmax(feh))) if np.isfinite(feh).any() else (-1.0, 0.0)
    colour: Any = linear_cmap("feh", "Cividis256", low, max(high, low + 0.01))
    glyph = made.scatter("teff", "logg", source=data, size=8, color=colour, nonselection_alpha=0.1)
    made.add_layout(ColorBar(color_mapper=colour.transform, title="[Fe/H]", width=12), "right")
    made.x_range.flipped = made.y_range.flipped = True
    base.hover(made, STAR, [glyph])
    return made


def against(data: ColumnDataSource, name: str, reference: str) -> Any:
    """A label minus the reference, at the reference."""
    made = base.plot(f"{NAMES[name]}, {reference}", f"fit − {reference}", height=300)
    base.bars(made, data, f"ref_{name}", f"off_{name}_low", f"off_{name}_high", "#a9c9dd")
    look = {"color": CORRECTED, "nonselection_alpha": 0.1}
    glyph = made.scatter(f"ref_{name}", f"off_{name}", source=data, size=6, **look)
    known = np.asarray(data.data[f"ref_{name}"])
    known = known[np.isfinite(known)]
    base.dashed(made, np.array([known.min(), known.max()]), np.zeros(2))
    said = (reference, f"@ref_{name}{{{FORMATS[name]}}} (difference @off_{name}{{{'+' + FORMATS[name].lstrip('+')}}})")
    base.hover(made, [*STAR, said], [glyph])
    return made


def chi2(data: ColumnDataSource) -> Any:
    """chi2 per pixel of every star with both lists."""
    before, after = (np.asarray(data.data[name]) for name in ("original", "corrected"))
    both = np.concatenate([before, after])
    both = both[np.isfinite(both) & (both > 0)]
    ends = np.array([both.min() / 1.05, both.max() * 1.05]) if len(both) else np.array([0.5, 2.0])
    kind = "log" if ends[1] > 6 * ends[0] else "linear"
    made = base.plot("χ² per pixel, original list", "corrected list", height=440, x_axis_type=kind, y_axis_type=kind)
    glyph = made.scatter("original", "corrected", source=data, size=8, color=CORRECTED, alpha=0.7,
                         nonselection_alpha=0.1)  # fmt: skip
    base.dashed(made, ends, ends)
    base.hover(made, STAR, [glyph])
    return made
