"""Factors, inverses and threads of scipy's LAPACK."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from astrogf.inference.prior import lapack


def test_inverse_and_solutions_of_a_positive_definite_matrix():
    rng = np.random.default_rng(0)
    half = rng.normal(size=(30, 30))
    a, right = half @ half.T + np.eye(30), rng.normal(size=30)
    factor = lapack.factored(np.tril(a))
    np.testing.assert_allclose(np.tril(factor), np.linalg.cholesky(a), atol=1e-12)
    np.testing.assert_allclose(lapack.solved(factor, right), np.linalg.solve(a, right), atol=1e-10)
    np.testing.assert_allclose(lapack.half_solved(factor, right), np.linalg.solve(np.tril(factor), right), atol=1e-10)
    np.testing.assert_allclose(lapack.mirrored(lapack.lower_inverse(factor)), np.linalg.inv(a), atol=1e-10)


@pytest.mark.parametrize("diagonal", [[1.0, -1.0], [1.0, np.nan]])
def test_a_matrix_without_a_factor_is_refused(diagonal):
    with pytest.raises(FloatingPointError, match="not positive definite"):
        lapack.factored(np.diag(diagonal))


def blas_threads() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_small_matrices_have_one_thread_and_the_number_comes_back():
    before = blas_threads()
    assert before
    with lapack.threads_for(10):
        assert set(blas_threads()) == {1}
    assert blas_threads() == before
    with lapack.threads_for(10 * lapack.SMALL):
        assert blas_threads() == before
