"""Bound-bound opacity of neutral hydrogen: Balmer, Paschen, Brackett and Pfund lines up to 25000 A."""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from astrogf.base.constants import BOLTZMANN, LIGHT, PLANCK
from astrogf.base.errors import AstrogfError
from astrogf.synthesis.continuum.hydrogen import occupation
from astrogf.synthesis.gas.gas import Gas
from astrogf.synthesis.hydrogen.atom import (
    E2_OVER_MC,
    M_H,
    collision_widths,
    line_wavelength,
    oscillator_strength,
    radiative_width,
    term,
)
from astrogf.synthesis.hydrogen.profile import StarkTable, holtsmark_field, line_profile, stark_at, stark_curve
from astrogf.synthesis.package_data import arrays

REACH = 0.08  # of the wavelength: no line acts beyond; each is tapered to zero over its last quarter
NEIGHBOURS = 4.0  # nor beyond this many times the distance to the next line of its series
CORE = 600e5  # cm/s: farther out only the wings are needed (17 Doppler widths at 60,000 K and vmic 10 km/s)
STEP_CORE = 0.9e5  # cm/s, node spacing within PLATEAU of a line
PLATEAU = 60e5  # cm/s
GROWTH = 0.05  # node spacing as a fraction of the distance from the line, farther out


class LineGroup(NamedTuple):
    """Lines computed alike: each on one side, at its own `velocity` (the first of which, as many as `inner` has,
    may be in the core), then brought with the weights `mixing` to the nodes from `first` on (padded with zero
    weights)."""

    upper: Float[Array, " line"]
    weight: Float[Array, " line"]
    energy: Float[Array, " line"]
    wavelength: Float[Array, " line"]
    strength: Float[Array, " line"]
    radiative: Float[Array, " line"]
    collision: Float[Array, "line 6"]
    ln_profile: Float[Array, "line t ne alpha"]
    velocity: Float[Array, "line velocity"]
    inner: Float[Array, "line inner"]
    first: Int[Array, " line"]
    source: Int[Array, "line local 4"]
    mixing: Float[Array, "line local 4"]


class HydrogenPlan(NamedTuple):
    """What the host decides once for a wavelength grid; a pytree of arrays, to be passed into jit."""

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
    return arrays("hydrogen_stark")


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
    """Detunings in cm/s at which every line's profile is computed, from 0 to some points beyond REACH."""
    out = [0.0]
    while out[-1] < REACH * 1.5 * LIGHT:
        out.append(out[-1] + STEP_CORE + GROWTH * max(out[-1] - PLATEAU, 0.0))
    return np.array(out)


def _reach(n: int, m: int) -> float:
    """Relative distance up to which the line acts. Wings of a high series member mean nothing far beyond its
    neighbours: fields that strong dissolve the level."""
    centre = line_wavelength(n, m)
    return min(REACH, NEIGHBOURS * (1.0 - line_wavelength(n, m + 1) / centre))


def _group(levels: np.ndarray, ln_profile: np.ndarray, nodes: np.ndarray, core: bool) -> LineGroup:
    pairs = [(int(n), int(m)) for n, m in levels]
    centre = np.array([line_wavelength(*p) for p in pairs])
    reach = np.array([_reach(*p) for p in pairs])
    inside = [np.flatnonzero(np.abs(nodes / c - 1.0) < r) for c, r in zip(centre, reach, strict=True)]
    # Symmetric in frequency, as the quasi-static wing is (per wavelength: (lambda/lambda0)^(1/2)).
    detuning = [LIGHT * np.abs(nodes[i] - c) / nodes[i] for i, c in zip(inside, centre, strict=True)]
    everywhere = _velocity_nodes()
    chosen = []  # of every line, the stretch of detunings that its nodes need
    for d in detuning:
        first, last = np.searchsorted(everywhere, [d.min(), d.max()]) if d.size else (0, 1)
        chosen.append(everywhere[max(first - 2, 0) : max(last + 2, max(first - 2, 0) + 4)])
    size = max((i.size for i in inside), default=1)
    stretch = max((v.size for v in chosen), default=4)
    n_inner = max((int(np.sum(v < CORE)) for v in chosen), default=0) if core else 0
    velocity = np.full((len(pairs), stretch), everywhere[-1])
    first = np.array([i[0] if i.size else 0 for i in inside], dtype=np.int32)
    source = np.zeros((len(pairs), size, 4), dtype=np.int32)
    mixing = np.zeros(source.shape)
    for k, (i, d, v, c, r) in enumerate(zip(inside, detuning, chosen, centre, reach, strict=True)):
        velocity[k, : v.size] = v
        edge = np.clip((np.abs(nodes[i] / c - 1.0) / r - 0.75) / 0.25, 0.0, 1.0)
        source[k, : i.size], weight = _lagrange(v, d)
        mixing[k, : i.size] = weight * (1.0 - edge**2 * (3.0 - 2.0 * edge))[:, None]
    return LineGroup(
        upper=jnp.asarray([float(m) for _, m in pairs]),
        weight=jnp.asarray([2.0 * n**2 for n, _ in pairs]),
        energy=jnp.asarray([term(n) for n, _ in pairs]),
        wavelength=jnp.asarray(centre),
        strength=jnp.asarray([oscillator_strength(*p) for p in pairs]),
        radiative=jnp.asarray([radiative_width(*p) for p in pairs]),
        collision=jnp.asarray([collision_widths(*p) for p in pairs]).reshape(-1, 6),
        ln_profile=jnp.asarray(ln_profile, dtype=float),
        velocity=jnp.asarray(velocity),
        inner=jnp.asarray(velocity[:, :n_inner]),
        first=jnp.asarray(first),
        source=jnp.asarray(source),
        mixing=jnp.asarray(mixing),
    )


def hydrogen_plan(wavelength: np.ndarray, stark: Mapping[str, np.ndarray] | None = None) -> HydrogenPlan:
    """Lines, nodes and interpolation weights for vacuum wavelengths in Angstrom (host, once a grid).

    `stark` are other Stark profiles than the shipped ones, laid out as tools/build_hydrogen.py makes them.
    Raises ValueError when the wavelengths do not increase strictly.
    """
    wave = np.asarray(wavelength, dtype=float)
    if wave.ndim != 1 or wave.size == 0 or not np.all(np.diff(wave) > 0) or not wave[0] > 0:
        raise AstrogfError(
            "hydrogen_plan: `wavelength` must be a 1-d array of strictly increasing vacuum wavelengths in "
            "Angstrom; sort it and remove duplicates"
        )
    table = _stark_file() if stark is None else stark
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
    return HydrogenPlan(
        nodes=jnp.asarray(nodes),
        near=jnp.asarray(index),
        interpolation=jnp.asarray(weight),
        full=_group(levels[full], table["ln_profile"][full], nodes, core=True),
        wings=_group(levels[wings], table["ln_profile"][wings], nodes, core=False),
        log_t=jnp.asarray(table["log_t"]),
        log_ne=jnp.asarray(table["log_ne"]),
        log_alpha=jnp.asarray(table["log_alpha"]),
    )


def _mix(
    values: Float[Array, "source depth"], index: Int[Array, "point 4"], weight: Float[Array, "point 4"]
) -> Float[Array, "point depth"]:
    terms = [values[index[:, k]] * weight[:, k : k + 1] for k in range(4)]
    return (terms[0] + terms[1]) + (terms[2] + terms[3])


def _line_opacity(plan: HydrogenPlan, line: LineGroup, layer: "_Layer") -> Float[Array, "local depth"]:
    """One line at its target nodes, cm^2, per atom in the ground level (over its weight), absorption only."""
    t4 = layer.t / 1e4
    to_angstrom = line.wavelength**2 * 1e-8 / (2 * np.pi * LIGHT)  # rad/s -> A
    w_h, p_h, w_vdw, p_vdw, w_he, p_he = line.collision
    lorentz = 0.5 * line.radiative + (w_h * t4**p_h + w_vdw * t4**p_vdw) * layer.n_hi + w_he * t4**p_he * layer.n_he
    lorentz = to_angstrom * lorentz
    doppler = line.wavelength / LIGHT * jnp.sqrt(2 * BOLTZMANN * layer.t / M_H + layer.vmic**2)
    table = StarkTable(plan.log_t, plan.log_ne, plan.log_alpha, line.ln_profile)
    curve = stark_curve(stark_at(table, layer.t, layer.xne), plan.log_alpha)
    x = line.wavelength / LIGHT * line.velocity
    profile = line_profile(curve, x, holtsmark_field(layer.xne), doppler, lorentz, line.inner.size)
    lower = line.weight * jnp.exp(-PLANCK * LIGHT / BOLTZMANN * line.energy / layer.t)
    lower = lower * occupation(line.upper, layer.gas())
    per_atom = np.pi * E2_OVER_MC * line.strength * line.wavelength**2 * 1e-8 / LIGHT * lower
    return _mix((per_atom[:, None] * profile).T, line.source, line.mixing)


class _Layer(NamedTuple):
    """All that shapes the lines in a layer; each acts on its own layer only."""

    t: Float[Array, " depth"]
    xne: Float[Array, " depth"]
    n_hi: Float[Array, " depth"]
    n_he: Float[Array, " depth"]
    vmic: Float[Array, " depth"]

    def gas(self) -> Gas:
        """As much of a Gas as the occupation probability reads."""
        zero = jnp.zeros_like(self.t)
        n = jnp.stack([self.n_hi, self.n_he])[:, None]
        return Gas(self.t, self.xne, zero, n, n, zero, n[:0, 0])


def _sum_lines(plan: HydrogenPlan, layer: _Layer) -> Float[Array, "node depth"]:
    groups = [group for group in (plan.full, plan.wings) if group.wavelength.size]
    padding = max(group.source.shape[1] for group in groups)
    total = jnp.zeros((plan.nodes.size + padding, layer.t.size), dtype=layer.t.dtype)

    def add(total, line):
        here = _line_opacity(plan, line, layer)
        sofar = jax.lax.dynamic_slice_in_dim(total, line.first, here.shape[0])
        return jax.lax.dynamic_update_slice_in_dim(total, sofar + here, line.first, 0), None

    for group in groups:
        total, _ = jax.lax.scan(add, total, group)
    return total[: plan.nodes.size]


@jax.custom_jvp
def _cross_section(plan: HydrogenPlan, layer: _Layer) -> Float[Array, "node depth"]:
    """All lines, cm^2 per (n/U) of neutral hydrogen, absorption only."""
    return _sum_lines(plan, layer)


@_cross_section.defjvp
def _cross_section_jvp(primals, tangents):
    # A layer's opacity sees five numbers of that layer, so five forward tangents, taken side by side, hold every
    # derivative; forward and reverse mode are then a product with them, whatever is upstream.
    plan, layer = primals
    n = len(layer)

    def along(direction):
        tangent = _Layer(*(direction[k] * jnp.ones_like(x) for k, x in enumerate(layer)))
        return jax.jvp(lambda y: _sum_lines(plan, y), (layer,), (tangent,))

    value, slopes = jax.vmap(along, out_axes=(None, 0))(jnp.eye(n, dtype=layer.t.dtype))
    return value, sum(slopes[k] * tangent for k, tangent in enumerate(tangents[1]))


def hydrogen_opacity(plan: HydrogenPlan, gas: Gas, vmic: Float[Array, "*depth"] | float) -> Float[Array, "wave depth"]:
    """H I line opacity in cm^2/g at the plan's wavelengths; see `hydrogen_nodes`."""
    return jnp.maximum(_mix(hydrogen_nodes(plan, gas, vmic), plan.near, plan.interpolation), 0.0)


def hydrogen_nodes(plan: HydrogenPlan, gas: Gas, vmic: Float[Array, "*depth"] | float) -> Float[Array, "node depth"]:
    """H I line opacity in cm^2/g of stellar matter, with stimulated emission, at the plan's own few wavelengths.

    `plan.near` and `plan.interpolation` take it to the grid. Shapes: the plan's nodes by the depths of `gas`.
    `vmic` in cm/s, a number or one per depth. Safe under jit, vmap over stars (gas, vmic) and grad in T, Ne, n
    and vmic; forward and reverse mode cost the same, about three evaluations however many parameters there are.

    Populations: LTE from `gas.n_over_u[0, 0]`, with the occupation probability of the upper level (Daeppen,
    Anderson & Mihalas 1987, ApJ 319, 195); what a dissolved level no longer absorbs is in
    `continuum_hydrogen`, with the same probability.
    Profiles: Stark broadening by Stehle & Hutcheon (1999, A&AS 140, 93; Balmer, Paschen) and Lemke (1997, A&AS
    122, 285; Brackett), convolved with thermal and microturbulent motion, natural, self and helium broadening
    (`hydrogen_atom.collision_widths`).
    """
    if plan.full.wavelength.size + plan.wings.wavelength.size == 0:
        return jnp.zeros((plan.nodes.size, gas.t.size), dtype=gas.t.dtype)
    vmic = jnp.broadcast_to(jnp.asarray(vmic, dtype=gas.t.dtype), gas.t.shape)
    layer = _Layer(gas.t, gas.xne, gas.n[0, 0], gas.n[1, 0], vmic)
    nu = LIGHT * 1e8 / plan.nodes
    emission = -jnp.expm1(-PLANCK / BOLTZMANN * nu[:, None] / gas.t[None])
    return _cross_section(plan, layer) * (gas.n_over_u[0, 0] / gas.rho) * emission
