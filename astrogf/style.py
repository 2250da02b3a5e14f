"""How the pictures look: one type size, few colours that the colour-blind can tell apart, no boxes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

OBSERVED, ORIGINAL, CORRECTED, QUIET = "#222222", "#d55e00", "#0072b2", "#9a9a9a"
SPECIES_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195")
"""Okabe & Ito (2008), and one more; lines of rarer species are drawn in QUIET."""

WIDE, HALF = 7.1, 4.6
"""Widths in inches: a text block of a journal's page, and a single picture."""

RC: dict[str, Any] = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "dejavusans",
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.0,
    "figure.dpi": 110,
    "savefig.dpi": 200,
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "white",
}

LABEL_TEXT = {
    "teff": r"$T_\mathrm{eff}$ (K)",
    "logg": r"$\log g$ (dex)",
    "feh": "[Fe/H] (dex)",
}


@contextmanager
def paper() -> Iterator[None]:
    """Draw in the style of a paper, and leave the caller's settings as they were."""
    with matplotlib.rc_context(RC):  # type: ignore[arg-type]
        yield


def finish(figure: Figure) -> Figure:
    """Take a figure out of pyplot's keeping, so that many can be drawn."""
    plt.close(figure)
    return figure
