"""labels.fits (or .ecsv) and label.json: a row a spectrum, and what the exact model says of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import MaskedColumn, Table, vstack
from jaxtyping import Float

from astrogf.base.errors import AstrogfError
from astrogf.inference.surrogate.build import Trial
from astrogf.inference.surrogate.label import Judged, Labelled
from astrogf.runs.columns import described
from astrogf.runs.outputs import complete
from astrogf.runs.tables import KEPT, unit_of

ENDINGS = (".fits", ".ecsv")


def check_ending(path: Path) -> None:
    """Raises AstrogfError for a name that does not say in which format to write."""
    if path.suffix.lower() not in ENDINGS:
        raise AstrogfError(f"--out: {path} does not say what to write; give a name that ends in .fits or .ecsv.")


def label_table(labelled: Labelled, set_aside: Table) -> Table:
    """A row a spectrum: path, flags, each label with its error NAME_sd and the part of that which all stars share
    through the corrections, NAME_list_sd, pixels, chi2 per pixel, whether it was fitted exactly too, and what the file
    says; then spectra that were set aside, with reason and detail. What does not exist is masked."""
    n = len(labelled.table)
    exact = np.zeros(n, bool)
    exact[labelled.judged.star] = True
    table = Table({"path": np.asarray(labelled.table["path"], dtype=str)})
    table["flags"] = np.asarray(labelled.flags, dtype=str) if n else np.empty(0, dtype=str)
    table["reason"], table["detail"] = np.full(n, ""), np.full(n, "")
    for i, name in enumerate(labelled.label_names):
        columns = {name: labelled.labels, f"{name}_sd": labelled.sd, f"{name}_list_sd": labelled.list_sd}
        for column, values in columns.items():
            form = ".2f" if name == "teff" else ".5f"
            table[column] = MaskedColumn(np.ma.masked_invalid(values[:, i]), unit=unit_of(name), format=form)
            if column.endswith("_list_sd"):
                table[column].description = f"part of {name}_sd that all stars share: the corrections' errors"
    table["n_pixel"] = labelled.n_pixel
    chi2 = labelled.chi2 / np.maximum(labelled.n_pixel, 1)
    table["chi2_per_pixel"] = MaskedColumn(np.ma.masked_invalid(chi2), format=".4f")
    table["exact"] = exact
    for name in KEPT:
        if name in labelled.table.colnames:
            table[name] = labelled.table[name]
    if len(set_aside):
        aside = Table({name: np.asarray(set_aside[name], dtype=str) for name in ("path", "reason", "detail")})
        table = vstack([table, aside], join_type="outer", metadata_conflicts="silent")
    return described(table)


def write_labels(path: Path, table: Table) -> None:
    """The table in the format that its name ends in, complete or absent."""
    from astropy.io import fits

    from astrogf.exporting.results import table_hdu

    with complete(path) as draft:
        if path.suffix.lower() == ".fits":
            fits.HDUList([fits.PrimaryHDU(), table_hdu(table, "LABELS")]).writeto(draft, overwrite=True)
        else:
            table.write(draft, format="ascii.ecsv", overwrite=True)


def summarise(labelled: Labelled, set_aside: Table, made: list[int], seconds: Mapping[str, float]) -> dict[str, Any]:
    """The figures of a labelling, for label.json."""
    has = np.isfinite(labelled.labels).all(1)
    busy = sum(seconds.get(name, 0.0) for name in ("search", "labels"))
    n = len(labelled.table)
    return {
        "spectra": n,
        "labelled": int(has.sum()),
        "flags": dict(Counter(word for flag in labelled.flags for word in flag.split())),
        "set_aside": dict(Counter(np.asarray(set_aside["reason"], dtype=str).tolist())),
        "exact": compared(labelled.judged, labelled.label_names),
        "surrogate": [
            {"window": k + 1, "made_anew": k in made, **quality(trial, labelled.label_names)}
            for k, trial in enumerate(labelled.trials)
        ],
        "seconds": dict(seconds),
        "spectra_per_second": n / busy if busy > 0 else None,
        "per_star": [
            {
                "path": str(labelled.table["path"][star]),
                "exact": dict(zip(labelled.label_names, judged, strict=True)),
                "exact_sd": dict(zip(labelled.label_names, sd, strict=True)),
                "difference_in_sd": dict(zip(labelled.label_names, z, strict=True)),
            }
            for star, judged, sd, z in zip(
                labelled.judged.star, *(x.tolist() for x in labelled.judged[1:3]), labelled.judged.z.tolist(),
                strict=True,
            )
        ],
    }  # fmt: skip


def compared(judged: Judged, names: tuple[str, ...]) -> dict[str, Any]:
    """Surrogate minus exact in units of the labels' own errors, of the stars fitted exactly."""
    if len(judged.star) == 0:
        return {"stars": 0}

    def figures(z: Float[np.ndarray, "..."]) -> dict[str, float]:
        median, most, largest = np.percentile(np.abs(z), [50, 95, 100])
        return {"median": float(median), "95%": float(most), "largest": float(largest)}

    by_label = {name: figures(judged.z[:, i]) for i, name in enumerate(names)}
    added = dict(zip(names, judged.share_of_sd.tolist(), strict=True))
    return {"stars": len(judged.star), "all_labels": figures(judged.z), "by_label": by_label, "added": added}


def quality(trial: Trial, names: Sequence[str]) -> dict[str, Any]:
    """How far a surrogate's spectra are from exact ones that it was not made from; `names` of all labels."""
    flux, slopes = np.percentile(trial.flux, [50, 95]), np.median(trial.slopes, axis=0)
    # broadening and velocity, which no spectrum of a surrogate has, stand between labels and abundances
    of_spectrum = [name for name in names if name not in ("ln_sigma", "rv")][: len(slopes)]
    return {
        "tried_on": len(trial.flux),
        "flux_rms_median": float(flux[0]),
        "flux_rms_95%": float(flux[1]),
        "slopes_rms_median": dict(zip(of_spectrum, slopes.tolist(), strict=True)),
    }
