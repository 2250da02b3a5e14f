"""Stars with abundances of their own: spectra, derivatives and fits of a surrogate against the exact problem."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.inference.newton.stars import FitState, fit_stars
from astrogf.inference.problem.parameters import STAR, steps
from astrogf.inference.problem.spectra import quiet
from astrogf.inference.rehearsal.small import OPTIONS
from astrogf.inference.surrogate.abundances import REACH, Abundances, coefficients, fit_abundances, powers, steps_of
from astrogf.inference.surrogate.compositions import by_composition
from astrogf.inference.surrogate.label import as_stars, far_from_solar
from astrogf.inference.surrogate.model import as_arrays, from_arrays, in_place_of
from astrogf.inference.surrogate.search import best_places, places
from astrogf.inference.surrogate.stars import fit_batches
from tests.builders.made_surrogate import N_LINE, N_STAR, Made, made_surrogate

ELEMENTS = ("Mg", "Ti", "Cr")
OWN = slice(len(STAR), len(STAR) + len(ELEMENTS))
SMALL = OPTIONS.changed(stars={"teff_range": (4600.0, 6200.0), "abundances": ELEMENTS, "abundance_sd": 0.15})
MG_B = 37130


@pytest.fixture(scope="module")
def made() -> Made:
    return made_surrogate(SMALL, 160, first_pixel=MG_B)


def test_spectra_at_abundances_it_was_not_made_from(made: Made) -> None:
    assert np.std(made.trial.parameters[:, 5:]) > 0.5 * SMALL.stars.abundance_sd
    # without second derivatives 6.6e-4, and 8% of what magnesium does; without first ones 1e-2
    assert np.median(made.trial.flux) < 5e-4
    assert np.median(made.trial.slopes, axis=0).max() < 0.15
    assert np.median(made.trial.slopes[:, 5]) < 0.05


def test_derivatives_are_those_of_its_spectra(made: Made) -> None:
    """At abundances that are not 0, one of them beyond its reach, and labels within and beyond the range."""
    labels = made.domain.draw(1, made.surrogate.atmosphere, seed=9)[0]
    farthest = REACH * float(made.surrogate.abundances.step.max())
    own = np.array([0.15, -0.1, 1.2 * farthest])
    beyond = np.asarray(made.surrogate.high) + np.array([60.0, 0.1, 0.1, 0.05, 0.1])
    for at in (labels, beyond):
        at = jnp.asarray(np.append(at, own))
        slopes = made.surrogate.responding(at, jnp.zeros(0)).by_parameter
        for k, step in enumerate((1.0, *np.full(7, 1e-3))):
            move = step * jnp.eye(8)[k]
            up, down = (made.surrogate.normalised(at + sign * move, jnp.zeros(0)) for sign in (1, -1))
            numeric = (up - down) / (2.0 * step)
            np.testing.assert_allclose(slopes[:, k], numeric, atol=1e-3 * float(jnp.abs(numeric).max()))


def test_labels_and_abundances_are_those_of_the_exact_fit(made: Made) -> None:
    """Begun by the search, without abundances, against the exact model begun at the truth."""
    exact, ln_sigma = made.sample(made.problem), float(made.shared[-1])
    start = FitState(jnp.asarray(made.theta), jnp.asarray(made.shared), quiet(exact))
    run, passed = fit_stars(exact, start, SMALL, free=False, iterations=10, tolerance=0.02)

    problem = in_place_of(made.problem, made.surrogate, made.coarse)
    theta = np.zeros(made.theta.shape)
    theta[:, : len(STAR)] = best_places(places(problem, made.domain, ln_sigma), made.data)
    sample = made.sample(problem)
    found = fit_batches([problem], ln_sigma, as_stars(sample, quiet(sample), theta, np.arange(N_STAR)), batch=4)

    assert found.converged.all()
    z = np.abs(found.theta - np.asarray(run.theta)) / found.sd
    # without second derivatives 0.04 and 0.26
    assert np.median(z) < 0.03
    assert np.percentile(z, 95) < 0.15
    # a star at the wall of the emulator's hull has another error on either side of it
    ratio = found.sd / (np.asarray(passed.own_sd) * steps(10))
    np.testing.assert_allclose(np.median(ratio, axis=0), 1.0, rtol=0.02)
    # the spectra know of them
    assert np.min(np.median(found.sd[:, OWN], axis=0)) < 0.7 * SMALL.stars.abundance_sd
    assert not far_from_solar(problem, found.theta).any()
    assert far_from_solar(problem, found.theta + 1.2).all()


def test_kept_as_arrays_it_is_the_same(made: Made) -> None:
    again = from_arrays(as_arrays(made.surrogate), made.surrogate.atmosphere, made.surrogate.grid)
    labels = made.surrogate.low * 0.4 + made.surrogate.high * 0.6
    at = jnp.append(labels, jnp.array([0.1, -0.2, 0.05]))
    np.testing.assert_array_equal(again.both(at)[1], made.surrogate.both(at)[1])
    assert jnp.abs(again.both(at)[0] - again.both(jnp.append(labels, jnp.zeros(3)))[0]).max() > 1e-3


def test_a_molecule_of_two_elements_has_a_shift_of_its_own(made: Made) -> None:
    kinds = np.array([[1.0, 0.0], [1.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    membership = jnp.asarray(kinds[np.arange(made.problem.n_slot) % 4])
    problem, none = replace(made.problem, membership=membership), jnp.zeros(N_LINE)
    split, atoms = by_composition(problem)
    assert sorted(map(tuple, atoms)) == [(1.0, 0.0), (1.0, 1.0), (2.0, 0.0)]
    own = np.array([0.2, -0.05])
    together, apart = (jnp.asarray(np.append(np.zeros(len(STAR)), x)) for x in (own, atoms @ own))
    np.testing.assert_allclose(split.by_slot(apart, none), problem.by_slot(together, none), atol=1e-12)


def test_a_parabola_is_what_its_derivatives_at_two_places_say() -> None:
    rng = np.random.default_rng(2)
    place, u = rng.uniform(-1.0, 1.0, (40, 2)), np.array([0.7, -1.1])
    atoms = np.array([[1.0, 0.0], [1.0, 1.0]])
    step = steps_of(atoms, 0.1)
    np.testing.assert_allclose(step, [0.1, 0.1 * np.sqrt(2.0)])
    amplitude = np.stack([np.ones(40), place[:, 0], np.sin(place[:, 1])], 1)
    shape = amplitude @ rng.normal(size=(3, 8))
    terms = shape.reshape(40, 2, 1, 4) * np.array([1.0, 0.3])[:, None]

    def slope(at: float) -> np.ndarray:
        return (terms[:, :, 0] + 2.0 * at * terms[:, :, 1]) / step[:, None]

    told = coefficients(step, slope(0.0), slope(1.0))
    np.testing.assert_allclose(told, terms, atol=1e-12)
    fitted = fit_abundances(place, told, atoms, step)
    assert isinstance(fitted, Abundances)
    own = np.array([u[0] * step[0], u[1] * step[1] - u[0] * step[0]])
    change = fitted(jnp.asarray(place[3]), jnp.zeros(2), jnp.asarray(own))
    np.testing.assert_allclose(change.flux, np.einsum("qop,qo->p", terms[3], powers(jnp.asarray(u))[0]), atol=2e-3)
    assert fit_abundances(place, 1e-6 * told, atoms, step) is None


def test_powers_go_on_along_straight_lines() -> None:
    u = jnp.array([-REACH - 1.0, 0.5, REACH + 2.0])
    value, slope = powers(u)
    edge, at_edge = powers(jnp.clip(u, -REACH, REACH))
    np.testing.assert_allclose(value, edge + (u - jnp.clip(u, -REACH, REACH))[:, None] * at_edge)
    np.testing.assert_allclose(slope, jnp.diagonal(jax.jacfwd(powers)(u)[0], 0, 0, 2).T)
