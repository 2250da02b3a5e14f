"""Equation of state: ionisation to the second ion, molecules, density; electron density from (T, P).

`equation_of_state` takes the electron density as given (the structure's), `solve_xne` finds the one that
conserves charge. Unknowns are the logarithms of the free neutral atoms of hydrogen and of every element that
molecules bind; the equations are logarithms of conservation laws, solved together by damped Newton steps.
Elements that only trace molecules bind (`trace_molecules`) are eliminated in closed form. A last step taken from
the converged, derivative-free solution carries the implicit derivative.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from astrogf.base.constants import (
    ATOMIC_MASS,
    BOLTZMANN,
    BOLTZMANN_EV,
    ELECTRON_CHARGE,
    ELECTRON_MASS,
    ELECTRON_VOLT,
    PLANCK,
)
from astrogf.synthesis.gas.abundances import ATOMIC_WEIGHTS
from astrogf.synthesis.gas.gas import Gas
from astrogf.synthesis.gas.partition import IONISATION_ENERGY, MOLECULE_ATOMS, log_molecule_constant, log_partition
from astrogf.synthesis.gas.trace_molecules import ELEMENTS, TRACE_PARTNERS, TRACE_Z, log_trace_constant, taken

_BOUND = np.flatnonzero(MOLECULE_ATOMS.sum(axis=0) > 0)
"""Indices (z - 1) of the elements that molecules bind; hydrogen is the first."""
_ATOMS = MOLECULE_ATOMS[:, _BOUND]
_STEPS, _RELAXATIONS = 9, 24
_TRACE_STEPS = 3
"""Last Newton steps, with trace molecules: these change the others by 1% at most, and errors are squared each step."""
_BISECTIONS, _CHARGE_STEPS = 40, 4
_LARGEST_STEP = 3.0
_LOG_SAHA = float(1.5 * np.log(2 * np.pi * ELECTRON_MASS * BOLTZMANN / PLANCK**2) + np.log(2.0))
_MISSING = np.isnan(IONISATION_ENERGY[:, :2])[:, :, None]
_CHI = np.nan_to_num(IONISATION_ENERGY[:, :2], nan=0.0)[:, :, None]
_FLOOR = 1e-40


def debye_lowering(t: Float[Array, " depth"], xne: Float[Array, " depth"]) -> Float[Array, " depth"]:
    """Lowering of the ionisation energy of a neutral atom in a plasma, eV (its ion: twice that).

    e^2 over the Debye length of electrons and as many single ions. Source: Mihalas (1978), eq. 9-106.
    """
    return ELECTRON_CHARGE**3 / ELECTRON_VOLT * jnp.sqrt(8 * jnp.pi * xne / (BOLTZMANN * t))


def _stages(t: Array, xne: Array) -> tuple[Array, Array]:
    """n(stage) / n(neutral) [92, 3, depth] and ln U."""
    log_u = log_partition(t)
    chi = _CHI - np.array([1.0, 2.0])[:, None] * debye_lowering(t, xne)
    log_ratio = _LOG_SAHA + 1.5 * jnp.log(t) - jnp.log(xne) + jnp.diff(log_u, axis=1) - chi / (BOLTZMANN_EV * t)
    ratio = jnp.where(_MISSING, 0.0, jnp.exp(jnp.clip(log_ratio, -300.0, 150.0)))
    first = ratio[:, 0]
    return jnp.stack([jnp.ones_like(first), first, first * ratio[:, 1]], axis=1), log_u


class _Layer(NamedTuple):
    """What the equilibrium of one layer is given; `stages` is n(element)/n(neutral) of the bound elements."""

    log_k: Array
    stages: Array
    log_trace: Array
    trace_stages: Array
    particles: Array
    fractions: Array


_AXES: Any = _Layer(1, 1, 1, 1, 0, None)  # type: ignore[arg-type]


def _nuclei(z: Array, given: _Layer) -> tuple[Array, Array]:
    """Nuclei of every bound element, and all molecules but those of trace elements, of one layer."""
    molecules = jnp.exp(given.log_k + _ATOMS @ z)
    nuclei = jnp.exp(z) * given.stages + _ATOMS.T @ molecules
    if given.log_trace is None:
        return nuclei, molecules.sum()
    trace = taken(given.log_trace, z, given.trace_stages, given.fractions, _BOUND).partners
    # What trace molecules hold is counted per nucleus of hydrogen, their own hydrogen included.
    return nuclei + trace * nuclei[0] / (1 - trace[0]), molecules.sum()


def _balance(z: Array, given: _Layer) -> Array:
    """Logarithmic residuals of one layer: particles, then nuclei of elements relative to hydrogen.

    A trace molecule counts as the one atom of the trace element that it holds.
    """
    nuclei, molecules = _nuclei(z, given)
    fractions = given.fractions
    unbound = fractions.sum() - fractions[_BOUND].sum()
    number = jnp.log((unbound * nuclei[0] + (jnp.exp(z) * given.stages).sum() + molecules) / given.particles)
    share = jnp.log(nuclei[1:]) - jnp.log(nuclei[0]) - jnp.log(fractions[_BOUND[1:]] + _FLOOR)
    return jnp.concatenate([number[None], share])


def _start(given: _Layer) -> Array:
    """Free atoms of one layer with H2 as the only molecule (closed form)."""
    log_k, stages, fractions, particles = given.log_k, given.stages, given.fractions, given.particles
    a, b = jnp.exp(log_k[0]) * (2 * fractions.sum() - 1), fractions.sum() * stages[0]
    hydrogen = 2 * particles / (b + jnp.sqrt(b**2 + 4 * a * particles))
    nuclei = hydrogen * stages[0] + 2 * jnp.exp(log_k[0]) * hydrogen**2
    others = jnp.log(fractions[_BOUND[1:]] + _FLOOR) + jnp.log(nuclei) - jnp.log(stages[1:])
    return jnp.concatenate([jnp.log(hydrogen)[None], others])


def _relax(z: Array, given: _Layer) -> Array:
    """From all-free atoms towards the solution of one layer: an element gives half its excess of nuclei back.

    All-free atoms overbook the molecules of cool gas by many orders; Newton from there would not arrive.
    """
    hydrogen = jnp.log(jnp.exp(z[0]) * given.stages[0] + 2 * jnp.exp(given.log_k[0] + 2 * z[0]))

    def give(_, z):
        excess = _balance(z, given)
        # Residuals of the elements are relative to hydrogen as it stands: hold them to its first guess.
        drift = jnp.log(_nuclei(z, given)[0][0]) - hydrogen
        return z - 0.5 * excess.at[1:].add(drift)

    return jax.lax.fori_loop(0, _RELAXATIONS, give, z)


def _iterate(residual: Callable[..., Array], z: Array, frozen: _Layer, steps: int) -> Array:
    """`steps` damped Newton steps towards the root of residual(z, frozen), z [n]."""

    def step(_, z):
        full = jnp.linalg.solve(jax.jacfwd(residual)(z, frozen), residual(z, frozen))
        return z - jnp.clip(full, -_LARGEST_STEP, _LARGEST_STEP)

    return jax.lax.fori_loop(0, steps, step, z)


def _newton(residual: Callable[..., Array], z: Array, parameters: _Layer, steps: int) -> Array:
    """Root of residual(z, parameters), z [n]; first derivatives with respect to the parameters are exact."""
    frozen = jax.lax.stop_gradient(parameters)
    z = _iterate(residual, jax.lax.stop_gradient(z), frozen, steps)
    slope = jax.lax.stop_gradient(jax.jacfwd(residual)(z, frozen))
    return z - jnp.linalg.solve(slope, residual(z, parameters))


def equation_of_state(
    t: Float[Array, " depth"],
    p: Float[Array, " depth"],
    xne: Float[Array, " depth"],
    fractions: Float[Array, "92"],
) -> Gas:
    """Populations and density at T (K), gas pressure P (dyn cm^-2), electron density (cm^-3).

    `fractions` is n(Z)/n(H) from `abundances.number_fractions`. Particles add up to P/kT, electrons as given;
    nuclei of H, C, N, O and the other elements of `partition.MOLECULES` are shared with the molecules, and those of
    trace elements with theirs (`trace_molecules`).
    Where the electrons exceed 99.9% of P/kT the rest is held at 0.1%. Saha with Debye lowering
    (`debye_lowering`).
    Source: Mihalas (1978), chapter 5; constants of Barklem & Collet (2016).
    """
    stages, log_u = _stages(t, xne)
    log_k = log_molecule_constant(t)
    particles = jnp.maximum(p / (BOLTZMANN * t) - xne, 1e-3 * p / (BOLTZMANN * t))
    per_neutral = stages.sum(axis=1)

    given = _Layer(
        log_k, per_neutral[_BOUND], log_trace_constant(t, xne), per_neutral[ELEMENTS - 1], particles, fractions
    )

    def layer(given):
        frozen = jax.lax.stop_gradient(given)
        plain = frozen._replace(log_trace=None, trace_stages=None)
        z = _iterate(_balance, _relax(_start(plain), plain), plain, _STEPS)
        return _newton(_balance, z, given, _TRACE_STEPS)

    z = jax.vmap(layer, in_axes=(_AXES,), out_axes=1)(given)
    nuclei, _ = jax.vmap(_nuclei, in_axes=(1, _AXES), out_axes=(1, 0))(z, given)
    hydrogen = nuclei[0]
    neutral = fractions[:, None] * hydrogen / per_neutral
    neutral = neutral.at[_BOUND].set(jnp.exp(z))
    free = jax.vmap(lambda k, z, p: taken(k, z, p, fractions, _BOUND).free, in_axes=1, out_axes=1)(
        given.log_trace, z, given.trace_stages
    )
    neutral = neutral.at[ELEMENTS - 1].set(free * hydrogen)
    n = neutral[:, None] * stages
    rho = hydrogen * (fractions * ATOMIC_WEIGHTS).sum() * ATOMIC_MASS
    molecules = jnp.exp(log_k + _ATOMS @ z)
    return Gas(t, xne, rho, n, n * jnp.exp(-log_u), molecules[0], molecules)


def molecule_densities(gas: Gas) -> Float[Array, "molecule depth"]:
    """Number density of every molecule of `partition.MOLECULES`, cm^-3, from the free neutral atoms."""
    free = jnp.log(gas.n[_BOUND, 0])
    return jnp.exp(log_molecule_constant(gas.t) + _ATOMS @ free)


def trace_densities(gas: Gas) -> Float[Array, "trace depth"]:
    """Number density of every molecule of `trace_molecules.TRACE_MOLECULES`, cm^-3, from the free neutral atoms."""
    free = jnp.log(gas.n[_BOUND, 0])
    log_trace = log_trace_constant(gas.t, gas.xne)
    return gas.n[TRACE_Z - 1, 0] * jnp.exp(log_trace + TRACE_PARTNERS[:, _BOUND] @ free)


def electron_density(gas: Gas) -> Float[Array, " depth"]:
    """Electrons that the ions of the gas have released, cm^-3; equals `gas.xne` where charge is conserved."""
    return gas.n[:, 1].sum(axis=0) + 2 * gas.n[:, 2].sum(axis=0)


def solve_xne(
    t: Float[Array, " depth"], p: Float[Array, " depth"], fractions: Float[Array, "92"]
) -> Float[Array, " depth"]:
    """Electron density (cm^-3) that conserves charge at T (K), gas pressure P (dyn cm^-2) and n(Z)/n(H).

    Bisection in ln n_e with H2 as the only molecule, then Newton with all of them. Derivatives are those of
    the conservation laws. Valid for 2000-60000 K, 1e-3 to 1e8 dyn cm^-2; negative ions are left out.
    """
    frozen = jax.lax.stop_gradient((t, p, fractions))

    def gap(log_ne, t, p, fractions):
        return jnp.log(electron_density(equation_of_state(t, p, jnp.exp(log_ne), fractions))) - log_ne

    def slope(log_ne):
        return jax.jvp(lambda u: gap(u, *frozen), (log_ne,), (jnp.ones_like(log_ne),))

    def step(_, log_ne):
        value, derivative = slope(log_ne)
        # Charge falls and n_e rises with ln n_e: the slope lies between -3 and -1.
        return log_ne - jnp.clip(value / jnp.clip(derivative, -3.0, -1.0), -1.0, 1.0)

    log_ne = jax.lax.fori_loop(0, _CHARGE_STEPS, step, _bracket(*frozen))
    derivative = jax.lax.stop_gradient(slope(log_ne)[1])
    return jnp.exp(log_ne - gap(log_ne, t, p, fractions) / derivative)


def _bracket(t: Array, p: Array, fractions: Array) -> Array:
    """ln n_e where atoms, ions and H2 alone conserve charge, by bisection."""
    log_total = jnp.log(p / (BOLTZMANN * t))
    log_k = log_molecule_constant(t)

    def halve(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        stages, _ = _stages(t, jnp.exp(middle))
        per_neutral = stages.sum(axis=1)
        particles = jnp.exp(log_total) - jnp.exp(middle)
        # trace molecules are left out: any array will do for what only they need
        given = _Layer(log_k, per_neutral[_BOUND], log_k, per_neutral, particles, fractions)
        neutral_h = jnp.exp(jax.vmap(_start, in_axes=(_AXES,), out_axes=1)(given)[0])
        nuclei = neutral_h * per_neutral[0] + 2 * jnp.exp(log_k[0]) * neutral_h**2
        charge = (stages[:, 1] + 2 * stages[:, 2]) / per_neutral * fractions[:, None]
        electrons = nuclei * charge[1:].sum(axis=0) + neutral_h * stages[0, 1]
        more = electrons > jnp.exp(middle)
        return jnp.where(more, middle, low), jnp.where(more, high, middle)

    high = log_total - 1e-6
    low, high = jax.lax.fori_loop(0, _BISECTIONS, halve, (high - 60.0, high))
    return (low + high) / 2
