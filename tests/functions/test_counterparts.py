"""NumPy's functions given a tensor that requires a gradient: right on the tape, or an error.

The judge is NumPy itself: the value that it gives for an array, and central differences of that.
"""

import warnings

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.functions.counterparts import counterparts

ROW = np.array([0.31, 0.72, 0.46])  # none where rounding to a tenth jumps
SQUARE = np.array([[0.31, 0.72], [0.46, 0.13]])
CUBE = np.linspace(0.1, 0.9, 8).reshape(2, 2, 2) ** 1.3
MASK = np.array([True, False, True])

# they write files, change NumPy's settings, start a debugger or a test run, or ask a terminal
ELSEWHERE = {
    "save", "savez", "savez_compressed", "savetxt", "load", "loadtxt", "genfromtxt", "fromfile", "memmap", "fromregex",
    "test", "info", "show_config", "show_runtime", "set_printoptions", "printoptions", "seterr", "seterrcall",
    "setbufsize", "errstate", "get_include", "open_memmap", "DataSource",
}



def other(x):
    """An array of the shape of `x`, its own for every call: the function may write to it."""
    return np.linspace(0.15, 0.85, x.size).reshape(x.shape)

# asks for nothing of a tensor but its type, and gives None
BY_TYPE = {"np.bmat"}
# its numbers are any
UNDEFINED = {"np.empty_like"}
# of symmetric matrices
BY_TRIANGLE = {"np.linalg.cholesky", "np.linalg.eigh", "np.linalg.eigvalsh"}
# asks every element for its float, which outside of transformations is said explicitly
BY_FLOAT = {"np.fromiter"}

CALLS = {
    "x": lambda f, x: f(x),
    "x, x": lambda f, x: f(x, x),
    "x, array": lambda f, x: f(x, other(x)),
    "array, x": lambda f, x: f(other(x), x),
    "array, x, x": lambda f, x: f(other(x), x, x),
    "x, columns": lambda f, x: f(x, np.arange(3.0 * x.size).reshape(-1, x.size) - 2.0),
    "x, square": lambda f, x: f(x, np.arange(1.0 * len(x) ** 2).reshape(len(x), -1) - 2.0),
    "x, columns, False": lambda f, x: f(x, np.arange(3.0 * x.size).reshape(-1, x.size) - 2.0, False),
    "x, number": lambda f, x: f(x, 0.4),
    "number, x": lambda f, x: f(0.4, x),
    "x, 0": lambda f, x: f(x, 0),
    "x, 1": lambda f, x: f(x, 1),
    "x, 2": lambda f, x: f(x, 2),
    "x, -1": lambda f, x: f(x, -1),
    "x, None": lambda f, x: f(x, None),
    "x, 0, 1": lambda f, x: f(x, 0, 1),
    "x, 1, 0": lambda f, x: f(x, 1, 0),
    "x, 0.7, 0.2": lambda f, x: f(x, 0.7, 0.2),
    "x, 0.2, 0.6": lambda f, x: f(x, 0.2, 0.6),
    "x, 0, None": lambda f, x: f(x, 0, None),
    "x, 0, dtype": lambda f, x: f(x, 0, np.float64),
    "x, 0, dtype, None": lambda f, x: f(x, 0, np.float64, None),
    "x, 0, None, None, True": lambda f, x: f(x, 0, None, None, True),
    "x, 0, None, True": lambda f, x: f(x, 0, None, True),
    "x, 0, None, None, 1": lambda f, x: f(x, 0, None, None, 1),
    "x, shape": lambda f, x: f(x, (1, x.size)),
    "x, order": lambda f, x: f(x, tuple(range(x.ndim))),
    "x, other order": lambda f, x: f(x, tuple(reversed(range(x.ndim)))),
    "x, indices": lambda f, x: f(x, np.array([1, 0])),
    "x, 2-d indices": lambda f, x: f(x, np.array([[1, 0]]), 1),
    "x, shape, F": lambda f, x: f(x, (x.size,), "F"),
    "x, F": lambda f, x: f(x, "F"),
    "x, mode": lambda f, x: f(x, 1, "edge"),
    "mask, x": lambda f, x: f(MASK.copy(), x),
    "mask, x, x": lambda f, x: f(MASK.copy(), x, x + 1.0),
    "subscripts, x": lambda f, x: f("i->" if x.ndim == 1 else "ij->ji", x),
    "subscripts, x, x": lambda f, x: f("i,i" if x.ndim == 1 else "ij,jk", x, x),
    "[x, x]": lambda f, x: f([x, 2.0 * x]),
    "[x, x], 1": lambda f, x: f([x, 2.0 * x], 1),
    "elements": lambda f, x: f([x[0], x[1]]),
    "nested": lambda f, x: f([[x[0], 1.0], [2.0, x[1]]]),
    "tuple": lambda f, x: f((x, x)),
    "axis=0": lambda f, x: f(x, axis=0),
    "axis=-1": lambda f, x: f(x, axis=-1),
    "axis=None": lambda f, x: f(x, axis=None),
    "axis=0, keepdims": lambda f, x: f(x, axis=0, keepdims=True),
    "axis=(0, 1)": lambda f, x: f(x, axis=(0, 1)),
    "a": lambda f, x: f(a=x),
    "ddof=1": lambda f, x: f(x, ddof=1),
    "ddof=9": lambda f, x: f(x, ddof=9),
    "correction=1": lambda f, x: f(x, correction=1),
    "initial=5": lambda f, x: f(x, initial=5.0),
    "where": lambda f, x: f(x, where=x > 0.4),
    "two, where": lambda f, x: f(x, x, where=np.asarray([True, False, True][: x.shape[-1]])),
    "dtype=float32": lambda f, x: f(x, dtype=np.float32),
    "offset=1": lambda f, x: f(x, offset=1),
    "k=1": lambda f, x: f(x, k=1),
    "ord=1": lambda f, x: f(x, ord=1),
    "ord=2": lambda f, x: f(x, ord=2),
    "ord=inf": lambda f, x: f(x, ord=np.inf),
    "out": lambda f, x: f(x, out=np.zeros(x.shape)),
    "kind": lambda f, x: f(x, kind="stable"),
    "constant_values": lambda f, x: f(x, 1, constant_values=0.5),
    "reflect": lambda f, x: f(x, 1, mode="reflect"),
    "wrap": lambda f, x: f(x, np.array([4, 1]), mode="wrap"),
}


def namespaces():
    """NumPy's public callables by their dotted names."""
    for prefix, module in (("np", np), ("np.linalg", np.linalg), ("np.fft", np.fft), ("np.emath", np.emath),
                           ("np.ma", np.ma), ("np.char", np.char), ("np.strings", np.strings), ("np.rec", np.rec),
                           *((f"np.polynomial.{kind}", getattr(np.polynomial, kind)) for kind in (
                               "polynomial", "chebyshev", "hermite", "hermite_e", "laguerre", "legendre"))):
        for name in sorted(dir(module)):
            member = getattr(module, name, None)
            if not name.startswith("_") and name not in ELSEWHERE and callable(member):
                yield f"{prefix}.{name}", member


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    FUNCTIONS = dict(namespaces())


def numbers(result):
    """The arrays of numbers of a result, flattened."""
    if isinstance(result, (list, tuple)):
        return [array for part in result for array in numbers(part)]
    if isinstance(result, tg.Tensor):
        return [result]
    if isinstance(result, (np.ndarray, np.generic, float, int)) and np.asarray(result).dtype.kind in "fiubc":
        array = np.asarray(result)
        return [array.real, array.imag] if array.dtype.kind == "c" else [array]
    return []


def weighted(parts):
    """A sum over all numbers, each with another weight."""
    return sum((np.cos(np.arange(p.size, dtype=float).reshape(p.shape) + k) * p).sum() for k, p in enumerate(parts))


def differences(call, function, x):
    """Results, and the gradient of their weighted sum by central differences; None if NumPy refuses the call."""
    try:
        parts = numbers(call(function, x.copy()))
        gradient = np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            at = []
            for step in (1e-6, -1e-6):
                moved = x.copy()
                moved[index] += step
                at.append(weighted(numbers(call(function, moved))))
            gradient[index] = (at[0] - at[1]) / 2e-6
    except Exception:
        return None
    return parts, gradient


def outcome(call, function, x, how):
    """The same of tapegrad, or its error."""
    parts = []

    def loss(t):
        parts.extend(numbers(call(function, t)))
        return t.sum() * 0.0 + weighted(parts)

    try:
        if how == "grad":
            return parts, tg.grad(loss)(x)
        t = tg.tensor(x, requires_grad=True)
        loss(t).backward()
        return parts, t.grad.numpy()
    except Exception as error:
        return error


def judged(name, how):
    """For every call that NumPy takes: whether tapegrad was right (True) or raised (False); wrong fails."""
    function = FUNCTIONS[name]
    verdicts = {}
    for x in (ROW, SQUARE, CUBE):
        for what, call in CALLS.items():
            right = differences(call, function, x)
            if right is None or not np.all(np.isfinite(right[1])):
                continue
            got = outcome(call, function, x, how)
            verdicts[what, x.ndim] = not isinstance(got, Exception)
            if isinstance(got, Exception):
                continue
            message = f"{name}({what}) of shape {x.shape}"
            assert len(got[0]) == len(right[0]), message
            for mine, numpys in zip(got[0], right[0]):
                mine = mine.detach().numpy() if isinstance(mine, tg.Tensor) else mine
                assert mine.shape == numpys.shape, message
                np.testing.assert_allclose(mine, numpys, rtol=1e-6, atol=1e-7, err_msg=message)
            if name in BY_TRIANGLE:  # of which NumPy reads the lower one; the gradient is symmetric
                right = right[0], 0.5 * (right[1] + right[1].swapaxes(-1, -2))
            rounding = 1e-6 + 1e-8 * np.abs(right[1]).max()  # of the differences
            np.testing.assert_allclose(got[1], right[1], rtol=1e-4, atol=rounding, err_msg=message)
    return verdicts


@pytest.mark.parametrize(
    "name, how",
    [(name, how) for name in FUNCTIONS for how in ("grad", "backward")
     if name not in BY_TYPE | UNDEFINED and (how == "grad" or name not in BY_FLOAT)],
)
@pytest.mark.filterwarnings("ignore")
def test_a_numpy_function_of_a_tensor_is_right_on_the_tape_or_raises(name, how):
    judged(name, how)


def test_what_numpy_passes_on_for_an_argument_that_was_not_given_is_not_taken_for_one():
    t = tg.tensor(SQUARE)
    for result in (np.sum(t, axis=0, keepdims=np._NoValue), np.sum(t, 0, None, None, np._NoValue),
                   np.sum(a=t, axis=0, where=np._NoValue)):
        np.testing.assert_array_equal(result.numpy(), SQUARE.sum(axis=0))


@pytest.mark.parametrize("name, roots", [("polynomial.polyval", False), ("polynomial.polyvalfromroots", True),
                                         ("chebyshev.chebval", False), ("laguerre.lagval", False)])
@pytest.mark.parametrize("needs", [False, True])
def test_a_polynomial_with_columns_of_coefficients_refuses_a_tensor_that_it_would_take_for_a_number(name, roots, needs):
    kind, _, name = name.partition(".")
    function = getattr(getattr(np.polynomial, kind), name)
    x, columns = tg.tensor(ROW, requires_grad=needs), np.arange(6.0).reshape(2, 3)
    with pytest.raises(TypeError, match=f"test_counterparts.py.*{name} knows arrays only by their type"):
        function(x, columns)
    row = np.array([1.0, -2.0, 3.0])
    if roots:  # as many as numbers
        with pytest.raises(TypeError, match=name):
            function(x, row)
    else:
        np.testing.assert_allclose(function(x, row).detach().numpy(), function(ROW, row), rtol=1e-12)
        np.testing.assert_allclose(function(x[0], columns).detach().numpy(), function(ROW[0], columns), rtol=1e-12)


def test_matrices_of_blocks_refuse_tensors_that_they_would_take_for_lists():
    a = tg.tensor(SQUARE)
    for blocks in ([a, a], [[a, a], [a, a]]):
        with pytest.raises(TypeError, match="bmat knows arrays only by their type"):
            np.bmat(blocks)


COUNTED_ON = """
abs add all amax amin any arccos arcsin arctan argmax argmin argsort clip concatenate cos cosh cumprod cumsum diagonal
divide dot einsum exp expand_dims expm1 fabs flip greater less linalg.diagonal linalg.matmul linalg.matrix_transpose
linalg.norm linalg.det linalg.eigvalsh linalg.inv linalg.multi_dot linalg.outer linalg.pinv linalg.qr
linalg.slogdet linalg.solve linalg.svd linalg.svdvals linalg.trace inner kron tensordot vdot linalg.vector_norm log
log1p matmul matrix_transpose max maximum mean min minimum moveaxis multiply ndim negative outer pad permute_dims
power prod ravel reciprocal reshape shape sign sin sinh size sort split sqrt square squeeze stack std subtract sum
swapaxes take take_along_axis tan tanh trace transpose tril triu true_divide var where zeros_like
"""


@pytest.mark.parametrize("name", COUNTED_ON.split())
@pytest.mark.filterwarnings("ignore")
def test_a_numpy_function_that_has_a_counterpart_is_right_and_does_not_merely_raise(name):
    assert any(judged(f"np.{name}", "grad").values())


def test_a_function_of_one_argument_is_the_counterpart_of_numpys_of_that_name():
    found = counterparts({**vars(tg.functions), "sinc": tg.exp, "unwrap": tg.exp})
    assert found[np.sinc] is tg.exp
    assert np.unwrap not in found  # NumPy's takes more
