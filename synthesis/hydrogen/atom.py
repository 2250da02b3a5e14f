"""The hydrogen atom without tables: energies, oscillator strengths, damping widths."""

from fractions import Fraction
from math import comb, gamma, pi, sqrt

from astrogf.base.constants import (
    ATOMIC_MASS,
    BOHR_RADIUS,
    BOLTZMANN,
    ELECTRON_CHARGE,
    ELECTRON_MASS,
    LIGHT,
    PLANCK,
    RYDBERG_HYDROGEN,
)

M_H = 1.00784 * ATOMIC_MASS
IONISATION_H = 109678.77174  # cm^-1
FINE_STRUCTURE = 7.2973525693e-3
E2_OVER_MC = ELECTRON_CHARGE**2 / (ELECTRON_MASS * LIGHT)  # cm^2 Hz

SELF_BROADENING = {3: (1180.0, 0.677), 4: (2320.0, 0.455), 5: (4208.0, 0.380)}
"""Upper level of the Balmer line: (cross-section in a0^2 at 1e6 cm/s, velocity exponent) for collisions with
H I. Barklem, Piskunov & O'Mara (2000, A&A 363, 1091), p-d approximation."""

HELIUM_BROADENING = {3: (834.0, 0.280), 4: (1998.0, 0.330), 5: (3837.0, 0.260), 6: (5700.0, 0.250)}
"""The same for p-d cross-sections without resonance, scaled to He I by HELIUM_FACTOR (polarisability): the
estimate in HLINPROF (Barklem & Piskunov 2003, IAU Symp. 210, E28), from the theory of Barklem & O'Mara (1997,
MNRAS 290, 102)."""

HELIUM_FACTOR = 0.625


def term(n: int) -> float:
    """Energy above the ground level in cm^-1, averaged over the fine structure with statistical weights.

    Dirac energies to order alpha^2: Bethe & Salpeter (1957), section 17.
    """
    shift = FINE_STRUCTURE**2 / n**2 * ((2 * n - 1) / n - 0.75)
    return IONISATION_H - RYDBERG_HYDROGEN / n**2 * (1.0 + shift)


def line_wavelength(n: int, m: int) -> float:
    """Vacuum wavelength in Angstrom of the line between levels n < m."""
    return 1e8 / (term(m) - term(n))


def _f21(a: int, b: int, z: Fraction) -> Fraction:
    """Terminating 2F1(-a, -b; 1; z) for whole a, b >= 0."""
    return sum((Fraction(comb(a, k) * comb(b, k)) * z**k for k in range(min(a, b) + 1)), Fraction(0))


def oscillator_strength(n: int, m: int) -> float:
    """Exact absorption f value n -> m, averaged over l: Menzel & Pekeris (1935, MNRAS 96, 77).

    Infinite nuclear mass; within 0.06 percent of Wiese & Fuhr (2009, JPCRD 38, 565), f(2-3) = 0.64108.
    """
    z = Fraction(-4 * n * m, (m - n) ** 2)
    delta = _f21(n - 1, m, z) ** 2 - _f21(m - 1, n, z) ** 2
    gaunt = pi * sqrt(3.0) * abs(float(Fraction(m - n, m + n) ** (2 * n + 2 * m) * Fraction(n * m, m - n) * delta))
    kramers = 32.0 / (3.0 * pi * sqrt(3.0)) / (n**5 * m**3 * (1.0 / n**2 - 1.0 / m**2) ** 3)
    return kramers * gaunt


def radiative_width(n: int, m: int) -> float:
    """Full width in rad/s: the summed decay rates of both levels, averaged over l."""
    rate = 0.0
    for upper in (n, m):
        for lower in range(1, upper):
            wavelength = line_wavelength(lower, upper) * 1e-8
            rate += 8 * pi * E2_OVER_MC * pi * oscillator_strength(lower, upper) * lower**2 / (upper**2 * wavelength**2)
    return rate


def abo_width_coefficient(sigma: float, exponent: float, reduced_mass: float) -> tuple[float, float]:
    """(w, p): half half-width = w (T/1e4 K)^p N in rad/s: Anstee & O'Mara (1995, MNRAS 276, 859)."""
    speed = sqrt(8 * BOLTZMANN * 1e4 / (pi * reduced_mass))
    w = (
        (4 / pi) ** (exponent / 2)
        * gamma(2 - exponent / 2)
        * sigma
        * BOHR_RADIUS**2
        * 1e6
        * (speed / 1e6) ** (1 - exponent)
    )
    return w, 0.5 * (1 - exponent)


def van_der_waals_width(n: int, m: int, reduced_mass: float) -> tuple[float, float]:
    """(w, p) as above, of dispersion forces on both levels by H I: Unsoeld (1955), Physik der
    Sternatmosphaeren, section 82: full width 8.08 C6^(2/5) v^(3/5) N with v the mean relative speed.

    C6 from the polarisability of H (4.5 a0^3) and the mean square radii n^2 (7 n^2 + 5) / 4 a0^2.
    """
    radius = (m**2 * (7 * m**2 + 5) - n**2 * (7 * n**2 + 5)) / 4
    frequency = ELECTRON_CHARGE**2 / BOHR_RADIUS / (PLANCK / (2 * pi))  # of one Hartree, rad/s
    speed = sqrt(8 * BOLTZMANN * 1e4 / (pi * reduced_mass))
    return 0.5 * 8.08 * (4.5 * radius * frequency * BOHR_RADIUS**6) ** 0.4 * speed**0.6, 0.3


def collision_widths(n: int, m: int) -> tuple[float, float, float, float, float, float]:
    """(w_H, p_H, w_vdW, p_vdW, w_He, p_He): half widths in rad/s are w (T/1e4 K)^p times the density of H I
    (first two pairs) and He I.

    H alpha to H gamma: Barklem et al. (2000). The others: resonance broadening, Ali & Griem (1966, Phys Rev
    144, 366), full width 1.92 sqrt(g1/g_p) e^2 f lambda N/(m c), of the lower level's p states, which carry
    the Balmer lines above H gamma; for higher lower levels (and every upper one) weighted with 3/n^2.
    """
    w_vdw, p_vdw = 0.0, 0.3
    if n == 2 and m in SELF_BROADENING:
        w_h, p_h = abo_width_coefficient(*SELF_BROADENING[m], M_H / 2)
    else:
        w_h, p_h = 0.0, 0.0
        for level in (n, m):
            share = 1.0 if level == 2 else 3.0 / level**2
            f = oscillator_strength(1, level) if level > 1 else 0.0
            if level > 1:
                w_h += 0.5 * share * 1.92 / sqrt(3.0) * E2_OVER_MC * f * line_wavelength(1, level) * 1e-8
        if n > 3:
            w_vdw, p_vdw = van_der_waals_width(n, m, M_H / 2)
    if n == 2 and m in HELIUM_BROADENING:
        w_he, p_he = abo_width_coefficient(*HELIUM_BROADENING[m], M_H * 4.0026 / 5.0104)
        return w_h, p_h, w_vdw, p_vdw, HELIUM_FACTOR * w_he, p_he
    return w_h, p_h, w_vdw, p_vdw, 0.0, 0.0
