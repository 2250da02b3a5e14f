"""`astrogf check`: a run's corrections on spectra that it has not seen."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table, vstack
from jaxtyping import Float
from rich.console import Console
from rich.table import Table as Grid

from astrogf.base.errors import AstrogfError
from astrogf.checking import known
from astrogf.config import Config, as_recorded, parse
from astrogf.console import Bars
from astrogf.fitting import engine
from astrogf.fitting.pipeline import check_spectra
from astrogf.inference.check import Checked, Corrections, SlopeErrors, repeats
from astrogf.inference.problem.unlisted import CLASS as UNLISTED
from astrogf.runs import folder as runs
from astrogf.runs.outputs import after_results, check_output, complete, why, write_text

if TYPE_CHECKING:
    from astrogf.surveys.batch import SpectrumBatch


def held_out_check(
    run: Path,
    spectra: Path | None = None,
    *,
    table: Path | None = None,
    noise: known.Noise = known.USUAL,
    continuum: float | None = None,
    json: Path | None = None,
    figure: Path | None = None,
    everything: bool = False,
    console: Console | None = None,
) -> dict[str, Any]:
    """Refit the labels of the spectra below `spectra` with the list as it came and with the run's corrections.

    Stars of the run itself are left out unless `everything`. The known stars of `table` are given to the same fit as
    stars of the survey with this `noise` and, where it is given, a `continuum` of so many Angstrom a degree;
    RUN/known.ecsv and the run's report then have them. Returns what goes into the JSON file. Raises AstrogfError.
    """
    console = console or Console()
    check_output(json, "json")
    check_output(figure, "picture")
    if spectra is None and (table is None or figure is not None or everything):
        raise AstrogfError(
            "Name spectra with --spectra, or known stars with --known TABLE; --figure and --all are of --spectra."
        )
    if spectra is not None:
        check_spectra(spectra)
    record = runs.read(run)
    config = parse(as_recorded(record.record["config"]), f"the configuration of {run}")
    corrections_of_run = corrections(run, record)
    if continuum is not None and table is None:
        raise AstrogfError("--continuum is of known stars; name them with --known TABLE.")
    if table is not None:
        noise.check()
        known.check_continuum(continuum)
        check_output(run, "folder", "RUN")
    stars = known.read(table, spectra) if table is not None else []
    lines = engine.lines_of(config)
    engine.check_list(record.record, config, lines, run)
    bars = Bars(console)
    summary: dict[str, Any] = {}
    checked = found = None
    kept = False
    with bars:
        if spectra is not None:
            batches = _asked_for(run, spectra, record, config, everything, bars)
            checked = engine.check(batches, config, corrections_of_run, bars, lines=lines)
        if stars:
            found = known.refit(stars, record, config, corrections_of_run, bars, noise, continuum, lines=lines)
    if checked is not None:
        summary = summarise(checked, corrections_of_run)
        show(console, summary)
        kept = _keep(run, summary, spectra, everything, console)
    if found is not None:
        runs.write_known(run, found)
        summary["known"] = known.as_rows(found)
        known.show(console, found)
    if json is not None:
        write_text(json, runs.as_json(summary))
    where = str(json) if json else "the figures above"
    if figure is not None and checked is not None:
        with after_results("The picture of the check", where):
            from astrogf.checking.figures import draw

            with complete(figure) as draft:
                draw(checked, draft)
    if found is not None or kept:
        written = (("known.ecsv", found is not None), ("held_out.json", kept))
        files = " and ".join(str(run / name) for name, there in written if there)
        with after_results("The report", f"{files} and {where}"):
            from astrogf.fitting.report import write_report

            path = write_report(runs.read(run))
            console.print(f"in {files} and in {path}", soft_wrap=True, highlight=False, markup=False)
    return summary


def _keep(run: Path, summary: dict[str, Any], spectra: Path | None, everything: bool, console: Console) -> bool:
    """Write the check into the run folder, for its report; whether that could be done: the run may be another's."""
    try:
        runs.write_held_out(run, {"spectra": str(spectra), "own_stars_too": everything, **summary})
    except OSError as error:
        console.print(
            f"The report of {run} stays as it is: {why(error)}.", soft_wrap=True, highlight=False, markup=False
        )
        return False
    return True


def _asked_for(
    run: Path, spectra: Path, record: runs.Run, config: Config, everything: bool, bars: Bars
) -> "list[SpectrumBatch]":
    """The spectra to check on. The run's stated ones are its own: their files are asked for with all of these alone.
    Raises AstrogfError."""
    if not everything:
        if config.survey.kind == "stated":
            raise AstrogfError(
                f"{run} has no survey, only stated spectra, which are its own: add --all to check on them, or name "
                "known stars with --known TABLE."
            )
        config = config.model_copy(update={"spectra": {}})
    loaded = engine.load(config, spectra, bars)
    batches = loaded.batches if everything else unseen(loaded.batches, record)
    if not any(len(b.flux) for b in batches):
        raise AstrogfError(
            f"No usable spectrum in {spectra} is of a star that {run} has not seen; name other spectra, or add "
            "--all to check on the run's own."
        )
    return batches


def corrections(folder: Path, run: runs.Run) -> Corrections:
    """What a run folder says of its corrections. Raises AstrogfError where it lacks something."""
    lines = run.lines if run.unlisted is None else vstack([run.lines, run.unlisted], metadata_conflicts="silent")
    covariance = runs.read_covariance(folder)
    if covariance is None or len(covariance) != len(lines):
        raise AstrogfError(f"{folder} has no covariance of its corrections (posterior.fits): run `astrogf fit` again.")
    shared = {name: value["value"] for name, value in run.record["shared"].items()}
    resolution = shared.get("resolution", run.record["config"]["stars"]["resolution"])
    noise = {
        name.removeprefix("noise scale, "): (
            value,
            shared[name.replace("noise scale", "inflation", 1)],
            shared.get(name.replace("noise scale", "line scatter", 1), 0.0),
        )
        for name, value in shared.items()
        if name.startswith("noise scale, ")
    }
    from astrogf.inference.problem.parameters import lsf_sigma

    slopes = slope_errors(folder, lines, covariance)
    return Corrections(lines, covariance, float(lsf_sigma(resolution)), noise, run.factors, slopes)


def slope_errors(folder: Path, lines: Table, covariance: Float[np.ndarray, "line line"]) -> SlopeErrors | None:
    """Errors of the lines' slopes with temperature, rows as `lines`; None where the run has none, or does not say them
    (it took the slopes from another run). Raises AstrogfError for statistics of other lines."""
    path = folder / "statistics.npz"
    if "drift" not in lines.colnames or not path.is_file():
        return None
    from astrogf.inference import statistics

    stored = statistics.load(path)
    if stored.slopes is None:
        return None

    def keys(wavelength: np.ndarray, species: np.ndarray, elow: np.ndarray) -> list[tuple]:
        return [
            (round(float(w), 3), str(s), round(float(e), 3)) for w, s, e in zip(wavelength, species, elow, strict=True)
        ]

    row = {key: k for k, key in enumerate(keys(*stored.lines[:3]))}
    try:
        order = [row[key] for key in keys(*(np.asarray(lines[name]) for name in ("wavelength", "species", "elow")))]
    except KeyError as error:
        raise AstrogfError(
            f"{path} is not of the lines in {folder / 'loggf.ecsv'} ({error} is missing): run `astrogf fit` again."
        ) from error
    rows = np.ix_(order, order)
    return SlopeErrors.of(stored.slopes.slope[rows], stored.slopes.covariance[rows], covariance)


def unseen(batches: list, run: runs.Run) -> list:
    """The spectra whose file and star the run has not used."""
    used = run.used
    paths, stars = set(map(str, used["path"])), set(map(str, used["star"])) if "star" in used.colnames else set()
    kept = []
    for batch in batches:
        new = np.array([str(r["path"]) not in paths and str(r["star"]) not in stars for r in batch.table], dtype=bool)
        kept.append(batch.select(new))
    return kept


def summarise(checked: Checked, corrections_of_run: Corrections) -> dict[str, Any]:
    """The figures of a check."""
    n = np.maximum(checked.n_pixel, 1)
    before, after = checked.chi2_original / n, checked.chi2_corrected / n
    good = np.isfinite(before) & np.isfinite(after)
    gain = (checked.chi2_original - checked.chi2_corrected)[good]
    pit = checked.pit
    residual = np.abs(pit - 0.5) * 2.0
    again = repeats(
        checked.labels, checked.labels_own_sd, np.asarray(checked.table["star"]), np.asarray(checked.table["survey"])
    )
    return {
        "stars": int(good.sum()),
        "not_finite": int((~good).sum()),
        "lines": int(np.sum(np.asarray(corrections_of_run.lines["group"]) != UNLISTED)),
        "chi2_per_pixel_original": float(np.median(before[good])),
        "chi2_per_pixel_corrected": float(np.median(after[good])),
        "chi2_gain_quantiles": dict(
            zip(("5%", "25%", "50%", "75%", "95%"), np.percentile(gain, [5, 25, 50, 75, 95]), strict=True)
        ),
        "share_worse": float(np.mean(gain < 0)),
        "pixel_coverage_68": float(np.mean(residual < 0.6827)),
        "pixel_coverage_95": float(np.mean(residual < 0.9545)),
        "pit_histogram": np.histogram(pit, np.linspace(0, 1, 21))[0] / max(len(pit), 1) * 20,
        "repeats": {
            checked.label_names[int(k)]: {"pairs": len(z), "robust_sd": float(1.4826 * np.median(np.abs(z)))}
            for k, z in again.items()
        },
        "per_star": [
            {
                "path": str(row["path"]),
                "star": str(row["star"]),
                "chi2_original": float(a),
                "chi2_corrected": float(b),
                "pixels": int(c),
                "labels": dict(zip(checked.label_names, map(float, labels), strict=True)),
                "labels_sd": dict(zip(checked.label_names, map(float, sd), strict=True)),
            }
            for row, a, b, c, labels, sd in zip(
                checked.table, checked.chi2_original, checked.chi2_corrected, checked.n_pixel, checked.labels,
                checked.labels_sd, strict=True,
            )
        ],
    }  # fmt: skip


def show(console: Console, summary: dict[str, Any]) -> None:
    """The figures as a table on the screen."""
    grid = Grid(title="Held-out check", show_header=False)
    rows = {
        "stars, corrected lines": f"{summary['stars']}, {summary['lines']}",
        "chi2 per pixel, list as it came": f"{summary['chi2_per_pixel_original']:.3f} (median)",
        "chi2 per pixel, corrected list": f"{summary['chi2_per_pixel_corrected']:.3f} (median)",
        "chi2 gained by a star": ", ".join(f"{k} {v:.0f}" for k, v in summary["chi2_gain_quantiles"].items()),
        "stars that get worse": f"{100 * summary['share_worse']:.1f}%",
        "pixels within 68, 95%": ", ".join(f"{100 * summary[f'pixel_coverage_{k}']:.1f}%" for k in (68, 95)),
    }
    for name, z in summary["repeats"].items():
        rows[f"repeats of a star, {name}"] = f"{z['robust_sd']:.2f} of the error ({z['pairs']} pairs)"
    for row in rows.items():
        grid.add_row(*row)
    console.print(grid)
