"""The run that `[lines] prior` names: what it knows of the lines, and how far this run has moved them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from astropy import units as u
from astropy.table import MaskedColumn, Table, vstack
from jaxtyping import Float, Int
from scipy.special import logit

from astrogf.base.errors import AstrogfError
from astrogf.config import Config, as_recorded, parse
from astrogf.fitting import engine
from astrogf.runs import folder as runs
from astrogf.runs.tables import floats
from astrogf.runtime import ready_to_compute
from astrogf.synthesis.lines.identity import SAME_LIST, same_lines, written

if TYPE_CHECKING:
    from astrogf.inference.problem.prior_lines import LinePrior
    from astrogf.inference.statistics import LineNames
    from astrogf.runs.run import Run
    from astrogf.surveys.batch import SpectrumBatch
    from astrogf.synthesis.lines.linelist import LineList


class PriorRun(NamedTuple):
    """A run folder, what its spectra say of its lines, its table of these, the files it has used (sha256: path), and
    the parts of this run's windows that were in none of its own (vacuum Angstrom)."""

    folder: Path
    known: "LinePrior"
    lines: Table
    files: dict[str, str]
    unseen: tuple[tuple[float, float], ...] = ()


def read(config: Config, lines: "LineList | None") -> PriorRun | None:
    """The run that the configuration names, None where it names none; looked at before any spectra are read.

    `lines`: what `engine.lines_of` read. Raises AstrogfError for a folder that is no such run, and where it is of
    another line list or other solar abundances, or none of its lines lies in a window of this one.
    """
    if config.lines.prior is None:
        return None
    folder = Path(config.lines.prior)
    place = f"[lines] prior: {folder}"
    if not folder.is_dir():
        raise AstrogfError(f"{place} is no folder; name that of a run, which `astrogf fit` wrote.")
    path = folder / "statistics.npz"
    if not path.is_file():
        raise AstrogfError(
            f"{place} has no statistics.npz, in which a run keeps what its spectra say of the lines: name a finished "
            "run, or fit it again."
        )
    ready_to_compute()
    from astrogf.inference import statistics
    from astrogf.inference.problem.parameters import lsf_sigma
    from astrogf.inference.problem.prior_lines import LinePrior, in_windows

    stored = statistics.load(path)
    run = runs.read(folder)
    theirs = parse(as_recorded(run.record["config"]), f"the configuration of {folder}")
    if lines is None and theirs.lines.list is None:
        engine.check_list(run.record, theirs, None, folder)
    solar, mine = run.record["config"]["model"].get("solar", "asplund2009"), config.model.solar
    if solar != mine:
        raise AstrogfError(
            f"{place} has its labels relative to the solar abundances {solar}, this run to {mine}: its corrections "
            f'would be shifted. Set [model] solar = "{solar}", or fit that run anew.'
        )
    stars = run.record["config"]["stars"]
    sd = stars["resolution_sd"] / stars["resolution"]
    n_other = len(stored.others)
    of_others = np.full(n_other, float(lsf_sigma(stars["resolution"]))), np.full(n_other, sd)
    alone = statistics.of_lines(stored, *of_others)
    if not in_windows(alone.lines, config.survey.all_windows).any():
        windows = " and ".join(f"{low:g}-{high:g}" for low, high in config.survey.all_windows)
        low, high = alone.lines.wavelength.min(), alone.lines.wavelength.max()
        raise AstrogfError(
            f"{place} has no line in {windows} A, the window of this run: its {len(alone.lines.wavelength)} lines lie "
            f"in {low:.0f}-{high:.0f} A (vacuum)."
        )
    slopes = statistics.slopes_of_lines(stored, *of_others) if config.noise.line_drift > 0.0 else None
    known = LinePrior(alone, name=str(folder))
    known.check(lines)
    trace = run.record.get("solver", {}).get("trace", [])
    mean = next((float(t["prior_mean"]) for t in trace if t.get("stage") == "suspects" and "prior_mean" in t), 0.0)
    tables = [run.lines] if run.unlisted is None else [run.lines, run.unlisted]
    files = run.record.get("inputs", {}).get("files", {})
    return PriorRun(
        folder,
        known._replace(unlisted_mean=mean, widths=_widths(run, alone.lines), slopes=slopes),
        vstack(tables, metadata_conflicts="silent"),
        {sha: name for name, sha in files.items() if sha},
        outside(config.survey.all_windows, of_run(run.record["config"]["survey"])),
    )


ENOUGH = 10.0
"""Angstrom: narrower parts of windows that a prior has not seen are not worth a word."""


def of_run(survey: dict[str, Any]) -> list[tuple[float, float]]:
    """The windows of a run by its record."""
    windows = survey.get("windows") or ([survey["window"]] if survey.get("window") else [])
    return [(float(low), float(high)) for low, high in windows]


def outside(
    windows: Sequence[tuple[float, float]], seen: Sequence[tuple[float, float]]
) -> tuple[tuple[float, float], ...]:
    """Parts of the windows, ENOUGH and wider, that lie in none of those `seen`."""
    left = list(windows)
    for low, high in seen:
        left = [part for a, b in left for part in ((a, min(b, low)), (max(a, high), b)) if part[1] > part[0]]
    return tuple((a, b) for a, b in left if b - a >= ENOUGH)


def unseen_in_words(prior: PriorRun) -> str | None:
    """What it means that the prior has not seen all of the windows, a sentence; None where it has."""
    if not prior.unseen:
        return None
    where = " and ".join(f"{low:g}-{high:g}" for low, high in prior.unseen)
    return (
        f"The prior run has not seen {where} A of this run's windows: lines there start from the list as it came, and "
        "its errors pull the labels of all stars alike. Shorten the windows, or fit the prior's spectra there too."
    )


def _widths(run: "Run", lines: "LineNames") -> Float[np.ndarray, "3 known"] | None:
    """Coordinates of tau, gross and the share of each line's group as the run found them; None where it has no groups
    with two classes."""
    from astrogf.inference.prior.widths import GROSS, SHARE, TAU

    if run.hyper is None or not {"group", "tau", "gross", "share"} <= set(run.hyper.colnames):
        return None
    tau, gross, share = (floats(run.hyper[name]) for name in ("tau", "gross", "share"))
    place = np.full((3, len(tau) + 1), np.nan)
    two = (tau > 0.0) & (gross > 0.0) & (share > 0.0) & (share < 1.0)
    if not two.any():
        return None
    for at, values in ((TAU, np.log(tau[two])), (GROSS, np.log(gross[two])), (SHARE, logit(share[two]))):
        place[at, :-1][two] = values
    row = {str(name): k for k, name in enumerate(run.hyper["group"])}
    table = run.lines
    names = zip(*(table[x] for x in ("species", "wavelength", "elow", "loggf")), table["group"], strict=True)
    group = {written(str(s), w, e, g, digits=3): row.get(str(name), len(tau)) for s, w, e, g, name in names}
    mine = zip(lines.species, lines.wavelength, lines.elow, lines.loggf, strict=True)
    return place[:, [group.get(written(*one, digits=3), len(tau)) for one in mine]]


def check_photons(prior: PriorRun, batches: "Sequence[SpectrumBatch]") -> None:
    """Raises AstrogfError for a spectrum that the prior has used already."""
    for batch in batches:
        for path, sha in zip(batch.table["path"], batch.table["sha256"], strict=True):
            if str(sha) in prior.files:
                raise AstrogfError(
                    f"{path} is a spectrum that {prior.folder}, the run of [lines] prior, has used ("
                    f"{prior.files[str(sha)]}): its photons would count twice. Leave it out of this run, and check it "
                    "with `astrogf check --known` afterwards."
                )


def with_moved(lines: Table, prior: PriorRun) -> Table:
    """loggf.ecsv with what the prior's own run found of every line, `before` and `before_sd`, and by how much its
    correction has `moved` since (dex); masked for lines that are new."""
    codes = {name: k for k, name in enumerate({*map(str, lines["species"]), *map(str, prior.lines["species"])})}
    row = same_lines(_named(lines, codes), _named(prior.lines, codes), SAME_LIST)
    known = (row >= 0) & (np.abs(floats(lines["loggf"]) - floats(prior.lines["loggf"])[row]) < SAME_VALUE)
    for column, of in (("before", "correction"), ("before_sd", "posterior_sd")):
        values = np.where(known, floats(prior.lines[of])[row], np.nan)
        lines[column] = MaskedColumn(np.ma.masked_invalid(values), unit=u.dex, format=".5f")
    moved = np.ma.masked_invalid(floats(lines["correction"]) - floats(lines["before"]))
    lines["moved"] = MaskedColumn(moved, unit=u.dex, format=".5f")
    return lines


class _Named(NamedTuple):
    wavelength: Float[np.ndarray, " line"]
    code: Int[np.ndarray, " line"]
    elow: Float[np.ndarray, " line"]


def _named(lines: Table, codes: dict[str, int]) -> _Named:
    code = np.array([codes[str(name)] for name in lines["species"]], int)
    return _Named(floats(lines["wavelength"]), code, floats(lines["elow"]))


def in_words(prior: PriorRun, lines: Table) -> dict[str, Any]:
    """For record.json: the run, its spectra and lines, and how far those lines have moved."""
    moved, sd = floats(lines["moved"]), floats(lines["before_sd"])
    known = np.isfinite(moved)
    told = known & (floats(lines["posterior_sd"]) < LEARNED * sd)
    return {
        "run": str(prior.folder.resolve()),
        "spectra": prior.known.statistics.n_star,
        "lines": len(prior.known.lines.wavelength),
        "in_table": int(known.sum()),
        "learned_more": int(told.sum()),
        "moved_rms": float(np.sqrt(np.mean(moved[known] ** 2))) if known.any() else None,
        "moved_rms_in_sd": float(np.sqrt(np.mean((moved[known] / sd[known]) ** 2))) if known.any() else None,
    }


SAME_VALUE = 1e-3
"""dex: largest difference of one list's log gf, written and read again."""
LEARNED = 0.9
"""Lines whose posterior sd has shrunk below this part are those of which this run's spectra say something."""
