"""report.html: one file with everything in it, that opens without a network and prints well."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from matplotlib.figure import Figure

from astrogf.base.errors import AstrogfError
from astrogf.fitting import figures
from astrogf.fitting.live.page import live
from astrogf.runs.model_errors import model_errors
from astrogf.runs.outputs import write_text
from astrogf.runs.run import Run
from astrogf.runs.summary import informed
from astrogf.runs.tables import floats, reasons
from astrogf.runs.words import headline
from astrogf.style import paper


class Picture(NamedTuple):
    """A drawn figure: name of its file in RUN/figures, what it shows, and its PNG."""

    name: str
    caption: str
    png: bytes

    @property
    def source(self) -> str:
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


CAPTIONS: dict[str, tuple[Callable[[Run], Figure], str]] = {
    "corrections": (
        figures.corrections,
        "Corrections to log gf at their wavelengths. In colour, with one posterior sd, the lines the data decided "
        "(posterior sd below half the prior sd); in grey those that mostly follow their prior.",
    ),
    "by_property": (
        figures.by_property,
        "Corrections by the energy of the lower level, by species and by class of the line: in colour the lines that "
        "the data decided.",
    ),
    "posterior_to_prior": (
        figures.posterior_to_prior,
        "Posterior over prior standard deviation of every free line: near one the data said nothing.",
    ),
    "injected": (
        figures.injected,
        "Recovered corrections against the errors that were injected; on paper also their differences in units of the "
        "posterior sd, with the unit Gaussian they should follow.",
    ),
    "labels": (
        figures.labels,
        "Labels of the joint fit against the reference, and label minus reference. Error bars are those of the fit.",
    ),
    "kiel": (figures.kiel, "The stars used, coloured by metallicity."),
    "chi2": (
        figures.chi2,
        "χ² per pixel of each star, labels refitted in both cases: below the dashed line the corrected list is better.",
    ),
    "residuals": (
        figures.residuals,
        "Residuals of all pixels in units of their σ (values beyond ±6 in the outermost bins).",
    ),
    "solver": (figures.trace, "How far each iteration still moved; open marks are steps that were taken back."),
}


VIEWS = {
    "by_property": ["by_excitation", "by_species", "by_class"],
    "labels": [f"label_{name}" for name in figures.COMPARED],
}
"""Pictures that are several where they are interactive."""


def wanted(run: Run) -> dict[str, tuple[Callable[[Run], Figure], str]]:
    """The pictures that apply to the run, those of single spectra apart."""
    some = dict(CAPTIONS)
    if "injected" not in run.lines.colnames:
        del some["injected"]
    if not figures.has_reference(run):
        del some["labels"]
    return some


def picture(run: Run, name: str, star: int | None = None) -> Figure:
    """One picture by its name; "spectrum" needs the `star`, its row in `run.used`. Raises AstrogfError."""
    some = wanted(run)
    if name == "spectrum":
        if star is None:
            raise AstrogfError("star: say of which one, as its row in run.used or its path.")
        with paper():
            return figures.spectrum(run, star)
    if name not in some:
        why = "this run has nothing for it" if name in CAPTIONS else "there is no such picture"
        raise AstrogfError(f"plot {name!r}: {why}; it has {', '.join([*some, 'spectrum'])}.")
    with paper():
        return some[name][0](run)


def draw(run: Run) -> list[Picture]:
    """Draw every picture that applies to the run, and write it to RUN/figures."""
    folder = run.folder / "figures"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    pictures = []
    with paper():
        for k, (star, why) in enumerate(figures.chosen(run), start=1):
            path = run.used["path"][star]
            caption = f"Observed and model spectra of {path} ({why}), and their residuals. {_star(run, star)}"
            pictures.append(_picture(f"spectrum_{k}", caption, figures.spectrum(run, star)))
        for name, (function, caption) in wanted(run).items():
            pictures.append(_picture(name, caption, function(run)))
    for drawn in pictures:
        (folder / f"{drawn.name}.png").write_bytes(drawn.png)
    return pictures


def _star(run: Run, star: int) -> str:
    row = run.used[star]
    snr = f", S/N {row['snr']:.0f}" if "snr" in row.colnames else ""
    return (
        f"Teff {row['teff']:.0f} K, log g {row['logg']:.2f}, [Fe/H] {row['feh']:+.2f}{snr}, χ² per pixel "
        f"{row['chi2_per_pixel_original']:.2f} → {row['chi2_per_pixel_corrected']:.2f}."
    )


def _picture(name: str, caption: str, figure: Figure) -> Picture:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Picture(name, caption, buffer.getvalue())


def write_report(run: Run, pictures: list[Picture] | None = None) -> Path:
    """Write RUN/report.html (drawing the pictures unless they are given); its path."""
    pictures = draw(run) if pictures is None else pictures
    environment = Environment(
        loader=PackageLoader("astrogf.fitting"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["signed"] = lambda x: "—" if np.ma.is_masked(x) or not np.isfinite(x) else f"{x:+.3f}"
    page = environment.get_template("report.html.j2").render(
        run=run,
        name=run.folder.resolve().name,
        headline=headline(run.summary, run.reference),
        spectra=[p for p in pictures if p.name.startswith("spectrum_")],
        pictures={p.name: p for p in pictures if not p.name.startswith("spectrum_")},
        live=live(run),
        views=VIEWS,
        best_lines=best_lines(run),
        missing_lines=missing_lines(run),
        windows=windows(run),
        model_errors=model_errors(run),
        misfits=misfits(run),
        flagged=flagged(run),
        known=known_stars(run),
        reasons=reasons(run.set_aside),
        set_aside=[dict(zip(row.colnames, row, strict=True)) for row in run.set_aside],
        record_text=json.dumps({k: run.record.get(k) for k in RECORD_SHOWN}, indent=1, ensure_ascii=False),
        files=len(run.record.get("inputs", {}).get("files", {})),
    )
    path = run.folder / "report.html"
    # a path that is not UTF-8 would stop the whole page
    write_text(path, page.encode("utf-8", "backslashreplace").decode())
    return path


RECORD_SHOWN = ("config", "versions", "machine", "git_commit", "timings", "shared")


def windows(run: Run) -> str:
    """The wavelengths that were fitted, in words."""
    survey = run.record["config"]["survey"]
    return " and ".join(f"{low:g}–{high:g}" for low, high in survey.get("windows") or [survey["window"]])


def best_lines(run: Run, count: int = 20) -> list[dict[str, Any]]:
    """The informed lines whose correction is largest in units of its posterior sd."""
    rows = run.lines[informed(run.lines)]
    strength = np.abs(floats(rows["correction"])) / floats(rows["posterior_sd"])
    return [dict(zip(rows.colnames, rows[i], strict=True)) for i in np.argsort(-strength, kind="stable")[:count]]


def missing_lines(run: Run) -> list[dict[str, Any]]:
    """Lines that the list may lack and the spectra want: stronger than 2 prior sds, the strongest first."""
    if run.unlisted is None:
        return []
    rows = run.unlisted[floats(run.unlisted["correction"]) > 2.0 * floats(run.unlisted["prior_sd"])]
    order = np.argsort(-floats(rows["correction"]), kind="stable")
    return [dict(zip(rows.colnames, rows[i], strict=True)) for i in order]


def misfits(run: Run, count: int = 20) -> list[dict[str, float]]:
    """The stretches where the model is most wrong for all stars."""
    if run.misfit is None:
        return []
    order = np.argsort(-floats(run.misfit["factor"]), kind="stable")[:count]
    return [{name: float(run.misfit[name][i]) for name in run.misfit.colnames} for i in order]


def flagged(run: Run) -> list[tuple[str, str]]:
    """Path and flags of the stars that lean on something."""
    return [(str(r["path"]), str(r["flags"])) for r in run.used if r["flags"] is not np.ma.masked and r["flags"]]


def known_stars(run: Run) -> list[dict[str, Any]]:
    """What `astrogf check --known` made of stars that are known well: differences, and these over their errors."""
    if run.known is None:
        return []
    return [{name: row[name] for name in run.known.colnames} for row in run.known]
