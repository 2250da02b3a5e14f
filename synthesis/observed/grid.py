"""The high-resolution wavelength grid: a whole-number subdivision of the survey's own log step."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from astrogf.base.constants import C_KMS
from astrogf.base.errors import AstrogfError


@dataclass(frozen=True)
class Grid:
    """Log-uniform vacuum grid under a run of survey pixels.

    Point j has log10(wavelength) = (first_pixel - pad) * log_step + j * log_step / oversampling, so that the
    centre of survey pixel i falls on point (i + pad) * oversampling. `taps` is the half length, in survey pixels, of
    the kernel that takes it there. Immutable and hashable: a static argument of compiled functions.
    """

    first_pixel: int
    n_pixel: int
    log_step: float = 1e-4
    oversampling: int = 32
    pad: int = 14
    taps: int = 6

    @property
    def size(self) -> int:
        """Number of high-resolution points."""
        return (self.n_pixel + 2 * self.pad) * self.oversampling

    @property
    def velocity_step(self) -> float:
        """Distance between points, km/s (constant in ln wavelength)."""
        return float(self.log_step / self.oversampling * np.log(10.0) * C_KMS)

    @property
    def wavelength(self) -> Float[np.ndarray, " wave"]:
        """High-resolution vacuum wavelengths, Angstrom."""
        index = np.arange(self.size) / self.oversampling
        return 10.0 ** ((self.first_pixel - self.pad + index) * self.log_step)

    @property
    def pixel_wavelength(self) -> Float[np.ndarray, " pixel"]:
        """Centres of the survey's pixels, vacuum Angstrom."""
        return 10.0 ** ((self.first_pixel + np.arange(self.n_pixel)) * self.log_step)

    def position(self, wavelength: Float[np.ndarray, " line"]) -> Float[np.ndarray, " line"]:
        """Fractional index of wavelengths on the high-resolution grid."""
        return (np.log10(wavelength) / self.log_step - (self.first_pixel - self.pad)) * self.oversampling

    @classmethod
    def over(
        cls,
        wavelength: Float[np.ndarray, " pixel"],
        oversampling: int = 32,
        *,
        reach: float = 500.0,
        widest_sigma: float = 80.0,
    ) -> "Grid":
        """The grid under log-uniform survey pixels, padded for velocities up to `reach` (km/s).

        `widest_sigma` (km/s): five of it fit into the kernel. Raises ValueError if pixels are not log-uniform.
        """
        log = np.log10(np.asarray(wavelength, dtype=float))
        step = float((log[-1] - log[0]) / (len(log) - 1))
        step = float(f"{step:.6g}")
        first = round(log[0] / step)
        if np.abs(log - (first + np.arange(len(log))) * step).max() > 0.01 * step:
            raise AstrogfError(
                f"pixels {wavelength[0]:.2f}-{wavelength[-1]:.2f} A are not whole steps of {step:g} dex: "
                "resample them, or cut the window where the survey's grid is uniform"
            )
        pixel = step * np.log(10.0) * C_KMS
        taps = int(np.ceil(5.0 * widest_sigma / pixel))
        return cls(first, len(log), step, oversampling, taps + int(np.ceil(reach / pixel)), taps)
