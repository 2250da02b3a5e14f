"""`astrogf init`: a configuration to begin with, every key of a fit in it with what it means, made from the code."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from astrogf.config import sample
from astrogf.first_steps.kinds import Kind
from astrogf.runs.folder import as_json
from astrogf.runs.outputs import check_output, write_text

Changes = dict[str, dict[str, Any]]

PRESETS: dict[str, Changes] = {
    "lamost_lrs": {},
    "lamost_mrs": {
        "survey": {"kind": "lamost_mrs", "windows": ((5100.0, 5250.0), (6380.0, 6560.0))},
        "model": {"oversampling": 12, "rv_reach": 300.0, "widest_sigma": 30.0},
        "stars": {"resolution": 7500.0, "resolution_sd": 600.0},
    },
    "sdss": {"survey": {"kind": "sdss_optical"}, "stars": {"resolution": 1900.0}},
    "apogee": {
        "survey": {
            **{"kind": "apogee_apstar", "windows": ((15155.0, 15795.0), (15870.0, 16420.0), (16490.0, 16940.0))},
            **{"snr_min": 50.0},
        },
        "model": {"oversampling": 6, "line_cut": 1e-3, "rv_reach": 300.0, "widest_sigma": 15.0},
        "stars": {
            **{"teff_range": (4000.0, 6500.0), "teff_prior": (4900.0, 700.0), "logg_prior": (2.5, 1.2)},
            **{"resolution": 22500.0, "resolution_sd": 1500.0, "abundances": ("C", "N", "O")},
        },
    },
    "stated": {
        "survey": {"kind": "stated", "windows": ((5100.0, 5300.0),)},
        "model": {"oversampling": 3, "depths": 40, "line_cut": 1e-3, "rv_reach": 150.0, "widest_sigma": 6.0},
        "lines": {"max_ratio": 0.6, "prior_sd": 0.4, "least_group": 100_000},
        "stars": {"resolution": 60000.0, "resolution_sd": 6000.0, "abundance_sd": 0.08},
        "continuum": {"scale": 20.0},
        "noise": {"misfit": True, "line_scatter": 0.02},
        "solver": {"star_iterations": 2, "chunk": 2},
    },
}
"""How each kind differs from the defaults, which are those of LAMOST's low resolution."""
TITLES = {
    "lamost_lrs": "LAMOST low-resolution spectra",
    "lamost_mrs": "LAMOST medium-resolution spectra, both arms",
    "sdss": "SDSS optical spectra (legacy, SEGUE, BOSS, eBOSS)",
    "apogee": "APOGEE spectra (apStar), a window in each chip",
    "stated": "spectra that are named one by one, of stars whose labels are known",
}
EXAMPLE: dict[str, Any] = {
    "file": "sun.txt",
    "medium": "air",
    "snr": 300.0,
    "teff": (5772.0, 2.0),
    "logg": (4.438, 0.002),
    "feh": (0.0, 0.005),
    "alpha": (0.0, 0.005),
    "vmic": (1.0, 0.1),
}
"""The Sun (IAU 2015 Resolution B3), as a stated spectrum."""


def text(kind: str) -> str:
    """The configuration of a kind; what is not the default is marked."""
    changes = PRESETS[kind]
    heading = [
        f"# {TITLES[kind]}: a joint fit of labels and log gf.",
        "#     astrogf fit FILE --spectra DIR --out runs/first",
        "# Every key of a fit is here with what it means; those that stand at their default may be deleted.",
        f"# Written by `astrogf init {kind}`.",
    ]
    return sample(changes, heading, ("sun", EXAMPLE) if kind == "stated" else None)


def init(
    kind: str, out: Path, *, overwrite: bool = False, json_out: Path | None = None, console: Console | None = None
) -> dict[str, Any]:
    """Write the configuration of a kind to `out`. Returns what is told. Raises AstrogfError where a file is there."""
    console = console or Console()
    kind = Kind(kind).value
    check_output(out, "configuration", overwrite=overwrite)
    check_output(json_out, "json")
    write_text(out, text(kind))
    told = {"file": str(out), "kind": kind, "not_default": PRESETS[kind]}
    if json_out is not None:
        write_text(json_out, as_json(told))
    for line in (
        f"written: {out} ({TITLES[kind]})",
        f"next: look at it, then `astrogf fit {out} --spectra DIR --out runs/first`",
    ):
        console.print(Text(line), soft_wrap=True, highlight=False)
    return told
