"""Air and vacuum wavelengths: used at the border only, inside everything is vacuum Angstrom."""

import numpy as np
from jaxtyping import Float


def _refraction(vacuum: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    s2 = (1e4 / vacuum) ** 2
    return 1.0 + 8.34254e-5 + 2.406147e-2 / (130.0 - s2) + 1.5998e-4 / (38.9 - s2)


def vacuum_to_air(wavelength: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Vacuum to standard air, Angstrom; below 2000 A the two are the same by convention.

    Source: Morton (2000, ApJS 130, 403), eq. 8, after Birch & Downs (1994).
    """
    wavelength = np.asarray(wavelength, dtype=float)
    return np.where(wavelength > 2000.0, wavelength / _refraction(np.maximum(wavelength, 2000.0)), wavelength)


def air_to_vacuum(wavelength: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Standard air to vacuum, Angstrom: the inverse of `vacuum_to_air`, to 1e-9 A.

    Source: fixed-point inversion of Morton (2000), eq. 8.
    """
    wavelength = np.asarray(wavelength, dtype=float)
    vacuum = wavelength
    for _ in range(4):
        vacuum = wavelength * _refraction(np.maximum(vacuum, 2000.0))
    return np.where(wavelength > 1999.352, vacuum, wavelength)
