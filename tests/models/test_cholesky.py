"""Inverses by LAPACK: the numbers of NumPy, in place, while other threads run."""

from __future__ import annotations

import sys
import threading

import numpy as np

from recsys.models.cholesky import invert_lower


def positive_definite(n: int) -> np.ndarray:
    rows = np.random.default_rng(n).normal(size=(2 * n, n))
    return np.asfortranarray(rows.T @ rows, np.float32)


def test_the_lower_triangle_becomes_that_of_the_inverse_and_the_upper_one_stays() -> None:
    matrix = positive_definite(40)
    found = matrix.copy("F")
    assert invert_lower(found)
    expected = np.linalg.inv(matrix.astype(np.float64))
    np.testing.assert_allclose(np.tril(found), np.tril(expected), rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(np.triu(found, 1), np.triu(matrix, 1))


def test_a_single_number_is_inverted() -> None:
    found = np.full((1, 1), 4, np.float32, order="F")
    assert invert_lower(found)
    assert found[0, 0] == 0.25


def test_what_is_not_positive_definite_is_told() -> None:
    assert not invert_lower(np.asfortranarray(-np.eye(3), np.float32))


def test_other_threads_run_meanwhile() -> None:
    matrix = positive_definite(900)
    running, begun, counted = [True], threading.Event(), [0]

    def count() -> None:
        while running[0]:
            counted[0] += 1
            begun.set()

    other = threading.Thread(target=count)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        other.start()
        begun.wait()
        before = counted[0]
        for _ in range(10):
            assert invert_lower(matrix.copy("F"))
        during = counted[0] - before
    finally:
        running[0] = False
        other.join()
        sys.setswitchinterval(interval)
    # Waiting for the lock at each of the ten calls would leave it a few turns of 10 microseconds.
    assert during > 10_000
