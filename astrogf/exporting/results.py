"""A run's own tables and posterior for other programs: FITS with units and UCDs, netCDF for ArviZ and xarray."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.table import Table

from astrogf import __version__
from astrogf.base.optional import needed
from astrogf.runs.columns import described
from astrogf.runs.outputs import complete
from astrogf.runs.run import Run

RESULTS = ("fits", "netcdf")
"""Formats of results; all others are of line lists."""
DRAWS = 1000
"""Draws from the posterior that the netCDF file has."""


def write_results(path: Path, run: Run, format: str) -> dict[str, Any]:
    """Write one of `RESULTS`; what is in the file. Raises AstrogfError where a library is missing."""
    return write_fits(path, run) if format == "fits" else write_netcdf(path, run)


def write_netcdf(path: Path, run: Run) -> dict[str, Any]:
    """`Run.posterior` as netCDF-4."""
    needed("xarray", "arviz", "The posterior for ArviZ")
    needed("h5netcdf", "arviz", "The posterior for ArviZ")
    tree = run.posterior(DRAWS)
    with complete(path) as draft:
        tree.to_netcdf(draft, engine="h5netcdf")
    return {"groups": [g.lstrip("/") for g in tree.groups if g != "/"], "draws": DRAWS}


def write_fits(path: Path, run: Run) -> dict[str, Any]:
    """Tables LINES, UNLISTED, STARS, GROUPS, MISFIT and KNOWN, those that the run has; images COVARIANCE, of the rows
    of LINES and then of UNLISTED, and LABELS, of each star's labels.

    Columns have units (TUNIT), descriptions (TCOMM) and UCDs (TUCD). FITS has no dex: it stands in the description.
    """
    tables = {
        "LINES": run.lines, "UNLISTED": run.unlisted, "STARS": run.stars, "GROUPS": run.hyper, "MISFIT": run.misfit,
        "KNOWN": run.known,
    }  # fmt: skip
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus[0].header["CREATOR"] = f"astrogf {__version__}"
    hdus[0].header["RUN"] = _ascii(run.folder.resolve().name)[:60]
    for name, table in tables.items():
        if table is not None:
            hdus.append(table_hdu(described(table), name))
    hdus.append(fits.ImageHDU(run.covariance, name="COVARIANCE"))
    hdus[-1].header["BUNIT"] = "dex2"
    if run.label_covariance is not None:
        hdus.append(fits.ImageHDU(run.label_covariance, name="LABELS"))
    with complete(path) as draft:
        hdus.writeto(draft, overwrite=True)
    return {"extensions": [hdu.name for hdu in hdus[1:]]}


def table_hdu(table: Table, name: str) -> fits.BinTableHDU:
    """A binary table; text as ASCII, what is not in it as an escape; numbers that are not there NaN or TNULL."""
    plain = Table()
    for column in table.columns.values():
        if column.dtype.kind in "UO":
            values = np.ma.filled(np.ma.asarray(column).astype("U"), "")
            plain[column.name] = np.array([_ascii(text) for text in values], dtype="U")
        elif column.dtype.kind == "b" and np.any(np.ma.getmaskarray(column)):
            plain[column.name] = np.ma.filled(column, False)
        else:
            plain[column.name] = column
        plain[column.name].unit = None if column.unit == u.dex else column.unit
    with warnings.catch_warnings():
        # the standard allows the brackets of [Mg/Fe], and only advises against them
        warnings.filterwarnings("ignore", "It is strongly recommended that column names", VerifyWarning)
        hdu = fits.table_to_hdu(plain)
    hdu.name = name
    for number, column in enumerate(table.columns.values(), start=1):
        description = f"{column.description or column.name} [dex]" if column.unit == u.dex else column.description
        for key, said in ((f"TCOMM{number}", description), (f"TUCD{number}", (column.info.meta or {}).get("ucd"))):
            if said:
                hdu.header[key] = _ascii(said)
    return hdu


def _ascii(text: str) -> str:
    return str(text).encode("ascii", "backslashreplace").decode()
