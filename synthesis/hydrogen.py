"""Bound-bound opacity of neutral hydrogen: Balmer and Paschen lines between 3640 and 9300 A."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from synthesis.constants import BOLTZMANN, LIGHT, PLANCK
from synthesis.continuum_hydrogen import occupation
from synthesis.gas import Gas
from synthesis.hydrogen_atom import (
    E2_OVER_MC,
    M_H,
    collision_widths,
    line_wavelength,
    oscillator_strength,
    radiative_width,
    term,
)
from synthesis.hydrogen_profile import StarkTable, holtsmark_field, line_profile, stark_at, wing_profile

DATA = Path(__file__).parent / "data" / "hydrogen_stark.npz"
REACH = 0.08  # of the wavelength: no line acts beyond; each is tapered to zero over its last quarter
NEIGHBOURS = 4.0  # nor beyond this many times the distance to the next line of its series
CORE = 600e5  # cm/s: lines with no wavelength nearer than this need only their wings
STEP_CORE = 0.9e5  # cm/s, node spacing within PLATEAU of a line
PLATEAU = 60e5  # cm/s
GROWTH = 0.05  # node spacing as a fraction of the distance from the line, farther out


class LineGroup(NamedTuple):
    """Lines computed alike: on one side, at `HydrogenPlan.velocity`, then brought to the nodes `target` with
    the weights `mixing` (padded; the padding points behind the last node)."""

    upper: Float[Array, " line"]
    weight: Float[Array, " line"]
    energy: Float[Array, " line"]
    wavelength: Float[Array, " line"]
    strength: Float[Array, " line"]
    radiative: Float[Array, " line"]
    collision: Float[Array, "line 4"]
    ln_profile: Float[Array, "line t ne alpha"]
    target: Int[Array, "line local"]
    source: Int[Array, "line local 4"]
    mixing: Float[Array, "line local 4"]


class HydrogenPlan(NamedTuple):
    """What the host decides once for a wavelength grid; a pytree of arrays, to be passed into jit."""

    velocity: Float[Array, " velocity"]
    nodes: Float[Array, " node"]
    near: Int[Array, "wave 4"]
    interpolation: Float[Array, "wave 4"]
    full: LineGroup
    wings: LineGroup
    log_t: Float[Array, " t"]
    log_ne: Float[Array, " ne"]
    log_alpha: Float[Array, " alpha"]


@lru_cache(maxsize=1)
def _stark_file() -> dict[str, np.ndarray]:
    with np.load(DATA) as f:
        return {k: f[k] for k in f.files}


def _nodes(wavelength: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Wavelengths at which the opacity is computed: dense round every line, growing with distance from it."""
    scale = centres / LIGHT
    lo, hi = wavelength[0], wavelength[-1]

    def spacing(w: float) -> float:
        beyond = np.maximum(np.abs(w - centres) - PLATEAU * scale, 0.0)
        return float(np.min(STEP_CORE * scale + GROWTH * beyond)) if centres.size else (hi - lo) / 8 + 1e-3

    out = [lo - 2 * spacing(lo), lo - spacing(lo), lo]
    while out[-1] < hi:
        # The spacing at the far end of the step counts too, or one would leap into a line from outside.
        step = spacing(out[-1])
        out.append(out[-1] + min(step, max(spacing(out[-1] + step), 0.5 * step)))
    out.append(out[-1] + spacing(out[-1]))
    return np.array(out)


def _lagrange(nodes: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices and weights of the cubic through the four nodes round every x."""
    first = np.clip(np.searchsorted(nodes, x, side="right") - 2, 0, nodes.size - 4)
    index = first[:, None] + np.arange(4)
    near = nodes[index]
    weight = np.ones_like(near)
    for i in range(4):
        for j in range(4):
            if i != j:
                weight[:, i] *= (x - near[:, j]) / (near[:, i] - near[:, j])
    return index.astype(np.int32), weight


def _velocity_nodes() -> np.ndarray:
    """Detunings in cm/s at which every line's profile is computed, from 0 to just beyond REACH."""
    out = [0.0]
    while out[-1] < REACH * 1.1 * LIGHT:
        out.append(out[-1] + STEP_CORE + GROWTH * max(out[-1] - PLATEAU, 0.0))
    return np.array(out)


def _reach(n: int, m: int) -> float:
    """Relative distance up to which the line acts. Wings of a high series member mean nothing far beyond its
    neighbours: fields that strong dissolve the level."""
    centre = line_wavelength(n, m)
    return min(REACH, NEIGHBOURS * (1.0 - line_wavelength(n, m + 1) / centre))


def _group(levels: np.ndarray, ln_profile: np.ndarray, nodes: np.ndarray, velocity: np.ndarray) -> LineGroup:
    pairs = [(int(n), int(m)) for n, m in levels]
    centre = np.array([line_wavelength(*p) for p in pairs])
    reach = np.array([_reach(*p) for p in pairs])
    inside = [np.flatnonzero(np.abs(nodes / c - 1.0) < r) for c, r in zip(centre, reach, strict=True)]
    size = max((i.size for i in inside), default=1)
    target = np.full((len(pairs), size), nodes.size, dtype=np.int32)
    source = np.zeros((len(pairs), size, 4), dtype=np.int32)
    mixing = np.zeros(source.shape)
    for k, (i, c, r) in enumerate(zip(inside, centre, reach, strict=True)):
        target[k, : i.size] = i
        # Symmetric in frequency, as the quasi-static wing is (per wavelength: (lambda/lambda0)^(1/2)).
        detuning = LIGHT * np.abs(nodes[i] - c) / nodes[i]
        edge = np.clip((np.abs(nodes[i] / c - 1.0) / r - 0.75) / 0.25, 0.0, 1.0)
        source[k, : i.size], weight = _lagrange(velocity, detuning)
        mixing[k, : i.size] = weight * (1.0 - edge**2 * (3.0 - 2.0 * edge))[:, None]
    return LineGroup(
        upper=jnp.asarray([float(m) for _, m in pairs]),
        weight=jnp.asarray([2.0 * n**2 for n, _ in pairs]),
        energy=jnp.asarray([term(n) for n, _ in pairs]),
        wavelength=jnp.asarray(centre),
        strength=jnp.asarray([oscillator_strength(*p) for p in pairs]),
        radiative=jnp.asarray([radiative_width(*p) for p in pairs]),
        collision=jnp.asarray([collision_widths(*p) for p in pairs]).reshape(-1, 4),
        ln_profile=jnp.asarray(ln_profile, dtype=float),
        target=jnp.asarray(target),
        source=jnp.asarray(source),
        mixing=jnp.asarray(mixing),
    )


def hydrogen_plan(wavelength: np.ndarray) -> HydrogenPlan:
    """Lines, nodes and interpolation weights for vacuum wavelengths in Angstrom (host, once a grid).

    Raises ValueError when the wavelengths do not increase strictly.
    """
    wave = np.asarray(wavelength, dtype=float)
    if wave.ndim != 1 or wave.size == 0 or not np.all(np.diff(wave) > 0) or not wave[0] > 0:
        raise ValueError(
            "hydrogen_plan: `wavelength` must be a 1-d array of strictly increasing vacuum wavelengths in "
            "Angstrom; sort it and remove duplicates"
        )
    table = _stark_file()
    levels = table["levels"]
    centres = np.array([line_wavelength(int(n), int(m)) for n, m in levels])
    reach = np.array([_reach(int(n), int(m)) for n, m in levels])
    distance = np.maximum(np.maximum(wave[0] - centres, centres - wave[-1]), 0.0) / centres
    near = distance < reach
    nodes = _nodes(wave, centres[near])
    full, wings = near & (distance < CORE / LIGHT), near & (distance >= CORE / LIGHT)
    index, weight = _lagrange(nodes, wave)
    used, index = np.unique(index, return_inverse=True)
    nodes, index = nodes[used], index.reshape(-1, 4).astype(np.int32)
    velocity = _velocity_nodes()
    return HydrogenPlan(
        velocity=jnp.asarray(velocity),
        nodes=jnp.asarray(nodes),
        near=jnp.asarray(index),
        interpolation=jnp.asarray(weight),
        full=_group(levels[full], table["ln_profile"][full], nodes, velocity),
        wings=_group(levels[wings], table["ln_profile"][wings], nodes, velocity),
        log_t=jnp.asarray(table["log_t"]),
        log_ne=jnp.asarray(table["log_ne"]),
        log_alpha=jnp.asarray(table["log_alpha"]),
    )


def _mix(
    values: Float[Array, "source depth"], index: Int[Array, "point 4"], weight: Float[Array, "point 4"]
) -> Float[Array, "point depth"]:
    terms = [values[index[:, k]] * weight[:, k : k + 1] for k in range(4)]
    return (terms[0] + terms[1]) + (terms[2] + terms[3])


def _line_opacity(
    plan: HydrogenPlan, line: LineGroup, gas: Gas, vmic: Float[Array, ""], core: bool
) -> Float[Array, "local depth"]:
    """One line at its target nodes, cm^2/g, without stimulated emission."""
    t, n_hi, n_he = gas.t, gas.n[0, 0], gas.n[1, 0]
    to_angstrom = line.wavelength**2 * 1e-8 / (2 * np.pi * LIGHT)  # rad/s -> A
    w_h, p_h, w_he, p_he = line.collision
    t4 = t / 1e4
    lorentz = to_angstrom * (0.5 * line.radiative + w_h * t4**p_h * n_hi + w_he * t4**p_he * n_he)
    doppler = line.wavelength / LIGHT * jnp.sqrt(2 * BOLTZMANN * t / M_H + vmic**2)
    f0 = holtsmark_field(gas.xne)
    stark = stark_at(StarkTable(plan.log_t, plan.log_ne, plan.log_alpha, line.ln_profile), t, gas.xne)
    x = line.wavelength / LIGHT * plan.velocity
    if core:
        profile = line_profile(stark, plan.log_alpha, x, f0, doppler, lorentz)
    else:
        profile = wing_profile(stark, plan.log_alpha, x, f0, doppler, lorentz)
    lower = gas.n_over_u[0, 0] * line.weight * jnp.exp(-PLANCK * LIGHT / BOLTZMANN * line.energy / t)
    lower = lower * occupation(line.upper, gas)
    per_gram = np.pi * E2_OVER_MC * line.strength * line.wavelength**2 * 1e-8 / LIGHT * lower / gas.rho
    return _mix((per_gram[:, None] * profile).T, line.source, line.mixing)


def hydrogen_opacity(
    plan: HydrogenPlan, gas: Gas, vmic: Float[Array, ""] | float
) -> Float[Array, "wave depth"]:
    """H I line opacity in cm^2/g at the plan's wavelengths; see `hydrogen_nodes`."""
    return jnp.maximum(_mix(hydrogen_nodes(plan, gas, vmic), plan.near, plan.interpolation), 0.0)


def hydrogen_nodes(
    plan: HydrogenPlan, gas: Gas, vmic: Float[Array, ""] | float
) -> Float[Array, "node depth"]:
    """H I line opacity in cm^2/g of stellar matter, with stimulated emission, at the plan's own few wavelengths.

    `plan.near` and `plan.interpolation` take it to the grid. Shapes: the plan's nodes by the depths of `gas`.
    `vmic` in cm/s. Safe under jit, vmap over stars
    (gas, vmic) and grad in T, Ne, n and vmic.

    Populations: LTE from `gas.n_over_u[0, 0]`, with the occupation probability of the upper level (Daeppen,
    Anderson & Mihalas 1987, ApJ 319, 195); what a dissolved level no longer absorbs is in
    `continuum_hydrogen`, with the same probability.
    Profiles: Stehle & Hutcheon (1999, A&AS 140, 93) Stark broadening, convolved with thermal and
    microturbulent motion, natural, self and helium broadening (`hydrogen_atom.collision_widths`).
    """
    vmic = jnp.asarray(vmic, dtype=gas.t.dtype)
    total = jnp.zeros((plan.nodes.size + 1, gas.t.size), dtype=gas.t.dtype)
    for group, core in ((plan.full, True), (plan.wings, False)):
        if group.wavelength.size == 0:
            continue

        @jax.checkpoint
        def add(total, line, core=core):
            return total.at[line.target].add(_line_opacity(plan, line, gas, vmic, core)), None

        total, _ = jax.lax.scan(add, total, group)
    nu = LIGHT * 1e8 / plan.nodes
    emission = -jnp.expm1(-PLANCK / BOLTZMANN * nu[:, None] / gas.t[None])
    return total[:-1] * emission
