"""From the high-resolution spectrum to survey pixels: velocity shift, Gaussian broadening, pixel integration."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf
from jaxtyping import Array, Float, Int

from astrogf.base.constants import C_KMS
from astrogf.synthesis.observed.grid import Grid


def kernel(rv: Float[Array, ""], sigma: Float[Array, ""], grid: Grid) -> tuple[Int[Array, ""], Float[Array, " tap"]]:
    """Whole-point shift and kernel taps that take the rest-frame grid to one observed pixel.

    rv (km/s, positive receding) and sigma (km/s, of the Gaussian line-spread function) are smooth arguments: the
    shift's whole part moves the window, the fractional part moves the taps. A tap is the pixel-integrated Gaussian;
    the taps sum to one.
    """
    step = grid.velocity_step
    shift = jnp.log1p(rv / C_KMS) * C_KMS / step
    whole = jax.lax.stop_gradient(jnp.rint(shift)).astype(int)
    half = grid.taps * grid.oversampling
    # a pixel ends where the pixel as many points on as it is wide begins
    edges = (np.arange(-half, half + 1 + grid.oversampling) - 0.5 * grid.oversampling + shift - whole) * step
    below = erf(edges / (np.sqrt(2.0) * sigma))
    taps = below[grid.oversampling :] - below[: -grid.oversampling]
    return whole, taps / jnp.sum(taps)


def observe(
    flux: Float[Array, " wave"], rv: Float[Array, ""], sigma: Float[Array, ""], grid: Grid
) -> Float[Array, " pixel"]:
    """The spectrum as the survey's pixels see it."""
    whole, taps = kernel(rv, sigma, grid)
    half = grid.taps * grid.oversampling
    length = (grid.n_pixel - 1) * grid.oversampling + 2 * half + 1
    first = grid.pad * grid.oversampling - half - whole
    strip = jax.lax.dynamic_slice_in_dim(flux, jnp.clip(first, 0, grid.size - length), length)
    convolved = jax.lax.conv_general_dilated(
        strip[None, None, :],
        taps[None, None, :],
        (grid.oversampling,),
        "VALID",
        dimension_numbers=("NCH", "OIH", "NCH"),
    )
    return convolved[0, 0]


def rv_limit(grid: Grid) -> float:
    """Largest |rv| (km/s) for which the padded grid still covers every pixel's kernel."""
    return (grid.pad - grid.taps) * grid.oversampling * grid.velocity_step


def observe_windows(
    windows: Float[Array, "line window"],
    start: Int[Array, " line"],
    rv: Float[Array, ""],
    sigma: Float[Array, ""],
    grid: Grid,
) -> tuple[Int[Array, " line"], Float[Array, "line local"]]:
    """What `observe` makes of spectra that vanish outside their windows: first pixel (may lie outside) and values.

    `windows[l]` sits on grid points start[l], start[l]+1, ... Linear, so derivatives of a spectrum with respect to a
    line pass through it.
    """
    whole, taps = kernel(rv, sigma, grid)
    over, width = grid.oversampling, windows.shape[1]
    half = grid.taps * over
    n_local = -(-(width + 2 * half) // over) + 1
    # grid point j contributes to pixel i with tap (j + whole) - (i + pad) * over + half
    base = start + whole - grid.pad * over
    first = (base - half) // over
    if width > taps.shape[0]:
        return first, _strided(windows, taps, base - half - first * over, n_local, over)
    tap = base[:, None, None] + np.arange(width) - (first[:, None] + np.arange(n_local))[:, :, None] * over + half
    return first, jnp.einsum("lpw,lw->lp", _taken(taps, tap), windows)


def observe_tiles(
    tiles: Float[Array, "piece tile"],
    start: Int[Array, " piece"],
    rv: Float[Array, ""],
    sigma: Float[Array, ""],
    grid: Grid,
) -> tuple[Int[Array, " piece"], Float[Array, "piece local"]]:
    """`observe_windows` where every start is a whole number of survey pixels: one matrix does for all."""
    whole, taps = kernel(rv, sigma, grid)
    over, width = grid.oversampling, tiles.shape[1]
    half = grid.taps * over
    n_local = -(-(width + 2 * half) // over) + 1
    first = (start + whole - grid.pad * over - half) // over
    phase = (whole - half) % over
    tap = phase + 2 * half + np.arange(width) - np.arange(n_local)[:, None] * over
    return first, tiles @ _taken(taps, tap).T


def _taken(taps: Float[Array, " tap"], index: Int[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The taps at an index, 0 beyond their ends."""
    valid = (index >= 0) & (index < taps.shape[0])
    return jnp.where(valid, taps[jnp.clip(index, 0, taps.shape[0] - 1)], 0.0)


def _strided(
    windows: Float[Array, "line window"],
    taps: Float[Array, " tap"],
    phase: Int[Array, " line"],
    n_local: int,
    over: int,
) -> Float[Array, "line local"]:
    """Correlation with the taps at every `over`-th point, for windows wider than the kernel.

    `phase` (0 to over - 1) is how far right of its first pixel's kernel a window begins. The cost is the kernel's
    length a pixel, whatever the window's width.
    """
    n_block = -(-taps.shape[0] // over)
    blocks = jnp.pad(taps, (0, n_block * over - taps.shape[0])).reshape(n_block, over)
    left, length = taps.shape[0] - 1, (n_local + n_block) * over
    wide = jnp.pad(windows, ((0, 0), (left + over, max(length - windows.shape[1] - left, 0) + over)))
    shifted = jax.vmap(lambda row, at: jax.lax.dynamic_slice_in_dim(row, at, length))(wide, over - phase)
    cells = shifted.reshape(windows.shape[0], n_local + n_block, over)
    terms = (cells[:, b : b + n_local] @ blocks[b] for b in range(n_block))
    return functools.reduce(jnp.add, terms)
