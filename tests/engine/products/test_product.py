"""Products against NumPy's in float64: both sides of every size at which another way is taken."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapegrad.engine.kernels import Kernel
from tapegrad.engine.language import bits, enabled, real
from tapegrad.engine.products import product
from tapegrad.engine.products.blas import REFUSED, Routine, gemm_and_row, product_and_row, scaled_gemm
from tapegrad.engine.products.vector import STRETCH, UNIT
from tapegrad.engine.storage import address_of
from tapegrad.engine.tiles.tile import PANEL, ROWS

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def run(op, f, i, b):
    return scaled_gemm(op[0], op[1], op[2], op[3], op[4], op[5], real(op, 6, f), op[7], op[8], op[9], op[10], op[11],
                       op[12], op[13], f)


def run_with_row(op, f, i, b):
    return gemm_and_row(op[0], op[3], op[4], op[5], op[7], op[9], op[14], op[12], 0, f)


def run_with_scratch(op, f, i, b):
    return product_and_row(op[0], op[1], op[2], op[3], op[4], op[5], real(op, 6, f), op[7], op[8], op[9], op[10],
                           op[11], op[12], op[13], 0, op[15], f)


GEMM, WITH_ROW = Kernel("test.gemm", run, own=False), Kernel("test.gemm_and_row", run_with_row, own=False)
WITH_SCRATCH = Kernel("test.gemm_with_scratch", run_with_scratch, own=False)


def at(array):
    return address_of(array) // array.itemsize


def check(dtype, m, n, k, ta, tb, add, spare=0, kernel=GEMM):
    rng = np.random.default_rng(m + n + k)
    a = rng.normal(size=((k, m + spare) if ta else (m, k + spare))).astype(dtype)
    b = rng.normal(size=((n, k + spare) if tb else (k, n + spare))).astype(dtype)
    c, bias = rng.normal(size=(m, n + spare)).astype(dtype), rng.normal(size=n).astype(dtype)
    before, alpha = c.copy(), 1.0 if kernel is WITH_ROW else -0.5
    left, right = (a[:, :m].T if ta else a[:, :k]), (b[:, :k].T if tb else b[:, :n])
    expected = alpha * (left.astype(np.float64) @ right.astype(np.float64))
    expected += bias if kernel is WITH_ROW else add * before[:, :n]
    scratch = np.full(product.scratch_elements(m, n, k) + 1, 7.0, dtype)
    row = np.array([product.gemm_address(dtype), ta, tb, m, n, k, bits(alpha), at(a), a.shape[1], at(b), b.shape[1],
                    add, at(c), c.shape[1], at(bias), at(scratch)], np.int64)
    assert kernel(address_of(row), dtype) == 0
    bound = 8 * np.finfo(dtype).eps * (np.abs(left) @ np.abs(right) + 10.0)
    assert (np.abs(c[:, :n] - expected) <= bound).all()
    np.testing.assert_array_equal(c[:, n:], before[:, n:])
    assert scratch[-1] == 7.0


@settings(max_examples=200 if enabled() else 20, deadline=None)
@given(st.sampled_from(FLOATS), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.booleans(),
       st.booleans(), st.booleans(), st.integers(0, 3))
def test_small(dtype, m, n, k, ta, tb, add, spare):
    check(dtype, m, n, k, int(ta), int(tb), int(add), spare)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("m, n, k", [
    (4, 20, PANEL + 1), (4, 20, 2 * PANEL), (product.BLOCK + ROWS + 1, 9, 33),  # several panels, several blocks
    (50, 50, 53), (51, 51, 51), (300, 8, 70), (70, 300, 8), (1000, 5, 60), (3, 700, 90),  # shared, by either side
    (520, 260, 40), (product.BLOCK + 200, 257, 2 * PANEL + 3),  # a transposed A in strips, one block and several
])
def test_large(dtype, m, n, k):
    for ta, tb, add in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)):
        check(dtype, m, n, k, ta, tb, add)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("m, n, k", [
    (1, 1, 9), (1, 2 * UNIT + 3, 70), (2 * UNIT + 3, 1, 70), (1, STRETCH + 5, 20), (STRETCH + 5, 1, 21),
    (1, 900, STRETCH + 9), (900, 1, STRETCH + 9), (1, 3, 3 * STRETCH), (3, 1, 3 * STRETCH),
])
def test_with_a_vector(dtype, m, n, k):
    for ta, tb, add in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)):
        check(dtype, m, n, k, ta, tb, add, spare=2)
    check(dtype, m, n, k, 0, 1, 0, kernel=WITH_ROW)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_the_librarys(dtype, monkeypatch):
    monkeypatch.setattr(product.providers.loaded(), "limit", 1000)
    monkeypatch.setattr(product, "_records", {})
    for ta, tb, add in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)):
        check(dtype, 30, 21, 53, ta, tb, add)
    check(dtype, 30, 21, 53, 0, 1, 0, kernel=WITH_ROW)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("m, n, k", [(1, 1, 1), (5, 3, 0), (7, 2, 9), (33, 40, PANEL + 7), (64, 64, 64),
                                     (330, 320, 330), (0, 4, 4)])
def test_with_a_row(dtype, m, n, k):
    check(dtype, m, n, k, 0, 1, 0, kernel=WITH_ROW)


@pytest.mark.compiled
@pytest.mark.parametrize("m, n, ta, tb", [(90, 90, 0, 0), (1, 90, 0, 0), (1, 400, 0, 0), (1, 400, 0, 1), (400, 1, 0, 0),
                                          (400, 1, 1, 0)])
def test_parts_do_not_change_a_bit(m, n, ta, tb):
    """The same product whole and in parts."""
    dtype, k = np.dtype(np.float32), 90
    rng = np.random.default_rng(0)
    a = rng.normal(size=(k, m) if ta else (m, k)).astype(dtype)
    b = rng.normal(size=(n, k) if tb else (k, n)).astype(dtype)
    made = []
    for kernel in (product.MULTIPLY, None):
        c = np.zeros((m, n), dtype)
        sizes = (ta, tb, m, n, k, bits(1.0))
        row = np.array([product.gemm_address(dtype), *sizes, at(a), a.shape[1], at(b), b.shape[1], 0, at(c), n, 0],
                       np.int64)
        if kernel is not None:
            kernel(address_of(row), dtype)
        else:
            for part in range(5):
                words = np.array([address_of(row) // 8, part, 5], np.int64)
                product.MULTIPLY_PART(address_of(words), dtype)
        made.append(c)
    np.testing.assert_array_equal(*made)


@pytest.mark.compiled
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_strips_do_not_change_a_bit(dtype):
    """A transposed A with and without the memory for its strips, which another thread may use at that time."""
    m, n, k = product.FAR + product.BLOCK // 2 + 1, 260, PANEL + 30
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=shape).astype(dtype) for shape in ((k, m), (k, n)))
    product.gemm_address(dtype)
    record, strips, _ = product._records[dtype, product.providers.gemm_address(dtype)]
    made = []
    for taken in (0, 1):
        c = np.zeros((m, n), dtype)
        sizes = (1, 0, m, n, k, bits(1.0))
        row = np.array([product.gemm_address(dtype), *sizes, at(a), m, at(b), n, 0, at(c), n, 0], np.int64)
        strips[:], record[Routine.word("taken")] = 0, taken
        try:
            product.MULTIPLY(address_of(row), dtype)
            assert record[Routine.word("taken")] == taken and strips.any() == (not taken)
        finally:
            record[Routine.word("taken")] = 0
        made.append(c)
    np.testing.assert_array_equal(*made)


def library_record(dtype):
    """The record of the library's routine for products of every size; the words are to be kept."""
    address = product.gemm_address(dtype)
    words = next(words for words, _, at in product._records.values() if at == address).copy()
    words[Routine.word("limit")] = 0
    return words


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("ta, tb", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("m, n, k", [(1, 3, 4), (3, 1, 4), (3, 4, 1), (1, 1, 4), (1, 4, 1), (3, 1, 1), (1, 1, 1)])
def test_of_a_single_row_the_leading_dimension_may_be_anything(dtype, ta, tb, m, n, k, capfd):
    words = library_record(dtype)
    rng = np.random.default_rng(7)
    a, b, c = (rng.normal(size=shape).astype(dtype) for shape in ((k, m) if ta else (m, k), (n, k) if tb else (k, n),
                                                                  (m, n)))
    steps = [x.shape[1] if x.shape[0] > 1 else 1 for x in (a, b, c)]
    expected = (a.T if ta else a) @ (b.T if tb else b)
    row = np.array([address_of(words) // 8, ta, tb, m, n, k, bits(1.0), at(a), steps[0], at(b), steps[1], 0, at(c),
                    steps[2], 0], np.int64)
    assert GEMM(address_of(row), dtype) == 0
    np.testing.assert_allclose(c, expected, rtol=1e-5)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("which", range(3))
def test_what_blas_would_only_complain_of_is_a_status_and_writes_nothing(which, capfd):
    dtype = np.dtype(np.float64)
    words, steps = library_record(dtype), [4, 5, 5]
    steps[which] -= 2
    a, b, c = np.ones((3, 4)), np.ones((4, 5)), np.full((3, 5), 7.0)
    row = np.array([address_of(words) // 8, 0, 0, 3, 5, 4, bits(1.0), at(a), steps[0], at(b), steps[1], 0, at(c),
                    steps[2], 0], np.int64)
    assert GEMM(address_of(row), dtype) == REFUSED
    assert (c == 7.0).all() and capfd.readouterr().err == ""
    row[3:6] = 2, 2, 1 << 31  # more than 32 bits hold
    row[[8, 10, 13]] = 1 << 31, 2, 2
    assert GEMM(address_of(row), dtype) == REFUSED


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("ta, tb, add", [(1, 0, 0), (1, 0, 1), (0, 1, 1), (0, 0, 0), (1, 1, 1)])
@pytest.mark.parametrize("m, n", [(40, 30), (product.TOTALLED + 3, 6), (1100, 1)])
def test_long_ones_with_scratch(dtype, m, n, ta, tb, add):
    assert product.scratch_elements(m, n, product.STRETCH) == 0
    for k in (product.STRETCH + 1, 2 * product.STRETCH + 700):
        check(dtype, m, n, k, ta, tb, add, spare=2, kernel=WITH_SCRATCH)
