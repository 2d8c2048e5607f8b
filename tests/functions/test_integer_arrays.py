"""NumPy's arrays and lists of integers and bool, given to functions: what NumPy computes exactly is exact."""

import warnings

import numpy as np
import pytest

import tapegrad as tg

BIG, WIDE = 2**24 + 1, 2**53 + 1  # no float32, no float64
A = np.array([[BIG, 5, -BIG], [-7, WIDE, 1], [3, -2**40 - 1, -1]])
B = np.array([[3, -2, 2**40 + 1], [BIG, 1, 1], [-4, -1, WIDE]])
M = np.array([[True, False, True], [False, False, True], [True, True, True]])
U = np.array([[200, 1, 255], [0, 100, 3], [7, 128, 2]], np.uint8)
V = np.array([2**53, 2**53 + 1, 2**53 + 3])
AT = np.array([2, 0, 1])

#: what is given to every function that NumPy has too
GIVEN = {
    "one": [(A,), (M,), (U,), (V,), (A[:, ::-1].T,)],
    "two": [(A, B), (M, M), (M, A), (U, U), (A, U), (V, V[1:]), (V, A[0]), (A, B[0])],
    "with numbers": [(A, 1), (BIG, A), (A, 0), (U, 300), (A, True), (WIDE, 2), (A, -1, BIG)],
    "three": [(M, A, B), (M, M, M), (M, 1, BIG), (A, U, BIG), (A, AT, 0), (A, AT, 1)],
    "sequences": [([A, B],), ([M, M],), ([A, M],), ([U, A],), ([V, A[0]],), ([[BIG, 1], [2, WIDE]],), ([A[0, 0], 2],)],
}
#: of shapes, with values or dtypes of PyTorch's, or of nothing in particular
OTHERS = {"arange", "empty", "empty_like", "eye", "from_dlpack", "full", "indices", "linspace", "nanpercentile",
          "nanquantile", "ones", "percentile", "quantile", "reciprocal", "tile", "tri", "zeros"}
OF_BOOL = {"ceil", "fix", "floor", "insert", "trunc"}  # of which versions of NumPy have other dtypes
OF_LISTS = {"diff"}  # a number as `n` of lists, and no differences, give NumPy's users their list back
NEW_IN_NUMPY = {"matvec", "vecmat", "vecdot"}


def functions():
    for ours, numpys in ((tg, np), (tg.linalg, np.linalg)):
        for name in sorted(set(dir(ours)) & set(dir(numpys)) - OTHERS - NEW_IN_NUMPY):
            if callable(function := getattr(ours, name)) and not isinstance(function, type):
                yield name, function, getattr(numpys, name)


def as_held(value):
    """As tensors hold integers: int64, whatever their width."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(as_held, value))
    return value.astype(np.int64) if isinstance(value, np.ndarray) and value.dtype.kind in "iu" else value


def parts(result):
    if isinstance(result, (list, tuple)):
        return [one for part in result for one in parts(part)]
    return [result.numpy() if isinstance(result, tg.Tensor) else np.asarray(result)]


def as_lists(value):
    if isinstance(value, (list, tuple)):
        return type(value)(map(as_lists, value))
    return value.tolist() if isinstance(value, np.ndarray) else value


def exact(numpys, arguments):
    """NumPy's result, where it has one of integers or bool, else None."""
    try:
        expected = parts(numpys(*as_held(arguments)))
    except Exception:  # whatever NumPy refuses
        return None
    kinds = {array.dtype.kind for array in expected}
    return expected if kinds and kinds <= set("iub") else None


@pytest.mark.parametrize("given", GIVEN)
def test_every_function_is_exact_where_numpy_is(given):
    wrong, tried = [], 0
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for name, function, numpys in functions():
            for arguments in [form for arrays in GIVEN[given] for form in (arrays, as_lists(arrays))]:
                if name in OF_BOOL and np.asarray(arguments[0]).dtype == bool or (
                        name in OF_LISTS and isinstance(arguments[0], list)) or (
                        name == "tensordot" and len(arguments) > 2):
                    continue
                if (expected := exact(numpys, arguments)) is None:
                    continue
                try:
                    found = parts(function(*arguments))
                except (tg.TapegradError, TypeError, ValueError, IndexError, AttributeError):
                    continue  # refused is not wrong
                tried += 1
                if [(a.dtype, a.tolist()) for a in found] != [
                        (np.int64 if b.dtype.kind in "iu" else b.dtype, b.tolist()) for b in expected]:
                    wrong.append((name, arguments, found, expected))
    assert not wrong, "\n".join(map(str, wrong))
    assert tried > 60


def test_numbers_between_integers_count_in_ranks_and_fill():
    close = np.array([[BIG, BIG - 1], [BIG - 1, BIG - 2]])  # whose determinant is -1
    assert int(tg.linalg.matrix_rank(close)) == np.linalg.matrix_rank(close) == 2
    assert tg.full_like(U, 300).numpy().tolist() == [[300] * 3] * 3
    assert tg.randint_like(A, BIG, BIG + 1).numpy().tolist() == [[BIG] * 3] * 3
    assert tg.contiguous(A.T).numpy().tolist() == A.T.tolist()


def test_integers_beside_floats_are_floats_of_their_dtype():
    x = np.array([0.5, 1.5, 2.5])
    for found in (tg.add(x, [1, 2, 3]), tg.maximum([1, 2, 3], x), tg.where(x > 1.0, x, np.array([1, 2, 3])),
                  tg.concatenate([x, [1, 2, 3]]), tg.power(x, np.array([2, 2, 2])), tg.matmul(np.eye(3), [1, 2, 3])):
        assert found.dtype == np.float64
    assert tg.power(np.array([2, 4]), -1).numpy().tolist() == [0.5, 0.25]  # which NumPy refuses
    assert tg.mean(np.array([1, 2])).dtype == np.float32
    np.testing.assert_array_equal(tg.grad(lambda x: tg.sum(tg.where(x > 1.0, x, 0) * [3, 4, 5]))(x), [0, 4, 5])


def test_quotients_of_integers_are_those_of_the_operator():
    i, j = np.array([BIG, WIDE, 7]), np.array([1, 3, 2])
    for found in (tg.divide(i, j), tg.divide(tg.tensor(i), j), np.divide(tg.tensor(i), tg.tensor(j)), tg.tensor(i) / j,
                  tg.divide(i, j.tolist())):
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found.numpy(), i / j)
    for dtype in (np.float32, np.float64):  # beside floats of their dtype, in a recording too
        x = np.ones(3, dtype)
        for function in (lambda x: x * tg.divide(i, j), tg.compile(lambda x: x * tg.divide(i, j)),
                         tg.compile(lambda x, i=i: x * (i / j))):
            assert np.asarray(tg.grad(lambda x: tg.sum(x * tg.divide(i, j)))(x)).dtype == dtype
            np.testing.assert_allclose(np.asarray(function(x)), (i / j).astype(dtype), rtol=2e-7)
