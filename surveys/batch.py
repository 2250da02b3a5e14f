"""The one type in which every survey speaks: many spectra on one wavelength grid."""

from typing import NamedTuple

import numpy as np
from astropy.table import Table
from jaxtyping import Float

from astrogf.surveys.rows import Pixels, selected


class SpectrumBatch(NamedTuple):
    """Spectra of many stars on one log-uniform vacuum grid.

    Units: wavelength in vacuum Angstrom, log10 step constant; flux on any scale of the star's own, ivar in
    1/flux^2. A pixel with ivar 0 is unusable and its flux is 0 (never NaN), whatever made it so.
    `table` has one row a star, in the same order: path (relative to the directory given), sha256, survey,
    release, object, ra, dec (deg), snr, rv_header (km/s, heliocentric, positive = receding, NaN if absent),
    class, subclass, kind, piece, frame. Pieces of one star in different batches share `path`.
    Flux, ivar and lsf of many spectra may lie in a file (`surveys.rows`): then `flux[rows]` reads some of them.
    `lsf`: Gaussian sigma of the line-spread function, km/s, where every star's file gives one; else None.
    """

    wavelength: Float[np.ndarray, " pixel"]
    flux: Pixels
    ivar: Pixels
    table: Table
    lsf: Pixels | None = None

    def select(self, keep: np.ndarray) -> "SpectrumBatch":
        """The stars where `keep` (boolean or indices) says so."""
        lsf = None if self.lsf is None else selected(self.lsf, keep)
        flux, ivar = (selected(x, keep) for x in (self.flux, self.ivar))
        return SpectrumBatch(self.wavelength, flux, ivar, self.table[keep], lsf)
