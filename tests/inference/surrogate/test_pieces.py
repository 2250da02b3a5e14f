"""The parts of a surrogate that need no spectrum model: few points, the Gaussian process, the ranges of labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.emulator.layers import Layers
from astrogf.inference.problem.instrument import Instrument
from astrogf.inference.problem.options import StarOptions
from astrogf.inference.problem.parameters import vmic_relation
from astrogf.inference.surrogate.coarse import Coarse, CoarseInstrument
from astrogf.inference.surrogate.domain import OUTSIDE_HULL, Domain
from astrogf.inference.surrogate.process import Process, fit_process
from astrogf.synthesis.observed.grid import Grid
from astrogf.synthesis.observed.instrument import observe

FINE = Grid(37000, 60, oversampling=24)
SIGMA = 69.0


def lines() -> np.ndarray:
    """A spectrum with sharp lines all over the grid."""
    rng = np.random.default_rng(3)
    point, flux = np.arange(FINE.size), np.ones(FINE.size)
    for at, depth, width in zip(
        rng.uniform(0, FINE.size, 60), rng.uniform(0, 0.4, 60), rng.uniform(1, 4, 60), strict=True
    ):
        flux -= depth * np.exp(-0.5 * ((point - at) / width) ** 2)
    return flux


@pytest.mark.parametrize("rv", [0.0, 37.3, -281.0])
@pytest.mark.parametrize("width", [0.75, 1.0, 1.3])
def test_few_points_are_seen_as_the_whole_spectrum_is(rv: float, width: float) -> None:
    coarse = Coarse.under(FINE, np.log(SIGMA))
    assert coarse.grid.size * coarse.ratio == FINE.size
    assert coarse.ratio >= 4
    flux = jnp.asarray(lines())
    few = coarse.coarsen(flux[:, None])[:, 0]
    place = jnp.array([rv, np.log(width * SIGMA)])
    instrument = CoarseInstrument(jnp.zeros((2, 7)), jnp.ones((FINE.n_pixel, 1)), coarse.sigma0)
    seen = instrument.see(few, place, coarse.grid)
    exact = observe(flux, place[0], jnp.exp(place[1]), FINE)
    assert float(jnp.std(exact)) > 0.01
    np.testing.assert_allclose(seen, exact, atol=3e-5)


def test_widths_of_several_nodes_and_derivatives_by_them_are_those_of_the_whole_spectrum() -> None:
    coarse, flux = Coarse.under(FINE, np.log(SIGMA)), jnp.asarray(lines())
    whole = Instrument.build(StarOptions(lsf_nodes=3, lsf_sd=0.1), FINE.n_pixel)
    few = CoarseInstrument.of(whole, coarse.sigma0)
    place = jnp.array([25.0, *np.log(SIGMA * np.array([0.9, 1.0, 1.1]))])
    exact = jax.jacfwd(lambda at: whole.see(flux, at, FINE))(place)
    mine = jax.jacfwd(lambda at: few.see(coarse.coarsen(flux[:, None])[:, 0], at, coarse.grid))(place)
    np.testing.assert_allclose(mine, exact, atol=2e-3 * float(jnp.abs(exact).max()))


def wave(x: jnp.ndarray) -> jnp.ndarray:
    return jnp.stack([jnp.sin(2.0 * x[0]) * x[1], jnp.exp(-x[0] * x[1]), x[0] ** 2 + 0.1 * x[1]])


@pytest.fixture(scope="module")
def process() -> tuple[Process, np.ndarray]:
    rng = np.random.default_rng(1)
    at = rng.uniform(-1.0, 1.0, (60, 2))
    values, slopes = jax.vmap(wave)(at), jnp.moveaxis(jax.vmap(jax.jacfwd(wave))(at), 1, 2)
    others = rng.uniform(-0.9, 0.9, (40, 2))
    return fit_process(at, np.asarray(values), np.asarray(slopes), np.ones(3)), others


def test_a_process_foretells_values_it_was_not_told(process) -> None:
    fitted, others = process
    told = jax.vmap(fitted)(jnp.asarray(others))
    wrong = np.abs(told[:, 0] - jax.vmap(wave)(others))
    assert np.median(wrong) < 5e-5
    assert wrong.max() < 1e-3


def test_its_derivatives_are_those_of_its_values(process) -> None:
    fitted, others = process
    told = jax.vmap(fitted)(jnp.asarray(others))
    for k in range(2):
        step = 1e-5 * np.eye(2)[k]
        up, down = (jax.vmap(fitted)(jnp.asarray(others + sign * step))[:, 0] for sign in (1, -1))
        np.testing.assert_allclose(told[:, 1 + k], (up - down) / 2e-5, atol=1e-5)


class Nowhere:
    """Model atmospheres above 4500 K only."""

    def margin(self, labels):
        return (labels[0] - 4500.0) / 250.0


def test_stars_are_drawn_where_the_domain_says() -> None:
    domain, atmosphere = Domain.of(StarOptions()), Layers(Nowhere(), jnp.ones(1))  # type: ignore[arg-type]
    drawn = domain.draw(300, atmosphere, seed=1)
    assert drawn.shape == (300, 5)
    assert domain.inside(drawn, atmosphere).all()
    assert drawn[:, 0].min() > 4500.0 + 250.0 * OUTSIDE_HULL
    assert np.abs(drawn[:, 4] - np.asarray(vmic_relation(drawn[:, 0], drawn[:, 1]))).max() <= domain.high[4]
    others = domain.draw(64, atmosphere, seed=2)
    nearest = np.abs(others[:, None] - drawn[None]).sum(2).min(1)
    assert nearest.min() > 0.0
    outside = drawn.copy()
    outside[:, 2] = domain.low[2] - 0.2
    assert not domain.inside(outside, atmosphere).any()
