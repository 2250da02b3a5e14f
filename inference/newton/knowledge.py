"""What the spectra together know of every line that may be freed: one pass, before lines are chosen."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from astrogf.inference.newton.stars import FitState
from astrogf.inference.problem.devices import in_chunks, spread, star_mesh
from astrogf.inference.problem.linearise import line_information
from astrogf.inference.problem.parameters import StarPrior
from astrogf.inference.problem.responses import responses
from astrogf.inference.problem.spectra import Sample, WindowSpectra
from astrogf.synthesis.lines.pieces import Pieces

BLOCK, NUMBERS = 4096, 16_000_000
"""Most lines taken through the instrument at once, and most numbers (pixels x lines) of their derivatives."""


def in_blocks(window: WindowSpectra, asked: Bool[np.ndarray, " line"]) -> tuple[Pieces, list[np.ndarray], int]:
    """The lines asked for in blocks of one shape, stacked; the lines of each block (rows of the window's list); the
    slots of a block."""
    model = window.problem.spectrum
    rows = np.flatnonzero(asked)
    size = min(BLOCK, max(NUMBERS // model.grid.n_pixel, 1), max(len(rows), 1))
    blocks = [rows[i : i + size] for i in range(0, max(len(rows), 1), size)]
    pieces = []
    for block in blocks:
        slot = np.full(model.n_line + 1, size)
        slot[block] = np.arange(len(block))
        pieces.append(model.window.pieces.with_free(slot, size).without_cores())
    return stacked(pieces), blocks, size


def stacked(pieces: list[Pieces]) -> Pieces:
    """Pieces that differ in which lines are free as one, with a leading axis; shorter ones are filled up."""
    n_chunk = [max(p.free_cores[i].start.shape[0] for p in pieces) for i in range(len(pieces[0].free_cores))]
    filled = [
        eqx.tree_at(lambda p: p.free_cores, one, [c.filled(n) for c, n in zip(one.free_cores, n_chunk, strict=True)])
        for one in pieces
    ]
    return jax.tree.map(lambda *x: jnp.stack(x), *filled)


@eqx.filter_jit
def _chunk(common, rows, n_candidate: int, mesh) -> Float[Array, "block candidate"]:
    def scan_rows(common, rows):
        problem, ln_sigma0, candidates = common

        def one(total, row):
            data, theta, prior, used, noise, at = row
            found = line_information(problem, data, theta, prior, ln_sigma0, noise, at, candidates, n_candidate)
            finite = jnp.all(jnp.isfinite(found)) & (used > 0.0)
            return total + jnp.where(finite, found, 0.0), None

        n_block = jax.tree.leaves(candidates)[0].shape[0]
        return jax.lax.scan(one, jnp.zeros((n_block, n_candidate)), rows)[0][None]

    return jnp.sum(spread(scan_rows, common, rows, mesh), axis=0)


def knowledge(
    sample: Sample,
    run: FitState,
    asked: list[Bool[np.ndarray, " line"]],
    *,
    chunk: int = 16,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Float[np.ndarray, " line"]]:
    """Squared signal-to-noise per dex of log gf of the lines `asked` for in every window, each line alone.

    Own parameters and continuum of every spectrum are marginalised; 0 for other lines. A spectrum whose model is not
    finite tells nothing.
    """
    mesh, total, done = star_mesh(), sum(len(w.star) for w in sample.windows), 0
    found = []
    for window, noise, mine in zip(sample.windows, run.noise, asked, strict=True):
        candidates, blocks, size = in_blocks(window, mine)
        rows = window.data, run.theta[window.star], StarPrior(*(x[window.star] for x in sample.prior)), noise
        common, known = (window.problem, np.asarray(run.shared[-1]), candidates), np.zeros(mine.shape[0])
        for (data, theta, prior, noises), used, keep in in_chunks(rows, chunk, mesh):
            at = responses(window.problem, theta, np.zeros((len(theta), window.problem.n_free)), mesh)
            values = np.asarray(_chunk(common, (data, theta, prior, used, noises, at), size, mesh))
            for block, of_block in zip(blocks, values, strict=True):
                known[block] += of_block[: len(block)]
            done += keep
            progress(done, total)
        found.append(known)
    return found
