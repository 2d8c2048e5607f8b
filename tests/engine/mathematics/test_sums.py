"""Sums of rows on top of each other against NumPy in float64."""

import numpy as np
import pytest

from tapegrad.engine.kernels import Kernel
from tapegrad.engine.language import FLOATS, cast, wide
from tapegrad.engine.mathematics.sums import COLUMNS, sum_rows, total_of
from tapegrad.engine.storage import address_of


def run_sum_rows(op, f, i, b):
    return sum_rows(f, op[1], op[2], op[3], op[4], op[5], wide(cast(1.0, f)), op[6] != 0)


def run_total(op, f, i, b):
    f[op[1]] = cast(total_of(f, op[2], op[3], op[4]), f)
    return 0


ROWS = Kernel("test.sum_rows", run_sum_rows, own=False)
TOTAL = Kernel("test.total", run_total, own=False)


def at(array):
    return address_of(array) // array.itemsize


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("adds", [False, True])
def test_rows_are_added_up_whatever_their_number(dtype, adds):
    for columns in (1, 3, 17, COLUMNS + 5):
        for rows in (0, 1, 2, 7, 8, 9, 16, 27):
            a = np.random.default_rng(rows).normal(size=(rows + 1, columns + 2)).astype(dtype)
            to = np.full(columns + 1, 9.0, dtype)
            row = np.array([0, at(to), at(a), columns + 2, rows, columns, adds], np.int64)
            ROWS(address_of(row), dtype)
            np.testing.assert_allclose(to[:columns], a[:rows, :columns].sum(0, np.float64) + 9 * adds, rtol=0,
                                       atol=60 * np.finfo(dtype).eps)
            assert (to[columns:] == 9).all()


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("step", [1, 3])
def test_a_row_is_added_up_whatever_its_length(dtype, step):
    for n in (0, 1, 7, 8, 9, 100, 1023, 1024, 1025, 5000):
        a = np.random.default_rng(n).random(step * n + 1).astype(dtype)
        to = np.zeros(1, dtype)
        TOTAL(address_of(np.array([0, at(to), at(a), n, step], np.int64)), dtype)
        np.testing.assert_allclose(to[0], a[:step * n:step].sum(dtype=np.float64), rtol=2 * np.finfo(dtype).eps)
