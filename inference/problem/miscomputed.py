"""The check for miscomputed products; to be dropped, with `RowTerms.mismatch`, when a jax that is right is required.

With two CPU devices and as many threads, jaxlib 0.10.2 loses pixels from the large products of a pass
(docs/how-to/problems.md, 'When the runtime is wrong'). A posterior from wrong products looks like any other.
"""

import warnings
from collections.abc import Callable
from typing import Protocol

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxlib import __version__ as jaxlib_version
from jaxtyping import Array, Float

from astrogf.base.errors import AstrogfError
from astrogf.inference.problem.contribution import Contribution
from astrogf.inference.problem.devices import star_mesh
from astrogf.inference.problem.tiles import LineColumns

TOLERANCE = 1e-6
"""A larger `mismatch` is no rounding: that is 1e-13."""


class MiscomputedError(AstrogfError, ArithmeticError):
    """The linear algebra of this machine contradicts itself."""

    reason = "miscomputed"


class Products(Protocol):
    """Normal equations in which the continuum is eliminated, the lines' own block in tiles (`linearise.Blocks`)."""

    @property
    def own(self) -> Float[Array, "own own"]: ...
    @property
    def cross(self) -> Float[Array, "own free"]: ...
    @property
    def lines(self) -> Float[Array, "tile member member"]: ...
    @property
    def taken(self) -> Float[Array, "basis free"]: ...


def mismatch(
    own: Float[Array, "pixel own"],
    lines: LineColumns,
    smooth: Float[Array, "pixel basis"],
    weights: Float[Array, " pixel"],
    smooth_block: Float[Array, "basis basis"],
    blocks: Products,
) -> Float[Array, ""]:
    """How far u'Bu is from what the columns give for it without their products, relative, for one vector u of signs.

    B: the blocks of the star's own parameters and of the corrections before anything but the continuum is eliminated.
    """
    n_own = own.shape[1]
    signs = jnp.asarray(np.random.default_rng(0).choice([-1.0, 1.0], n_own + lines.tiles.n_free))
    of_own, of_lines = signs[:n_own], signs[n_own:]
    along = own @ of_own + lines.along(of_lines)
    in_smooth = smooth.T @ (weights * along)
    whole = jnp.sum(weights * along**2)
    direct = whole - in_smooth @ jnp.linalg.solve(smooth_block, in_smooth)
    by_tile, taken = lines.tiles.gathered(of_lines), blocks.taken @ of_lines
    product = of_own @ (blocks.own @ of_own) + 2.0 * of_own @ (blocks.cross @ of_lines)
    product += jnp.sum(by_tile * jnp.einsum("tmk,tk->tm", blocks.lines, by_tile)) - taken @ taken
    return jnp.abs(product - direct) / jnp.where(whole > 0.0, whole, 1.0)


def checked(compute: Callable[[Mesh], Contribution], mesh: Mesh) -> Contribution:
    """compute(mesh), its products in agreement with what they are of: on one device where they are not on all together.

    Raises MiscomputedError where that does not help.
    """
    part = compute(mesh)
    wrong = _worst(part)
    if wrong > TOLERANCE and mesh.devices.size > 1:
        warnings.warn(
            f"products of the line derivatives were wrong by {wrong:.1g} (relative) on {mesh.devices.size} devices at "
            "once: computed again on one, more slowly (docs/how-to/problems.md, 'When the runtime is wrong')",
            RuntimeWarning,
            stacklevel=2,
        )
        part = compute(star_mesh(1))
        wrong = _worst(part)
    if wrong > TOLERANCE:
        raise MiscomputedError(
            f"products of the line derivatives are wrong by {wrong:.1g} (relative) on this machine, so that no result "
            "would mean anything: run again with XLA_FLAGS=--xla_force_host_platform_device_count=1, or with another "
            f"jaxlib than {jaxlib_version}"
        )
    return part


def _worst(part: Contribution) -> float:
    return float(np.max(np.nan_to_num(part.row.mismatch, posinf=0.0)))
