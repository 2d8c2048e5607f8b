"""Methods and keywords of NumPy's ufuncs given tensors; NumPy itself is the judge."""

import numpy as np
import pytest

import tapegrad as tg

A = np.array([[0.5, 1.5, -2.0], [3.0, 0.25, 1.0]])


def close(got, want):
    assert isinstance(got, tg.Tensor)
    np.testing.assert_allclose(got.detach().numpy(), want, rtol=1e-12)


@pytest.mark.parametrize("ufunc", [np.add, np.multiply, np.maximum, np.minimum, np.logical_and, np.logical_or])
@pytest.mark.parametrize("how", [{}, {"axis": 1}, {"axis": None}, {"axis": (0, 1), "keepdims": True}])
def test_a_ufunc_reduces_along_the_first_axis_unless_told_otherwise(ufunc, how):
    close(ufunc.reduce(tg.tensor(A), **how), ufunc.reduce(A, **how))


@pytest.mark.parametrize("ufunc", [np.add, np.multiply])
@pytest.mark.parametrize("axis", [(), (1,)])
def test_a_ufunc_accumulates_along_the_first_axis_unless_told_otherwise(ufunc, axis):
    close(ufunc.accumulate(tg.tensor(A), *axis), ufunc.accumulate(A, *axis))


@pytest.mark.parametrize("ufunc", [np.maximum, np.minimum, np.logaddexp])
@pytest.mark.parametrize("axis", [(), (1,)])
def test_running_extremes_and_logarithms_of_sums_are_numpys(ufunc, axis):
    x = np.sin(np.arange(12.0)).reshape(3, 4)
    close(ufunc.accumulate(tg.tensor(x), *axis), ufunc.accumulate(x, *axis))
    tg.gradcheck(lambda x: (ufunc.accumulate(x, *axis) ** 2).sum(), x)


def test_reduced_and_accumulated_tensors_keep_their_history():
    t = tg.tensor(A, requires_grad=True)
    (np.add.reduce(t) * np.array([1.0, 2.0, 3.0])).sum().backward()
    np.testing.assert_array_equal(t.grad.numpy(), [[1.0, 2.0, 3.0]] * 2)
    x = np.array([1.0, 2.0, 4.0])
    np.testing.assert_array_equal(tg.grad(lambda x: np.multiply.accumulate(x)[2])(x), [8.0, 4.0, 2.0])


@pytest.mark.parametrize("ufunc", [np.add, np.subtract, np.power, np.maximum, np.greater])
def test_the_outer_method_combines_all_elements_of_both(ufunc):
    a, b = np.abs(A), np.array([2.0, 0.5])
    close(ufunc.outer(tg.tensor(a), b), ufunc.outer(a, b))
    close(ufunc.outer(b, tg.tensor(a)), ufunc.outer(b, a))


def test_a_dtype_is_that_of_the_computation():
    t = tg.tensor(A.astype(np.float32))
    assert np.add(t, 1.0, dtype=np.float64).dtype == np.float64
    assert np.add(t, 1.0, dtype=np.float32).dtype == np.float32
    close(np.greater(t, 1.0, dtype=bool), A > 1.0)
    with pytest.raises(TypeError, match="np.add: dtype=int64 is not available.*astype"):
        np.add(t, 1.0, dtype=np.int64)


@pytest.mark.parametrize("call, error, message", [
    (lambda t: np.add(t, 1.0, out=np.zeros(A.shape)), TypeError, "np.add cannot write a tensor into an array"),
    (lambda t: np.add.reduce(t, out=np.zeros(3)), TypeError, "np.add.reduce cannot write a tensor into an array"),
    (lambda t: np.sum(t, out=np.zeros(())), TypeError, "np.sum cannot write a tensor into an array"),
    (lambda t: np.einsum("ij->", t, out=np.zeros(())), TypeError, "np.einsum cannot write a tensor into an array"),
    (lambda t: np.isposinf(t, np.zeros(A.shape, bool)), TypeError, "np.isposinf cannot write a tensor into an array"),
    (lambda t: np.add(t, 1.0, where=A > 0.0), TypeError, "np.add: where= leaves .* undefined; choose with tg.where"),
    (lambda t: np.add.at(t, [0], 1.0), RuntimeError, r"np.add.at writes in place.*t.at\[indices\].add\(values\)"),
    (lambda t: np.maximum.at(t, [0], 1.0), RuntimeError, r"np.maximum.at writes in place.*\.set"),
    (lambda t: np.add.reduceat(t, [0, 1]), TypeError, "np.add.reduceat has no counterpart"),
    (lambda t: np.hypot.reduce(t), TypeError, "np.hypot.reduce has no counterpart"),
    (lambda t: np.frexp(t), TypeError, "np.frexp has no counterpart"),
    (lambda t: np.nextafter.outer(t, t), TypeError, "np.nextafter.outer has no counterpart"),
    (lambda t: np.linalg.eig(t @ t.T), TypeError, "np.linalg.eig has no counterpart"),
])
def test_what_is_not_there_says_so_by_its_whole_name_with_the_line_and_a_remedy(call, error, message):
    with pytest.raises(error, match=f"test_ufuncs.py:[0-9]+: {message}"):
        call(tg.tensor(A, requires_grad=True))


def test_other_shapes_and_dtypes_of_what_is_alike():
    t = tg.tensor(A)
    for name in ("zeros_like", "ones_like", "empty_like"):
        made = getattr(np, name)(t, np.float32, shape=(2,))
        assert (made.shape, made.dtype) == ((2,), np.float32)
    close(np.full_like(t, 3.0, shape=2), [3.0, 3.0])


def test_closeness_holds_within_recordings_too():
    a, b = np.array([1.0, np.inf, np.nan, 2.0, -np.inf]), np.array([1.0 + 1e-9, np.inf, np.nan, 2.1, np.inf])
    for nan in (False, True):
        want = np.isclose(a, b, equal_nan=nan)
        close(np.isclose(tg.tensor(a), b, equal_nan=nan), want)
        close(tg.compile(lambda a, nan=nan: tg.where(np.isclose(a, b, equal_nan=nan), 1.0, 0.0))(tg.tensor(a)), want)
    assert np.allclose(tg.tensor(A), A + 1e-12) and not np.array_equal(tg.tensor(A), A + 1e-12)
    assert np.array_equiv(tg.tensor(A), A) and not np.array_equiv(tg.tensor(A), np.zeros(5))


def test_ranges_between_tensors_have_gradients_to_both_ends():
    start, stop = np.array([0.5, 2.0]), np.array([1.5, -1.0])
    for more in ({}, {"endpoint": False}, {"axis": -1}):
        close(np.linspace(tg.tensor(start), stop, 5, **more), np.linspace(start, stop, 5, **more))
    values, step = np.linspace(tg.tensor(start), stop, 5, retstep=True)
    close(step, np.linspace(start, stop, 5, retstep=True)[1])
    left, right = tg.grad(lambda a, b: np.linspace(a, b, 5)[1].sum(), argnums=(0, 1))(start, stop)
    np.testing.assert_allclose([left, right], [[0.75, 0.75], [0.25, 0.25]])


def test_numbers_beside_float64_keep_their_digits():
    t = tg.tensor(np.array([0.1, 0.2]))
    np.testing.assert_array_equal(np.isclose(t, 0.1, rtol=0.0, atol=1e-12).numpy(), [True, False])
    assert np.array_equal(t[:1], [0.1]) and np.array_equiv(t[:1], 0.1) and np.allclose(t, [0.1, 0.2], rtol=1e-14)
    close(np.linspace(t, 0.1, 3), np.linspace(t.numpy(), 0.1, 3))
    close(np.multiply.outer(t, 0.1), t.numpy() * 0.1)
