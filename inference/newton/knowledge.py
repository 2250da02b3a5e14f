"""What the spectra together know of every line that may be freed: one pass, before lines are chosen."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from astrogf.inference.blocks.places import Advance
from astrogf.inference.blocks.shelf import Kept
from astrogf.inference.blocks.work import shares
from astrogf.inference.newton.stars import FitState
from astrogf.inference.problem.devices import in_chunks, spread, star_mesh, summed
from astrogf.inference.problem.linearise import line_information
from astrogf.inference.problem.noise import NoiseModel, as_numpy
from astrogf.inference.problem.parameters import StarPrior
from astrogf.inference.problem.responses import responses
from astrogf.inference.problem.spectra import Noise, Sample, WindowSpectra
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


COPIES = 6
"""Arrays of pixels x candidates of a block that a spectrum takes."""


@eqx.filter_jit
def _chunk(common, rows, n_candidate: int, mesh) -> Float[Array, "block candidate"]:
    def scan_rows(common, rows):
        problem, ln_sigma0, candidates = common

        def one(row):
            data, theta, prior, used, noise, at = row
            found = line_information(problem, data, theta, prior, ln_sigma0, noise, at, candidates, n_candidate)
            finite = jnp.all(jnp.isfinite(found)) & (used > 0.0)
            return jnp.where(finite, found, 0.0), None

        start = jnp.zeros((jax.tree.leaves(candidates)[0].shape[0], n_candidate))
        return summed(one, start, rows, 8.0 * COPIES * problem.spectrum.grid.n_pixel * n_candidate)[0][None]

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
    total, done = sum(len(w.star) for w in sample.windows), [0]

    def advance(more: int) -> None:
        done[0] += more
        progress(done[0], total)

    theta, ln_sigma = np.asarray(run.theta), np.asarray(run.shared[-1])
    prior: StarPrior = jax.tree.map(np.asarray, sample.prior)
    noise = tuple(as_numpy(n) for n in run.noise)
    visits = []
    for part in sample.parts:
        mine = [w.star[rows] for w, rows in zip(sample.windows, part.rows, strict=True)]
        visits.append(
            _Visit(
                part.data,
                tuple(theta[star] for star in mine),
                tuple(StarPrior(*(x[star] for x in prior)) for star in mine),
                tuple(NoiseModel(*(x[rows] for x in n)) for n, rows in zip(noise, part.rows, strict=True)),
            )
        )
    totals = tuple(len(w.star) for w in sample.windows)
    tasks = [_Share(visits[mine], ln_sigma, chunk, totals) for mine in shares(len(visits))]
    common = [(w.problem, mine, *in_blocks(w, mine)) for w, mine in zip(sample.windows, asked, strict=True)]
    found = [np.zeros(len(mine)) for mine in asked]
    for some in sample.work.place.map(_share, common, tasks, advance):
        found = [a + b for a, b in zip(found, some, strict=True)]
    return found


class _Visit(NamedTuple):
    """A block: its data, and window by window the parameters, priors and noise of every row."""

    data: Kept
    theta: tuple[np.ndarray, ...]
    prior: tuple[StarPrior, ...]
    noise: Noise


class _Share(NamedTuple):
    """A task: some blocks, and what is the same for all."""

    visits: list[_Visit]
    ln_sigma: np.ndarray
    chunk: int
    totals: tuple[int, ...]


def _share(common: list, share: _Share, advance: Advance) -> list[Float[np.ndarray, " line"]]:
    """What the spectra of some blocks know of the lines of every window."""
    mesh, found = star_mesh(), [np.zeros(len(asked)) for _, asked, *_ in common]
    for visit in share.visits:
        of_windows = zip(common, visit.data.get(), visit.theta, visit.prior, visit.noise, strict=True)
        for k, ((problem, _, candidates, blocks, size), data, theta, prior, noise) in enumerate(of_windows):
            if len(theta) == 0:
                continue
            local: Any = np.broadcast_to(np.asarray(noise.local), data.flux.shape)
            chunks = in_chunks((data, theta, prior, noise._replace(local=local)), share.chunk, mesh, share.totals[k])
            for (*mine, noises), used, keep in chunks:
                at = responses(problem, mine[1], np.zeros((len(used), problem.n_free)), mesh)
                rows = (*mine, used, noises, at)
                values = np.asarray(_chunk((problem, share.ln_sigma, candidates), rows, size, mesh))
                for block, of_block in zip(blocks, values, strict=True):
                    found[k][block] += of_block[: len(block)]
                advance(keep)
    return found
