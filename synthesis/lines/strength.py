"""Which lines matter, and how far each one reaches: the error bound on the opacity that sets the windows."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy.special import erfcx

from astrogf.base.constants import ATOMIC_MASS, BOLTZMANN, BOLTZMANN_EV, C_KMS, HC_OVER_K_ANGSTROM
from astrogf.synthesis.continuum.opacity import continuum_opacity
from astrogf.synthesis.gas.gas import Gas
from astrogf.synthesis.gas.species import species_mass, species_row
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.lines.pieces import Extent
from astrogf.synthesis.lines.profile import LN10, STRENGTH, profile_state

CONTINUUM_STEP = 100.0  # Angstrom between the wavelengths where lines are weighed against the continuum
Weighed = Sequence[tuple[Gas, Float[Array, "*depth"], Bool[Array, " depth"]]]
"""Atmospheres in which lines are weighed: gas, vmic (km/s, a number or one a layer) and the layers that count."""
BOUND_NODES = 9  # wavelengths at which `may_reach` takes the continuum
NODES = 64
"""Wavelengths at which the continuum is taken, or a multiple."""
AT_ONCE = 1024  # lines: what is computed of them stays in the processor's cache
THERMAL = 15.0  # km/s: more than the thermal speed of any line's carrier
NEAR, BROAD = 7.0, 4.0
"""A profile is its wing beyond so many Doppler widths and damping widths, where `voigt.wing_coefficients` hold to
1e-5."""


class _Weights(NamedTuple):
    """The layers that count, on the host: continuous absorption (cm^2/g) at nodes, and what lines need."""

    absorption: Float[np.ndarray, "node depth"]
    population: Float[np.ndarray, "species depth"]
    perturbers: Float[np.ndarray, " depth"]
    xne: Float[np.ndarray, " depth"]
    log_t4: Float[np.ndarray, " depth"]
    t: Float[np.ndarray, " depth"]
    vmic: Float[np.ndarray, " depth"]


@eqx.filter_jit
def _layers(nodes: Array, gas: Gas, vmic: Array) -> tuple[Array, ...]:
    """As in `_Weights`, all layers."""
    state = profile_state(gas, vmic)
    # the scattering part of the continuum is left out: it is the stricter bound, and Turbospectrum's
    absorption = continuum_opacity(nodes, gas)[0]
    rest = state.perturbers, state.xne, state.log_t4, state.t, state.vmic
    return absorption, state.n_over_u / state.rho, *rest


def _weights(nodes: Float[np.ndarray, " node"], gas: Gas, vmic: Array, counts: Array) -> _Weights:
    # padded, so that every window takes the same program
    padded = np.append(nodes, np.full(-len(nodes) % NODES, nodes[-1]))
    layers = _layers(jnp.asarray(padded), gas, jnp.asarray(vmic))
    whole = _Weights(*(np.asarray(x)[..., np.asarray(counts)] for x in layers))
    return whole._replace(absorption=whole.absorption[: len(nodes)])


def _extent(
    lines: LineList, species: np.ndarray, mass: np.ndarray, node: np.ndarray, w: _Weights, line_cut: float
) -> Extent:
    """How far lines matter in one atmosphere.

    Opacity as `profile.line_constants` has it, on the host: lists are long, and each length would be a compilation.
    """
    doppler = np.sqrt(2e-10 * BOLTZMANN / ATOMIC_MASS * w.t / mass[:, None] + w.vmic**2)
    frequency_width = doppler * (1e13 / lines.wavelength)[:, None]
    loggf = LN10 * (lines.loggf + lines.log_fraction)
    boltzmann = np.exp(loggf[:, None] - (lines.elow / BOLTZMANN_EV)[:, None] / w.t)
    stimulated = 1.0 - np.exp(-(HC_OVER_K_ANGSTROM / lines.wavelength)[:, None] / w.t)
    scale = STRENGTH / np.sqrt(np.pi) * w.population[species] * boltzmann * stimulated / frequency_width
    steep = np.exp(LN10 * (lines.log_gamma6[:, None] + lines.gamma6_exponent[:, None] * w.log_t4))
    electrons = (10.0**lines.log_gamma4)[:, None] * w.xne
    gamma = (10.0**lines.log_gamma_rad)[:, None] + steep * w.perturbers + electrons
    a = gamma / (4.0 * np.pi * frequency_width)
    ratio = scale / w.absorption[node] / line_cut
    # H(a, u) < exp(-u^2) + a / (sqrt(pi) u^2) (1 + 3/(2 u^2)): where these are a third and two thirds of 1 / ratio
    gauss = np.log(np.maximum(3.0 * ratio, 1.0))
    wing = 1.5 + 1.5 / np.sqrt(np.pi) * a * ratio
    reach = doppler * np.where(ratio > 1.0, np.sqrt(np.maximum(gauss, wing)), 0.0)
    core = doppler * np.maximum(NEAR, BROAD * a)
    return Extent(*(np.max(x, axis=1) for x in (ratio * erfcx(a) * line_cut, reach, core)))


def line_extent(lines: LineList, atmospheres: Weighed, line_cut: float = 1e-4) -> Extent:
    """How far every line matters: the largest over the atmospheres and over their layers that count.

    `reach` is where line opacity has fallen to `line_cut` of the continuous absorption. A line that is weaker than that
    at its centre gets reach 0 and may be dropped. The criterion is Turbospectrum's (its eps is 1e-4, over all layers).
    """
    found = Extent(*np.zeros((3, len(lines))))
    if len(lines) == 0:
        return found
    edges = lines.wavelength.min(), lines.wavelength.max()
    nodes = np.linspace(edges[0], edges[1], max(2, int((edges[1] - edges[0]) / CONTINUUM_STEP) + 2))
    spacing = max(nodes[1] - nodes[0], 1e-9)  # a single line has one node
    node = np.rint((lines.wavelength - nodes[0]) / spacing).astype(int)
    species, mass = species_row(lines.z, lines.ion), species_mass(lines.z)
    for gas, vmic, counts in atmospheres:
        weights = _weights(nodes, gas, vmic, counts)
        for first in range(0, len(lines), AT_ONCE):
            row = np.arange(first, min(first + AT_ONCE, len(lines)))
            here = _extent(lines.take(row), species[row], mass[row], node[row], weights, line_cut)
            for column, values in zip(found, here, strict=True):
                column[row] = np.maximum(column[row], values)
    return found._replace(reach=np.where(found.strength > line_cut, found.reach, 0.0))


def distance(wavelength: Float[np.ndarray, " line"], low: float, high: float) -> Float[np.ndarray, " line"]:
    """How far lines stand outside the stretch from `low` to `high` (Angstrom), km/s; 0 for those within."""
    return C_KMS * np.maximum(np.log(low / wavelength), np.log(wavelength / high)).clip(0.0)


def may_reach(
    lines: LineList, low: float, high: float, atmospheres: Weighed, line_cut: float = 1e-4, farthest: float = np.inf
) -> Bool[np.ndarray, " line"]:
    """Which lines may reach the stretch from `low` to `high` (vacuum Angstrom) from outside, in any of the atmospheres.

    A bound for whole lists, far cheaper than `line_extent`, which has the last word: every line that it lets reach the
    stretch is among these. Lines within the stretch, or more than `farthest` km/s away, are not.
    """
    away = distance(lines.wavelength, low, high)
    chosen = np.zeros(len(lines), bool)
    outside = np.flatnonzero((away > 0.0) & (away <= farthest))
    if not len(outside):
        return chosen
    mine, away = lines.take(outside), away[outside]
    # where Doppler width and profile have cancelled: (reach of the wing)^2 in (km/s)^2, of unit opacity and damping
    unit = 1.5 * STRENGTH * 1e-26 * mine.wavelength**2 / (4.0 * np.pi**2 * line_cut)
    gf = 10.0 ** (mine.loggf + mine.log_fraction)
    gammas = 10.0**mine.log_gamma_rad, 10.0**mine.log_gamma6, 10.0**mine.log_gamma4
    species = species_row(mine.z, mine.ion)
    nodes = np.linspace(mine.wavelength.min(), mine.wavelength.max(), BOUND_NODES)
    near = np.zeros(len(mine), bool)
    for gas, vmic, counts in atmospheres:
        absorption, population, perturbers, xne, log_t4, t, v = _weights(nodes, gas, vmic, counts)
        population = population / absorption.min(axis=0)
        hot = np.exp(-mine.elow / (BOLTZMANN_EV * t.max()))
        steep = 10.0 ** np.maximum(mine.gamma6_exponent * log_t4.max(), mine.gamma6_exponent * log_t4.min())
        terms = (population.max(1), (population * perturbers).max(1), (population * xne).max(1))
        damping = gammas[0] * terms[0][species] + gammas[1] * steep * terms[1][species] + gammas[2] * terms[2][species]
        core = (6.0 * (v.max() + THERMAL)) ** 2
        maybe = np.flatnonzero(~near & (np.maximum(unit * gf * hot * damping, core) >= away**2))
        for row in np.array_split(maybe, max(1, len(maybe) // 4096)):
            one = tuple(x[row, None] for x in (*gammas, mine.gamma6_exponent, mine.elow))
            gamma = one[0] + one[1] * 10.0 ** (one[3] * log_t4) * perturbers + one[2] * xne
            whole = np.max(population[species[row]] * np.exp(-one[4] / (BOLTZMANN_EV * t)) * gamma, axis=1)
            near[row] = np.maximum(unit[row] * gf[row] * whole, core) >= away[row] ** 2
    chosen[outside] = near
    return chosen
