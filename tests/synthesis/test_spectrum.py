"""The user's spectrum: derivatives against finite differences, corners, options, and what it refuses.

Finite differences are of our own code; outside yardsticks of the same spectra are in tests/test_reference.py.
"""

from itertools import islice

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import astrogf
from astrogf.base.air import air_to_vacuum
from astrogf.synthesis.gas.abundances import SOLAR, SYMBOLS
from astrogf.synthesis.lines.shipped import load_all_lines, load_atomic_lines
from astrogf.synthesis.observed.broadening import broaden
from astrogf.synthesis.synthesize import emulated, prepare, synthesize

STARS = {
    "sun": (5777.0, 4.44, 0.0, 0.0),
    "giant": (4500.0, 1.5, -0.5, 0.0),
    "F": (6500.0, 4.0, 0.0, 0.0),
    "K": (4500.0, 4.5, 0.0, 0.0),
    "poor": (5750.0, 4.5, -2.0, 0.4),
    "cool": (4000.0, 1.5, 0.0, 0.0),
}
WINDOW = np.arange(5167.0, 5176.0, 0.02)  # vacuum: Mg b1, b2 and iron
BATCH = 10
STEP = {"teff": 0.5, "logg": 5e-4, "feh": 5e-4, "alpha": 5e-4, "vmic": 5e-4}


def quick(*names):
    """All stars as parameters, those not named marked slow."""
    return [pytest.param(s, marks=() if s in names else pytest.mark.slow) for s in STARS]


@pytest.fixture(scope="module")
def prepared():
    """One window that holds for all the stars, with room for a correction to every line."""
    lines = load_atomic_lines(WINDOW[0] - 10.0, WINDOW[-1] + 10.0)
    return prepare(list(STARS.values()), lines, WINDOW, vmic=1.5, free=True)


@eqx.filter_jit
def normalised(synthesis, labels, vmic, xfe, delta):
    return synthesis(tuple(labels), vmic=vmic, abundances=xfe, corrections=delta).normalised


@eqx.filter_jit
def forward(synthesis, labels, vmic, xfe, delta, tangents):
    """Directional derivatives along each of the stacked tangents (labels, vmic, xfe, delta)."""

    def one(tangent):
        return jax.jvp(lambda *a: normalised(synthesis, *a), (labels, vmic, xfe, delta), tangent)[1]

    return jax.vmap(one)(tangents)


def differences(prepared, star, moves):
    """Central differences of the normalised flux along (labels, vmic, xfe, delta) steps, fourth order."""
    base = jnp.asarray(STARS[star]), jnp.asarray(1.5), jnp.zeros(92), jnp.zeros(prepared.window.n_free)

    def at(move, h):
        return np.asarray(normalised(prepared, *(b + h * m for b, m in zip(base, move, strict=True))))

    return [(8 * (at(m, 1) - at(m, -1)) - (at(m, 2) - at(m, -2))) / 12 for m in moves]


def unit(prepared, **moved):
    """One step: labels by name, element symbols, or line=(index, size)."""
    labels, vmic, xfe, delta = np.zeros(4), np.zeros(()), np.zeros(92), np.zeros(prepared.window.n_free)
    for name, size in moved.items():
        if name == "vmic":
            vmic = np.asarray(size)
        elif name in SYMBOLS:
            xfe[SYMBOLS.index(name)] = size
        elif name == "line":
            delta[size[0]] = size[1]
        else:
            labels[["teff", "logg", "feh", "alpha"].index(name)] = size
    return tuple(jnp.asarray(x) for x in (labels, vmic, xfe, delta))


def batched(items, size):
    """Lists of `size` items (itertools.batched is Python 3.12's)."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def agree(prepared, star, moves, least=1e-7):
    """Forward derivatives equal differences to 1e-4 of the peak of each."""
    base = jnp.asarray(STARS[star]), jnp.asarray(1.5), jnp.zeros(92), jnp.zeros(prepared.window.n_free)
    spare = [moves[0]] * (-len(moves) % BATCH)  # one shape, one compilation
    stacked = [tuple(jnp.stack(x) for x in zip(*batch, strict=True)) for batch in batched([*moves, *spare], BATCH)]
    ours = np.concatenate([np.asarray(forward(prepared, *base, batch)) for batch in stacked])[: len(moves)]
    for i, (a, b) in enumerate(zip(ours, differences(prepared, star, moves), strict=True)):
        assert np.isfinite(a).all()
        # what hardly acts on the window is lost in the rounding of the difference
        np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max() + 1e-4 * least, err_msg=f"{star}, move {i}")


@pytest.mark.parametrize("star", quick("sun", "cool"))
def test_labels_and_vmic(prepared, star):
    agree(prepared, star, [unit(prepared, **{name: size}) for name, size in STEP.items()])


@pytest.mark.parametrize("star", quick("giant"))
def test_every_abundance(prepared, star):
    elements = [s for z, s in enumerate(SYMBOLS) if SOLAR["asplund2009"][z] > 0 and s != "H"]
    agree(prepared, star, [unit(prepared, **{s: 1e-3}) for s in elements], least=1e-5)


@pytest.mark.parametrize("star", quick("sun"))
def test_fifty_random_lines(prepared, star):
    free = np.unique(np.concatenate([np.asarray(c.lines.free).ravel() for c in prepared.window.pieces.cores]))
    picked = np.random.default_rng(11).choice(free[free < prepared.window.n_free], 50, replace=False)
    agree(prepared, star, [unit(prepared, line=(int(i), 2e-3)) for i in picked])


def test_all_ways_to_a_derivative_agree(prepared):
    """Forward mode, reverse mode and the analytic response give one Jacobian."""
    labels, delta = jnp.asarray(STARS["sun"]), jnp.full(prepared.window.n_free, 0.05)
    names = dict(zip(("teff", "logg", "feh", "alpha", "vmic"), (*STARS["sun"], 1.5), strict=True))
    made = prepared.linearised(names, corrections=delta)
    weight = jnp.cos(jnp.arange(len(WINDOW)) / 7.0)

    @eqx.filter_jit
    def gradient(synthesis, labels, vmic, delta):
        return jax.grad(lambda *a: jnp.sum(weight * normalised(synthesis, *a[:2], jnp.zeros(92), a[2])), (0, 1, 2))(
            labels, vmic, delta
        )

    by_labels, by_vmic, by_delta = gradient(prepared, labels, jnp.asarray(1.5), delta)
    np.testing.assert_allclose(weight @ made.by_parameter, [*by_labels, by_vmic], rtol=2e-5, atol=1e-9)
    summed = np.zeros(prepared.window.n_free + 1)
    padded = np.pad(np.asarray(weight), (0, 4096))
    for part in made.by_line:
        reach = np.asarray(part.start)[:, None] + np.arange(part.slope.shape[1])
        np.add.at(summed, np.asarray(part.free), np.sum(padded[reach] * np.asarray(part.slope), axis=1))
    np.testing.assert_allclose(summed[:-1], by_delta, atol=1e-7 * np.abs(by_delta).max())


def random_draws(prepared, n, seed):
    """Values and gradients at labels all over the emulator's domain, corrections within 3 dex, vsini and vmic to 0."""
    random = np.random.default_rng(seed)
    weight = jnp.ones(len(WINDOW))

    @eqx.filter_jit
    def one(synthesis, labels, vmic, delta, vsini):
        def seen(labels, vmic, delta, vsini):
            flux = normalised(synthesis, labels, vmic, jnp.zeros(92), delta)
            return jnp.sum(weight * broaden(flux, 1.16, vsini=vsini))

        return jax.value_and_grad(seen, (0, 1, 2, 3))(labels, vmic, delta, vsini)

    hull = emulated().emulator
    low, high = np.array([3500.0, 0.0, -2.5, 0.0]), np.array([8000.0, 5.0, 0.5, 0.4])
    bad, inside = [], 0
    while inside < n:
        labels = random.uniform(low, high)
        if float(hull.margin(jnp.asarray(labels))) < 0:
            continue
        inside += 1
        vmic = 0.1 if inside % 3 == 0 else random.uniform(0.1, 4.0)
        vsini = 0.0 if inside % 2 == 0 else random.uniform(0.0, 50.0)
        delta = random.choice([-3.0, 0.0, 3.0]) + random.uniform(-0.5, 0.5, prepared.window.n_free)
        delta = np.clip(delta, -3.0, 3.0)
        out = one(prepared, jnp.asarray(labels), jnp.asarray(vmic), jnp.asarray(delta), jnp.asarray(vsini))
        if not all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(out)):
            bad.append((labels, vmic, vsini))
    return bad


def test_random_draws_are_finite(prepared):
    assert random_draws(prepared, 60, seed=1) == []


@pytest.mark.slow
def test_two_thousand_random_draws_are_finite(prepared):
    assert random_draws(prepared, 2000, seed=2) == []


@pytest.mark.slow
def test_reverse_mode_keeps_little():
    """Temporaries of the gradient by labels and all lines: no more than a few arrays (wave, depth)."""

    def total(labels, delta, synthesis):
        return jnp.sum(normalised(synthesis, labels, jnp.asarray(1.5), jnp.zeros(92), delta))

    labels = jnp.asarray(STARS["sun"])
    wide = np.linspace(5100.0, 5240.0, 7001)
    lines = load_atomic_lines(5095.0, 5245.0)
    synthesis = prepare(STARS["sun"], lines, wide, free=True)
    delta = jnp.zeros(len(lines))
    compiled = eqx.filter_jit(jax.grad(total, (0, 1))).lower(labels, delta, synthesis).compile()
    profiles = sum(c.start.size * c.width for c in synthesis.window.pieces.cores) * 80 * 8  # bytes of every line's own
    assert compiled.compiled.memory_analysis().temp_size_in_bytes < 0.3 * profiles


def test_options_do_what_they_say():
    lines = load_all_lines(5160.0, 5185.0)
    given = {"step": 0.05, "vmic": 1.0}
    sun = synthesize(STARS["sun"], lines, 5165.0, 5175.0, **given)
    assert sun.flux.shape == sun.wavelength.shape == (201,)
    air = synthesize(STARS["sun"], lines, 5165.0, 5175.0, medium="air", **given)
    # 1.44 A apart at 5170 A (Morton 2000); the same spectrum on its own wavelengths
    vacuum = air_to_vacuum(np.asarray(air.wavelength))
    np.testing.assert_allclose(vacuum - np.asarray(air.wavelength), 1.439, atol=0.003)
    ours, theirs = np.asarray(sun.normalised), np.asarray(air.normalised)
    right, wrong = (
        np.median(np.abs(np.interp(w, np.asarray(sun.wavelength), ours) - theirs)[:-40])
        for w in (vacuum, np.asarray(air.wavelength))
    )
    assert right < 0.1 * wrong  # what is left is the interpolation
    broad = synthesize(STARS["sun"], lines, 5165.0, 5175.0, resolution=30_000, vsini=2.0, vmacro=3.0, **given)
    assert broad.normalised.min() > sun.normalised.min()
    np.testing.assert_allclose(
        np.trapezoid(1 - broad.normalised, dx=0.05), np.trapezoid(1 - sun.normalised, dx=0.05), rtol=0.05
    )
    moved = synthesize(STARS["sun"], lines, 5165.0, 5175.0, corrections=np.full(len(lines), 0.3), **given)
    assert moved.normalised.mean() < sun.normalised.mean()
    rich = synthesize(STARS["sun"], lines, 5165.0, 5175.0, abundances={"Mg": 0.3}, **given)
    assert rich.normalised.min() < 1.0
    assert float(jnp.mean(rich.normalised)) < float(jnp.mean(sun.normalised))
    new = synthesize(STARS["sun"], lines, 5165.0, 5175.0, solar="asplund2021", **given)
    assert new.solar == "asplund2021"
    assert float(jnp.abs(new.normalised - sun.normalised).max()) > 1e-3
    # iron is 0.05 dex less there (7.45 and 7.50), as if all its lines were weaker by that
    less = {s: float(np.log10(SOLAR["grevesse2007"][z] / SOLAR["asplund2009"][z])) for z, s in enumerate(SYMBOLS[:30])}
    assert less["Fe"] == pytest.approx(-0.05, abs=1e-9)
    assert less["Ti"] == pytest.approx(-0.05, abs=1e-9)
    iron = lines.take(lines.z == 26)
    there = synthesize(STARS["sun"], iron, 5165.0, 5175.0, solar="grevesse2007", **given)
    here = synthesize(STARS["sun"], iron, 5165.0, 5175.0, corrections=np.full(len(iron), -0.05), **given)
    np.testing.assert_allclose(there.normalised, here.normalised, atol=4e-3)
    layered = synthesize(STARS["sun"], lines, 5165.0, 5175.0, step=0.05, vmic=np.full(80, 1.0))
    np.testing.assert_allclose(layered.flux, sun.flux, rtol=1e-10)


def test_intensities_make_the_flux():
    """Gauss quadrature of I(mu) mu over the disc is the flux (Gray 2005, eq. 5.1)."""
    x, w = np.polynomial.legendre.leggauss(6)
    mu, weight = (x + 1) / 2, w / 2
    lines = load_atomic_lines(5160.0, 5185.0)
    rays = synthesize(STARS["sun"], lines, 5168.0, 5170.0, step=0.05, mu=list(mu))
    disc = synthesize(STARS["sun"], lines, 5168.0, 5170.0, step=0.05)
    np.testing.assert_allclose(2 * np.pi * np.asarray(rays.flux) @ (weight * mu), disc.flux, rtol=2e-4)


def test_scattering_and_shells_in_a_giant():
    lines = load_atomic_lines(5160.0, 5185.0)
    plane = synthesize(STARS["cool"], lines, 5168.0, 5170.0, step=0.05)
    for option in ({"scattering": True}, {"spherical": True}, {"electrons": "solve"}):
        other = synthesize(STARS["cool"], lines, 5168.0, 5170.0, step=0.05, **option)
        change = np.abs(np.asarray(other.normalised - plane.normalised)).max()
        assert 1e-5 < change < 0.03, option


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"start": 5200.0}, "0 < start < stop"),
        ({"medium": "water"}, "'vacuum' or 'air'"),
        ({"abundances": {"Xx": 0.1}}, "no element's symbol"),
        ({"solar": "copernicus"}, "expected one of"),
        ({"vmic": np.ones(7)}, "one number, or one a layer"),
        ({"corrections": np.zeros(3)}, "one for every line"),
        ({"mu": [0.5], "vsini": 3.0}, "intensities are for planes"),
        ({"atmosphere": (5777.0, 4.4)}, "expected four"),
    ],
)
def test_what_makes_no_sense_is_said(arguments, sentence):
    lines = load_atomic_lines(5160.0, 5185.0)
    given = {"atmosphere": STARS["sun"], "lines": lines, "start": 5168.0, "stop": 5169.0, "step": 0.05} | arguments
    with pytest.raises(ValueError, match=sentence):
        synthesize(**given)


def test_public_names():
    for name in astrogf.__all__:
        assert getattr(astrogf, name) is not None
    with pytest.raises(AttributeError, match="public are"):
        _ = astrogf.nothing
