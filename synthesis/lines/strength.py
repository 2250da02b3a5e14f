"""Which lines matter, and how far each one reaches: the error bound on the opacity that sets the windows."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from astrogf.base.constants import BOLTZMANN_EV, C_KMS
from astrogf.synthesis.continuum.opacity import continuum_opacity
from astrogf.synthesis.gas.gas import Gas
from astrogf.synthesis.gas.species import species_row
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.lines.pieces import Extent, Transitions
from astrogf.synthesis.lines.profile import STRENGTH, line_constants, profile_state
from astrogf.synthesis.lines.voigt import voigt

CONTINUUM_STEP = 100.0  # Angstrom between the wavelengths where lines are weighed against the continuum
Weighed = Sequence[tuple[Gas, Float[Array, "*depth"], Bool[Array, " depth"]]]
"""Atmospheres in which lines are weighed: gas, vmic (km/s, a number or one a layer) and the layers that count."""
BOUND_NODES = 9  # wavelengths at which `may_reach` takes the continuum
THERMAL = 15.0  # km/s: more than the thermal speed of any line's carrier
NEAR, BROAD = 7.0, 4.0
"""A profile is its wing beyond so many Doppler widths and damping widths, where `voigt.wing_coefficients` hold to
1e-5."""
AT_ONCE = 256  # lines weighed at once


@eqx.filter_jit
def _extent(
    lines: Transitions, nodes: Array, node: Array, gas: Gas, vmic: Array, counts: Array, line_cut: float
) -> tuple[Array, ...]:
    """Of every line in chunks: centre opacity over continuum, where the ratio has fallen below `line_cut`, and where
    the profile is its wing, both in km/s."""
    absorption, _ = continuum_opacity(nodes, gas)
    state = profile_state(gas, vmic)

    def chunk(inputs):
        mine, node = inputs
        scale, doppler, a = line_constants(mine, state, jnp.zeros(1))
        # the scattering part of the continuum is left out: it is the stricter bound, and Turbospectrum's
        ratio = jnp.where(counts, scale / absorption[node], 0.0) / line_cut
        # H(a, u) < exp(-u^2) + a / (sqrt(pi) u^2) (1 + 3/(2 u^2)): where these are a third and two thirds of 1 / ratio
        gauss = jnp.sqrt(jnp.log(jnp.maximum(3.0 * ratio, 1.0)))
        wing = jnp.sqrt(1.5 + 1.5 * a * ratio / np.sqrt(np.pi))
        reach = doppler * jnp.where(ratio > 1.0, jnp.maximum(gauss, wing), 0.0)
        core = jnp.where(counts, doppler * jnp.maximum(NEAR, BROAD * a), 0.0)
        strength = ratio * voigt(jnp.zeros_like(a), a) * line_cut
        return tuple(jnp.max(x, axis=1) for x in (strength, reach, core))

    return jax.lax.map(chunk, (lines, node))


def line_extent(lines: LineList, atmospheres: Weighed, line_cut: float = 1e-4) -> Extent:
    """How far every line matters: the largest over the atmospheres and over their layers that count.

    `reach` is where line opacity has fallen to `line_cut` of the continuous absorption. A line that is weaker than that
    at its centre gets reach 0 and may be dropped. The criterion is Turbospectrum's (its eps is 1e-4, over all layers).
    """
    if len(lines) == 0:
        return Extent(*np.zeros((3, 0)))
    edges = lines.wavelength.min(), lines.wavelength.max()
    nodes = np.linspace(edges[0], edges[1], max(2, int((edges[1] - edges[0]) / CONTINUUM_STEP) + 2))
    spacing = max(nodes[1] - nodes[0], 1e-9)  # a single line has one node
    # a whole number of chunks, of which few numbers occur, so that like lists share a compilation
    total = AT_ONCE * int(np.ceil(1.2 ** np.ceil(np.log(-(-len(lines) // AT_ONCE)) / np.log(1.2) - 1e-9)))
    row = np.minimum(np.arange(total), len(lines) - 1).reshape(-1, AT_ONCE)
    node = np.rint((lines.wavelength[row] - nodes[0]) / spacing).astype(int)
    columns = Transitions.of(lines, row)
    found = Extent(*np.zeros((3, len(lines))))
    for gas, vmic, counts in atmospheres:
        here = _extent(columns, jnp.asarray(nodes), jnp.asarray(node), gas, vmic, counts, line_cut)
        found = Extent(*(np.maximum(x, np.asarray(y).ravel()[: len(lines)]) for x, y in zip(found, here, strict=True)))
    return found._replace(reach=np.where(found.strength > line_cut, found.reach, 0.0))


def distance(wavelength: Float[np.ndarray, " line"], low: float, high: float) -> Float[np.ndarray, " line"]:
    """How far lines stand outside the stretch from `low` to `high` (Angstrom), km/s; 0 for those within."""
    return C_KMS * np.maximum(np.log(low / wavelength), np.log(wavelength / high)).clip(0.0)


@eqx.filter_jit
def _layers(nodes: Array, gas: Gas, vmic: Array, counts: Array) -> tuple[Array, ...]:
    """N/U by species over the least continuous absorption at the nodes, and what widens lines, layer by layer."""
    state = profile_state(gas, vmic)
    absorption = jnp.min(continuum_opacity(nodes, gas)[0], axis=0)
    population = jnp.where(counts, state.n_over_u / (state.rho * absorption), 0.0)
    return population, state.perturbers, state.xne, state.log_t4, state.t, state.vmic


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
    nodes = jnp.linspace(mine.wavelength.min(), mine.wavelength.max(), BOUND_NODES)
    near = np.zeros(len(mine), bool)
    for gas, vmic, counts in atmospheres:
        population, perturbers, xne, log_t4, t, v = map(np.asarray, _layers(nodes, gas, vmic, counts))
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
