"""Symmetric positive definite matrices with scipy's LAPACK, which on the host is several times quicker than XLA's
Cholesky factors within a loop; and how many threads it may use."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from jaxtyping import Float
from scipy.linalg import lapack
from threadpoolctl import threadpool_limits

from astrogf.base.errors import AstrogfError


class IndefiniteError(AstrogfError, FloatingPointError):
    """A precision that is none: rounding, or a model that is not finite."""

    reason = "indefinite"


SMALL = 3000
"""Rows of a matrix below which a second thread costs more processor time than it saves of the wall's, and far more of
both where other processes keep the cores busy, for OpenBLAS's threads wait for each other in loops."""

STRIP = 256
"""Rows that are mirrored at once."""


def factored(matrix: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """Lower Cholesky factor from the lower triangle, in the matrix's place if it is in Fortran's order; the upper
    triangle is undefined. Raises IndefiniteError where there is no factor."""
    factor, failed = lapack.dpotrf(matrix, lower=1, clean=0, overwrite_a=1)
    if failed or not np.all(np.isfinite(np.diagonal(factor))):
        raise IndefiniteError(
            "the probability is not finite: a precision is not positive definite (docs/how-to/problems.md, 'When the "
            "runtime is wrong')"
        )
    return factor


def solved(factor: Float[np.ndarray, "n n"], right: Float[np.ndarray, "n *k"]) -> Float[np.ndarray, "n *k"]:
    """Inverse of the matrix times `right`, from its lower factor."""
    return lapack.dpotrs(factor, right, lower=1)[0]


def half_solved(factor: Float[np.ndarray, "n n"], right: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Inverse of the lower factor times `right`."""
    return lapack.dtrtrs(factor, right, lower=1)[0]


def turned(factor: Float[np.ndarray, "n n"], right: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Inverse of the transposed factor times `right`: of white noise it makes noise of the matrix's inverse."""
    return lapack.dtrtrs(factor, right, lower=1, trans=1)[0]


def lower_inverse(factor: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """Lower triangle of the matrix's inverse, in the place of its lower factor; the upper triangle is undefined."""
    return lapack.dpotri(factor, lower=1, overwrite_c=1)[0]


def mirrored(matrix: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """The symmetric matrix of this lower triangle, in its place."""
    n = len(matrix)
    for first in range(0, n, STRIP):
        last = min(first + STRIP, n)
        square = np.tril(matrix[first:last, first:last])
        matrix[first:last, first:last] = square + np.tril(square, -1).T
        matrix[first:last, last:] = matrix[last:, first:last].T
    return matrix


@contextmanager
def threads_for(rows: int) -> Iterator[None]:
    """Within, LAPACK has one thread if matrices of so many rows are SMALL."""
    with threadpool_limits(1 if rows < SMALL else None, user_api="blas"):
        yield
