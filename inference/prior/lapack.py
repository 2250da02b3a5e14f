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
"""Rows that are looked at at once where a matrix is changed in its place."""


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


def inverse_factor(factor: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """W, the inverse of the lower factor, in its place: the matrix's inverse is W'W. The upper triangle is not
    defined."""
    return lapack.dtrtri(factor, lower=1, overwrite_c=1)[0]


def from_inverse_factor(half: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """Lower triangle of the matrix's inverse, in the place of `inverse_factor`; the upper triangle is undefined."""
    return lapack.dlauum(half, lower=1, overwrite_c=1)[0]


def diagonal_of_inverse(half: Float[np.ndarray, "n n"]) -> Float[np.ndarray, " n"]:
    """Diagonal of the matrix's inverse from `inverse_factor`: a third of the work of the inverse is not done."""
    out = np.empty(len(half))
    for first in range(0, len(half), STRIP):
        strip = slice(first, first + STRIP)
        square, below = np.tril(half[strip, strip]), half[first + STRIP :, strip]
        out[strip] = np.einsum("ij,ij->j", square, square) + np.einsum("ij,ij->j", below, below)
    return out


def cleared(factor: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """The lower factor with an upper triangle of zeros, in its place."""
    for first in range(0, len(factor), STRIP):
        strip = slice(first, first + STRIP)
        factor[strip, strip] = np.tril(factor[strip, strip])
        factor[strip, first + STRIP :] = 0.0
    return factor


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
