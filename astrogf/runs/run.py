"""A run as an object: its tables and spectra read back from the folder, and what can be made of them.

Opening a run imports no JAX. What computes (check, export of shipped lists) imports it when it is called.
"""

import html
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from astropy.io import fits
from astropy.table import Table
from jaxtyping import Float

from astrogf.base.errors import AstrogfError, printable
from astrogf.base.tables import read_table
from astrogf.runs.columns import described
from astrogf.runs.spectra import Spectra, Which, read_spectra, spectrum
from astrogf.runs.words import headline, in_python

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Plot = Literal[
    "corrections",
    "by_property",
    "posterior_to_prior",
    "injected",
    "labels",
    "kiel",
    "chi2",
    "residuals",
    "solver",
    "spectrum",
]
"""The pictures of the report; "spectrum" is of one star."""


@dataclass(frozen=True, repr=False, eq=False)
class Run:
    """A finished run, read from its folder; `astrogf.fit` and `astrogf.open_run` return one.

    - `stars`: one row a file, used and set aside alike; `used`: those fitted, in the order of `spectra`.
    - `lines`: one row a free line, correction with `posterior_sd` (dex) and `ratio`, posterior over prior sd;
      `unlisted`: lines that the list may lack; `hyper`: what was learned of each group of lines.
    - `spectra`: flux, ivar, sigma and both models [star, pixel] on the scale of the files, wavelength in vacuum A.
    - `set_aside`: files that were not used, and why; `misfit`: where the model is wrong for all stars, `factors`: by
      how much the variances of pixels were raised there; `truth`: what a demonstration injected; `known` and
      `held_out`: what checks found on known stars and on stars not seen.
    - `summary`, `record`: headline figures, and how the run was made.

    Tables have units and descriptions; one that the run does not have is None. docs/reference/run-folder.md has every
    column.

    >>> run = astrogf.open_run("runs/first")
    >>> sharp = run.lines[run.lines["ratio"] < 0.5]
    >>> sharp["correction"].unit
    Unit("dex")
    >>> run.used["teff"].quantity.unit
    Unit("K")
    >>> run.covariance.shape == (len(run.lines), len(run.lines))
    True
    """

    folder: Path
    summary: dict[str, Any]
    record: dict[str, Any]
    stars: Table
    lines: Table
    unlisted: Table | None
    misfit: Table | None
    factors: Table | None
    set_aside: Table
    hyper: Table | None
    truth: Table | None
    known: Table | None
    held_out: dict[str, Any] | None

    @property
    def used(self) -> Table:
        """The stars that were fitted, in the order of `spectra`."""
        rows = self.stars[np.asarray(self.stars["used"], dtype=bool)]
        return rows[np.argsort(np.asarray(rows["spectrum"]))]

    @cached_property
    def spectra(self) -> Spectra:
        """All of spectra.fits, in memory from the first time it is asked for. Raises AstrogfError where it is
        damaged."""
        return self.spectra_of(slice(None))

    def spectra_of(self, stars: slice) -> Spectra:
        """Some of the `spectra`, read from the folder: rows of `used`. Raises AstrogfError where they are damaged."""
        with _readable(self.folder):
            return read_spectra(self.folder, stars)

    @property
    def reference(self) -> str | None:
        """What the labels are compared with, 'LASP', 'truth' or None."""
        return self.record.get("reference")

    @cached_property
    def covariance(self) -> Float[np.ndarray, "line line"]:
        """Posterior covariance of the corrections, dex^2; rows as in `lines`, and after them those of `unlisted`.

        Raises AstrogfError where the run's posterior.fits is missing or damaged.
        """
        return self._image("COVARIANCE")

    def _image(self, name: str) -> np.ndarray:
        path = self.folder / "posterior.fits"
        try:
            with fits.open(path, memmap=False) as hdus:
                return np.asarray(hdus[name].data, dtype=float)
        except (OSError, KeyError) as error:
            raise AstrogfError(f"The run has no {name} in {path}: {error}. Fit again to have one.") from error

    @cached_property
    def label_covariance(self) -> Float[np.ndarray, "star label label"] | None:
        """Posterior covariance of each star's labels, rows as `used`, labels as `record["label_names"]`; None of runs
        written before they were kept."""
        from astrogf.runs.posterior import label_covariance

        return label_covariance(self)

    def posterior(self, draws: int = 1000, seed: int = 0) -> Any:
        """The posterior for ArviZ, an `xarray.DataTree` by its schema, with independent draws in four chains.

        Group `posterior` has `correction` and `loggf` [chain, draw, line] and the labels [chain, draw, star];
        `constant_data` the table's columns, covariances and models; `observed_data` the flux. Draws of the corrections
        have their covariance and their credible intervals; those of a star's labels its labels' covariance. Stars are
        independent of each other and of the lines in them: the errors that they share are in their widths.

        Raises AstrogfError where xarray is missing (pip install 'astrogf[arviz]'), or `draws` is no multiple of 4.

        >>> tree = run.posterior(draws=400)
        >>> tree["posterior/correction"].dims
        ('chain', 'draw', 'line')
        >>> tree.to_netcdf("posterior.nc", engine="h5netcdf")  # arviz.from_netcdf opens it
        """
        from astrogf.runs.posterior import posterior

        return posterior(self, draws, seed)

    def spectrum(self, star: int | str, which: Which = "observed", window: int = 0) -> Any:
        """One star's spectrum in one window as a `specutils.Spectrum`: as `observed`, or the model of the `corrected`
        or the `original` list.

        On the scale of the file's flux, which has no unit here; vacuum Angstrom; pixels that were not used are masked.
        The uncertainty of the observed one is the noise of the fit. Windows count from 0.

        Raises AstrogfError where specutils is missing (pip install 'astrogf[specutils]'), and for a star or a window
        that is not there.

        >>> run.spectrum(0, "corrected").spectral_axis.unit
        Unit("Angstrom")
        """
        return spectrum(self, self.row_of(star), which, window)

    def plot(self, name: Plot, star: int | str | None = None) -> "Figure":
        """One of the report's pictures as a matplotlib figure; "spectrum" needs `star`, its row in `used` or its path.

        Raises AstrogfError for a name that is none, a star that is not there, and a picture that this run has nothing
        for ("injected" without injected errors, "labels" without a reference).

        >>> run.plot("corrections").axes[0].get_ylabel()
        'correction to $\\\\log gf$ (dex)'
        >>> figure = run.plot("spectrum", star=0)
        """
        from astrogf.fitting.report import picture

        return picture(self, name, None if star is None else self.row_of(star))

    def row_of(self, star: int | str) -> int:
        """Row of `used` and `spectra` of a star, given so already or by its path. Raises AstrogfError."""
        paths = [str(path) for path in self.used["path"]]
        if isinstance(star, str):
            if star in paths:
                return paths.index(star)
            near = [path for path in paths if star in path]
            hint = f"is it {near[0]}?" if near else "run.used['path'] names those that were."
            raise AstrogfError(f"star: no spectrum {star!r} was fitted; {hint}")
        if not -len(paths) <= int(star) < len(paths):
            raise AstrogfError(f"star: {star} is no row of the {len(paths)} stars that were fitted.")
        return int(star) % len(paths)

    def export(self, format: str, out: Path | str, **options: Any) -> dict[str, Any]:
        """Write the corrected line list, the corrections, or all results to a file, as `astrogf export` does.

        `format`: vald, turbospectrum, moog, kurucz, korg, ecsv, overlay; fits (all tables), netcdf (the posterior).
        Options are those of `astrogf.exporting.export.export`: everything, ratio, lines_at, medium, overwrite. Returns
        what was done: lines, corrected transitions and so on. Raises AstrogfError.

        >>> told = run.export("moog", "corrected.moog")  # doctest: +SKIP
        """
        from astrogf.exporting.export import export

        with in_python():
            return export(self.folder, Path(out), format, console=_silent(), **options)

    def check(
        self,
        spectra: Path | str | None = None,
        *,
        known: Path | str | None = None,
        continuum: float | None = None,
        figure: Path | str | None = None,
        everything: bool = False,
    ) -> dict[str, Any]:
        """Hold the corrections against stars not seen, or `known` ones, as `astrogf check` does; the figures it found.

        `continuum`: Angstrom a degree of the known stars' continua, where the survey's own cannot follow them.

        It fits the labels of those stars, which takes time. Raises AstrogfError.
        """
        from astrogf.checking.held_out import held_out_check

        spectra, known, figure = (None if path is None else Path(path) for path in (spectra, known, figure))
        with in_python():
            return held_out_check(
                self.folder, spectra, table=known, continuum=continuum, figure=figure, everything=everything,
                console=_silent(),
            )  # fmt: skip

    def label(self, spectra: Path | str, out: Path | str | None = None, *, share: float = 0.01) -> Table:
        """Labels of very many spectra at the corrected list, as `astrogf label` gives them; its `meta` has the figures.

        The table is also written, to `out` or RUN/labels.fits. Raises AstrogfError.
        """
        from astrogf.labelling.labelling import label_spectra

        path = self.folder / "labels.fits" if out is None else Path(out)
        with in_python():
            figures = label_spectra(self.folder, Path(spectra), out=path, share=share, console=_silent())
        table = described(read_table(path))
        table.meta |= figures
        return table

    def compare(self, table: Path | str, *, ratio: float = 0.3, medium: str | None = None) -> Table:
        """The lines of a table of reference log gf beside the run's, one row a pair; its `meta` has the figures.

        Columns `list`, `inferred`, `reference`, `difference` and so on, as of `astrogf compare`. Raises AstrogfError.
        """
        from astrogf.comparing.corrections import compare_run

        with in_python():
            figures, _, pairs = compare_run(self.folder, Path(table), ratio=ratio, medium=medium)
        pairs.meta |= figures
        return pairs

    def report(self) -> Path:
        """Draw the pictures and report.html again; where that is."""
        from astrogf.fitting.report import write_report

        return write_report(self)

    def __repr__(self) -> str:
        s = self.summary
        chi2 = [s.get(f"chi2_per_pixel_{name}") for name in ("original", "corrected")]
        better = "" if None in chi2 else f", chi2 per pixel {chi2[0]:.3f} -> {chi2[1]:.3f}"
        return (
            f"Run({printable(str(self.folder))!r}: {s.get('stars_used')} stars, {s.get('lines_free')} free lines, "
            f"{s.get('informed_lines')} of them informed{better})"
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:left'>{html.escape(name)}</td>"
            f"<td style='text-align:left'><b>{html.escape(value)}</b></td></tr>"
            for name, value in headline(self.summary, self.reference)
        )
        where = html.escape(printable(str(self.folder)))
        return f"<p>Run <code>{where}</code>, report in <code>{where}/report.html</code></p><table>{rows}</table>"


def read(folder: Path) -> Run:
    """A run from its folder alone. Raises AstrogfError when it is no run, or an unfinished one."""
    if not (folder / "record.json").is_file():
        raise AstrogfError(f"{folder} is not a run of astrogf: there is no record.json in it.")
    missing = [n for n in ("summary.json", "stars.ecsv", "loggf.ecsv", "spectra.fits") if not (folder / n).is_file()]
    if missing:
        raise AstrogfError(f"The run in {folder} did not finish ({', '.join(missing)} missing); run it again.")
    with _readable(folder):
        read_spectra(folder, slice(-1, None))  # the end of the file is there
        return Run(
            folder=folder,
            summary=_json(folder / "summary.json"),
            record=_json(folder / "record.json"),
            stars=described(read_table(folder / "stars.ecsv")),
            lines=described(read_table(folder / "loggf.ecsv")),
            unlisted=_if_there(folder / "unlisted.ecsv"),
            misfit=_if_there(folder / "misfit.ecsv"),
            factors=_if_there(folder / "factors.ecsv"),
            set_aside=read_table(folder / "set_aside.ecsv"),
            hyper=_if_there(folder / "hyper.ecsv"),
            truth=_if_there(folder / "truth_lines.ecsv"),
            known=_if_there(folder / "known.ecsv"),
            held_out=_json(folder / "held_out.json") if (folder / "held_out.json").is_file() else None,
        )


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Within, what reading raises of a damaged run is a sentence."""
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        raise AstrogfError(f"The run in {folder} cannot be read: {error}.") from error


def _if_there(path: Path) -> Table | None:
    return described(read_table(path)) if path.is_file() else None


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _silent() -> Any:
    from rich.console import Console

    return Console(quiet=True)
