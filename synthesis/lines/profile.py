"""What line profiles need of an atmosphere, and how it changes with a star's parameters."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from astrogf.base.constants import BOLTZMANN_EV, HC_OVER_K_ANGSTROM
from astrogf.synthesis.gas.gas import Gas
from astrogf.synthesis.gas.molecules import molecule_n_over_u
from astrogf.synthesis.lines.pieces import Transitions

LN10 = float(np.log(10.0))
STRENGTH = 0.02654008854  # pi e^2 / (m_e c), cm^2 Hz


class Profile(eqx.Module):
    """What the line profiles need of one atmosphere, layer by layer (see `profile_state`)."""

    n_over_u: Float[Array, "species depth"]
    inverse_t: Float[Array, " depth"]
    log_t4: Float[Array, " depth"]
    xne: Float[Array, " depth"]
    perturbers: Float[Array, " depth"]
    rho: Float[Array, " depth"]
    vmic: Float[Array, " depth"]
    t: Float[Array, " depth"]


def profile_state(gas: Gas, vmic: Float[Array, "*depth"]) -> Profile:
    """Gather the layer quantities of the profiles; vmic in km/s, one number or one a layer.

    Perturbers of van der Waals broadening: H I plus He I and H2 weighted by their polarisability and velocity
    relative to hydrogen (0.41336, 0.85), as Turbospectrum does.
    """
    perturbers = gas.n[0, 0] + 0.41336 * gas.n[1, 0] + 0.85 * gas.n_h2
    return Profile(
        jnp.concatenate([gas.n_over_u.reshape(-1, gas.t.shape[0]), molecule_n_over_u(gas)]),
        1.0 / gas.t,
        jnp.log10(gas.t * 1e-4),
        gas.xne,
        perturbers,
        gas.rho,
        jnp.broadcast_to(vmic, gas.t.shape),
        gas.t,
    )


class Constants(NamedTuple):
    """Of lines in layers: opacity scale (cm^2/g, times H gives opacity), Doppler width (km/s) and damping a."""

    scale: Float[Array, "line depth"]
    doppler: Float[Array, "line depth"]
    a: Float[Array, "line depth"]


def line_constants(
    lines: Transitions, state: Profile, delta: Float[Array, " free_plus_one"], dtype=jnp.float64
) -> Constants:
    """Constants of the profiles of one row of lines; exponents are summed in float64, the rest is in `dtype`.

    Source: Gray (2005), eqs. 11.10-11.14, 11.44; stimulated emission included.
    """
    doppler = jnp.sqrt(lines.thermal[:, None] * state.t + state.vmic**2).astype(dtype)
    exponent = (
        LN10 * (lines.loggf + delta[lines.free])[:, None] - (lines.elow / BOLTZMANN_EV)[:, None] * state.inverse_t
    )
    # less what is emitted again by stimulation
    boltzmann = jnp.exp(exponent.astype(dtype)) - jnp.exp((exponent - _photon(lines, state)).astype(dtype))
    population = (state.n_over_u / state.rho).astype(dtype)[lines.species]
    per_width = (lines.wavelength * 1e-13).astype(dtype)[:, None] / doppler  # of the Doppler width in Hz
    scale = STRENGTH / float(np.sqrt(np.pi)) * population * boltzmann * per_width
    return Constants(scale, doppler, _damping(lines, state, dtype)[0] * per_width / (4.0 * np.pi))


def _photon(lines: Transitions, state: Profile) -> Float[Array, "line depth"]:
    """h nu / k T."""
    return (HC_OVER_K_ANGSTROM / lines.wavelength)[:, None] * state.inverse_t


def _damping(lines: Transitions, state: Profile, dtype):
    """Whole width, and the parts that hydrogen and electrons have in it, rad/s."""
    gamma6 = jnp.exp((LN10 * (lines.log_gamma6[:, None] + lines.gamma6_exponent[:, None] * state.log_t4)).astype(dtype))
    gamma6 = gamma6 * state.perturbers.astype(dtype)
    gamma4 = (lines.gamma4[:, None] * state.xne).astype(dtype)
    return lines.gamma_rad[:, None].astype(dtype) + gamma6 + gamma4, gamma6, gamma4


class Drift(NamedTuple):
    """How the layers of a star change with its parameters: derivatives of ln (n / U rho) of every species, of ln of
    temperature, perturbers and electrons, and of vmic (km/s)."""

    population: Float[Array, "species parameter depth"]
    t: Float[Array, "parameter depth"]
    perturbers: Float[Array, "parameter depth"]
    xne: Float[Array, "parameter depth"]
    vmic: Float[Array, "parameter depth"]


def drift(state: Profile, tangents: Profile, dtype=jnp.float64) -> Drift:
    """The drift from the derivatives of a state, whose leading axis is the parameters."""

    def relative(value, change):
        # where there is none of a species its lines have no opacity, and no derivative
        return jnp.where(value > 0.0, change / jnp.where(value > 0.0, value, 1.0), 0.0)

    population = relative(state.n_over_u, tangents.n_over_u) - relative(state.rho, tangents.rho)[:, None]
    parts = (
        jnp.swapaxes(population, 0, 1), relative(state.t, tangents.t), relative(state.perturbers, tangents.perturbers),
        relative(state.xne, tangents.xne), tangents.vmic,
    )  # fmt: skip
    return Drift(*(x.astype(dtype) for x in parts))


class Sensitivity(NamedTuple):
    """Of lines in layers, by ln temperature: ln (scale x Doppler width), ln Doppler width and ln (a x Doppler width);
    then ln Doppler width by vmic, and ln a by ln perturbers and ln electrons."""

    excitation: Float[Array, "line depth"]
    thermal: Float[Array, "line depth"]
    hotter: Float[Array, "line depth"]
    turbulent: Float[Array, "line depth"]
    hydrogen: Float[Array, "line depth"]
    electrons: Float[Array, "line depth"]


def sensitivity(lines: Transitions, state: Profile, dtype=jnp.float64) -> Sensitivity:
    """How the constants of the profiles change with the layer's own quantities."""
    square = lines.thermal[:, None] * state.t + state.vmic**2
    photon = _photon(lines, state)
    excitation = (lines.elow / BOLTZMANN_EV)[:, None] * state.inverse_t - photon / jnp.expm1(photon)
    gamma, gamma6, gamma4 = _damping(lines, state, dtype)
    share6 = gamma6 / gamma
    parts = (
        excitation, 0.5 * lines.thermal[:, None] * state.t / square, share6 * lines.gamma6_exponent[:, None],
        state.vmic / square, share6, gamma4 / gamma,
    )  # fmt: skip
    return Sensitivity(*(x.astype(dtype) for x in parts))


def constants_drift(
    lines: Transitions, sensitive: Sensitivity, change: Drift
) -> tuple[Float[Array, "line parameter depth"], ...]:
    """Derivatives of ln scale, ln Doppler width and ln a of lines by the parameters."""
    by = Sensitivity(*(x[:, None] for x in sensitive))
    doppler = by.thermal * change.t + by.turbulent * change.vmic
    scale = change.population[lines.species] + by.excitation * change.t - doppler
    a = by.hotter * change.t + by.hydrogen * change.perturbers + by.electrons * change.xne - doppler
    return scale, doppler, a


def row_by_row(function: Callable, lines: Transitions, *arguments: Any):
    """function(lines, ...) of lines in chunks of rows, all at once.

    Within a loop over the chunks it would be computed anew for every point of a row.
    """
    flat = jax.tree.map(lambda x: x.reshape(-1), lines)
    return jax.tree.map(lambda x: x.reshape(*lines.line.shape, *x.shape[1:]), function(flat, *arguments))
