"""Operands of other libraries: pandas, polars, masked arrays and matrices are taken on the tape, or refused.

The environment `py` of tox has them all.
"""

import numpy as np
import pytest

import tapegrad as tg

A = np.array([[1.0, 2.0], [3.0, 4.0]])
pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")

OPERANDS = {
    "pandas series": pandas.Series(A[1]),
    "pandas series of int32": pandas.Series(A[1].astype(np.int32)),
    "pandas series with its own integers": pandas.Series([3, 4], dtype="Int64"),
    "pandas index": pandas.Index(A[1]),
    "pandas array": pandas.array(A[1]),
    "pandas frame": pandas.DataFrame(A),
    "polars series": polars.Series(A[1]),
    "polars frame": polars.DataFrame(A),
    "masked array without a mask": np.ma.array(A[1]),
    "masked array with nothing masked": np.ma.array(A, mask=np.zeros((2, 2), bool)),
    "matrix": np.asmatrix(A),
}


@pytest.mark.parametrize("name", OPERANDS)
def test_an_operand_of_another_library_is_taken_on_the_tape(name):
    other = OPERANDS[name]
    data = np.broadcast_to(np.asarray(other, float), (2, 2)) if np.ndim(other) == 2 else np.asarray(other, float)
    total = data.reshape(-1, 2).sum(axis=0)
    x = np.array([0.5, 2.0])
    np.testing.assert_allclose(tg.grad(lambda w: (w * other).sum())(x), total)
    np.testing.assert_allclose(tg.grad(lambda w: (other + w * w).sum())(x) if "polars" not in name else 2 * x * len(
        data.reshape(-1, 2)), 2 * x * len(data.reshape(-1, 2)))
    np.testing.assert_allclose(tg.grad(lambda w: tg.multiply(other, w).sum())(x), total)
    np.testing.assert_allclose(tg.grad(lambda w: (w @ tg.tensor(data.T)).sum())(x), total)
    assert (tg.tensor(x) * other).dtype == np.float64


@pytest.mark.parametrize("name", [name for name in OPERANDS if "polars" not in name])
def test_an_operand_of_another_library_may_stand_on_the_left(name):
    other, x = OPERANDS[name], np.array([0.5, 2.0])
    data = np.asarray(other, float).reshape(-1, 2)
    for function, expected in (
        (lambda w: (other * w).sum(), data.sum(axis=0)),
        (lambda w: (other - w).sum(), [-len(data)] * 2),
        (lambda w: (other / w).sum(), -data.sum(axis=0) / x**2),
    ):
        np.testing.assert_allclose(tg.grad(function)(x), expected)


@pytest.mark.parametrize(
    "function",
    [
        lambda w: (polars.Series(A[0]) * w).sum(),
        lambda w: tg.sum(tg.tensor(pandas.Series(w)) * w),
        lambda w: tg.sum(tg.tensor(pandas.DataFrame({"w": w})["w"]) * w),
        lambda w: tg.sum(tg.tensor(np.ma.multiply(np.ma.array(A[0]), w)) * w),
    ],
)
def test_where_another_library_insists_on_converting_the_tensor_it_raises(function):
    with pytest.raises((tg.GradientError, TypeError)):
        tg.grad(function)(A[0])


@pytest.mark.parametrize("other", [pandas.DataFrame(A), pandas.Series(A[0])])
@pytest.mark.parametrize("product", [lambda a, w: a @ w, lambda a, w: a.dot(w)])
def test_products_by_pandas_raise_and_name_matmul_which_takes_its_data_on_the_tape(other, product):
    with pytest.raises(tg.GradientError, match=r"tg\.matmul\(frame, tensor\)"):
        tg.grad(lambda w: tg.sum(product(other, w)))(A[0])
    with pytest.raises(tg.GradientError, match=r"tg\.matmul\(frame, tensor\)"):
        product(other, tg.tensor(A[0], requires_grad=True))
    data = np.asarray(other)
    np.testing.assert_array_equal(tg.grad(lambda w: tg.sum(tg.matmul(other, w)))(A[0]), data.reshape(-1, 2).sum(axis=0))
    np.testing.assert_array_equal(tg.grad(lambda w: tg.sum(w @ other.T))(A[0]), data.reshape(-1, 2).sum(axis=0))
    np.testing.assert_array_equal(product(other, tg.tensor(A[0])), data @ A[0])


def test_missing_numbers_are_refused():
    with pytest.raises(TypeError, match="object"):
        tg.tensor(np.ones(2)) * pandas.Series([1, None], dtype="Int64").astype(object)
