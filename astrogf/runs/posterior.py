"""The posterior of a run for ArviZ: an xarray.DataTree with the groups and names of its schema.

ArviZ 1 works with DataTrees, earlier ones with InferenceData, of which `arviz.InferenceData.from_datatree` and
`arviz.from_netcdf` make one. Source of the schema: python.arviz.org, "InferenceData schema specification".
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from astropy.table import Table, vstack
from jaxtyping import Float

from astrogf.base.errors import AstrogfError, printable
from astrogf.base.optional import needed
from astrogf.runs import draws
from astrogf.runs.columns import about

if TYPE_CHECKING:
    from astrogf.runs.run import Run

CHAINS = 4
"""Draws are independent; they stand as several chains because ArviZ's diagnostics ask for that."""
ENDS = ("low_95", "low_68", "high_68", "high_95")
OF_LINES = (
    *("loggf", "correction", "posterior_sd", *ENDS, "prior_sd", "list_share", "badly_wrong", "apparent", "apparent_sd"),
    *("blended", "drift", "drift_sd", "ratio", "loggf_total", "strength", "injected"),
)
"""Columns of loggf.ecsv that go along as data."""
OF_STARS = ("n_pixel", "snr", "chi2_per_pixel_original", "chi2_per_pixel_corrected", "ref_teff", "ref_logg", "ref_feh")


def posterior(run: "Run", count: int, seed: int) -> Any:
    """An xarray.DataTree with `count` draws in four chains; see `Run.posterior`.

    Raises AstrogfError where xarray is not installed, `count` is too small, or the run lacks its covariance.
    """
    if not (isinstance(count, int | np.integer) and count >= CHAINS and count % CHAINS == 0):
        raise AstrogfError(f"draws: {count!r}; expected a multiple of {CHAINS}, for they stand in {CHAINS} chains.")
    xr = needed("xarray", "arviz", "The posterior for ArviZ")
    rng = np.random.default_rng(seed)
    lines = run.lines if run.unlisted is None else vstack([run.lines, run.unlisted], metadata_conflicts="silent")
    line, star, pixel = _lines(lines), _stars(run), _pixels(run)
    names = label_names(run)
    of_labels = run.label_covariance
    each = draws.labels(
        np.stack([_floats(run.used[name]) for name in names], axis=-1),
        np.stack([_floats(run.used[f"{name}_sd"]) for name in names], axis=-1),
        of_labels, count, rng,
    )  # fmt: skip
    ends = np.stack([_floats(lines[end]) for end in ENDS]) if set(ENDS) <= set(lines.colnames) else None
    corrections = draws.corrections(_floats(lines["correction"]), run.covariance, ends, count, rng)

    def in_chains(values: np.ndarray) -> np.ndarray:
        return values.reshape(CHAINS, count // CHAINS, *values.shape[1:])

    chains = {"chain": np.arange(CHAINS), "draw": np.arange(count // CHAINS)}
    drawn = {
        "correction": (("chain", "draw", "line"), in_chains(corrections), _attrs("correction", "dex")),
        "loggf": (
            ("chain", "draw", "line"), in_chains(corrections + _floats(lines["loggf"])),
            _attrs("loggf_corrected", "dex"),
        ),
    }  # fmt: skip
    for k, name in enumerate(names):
        drawn[name] = (("chain", "draw", "star"), in_chains(each[..., k]), _attrs(name, _unit(run.used[name])))
    fixed: dict[str, Any] = {
        f"line_{name}": ("line", _floats(lines[name]), _attrs(name, _unit(lines[name])))
        for name in OF_LINES
        if name in lines.colnames
    }
    fixed |= {
        f"star_{name}": ("star", _floats(run.used[name]), _attrs(name, _unit(run.used[name])))
        for name in OF_STARS
        if name in run.used.colnames
    }
    fixed["covariance"] = (
        ("line", "line_other"), run.covariance,
        {"units": "dex2", "description": "posterior covariance of correction"},
    )  # fmt: skip
    if of_labels is not None:
        said = "posterior covariance of each star's labels, in the units of both"
        fixed["label_covariance"] = (("star", "label", "label_other"), of_labels, {"description": said})
    s = run.spectra
    scale = "on the scale of the file's flux"
    for name, description in (
        ("ivar", "inverse variance of the file, 0 where not used"),
        ("sigma", "noise sd of the fit, infinite where not used"),
        ("model_original", f"labels refitted with the list as it came, {scale}"),
        ("model_corrected", f"of the joint fit, {scale}"),
    ):
        fixed[name] = (("star", "pixel"), getattr(s, name), {"description": description})
    others = {"line_other": line["line"][1], "label": list(names), "label_other": list(names)}
    described = "each star's labels together" if of_labels is not None else "each label by itself"
    groups = {
        "/posterior": xr.Dataset(
            drawn, chains | line | star,
            _made(sampling=f"independent draws of the posterior in the run folder: corrections together, {described}"),
        ),
        "/constant_data": xr.Dataset(fixed, line | star | pixel | others, _made()),
        "/observed_data": xr.Dataset(
            {"flux": (("star", "pixel"), s.flux, {"description": "of the file; ivar is 0 where not used"})},
            star | pixel, _made(),
        ),
    }  # fmt: skip
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=_made(run=run.folder.resolve().name)), **groups})


def label_names(run: "Run") -> list[str]:
    """The labels of the stars, in the order of the columns of stars.ecsv."""
    known = run.record.get("label_names")
    names = known or [n for n in run.stars.colnames if f"{n}_sd" in run.stars.colnames]
    return [str(name) for name in names]


def label_covariance(run: "Run") -> Float[np.ndarray, "star label label"] | None:
    """Of every star, rows as `used`, labels as `label_names`; None where the run folder does not keep it."""
    try:
        with fits.open(run.folder / "posterior.fits", memmap=False) as hdus:
            return np.asarray(hdus["LABELS"].data, dtype=float) if "LABELS" in hdus else None
    except OSError as error:
        raise AstrogfError(f"{run.folder / 'posterior.fits'} cannot be read: {error}.") from error


def _floats(column: Any) -> np.ndarray:
    return np.ma.filled(np.ma.asarray(column, dtype=float), np.nan)


def _unit(column: Any) -> str:
    return str(column.unit or "")


def _attrs(name: str, unit: str) -> dict[str, str]:
    known = about(name)
    return {"units": unit, "description": known.description if known else ""}


def _made(**more: str) -> dict[str, str]:
    from astrogf import __version__

    return {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "creation_library": "astrogf",
        "creation_library_version": __version__,
        "inference_library": "astrogf",
        "inference_library_version": __version__,
        **more,
    }


def _unique(names: list[str]) -> list[str]:
    """The names, those that came before with a number behind."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return out


def _lines(lines: Table) -> dict[str, Any]:
    wavelength, species = _floats(lines["wavelength"]), [str(s) for s in lines["species"]]
    names = _unique([f"{s} {w:.3f}" for s, w in zip(species, wavelength, strict=True)])
    return {
        "line": ("line", names),
        "species": ("line", species),
        "line_wavelength": ("line", wavelength, _attrs("wavelength", "Angstrom")),
        "elow": ("line", _floats(lines["elow"]), _attrs("elow", "eV")),
        "group": ("line", [str(g) for g in lines["group"]]),
    }


def _stars(run: "Run") -> dict[str, Any]:
    return {"star": ("star", _unique([printable(path) for path in run.used["path"]]))}


def _pixels(run: "Run") -> dict[str, Any]:
    return {"wavelength": ("pixel", run.spectra.wavelength, {"units": "Angstrom", "description": "in vacuum"})}
