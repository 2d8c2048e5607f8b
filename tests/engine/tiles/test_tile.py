"""The tile of a product, against NumPy: every height and width, all ways to find its operands."""

import numpy as np
import pytest

from tapegrad.engine.kernels import Kernel
from tapegrad.engine.language import bits, enabled, real
from tapegrad.engine.storage import address_of
from tapegrad.engine.tiles.tile import ROWS, lanes_of, move, placed_tile, tile, transposed

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def run_tile(op, f, i, b):
    if op[9] != 0:
        return placed_tile(f, i, op[1], op[2], op[3], op[4], op[5], op[7], op[9], real(op, 10, f), op[11], op[12],
                           op[13], op[14])
    return tile(f, op[1], op[2], op[3], op[4], op[5], op[6], op[7], op[8], real(op, 10, f), op[11], op[12], op[13],
                op[14])


def run_transposed(op, f, i, b):
    return transposed(f, op[1], op[2], op[3], op[4], op[5], op[6], op[7])


def run_move(op, f, i, b):
    return move(f, op[1], op[2], op[3])


TILE, TRANSPOSED, MOVE = (Kernel(f"test.{function.__name__}", function, own=False)
                          for function in (run_tile, run_transposed, run_move))


def at(array):
    return address_of(array) // array.itemsize


def wide(dtype):
    return lanes_of(np.empty(0, dtype))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("base", ["nothing", "itself", "row"])
@pytest.mark.parametrize("table", [False, True])
def test_tile(dtype, base, table):
    rng, most, depth = np.random.default_rng(0), wide(dtype), 7
    widths = range(1, most + 1) if enabled() else (1, most // 2, most - 1, most)
    for rows in range(1, ROWS + 1):
        for lanes in widths:
            a, b = rng.normal(size=(ROWS, depth)).astype(dtype), rng.normal(size=(depth, most)).astype(dtype)
            c = rng.normal(size=(ROWS + 1, most + 3)).astype(dtype)
            d = rng.normal(size=most).astype(dtype)
            order = rng.permutation(depth)
            places = np.concatenate([order * most, rng.permutation(depth)]).astype(np.int64)
            left, right = (a[:, places[depth:]], b[order]) if table else (a, b)
            before = c.copy()
            expected = 0.5 * (left[:rows] @ right[:, :lanes])
            row = np.array([0, rows, lanes, depth, at(a), depth, 1, at(b), most, at(places) if table else 0, bits(0.5),
                            0, 0, at(c), most + 3], np.int64)
            if base == "itself":
                expected += before[:rows, :lanes]
                row[11:13] = at(c), most + 3
            elif base == "row":
                expected += d[:lanes]
                row[11:13] = at(d), 0
            assert TILE(address_of(row), dtype) == 0
            np.testing.assert_allclose(c[:rows, :lanes], expected, rtol=0, atol=60 * np.finfo(dtype).eps)
            c[:rows, :lanes] = before[:rows, :lanes]
            np.testing.assert_array_equal(c, before)  # nothing beside the tile is written


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_an_infinity_or_a_nan_stays_in_its_row_and_column(dtype):
    most = wide(dtype)
    a, b = np.ones((2, 3), dtype), np.ones((3, most), dtype)
    a[1, 0], b[2, 1] = np.inf, np.nan
    c = np.zeros((2, most), dtype)
    row = np.array([0, 2, most - 1, 3, at(a), 3, 1, at(b), most, 0, bits(1.0), 0, 0, at(c), most], np.int64)
    TILE(address_of(row), dtype)
    np.testing.assert_array_equal(c[:, :3], [[3, np.nan, 3], [np.inf, np.nan, np.inf]])
    assert (c[:, -1] == 0).all()


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("whole", [True, False])
def test_transposed(dtype, whole):
    half = wide(dtype) // 2
    unit = half if whole else 32 // dtype.itemsize
    for rows in (1, 2, half // 2, half // 2 + 1, half - 1, half, half + 1, 2 * half):
        for columns in (1, 3, half - 1, half, 2 * half + 3):
            source = np.random.default_rng(1).normal(size=(rows, columns + 2)).astype(dtype)
            to = np.full((columns + 1, 2 * half + 1), 9.0, dtype)
            row = np.array([0, at(to), 2 * half + 1, at(source), columns + 2, rows, columns, unit], np.int64)
            TRANSPOSED(address_of(row), dtype)
            np.testing.assert_array_equal(to[:columns, :rows], source[:, :columns].T)
            filled = -(-rows // unit) * unit
            np.testing.assert_array_equal(to[:columns, rows:filled], source[-1:, :columns].T.repeat(filled - rows, 1))
            assert (to[:, filled:] == 9).all() and (to[columns] == 9).all()


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_transposed_in_units_is_exact_where_rows_of_the_result_adjoin(dtype):
    """Rows of an odd number of units, none of which may be written over by its neighbour."""
    unit, columns = 32 // dtype.itemsize, 2 * wide(dtype) + 1
    for units in (1, 2, 3, 5):
        for rows in (units * unit, units * unit - 1):
            source = np.random.default_rng(1).normal(size=(rows, columns)).astype(dtype)
            to = np.full((columns, units * unit), 9.0, dtype)
            row = np.array([0, at(to), units * unit, at(source), columns, rows, columns, unit], np.int64)
            TRANSPOSED(address_of(row), dtype)
            np.testing.assert_array_equal(to, source.T[:, [*range(rows), *[-1] * (units * unit - rows)]])


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_move(dtype):
    most = wide(dtype)
    for lanes in range(1, most + 1):
        source, to = np.random.default_rng(1).normal(size=lanes).astype(dtype), np.full(most + 1, 9.0, dtype)
        row = np.array([0, at(to), at(source), lanes], np.int64)
        MOVE(address_of(row), dtype)
        filled = most // 2 if lanes <= most // 2 else most
        np.testing.assert_array_equal(to, [*source, *[0.0] * (filled - lanes), *[9.0] * (most + 1 - filled)])
