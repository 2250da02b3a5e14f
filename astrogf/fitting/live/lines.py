"""Corrections by wavelength, excitation, species and class: four views of the same lines. What is chosen in one (a
click, a box) stands out in all."""

from typing import Any

import numpy as np
from bokeh.models import CDSView, ColumnDataSource, FactorRange, IndexFilter
from bokeh.transform import jitter

from astrogf.fitting.figures import by_species, properties
from astrogf.fitting.live import base
from astrogf.runs.run import Run
from astrogf.runs.summary import informed
from astrogf.runs.tables import floats
from astrogf.style import CORRECTED, QUIET

LINE = [
    ("line", "@species @wavelength{0.000} Å"),
    ("E low, log gf", "@elow{0.000} eV, @loggf{0.000}"),
    ("correction", "@correction{+0.000} ± @posterior_sd{0.000} dex"),
    ("95%", "@low_95{+0.000} to @high_95{+0.000}"),
    ("posterior/prior sd", "@ratio{0.00}"),
    ("group", "@group"),
]


def line_source(run: Run) -> ColumnDataSource:
    """One row a free line."""
    lines = run.lines
    names = ("wavelength", "elow", "loggf", "correction", "posterior_sd", "prior_sd", "ratio")
    columns: dict[str, Any] = {name: floats(lines[name]) for name in names}
    for name in ("low_95", "high_95", "injected"):
        columns[name] = floats(lines[name]) if name in lines.colnames else np.full(len(lines), np.nan)
    correction, sd = columns["correction"], columns["posterior_sd"]
    of_species, of_class = properties(run)
    return base.source(
        **columns,
        low=correction - sd,
        high=correction + sd,
        species=np.asarray(lines["species"], dtype=str),
        group=np.asarray(lines["group"], dtype=str),
        of_species=of_species,
        of_class=of_class,
    )


def figures(run: Run) -> dict[str, Any]:
    """The views by their names."""
    data, sharp = line_source(run), informed(run.lines)
    made = {
        "corrections": base.plot("vacuum wavelength (Å)", "correction to log gf (dex)", height=420),
        "by_excitation": base.plot("lower level (eV)", "correction (dex)"),
        "by_species": base.plot("", "correction (dex)", x_range=_factors(data, "of_species")),
        "by_class": base.plot("class of the line", "correction (dex)", x_range=_factors(data, "of_class")),
    }
    glyphs: dict[str, list[Any]] = {name: [] for name in made}
    quiet = CDSView(filter=IndexFilter(indices=np.flatnonzero(~sharp).tolist()))
    decided = CDSView(filter=IndexFilter(indices=np.flatnonzero(sharp).tolist()))
    look = {"nonselection_alpha": 0.08, "selection_line_color": "#000000"}
    main = made["corrections"]
    glyphs["corrections"].append(
        main.scatter("wavelength", "correction", source=data, view=quiet, size=4, color=QUIET, alpha=0.5,
                     legend_label="mostly prior", **look)
    )  # fmt: skip
    for name, colour, rows in by_species(run):
        rows = rows[sharp[rows]]
        if len(rows):
            view = CDSView(filter=IndexFilter(indices=rows.tolist()))
            label = f"{name} ({len(rows)})"
            main.segment("wavelength", "low", "wavelength", "high", source=data, view=view, color=colour, alpha=0.55,
                         legend_label=label, nonselection_alpha=0.05)  # fmt: skip
            glyphs["corrections"].append(
                main.scatter("wavelength", "correction", source=data, view=view, size=6, color=colour,
                             legend_label=label, **look)
            )  # fmt: skip
    base.legend(main, 3)
    for name, column in (("by_excitation", "elow"), ("by_species", "of_species"), ("by_class", "of_class")):
        one = made[name]
        x = column if column == "elow" else jitter(column, width=0.5, range=one.x_range, distribution="uniform")
        for view, colour, alpha, label in (
            (quiet, QUIET, 0.35, "mostly prior"), (decided, CORRECTED, 0.8, "decided by the data"),
        ):  # fmt: skip
            glyphs[name].append(
                one.scatter(x, "correction", source=data, view=view, size=5, color=colour, alpha=alpha,
                            legend_label=label, **look)
            )  # fmt: skip
        base.legend(one)
    made["by_species"].xaxis.major_label_orientation = 1.0
    for name, one in made.items():
        one.y_range = main.y_range
        base.hover(one, LINE, glyphs[name])
    return made | ({"injected": injected(data, run)} if "injected" in run.lines.colnames else {})


def injected(data: ColumnDataSource, run: Run) -> Any:
    """Recovered against injected errors of a simulation."""
    made = base.plot("injected error of log gf (dex)", "recovered correction (dex)", height=420)
    sharp = informed(run.lines)
    glyphs = []
    for rows, colour, label in ((~sharp, QUIET, "mostly prior"), (sharp, CORRECTED, "informed")):
        view = CDSView(filter=IndexFilter(indices=np.flatnonzero(rows).tolist()))
        if label == "informed":
            made.segment("injected", "low", "injected", "high", source=data, view=view, color=colour, alpha=0.4)
        glyphs.append(
            made.scatter("injected", "correction", source=data, view=view, size=5, color=colour, alpha=0.6,
                         legend_label=f"{label} ({int(rows.sum())})", nonselection_alpha=0.08)
        )  # fmt: skip
    true = floats(run.lines["injected"])
    ends = np.array([np.nanmin(true, initial=-0.1), np.nanmax(true, initial=0.1)])
    base.dashed(made, ends, ends)
    base.legend(made)
    base.hover(made, [*LINE, ("injected", "@injected{+0.000}")], glyphs)
    return made


def posterior_to_prior(run: Run) -> Any:
    """How much narrower than its prior each line's posterior is."""
    ratio = floats(run.lines["ratio"])
    edges = np.arange(0.0, max(1.0, float(np.max(ratio, initial=0.0))) + 0.05, 0.05)
    counts, _ = np.histogram(ratio, edges)
    data = base.source(left=edges[:-1], right=edges[1:], count=counts,
                       colour=np.where(edges[1:] < 0.51, CORRECTED, "#c9c9c9"))  # fmt: skip
    made = base.plot("posterior sd / prior sd", "lines", height=300)
    look = {"color": "colour", "line_color": "white"}
    glyph = made.quad(left="left", right="right", top="count", bottom=0, source=data, **look)
    base.hover(made, [("posterior / prior sd", "@left{0.00} to @right{0.00}"), ("lines", "@count")], [glyph])
    made.y_range.start = 0
    return made


def _factors(data: ColumnDataSource, column: str) -> FactorRange:
    """The words of a column, those of rare lines last."""
    return FactorRange(*sorted(set(data.data[column]), key=lambda word: (word == "other", word)))
