"""A spectrum as specutils holds it. specutils is imported only here, when it is asked for."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from astrogf.base.optional import needed


def to_specutils(
    wavelength: Float[np.ndarray, " wave"],
    flux: Float[np.ndarray, " wave"],
    unit: str,
    *,
    ivar: Float[np.ndarray, " wave"] | None = None,
    mask: Bool[np.ndarray, " wave"] | None = None,
    meta: dict[str, Any] | None = None,
) -> Any:
    """A `specutils.Spectrum`: wavelength in Angstrom, strictly increasing; flux in `unit` ('' for none); the inverse
    variance as its uncertainty; `mask` is True where a pixel is not to be used.

    Raises AstrogfError where specutils is not installed.
    """
    specutils = needed("specutils", "specutils", "A spectrum for specutils")
    from astropy import units as u
    from astropy.nddata import InverseVariance

    return specutils.Spectrum(
        flux=u.Quantity(np.asarray(flux, dtype=float), unit),
        spectral_axis=u.Quantity(np.asarray(wavelength, dtype=float), u.AA),
        uncertainty=None if ivar is None else InverseVariance(np.asarray(ivar, dtype=float)),
        mask=mask,
        meta=meta or {},
    )
