"""Continuous opacity of the gas: true absorption and scattering per gram."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from astrogf.base.constants import HC_OVER_K_ANGSTROM, THOMSON
from astrogf.synthesis.continuum.hydrogen import hminus_bound_free, hydrogen_absorption
from astrogf.synthesis.continuum.tables import tabulated_absorption
from astrogf.synthesis.gas.gas import Gas

# Powers 4, 6, ... of (Lyman limit / wavelength): Lee & Kim (2004, MNRAS 347, 802), in units of Thomson.
_HYDROGEN_RAYLEIGH = (
    1.26563, 3.73828125, 8.813930935, 19.15379502, 39.92303232,
    81.10881152, 161.9089166, 319.0231631, 622.2679809, 1203.891509,
)  # fmt: skip
_LYMAN_LIMIT = 911.7535


def continuum_opacity(
    wavelength: Float[Array, " wave"], gas: Gas
) -> tuple[Float[Array, "wave depth"], Float[Array, "wave depth"]]:
    """True absorption (with stimulated emission) and scattering, cm^2/g, at vacuum Angstrom 2000-60000.

    Absorbers: H- (bound-free, free-free), H I (bound-free with dissolving levels, free-free), H2+, H2-,
    He-, C-, N-, O-, bound-free of He, C, N, O, Mg, Al, Si, Ca, Fe, free-free of He and metals, CH, OH.
    Scatterers: electrons, H I, He I, H2. Sources are named in `continuum_hydrogen`, `continuum_tables` and
    below.
    """
    emission = -jnp.expm1(-HC_OVER_K_ANGSTROM / (wavelength[:, None] * gas.t))
    absorption = (
        hminus_bound_free(wavelength, gas, emission)
        + hydrogen_absorption(wavelength, gas, emission)
        + tabulated_absorption(wavelength, gas, emission)
    )
    return absorption / gas.rho, scattering(wavelength, gas) / gas.rho


def scattering(wavelength: Float[Array, " wave"], gas: Gas) -> Float[Array, "wave depth"]:
    """Thomson and Rayleigh scattering, cm^-1.

    H I: Lee & Kim (2004), far red wing of the Lyman lines, for 1400 A and above; He I: Dalgarno (1962) as
    in Kurucz (1970); H2: Dalgarno & Williams (1962, ApJ 136, 690).
    """
    x = jnp.minimum(_LYMAN_LIMIT / jnp.maximum(wavelength, 1400.0), 1.0) ** 2
    hydrogen = jnp.zeros_like(x)
    for c in reversed(_HYDROGEN_RAYLEIGH):
        hydrogen = hydrogen * x + c
    hydrogen = THOMSON * hydrogen * x**2
    q = 1 / wavelength**2
    helium = 5.484e-14 * q**2 * (1 + (2.44e5 + 5.94e10 * q / (1 - 2.90e5 * q)) * q) ** 2
    molecule = q**2 * (8.14e-13 + q * (1.28e-6 + q * 1.61))
    rayleigh = hydrogen[:, None] * gas.n[0, 0] + helium[:, None] * gas.n[1, 0] + molecule[:, None] * gas.n_h2
    return rayleigh + THOMSON * gas.xne
