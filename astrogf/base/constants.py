"""Physical constants: CODATA 2018 (Tiesinga et al. 2021, Rev. Mod. Phys. 93, 025010), in CGS but for `C_KMS`."""

import math

LIGHT = 2.99792458e10
"""Speed of light, cm/s."""
C_KMS = 299792.458
"""Speed of light, km/s."""
PLANCK = 6.62607015e-27
"""Planck constant, erg s."""
BOLTZMANN = 1.380649e-16
"""Boltzmann constant, erg/K."""
ELECTRON_MASS = 9.1093837015e-28
"""g."""
ELECTRON_CHARGE = 4.803204712570263e-10
"""esu."""
ATOMIC_MASS = 1.66053906660e-24
"""Atomic mass unit, g."""
ELECTRON_VOLT = 1.602176634e-12
"""erg."""
BOHR_RADIUS = 5.29177210903e-9
"""cm."""
RYDBERG_HYDROGEN = 109677.58340280356
"""Rydberg wavenumber of hydrogen (reduced mass), 1/cm."""
THOMSON = 6.6524587321e-25
"""Thomson cross-section, cm^2."""
STEFAN_BOLTZMANN = 5.670374419184429e-5
"""erg s^-1 cm^-2 K^-4."""

BOLTZMANN_EV = BOLTZMANN / ELECTRON_VOLT
"""eV/K."""
HC_OVER_K_ANGSTROM = PLANCK * LIGHT / BOLTZMANN * 1e8
"""hc/k in Angstrom K: exponent of the Planck function is this over (wavelength T)."""

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
"""Full width at half maximum of a Gaussian over its standard deviation."""
