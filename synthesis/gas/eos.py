"""Equation of state: ionisation to the second ion, molecules, density; electron density from (T, P).

`equation_of_state` takes the electron density as given (the structure's), `solve_xne` finds the one that
conserves charge. Unknowns are the logarithms of the free neutral atoms of hydrogen and of every element that
molecules bind; the equations are logarithms of conservation laws, solved together by damped Newton steps.
Elements that only trace molecules bind (`trace_molecules`) are eliminated in closed form. A last step taken from
the converged, derivative-free solution carries the implicit derivative. The derivative of the laws is written out
(`_newton_step`): left to JAX it would be several times the program.
"""

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
from astrogf.synthesis.gas.trace_molecules import (
    ELEMENTS,
    TRACE_PARTNERS,
    TRACE_Z,
    Taken,
    log_trace_constant,
    taken,
)

_BOUND = np.flatnonzero(MOLECULE_ATOMS.sum(axis=0) > 0)
"""Indices (z - 1) of the elements that molecules bind; hydrogen is the first."""
_N_BOUND = len(_BOUND)
_ATOMS = MOLECULE_ATOMS[:, _BOUND]
_ATOM_PAIRS = (_ATOMS[:, :, None] * _ATOMS[:, None, :]).reshape(len(_ATOMS), -1)
_OTHERS = (np.arange(_N_BOUND) > 0).astype(float)
_WHERE = np.arange(92)
_WHERE[_BOUND] = 92 + np.arange(_N_BOUND)
_WHERE[ELEMENTS - 1] = 92 + _N_BOUND + np.arange(len(ELEMENTS))
"""Where each element's neutral atoms are: among the unbound, the bound, or those of trace molecules."""
_STEPS, _RELAXATIONS = 9, 24
_TRACE_STEPS = 3
"""Last Newton steps, with trace molecules: these change the others by 1% at most, and errors are squared each step."""
_BISECTIONS, _CHARGE_STEPS = 40, 4
_LARGEST_STEP = 3.0
_NOTHING = 1e4
"""Taken from a logarithm, leaves nothing."""
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


class _Layers(NamedTuple):
    """What the equilibrium is given, layers first; `stages` is n(element)/n(neutral) of the bound elements.

    `log_trace` [depth, trace molecule] and `trace_stages` [depth, element] are None without trace molecules.
    """

    log_k: Float[Array, "depth molecule"]
    stages: Float[Array, "depth bound"]
    log_trace: Any
    trace_stages: Any
    particles: Float[Array, " depth"]
    fractions: Float[Array, "92"]


class _Held(NamedTuple):
    """What free neutral atoms exp(z) make: free atoms and ions, molecules, and nuclei of every bound element.

    `nuclei` has those in trace molecules, which `plain` has not; `trace` is None where there are none.
    """

    free: Float[Array, "depth bound"]
    molecules: Float[Array, "depth molecule"]
    plain: Float[Array, "depth bound"]
    nuclei: Float[Array, "depth bound"]
    trace: Taken | None


def _held(z: Array, given: _Layers) -> _Held:
    molecules = jnp.exp(given.log_k + z @ _ATOMS.T)
    free = jnp.exp(z) * given.stages
    plain = free + molecules @ _ATOMS
    if given.log_trace is None:
        return _Held(free, molecules, plain, plain, None)
    trace = taken(given.log_trace, z, given.trace_stages, given.fractions, _BOUND)
    # What trace molecules hold is counted per nucleus of hydrogen, their own hydrogen included.
    nuclei = plain + trace.partners * (plain[:, :1] / (1 - trace.partners[:, :1]))
    return _Held(free, molecules, plain, nuclei, trace)


def _unbound(fractions: Array) -> Array:
    return fractions.sum() - fractions[_BOUND].sum()


def _particles(held: _Held, fractions: Array) -> Array:
    """Particles but electrons. A trace molecule counts as the one atom of the trace element that it holds."""
    return _unbound(fractions) * held.nuclei[:, 0] + held.free.sum(-1) + held.molecules.sum(-1)


def _balance(held: _Held, given: _Layers) -> Array:
    """Logarithmic residuals: particles, then nuclei of elements relative to hydrogen."""
    number = jnp.log(_particles(held, given.fractions) / given.particles)
    log_nuclei = jnp.log(held.nuclei)
    share = log_nuclei[:, 1:] - log_nuclei[:, :1] - jnp.log(given.fractions[_BOUND[1:]] + _FLOOR)
    return jnp.concatenate([number[:, None], share], axis=1)


def _newton_step(held: _Held, given: _Layers, residual: Array) -> Array:
    """The change of z that takes the logarithmic `residual` away to first order; linear in it.

    With N the nuclei, T what trace molecules hold per nucleus of hydrogen, and N' = N - T N(H) those outside them,
    dN - T dN(H) = M dz with a symmetric, positive M. The wanted ratios to hydrogen leave one unknown,
    s = d ln N(H): M dz = s N' - N residual, and the number of particles gives s.
    """
    curvature = (held.molecules @ _ATOM_PAIRS).reshape(-1, _N_BOUND, _N_BOUND)
    curvature = curvature + held.free[:, :, None] * jnp.eye(_N_BOUND)
    if held.trace is not None:
        per_hydrogen = held.plain[:, 0] / (1 - held.trace.partners[:, 0])
        curvature = curvature + per_hydrogen[:, None, None] * held.trace.curvature
    scale = jax.lax.rsqrt(jnp.diagonal(curvature, 0, 1, 2))
    # to rounding the identity is on the safe side of semi-definite
    unit = curvature * scale[:, :, None] * scale[:, None, :] + 4e-15 * jnp.eye(_N_BOUND)
    lower = jax.lax.linalg.cholesky(unit, symmetrize_input=False)
    wanted = held.nuclei * residual * _OTHERS
    sides = jnp.stack([held.plain, wanted], axis=-1) * scale[:, :, None]
    half = jax.lax.linalg.triangular_solve(lower, sides, left_side=True, lower=True)
    both = jax.lax.linalg.triangular_solve(lower, half, left_side=True, lower=True, transpose_a=True)
    per_s, fixed = jnp.moveaxis(both * scale[:, :, None], -1, 0)
    row = held.free + held.molecules @ _ATOMS
    hydrogen = _unbound(given.fractions) * held.nuclei[:, 0]
    missing = jnp.sum(row * fixed, axis=1) - _particles(held, given.fractions) * residual[:, 0]
    s = missing / (hydrogen + jnp.sum(row * per_s, axis=1))
    return s[:, None] * per_s - fixed


def _start(given: _Layers) -> Array:
    """Free atoms with H2 as the only molecule (closed form)."""
    log_k, stages, fractions, particles = given.log_k[:, 0], given.stages, given.fractions, given.particles
    a, b = jnp.exp(log_k) * (2 * fractions.sum() - 1), fractions.sum() * stages[:, 0]
    hydrogen = 2 * particles / (b + jnp.sqrt(b**2 + 4 * a * particles))
    nuclei = hydrogen * stages[:, 0] + 2 * jnp.exp(log_k) * hydrogen**2
    others = jnp.log(fractions[_BOUND[1:]] + _FLOOR) + jnp.log(nuclei)[:, None] - jnp.log(stages[:, 1:])
    return jnp.concatenate([jnp.log(hydrogen)[:, None], others], axis=1)


def _relax(z: Array, given: _Layers) -> Array:
    """From all-free atoms towards the solution: an element gives half its excess of nuclei back.

    All-free atoms overbook the molecules of cool gas by many orders; Newton from there would not arrive.
    """
    hydrogen = jnp.log(jnp.exp(z[:, 0]) * given.stages[:, 0] + 2 * jnp.exp(given.log_k[:, 0] + 2 * z[:, 0]))

    def give(_, z):
        held = _held(z, given)
        # Residuals of the elements are relative to hydrogen as it stands: hold them to its first guess.
        drift = jnp.log(held.nuclei[:, 0]) - hydrogen
        return z - 0.5 * (_balance(held, given) + drift[:, None] * _OTHERS)

    return jax.lax.fori_loop(0, _RELAXATIONS, give, z)


def _equilibrium(given: _Layers) -> Array:
    """z, the logarithms of the free neutral atoms; first derivatives with respect to what is given are exact."""
    frozen = jax.lax.stop_gradient(given)
    plain = frozen._replace(log_trace=None, trace_stages=None)

    def step(k, z):
        # of trace molecules nothing until the others are nearly there
        held = _held(z, frozen._replace(log_trace=frozen.log_trace - jnp.where(k < _STEPS, _NOTHING, 0.0)))
        change = _newton_step(held, frozen, _balance(held, frozen))
        return z + jnp.clip(change, -_LARGEST_STEP, _LARGEST_STEP)

    z = jax.lax.fori_loop(0, _STEPS + _TRACE_STEPS, step, _relax(_start(plain), plain))
    return z + _newton_step(jax.lax.stop_gradient(_held(z, frozen)), frozen, _balance(_held(z, given), given))


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

    given = _Layers(
        log_k.T, per_neutral[_BOUND].T, log_trace_constant(t, xne).T, per_neutral[ELEMENTS - 1].T, particles, fractions
    )
    z = _equilibrium(given)
    held = _held(z, given)
    assert held.trace is not None
    hydrogen = held.nuclei[:, 0]
    unbound = fractions[:, None] * hydrogen / per_neutral
    neutral = jnp.concatenate([unbound, jnp.exp(z).T, held.trace.free.T * hydrogen])[_WHERE]
    n = neutral[:, None] * stages
    rho = hydrogen * (fractions * ATOMIC_WEIGHTS).sum() * ATOMIC_MASS
    molecules = held.molecules.T
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
        given = _Layers(log_k.T, per_neutral[_BOUND].T, None, None, particles, fractions)
        neutral_h = jnp.exp(_start(given)[:, 0])
        nuclei = neutral_h * per_neutral[0] + 2 * jnp.exp(log_k[0]) * neutral_h**2
        charge = (stages[:, 1] + 2 * stages[:, 2]) / per_neutral * fractions[:, None]
        electrons = nuclei * charge[1:].sum(axis=0) + neutral_h * stages[0, 1]
        more = electrons > jnp.exp(middle)
        return jnp.where(more, middle, low), jnp.where(more, high, middle)

    high = log_total - 1e-6
    low, high = jax.lax.fori_loop(0, _BISECTIONS, halve, (high - 60.0, high))
    return (low + high) / 2
