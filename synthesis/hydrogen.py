"""Bound-bound opacity of neutral hydrogen: Balmer and Paschen lines between 3640 and 9300 A."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from synthesis.gas import Gas
from synthesis.hydrogen_atom import (
    C_LIGHT,
    E2_OVER_MC,
    K_BOLTZMANN,
    M_H,
    PLANCK,
    collision_widths,
    line_wavelength,
    occupation_probability,
    oscillator_strength,
    radiative_width,
    term,
)
from synthesis.hydrogen_profile import StarkTable, holtsmark_field, line_profile, stark_at, wing_profile

DATA = Path(__file__).parent / "data" / "hydrogen_stark.npz"
REACH = 0.08  # of the wavelength: a line acts up to here, tapered to zero over the last quarter
CORE = 600e5  # cm/s: lines with no wavelength nearer than this need only their wings
STEP_CORE = 0.9e5  # cm/s, node spacing within PLATEAU of a line
PLATEAU = 60e5  # cm/s
GROWTH = 0.05  # node spacing as a fraction of the distance from the line, farther out


class LineGroup(NamedTuple):
    """Lines computed alike, with their own nodes (padded; the padding points behind the last node)."""

    upper: Float[Array, " line"]
    weight: Float[Array, " line"]
    energy: Float[Array, " line"]
    wavelength: Float[Array, " line"]
    strength: Float[Array, " line"]
    radiative: Float[Array, " line"]
    collision: Float[Array, "line 4"]
    ln_profile: Float[Array, "line t ne alpha"]
    index: Int[Array, "line local"]
    detuning: Float[Array, "line local"]
    taper: Float[Array, "line local"]


class HydrogenPlan(NamedTuple):
    """What the host decides once for a wavelength grid; a pytree of arrays, to be passed into jit."""

    nodes: Float[Array, " node"]
    index: Int[Array, "wave 4"]
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
    scale = centres / C_LIGHT
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


def _group(chosen: list[int], nodes: np.ndarray) -> LineGroup:
    table = _stark_file()
    levels = table["levels"][chosen].reshape(-1, 2)
    centre = np.array([line_wavelength(int(n), int(m)) for n, m in levels])
    inside = [np.flatnonzero(np.abs(nodes / c - 1.0) < REACH) for c in centre]
    size = max((i.size for i in inside), default=1)
    index = np.full((len(chosen), size), nodes.size, dtype=np.int32)
    detuning, taper = np.ones(index.shape), np.zeros(index.shape)
    for k, (i, c) in enumerate(zip(inside, centre, strict=True)):
        index[k, : i.size] = i
        # Symmetric in frequency: the quasi-static wing is, and it carries the (lambda/lambda0)^(1/2) asymmetry.
        detuning[k, : i.size] = c * np.abs(nodes[i] - c) / nodes[i]
        edge = np.clip((np.abs(nodes[i] / c - 1.0) / REACH - 0.75) / 0.25, 0.0, 1.0)
        taper[k, : i.size] = 1.0 - edge**2 * (3.0 - 2.0 * edge)
    pairs = [(int(n), int(m)) for n, m in levels]
    return LineGroup(
        upper=jnp.asarray([float(m) for _, m in pairs]),
        weight=jnp.asarray([2.0 * n**2 for n, _ in pairs]),
        energy=jnp.asarray([term(n) for n, _ in pairs]),
        wavelength=jnp.asarray(centre),
        strength=jnp.asarray([oscillator_strength(*p) for p in pairs]),
        radiative=jnp.asarray([radiative_width(*p) for p in pairs]),
        collision=jnp.asarray([collision_widths(*p) for p in pairs]).reshape(-1, 4),
        ln_profile=jnp.asarray(table["ln_profile"][chosen], dtype=float),
        index=jnp.asarray(index),
        detuning=jnp.asarray(detuning),
        taper=jnp.asarray(taper),
    )


def hydrogen_plan(wavelength: np.ndarray) -> HydrogenPlan:
    """Lines, nodes and interpolation weights for a grid of vacuum wavelengths in Angstrom (host, once a grid).

    Raises ValueError when the wavelengths do not increase strictly.
    """
    wave = np.asarray(wavelength, dtype=float)
    if wave.ndim != 1 or wave.size == 0 or not np.all(np.diff(wave) > 0) or not wave[0] > 0:
        raise ValueError(
            "hydrogen_plan: `wavelength` must be a 1-d array of strictly increasing vacuum wavelengths in "
            "Angstrom; sort it and remove duplicates"
        )
    table = _stark_file()
    centres = np.array([line_wavelength(int(n), int(m)) for n, m in table["levels"]])
    distance = np.maximum(np.maximum(wave[0] - centres, centres - wave[-1]), 0.0) / centres
    near = np.flatnonzero(distance < REACH)
    nodes = _nodes(wave, centres[near])
    full = [int(i) for i in near if distance[i] < CORE / C_LIGHT]
    wings = [int(i) for i in near if distance[i] >= CORE / C_LIGHT]
    index, weight = _lagrange(nodes, wave)
    return HydrogenPlan(
        nodes=jnp.asarray(nodes),
        index=jnp.asarray(index),
        interpolation=jnp.asarray(weight),
        full=_group(full, nodes),
        wings=_group(wings, nodes),
        log_t=jnp.asarray(table["log_t"]),
        log_ne=jnp.asarray(table["log_ne"]),
        log_alpha=jnp.asarray(table["log_alpha"]),
    )


def _line_opacity(
    plan: HydrogenPlan, line: LineGroup, gas: Gas, vmic: Float[Array, ""], core: bool
) -> Float[Array, "local depth"]:
    """One line at its own nodes, cm^2/g, without stimulated emission."""
    t, n_hi, n_he = gas.t, gas.n[0, 0], gas.n[1, 0]
    to_angstrom = line.wavelength**2 * 1e-8 / (2 * np.pi * C_LIGHT)  # rad/s -> A
    w_h, p_h, w_he, p_he = line.collision
    t4 = t / 1e4
    lorentz = to_angstrom * (0.5 * line.radiative + w_h * t4**p_h * n_hi + w_he * t4**p_he * n_he)
    doppler = line.wavelength / C_LIGHT * jnp.sqrt(2 * K_BOLTZMANN * t / M_H + vmic**2)
    f0 = holtsmark_field(gas.xne)
    stark = stark_at(StarkTable(plan.log_t, plan.log_ne, plan.log_alpha, line.ln_profile), t, gas.xne)
    if core:
        profile = line_profile(stark, plan.log_alpha, line.detuning, f0, doppler, lorentz)
    else:
        profile = wing_profile(stark, plan.log_alpha, jnp.log(line.detuning), f0, doppler, lorentz)
    lower = gas.n_over_u[0, 0] * line.weight * jnp.exp(-PLANCK * C_LIGHT / K_BOLTZMANN * line.energy / t)
    lower = lower * occupation_probability(line.upper, t, gas.xne, n_hi)
    per_gram = np.pi * E2_OVER_MC * line.strength * line.wavelength**2 * 1e-8 / C_LIGHT * lower / gas.rho
    return (per_gram[:, None] * profile * line.taper).T


def hydrogen_opacity(
    plan: HydrogenPlan, gas: Gas, vmic: Float[Array, ""] | float
) -> Float[Array, "wave depth"]:
    """H I line opacity in cm^2/g of stellar matter, with stimulated emission.

    Shapes: the plan's wavelengths by the depths of `gas`. `vmic` in cm/s. jit, vmap over stars (gas, vmic) and
    grad safe in T, Ne, n and vmic.

    Populations: LTE from `gas.n_over_u[0, 0]`, with the occupation probability of the upper level (Daeppen,
    Anderson & Mihalas 1987, ApJ 319, 195: the absorption that a dissolved level loses belongs to the continuum).
    Profiles: Stehle & Hutcheon (1999, A&AS 140, 93) Stark broadening, convolved with thermal and microturbulent
    motion, natural, self and helium broadening (`hydrogen_atom.collision_widths`).
    """
    vmic = jnp.asarray(vmic, dtype=gas.t.dtype)
    total = jnp.zeros((plan.nodes.size + 1, gas.t.size), dtype=gas.t.dtype)
    for group, core in ((plan.full, True), (plan.wings, False)):
        if group.wavelength.size == 0:
            continue

        @jax.checkpoint
        def add(total, line, core=core):
            return total.at[line.index].add(_line_opacity(plan, line, gas, vmic, core)), None

        total, _ = jax.lax.scan(add, total, group)
    nu = C_LIGHT * 1e8 / plan.nodes
    emission = -jnp.expm1(-PLANCK / K_BOLTZMANN * nu[:, None] / gas.t[None])
    total = total[:-1] * emission
    out = total[plan.index[:, 0]] * plan.interpolation[:, :1]
    for k in range(1, 4):
        out = out + total[plan.index[:, k]] * plan.interpolation[:, k : k + 1]
    return jnp.maximum(out, 0.0)
