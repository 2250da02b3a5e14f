"""The spectra of a run: arrays as in spectra.fits, the windows that follow each other in them, one for specutils."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from astropy.io import fits
from jaxtyping import Float

from astrogf.base.errors import AstrogfError

if TYPE_CHECKING:
    from astrogf.runs.run import Run

Which = Literal["observed", "corrected", "original"]
"""The spectrum of the file, or the model of a list."""


class Spectra(NamedTuple):
    """The fitted spectra: wavelength in vacuum Angstrom, the rest on the scale of flux."""

    wavelength: Float[np.ndarray, " pixel"]
    flux: Float[np.ndarray, "star pixel"]
    ivar: Float[np.ndarray, "star pixel"]
    sigma: Float[np.ndarray, "star pixel"]
    model_original: Float[np.ndarray, "star pixel"]
    model_corrected: Float[np.ndarray, "star pixel"]


def read_spectra(folder: Path, stars: slice) -> Spectra:
    """Some rows of spectra.fits, of which no others are in memory. Raises OSError, ValueError or KeyError for a damaged
    file."""
    with fits.open(folder / "spectra.fits", memmap=False) as hdus:
        found = {
            name: np.asarray(hdus[name.upper()].section[slice(None) if name == "wavelength" else stars], dtype=float)
            for name in Spectra._fields
        }
    return Spectra(**found)


def windows(wavelength: Float[np.ndarray, " pixel"]) -> list[Float[np.ndarray, " pixel"]]:
    """The windows of a run, which follow each other in spectra.fits, each on pixels of one log step.

    A new one begins where the step changes: it is another survey's, or the last window has ended.
    """
    step = np.diff(np.log10(wavelength))
    first, starts = 0, []
    for i in range(len(step)):
        if i > first and abs(step[i] - step[first]) > 0.01 * abs(step[first]):
            first = i + 1
            starts.append(first)
    return np.split(wavelength, starts)


def spectrum(run: "Run", row: int, which: Which, window: int) -> Any:
    """`Run.spectrum` of a row."""
    sizes = [len(part) for part in windows(run.spectra.wavelength)]
    if not (isinstance(window, int | np.integer) and 0 <= window < len(sizes)):
        raise AstrogfError(f"window: {window!r}; this run has {len(sizes)}, counted from 0.")
    if which not in get_args(Which):
        raise AstrogfError(f"which: {which!r}; expected one of {', '.join(get_args(Which))}.")
    from astrogf.base.to_specutils import to_specutils

    first = sum(sizes[:window])
    part = slice(first, first + sizes[window])
    s, observed = run.spectra, which == "observed"
    values = s.flux if observed else s.model_corrected if which == "corrected" else s.model_original
    used = np.isfinite(s.sigma[row, part]) & (s.ivar[row, part] > 0)
    labels = {n: float(run.used[n][row]) for n in run.record.get("label_names") or ()}
    return to_specutils(
        s.wavelength[part],
        values[row, part],
        "",
        ivar=np.where(used, s.sigma[row, part] ** -2.0, 0.0) if observed else None,
        mask=~used if observed else ~np.isfinite(values[row, part]),
        meta={"path": str(run.used["path"][row]), "which": which, "medium": "vacuum", "run": str(run.folder), **labels},
    )
