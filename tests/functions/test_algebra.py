"""``tg.linalg`` and products of tensors: PyTorch's recorded numbers, NumPy's functions given tensors."""

from pathlib import Path

import numpy as np
import pytest
from nn.reference import load

import tapegrad as tg
from tapegrad import linalg

from .algebra_cases import ARRAYS, CASES
from .pytorch_cases import cotangent

RECORDED = load(Path(__file__).with_name("algebra.npz"))


def parts_of(expression, given):
    """The results of an expression, as a list."""
    results = eval(expression, {"T": tg, **given})
    return list(results) if isinstance(results, (tuple, list)) else [results]


def weighted(parts):
    return sum((part * cotangent(part.shape, k)).sum() for k, part in enumerate(parts) if part.is_floating)


def near(actual, expected, dtype):
    tolerance = 1e-9 if dtype == np.float64 else 2e-2
    expected = np.asarray(expected)
    np.testing.assert_allclose(np.asarray(actual, np.float64).ravel(), expected, rtol=tolerance,
                               atol=tolerance * max(1.0, np.abs(expected).max(initial=0.0)))


@pytest.mark.parametrize("dtype", [np.float64, pytest.param(np.float32, marks=pytest.mark.grid)])
@pytest.mark.parametrize("expression, name", CASES, ids=[f"{e} of {n}" for e, n in CASES])
def test_results_and_gradients_are_those_of_pytorch(expression, name, dtype):
    given = {key: tg.tensor(array.astype(dtype), requires_grad=key == "x") for key, array in ARRAYS[name].items()
             if array.dtype.kind == "f"}
    parts = parts_of(expression, given)
    for k, part in enumerate(parts):
        near(part.numpy(), RECORDED[f"{expression}|{name}|{k}"], dtype)
    assert f"{expression}|{name}|{len(parts)}" not in RECORDED
    if f"{expression}|{name}|x" in RECORDED:
        weighted(parts).backward()
        near(given["x"].grad.numpy(), RECORDED[f"{expression}|{name}|x"], dtype)


RECORDABLE = [(e, n) for e, n in CASES if n in ("(2, 3, 3)", "equal", "low rank") and f"{e}|{n}|x" in RECORDED]


@pytest.mark.parametrize("expression, name", [pytest.param(*case, marks=[pytest.mark.grid] if k % 3 else [])
                                              for k, case in enumerate(RECORDABLE)])
def test_recordings_give_the_same_at_each_replay(expression, name):
    arrays = {key: array for key, array in ARRAYS[name].items() if array.dtype.kind == "f"}
    y = tg.tensor(arrays["y"])
    gradient = tg.compile(tg.grad(lambda x: weighted(parts_of(expression, {"x": x, "y": y}))))
    for x in (arrays["x"], arrays["x"] + 0.25 * np.eye(3), arrays["x"]):
        found = gradient(x)
    near(found, RECORDED[f"{expression}|{name}|x"], np.float64)


def draw(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape)


S = draw(3, 3)
P = S @ S.T + np.eye(3)
#: by name the arguments of calls of NumPy's functions, and their keywords
CALLS = {
    "inner": [((draw(2, 3), draw(4, 3)), {}), ((draw(3), draw(3)), {}), ((draw(2, 3), draw(1)[0]), {})],
    "vdot": [((draw(2, 3), draw(3, 2)), {})],
    "vecdot": [((draw(2, 3), draw(3)), {})],
    "matvec": [((draw(2, 3, 4), draw(4)), {})],
    "vecmat": [((draw(3), draw(2, 3, 4)), {})],
    "tensordot": [((draw(2, 3, 4), draw(3, 4, 5)), {}), ((draw(2, 3, 4), draw(4, 3, 5), ([1, 2], [1, 0])), {}),
                  ((draw(2, 3), draw(4)), {"axes": 0}), ((draw(2, 0), draw(0, 3)), {"axes": 1})],
    "kron": [((draw(2, 3), draw(4, 5)), {}), ((draw(2), draw(2, 3, 2)), {})],
    "cross": [((draw(4, 3), draw(4, 3)), {}), ((draw(3, 4), draw(3, 4)), {"axis": 0}),
              ((draw(4, 3), draw(3, 4)), {"axisb": 0, "axisc": 0})],
    "trace": [((draw(2, 3, 3), 1), {})],
    "einsum": [((draw(2, 3), [0, 1], draw(3, 4), [1, 2], [2, 0]), {}),
               ((draw(5, 2, 3), [..., 0, 1], draw(3), [1]), {})],
    "linalg.norm": [((draw(3, 4), order), {}) for order in ("nuc", 2, -2, 1, -1, np.inf, -np.inf, "fro", None)]
    + [((draw(2, 3, 4), order), {"axis": (2, 0), "keepdims": True}) for order in ("nuc", 2, -2, np.inf)],
    "linalg.matrix_norm": [((draw(2, 3, 4),), {"ord": -2, "keepdims": True})],
    "linalg.matrix_power": [((S, n), {}) for n in (0, 1, 2, 7, -3)],
    "linalg.multi_dot": [(([draw(3, 9), draw(9, 2), draw(2, 5), draw(5, 4)],), {}),
                         (([draw(3), draw(3, 4), draw(4)],), {})],
    "linalg.cond": [((S, order), {}) for order in (None, 2, -2, 1, "fro")],
    "linalg.tensorinv": [((draw(4, 6, 8, 3),), {})],
    "linalg.tensorsolve": [((draw(2, 3, 6), draw(2, 3)), {}), ((draw(2, 6, 3), draw(2, 3)), {"axes": (1,)})],
    "linalg.inv": [((S,), {})],
    "linalg.solve": [((S, draw(3, 2)), {}), ((np.stack([S, P]), draw(3)), {})],
    "linalg.det": [((S,), {})],
    "linalg.slogdet": [((np.stack([S, P]),), {})],
    "linalg.cholesky": [((P,), {})],
    "linalg.eigvalsh": [((S, "U"), {}), ((S,), {"UPLO": "L"})],
    "linalg.qr": [((draw(4, 2),), {"mode": "r"}), ((draw(4, 2), "complete"), {})],
    "linalg.svd": [((draw(2, 4), True, False), {})],
    "linalg.svdvals": [((draw(2, 4),), {})],
    "linalg.pinv": [((draw(2, 4),), {"rcond": 0.5}), ((draw(2, 4),), {"rtol": 0.5})],
    "linalg.lstsq": [((draw(5, 2), draw(5)), {"rcond": None})],
    "linalg.matrix_rank": [((np.ones((3, 2)),), {})],
    "linalg.cross": [((draw(2, 3), draw(3)), {})],
    "linalg.vecdot": [((draw(2, 3), draw(2, 3)), {"axis": 0})],
    "linalg.trace": [((draw(2, 3, 3),), {"offset": 1})],
    "linalg.diagonal": [((draw(2, 3, 3),), {"offset": -1})],
    "linalg.tensordot": [((draw(2, 3), draw(3, 2)), {"axes": 1})],
}  # fmt: skip


def recorded_leaves(value):
    if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
        return [recorded_leaves(v) for v in value]
    return tg.tensor(value, requires_grad=True) if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("name", CALLS)
def test_functions_of_numpy_given_tensors_give_what_they_give_of_arrays(name):
    module, short = (np.linalg, name[7:]) if name.startswith("linalg.") else (np, name)
    function = getattr(module, short, getattr(tg, short, None) or getattr(linalg, short))  # NumPy 2.0 lacks some
    for args, keywords in CALLS[name]:
        given = tuple(recorded_leaves(a) for a in args)
        wanted = getattr(module, short)(*args, **keywords) if hasattr(module, short) else function(*args, **keywords)
        found = function(*given, **keywords)
        pairs = zip(found, wanted) if isinstance(wanted, tuple) else [(found, wanted)]
        for actual, expected in pairs:
            assert isinstance(actual, tg.Tensor)
            assert actual.shape == np.shape(expected)
            np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in CALLS if not name.startswith("linalg.") and name != "trace"])
def test_gradients_of_products_are_those_of_differences(name):
    function = getattr(tg, name)
    for args, keywords in CALLS[name]:
        arrays = [a for a in args if isinstance(a, np.ndarray)]

        def of_arrays(*xs, args=args, keywords=keywords):
            given = iter(xs)
            return function(*(next(given) if isinstance(a, np.ndarray) else a for a in args), **keywords)

        assert tg.gradcheck(of_arrays, *arrays, modes=("rev", "fwd"))


def test_products_of_integers_are_exact():
    big = np.array([2**53 + 1, 1])
    for name in ("inner", "vdot", "kron", "tensordot"):
        keywords = {"axes": 1} if name == "tensordot" else {}
        found = getattr(tg, name)(tg.tensor(big), np.array([1, 1]), **keywords).numpy()
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, getattr(np, name)(big, np.array([1, 1]), **keywords))


def test_what_has_no_counterpart_or_does_not_fit_says_so():
    x = tg.tensor(S, requires_grad=True)
    for call, error, message in (
            (lambda: np.linalg.eig(x), TypeError, "np.linalg.eig has no counterpart"),
            (lambda: linalg.norm(x, 3), ValueError, "norm: ord 3 of matrices; there are"),
            (lambda: linalg.matrix_power(x, 1.5), ValueError, "exponent must be an integer"),
            (lambda: linalg.multi_dot([x]), ValueError, "at least two"),
            (lambda: linalg.multi_dot([x, draw(2, 2)]), ValueError, "3 columns do not fit 2 rows"),
            (lambda: tg.tensordot(x, x, ([0], [0, 1])), ValueError, "as many of one"),
            (lambda: tg.tensordot(x, draw(2, 2), 1), ValueError, "do not fit"),
            (lambda: tg.inner(x, draw(2)), ValueError, "last axes"),
            (lambda: tg.cross(draw(4), draw(4)), ValueError, "2 or 3 elements"),
            (lambda: tg.vdot(x, draw(2)), ValueError, "9 elements and 2"),
            (lambda: tg.einsum(x, [0, 99]), ValueError, "numbers from 0 to 51"),
            (lambda: tg.einsum(x, x), ValueError, "subscripts string"),
            (lambda: linalg.tensorinv(draw(2, 3), 1), ValueError, "product of the others")):
        with pytest.raises(error, match=message):
            call()
